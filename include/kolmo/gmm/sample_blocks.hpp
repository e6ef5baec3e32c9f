#pragma once
// The two products that the EM of samples spends its time on, over a chunk of points stored coordinate by coordinate
// (x_j of point p at x[j * stride + p]):
//
//   squared_distances   |W x_p + b|^2 for a lower triangle W: the whitened distance from a component
//   add_second_moments  sum_p r_p (x_p - m)(x_p - m)^T, its lower triangle, with the sums of r and of r (x - m)
//
// Both keep a block of up to four rows in registers, so that a loaded number serves several multiplications. They run
// on packs: vectors of the host, or plain numbers on other devices.

#include <kolmo/core/math.hpp>

namespace kolmo::gmm::detail {

template <class T, int bytes>
struct HostPack;
template <int bytes>
struct HostPack<float, bytes> {
  typedef float Type __attribute__((vector_size(bytes)));
};
template <int bytes>
struct HostPack<double, bytes> {
  typedef double Type __attribute__((vector_size(bytes)));
};

// CUDA files have no vector types.
#if defined(KOLMO_CUDA_FILE)
constexpr int pack_bytes = 0;
#elif defined(__AVX512F__)
constexpr int pack_bytes = 64;
#elif defined(__AVX__)
constexpr int pack_bytes = 32;
#else
constexpr int pack_bytes = 16;
#endif

/// The numbers that are computed together on a host backend, which runs expensive items itself, and elsewhere.
template <class T, bool host, int bytes = pack_bytes>
struct PackFor {
  using Type = typename HostPack<T, bytes>::Type;
};
template <class T, int bytes>
struct PackFor<T, false, bytes> {
  using Type = T;
};
template <class T>
struct PackFor<T, true, 0> {
  using Type = T;
};

template <class P, class T>
KOLMO_HD KOLMO_INLINE P load_pack(const T* from) {
  P pack;
  __builtin_memcpy(&pack, from, sizeof pack);
  return pack;
}

template <class P, class T>
KOLMO_HD KOLMO_INLINE void store_pack(T* to, const P& pack) {
  __builtin_memcpy(to, &pack, sizeof pack);
}

/// Sum of the numbers of a pack in a fixed order.
template <class T, class P>
KOLMO_HD KOLMO_INLINE T sum_pack(const P& pack) {
  constexpr int width = static_cast<int>(sizeof(P) / sizeof(T));
  if constexpr (width == 1) {
    return pack;
  } else {
    T part[width];
    __builtin_memcpy(part, &pack, sizeof part);
    for (int half = width / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) part[i] += part[i + half];
    return part[0];
  }
}

/// Numbers of type T in a pack.
template <class T, class P>
inline constexpr int pack_width = static_cast<int>(sizeof(P) / sizeof(T));

/// Packs of points whose distances are computed together.
inline constexpr int distance_packs = 4;

/// Adds one column w_r x to the rows from `begin` on.
template <class P, int rows, int begin, class T>
KOLMO_HD KOLMO_INLINE void add_column(const T* w, const T* x, P (&sum)[rows][distance_packs]) {
  P value[distance_packs];
  for (int v = 0; v < distance_packs; ++v) value[v] = load_pack<P>(x + v * pack_width<T, P>);
  for (int r = begin; r < rows; ++r)
    for (int v = 0; v < distance_packs; ++v) sum[r][v] += w[r] * value[v];
}

template <class P, int rows, int column, class T>
KOLMO_HD KOLMO_INLINE void add_triangle(const T* w, int dimensions, const T* x, index_t stride,
                                        P (&sum)[rows][distance_packs]) {
  if constexpr (column < rows) {
    add_column<P, rows, column>(w + column * dimensions, x + column * stride, sum);
    add_triangle<P, rows, column + 1>(w, dimensions, x, stride, sum);
  }
}

/// Adds (b_i + sum_j w_ij x_j)^2 of the rows first ... first + rows - 1 to `distance`. The triangle is stored by
/// columns: w_ij at w[j * dimensions + i].
template <class P, int rows, class T>
KOLMO_HD KOLMO_INLINE void add_rows(const T* w, const T* b, int dimensions, int first, const T* x, index_t stride,
                                    P (&distance)[distance_packs]) {
  P sum[rows][distance_packs];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < distance_packs; ++v) sum[r][v] = P{} + b[first + r];
  KOLMO_ROLLED
  for (int j = 0; j < first; ++j) add_column<P, rows, 0>(w + index_t(j) * dimensions + first, x + j * stride, sum);
  add_triangle<P, rows, 0>(w + index_t(first) * dimensions + first, dimensions, x + first * stride, stride, sum);
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < distance_packs; ++v) distance[v] += sum[r][v] * sum[r][v];
}

/// result_p = constant - |W x_p + b|^2 / 2 for `count` points, a multiple of four packs.
template <class P, class T>
KOLMO_HD KOLMO_NOINLINE void log_normals(T constant, const T* w, const T* b, int dimensions, const T* x, index_t stride,
                                         int count, T* result) {
  constexpr int width = pack_width<T, P>;
  for (int p = 0; p < count; p += distance_packs * width) {
    P distance[distance_packs];
    for (int v = 0; v < distance_packs; ++v) distance[v] = P{};
    int i = 0;
    for (; i + 4 <= dimensions; i += 4) add_rows<P, 4>(w, b, dimensions, i, x + p, stride, distance);
    if (dimensions - i == 3)
      add_rows<P, 3>(w, b, dimensions, i, x + p, stride, distance);
    else if (dimensions - i == 2)
      add_rows<P, 2>(w, b, dimensions, i, x + p, stride, distance);
    else if (dimensions - i == 1)
      add_rows<P, 1>(w, b, dimensions, i, x + p, stride, distance);
    for (int v = 0; v < distance_packs; ++v) store_pack(result + p + v * width, constant - T(0.5) * distance[v]);
  }
}

/// The same for a diagonal W: constant - sum_j (w_j (x_j - m_j))^2 / 2.
template <class P, class T>
KOLMO_HD KOLMO_NOINLINE void log_normals_diagonal(T constant, const T* w, const T* mean, int dimensions, const T* x,
                                                  index_t stride, int count, T* result) {
  constexpr int width = pack_width<T, P>;
  for (int p = 0; p < count; p += distance_packs * width) {
    P distance[distance_packs];
    for (int v = 0; v < distance_packs; ++v) distance[v] = P{};
    for (int j = 0; j < dimensions; ++j)
      for (int v = 0; v < distance_packs; ++v) {
        const P whitened = (load_pack<P>(x + j * stride + p + v * width) - mean[j]) * w[j];
        distance[v] += whitened * whitened;
      }
    for (int v = 0; v < distance_packs; ++v) store_pack(result + p + v * width, constant - T(0.5) * distance[v]);
  }
}

/// Adds r x_i' x_j' with x' = x - m for a block of rows and columns to the packed triangle `second`; the block on the
/// diagonal also adds r x_i' to `first`.
template <class P, int rows, int columns, bool diagonal, class T>
KOLMO_HD KOLMO_NOINLINE void add_moment_block(const T* r, const T* mean, int row, int column, const T* x,
                                              index_t stride, int count, double* first, double* second) {
  constexpr int width = pack_width<T, P>;
  P sum[rows][columns], shift[rows];
  for (int i = 0; i < rows; ++i) {
    shift[i] = P{};
    for (int j = 0; j < columns; ++j) sum[i][j] = P{};
  }
  const T* a = x + row * stride;
  const T* b = x + column * stride;
  KOLMO_ROLLED
  for (int p = 0; p < count; p += width) {
    const P share = load_pack<P>(r + p);
    P right[columns];
    for (int j = 0; j < columns; ++j) right[j] = load_pack<P>(b + j * stride + p) - mean[column + j];
    for (int i = 0; i < rows; ++i) {
      P left;
      if constexpr (diagonal) {
        left = share * right[i];
        shift[i] += left;
      } else {
        left = share * (load_pack<P>(a + i * stride + p) - mean[row + i]);
      }
      for (int j = 0; j < (diagonal ? i + 1 : columns); ++j) sum[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < rows; ++i) {
    double* target = second + (row + i) * (row + i + 1) / 2 + column;
    for (int j = 0; j < (diagonal ? i + 1 : columns); ++j) target[j] += static_cast<double>(sum_pack<T>(sum[i][j]));
    if constexpr (diagonal) first[row + i] += static_cast<double>(sum_pack<T>(shift[i]));
  }
}

template <class P, int rows, class T>
KOLMO_HD KOLMO_INLINE void add_moment_rows(const T* r, const T* mean, int row, const T* x, index_t stride, int count,
                                           double* first, double* second) {
  for (int column = 0; column < row; column += 4)
    add_moment_block<P, rows, 4, false>(r, mean, row, column, x, stride, count, first, second);
  add_moment_block<P, rows, rows, true>(r, mean, row, row, x, stride, count, first, second);
}

/// Adds sum r (x - m) to first [D] and the lower triangle of sum r (x - m)(x - m)^T, by rows, to second
/// [D (D + 1) / 2], over `count` points, a multiple of the pack.
template <class P, class T>
KOLMO_HD KOLMO_INLINE void add_second_moments(const T* r, const T* mean, int dimensions, const T* x, index_t stride,
                                              int count, double* first, double* second) {
  int i = 0;
  for (; i + 4 <= dimensions; i += 4) add_moment_rows<P, 4>(r, mean, i, x, stride, count, first, second);
  if (dimensions - i == 3)
    add_moment_rows<P, 3>(r, mean, i, x, stride, count, first, second);
  else if (dimensions - i == 2)
    add_moment_rows<P, 2>(r, mean, i, x, stride, count, first, second);
  else if (dimensions - i == 1)
    add_moment_rows<P, 1>(r, mean, i, x, stride, count, first, second);
}

/// Adds r x' and r x'^2 of `rows` coordinates from `row` on.
template <class P, int rows, class T>
KOLMO_HD KOLMO_NOINLINE void add_diagonal_rows(const T* r, const T* mean, int row, const T* x, index_t stride,
                                               int count, double* first, double* second) {
  constexpr int width = pack_width<T, P>;
  P shift[rows], sum[rows];
  for (int i = 0; i < rows; ++i) shift[i] = sum[i] = P{};
  x += row * stride;
  KOLMO_ROLLED
  for (int p = 0; p < count; p += width) {
    const P share = load_pack<P>(r + p);
    for (int i = 0; i < rows; ++i) {
      const P value = load_pack<P>(x + i * stride + p) - mean[row + i];
      const P left = share * value;
      shift[i] += left;
      sum[i] += left * value;
    }
  }
  for (int i = 0; i < rows; ++i) {
    first[row + i] += static_cast<double>(sum_pack<T>(shift[i]));
    second[row + i] += static_cast<double>(sum_pack<T>(sum[i]));
  }
}

/// The diagonal of the second moments alone: sum r (x_j - m_j)^2 in second [D].
template <class P, class T>
KOLMO_HD KOLMO_INLINE void add_diagonal_moments(const T* r, const T* mean, int dimensions, const T* x, index_t stride,
                                                int count, double* first, double* second) {
  int i = 0;
  for (; i + 4 <= dimensions; i += 4) add_diagonal_rows<P, 4>(r, mean, i, x, stride, count, first, second);
  for (; i + 2 <= dimensions; i += 2) add_diagonal_rows<P, 2>(r, mean, i, x, stride, count, first, second);
  if (i < dimensions) add_diagonal_rows<P, 1>(r, mean, i, x, stride, count, first, second);
}

/// The largest of the scores [components, stride] of every point, and on request whose it is: the first on a tie.
template <class P, bool labelled, class T>
KOLMO_HD KOLMO_NOINLINE void find_largest(const T* scores, int components, index_t stride, int count, T* largest,
                                          T* label) {
  constexpr int width = pack_width<T, P>;
  for (int p = 0; p < count; p += 2 * width) {
    P best[2], whose[2];
    for (int v = 0; v < 2; ++v) {
      best[v] = load_pack<P>(scores + p + v * width);
      whose[v] = P{};
    }
    KOLMO_ROLLED
    for (int k = 1; k < components; ++k)
      for (int v = 0; v < 2; ++v) {
        const P score = load_pack<P>(scores + k * stride + p + v * width);
        if constexpr (labelled) whose[v] = score > best[v] ? P{} + T(k) : whose[v];
        best[v] = score > best[v] ? score : best[v];
      }
    for (int v = 0; v < 2; ++v) {
      store_pack(largest + p + v * width, best[v]);
      if constexpr (labelled) store_pack(label + p + v * width, whose[v]);
    }
  }
}

/// Sum of `count` numbers, a multiple of four packs.
template <class P, class T>
KOLMO_HD KOLMO_INLINE double sum_of(const T* values, int count) {
  P sum = P{};
  for (int p = 0; p < count; p += pack_width<T, P>) sum += load_pack<P>(values + p);
  return static_cast<double>(sum_pack<T>(sum));
}

/// values *= factors; the sum of the products.
template <class P, class T>
KOLMO_HD KOLMO_INLINE double multiply_and_sum(T* values, const T* factors, int count) {
  constexpr int width = pack_width<T, P>;
  P sum[2] = {P{}, P{}};
  for (int p = 0; p < count; p += 2 * width)
    for (int v = 0; v < 2; ++v) {
      const P product = load_pack<P>(values + p + v * width) * load_pack<P>(factors + p + v * width);
      store_pack(values + p + v * width, product);
      sum[v] += product;
    }
  return static_cast<double>(sum_pack<T, P>(sum[0] + sum[1]));
}

}  // namespace kolmo::gmm::detail
