#pragma once
// The inner product of everything in bfloat16 on the host: C += A B over packed operands with sums in float. Three
// forms of one contract, chosen when the program runs: matrix tiles (bf16_tiles.hpp), AVX512-BF16's dot products of
// pairs, and plain float arithmetic. Operands are padded with zeros:
//
//   A  row-major, an even number of elements between rows      B  panels of 16 columns, [k / 2][16][2]
//   C  row-major floats, a multiple of 16 columns              k  a multiple of 32, rows a multiple of 16
//
// AVX512-BF16 and tiles take subnormal numbers as zero.

#include <atomic>
#include <string>

#include <kolmo/backend/bf16_tiles.hpp>
#include <kolmo/error.hpp>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace kolmo {

/// How the host multiplies in bfloat16. `emulated_tiles` is the code of `tiles` over tiles in software, for tests.
enum class Bf16Kernel { portable, avx512, tiles, emulated_tiles };

inline const char* name_of(Bf16Kernel kernel) {
  switch (kernel) {
    case Bf16Kernel::avx512:
      return "avx512";
    case Bf16Kernel::tiles:
      return "tiles";
    case Bf16Kernel::emulated_tiles:
      return "emulated_tiles";
    default:
      return "portable";
  }
}

namespace detail {

#if defined(__x86_64__) && defined(__linux__)

inline bool has_avx512_bf16() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512f") != 0;
}

/// AMX-TILE and AMX-BF16 (CPUID leaf 7, EDX bits 24 and 22), and the system's permission to use the tiles' state, which
/// Linux gives a process that asks for it.
inline bool has_amx_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if (((d >> 22) & 1u) == 0 || ((d >> 24) & 1u) == 0) return false;
  constexpr long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

#else

inline bool has_avx512_bf16() { return false; }
inline bool has_amx_bf16() { return false; }

#endif

inline Bf16Kernel best_bf16_kernel() {
  static const Bf16Kernel best = has_amx_bf16()      ? Bf16Kernel::tiles
                                 : has_avx512_bf16() ? Bf16Kernel::avx512
                                                     : Bf16Kernel::portable;
  return best;
}

/// -1: the best there is.
inline std::atomic<int>& forced_bf16_kernel() {
  static std::atomic<int> kernel{-1};
  return kernel;
}

}  // namespace detail

/// Whether this processor and system can run a form.
inline bool bf16_kernel_available(Bf16Kernel kernel) {
  switch (kernel) {
    case Bf16Kernel::tiles:
      return detail::has_amx_bf16();
    case Bf16Kernel::avx512:
      return detail::has_avx512_bf16();
    default:
      return true;
  }
}

/// The form in use: the best one unless set.
inline Bf16Kernel bf16_kernel() {
  const int forced = detail::forced_bf16_kernel().load(std::memory_order_relaxed);
  return forced < 0 ? detail::best_bf16_kernel() : static_cast<Bf16Kernel>(forced);
}

/// Chooses the form for the whole process. Throws ArgumentError when the processor does not have it.
inline void set_bf16_kernel(Bf16Kernel kernel) {
  if (!bf16_kernel_available(kernel))
    throw ArgumentError(std::string("bf16 kernel '") + name_of(kernel) + "': this processor or system does not have " +
                        "its instructions; the best one here is '" + name_of(detail::best_bf16_kernel()) + "'");
  detail::forced_bf16_kernel().store(static_cast<int>(kernel), std::memory_order_relaxed);
}

/// Back to the best form there is.
inline void reset_bf16_kernel() { detail::forced_bf16_kernel().store(-1, std::memory_order_relaxed); }

namespace detail {

typedef float Float16Lanes __attribute__((vector_size(64)));
typedef std::uint32_t Word16Lanes __attribute__((vector_size(64)));

/// 4 rows and one panel in float: both halves of every pair widen by a shift or a mask.
KOLMO_NOINLINE inline void portable_bf16_block(index_t pairs, const BFloat16* a, index_t a_step, const BFloat16* b,
                                               float* c, index_t c_step, bool from_zero) {
  constexpr int rows = 4;
  Float16Lanes sum[rows];
  for (int r = 0; r < rows; ++r) {
    Float16Lanes start{};
    if (!from_zero) __builtin_memcpy(&start, c + r * c_step, sizeof start);
    sum[r] = start;
  }
  for (index_t p = 0; p < pairs; ++p) {
    Word16Lanes words;
    __builtin_memcpy(&words, b + 32 * p, sizeof words);
    const Word16Lanes even_bits = words << 16, odd_bits = words & 0xffff0000u;
    Float16Lanes even, odd;
    __builtin_memcpy(&even, &even_bits, sizeof even);
    __builtin_memcpy(&odd, &odd_bits, sizeof odd);
    for (int r = 0; r < rows; ++r) {
      const float first = a[r * a_step + 2 * p], second = a[r * a_step + 2 * p + 1];
      sum[r] += first * even;
      sum[r] += second * odd;
    }
  }
  for (int r = 0; r < rows; ++r) {
    const Float16Lanes total = sum[r];
    __builtin_memcpy(c + r * c_step, &total, sizeof total);
  }
}

inline void portable_bf16_product(index_t rows, index_t panels, index_t k, const BFloat16* a, index_t a_step,
                                  const BFloat16* b, index_t b_step, float* c, index_t c_step, bool from_zero) {
  for (index_t j = 0; j < panels; ++j)
    for (index_t i = 0; i < rows; i += 4)
      portable_bf16_block(k / 2, a + i * a_step, a_step, b + j * b_step, c + i * c_step + 16 * j, c_step, from_zero);
}

#if defined(__x86_64__) && defined(__linux__)

/// 8 rows and up to 3 panels: 24 sums of 16 columns in registers; a pair of A meets a pair of every column of B.
template <int panels>
__attribute__((target("avx512f,avx512bf16"))) KOLMO_NOINLINE void avx512_bf16_block(index_t pairs, const BFloat16* a,
                                                                                    index_t a_step, const BFloat16* b,
                                                                                    index_t b_step, float* c,
                                                                                    index_t c_step, bool from_zero) {
  constexpr int rows = 8;
  Float16Lanes sum[rows][panels];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < panels; ++v) {
      Float16Lanes start{};
      if (!from_zero) __builtin_memcpy(&start, c + r * c_step + 16 * v, sizeof start);
      sum[r][v] = start;
    }
  KOLMO_ROLLED
  for (index_t p = 0; p < pairs; ++p) {
    Float16Lanes row[panels];
    for (int v = 0; v < panels; ++v) {
      Float16Lanes pairs_of_b;
      __builtin_memcpy(&pairs_of_b, b + v * b_step + 32 * p, sizeof pairs_of_b);
      row[v] = pairs_of_b;
    }
    for (int r = 0; r < rows; ++r) {
      std::uint32_t pair_of_a;
      __builtin_memcpy(&pair_of_a, a + r * a_step + 2 * p, sizeof pair_of_a);
      const Word16Lanes repeated = Word16Lanes{} + pair_of_a;
      for (int v = 0; v < panels; ++v) {
        // Operands in registers and a local sum: else compilers keep the array of sums in memory.
        Float16Lanes total = sum[r][v];
        asm("vdpbf16ps %2, %1, %0" : "+v"(total) : "v"(row[v]), "v"(repeated));
        sum[r][v] = total;
      }
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < panels; ++v) {
      const Float16Lanes total = sum[r][v];
      __builtin_memcpy(c + r * c_step + 16 * v, &total, sizeof total);
    }
}

inline void avx512_bf16_product(index_t rows, index_t panels, index_t k, const BFloat16* a, index_t a_step,
                                const BFloat16* b, index_t b_step, float* c, index_t c_step, bool from_zero) {
  for (index_t j = 0; j < panels;) {
    const index_t left = panels - j;
    const index_t width = left == 4 ? 2 : smaller<index_t>(left, 3);  // 2 + 2 rather than 3 + 1
    for (index_t i = 0; i < rows; i += 8) {
      const BFloat16* block = a + i * a_step;
      const BFloat16* panel = b + j * b_step;
      float* target = c + i * c_step + 16 * j;
      if (width == 3)
        avx512_bf16_block<3>(k / 2, block, a_step, panel, b_step, target, c_step, from_zero);
      else if (width == 2)
        avx512_bf16_block<2>(k / 2, block, a_step, panel, b_step, target, c_step, from_zero);
      else
        avx512_bf16_block<1>(k / 2, block, a_step, panel, b_step, target, c_step, from_zero);
    }
    j += width;
  }
}

#endif

/// C += A B, or C = A B, by one of the forms; see the head of this file. `b_step` is the distance of panels.
inline void bf16_product(Bf16Kernel kernel, index_t rows, index_t panels, index_t k, const BFloat16* a, index_t a_step,
                         const BFloat16* b, index_t b_step, float* c, index_t c_step, bool from_zero) {
  // Long enough that C is seldom loaded and stored, short enough that B comes from the second-level cache.
  constexpr index_t chunk = 1024;
  for (index_t p = 0; p < k; p += chunk) {
    const index_t count = smaller(chunk, k - p);
    const bool first = from_zero && p == 0;
    switch (kernel) {
#if defined(__x86_64__) && defined(__linux__)
      case Bf16Kernel::avx512:
        avx512_bf16_product(rows, panels, count, a + p, a_step, b + 16 * p, b_step, c, c_step, first);
        break;
      case Bf16Kernel::tiles:
        tile_product<AmxTiles>(rows, panels, count, a + p, a_step, b + 16 * p, b_step, c, c_step, first);
        break;
#endif
      case Bf16Kernel::emulated_tiles:
        tile_product<EmulatedTiles>(rows, panels, count, a + p, a_step, b + 16 * p, b_step, c, c_step, first);
        break;
      default:
        portable_bf16_product(rows, panels, count, a + p, a_step, b + 16 * p, b_step, c, c_step, first);
    }
  }
}

}  // namespace detail
}  // namespace kolmo
