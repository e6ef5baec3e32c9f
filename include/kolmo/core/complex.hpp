#pragma once
// Complex numbers for host and device; std::complex is not callable from CUDA device code.
//
// Products and quotients follow the plain formulas, except that the quotient scales by the larger part of
// the divisor (Smith 1962) and neither overflows nor underflows before the result does.

#include <type_traits>

#include <kolmo/core/math.hpp>

namespace kolmo {

template <class T>
struct Complex {
  T re{};
  T im{};

  constexpr Complex() = default;
  KOLMO_HD constexpr Complex(T real, T imaginary = T(0)) : re(real), im(imaginary) {}
  template <class U>
  requires(!std::same_as<U, T> && std::is_arithmetic_v<U>) KOLMO_HD constexpr Complex(U real) : re(T(real)) {}

  KOLMO_HD constexpr Complex& operator+=(const Complex& b) { return *this = *this + b; }
  KOLMO_HD constexpr Complex& operator-=(const Complex& b) { return *this = *this - b; }
  KOLMO_HD constexpr Complex& operator*=(const Complex& b) { return *this = *this * b; }
  KOLMO_HD constexpr Complex& operator/=(const Complex& b) { return *this = *this / b; }

  KOLMO_HD friend constexpr Complex operator+(const Complex& a) { return a; }
  KOLMO_HD friend constexpr Complex operator-(const Complex& a) { return {-a.re, -a.im}; }
  KOLMO_HD friend constexpr Complex operator+(const Complex& a, const Complex& b) { return {a.re + b.re, a.im + b.im}; }
  KOLMO_HD friend constexpr Complex operator-(const Complex& a, const Complex& b) { return {a.re - b.re, a.im - b.im}; }
  KOLMO_HD friend constexpr Complex operator*(const Complex& a, const Complex& b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  }
  KOLMO_HD friend constexpr Complex operator/(const Complex& a, const Complex& b) {
    const bool real_leads = abs(b.re) >= abs(b.im);
    const T large = select(real_leads, b.re, b.im);
    const T small = select(real_leads, b.im, b.re);
    const T ratio = small / large;
    const T inverse = T(1) / (large + small * ratio);
    return {(select(real_leads, a.re, a.im) + select(real_leads, a.im, a.re) * ratio) * inverse,
            (select(real_leads, a.im, -a.re) - select(real_leads, a.re, -a.im) * ratio) * inverse};
  }
  KOLMO_HD friend constexpr bool operator==(const Complex& a, const Complex& b) { return a.re == b.re && a.im == b.im; }
};

template <class T>
inline constexpr bool is_complex = false;
template <class T>
inline constexpr bool is_complex<Complex<T>> = true;

template <class T>
KOLMO_HD constexpr T real(const Complex<T>& z) {
  return z.re;
}
template <class T>
KOLMO_HD constexpr T imag(const Complex<T>& z) {
  return z.im;
}
template <class T>
KOLMO_HD constexpr Complex<T> conj(const Complex<T>& z) {
  return {z.re, -z.im};
}
/// |z|^2.
template <class T>
KOLMO_HD constexpr T norm(const Complex<T>& z) {
  return z.re * z.re + z.im * z.im;
}
/// |z|, without overflow or underflow of the squares.
template <class T>
KOLMO_HD T abs(const Complex<T>& z) {
  const T x = abs(z.re);
  const T y = abs(z.im);
  const T large = maximum(x, y);
  const T small = minimum(x, y);
  const T ratio = small / large;
  const T result = large * sqrt(T(1) + ratio * ratio);
  return select(large == 0 || !is_finite(large), large, result);
}
/// The angle in (-pi, pi].
template <class T>
KOLMO_HD T arg(const Complex<T>& z) {
  return std::atan2(z.im, z.re);
}
/// radius (cos angle + i sin angle).
template <class T>
KOLMO_HD Complex<T> polar(T radius, T angle) {
  return {radius * cos(angle), radius * sin(angle)};
}

template <class T>
KOLMO_HD constexpr bool is_finite(const Complex<T>& z) {
  return is_finite(z.re) && is_finite(z.im);
}
template <class T>
KOLMO_HD constexpr bool is_nan(const Complex<T>& z) {
  return is_nan(z.re) || is_nan(z.im);
}
template <class T>
KOLMO_HD constexpr Complex<T> select(bool condition, const Complex<T>& if_true,
                                     const std::type_identity_t<Complex<T>>& if_false) {
  return {select(condition, if_true.re, if_false.re), select(condition, if_true.im, if_false.im)};
}
template <class T>
KOLMO_HD constexpr Complex<T> square(const Complex<T>& z) {
  return {(z.re - z.im) * (z.re + z.im), T(2) * z.re * z.im};
}

namespace detail {

template <class T>
KOLMO_HD T sinh(T x) {
  // 2 sinh |x| = t + t / (1 + t) with t = exp |x| - 1; beyond the range of exp the halves are multiplied.
  const T a = abs(x);
  const T t = expm1(a);
  const T near = T(0.5) * (t + t / (T(1) + t));
  const T half = exp(T(0.5) * a);
  return select(x < 0, T(-1), T(1)) * select(is_finite(t), near, (T(0.5) * half) * half);
}

template <class T>
KOLMO_HD T cosh(T x) {
  const T half = exp(T(0.5) * abs(x));
  const T e = half * half;
  return select(is_finite(e), T(0.5) * e + T(0.5) / e, (T(0.5) * half) * half);
}

}  // namespace detail

template <class T>
KOLMO_HD Complex<T> exp(const Complex<T>& z) {
  return polar(exp(z.re), z.im);
}
/// The principal branch.
template <class T>
KOLMO_HD Complex<T> log(const Complex<T>& z) {
  // Near |z| = 1 the real part is log1p(|z|^2 - 1) / 2, in which the larger part cancels exactly.
  const T x = maximum(abs(z.re), abs(z.im));
  const T y = minimum(abs(z.re), abs(z.im));
  const T near = T(0.5) * log1p((x - T(1)) * (x + T(1)) + y * y);
  const bool is_near = x > T(0.5) && x < T(2);
  return {select(is_near, near, log(abs(z))), arg(z)};
}
/// The root with non-negative real part.
template <class T>
KOLMO_HD Complex<T> sqrt(const Complex<T>& z) {
  // The sum of |z| and |re z| does not cancel, and quartering keeps it from overflowing.
  const T root = sqrt(T(2) * (T(0.25) * abs(z) + T(0.25) * abs(z.re)));
  const T other = select(root == 0, T(0), T(0.5) * z.im / select(root == 0, T(1), root));
  return select(z.re >= 0, Complex<T>(root, other), Complex<T>(abs(other), select(z.im < 0, -root, root)));
}
/// log(1 + z), accurate near zero.
template <class T>
KOLMO_HD Complex<T> log1p(const Complex<T>& z) {
  const T norm_less_one = z.re * (T(2) + z.re) + z.im * z.im;
  const bool is_near = norm_less_one > T(-0.5) && norm_less_one < T(1);
  const Complex<T> sum{T(1) + z.re, z.im};
  return {select(is_near, T(0.5) * log1p(norm_less_one), log(sum).re), arg(sum)};
}
/// exp(z) - 1, accurate near zero.
template <class T>
KOLMO_HD Complex<T> expm1(const Complex<T>& z) {
  const T half_sine = sin(T(0.5) * z.im);
  return {expm1(z.re) * cos(z.im) - T(2) * half_sine * half_sine, exp(z.re) * sin(z.im)};
}
template <class T>
KOLMO_HD Complex<T> sin(const Complex<T>& z) {
  return {sin(z.re) * detail::cosh(z.im), cos(z.re) * detail::sinh(z.im)};
}
template <class T>
KOLMO_HD Complex<T> cos(const Complex<T>& z) {
  return {cos(z.re) * detail::cosh(z.im), -sin(z.re) * detail::sinh(z.im)};
}
template <class T>
KOLMO_HD Complex<T> tanh(const Complex<T>& z) {
  // tanh(x + iy) = (t (1 + u^2) + i u (1 - t^2)) / (1 + t^2 u^2) with t = tanh x, u = tan y, times cos^2 y above and
  // below; 1 - t^2 is formed as 4 sigmoid(2x) sigmoid(-2x), which does not cancel.
  const T t = tanh(z.re);
  const T s = sin(z.im);
  const T c = cos(z.im);
  const T slope = T(4) * sigmoid(T(2) * z.re) * sigmoid(T(-2) * z.re);
  const T inverse = T(1) / (c * c + t * t * s * s);
  return {t * inverse, s * c * slope * inverse};
}
template <class T>
KOLMO_HD Complex<T> pow(const Complex<T>& z, const std::type_identity_t<Complex<T>>& w) {
  return select(z == Complex<T>(0), select(w == Complex<T>(0), Complex<T>(1), Complex<T>(0)), exp(w * log(z)));
}

}  // namespace kolmo
