#pragma once
// erf, erfc and the distribution function of the standard normal.

#include <kolmo/core/math/exponential.hpp>

namespace kolmo {
namespace detail {

/// erf(x) for |x| < 0.9375: x + x P(x^2).
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T erf_near(T x) {
  const T z = x * x;
  T p;
  if constexpr (std::same_as<T, float>)
    p = polynomial(z, T(0.128379151), T(-0.376125038), T(0.112818941), T(-0.0267689805), T(0.0049961023),
                   T(-0.000600344327));
  else
    p = polynomial(z, T(0.12837916709551259), T(-0.37612638903184092), T(0.11283791670970669), T(-0.026866170647873996),
                   T(0.0052239776500768382), T(-0.00085483282981415156), T(0.00012055373216739564),
                   T(-1.4926433071335587e-5), T(1.6471033174183347e-6), T(-1.6412612352848995e-7),
                   T(1.4717947644215889e-8), T(-9.9034740581340404e-10));
  return x + x * p;
}

/// The upper half of the digits; the product of two such numbers is exact.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T upper_half(T x) {
  return from_bits<T>(to_bits(x) &
                      (std::same_as<T, float> ? BitsOf<T>(~0xfffu) : BitsOf<T>(~std::uint64_t(0x7ffffff))));
}

/// x^2 as a sum.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr Corrected<T> exact_square(T x) {
  const T head = upper_half(x);
  return {head * head, (x - head) * (x + head)};
}

/// Derivative of exp(a^2) erfc(a) from its value.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T scaled_erfc_slope(T a, T value) {
  return T(2) * a * value - T(1.1283791670955125739);
}

/// exp(a^2) erfc(a) for a >= 0.25.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr Corrected<T> scaled_erfc(T a) {
  // A polynomial in a - 1.5, of whose linear term the part -1/4 is added exactly, and 1 / a times one in 1 / a^2.
  const T y = a - T(1.5);
  const T inverse = T(1) / a;
  const T z = inverse * inverse;
  T c, c_low, d, mid, far;
  bool is_mid;
  if constexpr (std::same_as<T, float>) {
    is_mid = a < T(2);
    c = T(0.321585417);
    c_low = T(-3.39505729e-10);
    mid = polynomial(y, T(0.0863770694), T(0.0761510432), T(-0.03293043), T(0.0133774914), T(-0.00515079405),
                     T(0.00188203668), T(-0.000644185231), T(0.000248355733), T(-8.75038168e-5), T(-2.09092705e-5),
                     T(-3.10692412e-5));
    d = T(0.564189553);
    far = polynomial(z, T(-0.282087982), T(0.422609657), T(-1.03751862), T(3.25389481), T(-10.2545214), T(25.7803917),
                     T(-41.6041336), T(30.8576756));
  } else {
    is_mid = a < T(2.25);
    c = T(0.32158541645431749);
    c_low = T(1.7007985607722196e-17);
    mid = polynomial(
        y, T(0.086377082267439939), T(0.076151039855477401), T(-0.032930905299563114), T(0.013377340953066873),
        T(-0.0051459575479740173), T(0.0018861348770274737), T(-0.00066193006653057817), T(0.0002233099443630254),
        T(-7.2658921479053741e-5), T(2.2864312238163296e-5), T(-6.9749942579341333e-6), T(2.066970388536163e-6),
        T(-5.960761131217115e-7), T(1.6755130733863622e-7), T(-4.5977383304262746e-8), T(1.2320987574572454e-8),
        T(-3.2234800739997498e-9), T(8.3551378075118229e-10), T(-2.1477647298610402e-10), T(4.7854980241804358e-11),
        T(-1.0992043115986268e-11), T(4.6004841745771635e-12), T(-6.4660175521578139e-13), T(-1.0840368351236473e-13),
        T(-1.3477184060621884e-13));
    d = T(0.56418958354775628);
    far = polynomial(z, T(-0.28209479177385227), T(0.42314218763941158), T(-1.0578554615060884), T(3.7024926424617668),
                     T(-16.661039259991611), T(91.621275066697763), T(-594.7028454830895), T(4424.5387609527925),
                     T(-36447.029983244262), T(316963.17829150701), T(-2747066.1097030132), T(22423246.943510521),
                     T(-164501014.51394901), T(1046511000.1891663), T(-5614768966.0805826), T(24799758453.185257),
                     T(-87985042041.713684), T(243452546723.01373), T(-504489213771.40887), T(734859011800.78699),
                     T(-669959806307.73926), T(287270665012.01953));
  }
  const T line = c + T(-0.25) * y;
  const T line_lost = T(-0.25) * y - (line - c);
  const T mid_rest = y * mid + (line_lost + c_low);
  const T mid_value = line + mid_rest;
  const T y_lost = a - (y + T(1.5));
  const T mid_lost = (mid_rest - (mid_value - line)) + y_lost * scaled_erfc_slope(a, mid_value);
  // (d + z far) / a with what 1 / a and the product lose.
  const T a_head = upper_half(a);
  const T head = upper_half(inverse);
  const T inverse_lost = (((T(1) - head * a_head) - head * (a - a_head)) - (inverse - head) * a) * inverse;
  const T d_head = upper_half(d);
  const T d_rest = (d - d_head) + z * far;
  const T far_rest = head * d_rest + ((inverse - head) * (d_head + d_rest) + inverse_lost * d);
  const T far_value = head * d_head + far_rest;
  return {is_mid ? mid_value : far_value, is_mid ? mid_lost : far_rest - (far_value - head * d_head)};
}

/// erfc(a + a_lost) for a >= 0.25, where square is (a + a_lost)^2.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T erfc_of_positive(T a, T a_lost, Corrected<T> square) {
  const auto parts = exp_parts_corrected(-square.value, -square.lost);
  const auto q = scaled_erfc(a);
  const T lost = q.lost + scaled_erfc_slope(a, q.value) * a_lost;
  return scale(q.value + (q.value * parts.tail + lost * (T(1) + parts.tail)), parts.k);
}

}  // namespace detail

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T erf(T x) {
  // log(erfc(a)) is a polynomial P(a) to the accuracy that 1 - exp(P) needs.
  const T a = abs(x);
  T p;
  if constexpr (std::same_as<T, float>)
    p = detail::polynomial(a, T(0.000175220281), T(-1.12951756), T(-0.63334161), T(-0.108285949), T(0.0251232516),
                           T(-0.00417253096), T(0.000434769288), T(-2.11219522e-5));
  else
    p = detail::polynomial(
        a, T(-8.5823441716298718e-8), T(-1.1283782615320281), T(-0.63662417124672599), T(-0.10275963013480248),
        T(0.019102764761536221), T(0.00024446227283761608), T(-0.001728761257378918), T(0.00060611505637003652),
        T(-2.0674077344701365e-5), T(-8.361487490464575e-5), T(5.0839522545233943e-5), T(-1.8537543239650931e-5),
        T(4.8848946093175e-6), T(-9.7047884283398819e-7), T(1.4535752569017001e-7), T(-1.599683248262736e-8),
        T(1.2237696117023345e-9), T(-5.8196207590307522e-11), T(1.2958231268392581e-12));
  const auto parts = detail::exp_parts(p);
  const T far = T(1) - (T(1) + parts.tail) * detail::power_of_two<T>(parts.k);
  // Rounded, erf is 1 beyond these.
  constexpr T end = std::same_as<T, float> ? T(3.9375) : T(5.9375);
  return a < T(0.921875) ? detail::erf_near(x) : detail::with_sign_of(a > end ? T(1) : far, x);
}

/// 1 - erf(x), accurate where it is small.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T erfc(T x) {
  // Zero beyond 10.1 in float and 27.3 in double.
  const T a = clamp(abs(x), T(0.25), std::same_as<T, float> ? T(10.5) : T(27.5));
  const T far = detail::erfc_of_positive(a, T(0), detail::exact_square(a));
  const T result = abs(x) < T(0.3125) ? T(1) - detail::erf_near(x) : x < 0 ? T(2) - far : far;
  return is_nan(x) ? x : result;
}

/// Distribution function of the standard normal, erfc(-x / sqrt(2)) / 2; accurate in the lower tail.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T normal_cdf(T x) {
  constexpr double root_half = 0.70710678118654752440;
  constexpr T c = detail::upper_half(T(root_half));
  constexpr T c_low = std::same_as<T, float> ? T(root_half - double(c)) : T(0x1.9fcef32422cbfp-27);
  // Zero below -14.2 in float and -38.5 in double.
  const T limited = clamp(x, T(std::same_as<T, float> ? -14.5 : -38.75), T(9));
  const T magnitude = maximum(abs(limited), T(0.375));
  const T head = detail::upper_half(magnitude);
  const T rest = head * c_low + (magnitude - head) * T(root_half);
  const T a = head * c + rest;
  const auto square = detail::exact_square(magnitude);
  const T tail =
      T(0.5) * detail::erfc_of_positive(a, rest - (a - head * c), {T(0.5) * square.value, T(0.5) * square.lost});
  const T center = T(0.5) + T(0.5) * detail::erf_near(limited * T(root_half));
  return abs(limited) < T(0.4375) ? center : limited < 0 ? tail : limited > 0 ? T(1) - tail : x;
}

}  // namespace kolmo
