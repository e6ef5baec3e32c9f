#pragma once
// Comparisons of waves themselves: mean absolute difference, level, and the scale-invariant signal-to-distortion ratio.

#include <cmath>

#include <kolmo/rvq/losses/spectral_pairs.hpp>

namespace kolmo::detail {

/// |ln((r^ + e) / (r + e))| of two root mean squares.
template <class T>
struct LevelDistance {
  T offset;
  template <class S>
  KOLMO_HD S operator()(S reference, S estimate) const {
    return abs(log(estimate + S(offset)) - log(reference + S(offset)));
  }
};

/// The root mean square of each wave [..., points].
template <TensorLike X>
auto wave_rms(const X& x) {
  using T = ScalarOf<X>;
  return map(SafeRoot<T>{static_cast<T>(1e-12)}, mean(square(x), {-1}));
}

}  // namespace kolmo::detail

namespace kolmo::rvq {

/// mean |x - x^|. Throws ShapeError unless both have one shape.
template <TensorLike R, TensorLike E>
auto wave_loss(const R& reference, const E& estimate) {
  kolmo::detail::check_waves("wave_loss", reference.shape(), estimate.shape());
  return mean(map(kolmo::detail::AbsoluteDistance{}, reference, estimate));
}

/// Mean over the waves [..., points] of |ln((rms^ + 1e-5) / (rms + 1e-5))|. Unlike a difference of levels it does not
/// vanish when a quiet output collapses to silence: halving the level costs ln 2 at any level. Throws ShapeError
/// unless both have one shape.
template <TensorLike R, TensorLike E>
auto level_loss(const R& reference, const E& estimate) {
  using namespace kolmo::detail;
  check_waves("level_loss", reference.shape(), estimate.shape());
  using T = ScalarOf<R>;
  return mean(map(LevelDistance<T>{static_cast<T>(1e-5)}, wave_rms(reference), wave_rms(estimate)));
}

/// 10 log10(|a x|^2 / |a x - x^|^2), a = <x^, x> / |x|^2, both waves with their means removed (Le Roux et al. 2019), in
/// dB, averaged over the waves [..., points] whose reference is not constant; NaN when all are. An estimate without
/// error counts as 100 dB, one without the reference as -100 dB. Throws ShapeError unless both have one shape.
template <PlainTensor V>
double si_sdr(const V& reference, const V& estimate) {
  kolmo::detail::check_waves("si_sdr", reference.shape(), estimate.shape());
  const auto x = reference.to_vector(), e = estimate.to_vector();
  const std::size_t points = static_cast<std::size_t>(reference.shape()[-1]);
  double total = 0;
  index_t count = 0;
  for (std::size_t at = 0; points > 0 && at < x.size(); at += points) {
    double mean_x = 0, mean_e = 0;
    for (std::size_t t = at; t < at + points; ++t) {
      mean_x += static_cast<double>(x[t]);
      mean_e += static_cast<double>(e[t]);
    }
    mean_x /= static_cast<double>(points);
    mean_e /= static_cast<double>(points);
    double xx = 0, xe = 0, error = 0;
    for (std::size_t t = at; t < at + points; ++t) {
      const double a = static_cast<double>(x[t]) - mean_x, b = static_cast<double>(e[t]) - mean_e;
      xx += a * a;
      xe += a * b;
    }
    if (!(xx > 0)) continue;
    const double a = xe / xx;
    for (std::size_t t = at; t < at + points; ++t) {
      const double d = a * (static_cast<double>(x[t]) - mean_x) - (static_cast<double>(e[t]) - mean_e);
      error += d * d;
    }
    const double signal = a * a * xx;
    double decibel = error > 0 ? 10 * std::log10(signal / error) : 100;
    if (!(signal > 0) || decibel < -100) decibel = -100;
    total += decibel > 100 ? 100 : decibel;
    ++count;
  }
  return count == 0 ? std::nan("") : total / static_cast<double>(count);
}

}  // namespace kolmo::rvq
