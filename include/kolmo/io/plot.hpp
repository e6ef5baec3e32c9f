#pragma once
// Lays a figure out as a drawing: panels that share their margins by row and column, so that the axes line up.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kolmo/error.hpp>
#include <kolmo/io/drawing.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/number_text.hpp>
#include <kolmo/io/plot_axes.hpp>
#include <kolmo/io/plot_frame.hpp>
#include <kolmo/io/plot_legend.hpp>
#include <kolmo/io/plot_series.hpp>
#include <string>
#include <variant>
#include <vector>

namespace kolmo::io {

namespace detail {

inline void draw_panel(Drawing& drawing, const PanelFrame& frame) {
  const auto draw = [&](const PanelItem& item) {
    std::visit([&](const auto& data) { draw_item(drawing, frame, data); }, item);
  };
  const auto is_map = [](const PanelItem& item) { return std::holds_alternative<HeatMapData>(item); };
  for (const PanelItem& item : frame.panel.items()) {
    if (is_map(item)) draw(item);
  }
  if (frame.panel.grid && frame.bar == nullptr) draw_grid(drawing, frame);
  for (const PanelItem& item : frame.panel.items()) {
    if (!is_map(item)) draw(item);
  }
  draw_axes(drawing, frame);
  if (frame.bar != nullptr) draw_bar(drawing, frame);
  draw_legend(drawing, frame);
}

}  // namespace detail

/// The figure as shapes on a page. Throws ArgumentError when a range is empty, or not positive on a logarithmic axis,
/// or the panels have no room.
inline Drawing lay_out(const Figure& figure) {
  using detail::Margins;
  Drawing drawing;
  drawing.width = figure.width;
  drawing.height = figure.height;
  const std::size_t rows = figure.rows(), columns = figure.columns();
  const double header = figure.title.empty() ? 4 : detail::title_size + 20;
  const double cell_width = figure.width / static_cast<double>(columns);
  const double cell_height = (figure.height - header) / static_cast<double>(rows);

  std::vector<detail::PanelFrame> frames;
  for (std::size_t i = 0; i < rows * columns; ++i) {
    frames.emplace_back(figure.panel(i / columns, i % columns), cell_width - 60, cell_height - 50);
  }
  std::vector<Margins> row_margins, column_margins;
  double width = 0, height = 0;
  // The ticks depend on the room and the room on the width of the ticks' labels: the second pass settles both.
  for (int pass = 0; pass < 2; ++pass) {
    row_margins.assign(rows, {});
    column_margins.assign(columns, {});
    for (std::size_t i = 0; i < frames.size(); ++i) {
      if (pass > 0) frames[i].make_ticks(width, height);
      const Margins m = frames[i].margins();
      Margins& column = column_margins[i % columns];
      Margins& row = row_margins[i / columns];
      column.left = std::max(column.left, m.left);
      column.right = std::max(column.right, m.right);
      row.top = std::max(row.top, m.top);
      row.bottom = std::max(row.bottom, m.bottom);
    }
    double across = 0, down = 0;
    for (const Margins& m : column_margins) across += m.left + m.right + 4;
    for (const Margins& m : row_margins) down += m.top + m.bottom + 4;
    width = (figure.width - across) / static_cast<double>(columns);
    height = (figure.height - header - down) / static_cast<double>(rows);
  }
  if (!(width >= 20 && height >= 20)) {
    throw ArgumentError("a figure of " + to_text(figure.width) + " x " + to_text(figure.height) + " has no room for " +
                        std::to_string(rows) + " x " + std::to_string(columns) + " panels");
  }
  if (!figure.title.empty()) {
    drawing.add(TextShape{figure.title,
                          {0.5 * figure.width, detail::title_size + 10},
                          detail::title_size + 1.5,
                          TextAnchor::middle,
                          false,
                          true,
                          detail::ink});
  }
  double top = header;
  for (std::size_t r = 0; r < rows; ++r) {
    double left = 2;
    top += row_margins[r].top + 2;
    for (std::size_t c = 0; c < columns; ++c) {
      left += column_margins[c].left;
      // Whole units keep axis lines sharp.
      const Box box{std::round(left) + 0.5, std::round(top) + 0.5, std::round(left + width) + 0.5,
                    std::round(top + height) + 0.5};
      frames[r * columns + c].place_at(box);
      if (frames[r * columns + c].panel.visible) {
        detail::make_room_for_legend(frames[r * columns + c]);
        detail::draw_panel(drawing, frames[r * columns + c]);
      }
      left += width + column_margins[c].right + 4;
    }
    top += height + row_margins[r].bottom + 2;
  }
  return drawing;
}

}  // namespace kolmo::io
