#pragma once
// The butterflies of the fast Fourier transform: 2, 3, 4, 5 or 8 points transformed in registers, with loads, roots of
// unity and stores around them.

#include <kolmo/core/array.hpp>
#include <utility>

namespace kolmo::detail {

/// The transform of `radix` points in registers.
template <int radix>
struct FftRadix;

template <>
struct FftRadix<2> {
  template <class T, class V>
  KOLMO_HD KOLMO_INLINE static void transform(V* re, V* im) {
    const V a = re[0], b = im[0];
    re[0] = a + re[1];
    im[0] = b + im[1];
    re[1] = a - re[1];
    im[1] = b - im[1];
  }
};

template <>
struct FftRadix<3> {
  template <class T, class V>
  KOLMO_HD KOLMO_INLINE static void transform(V* re, V* im) {
    constexpr T half = T(0.5), sine = T(0.86602540378443864676);
    const V sum_re = re[1] + re[2], sum_im = im[1] + im[2];
    const V part_re = sine * (re[1] - re[2]), part_im = sine * (im[1] - im[2]);
    const V middle_re = re[0] - half * sum_re, middle_im = im[0] - half * sum_im;
    re[0] = re[0] + sum_re;
    im[0] = im[0] + sum_im;
    re[1] = middle_re + part_im;
    im[1] = middle_im - part_re;
    re[2] = middle_re - part_im;
    im[2] = middle_im + part_re;
  }
};

template <>
struct FftRadix<4> {
  template <class T, class V>
  KOLMO_HD KOLMO_INLINE static void transform(V* re, V* im) {
    four(re[0], im[0], re[1], im[1], re[2], im[2], re[3], im[3]);
  }
  template <class V>
  KOLMO_HD KOLMO_INLINE static void four(V& re0, V& im0, V& re1, V& im1, V& re2, V& im2, V& re3, V& im3) {
    const V a_re = re0 + re2, a_im = im0 + im2, b_re = re0 - re2, b_im = im0 - im2;
    const V c_re = re1 + re3, c_im = im1 + im3, d_re = re1 - re3, d_im = im1 - im3;
    re0 = a_re + c_re;
    im0 = a_im + c_im;
    re1 = b_re + d_im;
    im1 = b_im - d_re;
    re2 = a_re - c_re;
    im2 = a_im - c_im;
    re3 = b_re - d_im;
    im3 = b_im + d_re;
  }
};

template <>
struct FftRadix<5> {
  template <class T, class V>
  KOLMO_HD KOLMO_INLINE static void transform(V* re, V* im) {
    constexpr T c1 = T(0.30901699437494742410), c2 = T(-0.80901699437494742410);
    constexpr T s1 = T(0.95105651629515357212), s2 = T(0.58778525229247312917);
    const V p_re = re[1] + re[4], p_im = im[1] + im[4], q_re = re[2] + re[3], q_im = im[2] + im[3];
    const V u_re = re[1] - re[4], u_im = im[1] - im[4], v_re = re[2] - re[3], v_im = im[2] - im[3];
    const V m1_re = re[0] + c1 * p_re + c2 * q_re, m1_im = im[0] + c1 * p_im + c2 * q_im;
    const V m2_re = re[0] + c2 * p_re + c1 * q_re, m2_im = im[0] + c2 * p_im + c1 * q_im;
    const V n1_re = s1 * u_re + s2 * v_re, n1_im = s1 * u_im + s2 * v_im;
    const V n2_re = s2 * u_re - s1 * v_re, n2_im = s2 * u_im - s1 * v_im;
    re[0] = re[0] + p_re + q_re;
    im[0] = im[0] + p_im + q_im;
    re[1] = m1_re + n1_im;
    im[1] = m1_im - n1_re;
    re[2] = m2_re + n2_im;
    im[2] = m2_im - n2_re;
    re[3] = m2_re - n2_im;
    im[3] = m2_im + n2_re;
    re[4] = m1_re - n1_im;
    im[4] = m1_im + n1_re;
  }
};

template <>
struct FftRadix<8> {
  template <class T, class V>
  KOLMO_HD KOLMO_INLINE static void transform(V* re, V* im) {
    constexpr T root = T(0.70710678118654752440);
    FftRadix<4>::four(re[0], im[0], re[2], im[2], re[4], im[4], re[6], im[6]);
    FftRadix<4>::four(re[1], im[1], re[3], im[3], re[5], im[5], re[7], im[7]);
    // The odd half times e^{-i pi k / 4}.
    const V b1_re = root * (re[3] + im[3]), b1_im = root * (im[3] - re[3]);
    const V b2_re = im[5], b2_im = -re[5];
    const V b3_re = root * (im[7] - re[7]), b3_im = -root * (re[7] + im[7]);
    const V b0_re = re[1], b0_im = im[1];
    const V a0_re = re[0], a0_im = im[0], a1_re = re[2], a1_im = im[2];
    const V a2_re = re[4], a2_im = im[4], a3_re = re[6], a3_im = im[6];
    re[0] = a0_re + b0_re;
    im[0] = a0_im + b0_im;
    re[1] = a1_re + b1_re;
    im[1] = a1_im + b1_im;
    re[2] = a2_re + b2_re;
    im[2] = a2_im + b2_im;
    re[3] = a3_re + b3_re;
    im[3] = a3_im + b3_im;
    re[4] = a0_re - b0_re;
    im[4] = a0_im - b0_im;
    re[5] = a1_re - b1_re;
    im[5] = a1_im - b1_im;
    re[6] = a2_re - b2_re;
    im[6] = a2_im - b2_im;
    re[7] = a3_re - b3_re;
    im[7] = a3_im - b3_im;
  }
};

/// Loads `radix` points, transforms them, multiplies all but the first by their roots of unity, and stores them.
template <int radix, class T, class V, bool turned, class In, class Out>
struct FftButterfly {
  const In& in;
  const Out& out;

  KOLMO_HD KOLMO_INLINE void operator()(index_t from, index_t from_step, index_t to, index_t to_step,
                                        const T* roots) const {
    run(from, from_step, to, to_step, roots, std::make_integer_sequence<int, radix>{});
  }
  template <int... q>
  KOLMO_HD KOLMO_INLINE void run(index_t from, index_t from_step, index_t to, index_t to_step, const T* roots,
                                 std::integer_sequence<int, q...>) const {
    V re[radix], im[radix];
    (in.load(from + q * from_step, re[q], im[q]), ...);
    FftRadix<radix>::template transform<T>(re, im);
    (put<q>(to + q * to_step, re[q], im[q], roots), ...);
  }
  template <int q>
  KOLMO_HD KOLMO_INLINE void put(index_t to, const V& re, const V& im, const T* roots) const {
    if constexpr (turned && q > 0) {
      const T c = roots[2 * q - 2], s = roots[2 * q - 1];
      out.store(to, c * re - s * im, c * im + s * re);
    } else {
      out.store(to, re, im);
    }
  }
};

/// The mirror of FftButterfly with conjugate roots, on exchanged parts: the roots come before the transform.
template <int radix, class T, class V, bool turned, class Buffer>
struct FftMirrored {
  const Buffer& buffer;

  template <int... q>
  KOLMO_HD KOLMO_INLINE void run(index_t from, index_t step, const T* roots, std::integer_sequence<int, q...>) const {
    V re[radix], im[radix];
    (get<q>(from + q * step, re[q], im[q], roots), ...);
    FftRadix<radix>::template transform<T>(re, im);
    (buffer.store(from + q * step, im[q], re[q]), ...);
  }
  template <int q>
  KOLMO_HD KOLMO_INLINE void get(index_t from, V& re, V& im, const T* roots) const {
    buffer.load(from, im, re);
    if constexpr (turned && q > 0) {
      const T c = roots[2 * q - 2], s = roots[2 * q - 1];
      const V a = re;
      re = c * a - s * im;
      im = c * im + s * a;
    }
  }
};

}  // namespace kolmo::detail
