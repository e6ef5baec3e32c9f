#pragma once
// Rigid bodies for the immersed-boundary solver: points on a contour, a centre and a prescribed motion.

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/flow/motion.hpp>

namespace kolmo::flow {

/// Points of a body and their velocities at one time.
struct BodyPoints {
  std::vector<double> x, y, velocity_x, velocity_y;
};

/// A rigid body. Points are in the laboratory frame at rest (before its motion displaces and turns it); their spacing
/// should be about that of the finest grid, a little more rather than less.
struct Body {
  std::string name;
  std::vector<double> x, y;
  double centre_x = 0, centre_y = 0;  ///< what rotations turn about
  Motion motion = FixedPosition{};

  index_t size() const { return static_cast<index_t>(x.size()); }
  bool at_rest() const { return flow::at_rest(motion); }

  /// Points and their velocities at time t.
  BodyPoints at(double t) const {
    const Placement p = placement(motion, t);
    const double c = std::cos(p.angle), s = std::sin(p.angle);
    BodyPoints result;
    for (std::size_t k = 0; k < x.size(); ++k) {
      const double dx = x[k] - centre_x, dy = y[k] - centre_y;
      const double turned_x = c * dx - s * dy, turned_y = s * dx + c * dy;
      result.x.push_back(centre_x + p.x + turned_x);
      result.y.push_back(centre_y + p.y + turned_y);
      result.velocity_x.push_back(p.velocity_x - p.angular_velocity * turned_y);
      result.velocity_y.push_back(p.velocity_y + p.angular_velocity * turned_x);
    }
    return result;
  }
};

/// Number of points of a contour of the given length whose spacing comes nearest to `spacing`; at least `least`.
/// Throws ArgumentError unless both lengths are positive.
inline index_t points_for_spacing(double length, double spacing, index_t least = 1) {
  if (!(length > 0) || !(spacing > 0) || !(length / spacing < 1e9))
    throw ArgumentError("a body of length " + std::to_string(length) + " cannot have points every " +
                        std::to_string(spacing) + "; both must be positive and finite");
  const auto count = static_cast<index_t>(length / spacing + 0.5);
  return count < least ? least : count;
}

/// A circle of n points, the first at angle 0. Throws ArgumentError unless the radius is positive and n >= 3.
inline Body circle(double centre_x, double centre_y, double radius, index_t n) {
  if (!(radius > 0) || n < 3)
    throw ArgumentError("circle: radius " + std::to_string(radius) + " with " + std::to_string(n) +
                        " points; the radius must be positive and there must be at least 3 points");
  Body body;
  body.name = "circle";
  body.centre_x = centre_x;
  body.centre_y = centre_y;
  for (index_t k = 0; k < n; ++k) {
    const double angle = 6.283185307179586477 * static_cast<double>(k) / static_cast<double>(n);
    body.x.push_back(centre_x + radius * std::cos(angle));
    body.y.push_back(centre_y + radius * std::sin(angle));
  }
  return body;
}

/// A circle whose points are `spacing` apart, as nearly as a whole number of them allows.
inline Body circle_with_spacing(double centre_x, double centre_y, double radius, double spacing) {
  return circle(centre_x, centre_y, radius, points_for_spacing(6.283185307179586477 * radius, spacing, 3));
}

/// n points on the straight line between two ends, both included; the centre is halfway. Throws ArgumentError unless
/// n >= 2 and the ends differ.
inline Body line(double x1, double y1, double x2, double y2, index_t n) {
  if (n < 2 || (x1 == x2 && y1 == y2))
    throw ArgumentError("line: " + std::to_string(n) + " points; give at least 2 points and two different ends");
  Body body;
  body.name = "line";
  body.centre_x = 0.5 * (x1 + x2);
  body.centre_y = 0.5 * (y1 + y2);
  for (index_t k = 0; k < n; ++k) {
    const double s = static_cast<double>(k) / static_cast<double>(n - 1);
    body.x.push_back(x1 + s * (x2 - x1));
    body.y.push_back(y1 + s * (y2 - y1));
  }
  return body;
}

/// A line whose points are `spacing` apart, as nearly as a whole number of them allows.
inline Body line_with_spacing(double x1, double y1, double x2, double y2, double spacing) {
  return line(x1, y1, x2, y2, points_for_spacing(std::hypot(x2 - x1, y2 - y1), spacing) + 1);
}

}  // namespace kolmo::flow
