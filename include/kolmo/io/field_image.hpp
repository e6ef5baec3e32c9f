#pragma once
// Fields as images: one value is one square of pixels, coloured by a map; and several images side by side.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/colour.hpp>
#include <kolmo/io/png.hpp>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace kolmo::io {

/// How a field becomes an image.
struct FieldImageOptions {
  ColourMap map = ColourMap::diverging;
  /// The values at the ends of the map. By default those of the field itself, symmetric about 0 for the diverging map;
  /// give both for frames that are to be compared.
  std::optional<double> low = {};
  std::optional<double> high = {};
  /// Pixels of a value in each direction.
  std::size_t zoom = 1;
};

/// The image of a field of shape [nx, ny]: x to the right, y up. At most 255 colours of the map are used, and grey for
/// NaN, so that an animation keeps to one palette. Throws ShapeError unless there are nx * ny > 0 values, ArgumentError
/// for limits that are not increasing and finite, or a zoom of 0 or above 1000.
template <class T>
Image field_image(std::span<const T> values, index_t nx, index_t ny, const FieldImageOptions& options = {}) {
  if (nx < 1 || ny < 1 || values.size() != static_cast<std::size_t>(nx) * static_cast<std::size_t>(ny)) {
    throw ShapeError(std::to_string(values.size()) + " values are no field of shape [" + std::to_string(nx) + ", " +
                     std::to_string(ny) + "]");
  }
  if (options.zoom < 1 || options.zoom > 1000)
    throw ArgumentError("a value is drawn with 1 to 1000 pixels, given " + std::to_string(options.zoom));
  double least = std::numeric_limits<double>::max(), most = -least;
  for (const T value : values) {
    const double v = static_cast<double>(value);
    if (!detail::is_finite(v)) continue;
    least = std::min(least, v);
    most = std::max(most, v);
  }
  if (least > most) least = most = 0;
  if (options.map == ColourMap::diverging) {
    most = std::max(std::abs(least), std::abs(most));
    least = -most;
  }
  double low = options.low.value_or(least), high = options.high.value_or(most);
  // A field of one value has the colour of the middle.
  if (low == high && !(options.low && options.high)) {
    const double margin = std::max(std::abs(low), 1.0) * 0.5;
    low -= margin;
    high += margin;
  }
  if (!detail::is_finite(low) || !detail::is_finite(high) || !(low < high)) {
    throw ArgumentError("the limits of the colours must increase, given " + std::to_string(low) + " and " +
                        std::to_string(high));
  }
  std::vector<Colour> colours(255);
  for (std::size_t i = 0; i < 255; ++i) colours[i] = map_colour(options.map, static_cast<double>(i) / 254);
  const Colour unknown = map_colour(options.map, std::numeric_limits<double>::quiet_NaN());

  const auto width = static_cast<std::size_t>(nx), height = static_cast<std::size_t>(ny);
  Image image(width * options.zoom, height * options.zoom);
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      const double v = static_cast<double>(values[x * height + (height - 1 - y)]);
      const double place = std::clamp((v / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0);
      const Colour c = detail::is_nan(v) ? unknown : colours[static_cast<std::size_t>(254 * place + 0.5)];
      for (std::size_t b = 0; b < options.zoom; ++b) {
        for (std::size_t a = 0; a < options.zoom; ++a) image.set(x * options.zoom + a, y * options.zoom + b, c);
      }
    }
  }
  return image;
}

/// Images in rows of `columns`, from the top left, with `gap` pixels between and around them. Each row is as high as
/// its highest image, each column as wide as its widest. Throws ArgumentError for no image or no column.
inline Image montage(std::span<const Image> images, std::size_t columns, std::size_t gap = 4,
                     Colour background = {255, 255, 255}) {
  if (images.empty() || columns == 0) throw ArgumentError("a montage needs at least one image and one column");
  columns = std::min(columns, images.size());
  const std::size_t rows = (images.size() + columns - 1) / columns;
  std::vector<std::size_t> left(columns + 1, 0), top(rows + 1, 0);
  for (std::size_t i = 0; i < images.size(); ++i) {
    left[i % columns + 1] = std::max(left[i % columns + 1], images[i].width);
    top[i / columns + 1] = std::max(top[i / columns + 1], images[i].height);
  }
  left[0] = top[0] = gap;
  for (std::size_t c = 1; c <= columns; ++c) left[c] += left[c - 1] + gap;
  for (std::size_t r = 1; r <= rows; ++r) top[r] += top[r - 1] + gap;
  Image whole(left[columns], top[rows], background);
  for (std::size_t i = 0; i < images.size(); ++i) {
    for (std::size_t y = 0; y < images[i].height; ++y) {
      const auto from = images[i].rgb.begin() + static_cast<std::ptrdiff_t>(3 * y * images[i].width);
      std::copy_n(from, 3 * images[i].width,
                  whole.rgb.begin() +
                      static_cast<std::ptrdiff_t>(3 * ((top[i / columns] + y) * whole.width + left[i % columns])));
    }
  }
  return whole;
}

}  // namespace kolmo::io
