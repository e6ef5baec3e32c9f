// Fits Gaussian mixtures to densities in a CSV file, by the learned fitter (LAMF) or by expectation-maximisation.
//
// test: --input @examples@/data/densities.csv --range -15 15 --output fits.csv --picture fits.svg
// test: --input @examples@/data/densities.csv --range -15 15 --method em --components 3 --picture fits.png --threads 2

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>

#include "fit_mixture.hpp"

namespace {

using kolmo::ArgumentError;
using kolmo::index_t;
using kolmo::IoError;
namespace gmm = kolmo::gmm;
namespace io = kolmo::io;
namespace fs = std::filesystem;

constexpr std::size_t least_points = 8;
constexpr std::size_t most_table_rows = 40;
constexpr int bad_rows_exit = 3;

struct Arguments {
  std::string input, method = "lamf", model, output, picture;
  std::vector<double> range;
  int components = 0;  // 0: not given
  int threads = 0;     // 0: all processors
};

/// Densities are fitted on [-1, 1] and brought back in double precision, so that the units of the input cost no digits.
struct Problem {
  double middle, half;
  gmm::Grid grid;
};

/// The shipped model: beside the program, above its build folder, or beside this source file.
std::string default_model() {
  std::error_code ignored;
  std::vector<fs::path> places;
  fs::path folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (int up = 0; up < 4 && !folder.empty(); ++up, folder = folder.parent_path()) {
    places.push_back(folder / "models");
    places.push_back(folder / "examples" / "models");
  }
  places.push_back(fs::path(__FILE__).parent_path() / "models");
  for (const fs::path& place : places)
    if (fs::is_regular_file(place / "lamf_v5.safetensors", ignored)) return (place / "lamf_v5.safetensors").string();
  throw IoError("the shipped model lamf_v5.safetensors was not found in " + (places.front()).string() + ", " +
                places.back().string() +
                " or the folders between; give --model FILE, train one with train_lamf, or use --method em");
}

void check_target(const std::string& option, const std::string& path, const Arguments& arguments) {
  if (path.empty()) return;
  std::error_code ignored;
  if (fs::equivalent(path, arguments.input, ignored))
    throw ArgumentError(option + " " + path + " is the input; choose another file");
  if (!arguments.model.empty() && fs::equivalent(path, arguments.model, ignored))
    throw ArgumentError(option + " " + path + " is the model; choose another file");
  // Found out before the fits, not after.
  const fs::path folder = fs::path(path).parent_path();
  if (!folder.empty() && !fs::is_directory(folder, ignored))
    throw IoError("cannot write " + path + ": the folder " + folder.string() + " does not exist");
  if (fs::is_directory(path, ignored)) throw IoError("cannot write " + path + ": it is a folder");
}

/// Fits all rows without a problem, `block` at a time. Blocks are spread over the threads and timed one by one.
template <class V, class Fitter>
void fit_rows(const Fitter& fitter, const Problem& problem, std::size_t block, std::vector<FittedRow>& rows) {
  using T = typename V::Scalar;
  std::vector<FittedRow*> pending;
  for (FittedRow& row : rows)
    if (row.fitted()) pending.push_back(&row);
  const std::size_t n = static_cast<std::size_t>(problem.grid.points);

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
    const V densities = V::from(values, kolmo::Shape{static_cast<index_t>(count), problem.grid.points});
    const auto start = std::chrono::steady_clock::now();
    auto report = gmm::fit(fitter, densities, problem.grid);
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
    if (warm_up) return;

    gmm::add_measures(report, densities, problem.grid);
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
        area += row.density[j] * (j == 0 || j == n - 1 ? 0.5 : 1.0);
      }
      const double scale = (area * 2.0 * problem.half) / static_cast<double>(n - 1);
      for (double& f : row.density) f /= scale;
    }
  };

  if (pending.empty()) return;
  fit_block(0, true);
  const std::size_t blocks = (pending.size() + block - 1) / block;
  const std::size_t group = 16 * static_cast<std::size_t>(kolmo::threads::count());
  std::optional<io::Progress> progress;
  if (::isatty(STDERR_FILENO) == 1 && blocks > group)
    progress.emplace(stderr, static_cast<std::int64_t>(pending.size()),
                     io::ProgressOptions{.label = "fitting", .unit = "densities"});
  for (std::size_t first = 0; first < blocks; first += group) {
    const std::size_t count = std::min(group, blocks - first);
    kolmo::threads::parallel_for(static_cast<index_t>(count),
                                 [&](index_t b) { fit_block((first + static_cast<std::size_t>(b)) * block, false); });
    if (progress) progress->update(static_cast<std::int64_t>(std::min(pending.size(), (first + count) * block)));
  }
  if (progress) progress->finish(static_cast<std::int64_t>(pending.size()));
}

std::vector<FittedRow> read_rows(const Arguments& arguments, std::size_t& points) {
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

std::string fits_csv(const std::vector<FittedRow>& rows, std::size_t components) {
  io::CsvWriter csv;
  csv.text("id");
  for (const char* name : {"pi", "mu", "sigma"})
    for (std::size_t k = 1; k <= components; ++k) csv.text(name + std::to_string(k));
  csv.text("time_us").end_row();
  for (const FittedRow& row : rows) {
    csv.text(row.id);
    for (const auto* values : {&row.weights, &row.means, &row.deviations})
      for (std::size_t k = 0; k < components; ++k) row.fitted() ? csv.number((*values)[k]) : csv.empty();
    row.fitted() ? csv.number(std::round(row.microseconds * 1000) / 1000) : csv.empty();
    csv.end_row();
  }
  return csv.str();
}

void print_summary(const Arguments& arguments, const std::vector<FittedRow>& rows, std::size_t components) {
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
    std::printf("\n%zu %s, %zu components, %s: mean L-inf error %s (largest %s, %s), mean CDF error %s, %s us a fit\n",
                fits, fits == 1 ? "density" : "densities", components, arguments.method.c_str(),
                io::to_text(error / n, 3).c_str(), io::to_text(worst->density_error, 3).c_str(), worst->id.c_str(),
                io::to_text(distribution / n, 3).c_str(), io::to_text(time / n, 3).c_str());
  if (!arguments.output.empty()) std::printf("Fits: %s\n", arguments.output.c_str());
}

int run(Arguments arguments) {
  const double low = arguments.range[0], high = arguments.range[1];
  if (!(high - low > 0.0) || !(high - low < 1e300))
    throw ArgumentError("--range: expected finite MIN < MAX, given " + io::to_text(low) + " and " + io::to_text(high));
  if (arguments.method == "em" && !arguments.model.empty()) throw ArgumentError("--model belongs to --method lamf");
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  check_target("--output", arguments.output, arguments);
  check_target("--picture", arguments.picture, arguments);
  if (!arguments.output.empty() && fs::weakly_canonical(arguments.output) == fs::weakly_canonical(arguments.picture))
    throw ArgumentError("--output and --picture are the same file, " + arguments.output + "; choose two");
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);

  std::optional<gmm::Lamf<kolmo::Tensor<float, kolmo::Cpu>>> model;
  std::size_t components = arguments.components > 0 ? static_cast<std::size_t>(arguments.components) : 5;
  if (arguments.method == "lamf") {
    const std::string path = arguments.model.empty() ? default_model() : arguments.model;
    model = gmm::load_lamf<kolmo::Tensor<float, kolmo::Cpu>>(path);
    const auto known = static_cast<std::size_t>(model->options.components);
    if (arguments.components > 0 && components != known)
      throw ArgumentError("--components " + std::to_string(components) + ", but the model " + path + " fits " +
                          std::to_string(known) + "; leave --components out, give another --model, or use --method em");
    components = known;
  }

  std::size_t points = 0;
  std::vector<FittedRow> rows = read_rows(arguments, points);
  // Neighbouring points must be different numbers, or the fits would be empty of meaning.
  const double spacing = (high - low) / static_cast<double>(points - 1);
  if (!(spacing > 16 * std::numeric_limits<double>::epsilon() * std::max(std::abs(low), std::abs(high))) ||
      !(spacing >= 1e-300))
    throw ArgumentError("--range " + io::to_text(low) + " " + io::to_text(high) + " is too narrow for " +
                        std::to_string(points) + " different points; shift or scale the coordinates");
  const Problem problem{0.5 * low + 0.5 * high, 0.5 * (high - low), gmm::Grid{-1.0, 1.0, static_cast<index_t>(points)}};
  if (model) {
    fit_rows<kolmo::Tensor<float, kolmo::Cpu>>(*model, problem, 256, rows);
  } else {
    gmm::EmOptions em;
    em.components = static_cast<int>(components);
    fit_rows<kolmo::Tensor<double, kolmo::Cpu>>(em, problem, 1, rows);
  }

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
    const auto figure = fit_figure(rows, low, high);
    if (figure.empty()) {
      std::fprintf(stderr, "%s is not written: there is no fit to draw\n", arguments.picture.c_str());
    } else {
      io::save_picture(arguments.picture, figure.front());
      std::printf("Picture: %s%s%s\n", arguments.picture.c_str(), figure.front().title.empty() ? "" : " - ",
                  figure.front().title.c_str());
    }
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw IoError("cannot write the table to the standard output");
  if (bad == 0) return 0;
  std::fprintf(stderr, "%zu of %zu rows could not be fitted and are empty in the output\n", bad, rows.size());
  return bad_rows_exit;
}

}  // namespace

int main(int argc, char** argv) {
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
  app.add_option("--range", arguments.range, "position of the first and of the last point")
      ->required()
      ->expected(2)
      ->option_text("MIN MAX (required)");
  app.add_option("--method", arguments.method, "lamf, a trained network (the default), or em, expectation-maximisation")
      ->check(CLI::IsMember({"em", "lamf"}))
      ->option_text("em|lamf");
  app.add_option("--components", arguments.components,
                 "components of a mixture, at most 32; 5 with em, those of the model with lamf")
      ->check(CLI::Range(1, gmm::max_components))
      ->option_text("K");
  app.add_option("--model", arguments.model, "trained network; the one that ships with kolmo by default")
      ->option_text("FILE");
  app.add_option(
         "--output", arguments.output,
         "writes id,pi1..piK,mu1..muK,sigma1..sigmaK,time_us: weights, means and standard deviations in the units "
         "of --range, and the microseconds that a fit took")
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return run(arguments);
  } catch (const ArgumentError& error) {
    std::fprintf(stderr, "fit_mixture: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fit_mixture: %s\n", error.what());
    return 1;
  }
}
