#pragma once
// What a picture consists of before it becomes SVG or pixels: strokes, filled polygons, images and texts in page units
// (1/96 inch, y down).

#include <cstddef>
#include <kolmo/io/colour.hpp>
#include <kolmo/io/png.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace kolmo::io {

struct Point {
  double x = 0;
  double y = 0;
};

/// An axis-parallel rectangle.
struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;
  double width() const { return right - left; }
  double height() const { return bottom - top; }
};

/// A line through points, with round joins and, unless `butt`, round ends.
struct StrokeShape {
  std::vector<Point> points;
  Colour colour;
  double width = 1;
  double opacity = 1;
  std::vector<double> dashes;  ///< lengths drawn and left out in turn; empty for a solid line
  bool butt = false;
};

/// A filled polygon (non-zero winding).
struct FillShape {
  std::vector<Point> points;
  Colour colour;
  double opacity = 1;
};

/// Filled circles of one kind.
struct DotsShape {
  std::vector<Point> centres;
  double radius = 2;
  Colour colour;
  double opacity = 1;
};

/// An image stretched over a box; each of its pixels stays a sharp rectangle.
struct ImageShape {
  Image image;
  Box box;
};

enum class TextAnchor { start, middle, end };

/// A text on one line; `^{...}` raises and `_{...}` lowers what is in the braces.
struct TextShape {
  std::string text;
  Point at;  ///< on the baseline
  double size = 10;
  TextAnchor anchor = TextAnchor::start;
  bool upright = false;  ///< turned to be read from below to above
  bool bold = false;
  Colour colour{40, 40, 40};
};

/// Shapes from back to front.
struct Drawing {
  struct Item {
    std::variant<StrokeShape, FillShape, DotsShape, ImageShape, TextShape> shape;
    std::optional<Box> clip;
  };
  double width = 0;
  double height = 0;
  std::vector<Item> items;

  template <class Shape>
  void add(Shape shape, std::optional<Box> clip = std::nullopt) {
    items.push_back({std::move(shape), clip});
  }
};

}  // namespace kolmo::io
