#pragma once
// Checksums: CRC-32 (ISO 3309, as in ZIP and PNG), CRC-32C (RFC 3720, Castagnoli's polynomial), Adler-32 (RFC 1950),
// and a 64-bit hash for checkpoints.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <kolmo/core/array.hpp>
#include <kolmo/io/bits.hpp>
#include <span>

namespace kolmo::io {

namespace detail {

/// Tables for eight bytes at a time: table[k][b] is the effect of byte b followed by k zero bytes.
struct Crc32Tables {
  std::uint32_t table[8][256];
  explicit constexpr Crc32Tables(std::uint32_t polynomial) : table{} {
    for (std::uint32_t b = 0; b < 256; ++b) {
      std::uint32_t c = b;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1u) != 0 ? polynomial ^ (c >> 1) : c >> 1;
      table[0][b] = c;
    }
    for (int k = 1; k < 8; ++k) {
      for (int b = 0; b < 256; ++b) table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xffu];
    }
  }
};

inline std::uint32_t crc32_by(const Crc32Tables& tables, std::span<const std::byte> bytes, std::uint32_t previous) {
  const auto& t = tables.table;
  std::uint32_t c = ~previous;
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    const std::uint64_t x = load_unaligned<std::uint64_t>(bytes.data() + i) ^ c;
    c = t[7][x & 0xff] ^ t[6][(x >> 8) & 0xff] ^ t[5][(x >> 16) & 0xff] ^ t[4][(x >> 24) & 0xff] ^
        t[3][(x >> 32) & 0xff] ^ t[2][(x >> 40) & 0xff] ^ t[1][(x >> 48) & 0xff] ^ t[0][x >> 56];
  }
  for (; i < bytes.size(); ++i) c = (c >> 8) ^ t[0][(c ^ std::to_integer<std::uint32_t>(bytes[i])) & 0xffu];
  return ~c;
}

}  // namespace detail

/// CRC-32 of `bytes`, continuing from `previous` (0 at the start).
inline std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t previous = 0) {
  static constexpr detail::Crc32Tables tables(0xedb88320u);
  return detail::crc32_by(tables, bytes, previous);
}

/// CRC-32C of `bytes`, continuing from `previous` (0 at the start).
inline std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0) {
  static constexpr detail::Crc32Tables tables(0x82f63b78u);
  return detail::crc32_by(tables, bytes, previous);
}

/// Adler-32 of `bytes`.
inline std::uint32_t adler32(std::span<const std::byte> bytes) {
  std::uint32_t a = 1, b = 0;
  std::size_t i = 0;
  while (i < bytes.size()) {
    // 5552 is the largest count for which the sums stay below 2^32.
    const std::size_t end = bytes.size() - i < 5552 ? bytes.size() : i + 5552;
    for (; i < end; ++i) {
      a += std::to_integer<std::uint32_t>(bytes[i]);
      b += a;
    }
    a %= 65521u;
    b %= 65521u;
  }
  return (b << 16) | a;
}

/// 64-bit hash of `bytes`. Every step is a bijection of the state for a given word and of the word for a given state,
/// so a change within one aligned 8-byte word always changes the result; other changes go unseen with probability
/// 2^-64. Not a defence against an attacker.
inline std::uint64_t hash64(std::span<const std::byte> bytes) {
  constexpr std::uint64_t odd_a = 0x9e3779b97f4a7c15ull;
  constexpr std::uint64_t odd_b = 0xc2b2ae3d27d4eb4full;
  // The word is multiplied before it is added: otherwise a flipped bit could be undone by one of the next word.
  const auto step = [](std::uint64_t state, std::uint64_t word) { return std::rotl(state + word * odd_b, 31) * odd_a; };
  std::uint64_t lane[4] = {odd_b, odd_b + 1, odd_b + 2, odd_b + 3};
  std::size_t i = 0;
  for (; i + 32 <= bytes.size(); i += 32) {
    for (std::size_t k = 0; k < 4; ++k) {
      lane[k] = step(lane[k], detail::load_unaligned<std::uint64_t>(bytes.data() + i + 8 * k));
    }
  }
  std::uint64_t state = static_cast<std::uint64_t>(bytes.size()) * odd_b;
  for (const std::uint64_t l : lane) state = step(state, l);
  while (i < bytes.size()) {
    const std::size_t count = bytes.size() - i < 8 ? bytes.size() - i : 8;
    std::uint64_t word = 0;
    for (std::size_t k = 0; k < count; ++k) word |= std::to_integer<std::uint64_t>(bytes[i + k]) << (8 * k);
    state = step(state, word);
    i += count;
  }
  state = (state ^ (state >> 32)) * odd_b;
  state = (state ^ (state >> 29)) * odd_a;
  return state ^ (state >> 32);
}

}  // namespace kolmo::io
