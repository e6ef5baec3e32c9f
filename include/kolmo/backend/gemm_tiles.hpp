#pragma once
// Cutting a batched matrix product into independent tiles by its shape alone, so that a single-threaded
// product per tile gives the same bits for any number of threads. Also the plain loop for scalars that
// no linear algebra package knows.

#include <kolmo/backend/concept.hpp>
#include <kolmo/backend/threads.hpp>

namespace kolmo::detail {

/// Multiply-adds below which a product is not split.
inline constexpr index_t gemm_tile_work = index_t{1} << 21;

/// Calls product(tile) for row or column blocks of every matrix of the batch.
template <class T, class Product>
void for_each_gemm_tile(const GemmCall<T>& call, const Product& product) {
  if (call.m == 0 || call.n == 0 || call.batch == 0) return;
  constexpr index_t unit = 32;  // keeps the micro-kernels of the packages full
  const bool split_rows = call.m >= call.n;
  const index_t length = split_rows ? call.m : call.n;
  const index_t work_per_line = larger<index_t>(1, call.k) * (split_rows ? call.n : call.m);
  const index_t lines = divide_up(larger<index_t>(unit, gemm_tile_work / work_per_line), unit) * unit;
  const index_t blocks = divide_up(length, lines);
  const auto run = [&](index_t t) {
    const index_t item = t / blocks, begin = t % blocks * lines;
    const index_t count = smaller(lines, length - begin);
    GemmCall<T> tile = call;
    tile.batch = 1;
    tile.a += item * call.batch_stride_a;
    tile.b += item * call.batch_stride_b;
    tile.c += item * call.batch_stride_c;
    if (split_rows) {
      tile.m = count;
      tile.a += begin * (call.transpose_a ? 1 : call.leading_a);
      tile.c += begin * call.leading_c;
    } else {
      tile.n = count;
      tile.b += begin * (call.transpose_b ? call.leading_b : 1);
      tile.c += begin;
    }
    product(tile);
  };
  const index_t tiles = blocks * call.batch;
  const index_t work = call.m * call.n * larger<index_t>(1, call.k);
  const index_t per_task = blocks > 1 ? 1 : larger<index_t>(1, gemm_tile_work / 8 / larger<index_t>(1, work));
  threads::parallel_for(divide_up(tiles, per_task), [&](index_t task) {
    for (index_t t = task * per_task; t < smaller(tiles, (task + 1) * per_task); ++t) run(t);
  });
}

/// The product by its definition.
template <class T>
void plain_gemm(const GemmCall<T>& call) {
  for (index_t i = 0; i < call.m; ++i)
    for (index_t j = 0; j < call.n; ++j) {
      T sum = T(0);
      for (index_t l = 0; l < call.k; ++l) {
        const T a = call.transpose_a ? call.a[l * call.leading_a + i] : call.a[i * call.leading_a + l];
        const T b = call.transpose_b ? call.b[j * call.leading_b + l] : call.b[l * call.leading_b + j];
        sum = sum + a * b;
      }
      T& c = call.c[i * call.leading_c + j];
      c = call.beta == T(0) ? call.alpha * sum : call.alpha * sum + call.beta * c;
    }
}

}  // namespace kolmo::detail
