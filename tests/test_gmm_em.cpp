#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <fstream>
#include <sstream>

#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/preprocess.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

EmOptions fixed_iterations(int count, double floor) {
  EmOptions options;
  options.tolerance = 0.0;
  options.max_iterations = count;
  options.acceleration = Acceleration::none;
  options.deviation_floor = floor;
  return options;
}

double mean_of(const Mixture<Double>& m) { return mean(m).to_vector()[0]; }
double variance_of(const Mixture<Double>& m) { return variance(m).to_vector()[0]; }

}  // namespace

TEMPLATE_TEST_CASE("EM follows the published iteration", "[gmm][em]", float, double) {
  using V = Tensor<TestType, Cpu>;
  const double digits = std::is_same_v<TestType, double> ? 1e-9 : 4e-6;
  const V f = reference_density<V>(), z = grid_of<V>();

  const auto start = fit_em(f, z, fixed_iterations(0, 0.2));
  CHECK(largest_difference(start.mixture.means, {-0.196280608, 0.457182579, 0.910580349, 1.367319677, 2.027594495}) <
        digits);
  CHECK(start.mixture.deviations.to_vector()[2] == Approx(std::sqrt(0.752262812)).margin(digits));
  CHECK(start.log_likelihood.item() == Approx(-1.359700105).margin(digits));

  const auto first = fit_em(f, z, fixed_iterations(1, 0.2));
  CHECK(largest_difference(first.mixture.weights, {0.146483682, 0.200640161, 0.223661540, 0.228034019, 0.201180598}) <
        digits);
  CHECK(largest_difference(first.mixture.means, {0.272342215, 0.712056048, 1.016386057, 1.326102165, 1.786538643}) <
        digits);
  CHECK(largest_difference(first.mixture.deviations,
                           {0.714091717, 0.710067462, 0.711742814, 0.717362557, 0.732548562}) < digits);
  CHECK(first.log_likelihood.item() == Approx(-1.276704713).margin(digits));
  CHECK(first.iterations.item() == 1);

  CHECK(fit_em(f, z, fixed_iterations(9, 0.2)).log_likelihood.item() == Approx(-1.276556003).margin(digits));
  CHECK(fit_em(f, z, fixed_iterations(299, 0.2)).log_likelihood.item() == Approx(-1.276548228).margin(digits));

  const auto last = fit_em(f, z, fixed_iterations(300, 0.2));
  CHECK(largest_difference(last.mixture.weights, {0.144739833, 0.201706699, 0.224923170, 0.230419401, 0.198210897}) <
        digits);
  CHECK(largest_difference(last.mixture.means, {0.295832185, 0.709986897, 1.021204487, 1.336625977, 1.756692509}) <
        digits);
  CHECK(largest_difference(last.mixture.deviations, {0.741529991, 0.696581359, 0.725170496, 0.702383379, 0.776710739}) <
        digits);
  CHECK(static_cast<Status>(last.status.item()) == Status::iteration_limit);
  CHECK(evaluate(f, Grid{}, last.mixture).density_error.item() == Approx(0.000402317).margin(digits));
}

TEST_CASE("EM stops when the likelihood settles and says so", "[gmm][em]") {
  const Double f = reference_density<Double>(), z = grid_of<Double>();
  const auto fit = fit_em(f, z);
  CHECK(fit.statuses()[0] == Status::ok);
  const int iterations = fit.iterations.item();
  CHECK(iterations > 3);
  CHECK(iterations < 50);
  // The parameters are those whose likelihood is reported: another evaluation of them gives the same number.
  const auto again = em_steps(f, z, fit.mixture, 0);
  CHECK(again.log_likelihood.item() == Approx(fit.log_likelihood.item()).margin(1e-14));
  EmOptions one;
  one.max_iterations = 1;
  CHECK(fit_em(f, z, one).statuses()[0] == Status::iteration_limit);
}

TEST_CASE("after every iteration the mixture has the mean and the variance of the density", "[gmm][em]") {
  const auto set = make_v5<Double>(Key{11}, 40);
  const auto input = preprocess(set.densities, Grid{});
  for (int steps : {1, 2, 7}) {
    const auto fit = fit_em(input.masses, input.points, fixed_iterations(steps, 1e-3));
    const auto m = mean(fit.mixture).to_vector(), v = variance(fit.mixture).to_vector();
    const auto s = input.deviation.to_vector();
    for (std::size_t b = 0; b < m.size(); ++b) {
      CHECK(std::abs(m[b]) < 1e-12);
      CHECK(v[b] == Approx(s[b] * s[b]).epsilon(1e-12));
    }
  }
}

TEST_CASE("EM commutes with shifting and scaling, and does not care about the order of components", "[gmm][em]") {
  const Double f = reference_density<Double>();
  const auto z = grid_of<Double>().to_vector();
  std::vector<double> moved;
  for (double x : z) moved.push_back(100.0 + 7.0 * x);
  const auto a = fit_em(f, grid_of<Double>(), fixed_iterations(30, 0.2));
  const auto b = fit_em(f, Double::from(moved), fixed_iterations(30, 1.4));
  for (int k = 0; k < 5; ++k) {
    const auto i = static_cast<std::size_t>(k);
    CHECK(b.mixture.weights.to_vector()[i] == Approx(a.mixture.weights.to_vector()[i]).epsilon(1e-9));
    CHECK(b.mixture.means.to_vector()[i] == Approx(100.0 + 7.0 * a.mixture.means.to_vector()[i]).epsilon(1e-9));
    CHECK(b.mixture.deviations.to_vector()[i] == Approx(7.0 * a.mixture.deviations.to_vector()[i]).epsilon(1e-9));
  }
  const Mixture<Double> start{Double::from({0.2, 0.5, 0.3}, Shape{1, 3}), Double::from({2.0, -1.0, 0.5}, Shape{1, 3}),
                              Double::from({0.6, 0.7, 0.8}, Shape{1, 3})};
  const Mixture<Double> permuted{Double::from({0.3, 0.2, 0.5}, Shape{1, 3}),
                                 Double::from({0.5, 2.0, -1.0}, Shape{1, 3}),
                                 Double::from({0.8, 0.6, 0.7}, Shape{1, 3})};
  const auto c = em_steps(f, grid_of<Double>(), start, 10), d = em_steps(f, grid_of<Double>(), permuted, 10);
  CHECK(largest_difference(c.mixture.weights, d.mixture.weights) < 1e-13);
  CHECK(largest_difference(c.mixture.means, d.mixture.means) < 1e-13);
  CHECK(c.statuses()[0] == Status::ok);
  CHECK(c.iterations.item() == 10);
}

TEST_CASE("G-14: the likelihood never falls and a good start is not destroyed", "[gmm][em]") {
  const auto foreign = make_foreign<Double>(Key{3}, 64);
  const auto input = preprocess(foreign.densities, Grid{});
  auto fit = fit_em(input.masses, input.points, fixed_iterations(6, 0.0));
  const auto early = evaluate(foreign.densities, Grid{}, to_input_units(fit.mixture, input)).density_error.to_vector();
  auto previous = fit.log_likelihood.to_vector();
  for (int step = 0; step < 60; ++step) {
    fit = em_steps(input.masses, input.points, fit.mixture, 1);
    const auto now = fit.log_likelihood.to_vector();
    for (std::size_t b = 0; b < now.size(); ++b) REQUIRE(now[b] >= previous[b] - 1e-12);
    previous = now;
  }
  fit = fit_em(input.masses, input.points, fit.mixture);
  const auto late = evaluate(foreign.densities, Grid{}, to_input_units(fit.mixture, input)).density_error.to_vector();
  for (std::size_t b = 0; b < late.size(); ++b) CHECK(late[b] < 2.0 * early[b] + 1e-3);
}

TEST_CASE("G-15: no component collapses between grid points", "[gmm][em]") {
  const auto v5 = make_v5<Double>(Key{5}, 400);
  const auto foreign = make_foreign<Double>(Key{6}, 80);
  for (const auto* set : {&v5, &foreign}) {
    const auto input = preprocess(set->densities, Grid{});
    const auto fit = fit_em(input.masses, input.points);
    const auto m = evaluate(set->densities, Grid{}, to_input_units(fit.mixture, input));
    const auto narrowest = m.narrowest.to_vector(), area = m.area.to_vector(), error = m.density_error.to_vector();
    for (std::size_t b = 0; b < error.size(); ++b) {
      CHECK(narrowest[b] >= 0.5 * (1.0 - 1e-9));
      CHECK(std::abs(area[b] - 1.0) < 0.02);
      CHECK(error[b] < 0.2);
    }
    CHECK(summarize(m.density_error).mean < 0.012);
  }
}

TEST_CASE("G-01: bad rows get a status, no NaN comes out and good rows are not touched", "[gmm][em]") {
  const Double good = reference_density<Double>(), z = grid_of<Double>();
  std::vector<double> rows;
  const auto add = [&](int point, double value, double factor) {
    auto row = good.to_vector();
    for (double& x : row) x *= factor;
    if (point >= 0) row[static_cast<std::size_t>(point)] = value;
    rows.insert(rows.end(), row.begin(), row.end());
  };
  add(-1, 0.0, 1.0);
  add(40, -0.1, 1.0);
  add(-1, 0.0, 0.0);
  add(40, std::nan(""), 1.0);
  add(40, INFINITY, 1.0);
  add(-1, 0.0, 1e-30);
  add(-1, 0.0, 1.0);
  const auto fit = fit_em(Double::from(rows, Shape{7, 96}), z);
  const std::vector<Status> expected{Status::ok,         Status::negative_mass, Status::zero_mass, Status::non_finite,
                                     Status::non_finite, Status::zero_mass,     Status::ok};
  CHECK(fit.statuses() == expected);
  CHECK(all_finite(fit.mixture.weights));
  CHECK(all_finite(fit.mixture.means));
  CHECK(all_finite(fit.mixture.deviations));
  CHECK(all_finite(fit.log_likelihood));
  const auto alone = fit_em(good, z);
  for (index_t b : {0, 6}) {
    CHECK(row_of(fit.mixture.weights, b).to_vector() == alone.mixture.weights.to_vector());
    CHECK(row_of(fit.mixture.means, b).to_vector() == alone.mixture.means.to_vector());
  }
  CHECK(row_of(fit.mixture.weights, 3).to_vector() == std::vector<double>(5, 0.0));
  CHECK(fit_em(Double::from({0.5, 0.5}, Shape{2}), Double::from({0.0, 1.0}, Shape{2})).statuses()[0] ==
        Status::too_short);
}

TEST_CASE("G-25: a start that is not a mixture gives a status", "[gmm][em]") {
  const Double f = repeated(reference_density<Double>(), 3), z = grid_of<Double>();
  const double nan = std::nan("");
  const Mixture<Double> start{Double::from({0.5, 0.5, nan, 1.0, 0.0, 0.0}, Shape{3, 2}),
                              Double::from({nan, 1.0, 0.0, 1.0, 0.0, 1.0}, Shape{3, 2}),
                              Double::from({1.0, 1.0, 1.0, 1.0, 1.0, 1.0}, Shape{3, 2})};
  const auto fit = fit_em(f, z, start);
  CHECK(fit.statuses() == std::vector<Status>{Status::non_finite, Status::non_finite, Status::zero_mass});
  CHECK(all_finite(fit.mixture.means));
  CHECK(all_finite(fit.mixture.deviations));
}

TEST_CASE("more starts never give a smaller likelihood, and a key reproduces them", "[gmm][em]") {
  const auto set = make_foreign<Double>(Key{8}, 24);
  const auto input = preprocess(set.densities, Grid{});
  EmOptions options;
  options.key = Key{1};
  const auto one = fit_em(input.masses, input.points, options);
  options.starts = 4;
  const auto four = fit_em(input.masses, input.points, options), again = fit_em(input.masses, input.points, options);
  CHECK(same_bits(four.mixture, again.mixture));
  bool any_better = false;
  for (std::size_t b = 0; b < 24; ++b) {
    CHECK(four.log_likelihood.to_vector()[b] >= one.log_likelihood.to_vector()[b]);
    any_better = any_better || four.log_likelihood.to_vector()[b] > one.log_likelihood.to_vector()[b];
  }
  CHECK(any_better);
}

TEST_CASE("on a stretched grid the floor follows the local spacing", "[gmm][em]") {
  // Two spikes of one point each, where the spacing is 0.1 and where it is 1.
  std::vector<double> z, w;
  for (int i = 0; i < 20; ++i) z.push_back(0.1 * i);
  for (int i = 0; i < 20; ++i) z.push_back(2.0 + 1.0 * i);
  w.assign(40, 0.0);
  w[10] = w[30] = 0.5;
  EmOptions options;
  options.components = 2;
  const auto fit = fit_em(Double::from(w), Double::from(z), options);
  CHECK(fit.mixture.means.to_vector()[0] == Approx(z[10]));
  CHECK(fit.mixture.means.to_vector()[1] == Approx(z[30]));
  CHECK(fit.mixture.deviations.to_vector()[0] == Approx(0.05));
  CHECK(fit.mixture.deviations.to_vector()[1] == Approx(0.5));
}

TEST_CASE("a row has the same bits alone, in a batch, for any number of threads and on a device", "[gmm][em][device]") {
  const auto set = make_v5<Double>(Key{4}, 37);
  const Double z = grid_of<Double>();
  const auto fit = fit_em(set.densities, z);
  const auto alone = fit_em(row_of(set.densities, 20), z);
  CHECK(row_of(fit.mixture.means, 20).to_vector() == alone.mixture.means.to_vector());
  const int before = threads::count();
  for (int count : {1, 2, 4}) {
    threads::set_count(count);
    CHECK(same_bits(fit_em(set.densities, z).mixture, fit.mixture));
  }
  threads::set_count(before);
  const auto device = fit_em(set.densities.to<TestDevice>(), z.to<TestDevice>());
  CHECK(as_on_host(device.mixture.means.to_vector(), fit.mixture.means.to_vector(), 1e6));
  CHECK(device.status.to_vector() == fit.status.to_vector());
}

TEST_CASE("float and double agree to 1e-4 in density", "[gmm][em]") {
  using Float = Tensor<float, Cpu>;
  const auto set = make_v5<Double>(Key{21}, 60);
  std::vector<float> f;
  for (double x : set.densities.to_vector()) f.push_back(static_cast<float>(x));
  const Float densities = Float::from(f, set.densities.shape());
  EmOptions options;
  options.tolerance = 0.0;
  options.max_iterations = 30;
  options.acceleration = Acceleration::none;  // its choices hang on the last digits
  const auto single = fit_em(densities, grid_of<Float>(), options);
  const auto precise = fit_em(set.densities, grid_of<Double>(), options);
  const auto a = evaluate(densities, Grid{}, single.mixture).density_error.to_vector();
  const auto b = evaluate(set.densities, Grid{}, precise.mixture).density_error.to_vector();
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(static_cast<double>(a[i]) - b[i]) < 1e-4);
}

TEST_CASE("any number of components up to 32, and a clear error beyond", "[gmm][em]") {
  const Double f = reference_density<Double>(), z = grid_of<Double>();
  EmOptions options;
  for (int k : {1, 2, 8, 9, 32}) {
    options.components = k;
    const auto fit = fit_em(f, z, options);
    CHECK(is_valid(fit.statuses()[0]));
    CHECK(fit.mixture.components() == k);
    CHECK(mean_of(fit.mixture) == Approx(1.071900520).margin(1e-8));
  }
  options.components = 1;
  CHECK(variance_of(fit_em(f, z, options).mixture) == Approx(0.752262812).margin(1e-8));
  options.components = 33;
  CHECK_THROWS_AS(fit_em(f, z, options), ArgumentError);
  CHECK_THROWS_AS(fit_em(f, Double::zeros(Shape{95})), ShapeError);
  options.components = 5;
  options.tolerance = std::nan("");
  CHECK_THROWS_AS(fit_em(f, z, options), ArgumentError);
}

TEST_CASE("the densities that ship with the examples are densities and EM fits them", "[gmm][em][data]") {
  std::ifstream file(KOLMO_EXAMPLES "/data/densities.csv");
  std::string line, cell;
  REQUIRE(std::getline(file, line));
  CHECK(line.rfind("id,dataset,quantity,f0,f1,", 0) == 0);
  const index_t points = std::count(line.begin(), line.end(), ',') - 2;
  const Grid grid{-15.0, 15.0, points};
  std::vector<double> values;
  std::vector<std::string> ids;
  while (std::getline(file, line)) {
    std::istringstream row(line);
    for (int column = 0; std::getline(row, cell, ','); ++column)
      if (column == 0)
        ids.push_back(cell);
      else if (column >= 3)
        values.push_back(std::stod(cell));
  }
  const auto rows = static_cast<index_t>(ids.size());
  REQUIRE(rows >= 8);
  REQUIRE(static_cast<index_t>(values.size()) == rows * points);
  const Double f = Double::from(values, Shape{rows, points});
  const auto input = preprocess(f, grid);
  const auto fit = fit_em(input.masses, input.points);
  const auto m = evaluate(f, grid, to_input_units(fit.mixture, input));
  for (std::size_t b = 0; b < ids.size(); ++b) {
    INFO(ids[b]);
    CHECK(is_valid(fit.statuses()[b]));
    double area = 0.0;
    for (double v : row_of(f, static_cast<index_t>(b)).to_vector()) area += v * grid.spacing();
    CHECK(area == Approx(1.0).margin(1e-4));
    CHECK(input.deviation.to_vector()[b] > 2.0 * grid.spacing());
    CHECK(m.density_error.to_vector()[b] < 0.03);
    CHECK_FALSE(is_spike(m.area.to_vector()[b], m.divergence.to_vector()[b]));
  }
}
