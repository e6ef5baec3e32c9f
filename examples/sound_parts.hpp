#pragma once
// What synthetic sound is put together from: numbers drawn in a row, filters of second order, levels.

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <kolmo/core/math.hpp>
#include <kolmo/core/random.hpp>

namespace sound {

using kolmo::index_t;
using kolmo::Key;

inline constexpr double pi = 3.141592653589793;

/// Numbers drawn from a key one after the other.
class Draws {
 public:
  explicit Draws(Key key) : key_(key) {}
  double uniform(double low, double high) { return low + (high - low) * kolmo::uniform<double>(key_, next_++); }
  double log_uniform(double low, double high) { return low * kolmo::exp(uniform(0, kolmo::log(high / low))); }
  double normal() { return kolmo::normal<double>(key_, next_++); }
  bool chance(double probability) { return uniform(0, 1) < probability; }
  index_t below(index_t bound) { return kolmo::integer_below(key_, next_++, bound); }
  /// White noise of variance 1.
  double noise() { return uniform(-1.7320508075688772, 1.7320508075688772); }

 private:
  Key key_;
  std::uint64_t next_ = 0;
};

/// A filter of second order, y_n = a x_n + b x_{n-2} + c y_{n-1} + d y_{n-2}, whose coefficients may change on the way.
class Resonator {
 public:
  /// A formant: a pole pair at `centre` Hz of `width` Hz, with gain 1 at frequency 0.
  void formant(double centre, double width, double rate) {
    const double radius = kolmo::exp(-pi * width / rate);
    c_ = 2 * radius * kolmo::cos(2 * pi * centre / rate);
    d_ = -radius * radius;
    a_ = 1 - c_ - d_;
    b_ = 0;
  }
  /// A band-pass about `centre` Hz, `width` Hz wide, with gain 1 at the centre.
  void band_pass(double centre, double width, double rate) {
    const double angle = 2 * pi * centre / rate, slope = kolmo::sin(angle) * width / (2 * centre);
    a_ = slope / (1 + slope);
    b_ = -a_;
    c_ = 2 * kolmo::cos(angle) / (1 + slope);
    d_ = -(1 - slope) / (1 + slope);
  }
  double operator()(double x) {
    const double y = a_ * x + b_ * x2_ + c_ * y1_ + d_ * y2_;
    x2_ = x1_;
    x1_ = x;
    y2_ = y1_;
    y1_ = y;
    return y;
  }

 private:
  double a_ = 1, b_ = 0, c_ = 0, d_ = 0, x1_ = 0, x2_ = 0, y1_ = 0, y2_ = 0;
};

inline double from_decibels(double level) { return kolmo::exp(level * 0.11512925464970229); }

inline double root_mean_square(std::span<const double> x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return x.empty() ? 0 : std::sqrt(sum / static_cast<double>(x.size()));
}

/// Scales to a root mean square of `size`; silence stays.
inline void set_level(std::vector<double>& x, double size) {
  const double now = root_mean_square(x);
  if (now < 1e-9) return;
  for (double& v : x) v *= size / now;
}

}  // namespace sound
