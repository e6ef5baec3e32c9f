#pragma once
// Mixtures with fewer components: pruning of light ones, and merging of pairs that keeps mass, mean and variance
// (Runnalls, "Kullback-Leibler approach to Gaussian mixture reduction", 2007).

#include <limits>

#include <kolmo/ad/items.hpp>
#include <kolmo/gmm/mixture.hpp>
#include <kolmo/gmm/mixture_reduce_item.hpp>

namespace kolmo::gmm {

/// Rows of a reduced batch. Each has its components in order of their means, and those it no longer needs behind them
/// with weight zero. A row that was no mixture is NaN with 0 components.
template <PlainTensor V>
struct ReducedMixture {
  using Integers = Tensor<std::int32_t, typename V::Backend>;

  Mixture<V> mixture;   ///< [batch, K], as wide as the fullest row
  Integers components;  ///< [batch], in use
  V divergence;         ///< [batch], bound of the Kullback-Leibler divergence that merging cost; zero after pruning
};

struct MergeOptions {
  /// Merge down to at most so many components.
  int components = std::numeric_limits<int>::max();
  /// Then go on while the bounds of the divergence sum to at most this.
  double most_divergence = 0.0;
};

namespace detail {

/// Leaves out the columns that no row uses.
template <PlainTensor V>
void narrow(ReducedMixture<V>& reduced) {
  index_t width = 1;
  for (std::int32_t count : reduced.components.to_vector()) width = larger<index_t>(width, count);
  Mixture<V>& m = reduced.mixture;
  m = {slice(m.weights, 1, 0, width).contiguous(), slice(m.means, 1, 0, width).contiguous(),
       slice(m.deviations, 1, 0, width).contiguous()};
}

}  // namespace detail

/// Removes components with less than `least_weight` of the weight of their mixture; the others share what they had in
/// proportion. The heaviest always stays. Throws ArgumentError unless 0 <= least_weight <= 1.
template <PlainTensor V>
ReducedMixture<V> pruned(const Mixture<V>& mixture, double least_weight = 1e-4) {
  if (!(least_weight >= 0.0 && least_weight <= 1.0))
    throw ArgumentError("pruned: the least weight must be from 0 to 1, given " + std::to_string(least_weight));
  using T = typename V::Scalar;
  ReducedMixture<V> result{{mixture.weights.copy(), mixture.means.copy(), mixture.deviations.copy()},
                           ReducedMixture<V>::Integers::uninitialized(Shape{mixture.batch()}),
                           V::zeros(Shape{mixture.batch()})};
  kolmo::detail::for_each_item<typename V::Backend>(
      mixture.batch(),
      detail::PruneItem<T>{result.mixture.weights.mutable_data(), result.mixture.means.mutable_data(),
                           result.mixture.deviations.mutable_data(), static_cast<int>(mixture.components()),
                           least_weight, result.components.mutable_data()});
  detail::narrow(result);
  return result;
}

/// Merges the pair that costs least, by Runnalls' bound of the divergence, again and again, down to
/// `options.components` and further while that is cheap. Mass, mean and variance of the mixture stay. Throws
/// ArgumentError for fewer than one component or a negative divergence.
template <PlainTensor V>
ReducedMixture<V> merged(const Mixture<V>& mixture, const MergeOptions& options) {
  if (options.components < 1 || !(options.most_divergence >= 0.0))
    throw ArgumentError("merged: at least one component must be left and the divergence must not be negative, given " +
                        std::to_string(options.components) + " and " + std::to_string(options.most_divergence));
  using T = typename V::Scalar;
  using B = typename V::Backend;
  using Integers = typename ReducedMixture<V>::Integers;
  const index_t batch = mixture.batch(), width = mixture.components();
  ReducedMixture<V> result{{mixture.weights.copy(), mixture.means.copy(), mixture.deviations.copy()},
                           Integers::uninitialized(Shape{batch}),
                           V::uninitialized(Shape{batch})};
  auto cost = Tensor<double, B>::uninitialized(Shape{batch, width});
  auto partner = Integers::uninitialized(Shape{batch, width});
  kolmo::detail::for_each_item<B>(
      batch, detail::MergeItem<T>{result.mixture.weights.mutable_data(), result.mixture.means.mutable_data(),
                                  result.mixture.deviations.mutable_data(), static_cast<int>(width), options.components,
                                  options.most_divergence, cost.mutable_data(), partner.mutable_data(),
                                  result.components.mutable_data(), result.divergence.mutable_data()});
  detail::narrow(result);
  return result;
}

}  // namespace kolmo::gmm
