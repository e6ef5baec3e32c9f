#pragma once
// Products of packed bfloat16 panels with matrix tiles (Intel AMX): eight registers of 16 rows of 64 bytes, and one
// instruction that multiplies two of them into a third. The product is written over three operations (load, dot,
// store) of a tile file. AmxTiles issues the instructions; EmulatedTiles performs them in software as their manual
// defines them, so that packing, edges and the order of sums are tested on processors without tiles. The instructions
// themselves have been compiled but, for want of such a processor, not run.

#include <kolmo/core/bfloat16.hpp>

namespace kolmo::detail {

inline constexpr index_t tile_rows = 16;   // of a tile; 16 columns of C
inline constexpr index_t tile_depth = 32;  // elements of k in one tile of A or B

/// The tile registers in software. dot follows the definition of TDPBF16PS: the even and the odd products of a row are
/// added up by themselves, from zero, in the order of k; their sum is added to C. Products of two bfloat16 are exact in
/// float. The instruction takes subnormal numbers as zero and returns none; the emulation does not copy that.
class EmulatedTiles {
 public:
  template <int tile>
  void zero() {
    for (auto& row : tiles_[tile])
      for (std::uint32_t& word : row) word = 0;
  }
  /// 16 rows of 64 bytes, `stride` bytes apart.
  template <int tile>
  void load(const void* source, index_t stride) {
    for (index_t r = 0; r < tile_rows; ++r)
      __builtin_memcpy(tiles_[tile][r], static_cast<const char*>(source) + r * stride, sizeof tiles_[tile][r]);
  }
  template <int tile>
  void store(void* target, index_t stride) const {
    for (index_t r = 0; r < tile_rows; ++r)
      __builtin_memcpy(static_cast<char*>(target) + r * stride, tiles_[tile][r], sizeof tiles_[tile][r]);
  }
  template <int c, int a, int b>
  void dot() {
    for (index_t m = 0; m < tile_rows; ++m)
      for (index_t n = 0; n < tile_rows; ++n) {
        float even = 0, odd = 0;
        for (index_t k = 0; k < tile_rows; ++k) {
          const std::uint32_t x = tiles_[a][m][k], y = tiles_[b][k][n];
          even += from_bits<float>(x << 16) * from_bits<float>(y << 16);
          odd += from_bits<float>(x & 0xffff0000u) * from_bits<float>(y & 0xffff0000u);
        }
        tiles_[c][m][n] = to_bits(from_bits<float>(tiles_[c][m][n]) + (even + odd));
      }
  }

 private:
  std::uint32_t tiles_[8][tile_rows][16];
};

#if defined(__x86_64__) && defined(__linux__)

/// The tile registers of this thread, configured from construction to destruction. Needs AMX-BF16 and the system's
/// permission; see bf16_kernel.hpp.
class AmxTiles {
 public:
  AmxTiles() {
    Configuration configuration;
    for (int t = 0; t < 8; ++t) {
      configuration.bytes_per_row[t] = 64;
      configuration.rows[t] = 16;
    }
    asm volatile("ldtilecfg %0" : : "m"(configuration));
  }
  ~AmxTiles() { asm volatile("tilerelease" : : : "memory"); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  template <int tile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(tile));
  }
  template <int tile>
  void load(const void* source, index_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(source), "r"(stride), "i"(tile) : "memory");
  }
  template <int tile>
  void store(void* target, index_t stride) const {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(target), "r"(stride), "i"(tile) : "memory");
  }
  template <int c, int a, int b>
  void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }

 private:
  /// The operand of LDTILECFG, palette 1.
  struct alignas(64) Configuration {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t bytes_per_row[16] = {};
    std::uint8_t rows[16] = {};
  };
};

#endif

/// Adds the product of `row_tiles` x `column_tiles` tiles of C over `depth` tiles of k. A is row-major with `a_step`
/// elements between rows; B consists of panels of 16 columns, [k / 2][16][2], `b_step` elements apart; C is row-major.
template <int row_tiles, int column_tiles, class Tiles>
void tile_block(Tiles& tiles, index_t depth, const BFloat16* a, index_t a_step, const BFloat16* b, index_t b_step,
                float* c, index_t c_step, bool from_zero) {
  const index_t c_bytes = c_step * index_t{sizeof(float)}, a_bytes = a_step * index_t{sizeof(BFloat16)};
  float* below = c + tile_rows * c_step;
  if (from_zero) {
    tiles.template zero<0>();
    if constexpr (column_tiles == 2) tiles.template zero<1>();
    if constexpr (row_tiles == 2) tiles.template zero<2>();
    if constexpr (row_tiles == 2 && column_tiles == 2) tiles.template zero<3>();
  } else {
    tiles.template load<0>(c, c_bytes);
    if constexpr (column_tiles == 2) tiles.template load<1>(c + tile_rows, c_bytes);
    if constexpr (row_tiles == 2) tiles.template load<2>(below, c_bytes);
    if constexpr (row_tiles == 2 && column_tiles == 2) tiles.template load<3>(below + tile_rows, c_bytes);
  }
  for (index_t k = 0; k < depth; ++k) {
    tiles.template load<4>(a + k * tile_depth, a_bytes);
    tiles.template load<6>(b + k * tile_depth * tile_rows, 64);
    tiles.template dot<0, 4, 6>();
    if constexpr (column_tiles == 2) {
      tiles.template load<7>(b + b_step + k * tile_depth * tile_rows, 64);
      tiles.template dot<1, 4, 7>();
    }
    if constexpr (row_tiles == 2) {
      tiles.template load<5>(a + tile_rows * a_step + k * tile_depth, a_bytes);
      tiles.template dot<2, 5, 6>();
      if constexpr (column_tiles == 2) tiles.template dot<3, 5, 7>();
    }
  }
  tiles.template store<0>(c, c_bytes);
  if constexpr (column_tiles == 2) tiles.template store<1>(c + tile_rows, c_bytes);
  if constexpr (row_tiles == 2) tiles.template store<2>(below, c_bytes);
  if constexpr (row_tiles == 2 && column_tiles == 2) tiles.template store<3>(below + tile_rows, c_bytes);
}

/// C += A B for `rows` (a multiple of 16) rows, `panels` panels of 16 columns and k a multiple of 32.
template <class Tiles>
void tile_product(index_t rows, index_t panels, index_t k, const BFloat16* a, index_t a_step, const BFloat16* b,
                  index_t b_step, float* c, index_t c_step, bool from_zero) {
  Tiles tiles;
  const index_t depth = k / tile_depth;
  for (index_t j = 0; j < panels; j += 2) {
    const bool wide = j + 1 < panels;
    const BFloat16* panel = b + j * b_step;
    for (index_t i = 0; i < rows; i += 2 * tile_rows) {
      const bool tall = i + tile_rows < rows;
      const BFloat16* block = a + i * a_step;
      float* target = c + i * c_step + j * tile_rows;
      if (tall && wide)
        tile_block<2, 2>(tiles, depth, block, a_step, panel, b_step, target, c_step, from_zero);
      else if (tall)
        tile_block<2, 1>(tiles, depth, block, a_step, panel, b_step, target, c_step, from_zero);
      else if (wide)
        tile_block<1, 2>(tiles, depth, block, a_step, panel, b_step, target, c_step, from_zero);
      else
        tile_block<1, 1>(tiles, depth, block, a_step, panel, b_step, target, c_step, from_zero);
    }
  }
}

}  // namespace kolmo::detail
