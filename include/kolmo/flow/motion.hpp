#pragma once
// Prescribed motion of a rigid body: where it is, relative to its place at rest, and how fast it moves at a time t.
// Angles are in radians, counter-clockwise, about the body's centre.

#include <algorithm>
#include <cmath>
#include <string>
#include <variant>
#include <vector>

#include <kolmo/config.hpp>
#include <kolmo/core/math.hpp>
#include <kolmo/error.hpp>

namespace kolmo::flow {

/// Displacement of the centre from its place at rest, rotation about it, and their rates.
struct Placement {
  double x = 0, y = 0, angle = 0;
  double velocity_x = 0, velocity_y = 0, angular_velocity = 0;
};

/// The body stays displaced by (x, y) and turned by `angle`.
struct FixedPosition {
  double x = 0, y = 0, angle = 0;
  Placement at(double) const { return {x, y, angle, 0, 0, 0}; }
};

/// Constant velocities from t = 0.
struct FixedVelocity {
  double velocity_x = 0, velocity_y = 0, angular_velocity = 0;
  Placement at(double t) const {
    return {velocity_x * t, velocity_y * t, angular_velocity * t, velocity_x, velocity_y, angular_velocity};
  }
};

/// angle = pitch_amplitude sin(2 pi pitch_frequency t + pitch_phase), y likewise with the plunge.
struct PitchPlunge {
  double pitch_amplitude = 0, pitch_frequency = 0, plunge_amplitude = 0, plunge_frequency = 0;
  double pitch_phase = 0, plunge_phase = 0;
  Placement at(double t) const {
    const double turn = 6.283185307179586477;
    const double pitch = turn * pitch_frequency, plunge = turn * plunge_frequency;
    Placement p;
    p.angle = pitch_amplitude * std::sin(pitch * t + pitch_phase);
    p.angular_velocity = pitch_amplitude * pitch * std::cos(pitch * t + pitch_phase);
    p.y = plunge_amplitude * std::sin(plunge * t + plunge_phase);
    p.velocity_y = plunge_amplitude * plunge * std::cos(plunge * t + plunge_phase);
    return p;
  }
};

/// A step along (1 + erf(12 (t - start)/duration - 6))/2: begun at `start` to within rounding, half done at
/// start + duration/2.
struct SigmoidalStep {
  double x = 0, y = 0, angle = 0;  ///< the whole step
  double duration = 1, start = 0;
  Placement at(double t) const {
    const double s = 12.0 * (t - start) / duration - 6.0;
    const double value = 0.5 * (1.0 + std::erf(s));
    const double slope = 12.0 / (duration * 1.77245385090551602730) * std::exp(-s * s);
    return {x * value, y * value, angle * value, x * slope, y * slope, angle * slope};
  }
};

/// A step made at constant speed from `start` to start + width, through a lag filter of order 1 or 2: the position is
/// (F(t - start) - F(t - start - width))/width with F(s) = s - c + c e^(-s/c), or s - 2c + (s + 2c) e^(-s/c).
struct LaggedStep {
  double x = 0, y = 0, angle = 0;  ///< the whole step
  double width = 1, time_constant = 0.1, start = 0;
  int order = 1;
  Placement at(double t) const {
    const double value = (filtered(t - start) - filtered(t - start - width)) / width;
    const double slope = (filtered_slope(t - start) - filtered_slope(t - start - width)) / width;
    return {x * value, y * value, angle * value, x * slope, y * slope, angle * slope};
  }

 private:
  double filtered(double s) const {
    const double c = time_constant;
    if (s <= 0) return 0;
    return order == 1 ? s - c + c * std::exp(-s / c) : s - 2 * c + (s + 2 * c) * std::exp(-s / c);
  }
  double filtered_slope(double s) const {
    if (s <= 0) return 0;
    return 1 - (order == 1 ? 1.0 : 1 + s / time_constant) * std::exp(-s / time_constant);
  }
};

/// Eldredge's smoothed ramp, hold and return: the amplitudes times G/max G with
/// G(t) = ln [cosh a(t-t1) cosh a(t-t4) / (cosh a(t-t2) cosh a(t-t3))]; larger `sharpness` a means sharper corners.
struct EldredgeManoeuvre {
  double x = 0, y = 0, angle = 0;  ///< amplitudes
  double sharpness = 11, t1 = 1, t2 = 2, t3 = 3, t4 = 4;

  Placement at(double t) const {
    const double top = ramp_top();
    const double value = ramp(t) / top, slope = ramp_slope(t) / top;
    return {x * value, y * value, angle * value, x * slope, y * slope, angle * slope};
  }

  /// G at time t, its derivative, and its largest value.
  double ramp(double t) const { return log_cosh(t - t1) + log_cosh(t - t4) - log_cosh(t - t2) - log_cosh(t - t3); }
  double ramp_slope(double t) const {
    const double a = sharpness;
    return a * (std::tanh(a * (t - t1)) + std::tanh(a * (t - t4)) - std::tanh(a * (t - t2)) - std::tanh(a * (t - t3)));
  }
  double ramp_top() const { return ramp(peak()); }

 private:
  double log_cosh(double t) const {
    const double s = std::abs(sharpness * t);
    return s + std::log1p(std::exp(-2.0 * s)) - 0.69314718055994530942;
  }
  /// Where G is largest: its slope falls through zero between t2 and t3.
  double peak() const {
    double low = t2, high = t3;
    for (int i = 0; i < 60; ++i) {
      const double middle = 0.5 * (low + high);
      (ramp_slope(middle) > 0 ? low : high) = middle;
    }
    return 0.5 * (low + high);
  }
};

/// A pitch angle along one such ramp and a vertical *speed* along another, as a wing in a gust has it. The height is
/// the integral of the speed from t = 0.
struct EldredgePitchPlunge {
  EldredgeManoeuvre pitch;  ///< its `angle` is the amplitude
  EldredgeManoeuvre speed;  ///< its `y` is the amplitude of the speed

  Placement at(double t) const {
    const Placement turned = pitch.at(t);
    Placement p;
    p.angle = turned.angle;
    p.angular_velocity = turned.angular_velocity;
    p.velocity_y = speed.at(t).y;
    p.y = height(t);
    return p;
  }

 private:
  /// By Simpson's rule with steps that resolve the corners, whose width is 1/sharpness.
  double height(double t) const {
    if (speed.y == 0 || t == 0) return 0;
    const double fine = 20 * std::abs(speed.sharpness * t);
    if (!(fine < 1e7)) return fine;  // not finite, or a time that no run reaches
    const auto pairs = static_cast<long>(fine) + 1;
    const double h = t / static_cast<double>(2 * pairs);
    double sum = speed.ramp(0) + speed.ramp(t);
    for (long k = 1; k < 2 * pairs; ++k) sum += (k % 2 == 1 ? 4 : 2) * speed.ramp(h * static_cast<double>(k));
    return speed.y / speed.ramp_top() * sum * h / 3;
  }
};

/// A table of placements at increasing times, cubic (Hermite) in between: position and velocity are those given at the
/// times of the table, and the velocity is everywhere the derivative of the position. Before the first and after the
/// last time the body rests there, unless `period` > 0: then times are taken modulo the period from the first one.
class MotionTable {
 public:
  /// Throws ArgumentError unless there are two rows or more, as many times as placements, at increasing times, and the
  /// period, where there is one, does not end before the table.
  MotionTable(std::vector<double> times, std::vector<Placement> rows, double period = 0)
      : times_(std::move(times)), rows_(std::move(rows)), period_(period) {
    if (rows_.size() != times_.size() || rows_.size() < 2)
      throw ArgumentError("MotionTable: " + std::to_string(times_.size()) + " times and " +
                          std::to_string(rows_.size()) + " placements; give two or more, and as many of each");
    for (std::size_t i = 0; i + 1 < times_.size(); ++i)
      if (!(times_[i] < times_[i + 1]))
        throw ArgumentError("MotionTable: times must increase, but row " + std::to_string(i + 1) + " has " +
                            std::to_string(times_[i + 1]) + " after " + std::to_string(times_[i]));
    if (!(period_ >= 0) || (period_ > 0 && period_ < times_.back() - times_.front()))
      throw ArgumentError("MotionTable: the period " + std::to_string(period_) + " is shorter than the table, " +
                          std::to_string(times_.back() - times_.front()));
  }

  /// Positions only: the velocity at a row is the slope of the parabola through it and its neighbours.
  static MotionTable from_positions(std::vector<double> times, std::vector<Placement> rows, double period = 0) {
    MotionTable table(std::move(times), std::move(rows), period);
    table.set_slopes(&Placement::x, &Placement::velocity_x);
    table.set_slopes(&Placement::y, &Placement::velocity_y);
    table.set_slopes(&Placement::angle, &Placement::angular_velocity);
    return table;
  }

  const std::vector<double>& times() const { return times_; }
  const std::vector<Placement>& rows() const { return rows_; }
  double period() const { return period_; }

  Placement at(double t) const {
    if (period_ > 0) {
      t = times_.front() + std::fmod(t - times_.front(), period_);
      if (t < times_.front()) t += period_;
    }
    if (t <= times_.front() || t >= times_.back()) {
      Placement p = t <= times_.front() ? rows_.front() : rows_.back();
      if (t < times_.front() || t > times_.back()) p.velocity_x = p.velocity_y = p.angular_velocity = 0;
      return p;
    }
    const auto after = std::upper_bound(times_.begin(), times_.end(), t);
    const std::size_t i = static_cast<std::size_t>(after - times_.begin()) - 1;
    const double h = times_[i + 1] - times_[i], s = (t - times_[i]) / h;
    const Placement &p = rows_[i], &q = rows_[i + 1];
    Placement r;
    hermite(s, h, p.x, p.velocity_x, q.x, q.velocity_x, r.x, r.velocity_x);
    hermite(s, h, p.y, p.velocity_y, q.y, q.velocity_y, r.y, r.velocity_y);
    hermite(s, h, p.angle, p.angular_velocity, q.angle, q.angular_velocity, r.angle, r.angular_velocity);
    return r;
  }

 private:
  static void hermite(double s, double h, double p, double dp, double q, double dq, double& value, double& slope) {
    const double a = h * dp - (q - p), b = (q - p) - h * dq;
    value = (1 - s) * p + s * q + s * (1 - s) * ((1 - s) * a + s * b);
    slope = ((q - p) + (1 - 2 * s) * ((1 - s) * a + s * b) + s * (1 - s) * (b - a)) / h;
  }
  void set_slopes(double Placement::*position, double Placement::*velocity) {
    const std::size_t n = rows_.size();
    std::vector<double> slope(n);
    for (std::size_t i = 0; i + 1 < n; ++i)
      slope[i] = (rows_[i + 1].*position - rows_[i].*position) / (times_[i + 1] - times_[i]);
    rows_[0].*velocity = slope[0];
    rows_[n - 1].*velocity = slope[n - 2];
    for (std::size_t i = 1; i + 1 < n; ++i) {
      const double left = times_[i] - times_[i - 1], right = times_[i + 1] - times_[i];
      rows_[i].*velocity = (right * slope[i - 1] + left * slope[i]) / (left + right);
    }
  }

  std::vector<double> times_;
  std::vector<Placement> rows_;
  double period_;
};

/// Any of the motions; anything else fits into a MotionTable.
using Motion = std::variant<FixedPosition, FixedVelocity, PitchPlunge, SigmoidalStep, LaggedStep, EldredgeManoeuvre,
                            EldredgePitchPlunge, MotionTable>;

/// Placement at time t. Throws ArgumentError when the motion gives no finite numbers there.
inline Placement placement(const Motion& motion, double t) {
  const Placement p = std::visit([t](const auto& m) { return m.at(t); }, motion);
  if (!is_finite(p.x + p.y + p.angle) || !is_finite(p.velocity_x + p.velocity_y + p.angular_velocity))
    throw ArgumentError(
        "motion: the placement at time " + std::to_string(t) +
        " is not finite; check the motion's parameters (durations and time constants must not be zero)");
  return p;
}

/// Whether the body keeps its place for all times.
inline bool at_rest(const Motion& motion) { return std::holds_alternative<FixedPosition>(motion); }

}  // namespace kolmo::flow
