#pragma once
// The compute primitives of every CPU backend but the matrix product: loops over fixed tiles on the
// deterministic thread pool. Reductions use a fixed binary tree over blocks with several lanes, so
// their error grows with the logarithm of the length and their bits do not depend on the threads.

#include <type_traits>
#include <vector>

#include <kolmo/backend/concept.hpp>
#include <kolmo/backend/threads.hpp>
#include <kolmo/core/shape.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::detail {

/// Work per tile, in elements: large enough to hide the cost of handing it out.
inline constexpr index_t host_tile = 16384;

template <class Load, class Combine, class Accumulator>
struct HostReduction {
  static constexpr index_t leaf = 1024;      // columns reduced without recursion
  static constexpr index_t segment = 65536;  // columns of one parallel task
  static constexpr index_t row_block = 256;  // rows accumulated together when they are contiguous
  static constexpr index_t row_leaf = 64;
  static constexpr index_t row_segment = 4096;  // columns of one parallel task then

  const Load& load;
  const Combine& combine;
  Accumulator init;

  /// Few lanes leave the processor waiting for one sum after the other, many cost short rows their folding.
  Accumulator leaf_range(index_t row, index_t begin, index_t end) const {
    return end - begin < 256 ? lanes_range<16>(row, begin, end) : lanes_range<64>(row, begin, end);
  }

  template <int lanes>
  KOLMO_NOINLINE Accumulator lanes_range(index_t row, index_t begin, index_t end) const {
    Accumulator lane[lanes];
    for (int j = 0; j < lanes; ++j) lane[j] = init;
    index_t c = begin;
    for (; c + lanes <= end; c += lanes)
      for (int j = 0; j < lanes; ++j) lane[j] = combine(lane[j], load(row, c + j));
    for (int j = 0; c + j < end; ++j) lane[j] = combine(lane[j], load(row, c + j));
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int j = 0; j < width; ++j) lane[j] = combine(lane[j], lane[j + width]);
    return lane[0];
  }

  KOLMO_NOINLINE Accumulator range(index_t row, index_t begin, index_t end) const {
    if (end - begin <= leaf) return leaf_range(row, begin, end);
    const index_t middle = begin + divide_up((end - begin) / 2, leaf) * leaf;
    return combine(range(row, begin, middle), range(row, middle, end));
  }

  KOLMO_NOINLINE void rows_range(index_t row, index_t rows, index_t begin, index_t end, Accumulator* result) const {
    if (end - begin <= row_leaf) {
      for (index_t j = 0; j < rows; ++j) result[j] = init;
      index_t c = begin;
      for (; c + 4 <= end; c += 4) {
        KOLMO_INDEPENDENT
        for (index_t j = 0; j < rows; ++j) {
          const Accumulator first = combine(combine(result[j], load(row + j, c)), load(row + j, c + 1));
          result[j] = combine(combine(first, load(row + j, c + 2)), load(row + j, c + 3));
        }
      }
      for (; c < end; ++c) {
        KOLMO_INDEPENDENT
        for (index_t j = 0; j < rows; ++j) result[j] = combine(result[j], load(row + j, c));
      }
      return;
    }
    const index_t middle = begin + divide_up((end - begin) / 2, row_leaf) * row_leaf;
    Accumulator upper[row_block];
    rows_range(row, rows, begin, middle, result);
    rows_range(row, rows, middle, end, upper);
    for (index_t j = 0; j < rows; ++j) result[j] = combine(result[j], upper[j]);
  }

  KOLMO_NOINLINE Accumulator tree(const Accumulator* partial, index_t count) const {
    if (count == 1) return partial[0];
    const index_t half = (count + 1) / 2;
    return combine(tree(partial, half), tree(partial + half, count - half));
  }
};

struct HostLoops {
  template <class F>
  static void for_each(index_t n, const F& f) {
    constexpr index_t tile = 1024;
    threads::parallel_for(divide_up(n, tile), [&](index_t t) {
      const index_t end = smaller(n, (t + 1) * tile);
      for (index_t i = t * tile; i < end; ++i) f(i);
    });
  }

  /// For few, expensive items: every item is a task of its own.
  template <class F>
  static void for_each_item(index_t n, const F& f) {
    threads::parallel_for(n, f);
  }

  /// See backend/parts.hpp.
  template <class F>
  static void for_each_part(index_t batch, const F& f) {
    // Waking threads for the short loops of a single item costs more than they gain.
    if (batch == 1)
      threads::serially([&] { f(index_t{0}, index_t{1}); });
    else
      threads::parallel_for(batch, [&](index_t item) { f(item, index_t{1}); });
  }

  template <class Load, class Combine, class Accumulator, class Store>
  static void reduce(index_t rows, index_t columns, const Load& load, const Combine& combine, Accumulator init,
                     const Store& store) {
    using Reduction = HostReduction<Load, Combine, Accumulator>;
    const Reduction reduction{load, combine, init};
    if constexpr (RowsContiguous<Load>) {
      const index_t blocks = divide_up(rows, Reduction::row_block);
      const index_t segments = larger<index_t>(1, divide_up(columns, Reduction::row_segment));
      const index_t length = segments == 1 ? columns : Reduction::row_segment;
      std::vector<Accumulator> partial(static_cast<std::size_t>(segments == 1 ? 0 : rows * segments), init);
      const index_t per_task = larger<index_t>(1, host_tile / larger<index_t>(1, length * Reduction::row_block));
      threads::parallel_for(divide_up(blocks * segments, per_task), [&](index_t task) {
        Accumulator result[Reduction::row_block];
        for (index_t t = task * per_task; t < smaller(blocks * segments, (task + 1) * per_task); ++t) {
          const index_t row = t / segments * Reduction::row_block, part = t % segments;
          const index_t count = smaller(Reduction::row_block, rows - row);
          reduction.rows_range(row, count, part * length, smaller(columns, (part + 1) * length), result);
          for (index_t j = 0; j < count; ++j) {
            if (segments == 1)
              store(row + j, result[j]);
            else
              partial[static_cast<std::size_t>((row + j) * segments + part)] = result[j];
          }
        }
      });
      if (segments == 1) return;
      for (index_t r = 0; r < rows; ++r) store(r, reduction.tree(partial.data() + r * segments, segments));
    } else if (columns > Reduction::segment) {
      const index_t segments = divide_up(columns, Reduction::segment);
      std::vector<Accumulator> partial(static_cast<std::size_t>(rows * segments), init);
      threads::parallel_for(rows * segments, [&](index_t t) {
        const index_t begin = t % segments * Reduction::segment;
        partial[static_cast<std::size_t>(t)] =
            reduction.range(t / segments, begin, smaller(columns, begin + Reduction::segment));
      });
      for (index_t r = 0; r < rows; ++r) store(r, reduction.tree(partial.data() + r * segments, segments));
    } else {
      const index_t per_task = larger<index_t>(1, host_tile / larger<index_t>(1, columns));
      threads::parallel_for(divide_up(rows, per_task), [&](index_t t) {
        for (index_t r = t * per_task; r < smaller(rows, (t + 1) * per_task); ++r)
          store(r, reduction.range(r, 0, columns));
      });
    }
  }

  template <class Load, class Combine, class Store>
  static void scan(index_t rows, index_t columns, const Load& load, const Combine& combine, const Store& store) {
    if (columns == 0) return;
    const index_t per_task = larger<index_t>(1, host_tile / columns);
    threads::parallel_for(divide_up(rows, per_task), [&](index_t t) {
      for (index_t r = t * per_task; r < smaller(rows, (t + 1) * per_task); ++r) {
        auto total = load(r, index_t{0});
        store(r, index_t{0}, total);
        for (index_t c = 1; c < columns; ++c) {
          total = combine(total, load(r, c));
          store(r, c, total);
        }
      }
    });
  }

  /// Runs a kernel that knows how to process a contiguous run (see core/apply.hpp): rows of the merged
  /// shape, cut into tiles; inputs that repeat or stride along the row are copied to a buffer first.
  template <class Kernel>
  static void elementwise(const Kernel& kernel) {
    const Shape& shape = kernel.shape;
    const index_t inner = shape[-1];
    if (shape.size() == 0) return;
    const index_t rows = shape.size() / inner;
    if (rows == 1) {
      threads::parallel_for(divide_up(inner, host_tile), [&](index_t t) {
        const index_t begin = t * host_tile;
        typename Kernel::Cursor cursor(kernel, 0, begin);
        kernel.run_row(cursor, smaller(host_tile, inner - begin));
      });
      return;
    }
    const index_t per_task = larger<index_t>(1, host_tile / inner);
    constexpr index_t short_row = 64;
    if (shape.rank() == 2 && inner <= short_row) {
      threads::parallel_for(divide_up(rows, per_task),
                            [&](index_t t) { kernel.run_short_rows(t * per_task, smaller(rows, (t + 1) * per_task)); });
      return;
    }
    threads::parallel_for(divide_up(rows, per_task), [&](index_t t) {
      typename Kernel::Cursor cursor(kernel, t * per_task, 0);
      for (index_t r = t * per_task; r < smaller(rows, (t + 1) * per_task); ++r) {
        kernel.run_row(cursor, inner);
        cursor.next_row(kernel);
      }
    });
  }
};

/// Backends on whose memory the host computes.
template <class B>
concept HostMemory = std::is_base_of_v<HostLoops, B>;

}  // namespace kolmo::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
