#pragma once
// Products of tiles in shared memory, by the warps of one block: c[m, n] += sum_k a[m, k] b[n, k] over 128 bytes of k,
// or with both operands stored the other way round, c[m, n] += sum_k a[k, m] b[k, n]. Bfloat16 and TF32 go to the
// tensor cores, exact products of float to the ordinary units.

#include <cstdint>

#include <kolmo/cuda/conv_plan.cuh>
#include <kolmo/cuda/matrix_math.hpp>

namespace kolmo::detail {

inline constexpr int conv_threads = 256;
inline constexpr int conv_tile_rows = 128;

/// Bytes from one row of a tile to the next: an odd number of 16-byte words beyond whole rounds of the banks, so that
/// eight rows at the same place meet different banks.
inline constexpr int conv_pitch = conv_row_bytes + 16;

/// Numbers of a 128-byte row.
template <class T>
inline constexpr int conv_row_numbers = conv_row_bytes / static_cast<int>(sizeof(T));

__device__ inline void multiply_add(BFloat16, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  multiply_add_bfloat16(d, a, b);
}
__device__ inline void multiply_add(float, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  multiply_add_tf32(d, a, b);
}

/// Eight warps as 4 x 2, each with 32 x columns / 2 of c. Products of float are rounded to TF32.
template <class T, int columns>
struct TensorCoreTile {
  using Scalar = T;
  static constexpr int tile_columns = columns;
  static constexpr int bands = columns / 16;
  static_assert(columns % 32 == 0);
  float sums[2][bands][4] = {};

  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / 64 * 32; }
  __device__ static int first_column() { return static_cast<int>(threadIdx.x) / 32 % 2 * (columns / 2); }

  __device__ static void round(std::uint32_t (&fragment)[4]) {
    if constexpr (sizeof(T) == 4)
      for (std::uint32_t& bits : fragment) bits = to_tf32(__builtin_bit_cast(float, bits));
  }

  __device__ void multiply(const std::uint32_t (&a)[2][4], const std::uint32_t (&b)[4], int band) {
    const std::uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
    KOLMO_UNROLLED
    for (int half = 0; half < 2; ++half) {
      multiply_add(T(), sums[half][band], a[half], low);
      multiply_add(T(), sums[half][band + 1], a[half], high);
    }
  }

  /// Rows of both tiles lie along k. b has been rounded.
  __device__ void add(const unsigned char* a_tile, const unsigned char* b_tile) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const unsigned char* const a_row = a_tile + (first_row() + lane % 16) * conv_pitch + lane / 16 * 16;
    const unsigned char* const b_row =
        b_tile + (first_column() + lane / 16 * 8 + lane % 8) * conv_pitch + lane / 8 % 2 * 16;
    KOLMO_UNROLLED
    for (int step = 0; step < 4; ++step) {
      std::uint32_t a[2][4];
      KOLMO_UNROLLED
      for (int half = 0; half < 2; ++half) {
        load_matrices<4>(a[half], a_row + half * 16 * conv_pitch + step * 32);
        round(a[half]);
      }
      KOLMO_UNROLLED
      for (int band = 0; band < bands; band += 2) {
        std::uint32_t b[4];
        load_matrices<4>(b, b_row + band * 8 * conv_pitch + step * 32);
        multiply(a, b, band);
      }
    }
  }

  /// Rows of both tiles are one k each.
  template <int a_pitch, int b_pitch, int depth>
  __device__ void add_transposed(const unsigned char* a_tile, const unsigned char* b_tile) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if constexpr (sizeof(T) == 2) {
      const unsigned char* const a_row =
          a_tile + (lane / 16 * 8 + lane % 8) * a_pitch + (first_row() + lane / 8 % 2 * 8) * 2;
      const unsigned char* const b_row = b_tile + lane % 16 * b_pitch + (first_column() + lane / 16 * 8) * 2;
      KOLMO_UNROLLED
      for (int k = 0; k < depth; k += 16) {
        std::uint32_t a[2][4];
        KOLMO_UNROLLED
        for (int half = 0; half < 2; ++half) load_matrices_transposed<4>(a[half], a_row + k * a_pitch + half * 32);
        KOLMO_UNROLLED
        for (int band = 0; band < bands; band += 2) {
          std::uint32_t b[4];
          load_matrices_transposed<4>(b, b_row + k * b_pitch + band * 16);
          multiply(a, b, band);
        }
      }
    } else {
      const unsigned char* const a_row = a_tile + lane % 4 * a_pitch + (first_row() + lane / 4) * 4;
      const unsigned char* const b_row = b_tile + lane % 4 * b_pitch + (first_column() + lane / 4) * 4;
      const auto number = [](const unsigned char* place) { return to_tf32(*reinterpret_cast<const float*>(place)); };
      KOLMO_UNROLLED
      for (int k = 0; k < depth; k += 8) {
        std::uint32_t a[2][4];
        KOLMO_UNROLLED
        for (int half = 0; half < 2; ++half) KOLMO_UNROLLED
        for (int i = 0; i < 4; ++i)
          a[half][i] = number(a_row + (k + i / 2 * 4) * a_pitch + (half * 16 + i % 2 * 8) * 4);
        KOLMO_UNROLLED
        for (int band = 0; band < bands; band += 2) {
          std::uint32_t b[4];
          KOLMO_UNROLLED
          for (int i = 0; i < 4; ++i) b[i] = number(b_row + (k + i % 2 * 4) * b_pitch + (band + i / 2) * 8 * 4);
          multiply(a, b, band);
        }
      }
    }
  }

  /// Writes c to a tile of floats.
  __device__ void write(float* tile, int pitch) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    KOLMO_UNROLLED
    for (int half = 0; half < 2; ++half) KOLMO_UNROLLED
    for (int band = 0; band < bands; ++band) KOLMO_UNROLLED
    for (int i = 0; i < 4; ++i)
      tile[(first_row() + half * 16 + lane / 4 + i / 2 * 8) * pitch + first_column() + band * 8 + lane % 4 * 2 +
           i % 2] = sums[half][band][i];
  }
};

/// Products of float as IEEE defines them: a thread has 8 x columns / 16 of c, 16 apart, summed in the order of k.
template <int columns>
struct ExactTile {
  using Scalar = float;
  static constexpr int tile_columns = columns;
  static constexpr int width = columns / 16;
  float sums[8][width] = {};

  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / 16; }
  __device__ static int first_column() { return static_cast<int>(threadIdx.x) % 16; }

  __device__ void add(const unsigned char* a_tile, const unsigned char* b_tile) {
    const unsigned char* const a_row = a_tile + first_row() * conv_pitch;
    const unsigned char* const b_row = b_tile + first_column() * conv_pitch;
    for (int k = 0; k < conv_row_bytes; k += 16) {
      float4 b[width];
      KOLMO_UNROLLED
      for (int j = 0; j < width; ++j) b[j] = *reinterpret_cast<const float4*>(b_row + j * 16 * conv_pitch + k);
      KOLMO_UNROLLED
      for (int i = 0; i < 8; ++i) {
        const float4 a = *reinterpret_cast<const float4*>(a_row + i * 16 * conv_pitch + k);
        KOLMO_UNROLLED
        for (int j = 0; j < width; ++j)
          sums[i][j] = ((sums[i][j] + a.x * b[j].x) + a.y * b[j].y + a.z * b[j].z) + a.w * b[j].w;
      }
    }
  }

  template <int a_pitch, int b_pitch, int depth>
  __device__ void add_transposed(const unsigned char* a_tile, const unsigned char* b_tile) {
    for (int k = 0; k < depth; ++k) {
      const float* const a = reinterpret_cast<const float*>(a_tile + k * a_pitch) + first_row();
      const float* const b = reinterpret_cast<const float*>(b_tile + k * b_pitch) + first_column();
      float row[width];
      KOLMO_UNROLLED
      for (int j = 0; j < width; ++j) row[j] = b[16 * j];
      KOLMO_UNROLLED
      for (int i = 0; i < 8; ++i) KOLMO_UNROLLED
      for (int j = 0; j < width; ++j) sums[i][j] = sums[i][j] + a[16 * i] * row[j];
    }
  }

  __device__ void write(float* tile, int pitch) const {
    KOLMO_UNROLLED
    for (int i = 0; i < 8; ++i) KOLMO_UNROLLED
    for (int j = 0; j < width; ++j) tile[(first_row() + 16 * i) * pitch + first_column() + 16 * j] = sums[i][j];
  }
};

}  // namespace kolmo::detail
