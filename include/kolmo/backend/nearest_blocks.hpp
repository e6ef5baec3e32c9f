#pragma once
// Scores of codewords, and the best of them, without a matrix of scores (backend/nearest_score.hpp says what a score
// is). Codewords lie in panels, of which a few rows at a time keep their sums in registers: each sum is one chain of
// multiply-adds, so its bits are those of the definition. The best of a row is kept per lane; lanes meet once, at the
// end.

#include <kolmo/backend/gemm_blocks.hpp>
#include <kolmo/backend/nearest_score.hpp>
#include <kolmo/core/math/basic.hpp>

namespace kolmo::detail {

template <class T>
struct LaneIndexOf;
template <>
struct LaneIndexOf<float> {
  using Type = std::int32_t;
};
template <>
struct LaneIndexOf<double> {
  using Type = std::int64_t;
};

template <class T, int bytes>
struct IndexVectorOf {
  typedef typename LaneIndexOf<T>::Type Type __attribute__((vector_size(bytes)));
};

/// sum + a b in every lane, rounded as multiply_add does.
template <class T, int bytes>
KOLMO_INLINE void add_product(typename VectorOf<T, bytes>::Type& sum, const typename VectorOf<T, bytes>::Type& a,
                              const typename VectorOf<T, bytes>::Type& b) {
  if constexpr (!fused_multiply_add) {
    sum += a * b;
  } else {
#if defined(__x86_64__) && defined(__AVX512F__)
    constexpr int widest = 64;
#elif defined(__x86_64__) && defined(__FMA__)
    constexpr int widest = 32;
#else
    constexpr int widest = 0;
#endif
    if constexpr (bytes == widest) {
#if defined(__x86_64__)
      // Compilers fuse products and sums as they see fit; here it is part of the result.
      auto total = sum;
#if defined(__AVX512F__)
      if constexpr (std::is_same_v<T, float>)
        asm("vfmadd231ps %2, %1, %0" : "+v"(total) : "v"(a), "v"(b));
      else
        asm("vfmadd231pd %2, %1, %0" : "+v"(total) : "v"(a), "v"(b));
#elif defined(__FMA__)
      if constexpr (std::is_same_v<T, float>)
        asm("vfmadd231ps %2, %1, %0" : "+x"(total) : "x"(a), "x"(b));
      else
        asm("vfmadd231pd %2, %1, %0" : "+x"(total) : "x"(a), "x"(b));
#endif
      sum = total;
#endif
    } else {
      for (int i = 0; i < bytes / static_cast<int>(sizeof(T)); ++i) sum[i] = multiply_add(a[i], b[i], sum[i]);
    }
  }
}

/// Panels of `most` vectors of codewords; see VectorOf for the meaning of the parameters.
template <class T, int bytes = gemm_vector_bytes, int most = gemm_vectors>
class NearestBlocks {
 public:
  using Vector = typename VectorOf<T, bytes>::Type;
  using Numbers = typename IndexVectorOf<T, bytes>::Type;
  static constexpr index_t width = bytes / static_cast<index_t>(sizeof(T));
  static constexpr index_t panel = most * width;
  static constexpr int rows_at_once = 6;

  /// The best of a row in every lane: its score, and which vector of the table it came from.
  struct Best {
    Vector score;
    Numbers number;
  };

  static index_t padded(index_t codes) { return divide_up(codes, panel) * panel; }

  /// Panels [codes / panel][d][panel], and minus half the squared norms; codewords behind the last get a norm that no
  /// score outweighs.
  static void pack(index_t codes, index_t d, const T* table, const T* half_norms, T* packed, T* starts) {
    constexpr index_t square = 16;  // both sides stay in cache lines
    const index_t all = padded(codes);
    for (index_t first = 0; first < all; first += panel) {
      T* to = packed + first * d;
      const index_t count = smaller(panel, codes - first);
      for (index_t p = 0; p < d; p += square)
        for (index_t k = 0; k < count; ++k)
          for (index_t j = p; j < smaller(d, p + square); ++j) to[j * panel + k] = table[(first + k) * d + j];
      for (index_t j = 0; j < d; ++j)
        for (index_t k = count; k < panel; ++k) to[j * panel + k] = T(0);
    }
    for (index_t k = 0; k < all; ++k) starts[k] = k < codes ? -half_norms[k] : -infinity<T>();
  }

  /// The best codeword of `rows` vectors x [rows, d]; `best` holds as many entries.
  static void search(index_t rows, index_t codes, index_t d, const T* x, const T* packed, const T* starts, Best* best,
                     std::int32_t* index, T* score) {
    for (index_t i = 0; i < rows; ++i) {
      best[i].score = Vector{} - infinity<T>();
      best[i].number = Numbers{};
    }
    for (index_t first = 0; first < codes; first += panel)
      each_block(rows, [&](auto count, index_t i) {
        block<decltype(count)::value, false>(d, x + i * d, packed + first * d, starts + first, first / width, best + i,
                                             nullptr, 0);
      });
    for (index_t i = 0; i < rows; ++i) fold(best[i], index[i], score[i]);
  }

  /// All scores of `rows` vectors: [rows, padded(codes)].
  static void scores(index_t rows, index_t codes, index_t d, const T* x, const T* packed, const T* starts, T* score) {
    const index_t step = padded(codes);
    for (index_t first = 0; first < codes; first += panel)
      each_block(rows, [&](auto count, index_t i) {
        block<decltype(count)::value, true>(d, x + i * d, packed + first * d, starts + first, 0, nullptr,
                                            score + i * step + first, step);
      });
  }

 private:
  template <class F>
  static void each_block(index_t rows, const F& f) {
    index_t i = 0;
    for (; i + rows_at_once <= rows; i += rows_at_once) f(std::integral_constant<int, rows_at_once>{}, i);
    for (; i + 2 <= rows; i += 2) f(std::integral_constant<int, 2>{}, i);
    if (i < rows) f(std::integral_constant<int, 1>{}, i);
  }

  static void fold(const Best& best, std::int32_t& index, T& score) {
    T value = best.score[0];
    auto at = static_cast<index_t>(best.number[0]) * width;
    for (int lane = 1; lane < static_cast<int>(width); ++lane) {
      const index_t other = static_cast<index_t>(best.number[lane]) * width + lane;
      if (!(best.score[lane] > value || (best.score[lane] == value && other < at))) continue;
      value = best.score[lane];
      at = other;
    }
    index = static_cast<std::int32_t>(at);
    score = value;
  }

  template <int rows, bool keep>
  KOLMO_NOINLINE static void block(index_t d, const T* x, const T* packed, const T* starts, index_t number, Best* best,
                                   T* score, index_t step) {
    Vector sum[rows][most];
    for (int v = 0; v < most; ++v) {
      Vector start;
      __builtin_memcpy(&start, starts + v * width, sizeof start);
      for (int r = 0; r < rows; ++r) sum[r][v] = start;
    }
    KOLMO_ROLLED
    for (index_t j = 0; j < d; ++j) {
      Vector row[most];
      for (int v = 0; v < most; ++v) __builtin_memcpy(&row[v], packed + j * panel + v * width, sizeof row[v]);
      for (int r = 0; r < rows; ++r) {
        const Vector factor = Vector{} + x[r * d + j];
        for (int v = 0; v < most; ++v) add_product<T, bytes>(sum[r][v], factor, row[v]);
      }
    }
    for (int r = 0; r < rows; ++r) {
      if constexpr (keep) {
        for (int v = 0; v < most; ++v) __builtin_memcpy(score + r * step + v * width, &sum[r][v], sizeof sum[r][v]);
      } else {
        Vector value = best[r].score;
        Numbers which = best[r].number;
        for (int v = 0; v < most; ++v) {
          const auto better = sum[r][v] > value;
          value = better ? sum[r][v] : value;
          which = better ? Numbers{} + static_cast<typename LaneIndexOf<T>::Type>(number + v) : which;
        }
        best[r].score = value;
        best[r].number = which;
      }
    }
  }
};

}  // namespace kolmo::detail
