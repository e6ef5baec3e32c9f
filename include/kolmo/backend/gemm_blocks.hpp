#pragma once
// A matrix product that keeps a block of C in registers (Goto, van de Geijn 2008): at every step of k one row of B
// meets six elements of A. Every element of C is one sum in the order of k, whatever the vector length. B is read in
// place where its rows are whole vectors, and packed where it is transposed or its rows lie far apart; A is never
// packed. Faster than general packages for the products of small networks.

#include <kolmo/backend/concept.hpp>
#include <kolmo/backend/pool.hpp>

namespace kolmo::detail {

// The block of C fills the registers there are: 32 of 64 bytes, or 16.
#if defined(__AVX512F__)
constexpr int gemm_vector_bytes = 64;
constexpr int gemm_vectors = 4;
#elif defined(__AVX__)
constexpr int gemm_vector_bytes = 32;
constexpr int gemm_vectors = 2;
#else
constexpr int gemm_vector_bytes = 16;
constexpr int gemm_vectors = 2;
#endif

template <class T, int bytes>
struct VectorOf;
template <int bytes>
struct VectorOf<float, bytes> {
  typedef float Type __attribute__((vector_size(bytes)));
};
template <int bytes>
struct VectorOf<double, bytes> {
  typedef double Type __attribute__((vector_size(bytes)));
};

/// A product tile by blocks of up to 6 rows and `most` vectors. The template parameters keep code for different
/// machines apart in one program.
template <class T, int bytes = gemm_vector_bytes, int most = gemm_vectors>
class GemmBlocks {
  using Vector = typename VectorOf<T, bytes>::Type;
  static constexpr index_t width = bytes / static_cast<int>(sizeof(T));
  static constexpr index_t depth = 512;  // of k at once: the panel of B stays in the second-level cache
  static constexpr index_t widest = most * width;

 public:
  /// Whether a product is worth the blocks: enough columns to fill vectors, and enough rows to repay packing.
  static bool suits(const GemmCall<T>& call) { return 2 * call.n >= width && (!call.transpose_b || call.m >= 64); }

  /// C = alpha op(A) op(B) + beta C for one matrix; `call.batch` is ignored.
  static void product(const GemmCall<T>& call) {
    if (call.k == 0) {
      scale(call);
      return;
    }
    GemmBlocks blocks(call);
    for (index_t p = 0; p < call.k; p += depth) blocks.slab(p, smaller(depth, call.k - p));
  }

 private:
  explicit GemmBlocks(const GemmCall<T>& call)
      : call_(call),
        row_step_(call.transpose_a ? 1 : call.leading_a),
        depth_step_(call.transpose_a ? call.leading_a : 1),
        buffer_bytes_(static_cast<std::size_t>(smaller(depth, call.k) * widest) * sizeof(T)) {}
  ~GemmBlocks() { HostPool::deallocate(buffer_, buffer_bytes_); }
  GemmBlocks(const GemmBlocks&) = delete;
  GemmBlocks& operator=(const GemmBlocks&) = delete;

  static void scale(const GemmCall<T>& call) {
    for (index_t i = 0; i < call.m; ++i)
      for (index_t j = 0; j < call.n; ++j) {
        T& c = call.c[i * call.leading_c + j];
        c = call.beta == T(0) ? T(0) : call.beta * c;
      }
  }

  /// Adds the products of `count` steps of k from p on, panel by panel of columns.
  void slab(index_t p, index_t count) {
    const T* a = call_.a + p * depth_step_;
    const T beta = p == 0 ? call_.beta : T(1);
    for (index_t j = 0; j < call_.n;) {
      const index_t left = call_.n - j;
      const index_t vectors = left >= widest ? most : left >= 2 * width ? 2 : 1;
      const index_t columns = smaller(left, vectors * width);
      const bool in_place = !call_.transpose_b && columns == vectors * width && (call_.n <= 512 || call_.m <= 64);
      const T* b = in_place ? call_.b + p * call_.leading_b + j : pack(p, count, j, columns, vectors * width);
      const index_t step = in_place ? call_.leading_b : vectors * width;
      if (vectors == most)
        panel<most>(count, a, b, step, call_.c + j, columns, beta);
      else if (vectors == 2)
        panel<2>(count, a, b, step, call_.c + j, columns, beta);
      else
        panel<1>(count, a, b, step, call_.c + j, columns, beta);
      j += columns;
    }
  }

  /// Columns j ... of B as rows of whole vectors; missing columns are zero.
  const T* pack(index_t p, index_t count, index_t j, index_t columns, index_t step) {
    if (buffer_ == nullptr) buffer_ = static_cast<T*>(HostPool::allocate(buffer_bytes_));
    const index_t leading = call_.leading_b;
    if (call_.transpose_b) {
      const T* from = call_.b + j * leading + p;
      constexpr index_t square = 16;  // transposed square by square, so that both sides stay in cache lines
      for (index_t q = 0; q < count; q += square)
        for (index_t c = 0; c < columns; ++c)
          for (index_t i = q; i < smaller(count, q + square); ++i) buffer_[i * step + c] = from[c * leading + i];
    } else {
      const T* from = call_.b + p * leading + j;
      for (index_t i = 0; i < count; ++i)
        for (index_t c = 0; c < columns; ++c) buffer_[i * step + c] = from[i * leading + c];
    }
    for (index_t i = 0; i < count; ++i)
      for (index_t c = columns; c < step; ++c) buffer_[i * step + c] = T(0);
    return buffer_;
  }

  template <int vectors>
  void panel(index_t count, const T* a, const T* b, index_t step, T* c, index_t columns, T beta) const {
    index_t i = 0;
    for (; i + 6 <= call_.m; i += 6) block<6, vectors>(count, a, i, b, step, c, columns, beta);
    switch (call_.m - i) {
      case 1:
        return block<1, vectors>(count, a, i, b, step, c, columns, beta);
      case 2:
        return block<2, vectors>(count, a, i, b, step, c, columns, beta);
      case 3:
        return block<3, vectors>(count, a, i, b, step, c, columns, beta);
      case 4:
        return block<4, vectors>(count, a, i, b, step, c, columns, beta);
      case 5:
        return block<5, vectors>(count, a, i, b, step, c, columns, beta);
      default:
        return;
    }
  }

  static KOLMO_INLINE Vector load(const T* from) {
    Vector v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
  }

  /// `rows` rows of C from row i on, as many columns as fit the vectors. A call of its own, so that it has the
  /// registers to itself.
  template <int rows, int vectors>
  KOLMO_NOINLINE void block(index_t count, const T* a, index_t i, const T* b, index_t step, T* c,
                                       index_t columns, T beta) const {
    const index_t row_step = row_step_, depth_step = depth_step_;
    a += i * row_step;
    c += i * call_.leading_c;
    Vector sum[rows][vectors];
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < vectors; ++v) sum[r][v] = Vector{};
    KOLMO_ROLLED
    for (index_t p = 0; p < count; ++p) {
      Vector row[vectors];
      for (int v = 0; v < vectors; ++v) row[v] = load(b + p * step + v * width);
      for (int r = 0; r < rows; ++r) {
        const T factor = a[r * row_step + p * depth_step];
        for (int v = 0; v < vectors; ++v) sum[r][v] += factor * row[v];
      }
    }
    for (int r = 0; r < rows; ++r) {
      T* target = c + r * call_.leading_c;
      if (columns == vectors * width) {
        for (int v = 0; v < vectors; ++v) {
          Vector result = call_.alpha * sum[r][v];
          if (beta != T(0)) result += beta * load(target + v * width);
          __builtin_memcpy(target + v * width, &result, sizeof result);
        }
      } else {
        T values[vectors * width];
        __builtin_memcpy(values, sum[r], sizeof values);
        for (index_t j = 0; j < columns; ++j)
          target[j] = beta == T(0) ? call_.alpha * values[j] : call_.alpha * values[j] + beta * target[j];
      }
    }
  }

  const GemmCall<T>& call_;
  index_t row_step_, depth_step_;
  std::size_t buffer_bytes_;
  T* buffer_ = nullptr;
};

}  // namespace kolmo::detail
