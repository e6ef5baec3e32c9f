#pragma once
// Shape-preserving piecewise cubic interpolation (Fritsch, Butland 1984): no overshoot, so that a density
// stays non-negative and unimodal where its samples are.

#include <kolmo/core/array.hpp>

namespace kolmo::gmm::detail {

/// One interval of the interpolant, t in [0, 1] from left to right.
struct HermiteSegment {
  double left, right;              // values
  double left_slope, right_slope;  // per unit of t

  KOLMO_HD double value(double t) const {
    const double a = 2.0 * (left - right) + left_slope + right_slope;
    const double b = 3.0 * (right - left) - 2.0 * left_slope - right_slope;
    return ((a * t + b) * t + left_slope) * t + left;
  }
  /// Integral over [0, t], per unit of t.
  KOLMO_HD double integral(double t) const {
    const double a = 2.0 * (left - right) + left_slope + right_slope;
    const double b = 3.0 * (right - left) - 2.0 * left_slope - right_slope;
    return (((a * 0.25 * t + b / 3.0) * t + left_slope * 0.5) * t + left) * t;
  }
};

/// Interpolant of samples value(i) at increasing points point(i), i in [0, count), count >= 2.
template <class Samples>
struct Hermite {
  Samples samples;

  KOLMO_HD double secant(index_t i) const {
    return (samples.value(i + 1) - samples.value(i)) / (samples.point(i + 1) - samples.point(i));
  }

  /// Derivative at a sample: the weighted harmonic mean of the secants on both sides, zero at an extremum.
  KOLMO_HD double slope(index_t i) const {
    if (i == 0) return secant(0);
    if (i == samples.count - 1) return secant(i - 1);
    const double before = secant(i - 1), after = secant(i);
    if (!(before * after > 0.0)) return 0.0;
    const double h0 = samples.point(i) - samples.point(i - 1), h1 = samples.point(i + 1) - samples.point(i);
    const double w0 = 2.0 * h1 + h0, w1 = h1 + 2.0 * h0;
    return (w0 + w1) / (w0 / before + w1 / after);
  }

  KOLMO_HD HermiteSegment segment(index_t i) const {
    const double h = samples.point(i + 1) - samples.point(i);
    return {samples.value(i), samples.value(i + 1), slope(i) * h, slope(i + 1) * h};
  }

  /// The interval that holds z, searched forward from a hint.
  KOLMO_HD index_t locate(double z, index_t hint) const {
    while (hint < samples.count - 2 && samples.point(hint + 1) <= z) ++hint;
    return hint;
  }

  /// Value at z, zero outside the samples; `hint` moves forward.
  KOLMO_HD double value(double z, index_t& hint) const {
    if (z < samples.point(0) || z > samples.point(samples.count - 1)) return 0.0;
    hint = locate(z, hint);
    const double h = samples.point(hint + 1) - samples.point(hint);
    return segment(hint).value((z - samples.point(hint)) / h);
  }

  /// Integral over [begin, end]; `hint` moves to the interval of `end`.
  KOLMO_HD double integral(double begin, double end, index_t& hint) const {
    begin = larger(begin, samples.point(0));
    end = smaller(end, samples.point(samples.count - 1));
    double sum = 0.0;
    while (begin < end) {
      hint = locate(begin, hint);
      const double origin = samples.point(hint), next = samples.point(hint + 1), h = next - origin;
      const double stop = smaller(end, next);
      const HermiteSegment s = segment(hint);
      sum += h * (s.integral((stop - origin) / h) - s.integral((begin - origin) / h));
      if (!(stop > begin) || stop == end) break;
      begin = stop;
    }
    return sum;
  }
};

}  // namespace kolmo::gmm::detail
