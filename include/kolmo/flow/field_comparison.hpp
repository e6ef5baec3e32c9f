#pragma once
// How far two flows, or two collections of them, are apart.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <kolmo/core/wasserstein.hpp>
#include <kolmo/flow/spectra.hpp>

namespace kolmo::flow {

namespace detail {

inline void check_same_shape(const Shape& a, const Shape& b, const char* operation) {
  if (!(a == b) || a.rank() < 1)
    throw ShapeError(std::string(operation) + ": expected two batches of one shape, given " + a.to_string() + " and " +
                     b.to_string());
}

}  // namespace detail

/// |x - reference| / |reference| for each item of a batch. Throws ShapeError unless the shapes agree, ArgumentError for
/// a reference that is zero.
template <PlainTensor X>
std::vector<double> relative_error(const X& x, const X& reference) {
  detail::check_same_shape(x.shape(), reference.shape(), "relative_error");
  const auto a = detail::host_doubles(x), b = detail::host_doubles(reference);
  const auto batch = static_cast<std::size_t>(x.shape()[0]);
  std::vector<double> result;
  for (std::size_t item = 0; item < batch; ++item) {
    double difference = 0, size = 0;
    for (std::size_t i = item * a.size() / batch; i < (item + 1) * a.size() / batch; ++i) {
      difference += (a[i] - b[i]) * (a[i] - b[i]);
      size += b[i] * b[i];
    }
    if (!(size > 0)) throw ArgumentError("relative_error: reference " + std::to_string(item) + " is zero");
    result.push_back(std::sqrt(difference / size));
  }
  return result;
}

/// <w w'> / sqrt(<w^2> <w'^2>) of the vorticities of two batches of flows, vorticity or velocity, for each pair; 0 when
/// one of them has no vorticity. Throws ShapeError unless the shapes agree.
template <PlainTensor X>
std::vector<double> vorticity_correlation(const X& x, const X& y, const FieldGeometry& geometry = {}) {
  detail::check_same_shape(x.shape(), y.shape(), "vorticity_correlation");
  const auto a = detail::flow_modes(x, geometry, "vorticity_correlation");
  const auto b = detail::flow_modes(y, geometry, "vorticity_correlation");
  std::vector<double> result;
  for (std::size_t item = 0; item < a.size(); ++item) {
    double both = 0, first = 0, second = 0;
    a[item].for_each([&](index_t r, index_t c) {
      const std::size_t m = a[item].place(r, c);
      const double weight = a[item].weight(c);
      both += weight * detail::inner(a[item].vorticity[m], b[item].vorticity[m]);
      first += weight * a[item].vorticity[m].square();
      second += weight * b[item].vorticity[m].square();
    });
    result.push_back(first > 0 && second > 0 ? both / std::sqrt(first * second) : 0);
  }
  return result;
}

/// The time until a correlation first falls below `threshold`, by linear interpolation between values `dt` apart from
/// time 0 on; the time of the last value when it never does. Throws ArgumentError without values.
inline double valid_time(std::span<const double> correlations, double dt, double threshold = 0.95) {
  if (correlations.empty()) throw ArgumentError("valid_time: at least one correlation is needed");
  for (std::size_t i = 0; i < correlations.size(); ++i) {
    if (correlations[i] >= threshold) continue;
    if (i == 0) return 0;
    const double part = (correlations[i - 1] - threshold) / (correlations[i - 1] - correlations[i]);
    return dt * (static_cast<double>(i - 1) + part);
  }
  return dt * static_cast<double>(correlations.size() - 1);
}

/// The sum of |ln E(k) - ln E_ref(k)| over the shells k >= 1 whose E_ref is above `floor` times its largest; infinite
/// when one of them is empty in E. Throws ShapeError for spectra of different lengths.
inline double spectrum_distance(std::span<const double> spectrum, std::span<const double> reference,
                                double floor = 1e-10) {
  if (spectrum.size() != reference.size())
    throw ShapeError("spectrum_distance: the spectra have " + std::to_string(spectrum.size()) + " and " +
                     std::to_string(reference.size()) + " shells");
  double largest = 0, sum = 0;
  for (std::size_t k = 1; k < reference.size(); ++k) largest = std::max(largest, reference[k]);
  for (std::size_t k = 1; k < reference.size(); ++k) {
    if (reference[k] > floor * largest) sum += std::abs(std::log(spectrum[k]) - std::log(reference[k]));
  }
  return sum;
}

/// How far velocities [batch, 2, n, n] are from being free of divergence: |div u| / |grad u| over the box for each of
/// them, 0 for an incompressible flow and 1/sqrt(2) for unrelated components. Throws ShapeError for other shapes.
template <PlainTensor X>
std::vector<double> relative_divergence(const X& x, const FieldGeometry& geometry = {}) {
  if (!detail::is_velocity(x.shape(), "relative_divergence"))
    throw ShapeError("relative_divergence: a vorticity has no divergence; expected velocity [batch, 2, n, n], given " +
                     x.shape().to_string());
  std::vector<double> result;
  for (const detail::FlowModes& flow : detail::flow_modes(x, geometry, "relative_divergence")) {
    double divergence = 0, gradient = 0;
    flow.for_each([&](index_t r, index_t c) {
      const std::size_t m = flow.place(r, c);
      const double kx = flow.kx(r), ky = flow.ky(c);
      divergence += flow.weight(c) * (kx * flow.u[m] + ky * flow.v[m]).square();
      gradient += flow.weight(c) * (kx * kx + ky * ky) * (flow.u[m].square() + flow.v[m].square());
    });
    result.push_back(gradient > 0 ? std::sqrt(divergence / gradient) : 0);
  }
  return result;
}

}  // namespace kolmo::flow
