// Pruning and merging of components, and distances between mixtures, samples and densities.

#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <limits>

#include <kolmo/gmm/mixture_distance.hpp>
#include <kolmo/gmm/mixture_reduce.hpp>
#include <kolmo/gmm/mixture_sample.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

using Row = std::vector<double>;

Mixture<Double> one_row(const Row& weights, const Row& means, const Row& deviations) {
  const Shape shape{1, static_cast<index_t>(weights.size())};
  return {Double::from(weights, shape), Double::from(means, shape), Double::from(deviations, shape)};
}

/// Batch of random mixtures.
template <class V>
Mixture<V> random_mixtures(Key key, index_t batch, index_t components) {
  using T = typename V::Scalar;
  std::vector<T> w, m, s;
  for (index_t b = 0; b < batch; ++b) {
    double total = 0.0;
    for (index_t k = 0; k < components; ++k) {
      const auto i = static_cast<std::uint64_t>(4 * (b * components + k));
      w.push_back(static_cast<T>(uniform<double>(key, i)));
      total += static_cast<double>(w.back());
      m.push_back(static_cast<T>(6.0 * uniform<double>(key, i + 1) - 3.0));
      s.push_back(static_cast<T>(std::exp(3.0 * uniform<double>(key, i + 2) - 2.0)));
    }
    for (index_t k = 0; k < components; ++k) w[static_cast<std::size_t>(b * components + k)] /= static_cast<T>(total);
  }
  const Shape shape{batch, components};
  return {V::from(w, shape), V::from(m, shape), V::from(s, shape)};
}

/// Greedy merging that looks at all pairs every time.
void merge_naively(std::vector<Row>& c, std::size_t target) {
  while (c.size() > target) {
    double least = INFINITY;
    std::size_t bi = 0, bj = 0;
    Row best;
    for (std::size_t i = 0; i < c.size(); ++i)
      for (std::size_t j = i + 1; j < c.size(); ++j) {
        const double w = c[i][0] + c[j][0], mean = (c[i][0] * c[i][1] + c[j][0] * c[j][1]) / w;
        const double v = (c[i][0] * (c[i][2] * c[i][2] + std::pow(c[i][1] - mean, 2)) +
                          c[j][0] * (c[j][2] * c[j][2] + std::pow(c[j][1] - mean, 2))) /
                         w;
        const double cost =
            0.5 * (w * std::log(v) - 2.0 * c[i][0] * std::log(c[i][2]) - 2.0 * c[j][0] * std::log(c[j][2]));
        if (cost < least) {
          least = cost;
          bi = i;
          bj = j;
          best = {w, mean, std::sqrt(v)};
        }
      }
    c[bi] = best;
    c.erase(c.begin() + static_cast<std::ptrdiff_t>(bj));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("merging keeps mass, mean and variance", "[gmm][reduce]", float, double) {
  using V = Tensor<TestType, Cpu>;
  const auto m = random_mixtures<V>(Key{1}, 6, 20);
  const double digits = std::is_same_v<TestType, double> ? 1e-13 : 2e-6;
  for (int target : {10, 3, 1}) {
    const auto r = merged(m, {.components = target});
    CHECK(r.mixture.components() == target);
    CHECK(largest_difference(sum(r.mixture.weights, {1}), sum(m.weights, {1})) < digits);
    CHECK(largest_difference(mean(r.mixture), mean(m)) < 10 * digits);
    CHECK(largest_difference(variance(r.mixture), variance(m)) < 30 * digits);
    const auto means = r.mixture.means.to_vector();
    for (std::size_t i = 0; i < means.size(); ++i)
      if (i % static_cast<std::size_t>(target) != 0) CHECK(means[i] >= means[i - 1]);
  }
}

TEST_CASE("greedy merging takes the cheapest pair each time", "[gmm][reduce]") {
  const index_t batch = 30, components = 12;
  const auto m = random_mixtures<Double>(Key{2}, batch, components);
  const auto w = m.weights.to_vector(), mu = m.means.to_vector(), s = m.deviations.to_vector();
  for (int target : {8, 4, 2}) {
    const auto r = merged(m, {.components = target});
    const auto rw = r.mixture.weights.to_vector(), rmu = r.mixture.means.to_vector(),
               rs = r.mixture.deviations.to_vector();
    for (std::size_t b = 0; b < static_cast<std::size_t>(batch); ++b) {
      std::vector<Row> c;
      for (std::size_t k = b * 12; k < b * 12 + 12; ++k) c.push_back({w[k], mu[k], s[k]});
      merge_naively(c, static_cast<std::size_t>(target));
      std::sort(c.begin(), c.end(), [](const Row& x, const Row& y) { return x[1] < y[1]; });
      for (std::size_t k = 0; k < c.size(); ++k) {
        CHECK(rw[b * c.size() + k] == Approx(c[k][0]).epsilon(1e-10));
        CHECK(rmu[b * c.size() + k] == Approx(c[k][1]).epsilon(1e-10).margin(1e-12));
        CHECK(rs[b * c.size() + k] == Approx(c[k][2]).epsilon(1e-10));
      }
    }
  }
}

TEST_CASE("merging goes on while the divergence it may cost is small", "[gmm][reduce]") {
  // Twins merge for nothing; the third stays.
  const auto m = one_row({0.3, 0.2, 0.5}, {1.0, 1.0, 4.0}, {0.5, 0.5, 1.0});
  const auto r = merged(m, {.most_divergence = 1e-12});
  CHECK(r.components.item() == 2);
  CHECK(r.divergence.item() == Approx(0.0).margin(1e-15));
  CHECK(largest_difference(r.mixture.weights, {0.5, 0.5}) < 1e-15);
  CHECK(kolmogorov_smirnov(m, r.mixture).item() < 1e-12);
  CHECK(merged(m, {.most_divergence = 10.0}).components.item() == 1);
  CHECK(merged(m, {.most_divergence = 0.0}).divergence.item() == 0.0);
  // The bound holds: the divergence of the merged mixture from the original, by quadrature.
  const auto random = random_mixtures<Double>(Key{9}, 5, 8);
  const auto less = merged(random, {.components = 3});
  std::vector<double> points;
  for (int i = 0; i <= 8000; ++i) points.push_back(-20.0 + 0.005 * i);
  const auto z = Double::from(points);
  const auto p = density(random, z), q = log_density(less.mixture, z);
  const auto kl = (sum(p * (log_density(random, z) - q), {1}) * 0.005).to_vector();
  for (std::size_t b = 0; b < 5; ++b) {
    CHECK(kl[b] <= less.divergence.to_vector()[b]);
    CHECK(kl[b] >= 0.0);
  }
  CHECK_THROWS_AS(merged(m, {.components = 0}), ArgumentError);
  CHECK_THROWS_AS(merged(m, {.most_divergence = NAN}), ArgumentError);
}

TEST_CASE("pruning drops what is light and keeps the rest in proportion and order", "[gmm][reduce][device]") {
  const Mixture<Double> m{Double::from({0.5, 5e-5, 0.49995, 0.0, 1e-5, 0.99999}, Shape{2, 3}),
                          Double::from({2.0, 0.0, -1.0, 5.0, 6.0, 1.0}, Shape{2, 3}),
                          Double::from({1.0, 2.0, 3.0, 1.0, 1.0, 4.0}, Shape{2, 3})};
  const auto r = pruned(m);
  CHECK(r.components.to_vector() == std::vector<std::int32_t>{2, 1});
  CHECK(largest_difference(r.mixture.weights, {0.49995 / 0.99995, 0.5 / 0.99995, 1.0, 0.0}) < 1e-15);
  CHECK(largest_difference(r.mixture.means, {-1.0, 2.0, 1.0, 1.0}) == 0.0);
  CHECK(largest_difference(r.mixture.deviations, {3.0, 1.0, 4.0, 4.0}) == 0.0);
  // The heaviest stays though it is light.
  CHECK(pruned(m, 1.0).components.to_vector() == std::vector<std::int32_t>{1, 1});
  CHECK_THROWS_AS(pruned(m, -0.1), ArgumentError);
  const auto device = pruned(Mixture<Tensor<double, TestDevice>>{m.weights.to<TestDevice>(), m.means.to<TestDevice>(),
                                                                 m.deviations.to<TestDevice>()});
  CHECK(as_on_host(device.mixture.weights.to_vector(), r.mixture.weights.to_vector()));
}

TEST_CASE("a row that is no mixture is NaN and leaves the others alone", "[gmm][reduce]") {
  auto m = random_mixtures<Double>(Key{3}, 2, 4);
  auto values = m.means.to_vector();
  values[1] = NAN;
  m.means = Double::from(values, Shape{2, 4});
  for (const auto& r : {pruned(m), merged(m, {.components = 4})}) {
    CHECK(r.components.to_vector() == std::vector<std::int32_t>{0, 4});
    CHECK(is_nan(r.mixture.means.to_vector()[0]));
    CHECK(all_finite(row_of(r.mixture.means, 1)));
  }
  CHECK(is_nan(kolmogorov_smirnov(m, m).to_vector()[0]));
  CHECK(kolmogorov_smirnov(m, m).to_vector()[1] < 1e-12);
}

TEST_CASE("the distance of two mixtures is that of a fine scan", "[gmm][distance]") {
  const auto a = random_mixtures<Double>(Key{4}, 12, 5), b = random_mixtures<Double>(Key{5}, 12, 3);
  std::vector<double> points;
  for (int i = 0; i <= 200000; ++i) points.push_back(-25.0 + 2.5e-4 * i);
  const auto z = Double::from(points);
  const auto scan = max(abs(distribution(a, z) - distribution(b, z)), 1).to_vector();
  const auto exact = kolmogorov_smirnov(a, b).to_vector();
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK(exact[i] >= scan[i] - 1e-12);
    CHECK(exact[i] == Approx(scan[i]).margin(1e-6));
  }
  CHECK(largest_difference(kolmogorov_smirnov(b, a), kolmogorov_smirnov(a, b)) < 1e-12);
}

TEST_CASE("known distances", "[gmm][distance]") {
  // Two normals of equal width: the largest difference is in the middle, 2 Phi(d / 2) - 1.
  const auto at = [](double mean) { return one_row({1.0}, {mean}, {1.0}); };
  for (double d : {1e-6, 0.1, 1.0, 5.0, 100.0})
    CHECK(kolmogorov_smirnov(at(3.0), at(3.0 + d)).item() == Approx(1.0 - 2.0 * normal_cdf(-0.5 * d)).margin(1e-12));
  CHECK(kolmogorov_smirnov(at(0.0), at(0.0)).item() == 0.0);
  // A spike a billionth wide between any two points of a grid: half its weight on either side.
  const auto spike = one_row({0.98, 0.02}, {0.0, 0.123456789}, {1.0, 1e-9});
  CHECK(kolmogorov_smirnov(at(0.0), spike).item() == Approx(0.02 * normal_cdf(0.123456789)).epsilon(1e-7));
  // Equal mixtures written differently.
  CHECK(kolmogorov_smirnov(one_row({0.25, 0.25, 0.5}, {1.0, 1.0, 2.0}, {0.3, 0.3, 1.0}),
                           one_row({0.5, 0.5}, {2.0, 1.0}, {1.0, 0.3}))
            .item() < 1e-12);
  CHECK_THROWS_AS(kolmogorov_smirnov(at(0.0), random_mixtures<Double>(Key{1}, 2, 2)), ShapeError);
}

TEST_CASE("the distance from samples is the statistic of Kolmogorov and Smirnov", "[gmm][distance]") {
  const auto m = one_row({1.0}, {0.0}, {1.0});
  // One sample at the median, and three at the quartiles.
  CHECK(kolmogorov_smirnov(m, Double::zeros(Shape{1, 1})).item() == Approx(0.5));
  CHECK(kolmogorov_smirnov(m, Double::from({0.67448975, 0.0, -0.67448975}, Shape{1, 3})).item() == Approx(0.25));
  const auto two = random_mixtures<Double>(Key{6}, 4, 3);
  const index_t n = 10000;
  // Samples of the mixture itself: sqrt(n) D exceeds 2.2 once in ten thousand.
  for (double d : kolmogorov_smirnov(two, sample(two, Key{8}, n)).to_vector())
    CHECK(d * std::sqrt(static_cast<double>(n)) < 2.2);
  CHECK(is_nan(kolmogorov_smirnov(m, Double::from({NAN, 1.0}, Shape{1, 2})).item()));
  CHECK_THROWS_AS(kolmogorov_smirnov(m, Double::zeros(Shape{1, 0})), ShapeError);
}

TEMPLATE_TEST_CASE("the distance from a sampled density is over the whole line", "[gmm][distance]", float, double) {
  using V = Tensor<TestType, Cpu>;
  // A uniform density on [0, 1] against a normal beyond the grid, and against one that touches it.
  const Grid grid{0.0, 1.0, 11};
  const auto flat = V::ones(Shape{11});
  const auto m = [](double mean, double deviation) {
    return Mixture<V>{V::ones(Shape{1, 1}), V::full(Shape{1, 1}, TestType(mean)),
                      V::full(Shape{1, 1}, TestType(deviation))};
  };
  CHECK(static_cast<double>(kolmogorov_smirnov(m(9.0, 0.5), flat, grid).item()) == Approx(1.0));
  // Phi(z / s) - z is largest where phi(z / s) / s = 1.
  const double s = 0.1, z = s * std::sqrt(-2.0 * std::log(s * std::sqrt(2.0 * 3.14159265358979324)));
  CHECK(static_cast<double>(kolmogorov_smirnov(m(0.0, s), flat, grid).item()) ==
        Approx(normal_cdf(z / s) - z).margin(1e-7));
  const auto moved = kolmogorov_smirnov(m(2.0, s), flat, grid, V::full(Shape{1}, TestType(2)));
  CHECK(static_cast<double>(moved.item()) == Approx(normal_cdf(z / s) - z).margin(1e-6));
  CHECK(is_nan(kolmogorov_smirnov(m(0.0, s), V::zeros(Shape{11}), grid).item()));
  CHECK_THROWS_AS(kolmogorov_smirnov(m(0.0, s), V::ones(Shape{10}), grid), ShapeError);
}

TEST_CASE("a resolved density is as far from its mixture as the trapezoid rule", "[gmm][distance]") {
  const auto m = one_row({0.4, 0.6}, {-1.0, 1.5}, {1.0, 1.4});
  const Grid grid{-12.0, 14.0, 400};
  const auto f = density(m, grid_of<Double>(grid));
  const double d = kolmogorov_smirnov(m, f, grid).item();
  CHECK(d > 1e-6);
  CHECK(d < 2e-4);
}
