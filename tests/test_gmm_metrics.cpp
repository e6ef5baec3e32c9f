#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <kolmo/core/random.hpp>
#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/metrics.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

Mixture<Double> mixture(std::initializer_list<double> weights, std::initializer_list<double> means,
                        std::initializer_list<double> deviations) {
  const Shape shape{1, static_cast<index_t>(weights.size())};
  return {Double::from(weights, shape), Double::from(means, shape), Double::from(deviations, shape)};
}

/// A mixture that is near the reference density but not equal to it.
Mixture<Double> near_fit() {
  return mixture({0.076386857, 0.174041272, 0.267636595, 0.278047571, 0.203887705},
                 {-1.004637137, -0.191523268, 0.613363235, 1.427154207, 2.279612629},
                 {0.628660346, 0.619027997, 0.619342373, 0.628804601, 0.658411727});
}

/// Exact distribution function of the reference density at the points of the grid.
Double exact_distribution() {
  return sampled<Double>([](double z) { return reference_maximum().distribution(z); }).reshaped(Shape{1, 96});
}

}  // namespace

TEST_CASE("the measures have the published values", "[gmm][metrics]") {
  const Double f = reference_density<Double>();
  CHECK(entropy(f, Grid{}).item() == Approx(1.276546047).margin(1e-9));
  const auto m = evaluate(f, Grid{}, near_fit());
  CHECK(m.cross_entropy.item() == Approx(1.370326640).margin(2e-9));
  CHECK(m.density_error.item() == Approx(0.140995181).margin(2e-9));
  CHECK(m.divergence.item() == Approx(1.370326640 - 1.276546047).margin(3e-9));
  CHECK(m.area.item() == Approx(1.0).margin(1e-8));
  CHECK(m.narrowest.item() == Approx(0.619027997 / Grid{}.spacing()).margin(1e-8));
  // The older error of the distribution agrees with the analytic one where everything is resolved.
  const auto exact = evaluate(f, Grid{}, near_fit(), {}, exact_distribution());
  CHECK(exact.distribution_error.item() == Approx(m.trapezoid_error.item()).margin(0.025));
  CHECK(exact.distribution_error.item() > 0.05);
}

TEST_CASE("a perfect fit has no error", "[gmm][metrics]") {
  const auto truth = mixture({0.3, 0.7}, {-1.0, 2.0}, {0.8, 1.5});
  const Double f = density(truth, grid_of<Double>());
  const auto m = evaluate(f, Grid{}, truth, {}, distribution(truth, grid_of<Double>()));
  CHECK(m.density_error.item() < 1e-12);
  CHECK(m.distribution_error.item() < 1e-12);
  CHECK(std::abs(m.divergence.item()) < 1e-12);
  CHECK_FALSE(is_spike(m.area.item(), m.divergence.item()));
}

TEST_CASE("G-08: the distribution error never exceeds one, whatever the parameters", "[gmm][metrics]") {
  const Double f = reference_density<Double>();
  const double peak = Grid{}[50];
  // All mass in a component that is far narrower than the spacing and sits on a point: the older measure breaks.
  const auto spike = evaluate(f, Grid{}, mixture({0.5, 0.5}, {0.0, peak}, {1.0, 1e-6}));
  CHECK(spike.trapezoid_error.item() > 1e3);
  CHECK(spike.distribution_error.item() <= 1.0);
  for (int i = 0; i < 300; ++i) {
    const auto c = static_cast<std::uint64_t>(10 * i);
    const auto number = [&](std::uint64_t j) { return uniform<double>(Key{5}, c + j); };
    const double w = number(0);
    const auto m = evaluate(f, Grid{},
                            mixture({w, 1.0 - w}, {40.0 * number(1) - 20.0, 40.0 * number(2) - 20.0},
                                    {std::pow(10.0, 8.0 * number(3) - 6.0), std::pow(10.0, 8.0 * number(4) - 6.0)}),
                            {}, exact_distribution());
    REQUIRE(m.distribution_error.item() <= 1.0 + 1e-12);
  }
}

TEST_CASE("G-09: a cross entropy below the entropy is recognised as a spike", "[gmm][metrics]") {
  const Double f = reference_density<Double>();
  const double peak = Grid{}[50];
  const auto spike = evaluate(f, Grid{}, mixture({0.4, 0.6}, {1.07, peak}, {0.86, 0.02}));
  CHECK(spike.cross_entropy.item() < entropy(f, Grid{}).item() + 0.5);
  CHECK(spike.density_error.item() > 2.0);
  CHECK(is_spike(spike.area.item(), spike.divergence.item()));

  const auto healthy = evaluate(f, Grid{}, fit_em(f, grid_of<Double>()).mixture);
  CHECK_FALSE(is_spike(healthy.area.item(), healthy.divergence.item()));

  // Jensen: the divergence is never below -log(area).
  for (int i = 0; i < 300; ++i) {
    const auto c = static_cast<std::uint64_t>(10 * i);
    const auto number = [&](std::uint64_t j) { return uniform<double>(Key{6}, c + j); };
    const double w = number(0);
    const auto m = evaluate(f, Grid{},
                            mixture({w, 1.0 - w}, {6.0 * number(1) - 2.0, 6.0 * number(2) - 2.0},
                                    {0.01 + number(3), 0.01 + 3.0 * number(4)}));
    REQUIRE(m.divergence.item() >= -std::log(m.area.item()) - 1e-9);
  }
}

TEST_CASE("a mixture that is none has no measure, and is not taken for a perfect one", "[gmm][metrics]") {
  const Double density = Double::from({0.0, 1.0, 2.0, 1.0, 0.0});
  const auto m = evaluate(density, Grid{-1.0, 1.0, 5}, mixture({NAN}, {0.0}, {1.0}));
  for (const Double& x : {m.density_error, m.distribution_error, m.trapezoid_error, m.cross_entropy, m.divergence, m.area})
    CHECK(is_nan(x.to_vector()[0]));
}

TEST_CASE("offsets move the grid under a density", "[gmm][metrics]") {
  const auto truth = mixture({1.0}, {3.5}, {0.7});
  std::vector<double> values;
  for (index_t i = 0; i < 96; ++i) values.push_back(normal_density(Grid{}[i] + 3.1, 3.5, 0.7));
  const auto m = evaluate(Double::from(values), Grid{}, truth, Double::from({3.1}, Shape{1}));
  CHECK(m.density_error.item() < 1e-9);
  CHECK(evaluate(Double::from(values), Grid{}, truth).density_error.item() > 0.1);
}

TEST_CASE("summaries give mean, percentiles, maximum and share, also by stratum", "[gmm][metrics]") {
  std::vector<double> values;
  for (int i = 0; i <= 100; ++i) values.push_back(0.001 * (100 - i));
  const Summary s = summarize(values);
  CHECK(s.count == 101);
  CHECK(s.mean == Approx(0.05));
  CHECK(s.median == Approx(0.05));
  CHECK(s.percentile_95 == Approx(0.095));
  CHECK(s.maximum == Approx(0.1));
  CHECK(s.share_below == Approx(10.0 / 101.0));
  CHECK(s.deviation == Approx(0.0291547595));
  values[7] = std::nan("");
  CHECK(summarize(values).maximum == INFINITY);
  CHECK(summarize(std::vector<double>{}).count == 0);
  const auto part = Tensor<std::int32_t, Cpu>::from({0, 1, 1, 0}, Shape{4});
  const Summary one = summarize(Double::from({5.0, 1.0, 3.0, 7.0}, Shape{4}), part, 1, 2.0);
  CHECK(one.count == 2);
  CHECK(one.mean == Approx(2.0));
  CHECK(one.share_below == Approx(0.5));
}

TEST_CASE("measures are the same on a device and check their arguments", "[gmm][metrics][device]") {
  const Double f = reference_density<Double>();
  const auto host = evaluate(f, Grid{}, near_fit());
  const Mixture<Double> fit = near_fit();
  using Device = Tensor<double, TestDevice>;
  const Mixture<Device> moved{fit.weights.to<TestDevice>(), fit.means.to<TestDevice>(),
                              fit.deviations.to<TestDevice>()};
  const auto device = evaluate(f.to<TestDevice>(), Grid{}, moved);
  CHECK(as_on_host(device.cross_entropy.to_vector(), host.cross_entropy.to_vector()));
  CHECK(as_on_host(device.distribution_error.to_vector(), host.distribution_error.to_vector(), 1e3));
  CHECK_THROWS_AS(evaluate(f, Grid{0.0, 1.0, 95}, near_fit()), ShapeError);
  CHECK_THROWS_AS(evaluate(repeated(f, 2), Grid{}, near_fit()), ShapeError);
  CHECK_THROWS_AS(entropy(f, Grid{0.0, 1.0, 95}), ShapeError);
}
