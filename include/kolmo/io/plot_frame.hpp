#pragma once
// The frame of one panel: ranges, ticks, the margins that its texts need, and positions on the page.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kolmo/io/drawing.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/font.hpp>
#include <kolmo/io/plot_scale.hpp>
#include <kolmo/io/ticks.hpp>
#include <string>
#include <variant>
#include <vector>

namespace kolmo::io::detail {

inline constexpr double title_size = 13;
inline constexpr double label_size = 12;
inline constexpr double tick_size = 10.5;
inline constexpr double note_size = 10.5;
inline constexpr double tick_length = 4;
inline constexpr double bar_width = 13;
inline constexpr double bar_gap = 12;
inline constexpr Colour ink{40, 40, 40};
inline constexpr Colour grid_colour{230, 230, 230};

inline double widest_label(const Ticks& ticks) {
  double widest = 0;
  for (const Tick& tick : ticks.marks) widest = std::max(widest, text_width(tick.label, tick_size));
  return widest;
}

/// Space around the plotting area.
struct Margins {
  double left = 0, top = 0, right = 0, bottom = 0;
};

/// One panel with its ranges and its place on the page.
struct PanelFrame {
  PanelFrame(const Panel& of, double expected_width, double expected_height)
      : panel(of), x(axis_scale(of, true)), y(axis_scale(of, false)) {
    for (const PanelItem& item : panel.items()) {
      if (const auto* map = std::get_if<HeatMapData>(&item)) {
        if (map->style.colour_bar) bar = map;
      }
    }
    make_ticks(expected_width, expected_height);
  }

  Margins margins() const {
    Margins m{6, 8, 12, 6};
    if (!panel.title.empty()) m.top += title_size + 8;
    if (panel.y.ticks) m.left += widest_label(y_ticks) + tick_length + 4;
    if (panel.x.ticks) m.bottom += tick_size + tick_length + 5;
    if (!panel.x.label.empty() || (panel.x.ticks && !x_ticks.factor.empty())) m.bottom += label_size + 5;
    if (!panel.y.label.empty()) m.left += label_size + 7;
    if (!y_ticks.factor.empty() && panel.y.ticks) m.top += panel.title.empty() ? tick_size + 4 : 0;
    if (panel.x.ticks && !x_ticks.marks.empty()) {
      m.right = std::max(m.right, 4 + 0.5 * text_width(x_ticks.marks.back().label, tick_size));
    }
    if (bar != nullptr) {
      m.right = bar_gap + bar_width + tick_length + 5 + widest_label(bar_ticks()) + 6;
      if (!bar->style.bar_label.empty()) m.right += label_size + 6;
    }
    return m;
  }

  /// Puts the plotting area at `place`.
  void place_at(Box place) {
    if (panel.equal_aspect && !x.log && !y.log) place = with_equal_aspect(place);
    make_ticks(place.width(), place.height());
    box = place;
  }

  double px(double at) const { return box.left + x.part(at) * box.width(); }
  double py(double at) const { return box.bottom - y.part(at) * box.height(); }
  bool drawable(double at_x, double at_y) const { return x.holds(at_x) && y.holds(at_y); }

  /// The runs of drawable points, in page units.
  std::vector<std::vector<Point>> runs(const std::vector<double>& xs, const std::vector<double>& ys) const {
    std::vector<std::vector<Point>> out;
    bool joined = false;
    for (std::size_t i = 0; i < xs.size(); ++i) {
      if (!drawable(xs[i], ys[i])) {
        joined = false;
        continue;
      }
      if (!joined) out.emplace_back();
      joined = true;
      out.back().push_back({px(xs[i]), py(ys[i])});
    }
    return out;
  }

  Ticks bar_ticks() const {
    const auto [low, high] = heat_map_limits(*bar);
    return linear_ticks(low, high, 5);
  }

  void make_ticks(double width, double height) {
    const int across = std::clamp(static_cast<int>(width / 65), 2, 10);
    const int down = std::clamp(static_cast<int>(height / 45), 2, 10);
    x_ticks = x.log ? log_ticks(x.low, x.high, across) : linear_ticks(x.low, x.high, across);
    y_ticks = y.log ? log_ticks(y.low, y.high, down) : linear_ticks(y.low, y.high, down);
  }

  Box with_equal_aspect(Box room) const {
    const double unit = std::min(room.width() / (x.high - x.low), room.height() / (y.high - y.low));
    const double width = unit * (x.high - x.low), height = unit * (y.high - y.low);
    const double left = room.left + 0.5 * (room.width() - width), top = room.top + 0.5 * (room.height() - height);
    return {left, top, left + width, top + height};
  }

  const Panel& panel;
  Scale x, y;
  Ticks x_ticks, y_ticks;
  const HeatMapData* bar = nullptr;
  Box box;
};

}  // namespace kolmo::io::detail
