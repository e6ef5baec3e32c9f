#pragma once
// A figure: a grid of panels with lines, areas, points and colour maps. It holds what is to be seen, not how it is laid
// out (plot.hpp) or drawn (svg.hpp, raster.hpp).
//
//   Figure figure;
//   figure.panel().line(x, y, {.label = "density"});
//   save_picture("density.svg", figure);

#include <cstddef>
#include <kolmo/error.hpp>
#include <kolmo/io/colour.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace kolmo::io {

enum class Dash { solid, dashed, dotted, dash_dot };

/// How a line looks. Without a colour it gets the next of the palette; without a label it is not in the legend. Widths
/// are in page units of 1/96 inch.
struct LineStyle {
  std::string label{};
  std::optional<Colour> colour{};
  double width = 1.6;
  Dash dash = Dash::solid;
  double opacity = 1;
};

/// How a filled area looks.
struct AreaStyle {
  std::string label{};
  std::optional<Colour> colour{};
  double opacity = 0.25;
};

/// How the points of a scatter plot look; `size` is the diameter.
struct PointStyle {
  std::string label{};
  std::optional<Colour> colour{};
  double size = 5;
  double opacity = 0.8;
};

/// How a matrix becomes colours. Without limits the map spans the values, for `diverging` symmetrically about 0.
struct HeatMapStyle {
  ColourMap map = ColourMap::viridis;
  std::optional<double> low{};
  std::optional<double> high{};
  bool colour_bar = true;
  std::string bar_label{};
};

/// The range and text of an axis. Without a range it spans the data with a small margin.
struct Axis {
  std::string label;
  bool log = false;  ///< logarithmic; values that are not positive are left out
  bool ticks = true;
  std::optional<double> low;
  std::optional<double> high;
  void range(double from, double to) {
    low = from;
    high = to;
  }
};

enum class LegendPlace { automatic, none, top_right, top_left, bottom_right, bottom_left };

namespace detail {

struct LineData {
  std::vector<double> x, y;
  LineStyle style;
};
struct AreaData {
  std::vector<double> x, lower, upper;
  AreaStyle style;
};
struct PointData {
  std::vector<double> x, y;
  PointStyle style;
};
struct HeatMapData {
  std::vector<double> values;
  std::size_t rows, columns;
  double x_low, x_high, y_low, y_high;
  HeatMapStyle style;
};
/// A line over the whole panel at one coordinate.
struct RuleData {
  double at;
  bool vertical;
  LineStyle style;
};
struct NoteData {
  double x, y;
  std::string text;
};

using PanelItem = std::variant<HeatMapData, AreaData, LineData, PointData, RuleData, NoteData>;

inline void check_lengths(std::size_t x, std::size_t y, const char* what) {
  if (x != y) {
    throw ShapeError(std::string(what) + " needs as many x as y values, got " + std::to_string(x) + " and " +
                     std::to_string(y));
  }
}

}  // namespace detail

/// One coordinate system. Values that are not finite leave a gap.
class Panel {
 public:
  std::string title;
  Axis x, y;
  LegendPlace legend = LegendPlace::automatic;
  bool grid = true;
  bool equal_aspect = false;  ///< one unit of x is as long as one of y
  bool visible = true;        ///< whether anything is drawn; the place stays free

  /// A line through (x, y). Throws ShapeError when the lengths differ, as do the functions below.
  Panel& line(std::span<const double> xs, std::span<const double> ys, LineStyle style = {}) {
    detail::check_lengths(xs.size(), ys.size(), "a line");
    items_.push_back(detail::LineData{copy(xs), copy(ys), with_colour(std::move(style))});
    return *this;
  }

  /// The area between a curve and the level `base`.
  Panel& area(std::span<const double> xs, std::span<const double> ys, AreaStyle style = {}, double base = 0) {
    return band(xs, std::vector<double>(ys.size(), base), ys, std::move(style));
  }

  /// The area between two curves.
  Panel& band(std::span<const double> xs, std::span<const double> lower, std::span<const double> upper,
              AreaStyle style = {}) {
    detail::check_lengths(xs.size(), lower.size(), "an area");
    detail::check_lengths(xs.size(), upper.size(), "an area");
    items_.push_back(detail::AreaData{copy(xs), copy(lower), copy(upper), with_colour(std::move(style))});
    return *this;
  }

  /// Points at (x, y).
  Panel& scatter(std::span<const double> xs, std::span<const double> ys, PointStyle style = {}) {
    detail::check_lengths(xs.size(), ys.size(), "a scatter plot");
    items_.push_back(detail::PointData{copy(xs), copy(ys), with_colour(std::move(style))});
    return *this;
  }

  /// A row-major matrix as colours over [x_low, x_high] x [y_low, y_high]; its first row is at y_low, the bottom.
  /// Throws ShapeError unless there are rows x columns > 0 values.
  Panel& heat_map(std::span<const double> values, std::size_t rows, std::size_t columns, HeatMapStyle style = {},
                  double x_low = 0, double x_high = 1, double y_low = 0, double y_high = 1) {
    if (values.empty() || rows == 0 || values.size() / rows != columns || values.size() % rows != 0) {
      throw ShapeError("a heat map of " + std::to_string(rows) + " x " + std::to_string(columns) + " got " +
                       std::to_string(values.size()) + " values");
    }
    items_.push_back(detail::HeatMapData{copy(values), rows, columns, x_low, x_high, y_low, y_high, std::move(style)});
    return *this;
  }

  /// A line across the panel; it does not widen the axes.
  Panel& vertical_line(double at, LineStyle style = {"", Colour{120, 120, 120}, 1, Dash::dashed, 1}) {
    items_.push_back(detail::RuleData{at, true, with_colour(std::move(style))});
    return *this;
  }
  Panel& horizontal_line(double at, LineStyle style = {"", Colour{120, 120, 120}, 1, Dash::dashed, 1}) {
    items_.push_back(detail::RuleData{at, false, with_colour(std::move(style))});
    return *this;
  }

  /// A text that starts at (x, y) in the panel's coordinates.
  Panel& note(double at_x, double at_y, std::string text) {
    items_.push_back(detail::NoteData{at_x, at_y, std::move(text)});
    return *this;
  }

  const std::vector<detail::PanelItem>& items() const { return items_; }

 private:
  static std::vector<double> copy(std::span<const double> values) { return {values.begin(), values.end()}; }
  template <class Style>
  Style with_colour(Style style) {
    if (!style.colour) style.colour = palette_colour(next_colour_++);
    return style;
  }

  std::vector<detail::PanelItem> items_;
  std::size_t next_colour_ = 0;
};

/// A grid of panels.
class Figure {
 public:
  std::string title;
  double width;   ///< page units of 1/96 inch
  double height;  ///< page units of 1/96 inch

  /// Throws ArgumentError without rows or columns. The size follows from the grid and may be changed.
  explicit Figure(std::size_t rows = 1, std::size_t columns = 1) : rows_(rows), columns_(columns) {
    if (rows == 0 || columns == 0 || rows > 100 || columns > 100) {
      throw ArgumentError("a figure of " + std::to_string(rows) + " x " + std::to_string(columns) +
                          " panels; 1 to 100 each are possible");
    }
    panels_.resize(rows * columns);
    width = columns == 1 ? 620 : 60 + 400 * static_cast<double>(columns);
    height = rows == 1 ? 400 : 40 + 290 * static_cast<double>(rows);
  }

  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }

  /// The panel in a row and column, counted from the top left. Throws ArgumentError outside the grid.
  Panel& panel(std::size_t row = 0, std::size_t column = 0) { return panels_[index(row, column)]; }
  const Panel& panel(std::size_t row = 0, std::size_t column = 0) const { return panels_[index(row, column)]; }

 private:
  std::size_t index(std::size_t row, std::size_t column) const {
    if (row >= rows_ || column >= columns_) {
      throw ArgumentError("panel (" + std::to_string(row) + ", " + std::to_string(column) + ") of a figure of " +
                          std::to_string(rows_) + " x " + std::to_string(columns_));
    }
    return row * columns_ + column;
  }

  std::size_t rows_, columns_;
  std::vector<Panel> panels_;
};

}  // namespace kolmo::io
