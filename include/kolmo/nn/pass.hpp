#pragma once
// What a forward pass is told: whether it trains, and the key of its random numbers. It is an argument, never a flag
// inside a layer, so that a model has no mode to forget.

#include <utility>

#include <kolmo/core/random.hpp>

namespace kolmo::nn {

/// The key is looked at only when training.
struct Pass {
  Key key{};
  bool training = false;

  /// The pass of part `index` of a model, with random numbers of its own.
  Pass part(index_t index) const { return {fold_in(key, static_cast<std::uint64_t>(index)), training}; }
};

/// layer(x, pass) when the layer takes a pass, else layer(x).
template <class Layer, class X>
auto call(const Layer& layer, const X& x, const Pass& pass) {
  if constexpr (requires { layer(x, pass); })
    return layer(x, pass);
  else
    return layer(x);
}

}  // namespace kolmo::nn
