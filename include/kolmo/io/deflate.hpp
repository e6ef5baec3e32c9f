#pragma once
// Compression in the zlib format (RFC 1950, 1951): LZ77 with hash chains and the fixed Huffman code.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/checksum.hpp>
#include <span>
#include <string>
#include <vector>

namespace kolmo::io {

namespace detail {

/// Appends bits, lowest first.
class BitWriter {
 public:
  explicit BitWriter(std::string& out) : out_(out) {}
  void put(std::uint32_t bits, int count) {
    held_ |= static_cast<std::uint64_t>(bits) << filled_;
    for (filled_ += count; filled_ >= 8; filled_ -= 8, held_ >>= 8) out_ += static_cast<char>(held_ & 0xff);
  }
  /// Huffman codes are stored with their highest bit first.
  void put_code(std::uint32_t code, int length) {
    std::uint32_t reversed = 0;
    for (int i = 0; i < length; ++i) reversed |= ((code >> i) & 1u) << (length - 1 - i);
    put(reversed, length);
  }
  void flush() {
    if (filled_ > 0) put(0, 8 - filled_);
  }

 private:
  std::string& out_;
  std::uint64_t held_ = 0;
  int filled_ = 0;
};

/// A literal byte, the end mark (256) or a length code of the fixed Huffman table.
inline void put_fixed_symbol(BitWriter& bits, std::uint32_t symbol) {
  if (symbol < 144) {
    bits.put_code(0x30 + symbol, 8);
  } else if (symbol < 256) {
    bits.put_code(0x190 + symbol - 144, 9);
  } else if (symbol < 280) {
    bits.put_code(symbol - 256, 7);
  } else {
    bits.put_code(0xc0 + symbol - 280, 8);
  }
}

/// A repetition of `length` (3 to 258) bytes from `distance` (1 to 32768) bytes before.
inline void put_match(BitWriter& bits, std::uint32_t length, std::uint32_t distance) {
  // Lengths 3 to 10 and distances 1 to 4 have codes of their own; above, a power of two is split into 4 (2) codes.
  if (length == 258) {
    put_fixed_symbol(bits, 285);
  } else if (length <= 10) {
    put_fixed_symbol(bits, 254 + length);
  } else {
    const std::uint32_t base = length - 3;
    const int extra = static_cast<int>(std::bit_width(base)) - 3;
    put_fixed_symbol(bits, 257 + 4 * static_cast<std::uint32_t>(extra) + (base >> extra));
    bits.put(base & ((1u << extra) - 1), extra);
  }
  const std::uint32_t base = distance - 1;
  if (base < 4) {
    bits.put_code(base, 5);
  } else {
    const int extra = static_cast<int>(std::bit_width(base)) - 2;
    bits.put_code(2 * static_cast<std::uint32_t>(extra) + (base >> extra), 5);
    bits.put(base & ((1u << extra) - 1), extra);
  }
}

}  // namespace detail

/// A zlib stream that holds `bytes`.
inline std::string compress_zlib(std::span<const std::byte> bytes) {
  constexpr std::size_t window = 32768;
  constexpr int chain_limit = 32;
  constexpr int hash_bits = 15;
  std::string out("\x78\x01", 2);
  detail::BitWriter bits(out);
  bits.put(1, 1);  // last block
  bits.put(1, 2);  // fixed Huffman code

  std::vector<std::int64_t> head(std::size_t{1} << hash_bits, -1);
  std::vector<std::int64_t> previous(window, -1);
  const auto hash_at = [&](std::size_t at) {
    const std::uint32_t three = std::to_integer<std::uint32_t>(bytes[at]) |
                                (std::to_integer<std::uint32_t>(bytes[at + 1]) << 8) |
                                (std::to_integer<std::uint32_t>(bytes[at + 2]) << 16);
    return static_cast<std::size_t>((three * 0x9e3779b1u) >> (32 - hash_bits));
  };
  const auto remember = [&](std::size_t at) {
    if (at + 3 > bytes.size()) return;
    const std::size_t hash = hash_at(at);
    previous[at % window] = head[hash];
    head[hash] = static_cast<std::int64_t>(at);
  };

  for (std::size_t at = 0; at < bytes.size();) {
    std::size_t best_length = 0;
    std::size_t best_distance = 0;
    if (at + 3 <= bytes.size()) {
      const std::size_t most = bytes.size() - at < 258 ? bytes.size() - at : 258;
      std::int64_t candidate = head[hash_at(at)];
      for (int step = 0; step < chain_limit && candidate >= 0; ++step) {
        const auto from = static_cast<std::size_t>(candidate);
        if (at - from > window) break;
        std::size_t length = 0;
        while (length < most && bytes[from + length] == bytes[at + length]) ++length;
        if (length > best_length) {
          best_length = length;
          best_distance = at - from;
          if (length == most) break;
        }
        candidate = previous[from % window];
      }
    }
    const std::size_t step = best_length >= 3 ? best_length : 1;
    if (best_length >= 3) {
      detail::put_match(bits, static_cast<std::uint32_t>(best_length), static_cast<std::uint32_t>(best_distance));
    } else {
      detail::put_fixed_symbol(bits, std::to_integer<std::uint32_t>(bytes[at]));
    }
    for (std::size_t i = 0; i < step; ++i) remember(at + i);
    at += step;
  }
  detail::put_fixed_symbol(bits, 256);
  bits.flush();
  const std::uint32_t check = adler32(bytes);
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((check >> shift) & 0xff);
  return out;
}

}  // namespace kolmo::io
