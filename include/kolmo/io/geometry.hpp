#pragma once
// Clipping of lines and polygons to a box, and the parts of a dashed line.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kolmo/io/drawing.hpp>
#include <utility>
#include <vector>

namespace kolmo::io::detail {

/// Cuts the segment a-b to the box (Liang and Barsky); false when nothing is left.
inline bool clip_segment(Point& a, Point& b, const Box& box) {
  double from = 0, to = 1;
  const double dx = b.x - a.x, dy = b.y - a.y;
  const double slope[4] = {-dx, dx, -dy, dy};
  const double room[4] = {a.x - box.left, box.right - a.x, a.y - box.top, box.bottom - a.y};
  for (int side = 0; side < 4; ++side) {
    if (slope[side] == 0) {
      if (room[side] < 0) return false;
      continue;
    }
    const double t = room[side] / slope[side];
    if (slope[side] < 0) {
      from = std::max(from, t);
    } else {
      to = std::min(to, t);
    }
  }
  if (from > to) return false;
  const Point start = a;
  if (from > 0) a = {start.x + from * dx, start.y + from * dy};
  if (to < 1) b = {start.x + to * dx, start.y + to * dy};
  return true;
}

/// The parts of a line that lie in the box.
inline std::vector<std::vector<Point>> clip_polyline(const std::vector<Point>& points, const Box& box) {
  std::vector<std::vector<Point>> parts;
  bool joined = false;
  for (std::size_t i = 0; i + 1 < points.size(); ++i) {
    Point a = points[i], b = points[i + 1];
    if (!clip_segment(a, b, box)) {
      joined = false;
      continue;
    }
    if (!joined) parts.push_back({a});
    parts.back().push_back(b);
    joined = b.x == points[i + 1].x && b.y == points[i + 1].y;
  }
  return parts;
}

/// The part of a polygon that lies in the box (Sutherland and Hodgman).
inline std::vector<Point> clip_polygon(std::vector<Point> points, const Box& box) {
  for (int side = 0; side < 4; ++side) {
    const auto inside = [&](const Point& p) {
      return side == 0 ? p.x - box.left : side == 1 ? box.right - p.x : side == 2 ? p.y - box.top : box.bottom - p.y;
    };
    std::vector<Point> kept;
    for (std::size_t i = 0; i < points.size(); ++i) {
      const Point& a = points[i];
      const Point& b = points[(i + 1) % points.size()];
      const double da = inside(a), db = inside(b);
      if (da >= 0) kept.push_back(a);
      if ((da < 0) != (db < 0)) {
        const double t = da / (da - db);
        kept.push_back({a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)});
      }
    }
    points = std::move(kept);
  }
  return points;
}

/// The drawn parts of a line with dashes; lengths that are not positive give the whole line.
inline std::vector<std::vector<Point>> dash_polyline(const std::vector<Point>& points,
                                                     const std::vector<double>& dashes) {
  double period = 0;
  for (const double d : dashes) period += d;
  if (!(period > 0) || points.empty()) return {points};
  std::vector<std::vector<Point>> parts{{points.front()}};
  std::size_t index = 0;
  double left = dashes[0];
  for (std::size_t i = 0; i + 1 < points.size(); ++i) {
    const Point a = points[i], b = points[i + 1];
    const double length = std::hypot(b.x - a.x, b.y - a.y);
    double done = 0;
    while (length - done > left) {
      done += left;
      const Point at{a.x + (b.x - a.x) * done / length, a.y + (b.y - a.y) * done / length};
      if (index % 2 == 0) {
        parts.back().push_back(at);
      } else {
        parts.push_back({at});
      }
      ++index;
      left = dashes[index % dashes.size()];
    }
    left -= length - done;
    if (index % 2 == 0) parts.back().push_back(b);
  }
  return parts;
}

}  // namespace kolmo::io::detail
