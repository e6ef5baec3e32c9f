#pragma once
// The contents of a panel as shapes: lines, areas, points, colour maps, rules and notes.

#include <algorithm>
#include <cstddef>
#include <kolmo/io/drawing.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/geometry.hpp>
#include <kolmo/io/plot_frame.hpp>
#include <kolmo/io/plot_scale.hpp>
#include <utility>
#include <variant>
#include <vector>

namespace kolmo::io::detail {

inline std::vector<double> dash_lengths(Dash dash, double width) {
  const double unit = std::max(width, 1.0);
  switch (dash) {
    case Dash::dashed:
      return {4.5 * unit, 2.8 * unit};
    case Dash::dotted:
      return {1.2 * unit, 2 * unit};
    case Dash::dash_dot:
      return {5 * unit, 2 * unit, 1.2 * unit, 2 * unit};
    default:
      return {};
  }
}

inline void draw_line(Drawing& drawing, const PanelFrame& frame, const std::vector<Point>& points,
                      const LineStyle& style) {
  const Box room{frame.box.left - 20, frame.box.top - 20, frame.box.right + 20, frame.box.bottom + 20};
  for (auto& part : clip_polyline(thinned(points), room)) {
    drawing.add(StrokeShape{std::move(part), *style.colour, style.width, style.opacity,
                            dash_lengths(style.dash, style.width), false},
                frame.box);
  }
}

inline void draw_item(Drawing& drawing, const PanelFrame& frame, const LineData& data) {
  for (const auto& run : frame.runs(data.x, data.y)) draw_line(drawing, frame, run, data.style);
}

inline void draw_item(Drawing& drawing, const PanelFrame& frame, const RuleData& data) {
  if (!(data.vertical ? frame.x : frame.y).holds(data.at)) return;
  const double at = data.vertical ? frame.px(data.at) : frame.py(data.at);
  draw_line(drawing, frame,
            data.vertical ? std::vector<Point>{{at, frame.box.bottom}, {at, frame.box.top}}
                          : std::vector<Point>{{frame.box.left, at}, {frame.box.right, at}},
            data.style);
}

inline void draw_item(Drawing& drawing, const PanelFrame& frame, const AreaData& data) {
  // On a logarithmic axis an edge at or below 0 is the axis itself.
  const auto edge = [&](double y) { return frame.y.log && is_finite(y) && y <= 0 ? frame.y.low : y; };
  const Box room{frame.box.left - 20, frame.box.top - 20, frame.box.right + 20, frame.box.bottom + 20};
  std::vector<Point> upper, lower;
  const auto finish = [&] {
    upper.insert(upper.end(), lower.rbegin(), lower.rend());
    upper = clip_polygon(std::move(upper), room);
    if (upper.size() >= 3) drawing.add(FillShape{std::move(upper), *data.style.colour, data.style.opacity}, frame.box);
    upper.clear();
    lower.clear();
  };
  for (std::size_t i = 0; i < data.x.size(); ++i) {
    if (!frame.drawable(data.x[i], edge(data.upper[i])) || !frame.drawable(data.x[i], edge(data.lower[i]))) {
      finish();
      continue;
    }
    upper.push_back({frame.px(data.x[i]), frame.py(edge(data.upper[i]))});
    lower.push_back({frame.px(data.x[i]), frame.py(edge(data.lower[i]))});
  }
  finish();
}

inline void draw_item(Drawing& drawing, const PanelFrame& frame, const PointData& data) {
  DotsShape dots{{}, 0.5 * data.style.size, *data.style.colour, data.style.opacity};
  for (std::size_t i = 0; i < data.x.size(); ++i) {
    if (!frame.drawable(data.x[i], data.y[i])) continue;
    const Point at{frame.px(data.x[i]), frame.py(data.y[i])};
    if (at.x >= frame.box.left - 1 && at.x <= frame.box.right + 1 && at.y >= frame.box.top - 1 &&
        at.y <= frame.box.bottom + 1) {
      dots.centres.push_back(at);
    }
  }
  const Box room{frame.box.left - data.style.size, frame.box.top - data.style.size, frame.box.right + data.style.size,
                 frame.box.bottom + data.style.size};
  drawing.add(std::move(dots), room);
}

inline void draw_item(Drawing& drawing, const PanelFrame& frame, const NoteData& data) {
  if (!frame.drawable(data.x, data.y)) return;
  drawing.add(
      TextShape{data.text, {frame.px(data.x), frame.py(data.y)}, note_size, TextAnchor::start, false, false, ink},
      frame.box);
}

inline void draw_item(Drawing& drawing, const PanelFrame& frame, const HeatMapData& data) {
  const auto [low, high] = heat_map_limits(data);
  ImageShape shape{Image(data.columns, data.rows),
                   {frame.px(data.x_low), frame.py(data.y_high), frame.px(data.x_high), frame.py(data.y_low)}};
  for (std::size_t r = 0; r < data.rows; ++r) {
    for (std::size_t c = 0; c < data.columns; ++c) {
      const double value = (data.values[r * data.columns + c] - low) / (high - low);
      shape.image.set(c, data.rows - 1 - r, map_colour(data.style.map, value));
    }
  }
  drawing.add(std::move(shape), frame.box);
}

}  // namespace kolmo::io::detail
