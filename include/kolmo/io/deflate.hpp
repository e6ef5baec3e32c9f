#pragma once
// Compression in the zlib format (RFC 1950, 1951): LZ77 with hash chains, and Huffman codes made for each
// block (or the fixed one where that is shorter).

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/checksum.hpp>
#include <queue>
#include <span>
#include <string>
#include <utility>
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

/// Symbol of a length (3 to 258) or distance (1 to 32768) and the bits that follow it. Above the first few, a power of
/// two is split into 4 (2) symbols.
struct DeflateSymbol {
  std::uint32_t symbol = 0;
  std::uint32_t extra = 0;
  int extra_bits = 0;
};
inline DeflateSymbol length_symbol(std::uint32_t length) {
  if (length == 258) return {285, 0, 0};
  if (length <= 10) return {254 + length, 0, 0};
  const std::uint32_t base = length - 3;
  const int bits = static_cast<int>(std::bit_width(base)) - 3;
  return {257 + 4 * static_cast<std::uint32_t>(bits) + (base >> bits), base & ((1u << bits) - 1), bits};
}
inline DeflateSymbol distance_symbol(std::uint32_t distance) {
  const std::uint32_t base = distance - 1;
  if (base < 4) return {base, 0, 0};
  const int bits = static_cast<int>(std::bit_width(base)) - 2;
  return {2 * static_cast<std::uint32_t>(bits) + (base >> bits), base & ((1u << bits) - 1), bits};
}

/// A Huffman code: for each symbol its length in bits, 0 for one that does not occur, and its bits.
struct HuffmanCode {
  std::vector<int> lengths;
  std::vector<std::uint32_t> codes;

  /// The code with these lengths (RFC 1951, 3.2.2).
  explicit HuffmanCode(std::vector<int> given) : lengths(std::move(given)), codes(lengths.size(), 0) {
    std::uint32_t code = 0;
    for (int length = 1; length <= 15; ++length) {
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        if (lengths[s] == length) codes[s] = code++;
      }
      code <<= 1;
    }
  }
  void put(BitWriter& bits, std::size_t symbol) const { bits.put_code(codes[symbol], lengths[symbol]); }
};

/// The shortest code for the counts whose lengths are at most `longest`, nearly: when one is longer, the counts are
/// made more alike. At least two symbols get a code, as some readers want a complete one.
inline HuffmanCode huffman_code(std::vector<std::uint64_t> counts, int longest) {
  for (std::size_t s = 0, used = counts.size() - static_cast<std::size_t>(std::count(counts.begin(), counts.end(), 0u));
       used < 2; ++s) {
    if (counts[s] == 0) {
      counts[s] = 1;
      ++used;
    }
  }
  for (;;) {
    struct Node {
      std::uint64_t count;
      int parent;
    };
    std::vector<Node> nodes;
    std::vector<std::size_t> symbols;
    using Entry = std::pair<std::uint64_t, int>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> smallest;
    for (std::size_t s = 0; s < counts.size(); ++s) {
      if (counts[s] == 0) continue;
      smallest.emplace(counts[s], static_cast<int>(nodes.size()));
      nodes.push_back({counts[s], -1});
      symbols.push_back(s);
    }
    while (smallest.size() > 1) {
      const Entry a = smallest.top();
      smallest.pop();
      const Entry b = smallest.top();
      smallest.pop();
      const int parent = static_cast<int>(nodes.size());
      nodes[static_cast<std::size_t>(a.second)].parent = parent;
      nodes[static_cast<std::size_t>(b.second)].parent = parent;
      nodes.push_back({a.first + b.first, -1});
      smallest.emplace(a.first + b.first, parent);
    }
    std::vector<int> depth(nodes.size(), 0), lengths(counts.size(), 0);
    int deepest = 0;
    for (std::size_t i = nodes.size() - 1; i-- > 0;) depth[i] = depth[static_cast<std::size_t>(nodes[i].parent)] + 1;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      lengths[symbols[i]] = depth[i];
      deepest = std::max(deepest, depth[i]);
    }
    if (deepest <= longest) return HuffmanCode(lengths);
    for (std::uint64_t& count : counts) count = count == 0 ? 0 : (count + 1) / 2 + 1;
  }
}

inline HuffmanCode fixed_literal_code() {
  std::vector<int> lengths(288, 8);
  std::fill(lengths.begin() + 144, lengths.begin() + 256, 9);
  std::fill(lengths.begin() + 256, lengths.begin() + 280, 7);
  return HuffmanCode(lengths);
}

/// A literal byte, or a repetition of `length` bytes from `distance` bytes before.
struct DeflateToken {
  std::uint16_t length = 0;
  std::uint16_t distance_or_byte = 0;
};

/// The bits that the tokens take with these codes, and the end mark.
inline std::uint64_t deflate_size(const std::vector<std::uint64_t>& literals,
                                  const std::vector<std::uint64_t>& distances, const HuffmanCode& literal_code,
                                  const HuffmanCode& distance_code) {
  std::uint64_t bits = 0;
  for (std::size_t s = 0; s < literals.size(); ++s) {
    const int extra = s < 265 || s == 285 ? 0 : (static_cast<int>(s) - 261) / 4;
    bits += literals[s] * static_cast<std::uint64_t>(literal_code.lengths[s] + extra);
  }
  for (std::size_t s = 0; s < distances.size(); ++s) {
    const int extra = s < 4 ? 0 : static_cast<int>(s) / 2 - 1;
    bits += distances[s] * static_cast<std::uint64_t>(distance_code.lengths[s] + extra);
  }
  return bits;
}

/// Writes one block with the shorter of the fixed code and one of its own.
inline void put_block(BitWriter& bits, const std::vector<DeflateToken>& tokens, bool last) {
  std::vector<std::uint64_t> literals(286, 0), distances(30, 0);
  for (const DeflateToken& t : tokens) {
    ++literals[t.length == 0 ? t.distance_or_byte : length_symbol(t.length).symbol];
    if (t.length > 0) ++distances[distance_symbol(t.distance_or_byte).symbol];
  }
  literals[256] = 1;
  HuffmanCode literal_code = huffman_code(literals, 15), distance_code = huffman_code(distances, 15);

  // The lengths of both codes, one after the other and shortened by runs (RFC 1951, 3.2.7), in a code of their own.
  constexpr std::size_t order[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  std::vector<int> lengths = literal_code.lengths;
  lengths.insert(lengths.end(), distance_code.lengths.begin(), distance_code.lengths.end());
  struct Run {
    std::size_t symbol;
    std::uint32_t extra;
    int extra_bits;
  };
  std::vector<Run> runs;
  std::vector<std::uint64_t> run_counts(19, 0);
  for (std::size_t i = 0; i < lengths.size();) {
    std::size_t same = 1;
    while (i + same < lengths.size() && lengths[i + same] == lengths[i]) ++same;
    const auto length = static_cast<std::size_t>(lengths[i]);
    i += same;
    if (length != 0) {
      runs.push_back({length, 0, 0});
      --same;
    }
    while (same > 0) {
      const std::size_t most = length == 0 ? 138 : 6, part = std::min(same, most);
      if (part < 3) {
        runs.push_back({length, 0, 0});
        --same;
        continue;
      }
      same -= part;
      if (length != 0) runs.push_back({16, static_cast<std::uint32_t>(part - 3), 2});
      if (length == 0 && part <= 10) runs.push_back({17, static_cast<std::uint32_t>(part - 3), 3});
      if (length == 0 && part > 10) runs.push_back({18, static_cast<std::uint32_t>(part - 11), 7});
    }
  }
  for (const Run& run : runs) ++run_counts[run.symbol];
  const HuffmanCode run_code = huffman_code(run_counts, 7);
  std::size_t listed = 19;
  while (listed > 4 && run_code.lengths[order[listed - 1]] == 0) --listed;
  std::uint64_t own_size = 14 + 3 * listed + deflate_size(literals, distances, literal_code, distance_code);
  for (const Run& run : runs) own_size += static_cast<std::uint64_t>(run_code.lengths[run.symbol] + run.extra_bits);

  HuffmanCode fixed_literals = fixed_literal_code(), fixed_distances(std::vector<int>(30, 5));
  const bool own = own_size < deflate_size(literals, distances, fixed_literals, fixed_distances);
  bits.put(last ? 1 : 0, 1);
  bits.put(own ? 2 : 1, 2);
  if (own) {
    bits.put(286 - 257, 5);
    bits.put(30 - 1, 5);
    bits.put(static_cast<std::uint32_t>(listed - 4), 4);
    for (std::size_t i = 0; i < listed; ++i) bits.put(static_cast<std::uint32_t>(run_code.lengths[order[i]]), 3);
    for (const Run& run : runs) {
      run_code.put(bits, run.symbol);
      bits.put(run.extra, run.extra_bits);
    }
  }
  const HuffmanCode& literal = own ? literal_code : fixed_literals;
  const HuffmanCode& distance = own ? distance_code : fixed_distances;
  for (const DeflateToken& t : tokens) {
    if (t.length == 0) {
      literal.put(bits, t.distance_or_byte);
      continue;
    }
    const DeflateSymbol length_of = length_symbol(t.length), distance_of = distance_symbol(t.distance_or_byte);
    literal.put(bits, length_of.symbol);
    bits.put(length_of.extra, length_of.extra_bits);
    distance.put(bits, distance_of.symbol);
    bits.put(distance_of.extra, distance_of.extra_bits);
  }
  literal.put(bits, 256);
}

}  // namespace detail

/// A zlib stream that holds `bytes`.
inline std::string compress_zlib(std::span<const std::byte> bytes) {
  constexpr std::size_t window = 32768;
  constexpr int chain_limit = 32;
  constexpr int hash_bits = 15;
  std::string out("\x78\x01", 2);
  detail::BitWriter bits(out);
  constexpr std::size_t block = 1 << 16;
  std::vector<detail::DeflateToken> tokens;

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
      tokens.push_back({static_cast<std::uint16_t>(best_length), static_cast<std::uint16_t>(best_distance)});
    } else {
      tokens.push_back({0, std::to_integer<std::uint16_t>(bytes[at])});
    }
    if (tokens.size() == block) {
      detail::put_block(bits, tokens, false);
      tokens.clear();
    }
    for (std::size_t i = 0; i < step; ++i) remember(at + i);
    at += step;
  }
  detail::put_block(bits, tokens, true);
  bits.flush();
  const std::uint32_t check = adler32(bytes);
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((check >> shift) & 0xff);
  return out;
}

}  // namespace kolmo::io
