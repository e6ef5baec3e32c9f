#pragma once
// Norms of rows by teams of a device (see backend/team.hpp): a member reads a few packs of 16 bytes of a row once, all
// before the first is used, and keeps them in registers from the statistics to the result; neighbours read neighbouring
// packs. A team has as many members as give each at most four packs. Rows that do not fit are read again by the
// members in turn.
//
// The sums over rows that the way back needs (of a modulation, of gamma and beta) are kept in registers as well: a team
// takes a few rows, a member always the same columns. Blocks of rows and the tree within a row depend on the shape
// alone.

#include <cstdint>

#include <kolmo/backend/team.hpp>
#include <kolmo/core/dual.hpp>

namespace kolmo::detail {

/// A backend on which an item of for_each_team is the work of many threads.
template <class B>
concept HasTeams = requires(index_t n, const ProbeEach& f) { B::for_each_team(n, f); };

/// Neighbouring numbers that are read and written at once.
template <class T, int width>
struct alignas(sizeof(T) * static_cast<std::size_t>(width)) Pack {
  T v[width];
};

/// Packs that a member keeps.
inline constexpr int held_packs = 4;

template <class T>
inline constexpr int norm_pack_width = sizeof(T) <= 16 ? static_cast<int>(16 / sizeof(T)) : 1;

/// Whether every row of n numbers from these addresses on begins at a multiple of a pack, and fits into a team.
template <class T, class... Pointers>
bool in_packs(index_t n, const Pointers*... pointers) {
  constexpr int width = norm_pack_width<T>;
  return n % width == 0 && n / width <= 32 * held_packs &&
         ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

/// How many members share a row: the kernel is made for 4, 8, 16 and 32 of them.
inline int norm_team_threads(index_t packs) {
  int threads = 4;
  while (threads < 32 && threads * held_packs < packs) threads *= 2;
  return threads;
}

template <int threads, int width>
struct NormTeamShape {
  static constexpr int team_threads = threads;
  static constexpr int pack_width = width;
};

/// Calls run(NormTeamShape) for rows of n numbers.
template <class T, class Run>
void with_norm_team(index_t n, bool packed, const Run& run) {
  constexpr int width = norm_pack_width<T>;
  if (!packed) return run(NormTeamShape<32, 1>{});
  switch (norm_team_threads(n / width)) {
    case 4: return run(NormTeamShape<4, width>{});
    case 8: return run(NormTeamShape<8, width>{});
    case 16: return run(NormTeamShape<16, width>{});
    default: return run(NormTeamShape<32, width>{});
  }
}

/// Consecutive rows of one image that a team takes on the way back: fewer teams mean fewer partial sums, more keep the
/// device busy. From the shape alone.
inline index_t norm_team_rows(index_t rows, index_t rows_of_image, index_t n, index_t bytes) {
  const index_t members = smaller<index_t>(32, larger<index_t>(4, n * bytes / 64));
  index_t count = 16;
  while (count > 4 && rows / count * members < 65536) count /= 2;
  return larger<index_t>(1, smaller(count, rows_of_image));
}

/// The columns of a member in turn: step(index of a register, first column of a pack). With registers every loop is
/// unrolled; `begin` and `end` count packs.
template <int threads, int width>
struct NormColumns {
  static constexpr int held = held_packs;
  int rank;
  index_t packs;

  /// step(k, column) for each of the member's packs; k is a constant after unrolling.
  template <class Step>
  KOLMO_HD void each(const Step& step) const {
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k) {
      const index_t p = rank + k * threads;
      if (p < packs) step(k, p * width);
    }
  }
};

}  // namespace kolmo::detail
