#pragma once
// Exchanging values of any small type among the lanes of a warp.

#include <type_traits>

#include <kolmo/cuda/launch.cuh>

namespace kolmo::detail {

/// A value as words of a register each.
template <class T>
struct ShuffleWords {
  static_assert(std::is_trivially_copyable_v<T>, "what lanes of a warp exchange must be trivially copyable");
  static constexpr int count = (static_cast<int>(sizeof(T)) + 3) / 4;
  unsigned word[count];
};

enum class Shuffle { from, exclusive_or, up, down };

/// The value of another lane: `lane` itself, one's own with its bits flipped, or that many lanes below or above.
template <Shuffle kind, class T>
__device__ T shuffle(unsigned mask, const T& value, int lane) {
  constexpr bool is_native = std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8);
  if constexpr (is_native) {
    if constexpr (kind == Shuffle::from) return __shfl_sync(mask, value, lane);
    if constexpr (kind == Shuffle::exclusive_or) return __shfl_xor_sync(mask, value, lane);
    if constexpr (kind == Shuffle::up) return __shfl_up_sync(mask, value, static_cast<unsigned>(lane));
    if constexpr (kind == Shuffle::down) return __shfl_down_sync(mask, value, static_cast<unsigned>(lane));
  } else {
    ShuffleWords<T> words{};
    __builtin_memcpy(&words, &value, sizeof(T));
    for (int i = 0; i < ShuffleWords<T>::count; ++i) words.word[i] = shuffle<kind>(mask, words.word[i], lane);
    T result = value;
    __builtin_memcpy(&result, &words, sizeof(T));
    return result;
  }
}

/// Folds one value of each of `lanes` neighbouring lanes in a binary tree over halves, lower lane left; all of them,
/// which `mask` names, get the result.
template <int lanes, class T, class Combine>
__device__ T fold_lanes(unsigned mask, T value, const Combine& combine) {
  const int lane = static_cast<int>(threadIdx.x) % warp_threads;
  for (int width = lanes / 2; width > 0; width /= 2) {
    const T other = shuffle<Shuffle::exclusive_or>(mask, value, width);
    value = (lane & width) == 0 ? combine(value, other) : combine(other, value);
  }
  return value;
}

}  // namespace kolmo::detail
