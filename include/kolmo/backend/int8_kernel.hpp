#pragma once
// Scores from products of bytes on the host: a row of unsigned bytes meets panels of 64 codewords of signed ones, four
// coordinates at a time, and the sums are exact integers. Two forms of one contract, chosen when the program runs:
// AVX512-VNNI and plain arithmetic.
//
//   score[r][k] = (row_scale[r] sum_j (u[r][j] - 128) q[k][j]) scale[k] + start[k]
//   largest[r][lane] = max of score[r][k] over the codewords k = lane, lane + 16, ... of a panel
//
//   u  rows of 4 `groups` bytes      q  panels [groups][64][4]      correction[k] = -128 sum_j q[k][j]

#include <kolmo/backend/bf16_kernel.hpp>

namespace kolmo::detail {

inline constexpr index_t screen_panel = 64;  // codewords
inline constexpr index_t screen_lanes = 16;

/// One panel of a table in bytes.
struct Int8Panel {
  const std::int8_t* codes;
  const std::int32_t* correction;
  const float* scale;
  const float* start;
};

#if defined(__x86_64__) && defined(__linux__)
inline bool has_avx512_vnni() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vnni") != 0;
}
#else
inline bool has_avx512_vnni() { return false; }
#endif

/// `rows` rows and one panel.
inline void portable_int8_block(index_t rows, index_t groups, const std::uint8_t* u, const Int8Panel& panel,
                                const float* row_scale, float* score, index_t score_step, float* largest,
                                index_t largest_step) {
  for (index_t r = 0; r < rows; ++r) {
    std::int32_t sum[screen_panel];
    __builtin_memcpy(sum, panel.correction, sizeof sum);
    for (index_t g = 0; g < groups; ++g) {
      const std::uint8_t* x = u + (r * groups + g) * 4;
      const std::int8_t* q = panel.codes + g * 4 * screen_panel;
      for (index_t k = 0; k < screen_panel; ++k)
        sum[k] += x[0] * q[4 * k] + x[1] * q[4 * k + 1] + x[2] * q[4 * k + 2] + x[3] * q[4 * k + 3];
    }
    for (index_t k = 0; k < screen_panel; ++k) {
      const float s = row_scale[r] * static_cast<float>(sum[k]) * panel.scale[k] + panel.start[k];
      float& most = largest[r * largest_step + k % screen_lanes];
      score[r * score_step + k] = s;
      most = k < screen_lanes || s > most ? s : most;
    }
  }
}

#if defined(__x86_64__) && defined(__linux__)

typedef std::int32_t Int16Lanes __attribute__((vector_size(64)));

template <int rows>
__attribute__((target("avx512f,avx512bw,avx512vnni"))) KOLMO_NOINLINE void avx512_int8_block(
    index_t groups, const std::uint8_t* u, const Int8Panel& panel, const float* row_scale, float* score,
    index_t score_step, float* largest, index_t largest_step) {
  constexpr int vectors = 4;
  Int16Lanes sum[rows][vectors];
  for (int v = 0; v < vectors; ++v) {
    Int16Lanes start;
    __builtin_memcpy(&start, panel.correction + 16 * v, sizeof start);
    for (int r = 0; r < rows; ++r) sum[r][v] = start;
  }
  KOLMO_ROLLED
  for (index_t g = 0; g < groups; ++g) {
    Int16Lanes code[vectors];
    for (int v = 0; v < vectors; ++v) __builtin_memcpy(&code[v], panel.codes + (g * 4 + v) * 64, sizeof code[v]);
    for (int r = 0; r < rows; ++r) {
      std::int32_t four;
      __builtin_memcpy(&four, u + (r * groups + g) * 4, sizeof four);
      const Int16Lanes repeated = Int16Lanes{} + four;
      for (int v = 0; v < vectors; ++v) {
        Int16Lanes total = sum[r][v];
        asm("vpdpbusd %2, %1, %0" : "+v"(total) : "v"(repeated), "v"(code[v]));
        sum[r][v] = total;
      }
    }
  }
  Float16Lanes scale[vectors], start[vectors];
  for (int v = 0; v < vectors; ++v) {
    __builtin_memcpy(&scale[v], panel.scale + 16 * v, sizeof scale[v]);
    __builtin_memcpy(&start[v], panel.start + 16 * v, sizeof start[v]);
  }
  for (int r = 0; r < rows; ++r) {
    Float16Lanes most;
    for (int v = 0; v < vectors; ++v) {
      const Float16Lanes s = row_scale[r] * __builtin_convertvector(sum[r][v], Float16Lanes) * scale[v] + start[v];
      __builtin_memcpy(score + r * score_step + 16 * v, &s, sizeof s);
      if (v == 0)
        most = s;
      else
        asm("vmaxps %2, %1, %0" : "=v"(most) : "v"(s), "v"(most));
    }
    __builtin_memcpy(largest + r * largest_step, &most, sizeof most);
  }
}

#endif

/// The most rows of a block.
inline constexpr index_t int8_rows = 6;

/// Up to int8_rows rows and one panel; see the head of this file.
inline void int8_block(bool vnni, index_t rows, index_t groups, const std::uint8_t* u, const Int8Panel& panel,
                       const float* row_scale, float* score, index_t score_step, float* largest, index_t largest_step) {
#if defined(__x86_64__) && defined(__linux__)
  if (vnni) {
    switch (rows) {
      case 6:
        return avx512_int8_block<6>(groups, u, panel, row_scale, score, score_step, largest, largest_step);
      case 5:
        return avx512_int8_block<5>(groups, u, panel, row_scale, score, score_step, largest, largest_step);
      case 4:
        return avx512_int8_block<4>(groups, u, panel, row_scale, score, score_step, largest, largest_step);
      case 3:
        return avx512_int8_block<3>(groups, u, panel, row_scale, score, score_step, largest, largest_step);
      case 2:
        return avx512_int8_block<2>(groups, u, panel, row_scale, score, score_step, largest, largest_step);
      default:
        return avx512_int8_block<1>(groups, u, panel, row_scale, score, score_step, largest, largest_step);
    }
  }
#endif
  portable_int8_block(rows, groups, u, panel, row_scale, score, score_step, largest, largest_step);
}

}  // namespace kolmo::detail
