#pragma once
// The score of a codeword c for a vector x, <x, c> - |c|^2 / 2, whose largest value belongs to the nearest codeword. It
// is defined bit for bit: one chain of multiply-adds over the coordinates in their order, which starts from minus half
// the squared norm. A kernel may visit codewords in any order and leave out those that cannot win; the scores it
// compares are these, so codes do not depend on the kernel. Multiply-adds are rounded once where the build has such
// instructions, and twice where it has not; on a GPU once.

#include <cmath>

#include <kolmo/core/math/basic.hpp>

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

/// The `count` best codewords of a row, best first, in memory of the caller's; equal scores in the order of codewords.
/// A score that is not a number, or minus infinity, takes no place; places without a codeword keep their own number.
template <class T>
struct BestScores {
  std::int32_t* index;
  T* score;
  index_t count;
  index_t found = 0;

  KOLMO_HD BestScores(std::int32_t* i, T* s, index_t n) : index(i), score(s), count(n) {
    for (index_t place = 0; place < n; ++place) {
      index[place] = static_cast<std::int32_t>(place);
      score[place] = -infinity<T>();
    }
  }
  /// Goes on with what was found before.
  KOLMO_HD BestScores(std::int32_t* i, T* s, index_t n, index_t found_before)
      : index(i), score(s), count(n), found(found_before) {}

  KOLMO_HD void add(T s, std::int32_t k) {
    if (!(s >= score[count - 1]) || s == -infinity<T>()) return;
    index_t place = found < count ? found++ : count;
    for (; place > 0 && before(s, k, place - 1); --place)
      if (place < count) {
        score[place] = score[place - 1];
        index[place] = index[place - 1];
      }
    if (place == count) return;
    score[place] = s;
    index[place] = k;
  }

 private:
  KOLMO_HD bool before(T s, std::int32_t k, index_t place) const {
    return s > score[place] || (s == score[place] && k < index[place]);
  }
};

}  // namespace kolmo::detail
