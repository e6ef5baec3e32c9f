// Quantiles, samples and responsibilities of mixtures, and skewness and kurtosis.

#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <kolmo/ad/transforms.hpp>
#include <kolmo/gmm/mixture_quantile.hpp>
#include <kolmo/gmm/mixture_sample.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

template <class V>
Mixture<V> mixtures(const std::vector<double>& weights, const std::vector<double>& means,
                    const std::vector<double>& deviations, index_t components) {
  using T = typename V::Scalar;
  const Shape shape{static_cast<index_t>(weights.size()) / components, components};
  const auto make = [&](const std::vector<double>& x) { return V::from(std::vector<T>(x.begin(), x.end()), shape); };
  return {make(weights), make(means), make(deviations)};
}

template <class V>
Mixture<V> two_mixtures() {
  return mixtures<V>({0.2, 0.5, 0.3, 0.6, 0.1, 0.3}, {-1.5, 0.5, 2.0, 3.0, -4.0, 0.0}, {0.4, 1.2, 0.7, 2.0, 0.3, 0.9},
                     3);
}

const std::vector<double> levels{1e-12, 1e-4, 0.05, 0.2, 0.5, 0.7, 0.95, 0.9999, 1.0 - 1e-9};

}  // namespace

TEMPLATE_TEST_CASE("the distribution function takes a quantile back to its level", "[gmm][quantile]", float, double) {
  using V = Tensor<TestType, Cpu>;
  const auto m = two_mixtures<V>();
  const std::vector<TestType> p(levels.begin(), levels.end());
  const auto q = quantile(m, V::from(p));
  CHECK(q.shape() == Shape{2, 9});
  const auto back = distribution(m, q).to_vector();
  const double rounding = std::is_same_v<TestType, double> ? 1e-14 : 4e-7;
  for (std::size_t i = 0; i < back.size(); ++i)
    CHECK(static_cast<double>(back[i]) ==
          Approx(static_cast<double>(p[i % p.size()])).epsilon(10 * rounding).margin(rounding));
}

TEST_CASE("quantiles of a single normal are those of the tables", "[gmm][quantile]") {
  const auto m = mixtures<Double>({1.0}, {2.0}, {3.0}, 1);
  const auto q = quantile(m, Double::from({0.5, 0.975, 0.001, 1e-300, 1.0 - 0x1p-53}, Shape{5})).to_vector();
  CHECK(q[0] == Approx(2.0).margin(1e-14));
  CHECK(q[1] == Approx(2.0 + 3.0 * 1.9599639845400545).epsilon(1e-14));
  CHECK(q[2] == Approx(2.0 - 3.0 * 3.0902323061678132).epsilon(1e-14));
  CHECK(q[3] == Approx(2.0 - 3.0 * 37.0470962993612).epsilon(1e-12));
  CHECK(q[4] == Approx(2.0 + 3.0 * 8.2095361516013874).epsilon(1e-13));
}

TEST_CASE("quantiles grow with the level, through gaps and past narrow components", "[gmm][quantile]") {
  // Gaps of a hundred deviations; one component a millionth wide; one without weight, far away.
  const auto m = mixtures<Double>({0.3, 0.4, 0.3, 0.0}, {-100.0, 0.0, 1.0, 1e6}, {1.0, 1e-6, 2.0, 1.0}, 4);
  std::vector<double> p;
  for (int i = 1; i < 1000; ++i) p.push_back(i / 1000.0);
  p.push_back(0.3 + 1e-13);
  const auto q = quantile(m, Double::from(p)).to_vector();
  for (std::size_t i = 1; i < 999; ++i) CHECK(q[i] >= q[i - 1]);
  const auto back = distribution(m, Double::from(q)).to_vector();
  for (std::size_t i = 0; i < p.size(); ++i) CHECK(back[i] == Approx(p[i]).margin(1e-10));
  CHECK(q[299] > -93.0);
  CHECK(q.back() < 1.0);
}

TEST_CASE("levels outside (0, 1) and rows that are no mixtures", "[gmm][quantile]") {
  const auto m = two_mixtures<Double>();
  const auto q = quantile(m, Double::from({0.0, 1.0, -0.1, 1.1, NAN}, Shape{5})).to_vector();
  CHECK(q[0] == -INFINITY);
  CHECK(q[1] == INFINITY);
  for (std::size_t i : {2u, 3u, 4u}) CHECK(is_nan(q[i]));
  for (double broken : {double(NAN), double(INFINITY), -1.0})
    CHECK(is_nan(
        quantile(mixtures<Double>({0.5, 0.5}, {0.0, 1.0}, {1.0, broken}, 2), Double::from({0.3}, Shape{1})).item()));
  CHECK(
      is_nan(quantile(mixtures<Double>({0.0, 0.0}, {0.0, 1.0}, {1.0, 1.0}, 2), Double::from({0.3}, Shape{1})).item()));
  CHECK_THROWS_AS(quantile(m, Double::zeros(Shape{3, 5})), ShapeError);
  CHECK_THROWS_AS(quantile(m, Double::scalar(0.5)), ShapeError);
}

TEST_CASE("quantiles are differentiable in the mixture and in the level", "[gmm][quantile]") {
  const auto m = two_mixtures<Double>();
  const Double p = Double::from({0.03, 0.4, 0.9}, Shape{3});
  const auto loss = [&](const auto& mixture) { return sum(square(quantile(mixture, p))); };
  const auto gradient = grad(loss, m);
  const auto check = [&](Double Mixture<Double>::*field) {
    const auto g = (gradient.*field).to_vector();
    for (std::size_t i = 0; i < g.size(); ++i) {
      const auto shifted = [&](double by) {
        Mixture<Double> copy = m;
        auto values = (m.*field).to_vector();
        values[i] += by;
        copy.*field = Double::from(values, Shape{2, 3});
        return loss(copy).item();
      };
      const double h = 1e-4;
      const double difference =
          (8.0 * (shifted(h) - shifted(-h)) - (shifted(2.0 * h) - shifted(-2.0 * h))) / (12.0 * h);
      CHECK(g[i] == Approx(difference).margin(1e-8).epsilon(1e-8));
    }
  };
  check(&Mixture<Double>::weights);
  check(&Mixture<Double>::means);
  check(&Mixture<Double>::deviations);
  // dq / dp = 1 / g(q).
  const auto slope = grad([&](const auto& level) { return sum(quantile(m, level)); }, p).to_vector();
  const auto g = density(m, quantile(m, p)).to_vector();
  for (std::size_t i = 0; i < 3; ++i) CHECK(slope[i] == Approx(1.0 / g[i] + 1.0 / g[i + 3]).epsilon(1e-12));
  // Forward mode and reverse mode agree, and so does forward over reverse with the slope of the gradient.
  const Mixture<Double> direction = mixtures<Double>({0.1, -0.2, 0.1, 0.3, 0.0, -0.1}, {1.0, 0.3, -0.4, 0.2, 0.5, -1.0},
                                                     {0.1, 0.2, -0.1, 0.4, 0.1, 0.2}, 3);
  const double along = sum(gradient.weights * direction.weights).item() + sum(gradient.means * direction.means).item() +
                       sum(gradient.deviations * direction.deviations).item();
  CHECK(jvp(loss, m, direction).tangent.item() == Approx(along).epsilon(1e-12));
  const auto curvature = hvp(loss, m, direction);
  const auto moved = [&](double by) {
    return grad(loss, Mixture<Double>{m.weights + by * direction.weights, m.means + by * direction.means,
                                      m.deviations + by * direction.deviations});
  };
  const double h = 1e-5;
  const auto plus = moved(h), minus = moved(-h);
  CHECK(largest_difference(curvature.means, (plus.means - minus.means) / (2.0 * h)) < 1e-5);
  CHECK(largest_difference(curvature.weights, (plus.weights - minus.weights) / (2.0 * h)) < 1e-5);
}

TEST_CASE("quantiles on another backend", "[gmm][quantile][device]") {
  using F = Tensor<double, TestDevice>;
  const auto m = two_mixtures<Double>();
  const Mixture<F> device{m.weights.to<TestDevice>(), m.means.to<TestDevice>(), m.deviations.to<TestDevice>()};
  CHECK(as_on_host(quantile(device, F::from(levels)).to_vector(), quantile(m, Double::from(levels)).to_vector(), 1e2));
  CHECK(as_on_host(sample(device, Key{3}, 20).to_vector(), sample(m, Key{3}, 20).to_vector()));
}

TEMPLATE_TEST_CASE("samples have the moments of the mixture", "[gmm][sample]", float, double) {
  using V = Tensor<TestType, Cpu>;
  const auto m = two_mixtures<V>();
  const index_t n = 200000;
  const auto x = sample(m, Key{7}, n).to_vector();
  for (std::size_t b = 0; b < 2; ++b) {
    double first = 0.0, second = 0.0, third = 0.0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
      first += static_cast<double>(x[b * static_cast<std::size_t>(n) + i]);
    first /= static_cast<double>(n);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      const double d = static_cast<double>(x[b * static_cast<std::size_t>(n) + i]) - first;
      second += d * d;
      third += d * d * d;
    }
    second /= static_cast<double>(n);
    third /= static_cast<double>(n);
    const double v = static_cast<double>(variance(m).to_vector()[b]);
    // Five standard errors.
    CHECK(first ==
          Approx(static_cast<double>(mean(m).to_vector()[b])).margin(5.0 * std::sqrt(v / static_cast<double>(n))));
    CHECK(second == Approx(v).epsilon(0.03));
    CHECK(third / std::pow(second, 1.5) == Approx(static_cast<double>(skewness(m).to_vector()[b])).margin(0.05));
  }
}

TEST_CASE("a sample is a function of key, row and index", "[gmm][sample]") {
  const auto m = two_mixtures<Double>();
  const auto few = sample(m, Key{1}, 5).to_vector(), many = sample(m, Key{1}, 50).to_vector();
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(few[i] == many[i]);
    CHECK(few[5 + i] == many[50 + i]);
  }
  CHECK(few[0] != sample(m, Key{2}, 5).to_vector()[0]);
  CHECK(sample(m, Key{1}, 0).shape() == Shape{2, 0});
  CHECK_THROWS_AS(sample(m, Key{1}, -1), ArgumentError);
  // No sample of a component without weight, wherever the uniform number falls.
  const auto dead = mixtures<Double>({0.0, 1.0, 0.0}, {-50.0, 0.0, 50.0}, {1.0, 1.0, 1.0}, 3);
  for (double x : sample(dead, Key{5}, 5000).to_vector()) CHECK(std::abs(x) < 9.0);
}

TEST_CASE("responsibilities are shares of the density", "[gmm][mixture]") {
  const auto m = two_mixtures<Double>();
  const Double z = Double::from({-2.0, 0.4, 3.0, 600.0}, Shape{4});
  const auto r = responsibilities(m, z);
  CHECK(r.shape() == Shape{2, 3, 4});
  for (double total : sum(r, {1}).to_vector()) CHECK(total == Approx(1.0).epsilon(1e-14));
  const auto values = r.to_vector();
  const double shares[3] = {0.2 * normal_density(0.4, -1.5, 0.4), 0.5 * normal_density(0.4, 0.5, 1.2),
                            0.3 * normal_density(0.4, 2.0, 0.7)};
  for (std::size_t k = 0; k < 3; ++k)
    CHECK(values[k * 4 + 1] == Approx(shares[k] / (shares[0] + shares[1] + shares[2])).epsilon(1e-12));
  // Where every density underflows the widest has all.
  CHECK(values[1 * 4 + 3] == 1.0);
  // A component without weight has no share, not even beside its mean.
  const auto dead =
      responsibilities(mixtures<Double>({1.0, 0.0}, {0.0, 60.0}, {1.0, 1.0}, 2), Double::from({60.0}, Shape{1}));
  CHECK(dead.to_vector() == std::vector<double>{1.0, 0.0});
}

TEST_CASE("skewness and excess kurtosis", "[gmm][mixture]") {
  const auto one = mixtures<Double>({1.0}, {2.0}, {3.0}, 1);
  CHECK(skewness(one).item() == Approx(0.0).margin(1e-14));
  CHECK(excess_kurtosis(one).item() == Approx(0.0).margin(1e-13));
  // Two equal normals at -a and a: kurtosis -2 a^4 / (a^2 + v)^2.
  const auto pair = mixtures<Double>({0.5, 0.5}, {-2.0, 2.0}, {0.5, 0.5}, 2);
  CHECK(excess_kurtosis(pair).item() == Approx(-2.0 * 16.0 / std::pow(4.25, 2)).epsilon(1e-13));
  CHECK(skewness(pair).item() == Approx(0.0).margin(1e-14));
  // Weight 1 - p at 0 and p at 1 without width: the Bernoulli law, (1 - 2 p) / sqrt(p (1 - p)).
  const auto bernoulli = mixtures<Double>({0.9, 0.1}, {0.0, 1.0}, {1e-9, 1e-9}, 2);
  CHECK(skewness(bernoulli).item() == Approx(0.8 / 0.3).epsilon(1e-10));
}
