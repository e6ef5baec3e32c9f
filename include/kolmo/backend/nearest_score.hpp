#pragma once
// The score of a codeword c for a vector x, <x, c> - |c|^2 / 2, whose largest value belongs to the nearest codeword. It
// is defined bit for bit: one chain of multiply-adds over the coordinates in their order, which starts from minus half
// the squared norm. A kernel may visit codewords in any order and leave out those that cannot win; the scores it
// compares are these, so codes do not depend on the kernel. Multiply-adds are rounded once where the build has such
// instructions, and twice where it has not.

#include <cmath>

#include <kolmo/core/array.hpp>

namespace kolmo::detail {

#if defined(__FMA__) || defined(__AVX512F__) || defined(__FP_FAST_FMAF) || defined(__aarch64__)
inline constexpr bool fused_multiply_add = true;
#else
inline constexpr bool fused_multiply_add = false;
#endif

/// a b + c; template parameters keep builds with and without fused instructions apart in one program.
template <bool fused = fused_multiply_add>
KOLMO_HD KOLMO_INLINE float multiply_add(float a, float b, float c) {
  if constexpr (fused)
    return ::fmaf(a, b, c);
  else
    return a * b + c;
}
template <bool fused = fused_multiply_add>
KOLMO_HD KOLMO_INLINE double multiply_add(double a, double b, double c) {
  if constexpr (fused)
    return ::fma(a, b, c);
  else
    return a * b + c;
}

template <class T, bool fused = fused_multiply_add>
KOLMO_HD KOLMO_INLINE T nearest_score(const T* x, const T* c, T half_norm, index_t d) {
  T sum = -half_norm;
  for (index_t j = 0; j < d; ++j) sum = multiply_add<fused>(x[j], c[j], sum);
  return sum;
}

}  // namespace kolmo::detail
