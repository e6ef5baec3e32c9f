#pragma once
// Random samples of mixtures. A number is a function of (key, row, index) alone, so the first samples of a row are
// the same for any count, batch, backend and number of threads. For samples that are differentiable in the mixture,
// take `quantile` of uniform numbers.

#include <string>

#include <kolmo/core/random.hpp>
#include <kolmo/gmm/mixture.hpp>

namespace kolmo::gmm {

namespace detail {

template <class T>
struct SampleItem {
  const T* weights;
  const T* means;
  const T* deviations;
  int components;
  index_t count;
  Key key;
  T* samples;

  KOLMO_HD void operator()(index_t i) const {
    const index_t item = i / count, offset = item * components;
    const KeyPair keys = split(fold_in(key, static_cast<std::uint64_t>(item)));
    const std::uint64_t index = static_cast<std::uint64_t>(i % count);
    double total = 0.0;
    for (int k = 0; k < components; ++k) total += static_cast<double>(weights[offset + k]);
    double rest = uniform<double>(keys.first, index) * total;
    // The last component with a weight takes what rounding leaves over.
    int chosen = 0;
    for (int k = 0; k < components; ++k) {
      if (!(weights[offset + k] > T(0))) continue;
      chosen = k;
      rest -= static_cast<double>(weights[offset + k]);
      if (rest < 0.0) break;
    }
    samples[i] = means[offset + chosen] + deviations[offset + chosen] * normal<T>(keys.second, index);
  }
};

}  // namespace detail

/// Samples [batch, count]. Weights are taken relative to their sum. Throws ArgumentError for a negative count.
template <PlainTensor V>
V sample(const Mixture<V>& mixture, Key key, index_t count) {
  if (count < 0) throw ArgumentError("sample: the count must not be negative, given " + std::to_string(count));
  const Mixture<V> m{mixture.weights.contiguous(), mixture.means.contiguous(), mixture.deviations.contiguous()};
  V result = V::uninitialized(Shape{mixture.batch(), count});
  V::Backend::for_each(result.size(), detail::SampleItem<typename V::Scalar>{
                                          m.weights.data(), m.means.data(), m.deviations.data(),
                                          static_cast<int>(m.components()), count, key, result.mutable_data()});
  return result;
}

}  // namespace kolmo::gmm
