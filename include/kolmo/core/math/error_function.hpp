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
  // A polynomial around 1.125, and 1 / a times one in 1 / a^2.
  const T y = a - T(1.125);
  const T inverse = T(1) / a;
  const T z = inverse * inverse;
  T c, c_low, d, mid, far;
  bool is_mid;
  if constexpr (std::same_as<T, float>) {
    is_mid = a < T(2);
    c = T(0.39569807);
    c_low = T(9.02687258e-9);
    mid = polynomial(y, T(-0.238058522), T(0.127882302), T(-0.0627930239), T(0.0286189504), T(-0.0122457109),
                     T(0.00495495275), T(-0.00188502367), T(0.000686970074), T(-0.000273391226), T(0.000104236482),
                     T(-1.92187581e-5));
    d = T(0.564189553);
    far = polynomial(z, T(-0.282087982), T(0.422609657), T(-1.03751862), T(3.25389481), T(-10.2545214), T(25.7803917),
                     T(-41.6041336), T(30.8576756));
  } else {
    is_mid = a < T(2.5);
    c = T(0.39569807955299591);
    c_low = T(-5.7776750560891293e-18);
    mid = polynomial(
        y, T(-0.23805848810127178), T(0.12788228043906513), T(-0.06279394840488349), T(0.028619544241787271),
        T(-0.012238784453123194), T(0.0049503039106356672), T(-0.0019056264441663564), T(0.00070161854067567989),
        T(-0.00024806790657533535), T(8.4508426420457346e-5), T(-2.7817445262175253e-5), T(8.8689768451513825e-6),
        T(-2.7445864973077635e-6), T(8.2587988940524968e-7), T(-2.4206134489305404e-7), T(6.9224773189268781e-8),
        T(-1.9330600741847371e-8), T(5.2550691069806469e-9), T(-1.3925992244017736e-9), T(3.7214728102441582e-10),
        T(-1.0358604565589332e-10), T(2.6699586126129177e-11), T(-4.8583939658580259e-12), T(4.1966158026808356e-13));
    d = T(0.56418958354775628);
    far = polynomial(z, T(-0.28209479177386215), T(0.42314218764943728), T(-1.057855465211144), T(3.7024933512678624),
                     T(-16.661121411685762), T(91.62758811704883), T(-595.04365920543637), T(4437.9821797037876),
                     T(-36845.214619092825), T(325987.8397131341), T(-2905511.6004918469), T(24592430.996784285),
                     T(-187682221.56312197), T(1238874581.7260015), T(-6837426407.725379), T(30590083557.209068),
                     T(-107290464193.21935), T(282587187467.36224), T(-523814208966.90869), T(607864632475.17554),
                     T(-331663069405.79285));
  }
  const T mid_rest = y * mid + c_low;
  const T mid_value = c + mid_rest;
  const T y_lost = a - (y + T(1.125));
  const T mid_lost = (mid_rest - (mid_value - c)) + y_lost * scaled_erfc_slope(a, mid_value);
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
  const T a = clamp(abs(x), T(0), std::same_as<T, float> ? T(3.9375) : T(5.9375));
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
  return a < T(0.921875) ? detail::erf_near(x) : detail::with_sign_of(far, x);
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
