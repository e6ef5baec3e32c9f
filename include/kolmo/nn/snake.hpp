#pragma once
// Snake (Ziyin et al. 2020), the activation of periodic signals:
//
//   y = x + sin^2(a x) / (a + 1e-9),   a per channel, starting at 1.

#include <kolmo/ad/map.hpp>
#include <kolmo/ad/module.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::fn {

struct Snake {
  template <class S>
  KOLMO_HD S operator()(S x, S a) const {
    const S s = sin(a * x);
    return x + s * s / (a + S(1e-9));
  }
};

}  // namespace kolmo::fn

namespace kolmo::nn {

namespace detail {

/// How often a row of so many channels is repeated so that rows of hundreds of elements tile `size` elements: loops
/// over eight channels would spend their time on starting.
inline index_t snake_rows(index_t size, index_t channels) {
  index_t rows = 1;
  while (rows * channels < 256 && size % (2 * rows * channels) == 0) rows *= 2;
  return rows;
}

}  // namespace detail

/// Snake of x [..., C] with `frequency` [C]. Throws ShapeError when they do not fit.
template <TensorLike X, TensorLike A>
auto snake(const X& x, const A& frequency) {
  const Shape shape = x.shape();
  if (x.rank() < 1 || !(frequency.shape() == Shape{shape[-1]}))
    throw ShapeError("snake: expected x [..., channels] and one frequency for each channel, given " +
                     shape.to_string() + " and " + frequency.shape().to_string());
  const index_t channels = shape[-1];
  const index_t rows = channels == 0 || x.size() == 0 ? 1 : detail::snake_rows(x.size(), channels);
  if (rows == 1) return map(fn::Snake{}, x, frequency);
  const auto repeated = reshape(expand(frequency, Shape{rows, channels}), Shape{rows * channels});
  return reshape(map(fn::Snake{}, reshape(x, Shape{x.size() / (rows * channels), rows * channels}), repeated), shape);
}

/// Snake as a layer.
template <class V>
struct Snake {
  V frequency;  ///< [C]

  Snake() = default;
  /// Ones.
  explicit Snake(index_t channels) : frequency(V::ones(Shape{channels})) {}

  static void fields(auto&& f, auto&... s) { f(param("frequency"), s.frequency...); }
  template <class U>
  using Rebind = Snake<U>;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return snake(x, frequency);
  }
};

template <PlainTensor V>
void init(Key, Snake<V>& layer) {
  layer.frequency = V::ones(layer.frequency.shape());
}

}  // namespace kolmo::nn
