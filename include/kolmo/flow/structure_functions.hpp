#pragma once
// Structure functions of periodic velocity fields, and moments and correlations of samples.
//
// In two dimensions S_3 of the longitudinal differences is (3/2) eps r in the inverse range and goes as r^3 in the
// enstrophy range (Lindborg 1999).

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <kolmo/flow/periodic_modes.hpp>

namespace kolmo::flow {

/// Means of the p-th power of velocity differences at distances along the two axes, over the box and the batch.
struct StructureFunctions {
  std::vector<double> separations;                     ///< r, in the units of the box
  std::vector<double> longitudinal_x, longitudinal_y;  ///< of u along x, of v along y
  std::vector<double> transverse_x, transverse_y;      ///< of v along x, of u along y
};

/// The structure functions of order p >= 1 of velocities [batch, 2, n, n] at distances of whole cells. Odd orders keep
/// their signs. Throws ShapeError for other shapes, ArgumentError for an order below 1.
template <PlainTensor X>
StructureFunctions structure_functions(const X& velocity, int order, const std::vector<index_t>& cells,
                                       double length = two_pi) {
  if (!detail::is_velocity(velocity.shape(), "structure_functions"))
    throw ShapeError("structure_functions: expected velocity [batch, 2, n, n], given " + velocity.shape().to_string());
  if (order < 1)
    throw ArgumentError("structure_functions: the order must be at least 1, given " + std::to_string(order));
  const index_t batch = velocity.shape()[0], n = velocity.shape()[-1];
  const std::vector<double> values = detail::host_doubles(velocity);
  const auto power = [order](double x) {
    double result = 1;
    for (int p = 0; p < order; ++p) result *= x;
    return result;
  };
  StructureFunctions result;
  for (const index_t by : cells) {
    const index_t shift = (by % n + n) % n;
    double sums[2][2] = {{0, 0}, {0, 0}};  // component, direction
    for (index_t field = 0; field < 2 * batch; ++field) {
      const double* const f = values.data() + field * n * n;
      double along_x = 0, along_y = 0;
      for (index_t i = 0; i < n; ++i) {
        const double* const here = f + i * n;
        const double* const there = f + (i + shift) % n * n;
        for (index_t j = 0; j < n; ++j) {
          along_x += power(there[j] - here[j]);
          along_y += power(here[(j + shift) % n] - here[j]);
        }
      }
      sums[field % 2][0] += along_x;
      sums[field % 2][1] += along_y;
    }
    const double count = static_cast<double>(batch) * static_cast<double>(n) * static_cast<double>(n);
    result.separations.push_back(static_cast<double>(by) * length / static_cast<double>(n));
    result.longitudinal_x.push_back(sums[0][0] / count);
    result.longitudinal_y.push_back(sums[1][1] / count);
    result.transverse_x.push_back(sums[1][0] / count);
    result.transverse_y.push_back(sums[0][1] / count);
  }
  return result;
}

/// <(x - m)^4> / <(x - m)^2>^2 over all elements: 3 for a Gaussian. Throws ArgumentError for samples without variance.
template <PlainTensor X>
double kurtosis(const X& x) {
  const std::vector<double> values = detail::host_doubles(x);
  double mean = 0, second = 0, fourth = 0;
  for (const double v : values) mean += v / static_cast<double>(values.size());
  for (const double v : values) {
    const double d = (v - mean) * (v - mean);
    second += d / static_cast<double>(values.size());
    fourth += d * d / static_cast<double>(values.size());
  }
  if (!(second > 0)) throw ArgumentError("kurtosis: the samples have no variance");
  return fourth / (second * second);
}

/// The correlation of x with itself `lag` = 0, 1, ..., largest_lag times later, over all series [batch, time, ...],
/// about their common mean. Throws ShapeError unless there are more times than lags, ArgumentError for constant series.
template <PlainTensor X>
std::vector<double> autocorrelation(const X& x, index_t largest_lag) {
  if (x.rank() < 2 || largest_lag < 0 || x.shape()[1] <= largest_lag)
    throw ShapeError("autocorrelation: expected series [batch, time, ...] of more than " + std::to_string(largest_lag) +
                     " times, given " + x.shape().to_string());
  const std::vector<double> values = detail::host_doubles(x);
  const auto times = static_cast<std::size_t>(x.shape()[1]), batch = static_cast<std::size_t>(x.shape()[0]);
  const std::size_t frame = values.size() / (batch * times);
  double mean = 0, variance = 0;
  for (const double v : values) mean += v / static_cast<double>(values.size());
  for (const double v : values) variance += (v - mean) * (v - mean) / static_cast<double>(values.size());
  if (!(variance > 0)) throw ArgumentError("autocorrelation: the series are constant");
  std::vector<double> result;
  for (std::size_t lag = 0; lag <= static_cast<std::size_t>(largest_lag); ++lag) {
    double sum = 0;
    for (std::size_t b = 0; b < batch; ++b)
      for (std::size_t i = b * times * frame; i < ((b + 1) * times - lag) * frame; ++i)
        sum += (values[i] - mean) * (values[i + lag * frame] - mean);
    result.push_back(sum / static_cast<double>(batch * (times - lag) * frame) / variance);
  }
  return result;
}

}  // namespace kolmo::flow
