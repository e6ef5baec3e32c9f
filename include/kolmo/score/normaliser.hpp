#pragma once
// A mean and a standard deviation for each channel: networks see (x - mean) / deviation. It belongs to a model and is
// saved with it, so that what was trained on standardised data is never handed physical units.

#include <string>

#include <kolmo/ad/module.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::score {

/// For tensors [..., channel, space...] with `space` axes after the channels. Without a value, the identity.
template <class V>
struct Normaliser {
  V mean;       ///< [channels]
  V deviation;  ///< [channels], positive
  index_t space = 0;

  static void fields(auto&& f, auto&... s) {
    f(state("mean"), s.mean...);
    f(state("deviation"), s.deviation...);
    f(option("space"), s.space...);
  }
  template <class U>
  using Rebind = Normaliser<U>;

  /// Physical units to standardised ones. Throws ShapeError for another number of channels.
  template <TensorLike X>
  auto normalised(const X& x) const {
    check(x.shape(), "normalised");
    return (x - per_channel(mean)) / per_channel(deviation);
  }
  /// The inverse of normalised.
  template <TensorLike X>
  auto denormalised(const X& x) const {
    check(x.shape(), "denormalised");
    return x * per_channel(deviation) + per_channel(mean);
  }

 private:
  V per_channel(const V& values) const {
    Shape shape = values.shape();
    for (index_t i = 0; i < space; ++i) shape.push_back(1);
    return reshape(values, shape);
  }
  void check(const Shape& shape, const char* what) const {
    const index_t axis = shape.rank() - 1 - space;
    if (axis < 0 || shape[static_cast<int>(axis)] != mean.size())
      throw ShapeError(std::string("Normaliser::") + what + ": expected " + std::to_string(mean.size()) +
                       " channels before " + std::to_string(space) + " axes of space, given " + shape.to_string());
  }
};

/// A normaliser that changes nothing: mean 0, deviation 1.
template <PlainTensor V>
Normaliser<V> identity_normaliser(index_t channels, index_t space) {
  return {V::zeros({channels}), V::ones({channels}), space};
}

}  // namespace kolmo::score
