#pragma once
// Animations as PNG files (the APNG extension, part of the third edition of the PNG specification): every browser plays
// them, and a program that does not know them shows the first frame.
// https://www.w3.org/TR/png-3/#apng-frame-based-animation

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/deflate.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/png.hpp>
#include <span>
#include <string>
#include <vector>

namespace kolmo::io {

/// How an animation is played.
struct AnimationOptions {
  /// Seconds each frame is shown, 0 to 65.
  double seconds_per_frame = 0.1;
  /// How often it is played; 0 for ever.
  unsigned plays = 0;
};

namespace detail {

inline std::uint32_t packed(const std::uint8_t* pixel) {
  return (std::uint32_t{pixel[0]} << 16) | (std::uint32_t{pixel[1]} << 8) | pixel[2];
}

/// The colours of all images, or none if they are more than 256. Each is followed by the nearest of the others, from
/// one that is far out: so neighbours on a colour map get neighbouring numbers, which compress best.
inline std::vector<std::uint32_t> common_palette(std::span<const Image> images) {
  std::vector<bool> seen(std::size_t{1} << 24, false);
  std::vector<std::uint32_t> colours;
  for (const Image& image : images) {
    for (std::size_t i = 0; i < image.rgb.size(); i += 3) {
      const std::uint32_t colour = packed(image.rgb.data() + i);
      if (seen[colour]) continue;
      if (colours.size() == 256) return {};
      seen[colour] = true;
      colours.push_back(colour);
    }
  }
  std::sort(colours.begin(), colours.end());
  const auto distance = [](std::uint32_t a, std::uint32_t b) {
    int sum = 0;
    for (int shift = 0; shift < 24; shift += 8) {
      const int d = static_cast<int>((a >> shift) & 255) - static_cast<int>((b >> shift) & 255);
      sum += d * d;
    }
    return sum;
  };
  const auto from = [&](std::uint32_t colour) {
    return [&distance, colour](std::uint32_t a, std::uint32_t b) { return distance(a, colour) < distance(b, colour); };
  };
  std::iter_swap(colours.begin(), std::max_element(colours.begin(), colours.end(), from(colours.front())));
  for (auto at = colours.begin(); at + 1 < colours.end(); ++at)
    std::iter_swap(at + 1, std::min_element(at + 1, colours.end(), from(*at)));
  return colours;
}

}  // namespace detail

/// The bytes of an animated PNG file; with a palette when all frames together have at most 256 colours, as those of
/// field_image do. Throws ArgumentError for no frame, frames of different sizes, or a time outside [0, 65].
inline std::string to_apng(std::span<const Image> frames, const AnimationOptions& options = {}) {
  if (frames.empty()) throw ArgumentError("an animation needs at least one frame");
  for (std::size_t f = 0; f < frames.size(); ++f) {
    detail::check_png_size(frames[f]);
    if (frames[f].width != frames[0].width || frames[f].height != frames[0].height) {
      throw ArgumentError("frame " + std::to_string(f) + " of the animation has " + std::to_string(frames[f].width) +
                          " x " + std::to_string(frames[f].height) + " pixels, frame 0 has " +
                          std::to_string(frames[0].width) + " x " + std::to_string(frames[0].height));
    }
  }
  if (!(options.seconds_per_frame >= 0 && options.seconds_per_frame <= 65))
    throw ArgumentError("a frame can be shown for 0 to 65 seconds, given " + std::to_string(options.seconds_per_frame));

  const std::vector<std::uint32_t> palette = detail::common_palette(frames);
  std::vector<std::uint8_t> number_of(palette.empty() ? 0 : std::size_t{1} << 24, 0);
  std::string out(detail::png_signature);
  detail::append_png_header(out, frames[0], !palette.empty());
  std::string control;
  detail::append_big_endian(control, static_cast<std::uint32_t>(frames.size()));
  detail::append_big_endian(control, options.plays);
  detail::append_png_chunk(out, "acTL", control);
  if (!palette.empty()) {
    std::string colours;
    for (std::size_t i = 0; i < palette.size(); ++i) {
      number_of[palette[i]] = static_cast<std::uint8_t>(i);
      for (int shift = 16; shift >= 0; shift -= 8) colours += static_cast<char>((palette[i] >> shift) & 255);
    }
    detail::append_png_chunk(out, "PLTE", colours);
  }
  std::uint32_t sequence = 0;
  for (std::size_t f = 0; f < frames.size(); ++f) {
    const Image& image = frames[f];
    std::string frame;
    detail::append_big_endian(frame, sequence++);
    detail::append_big_endian(frame, static_cast<std::uint32_t>(image.width));
    detail::append_big_endian(frame, static_cast<std::uint32_t>(image.height));
    detail::append_big_endian(frame, 0);
    detail::append_big_endian(frame, 0);
    const auto milliseconds = static_cast<std::uint32_t>(1000 * options.seconds_per_frame + 0.5);
    detail::append_big_endian(frame, (milliseconds << 16) | 1000u);
    frame += std::string(2, '\0');  // the frame stays, and the next one replaces it
    detail::append_png_chunk(out, "fcTL", frame);

    std::string rows;
    if (palette.empty()) {
      rows = detail::png_rows(image.rgb, 3 * image.width, 3);
    } else {
      std::vector<std::uint8_t> numbers(image.width * image.height);
      for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = number_of[detail::packed(image.rgb.data() + 3 * i)];
      rows = detail::png_rows(numbers, image.width, 1);
    }
    const std::string data = compress_zlib(detail::as_bytes(rows));
    if (f == 0) {
      detail::append_png_chunk(out, "IDAT", data);
    } else {
      std::string numbered;
      detail::append_big_endian(numbered, sequence++);
      detail::append_png_chunk(out, "fdAT", numbered + data);
    }
  }
  detail::append_png_chunk(out, "IEND", "");
  return out;
}

/// Writes an animation as PNG, atomically; throws ArgumentError for another extension than png.
template <class Calls = SystemCalls>
void save_animation(const std::filesystem::path& path, std::span<const Image> frames,
                    const AnimationOptions& options = {}) {
  if (picture_format(path) != PictureFormat::png)
    throw ArgumentError("animation name '" + path.string() + "' must end in .png");
  write_atomically<Calls>(path, to_apng(frames, options));
}

}  // namespace kolmo::io
