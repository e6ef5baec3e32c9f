#pragma once
// Division of indices inside a kernel: a GPU divides numbers of 32 bits four times as fast as those of 64.

#include <cstdint>

#include <kolmo/core/array.hpp>

namespace kolmo::detail {

/// a / b for numbers that are not negative; fast while both have 32 bits.
KOLMO_HD KOLMO_INLINE constexpr index_t short_quotient(index_t a, index_t b) {
  if (((a | b) >> 32) == 0) return static_cast<index_t>(static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b));
  return a / b;
}

}  // namespace kolmo::detail
