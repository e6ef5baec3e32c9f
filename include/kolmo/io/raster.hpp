#pragma once
// A drawing as pixels. Edges are smoothed by exact coverage (polygons) or by the distance to the line (strokes).

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kolmo/error.hpp>
#include <kolmo/io/drawing.hpp>
#include <kolmo/io/font.hpp>
#include <kolmo/io/geometry.hpp>
#include <kolmo/io/png.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace kolmo::io {

namespace detail {

/// Coverage in [0, 1] of the pixels of a rectangle of the canvas.
struct Mask {
  long left = 0, top = 0, width = 0, height = 0;
  std::vector<float> cover;

  /// The pixels that `box` touches, inside `limits`.
  Mask(const Box& box, const Box& limits) {
    left = static_cast<long>(std::floor(std::clamp(box.left, limits.left, limits.right)));
    top = static_cast<long>(std::floor(std::clamp(box.top, limits.top, limits.bottom)));
    width = static_cast<long>(std::ceil(std::clamp(box.right, limits.left, limits.right))) - left;
    height = static_cast<long>(std::ceil(std::clamp(box.bottom, limits.top, limits.bottom))) - top;
    cover.assign(static_cast<std::size_t>(width * height), 0.0f);
  }
  float& at(long x, long y) { return cover[static_cast<std::size_t>(y * width + x)]; }

  /// Adds a line segment with round ends, or ends cut square. Overlapping segments do not add up.
  void add_segment(Point a, Point b, double half_width, bool cut_start, bool cut_end) {
    // A line thinner than a pixel is drawn one pixel wide and paler.
    const double strength = std::min(1.0, 2 * half_width);
    const double half = std::max(half_width, 0.5);
    const double dx = b.x - a.x, dy = b.y - a.y;
    const double length = std::hypot(dx, dy);
    const double reach = half + 1;
    const long y0 = std::max(0L, static_cast<long>(std::floor(std::min(a.y, b.y) - reach)) - top);
    const long y1 = std::min(height - 1, static_cast<long>(std::ceil(std::max(a.y, b.y) + reach)) - top);
    for (long y = y0; y <= y1; ++y) {
      const double py = static_cast<double>(y + top) + 0.5;
      // The part of the segment within reach of this row bounds the columns to visit.
      double xa = a.x, xb = b.x;
      if (std::fabs(dy) > 1e-9) {
        const double t0 = std::clamp((py - reach - a.y) / dy, 0.0, 1.0);
        const double t1 = std::clamp((py + reach - a.y) / dy, 0.0, 1.0);
        xa = a.x + t0 * dx;
        xb = a.x + t1 * dx;
      }
      const long x0 = std::max(0L, static_cast<long>(std::floor(std::min(xa, xb) - reach)) - left);
      const long x1 = std::min(width - 1, static_cast<long>(std::ceil(std::max(xa, xb) + reach)) - left);
      for (long x = x0; x <= x1; ++x) {
        const double px = static_cast<double>(x + left) + 0.5;
        const double along = length > 0 ? ((px - a.x) * dx + (py - a.y) * dy) / length : 0;
        const double nearest = std::clamp(along, 0.0, length);
        const double ux = length > 0 ? dx / length : 1, uy = length > 0 ? dy / length : 0;
        double distance = std::hypot(px - a.x - nearest * ux, py - a.y - nearest * uy);
        double factor = strength;
        if ((cut_start && along < 0.5) || (cut_end && along > length - 0.5)) {
          distance = std::fabs((px - a.x) * -uy + (py - a.y) * ux);
          if (cut_start) factor *= std::clamp(along + 0.5, 0.0, 1.0);
          if (cut_end) factor *= std::clamp(length - along + 0.5, 0.0, 1.0);
        }
        const double c = factor * std::clamp(half + 0.5 - distance, 0.0, 1.0);
        at(x, y) = std::max(at(x, y), static_cast<float>(c));
      }
    }
  }

  void add_polyline(const std::vector<Point>& points, double half_width, bool cut) {
    if (points.size() == 1) add_segment(points[0], points[0], half_width, false, false);
    for (std::size_t i = 0; i + 1 < points.size(); ++i) {
      add_segment(points[i], points[i + 1], half_width, cut && i == 0, cut && i + 2 == points.size());
    }
  }

  /// Covers the inside of a polygon that lies in the mask. Each edge adds, row by row, the signed change of coverage at
  /// its pixels; the sum along the row is the coverage.
  void add_polygon(const std::vector<Point>& points) {
    for (std::size_t i = 0; i < points.size(); ++i) {
      Point a = points[i], b = points[(i + 1) % points.size()];
      const double sign = a.y < b.y ? 1 : -1;
      if (a.y > b.y) std::swap(a, b);
      if (!(b.y > a.y)) continue;
      const double slope = (b.x - a.x) / (b.y - a.y);
      for (long y = std::max(0L, static_cast<long>(std::floor(a.y)) - top); y < height; ++y) {
        const double row = static_cast<double>(y + top);
        const double from = std::max(a.y, row), to = std::min(b.y, row + 1);
        if (from >= to) break;
        const double xa = a.x + (from - a.y) * slope - static_cast<double>(left);
        const double xb = a.x + (to - a.y) * slope - static_cast<double>(left);
        add_edge(y, std::min(xa, xb), std::max(xa, xb), sign * (to - from));
      }
    }
    for (long y = 0; y < height; ++y) {
      float sum = 0;
      for (long x = 0; x < width; ++x) {
        sum += at(x, y);
        at(x, y) = std::min(1.0f, std::fabs(sum));
      }
    }
  }

 private:
  /// Spreads an edge between two abscissas of one row over the pixels it crosses.
  void add_edge(long y, double x0, double x1, double rise) {
    const double limit = static_cast<double>(width);
    x0 = std::clamp(x0, 0.0, limit);
    x1 = std::clamp(x1, 0.0, limit);
    const double span = x1 - x0;
    for (long x = static_cast<long>(x0); x < width; ++x) {
      const double begin = std::max(x0, static_cast<double>(x));
      const double end = std::min(x1, static_cast<double>(x + 1));
      const double part = span > 0 ? rise * (end - begin) / span : rise;
      // Right of its middle the piece covers the pixel; all pixels further right are covered entirely.
      const double right = static_cast<double>(x + 1) - 0.5 * (begin + end);
      at(x, y) += static_cast<float>(part * right);
      if (x + 1 < width) at(x + 1, y) += static_cast<float>(part * (1 - right));
      if (x1 <= static_cast<double>(x + 1)) break;
    }
  }
};

/// Draws shapes on a canvas of floating-point pixels.
class Canvas {
 public:
  Canvas(std::size_t width, std::size_t height, double scale)
      : width_(width), height_(height), scale_(scale), pixels_(3 * width * height, 255.0f) {}

  void draw(const Drawing::Item& item) {
    limits_ = {0, 0, static_cast<double>(width_), static_cast<double>(height_)};
    if (item.clip) {
      limits_ = {std::clamp(std::round(item.clip->left * scale_), 0.0, limits_.right),
                 std::clamp(std::round(item.clip->top * scale_), 0.0, limits_.bottom),
                 std::clamp(std::round(item.clip->right * scale_), 0.0, limits_.right),
                 std::clamp(std::round(item.clip->bottom * scale_), 0.0, limits_.bottom)};
    }
    std::visit([&](const auto& shape) { draw_shape(shape); }, item.shape);
  }

  Image image() const {
    Image out(width_, height_);
    for (std::size_t i = 0; i < pixels_.size(); ++i) {
      out.rgb[i] = static_cast<std::uint8_t>(std::clamp(pixels_[i] + 0.5f, 0.0f, 255.0f));
    }
    return out;
  }

 private:
  std::vector<Point> scaled(const std::vector<Point>& points) const {
    std::vector<Point> out;
    out.reserve(points.size());
    for (const Point& p : points) out.push_back({p.x * scale_, p.y * scale_});
    return out;
  }

  static Box bounds(const std::vector<Point>& points, double margin) {
    Box box{1e30, 1e30, -1e30, -1e30};
    for (const Point& p : points) {
      box = {std::min(box.left, p.x - margin), std::min(box.top, p.y - margin), std::max(box.right, p.x + margin),
             std::max(box.bottom, p.y + margin)};
    }
    return box;
  }

  void blend(std::size_t x, std::size_t y, Colour colour, float alpha) {
    float* pixel = pixels_.data() + 3 * (y * width_ + x);
    pixel[0] += alpha * (static_cast<float>(colour.red) - pixel[0]);
    pixel[1] += alpha * (static_cast<float>(colour.green) - pixel[1]);
    pixel[2] += alpha * (static_cast<float>(colour.blue) - pixel[2]);
  }

  void paint(Mask& mask, Colour colour, double opacity) {
    for (long y = 0; y < mask.height; ++y) {
      for (long x = 0; x < mask.width; ++x) {
        const float alpha = mask.at(x, y) * static_cast<float>(opacity);
        if (alpha > 0)
          blend(static_cast<std::size_t>(x + mask.left), static_cast<std::size_t>(y + mask.top), colour, alpha);
      }
    }
  }

  void draw_shape(const StrokeShape& shape) {
    const std::vector<Point> points = scaled(shape.points);
    const double half = 0.5 * shape.width * scale_;
    Mask mask(bounds(points, half + 1), limits_);
    std::vector<double> dashes = shape.dashes;
    for (double& d : dashes) d *= scale_;
    if (dashes.empty()) {
      mask.add_polyline(points, half, shape.butt);
    } else {
      for (const auto& part : dash_polyline(points, dashes)) mask.add_polyline(part, half, true);
    }
    paint(mask, shape.colour, shape.opacity);
  }

  void draw_shape(const FillShape& shape) {
    const std::vector<Point> points = clip_polygon(scaled(shape.points), limits_);
    if (points.size() < 3) return;
    Mask mask(bounds(points, 0), limits_);
    mask.add_polygon(points);
    paint(mask, shape.colour, shape.opacity);
  }

  void draw_shape(const DotsShape& shape) {
    for (const Point& centre : scaled(shape.centres)) {
      Mask mask(bounds({centre}, shape.radius * scale_ + 1), limits_);
      mask.add_segment(centre, centre, shape.radius * scale_, false, false);
      paint(mask, shape.colour, shape.opacity);
    }
  }

  void draw_shape(const ImageShape& shape) {
    const Box box{shape.box.left * scale_, shape.box.top * scale_, shape.box.right * scale_, shape.box.bottom * scale_};
    const Mask mask(box, limits_);
    // The source pixels under a pixel's footprint, weighted by area.
    struct Span {
      std::size_t first = 0;
      std::vector<double> weights;
    };
    const auto footprints = [](long start, long count, double from, double extent, std::size_t size) {
      std::vector<Span> spans(static_cast<std::size_t>(count));
      for (long i = 0; i < count; ++i) {
        const double unit = static_cast<double>(size) / extent;
        const double begin = std::max(0.0, (static_cast<double>(start + i) - from) * unit);
        const double end = std::min(static_cast<double>(size), (static_cast<double>(start + i + 1) - from) * unit);
        Span& span = spans[static_cast<std::size_t>(i)];
        span.first = std::min(size - 1, static_cast<std::size_t>(begin));
        for (std::size_t k = span.first; k < size && static_cast<double>(k) < end; ++k) {
          const double low = std::max(begin, static_cast<double>(k)), high = std::min(end, static_cast<double>(k + 1));
          span.weights.push_back(std::max(0.0, high - low));
        }
        if (span.weights.empty()) span.weights.push_back(1);
      }
      return spans;
    };
    const auto columns = footprints(mask.left, mask.width, box.left, box.width(), shape.image.width);
    const auto rows = footprints(mask.top, mask.height, box.top, box.height(), shape.image.height);
    for (long y = 0; y < mask.height; ++y) {
      const Span& row = rows[static_cast<std::size_t>(y)];
      for (long x = 0; x < mask.width; ++x) {
        const Span& column = columns[static_cast<std::size_t>(x)];
        double sum[3] = {}, total = 0;
        for (std::size_t j = 0; j < row.weights.size(); ++j) {
          for (std::size_t i = 0; i < column.weights.size(); ++i) {
            const Colour c = shape.image.at(column.first + i, row.first + j);
            const double weight = row.weights[j] * column.weights[i];
            sum[0] += weight * c.red;
            sum[1] += weight * c.green;
            sum[2] += weight * c.blue;
            total += weight;
          }
        }
        float* pixel = pixels_.data() +
                       3 * (static_cast<std::size_t>(y + mask.top) * width_ + static_cast<std::size_t>(x + mask.left));
        for (int k = 0; k < 3 && total > 0; ++k) pixel[k] = static_cast<float>(sum[k] / total);
      }
    }
  }

  void draw_shape(const TextShape& shape) {
    std::vector<TextRun> runs;
    const double width = lay_out_text(shape.text, shape.size, runs);
    const double start = shape.anchor == TextAnchor::middle ? -0.5 * width
                         : shape.anchor == TextAnchor::end  ? -width
                                                            : 0;
    struct Stroke {
      std::vector<Point> points;
      double width;
    };
    std::vector<Stroke> strokes;
    std::vector<Point> all;
    for (const TextRun& run : runs) {
      double x = start + run.x;
      std::string_view rest = run.text;
      const double unit = run.size / font_units;
      const double line_width = std::max((shape.bold ? 0.108 : 0.08) * run.size * scale_, 0.9);
      while (!rest.empty()) {
        const Glyph& glyph = glyph_of(take_code_point(rest));
        for (auto& stroke : glyph_strokes(glyph)) {
          for (Point& p : stroke) {
            const double along = x + p.x * unit, up = run.raise + p.y * unit;
            p = shape.upright ? Point{(shape.at.x - up) * scale_, (shape.at.y - along) * scale_}
                              : Point{(shape.at.x + along) * scale_, (shape.at.y - up) * scale_};
            all.push_back(p);
          }
          strokes.push_back({std::move(stroke), line_width});
        }
        x += glyph.advance * unit;
      }
    }
    if (all.empty()) return;
    Mask mask(bounds(all, 0.1 * shape.size * scale_ + 2), limits_);
    for (const Stroke& stroke : strokes) mask.add_polyline(stroke.points, 0.5 * stroke.width, false);
    paint(mask, shape.colour, 1);
  }

  std::size_t width_, height_;
  double scale_;
  std::vector<float> pixels_;
  Box limits_;
};

}  // namespace detail

/// The picture with `scale` pixels to a page unit. Throws ArgumentError for a size that is not positive or above 2^26
/// pixels.
inline Image render(const Drawing& drawing, double scale = 2) {
  const double width = std::ceil(drawing.width * scale), height = std::ceil(drawing.height * scale);
  if (!(width >= 1 && height >= 1 && width * height <= 0x1p26)) {
    throw ArgumentError("a picture of " + std::to_string(width) + " x " + std::to_string(height) +
                        " pixels; at least one and at most 2^26 can be drawn");
  }
  detail::Canvas canvas(static_cast<std::size_t>(width), static_cast<std::size_t>(height), scale);
  for (const Drawing::Item& item : drawing.items) canvas.draw(item);
  return canvas.image();
}

}  // namespace kolmo::io
