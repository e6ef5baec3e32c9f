#pragma once
// The program of fit_mixture.cpp, and of its twin fit_mixture.cu on a GPU.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/gmm/hybrid_fit.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/mdn_fit.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>

#include "fit_mixture.hpp"
#include "program.hpp"
#include "program_device.hpp"
#include "shipped_model.hpp"

namespace fit_mixture_program {

using kolmo::ArgumentError;
using kolmo::index_t;
using kolmo::IoError;
namespace gmm = kolmo::gmm;
namespace io = kolmo::io;

inline constexpr std::size_t least_points = 8;
inline constexpr std::size_t most_table_rows = 40;
inline constexpr int bad_rows_exit = 3;

struct Arguments {
  std::string input, points, method = "lamf", model, output, picture, init;
  std::vector<double> range;
  int components = 0;  // 0: not given
  int threads = 0;     // 0: all processors
  int starts = 1;
  int polish = -1;  // -1: as the method has it
  int minimax = 0;
  std::uint64_t seed = 1;
};

using Single = kolmo::Tensor<float, Device>;
using Double = kolmo::Tensor<double, Device>;

/// Densities are fitted on [-1, 1] and brought back in double precision, so that the units of the input cost no digits.
struct Problem {
  double middle, half;
  std::vector<double> points;  // in units of the input
  std::vector<double> inner;   // the same on [-1, 1]; empty when equally spaced
  gmm::Grid grid;

  /// Calls fit(points or grid).
  template <class F>
  auto at(const F& fit) const {
    return inner.empty() ? fit(grid) : fit(std::span<const double>(inner));
  }
};

inline std::string model_path(const Arguments& arguments, const std::string& name) {
  return arguments.model.empty()
             ? shipped_model(name, "give --model FILE, train one with train_lamf or train_mdn, or use --method em")
             : arguments.model;
}

inline void check_target(const std::string& option, const std::string& path, const Arguments& arguments) {
  for (const auto& [name, other] :
       {std::pair{"input", arguments.input}, {"file of points", arguments.points}, {"model", arguments.model}})
    if (same_file(path, other)) throw ArgumentError(option + " " + path + " is the " + name + "; choose another file");
  check_writable(path);
}

/// Fits all rows without a problem, `block` at a time, by fit(densities, points). Blocks are spread over the threads
/// and timed one by one.
template <class V, class Fit>
void fit_rows(const Fit& fit, const Problem& problem, std::size_t block, std::vector<FittedRow>& rows,
              bool lean = false) {
  using T = typename V::Scalar;
  std::vector<FittedRow*> pending;
  for (FittedRow& row : rows)
    if (row.fitted()) pending.push_back(&row);
  const std::size_t n = problem.points.size();

  const auto fit_block = [&](std::size_t begin, bool warm_up) {
    const std::size_t count = std::min(block, pending.size() - begin);
    std::vector<T> values;
    values.reserve(count * n);
    for (std::size_t i = begin; i < begin + count; ++i) {
      // Only the shape counts; any unit fits into a float this way.
      double largest = 0;
      for (const double f : pending[i]->density) largest = std::max(largest, std::abs(f));
      for (const double f : pending[i]->density) values.push_back(static_cast<T>(largest > 0 ? f / largest : 0.0));
    }
    const V densities = V::from(values, kolmo::Shape{static_cast<index_t>(count), static_cast<index_t>(n)});
    const auto start = std::chrono::steady_clock::now();
    auto report = problem.at([&](const auto& points) { return gmm::FitReport<V>(fit(densities, points)); });
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
    if (warm_up) return;

    problem.at([&](const auto& points) { gmm::add_measures(report, densities, points); });
    const auto statuses = report.statuses();
    const auto warnings = report.warnings.to_vector();
    const auto weights = report.mixture.weights.to_vector(), means = report.mixture.means.to_vector(),
               deviations = report.mixture.deviations.to_vector();
    const auto density_error = report.measures->density_error.to_vector(),
               distribution_error = report.measures->trapezoid_error.to_vector();
    const std::size_t components = weights.size() / count;
    for (std::size_t i = 0; i < count; ++i) {
      FittedRow& row = *pending[begin + i];
      row.microseconds = time.count() / static_cast<double>(count);
      if (!gmm::is_valid(statuses[i])) {
        row.problem = "line " + std::to_string(row.line) + ": " + gmm::describe(statuses[i]);
        continue;
      }
      for (std::size_t k = i * components; k < (i + 1) * components; ++k) {
        // A linear programme fills the rows of its report with components of weight zero.
        if (lean && !(weights[k] > 0)) continue;
        row.weights.push_back(static_cast<double>(weights[k]));
        row.means.push_back(problem.middle + problem.half * static_cast<double>(means[k]));
        row.deviations.push_back(problem.half * static_cast<double>(deviations[k]));
      }
      row.density_error = static_cast<double>(density_error[i]) / problem.half;
      row.distribution_error = static_cast<double>(distribution_error[i]);
      row.doubts = gmm::describe_warnings(warnings[i]);
      if (statuses[i] == gmm::Status::iteration_limit)
        row.doubts += std::string(row.doubts.empty() ? "" : ", ") + gmm::describe(statuses[i]);
      double area = 0;
      for (std::size_t j = 0; j < n; ++j) {
        row.density[j] = std::max(row.density[j], 0.0);
        area += row.density[j] *
                gmm::trapezoid_weight(problem.points.data(), static_cast<index_t>(n), static_cast<index_t>(j));
      }
      for (double& f : row.density) f /= area;
    }
  };

  if (pending.empty()) return;
  // Densities alone would share nothing but the time of a launch.
  if (takes_batches<Device>) block = std::max<std::size_t>(block, 4096);
  fit_block(0, true);
  const std::size_t blocks = (pending.size() + block - 1) / block;
  const std::size_t group = 16 * static_cast<std::size_t>(kolmo::threads::count());
  std::optional<io::Progress> progress;
  if (::isatty(STDERR_FILENO) == 1 && blocks > group)
    progress.emplace(stderr, static_cast<std::int64_t>(pending.size()),
                     io::ProgressOptions{.label = "fitting", .unit = "densities"});
  for (std::size_t first = 0; first < blocks; first += group) {
    const std::size_t count = std::min(group, blocks - first);
    kolmo::threads::parallel_for_backend<Device>(static_cast<index_t>(count), [&](index_t b) {
      fit_block((first + static_cast<std::size_t>(b)) * block, false);
    });
    if (progress) progress->update(static_cast<std::int64_t>(std::min(pending.size(), (first + count) * block)));
  }
  if (progress) progress->finish(static_cast<std::int64_t>(pending.size()));
}

inline std::vector<FittedRow> read_rows(const Arguments& arguments, std::size_t& points) {
  io::LabelledTable table = io::load_labelled_csv(arguments.input);
  points = table.value_names.size();
  if (points < least_points)
    throw IoError(arguments.input + ": the densities have " + std::to_string(points) + " points, at least " +
                  std::to_string(least_points) + " are needed");
  if (table.rows.empty()) throw IoError(arguments.input + ": a header, but no densities");
  std::vector<FittedRow> rows;
  for (io::LabelledRow& source : table.rows) {
    FittedRow row;
    row.id = source.id();
    for (std::size_t i = 1; i < source.texts.size(); ++i)
      if (!source.texts[i].empty()) row.text += (row.text.empty() ? "" : ", ") + source.texts[i];
    row.line = source.line;
    row.problem = source.problem;
    row.density = std::move(source.values);
    rows.push_back(std::move(row));
  }
  return rows;
}

inline std::string fits_csv(const std::vector<FittedRow>& rows, std::size_t components) {
  io::CsvWriter csv;
  csv.text("id");
  for (const char* name : {"pi", "mu", "sigma"})
    for (std::size_t k = 1; k <= components; ++k) csv.text(name + std::to_string(k));
  csv.text("time_us").end_row();
  for (const FittedRow& row : rows) {
    csv.text(row.id);
    for (const auto* values : {&row.weights, &row.means, &row.deviations})
      for (std::size_t k = 0; k < components; ++k) k < values->size() ? csv.number((*values)[k]) : csv.empty();
    row.fitted() ? csv.number(std::round(row.microseconds * 1000) / 1000) : csv.empty();
    csv.end_row();
  }
  return csv.str();
}

inline void print_summary(const Arguments& arguments, const std::vector<FittedRow>& rows, std::size_t components) {
  std::size_t fits = 0;
  double error = 0, distribution = 0, time = 0;
  const FittedRow* worst = nullptr;
  for (const FittedRow& row : rows) {
    if (!row.fitted()) continue;
    ++fits;
    error += row.density_error;
    distribution += row.distribution_error;
    time += row.microseconds;
    if (worst == nullptr || row.density_error > worst->density_error) worst = &row;
  }
  if (fits > most_table_rows)
    std::printf(
        "... and %zu more%s\n", fits - most_table_rows,
        arguments.output.empty() ? "; --output FITS.csv writes all" : (", all of them in " + arguments.output).c_str());
  const double n = static_cast<double>(fits);
  if (fits > 0)
    std::printf(
        "\n%zu %s, %s%zu components, %s: mean L-inf error %s (largest %s, %s), mean CDF error %s, %s us a fit\n", fits,
        fits == 1 ? "density" : "densities", arguments.method == "lp" ? "at most " : "", components,
        arguments.method.c_str(), io::to_text(error / n, 3).c_str(), io::to_text(worst->density_error, 3).c_str(),
        worst->id.c_str(), io::to_text(distribution / n, 3).c_str(), io::to_text(time / n, 3).c_str());
  if (!arguments.output.empty()) std::printf("Fits: %s\n", arguments.output.c_str());
}

/// Positions of the points: equally spaced over --range, or read from --points.
inline Problem read_problem(const Arguments& arguments, std::size_t points) {
  Problem problem;
  double low, high;
  if (arguments.points.empty()) {
    low = arguments.range[0];
    high = arguments.range[1];
    if (!(high - low > 0.0) || !(high - low < 1e300))
      throw ArgumentError("--range: expected finite MIN < MAX, given " + io::to_text(low) + " and " +
                          io::to_text(high));
    for (std::size_t i = 0; i < points; ++i)
      problem.points.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(points - 1));
  } else {
    const io::NumericTable table = io::load_numeric_csv(arguments.points);
    if (table.columns != 1)
      throw IoError(arguments.points + ": expected one column of positions, found " + std::to_string(table.columns));
    problem.points = table.values;
    if (problem.points.size() != points)
      throw IoError(arguments.points + ": " + std::to_string(problem.points.size()) + " positions for densities of " +
                    std::to_string(points) + " values");
    gmm::check_points(problem.points, "--points");
    low = problem.points.front();
    high = problem.points.back();
  }
  problem.middle = 0.5 * low + 0.5 * high;
  problem.half = 0.5 * (high - low);
  problem.grid = gmm::Grid{-1.0, 1.0, static_cast<index_t>(points)};
  // Neighbouring points must be different numbers, or the fits would be empty of meaning.
  double spacing = high - low;
  for (std::size_t i = 1; i < points; ++i) spacing = std::min(spacing, problem.points[i] - problem.points[i - 1]);
  if (!(spacing > 16 * std::numeric_limits<double>::epsilon() * std::max(std::abs(low), std::abs(high))) ||
      !(spacing >= 1e-300))
    throw ArgumentError("the points from " + io::to_text(low) + " to " + io::to_text(high) +
                        " are too close together for " + std::to_string(points) +
                        " different points; shift or scale the coordinates");
  if (!arguments.points.empty())
    for (const double z : problem.points) problem.inner.push_back((z - problem.middle) / problem.half);
  return problem;
}

inline gmm::FitOptions fit_options(const Arguments& arguments) {
  gmm::FitOptions options;
  if (arguments.polish >= 0 || arguments.minimax > 0) {
    options.polish = gmm::PolishOptions{};
    if (arguments.polish >= 0) options.polish->evaluations = arguments.polish;
    options.polish->minimax = arguments.minimax;
  }
  return options;
}

template <class Model>
void check_components(const Arguments& arguments, const Model& model) {
  const index_t known = model.options.components;
  if (arguments.components > 0 && arguments.components != known)
    throw ArgumentError("--components " + std::to_string(arguments.components) + ", but the model " +
                        (arguments.model.empty() ? "" : arguments.model + " ") + "fits " + std::to_string(known) +
                        "; leave --components out, give another --model, or use --method em");
}

/// Fits by a network in float, 256 at a time; returns the number of components, as do the functions below.
template <class Model>
std::size_t fit_learned(const Model& model, const Arguments& arguments, const Problem& problem,
                        std::vector<FittedRow>& rows) {
  check_components(arguments, model);
  const gmm::FitOptions options = fit_options(arguments);
  fit_rows<Single>([&](const Single& f, const auto& points) { return gmm::fit(model, f, points, options); }, problem,
                   256, rows);
  return static_cast<std::size_t>(model.options.components);
}

/// EM from the mixtures of a network.
template <class Model>
std::size_t fit_em_from(const Model& model, gmm::EmOptions em, const Arguments& arguments, const Problem& problem,
                        std::vector<FittedRow>& rows) {
  check_components(arguments, model);
  em.components = static_cast<int>(model.options.components);
  gmm::FitOptions plain;
  plain.polish = gmm::PolishOptions{.evaluations = 0};
  const gmm::FitOptions options = fit_options(arguments);
  fit_rows<Double>(
      [&](const Double& f, const auto& points) {
        const auto start = gmm::fit(model, gmm::detail::ConvertScalar::tensor<Single>(f), points, plain);
        const auto twice = [](const Single& x) { return gmm::detail::ConvertScalar::tensor<Double>(x); };
        gmm::EmGiven<Double> given;
        given.mixture = gmm::Mixture<Double>{twice(start.mixture.weights), twice(start.mixture.means),
                                             twice(start.mixture.deviations)};
        return gmm::fit(em, f, points, given, options);
      },
      problem, 1, rows);
  return static_cast<std::size_t>(em.components);
}

inline std::size_t fit_all(const Arguments& arguments, const Problem& problem, std::vector<FittedRow>& rows) {
  const int components = arguments.components > 0 ? arguments.components : 5;
  const gmm::FitOptions options = fit_options(arguments);
  if (arguments.method == "lamf")
    return fit_learned(gmm::load_lamf<Single>(model_path(arguments, "lamf_v5.safetensors")), arguments, problem, rows);
  if (arguments.method == "mdn")
    return fit_learned(gmm::load_mdn<Single>(model_path(arguments, "mdn_v5.safetensors")), arguments, problem, rows);
  if (arguments.method == "lp") {
    gmm::LpOptions lp;
    lp.objective = gmm::LpObjective::density_and_moments;
    lp.dictionary = {.placement = gmm::MeanPlacement::quantiles, .means = 20, .deviations = 10};
    fit_rows<Double>([&](const Double& f, const auto& points) { return gmm::fit(lp, f, points, options); }, problem, 1,
                     rows, true);
    std::size_t most = 1;
    for (const FittedRow& row : rows) most = std::max(most, row.weights.size());
    return most;
  }
  gmm::EmOptions em{.components = components};
  em.starts = arguments.starts;
  em.key = kolmo::Key{arguments.seed};
  if (!arguments.init.empty()) em.start = gmm::em_start_of_name(arguments.init);
  if (arguments.method == "hybrid") {
    gmm::HybridOptions hybrid;
    hybrid.em = em;
    fit_rows<Double>([&](const Double& f, const auto& points) { return gmm::fit(hybrid, f, points, options); }, problem,
                     1, rows);
    return static_cast<std::size_t>(components);
  }
  if (em.start == gmm::EmStartKind::lamf)
    return fit_em_from(gmm::load_lamf<Single>(model_path(arguments, "lamf_v5.safetensors")), em, arguments, problem,
                       rows);
  if (em.start == gmm::EmStartKind::mdn)
    return fit_em_from(gmm::load_mdn<Single>(model_path(arguments, "mdn_v5.safetensors")), em, arguments, problem,
                       rows);
  fit_rows<Double>([&](const Double& f, const auto& points) { return gmm::fit(em, f, points, options); }, problem, 1,
                   rows);
  return static_cast<std::size_t>(components);
}

/// Throws ArgumentError for options that do not go together.
inline void check_options(const Arguments& a) {
  if (a.range.empty() == a.points.empty())
    throw ArgumentError("give the positions of the points, by either --range MIN MAX or --points FILE");
  const bool network_start = a.method == "em" && (a.init == "lamf" || a.init == "mdn");
  if (!a.model.empty() && a.method != "lamf" && a.method != "mdn" && !network_start)
    throw ArgumentError("--model belongs to the methods lamf and mdn, and to the starts of em of these names");
  if ((!a.init.empty() || a.starts > 1) && a.method != "em")
    throw ArgumentError("--init and --starts belong to --method em");
  if (a.init == "wqmi" || a.init == "custom")
    throw ArgumentError("--init " + a.init + " needs more than a density (" +
                        (a.init == "wqmi" ? "the two parts of a maximum" : "a mixture for every density") +
                        "); it is there from C++, see EmGiven");
  if (a.method == "lp" && (a.polish > 0 || a.minimax > 0))
    throw ArgumentError(
        "--polish and --minimax do not belong to --method lp; --method hybrid goes on with EM and a polish");
  if (a.method == "lp" && a.components > 0)
    throw ArgumentError("--components does not belong to --method lp, which chooses their number; see --method hybrid");
  if (a.minimax > 0 && a.polish == 0) throw ArgumentError("--minimax follows a polish; leave --polish 0 out");
}

inline int run(Arguments arguments) {
  require_device();
  check_options(arguments);
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  check_target("--output", arguments.output, arguments);
  check_target("--picture", arguments.picture, arguments);
  if (same_file(arguments.output, arguments.picture))
    throw ArgumentError("--output and --picture are the same file, " + arguments.output + "; choose two");
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);

  std::size_t points = 0;
  std::vector<FittedRow> rows = read_rows(arguments, points);
  const Problem problem = read_problem(arguments, points);
  const std::size_t components = fit_all(arguments, problem, rows);

  std::size_t bad = 0;
  for (const FittedRow& row : rows) {
    if (row.fitted()) continue;
    ++bad;
    std::fprintf(stderr, "%s: id '%s', %s\n", arguments.input.c_str(), row.id.c_str(), row.problem.c_str());
  }
  if (bad < rows.size()) print_table(rows, most_table_rows);
  if (!arguments.output.empty()) io::write_atomically(arguments.output, fits_csv(rows, components));
  print_summary(arguments, rows, components);
  if (!arguments.picture.empty()) {
    const auto figure = fit_figure(rows, problem.points);
    if (figure.empty()) {
      std::fprintf(stderr, "%s is not written: there is no fit to draw\n", arguments.picture.c_str());
    } else {
      io::save_picture(arguments.picture, figure.front());
      std::printf("Picture: %s%s%s\n", arguments.picture.c_str(), figure.front().title.empty() ? "" : " - ",
                  figure.front().title.c_str());
    }
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw IoError("cannot write the table to the standard output");
  if (bad == 0) return 0;
  std::fprintf(stderr, "%zu of %zu rows could not be fitted and are empty in the output\n", bad, rows.size());
  return bad_rows_exit;
}

inline int main_program(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Fits a Gaussian mixture to every density of a CSV file, prints a table and, on request, writes the fits "
      "and a picture.");
  app.get_formatter()->column_width(26);
  app.add_option("--input", arguments.input,
                 "densities: a header id,<any text columns>,f0..fN-1, then a density a row on N >= 8 equally spaced "
                 "points; the values need not be normalised")
      ->required()
      ->option_text("FILE.csv (required)");
  app.add_option("--range", arguments.range, "position of the first and of the last point, equally spaced")
      ->expected(2)
      ->option_text("MIN MAX");
  app.add_option("--points", arguments.points,
                 "positions of points of any spacing instead: a CSV file of one column with a header, increasing")
      ->option_text("FILE.csv");
  app.add_option("--method", arguments.method,
                 "lamf, a trained network and a polish (the default); mdn, a smaller network and a polish; em, "
                 "expectation-maximisation; lp, a linear programme that chooses many components; hybrid, this and em")
      ->check(CLI::IsMember({"lamf", "mdn", "em", "lp", "hybrid"}))
      ->option_text("lamf|mdn|em|lp|hybrid");
  app.add_option("--init", arguments.init,
                 "what em begins with: quantile (the default), random, qmi, kmeans, or the network mdn or lamf")
      ->check(CLI::IsMember({"quantile", "random", "qmi", "wqmi", "kmeans", "custom", "mdn", "lamf"}))
      ->option_text("NAME");
  app.add_option("--starts", arguments.starts, "runs of em from different starts; the likeliest fit is taken")
      ->check(CLI::Range(1, 10000))
      ->option_text("N");
  app.add_option("--seed", arguments.seed, "of random starts; 1 by default")->option_text("N");
  app.add_option("--polish", arguments.polish,
                 "evaluations of the least-squares polish; 8 by default with lamf and mdn, else 0. 0: none")
      ->check(CLI::Range(0, 100000))
      ->option_text("N");
  app.add_option("--minimax", arguments.minimax, "further evaluations, three times, toward the smallest largest error")
      ->check(CLI::Range(0, 100000))
      ->option_text("N");
  app.add_option("--components", arguments.components,
                 "components of a mixture, at most 32; 5 with em and hybrid, those of the model with lamf and mdn")
      ->check(CLI::Range(1, gmm::max_components))
      ->option_text("K");
  app.add_option("--model", arguments.model, "trained network; the one that ships with kolmo by default")
      ->option_text("FILE");
  app.add_option(
         "--output", arguments.output,
         "writes id,pi1..piK,mu1..muK,sigma1..sigmaK,time_us: weights, means and standard deviations in the units "
         "of the points, and the microseconds that a fit took")
      ->option_text("FITS.csv");
  app.add_option("--picture", arguments.picture, "draws the first 16 densities with their fits")
      ->option_text("FILE.svg|png");
  app.add_option("--threads", arguments.threads, "all processors by default; the fits do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.footer(
      "A row that is no density (negative mass, not a number, too short) is reported on the error output by line and "
      "id,\n"
      "and its row in the output is empty but for the id.\n\n"
      "Exit code: 0 all rows fitted, 3 some rows could not be, 1 a file could not be read or written, 2 wrong "
      "arguments.\n\n"
      "Example: fit_mixture --input densities.csv --range -15 15 --output fits.csv --picture fits.svg");
  return run_program(app, "fit_mixture", argc, argv, [&] { return run(arguments); });
}

}  // namespace fit_mixture_program
