#pragma once
// The one-dimensional steps of Winograd's minimal filtering F(4, 3) (Winograd 1980; Lavin, Gray 2016) with the points
// 0, 1, -1, 2, -2 and infinity: four results of a kernel of three from six products instead of twelve,
//
//   y = A^T [(G w) (B^T x)].
//
// In two dimensions every step is applied along both axes: 36 products for 4 x 4 results instead of 144. The gradient
// of the kernel is G^T [(A g) (B^T x)] with the same matrices, summed over tiles before G^T.

#include <kolmo/config.hpp>

namespace kolmo::detail {

template <class V>
struct WinogradSteps {
  /// t = B^T d, its upper (part 0) or lower (part 1) three elements.
  template <int part>
  static KOLMO_INLINE void input_half(const V& d0, const V& d1, const V& d2, const V& d3, const V& d4, const V& d5,
                                      V (&t)[3]) {
    if constexpr (part == 0) {
      const V even = d4 - 4 * d2, odd = d3 - 4 * d1;
      t[0] = 4 * d0 - 5 * d2 + d4;
      t[1] = even + odd;
      t[2] = even - odd;
    } else {
      const V even = d4 - d2, odd = 2 * (d3 - d1);
      t[0] = even + odd;
      t[1] = even - odd;
      t[2] = 4 * d1 - 5 * d3 + d5;
    }
  }
  static KOLMO_INLINE void input(const V& d0, const V& d1, const V& d2, const V& d3, const V& d4, const V& d5,
                                 V (&t)[6]) {
    const V even = d4 - 4 * d2, odd = d3 - 4 * d1, even2 = d4 - d2, odd2 = 2 * (d3 - d1);
    t[0] = 4 * d0 - 5 * d2 + d4;
    t[1] = even + odd;
    t[2] = even - odd;
    t[3] = even2 + odd2;
    t[4] = even2 - odd2;
    t[5] = 4 * d1 - 5 * d3 + d5;
  }

  /// y = A^T m
  static KOLMO_INLINE void output(const V& m0, const V& m1, const V& m2, const V& m3, const V& m4, const V& m5,
                                  V (&y)[4]) {
    const V sum = m1 + m2, difference = m1 - m2, sum2 = m3 + m4, difference2 = m3 - m4;
    y[0] = m0 + sum + sum2;
    y[1] = difference + 2 * difference2;
    y[2] = sum + 4 * sum2;
    y[3] = difference + 8 * difference2 + m5;
  }
  /// z = A g
  static KOLMO_INLINE void output_transposed(const V& g0, const V& g1, const V& g2, const V& g3, V (&z)[6]) {
    const V even = g0 + g2, odd = g1 + g3, even2 = g0 + 4 * g2, odd2 = 2 * g1 + 8 * g3;
    z[0] = g0;
    z[1] = even + odd;
    z[2] = even - odd;
    z[3] = even2 + odd2;
    z[4] = even2 - odd2;
    z[5] = g3;
  }

  /// u = G w
  static KOLMO_INLINE void kernel(const V& w0, const V& w1, const V& w2, V (&u)[6]) {
    constexpr float sixth = 1.0f / 6, twelfth = 1.0f / 12;
    const V even = w0 + w2, even2 = sixth * (0.25f * w0 + w2), odd2 = twelfth * w1;
    u[0] = 0.25f * w0;
    u[1] = -sixth * (even + w1);
    u[2] = -sixth * (even - w1);
    u[3] = even2 + odd2;
    u[4] = even2 - odd2;
    u[5] = w2;
  }
  /// w = G^T s
  static KOLMO_INLINE void kernel_transposed(const V& s0, const V& s1, const V& s2, const V& s3, const V& s4,
                                             const V& s5, V (&w)[3]) {
    constexpr float sixth = 1.0f / 6, twelfth = 1.0f / 12;
    const V sum = sixth * (s1 + s2), sum2 = sixth * (s3 + s4);
    w[0] = 0.25f * (s0 + sum2) - sum;
    w[1] = twelfth * (s3 - s4) - sixth * (s1 - s2);
    w[2] = sum2 - sum + s5;
  }
};

}  // namespace kolmo::detail
