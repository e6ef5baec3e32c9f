#pragma once
// for_each, reduce and scan as CUDA kernels. How a row is cut depends on its length and the number of
// rows alone, never on the device, so the same shape gives the same bits on every run.

#include <type_traits>

#include <kolmo/cuda/launch.cuh>

namespace kolmo {

namespace detail {

template <class F>
KOLMO_KERNEL for_each_kernel(index_t n, const __grid_constant__ F f) {
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

/// How rows are cut among groups of threads.
struct RowPartition {
  index_t chunks = 1;         // pieces of a row
  index_t chunk_columns = 0;  // length of a piece; the last may be shorter

  /// About `wanted` pieces, none shorter than `shortest` columns unless the row is.
  KOLMO_HD RowPartition(index_t columns, index_t wanted, index_t shortest) {
    const index_t limit = larger<index_t>(1, smaller(wanted, columns / shortest));
    chunk_columns = larger<index_t>(1, divide_up(columns, limit));
    chunks = larger<index_t>(1, divide_up(columns, chunk_columns));
  }
  KOLMO_HD index_t begin(index_t item) const { return item % chunks * chunk_columns; }
  KOLMO_HD index_t end(index_t item, index_t columns) const { return smaller(columns, begin(item) + chunk_columns); }
};

// Rows of at most this many columns are a thread's, or a warp's; longer ones a block's.
inline constexpr index_t thread_columns = 16;
inline constexpr index_t warp_columns = 1024;
// Pieces of rows that keep a large device busy.
inline constexpr index_t wanted_pieces = 1024;

/// Folds columns begin, begin + step, ... below end. Parts of fixed length are folded first, which keeps the
/// rounding errors of long sums small.
template <class Load, class Combine, class Accumulator>
__device__ Accumulator fold_strided(const Load& load, const Combine& combine, const Accumulator& init, index_t row,
                                    index_t begin, index_t end, index_t step) {
  constexpr int part_length = 64;
  Accumulator total = init;
  while (begin < end) {
    Accumulator part = init;
    for (int i = 0; i < part_length && begin < end; ++i, begin += step) part = combine(part, load(row, begin));
    total = combine(total, part);
  }
  return total;
}

/// A group folds a piece of a row: its threads take columns in turn, then meet in a binary tree.
template <int group, class Load, class Combine, class Accumulator, class Store>
KOLMO_KERNEL reduce_kernel(index_t rows, index_t columns, RowPartition partition, const __grid_constant__ Load load,
                           const __grid_constant__ Combine combine, const __grid_constant__ Accumulator init,
                           const __grid_constant__ Store store) {
  constexpr int threads = block_threads<Accumulator>;
  alignas(Accumulator) __shared__ unsigned char memory[sizeof(Accumulator) * (group > 1 ? threads : 1)];
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % group;
  [[maybe_unused]] Accumulator* const slots = reinterpret_cast<Accumulator*>(memory) + (thread - lane);
  const index_t items = rows * partition.chunks;
  const index_t step = static_cast<index_t>(gridDim.x) * (threads / group);
  for (index_t item = static_cast<index_t>(blockIdx.x) * (threads / group) + thread / group; item < items; item += step) {
    const Accumulator part = fold_strided(load, combine, init, item / partition.chunks, partition.begin(item) + lane,
                                          partition.end(item, columns), group);
    if constexpr (group == 1) {
      store(item, part);
    } else {
      slots[lane] = part;
      synchronize_group<group>();
      for (int width = group / 2; width > 0; width /= 2) {
        if (lane < width) slots[lane] = combine(slots[lane], slots[lane + width]);
        synchronize_group<group>();
      }
      if (lane == 0) store(item, slots[0]);
    }
  }
}

/// For loads whose rows are neighbours in memory: a warp reads 32 rows of one column at a time, the warps
/// of a block take columns in turn.
template <class Load, class Combine, class Accumulator, class Store>
KOLMO_KERNEL reduce_rows_kernel(index_t rows, index_t columns, RowPartition partition, const __grid_constant__ Load load,
                                const __grid_constant__ Combine combine, const __grid_constant__ Accumulator init,
                                const __grid_constant__ Store store) {
  constexpr int threads = block_threads<Accumulator>;
  constexpr int warps = threads / warp_threads;
  alignas(Accumulator) __shared__ unsigned char memory[sizeof(Accumulator) * threads];
  Accumulator* const slots = reinterpret_cast<Accumulator*>(memory);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % warp_threads, warp = thread / warp_threads;
  const index_t items = divide_up(rows, warp_threads) * partition.chunks;
  for (index_t item = blockIdx.x; item < items; item += gridDim.x) {
    const index_t row = item / partition.chunks * warp_threads + lane;
    const index_t end = row < rows ? partition.end(item, columns) : 0;
    slots[thread] = fold_strided(load, combine, init, row, partition.begin(item) + warp, end, warps);
    __syncthreads();
    for (int width = warps / 2; width > 0; width /= 2) {
      if (warp < width) slots[thread] = combine(slots[thread], slots[thread + width * warp_threads]);
      __syncthreads();
    }
    if (warp == 0 && row < rows) store(row * partition.chunks + item % partition.chunks, slots[lane]);
  }
}

/// Inclusive scan of a piece of a row, a tile of `group` columns at a time. The total of the pieces before
/// comes from `carries`; with `totals_only` nothing but the total of the piece is written.
template <int group, bool totals_only, class Load, class Combine, class Accumulator, class Store>
KOLMO_KERNEL scan_kernel(index_t rows, index_t columns, RowPartition partition, const __grid_constant__ Load load,
                         const __grid_constant__ Combine combine, const __grid_constant__ Store store,
                         const Accumulator* carries, Accumulator* totals) {
  constexpr int threads = block_threads<Accumulator>;
  alignas(Accumulator) __shared__ unsigned char memory[sizeof(Accumulator) * threads];
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % group;
  Accumulator* const slots = reinterpret_cast<Accumulator*>(memory) + (thread - lane);
  const index_t items = rows * partition.chunks;
  const index_t step = static_cast<index_t>(gridDim.x) * (threads / group);
  for (index_t item = static_cast<index_t>(blockIdx.x) * (threads / group) + thread / group; item < items; item += step) {
    const index_t row = item / partition.chunks;
    const index_t begin = partition.begin(item), end = partition.end(item, columns);
    bool carried = carries != nullptr && begin > 0;
    Accumulator carry = carried ? carries[item - 1] : Accumulator(load(row, begin));
    for (index_t tile = begin; tile < end; tile += group) {
      const int count = static_cast<int>(smaller<index_t>(group, end - tile));
      const bool active = lane < count;
      // There is no neutral element to give an idle thread; it reads a column that exists and is not looked at.
      Accumulator value = load(row, active ? tile + lane : tile);
      if (lane == 0 && carried) value = combine(carry, value);
      slots[lane] = value;
      synchronize_group<group>();
      for (int offset = 1; offset < group; offset *= 2) {
        if (active && lane >= offset) value = combine(slots[lane - offset], value);
        synchronize_group<group>();
        slots[lane] = value;
        synchronize_group<group>();
      }
      carry = slots[count - 1];
      carried = true;
      if constexpr (!totals_only)
        if (active) store(row, tile + lane, value);
      synchronize_group<group>();
    }
    if constexpr (totals_only)
      if (lane == 0) totals[item] = carry;
  }
}

/// The results of one pass as the rows of the next.
template <class Accumulator>
struct PartialResults {
  Accumulator* data;
  index_t columns;
  KOLMO_HD void operator()(index_t item, const Accumulator& value) const { data[item] = value; }
  KOLMO_HD void operator()(index_t r, index_t c, const Accumulator& value) const { data[r * columns + c] = value; }
};
template <class Accumulator>
struct LoadPartialResults {
  const Accumulator* data;
  index_t columns;
  KOLMO_HD Accumulator operator()(index_t r, index_t c) const { return data[r * columns + c]; }
};

template <int group, class Load, class Combine, class Accumulator, class Store>
void launch_reduce(index_t rows, index_t columns, const RowPartition& partition, const Load& load, const Combine& combine,
                   const Accumulator& init, const Store& store) {
  constexpr int threads = block_threads<Accumulator>;
  launch<Load>("reduce", reduce_kernel<group, Load, Combine, Accumulator, Store>,
               divide_up(rows * partition.chunks, threads / group), threads, rows, columns, partition, load, combine, init,
               store);
}

template <class Load, class Combine, class Accumulator, class Store>
void launch_reduce_rows(index_t rows, index_t columns, const RowPartition& partition, const Load& load,
                        const Combine& combine, const Accumulator& init, const Store& store) {
  launch<Load>("reduce", reduce_rows_kernel<Load, Combine, Accumulator, Store>,
               divide_up(rows, warp_threads) * partition.chunks, block_threads<Accumulator>, rows, columns, partition, load,
               combine, init, store);
}

template <int group, bool totals_only, class Load, class Combine, class Accumulator, class Store>
void launch_scan(index_t rows, index_t columns, const RowPartition& partition, const Load& load, const Combine& combine,
                 const Store& store, const Accumulator* carries, Accumulator* totals) {
  constexpr int threads = block_threads<Accumulator>;
  launch<Load>("scan", scan_kernel<group, totals_only, Load, Combine, Accumulator, Store>,
               divide_up(rows * partition.chunks, threads / group), threads, rows, columns, partition, load, combine, store,
               carries, totals);
}

}  // namespace detail

template <class F>
KOLMO_LINKABLE void Cuda::for_each(index_t n, const F& f) {
  // Few items may each be much work; small blocks spread them over the device.
  const int threads = n > 16384 ? 256 : detail::warp_threads;
  if (n > 0) detail::launch<F>("for_each", detail::for_each_kernel<F>, divide_up(n, threads), threads, n, f);
}

template <class Load, class Combine, class Accumulator, class Store>
KOLMO_LINKABLE void Cuda::reduce(index_t rows, index_t columns, const Load& load, const Combine& combine, Accumulator init,
                                 const Store& store) {
  static_assert(std::is_trivially_copyable_v<Accumulator> && sizeof(Accumulator) <= detail::max_accumulator,
                "the accumulator of a reduction must be trivially copyable and of at most 1024 bytes");
  if (rows <= 0) return;
  constexpr bool rows_contiguous = RowsContiguous<Load>;
  constexpr int threads = detail::block_threads<Accumulator>;
  const index_t row_groups = rows_contiguous ? divide_up(rows, detail::warp_threads) : rows;
  const index_t wanted = columns <= detail::thread_columns ? 1 : detail::wanted_pieces / row_groups;
  const detail::RowPartition partition(columns, wanted, rows_contiguous ? 256 : 4096);
  if (partition.chunks > 1) {
    const index_t chunks = partition.chunks;
    const detail::CudaBuffer<Accumulator> partial(rows * chunks);
    const detail::PartialResults<Accumulator> store_partial{partial.data(), chunks};
    if constexpr (rows_contiguous)
      detail::launch_reduce_rows(rows, columns, partition, load, combine, init, store_partial);
    else
      detail::launch_reduce<threads>(rows, columns, partition, load, combine, init, store_partial);
    detail::launch_reduce<threads>(rows, chunks, detail::RowPartition(chunks, 1, 1),
                                   detail::LoadPartialResults<Accumulator>{partial.data(), chunks}, combine, init, store);
  } else if (columns <= detail::thread_columns) {
    detail::launch_reduce<1>(rows, columns, partition, load, combine, init, store);
  } else if constexpr (rows_contiguous) {
    detail::launch_reduce_rows(rows, columns, partition, load, combine, init, store);
  } else if (columns <= detail::warp_columns) {
    detail::launch_reduce<detail::warp_threads>(rows, columns, partition, load, combine, init, store);
  } else {
    detail::launch_reduce<threads>(rows, columns, partition, load, combine, init, store);
  }
}

template <class Load, class Combine, class Store>
KOLMO_LINKABLE void Cuda::scan(index_t rows, index_t columns, const Load& load, const Combine& combine,
                               const Store& store) {
  using Accumulator = std::remove_cvref_t<decltype(load(index_t{}, index_t{}))>;
  static_assert(std::is_trivially_copyable_v<Accumulator> && sizeof(Accumulator) <= detail::max_accumulator,
                "the accumulator of a scan must be trivially copyable and of at most 1024 bytes");
  if (rows <= 0 || columns <= 0) return;
  constexpr int threads = detail::block_threads<Accumulator>;
  const Accumulator* const no_carries = nullptr;
  Accumulator* const no_totals = nullptr;
  const detail::RowPartition partition(columns, detail::wanted_pieces / rows, 8192);
  if (partition.chunks > 1) {
    // The totals of the pieces, their scan, and the pieces again with what came before them.
    const index_t chunks = partition.chunks;
    const detail::CudaBuffer<Accumulator> totals(rows * chunks), carries(rows * chunks);
    const Accumulator* const before = carries.data();
    detail::launch_scan<threads, true>(rows, columns, partition, load, combine, store, no_carries, totals.data());
    detail::launch_scan<threads, false>(rows, chunks, detail::RowPartition(chunks, 1, 1),
                                        detail::LoadPartialResults<Accumulator>{totals.data(), chunks}, combine,
                                        detail::PartialResults<Accumulator>{carries.data(), chunks}, no_carries, no_totals);
    detail::launch_scan<threads, false>(rows, columns, partition, load, combine, store, before, no_totals);
  } else if (columns <= detail::thread_columns) {
    detail::launch_scan<1, false>(rows, columns, partition, load, combine, store, no_carries, no_totals);
  } else if (columns <= detail::warp_columns) {
    detail::launch_scan<detail::warp_threads, false>(rows, columns, partition, load, combine, store, no_carries, no_totals);
  } else {
    detail::launch_scan<threads, false>(rows, columns, partition, load, combine, store, no_carries, no_totals);
  }
}

}  // namespace kolmo
