#pragma once
// What no quantizer can do better: the rate-distortion function of a Gaussian (Shannon 1959), reverse water-filling for
// a correlated one (Kolmogorov 1956), and the loss of cells in d dimensions at high rate (Zador 1982, with spheres for
// cells). Of all sources with a covariance the Gaussian is the worst, so another one may lie below its curve.

#include <cmath>
#include <span>
#include <string>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo::rvq {

/// A point of a rate-distortion function, per dimension.
struct RateDistortion {
  double bits = 0.0;
  double distortion = 0.0;
  double water_level = 0.0;  ///< components of less variance get no bits
};

namespace detail {

inline void check_bits(double bits, const char* operation) {
  if (!(bits >= 0.0 && bits < 1e6))
    throw ArgumentError(std::string(operation) +
                        ": the rate must be a number of bits per dimension, 0 or more, given " + std::to_string(bits));
}

/// Rate and distortion at a water level theta: D = mean min(theta, lambda), R = mean max(0, log2(lambda / theta) / 2).
inline RateDistortion at_water_level(std::span<const double> variances, double level) {
  RateDistortion point{0.0, 0.0, level};
  for (const double variance : variances) {
    point.distortion += smaller(level, variance);
    if (variance > level) point.bits += 0.5 * std::log2(variance / level);
  }
  point.bits /= static_cast<double>(variances.size());
  point.distortion /= static_cast<double>(variances.size());
  return point;
}

}  // namespace detail

/// D(R) = variance 2^(-2 R) of independent Gaussian numbers, 6.02 dB a bit. Throws ArgumentError for R < 0 or a
/// negative variance.
inline double gaussian_distortion(double variance, double bits) {
  detail::check_bits(bits, "gaussian_distortion");
  if (!(variance >= 0.0))
    throw ArgumentError("gaussian_distortion: the variance must not be negative, given " + std::to_string(variance));
  return variance * std::exp2(-2.0 * bits);
}

/// The least distortion per dimension of Gaussian vectors whose covariance has these eigenvalues, at a rate in bits per
/// dimension. Throws ArgumentError without eigenvalues, for negative or NaN ones, and for R < 0.
inline RateDistortion reverse_water_filling(std::span<const double> eigenvalues, double bits) {
  detail::check_bits(bits, "reverse_water_filling");
  if (eigenvalues.empty()) throw ArgumentError("reverse_water_filling: no eigenvalues given, at least one is needed");
  double largest = 0.0;
  for (std::size_t i = 0; i < eigenvalues.size(); ++i) {
    if (!(eigenvalues[i] >= 0.0))
      throw ArgumentError("reverse_water_filling: eigenvalue " + std::to_string(i) + " is " +
                          std::to_string(eigenvalues[i]) + "; those of a covariance are not negative");
    largest = larger(largest, eigenvalues[i]);
  }
  if (bits == 0.0 || largest == 0.0) return {bits, detail::at_water_level(eigenvalues, largest).distortion, largest};
  // The rate falls with the logarithm of the level; with all bits on the largest component it lies above this:
  double low = std::log2(largest) - 2.0 * bits * static_cast<double>(eigenvalues.size()), high = std::log2(largest);
  for (int step = 0; step < 200 && high - low > 1e-15 * larger(1.0, std::abs(high)); ++step) {
    const double middle = 0.5 * (low + high);
    (detail::at_water_level(eigenvalues, std::exp2(middle)).bits > bits ? low : high) = middle;
  }
  RateDistortion point = detail::at_water_level(eigenvalues, std::exp2(high));
  point.bits = bits;
  return point;
}

/// F_d: at high rate no code of fixed rate for d independent Gaussian numbers at a time gets below F_d variance 2^(-2
/// R).
///
///   F_d = 2 / (d + 2)  Gamma(d / 2 + 1)^(2 / d)  ((d + 2) / d)^((d + 2) / 2),   F_1 = 2.721,   F_d -> 1
///
/// At low rate it is no bound. Throws ArgumentError for d < 1.
inline double sphere_bound_factor(index_t d) {
  if (d < 1) throw ArgumentError("sphere_bound_factor: the dimension must be positive, given " + std::to_string(d));
  const auto n = static_cast<double>(d);
  return 2.0 / (n + 2.0) * std::exp(2.0 / n * std::lgamma(0.5 * n + 1.0)) * std::pow((n + 2.0) / n, 0.5 * (n + 2.0));
}

}  // namespace kolmo::rvq
