#pragma once
// Random numbers as a function of a key and an index: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011).
//
// There is no generator that advances and no global state. Element i of a stream is computed from
// (key, i) alone, so the same key gives the same integers on every backend, for any number of threads
// and in any order; floating-point numbers differ between host and device by the rounding of log and cos
// at most. Use a key once: for more numbers, derive keys with `split` and `fold_in`.

#include <string>
#include <utility>
#include <vector>

#include <kolmo/core/math.hpp>
#include <kolmo/error.hpp>

namespace kolmo {

/// Names a stream of random numbers. `Key{seed}` starts one; 64 bits, any value.
struct Key {
  std::uint64_t value = 0;
  friend constexpr bool operator==(const Key&, const Key&) = default;
};

struct KeyPair {
  Key first, second;
};

namespace detail {

using PhiloxBlock = Array<std::uint32_t, 4>;

template <int rounds>
KOLMO_HD KOLMO_INLINE constexpr PhiloxBlock philox_rounds(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                                                          std::uint32_t c3, std::uint32_t k0, std::uint32_t k1) {
  if constexpr (rounds == 0) {
    return {{c0, c1, c2, c3}};
  } else {
    const std::uint64_t a = std::uint64_t(0xd2511f53u) * c0;
    const std::uint64_t b = std::uint64_t(0xcd9e8d57u) * c2;
    return philox_rounds<rounds - 1>(std::uint32_t(b >> 32) ^ c1 ^ k0, std::uint32_t(b),
                                     std::uint32_t(a >> 32) ^ c3 ^ k1, std::uint32_t(a), k0 + 0x9e3779b9u,
                                     k1 + 0xbb67ae85u);
  }
}

}  // namespace detail

/// The Philox4x32-10 bijection of a counter under a key: 128 random bits.
KOLMO_HD KOLMO_INLINE constexpr Array<std::uint32_t, 4> philox(const Array<std::uint32_t, 4>& counter,
                                                               const Array<std::uint32_t, 2>& key) {
  return detail::philox_rounds<10>(counter.elements[0], counter.elements[1], counter.elements[2], counter.elements[3],
                                   key.elements[0], key.elements[1]);
}

namespace detail {

// What a block is for, so that keys derived from a key and the numbers drawn with it are unrelated.
enum class Purpose : std::uint32_t { numbers = 0, fold = 1, split = 2 };

KOLMO_HD KOLMO_INLINE constexpr PhiloxBlock random_block(Key key, std::uint64_t index, Purpose purpose) {
  return philox_rounds<10>(std::uint32_t(index), std::uint32_t(index >> 32), std::uint32_t(purpose), 0,
                           std::uint32_t(key.value), std::uint32_t(key.value >> 32));
}

KOLMO_HD KOLMO_INLINE constexpr std::uint64_t joined(std::uint32_t low, std::uint32_t high) {
  return (std::uint64_t(high) << 32) | low;
}

KOLMO_HD KOLMO_INLINE constexpr Key derived_key(Key key, std::uint64_t index, Purpose purpose) {
  const PhiloxBlock block = random_block(key, index, purpose);
  return {joined(block.elements[0], block.elements[1])};
}

template <int... I>
KOLMO_HD constexpr Array<Key, sizeof...(I)> split_into(Key key, std::integer_sequence<int, I...>) {
  return {{derived_key(key, I, Purpose::split)...}};
}

/// (0, 1) from the high bits: the midpoints of 2^23 equal cells in float, of 2^52 in double.
KOLMO_HD KOLMO_INLINE constexpr float open_uniform(std::uint32_t, std::uint32_t high, float) {
  return (from_bits<float>((high >> 9) | to_bits(1.0f)) - 1.0f) + 0x1p-24f;
}
KOLMO_HD KOLMO_INLINE constexpr double open_uniform(std::uint32_t low, std::uint32_t high, double) {
  return (from_bits<double>((joined(low, high) >> 12) | to_bits(1.0)) - 1.0) + 0x1p-53;
}

/// High 64 bits of the 128 of a product.
KOLMO_HD KOLMO_INLINE constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a0 = std::uint32_t(a), a1 = a >> 32, b0 = std::uint32_t(b), b1 = b >> 32;
  const std::uint64_t middle = a1 * b0 + ((a0 * b0) >> 32);
  const std::uint64_t carry = std::uint32_t(middle) + a0 * b1;
  return a1 * b1 + (middle >> 32) + (carry >> 32);
}

}  // namespace detail

/// A key for part `index` of whatever `key` stands for: an epoch, a layer, a sample.
KOLMO_HD KOLMO_INLINE constexpr Key fold_in(Key key, std::uint64_t index) {
  return detail::derived_key(key, index, detail::Purpose::fold);
}

/// N unrelated keys.
template <int N>
KOLMO_HD constexpr Array<Key, N> split(Key key) {
  return detail::split_into(key, std::make_integer_sequence<int, N>{});
}

/// Two unrelated keys: auto [a, b] = split(key). The same as split<2>.
KOLMO_HD constexpr KeyPair split(Key key) {
  return {detail::derived_key(key, 0, detail::Purpose::split), detail::derived_key(key, 1, detail::Purpose::split)};
}

/// Element `index` of the uniform stream, never 0 or 1.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T uniform(Key key, std::uint64_t index) {
  const auto block = detail::random_block(key, index, detail::Purpose::numbers);
  return detail::open_uniform(block.elements[0], block.elements[1], T());
}

/// Element `index` of the standard normal stream (Box and Muller 1958); at most 6.66 in float, 8.57 in double.
template <Real T>
KOLMO_HD KOLMO_INLINE T normal(Key key, std::uint64_t index) {
  const auto block = detail::random_block(key, index, detail::Purpose::numbers);
  T radius_uniform;
  if constexpr (std::same_as<T, float>)
    // The tail needs the small numbers, of which 31 bits have more than 23.
    radius_uniform = (float(std::int32_t(block.elements[1] >> 1)) + 0.5f) * 0x1p-31f;
  else
    radius_uniform = detail::open_uniform(block.elements[0], block.elements[1], T());
  const T angle = detail::open_uniform(block.elements[2], block.elements[3], T());
  return sqrt(T(-2) * log(radius_uniform)) * detail::cos_of_turns(angle);
}

/// Element `index` of the stream of integers in [0, n), n > 0; the bias is below n / 2^64.
KOLMO_HD KOLMO_INLINE constexpr index_t integer_below(Key key, std::uint64_t index, index_t n) {
  const auto block = detail::random_block(key, index, detail::Purpose::numbers);
  return index_t(detail::multiply_high(detail::joined(block.elements[0], block.elements[1]), std::uint64_t(n)));
}

namespace fn {

/// Index to uniform number in (0, 1).
template <Real T>
struct Uniform {
  Key key;
  KOLMO_HD KOLMO_INLINE T operator()(index_t i) const { return uniform<T>(key, static_cast<std::uint64_t>(i)); }
};

/// Index to standard normal number.
template <Real T>
struct Normal {
  Key key;
  KOLMO_HD KOLMO_INLINE T operator()(index_t i) const { return normal<T>(key, static_cast<std::uint64_t>(i)); }
};

/// Index to integer in [0, bound).
struct IntegerBelow {
  Key key;
  index_t bound;
  KOLMO_HD KOLMO_INLINE index_t operator()(index_t i) const {
    return integer_below(key, static_cast<std::uint64_t>(i), bound);
  }
};

}  // namespace fn

/// 0, ..., n - 1 in random order (Fisher and Yates). Throws ArgumentError for n < 0.
inline std::vector<index_t> permutation(Key key, index_t n) {
  if (n < 0) throw ArgumentError("permutation: the length must not be negative, given " + std::to_string(n));
  std::vector<index_t> order(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
  for (index_t i = n - 1; i > 0; --i)
    std::swap(order[static_cast<std::size_t>(i)],
              order[static_cast<std::size_t>(integer_below(key, static_cast<std::uint64_t>(i), i + 1))]);
  return order;
}

}  // namespace kolmo
