#pragma once
// Dual numbers: a value with N partial derivatives, v + sum_i d_i e_i with e_i e_j = 0. A functor that
// is generic in its scalar gives its derivatives when it runs on them. The scalar may be a dual itself,
// which gives second derivatives.
//
// Every operation builds its result in one aggregate expression: loops over the derivatives that write
// in place keep clang from holding a dual in registers and cost it a factor of 60.
//
// Where a function has a kink: abs has slope 0 at 0, minimum and maximum take the first argument on a
// tie, floor and sign have slope 0 everywhere.

#include <type_traits>
#include <utility>

#include <kolmo/core/math.hpp>

namespace kolmo {

template <class S, int N>
struct Dual {
  S v{};
  Array<S, N> d{};

  constexpr Dual() = default;
  /// A constant.
  KOLMO_HD constexpr Dual(S value) : v(value) {}
  KOLMO_HD constexpr Dual(const S& value, const Array<S, N>& derivatives) : v(value), d(derivatives) {}
  template <class U>
  requires(!std::same_as<U, S> && std::is_arithmetic_v<U>) KOLMO_HD constexpr Dual(U value) : v(S(value)) {}

  /// The variable number i: its derivative i is one, the others zero.
  KOLMO_HD static constexpr Dual variable(S value, int i) {
    return unit(value, i, std::make_integer_sequence<int, N>{});
  }

  KOLMO_HD constexpr Dual& operator+=(const Dual& b) { return *this = *this + b; }
  KOLMO_HD constexpr Dual& operator-=(const Dual& b) { return *this = *this - b; }
  KOLMO_HD constexpr Dual& operator*=(const Dual& b) { return *this = *this * b; }
  KOLMO_HD constexpr Dual& operator/=(const Dual& b) { return *this = *this / b; }

 private:
  template <int... I>
  KOLMO_HD static constexpr Dual unit(S value, int i, std::integer_sequence<int, I...>) {
    return {value, {{S(I == i ? 1 : 0)...}}};
  }
};

template <class T>
inline constexpr bool is_dual = false;
template <class S, int N>
inline constexpr bool is_dual<Dual<S, N>> = true;

namespace detail {

template <int N>
using Indices = std::make_integer_sequence<int, N>;

// Each of these returns the whole dual. An intermediate Array by value would be passed in a vector register
// by the calling convention, and clang does not take that apart again: loops over Dual<float, 2> then stay scalar.

template <class S, int N, int... I>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> scaled(S value, S a, const Array<S, N>& x,
                                                  std::integer_sequence<int, I...>) {
  return {value, {{(a * x.elements[I])...}}};
}
template <class S, int N, int... I>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> scaled_sum(S value, S a, const Array<S, N>& x, S b, const Array<S, N>& y,
                                                      std::integer_sequence<int, I...>) {
  return {value, {{(a * x.elements[I] + b * y.elements[I])...}}};
}
template <class S, int N, int... I>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> sum(const Dual<S, N>& x, const Dual<S, N>& y,
                                               std::integer_sequence<int, I...>) {
  return {x.v + y.v, {{(x.d.elements[I] + y.d.elements[I])...}}};
}
template <class S, int N, int... I>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> difference(const Dual<S, N>& x, const Dual<S, N>& y,
                                                      std::integer_sequence<int, I...>) {
  return {x.v - y.v, {{(x.d.elements[I] - y.d.elements[I])...}}};
}
template <class S, int N, int... I>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> same_slope(S value, const Array<S, N>& x, std::integer_sequence<int, I...>) {
  return {value, {{x.elements[I]...}}};
}
template <class S, int N, int... I>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> opposite_slope(S value, const Array<S, N>& x,
                                                          std::integer_sequence<int, I...>) {
  return {value, {{(-x.elements[I])...}}};
}
template <class S, int N, int... I>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> chosen(bool condition, const Dual<S, N>& x, const Dual<S, N>& y,
                                                  std::integer_sequence<int, I...>) {
  return {select(condition, x.v, y.v), {{select(condition, x.d.elements[I], y.d.elements[I])...}}};
}

}  // namespace detail

/// f(x) from its value and its derivative at x.v.
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> chain(std::type_identity_t<S> value, std::type_identity_t<S> slope,
                                                 const Dual<S, N>& x) {
  return detail::scaled<S, N>(value, slope, x.d, detail::Indices<N>{});
}

/// f(x, y) from its value and its two derivatives at (x.v, y.v).
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> chain(std::type_identity_t<S> value, std::type_identity_t<S> slope_x,
                                                 const Dual<S, N>& x, std::type_identity_t<S> slope_y,
                                                 const Dual<S, N>& y) {
  return detail::scaled_sum<S, N>(value, slope_x, x.d, slope_y, y.d, detail::Indices<N>{});
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator+(const Dual<S, N>& a) {
  return a;
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator-(const Dual<S, N>& a) {
  return detail::opposite_slope<S, N>(-a.v, a.d, detail::Indices<N>{});
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator+(const Dual<S, N>& a, const Dual<S, N>& b) {
  return detail::sum(a, b, detail::Indices<N>{});
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator+(const Dual<S, N>& a, std::type_identity_t<S> b) {
  return detail::same_slope<S, N>(a.v + b, a.d, detail::Indices<N>{});
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator+(std::type_identity_t<S> a, const Dual<S, N>& b) {
  return detail::same_slope<S, N>(a + b.v, b.d, detail::Indices<N>{});
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator-(const Dual<S, N>& a, const Dual<S, N>& b) {
  return detail::difference(a, b, detail::Indices<N>{});
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator-(const Dual<S, N>& a, std::type_identity_t<S> b) {
  return detail::same_slope<S, N>(a.v - b, a.d, detail::Indices<N>{});
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator-(std::type_identity_t<S> a, const Dual<S, N>& b) {
  return detail::opposite_slope<S, N>(a - b.v, b.d, detail::Indices<N>{});
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator*(const Dual<S, N>& a, const Dual<S, N>& b) {
  return chain(a.v * b.v, b.v, a, a.v, b);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator*(const Dual<S, N>& a, std::type_identity_t<S> b) {
  return chain(a.v * b, b, a);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator*(std::type_identity_t<S> a, const Dual<S, N>& b) {
  return chain(a * b.v, a, b);
}

template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator/(const Dual<S, N>& a, const Dual<S, N>& b) {
  const S inverse = S(1) / b.v;
  const S quotient = a.v / b.v;
  return chain(quotient, inverse, a, -quotient * inverse, b);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator/(const Dual<S, N>& a, std::type_identity_t<S> b) {
  return chain(a.v / b, S(1) / b, a);
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr Dual<S, N> operator/(std::type_identity_t<S> a, const Dual<S, N>& b) {
  const S quotient = a / b.v;
  return chain(quotient, -quotient / b.v, b);
}

// Comparisons look at the values only.
#define KOLMO_DUAL_COMPARISON(op)                                                                    \
  template <class S, int N>                                                                          \
  KOLMO_HD KOLMO_INLINE constexpr bool operator op(const Dual<S, N>& a, const Dual<S, N>& b) {       \
    return a.v op b.v;                                                                               \
  }                                                                                                  \
  template <class S, int N>                                                                          \
  KOLMO_HD KOLMO_INLINE constexpr bool operator op(const Dual<S, N>& a, std::type_identity_t<S> b) { \
    return a.v op b;                                                                                 \
  }                                                                                                  \
  template <class S, int N>                                                                          \
  KOLMO_HD KOLMO_INLINE constexpr bool operator op(std::type_identity_t<S> a, const Dual<S, N>& b) { \
    return a op b.v;                                                                                 \
  }
KOLMO_DUAL_COMPARISON(==)
KOLMO_DUAL_COMPARISON(!=)
KOLMO_DUAL_COMPARISON(<)
KOLMO_DUAL_COMPARISON(>)
KOLMO_DUAL_COMPARISON(<=)
KOLMO_DUAL_COMPARISON(>=)
#undef KOLMO_DUAL_COMPARISON

/// The innermost value, without derivatives of any order.
template <class S, int N>
KOLMO_HD KOLMO_INLINE constexpr auto value_of(const Dual<S, N>& x) {
  return value_of(x.v);
}

}  // namespace kolmo

#include <kolmo/core/dual_math.hpp>
