#pragma once
// The nearest codewords of float vectors, and residual codes of all stages in one kernel, by tensor cores. As on the
// host (backend/nearest_screen.hpp) scores are first computed of vectors x~ and codewords c~ rounded to bfloat16, which
// misses the score s by at most
//
//   m = |x - x~| |c| + |x| |c - c~| + rounding        for the largest norms and errors of 64 codewords at a time.
//
// The products start from m - |c|^2 / 2, so that what comes out is an upper bound u of s, and u - 2 m a lower one. A
// lane keeps the largest three u of its quarter of the codewords, with their numbers in the low bits. The nearest
// codeword is among those with u not below the largest lower bound: mostly one, else they are compared by the scores of
// the definition. If a lane's third is among them, a fourth may be, too, and the row is searched in full precision.
//
// A block has 256 vectors, 32 of a warp, which stay in shared memory as their residuals through all stages; the tables
// pass through a ring of blobs. Lane 4 g + t of a warp holds rows g and g + 8 of every 16.

#include <kolmo/backend/nearest_score.hpp>
#include <kolmo/cuda/nearest_tables.cuh>

namespace kolmo::detail {

/// A score and the number of its codeword, of which the first is best if the scores are equal.
struct ScoredCode {
  float score;
  std::int32_t code;
  __device__ void offer(float s, std::int32_t k) {
    if (s > score || (s == score && s > -infinity<float>() && k < code)) score = s, code = k;
  }
};

/// The score of the definition.
template <int depth>
__device__ float defined_score(const ScreenStage& stage, const float* x, int d, std::int32_t k) {
  constexpr int run = 16;
  const float* const c = stage.table + static_cast<index_t>(k) * d;
  float sum = -stage.half_norms[k];
  if (stage.wide) {
    // The codeword comes from far: many loads under way at once.
    KOLMO_ROLLED
    for (int begin = 0; begin < d; begin += run) {
      float4 b[run / 4];
      KOLMO_UNROLLED
      for (int i = 0; i < run / 4; ++i)
        if (begin + 4 * i < d) b[i] = *reinterpret_cast<const float4*>(c + begin + 4 * i);
      KOLMO_UNROLLED
      for (int i = 0; i < run / 4; ++i) {
        if (begin + 4 * i >= d) break;
        const float4 a = *reinterpret_cast<const float4*>(x + begin + 4 * i);
        sum = multiply_add(a.x, b[i].x, sum);
        sum = multiply_add(a.y, b[i].y, sum);
        sum = multiply_add(a.z, b[i].z, sum);
        sum = multiply_add(a.w, b[i].w, sum);
      }
    }
  } else {
    for (int j = 0; j < d; ++j) sum = multiply_add(x[j], c[j], sum);
  }
  return sum;
}

/// The nearest of all codewords, by a warp. A lane has many loads under way.
__device__ inline ScoredCode search_whole_table(const ScreenStage& stage, const float* x, int d, int lane) {
  constexpr int wide = 8;
  ScoredCode best{-infinity<float>(), 0};
  const int pitch = stage.chunks * screen_codes;
  KOLMO_ROLLED
  for (int k = lane; k < pitch; k += 32 * wide) {
    float sum[wide];
    KOLMO_UNROLLED
    for (int i = 0; i < wide; ++i)
      sum[i] = k + 32 * i < stage.codes ? -stage.half_norms[k + 32 * i] : -infinity<float>();
    const float* column = stage.columns + k;
    for (int j = 0; j < d; ++j, column += pitch) {
      float c[wide];
      KOLMO_UNROLLED
      for (int i = 0; i < wide; ++i) c[i] = k + 32 * i < pitch ? column[32 * i] : 0.0f;
      KOLMO_UNROLLED
      for (int i = 0; i < wide; ++i) sum[i] = multiply_add(x[j], c[i], sum[i]);
    }
    KOLMO_UNROLLED
    for (int i = 0; i < wide; ++i) best.offer(sum[i], k + 32 * i);
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    const float score = __shfl_xor_sync(0xffffffffu, best.score, offset);
    best.offer(score, __shfl_xor_sync(0xffffffffu, best.code, offset));
  }
  return best;
}

/// What a lane holds of a row of x~: its quarter of the coordinates in pairs. All lanes that share the row get upper
/// bounds of |x - x~| and of |x~| + |x - x~|.
template <int depth>
__device__ inline void round_row(const float* row, int t, int d, std::uint32_t (&pairs)[depth / 8], float& error,
                                 float& all) {
  constexpr int quarter = depth / 4;
  float value[quarter];
  unsigned most_bits = 0;
  KOLMO_UNROLLED
  for (int i = 0; i < quarter; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(row + t * quarter + i);
    value[i] = four.x, value[i + 1] = four.y, value[i + 2] = four.z, value[i + 3] = four.w;
  }
  KOLMO_UNROLLED
  for (int i = 0; i < quarter; ++i) {
    const unsigned bits = modulus_bits(value[i]);
    most_bits = bits > most_bits ? bits : most_bits;
  }
  for (int offset = 2; offset > 0; offset /= 2) {
    const unsigned other = __shfl_xor_sync(0xffffffffu, most_bits, offset);
    most_bits = other > most_bits ? other : most_bits;
  }
  const float most = __uint_as_float(most_bits);
  const bool zero = !(most >= least_modulus && most <= 1e30f);
  const float scale = zero ? 0.0f : 1.0f / most;  // of the sums alone
  float squares = 0, differences = 0;
  KOLMO_UNROLLED
  for (int i = 0; i < quarter; i += 2) {
    const std::uint32_t pair = zero ? 0u : to_bfloat16_pair(value[i], value[i + 1]);
    pairs[i / 2] = pair;
    const float low = __uint_as_float(pair << 16), high = __uint_as_float(pair & 0xffff0000u);
    const float moved_low = (value[i] - low) * scale, moved_high = (value[i + 1] - high) * scale;
    differences += moved_low * moved_low;
    differences += moved_high * moved_high;
    squares += low * scale * (low * scale);
    squares += high * scale * (high * scale);
  }
  for (int offset = 2; offset > 0; offset /= 2) {
    squares += __shfl_xor_sync(0xffffffffu, squares, offset);
    differences += __shfl_xor_sync(0xffffffffu, differences, offset);
  }
  const float slack = norm_slack(d) * most * 1.0001f;
  error = (::sqrtf(differences) + 1e-15f * static_cast<float>(d)) * slack;
  if (zero) error = most * ::sqrtf(static_cast<float>(d)) * norm_slack(d);
  all = ::sqrtf(squares) * slack + error;
}

/// The largest three upper bounds of scores, with their numbers among the lane's codewords in the low bits.
struct LargestThree {
  float first, second, third;
  __device__ void offer(float score, unsigned mask, unsigned number) {
    const float packed = __uint_as_float((__float_as_uint(score) & mask) | number);
    const float less = fminf(first, packed), least = fminf(second, less);
    first = fmaxf(first, packed);
    second = fmaxf(second, less);
    third = fmaxf(third, least);
  }
};

inline constexpr unsigned no_candidate = 0xffffu, many_candidates = 0xfffeu;

template <int depth>
KOLMO_KERNEL __launch_bounds__(256, depth > 64 ? 1 : 2) nearest_screen_kernel(const __grid_constant__ ScreenCall call) {
  using Shape = ScreenShape<depth>;
  constexpr int steps = Shape::steps, tiles = Shape::tiles, pitch = Shape::pitch, warp_rows = Shape::warp_rows;
  constexpr int elements = depth > 32 ? depth / 32 : 1;  // of a vector, of a lane that has every 32nd
  constexpr unsigned everyone = 0xffffffffu;
  unsigned char* const ring = dynamic_shared();
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int g = lane / 4, t = lane % 4, d = call.d;
  float* const rows = reinterpret_cast<float*>(ring + Shape::ring * Shape::bytes) + warp * warp_rows * pitch;
  unsigned short* const candidates =
      reinterpret_cast<unsigned short*>(ring + Shape::ring * Shape::bytes + Shape::rows * pitch * 4) +
      warp * warp_rows * row_candidates;
  const index_t first_row = static_cast<index_t>(blockIdx.x) * Shape::rows + warp * warp_rows;
  const int present = static_cast<int>(larger<index_t>(0, smaller<index_t>(warp_rows, call.n - first_row)));

  int copied = 0;  // blobs on their way
  const auto copy_next = [&] {
    if (copied < call.chunks) {
      const unsigned char* const from = call.blobs + static_cast<index_t>(copied) * Shape::bytes;
      unsigned char* const to = ring + copied % Shape::ring * Shape::bytes;
      for (int i = 16 * thread; i < Shape::bytes; i += 16 * Shape::threads) copy_async_16(to + i, from + i);
    }
    ++copied;
    commit_copies();
  };
  for (int i = 0; i < Shape::ring - 1; ++i) copy_next();

  for (int i = lane; i < warp_rows * depth; i += 32) {
    const int row = i / depth, j = i % depth;
    const float value = row < present && j < d ? call.x[(first_row + row) * d + j] : 0.0f;
    rows[row * pitch + j] = value;
    if (!is_finite(value) && call.bad_row != nullptr)
      atomicMin(reinterpret_cast<unsigned long long*>(call.bad_row), static_cast<unsigned long long>(first_row + row));
  }
  __syncwarp();

  for (int q = 0; q < call.stages; ++q) {
    const ScreenStage& stage = call.stage[q];
    const unsigned number_mask = (1u << stage.index_bits) - 1;
    std::uint32_t a[tiles][steps][4];
    float error[tiles][2], all[tiles][2];
    LargestThree best[tiles][2];
    KOLMO_UNROLLED
    for (int m = 0; m < tiles; ++m) KOLMO_UNROLLED
    for (int half = 0; half < 2; ++half) {
      std::uint32_t pairs[2 * steps];
      round_row<depth>(rows + (16 * m + 8 * half + g) * pitch, t, d, pairs, error[m][half], all[m][half]);
      KOLMO_UNROLLED
      for (int s = 0; s < steps; ++s) a[m][s][half] = pairs[2 * s], a[m][s][2 + half] = pairs[2 * s + 1];
      best[m][half] = {-3e38f, -3e38f, -3e38f};
    }

    for (int chunk = 0; chunk < stage.chunks; ++chunk) {
      wait_copies<Shape::ring - 2>();
      __syncthreads();
      const unsigned char* const blob = ring + (copied + 1) % Shape::ring * Shape::bytes;
      copy_next();
      if (present == 0) continue;
      const float4 bound = *reinterpret_cast<const float4*>(blob + Shape::bounds);
      float margin[tiles][2];
      KOLMO_UNROLLED
      for (int m = 0; m < tiles; ++m) KOLMO_UNROLLED
      for (int half = 0; half < 2; ++half)
        margin[m][half] = error[m][half] * bound.x + all[m][half] * bound.y + bound.z;
      for (int group = 0; group < 8; group += 2) {
        std::uint32_t b[2][steps][2];
        float score[2][tiles][4];
        KOLMO_UNROLLED
        for (int i = 0; i < 2; ++i) {
          if constexpr (depth == 16) {
            const uint2 part = *reinterpret_cast<const uint2*>(blob + Shape::offset(group + i, 0, lane));
            b[i][0][0] = part.x, b[i][0][1] = part.y;
          } else {
            KOLMO_UNROLLED
            for (int piece = 0; piece < steps / 2; ++piece) {
              const uint4 part = *reinterpret_cast<const uint4*>(blob + Shape::offset(group + i, piece, lane));
              b[i][2 * piece][0] = part.x, b[i][2 * piece][1] = part.y;
              b[i][2 * piece + 1][0] = part.z, b[i][2 * piece + 1][1] = part.w;
            }
          }
          const float2 start = *reinterpret_cast<const float2*>(blob + Shape::starts + 4 * (8 * (group + i) + 2 * t));
          KOLMO_UNROLLED
          for (int m = 0; m < tiles; ++m) KOLMO_UNROLLED
          for (int half = 0; half < 2; ++half) {
            score[i][m][2 * half] = start.x + margin[m][half];
            score[i][m][2 * half + 1] = start.y + margin[m][half];
          }
        }
        KOLMO_UNROLLED
        for (int s = 0; s < steps; ++s) KOLMO_UNROLLED
        for (int i = 0; i < 2; ++i) KOLMO_UNROLLED
        for (int m = 0; m < tiles; ++m) multiply_add_bfloat16(score[i][m], a[m][s], b[i][s]);
        KOLMO_UNROLLED
        for (int i = 0; i < 2; ++i) KOLMO_UNROLLED
        for (int side = 0; side < 2; ++side) {
          const unsigned number = static_cast<unsigned>(16 * chunk + 2 * (group + i) + side);
          KOLMO_UNROLLED
          for (int m = 0; m < tiles; ++m) KOLMO_UNROLLED
          for (int half = 0; half < 2; ++half) best[m][half].offer(score[i][m][2 * half + side], ~number_mask, number);
        }
      }
    }
    if (present == 0) continue;

    // Candidates of every row, two of each of its lanes.
    const unsigned char* const bounds =
        call.blobs + static_cast<index_t>(stage.first_chunk) * Shape::bytes + Shape::bounds;
    const auto bound_of = [&](int chunk) {
      return *reinterpret_cast<const float4*>(bounds + static_cast<index_t>(chunk) * Shape::bytes);
    };
    float largest_norm = 0, largest_half_norm = 0;
    for (int chunk = lane; chunk < stage.chunks; chunk += 32) {
      const float4 bound = bound_of(chunk);
      largest_norm = largest_norm >= bound.x ? largest_norm : bound.x;
      largest_half_norm = fmaxf(largest_half_norm, bound.w);
    }
    const bool defined = __all_sync(everyone, largest_norm <= most_screened);
    largest_norm = warp_largest(largest_norm);
    largest_half_norm = warp_largest(largest_half_norm);
    KOLMO_UNROLLED
    for (int m = 0; m < tiles; ++m) KOLMO_UNROLLED
    for (int half = 0; half < 2; ++half) {
      const float length = all[m][half];
      const bool usable =
          defined && length <= most_screened && length * largest_norm + largest_half_norm <= most_screened;
      float least = -3e38f;
      const auto lower = [&](float upper) {
        const float4 bound = bound_of(static_cast<int>((__float_as_uint(upper) & number_mask) / 16));
        return upper - 2 * (error[m][half] * bound.x + length * bound.y + bound.z);
      };
      const LargestThree& three = best[m][half];
      if (usable && three.first > least_score) least = lower(three.first);
      if (usable && three.second > least_score) least = fmaxf(least, lower(three.second));
      least = fmaxf(least, __shfl_xor_sync(everyone, least, 1));
      least = fmaxf(least, __shfl_xor_sync(everyone, least, 2));
      const auto code_of = [&](float upper) {
        const unsigned number = __float_as_uint(upper) & number_mask;
        return number / 16 * screen_codes + number % 16 / 2 * 8 + 2 * static_cast<unsigned>(t) + number % 2;
      };
      const auto counts = [&](float upper) { return upper > least_score && upper >= least; };
      unsigned short* const place = candidates + (16 * m + 8 * half + g) * row_candidates + 3 * t;
      place[0] = static_cast<unsigned short>(counts(three.first) ? code_of(three.first) : no_candidate);
      place[1] = static_cast<unsigned short>(counts(three.second) ? code_of(three.second) : no_candidate);
      place[2] = static_cast<unsigned short>(!usable || counts(three.third) ? many_candidates : no_candidate);
    }
    __syncwarp();

    // Lane l decides row l.
    ScoredCode chosen{-infinity<float>(), 0};
    bool whole = false;
    if (lane < present) {
      unsigned found = 0;
      for (int i = 0; i < row_candidates; ++i) {
        const unsigned candidate = candidates[row_candidates * lane + i];
        whole = whole || candidate == many_candidates;
        if (candidate < many_candidates) found |= 1u << i;
      }
      whole = whole || found == 0;
      if (!whole) chosen.code = candidates[row_candidates * lane + __ffs(static_cast<int>(found)) - 1];
      if (whole || ((found & (found - 1)) == 0 && call.score == nullptr)) found = 0;
      KOLMO_ROLLED
      for (; found != 0; found &= found - 1) {
        const std::int32_t candidate = candidates[row_candidates * lane + __ffs(static_cast<int>(found)) - 1];
        chosen.offer(defined_score<depth>(stage, rows + lane * pitch, d, candidate), candidate);
      }
    }
    KOLMO_ROLLED
    for (unsigned rest = __ballot_sync(everyone, whole); rest != 0; rest &= rest - 1) {
      const int row = __ffs(static_cast<int>(rest)) - 1;
      const ScoredCode result = search_whole_table(stage, rows + row * pitch, d, lane);
      if (lane == row) chosen = result;
    }
    if (lane < present) {
      call.codes[(first_row + lane) * call.codes_pitch + q] = chosen.code;
      if (call.score != nullptr) call.score[first_row + lane] = chosen.score;
    }
    if (q + 1 == call.stages && call.residual == nullptr) continue;
    __syncwarp();
    // Many codewords under way at once; rows that are not present take any.
    KOLMO_ROLLED
    for (int begin = 0; begin < warp_rows; begin += 8) {
      float codeword[8][elements];
      KOLMO_UNROLLED
      for (int i = 0; i < 8; ++i) {
        const float* const from = stage.table + static_cast<index_t>(__shfl_sync(everyone, chosen.code, begin + i)) * d;
        KOLMO_UNROLLED
        for (int e = 0; e < elements; ++e) codeword[i][e] = lane + 32 * e < d ? from[lane + 32 * e] : 0.0f;
      }
      KOLMO_UNROLLED
      for (int i = 0; i < 8; ++i) KOLMO_UNROLLED
      for (int e = 0; e < elements; ++e)
        if (lane + 32 * e < d) rows[(begin + i) * pitch + lane + 32 * e] -= codeword[i][e];
    }
    __syncwarp();
  }
  if (call.residual != nullptr)
    for (int row = 0; row < present; ++row)
      for (int j = lane; j < d; j += 32) call.residual[(first_row + row) * d + j] = rows[row * pitch + j];
  wait_copies<0>();
}

template <int depth>
void launch_screen(ScreenCall& call) {
  using Shape = ScreenShape<depth>;
  index_t floats = 0;
  for (int q = 0; q < call.stages; ++q) floats += static_cast<index_t>(call.stage[q].chunks) * screen_codes * call.d;
  const CudaBuffer<unsigned char> blobs(static_cast<index_t>(call.chunks) * Shape::bytes);
  const CudaBuffer<float> columns(floats);
  call.blobs = blobs.data();
  float* next = columns.data();
  for (int q = 0; q < call.stages; ++q) {
    call.stage[q].columns = next;
    next += static_cast<index_t>(call.stage[q].chunks) * screen_codes * call.d;
  }
  launch<ScreenShape<depth>>("screen_table", screen_table_kernel<depth>, LaunchShape{call.chunks, 256, 0}, call);
  launch<ScreenShape<depth>>("nearest_screen", nearest_screen_kernel<depth>,
                             LaunchShape{divide_up(call.n, Shape::rows), Shape::threads, Shape::shared_bytes}, call);
}

/// Appends a stage.
inline void add_screen_stage(ScreenCall& call, const NearestStage<float>& stage) {
  const auto chunks = static_cast<int>(divide_up(stage.codes, screen_codes));
  int bits = 4;
  while ((1 << bits) < 16 * chunks) ++bits;
  const bool wide = call.d % 4 == 0 && reinterpret_cast<std::uintptr_t>(stage.table) % 16 == 0;
  call.stage[call.stages++] = {stage.table, stage.half_norms, nullptr, static_cast<int>(stage.codes),
                               chunks,      call.chunks,      bits,    wide ? 1 : 0};
  call.chunks += chunks;
}

/// Whether tensor cores can screen a table; with few vectors it does not pay unless it is asked for.
inline bool can_screen(index_t n, index_t codes, index_t d, Screen screen) {
  return screen != Screen::none && d <= 128 && codes <= most_screen_table && (screen != Screen::automatic || n >= 64);
}

inline void launch_screen_of_any_depth(ScreenCall& call) {
  if (call.d <= 16)
    launch_screen<16>(call);
  else if (call.d <= 32)
    launch_screen<32>(call);
  else if (call.d <= 64)
    launch_screen<64>(call);
  else
    launch_screen<128>(call);
}

/// False when it leaves the search to full precision.
inline bool screened_nearest(const NearestCall<float>& call) {
  if (call.count != 1 || !can_screen(call.n, call.codes, call.d, call.screen)) return false;
  ScreenCall screen{};
  screen.n = call.n;
  screen.x = call.x;
  screen.d = static_cast<int>(call.d);
  add_screen_stage(screen, {call.table, call.half_norms, call.codes});
  screen.codes = call.index;
  screen.codes_pitch = 1;
  screen.score = call.score;
  screen.bad_row = call.bad_row;
  launch_screen_of_any_depth(screen);
  return true;
}

/// All stages in one launch, or in as many as they need. False when a table is too large for it.
inline bool screened_residual(const NearestResidualCall<float>& call) {
  for (index_t q = 0; q < call.stage_count; ++q)
    if (!can_screen(call.n, call.stages[q].codes, call.d, call.screen)) return false;
  const CudaBuffer<float> residual(call.stage_count > most_screen_stages ? call.n * call.d : 0);
  for (index_t first = 0; first < call.stage_count; first += most_screen_stages) {
    const index_t end = smaller(call.stage_count, first + most_screen_stages);
    ScreenCall screen{};
    screen.n = call.n;
    screen.x = first == 0 ? call.x : residual.data();
    screen.d = static_cast<int>(call.d);
    for (index_t q = first; q < end; ++q) add_screen_stage(screen, call.stages[q]);
    screen.codes = call.codes + first;
    screen.codes_pitch = call.stage_count;
    screen.residual = end < call.stage_count ? residual.data() : nullptr;
    screen.bad_row = first == 0 ? call.bad_row : nullptr;
    launch_screen_of_any_depth(screen);
  }
  return true;
}

}  // namespace kolmo::detail
