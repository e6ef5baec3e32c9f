#pragma once
// What fit_mixture.cpp prints and draws: a table for people and small multiples of the fits.

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/mixture_functions.hpp>
#include <kolmo/gmm/status.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/font.hpp>
#include <kolmo/io/number_text.hpp>

/// One row of the input and its fit, in the units of the input.
struct FittedRow {
  std::string id, text;
  std::size_t line = 0;
  std::string problem;          ///< why there is no fit; empty when there is one
  std::vector<double> density;  ///< integral one
  std::vector<double> weights, means, deviations;
  double density_error = 0;
  double distribution_error = 0;  ///< of the sums over the grid
  double microseconds = 0;
  std::string doubts;

  bool fitted() const { return problem.empty(); }
};

inline std::string padded(const std::string& text, std::size_t width, bool right = true) {
  const std::string space(text.size() < width ? width - text.size() : 0, ' ');
  return right ? space + text : text + space;
}

inline std::size_t terminal_width() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 1 && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
    return size.ws_col;
  return 120;
}

/// `value` with decimals down to a hundredth of `scale`.
inline std::string rounded(double value, double scale) {
  const int decimals = 2 - static_cast<int>(std::floor(std::log10(scale)));
  if (decimals < 0 || decimals > 7) return kolmo::io::to_text(value, 4);
  char text[400];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

/// Prints one density after the other: errors, then the components from left to right, wrapped to the terminal.
inline void print_table(const std::vector<FittedRow>& rows, std::size_t most) {
  std::vector<const FittedRow*> shown;
  for (const FittedRow& row : rows)
    if (row.fitted() && shown.size() < most) shown.push_back(&row);
  std::size_t id = 2, component = 0;
  std::vector<std::vector<std::string>> components;
  for (const FittedRow* row : shown) {
    id = std::max(id, std::min<std::size_t>(row->id.size(), 40));
    components.emplace_back();
    for (std::size_t k = 0; k < row->weights.size(); ++k) {
      const double scale = row->deviations[k];
      components.back().push_back(rounded(row->weights[k], 0.1) + " (" + rounded(row->means[k], scale) + ", " +
                                  rounded(scale, scale) + ")");
      component = std::max(component, components.back().back().size());
    }
  }
  const std::size_t indent = id + 26, width = terminal_width();
  const std::size_t per_line = std::max<std::size_t>(1, (width - std::min(width, indent)) / (component + 2));
  std::printf("%s  L-inf error  CDF error  components: weight (mean, deviation)\n", padded("id", id, false).c_str());
  for (std::size_t i = 0; i < shown.size(); ++i) {
    std::printf("%s  %11s  %9s", padded(shown[i]->id.substr(0, 40), id, false).c_str(),
                kolmo::io::to_text(shown[i]->density_error, 3).c_str(),
                kolmo::io::to_text(shown[i]->distribution_error, 3).c_str());
    for (std::size_t k = 0; k < components[i].size(); ++k) {
      if (k > 0 && k % per_line == 0) std::printf("\n%s", std::string(indent - 2, ' ').c_str());
      const bool last = k + 1 == components[i].size() || (k + 1) % per_line == 0;
      std::printf("  %s", padded(components[i][k], last ? 0 : component, false).c_str());
    }
    std::printf("%s\n", shown[i]->doubts.empty() ? "" : ("  [" + shown[i]->doubts + "]").c_str());
  }
}

/// Cuts a text to a width on the page: parts before a comma first, then the end.
inline std::string fitting(std::string text, double width, double size) {
  using kolmo::io::detail::text_width;
  for (std::size_t comma; text_width(text, size) > width && (comma = text.find(", ")) != std::string::npos;)
    text.erase(0, comma + 2);
  if (text_width(text, size) <= width) return text;
  while (!text.empty() && text_width(text + "...", size) > width) {
    // Bytes 10xxxxxx continue a character of UTF-8.
    while (text.size() > 1 && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80) text.pop_back();
    text.pop_back();
  }
  return text + "...";
}

/// A fit sampled for a panel, over the part of the range where the density has its mass.
struct FitCurve {
  std::vector<double> x, total;
  std::vector<std::vector<double>> components;
  double low, high, top;

  FitCurve(const FittedRow& row, const std::vector<double>& z) {
    constexpr int points = 240;
    const std::size_t n = row.density.size();
    const auto mass = [&](std::size_t i) {
      return row.density[i] *
             kolmo::gmm::trapezoid_weight(z.data(), static_cast<kolmo::index_t>(n), static_cast<kolmo::index_t>(i));
    };
    double mean = 0, square = 0, cell = z.back() - z.front();
    for (std::size_t i = 0; i < n; ++i) mean += mass(i) * z[i];
    for (std::size_t i = 0; i < n; ++i) square += mass(i) * std::pow(z[i] - mean, 2);
    for (std::size_t i = 1; i < n; ++i) cell = std::min(cell, z[i] - z[i - 1]);
    const double reach = std::max(4.2 * std::sqrt(square), 3.0 * cell);
    low = std::max(z.front(), mean - reach);
    high = std::min(z.back(), mean + reach);
    for (int i = 0; i <= points; ++i) x.push_back(low + (high - low) * i / points);
    total.assign(x.size(), 0.0);
    for (std::size_t k = 0; k < row.weights.size(); ++k) {
      components.emplace_back();
      for (std::size_t i = 0; i < x.size(); ++i) {
        components[k].push_back(row.weights[k] * kolmo::gmm::normal_density(x[i], row.means[k], row.deviations[k]));
        total[i] += components[k][i];
      }
    }
    top = std::max(*std::max_element(row.density.begin(), row.density.end()),
                   *std::max_element(total.begin(), total.end()));
  }

  /// Largest part of the height that is taken in the outer `share` of the panel.
  double taken(bool right, double share) const {
    const auto count = static_cast<std::ptrdiff_t>(share * static_cast<double>(total.size()));
    return (right ? *std::max_element(total.end() - count, total.end())
                  : *std::max_element(total.begin(), total.begin() + count)) /
           top;
  }
};

/// Width of the legend as a part of a panel.
inline constexpr double legend_share = 0.45;

inline void draw_fit(kolmo::io::Panel& panel, const FittedRow& row, const FitCurve& curve, const std::vector<double>& z,
                     double width, bool legend) {
  namespace io = kolmo::io;
  panel.area(z, row.density, {legend ? "density" : "", io::Colour{150, 150, 150}, 0.32});
  panel.line(z, row.density, {"", io::Colour{165, 165, 165}, 0.8, io::Dash::solid, 1});
  bool labelled = !legend;
  for (std::size_t k = 0; k < row.weights.size(); ++k) {
    // Invisible ones would only colour the axis.
    if (row.weights[k] < 1e-3) continue;
    panel.line(curve.x, curve.components[k],
               {labelled ? "" : "components", io::palette_colour(k), 1.2, io::Dash::solid, 0.95});
    labelled = true;
  }
  panel.line(curve.x, curve.total, {legend ? "mixture" : "", io::Colour{25, 25, 25}, 2.2, io::Dash::solid, 1});

  panel.title = fitting(row.id, 0.9 * width, io::detail::title_size);
  panel.x.label = fitting(row.text, 0.9 * width, io::detail::label_size);
  panel.x.range(curve.low, curve.high);
  panel.y.range(0, 1.2 * curve.top);
  panel.grid = false;
  const bool legend_right = curve.taken(true, legend_share) <= curve.taken(false, legend_share);
  panel.legend = legend_right ? io::LegendPlace::top_right : io::LegendPlace::top_left;
  const bool note_right = legend ? !legend_right : curve.taken(true, 0.3) <= curve.taken(false, 0.3);
  const double error = row.density_error;
  char text[64];
  std::snprintf(text, sizeof text, error < 10 && error >= 1e-5 ? "%#.2g" : "%.2g", error);
  panel.note(curve.low + (note_right ? 0.7 : 0.04) * (curve.high - curve.low), 1.08 * curve.top,
             "L_{\xe2\x88\x9e} " + std::string(text));
}

/// Panels in a picture.
inline constexpr std::size_t most_panels = 16;

/// One panel for each of the first fits. Empty without any.
inline std::vector<kolmo::io::Figure> fit_figure(const std::vector<FittedRow>& rows,
                                                 const std::vector<double>& points) {
  namespace io = kolmo::io;
  std::vector<const FittedRow*> fits;
  for (const FittedRow& row : rows)
    if (row.fitted()) fits.push_back(&row);
  if (fits.empty()) return {};
  const std::size_t shown = std::min(fits.size(), most_panels);
  const std::size_t columns = shown <= 3 ? shown : shown == 4 ? 2 : shown <= 9 ? 3 : 4;
  io::Figure figure((shown + columns - 1) / columns, columns);
  const double width = columns == 1 ? 560 : columns == 2 ? 380 : 290;
  figure.width = width * static_cast<double>(columns);
  figure.height = (columns == 1 ? 380 : columns == 2 ? 270 : 225) * static_cast<double>(figure.rows());
  if (shown < fits.size())
    figure.title = "The first " + std::to_string(shown) + " of " + std::to_string(fits.size()) + " fitted densities";
  // The legend goes where the curves leave a corner free.
  std::vector<FitCurve> curves;
  std::size_t legend = 0;
  double least = 2;
  for (std::size_t i = 0; i < shown; ++i) {
    curves.emplace_back(*fits[i], points);
    const double taken = std::min(curves[i].taken(true, legend_share), curves[i].taken(false, legend_share));
    if (taken < least && least > 0.5) {
      least = taken;
      legend = i;
    }
  }
  for (std::size_t i = 0; i < figure.rows() * columns; ++i) {
    io::Panel& panel = figure.panel(i / columns, i % columns);
    panel.visible = i < shown;
    if (i < shown) draw_fit(panel, *fits[i], curves[i], points, width - 60, i == legend);
  }
  return {figure};
}
