// Fits by linear programming and the hybrid of it with EM: optima of the specification and of another solver, and what
// is reported when there is none.

#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/hybrid_fit.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

struct Sampled {
  std::vector<double> points, density;
};

template <class D>
Sampled sampled_at(const Grid& grid, const D& density) {
  Sampled s;
  for (index_t i = 0; i < grid.points; ++i) {
    s.points.push_back(grid[i]);
    s.density.push_back(density(grid[i]));
  }
  return s;
}

Sampled published_density() {
  const MaxOfNormals maximum(0.05, Variance(0.16), 0.15, Variance(0.81), 0.9);
  return sampled_at({-2.0, 4.0, 128}, [&](double z) { return maximum.density(z); });
}
Sampled gamma_density() {
  return sampled_at({0.0, 20.0, 96}, [](double z) { return 0.5 * z * z * std::exp(-z); });
}

LpOptions unscaled(LpObjective objective, double tolerance = 0.0) {
  LpOptions o;
  o.objective = objective;
  o.tolerance = tolerance;
  o.standardise = false;
  return o;
}

DictionaryFit fit_of(const Sampled& s, const DictionaryOptions& dictionary, LpOptions options) {
  options.dictionary = dictionary;
  return fit_dictionary(s.points, s.density, make_dictionary(s.points, s.density, dictionary), options);
}

}  // namespace

TEST_CASE("the optima of the specification", "[gmm][lp]") {
  const Sampled s = published_density();
  const DictionaryOptions d{.means = 10, .deviations = 5};
  const auto density = fit_of(s, d, unscaled(LpObjective::density));
  REQUIRE(density.outcome == LinearOutcome::optimal);
  CHECK(density.objective == Approx(0.021453064).margin(1e-9));
  CHECK(density.density_error == Approx(0.021453064).margin(1e-9));
  const auto within = fit_of(s, d, unscaled(LpObjective::within_tolerance, 0.1));
  REQUIRE(within.outcome == LinearOutcome::optimal);
  CHECK(within.objective == Approx(0.0).margin(1e-10));
  CHECK(within.density_error <= 0.1 + 1e-9);
  for (double error : within.moment_errors) CHECK(error < 1e-10);
  const auto both = fit_of(s, d, unscaled(LpObjective::density_and_moments));
  REQUIRE(both.outcome == LinearOutcome::optimal);
  CHECK(both.objective == Approx(0.026730395).margin(1e-9));
  CHECK(both.density_error == Approx(0.026730395).margin(1e-9));
  for (double error : both.moment_errors) CHECK(error < 1e-10);
}

TEST_CASE("G-21: LP optimum = dense reference; density of 'both' quantiles grows in the tails", "[gmm][lp]") {
  // Optima of SciPy's HiGHS on the same dense programmes.
  struct Case {
    TailFocus focus;
    double exponent, density, both;
  };
  for (const Case& c : {Case{TailFocus::right, 2.0, 0.008107705091626, 0.008341713794817},
                        Case{TailFocus::both, 1.5, 0.003826732566461, 0.003912011569142},
                        Case{TailFocus::none, 1.0, 0.005836203567839, 0.005990737690384}}) {
    const DictionaryOptions d{.placement = MeanPlacement::quantiles,
                              .means = 12,
                              .deviations = 6,
                              .focus = c.focus,
                              .focus_exponent = c.exponent};
    CHECK(fit_of(gamma_density(), d, unscaled(LpObjective::density)).objective == Approx(c.density).margin(5e-9));
    CHECK(fit_of(gamma_density(), d, unscaled(LpObjective::density_and_moments)).objective ==
          Approx(c.both).margin(5e-9));
  }
  const Sampled laplace = sampled_at({-6.0, 6.0, 64}, [](double z) { return 0.5 * std::exp(-std::abs(z)); });
  const DictionaryOptions d{.means = 8, .deviations = 4};
  CHECK(fit_of(laplace, d, unscaled(LpObjective::density)).objective == Approx(0.090385077352595).margin(5e-9));
  CHECK(fit_of(laplace, d, unscaled(LpObjective::density_and_moments)).objective ==
        Approx(0.092403104491001).margin(5e-9));

  // Levels keep their order and symmetry, and the outermost gaps shrink as the exponent grows.
  double last = 1.0;
  for (double a : {1.0, 1.5, 2.0, 4.0}) {
    const auto level = [&](double u) { return focused_level(u, TailFocus::both, a); };
    CHECK(level(0.5) == Approx(0.5));
    CHECK(level(0.25) + level(0.75) == Approx(1.0));
    for (int i = 1; i < 100; ++i) CHECK(level(0.01 * i) > level(0.01 * (i - 1)));
    CHECK(level(0.05) - level(0.0) < last);
    last = level(0.05) - level(0.0);
    CHECK(level(0.05) - level(0.0) <= level(0.5) - level(0.45) + 1e-12);
  }
  CHECK(focused_level(0.3, TailFocus::right, 2.0) == Approx(1.0 - 0.49));
  CHECK(focused_level(0.3, TailFocus::left, 2.0) == Approx(0.09));
  CHECK(focused_level(0.3, TailFocus::left, 0.2) == Approx(0.3));

  // Without a tolerance the density would not be constrained.
  CHECK_THROWS_WITH(fit_of(laplace, d, unscaled(LpObjective::within_tolerance)),
                    contains("needs a positive tolerance"));
}

TEST_CASE("dictionaries", "[gmm][lp]") {
  const Sampled s = published_density();
  const auto d = make_dictionary(s.points, s.density, {.means = 10, .deviations = 5});
  CHECK(d.size() == 50);
  // m = 0.329849891, s = 0.692803652: segments of [m - 3 s, m + 3 s], deviations from 0.1 s to 3 s.
  CHECK(d.means[0] == Approx(0.329849891 - 2.7 * 0.692803652).margin(1e-8));
  CHECK(d.means[49] == Approx(0.329849891 + 2.7 * 0.692803652).margin(1e-8));
  CHECK(d.deviations[0] == Approx(0.0692803652).margin(1e-9));
  CHECK(d.deviations[4] == Approx(3.0 * 0.692803652).margin(1e-8));
  CHECK(d.deviations[2] == Approx(std::sqrt(0.3) * 0.692803652).margin(1e-8));
  CHECK(make_dictionary(s.points, s.density, {.deviations = 5}, 4.0).deviations[0] == Approx(4.0 * 6.0 / 127.0));
  const auto uniform =
      make_dictionary(s.points, s.density, {.placement = MeanPlacement::uniform, .means = 7, .deviations = 1});
  CHECK(uniform.means.front() == -2.0);
  CHECK(uniform.means.back() == 4.0);
  CHECK(uniform.deviations[0] == Approx(std::sqrt(0.3) * 0.692803652).margin(1e-8));
  // Given levels, of a density whose quantiles are known.
  const Sampled flat = sampled_at({0.0, 1.0, 11}, [](double) { return 2.0; });
  const auto levels = make_dictionary(flat.points, flat.density, {.deviations = 1, .levels = {0.13, 0.5, 1.0}});
  CHECK(levels.means[0] == Approx(0.13));
  CHECK(levels.means[1] == Approx(0.5));
  CHECK(levels.means[2] == Approx(1.0 - 1e-6));
  CHECK_THROWS_AS(make_dictionary(flat.points, flat.density, {.means = 0}), ArgumentError);
  CHECK_THROWS_AS(make_dictionary(flat.points, flat.density, {.least_deviation = NAN}), ArgumentError);
  CHECK_THROWS_AS(make_dictionary(flat.points, flat.density, {.levels = {1.5}}), ArgumentError);
  CHECK_THROWS_AS(make_dictionary(flat.points, {}, {}), ShapeError);
}

TEST_CASE("every size is solved, with proof", "[gmm][lp]") {
  // A multiplier for each row that satisfies the dual constraints bounds the optimum from below.
  struct Size {
    index_t points;
    int means, deviations;
  };
  for (const Size& size : {Size{32, 5, 5}, Size{96, 10, 5}, Size{128, 10, 10}, Size{256, 20, 10}}) {
    const MaxOfNormals maximum(0.0, Variance(1.0), 1.0, Variance(0.8), 0.5);
    const Sampled s = sampled_at({-4.0, 5.0, size.points}, [&](double z) { return maximum.density(z); });
    const auto d = make_dictionary(s.points, s.density, {.means = size.means, .deviations = size.deviations});
    for (auto objective : {LpObjective::density, LpObjective::density_and_moments, LpObjective::within_tolerance}) {
      LpOptions o;
      o.objective = objective;
      const auto program = gmm::detail::DictionaryProblem(s.points, s.density, d, true).program(o, 0.03);
      const auto solution = solve(program);
      REQUIRE(solution.outcome == LinearOutcome::optimal);
      CHECK(solution.violation < 1e-7);
      double bound = 0.0, worst = 0.0;
      const std::size_t n = static_cast<std::size_t>(program.variables);
      std::vector<double> reduced = program.cost;
      for (std::size_t i = 0; i < program.right.size(); ++i) {
        const double y = solution.multipliers[i];
        bound += y * program.right[i];
        worst = std::max(worst, program.kinds[i] == RowKind::at_most    ? y
                                : program.kinds[i] == RowKind::at_least ? -y
                                                                        : 0.0);
        for (std::size_t j = 0; j < n; ++j) reduced[j] -= y * program.matrix[i * n + j];
      }
      for (double r : reduced) worst = std::max(worst, -r);
      CHECK(worst < 1e-7);
      CHECK(solution.objective == Approx(bound).margin(2e-8));
    }
  }
}

TEST_CASE("the largest dictionary", "[gmm][lp][long]") {
  for (auto objective : {LpObjective::density, LpObjective::density_and_moments}) {
    LpOptions o;
    o.objective = objective;
    const Sampled s = sampled_at({-2.0, 4.0, 512}, [](double z) {
      return MaxOfNormals(0.05, Variance(0.16), 0.15, Variance(0.81), 0.9).density(z);
    });
    const auto fit = fit_of(s, {.means = 40, .deviations = 10}, o);
    CHECK(fit.outcome == LinearOutcome::optimal);
    CHECK(fit.density_error < 2e-5);
  }
}

TEMPLATE_TEST_CASE("fits of a batch are reported as by every fitter", "[gmm][lp]", float, double) {
  using V = Tensor<TestType, Cpu>;
  const auto set = make_v5<V>(Key{3}, 30);
  FitOptions options;
  options.measures = true;
  options.chunk = 7;
  const LpFit<V> r = fit(LpOptions{}, set.densities, set.grid, options, set.offsets);
  const auto count = r.components.to_vector();
  CHECK(r.mixture.components() == *std::max_element(count.begin(), count.end()));
  for (Status s : r.statuses()) CHECK(s == Status::ok);
  CHECK(largest_difference(sum(r.mixture.weights, {1}), std::vector<double>(30, 1.0)) < 1e-5);
  const auto summary = summarize(r.measures->density_error);
  CHECK(summary.median < 1e-3);
  // What the programme says of its own error is what the measures find.
  CHECK(largest_difference(r.density_error, r.measures->density_error) <
        (std::is_same_v<TestType, double> ? 1e-9 : 1e-4));
  const auto means = r.mixture.means.to_vector();
  for (std::size_t i = 0; i < means.size(); ++i)
    if (i % static_cast<std::size_t>(r.mixture.components()) != 0) CHECK(means[i] >= means[i - 1]);
  // The same bits for any number of threads and any chunk.
  const int before = threads::count();
  threads::set_count(1);
  const auto serial = fit(LpOptions{}, set.densities, set.grid, {}, set.offsets);
  threads::set_count(before);
  CHECK(same_bits(serial.mixture, r.mixture));
}

TEST_CASE("a fit commutes with shifts and changes of unit", "[gmm][lp]") {
  const Sampled s = gamma_density();
  const auto f = Double::from(s.density);
  LpOptions o;
  o.objective = LpObjective::density_and_moments;
  const auto here = fit(o, f, {0.0, 20.0, 96}), there = fit(o, f, {500.0, 500.02, 96});
  CHECK(there.density_error.item() * 1e-3 == Approx(here.density_error.item()).epsilon(1e-6));
  CHECK(largest_difference(here.moment_errors, there.moment_errors) < 1e-7);
}

TEST_CASE("a tolerance that cannot be kept is loosened, says so, and in the end fails", "[gmm][lp]") {
  const auto f = Double::from(gamma_density().density);
  const Grid grid{0.0, 20.0, 96};
  LpOptions o{.objective = LpObjective::within_tolerance, .tolerance = 0.2};
  CHECK(fit(o, f, grid).tolerance.item() == Approx(0.2));
  // This dictionary reaches 0.0058 at best.
  o.dictionary = {.placement = MeanPlacement::quantiles, .means = 12, .deviations = 6};
  o.tolerance = 0.001;
  const auto loosened = fit(o, f, grid);
  CHECK(loosened.statuses()[0] == Status::ok);
  CHECK(loosened.tolerance.item() == Approx(0.01));
  CHECK(loosened.density_error.item() <= 0.01 + 1e-8);
  o.tolerance = 1e-5;
  const auto failed = fit(o, f, grid, {.measures = true});
  CHECK(failed.statuses()[0] == Status::infeasible);
  CHECK(std::string(describe(failed.statuses()[0])) == "no mixture of the dictionary keeps the tolerance");
  CHECK(is_nan(failed.mixture.means.to_vector()[0]));
  CHECK(is_nan(failed.density_error.item()));
  CHECK(is_nan(failed.measures->density_error.item()));
  CHECK(failed.components.item() == 0);
  const auto hybrid = fit(HybridOptions{.lp = o, .em = {.components = 3}, .projection = ProjectionOptions{}}, f, grid);
  CHECK(hybrid.statuses()[0] == Status::infeasible);
  CHECK(is_nan(hybrid.mixture.means.to_vector()[0]));
  CHECK(static_cast<ProjectionMethod>(hybrid.projection.item()) == ProjectionMethod::none);
  // A limit on pivots is a status too.
  LpOptions limited;
  limited.simplex.max_iterations = 2;
  CHECK(fit(limited, f, grid).statuses()[0] == Status::unsolved);
}

TEST_CASE("bad rows have their status and leave the others alone", "[gmm][lp][device]") {
  auto values = repeated(reference_density<Double>(), 4).to_vector();
  values[3] = NAN;
  for (std::size_t i = 96; i < 192; ++i) values[i] = 0.0;
  values[2 * 96 + 50] = -1.0;
  const auto all = Double::from(values, Shape{4, 96});
  const std::vector<Status> expected{Status::non_finite, Status::zero_mass, Status::negative_mass, Status::ok};
  const auto lp = fit(LpOptions{}, all, Grid{});
  CHECK(lp.statuses() == expected);
  CHECK(same_bits(
      row_of(lp.mixture.means, 3),
      fit(LpOptions{}, reference_density<Double>(), Grid{}).mixture.means.reshaped(Shape{lp.mixture.components()})));
  const auto hybrid = fit(HybridOptions{}, all, Grid{});
  CHECK(is_valid(hybrid.statuses()[3]));
  CHECK(hybrid.statuses()[1] == Status::zero_mass);
  CHECK(fit(LpOptions{}, Double::zeros(Shape{0, 96}), Grid{}).batch() == 0);
  using F = Tensor<double, TestDevice>;
  const auto device = fit(HybridOptions{}, F::from(values, Shape{4, 96}), Grid{});
  CHECK(as_on_host(row_of(device.mixture.means.to<Cpu>(), 3).to_vector(), row_of(hybrid.mixture.means, 3).to_vector(),
                   1e6));
}

TEST_CASE("all mass at one point is fitted there, at a border too", "[gmm][lp]") {
  const Grid grid{-15.0, 15.0, 96};
  std::vector<double> points, values(3 * 96, 0.0);
  for (index_t i = 0; i < 96; ++i) points.push_back(grid[i]);
  const std::size_t at[3] = {0, 40, 95};
  for (std::size_t b = 0; b < 3; ++b) values[b * 96 + at[b]] = 7.0;
  const auto f = Double::from(values, Shape{3, 96});
  const auto check = [&](const auto& report) {
    const auto weights = report.mixture.weights.to_vector(), means = report.mixture.means.to_vector(),
               deviations = report.mixture.deviations.to_vector();
    const std::size_t components = weights.size() / 3;
    for (std::size_t b = 0; b < 3; ++b) {
      CAPTURE(b);
      REQUIRE(is_valid(report.statuses()[b]));
      double mean = 0.0, second = 0.0;
      for (std::size_t k = b * components; k < (b + 1) * components; ++k) {
        mean += weights[k] * means[k];
        second += weights[k] * (square(deviations[k]) + square(means[k] - points[at[b]]));
      }
      CHECK(abs(mean - points[at[b]]) <= grid.spacing());
      CHECK(std::sqrt(second) <= grid.spacing());
    }
  };
  for (LpObjective objective : {LpObjective::density, LpObjective::density_and_moments})
    for (MeanPlacement placement : {MeanPlacement::segments, MeanPlacement::quantiles})
      for (bool standardise : {true, false}) {
        LpOptions o;
        o.objective = objective;
        o.dictionary.placement = placement;
        o.standardise = standardise;
        check(fit(o, f, grid));
        check(fit(o, f, points));
      }
  check(fit(HybridOptions{}, f, grid));
}

TEST_CASE("the hybrid fit improves on its start and reports its stages", "[gmm][lp]") {
  const auto set = make_foreign<Double>(Key{4}, 30);
  HybridOptions o;
  o.em.components = 5;
  const FitOptions options{.measures = true};
  const auto r = fit(o, set.densities, set.grid, options, set.offsets);
  CHECK(r.dictionary == 200);
  CHECK(r.mixture.components() == 5);
  for (Status s : r.statuses()) CHECK(is_valid(s));
  CHECK(summarize(r.measures->density_error).mean < 0.02);
  for (double w : r.mixture.weights.to_vector()) CHECK(w > 0.0);
  CHECK(r.lp_seconds > 0.0);
  CHECK(r.em_seconds > 0.0);
  for (std::int32_t c : r.components.to_vector()) CHECK(c > 0);
  // The programme's own mixture has the moments.
  for (double error : r.moment_errors.to_vector()) CHECK(error < 1e-6);
  o.projection = ProjectionOptions{};
  const auto p = fit(o, set.densities, set.grid, options, set.offsets);
  CHECK(same_bits(p.mixture.means, r.mixture.means));
  CHECK_FALSE(same_bits(p.mixture.weights, r.mixture.weights));
  for (std::int32_t m : p.projection.to_vector()) CHECK(m != static_cast<std::int32_t>(ProjectionMethod::none));
  o.lp.objective = LpObjective::density;
  CHECK_THROWS_AS(fit(o, set.densities, set.grid), ArgumentError);
  o = {};
  o.em.components = 33;
  CHECK_THROWS_AS(fit(o, set.densities, set.grid), ArgumentError);
}

TEST_CASE("fits at points of any spacing, and with a polish", "[gmm][lp]") {
  const MaxOfNormals maximum(0.0, Variance(1.0), 1.0, Variance(0.8), 0.5);
  std::vector<double> points, values;
  for (double z = -5.0; z < 7.0; z += 0.08 + 0.03 * std::abs(z - 1.0)) {
    points.push_back(z);
    values.push_back(maximum.density(z));
  }
  const auto f = Double::from(values);
  const FitOptions measured{.measures = true};
  const auto lp = fit(LpOptions{}, f, points, measured);
  CHECK(lp.statuses()[0] == Status::ok);
  CHECK(lp.measures->density_error.item() < 1e-3);
  const auto hybrid = fit(HybridOptions{}, f, points, measured);
  CHECK(hybrid.measures->density_error.item() < 0.01);
  const FitOptions polish{.measures = true, .polish = PolishOptions{}};
  CHECK(fit(HybridOptions{}, f, points, polish).measures->density_error.item() <
        0.2 * hybrid.measures->density_error.item());
  CHECK_THROWS_AS(fit(LpOptions{}, f, points, polish), ArgumentError);
  CHECK_THROWS_AS(fit(HybridOptions{.projection = ProjectionOptions{}}, f, points, polish), ArgumentError);
  std::swap(points[3], points[4]);
  CHECK_THROWS_AS(fit(LpOptions{}, f, points), ArgumentError);
}

TEST_CASE("components are chosen by merging, by weight, or by halving", "[gmm][lp]") {
  using gmm::detail::Component;
  const std::vector<Component> chosen{{0.3, 0.0, 1.0}, {0.28, 0.01, 1.0}, {0.02, 3.0, 0.5}, {0.4, -2.0, 0.1}};
  const auto largest = gmm::detail::select_components(chosen, 2, Selection::largest);
  CHECK(largest[0].mean == -2.0);
  CHECK(largest[1].mean == 0.0);
  const auto merged = gmm::detail::select_components(chosen, 3, Selection::merge);
  CHECK(merged.size() == 3);
  CHECK(merged[0].weight == Approx(0.58));
  const auto more = gmm::detail::select_components(chosen, 7, Selection::merge);
  double mean = 0.0, second = 0.0;
  for (const Component& c : more) {
    mean += c.weight * c.mean;
    second += c.weight * (c.mean * c.mean + c.variance);
  }
  double mean_before = 0.0, second_before = 0.0;
  for (const Component& c : chosen) {
    mean_before += c.weight * c.mean;
    second_before += c.weight * (c.mean * c.mean + c.variance);
  }
  CHECK(more.size() == 7);
  CHECK(mean == Approx(mean_before));
  CHECK(second == Approx(second_before));
}
