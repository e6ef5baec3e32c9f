#pragma once
// A scalar for differentiation by a complex step, f'(x) = Im f(x + ih) / h (Squire and Trapp 1998).
//
// Nothing is subtracted, so h can be so small that the formula is exact to rounding. The functions are
// those of complex numbers, evaluated without any formula for a derivative; that makes the scalar an
// oracle independent of Dual. Exceptions, which have no such evaluation in closed form: erf, erfc and
// normal_cdf use the first two terms of their series in the step, of which the third is below rounding. Choices
// and comparisons look at the real part; abs changes the sign where it is negative.

#include <kolmo/core/complex.hpp>

namespace kolmo {

template <Real T>
struct ComplexStep {
  Complex<T> z;

  constexpr ComplexStep() = default;
  KOLMO_HD constexpr ComplexStep(Complex<T> value) : z(value) {}
  template <class U>
  requires std::is_arithmetic_v<U> KOLMO_HD constexpr ComplexStep(U value) : z(T(value)) {}

  /// 2^-340 in double, about 4e-103, and 2^-60 in float. A power of two, so that dividing by it is exact.
  KOLMO_HD static constexpr T step() { return detail::power_of_two<T>(std::same_as<T, float> ? -60 : -340); }
  /// The point from which the derivative is taken.
  KOLMO_HD static constexpr ComplexStep variable(T x) { return Complex<T>(x, step()); }
  KOLMO_HD constexpr T value() const { return z.re; }
  KOLMO_HD constexpr T derivative() const { return z.im / step(); }

  KOLMO_HD constexpr ComplexStep& operator+=(const ComplexStep& b) { return *this = *this + b; }
  KOLMO_HD constexpr ComplexStep& operator-=(const ComplexStep& b) { return *this = *this - b; }
  KOLMO_HD constexpr ComplexStep& operator*=(const ComplexStep& b) { return *this = *this * b; }
  KOLMO_HD constexpr ComplexStep& operator/=(const ComplexStep& b) { return *this = *this / b; }

  KOLMO_HD friend constexpr ComplexStep operator+(const ComplexStep& a) { return a; }
  KOLMO_HD friend constexpr ComplexStep operator-(const ComplexStep& a) { return -a.z; }
  KOLMO_HD friend constexpr ComplexStep operator+(const ComplexStep& a, const ComplexStep& b) { return a.z + b.z; }
  KOLMO_HD friend constexpr ComplexStep operator-(const ComplexStep& a, const ComplexStep& b) { return a.z - b.z; }
  KOLMO_HD friend constexpr ComplexStep operator*(const ComplexStep& a, const ComplexStep& b) { return a.z * b.z; }
  KOLMO_HD friend constexpr ComplexStep operator/(const ComplexStep& a, const ComplexStep& b) { return a.z / b.z; }

  KOLMO_HD friend constexpr bool operator==(const ComplexStep& a, const ComplexStep& b) { return a.z.re == b.z.re; }
  KOLMO_HD friend constexpr bool operator!=(const ComplexStep& a, const ComplexStep& b) { return a.z.re != b.z.re; }
  KOLMO_HD friend constexpr bool operator<(const ComplexStep& a, const ComplexStep& b) { return a.z.re < b.z.re; }
  KOLMO_HD friend constexpr bool operator>(const ComplexStep& a, const ComplexStep& b) { return a.z.re > b.z.re; }
  KOLMO_HD friend constexpr bool operator<=(const ComplexStep& a, const ComplexStep& b) { return a.z.re <= b.z.re; }
  KOLMO_HD friend constexpr bool operator>=(const ComplexStep& a, const ComplexStep& b) { return a.z.re >= b.z.re; }
};

template <Real T>
KOLMO_HD constexpr T value_of(const ComplexStep<T>& x) {
  return x.z.re;
}
template <Real T>
KOLMO_HD constexpr bool is_nan(const ComplexStep<T>& x) {
  return is_nan(x.z);
}
template <Real T>
KOLMO_HD constexpr bool is_finite(const ComplexStep<T>& x) {
  return is_finite(x.z);
}

template <Real T>
KOLMO_HD constexpr ComplexStep<T> select(bool condition, const ComplexStep<T>& if_true,
                                         const std::type_identity_t<ComplexStep<T>>& if_false) {
  return select(condition, if_true.z, if_false.z);
}
template <Real T>
KOLMO_HD constexpr ComplexStep<T> maximum(const ComplexStep<T>& x, const std::type_identity_t<ComplexStep<T>>& y) {
  return select(x < y || is_nan(y), y, x);
}
template <Real T>
KOLMO_HD constexpr ComplexStep<T> minimum(const ComplexStep<T>& x, const std::type_identity_t<ComplexStep<T>>& y) {
  return select(x > y || is_nan(y), y, x);
}
template <Real T>
KOLMO_HD constexpr ComplexStep<T> clamp(const ComplexStep<T>& x, const std::type_identity_t<ComplexStep<T>>& low,
                                        const std::type_identity_t<ComplexStep<T>>& high) {
  return select(x < low, low, select(x > high, high, x));
}
template <Real T>
KOLMO_HD constexpr ComplexStep<T> abs(const ComplexStep<T>& x) {
  return select(x < 0, -x, x);
}
template <Real T>
KOLMO_HD constexpr ComplexStep<T> sign(const ComplexStep<T>& x) {
  return sign(x.z.re);
}
template <Real T>
KOLMO_HD ComplexStep<T> floor(const ComplexStep<T>& x) {
  return floor(x.z.re);
}
template <Real T>
KOLMO_HD constexpr ComplexStep<T> square(const ComplexStep<T>& x) {
  return x * x;
}
template <Real T>
KOLMO_HD ComplexStep<T> sqrt(const ComplexStep<T>& x) {
  return sqrt(x.z);
}
template <Real T>
KOLMO_HD ComplexStep<T> rsqrt(const ComplexStep<T>& x) {
  return Complex<T>(1) / sqrt(x.z);
}
template <Real T>
KOLMO_HD ComplexStep<T> exp(const ComplexStep<T>& x) {
  return exp(x.z);
}
template <Real T>
KOLMO_HD ComplexStep<T> expm1(const ComplexStep<T>& x) {
  return expm1(x.z);
}
template <Real T>
KOLMO_HD ComplexStep<T> log(const ComplexStep<T>& x) {
  return log(x.z);
}
template <Real T>
KOLMO_HD ComplexStep<T> log1p(const ComplexStep<T>& x) {
  return log1p(x.z);
}
template <Real T>
KOLMO_HD ComplexStep<T> sin(const ComplexStep<T>& x) {
  return sin(x.z);
}
template <Real T>
KOLMO_HD ComplexStep<T> cos(const ComplexStep<T>& x) {
  return cos(x.z);
}
template <Real T>
KOLMO_HD ComplexStep<T> tanh(const ComplexStep<T>& x) {
  return tanh(x.z);
}
template <Real T>
KOLMO_HD ComplexStep<T> sigmoid(const ComplexStep<T>& x) {
  // exp of the side that does not overflow.
  const ComplexStep<T> e = exp(-abs(x));
  const ComplexStep<T> large = 1 / (1 + e);
  return select(x < 0, e * large, large);
}
template <Real T>
KOLMO_HD ComplexStep<T> softplus(const ComplexStep<T>& x) {
  return maximum(x, 0) + log1p(exp(-abs(x)));
}
template <Real T>
KOLMO_HD ComplexStep<T> erf(const ComplexStep<T>& x) {
  const T slope = T(1.1283791670955125739) * exp(-(x.z.re * x.z.re));
  return Complex<T>(erf(x.z.re), slope * x.z.im);
}
template <Real T>
KOLMO_HD ComplexStep<T> erfc(const ComplexStep<T>& x) {
  return Complex<T>(erfc(x.z.re), -erf(x).z.im);
}
template <Real T>
KOLMO_HD ComplexStep<T> normal_cdf(const ComplexStep<T>& x) {
  const T density = T(0.39894228040143267794) * exp(T(-0.5) * (x.z.re * x.z.re));
  return Complex<T>(normal_cdf(x.z.re), density * x.z.im);
}
template <Real T>
KOLMO_HD ComplexStep<T> pow(const ComplexStep<T>& x, const std::type_identity_t<ComplexStep<T>>& y) {
  // (-x)^y times the sign that an integer power of -1 has; through log(x) the sine of a multiple of pi would leave
  // rounding where the step is. A base of zero has the slope of the integer powers 0, 1, 2, ...
  const ComplexStep<T> power = exp(y * log(abs(x)));
  const ComplexStep<T> at_zero = select(y == 1, x, Complex<T>(pow(T(0), y.z.re)));
  return select(x == 0, at_zero, select(x < 0, pow(T(-1), y.z.re) * power, power));
}

}  // namespace kolmo
