#pragma once
// Pictures of trajectories: vorticity of fields at three times, one row of panels a trajectory; components of Lorenz's
// system over time.

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/io/picture.hpp>

#include "score_config.hpp"

namespace score_program {

/// A trajectory on the host: frames x channels x points, in physical units.
struct HostFrames {
  std::string title;
  index_t frames = 0, channels = 0;
  std::vector<index_t> space;
  std::vector<float> values;

  index_t points() const {
    index_t n = 1;
    for (const index_t extent : space) n *= extent;
    return n;
  }
  float at(index_t frame, index_t channel, index_t point) const {
    return values[static_cast<std::size_t>((frame * channels + channel) * points() + point)];
  }
};

/// One trajectory [L, C, space...] of tensor values.
template <class Tn>
HostFrames host_frames(std::string title, const Tn& x) {
  HostFrames result{std::move(title), x.shape()[0], x.shape()[1], {}, {}};
  for (int d = 2; d < x.rank(); ++d) result.space.push_back(x.shape()[d]);
  const auto values = x.to_vector();
  result.values.assign(values.begin(), values.end());
  return result;
}

namespace detail {

/// dv/dx - du/dy with rows along y, as pictures want it. Kolmogorov fields are [x, y], periodic; wakes are [y, x], and
/// have no value at the border.
inline std::vector<double> vorticity_rows(System system, const HostFrames& f, index_t frame, double spacing) {
  const bool periodic = system == System::kolmogorov;
  const index_t nx = periodic ? f.space[0] : f.space[1], ny = periodic ? f.space[1] : f.space[0];
  const auto point = [&](index_t i, index_t j) { return periodic ? i * ny + j : j * nx + i; };
  std::vector<double> rows(static_cast<std::size_t>(nx * ny), 0.0);
  for (index_t j = 0; j < ny; ++j)
    for (index_t i = 0; i < nx; ++i) {
      if (!periodic && (i == 0 || j == 0 || i == nx - 1 || j == ny - 1)) continue;
      const auto wrap = [](index_t k, index_t n) { return (k + n) % n; };
      const double dv = static_cast<double>(f.at(frame, 1, point(wrap(i + 1, nx), j))) -
                        static_cast<double>(f.at(frame, 1, point(wrap(i - 1, nx), j)));
      const double du = static_cast<double>(f.at(frame, 0, point(i, wrap(j + 1, ny)))) -
                        static_cast<double>(f.at(frame, 0, point(i, wrap(j - 1, ny))));
      rows[static_cast<std::size_t>(j * nx + i)] = (dv - du) / (2 * spacing);
    }
  return rows;
}

/// The level that all but one in a hundred values stay below in size.
inline double usual_size(std::vector<double> values) {
  for (double& v : values) v = std::abs(v);
  const std::size_t at = values.size() * 99 / 100;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at] > 0 ? values[at] : 1.0;
}

}  // namespace detail

/// Vorticity of the first, middle and last frame, a row of panels for each trajectory, all in the colours of the first.
/// The Kolmogorov flow is 2 pi wide; the lengths of a wake are in cells, and its vorticity times the width of a cell.
inline io::Figure draw_fields(System system, const std::vector<HostFrames>& rows) {
  const double spacing =
      system == System::kolmogorov ? 6.283185307179586 / static_cast<double>(rows.front().space[0]) : 1.0;
  io::Figure figure(rows.size(), 3);
  figure.width = system == System::wake ? 1150 : 860;
  figure.height = 30 + (system == System::wake ? 215 : 250) * static_cast<double>(rows.size());
  double limit = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const HostFrames& f = rows[r];
    const index_t shown[] = {0, f.frames / 2, f.frames - 1};
    for (std::size_t c = 0; c < 3; ++c) {
      const std::vector<double> values = detail::vorticity_rows(system, f, shown[c], spacing);
      if (limit == 0) limit = detail::usual_size(values);
      const bool periodic = system == System::kolmogorov;
      const auto nx = static_cast<std::size_t>(periodic ? f.space[0] : f.space[1]);
      const auto ny = static_cast<std::size_t>(periodic ? f.space[1] : f.space[0]);
      io::Panel& panel = figure.panel(r, c);
      io::HeatMapStyle style;
      style.map = io::ColourMap::diverging;
      style.low = -limit;
      style.high = limit;
      style.colour_bar = c == 2;
      style.bar_label = system == System::kolmogorov ? "vorticity" : "vorticity x cell";
      panel.heat_map(values, ny, nx, style, 0, static_cast<double>(nx) * spacing, 0, static_cast<double>(ny) * spacing);
      panel.title = f.title + ", frame " + std::to_string(shown[c]);
      panel.x.label = r + 1 == rows.size() ? "x" : "";
      panel.y.label = c == 0 ? "y" : "";
      panel.equal_aspect = true;
      panel.grid = false;
    }
  }
  return figure;
}

/// Each component over the frames: the first trajectory as a thick line, the others thin; points where something was
/// measured, given as (frame, component, value).
struct Measured {
  index_t frame, component;
  double value;
};
inline io::Figure draw_paths(const std::vector<HostFrames>& paths, const std::vector<Measured>& measured) {
  const auto channels = static_cast<std::size_t>(paths.front().channels);
  const char* const names[] = {"a", "b", "c"};
  io::Figure figure(channels, 1);
  figure.width = 760;
  figure.height = 40 + 170 * static_cast<double>(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    io::Panel& panel = figure.panel(c, 0);
    for (std::size_t p = paths.size(); p-- > 0;) {
      std::vector<double> x, y;
      for (index_t l = 0; l < paths[p].frames; ++l) {
        x.push_back(static_cast<double>(l));
        y.push_back(static_cast<double>(paths[p].at(l, static_cast<index_t>(c), 0)));
      }
      io::LineStyle style;
      style.width = p == 0 ? 2 : 0.5;
      style.label = p <= 1 ? paths[p].title : "";
      style.colour = p == 0 ? io::Colour{20, 20, 20} : io::Colour{90, 140, 200};
      panel.line(x, y, style);
    }
    std::vector<double> x, y;
    for (const Measured& m : measured)
      if (m.component == static_cast<index_t>(c)) {
        x.push_back(static_cast<double>(m.frame));
        y.push_back(m.value);
      }
    if (!x.empty()) {
      io::PointStyle style;
      style.label = "measured";
      style.colour = io::Colour{200, 60, 40};
      panel.scatter(x, y, style);
    }
    panel.y.label = c < 3 ? names[c] : std::to_string(c);
    if (c + 1 == channels) panel.x.label = "frame";
  }
  return figure;
}

}  // namespace score_program
