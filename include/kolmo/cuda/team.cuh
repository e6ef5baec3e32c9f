#pragma once
// Teams on CUDA: a group of up to 32 neighbouring lanes of a warp, or a block. See backend/team.hpp.

#include <kolmo/backend/team.hpp>
#include <kolmo/cuda/shuffle.cuh>

namespace kolmo {

namespace detail {

struct AddValues {
  template <class T>
  KOLMO_HD T operator()(const T& a, const T& b) const {
    return a + b;
  }
};

/// The larger number; NaN loses.
struct LargerValue {
  template <class T>
  KOLMO_HD T operator()(const T& a, const T& b) const {
    return a < b || a != a ? b : a;
  }
};

template <int threads>
class CudaTeam {
 public:
  static constexpr bool is_block = threads > warp_threads;
  /// Two sets of one value per warp, used in turn: one barrier a fold.
  static constexpr int slot_bytes = 32;
  static constexpr index_t fold_bytes = is_block ? 2 * (threads / warp_threads) * slot_bytes : 0;

  /// `memory`: fold_bytes and the scratch memory behind them.
  __device__ explicit CudaTeam(unsigned char* memory) : memory_(memory) {}

  static constexpr KOLMO_HD int size() { return threads; }
  __device__ int rank() const { return static_cast<int>(threadIdx.x) % threads; }

  __device__ void synchronize() const {
    if constexpr (is_block)
      __syncthreads();
    else if constexpr (threads > 1)
      __syncwarp(mask());
  }
  template <class T>
  __device__ T sum(T value) const {
    return fold(value, AddValues{});
  }
  template <class T>
  __device__ T largest(T value) const {
    return fold(value, LargerValue{});
  }
  template <class T, class Combine>
  __device__ T fold(T value, const Combine& combine) const {
    static_assert(sizeof(T) <= slot_bytes, "a team folds values of at most 32 bytes");
    value = fold_lanes < is_block ? warp_threads : threads > (mask(), value, combine);
    if constexpr (is_block) {
      constexpr int warps = threads / warp_threads;
      T* const slots = next_slots<T>();
      if (lane() == 0) slots[warp()] = value;
      __syncthreads();
      value = fold_lanes<warps>(mask(), T(slots[lane() % warps]), combine);
    }
    return value;
  }
  __device__ bool any(bool value) const {
    if constexpr (is_block)
      return __syncthreads_or(value) != 0;
    else
      return __any_sync(mask(), value) != 0;
  }
  template <class T>
  __device__ T broadcast(T value, int from) const {
    if constexpr (is_block) {
      static_assert(sizeof(T) <= slot_bytes, "a team broadcasts values of at most 32 bytes");
      T* const slots = next_slots<T>();
      if (rank() == from) slots[0] = value;
      __syncthreads();
      return slots[0];
    } else {
      return shuffle<Shuffle::from>(mask(), value, lane() - rank() + from);
    }
  }
  template <class S>
  __device__ S* scratch() const {
    static_assert(alignof(S) <= 64, "scratch memory of a team is aligned to 64 bytes");
    return reinterpret_cast<S*>(memory_ + fold_bytes);
  }

 private:
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % warp_threads; }
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / warp_threads; }
  __device__ unsigned mask() const {
    if constexpr (threads >= warp_threads)
      return 0xffffffffu;
    else
      return ((1u << threads) - 1) << (lane() - rank());
  }
  /// Who still reads the set before the last has passed no barrier since; nobody reads the other one.
  template <class T>
  __device__ T* next_slots() const {
    odd_ = !odd_;
    return reinterpret_cast<T*>(memory_ + (odd_ ? fold_bytes / 2 : 0));
  }

  unsigned char* memory_;
  mutable bool odd_ = false;
};

/// Threads of a block: a large team's own, or of several small ones.
template <int threads>
inline constexpr int team_block = threads > warp_threads ? threads : 128;

template <class F>
constexpr int team_threads_of() {
  if constexpr (requires { F::team_threads; })
    return F::team_threads;
  else
    return warp_threads;
}

template <int threads, class F>
KOLMO_KERNEL __launch_bounds__(team_block<threads>) team_kernel(index_t n, index_t bytes, const __grid_constant__ F f) {
  const int teams = static_cast<int>(blockDim.x) / threads, own = static_cast<int>(threadIdx.x) / threads;
  const CudaTeam<threads> team(dynamic_shared() + own * bytes);
  const index_t step = static_cast<index_t>(gridDim.x) * teams;
  for (index_t item = static_cast<index_t>(blockIdx.x) * teams + own; item < n; item += step) {
    f(team, item);
    // Scratch memory is the next item's.
    team.synchronize();
  }
}

}  // namespace detail

/// Throws DeviceError, also when a team's scratch memory exceeds what a block can have.
template <class F>
KOLMO_LINKABLE void Cuda::for_each_team(index_t n, const F& f) {
  if (n <= 0) return;
  constexpr int threads = detail::team_threads_of<F>();
  static_assert(threads >= 1 && threads <= 1024 && (threads & (threads - 1)) == 0,
                "team_threads must be a power of two of at most 1024");
  const index_t bytes = divide_up(detail::CudaTeam<threads>::fold_bytes + detail::team_scratch_bytes(f), 64) * 64;
  // As many teams in a block as 48 KiB hold; a single one may have more.
  int teams = detail::team_block<threads> / threads;
  while (teams > 1 && (teams * bytes > static_cast<index_t>(detail::default_shared_bytes) ||
                       (teams / 2 * threads >= detail::warp_threads && n <= teams / 2)))
    teams /= 2;
  const detail::LaunchShape shape{smaller(divide_up(n, teams), detail::max_cuda_blocks), teams * threads,
                                  static_cast<std::size_t>(teams * bytes)};
  detail::launch<F>("for_each_team", detail::team_kernel<threads, F>, shape, n, bytes, f);
}

}  // namespace kolmo
