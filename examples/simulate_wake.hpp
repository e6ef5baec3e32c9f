#pragma once
// What simulate_wake.cpp computes, keeps and draws.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <kolmo/flow/body_diagnostics.hpp>
#include <kolmo/flow/immersed.hpp>
#include <kolmo/flow/immersed_files.hpp>
#include <kolmo/io/apng.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/field_image.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/host_array.hpp>
#include <kolmo/io/json.hpp>

namespace wake {

using kolmo::index_t;
namespace flow = kolmo::flow;
namespace io = kolmo::io;

/// Velocities [2, ny-1, nx-1] at the interior nodes of the finest level, rows of constant y.
inline std::vector<float> velocities(const flow::ImmersedSnapshot& s) {
  std::vector<float> result(s.u.begin(), s.u.end());
  result.insert(result.end(), s.v.begin(), s.v.end());
  return result;
}

/// Vorticity [nx-2, ny-2] of velocities at the interior nodes, by differences over two cells; x first, for pictures.
inline std::vector<double> vorticity_of(const io::HostArray& frame, double spacing) {
  const index_t rows = frame.shape[1], columns = frame.shape[2];
  const auto values = frame.as<float>();
  const auto u = [&](index_t i, index_t j) {
    return static_cast<double>(values[static_cast<std::size_t>(j * columns + i)]);
  };
  const auto v = [&](index_t i, index_t j) {
    return static_cast<double>(values[static_cast<std::size_t>((rows + j) * columns + i)]);
  };
  std::vector<double> result;
  for (index_t i = 1; i + 1 < columns; ++i)
    for (index_t j = 1; j + 1 < rows; ++j)
      result.push_back((v(i + 1, j) - v(i - 1, j) - u(i, j + 1) + u(i, j - 1)) / (2 * spacing));
  return result;
}

/// The end of the colour map: 98 % of the magnitudes are below it, since the thin layers on bodies would leave the rest
/// white.
inline double colour_limit(std::vector<double> vorticity) {
  for (double& w : vorticity) w = std::abs(w);
  const auto place = vorticity.begin() + static_cast<std::ptrdiff_t>(vorticity.size() * 98 / 100);
  std::nth_element(vorticity.begin(), place, vorticity.end());
  return *place;
}

/// The history of a run: the columns time, cd and cl of forces.csv.
inline flow::ForceHistory read_forces(const std::filesystem::path& path) {
  flow::ForceHistory history;
  const std::string text = io::read_text_file(path);
  io::CsvReader reader(text, {}, path.string());
  io::CsvRow row;
  reader.next(row);
  while (reader.next(row)) {
    double values[3] = {};
    for (std::size_t c = 0; c < 3; ++c)
      if (row.fields.size() < 4 || !io::detail::parse_whole(row.fields[c + 1], values[c]))
        throw kolmo::IoError(path.string() + ": line " + std::to_string(row.line) + " is no row of forces");
    history.append(values[0], values[1], values[2]);
  }
  return history;
}

/// The second half of a run, in which an impulsive start is forgotten.
inline double statistics_begin(const flow::ForceHistory& history) {
  return history.time.empty() ? 0 : 0.5 * (history.time.front() + history.time.back());
}

/// Plain means over time.
struct Means {
  double drag = 0, lift = 0;
};
inline Means mean_forces(const flow::ForceHistory& history, double from) {
  Means sum;
  double count = 0;
  for (std::size_t k = 0; k < history.time.size(); ++k) {
    if (history.time[k] < from) continue;
    sum.drag += history.drag[k];
    sum.lift += history.lift[k];
    count += 1;
  }
  return count > 0 ? Means{sum.drag / count, sum.lift / count} : sum;
}

/// Round-off of a symmetric wake, which would be printed as -0.0000.
inline double without_sign(double x) { return std::abs(x) < 5e-5 ? 0 : x; }

/// What is not there, such as the frequency of a steady wake, is null.
inline std::string summary_json(const flow::ForceHistory& history, index_t frames, const double* wake_length) {
  const double from = statistics_begin(history);
  const flow::SheddingStatistics s = flow::shedding_statistics(history, from);
  const Means means = mean_forces(history, from);
  using Value = io::JsonValue;
  const auto of_cycles = [&](double value) { return s.cycles > 0 ? Value{value} : Value{}; };
  const Value::Object values{{"frames", {frames}},
                             {"statistics_from", {from}},
                             {"cycles", {s.cycles}},
                             {"strouhal", of_cycles(s.strouhal)},
                             {"mean_drag", {s.cycles > 0 ? s.mean_drag : means.drag}},
                             {"drag_amplitude", of_cycles(s.drag_amplitude)},
                             {"mean_lift", {s.cycles > 0 ? s.mean_lift : means.lift}},
                             {"lift_amplitude", of_cycles(s.lift_amplitude)},
                             {"lift_rms", of_cycles(s.lift_rms)},
                             {"last_drag", {history.drag.empty() ? 0.0 : history.drag.back()}},
                             {"last_lift", {history.lift.empty() ? 0.0 : history.lift.back()}},
                             {"wake_length", wake_length ? Value{*wake_length} : Value{}}};
  return io::to_json(Value{values});
}

/// Marks the points of the bodies in a frame of vorticity_of.
inline void draw_bodies(io::Image& image, const flow::ImmersedGrid& grid, const std::vector<flow::Body>& bodies,
                        double time, std::size_t zoom) {
  for (const flow::Body& body : bodies) {
    const flow::BodyPoints at = body.at(time);
    for (std::size_t k = 0; k < at.x.size(); ++k) {
      const double x = ((at.x[k] - grid.corner_x) / grid.spacing() - 1.5) * static_cast<double>(zoom);
      const double y = static_cast<double>(image.height) -
                       ((at.y[k] - grid.corner_y) / grid.spacing() - 1.5) * static_cast<double>(zoom);
      for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 2; ++b) {
          const double i = x + a, j = y + b;
          if (i >= 0 && j >= 0 && i < static_cast<double>(image.width) && j < static_cast<double>(image.height))
            image.set(static_cast<std::size_t>(i), static_cast<std::size_t>(j), io::Colour{20, 20, 20});
        }
    }
  }
}

/// The vorticity of the last frame with the bodies in it, and the forces in time.
inline io::Figure draw_wake(const flow::ImmersedGrid& grid, const std::vector<flow::Body>& bodies, double time,
                            const flow::ForceHistory& history, const io::HostArray* frame) {
  io::Figure figure(frame == nullptr ? 1 : 2, 1);
  figure.width = 900;
  figure.height = frame == nullptr ? 400 : 880;
  std::size_t row = 0;
  if (frame != nullptr) {
    const double d = grid.spacing();
    const auto vorticity = vorticity_of(*frame, d);
    const index_t columns = grid.nx - 3, rows = grid.ny - 3;
    std::vector<double> by_row(vorticity.size());
    for (index_t i = 0; i < columns; ++i)
      for (index_t j = 0; j < rows; ++j)
        by_row[static_cast<std::size_t>(j * columns + i)] = vorticity[static_cast<std::size_t>(i * rows + j)];
    const double limit = std::max(1e-12, colour_limit(vorticity));
    io::Panel& panel = figure.panel(row++, 0);
    io::HeatMapStyle style;
    style.map = io::ColourMap::diverging;
    style.low = -limit;
    style.high = limit;
    style.bar_label = "vorticity";
    panel.heat_map(by_row, static_cast<std::size_t>(rows), static_cast<std::size_t>(columns), style, grid.x(0, 1.5),
                   grid.x(0, static_cast<double>(grid.nx) - 1.5), grid.y(0, 1.5),
                   grid.y(0, static_cast<double>(grid.ny) - 1.5));
    for (const flow::Body& body : bodies) {
      const flow::BodyPoints at = body.at(time);
      io::PointStyle points;
      points.colour = io::Colour{20, 20, 20};
      points.size = 2;
      panel.scatter(at.x, at.y, points);
    }
    panel.title = "t = " + io::to_text(time, 5);
    panel.x.label = "x";
    panel.y.label = "y";
    panel.equal_aspect = true;
    panel.grid = false;
  }
  io::Panel& forces = figure.panel(row, 0);
  forces.line(history.time, history.drag, {.label = "drag"});
  forces.line(history.time, history.lift, {.label = "lift"});
  forces.x.label = "t";
  forces.y.label = "coefficient";
  // The first steps of an impulsive start have forces of the order 1/dt.
  double low = 0, high = 0;
  const double skipped =
      history.time.empty() ? 0 : history.time.front() + 0.05 * (history.time.back() - history.time.front());
  for (std::size_t k = 0; k < history.time.size(); ++k) {
    if (history.time[k] < skipped) continue;
    low = std::min({low, history.drag[k], history.lift[k]});
    high = std::max({high, history.drag[k], history.lift[k]});
  }
  if (high > low) forces.y.range(low - 0.1 * (high - low), high + 0.1 * (high - low));
  return figure;
}

}  // namespace wake
