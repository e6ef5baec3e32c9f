#pragma once
// What fit_samples.cpp reads, prints and draws.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <kolmo/gmm/em_samples.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/npy.hpp>

namespace sample_table {

using kolmo::index_t;
using kolmo::IoError;
namespace gmm = kolmo::gmm;
namespace io = kolmo::io;
using Points = kolmo::Tensor<double, kolmo::Cpu>;

/// The points of a file, row by row; rows with a problem have no point.
struct PointTable {
  std::vector<std::string> names;     ///< of the coordinates
  std::vector<double> values;         ///< [good rows, D]
  std::vector<double> weights;        ///< [good rows], or empty
  std::vector<std::string> problems;  ///< one for each bad row
  std::vector<bool> good;             ///< for each row of the file

  std::size_t count() const { return names.empty() ? 0 : values.size() / names.size(); }
};

inline std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// Positions of the coordinates among the columns, and of the weights, which is `columns.size()` without.
struct Selection {
  std::vector<std::size_t> coordinates;
  std::size_t weights;

  Selection(const std::vector<std::string>& columns, const std::vector<std::string>& chosen,
            const std::string& weights_column, const std::string& source)
      : weights(columns.size()) {
    const auto find = [&](const std::string& name, const char* option) {
      const auto at = std::find(columns.begin(), columns.end(), name);
      if (at == columns.end())
        throw kolmo::ArgumentError(std::string(option) + ": " + source + " has no column '" + name + "'; it has " +
                                   listed(columns));
      return static_cast<std::size_t>(at - columns.begin());
    };
    if (!weights_column.empty()) weights = find(weights_column, "--weights-column");
    for (const std::string& name : chosen) coordinates.push_back(find(name, "--columns"));
    if (chosen.empty())
      for (std::size_t c = 0; c < columns.size(); ++c)
        if (c != weights) coordinates.push_back(c);
    if (coordinates.empty()) throw kolmo::ArgumentError(source + " has no column beside the weights");
    for (const std::size_t c : coordinates)
      if (c == weights || std::count(coordinates.begin(), coordinates.end(), c) > 1)
        throw kolmo::ArgumentError("column '" + columns[c] + "' is used twice");
  }
};

inline void add_row(PointTable& table, const Selection& selection, const std::vector<double>& row, bool weighted) {
  for (const std::size_t c : selection.coordinates) table.values.push_back(row[c]);
  if (weighted) table.weights.push_back(row[selection.weights]);
  table.good.push_back(true);
}

/// A header of names, then a point a row; columns that are not used may hold texts.
inline PointTable read_csv(const std::string& path, const std::vector<std::string>& chosen,
                           const std::string& weights_column) {
  const std::string text = io::read_text_file(path);
  io::CsvReader reader(text, {}, path);
  io::CsvRow row;
  if (!reader.next(row)) throw IoError(path + ": empty, a header with the names of the columns expected");
  const std::vector<std::string> columns = io::detail::header_names(row, path);
  double number = 0;
  for (const std::string& name : columns)
    if (io::detail::parse_number(name, number) == io::NumberProblem::none)
      throw IoError(path + ": the first line must name the columns, found the number " + name +
                    "; add a line such as x,y,z");
  const Selection selection(columns, chosen, weights_column, path);
  const bool weighted = !weights_column.empty();
  std::vector<std::size_t> used = selection.coordinates;
  if (weighted) used.push_back(selection.weights);
  PointTable table;
  for (const std::size_t c : selection.coordinates) table.names.push_back(columns[c]);
  std::vector<double> values(columns.size(), 0.0);
  while (reader.next(row)) {
    std::string problem = row.problem;
    if (problem.empty() && row.fields.size() != columns.size())
      problem = "line " + std::to_string(row.line) + ": " + std::to_string(columns.size()) +
                " fields expected, found " + std::to_string(row.fields.size());
    for (std::size_t i = 0; i < used.size() && problem.empty(); ++i) {
      const std::size_t c = used[i];
      const auto found = io::detail::parse_number(row.fields[c], values[c]);
      if (found != io::NumberProblem::none)
        problem = io::detail::place(row.line, c, columns) + io::detail::describe(found, row.fields[c]);
      else if (c == selection.weights && values[c] < 0)
        problem = io::detail::place(row.line, c, columns) + "the weight is negative";
    }
    if (problem.empty()) {
      add_row(table, selection, values, weighted);
    } else {
      table.problems.push_back(problem);
      table.good.push_back(false);
    }
  }
  return table;
}

/// An array [N, D] or [N] of numbers; its columns are called x0, x1, ...
inline PointTable read_npy(const std::string& path, const std::vector<std::string>& chosen,
                           const std::string& weights_column) {
  const io::HostArray array = io::load_npy(path);
  if (array.shape.size() < 1 || array.shape.size() > 2)
    throw IoError(path + ": expected an array of shape [N, D], found " + io::shape_text(array.shape));
  const auto rows = static_cast<std::size_t>(array.shape[0]);
  const auto width = array.shape.size() == 1 ? std::size_t{1} : static_cast<std::size_t>(array.shape[1]);
  const std::vector<double> values = array.convert<double>();
  std::vector<std::string> columns;
  for (std::size_t c = 0; c < width; ++c) columns.push_back("x" + std::to_string(c));
  const Selection selection(columns, chosen, weights_column, path);
  const bool weighted = !weights_column.empty();
  std::vector<std::size_t> used = selection.coordinates;
  if (weighted) used.push_back(selection.weights);
  PointTable table;
  for (const std::size_t c : selection.coordinates) table.names.push_back(columns[c]);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::vector<double> row(values.begin() + static_cast<std::ptrdiff_t>(r * width),
                                  values.begin() + static_cast<std::ptrdiff_t>((r + 1) * width));
    std::string problem;
    for (const std::size_t c : used) {
      if (!problem.empty()) break;
      if (!kolmo::is_finite(row[c]))
        problem = "row " + std::to_string(r + 1) + ", " + columns[c] + ": not finite";
      else if (c == selection.weights && row[c] < 0)
        problem = "row " + std::to_string(r + 1) + ", " + columns[c] + ": the weight is negative";
    }
    if (problem.empty()) {
      add_row(table, selection, row, weighted);
    } else {
      table.problems.push_back(problem);
      table.good.push_back(false);
    }
  }
  return table;
}

/// component, weight, the means by name, and the upper triangle of the covariance by names.
inline std::string mixture_csv(const gmm::detail::HostMixture& mixture, const std::vector<std::string>& names) {
  io::CsvWriter csv;
  csv.text("component").text("weight");
  for (const std::string& name : names) csv.text("mean_" + name);
  for (std::size_t i = 0; i < names.size(); ++i)
    for (std::size_t j = i; j < names.size(); ++j) csv.text("cov_" + names[i] + "_" + names[j]);
  csv.end_row();
  for (index_t k = 0; k < mixture.components; ++k) {
    csv.text(std::to_string(k + 1)).number(mixture.weights[static_cast<std::size_t>(k)]);
    for (index_t j = 0; j < mixture.dimensions; ++j) csv.number(mixture.mean(k, j));
    const auto matrix = mixture.matrix(k);
    for (index_t i = 0; i < mixture.dimensions; ++i)
      for (index_t j = i; j < mixture.dimensions; ++j)
        csv.number(matrix[static_cast<std::size_t>(i * mixture.dimensions + j)]);
    csv.end_row();
  }
  return csv.str();
}

/// row, component, its probability, and the log density of the mixture; a bad row has its number alone.
inline std::string labels_csv(const gmm::NormalMixture<Points>& mixture, const Points& points,
                              const std::vector<bool>& good) {
  const auto labels = gmm::predict(mixture, points).to_vector();
  const auto probabilities = gmm::responsibilities(mixture, points).to_vector();
  const auto log_density = gmm::log_density(mixture, points).to_vector();
  const auto components = static_cast<std::size_t>(mixture.components());
  io::CsvWriter csv;
  csv.text("row").text("component").text("probability").text("log_density").end_row();
  std::size_t point = 0;
  for (std::size_t r = 0; r < good.size(); ++r) {
    csv.text(std::to_string(r + 1));
    if (good[r]) {
      const auto label = static_cast<std::size_t>(labels[point]);
      csv.text(std::to_string(label + 1)).number(probabilities[point * components + label]).number(log_density[point]);
      ++point;
    } else {
      csv.empty().empty().empty();
    }
    csv.end_row();
  }
  return csv.str();
}

inline io::Colour component_colour(std::size_t k) {
  const io::Colour colour = io::palette_colour(k);
  return k < 8 ? colour : io::mix(colour, io::Colour{0, 0, 0}, 0.35);
}

/// The points of every component with ellipses at one and two deviations in two coordinates.
inline void draw_plane(io::Panel& panel, const gmm::detail::HostMixture& mixture, const PointTable& table,
                       const std::vector<std::int32_t>& labels, std::size_t a, std::size_t b) {
  constexpr std::size_t most_points = 20000;
  const std::size_t d = table.names.size(), count = table.count();
  const std::size_t step = (count + most_points - 1) / most_points;
  const auto components = static_cast<std::size_t>(mixture.components);
  std::vector<std::vector<double>> x(components), y(components);
  for (std::size_t i = 0; i < count; i += step) {
    x[static_cast<std::size_t>(labels[i])].push_back(table.values[i * d + a]);
    y[static_cast<std::size_t>(labels[i])].push_back(table.values[i * d + b]);
  }
  const double size = count / step > 5000 ? 2.0 : count / step > 1000 ? 3.0 : 4.5;
  for (std::size_t k = 0; k < components; ++k) panel.scatter(x[k], y[k], {"", component_colour(k), size, 0.45});
  for (std::size_t k = 0; k < components; ++k) {
    if (mixture.weights[k] < 1e-6) continue;
    const auto matrix = mixture.matrix(static_cast<index_t>(k));
    const double lower[] = {
        std::sqrt(matrix[a * d + a]), matrix[a * d + b] / std::sqrt(matrix[a * d + a]),
        std::sqrt(std::max(matrix[b * d + b] - matrix[a * d + b] * matrix[a * d + b] / matrix[a * d + a], 0.0))};
    for (const double deviations : {1.0, 2.0}) {
      std::vector<double> xs, ys;
      for (int i = 0; i <= 120; ++i) {
        const double angle = 6.283185307179586 * i / 120.0;
        const double u = deviations * std::cos(angle), v = deviations * std::sin(angle);
        xs.push_back(mixture.mean(static_cast<index_t>(k), static_cast<index_t>(a)) + lower[0] * u);
        ys.push_back(mixture.mean(static_cast<index_t>(k), static_cast<index_t>(b)) + lower[1] * u + lower[2] * v);
      }
      char label[64] = "";
      if (deviations == 1.0 && components <= 10)
        std::snprintf(label, sizeof label, "%zu: %.1f %%", k + 1, 100.0 * mixture.weights[k]);
      panel.line(xs, ys,
                 {label, io::mix(component_colour(k), io::Colour{0, 0, 0}, 0.3), deviations == 1.0 ? 2.0 : 1.2});
    }
  }
  panel.x.label = table.names[a];
  panel.y.label = table.names[b];
}

/// A histogram of the points with the density and its components, in one coordinate.
inline void draw_line(io::Panel& panel, const gmm::detail::HostMixture& mixture, const PointTable& table,
                      std::size_t a) {
  const std::size_t d = table.names.size(), count = table.count();
  double low = table.values[a], high = low, total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    low = std::min(low, table.values[i * d + a]);
    high = std::max(high, table.values[i * d + a]);
    total += table.weights.empty() ? 1.0 : table.weights[i];
  }
  if (!(high > low)) high = low + 1;
  const auto bins = static_cast<std::size_t>(std::clamp(std::sqrt(static_cast<double>(count)), 10.0, 100.0));
  const double width = (high - low) / static_cast<double>(bins);
  std::vector<double> heights(bins, 0.0), x, y;
  for (std::size_t i = 0; i < count; ++i) {
    const auto bin = std::min(bins - 1, static_cast<std::size_t>((table.values[i * d + a] - low) / width));
    heights[bin] += (table.weights.empty() ? 1.0 : table.weights[i]) / (total * width);
  }
  for (std::size_t b = 0; b < bins; ++b)
    for (const double side : {0.0, 1.0}) {
      x.push_back(low + (static_cast<double>(b) + side) * width);
      y.push_back(heights[b]);
    }
  panel.area(x, y, {"points", io::Colour{150, 150, 150}, 0.35});
  std::vector<double> z, sum(401, 0.0);
  for (int i = 0; i <= 400; ++i) z.push_back(low + (high - low) * i / 400.0);
  for (index_t k = 0; k < mixture.components; ++k) {
    std::vector<double> density;
    const double deviation = std::sqrt(mixture.variance_of(k, static_cast<index_t>(a)));
    for (std::size_t i = 0; i < z.size(); ++i) {
      const double u = (z[i] - mixture.mean(k, static_cast<index_t>(a))) / deviation;
      density.push_back(mixture.weights[static_cast<std::size_t>(k)] * std::exp(-0.5 * u * u) /
                        (2.5066282746310002 * deviation));
      sum[i] += density.back();
    }
    panel.line(z, density, {"", component_colour(static_cast<std::size_t>(k)), 1.4});
  }
  panel.line(z, sum, {"mixture", io::Colour{25, 25, 25}, 2.2});
  panel.x.label = table.names[a];
  panel.y.label = "density";
}

/// The criteria over the number of components.
inline void draw_criteria(io::Panel& panel, const std::vector<gmm::SampleFit<Points>>& fits, std::size_t best,
                          const std::string& criterion) {
  std::vector<double> k, bic, aic;
  for (const auto& fit : fits) {
    k.push_back(static_cast<double>(fit.mixture.components()));
    bic.push_back(fit.score.bic());
    aic.push_back(fit.score.aic());
  }
  panel.line(k, bic, {"BIC", io::palette_colour(0)}).scatter(k, bic, {"", io::palette_colour(0)});
  panel.line(k, aic, {"AIC", io::palette_colour(1)}).scatter(k, aic, {"", io::palette_colour(1)});
  panel.vertical_line(k[best]);
  panel.x.label = "components";
  panel.y.label = "criterion";
  panel.title = "smallest " + criterion + ": " + std::to_string(fits[best].mixture.components());
}

}  // namespace sample_table
