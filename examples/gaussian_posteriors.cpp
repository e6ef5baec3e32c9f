// Does anything in posterior sampling have to be scaled with the number N of observations? On a Gaussian prior the
// posterior is known in closed form, so every method can be judged: the bias of its mean, the spread of its samples (1
// is right), and the residual A x - y against that of the exact posterior (1 is right).
//
// Two series: the same ring of points observed ever more densely, and ever longer rings observed equally densely.
// Methods whose estimate is affine are followed exactly through a deterministic sampler; the others, and all with
// Langevin corrections, draw samples with the samplers and guidance that are used with networks.
//
// With --samplers: how many evaluations each sampler needs for the spread of any Gaussian posterior.
//
// test: --largest 4 --points 16 --samples 1 --steps 16 --output p.csv --picture p.png
// test: --samplers
// test: --exact-only --largest 64 --points 64 --output p.csv --picture p.svg

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/io/csv.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>
#include <kolmo/score/guidance/choice.hpp>

#include "gaussian_posteriors.hpp"
#include "program.hpp"

namespace {

namespace io = kolmo::io;
namespace score = kolmo::score;
using kolmo::index_t;
using kolmo::Shape;
using posteriors::V;

struct Arguments {
  index_t points = 1024, every = 4, largest = 4096, samples = 64, members = 16, steps = 256;
  double length = 4, deviation = 0.1;
  std::uint64_t seed = 1;
  std::string output, picture;
  bool exact_only = false, samplers = false, quiet = false;
};

using Sampling = std::function<V(const score::PeriodicProblem&, const V& start, const V& y, kolmo::Key)>;
using Exact = std::function<score::GaussianComparison(const score::PeriodicProblem&)>;

/// What a method stands for, by which the picture is ordered.
enum class Family { posterior, scaling, approximation };

struct Method {
  Family family;
  std::string name;
  std::string sampler;
  index_t evaluations = 0;
  Exact exact{};  // one of these two
  Sampling sampling{};
};

constexpr index_t reference_count = 64;

/// An affine method through a deterministic sampler.
Method exact_method(Family family, std::string name, const score::AffineMethod& method,
                    const score::SamplerOptions& options, std::string sampler) {
  return {family, std::move(name), std::move(sampler), options.evaluations(),
          [=](const score::PeriodicProblem& problem) {
            return score::compare_with_posterior(problem, method, score::Schedule{}, options);
          }};
}

/// Any guidance through any sampler; `guidance` gets the problem, because covariances belong to it.
template <class Guidance>
Method drawn_method(Family family, std::string name, const Guidance& guidance, const score::SamplerOptions& options,
                    std::string sampler) {
  return {family,
          std::move(name),
          std::move(sampler),
          options.evaluations(),
          {},
          [=](const score::PeriodicProblem& problem, const V& start, const V& y, kolmo::Key key) {
            const score::Schedule schedule;
            const posteriors::ModePrior prior{posteriors::eigenvalues_of(problem), schedule};
            const auto eps = score::guided(
                prior, schedule, score::observe(posteriors::SeenModes{}, y, problem.deviation), guidance(problem));
            return score::sample(eps, schedule, start, options, key);
          }};
}

std::vector<Method> methods_of(const Arguments& arguments) {
  using score::AffineKind;
  const auto uniform = [&](index_t corrections, double tau) {
    return score::SamplerOptions::predictor_corrector(arguments.steps, corrections, tau);
  };
  const std::string predictor = std::to_string(arguments.steps) + " uniform", corrected = predictor + ", C = 1";
  const score::SamplerOptions standard;
  const std::string ours = "default";
  using enum Family;
  std::vector<Method> methods{
      exact_method(posterior, "exact likelihood", {}, standard, ours),
      exact_method(posterior, "exact likelihood", {}, uniform(0, .5), predictor),
      exact_method(approximation, "SDA", {.kind = AffineKind::sda}, uniform(0, .5), predictor),
      exact_method(approximation, "SDA detached", {.kind = AffineKind::detached}, uniform(0, .5), predictor),
      exact_method(approximation, "PiGDM", {.kind = AffineKind::pigdm}, uniform(0, .5), predictor),
      exact_method(approximation, "TMPD", {.kind = AffineKind::tmpd}, uniform(0, .5), predictor),
      exact_method(approximation, "DiffPIR", {.kind = AffineKind::proximal}, uniform(0, .5), predictor),
  };
  if (arguments.exact_only) return methods;
  const auto always = [](auto guidance) { return [=](const score::PeriodicProblem&) { return guidance; }; };
  const auto covariance = [](const score::PeriodicProblem& problem) {
    return score::JfpsGuidance{posteriors::ModeCovariance{posteriors::eigenvalues_of(problem)}};
  };
  const auto scaled = [&](Family family, const char* name, score::Scaling scaling) {
    const score::ScaledGuidance guidance{.scaling = scaling, .reference_count = reference_count};
    methods.push_back(drawn_method(family, name, always(guidance), uniform(1, .5), corrected));
  };
  const auto add = [&](Method method) { methods.push_back(std::move(method)); };
  add(drawn_method(posterior, "default guidance", always(score::default_guidance()), standard, ours));
  add(drawn_method(posterior, "JFPS", covariance, standard, ours));
  add(drawn_method(posterior, "SDA", always(score::SdaGuidance<>{}), uniform(1, .5), corrected));
  scaled(posterior, "gamma scaled", score::Scaling::gamma_only);
  scaled(scaling, "likelihood weighting", score::Scaling::likelihood_weighting);
  scaled(scaling, "dual scaling", score::Scaling::dual);
  scaled(scaling, "linear scaling", score::Scaling::linear);
  scaled(scaling, "mean over N", score::Scaling::mean_reduction);
  add(drawn_method(approximation, "DPS", always(score::DpsGuidance{}), uniform(1, .5), corrected));
  add(drawn_method(scaling, "adaptive norm", always(score::AdaptiveGuidance{}), uniform(1, .5), corrected));
  return methods;
}

struct Row {
  std::string series;
  score::PeriodicProblem problem;
  std::string method, sampler;
  index_t evaluations = 0;
  bool drawn = false;
  score::GaussianComparison result;
};

Row judge(const Arguments& arguments, const std::string& series, const score::PeriodicProblem& problem,
          const Method& method) {
  Row row{series, problem, method.name, method.sampler, method.evaluations, static_cast<bool>(method.sampling), {}};
  if (method.exact) {
    row.result = method.exact(problem);
    return row;
  }
  // Long rings need fewer samples: their many modes average. Short ones need more.
  const index_t wanted = kolmo::larger(arguments.samples * 1024 / problem.points, index_t{32});
  const index_t members = arguments.members, observations = kolmo::larger(index_t{2}, wanted / members);
  const auto keys = kolmo::split<3>(
      fold_in(kolmo::Key{arguments.seed}, static_cast<std::uint64_t>(problem.points * 4099 + problem.every)));
  const V y = posteriors::draw_observations(problem, observations, members, keys[0]);
  const V start = posteriors::paired_noise(observations, members, problem, keys[1]);
  try {
    row.result = posteriors::compare_samples(problem, score::Schedule{}, method.sampling(problem, start, y, keys[2]), y,
                                             members);
    row.result.finite = kolmo::is_finite(row.result.spread);
  } catch (const score::NonFiniteSample&) {
    row.result.finite = false;
  }
  if (!row.result.finite) {
    const double infinite = kolmo::detail::infinity<double>();
    row.result = {infinite, infinite, infinite, infinite, false};
  }
  return row;
}

void write_csv(const std::string& path, const std::vector<Row>& rows) {
  io::CsvWriter csv;
  csv.row({"series", "observations", "points", "every", "length", "deviation", "method", "sampler", "evaluations", "by",
           "bias", "spread", "residual", "transport"});
  for (const Row& row : rows) {
    csv.text(row.series).number(row.problem.observations()).number(row.problem.points).number(row.problem.every);
    csv.number(row.problem.length).number(row.problem.deviation).text(row.method).text(row.sampler);
    csv.number(row.evaluations).text(row.drawn ? "samples" : "closed form").number(row.result.bias);
    csv.number(row.result.spread).number(row.result.residual).number(row.result.transport).end_row();
  }
  io::write_atomically(path, csv.str());
}

io::Figure figure_of(const std::vector<Row>& rows, const std::vector<Method>& methods) {
  const char* series[] = {"density", "length"};
  const char* described[] = {"one ring, observed more densely", "longer rings, equally dense"};
  const char* families[] = {"the posterior", "scaled with N", "approximations"};
  io::Figure figure(4, 3);
  figure.height = 1240;
  for (std::size_t line = 0; line < 4; ++line)
    for (std::size_t column = 0; column < 3; ++column) {
      io::Panel& panel = figure.panel(line, column);
      const bool spread = line < 2;
      panel.title = line == 0 ? std::string(families[column]) : std::string();
      panel.x.label = std::string("N, ") + described[line % 2];
      if (column == 0) panel.y.label = spread ? "spread / exact spread" : "bias / exact spread";
      panel.x.log = panel.y.log = true;
      // Room for the legend above the first row.
      panel.y.range(spread ? .1 : 1e-3, line == 0 ? 1e4 : 30);
      panel.legend = line == 0 ? io::LegendPlace::top_left : io::LegendPlace::none;
      if (spread) {
        panel.horizontal_line(0.97);
        panel.horizontal_line(1.03);
      } else {
        panel.horizontal_line(0.03);
      }
      for (const Method& method : methods) {
        if (method.family != static_cast<Family>(column)) continue;
        std::vector<double> x, y;
        for (const Row& row : rows)
          if (row.series == series[line % 2] && row.method == method.name && row.sampler == method.sampler) {
            x.push_back(static_cast<double>(row.problem.observations()));
            // An explosion leaves through the top of the panel.
            y.push_back(kolmo::smaller(kolmo::larger(spread ? row.result.spread : row.result.bias, 1e-3), 1e6));
          }
        const io::Dash dash = method.sampler == "default" ? io::Dash::solid
                              : method.exact              ? io::Dash::dotted
                                                          : io::Dash::dashed;
        panel.line(x, y, {.label = method.name + ", " + method.sampler, .width = 2, .dash = dash});
      }
    }
  return figure;
}

/// The exact estimate of data whose components have these variances: every Gaussian posterior in its own axes.
struct VariancePrior {
  V variances;
  score::Schedule schedule{};
  V operator()(const V& x, double t) const { return posteriors::ModePrior{variances, schedule}(x, t); }
};

/// The least and the largest spread over variances from 1e-4 to 40, over methods, grids and evaluations.
void print_samplers() {
  std::vector<double> variances;
  for (double v = 1e-4; v < 41; v *= 1.1) variances.push_back(v);
  const Shape shape{1, static_cast<index_t>(variances.size())};
  const score::Schedule schedule;
  const VariancePrior eps{V::from(std::span<const double>(variances), shape), schedule};
  const V exact = sqrt(eps.variances + schedule.sigma(0) * schedule.sigma(0));
  struct Choice {
    const char* name;
    score::SamplerMethod method;
    int order;
  };
  using score::SamplerMethod;
  const Choice choices[] = {{"predictor (DDIM)", SamplerMethod::ddim, 1},
                            {"Heun", SamplerMethod::heun, 1},
                            {"Adams-Bashforth 3", SamplerMethod::adams_bashforth, 3},
                            {"multistep on xhat 2", SamplerMethod::multistep_xhat, 2},
                            {"multistep on xhat 3", SamplerMethod::multistep_xhat, 3},
                            {"multistep on eps 2", SamplerMethod::multistep_eps, 2},
                            {"multistep on eps 3", SamplerMethod::multistep_eps, 3}};
  struct Grid {
    const char* name;
    score::TimeGrid grid;
  };
  const Grid grids[] = {{"uniform in t", {.policy = score::GridPolicy::uniform_time}},
                        {"t = s^2", {.policy = score::GridPolicy::power_time, .power = 2}},
                        {"rho^(1/7)", {.policy = score::GridPolicy::power_rho, .power = 7}},
                        {"log rho", {}}};
  const index_t evaluations[] = {16, 24, 32, 64, 128, 256};
  std::printf("least and largest spread over Gaussians of variance 1e-4 to 40 (1 is right)\n%-20s %-13s", "sampler",
              "grid");
  for (const index_t n : evaluations) std::printf(" %13lld", static_cast<long long>(n));
  std::printf("\n");
  for (const Choice& choice : choices)
    for (const Grid& grid : grids) {
      std::printf("%-20s %-13s", choice.name, grid.name);
      for (const index_t n : evaluations) {
        score::SamplerOptions options;
        options.method = choice.method;
        options.order = choice.order;
        options.grid = grid.grid;
        options.steps = choice.method == SamplerMethod::heun ? n / 2 : n;
        const V start = V::full(shape, schedule.sigma(1));
        const V spread = score::sample(eps, schedule, start, options, kolmo::Key{}) / exact;
        std::printf("  %5.3f-%-6.3f", min(spread).item(), max(spread).item());
      }
      std::printf("\n");
    }
}

int run(const Arguments& arguments) {
  if (arguments.samplers) {
    print_samplers();
    return 0;
  }
  if (arguments.members < 4 || arguments.members % 2 != 0)
    throw kolmo::ArgumentError("--members must be even and at least 4, given " + std::to_string(arguments.members));
  if (!arguments.picture.empty()) static_cast<void>(io::picture_format(arguments.picture));
  check_writable(arguments.output);
  check_writable(arguments.picture);
  std::vector<std::pair<std::string, score::PeriodicProblem>> problems;
  for (index_t every = arguments.points / 4; every >= 1; every /= 4)
    if (arguments.points % every == 0)
      problems.push_back({"density", {arguments.points, every, arguments.length, arguments.deviation}});
  for (index_t n = 1; n <= arguments.largest; n *= 4)
    problems.push_back({"length", {n * arguments.every, arguments.every, arguments.length, arguments.deviation}});
  for (const auto& [series, problem] : problems) problem.check();

  const std::vector<Method> methods = methods_of(arguments);
  std::vector<Row> rows;
  std::optional<io::Progress> progress;
  if (!arguments.quiet)
    progress.emplace(stderr, static_cast<std::int64_t>(problems.size() * methods.size()),
                     io::ProgressOptions{.label = "sampling", .unit = "posteriors"});
  for (const Method& method : methods)
    for (const auto& [series, problem] : problems) {
      rows.push_back(judge(arguments, series, problem, method));
      if (progress) progress->update(static_cast<std::int64_t>(rows.size()));
    }
  if (progress) progress->finish(static_cast<std::int64_t>(rows.size()));
  for (const auto& [series, problem] : problems) {
    std::printf("%s series: %lld of %lld points observed\n", series.c_str(),
                static_cast<long long>(problem.observations()), static_cast<long long>(problem.points));
    std::printf("  %-22s %-18s %11s %9s %9s %9s\n", "method", "sampler", "evaluations", "bias", "spread", "residual");
    for (const Row& row : rows)
      if (row.series == series && row.problem.points == problem.points && row.problem.every == problem.every)
        std::printf("  %-22s %-18s %11lld %9.3g %9.4g %9.4g\n", row.method.c_str(), row.sampler.c_str(),
                    static_cast<long long>(row.evaluations), row.result.bias, row.result.spread, row.result.residual);
  }
  if (!arguments.output.empty()) write_csv(arguments.output, rows);
  if (!arguments.picture.empty()) io::save_picture(arguments.picture, figure_of(rows, methods));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Bias and spread of posterior sampling methods over the number of observations, in closed form");
  app.add_option("--points", arguments.points, "points of the ring that is observed ever more densely")
      ->capture_default_str()
      ->check(CLI::Range(4, 1 << 14));
  app.add_option("--every", arguments.every, "one observation in so many points on the rings of growing length")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  app.add_option("--largest", arguments.largest, "largest number of observations on those rings")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 16));
  app.add_option("--length", arguments.length, "correlation length of the prior, in points")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--deviation", arguments.deviation, "standard deviation of the observations' noise")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--samples", arguments.samples, "samples on 1024 points; fewer on more points, more on fewer")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 16));
  app.add_option("--members", arguments.members, "samples of one observation")->capture_default_str();
  app.add_option("--steps", arguments.steps, "steps of the uniform sampler")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", arguments.seed, "seed of everything that is drawn")->capture_default_str();
  app.add_option("--output", arguments.output, "CSV file of all results");
  app.add_option("--picture", arguments.picture, "picture of spread and bias, .svg or .png");
  app.add_flag("--exact-only", arguments.exact_only, "only what needs no samples");
  app.add_flag("--samplers", arguments.samplers, "print what each sampler needs for Gaussian posteriors, and end");
  app.add_flag("--quiet", arguments.quiet, "no progress line");
  return run_program(app, "gaussian_posteriors", argc, argv, [&] { return run(arguments); });
}
