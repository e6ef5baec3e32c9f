#pragma once
// Tables of codewords as the tensor cores screen them (cuda/nearest_screen.cuh): rounded to bfloat16, in blobs of 64
// codewords whose bytes lie in the order in which the lanes of a warp take them, each with the starts of its scores and
// with what bounds their errors.
//
// A warp multiplies 16 vectors and 8 codewords over 16 coordinates at a time; lane 4 g + t brings four coordinates of
// codeword g. Which four is free as long as vectors do the same: lane t has the t-th quarter of all coordinates, so
// that what it brings in all steps is one run of memory.

#include <kolmo/backend/nearest_bounds.hpp>
#include <kolmo/backend/nearest_call.hpp>
#include <kolmo/cuda/launch.cuh>

namespace kolmo::detail {

/// Codewords of a blob, and stages of one launch.
inline constexpr int screen_codes = 64, most_screen_stages = 16;
/// Places of a row for what its four lanes found: two candidates of each, and whether there may be more.
inline constexpr int row_candidates = 12;
/// Codes are packed in 16 bits on the way, and in the low bits of scores.
inline constexpr index_t most_screen_table = 32768;

/// Where things are for vectors of up to `depth` coordinates, a multiple of 16.
template <int depth>
struct ScreenShape {
  static constexpr int steps = depth / 16;          // products of a score
  static constexpr int quarter = depth / 4;         // coordinates of a lane
  static constexpr int tiles = depth > 64 ? 1 : 2;  // of 16 vectors, of a warp
  static constexpr int warps = 8, threads = 32 * warps;
  static constexpr int warp_rows = 16 * tiles, rows = warp_rows * warps;

  static constexpr int starts = 2 * screen_codes * depth;  // bytes before the starts of the scores
  static constexpr int bounds = starts + 4 * screen_codes;
  static constexpr int bytes = bounds + 16;

  static constexpr int ring = depth > 64 ? 3 : 4;  // blobs in shared memory
  static constexpr int pitch = depth + 4;          // of a vector in shared memory, in floats
  static constexpr int shared_bytes = ring * bytes + rows * pitch * 4 + rows * row_candidates * 2;

  /// Where a lane's coordinates of codeword `lane / 4` of group `group` begin, 16 bytes (8 for a depth of 16) at a
  /// time.
  __device__ static int offset(int group, int piece, int lane) {
    return depth == 16 ? (group * 32 + lane) * 8 : ((group * (quarter / 8) + piece) * 32 + lane) * 16;
  }
};

/// One stage of a search.
struct ScreenStage {
  const float* table;       // [codes, d]
  const float* half_norms;  // [codes]
  float* columns;           // [d, 64 chunks], the table transposed
  int codes, chunks, first_chunk;
  int index_bits;  // of the number of a score among those of a lane
  int wide;        // whether codewords may be read 16 bytes at a time
};

struct ScreenCall {
  index_t n;
  const float* x;
  int d, stages, chunks;
  unsigned char* blobs;
  ScreenStage stage[most_screen_stages];
  std::int32_t* codes;  // codes of row i and stage q are codes[i * codes_pitch + q]
  index_t codes_pitch;
  float* score;      // [n] of the last stage, or null
  float* residual;   // [n, d] after the last stage, or null
  index_t* bad_row;  // as in NearestCall, or null
};

/// Start of a score that cannot win; not so small that it overflows with what is added.
inline constexpr float excluded_start = -2e38f, least_score = -1e38f;

__device__ inline float warp_sum(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}
__device__ inline float warp_largest(float x) {
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

/// The bits of |x|, whose order is that of the numbers; NaN is largest.
__device__ inline unsigned modulus_bits(float x) { return __float_as_uint(x) & 0x7fffffffu; }

/// A block makes one blob; warp w its codewords 8 w, ... A codeword whose norm is not finite cannot win and is left
/// out.
template <int depth>
KOLMO_KERNEL __launch_bounds__(256) screen_table_kernel(const __grid_constant__ ScreenCall call) {
  using Shape = ScreenShape<depth>;
  constexpr int lane_elements = depth > 32 ? depth / 32 : 1;
  __shared__ float norms[8], errors[8], half_norms[8];
  int q = 0;
  while (q + 1 < call.stages && call.stage[q + 1].first_chunk <= static_cast<int>(blockIdx.x)) ++q;
  const ScreenStage& stage = call.stage[q];
  const int chunk = static_cast<int>(blockIdx.x) - stage.first_chunk;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  unsigned char* const blob = call.blobs + static_cast<index_t>(blockIdx.x) * Shape::bytes;
  float norm = 0, error = 0, half_norm = 0;
  for (int g = 0; g < 8; ++g) {
    const int column = 8 * warp + g, k = chunk * screen_codes + column;
    const float h = k < stage.codes ? stage.half_norms[k] : infinity<float>();
    const bool counts = is_finite(h);
    float value[lane_elements];
    unsigned most_bits = 0;
    for (int i = 0; i < lane_elements; ++i) {
      const int j = lane + 32 * i;
      value[i] = k < stage.codes && j < call.d ? stage.table[static_cast<index_t>(k) * call.d + j] : 0.0f;
      if (j < call.d) stage.columns[static_cast<index_t>(j) * stage.chunks * screen_codes + k] = value[i];
      if (!counts) value[i] = 0;
      const unsigned bits = modulus_bits(value[i]);
      most_bits = bits > most_bits ? bits : most_bits;
    }
    const float most = __uint_as_float(__reduce_max_sync(0xffffffffu, most_bits));
    const bool zero = !(most >= least_modulus);
    const float scale = zero ? 0.0f : 1.0f / most;  // of the sums alone
    float squares = 0, differences = 0;
    for (int i = 0; i < lane_elements; ++i) {
      const int j = lane + 32 * i;
      if (j >= depth) break;
      const unsigned rounded = zero ? 0u : to_bfloat16_pair(value[i], 0.0f) & 0xffffu;
      const float back = __uint_as_float(rounded << 16);
      const float difference = (value[i] - back) * scale;
      differences += difference * difference;
      squares += back * scale * (back * scale);
      const int t = j / Shape::quarter, place = j % Shape::quarter;
      *reinterpret_cast<unsigned short*>(blob + Shape::offset(warp, place / 8, 4 * g + t) + 2 * (place % 8)) =
          static_cast<unsigned short>(rounded);
    }
    // As round_to_bf16 of the host.
    const float slack = norm_slack(call.d) * most * 1.0001f;
    float moved = (::sqrtf(warp_sum(differences)) + 1e-15f * static_cast<float>(call.d)) * slack;
    if (zero) moved = most * ::sqrtf(static_cast<float>(call.d)) * norm_slack(call.d);
    const float length = ::sqrtf(warp_sum(squares)) * slack;
    if (lane == 0) reinterpret_cast<float*>(blob + Shape::starts)[column] = counts ? -h : excluded_start;
    if (!counts) continue;
    // Not fmaxf, which hides a NaN.
    norm = norm >= length + moved ? norm : length + moved;
    error = error >= moved ? error : moved;
    half_norm = fmaxf(half_norm, ::fabsf(h));
  }
  if (lane == 0) norms[warp] = norm, errors[warp] = error, half_norms[warp] = half_norm;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < 8; ++w) {
    norm = norm >= norms[w] ? norm : norms[w];
    error = error >= errors[w] ? error : errors[w];
    half_norm = fmaxf(half_norm, half_norms[w]);
  }
  // Of sums in float, whose order and rounding the tensor cores choose, and of the bits that the index takes.
  const float rounding =
      6.1e-8f * static_cast<float>(4 * call.d + 64) + 1.1f * static_cast<float>(1 << stage.index_bits) * 1.1920929e-7f;
  const float tiny = 2e-37f * static_cast<float>(call.d + 16);
  *reinterpret_cast<float4*>(blob + Shape::bounds) = make_float4(1.00001f * norm, 1.00001f * (error + rounding * norm),
                                                                 1.00001f * rounding * half_norm + tiny, half_norm);
}

}  // namespace kolmo::detail
