#pragma once
// The mass, mean and variance of a sampled density between its quantiles 0, 1/K, ..., 1, by the trapezoid rule with
// the density linear between the points. The outer quantiles are the ends of the grid.

#include <kolmo/core/math.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/gmm/grid.hpp>

namespace kolmo::gmm::detail {

/// A density at points, clipped at zero: values, or masses to be divided by the trapezoid weights; with relative noise
/// where a key is given.
template <class T>
struct SampledRow {
  const T* values;
  const T* points;
  index_t count;
  bool masses;
  double noise;  // zero for none
  Key key;

  KOLMO_HD double point(index_t i) const { return static_cast<double>(points[i]); }
  KOLMO_HD double value(index_t i) const {
    double f = static_cast<double>(values[i]);
    if (masses) f /= 0.5 * (point(smaller<index_t>(i + 1, count - 1)) - point(larger<index_t>(i - 1, 0)));
    if (noise > 0.0) f *= 1.0 + noise * normal<double>(key, static_cast<std::uint64_t>(i));
    return larger(f, 0.0);
  }
  KOLMO_HD double integral() const {
    double sum = 0.0, left = value(0);
    for (index_t i = 1; i < count; ++i) {
      const double right = value(i);
      sum += 0.5 * (left + right) * (point(i) - point(i - 1));
      left = right;
    }
    return sum;
  }
};

/// One bin of a density.
struct QuantileBin {
  double mass, mean, variance;
};

/// Walks over the bins of a density from left to right. Quantiles are interpolated linearly in the integral.
template <class T>
class QuantileBins {
 public:
  KOLMO_HD QuantileBins(const SampledRow<T>& density, int count)
      : row_(density),
        total_(density.integral()),
        bins_(count),
        place_(density.point(0)),
        height_(density.value(0)),
        left_(height_),
        right_(density.value(1)),
        until_right_(0.5 * (left_ + right_) * (density.point(1) - density.point(0))) {}

  /// The next bin; its mass is a part of one. A bin without mass has the mass zero, its middle and no variance.
  KOLMO_HD QuantileBin take() {
    ++bin_;
    const double level = bin_ < bins_ ? total_ * bin_ / bins_ : 2.0 * total_;
    const double origin = place_;
    double mass = 0.0, first = 0.0, second = 0.0;
    while (until_right_ < level) {
      add(origin, row_.point(next_), right_, mass, first, second);
      if (next_ == row_.count - 1) break;
      ++next_;
      left_ = right_;
      right_ = row_.value(next_);
      until_left_ = until_right_;
      until_right_ += 0.5 * (left_ + right_) * (row_.point(next_) - row_.point(next_ - 1));
    }
    if (until_right_ >= level) {
      const double part = (level - until_left_) / (until_right_ - until_left_);
      const double start = row_.point(next_ - 1);
      add(origin, start + part * (row_.point(next_) - start), left_ + part * (right_ - left_), mass, first, second);
    }
    if (!(mass > 1e-15 * total_)) return {0.0, 0.5 * (origin + place_), 0.0};
    const double shift = first / mass;
    return {mass / total_, origin + shift, larger(second / mass - shift * shift, 0.0)};
  }

 private:
  /// Adds the piece from the end of the last bin to `end` and moves there.
  KOLMO_HD void add(double origin, double end, double value, double& mass, double& first, double& second) {
    const double half = 0.5 * (end - place_), a = place_ - origin, b = end - origin;
    mass += half * (height_ + value);
    first += half * (height_ * a + value * b);
    second += half * (height_ * a * a + value * b * b);
    place_ = end;
    height_ = value;
  }

  SampledRow<T> row_;
  double total_;
  int bins_, bin_ = 0;
  // The end of the last bin and the value there, in the cell before point next_.
  double place_, height_;
  index_t next_ = 1;
  // Values at the ends of that cell, and integrals up to them.
  double left_, right_, until_left_ = 0.0, until_right_;
};

}  // namespace kolmo::gmm::detail
