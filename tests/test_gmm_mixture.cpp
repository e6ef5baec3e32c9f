#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <kolmo/ad/transforms.hpp>
#include <kolmo/gmm/mixture.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

Mixture<Double> two_mixtures() {
  return {Double::from({0.2, 0.5, 0.3, 0.6, 0.1, 0.3}, Shape{2, 3}),
          Double::from({-1.5, 0.5, 2.0, 3.0, -4.0, 0.0}, Shape{2, 3}),
          Double::from({0.4, 1.2, 0.7, 2.0, 0.3, 0.9}, Shape{2, 3})};
}

struct Row {
  std::vector<double> weights, means, deviations;
  explicit Row(const Mixture<Double>& m, index_t b)
      : weights(row_of(m.weights, b).to_vector()),
        means(row_of(m.means, b).to_vector()),
        deviations(row_of(m.deviations, b).to_vector()) {}
  double density(double z) const { return mixture_density(weights.data(), means.data(), deviations.data(), 3, z); }
  double distribution(double z) const {
    return mixture_distribution(weights.data(), means.data(), deviations.data(), 3, z);
  }
  double log_density(double z) const {
    return mixture_log_density(weights.data(), means.data(), deviations.data(), 3, z);
  }
};

/// Simpson's rule.
template <class F>
double integral(const F& f, double a, double b, int n = 4000) {
  const double h = (b - a) / n;
  double sum = f(a) + f(b);
  for (int i = 1; i < n; ++i) sum += f(a + h * i) * (i % 2 == 1 ? 4.0 : 2.0);
  return sum * h / 3.0;
}

}  // namespace

TEST_CASE("the distribution function is the integral of the density", "[gmm][mixture]") {
  for (index_t b : {0, 1}) {
    const Row row(two_mixtures(), b);
    for (double z : {-3.0, 0.0, 1.7})
      CHECK(integral([&](double t) { return row.density(t); }, -25.0, z) == Approx(row.distribution(z)).margin(1e-9));
    CHECK(row.distribution(40.0) == Approx(1.0).margin(1e-15));
  }
}

TEST_CASE("moments are the integrals of the powers", "[gmm][mixture]") {
  const auto m = two_mixtures();
  for (index_t b : {0, 1}) {
    const Row row(m, b);
    const auto raw = mixture_raw_moments(row.weights.data(), row.means.data(), row.deviations.data(), 3);
    const auto central = mixture_central_moments(row.weights.data(), row.means.data(), row.deviations.data(), 3);
    for (int n = 0; n <= 4; ++n)
      CHECK(integral([&](double z) { return row.density(z) * std::pow(z, n); }, -30.0, 30.0) ==
            Approx(raw[n]).margin(1e-8));
    for (int n = 2; n <= 4; ++n)
      CHECK(integral([&](double z) { return row.density(z) * std::pow(z - raw[1], n); }, -30.0, 30.0) ==
            Approx(central[n]).margin(1e-8));
    const auto i = static_cast<std::size_t>(b);
    CHECK(mean(m).to_vector()[i] == Approx(raw[1]).epsilon(1e-14));
    CHECK(variance(m).to_vector()[i] == Approx(central[2]).epsilon(1e-13));
    CHECK(raw_moment<1>(m).to_vector()[i] == Approx(raw[1]).epsilon(1e-13));
    CHECK(raw_moment<2>(m).to_vector()[i] == Approx(raw[2]).epsilon(1e-13));
    CHECK(raw_moment<3>(m).to_vector()[i] == Approx(raw[3]).epsilon(1e-13));
    CHECK(raw_moment<4>(m).to_vector()[i] == Approx(raw[4]).epsilon(1e-13));
    CHECK(central_moment<3>(m).to_vector()[i] == Approx(central[3]).epsilon(1e-12));
    CHECK(central_moment<4>(m).to_vector()[i] == Approx(central[4]).epsilon(1e-12));
  }
}

TEST_CASE("tensors and single mixtures agree", "[gmm][mixture]") {
  const auto m = two_mixtures();
  const std::vector<double> points{-4.0, -1.5, 0.1, 0.9, 3.0};
  const auto f = density(m, Double::from(points)).to_vector();
  const auto g = distribution(m, Double::from(points)).to_vector();
  const auto l = log_density(m, Double::from(points)).to_vector();
  std::vector<double> per_row = points;
  for (double z : points) per_row.push_back(z + 1.0);
  const auto h = density(m, Double::from(per_row, Shape{2, 5})).to_vector();
  for (index_t b : {0, 1}) {
    const Row row(m, b);
    std::vector<double> fast(points.size());
    mixture_densities(row.weights.data(), row.means.data(), row.deviations.data(), 3, points.data(), 5, fast.data());
    for (std::size_t i = 0; i < points.size(); ++i) {
      const std::size_t j = static_cast<std::size_t>(b) * 5 + i;
      CHECK(f[j] == Approx(row.density(points[i])).epsilon(1e-13));
      CHECK(fast[i] == Approx(row.density(points[i])).epsilon(1e-13));
      CHECK(g[j] == Approx(row.distribution(points[i])).epsilon(1e-13));
      CHECK(l[j] == Approx(std::log(row.density(points[i]))).epsilon(1e-12));
      CHECK(row.log_density(points[i]) == Approx(l[j]).epsilon(1e-12));
      CHECK(h[j] == Approx(row.density(points[i] + (b == 1 ? 1.0 : 0.0))).epsilon(1e-13));
    }
  }
  CHECK_THROWS_AS(density(m, Double::zeros(Shape{3, 5})), ShapeError);
}

TEST_CASE("the logarithm of the density stays finite where the density underflows", "[gmm][mixture]") {
  const auto m = two_mixtures();
  const auto far = log_density(m, Double::from({500.0}, Shape{1})).to_vector();
  CHECK(density(m, Double::from({500.0}, Shape{1})).to_vector()[0] == 0.0);
  // Only the widest component counts: 0.5 N(0.5, 1.2) in the first mixture.
  CHECK(far[0] == Approx(std::log(0.5 / 1.2) - 0.5 * std::pow(499.5 / 1.2, 2) - 0.918938533204673));
  CHECK(Row(m, 0).log_density(500.0) == Approx(far[0]));
  const Mixture<Double> dead{Double::from({1.0, 0.0}, Shape{1, 2}), Double::from({0.0, 5.0}, Shape{1, 2}),
                             Double::from({1.0, 1.0}, Shape{1, 2})};
  CHECK(log_density(dead, Double::from({0.0}, Shape{1})).item() == Approx(-0.918938533204673));
}

TEST_CASE("densities, distribution functions and moments are differentiable in the parameters", "[gmm][mixture]") {
  const auto m = two_mixtures();
  const Double points = Double::from({-2.0, 0.3, 1.9}, Shape{3});
  const auto loss = [&](const auto& mixture) {
    return sum(square(density(mixture, points))) + sum(distribution(mixture, points)) +
           sum(exp(log_density(mixture, points))) + sum(variance(mixture)) + sum(central_moment<3>(mixture));
  };
  const auto gradient = grad(loss, m);
  const double h = 1e-5;
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
      const double difference =
          (8.0 * (shifted(h) - shifted(-h)) - (shifted(2.0 * h) - shifted(-2.0 * h))) / (12.0 * h);
      CHECK(g[i] == Approx(difference).margin(1e-7).epsilon(1e-7));
    }
  };
  check(&Mixture<Double>::weights);
  check(&Mixture<Double>::means);
  check(&Mixture<Double>::deviations);
}

TEST_CASE("components are ordered by mean and stay together", "[gmm][mixture][device]") {
  const auto m = two_mixtures();
  const auto s = sorted_by_mean(m);
  CHECK(s.means.to_vector() == std::vector<double>{-1.5, 0.5, 2.0, -4.0, 0.0, 3.0});
  CHECK(s.weights.to_vector() == std::vector<double>{0.2, 0.5, 0.3, 0.1, 0.3, 0.6});
  CHECK(s.deviations.to_vector() == std::vector<double>{0.4, 1.2, 0.7, 0.3, 0.9, 2.0});
  CHECK(m.means.to_vector()[3] == 3.0);
  const auto device = sorted_by_mean(Mixture<Tensor<double, TestDevice>>{
      m.weights.to<TestDevice>(), m.means.to<TestDevice>(), m.deviations.to<TestDevice>()});
  CHECK(device.means.to_vector() == s.means.to_vector());
}

TEST_CASE("the sampled reference density has the published moments", "[gmm][mixture]") {
  const auto f = reference_density<Double>().to_vector();
  const Grid grid;
  const std::vector<double> published{1.000000000, 1.071900520, 1.901233538, 3.667790369, 8.277574922};
  for (int n = 0; n <= 4; ++n) {
    double sum = 0.0;
    for (index_t i = 0; i < grid.points; ++i)
      sum += f[static_cast<std::size_t>(i)] * trapezoid_weight(grid.spacing(), grid.points, i) * std::pow(grid[i], n);
    CHECK(sum == Approx(published[static_cast<std::size_t>(n)]).margin(2e-8));
  }
}
