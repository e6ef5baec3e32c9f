#pragma once
// Matrix products on CUDA: cuBLASLt for float, double and BFloat16; two kernels of our own, one for every other scalar
// and one for batches of small matrices of any scalar.
//
// Small matrices (of densities: 2 x 2 to 16 x 16, some 10^5 of them): a product library gives each a block, which at
// 8 x 8 x 8 floats uses 64 of 256 threads once and costs some 3 us a wave of 2000 blocks. Here a thread computes an
// element of C: neighbours share a row of A by a broadcast and read neighbouring elements of B, all through the L1
// cache, so that device memory sees every matrix once. 65536 products of 8 x 8 move 50 MB, which at 4.3 TB/s take 12
// us; the 16 + 32 warp loads a matrix need about as long.

#include <kolmo/core/short_division.hpp>
#include <kolmo/cuda/blas_lt.cuh>

namespace kolmo {

namespace detail {

/// alpha sum + beta c, rounded once.
template <class T>
__device__ void store_product(const GemmCall<T>& call, index_t matrix, index_t i, index_t j, const ComputeOf<T>& sum) {
  using C = ComputeOf<T>;
  T& c = call.c[matrix * call.batch_stride_c + i * call.leading_c + j];
  c = call.beta == C(0) ? T(call.alpha * sum) : T(call.alpha * sum + call.beta * C(c));
}

/// A thread computes an element of C, summed in the order of k.
template <class T>
KOLMO_KERNEL gemm_elements_kernel(const __grid_constant__ GemmCall<T> call) {
  using C = ComputeOf<T>;
  const index_t elements = call.m * call.n, items = elements * call.batch;
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  const index_t a_step = call.transpose_a ? call.leading_a : 1, b_step = call.transpose_b ? 1 : call.leading_b;
  for (index_t item = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; item < items; item += step) {
    const index_t matrix = short_quotient(item, elements), element = item - matrix * elements;
    const index_t i = short_quotient(element, call.n), j = element - i * call.n;
    const T* a = call.a + matrix * call.batch_stride_a + (call.transpose_a ? i : i * call.leading_a);
    const T* b = call.b + matrix * call.batch_stride_b + (call.transpose_b ? j * call.leading_b : j);
    C sum = C(0);
    for (index_t l = 0; l < call.k; ++l, a += a_step, b += b_step) sum = sum + C(*a) * C(*b);
    store_product(call, matrix, i, j, sum);
  }
}

/// A block of 16 x 16 threads computes a tile of C, every thread `micro` x `micro` elements of it, from tiles of A and
/// B that are `depth` deep.
template <class T>
struct GemmTile {
  static constexpr int edge = sizeof(T) <= 96 ? 16 : sizeof(T) <= 384 ? 8 : 4;
  static constexpr int micro = sizeof(T) <= 16 ? 4 : sizeof(T) <= 32 ? 2 : 1;
  static constexpr int depth = micro == 4 ? 8 : edge;
  static constexpr int rows = edge * micro;
  static constexpr int threads = edge * edge;
};

/// Brings a tile of op(X) into shared memory as [depth][rows], with zeros outside the matrix. `across` counts the rows
/// of op(A), or the columns of op(B); `along` counts k.
template <class T>
__device__ void load_gemm_tile(T* tile, const T* x, bool across_contiguous, index_t leading, index_t across,
                               index_t across_end, index_t along, index_t along_end) {
  using Tile = GemmTile<T>;
  constexpr int count = Tile::rows * Tile::depth;
  for (int e = static_cast<int>(threadIdx.x); e < count; e += Tile::threads) {
    const int r = across_contiguous ? e % Tile::rows : e / Tile::depth;
    const int l = across_contiguous ? e / Tile::rows : e % Tile::depth;
    const index_t i = across + r, k = along + l;
    const bool inside = i < across_end && k < along_end;
    tile[l * Tile::rows + r] = inside ? (across_contiguous ? x[k * leading + i] : x[i * leading + k]) : T(0);
  }
}

/// Every element is summed in the order of k.
template <class T>
KOLMO_KERNEL gemm_kernel(const __grid_constant__ GemmCall<T> call) {
  using Tile = GemmTile<T>;
  using C = ComputeOf<T>;
  constexpr int micro = Tile::micro, edge = Tile::edge, size = Tile::rows * Tile::depth;
  static_assert(2 * size * sizeof(T) <= default_shared_bytes, "a scalar of a matrix product has at most 1536 bytes");
  alignas(T) __shared__ unsigned char memory[2 * size * sizeof(T)];
  T* const tile_a = reinterpret_cast<T*>(memory);
  T* const tile_b = tile_a + size;
  const int column = static_cast<int>(threadIdx.x) % edge, row = static_cast<int>(threadIdx.x) / edge;
  const index_t tiles_m = divide_up(call.m, Tile::rows), tiles_n = divide_up(call.n, Tile::rows);
  const index_t items = tiles_m * tiles_n * call.batch;
  for (index_t item = blockIdx.x; item < items; item += gridDim.x) {
    const index_t matrix = item / (tiles_m * tiles_n), rest = item % (tiles_m * tiles_n);
    const index_t i0 = rest / tiles_n * Tile::rows, j0 = rest % tiles_n * Tile::rows;
    const T* const a = call.a + matrix * call.batch_stride_a;
    const T* const b = call.b + matrix * call.batch_stride_b;
    C sum[micro][micro];
    for (int i = 0; i < micro; ++i)
      for (int j = 0; j < micro; ++j) sum[i][j] = C(0);
    for (index_t begin = 0; begin < call.k; begin += Tile::depth) {
      load_gemm_tile<T>(tile_a, a, call.transpose_a, call.leading_a, i0, call.m, begin, call.k);
      load_gemm_tile<T>(tile_b, b, !call.transpose_b, call.leading_b, j0, call.n, begin, call.k);
      __syncthreads();
      const int depth = static_cast<int>(smaller<index_t>(Tile::depth, call.k - begin));
      for (int l = 0; l < depth; ++l) {
        C left[micro], right[micro];
        for (int i = 0; i < micro; ++i) {
          left[i] = C(tile_a[l * Tile::rows + row + i * edge]);
          right[i] = C(tile_b[l * Tile::rows + column + i * edge]);
        }
        for (int i = 0; i < micro; ++i)
          for (int j = 0; j < micro; ++j) sum[i][j] = sum[i][j] + left[i] * right[j];
      }
      __syncthreads();
    }
    for (int i = 0; i < micro; ++i)
      for (int j = 0; j < micro; ++j)
        if (i0 + row + i * edge < call.m && j0 + column + j * edge < call.n)
          store_product(call, matrix, i0 + row + i * edge, j0 + column + j * edge, sum[i][j]);
  }
}

/// Whether a thread for each element beats tiles: small matrices, whose rows stay in the L1 cache.
template <class T>
bool small_products(const GemmCall<T>& call) {
  const bool small = call.m <= 16 && call.n <= 16 && call.k <= 32;
  return call.k == 0 || (small && (call.batch > 1 || !LtProduct<T>));
}

}  // namespace detail

/// Throws DeviceError, OutOfMemory.
template <class T>
KOLMO_LINKABLE void Cuda::gemm(const GemmCall<T>& call) {
  if (call.m <= 0 || call.n <= 0 || call.batch <= 0) return;
  if (detail::small_products(call)) {
    detail::launch<GemmCall<T>>("gemm of small matrices", detail::gemm_elements_kernel<T>,
                                divide_up(call.m * call.n * call.batch, 256), 256, call);
    return;
  }
  if constexpr (detail::LtProduct<T>) {
    detail::LtProducts<T>::current().run(call);
  } else {
    using Tile = detail::GemmTile<T>;
    detail::launch<GemmCall<T>>("gemm", detail::gemm_kernel<T>,
                                divide_up(call.m, Tile::rows) * divide_up(call.n, Tile::rows) * call.batch,
                                Tile::threads, call);
  }
}

}  // namespace kolmo
