#pragma once
// Readers of zlib streams and PNG files for the tests, straight from RFC 1951 and the PNG specification.

#include <cstddef>
#include <cstdint>
#include <kolmo/io/png.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"

namespace kolmo::io::test {

/// Reads a zlib stream of blocks with fixed and own Huffman codes and checks the sum at its end.
inline std::string inflate(const std::string& stream) {
  std::size_t bit = 16;
  const auto take = [&](int count) {
    unsigned value = 0;
    for (int i = 0; i < count; ++i, ++bit) {
      value |= ((static_cast<unsigned char>(stream.at(bit / 8)) >> (bit % 8)) & 1u) << i;
    }
    return value;
  };
  // One symbol of the canonical code with these lengths: codes of a length follow each other, shorter ones come first.
  const auto take_symbol = [&](const std::vector<unsigned>& lengths) {
    unsigned code = 0, first = 0;
    for (unsigned length = 1; length <= 15; ++length) {
      code = (code << 1) | take(1);
      first <<= 1;
      for (unsigned s = 0; s < lengths.size(); ++s) {
        if (lengths[s] == length && first++ == code) return s;
      }
    }
    FAIL("a code that stands for no symbol");
    return 0u;
  };
  // The two bytes of the header are a multiple of 31.
  const auto first = static_cast<unsigned char>(stream.at(0)), second = static_cast<unsigned char>(stream.at(1));
  REQUIRE((first * 256 + second) % 31 == 0);
  const unsigned length_base[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                  31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
  const int length_extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  const unsigned distance_base[] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                    33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                    1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
  std::string out;
  for (bool last = false; !last;) {
    last = take(1) == 1;
    const unsigned kind = take(2);
    REQUIRE((kind == 1 || kind == 2));
    std::vector<unsigned> literals(288, 8), distances(30, 5);
    for (std::size_t s = 144; s < 256; ++s) literals[s] = 9;
    for (std::size_t s = 256; s < 280; ++s) literals[s] = 7;
    if (kind == 2) {
      const unsigned literal_count = take(5) + 257, distance_count = take(5) + 1, listed = take(4) + 4;
      const std::size_t order[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
      std::vector<unsigned> run_lengths(19, 0), all;
      for (unsigned i = 0; i < listed; ++i) run_lengths[order[i]] = take(3);
      while (all.size() < literal_count + distance_count) {
        const unsigned symbol = take_symbol(run_lengths);
        if (symbol < 16) all.push_back(symbol);
        if (symbol == 16) all.insert(all.end(), 3 + take(2), unsigned{all.back()});
        if (symbol == 17) all.insert(all.end(), 3 + take(3), 0);
        if (symbol == 18) all.insert(all.end(), 11 + take(7), 0);
      }
      REQUIRE(all.size() == literal_count + distance_count);
      literals.assign(all.begin(), all.begin() + literal_count);
      distances.assign(all.begin() + literal_count, all.end());
      for (const auto& lengths : {literals, distances, run_lengths}) {
        double sum = 0;
        for (const unsigned length : lengths) sum += length > 0 ? 1.0 / (1u << length) : 0;
        REQUIRE(sum == 1);
      }
    }
    for (;;) {
      const unsigned symbol = take_symbol(literals);
      if (symbol == 256) break;
      if (symbol < 256) {
        out += static_cast<char>(symbol);
        continue;
      }
      const unsigned length = length_base[symbol - 257] + take(length_extra[symbol - 257]);
      const unsigned code = take_symbol(distances);
      const unsigned distance = distance_base[code] + take(code < 4 ? 0 : static_cast<int>(code / 2) - 1);
      REQUIRE(distance <= out.size());
      for (unsigned i = 0; i < length; ++i) out += out[out.size() - distance];
    }
  }
  bit = (bit + 7) / 8 * 8;
  std::uint32_t check = 0;
  for (int i = 0; i < 4; ++i) check = (check << 8) | take(8);
  REQUIRE(bit == 8 * stream.size());
  REQUIRE(check == adler32(io::detail::as_bytes(out)));
  return out;
}

inline std::uint32_t big_endian(const std::string& text, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = (value << 8) | static_cast<unsigned char>(text.at(at + i));
  return value;
}

struct PngChunk {
  std::string type, data;
};

/// The chunks of a PNG file, their sums checked.
inline std::vector<PngChunk> png_chunks(const std::string& png) {
  REQUIRE(png.substr(0, 8) == std::string("\x89PNG\r\n\x1a\n", 8));
  std::vector<PngChunk> chunks;
  for (std::size_t at = 8; at < png.size();) {
    const std::uint32_t length = big_endian(png, at);
    chunks.push_back({png.substr(at + 4, 4), png.substr(at + 8, length)});
    REQUIRE(big_endian(png, at + 8 + length) ==
            crc32(io::detail::as_bytes(std::string_view(png).substr(at + 4, 4 + length))));
    at += 12 + length;
  }
  return chunks;
}

/// The pixels in the compressed rows of one image, with a palette or of 8-bit RGB.
inline Image read_rows(const std::string& data, std::size_t width, std::size_t height, const std::string& palette) {
  const std::string rows = inflate(data);
  const std::size_t pixel = palette.empty() ? 3 : 1, stride = pixel * width;
  REQUIRE(rows.size() == (stride + 1) * height);
  std::vector<std::uint8_t> bytes(stride * height);
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t i = 0; i < stride; ++i) {
      const int left = i >= pixel ? bytes[y * stride + i - pixel] : 0;
      const int above = y > 0 ? bytes[(y - 1) * stride + i] : 0;
      const int corner = y > 0 && i >= pixel ? bytes[(y - 1) * stride + i - pixel] : 0;
      const int filter = rows[y * (stride + 1)];
      // The difference is what the filter leaves of the negated value.
      const int prediction = static_cast<std::uint8_t>(-io::detail::png_filtered(filter, 0, left, above, corner));
      bytes[y * stride + i] =
          static_cast<std::uint8_t>(static_cast<unsigned char>(rows[y * (stride + 1) + 1 + i]) + prediction);
    }
  }
  Image image(width, height);
  for (std::size_t i = 0; i < image.rgb.size(); ++i) {
    image.rgb[i] =
        palette.empty() ? bytes[i] : static_cast<std::uint8_t>(palette.at(3 * std::size_t{bytes[i / 3]} + i % 3));
  }
  return image;
}

/// Reads a PNG file; of an animation the first frame.
inline Image read_png(const std::string& png) {
  std::string data, palette;
  const std::vector<PngChunk> chunks = png_chunks(png);
  for (const PngChunk& chunk : chunks) {
    if (chunk.type == "PLTE") palette = chunk.data;
    if (chunk.type == "IDAT") data += chunk.data;
  }
  REQUIRE(chunks.at(0).type == "IHDR");
  return read_rows(data, big_endian(chunks[0].data, 0), big_endian(chunks[0].data, 4), palette);
}

}  // namespace kolmo::io::test
