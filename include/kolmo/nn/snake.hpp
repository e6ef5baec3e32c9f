#pragma once
// Snake (Ziyin et al. 2020), the activation of periodic signals:
//
//   y = x + sin^2(a x) / (a + 1e-9),   a per channel, starting at 1.

#include <kolmo/ad/map.hpp>
#include <kolmo/ad/module.hpp>
#include <kolmo/core/random.hpp>

namespace kolmo::detail {

/// The quadrant of an angle from three parts of pi / 2, the first ones short enough that their multiples are exact: to
/// rounding for |t| up to 1e5, a tenth of the time of the reduction for every float. Beyond, Snake's sine is less than
/// the rounding of the x that it is added to.
template <Real T>
KOLMO_HD KOLMO_INLINE Quadrant<T> near_quadrant(T t) {
  constexpr bool single = std::same_as<T, float>;
  const T shifted = t * T(0.63661977236758134308) + rounding_shift<T>(), q = shifted - rounding_shift<T>();
  T r = t - q * T(single ? 0x1.92p0 : 0x1.921fb544p0);
  r = r - q * T(single ? 0x1.fbp-12 : 0x1.0b4611a6p-34);
  r = r - q * T(single ? 0x1.5110b4p-22 : 0x1.3198a2e037073p-69);
  return {r, static_cast<std::uint32_t>(to_bits(shifted))};
}

template <class S>
KOLMO_HD KOLMO_INLINE S snake_sine(const S& t) {
  if constexpr (Real<S>)
    return sin_of_quadrant(near_quadrant(t));
  else
    return sin(t);
}
template <class S>
KOLMO_HD KOLMO_INLINE S snake_cosine(const S& t) {
  if constexpr (Real<S>) {
    const Quadrant<S> at = near_quadrant(t);
    return sin_of_quadrant(Quadrant<S>{at.r, at.q + 1});
  } else {
    return cos(t);
  }
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE Dual<S, N> snake_cosine(const Dual<S, N>& t);
template <class S, int N>
KOLMO_HD KOLMO_INLINE Dual<S, N> snake_sine(const Dual<S, N>& t) {
  return chain(snake_sine(t.v), snake_cosine(t.v), t);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE Dual<S, N> snake_cosine(const Dual<S, N>& t) {
  return chain(snake_cosine(t.v), -snake_sine(t.v), t);
}

}  // namespace kolmo::detail

namespace kolmo::fn {

struct Snake {
  template <class S>
  KOLMO_HD S operator()(S x, S a) const {
    const S s = kolmo::detail::snake_sine(a * x);
    return x + s * s / (a + S(1e-9));
  }
};

}  // namespace kolmo::fn

namespace kolmo::nn {

/// Snake of x [..., C] with `frequency` [C]. Throws ShapeError when they do not fit.
template <TensorLike X, TensorLike A>
auto snake(const X& x, const A& frequency) {
  const Shape shape = x.shape();
  if (x.rank() < 1 || !(frequency.shape() == Shape{shape[-1]}))
    throw ShapeError("snake: expected x [..., channels] and one frequency for each channel, given " +
                     shape.to_string() + " and " + frequency.shape().to_string());
  return map(fn::Snake{}, x, frequency);
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
