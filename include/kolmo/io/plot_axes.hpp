#pragma once
// The axes of a panel: grid, ticks, labels, title and colour bar.

#include <cstddef>
#include <kolmo/io/drawing.hpp>
#include <kolmo/io/plot_frame.hpp>
#include <kolmo/io/plot_scale.hpp>
#include <kolmo/io/ticks.hpp>
#include <string>
#include <utility>
#include <vector>

namespace kolmo::io::detail {

inline void draw_grid(Drawing& drawing, const PanelFrame& frame) {
  const auto line = [&](Point a, Point b) { drawing.add(StrokeShape{{a, b}, grid_colour, 0.8, 1, {}, true}); };
  for (const Tick& tick : frame.x_ticks.marks) {
    if (!tick.label.empty()) line({frame.px(tick.at), frame.box.bottom}, {frame.px(tick.at), frame.box.top});
  }
  for (const Tick& tick : frame.y_ticks.marks) {
    if (!tick.label.empty()) line({frame.box.left, frame.py(tick.at)}, {frame.box.right, frame.py(tick.at)});
  }
}

inline void draw_axes(Drawing& drawing, const PanelFrame& frame) {
  const auto line = [&](Point a, Point b) { drawing.add(StrokeShape{{a, b}, ink, 1, 1, {}, true}); };
  const auto text = [&](const std::string& words, Point at, double size, TextAnchor anchor) {
    drawing.add(TextShape{words, at, size, anchor, false, false, ink});
  };
  line({frame.box.left - 0.5, frame.box.bottom}, {frame.box.right, frame.box.bottom});
  line({frame.box.left, frame.box.bottom + 0.5}, {frame.box.left, frame.box.top});
  if (frame.bar != nullptr) {
    line({frame.box.left - 0.5, frame.box.top}, {frame.box.right + 0.5, frame.box.top});
    line({frame.box.right, frame.box.top}, {frame.box.right, frame.box.bottom + 0.5});
  }
  double below = frame.box.bottom;
  double beside = frame.box.left;
  if (frame.panel.x.ticks) {
    below += tick_length + 3 + tick_size;
    for (const Tick& tick : frame.x_ticks.marks) {
      const double x = frame.px(tick.at);
      line({x, frame.box.bottom}, {x, frame.box.bottom + (tick.label.empty() ? 0.6 : 1.0) * tick_length});
      text(tick.label, {x, below - 1}, tick_size, TextAnchor::middle);
    }
    if (!frame.x_ticks.factor.empty()) {
      text(frame.x_ticks.factor, {frame.box.right, below + label_size + 3}, tick_size, TextAnchor::end);
    }
  }
  if (frame.panel.y.ticks) {
    beside -= tick_length + 4 + widest_label(frame.y_ticks);
    for (const Tick& tick : frame.y_ticks.marks) {
      const double y = frame.py(tick.at);
      line({frame.box.left - (tick.label.empty() ? 0.6 : 1.0) * tick_length, y}, {frame.box.left, y});
      text(tick.label, {frame.box.left - tick_length - 3, y + 0.36 * tick_size}, tick_size, TextAnchor::end);
    }
    if (!frame.y_ticks.factor.empty())
      text(frame.y_ticks.factor, {frame.box.left, frame.box.top - 6}, tick_size, TextAnchor::start);
  }
  const double middle = 0.5 * (frame.box.left + frame.box.right);
  if (!frame.panel.x.label.empty())
    text(frame.panel.x.label, {middle, below + label_size + 2}, label_size, TextAnchor::middle);
  if (!frame.panel.y.label.empty()) {
    drawing.add(TextShape{frame.panel.y.label,
                          {beside - 7, 0.5 * (frame.box.top + frame.box.bottom)},
                          label_size,
                          TextAnchor::middle,
                          true,
                          false,
                          ink});
  }
  if (!frame.panel.title.empty()) {
    drawing.add(
        TextShape{frame.panel.title, {middle, frame.box.top - 9}, title_size, TextAnchor::middle, false, true, ink});
  }
}

inline void draw_bar(Drawing& drawing, const PanelFrame& frame) {
  const auto [low, high] = heat_map_limits(*frame.bar);
  const Box bar{frame.box.right + bar_gap, frame.box.top, frame.box.right + bar_gap + bar_width, frame.box.bottom};
  ImageShape shape{Image(1, 256), bar};
  for (std::size_t i = 0; i < 256; ++i)
    shape.image.set(0, 255 - i, map_colour(frame.bar->style.map, static_cast<double>(i) / 255));
  drawing.add(std::move(shape));
  drawing.add(StrokeShape{
      {{bar.left, bar.top}, {bar.right, bar.top}, {bar.right, bar.bottom}, {bar.left, bar.bottom}, {bar.left, bar.top}},
      ink,
      0.8,
      1,
      {},
      false});
  const Ticks ticks = frame.bar_ticks();
  for (const Tick& tick : ticks.marks) {
    const double y = bar.bottom - (tick.at - low) / (high - low) * bar.height();
    drawing.add(StrokeShape{{{bar.right, y}, {bar.right + tick_length, y}}, ink, 1, 1, {}, true});
    drawing.add(TextShape{tick.label,
                          {bar.right + tick_length + 3, y + 0.36 * tick_size},
                          tick_size,
                          TextAnchor::start,
                          false,
                          false,
                          ink});
  }
  if (!ticks.factor.empty()) {
    drawing.add(TextShape{ticks.factor, {bar.left, bar.top - 6}, tick_size, TextAnchor::start, false, false, ink});
  }
  if (!frame.bar->style.bar_label.empty()) {
    const double x = bar.right + tick_length + 5 + widest_label(ticks) + label_size;
    drawing.add(TextShape{frame.bar->style.bar_label,
                          {x, 0.5 * (bar.top + bar.bottom)},
                          label_size,
                          TextAnchor::middle,
                          true,
                          false,
                          ink});
  }
}

}  // namespace kolmo::io::detail
