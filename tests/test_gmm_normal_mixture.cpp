// Mixtures of normals in D dimensions: densities, derivatives, samples, and k-means.

#include "device.hpp"
#include "gmm_samples_support.hpp"
#include "io_support.hpp"

#include <set>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/io/tree.hpp>

using namespace kolmo_test;

namespace {

/// log sum pi N by the definition, with the inverse covariance by Gauss's elimination.
double log_density_by_definition(const NormalMixture<Double>& mixture, const double* x) {
  const index_t d = mixture.dimensions();
  const gmm::detail::HostMixture host = gmm::detail::on_host(mixture, "test");
  double sum = 0.0;
  for (index_t k = 0; k < mixture.components(); ++k) {
    Numbers a = host.matrix(k), y;
    for (index_t i = 0; i < d; ++i) y.push_back(x[i] - host.mean(k, i));
    const Numbers deviation = y;
    double determinant = 1.0, distance = 0.0;
    const auto at = [&](index_t i, index_t j) -> double& { return a[static_cast<std::size_t>(i * d + j)]; };
    for (index_t i = 0; i < d; ++i) {
      determinant *= at(i, i);
      for (index_t r = i + 1; r < d; ++r) {
        const double factor = at(r, i) / at(i, i);
        for (index_t j = i; j < d; ++j) at(r, j) -= factor * at(i, j);
        y[static_cast<std::size_t>(r)] -= factor * y[static_cast<std::size_t>(i)];
      }
    }
    for (index_t i = d; i-- > 0;) {
      double& v = y[static_cast<std::size_t>(i)];
      for (index_t j = i + 1; j < d; ++j) v -= at(i, j) * y[static_cast<std::size_t>(j)];
      v /= at(i, i);
      distance += v * deviation[static_cast<std::size_t>(i)];
    }
    sum += host.weights[static_cast<std::size_t>(k)] * std::exp(-0.5 * distance) /
           std::sqrt(std::pow(6.283185307179586, static_cast<double>(d)) * determinant);
  }
  return std::log(sum);
}

}  // namespace

TEMPLATE_TEST_CASE("densities in any number of dimensions and points are those of the definition", "[gmm][samples][device]",
                   (Tensor<double, Cpu>), (Tensor<double, TestDevice>), (Tensor<float, Cpu>)) {
  using V = TestType;
  const double digits = std::is_same_v<typename V::Scalar, double> ? 1e-12 : 2e-5;
  for (const index_t d : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13}) {
    const index_t count = d == 3 ? 1300 : d == 5 ? 257 : d == 1 ? 1 : 20;
    const auto size = static_cast<std::size_t>(d * d);
    const Numbers points = noise(static_cast<std::size_t>(count * d), 40);
    for (const Covariance kind : kinds) {
      // A random positive definite covariance for each component.
      NormalMixture<Double> mixture = start_at<Double>(noise(static_cast<std::size_t>(2 * d), 41), kind, 2, d, 0.7);
      if (gmm::detail::is_whole(kind)) {
        Numbers covariances = numbers(mixture.covariances);
        const Numbers a = noise(covariances.size(), 42);
        for (std::size_t m = 0; m < covariances.size(); m += size)
          for (std::size_t i = 0; i < size; ++i)
            for (std::size_t j = 0; j < static_cast<std::size_t>(d); ++j)
              covariances[m + i] += a[m + i / static_cast<std::size_t>(d) * static_cast<std::size_t>(d) + j] *
                                    a[m + i % static_cast<std::size_t>(d) * static_cast<std::size_t>(d) + j];
        mixture.covariances = tensor<Double>(covariances, mixture.covariances.shape());
      }
      const NormalMixture<V> same{kind, tensor<V>({0.25, 0.75}, Shape{2}),
                                  tensor<V>(numbers(mixture.means), mixture.means.shape()),
                                  tensor<V>(numbers(mixture.covariances), mixture.covariances.shape())};
      mixture.weights = tensor<Double>({0.25, 0.75}, Shape{2});
      const V x = tensor<V>(points, Shape{count, d});
      const Numbers result = numbers(log_density(same, x)), recorded = numbers(logsumexp(log_joint(same, x), 1));
      CAPTURE(d, static_cast<int>(kind));
      double worst = 0.0;
      for (index_t i = 0; i < count; ++i)
        worst = std::max(worst, std::abs(result[static_cast<std::size_t>(i)] -
                                         log_density_by_definition(mixture, points.data() + i * d)));
      CHECK(worst < digits * static_cast<double>(1 + d));
      CHECK(difference(result, recorded) < digits * static_cast<double>(1 + d));
    }
  }
}

TEST_CASE("responsibilities are the shares of the joint density and labels their largest", "[gmm][samples]") {
  const auto mixture = three_normals();
  const Double x = sample(mixture, Key{3}, 700).points;
  const Numbers r = numbers(responsibilities(mixture, x)), joint = numbers(log_joint(mixture, x)),
                total = numbers(log_density(mixture, x));
  const auto labels = predict(mixture, x).to_vector();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    double sum = 0.0;
    std::size_t largest = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      REQUIRE(r[3 * i + k] == Approx(std::exp(joint[3 * i + k] - total[i])).epsilon(1e-12).margin(1e-200));
      sum += r[3 * i + k];
      if (r[3 * i + k] > r[3 * i + largest]) largest = k;
    }
    REQUIRE(sum == Approx(1.0).epsilon(1e-14));
    REQUIRE(labels[i] == static_cast<std::int32_t>(largest));
  }
}

TEST_CASE("log densities are finite where densities underflow", "[gmm][samples]") {
  const auto mixture = three_normals();
  const Double far = tensor<Double>({1e3, -1e3, 1e6, 1e6, -1e10, 0.0}, Shape{3, 2});
  for (const double value : numbers(log_density(mixture, far))) {
    CHECK(std::isfinite(value));
    CHECK(value < -1e5);
  }
  CHECK(difference(numbers(log_density(mixture, tensor<Double>({1e3, -1e3}, Shape{1, 2}))),
                   numbers(logsumexp(log_joint(mixture, tensor<Double>({1e3, -1e3}, Shape{1, 2})), 1))) < 1e-6);
}

TEST_CASE("a point that is not finite has no density and does not disturb the others", "[gmm][samples]") {
  for (const Covariance kind : kinds) {
    const auto mixture = start_at<Double>(clusters(), kind, 3, 3);
    Numbers points = clusters();
    const Numbers good = numbers(log_density(mixture, tensor<Double>(points, Shape{240, 3})));
    points[3 * 100] = std::nan("");
    points[3 * 101 + 2] = INFINITY;
    const Numbers bad = numbers(log_density(mixture, tensor<Double>(points, Shape{240, 3})));
    for (std::size_t i = 0; i < 240; ++i) {
      if (i == 100) CHECK(std::isnan(bad[i]));
      if (i == 101) CHECK_FALSE(std::isfinite(bad[i]));
      if (i != 100 && i != 101) CHECK(bad[i] == good[i]);
    }
  }
}

TEST_CASE("samples have the moments of their mixture, and a key draws the same ones", "[gmm][samples]") {
  for (const Covariance kind : kinds) {
    NormalMixture<Double> mixture =
        fit_samples(tensor<Double>(clusters(), Shape{240, 3}), 3, SampleFitOptions{.covariance = kind}).mixture;
    const auto drawn = sample(mixture, Key{1}, 40000);
    const auto [mean, covariance] = moments_of(mixture);
    const auto [drawn_mean, drawn_covariance] = moments_of(numbers(drawn.points), 3, Numbers(40000, 1.0));
    CHECK(difference(mean, drawn_mean) < 0.04);
    CHECK(difference(covariance, drawn_covariance) < 0.08);
    Numbers shares(3, 0.0);
    for (const std::int32_t k : drawn.labels.to_vector()) shares[static_cast<std::size_t>(k)] += 1.0 / 40000.0;
    CHECK(difference(shares, numbers(mixture.weights)) < 0.01);
    const Numbers all = numbers(drawn.points);
    CHECK(numbers(sample(mixture, Key{1}, 50).points) == Numbers(all.begin(), all.begin() + 150));
    CHECK(sample(mixture, Key{2}, 50).points.to_vector() != sample(mixture, Key{1}, 50).points.to_vector());
  }
}

TEMPLATE_TEST_CASE("k-means finds the clusters that scikit-learn finds", "[gmm][samples][device]", (Tensor<double, Cpu>),
                   (Tensor<double, TestDevice>), (Tensor<float, Cpu>)) {
  using V = TestType;
  const double digits = std::is_same_v<typename V::Scalar, double> ? 1e-10 : 2e-6;
  const V x = tensor<V>(clusters(), Shape{240, 3});
  KMeansOptions options;
  options.tolerance = 0.0;
  const Numbers points = numbers(x);
  double least = 1e9;
  Numbers best;
  for (const std::uint64_t seed : {0u, 1u, 2u, 3u}) {
    options.key = Key{seed};
    const auto clustering = k_means(x, 3, options);
    const Numbers centres = numbers(clustering.centres);
    CHECK(clustering.status == Status::ok);
    if (clustering.inertia < least) {
      least = clustering.inertia;
      best.clear();
      std::set<std::pair<double, std::size_t>> order;
      for (std::size_t k = 0; k < 3; ++k) order.insert({centres[3 * k], k});
      for (const auto& [first, k] : order)
        for (std::size_t j = 0; j < 3; ++j) best.push_back(centres[3 * k + j]);
    }
    // Every point is with its nearest centre, and every centre the mean of its points.
    const auto labels = clustering.labels.to_vector();
    Numbers mean(9, 0.0), count(3, 0.0);
    for (std::size_t i = 0; i < 240; ++i) {
      const auto label = static_cast<std::size_t>(labels[i]);
      const auto distance = [&](std::size_t k) {
        return std::hypot(points[3 * i] - centres[3 * k], points[3 * i + 1] - centres[3 * k + 1],
                          points[3 * i + 2] - centres[3 * k + 2]);
      };
      for (std::size_t k = 0; k < 3; ++k) REQUIRE(distance(label) <= distance(k) + 1e-6);
      count[label] += 1.0;
      for (std::size_t j = 0; j < 3; ++j) mean[3 * label + j] += points[3 * i + j];
    }
    for (std::size_t i = 0; i < 9; ++i) mean[i] /= count[i / 3];
    CHECK(difference(mean, centres) < 1e-5);
  }
  // KMeans(3, n_init=30, tol=0).fit(x), in the order of the first coordinate.
  CHECK(difference(best, {-0.00454341676256, 3.00551898734, 1.91024693134, 0.0131854423868, 0.0286502057613,
                          0.0703203329592, 3.98413932292, -0.03056875, 0.990414299242}) < 10 * digits);
  CHECK(least == Approx(291.329398475).epsilon(digits));
  // No iterations: the centres are points.
  options.max_iterations = 0;
  const Numbers centres = numbers(k_means(x, 5, options).centres);
  for (std::size_t k = 0; k < 5; ++k) {
    double nearest = 1e9;
    for (std::size_t i = 0; i < 240; ++i)
      nearest = std::min(nearest, std::hypot(points[3 * i] - centres[3 * k], points[3 * i + 1] - centres[3 * k + 1],
                                             points[3 * i + 2] - centres[3 * k + 2]));
    CHECK(nearest < 1e-6);
  }
}

TEST_CASE("k-means with as many centres as points leaves nothing, and heavy points draw centres", "[gmm][samples]") {
  const Double x = tensor<Double>({0.0, 1.0, 5.0, 6.0}, Shape{4, 1});
  CHECK(k_means(x, 4).inertia == 0.0);
  const auto weighted = k_means(x, 1, {}, tensor<Double>({1.0, 0.0, 0.0, 3.0}, Shape{4}));
  CHECK(numbers(weighted.centres)[0] == Approx(4.5));
  CHECK(weighted.inertia == Approx(4.5 * 4.5 + 3 * 1.5 * 1.5));
}

TEST_CASE("the log density is differentiable in the parameters and in the points", "[gmm][samples]") {
  const Numbers points = noise(24, 8);
  const Double x = tensor<Double>(points, Shape{8, 3});
  for (const Covariance kind : kinds) {
    const auto mixture =
        fit_samples(tensor<Double>(clusters(), Shape{240, 3}), start_at<Double>(clusters(), kind, 2, 3), exactly(2))
            .mixture;
    const auto loss = [&](const auto& m) { return sum(log_density(m, x)); };
    const auto gradient = value_and_grad(mixture, loss).gradient;
    CHECK(value_and_grad(mixture, loss).value.item() == Approx(sum(log_density(mixture, x)).item()).epsilon(1e-13));
    const auto check = [&](Double NormalMixture<Double>::*member) {
      const Numbers values = numbers(mixture.*member), derivative = numbers(gradient.*member);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const auto at = [&](double step) {
          NormalMixture<Double> moved = mixture;
          Numbers changed = values;
          changed[i] += step;
          // A covariance is read as its symmetric part.
          moved.*member = tensor<Double>(changed, (mixture.*member).shape());
          return sum(logsumexp(log_joint(moved, x), 1)).item();
        };
        CHECK(derivative[i] == Approx((at(1e-5) - at(-1e-5)) / 2e-5).epsilon(1e-6).margin(1e-6));
      }
    };
    CAPTURE(static_cast<int>(kind));
    check(&NormalMixture<Double>::weights);
    check(&NormalMixture<Double>::means);
    check(&NormalMixture<Double>::covariances);
    const Numbers slope = numbers(grad([&](const auto& p) { return sum(log_density(mixture, p)); }, x));
    for (std::size_t i = 0; i < points.size(); ++i) {
      Numbers up = points, down = points;
      up[i] += 1e-5;
      down[i] -= 1e-5;
      const double expected = (sum(log_density(mixture, tensor<Double>(up, Shape{8, 3}))).item() -
                               sum(log_density(mixture, tensor<Double>(down, Shape{8, 3}))).item()) /
                              2e-5;
      CHECK(slope[i] == Approx(expected).epsilon(1e-6).margin(1e-6));
    }
  }
}

TEST_CASE("a mixture is saved and loaded with its kind", "[gmm][samples]") {
  const io::test::TemporaryDirectory folder;
  const auto fit = fit_samples(tensor<Double>(clusters(), Shape{240, 3}), 2, {.covariance = Covariance::tied});
  io::save_model(folder / "mixture.safetensors", fit.mixture);
  const auto loaded = io::load_model<NormalMixture<Double>>(folder / "mixture.safetensors");
  CHECK(loaded.covariance == Covariance::tied);
  CHECK(same_bits(loaded, fit.mixture));
}
