#pragma once
// reduce as CUDA kernels: a thread folds columns in several accumulators with all their loads in flight, a group of
// lanes or a block folds those of its threads. Long rows are cut into pieces, whose results a second kernel folds: it
// costs two microseconds, and unlike a counter that finds the last block it keeps no state that streams could share.
// How a row is cut depends on its length and the number of rows alone, never on the device, so the same shape gives the
// same bits on every run.

#include <type_traits>

#include <kolmo/cuda/shuffle.cuh>

namespace kolmo {

namespace detail {

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

// Rows of at most this many columns are folded by lanes of a warp; longer ones by a block.
inline constexpr index_t warp_columns = 1024;
// Rows of which a thread folds one: neighbours in memory, or short.
inline constexpr index_t thread_columns = 16;
// Pieces of rows that keep a large device busy.
inline constexpr index_t wanted_pieces = 4096;
// The most terms that one accumulator of a thread takes in turn, which keeps rounding errors of long sums small.
inline constexpr index_t most_terms = 64;

/// Independent accumulators of a thread: eight loads in flight where they are small.
template <class Accumulator>
inline constexpr int accumulators = sizeof(Accumulator) <= 8    ? 8
                                    : sizeof(Accumulator) <= 16 ? 4
                                    : sizeof(Accumulator) <= 32 ? 2
                                                                : 1;

/// Whether accumulators go from lane to lane in registers instead of shared memory.
template <class Accumulator>
inline constexpr bool is_shuffled = sizeof(Accumulator) <= 32;

/// Folds columns begin, begin + step, ... below end.
template <class Load, class Combine, class Accumulator>
__device__ Accumulator fold_strided(const Load& load, const Combine& combine, const Accumulator& init, index_t row,
                                    index_t begin, index_t end, int step) {
  constexpr int count = accumulators<Accumulator>;
  using Value = std::remove_cvref_t<decltype(load(row, begin))>;
  Accumulator part[count];
  KOLMO_UNROLLED
  for (int k = 0; k < count; ++k) part[k] = init;
  const index_t stride = static_cast<index_t>(count) * step;
  KOLMO_ROLLED
  for (; begin + stride - step < end; begin += stride) {
    Value value[count];
    KOLMO_UNROLLED
    for (int k = 0; k < count; ++k) value[k] = load(row, begin + k * step);
    KOLMO_UNROLLED
    for (int k = 0; k < count; ++k) part[k] = combine(part[k], value[k]);
  }
  KOLMO_UNROLLED
  for (int k = 0; k < count - 1; ++k)
    if (begin + k * step < end) part[k] = combine(part[k], load(row, begin + k * step));
  KOLMO_UNROLLED
  for (int width = count / 2; width > 0; width /= 2) {
    KOLMO_UNROLLED
    for (int k = 0; k < width; ++k) part[k] = combine(part[k], part[k + width]);
  }
  return part[0];
}

/// Folds one value of each of `group` neighbouring threads, a power of two up to a warp; the first of them gets the
/// result. `slots`: shared memory for one value of each thread of the group, where values are large.
template <class Accumulator, class Combine>
__device__ Accumulator fold_group(Accumulator value, int group, const Combine& combine,
                                  [[maybe_unused]] Accumulator* slots) {
  const int lane = static_cast<int>(threadIdx.x) % warp_threads, rank = lane % group;
  const unsigned mask = (0xffffffffu >> (warp_threads - group)) << (lane - rank);
  if constexpr (is_shuffled<Accumulator>) {
    KOLMO_ROLLED
    for (int width = group / 2; width > 0; width /= 2) {
      const Accumulator other = shuffle<Shuffle::exclusive_or>(mask, value, width);
      if (rank < width) value = combine(value, other);
    }
  } else {
    slots[rank] = value;
    __syncwarp(mask);
    for (int width = group / 2; width > 0; width /= 2) {
      if (rank < width) slots[rank] = combine(slots[rank], slots[rank + width]);
      __syncwarp(mask);
    }
    value = slots[0];
    __syncwarp(mask);
  }
  return value;
}

/// Bytes of shared memory for one value of each of a block's threads; one byte where none is needed.
template <class Accumulator>
inline constexpr std::size_t slots_bytes = is_shuffled<Accumulator> ? 1
                                                                    : block_threads<Accumulator> * sizeof(Accumulator);

/// `group` lanes fold a row.
template <class Load, class Combine, class Accumulator, class Store>
KOLMO_KERNEL reduce_lanes_kernel(index_t rows, index_t columns, int group, const __grid_constant__ Load load,
                                 const __grid_constant__ Combine combine, const __grid_constant__ Accumulator init,
                                 const __grid_constant__ Store store) {
  constexpr int threads = block_threads<Accumulator>;
  alignas(Accumulator) __shared__ unsigned char memory[slots_bytes<Accumulator>];
  const int thread = static_cast<int>(threadIdx.x);
  const int rank = thread % group, groups = threads / group;
  Accumulator* const slots =
      is_shuffled<Accumulator> ? nullptr : reinterpret_cast<Accumulator*>(memory) + (thread - rank);
  const index_t step = static_cast<index_t>(gridDim.x) * groups;
  for (index_t row = static_cast<index_t>(blockIdx.x) * groups + thread / group; row < rows; row += step) {
    const Accumulator part = fold_strided(load, combine, init, row, rank, columns, group);
    const Accumulator total = fold_group(part, group, combine, slots);
    if (rank == 0) store(row, total);
  }
}

/// A block folds a piece of a row.
template <class Load, class Combine, class Accumulator, class Store>
KOLMO_KERNEL reduce_kernel(index_t rows, index_t columns, RowPartition partition, const __grid_constant__ Load load,
                           const __grid_constant__ Combine combine, const __grid_constant__ Accumulator init,
                           const __grid_constant__ Store store) {
  constexpr int threads = block_threads<Accumulator>, warps = threads / warp_threads;
  // A warp folds its own values first, where they are large in shared memory.
  alignas(Accumulator)
      __shared__ unsigned char memory[sizeof(Accumulator) * (is_shuffled<Accumulator> ? warps : threads)];
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % warp_threads, warp = thread / warp_threads;
  Accumulator* const slots = reinterpret_cast<Accumulator*>(memory);
  const index_t items = rows * partition.chunks;
  for (index_t item = blockIdx.x; item < items; item += gridDim.x) {
    const Accumulator part = fold_strided(load, combine, init, item / partition.chunks, partition.begin(item) + thread,
                                          partition.end(item, columns), threads);
    const Accumulator own = fold_group(part, warp_threads, combine, slots + (thread - lane));
    if constexpr (warps == 1) {
      if (thread == 0) store(item, own);
    } else {
      __syncthreads();
      if (lane == 0) slots[warp] = own;
      __syncthreads();
      if (thread < warps) {
        const Accumulator total = fold_group(Accumulator(slots[thread]), warps, combine, slots);
        if (thread == 0) store(item, total);
      }
      __syncthreads();
    }
  }
}

/// For loads whose rows are neighbours in memory: a warp reads 32 rows of one column at a time, the warps
/// of a block take columns in turn.
template <class Load, class Combine, class Accumulator, class Store>
KOLMO_KERNEL reduce_rows_kernel(index_t rows, index_t columns, RowPartition partition,
                                const __grid_constant__ Load load, const __grid_constant__ Combine combine,
                                const __grid_constant__ Accumulator init, const __grid_constant__ Store store) {
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
    __syncthreads();
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

template <class Load, class Combine, class Accumulator, class Store>
void launch_reduce_lanes(index_t rows, index_t columns, int group, const Load& load, const Combine& combine,
                         const Accumulator& init, const Store& store) {
  constexpr int threads = block_threads<Accumulator>;
  launch<Load>("reduce", reduce_lanes_kernel<Load, Combine, Accumulator, Store>, divide_up(rows, threads / group),
               threads, rows, columns, group, load, combine, init, store);
}

/// Pieces by blocks; by warps of 32 rows where these are neighbours in memory.
template <class Load, class Combine, class Accumulator, class Store>
void launch_reduce(index_t rows, index_t columns, const RowPartition& partition, const Load& load,
                   const Combine& combine, const Accumulator& init, const Store& store) {
  if constexpr (RowsContiguous<Load>)
    launch<Load>("reduce", reduce_rows_kernel<Load, Combine, Accumulator, Store>,
                 divide_up(rows, warp_threads) * partition.chunks, block_threads<Accumulator>, rows, columns, partition,
                 load, combine, init, store);
  else
    launch<Load>("reduce", reduce_kernel<Load, Combine, Accumulator, Store>, rows * partition.chunks,
                 block_threads<Accumulator>, rows, columns, partition, load, combine, init, store);
}

/// Lanes that fold a row of this length: one for eight columns or so.
inline int lanes_of_row(index_t columns) {
  int lanes = 1;
  while (lanes < warp_threads && lanes * 8 < columns) lanes *= 2;
  return lanes;
}

}  // namespace detail

template <class Load, class Combine, class Accumulator, class Store>
KOLMO_LINKABLE void Cuda::reduce(index_t rows, index_t columns, const Load& load, const Combine& combine,
                                 Accumulator init, const Store& store) {
  static_assert(std::is_trivially_copyable_v<Accumulator> && sizeof(Accumulator) <= detail::max_accumulator,
                "the accumulator of a reduction must be trivially copyable and of at most 1024 bytes");
  if (rows <= 0) return;
  constexpr bool rows_contiguous = RowsContiguous<Load>;
  const index_t row_groups = rows_contiguous ? divide_up(rows, detail::warp_threads) : rows;
  const index_t shortest = rows_contiguous ? 256 : 8192;
  constexpr index_t threads_of_row = detail::block_threads<Accumulator> / (rows_contiguous ? detail::warp_threads : 1);
  constexpr index_t most_columns = threads_of_row * detail::accumulators<Accumulator> * detail::most_terms;
  const index_t wanted = columns <= detail::thread_columns
                             ? 1
                             : larger<index_t>(detail::wanted_pieces / row_groups, columns / most_columns);
  const detail::RowPartition partition(columns, wanted, shortest);
  if (partition.chunks > 1) {
    const index_t chunks = partition.chunks;
    const detail::CudaBuffer<Accumulator> partial(rows * chunks);
    detail::launch_reduce(rows, columns, partition, load, combine, init,
                          detail::PartialResults<Accumulator>{partial.data(), chunks});
    detail::launch_reduce(rows, chunks, detail::RowPartition(chunks, 1, 1),
                          detail::LoadPartialResults<Accumulator>{partial.data(), chunks}, combine, init, store);
  } else if (rows_contiguous ? columns <= detail::thread_columns : columns <= detail::warp_columns) {
    detail::launch_reduce_lanes(rows, columns, rows_contiguous ? 1 : detail::lanes_of_row(columns), load, combine, init,
                                store);
  } else {
    detail::launch_reduce(rows, columns, partition, load, combine, init, store);
  }
}

}  // namespace kolmo
