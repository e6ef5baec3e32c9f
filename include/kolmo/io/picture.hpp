#pragma once
// Pictures in files: save_picture("fit.svg", figure) or "fit.png". Nothing but this library is needed to draw them.

#include <algorithm>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/drawing.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/plot.hpp>
#include <kolmo/io/png.hpp>
#include <kolmo/io/raster.hpp>
#include <kolmo/io/svg.hpp>
#include <string>

namespace kolmo::io {

/// The kinds of picture files.
enum class PictureFormat { svg, png };

/// The format that a file name's extension (in any case) asks for; throws ArgumentError for others than svg and png.
/// Lets a program refuse a name before it computes.
inline PictureFormat picture_format(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (extension == ".svg") return PictureFormat::svg;
  if (extension == ".png") return PictureFormat::png;
  throw ArgumentError("picture name '" + path.string() + "' must end in .svg or .png");
}

/// Writes a figure, as SVG or as PNG with `scale` pixels to a page unit, atomically.
template <class Calls = SystemCalls>
void save_picture(const std::filesystem::path& path, const Figure& figure, double scale = 2) {
  const PictureFormat format = picture_format(path);
  const Drawing drawing = lay_out(figure);
  write_atomically<Calls>(path,
                          format == PictureFormat::svg ? to_svg(drawing) : to_png(render(drawing, scale), 96 * scale));
}

/// Writes an image as PNG, atomically; throws ArgumentError for another extension.
template <class Calls = SystemCalls>
void save_image(const std::filesystem::path& path, const Image& image) {
  if (picture_format(path) != PictureFormat::png) {
    throw ArgumentError("image name '" + path.string() + "' must end in .png");
  }
  write_atomically<Calls>(path, to_png(image));
}

}  // namespace kolmo::io
