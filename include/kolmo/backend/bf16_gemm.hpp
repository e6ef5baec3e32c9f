#pragma once
// The matrix product of BFloat16 tensors on the host: operands are packed once (bf16_kernel.hpp), sums are formed in
// float over the whole depth and rounded once. Tiles of C depend on the shape alone.

#include <kolmo/backend/concept.hpp>
#include <kolmo/backend/pool.hpp>
#include <kolmo/backend/threads.hpp>

#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))

#include <kolmo/backend/bf16_kernel.hpp>

namespace kolmo::detail {

inline index_t round_up(index_t n, index_t unit) { return divide_up(n, unit) * unit; }

/// 16 pairs of numbers from two rows.
inline void interleave_bf16(const BFloat16* first, const BFloat16* second, void* pairs) {
  std::uint32_t words[16];
  for (int j = 0; j < 16; ++j)
    words[j] = static_cast<std::uint32_t>(first[j].bits) | static_cast<std::uint32_t>(second[j].bits) << 16;
  __builtin_memcpy(pairs, words, sizeof words);
}

/// One panel of B: rows [0, k) of B, column j of which starts at b + j * column_step and goes on by row_step; columns
/// beyond `columns` and rows from k to `padded` become zero.
inline void pack_bf16_panel(const BFloat16* b, index_t row_step, index_t column_step, index_t columns, index_t k,
                            index_t padded, BFloat16* panel) {
  const index_t whole = k / 2;
  if (columns == 16 && column_step == 1) {
    for (index_t p = 0; p < whole; ++p) {
      const BFloat16* first = b + 2 * p * row_step;
      interleave_bf16(first, first + row_step, panel + 32 * p);
    }
  } else {
    for (index_t j = 0; j < 16; ++j)
      for (index_t p = 0; p < whole; ++p) {
        BFloat16* to = panel + 32 * p + 2 * j;
        to[0] = j < columns ? b[2 * p * row_step + j * column_step] : BFloat16();
        to[1] = j < columns ? b[(2 * p + 1) * row_step + j * column_step] : BFloat16();
      }
  }
  if (k % 2 != 0)
    for (index_t j = 0; j < 16; ++j) {
      panel[32 * whole + 2 * j] = j < columns ? b[(k - 1) * row_step + j * column_step] : BFloat16();
      panel[32 * whole + 2 * j + 1] = BFloat16();
    }
  for (index_t i = 32 * divide_up(k, index_t{2}); i < 16 * padded; ++i) panel[i] = BFloat16();
}

/// Rows of A, zeros from `count` to `padded_count` rows and from k to `padded` elements.
inline void pack_bf16_rows(const BFloat16* a, index_t row_step, index_t depth_step, index_t count, index_t padded_count,
                           index_t k, index_t padded, BFloat16* packed) {
  if (depth_step == 1) {
    for (index_t i = 0; i < count; ++i)
      __builtin_memcpy(packed + i * padded, a + i * row_step, static_cast<std::size_t>(k) * sizeof(BFloat16));
  } else {
    constexpr index_t square = 32;  // both sides stay in cache lines
    for (index_t q = 0; q < k; q += square)
      for (index_t i = 0; i < count; ++i)
        for (index_t p = q; p < smaller(k, q + square); ++p) packed[i * padded + p] = a[i * row_step + p * depth_step];
  }
  for (index_t i = 0; i < count; ++i)
    for (index_t p = k; p < padded; ++p) packed[i * padded + p] = BFloat16();
  for (index_t p = count * padded; p < padded_count * padded; ++p) packed[p] = BFloat16();
}

/// alpha sum + beta c, rounded once.
inline void store_bf16_row(const float* sum, index_t n, float alpha, float beta, BFloat16* c) {
  if (beta == 0) {
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < n; ++j) c[j] = BFloat16(alpha * sum[j]);
  } else {
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < n; ++j) c[j] = BFloat16(alpha * sum[j] + beta * c[j]);
  }
}

/// One matrix of the batch.
inline void bf16_matrix_product(const GemmCall<BFloat16>& call) {
  const Bf16Kernel kernel = bf16_kernel();
  const index_t k = round_up(call.k, tile_depth), panels = divide_up(call.n, index_t{16});
  const HostScratch<BFloat16> packed(panels * 16 * k);
  const index_t row_step = call.transpose_b ? 1 : call.leading_b, column_step = call.transpose_b ? call.leading_b : 1;
  threads::parallel_for(divide_up(panels, index_t{4}), [&](index_t group) {
    for (index_t j = 4 * group; j < smaller(panels, 4 * group + 4); ++j)
      pack_bf16_panel(call.b + 16 * j * column_step, row_step, column_step, smaller<index_t>(16, call.n - 16 * j),
                      call.k, k, packed.data() + j * 16 * k);
  });
  // Rows of A for the second-level cache, and columns that give every thread something to do when there are few rows.
  const index_t rows = larger<index_t>(16, smaller<index_t>(96, index_t{128} * 1024 / larger<index_t>(1, k) / 16 * 16));
  const index_t width = 24;
  const index_t row_tiles = divide_up(call.m, rows), column_tiles = divide_up(panels, width);
  threads::parallel_for(row_tiles * column_tiles, [&](index_t tile) {
    const index_t i = tile / column_tiles * rows, j = tile % column_tiles * width;
    const index_t count = smaller(rows, call.m - i), padded = round_up(count, tile_rows);
    const index_t own = smaller(width, panels - j);
    const HostScratch<BFloat16> a(padded * k);
    const HostScratch<float> c(padded * own * 16);
    pack_bf16_rows(call.a + i * (call.transpose_a ? 1 : call.leading_a), call.transpose_a ? 1 : call.leading_a,
                   call.transpose_a ? call.leading_a : 1, count, padded, call.k, k, a.data());
    bf16_product(kernel, padded, own, k, a.data(), k, packed.data() + j * 16 * k, 16 * k, c.data(), own * 16, true);
    for (index_t r = 0; r < count; ++r)
      store_bf16_row(c.data() + r * own * 16, smaller(own * 16, call.n - 16 * j), call.alpha, call.beta,
                     call.c + (i + r) * call.leading_c + 16 * j);
  });
}

/// The batched product. T is BFloat16; a template so that it can be compiled once.
template <class T>
void host_bf16_gemm(const GemmCall<T>& call) {
  if (call.m == 0 || call.n == 0 || call.batch == 0) return;
  if (call.k == 0) {
    for (index_t b = 0; b < call.batch; ++b)
      for (index_t i = 0; i < call.m; ++i)
        for (index_t j = 0; j < call.n; ++j) {
          T& c = call.c[b * call.batch_stride_c + i * call.leading_c + j];
          c = call.beta == 0 ? T() : T(call.beta * c);
        }
    return;
  }
  const auto one = [&](index_t b) {
    GemmCall<T> item = call;
    item.batch = 1;
    item.a += b * call.batch_stride_a;
    item.b += b * call.batch_stride_b;
    item.c += b * call.batch_stride_c;
    bf16_matrix_product(item);
  };
  // Loops inside an item run on its own thread.
  if (call.batch == 1)
    one(0);
  else
    threads::parallel_for(call.batch, one);
}

}  // namespace kolmo::detail

#else

namespace kolmo::detail {
template <class T>
void host_bf16_gemm(const GemmCall<T>& call);
extern template void host_bf16_gemm<BFloat16>(const GemmCall<BFloat16>&);
}  // namespace kolmo::detail

#endif
