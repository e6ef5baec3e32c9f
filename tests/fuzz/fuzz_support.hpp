#pragma once
// Shared by the fuzz targets. A target accepts or refuses its input with kolmo::Error; whatever else happens, and any
// accepted input that does not survive a round trip, ends the process.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <kolmo/error.hpp>
#include <span>

namespace kolmo::fuzz {

inline std::span<const std::byte> bytes_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const std::byte*>(data), size};
}

/// Ends the process unless `holds`, so that the fuzzer keeps the input.
inline void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace kolmo::fuzz
