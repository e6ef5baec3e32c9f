#pragma once
// The inner product of blocked algorithms: a block of C in registers, B as a panel of whole vectors packed by the
// caller, A in place with any strides. One vector of B meets several elements of A at every step of the depth. Every
// element of C is one sum in the order of the depth, whatever the block.

#include <kolmo/backend/gemm_blocks.hpp>

namespace kolmo::detail {

/// A [rows, depth] with strides, panel B [depth, vectors of the width], C [rows, ...] with `step` between its rows.
template <class T>
struct PanelCall {
  index_t rows = 0, depth = 0;
  const T* a = nullptr;
  index_t row_step = 0, depth_step = 0;
  const T* b = nullptr;
  T* c = nullptr;
  index_t step = 0;
  bool add = false;  // to what C holds
};

/// The scalar decides the registers: `bytes` of a vector, `blocks` of them for C. Another scalar brings its own
/// PanelProduct with the same members.
template <class T, int bytes = gemm_vector_bytes>
struct PanelProduct {
  using Vector = typename VectorOf<T, bytes>::Type;
  static constexpr int width = bytes / static_cast<int>(sizeof(T));
  static constexpr int blocks = bytes == 64 ? 24 : 12;
  /// Widest panel, in vectors.
  static constexpr int most = bytes == 64 ? 4 : 3;

  /// Rows of C that meet a panel of so many vectors at once.
  static constexpr int rows_of(int vectors) { return blocks / vectors; }

  static KOLMO_INLINE Vector load(const T* from) {
    Vector v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
  }
  static KOLMO_INLINE void store(T* to, const Vector& v) { __builtin_memcpy(to, &v, sizeof v); }
  /// The first `count` elements, zeros behind.
  static KOLMO_INLINE Vector load(const T* from, index_t count) {
    if (count >= width) return load(from);
    Vector v{};
    for (int i = 0; i < width; ++i) v[i] = i < count ? from[i] : T(0);
    return v;
  }

  static void run(const PanelCall<T>& call, int vectors) {
    switch (vectors) {
      case 1:
        return run<1>(call);
      case 2:
        return run<2>(call);
      case 3:
        return run<3>(call);
      default:
        if constexpr (most >= 4) return run<4>(call);
    }
  }

 private:
  template <int vectors>
  static void run(const PanelCall<T>& call) {
    constexpr int full = rows_of(vectors);
    index_t i = 0;
    for (; i + full <= call.rows; i += full) block<full, vectors>(call, i);
    constexpr int part = smaller(8, full - 1);
    for (; i + part < call.rows; i += part) block<part, vectors>(call, i);
    rest<part, vectors>(call, i);
  }

  /// The last rows, at most so many.
  template <int rows, int vectors>
  static void rest(const PanelCall<T>& call, index_t i) {
    if constexpr (rows >= 1) {
      if (call.rows - i == rows) return block<rows, vectors>(call, i);
      rest<rows - 1, vectors>(call, i);
    }
  }

  template <int rows, int vectors>
  static KOLMO_NOINLINE void block(const PanelCall<T>& call, index_t i) {
    if (call.depth_step == 1)
      block<rows, vectors>(call, i, call.row_step, std::integral_constant<index_t, 1>{});
    else if (call.row_step == 1)
      block<rows, vectors>(call, i, std::integral_constant<index_t, 1>{}, call.depth_step);
    else
      block<rows, vectors>(call, i, call.row_step, call.depth_step);
  }

  template <int rows, int vectors, class RowStep, class DepthStep>
  static KOLMO_INLINE void block(const PanelCall<T>& call, index_t i, RowStep row_step, DepthStep depth_step) {
    const index_t depth = call.depth;
    const T* a = call.a + i * row_step;
    const T* b = call.b;
    Vector sum[rows][vectors];
    KOLMO_UNROLLED
    for (int r = 0; r < rows; ++r) KOLMO_UNROLLED
    for (int v = 0; v < vectors; ++v) sum[r][v] = Vector{};
    KOLMO_ROLLED
    for (index_t p = 0; p < depth; ++p) {
      Vector row[vectors];
      KOLMO_UNROLLED
      for (int v = 0; v < vectors; ++v) row[v] = load(b + v * width);
      KOLMO_UNROLLED
      for (int r = 0; r < rows; ++r) {
        const T factor = a[r * row_step];
        KOLMO_UNROLLED
        for (int v = 0; v < vectors; ++v) sum[r][v] += factor * row[v];
      }
      a += depth_step;
      b += vectors * width;
    }
    T* c = call.c + i * call.step;
    if (call.add) KOLMO_UNROLLED
    for (int r = 0; r < rows; ++r) KOLMO_UNROLLED
    for (int v = 0; v < vectors; ++v) sum[r][v] += load(c + r * call.step + v * width);
    KOLMO_UNROLLED
    for (int r = 0; r < rows; ++r) KOLMO_UNROLLED
    for (int v = 0; v < vectors; ++v) store(c + r * call.step + v * width, sum[r][v]);
  }
};

}  // namespace kolmo::detail
