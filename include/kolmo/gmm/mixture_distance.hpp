#pragma once
// Distances between mixtures, and of mixtures from samples and sampled densities: the Kolmogorov-Smirnov distance
// sup_z |G(z) - F(z)| over the whole line, not over a grid. It is computed in double whatever the scalar.

#include <optional>

#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/mixture.hpp>
#include <kolmo/gmm/mixture_distance_item.hpp>
#include <kolmo/ops/indexing.hpp>

namespace kolmo::gmm {

namespace detail {

/// How far below the supremum a distance may be.
inline constexpr double distance_tolerance = 1e-12;

template <class T, PlainTensor V>
MixtureTerm<T> mixture_term(const Mixture<V>& m) {
  return {m.weights.data(), m.means.data(), m.deviations.data(), static_cast<int>(m.components())};
}

template <PlainTensor V>
Mixture<V> contiguous_mixture(const Mixture<V>& m) {
  return {m.weights.contiguous(), m.means.contiguous(), m.deviations.contiguous()};
}

}  // namespace detail

/// Largest differences [batch] of the distribution functions of two batches of mixtures, of any numbers of components,
/// to 1e-12. NaN for a row that is no mixture. Throws ShapeError when the batches differ.
template <PlainTensor V>
V kolmogorov_smirnov(const Mixture<V>& first, const Mixture<V>& second) {
  if (first.batch() != second.batch())
    throw ShapeError("kolmogorov_smirnov: " + std::to_string(first.batch()) + " mixtures cannot be compared with " +
                     std::to_string(second.batch()));
  using T = typename V::Scalar;
  const Mixture<V> a = detail::contiguous_mixture(first), b = detail::contiguous_mixture(second);
  V result = V::uninitialized(Shape{a.batch()});
  kolmo::detail::for_each_item<typename V::Backend>(
      a.batch(), detail::MixtureDistanceItem<T>{{a.weights.data(), b.weights.data()},
                                                {a.means.data(), b.means.data()},
                                                {a.deviations.data(), b.deviations.data()},
                                                {static_cast<int>(a.components()), static_cast<int>(b.components())},
                                                detail::distance_tolerance,
                                                result.mutable_data()});
  return result;
}

/// Largest differences [batch] between the distribution functions of mixtures and of samples [batch, n] in any order,
/// n >= 1. NaN for a row that is no mixture or has a sample that is not finite. Throws ShapeError.
template <PlainTensor V>
V kolmogorov_smirnov(const Mixture<V>& mixture, const V& samples) {
  if (samples.rank() != 2 || samples.extent(0) != mixture.batch() || samples.extent(1) < 1)
    throw ShapeError("kolmogorov_smirnov: expected samples of shape [" + std::to_string(mixture.batch()) +
                     ", n] with n >= 1, given " + samples.shape().to_string());
  using T = typename V::Scalar;
  const Mixture<V> m = detail::contiguous_mixture(mixture);
  const V sorted = sort(samples).contiguous();
  V result = V::uninitialized(Shape{m.batch()});
  kolmo::detail::for_each_item<typename V::Backend>(
      m.batch(), detail::SampleDistanceItem<T>{detail::mixture_term<T>(m), sorted.data(), samples.extent(1),
                                               result.mutable_data()});
  return result;
}

/// Largest differences [batch] between the distribution functions of mixtures and of densities [batch, N] (or [N])
/// sampled on an equally spaced grid, moved by `offsets` [batch] if given: linear between the points, normalised and
/// zero beyond, so that mass of the mixture beyond the grid counts. To 1e-12; NaN for a row that is no mixture or no
/// density. Throws ShapeError.
template <PlainTensor V>
V kolmogorov_smirnov(const Mixture<V>& mixture, const V& given, const Grid& grid,
                     const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  check_grid(grid, "kolmogorov_smirnov");
  const V densities = detail::as_batch(given, "kolmogorov_smirnov", "densities");
  if (densities.extent(0) != mixture.batch() || densities.extent(1) != grid.points ||
      (offsets.has_value() && offsets->size() != mixture.batch()))
    throw ShapeError("kolmogorov_smirnov: " + std::to_string(mixture.batch()) + " mixtures, densities " +
                     densities.shape().to_string() + " and a grid of " + std::to_string(grid.points) +
                     " points do not fit each other");
  using T = typename V::Scalar;
  const Mixture<V> m = detail::contiguous_mixture(mixture);
  const V shift = offsets.has_value() ? offsets->contiguous() : V{};
  V result = V::uninitialized(Shape{m.batch()});
  kolmo::detail::for_each_item<typename V::Backend>(
      m.batch(), detail::DensityDistanceItem<T>{detail::mixture_term<T>(m), densities.data(),
                                                shift.has_value() ? shift.data() : nullptr, grid.first, grid.spacing(),
                                                grid.points, detail::distance_tolerance, result.mutable_data()});
  return result;
}

}  // namespace kolmo::gmm
