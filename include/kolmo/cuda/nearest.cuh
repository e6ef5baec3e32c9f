#pragma once
// The nearest rows of a table on CUDA. Here is the search in full precision: a block computes the scores of a tile of
// vectors and a tile of codewords in registers, every one as the chain of multiply-adds that defines it, and keeps the
// best of each vector; no score goes to memory. Most searches of one codeword in float go through tensor cores
// instead, with equal results: cuda/nearest_screen.cuh.

#include <type_traits>

#include <kolmo/backend/nearest_score.hpp>
#include <kolmo/cuda/launch.cuh>
#include <kolmo/cuda/nearest_screen.cuh>

namespace kolmo {

namespace detail {

/// The edge of a tile of vectors and of codewords, and how many coordinates of both are in shared memory at once.
inline constexpr int nearest_edge = 64, nearest_slice = 16;
/// Distance of the coordinates in shared memory: a multiple of four for vector loads.
inline constexpr int nearest_pitch = nearest_edge + 4;

/// Coordinates j0, ..., j0 + 15 of rows first, ..., first + 63 of x [n, d], coordinate by coordinate. Elements that are
/// not there stay what they are.
template <class T>
__device__ void load_nearest_slice(const T* x, index_t n, index_t d, index_t first, index_t j0, T* slice,
                                   bool& finite) {
  for (int i = static_cast<int>(threadIdx.x); i < nearest_edge * nearest_slice; i += static_cast<int>(blockDim.x)) {
    const int row = i / nearest_slice, j = i % nearest_slice;
    if (first + row >= n || j0 + j >= d) continue;
    const T value = x[(first + row) * d + j0 + j];
    finite = finite && is_finite(value);
    slice[j * nearest_pitch + row] = value;
  }
}

/// The first of this block's rows that is not finite.
template <class T>
__device__ void note_bad_rows(const NearestCall<T>& call, index_t first) {
  for (int row = static_cast<int>(threadIdx.x); row < nearest_edge && first + row < call.n;
       row += static_cast<int>(blockDim.x))
    for (index_t j = 0; j < call.d; ++j)
      if (!is_finite(call.x[(first + row) * call.d + j])) {
        atomicMin(reinterpret_cast<unsigned long long*>(call.bad_row), static_cast<unsigned long long>(first + row));
        break;
      }
}

/// 256 threads, 16 x 16: thread (ty, tx) has rows 4 ty, ... and codewords 4 tx, ... of a tile. With `several` the
/// scores of a tile meet in shared memory, and a warp puts those that may count into the lists of its rows.
template <class T, bool several>
KOLMO_KERNEL nearest_kernel(const __grid_constant__ NearestCall<T> call) {
  constexpr int edge = nearest_edge, score_pitch = edge + 1;
  alignas(16) __shared__ T memory[edge * score_pitch];
  __shared__ index_t found[edge];
  T* const vectors = memory;
  T* const codewords = memory + nearest_slice * nearest_pitch;
  const int thread = static_cast<int>(threadIdx.x);
  const int tx = thread % 16, ty = thread / 16, lane = thread % warp_threads, warp = thread / warp_threads;
  for (index_t first = static_cast<index_t>(blockIdx.x) * edge; first < call.n;
       first += static_cast<index_t>(gridDim.x) * edge) {
    T best[4];
    std::int32_t chosen[4];
    for (int i = 0; i < 4; ++i) best[i] = -infinity<T>(), chosen[i] = 0;
    if (several && thread < edge && first + thread < call.n) {
      BestScores<T>(call.index + (first + thread) * call.count, call.score + (first + thread) * call.count, call.count);
      found[thread] = 0;
    }
    bool finite = true;
    for (index_t k0 = 0; k0 < call.codes; k0 += edge) {
      T sum[4][4];
      for (int j = 0; j < 4; ++j) {
        const index_t k = k0 + 4 * tx + j;
        for (int i = 0; i < 4; ++i) sum[i][j] = k < call.codes ? -call.half_norms[k] : -infinity<T>();
      }
      for (index_t j0 = 0; j0 < call.d; j0 += nearest_slice) {
        __syncthreads();
        bool ignored = true;
        load_nearest_slice(call.x, call.n, call.d, first, j0, vectors, finite);
        load_nearest_slice(call.table, call.codes, call.d, k0, j0, codewords, ignored);
        __syncthreads();
        const int depth = static_cast<int>(smaller<index_t>(nearest_slice, call.d - j0));
        for (int l = 0; l < depth; ++l) {
          T a[4], b[4];
          for (int i = 0; i < 4; ++i) a[i] = vectors[l * nearest_pitch + 4 * ty + i];
          for (int j = 0; j < 4; ++j) b[j] = codewords[l * nearest_pitch + 4 * tx + j];
          for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 4; ++j) sum[i][j] = multiply_add(a[i], b[j], sum[i][j]);
        }
      }
      if constexpr (several) {
        __syncthreads();
        for (int i = 0; i < 4; ++i)
          for (int j = 0; j < 4; ++j) memory[(4 * ty + i) * score_pitch + 4 * tx + j] = sum[i][j];
        __syncthreads();
        for (int row = warp; row < edge && first + row < call.n; row += static_cast<int>(blockDim.x) / warp_threads) {
          BestScores<T> list(call.index + (first + row) * call.count, call.score + (first + row) * call.count,
                             call.count, found[row]);
          const T worst = list.score[call.count - 1];
          __syncwarp();
          for (int half = 0; half < edge; half += warp_threads) {
            const T score = memory[row * score_pitch + half + lane];
            for (unsigned hits = __ballot_sync(0xffffffffu, k0 + half + lane < call.codes && score >= worst); hits != 0;
                 hits &= hits - 1) {
              const int hit = half + __ffs(static_cast<int>(hits)) - 1;
              if (lane == 0) list.add(memory[row * score_pitch + hit], static_cast<std::int32_t>(k0 + hit));
            }
          }
          if (lane == 0) found[row] = list.found;
          __syncwarp();
        }
      } else {
        for (int j = 0; j < 4; ++j)
          for (int i = 0; i < 4; ++i)
            if (sum[i][j] > best[i]) best[i] = sum[i][j], chosen[i] = static_cast<std::int32_t>(k0 + 4 * tx + j);
      }
    }
    if constexpr (!several) {
      for (int i = 0; i < 4; ++i) {
        for (int offset = 8; offset > 0; offset /= 2) {
          const T score = __shfl_xor_sync(0xffffffffu, best[i], offset, 16);
          const std::int32_t code = __shfl_xor_sync(0xffffffffu, chosen[i], offset, 16);
          if (score > best[i] || (score == best[i] && code < chosen[i])) best[i] = score, chosen[i] = code;
        }
        const index_t row = first + 4 * ty + i;
        if (tx == 0 && row < call.n) call.index[row] = chosen[i], call.score[row] = best[i];
      }
    }
    if (__syncthreads_or(!finite)) note_bad_rows(call, first);
  }
}

}  // namespace detail

/// Throws DeviceError.
template <Real T>
KOLMO_LINKABLE void Cuda::nearest(const NearestCall<T>& call) {
  if (call.n <= 0) return;
  if constexpr (std::is_same_v<T, float>)
    if (detail::screened_nearest(call)) return;
  constexpr int threads = 256;
  const index_t tiles = divide_up(call.n, detail::nearest_edge);
  if (call.count == 1)
    detail::launch<NearestCall<T>>("nearest", detail::nearest_kernel<T, false>, tiles, threads, call);
  else
    detail::launch<NearestCall<T>>("nearest", detail::nearest_kernel<T, true>, tiles, threads, call);
}

/// Throws DeviceError.
template <Real T>
KOLMO_LINKABLE bool Cuda::nearest_residual(const NearestResidualCall<T>& call) {
  if constexpr (std::is_same_v<T, float>)
    return detail::screened_residual(call);
  else
    return false;
}

}  // namespace kolmo
