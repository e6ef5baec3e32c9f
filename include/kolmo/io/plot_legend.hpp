#pragma once
// The legend of a panel, at the corner where it hides least.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/drawing.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/font.hpp>
#include <kolmo/io/geometry.hpp>
#include <kolmo/io/plot_frame.hpp>
#include <kolmo/io/plot_series.hpp>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace kolmo::io::detail {

struct LegendEntry {
  std::string label;
  std::optional<LineStyle> line;
  std::optional<AreaStyle> area;
  std::optional<PointStyle> points;
};

inline std::vector<LegendEntry> legend_entries(const PanelFrame& frame) {
  std::vector<LegendEntry> entries;
  for (const PanelItem& item : frame.panel.items()) {
    if (const auto* line = std::get_if<LineData>(&item)) entries.push_back({line->style.label, line->style, {}, {}});
    if (const auto* rule = std::get_if<RuleData>(&item)) entries.push_back({rule->style.label, rule->style, {}, {}});
    if (const auto* area = std::get_if<AreaData>(&item)) entries.push_back({area->style.label, {}, area->style, {}});
    if (const auto* dots = std::get_if<PointData>(&item)) entries.push_back({dots->style.label, {}, {}, dots->style});
  }
  entries.erase(std::remove_if(entries.begin(), entries.end(), [](const LegendEntry& e) { return e.label.empty(); }),
                entries.end());
  return entries;
}

inline double hidden_length(const PanelFrame& frame, const Box& box) {
  double hidden = 0;
  const auto curve = [&](const std::vector<double>& xs, const std::vector<double>& ys) {
    for (const auto& run : frame.runs(xs, ys)) {
      for (const auto& part : clip_polyline(run, box)) {
        for (std::size_t i = 0; i + 1 < part.size(); ++i)
          hidden += std::hypot(part[i + 1].x - part[i].x, part[i + 1].y - part[i].y);
      }
    }
  };
  for (const PanelItem& item : frame.panel.items()) {
    if (const auto* line = std::get_if<LineData>(&item)) curve(line->x, line->y);
    if (const auto* area = std::get_if<AreaData>(&item)) curve(area->x, area->upper);
    if (const auto* dots = std::get_if<PointData>(&item)) {
      for (std::size_t i = 0; i < dots->x.size(); ++i) {
        if (!frame.drawable(dots->x[i], dots->y[i])) continue;
        const double x = frame.px(dots->x[i]), y = frame.py(dots->y[i]);
        if (x > box.left && x < box.right && y > box.top && y < box.bottom) hidden += dots->style.size;
      }
    }
  }
  return hidden;
}

inline constexpr double legend_sample = 22;
inline constexpr double legend_padding = 7;
inline constexpr double legend_row = 16;

/// Where the legend goes, and how much data it hides there.
struct LegendPosition {
  Box box;
  double hidden = 0;
};

inline LegendPosition place_legend(const PanelFrame& frame, const std::vector<LegendEntry>& entries) {
  constexpr double inset = 8;
  double widest = 0;
  for (const LegendEntry& entry : entries) widest = std::max(widest, text_width(entry.label, note_size));
  // A tenth more than this font needs, because an SVG viewer may have a wider one.
  const double width = 2 * legend_padding + legend_sample + 7 + 1.1 * widest;
  const double height = 2 * legend_padding + legend_row * static_cast<double>(entries.size()) - 3;
  const auto corner = [&](LegendPlace place) {
    const bool right = place == LegendPlace::top_right || place == LegendPlace::bottom_right;
    const bool top = place == LegendPlace::top_right || place == LegendPlace::top_left;
    const double left = right ? frame.box.right - inset - width : frame.box.left + inset;
    const double upper = top ? frame.box.top + inset : frame.box.bottom - inset - height;
    return Box{left, upper, left + width, upper + height};
  };
  if (frame.panel.legend != LegendPlace::automatic) return {corner(frame.panel.legend), 0};
  LegendPosition best{{}, std::numeric_limits<double>::infinity()};
  for (const LegendPlace place :
       {LegendPlace::top_right, LegendPlace::top_left, LegendPlace::bottom_right, LegendPlace::bottom_left}) {
    const Box box = corner(place);
    const double hidden = hidden_length(frame, {box.left - 4, box.top - 4, box.right + 4, box.bottom + 4});
    if (hidden < best.hidden) best = {box, hidden};
  }
  return best;
}

/// Raises the upper end of an automatic linear y axis by up to two fifths where that frees a corner for the legend.
inline void make_room_for_legend(PanelFrame& frame) {
  const auto entries = legend_entries(frame);
  if (entries.empty() || frame.panel.legend != LegendPlace::automatic || frame.panel.y.high || frame.y.log ||
      frame.panel.equal_aspect || frame.bar != nullptr || place_legend(frame, entries).hidden <= 0) {
    return;
  }
  const double high = frame.y.high, step = 0.05 * (frame.y.high - frame.y.low);
  for (int steps = 1; steps <= 8; ++steps) {
    frame.y.high = high + steps * step;
    if (is_finite(frame.y.high - frame.y.low) && place_legend(frame, entries).hidden <= 0) {
      frame.make_ticks(frame.box.width(), frame.box.height());
      return;
    }
  }
  frame.y.high = high;
}

inline void draw_legend(Drawing& drawing, const PanelFrame& frame) {
  const auto entries = legend_entries(frame);
  if (entries.empty() || frame.panel.legend == LegendPlace::none) return;
  const Box box = place_legend(frame, entries).box;
  const std::vector<Point> outline = {
      {box.left, box.top}, {box.right, box.top}, {box.right, box.bottom}, {box.left, box.bottom}};
  drawing.add(FillShape{outline, {255, 255, 255}, 0.88});
  std::vector<Point> closed = outline;
  closed.push_back(outline.front());
  drawing.add(StrokeShape{closed, {205, 205, 205}, 0.8, 1, {}, false});
  double y = box.top + legend_padding + 0.5 * (legend_row - 3);
  for (const LegendEntry& entry : entries) {
    const double left = box.left + legend_padding, right = left + legend_sample;
    if (entry.line) {
      drawing.add(StrokeShape{{{left, y}, {right, y}},
                              *entry.line->colour,
                              entry.line->width,
                              entry.line->opacity,
                              dash_lengths(entry.line->dash, entry.line->width),
                              true});
    }
    if (entry.area) {
      drawing.add(FillShape{
          {{left, y - 5}, {right, y - 5}, {right, y + 5}, {left, y + 5}}, *entry.area->colour, entry.area->opacity});
    }
    if (entry.points) {
      drawing.add(DotsShape{
          {{0.5 * (left + right), y}}, 0.5 * entry.points->size, *entry.points->colour, entry.points->opacity});
    }
    drawing.add(
        TextShape{entry.label, {right + 7, y + 0.36 * note_size}, note_size, TextAnchor::start, false, false, ink});
    y += legend_row;
  }
}

}  // namespace kolmo::io::detail
