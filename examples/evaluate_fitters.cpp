// Compares all fitters on the V5 test set and on families of densities that no model was trained on: accuracy at the
// points, between them, and of the distribution function, and time on one thread.
//
// test: --count 48 --foreign 16 --slow 16 --output fitters.csv --picture fitters.svg
// test: --count 40 --foreign 0 --methods em,lamf --picture fitters.png

#include <unistd.h>
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>

#include <kolmo/gmm/hybrid_fit.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/mdn_fit.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>

#include "evaluate_fitters.hpp"
#include "program.hpp"
#include "shipped_model.hpp"

namespace {

namespace gmm = kolmo::gmm;
namespace io = kolmo::io;
using kolmo::index_t;
using kolmo::Shape;
using Single = kolmo::Tensor<float, kolmo::Cpu>;
using Double = kolmo::Tensor<double, kolmo::Cpu>;

template <class V>
using Fit = std::function<gmm::FitReport<V>(const V&, const gmm::Grid&, const V& offsets)>;

struct Method {
  std::string name, text;
  Fit<Single> single;  // one of these two
  Fit<Double> twice;
  bool slow = false;
};

struct Arguments {
  index_t count = 15000, foreign = 800, slow = 300;
  std::uint64_t seed = 2;
  std::string model, mdn, output, picture;
  std::vector<std::string> methods;
  bool quiet = false;
};

template <class V, class Fitter>
Fit<V> fit_with(Fitter fitter, std::optional<gmm::PolishOptions> polish = std::nullopt, double refit_above = 0.01) {
  return [=](const V& densities, const gmm::Grid& grid, const V& offsets) -> gmm::FitReport<V> {
    gmm::FitOptions options;
    options.polish = polish;
    options.refit_above = refit_above;
    return gmm::fit(fitter, densities, grid, options, std::optional<V>(offsets));
  };
}

/// EM from the mixtures of a learned fitter.
template <class Model>
Fit<Double> em_from(Model model, gmm::EmStartKind kind) {
  return [=](const Double& densities, const gmm::Grid& grid, const Double& offsets) {
    using Convert = gmm::detail::ConvertScalar;
    const auto single = [](const Double& x) { return Convert::tensor<Single>(x); };
    const auto back = [](const Single& x) { return Convert::tensor<Double>(x); };
    gmm::FitOptions plain;
    plain.polish = gmm::PolishOptions{.evaluations = 0};
    const auto start = gmm::fit(model, single(densities), grid, plain, std::optional<Single>(single(offsets)));
    gmm::EmGiven<Double> given;
    given.mixture =
        gmm::Mixture<Double>{back(start.mixture.weights), back(start.mixture.means), back(start.mixture.deviations)};
    gmm::EmOptions em{.components = static_cast<int>(model.options.components)};
    em.start = kind;
    return gmm::fit(em, densities, grid, given, {}, std::optional<Double>(offsets));
  };
}

std::vector<Method> all_methods(const Arguments& arguments) {
  const std::string advice = "give --model and --mdn, or train them with train_lamf and train_mdn";
  const auto lamf =
      gmm::load_lamf<Single>(arguments.model.empty() ? shipped_model("lamf_v5.safetensors", advice) : arguments.model);
  const auto mdn =
      gmm::load_mdn<Single>(arguments.mdn.empty() ? shipped_model("mdn_v5.safetensors", advice) : arguments.mdn);
  const int components = static_cast<int>(lamf.options.components);
  const gmm::PolishOptions none{.evaluations = 0}, usual, minimax{.evaluations = 20, .minimax = 6};
  const auto em = [&](int most, double tolerance, gmm::Acceleration acceleration) {
    return gmm::EmOptions{
        .components = components, .max_iterations = most, .tolerance = tolerance, .acceleration = acceleration};
  };
  const auto plain = gmm::Acceleration::none;
  gmm::LpOptions large;
  large.objective = gmm::LpObjective::density_and_moments;
  large.dictionary = {.placement = gmm::MeanPlacement::quantiles, .means = 20, .deviations = 10};
  const gmm::HybridOptions hybrid{.em = em(100, 1e-6, plain)};
  return {
      {"lamf", "LAMF and polish, the default", fit_with<Single>(lamf), {}},
      {"lamf_minimax", "the same, 20 evaluations, then toward the minimax fit", fit_with<Single>(lamf, minimax), {}},
      {"lamf_alone", "LAMF alone", fit_with<Single>(lamf, none), {}},
      {"mdn", "mixture density network and polish", fit_with<Single>(mdn), {}},
      {"mdn_alone", "mixture density network alone", fit_with<Single>(mdn, none), {}},
      {"em",
       "EM, default: accelerated, tolerance 1e-7",
       {},
       fit_with<Double>(gmm::EmOptions{.components = components})},
      {"em_polish", "EM, default, and polish", {}, fit_with<Double>(gmm::EmOptions{.components = components}, usual)},
      {"em_6", "EM, 6 iterations", {}, fit_with<Double>(em(6, 0, plain))},
      {"em_20", "EM, 20 iterations", {}, fit_with<Double>(em(20, 0, plain))},
      {"em_plain", "EM, plain, tolerance 1e-6", {}, fit_with<Double>(em(300, 1e-6, plain))},
      {"em_long", "EM, plain, tolerance 1e-9, at most 2000", {}, fit_with<Double>(em(2000, 1e-9, plain)), true},
      {"em_from_lamf", "EM, default, from LAMF", {}, em_from(lamf, gmm::EmStartKind::lamf)},
      {"em_from_mdn", "EM, default, from the density network", {}, em_from(mdn, gmm::EmStartKind::mdn)},
      {"lp", "linear programme, 10 x 5 normals", {}, fit_with<Double>(gmm::LpOptions{}), true},
      {"lp_large", "linear programme, 20 x 10 normals, moments", {}, fit_with<Double>(large), true},
      {"hybrid", "linear programme, EM", {}, fit_with<Double>(hybrid), true},
      {"hybrid_polish", "the same and polish", {}, fit_with<Double>(hybrid, usual), true},
  };
}

/// Fits every `step`-th row, and times it.
template <class V>
Errors run_method(const Fit<V>& fit, const TestSet& set, index_t step) {
  using T = typename V::Scalar;
  using Clock = std::chrono::steady_clock;
  const std::size_t n = set.points();
  Errors e;
  for (index_t b = 0; b < set.size(); b += step) e.rows.push_back(static_cast<std::size_t>(b));
  std::vector<double> weights, means, deviations, times, single_times;
  const auto part = [&](std::size_t begin, std::size_t end) {
    std::vector<T> f, offset;
    for (std::size_t r = begin; r < end; ++r) {
      for (std::size_t i = 0; i < n; ++i) f.push_back(static_cast<T>(set.values[e.rows[r] * n + i]));
      offset.push_back(static_cast<T>(set.offsets[e.rows[r]]));
    }
    const auto count = static_cast<index_t>(end - begin);
    return std::pair(V::from(f, Shape{count, static_cast<index_t>(n)}), V::from(offset));
  };
  const auto timed = [&](std::size_t begin, std::size_t end, std::vector<double>* into) {
    const auto [densities, offsets] = part(begin, end);
    const auto start = Clock::now();
    auto report = fit(densities, set.densities.grid, offsets);
    const std::chrono::duration<double, std::micro> time = Clock::now() - start;
    if (into != nullptr) into->push_back(time.count() / static_cast<double>(end - begin));
    return report;
  };
  constexpr std::size_t block = 256;
  timed(0, std::min<std::size_t>(4, e.rows.size()), nullptr);
  // Rows of a report may be of different width, as linear programmes choose their number of components.
  std::size_t width = 1;
  std::vector<gmm::FitReport<V>> reports;
  for (std::size_t begin = 0; begin < e.rows.size(); begin += block) {
    reports.push_back(timed(begin, std::min(begin + block, e.rows.size()), &times));
    width = std::max(width, static_cast<std::size_t>(reports.back().mixture.components()));
  }
  for (const auto& report : reports) {
    const auto components = static_cast<std::size_t>(report.mixture.components());
    const auto append = [&](const V& x, std::vector<double>& to, double filler) {
      const auto values = x.to_vector();
      for (std::size_t i = 0; i < values.size(); ++i) {
        to.push_back(static_cast<double>(values[i]));
        if ((i + 1) % components == 0) to.insert(to.end(), width - components, filler);
      }
    };
    append(report.mixture.weights, weights, 0);
    append(report.mixture.means, means, 0);
    append(report.mixture.deviations, deviations, 1);
  }
  for (std::size_t r = 0; r < std::min<std::size_t>(64, e.rows.size()); ++r) timed(r, r + 1, &single_times);
  measure(set, weights, means, deviations, e);
  const auto median = [](std::vector<double>& x) {
    std::sort(x.begin(), x.end());
    return x[x.size() / 2];
  };
  e.microseconds = median(times);
  double sum = 0;
  for (const double t : single_times) sum += t;
  e.one_by_one = sum / static_cast<double>(single_times.size());
  return e;
}

struct Row {
  Method method;
  Errors v5;
  std::optional<Errors> foreign;
};

double mean_of(const std::vector<double>& x) { return gmm::summarize(x).mean; }

void print_row(const Row& row, const TestSet& v5) {
  const auto all = [](std::size_t) { return true; };
  const gmm::Summary s = gmm::summarize(row.v5.density);
  const auto resolved = [&](std::size_t b) { return v5.resolved(b); };
  std::printf("%-13s %8.5f %8.5f %7.4f %6.3f %6.2f %% | %8.5f %8.5f | %8.5f %8.5f | %8.5f | %8.1f %8.1f | %s\n",
              row.method.name.c_str(), s.mean, s.median, s.percentile_95, s.maximum, 100 * s.share_below,
              mean_of(pick(row.v5, row.v5.distribution, all)), mean_of(pick(row.v5, row.v5.distribution, resolved)),
              mean_of(pick(row.v5, row.v5.density, resolved)), mean_of(pick(row.v5, row.v5.between, resolved)),
              row.foreign ? mean_of(row.foreign->density) : NAN, row.v5.microseconds, row.v5.one_by_one,
              row.method.text.c_str());
  std::fflush(stdout);
}

std::string table_csv(const std::vector<Row>& rows, const TestSet& v5, const TestSet* foreign) {
  io::CsvWriter csv;
  csv.text("method").text("set").text("part").text("densities").text("without_fit");
  for (const char* name : {"mean", "median", "percentile_95", "largest", "share_below_0.01", "mean_cdf_error",
                           "largest_cdf_error", "mean_error_between_points", "spikes", "us_batch_256", "us_one_by_one"})
    csv.text(name);
  csv.end_row();
  const auto add = [&](const Row& row, const Errors& e, const std::string& set, const std::string& part,
                       const auto& chosen) {
    const gmm::Summary s = gmm::summarize(pick(e, e.density, chosen));
    if (s.count == 0) return;
    const gmm::Summary cdf = gmm::summarize(pick(e, e.distribution, chosen));
    double spikes = 0, missing = 0;
    for (std::size_t r = 0; r < e.rows.size(); ++r) {
      if (!chosen(e.rows[r])) continue;
      spikes += e.spike[r];
      missing += !(e.density[r] == e.density[r]);
    }
    csv.text(row.method.name).text(set).text(part).number(static_cast<double>(s.count)).number(missing);
    for (const double x : {s.mean, s.median, s.percentile_95, s.maximum, s.share_below, cdf.mean, cdf.maximum,
                           mean_of(pick(e, e.between, chosen)), spikes, e.microseconds, e.one_by_one})
      csv.number(x);
    csv.end_row();
  };
  for (const Row& row : rows) {
    add(row, row.v5, "V5", "all", [](std::size_t) { return true; });
    const char* strata[] = {"basic", "grid", "edge"};
    for (int k = 0; k < 3; ++k) add(row, row.v5, "V5", strata[k], [&](std::size_t b) { return v5.stratum[b] == k; });
    add(row, row.v5, "V5", "resolved by the grid", [&](std::size_t b) { return v5.resolved(b); });
    add(row, row.v5, "V5", "not resolved by the grid", [&](std::size_t b) { return !v5.resolved(b); });
    add(row, row.v5, "V5", "not normal", [&](std::size_t b) { return !v5.gaussian[b]; });
    if (!row.foreign) continue;
    add(row, *row.foreign, "foreign", "all", [](std::size_t) { return true; });
    for (int k = 0; k < gmm::family_count; ++k)
      add(row, *row.foreign, "foreign", gmm::describe(static_cast<gmm::Family>(k)),
          [&](std::size_t b) { return foreign->stratum[b] == k; });
  }
  return csv.str();
}

/// Left: mean error against time. Right: the part of the densities whose error is at most x.
io::Figure draw(const std::vector<Row>& rows) {
  io::Figure figure(1, 2);
  figure.width = 1180;
  figure.height = 520;
  io::Panel& plane = figure.panel(0, 0);
  plane.title = "Accuracy and time on the V5 test set";
  plane.x.label = "microseconds a fit, 256 at a time, one thread";
  plane.y.label = "mean largest density error";
  plane.x.log = plane.y.log = true;
  io::Panel& curves = figure.panel(0, 1);
  curves.title = "Densities with at most this error";
  curves.x.label = "largest density error";
  curves.y.label = "part of the V5 test set";
  curves.x.log = true;
  curves.x.range(1e-6, 1e-1);
  curves.y.range(0, 1);
  curves.legend = io::LegendPlace::bottom_right;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double x[] = {rows[i].v5.microseconds}, y[] = {mean_of(rows[i].v5.density)};
    plane.scatter(x, y, {"", io::palette_colour(i), 9, 1});
    plane.note(x[0] * 1.12, y[0], rows[i].method.name);
    // Missing fits are in the number of densities, not among the errors.
    const std::size_t count = rows[i].v5.density.size();
    std::vector<double> errors, share;
    for (const double error : rows[i].v5.density)
      if (error == error) errors.push_back(error);
    std::sort(errors.begin(), errors.end());
    for (std::size_t r = 0; r < errors.size(); ++r)
      share.push_back(static_cast<double>(r + 1) / static_cast<double>(count));
    curves.line(errors, share,
                {rows[i].method.name, io::palette_colour(i), 1.6,
                 i < 8    ? io::Dash::solid
                 : i < 16 ? io::Dash::dashed
                          : io::Dash::dotted,
                 1});
  }
  plane.x.range(3, 1e5);
  return figure;
}

int run(const Arguments& arguments) {
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  check_writable(arguments.output);
  check_writable(arguments.picture);
  if (same_file(arguments.output, arguments.picture))
    throw kolmo::ArgumentError("--output and --picture are the same file, " + arguments.output + "; choose two");
  const std::vector<Method> methods = all_methods(arguments);
  for (const std::string& name : arguments.methods) {
    bool known = false;
    std::string names;
    for (const Method& m : methods) {
      known = known || m.name == name;
      names += (names.empty() ? "" : ", ") + m.name;
    }
    if (!known) throw kolmo::ArgumentError("--methods: there is no " + name + "; the methods are " + names);
  }
  if (!arguments.quiet) std::fprintf(stderr, "generating densities\n");
  const TestSet v5 = v5_test_set(kolmo::Key{arguments.seed}, arguments.count);
  std::optional<TestSet> foreign;
  if (arguments.foreign > 0) foreign = foreign_test_set(kolmo::Key{arguments.seed + 5}, arguments.foreign);
  kolmo::threads::set_count(1);
  std::printf(
      "%lld densities of the V5 law, %lld of other families; slow methods on %lld. Errors are means of the largest\n"
      "density error at the points unless said otherwise; resolved: by the grid; times in microseconds.\n\n",
      static_cast<long long>(arguments.count), static_cast<long long>(arguments.foreign),
      static_cast<long long>(arguments.slow));
  std::printf("%-13s %8s %8s %7s %6s %8s | %8s %8s | %8s %8s | %8s | %8s %8s |\n", "method", "mean", "median", "95 %",
              "max", "< 0.01", "CDF", "resolved", "resolved", "between", "foreign", "batch", "single");
  std::vector<Row> rows;
  std::size_t done = 0;
  for (const Method& method : methods) {
    ++done;
    if (!arguments.methods.empty() &&
        std::find(arguments.methods.begin(), arguments.methods.end(), method.name) == arguments.methods.end())
      continue;
    if (!arguments.quiet && ::isatty(STDERR_FILENO) == 1)
      std::fprintf(stderr, "\r%zu of %zu: %s\033[K\r", done, methods.size(), method.name.c_str());
    const auto evaluate = [&](const TestSet& set) {
      const index_t step = method.slow ? std::max<index_t>(1, set.size() / arguments.slow) : 1;
      return method.single ? run_method(method.single, set, step) : run_method(method.twice, set, step);
    };
    Row row{method, evaluate(v5), std::nullopt};
    if (foreign) row.foreign = evaluate(*foreign);
    print_row(row, v5);
    rows.push_back(std::move(row));
  }
  if (!arguments.output.empty())
    io::write_atomically(arguments.output, table_csv(rows, v5, foreign ? &*foreign : nullptr));
  if (!arguments.picture.empty()) io::save_picture(arguments.picture, draw(rows));
  if (!arguments.output.empty()) std::printf("Table: %s\n", arguments.output.c_str());
  if (!arguments.picture.empty()) std::printf("Picture: %s\n", arguments.picture.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Compares all mixture fitters on generated densities: accuracy, and time on one thread.");
  app.option_defaults()->always_capture_default();
  app.add_option("--count", arguments.count, "densities of the V5 test set")->check(CLI::Range(1, 1000000));
  app.add_option("--foreign", arguments.foreign, "densities of other families; 0: none")->check(CLI::Range(0, 1000000));
  app.add_option("--slow", arguments.slow, "about so many of each for the slow methods")->check(CLI::Range(1, 1000000));
  app.add_option("--methods", arguments.methods,
                 "names from the first column of the table, comma-separated; all by default")
      ->delimiter(',');
  app.add_option("--seed", arguments.seed, "of the test set; another for the foreign densities follows from it");
  app.add_option("--model", arguments.model, "LAMF; the one that ships with kolmo by default");
  app.add_option("--mdn", arguments.mdn, "mixture density network; likewise");
  app.add_option("--output", arguments.output, "CSV file with all figures, by stratum and family");
  app.add_option("--picture", arguments.picture,
                 "accuracy against time, and the distribution of the errors: svg or png");
  app.add_flag("--quiet", arguments.quiet, "no progress");
  return run_program(app, "evaluate_fitters", argc, argv, [&] { return run(arguments); });
}
