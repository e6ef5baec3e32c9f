#pragma once
// From data to positions: the range of an axis, linear or logarithmic, and lines thinned to what can be seen.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/drawing.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/number_text.hpp>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace kolmo::io::detail {

/// A range and how values map into it.
struct Scale {
  double low = 0;
  double high = 1;
  bool log = false;

  bool holds(double value) const { return is_finite(value) && (!log || value > 0); }

  /// 0 at `low`, 1 at `high`; far outside it is cut to +-1e4, which no picture shows.
  double part(double value) const {
    const double p =
        log ? (std::log(value) - std::log(low)) / (std::log(high) - std::log(low)) : (value - low) / (high - low);
    return std::clamp(p, -1e4, 1e4);
  }
};

/// Smallest and largest of the values a scale can hold.
struct Extent {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  bool log = false;

  void take(double value) {
    if (!is_finite(value) || (log && value <= 0)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void take(const std::vector<double>& values) {
    for (const double value : values) take(value);
  }
  bool empty() const { return !(low <= high); }
};

/// The limits of a colour map; equal limits are spread.
inline std::pair<double, double> heat_map_limits(const HeatMapData& data) {
  Extent extent;
  extent.take(data.values);
  if (extent.empty()) extent.take(0.0);
  double low = extent.low, high = extent.high;
  if (data.style.map == ColourMap::diverging) {
    high = std::max(std::fabs(low), std::fabs(high));
    low = -high;
  }
  low = data.style.low.value_or(low);
  high = data.style.high.value_or(high);
  if (!(is_finite(low) && is_finite(high)) || low > high) {
    throw ArgumentError("colour limits " + to_text(low) + " to " + to_text(high) + " are no range");
  }
  if (low == high) {
    const double spread = low == 0 ? 1 : 0.5 * std::fabs(low);
    low -= spread;
    high += spread;
  }
  return {low, high};
}

/// The range of an axis: what the user set, else what the data span, with a margin except where an area or a matrix
/// ends.
inline Scale axis_scale(const Panel& panel, bool is_x) {
  const Axis& axis = is_x ? panel.x : panel.y;
  Extent data, flush;
  data.log = flush.log = axis.log;
  for (const PanelItem& item : panel.items()) {
    if (const auto* line = std::get_if<LineData>(&item)) data.take(is_x ? line->x : line->y);
    if (const auto* dots = std::get_if<PointData>(&item)) data.take(is_x ? dots->x : dots->y);
    if (const auto* area = std::get_if<AreaData>(&item)) {
      if (is_x) {
        data.take(area->x);
      } else {
        data.take(area->upper);
        data.take(area->lower);
        for (const double base : area->lower) {
          if (base == 0) flush.take(0.0);
        }
      }
    }
    if (const auto* map = std::get_if<HeatMapData>(&item)) {
      for (const double edge :
           is_x ? std::vector<double>{map->x_low, map->x_high} : std::vector<double>{map->y_low, map->y_high}) {
        data.take(edge);
        flush.take(edge);
      }
    }
  }
  Scale scale{axis.log ? 0.1 : 0.0, 1, axis.log};
  if (!data.empty()) {
    scale.low = data.low;
    scale.high = data.high;
    if (axis.log) {
      const double decades = std::log10(data.high) - std::log10(data.low);
      const double ratio = decades > 1e-9 ? std::pow(10.0, decades * (is_x ? 0.02 : 0.05)) : 2;
      scale.low = std::clamp(scale.low / ratio, 0x1p-1000, 0x1p998);
      scale.high = std::clamp(scale.high * ratio, 2 * scale.low, 0x1p1000);
    } else {
      double margin = (data.high - data.low) * (is_x ? 0.02 : 0.05);
      if (!is_finite(data.high - data.low)) {
        scale.low = std::max(scale.low, -0x1p1000);
        scale.high = std::min(scale.high, 0x1p1000);
        margin = 0;
      } else if (!(margin > 1e-12 * std::max(std::fabs(data.low), std::fabs(data.high)))) {
        margin = data.low == 0 ? 1 : 0.1 * std::fabs(data.low);
      }
      if (flush.empty() || flush.low > data.low) scale.low -= margin;
      if (flush.empty() || flush.high < data.high) scale.high += margin;
      if (scale.low == scale.high) scale.high += margin;
    }
  }
  scale.low = axis.low.value_or(scale.low);
  scale.high = axis.high.value_or(scale.high);
  if (!(is_finite(scale.low) && is_finite(scale.high) && is_finite(scale.high - scale.low) && scale.low < scale.high &&
        scale.low + 0.01 * (scale.high - scale.low) > scale.low) ||
      (axis.log && !(scale.low > 0))) {
    throw ArgumentError(std::string("the range of the ") + (is_x ? "x" : "y") + " axis is " + to_text(scale.low) +
                        " to " + to_text(scale.high) +
                        "; it must be finite, not empty, and positive on a logarithmic axis");
  }
  return scale;
}

/// A line with many points to a unit of width, reduced to first, lowest, highest and last of each half unit.
inline std::vector<Point> thinned(const std::vector<Point>& points) {
  if (points.size() < 4000) return points;
  for (std::size_t i = 0; i + 1 < points.size(); ++i) {
    if (points[i + 1].x < points[i].x) return points;
  }
  std::vector<Point> out;
  for (std::size_t i = 0; i < points.size();) {
    const double column = std::floor(points[i].x * 2);
    std::size_t lowest = i, highest = i, last = i;
    for (; last < points.size() && std::floor(points[last].x * 2) == column; ++last) {
      if (points[last].y < points[lowest].y) lowest = last;
      if (points[last].y > points[highest].y) highest = last;
    }
    std::size_t kept[4] = {i, std::min(lowest, highest), std::max(lowest, highest), last - 1};
    for (int k = 0; k < 4; ++k) {
      if (k == 0 || kept[k] != kept[k - 1]) out.push_back(points[kept[k]]);
    }
    i = last;
  }
  return out;
}

}  // namespace kolmo::io::detail
