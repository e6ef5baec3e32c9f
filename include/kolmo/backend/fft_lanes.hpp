#pragma once
// Vectors that hold one line of a transform per lane, and the transposition that brings rows into lanes.

#include <utility>

#include <kolmo/backend/gemm_blocks.hpp>

namespace kolmo::detail {

#if defined(__AVX512F__)
constexpr int fft_vector_bytes = 64;
#elif defined(__AVX__)
constexpr int fft_vector_bytes = 32;
#else
constexpr int fft_vector_bytes = 16;
#endif

/// Element e of the rows i and i + s after a step of the transposition, as an index into both: blocks of s elements
/// change places across the diagonal.
constexpr int fft_upper(int s, int width, int e) { return (e & s) != 0 ? width + (e ^ s) : e; }
constexpr int fft_lower(int s, int width, int e) { return (e & s) != 0 ? width + e : e ^ s; }

// The indices are spelled out: nvcc does not pass on a pack in a builtin.
template <int width>
struct FftShuffle;
template <>
struct FftShuffle<2> {
  template <int s, class V>
  static KOLMO_INLINE void exchange(V& a, V& b) {
    const V upper = __builtin_shufflevector(a, b, fft_upper(s, 2, 0), fft_upper(s, 2, 1));
    b = __builtin_shufflevector(a, b, fft_lower(s, 2, 0), fft_lower(s, 2, 1));
    a = upper;
  }
};
template <>
struct FftShuffle<4> {
  template <int s, class V>
  static KOLMO_INLINE void exchange(V& a, V& b) {
    const V upper =
        __builtin_shufflevector(a, b, fft_upper(s, 4, 0), fft_upper(s, 4, 1), fft_upper(s, 4, 2), fft_upper(s, 4, 3));
    b = __builtin_shufflevector(a, b, fft_lower(s, 4, 0), fft_lower(s, 4, 1), fft_lower(s, 4, 2), fft_lower(s, 4, 3));
    a = upper;
  }
  template <class Half>
  static KOLMO_INLINE auto join(const Half& a, const Half& b) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3);
  }
  template <class V>
  static KOLMO_INLINE auto lower_half(const V& v) {
    return __builtin_shufflevector(v, v, 0, 1);
  }
  template <class V>
  static KOLMO_INLINE auto upper_half(const V& v) {
    return __builtin_shufflevector(v, v, 2, 3);
  }
};
template <>
struct FftShuffle<8> {
  template <int s, class V>
  static KOLMO_INLINE void exchange(V& a, V& b) {
    const V upper =
        __builtin_shufflevector(a, b, fft_upper(s, 8, 0), fft_upper(s, 8, 1), fft_upper(s, 8, 2), fft_upper(s, 8, 3),
                                fft_upper(s, 8, 4), fft_upper(s, 8, 5), fft_upper(s, 8, 6), fft_upper(s, 8, 7));
    b = __builtin_shufflevector(a, b, fft_lower(s, 8, 0), fft_lower(s, 8, 1), fft_lower(s, 8, 2), fft_lower(s, 8, 3),
                                fft_lower(s, 8, 4), fft_lower(s, 8, 5), fft_lower(s, 8, 6), fft_lower(s, 8, 7));
    a = upper;
  }
  template <class Half>
  static KOLMO_INLINE auto join(const Half& a, const Half& b) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
  }
  template <class V>
  static KOLMO_INLINE auto lower_half(const V& v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3);
  }
  template <class V>
  static KOLMO_INLINE auto upper_half(const V& v) {
    return __builtin_shufflevector(v, v, 4, 5, 6, 7);
  }
};
template <>
struct FftShuffle<16> {
  template <int s, class V>
  static KOLMO_INLINE void exchange(V& a, V& b) {
    const V upper = __builtin_shufflevector(
        a, b, fft_upper(s, 16, 0), fft_upper(s, 16, 1), fft_upper(s, 16, 2), fft_upper(s, 16, 3), fft_upper(s, 16, 4),
        fft_upper(s, 16, 5), fft_upper(s, 16, 6), fft_upper(s, 16, 7), fft_upper(s, 16, 8), fft_upper(s, 16, 9),
        fft_upper(s, 16, 10), fft_upper(s, 16, 11), fft_upper(s, 16, 12), fft_upper(s, 16, 13), fft_upper(s, 16, 14),
        fft_upper(s, 16, 15));
    b = __builtin_shufflevector(a, b, fft_lower(s, 16, 0), fft_lower(s, 16, 1), fft_lower(s, 16, 2),
                                fft_lower(s, 16, 3), fft_lower(s, 16, 4), fft_lower(s, 16, 5), fft_lower(s, 16, 6),
                                fft_lower(s, 16, 7), fft_lower(s, 16, 8), fft_lower(s, 16, 9), fft_lower(s, 16, 10),
                                fft_lower(s, 16, 11), fft_lower(s, 16, 12), fft_lower(s, 16, 13), fft_lower(s, 16, 14),
                                fft_lower(s, 16, 15));
    a = upper;
  }
  template <class Half>
  static KOLMO_INLINE auto join(const Half& a, const Half& b) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
  template <class V>
  static KOLMO_INLINE auto lower_half(const V& v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
  }
  template <class V>
  static KOLMO_INLINE auto upper_half(const V& v) {
    return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  }
};

template <class T, int bytes>
struct FftLanes {
  using Vector = typename VectorOf<T, bytes>::Type;
  static constexpr int width = bytes / static_cast<int>(sizeof(T));

  static KOLMO_INLINE Vector load(const T* from) {
    Vector v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
  }
  static KOLMO_INLINE void store(T* to, const Vector& v) { __builtin_memcpy(to, &v, sizeof v); }
  /// The first `count` elements; the others are zero.
  static KOLMO_INLINE Vector load(const T* from, index_t count) {
    T values[width] = {};
    for (index_t i = 0; i < count; ++i) values[i] = from[i];
    return load(values);
  }
  static KOLMO_INLINE void store(T* to, const Vector& v, index_t count) {
    T values[width];
    store(values, v);
    for (index_t i = 0; i < count; ++i) to[i] = values[i];
  }

  /// Element j of v[i] changes places with element i of v[j].
  static KOLMO_INLINE void transpose(Vector (&v)[width]) { transpose<width / 2>(v, Pairs{}); }

  /// Element j of v[i] becomes element i of the row j from `first` on. Halves are loaded to where they belong: that
  /// costs no shuffle.
  static KOLMO_INLINE void load_transposed(const T* const (&row)[width], index_t first, Vector (&v)[width]) {
    if constexpr (width >= 4) {
      for (int r = 0; r < width / 2; ++r) {
        const T *a = row[r] + first, *b = row[r + width / 2] + first;
        v[r] = FftShuffle<width>::join(load_half(a), load_half(b));
        v[r + width / 2] = FftShuffle<width>::join(load_half(a + width / 2), load_half(b + width / 2));
      }
      transpose<width / 4>(v, Pairs{});
    } else {
      for (int r = 0; r < width; ++r) v[r] = load(row[r] + first);
      transpose(v);
    }
  }

  /// The other way; v is left undefined.
  static KOLMO_INLINE void store_transposed(T* const (&row)[width], index_t first, Vector (&v)[width]) {
    if constexpr (width >= 4) {
      transpose<width / 4>(v, Pairs{});
      for (int r = 0; r < width / 2; ++r) {
        T *a = row[r] + first, *b = row[r + width / 2] + first;
        store_half(a, FftShuffle<width>::lower_half(v[r]));
        store_half(a + width / 2, FftShuffle<width>::lower_half(v[r + width / 2]));
        store_half(b, FftShuffle<width>::upper_half(v[r]));
        store_half(b + width / 2, FftShuffle<width>::upper_half(v[r + width / 2]));
      }
    } else {
      transpose(v);
      for (int r = 0; r < width; ++r) store(row[r] + first, v[r]);
    }
  }

 private:
  using Pairs = std::make_integer_sequence<int, width / 2>;
  using Half = typename VectorOf<T, larger(bytes / 2, static_cast<int>(sizeof(T)))>::Type;

  static KOLMO_INLINE Half load_half(const T* from) {
    Half v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
  }
  static KOLMO_INLINE void store_half(T* to, const Half& v) { __builtin_memcpy(to, &v, sizeof v); }

  /// The steps from blocks of `most` elements down.
  template <int most, int... p>
  static KOLMO_INLINE void transpose(Vector (&v)[width], std::integer_sequence<int, p...>) {
    if constexpr (most >= 8) (exchange<8, p>(v), ...);
    if constexpr (most >= 4) (exchange<4, p>(v), ...);
    if constexpr (most >= 2) (exchange<2, p>(v), ...);
    (exchange<1, p>(v), ...);
  }
  /// Pair number p of the rows i and i + s.
  template <int s, int p>
  static KOLMO_INLINE void exchange(Vector (&v)[width]) {
    constexpr int i = p / s * 2 * s + p % s;
    FftShuffle<width>::template exchange<s>(v[i], v[i + s]);
  }
};

}  // namespace kolmo::detail
