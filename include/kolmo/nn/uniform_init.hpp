#pragma once
// Starting values of score networks: weights and biases uniform within 1 / sqrt(fan_in), no layer set to zero.

#include <kolmo/nn/layers.hpp>

namespace kolmo::nn {

/// Weight and bias uniform within 1 / sqrt(fan_in), each from a key of its own. Throws ArgumentError for fan_in < 1.
template <PlainTensor V>
void uniform_start(Key key, V& weight, V& bias, index_t fan_in) {
  const double bound = kolmo::detail::fan_bound(1, fan_in, "uniform_start");
  weight = uniform_values<V>(fold_in(key, 0), weight.shape(), -bound, bound);
  bias = uniform_values<V>(fold_in(key, 1), bias.shape(), -bound, bound);
}

template <PlainTensor V>
void uniform_init(Key key, Linear<V>& layer) {
  uniform_start(key, layer.weight, layer.bias, layer.weight.extent(0));
}

}  // namespace kolmo::nn
