// Fits a mixture of normals to points in a CSV or NPY file, by expectation-maximisation.
//
// test: --input @examples@/data/points.csv --components 1..7 --output fit.csv --labels labels.csv --picture p.svg
// test: --input @examples@/data/points.csv --columns y --components 3 --covariance spherical --starts 2 --picture p.png

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>

#include "fit_samples.hpp"
#include "program.hpp"

namespace {

using kolmo::ArgumentError;
using namespace sample_table;
namespace fs = std::filesystem;

constexpr int bad_rows_exit = 3;
constexpr std::size_t most_reports = 20;

struct Arguments {
  std::string input, weights_column, components, select = "bic", covariance = "full", output, labels, picture;
  std::vector<std::string> columns, axes;
  int starts = 3, threads = 0, iterations = 500;
  double tolerance = 1e-6, floor = 1e-6;
  std::uint64_t seed = 0;
};

gmm::Covariance covariance_of(const std::string& name) {
  if (name == "diagonal") return gmm::Covariance::diagonal;
  if (name == "tied") return gmm::Covariance::tied;
  if (name == "spherical") return gmm::Covariance::spherical;
  return gmm::Covariance::full;
}

/// "3", or "1..10".
std::pair<index_t, index_t> range_of(const std::string& text) {
  const auto dots = text.find("..");
  const std::string first = text.substr(0, dots), last = dots == std::string::npos ? first : text.substr(dots + 2);
  const auto number = [&](const std::string& part) {
    index_t value = 0;
    if (part.empty() || part.size() > 5 || part.find_first_not_of("0123456789") != std::string::npos)
      throw ArgumentError("--components: expected a number or a range such as 1..10, given '" + text + "'");
    for (const char c : part) value = 10 * value + (c - '0');
    return value;
  };
  const std::pair<index_t, index_t> range{number(first), number(last)};
  if (range.first < 1 || range.second < range.first || range.second > 65535)
    throw ArgumentError("--components: expected 1 to 65535, the smaller number first, given '" + text + "'");
  return range;
}

void check_target(const std::string& option, const std::string& path, const Arguments& arguments) {
  if (same_file(path, arguments.input))
    throw ArgumentError(option + " " + path + " is the input; choose another file");
  check_writable(path);
}

/// A line on the terminal once a fit takes longer than a second.
class FitProgress {
 public:
  void operator()(const gmm::SampleFitProgress& at) {
    ++passes_;
    if (!line_) {
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin_;
      if (time.count() < 1.0) return;
      line_.emplace(stderr, 0, io::ProgressOptions{.label = "fitting", .unit = "iterations", .already_done = passes_});
    }
    line_->update(passes_, {{"start", static_cast<double>(at.start + 1)}, {"log density", at.mean_log_density}});
  }
  void finish() {
    if (line_) line_->finish(passes_);
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::int64_t passes_ = 0;
  std::optional<io::Progress> line_;
};

void print_mixture(const gmm::detail::HostMixture& mixture, const std::vector<std::string>& names) {
  std::printf("\ncomponent  weight  mean (deviation)\n");
  constexpr index_t most_components = 40;
  for (index_t k = 0; k < std::min(mixture.components, most_components); ++k) {
    std::printf("%9lld  %6.4f", static_cast<long long>(k + 1), mixture.weights[static_cast<std::size_t>(k)]);
    for (index_t j = 0; j < std::min<index_t>(mixture.dimensions, 8); ++j)
      std::printf("  %s %s (%s)", names[static_cast<std::size_t>(j)].c_str(),
                  io::to_text(mixture.mean(k, j), 4).c_str(),
                  io::to_text(std::sqrt(mixture.variance_of(k, j)), 3).c_str());
    std::printf(mixture.dimensions > 8 ? "  ...\n" : "\n");
  }
  if (mixture.components > most_components)
    std::printf("... and %lld more; --output FILE.csv writes all\n",
                static_cast<long long>(mixture.components - most_components));
}

int run(const Arguments& arguments) {
  const auto [least, most] = range_of(arguments.components);
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  const std::pair<std::string, std::string> targets[] = {
      {"--output", arguments.output}, {"--labels", arguments.labels}, {"--picture", arguments.picture}};
  for (std::size_t i = 0; i < 3; ++i) {
    check_target(targets[i].first, targets[i].second, arguments);
    for (std::size_t j = 0; j < i; ++j)
      if (same_file(targets[i].second, targets[j].second))
        throw ArgumentError(targets[j].first + " and " + targets[i].first + " are the same file, " + targets[i].second +
                            "; choose two");
  }
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);

  const std::string ending = fs::path(arguments.input).extension().string();
  if (ending != ".csv" && ending != ".npy")
    throw ArgumentError("--input " + arguments.input + " must end in .csv or .npy");
  const PointTable table = ending == ".npy" ? read_npy(arguments.input, arguments.columns, arguments.weights_column)
                                            : read_csv(arguments.input, arguments.columns, arguments.weights_column);
  std::vector<std::size_t> axes{0, std::min<std::size_t>(1, table.names.size() - 1)};
  for (std::size_t i = 0; i < arguments.axes.size(); ++i) {
    const auto at = std::find(table.names.begin(), table.names.end(), arguments.axes[i]);
    if (at == table.names.end())
      throw ArgumentError("--axes: there is no coordinate '" + arguments.axes[i] + "'; there are " +
                          listed(table.names));
    axes[i] = static_cast<std::size_t>(at - table.names.begin());
  }
  for (std::size_t i = 0; i < std::min(table.problems.size(), most_reports); ++i)
    std::fprintf(stderr, "%s: %s\n", arguments.input.c_str(), table.problems[i].c_str());
  if (table.problems.size() > most_reports)
    std::fprintf(stderr, "... and %zu more\n", table.problems.size() - most_reports);
  if (table.count() == 0)
    throw kolmo::IoError(arguments.input +
                         ": there is no row that is a point; --columns NAME,... chooses the coordinates");

  const auto count = static_cast<index_t>(table.count()), dimensions = static_cast<index_t>(table.names.size());
  const Points points = Points::from(std::span<const double>(table.values), kolmo::Shape{count, dimensions});
  std::optional<Points> weights;
  if (!table.weights.empty()) weights = Points::from(table.weights);
  FitProgress progress;
  gmm::SampleFitOptions options;
  options.covariance = covariance_of(arguments.covariance);
  options.max_iterations = arguments.iterations;
  options.tolerance = arguments.tolerance;
  options.covariance_floor = arguments.floor;
  options.starts = arguments.starts;
  options.key = kolmo::Key{arguments.seed};
  if (::isatty(STDERR_FILENO) == 1) options.on_iteration = [&](const auto& at) { progress(at); };
  const auto criterion = arguments.select == "aic" ? gmm::Criterion::aic : gmm::Criterion::bic;
  const auto selection = gmm::select_components(points, least, most, criterion, options, weights);
  progress.finish();
  const auto& fit = selection.best_fit();
  const auto mixture = gmm::detail::on_host(fit.mixture, "fit_samples");

  std::printf(
      "%lld points of %lld coordinates (%s), %s covariance\n\ncomponents  parameters  log density           BIC"
      "           AIC  iterations\n",
      static_cast<long long>(count), static_cast<long long>(dimensions), listed(table.names).c_str(),
      arguments.covariance.c_str());
  for (std::size_t i = 0; i < selection.fits.size(); ++i) {
    const auto& f = selection.fits[i];
    std::string remark = i == selection.best && selection.fits.size() > 1 ? "  smallest " + arguments.select : "";
    if (f.status == gmm::Status::iteration_limit) remark += "  not converged";
    if (f.floored > 0) remark += "  " + std::to_string(f.floored) + " at the covariance floor";
    std::printf("%10lld  %10lld  %11.6g  %12.8g  %12.8g  %10d%s\n", static_cast<long long>(f.mixture.components()),
                static_cast<long long>(f.score.parameters), f.score.mean_log_density, f.score.bic(), f.score.aic(),
                f.iterations, remark.c_str());
  }
  print_mixture(mixture, table.names);
  if (!arguments.output.empty()) {
    io::write_atomically(arguments.output, mixture_csv(mixture, table.names));
    std::printf("Mixture: %s\n", arguments.output.c_str());
  }
  if (!arguments.labels.empty()) {
    io::write_atomically(arguments.labels, labels_csv(fit.mixture, points, table.good));
    std::printf("Labels: %s\n", arguments.labels.c_str());
  }
  if (!arguments.picture.empty()) {
    io::Figure figure(1, selection.fits.size() > 1 ? 2 : 1);
    if (axes[0] == axes[1]) {
      draw_line(figure.panel(0, 0), mixture, table, axes[0]);
    } else {
      draw_plane(figure.panel(0, 0), mixture, table, gmm::predict(fit.mixture, points).to_vector(), axes[0], axes[1]);
    }
    figure.panel(0, 0).title =
        std::to_string(mixture.components) + (mixture.components == 1 ? " component" : " components");
    if (selection.fits.size() > 1)
      draw_criteria(figure.panel(0, 1), selection.fits, selection.best, arguments.select == "aic" ? "AIC" : "BIC");
    io::save_picture(arguments.picture, figure);
    std::printf("Picture: %s\n", arguments.picture.c_str());
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw kolmo::IoError("cannot write the table to the standard output");
  if (table.problems.empty()) return 0;
  std::fprintf(stderr, "%zu of %zu rows are no points and were left out\n", table.problems.size(), table.good.size());
  return bad_rows_exit;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Fits a mixture of normals to points, prints it and, on request, writes the mixture, the component of every "
      "point "
      "and a picture.");
  app.get_formatter()->column_width(34);
  app.add_option("--input", arguments.input,
                 "points: a CSV file with a header of names and a point a row, or an NPY array of shape [N, D], whose "
                 "columns are called x0, x1, ...")
      ->required()
      ->option_text("FILE.csv|npy (required)");
  app.add_option("--components", arguments.components, "number of normals, or a range such as 1..10 to choose from")
      ->required()
      ->option_text("K|FIRST..LAST (required)");
  app.add_option("--select", arguments.select, "how to choose from a range: the smallest bic (the default) or aic")
      ->check(CLI::IsMember({"bic", "aic"}))
      ->option_text("bic|aic");
  app.add_option("--covariance", arguments.covariance,
                 "full (the default), diagonal, tied (one for all components) or spherical")
      ->check(CLI::IsMember({"full", "diagonal", "tied", "spherical"}))
      ->option_text("full|diagonal|tied|spherical");
  app.add_option("--columns", arguments.columns, "the coordinates, separated by commas; by default all columns")
      ->delimiter(',')
      ->option_text("NAME,...");
  app.add_option("--weights-column", arguments.weights_column, "a column of weights; a weight counts as so many points")
      ->option_text("NAME");
  app.add_option("--starts", arguments.starts, "starts by k-means, of which the likeliest fit wins; 3 by default")
      ->check(CLI::Range(1, 100000))
      ->option_text("N");
  app.add_option("--seed", arguments.seed, "of the starts; 0 by default")->option_text("S");
  app.add_option("--iterations", arguments.iterations, "of expectation-maximisation at most; 500 by default")
      ->check(CLI::Range(0, 100000000))
      ->option_text("N");
  app.add_option("--tolerance", arguments.tolerance,
                 "a fit ends when the mean log density changes by less; 1e-6 by default")
      ->option_text("T");
  app.add_option("--covariance-floor", arguments.floor,
                 "least variance in any direction, as a part of that of all points; 1e-6 by default")
      ->option_text("F");
  app.add_option("--output", arguments.output,
                 "writes component, weight, mean_NAME..., cov_NAME_NAME..., a component a row")
      ->option_text("MIXTURE.csv");
  app.add_option("--labels", arguments.labels,
                 "writes row, component, probability, log_density for every row of the input")
      ->option_text("LABELS.csv");
  app.add_option("--picture", arguments.picture,
                 "draws the points by component with ellipses at one and two deviations, and the criteria of a range")
      ->option_text("FILE.svg|png");
  app.add_option("--axes", arguments.axes, "the coordinates of the picture; the first two by default")
      ->expected(2)
      ->option_text("NAME NAME");
  app.add_option("--threads", arguments.threads, "all processors by default; the fit does not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.footer(
      "A row that is no point (a field that is no finite number, a negative weight) is reported on the error output "
      "by\n"
      "its line and left out; its row in the labels is empty but for the number.\n\n"
      "Exit code: 0 all rows used, 3 some rows left out, 1 a file could not be read or written, 2 wrong arguments.\n\n"
      "Example: fit_samples --input points.csv --components 1..10 --output mixture.csv --picture fit.svg");
  return run_program(app, "fit_samples", argc, argv, [&] { return run(arguments); });
}
