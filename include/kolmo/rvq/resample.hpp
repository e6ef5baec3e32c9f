#pragma once
// Sound at another sample rate, by the interpolation of Whittaker and Shannon with a Kaiser window: every output sample
// is a weighted sum of input samples around it. What the lower of the two rates cannot hold is filtered out.

#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo::rvq {

namespace detail {

/// The modified Bessel function of order 0, by its series.
inline double bessel_i0(double x) {
  double sum = 1, term = 1;
  for (int k = 1; k < 200 && term > 1e-17 * sum; ++k) {
    term *= (x / (2 * k)) * (x / (2 * k));
    sum += term;
  }
  return sum;
}

/// Weights of the input samples floor(position) + 1 - reach, ..., floor(position) + reach; their sum is 1.
class ResampleKernel {
 public:
  ResampleKernel(index_t from, index_t to)
      : cutoff_(0.94 * (to < from ? static_cast<double>(to) / static_cast<double>(from) : 1.0)),
        half_width_(48 / cutoff_),
        reach_(static_cast<index_t>(std::ceil(half_width_))) {}

  index_t reach() const { return reach_; }

  std::vector<double> weights(double fraction) const {
    constexpr double beta = 9, pi = 3.14159265358979323846;
    std::vector<double> result(static_cast<std::size_t>(2 * reach_));
    double sum = 0;
    for (index_t i = 0; i < 2 * reach_; ++i) {
      const double t = static_cast<double>(i + 1 - reach_) - fraction, part = t / half_width_;
      if (std::abs(part) >= 1) continue;
      const double angle = pi * cutoff_ * t, sinc = std::abs(angle) < 1e-9 ? 1 : std::sin(angle) / angle;
      result[static_cast<std::size_t>(i)] = sinc * bessel_i0(beta * std::sqrt(1 - part * part));
      sum += result[static_cast<std::size_t>(i)];
    }
    for (double& w : result) w /= sum;
    return result;
  }

 private:
  double cutoff_, half_width_;
  index_t reach_;
};

}  // namespace detail

/// The sound in `samples` of `from` samples a second with `to` samples a second: ceil(n to / from) of them, of which
/// the m-th lies at the time m / to. Frequencies up to 0.88 of half the lower rate are kept to 0.01 dB, those above it
/// are 80 dB down. Equal rates change nothing. Throws ArgumentError unless both rates are from 1 to 10^9.
template <class T>
std::vector<T> resample(std::span<const T> samples, index_t from, index_t to) {
  constexpr index_t most = 1000000000;
  if (from < 1 || to < 1 || from > most || to > most)
    throw ArgumentError("resample: sample rates are from 1 to 10^9, given " + std::to_string(from) + " and " +
                        std::to_string(to));
  if (from == to) return {samples.begin(), samples.end()};
  const index_t common = std::gcd(from, to), up = to / common, down = from / common;
  const detail::ResampleKernel kernel(from, to);
  const index_t n = static_cast<index_t>(samples.size()), reach = kernel.reach();
  // ceil(n up / down) without the product, which may be too large.
  const index_t count = n / down * up + (n % down * up + down - 1) / down;
  // Output m lies at m down / up input samples: its fraction is one of `up`. Few of them are kept, many computed anew.
  std::vector<std::vector<double>> kept(up <= 4096 ? static_cast<std::size_t>(up) : 0);
  std::vector<T> result(static_cast<std::size_t>(count));
  std::vector<double> own;
  for (index_t m = 0; m < count; ++m) {
    const index_t base = m / up * down + m % up * down / up, phase = m % up * down % up;
    const double fraction = static_cast<double>(phase) / static_cast<double>(up);
    std::vector<double>& weights = kept.empty() ? own : kept[static_cast<std::size_t>(phase)];
    if (kept.empty() || weights.empty()) weights = kernel.weights(fraction);
    double sum = 0;
    for (index_t i = 0; i < 2 * reach; ++i) {
      const index_t at = base + 1 - reach + i;
      if (at >= 0 && at < n)
        sum += weights[static_cast<std::size_t>(i)] * static_cast<double>(samples[static_cast<std::size_t>(at)]);
    }
    result[static_cast<std::size_t>(m)] = static_cast<T>(sum);
  }
  return result;
}
template <class T>
std::vector<T> resample(const std::vector<T>& samples, index_t from, index_t to) {
  return resample(std::span<const T>(samples), from, to);
}

}  // namespace kolmo::rvq
