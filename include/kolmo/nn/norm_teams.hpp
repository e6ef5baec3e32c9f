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

#include <kolmo/backend/tensor_list.hpp>
#include <kolmo/core/dual.hpp>
#include <kolmo/core/reduce.hpp>
#include <kolmo/core/short_division.hpp>

namespace kolmo::detail {

template <class T>
inline constexpr int norm_pack_width = sizeof(T) <= 16 ? static_cast<int>(16 / sizeof(T)) : 1;

/// Whether every row of n numbers from these addresses on begins at a multiple of a pack, and fits into a team.
template <class T, class... Pointers>
bool in_packs(index_t n, const Pointers*... pointers) {
  constexpr int width = norm_pack_width<T>;
  return width > 1 && n % width == 0 && n / width <= 32 * 4 &&
         ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

/// Members that share a row, packs of it that each keeps, numbers in a pack.
template <int threads, int packs, int width>
struct NormTeamShape {
  static constexpr int team_threads = threads;
  static constexpr int held_packs = packs;
  static constexpr int pack_width = width;
};

/// Calls run(NormTeamShape) for rows of n numbers.
template <class T, class Run>
void with_norm_team(index_t n, bool packed, const Run& run) {
  constexpr int width = norm_pack_width<T>;
  const index_t packs = n / width;
  if (!packed) return run(NormTeamShape<32, 1, 1>{});
  if (packs <= 12) return run(NormTeamShape<4, 3, width>{});
  if (packs <= 16) return run(NormTeamShape<4, 4, width>{});
  if (packs <= 24) return run(NormTeamShape<8, 3, width>{});
  if (packs <= 32) return run(NormTeamShape<8, 4, width>{});
  if (packs <= 48) return run(NormTeamShape<16, 3, width>{});
  if (packs <= 64) return run(NormTeamShape<16, 4, width>{});
  if (packs <= 96) return run(NormTeamShape<32, 3, width>{});
  return run(NormTeamShape<32, 4, width>{});
}

/// A member's packs of a row; zeros beyond its end. The loads come one after the other, before any use.
template <class Shape, class T>
struct HeldRow {
  static constexpr int held = Shape::held_packs, width = Shape::pack_width, threads = Shape::team_threads;
  using Numbers = Pack<T, width>;

  Numbers pack[held] = {};

  KOLMO_HD HeldRow(const T* row, int rank, int packs) {
    const Numbers* const from = reinterpret_cast<const Numbers*>(row);
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k)
      if (rank + k * threads < packs) pack[k] = from[rank + k * threads];
  }
};

/// Consecutive rows of one image that a team takes on the way back: fewer teams mean fewer partial sums, more keep the
/// device busy. From the shape alone.
inline index_t norm_team_rows(index_t rows, index_t rows_of_image, index_t n, index_t bytes) {
  const index_t members = smaller<index_t>(32, larger<index_t>(4, n * bytes / 64));
  index_t count = 16;
  while (count > 4 && rows / count * members < 65536) count /= 2;
  return larger<index_t>(1, smaller(count, rows_of_image));
}

/// Sums of blocks [targets, blocks, columns] over the blocks, as the load and store of a reduction whose rows are
/// targets and columns.
template <class T>
struct LoadBlockSums {
  static constexpr bool rows_contiguous = true;
  const ComputeOf<T>* partial;
  index_t blocks, columns;
  KOLMO_HD ComputeOf<T> operator()(index_t row, index_t block) const {
    const index_t target = short_quotient(row, columns);
    return partial[(target * blocks + block) * columns + (row - target * columns)];
  }
};

/// Gradients [targets, columns] from those of blocks of rows, each target's in a tree that the shape alone decides.
template <class B, class T>
void sum_norm_blocks(index_t targets, index_t blocks, index_t columns, const ComputeOf<T>* partial, T* sums) {
  B::reduce(targets * columns, blocks, LoadBlockSums<T>{partial, blocks, columns}, SumCombine{}, ComputeOf<T>(0),
            StoreRow<T>{sums});
}

}  // namespace kolmo::detail
