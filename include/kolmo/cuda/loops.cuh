#pragma once
// for_each and scan as CUDA kernels. How a row is cut depends on its length and the number of
// rows alone, never on the device, so the same shape gives the same bits on every run.

#include <type_traits>

#include <kolmo/cuda/reduce.cuh>

namespace kolmo {

namespace detail {

template <class F>
KOLMO_KERNEL for_each_kernel(index_t n, const __grid_constant__ F f) {
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) f(i);
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
  for (index_t item = static_cast<index_t>(blockIdx.x) * (threads / group) + thread / group; item < items;
       item += step) {
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

template <int group, bool totals_only, class Load, class Combine, class Accumulator, class Store>
void launch_scan(index_t rows, index_t columns, const RowPartition& partition, const Load& load, const Combine& combine,
                 const Store& store, const Accumulator* carries, Accumulator* totals) {
  constexpr int threads = block_threads<Accumulator>;
  launch<Load>("scan", scan_kernel<group, totals_only, Load, Combine, Accumulator, Store>,
               divide_up(rows * partition.chunks, threads / group), threads, rows, columns, partition, load, combine,
               store, carries, totals);
}

}  // namespace detail

template <class F>
KOLMO_LINKABLE void Cuda::for_each(index_t n, const F& f) {
  // Few items may each be much work; small blocks spread them over the device.
  const int threads = n > 16384 ? 256 : detail::warp_threads;
  if (n > 0) detail::launch<F>("for_each", detail::for_each_kernel<F>, divide_up(n, threads), threads, n, f);
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
  const detail::RowPartition partition(columns, 1024 / rows, 8192);
  if (partition.chunks > 1) {
    // The totals of the pieces, their scan, and the pieces again with what came before them.
    const index_t chunks = partition.chunks;
    const detail::CudaBuffer<Accumulator> totals(rows * chunks), carries(rows * chunks);
    const Accumulator* const before = carries.data();
    detail::launch_scan<threads, true>(rows, columns, partition, load, combine, store, no_carries, totals.data());
    detail::launch_scan<threads, false>(rows, chunks, detail::RowPartition(chunks, 1, 1),
                                        detail::LoadPartialResults<Accumulator>{totals.data(), chunks}, combine,
                                        detail::PartialResults<Accumulator>{carries.data(), chunks}, no_carries,
                                        no_totals);
    detail::launch_scan<threads, false>(rows, columns, partition, load, combine, store, before, no_totals);
  } else if (columns <= detail::thread_columns) {
    detail::launch_scan<1, false>(rows, columns, partition, load, combine, store, no_carries, no_totals);
  } else if (columns <= detail::warp_columns) {
    detail::launch_scan<detail::warp_threads, false>(rows, columns, partition, load, combine, store, no_carries,
                                                     no_totals);
  } else {
    detail::launch_scan<threads, false>(rows, columns, partition, load, combine, store, no_carries, no_totals);
  }
}

}  // namespace kolmo
