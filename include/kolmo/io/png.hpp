#pragma once
// Images of 8-bit RGB pixels, and PNG files of them (ISO/IEC 15948).

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/io/colour.hpp>
#include <kolmo/io/deflate.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kolmo::io {

/// An image, row by row from the top.
struct Image {
  std::size_t width = 0;
  std::size_t height = 0;
  std::vector<std::uint8_t> rgb;

  Image() = default;
  Image(std::size_t w, std::size_t h, Colour fill = {255, 255, 255}) : width(w), height(h), rgb(w * h * 3) {
    for (std::size_t y = 0; y < h; ++y) {
      for (std::size_t x = 0; x < w; ++x) set(x, y, fill);
    }
  }
  void set(std::size_t x, std::size_t y, Colour c) {
    std::uint8_t* pixel = rgb.data() + 3 * (y * width + x);
    pixel[0] = c.red;
    pixel[1] = c.green;
    pixel[2] = c.blue;
  }
  Colour at(std::size_t x, std::size_t y) const {
    const std::uint8_t* pixel = rgb.data() + 3 * (y * width + x);
    return {pixel[0], pixel[1], pixel[2]};
  }
};

namespace detail {

inline void append_big_endian(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((value >> shift) & 0xff);
}

inline void append_png_chunk(std::string& out, std::string_view type, std::string_view data) {
  append_big_endian(out, static_cast<std::uint32_t>(data.size()));
  const std::size_t begin = out.size();
  out += type;
  out += data;
  append_big_endian(out, crc32(as_bytes(std::string_view(out).substr(begin))));
}

/// Difference of a byte to its prediction by one of PNG's five filters from the bytes left, above and above left.
inline std::uint8_t png_filtered(int filter, int value, int left, int above, int corner) {
  int prediction = 0;
  if (filter == 1) prediction = left;
  if (filter == 2) prediction = above;
  if (filter == 3) prediction = (left + above) / 2;
  if (filter == 4) {
    const int estimate = left + above - corner;
    const int to_left = std::abs(estimate - left), to_above = std::abs(estimate - above),
              to_corner = std::abs(estimate - corner);
    prediction = to_left <= to_above && to_left <= to_corner ? left : to_above <= to_corner ? above : corner;
  }
  return static_cast<std::uint8_t>(value - prediction);
}

/// The rows of an image of `pixel_bytes` bytes a pixel, each after the number of the filter that leaves the smallest
/// differences, which compress best.
inline std::string png_rows(std::span<const std::uint8_t> pixels, std::size_t row_bytes, std::size_t pixel_bytes) {
  const std::size_t height = pixels.size() / row_bytes;
  std::string filtered;
  filtered.reserve((row_bytes + 1) * height);
  const std::vector<std::uint8_t> zeros(row_bytes, 0);
  std::string trial(row_bytes, '\0'), best;
  for (std::size_t y = 0; y < height; ++y) {
    const std::uint8_t* row = pixels.data() + y * row_bytes;
    const std::uint8_t* above = y > 0 ? row - row_bytes : zeros.data();
    std::uint64_t best_cost = UINT64_MAX;
    char best_filter = 0;
    for (int filter = 0; filter < 5; ++filter) {
      std::uint64_t cost = 0;
      for (std::size_t i = 0; i < row_bytes; ++i) {
        const int left = i >= pixel_bytes ? row[i - pixel_bytes] : 0;
        const int corner = i >= pixel_bytes ? above[i - pixel_bytes] : 0;
        const std::uint8_t f = png_filtered(filter, row[i], left, above[i], corner);
        trial[i] = static_cast<char>(f);
        cost += f < 128 ? f : 256u - f;
      }
      if (cost < best_cost) {
        best_cost = cost;
        best_filter = static_cast<char>(filter);
        best = trial;
      }
    }
    filtered += best_filter;
    filtered += best;
  }
  return filtered;
}

inline constexpr std::string_view png_signature{"\x89PNG\r\n\x1a\n", 8};

/// The IHDR chunk: 8 bits a sample, deflate, adaptive filters, not interlaced.
inline void append_png_header(std::string& out, const Image& image, bool palette) {
  std::string header;
  append_big_endian(header, static_cast<std::uint32_t>(image.width));
  append_big_endian(header, static_cast<std::uint32_t>(image.height));
  header += std::string({8, static_cast<char>(palette ? 3 : 2), 0, 0, 0});
  append_png_chunk(out, "IHDR", header);
}

inline void check_png_size(const Image& image) {
  if (image.width == 0 || image.height == 0 || image.width > INT32_MAX || image.height > INT32_MAX ||
      image.rgb.size() != 3 * image.width * image.height) {
    throw ArgumentError("an image of " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                        " pixels and " + std::to_string(image.rgb.size()) + " bytes cannot be written as PNG");
  }
}

}  // namespace detail

/// The bytes of a PNG file. `pixels_per_inch` is written into the file when positive. Throws ArgumentError for an image
/// without pixels or above 2^31 - 1 on a side.
inline std::string to_png(const Image& image, double pixels_per_inch = 0) {
  detail::check_png_size(image);
  std::string out(detail::png_signature);
  detail::append_png_header(out, image, false);
  if (pixels_per_inch > 0) {
    std::string density;
    const auto per_metre = static_cast<std::uint32_t>(pixels_per_inch / 0.0254 + 0.5);
    detail::append_big_endian(density, per_metre);
    detail::append_big_endian(density, per_metre);
    density += '\x01';
    detail::append_png_chunk(out, "pHYs", density);
  }
  const std::string rows = detail::png_rows(image.rgb, 3 * image.width, 3);
  detail::append_png_chunk(out, "IDAT", compress_zlib(detail::as_bytes(rows)));
  detail::append_png_chunk(out, "IEND", "");
  return out;
}

}  // namespace kolmo::io
