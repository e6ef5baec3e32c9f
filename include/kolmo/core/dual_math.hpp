#pragma once
// The elementary functions of dual numbers; included by dual.hpp.

#include <kolmo/core/dual.hpp>

namespace kolmo {

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr bool is_nan(const Dual<S, N>& x) {
  return is_nan(x.v);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr bool is_finite(const Dual<S, N>& x) {
  return is_finite(x.v);
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> select(bool condition, const Dual<S, N>& if_true,
                                                  const std::type_identity_t<Dual<S, N>>& if_false) {
  return detail::chosen(condition, if_true, if_false, detail::Indices<N>{});
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> maximum(const Dual<S, N>& x, const std::type_identity_t<Dual<S, N>>& y) {
  return select(detail::either(x.v < y.v, is_nan(y.v)), y, x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> minimum(const Dual<S, N>& x, const std::type_identity_t<Dual<S, N>>& y) {
  return select(detail::either(x.v > y.v, is_nan(y.v)), y, x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> clamp(const Dual<S, N>& x, const std::type_identity_t<Dual<S, N>>& low,
                                                 const std::type_identity_t<Dual<S, N>>& high) {
  return select(x.v < low.v, low, select(x.v > high.v, high, x));
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> abs(const Dual<S, N>& x) {
  return chain(abs(x.v), sign(x.v), x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> sign(const Dual<S, N>& x) {
  return sign(x.v);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE Dual<S, N> floor(const Dual<S, N>& x) {
  return floor(x.v);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> square(const Dual<S, N>& x) {
  return chain(x.v * x.v, x.v + x.v, x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE Dual<S, N> sqrt(const Dual<S, N>& x) {
  const S root = sqrt(x.v);
  return chain(root, S(1) / (root + root), x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE Dual<S, N> rsqrt(const Dual<S, N>& x) {
  const S inverse_root = rsqrt(x.v);
  return chain(inverse_root, -inverse_root / (x.v + x.v), x);
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> exp(const Dual<S, N>& x) {
  const S e = exp(x.v);
  return chain(e, e, x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> expm1(const Dual<S, N>& x) {
  return chain(expm1(x.v), exp(x.v), x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> log(const Dual<S, N>& x) {
  return chain(log(x.v), S(1) / x.v, x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> log1p(const Dual<S, N>& x) {
  return chain(log1p(x.v), S(1) / (S(1) + x.v), x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> tanh(const Dual<S, N>& x) {
  const S t = tanh(x.v);
  return chain(t, S(1) - t * t, x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> sigmoid(const Dual<S, N>& x) {
  // sigmoid(-x) rather than 1 - sigmoid(x) keeps the derivative accurate where the function saturates.
  const S s = sigmoid(x.v);
  return chain(s, s * sigmoid(-x.v), x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> softplus(const Dual<S, N>& x) {
  return chain(softplus(x.v), sigmoid(x.v), x);
}

namespace detail {

/// 2 / sqrt(pi) exp(-x^2), the derivative of erf.
template <class S>
KOLMO_HD KOLMO_INLINE constexpr S erf_slope(const S& x) {
  return S(decltype(value_of(x))(1.1283791670955125739)) * exp(-(x * x));
}

}  // namespace detail

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> erf(const Dual<S, N>& x) {
  return chain(erf(x.v), detail::erf_slope(x.v), x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> erfc(const Dual<S, N>& x) {
  return chain(erfc(x.v), -detail::erf_slope(x.v), x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> normal_cdf(const Dual<S, N>& x) {
  using T = decltype(value_of(x));
  return chain(normal_cdf(x.v), S(T(0.39894228040143267794)) * exp(S(T(-0.5)) * (x.v * x.v)), x);
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> sin(const Dual<S, N>& x) {
  return chain(sin(x.v), cos(x.v), x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> cos(const Dual<S, N>& x) {
  return chain(cos(x.v), -sin(x.v), x);
}

/// x^y. The slope in y is taken as 0 where x is not positive, so that a constant exponent is right for every base.
template <class S, int N>
KOLMO_HD KOLMO_INLINE Dual<S, N> pow(const Dual<S, N>& x, const Dual<S, N>& y) {
  const S power = pow(x.v, y.v);
  return chain(power, select(y.v == 0, S(0), y.v * pow(x.v, y.v - S(1))), x, select(x.v > 0, power * log(x.v), S(0)),
               y);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE Dual<S, N> pow(const Dual<S, N>& x, std::type_identity_t<S> y) {
  return chain(pow(x.v, y), select(y == 0, S(0), y * pow(x.v, y - S(1))), x);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE Dual<S, N> pow(std::type_identity_t<S> x, const Dual<S, N>& y) {
  const S power = pow(x, y.v);
  return chain(power, select(x > 0, power * log(x), S(0)), y);
}

}  // namespace kolmo
