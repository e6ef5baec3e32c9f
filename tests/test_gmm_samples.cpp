// EM from samples: the fit against scikit-learn, the 1-D EM and the properties that EM must have.

#include "device.hpp"
#include "gmm_samples_support.hpp"

#include <kolmo/backend/xtensor.hpp>
#include <kolmo/gmm/em.hpp>

using namespace kolmo_test;

namespace {

/// Restores the number of threads.
struct ThreadCount {
  explicit ThreadCount(int count) { threads::set_count(count); }
  ~ThreadCount() { threads::set_count(before); }
  int before = threads::count();
};

struct Expected {
  Covariance kind;
  Numbers weights, means, covariances;
  double score, bic, aic;
  index_t parameters;
};

// scikit-learn 1.9.1: GaussianMixture(3, covariance_type=..., tol=0, reg_covar=0, max_iter=12, weights_init=1/3,
// means_init=x[:3], precisions_init=identity).fit(x) on clusters(); score(x), bic(x), aic(x).
const Expected scikit_learn[] = {
    {Covariance::full,
     {0.334057637606, 0.333323839683, 0.332618522712},
     {0.0196067656283, 0.0115087764168, 0.0651442129528, 3.98417773432, -0.0305902300778, 0.990411827967,
      -0.0107336889516, 2.99186100025, 1.89637975249},
     {0.337991684287,   0.126538002152,   0.00599385779523, 0.126538002152,  0.393411830506,   0.0499903571374,
      0.00599385779523, 0.0499903571374,  0.47537458395,    0.387045908972,  0.132260333273,   0.0101463813589,
      0.132260333273,   0.382133917165,   0.00680596441543, 0.0101463813589, 0.00680596441543, 0.464681890794,
      0.390315567897,   0.139434264784,   -0.0113013569753, 0.139434264784,  0.400707606685,   -0.0158971781849,
      -0.0113013569753, -0.0158971781849, 0.414357346905},
     -3.922023934366,
     2041.51001727,
     1940.5714885,
     29},
    {Covariance::diagonal,
     {0.33692486657, 0.333333002733, 0.329742130698},
     {0.0143637088873, 0.0264891974191, 0.0706133992099, 3.98413508039, -0.0305688202402, 0.990410787325,
      -0.00570813898586, 3.00253186639, 1.90674092481},
     {0.338236216341, 0.416422376833, 0.475240388019, 0.387106048222, 0.38213953358, 0.464671952919, 0.390624736795,
      0.390790253658, 0.405117728206},
     -3.987336087009,
     2023.53410023,
     1953.92132176,
     20},
    {Covariance::tied,
     {0.333687178287, 0.33330784075, 0.333004980964},
     {0.0203228247094, 0.00962711123889, 0.0644280073424, 3.98424628071, -0.030623908991, 0.990409437417,
      -0.011294138704, 2.99031945496, 1.89501909004},
     {0.371804872538, 0.133353486957, 0.00201540186362, 0.133353486957, 0.391703619736, 0.0138704230162,
      0.00201540186362, 0.0138704230162, 0.451892909392},
     -3.926251490467,
     1977.77157712,
     1918.60071542,
     17},
    {Covariance::spherical,
     {0.336780482771, 0.33332851188, 0.329891005348},
     {0.0146155416477, 0.0257190863837, 0.0702504601549, 3.9841505793, -0.0305749758706, 0.990410152005,
      -0.00591779230228, 3.00198046203, 1.90629599116},
     {0.40954523723, 0.411304166984, 0.395778960769},
     -3.994307034453,
     1993.99632146,
     1945.26737654,
     14}};

}  // namespace

TEMPLATE_TEST_CASE("a fit of samples agrees with scikit-learn", "[gmm][samples][device]", (Tensor<double, Cpu>),
                   (Tensor<double, CpuBlas>), (Tensor<double, TestDevice>), (Tensor<float, Cpu>)) {
  using V = TestType;
  const double digits = std::is_same_v<typename V::Scalar, double> ? 2e-11 : 3e-6;
  const Numbers points = clusters();
  const V x = tensor<V>(points, Shape{240, 3});
  for (const Expected& expected : scikit_learn) {
    CAPTURE(static_cast<int>(expected.kind));
    const auto fit = fit_samples(x, start_at<V>(points, expected.kind, 3, 3), exactly(12));
    CHECK(difference(numbers(fit.mixture.weights), expected.weights) < digits);
    CHECK(difference(numbers(fit.mixture.means), expected.means) < 4 * digits);
    CHECK(difference(numbers(fit.mixture.covariances), expected.covariances) < digits);
    CHECK(fit.score.mean_log_density == Approx(expected.score).epsilon(digits));
    CHECK(fit.score.bic() == Approx(expected.bic).epsilon(digits));
    CHECK(fit.score.aic() == Approx(expected.aic).epsilon(digits));
    CHECK(parameter_count(fit.mixture) == expected.parameters);
    CHECK(fit.iterations == 12);
    CHECK(fit.status == Status::iteration_limit);
    CHECK(fit.floored == 0);
    // The score of the returned parameters, by another way.
    CHECK(score(fit.mixture, x).bic() == Approx(expected.bic).epsilon(digits));
    CHECK(numbers(log_density(fit.mixture, x))[5] == Approx(expected.kind == Covariance::full       ? -3.41632142837
                                                            : expected.kind == Covariance::diagonal ? -3.79140781086
                                                            : expected.kind == Covariance::tied     ? -3.45954183101
                                                                                                    : -3.77675712356)
                                                         .epsilon(digits));
  }
}

TEST_CASE("G-14: the likelihood never falls, with covariances at the floor too", "[gmm][samples]") {
  Numbers points = clusters();
  // A clump of equal points, onto which components shrink, and points on a line.
  for (int i = 0; i < 60; ++i)
    for (const double v : {7.0, 7.0, 7.0}) points.push_back(v);
  for (int i = 0; i < 60; ++i)
    for (const double v : {-5.0 + 0.1 * i, -5.0, 0.2 * i}) points.push_back(v);
  const Double x = tensor<Double>(points, Shape{360, 3});
  for (const Covariance kind : kinds)
    for (const index_t k : {1, 3, 6, 10}) {
      Numbers history;
      SampleFitOptions options = exactly(60);
      options.covariance = kind;
      options.on_iteration = [&](const SampleFitProgress& p) { history.push_back(p.mean_log_density); };
      const auto fit = fit_samples(x, k, options);
      CAPTURE(static_cast<int>(kind), k);
      REQUIRE(history.size() == 61);
      for (std::size_t i = 1; i < history.size(); ++i) CHECK(history[i] >= history[i - 1] - 1e-12);
      CHECK(fit.score.mean_log_density == history.back());
      CHECK((kind == Covariance::tied || k < 6 || fit.floored > 0));
    }
}

TEST_CASE("G-15: a component on equal points stops at the floor", "[gmm][samples]") {
  Numbers points = noise(400, 7);
  for (int i = 0; i < 50; ++i)
    for (const double v : {30.0, -20.0}) points.push_back(v);
  const Double x = tensor<Double>(points, Shape{250, 2});
  const auto variance = moments_of(points, 2, Numbers(250, 1.0)).second;
  for (const Covariance kind : {Covariance::full, Covariance::diagonal, Covariance::spherical}) {
    SampleFitOptions options;
    options.covariance = kind;
    options.covariance_floor = 1e-4;
    const auto fit = fit_samples(x, 2, options);
    CAPTURE(static_cast<int>(kind));
    CHECK(fit.status == Status::ok);
    CHECK(fit.floored == 1);
    CHECK(difference(numbers(fit.mixture.weights), {0.8, 0.2}) < 1e-9);
    const gmm::detail::HostMixture host = gmm::detail::on_host(fit.mixture, "test");
    CHECK(host.mean(1, 0) == Approx(30.0));
    const double average = 0.5 * (variance[0] + variance[3]);
    CHECK(host.variance_of(1, 0) == Approx(1e-4 * (kind == Covariance::spherical ? average : variance[0])));
    CHECK(host.variance_of(1, 1) == Approx(1e-4 * (kind == Covariance::spherical ? average : variance[3])));
    CHECK(host.matrix(1)[1] == Approx(0.0).margin(1e-12));
  }
  // Away from the floor nothing is added.
  CHECK(fit_samples(x, 1).floored == 0);
  CHECK(difference(numbers(fit_samples(x, 1).mixture.covariances), variance) < 1e-9);
}

TEST_CASE("after every iteration the mixture has the mean and the covariance of the points", "[gmm][samples]") {
  const Numbers points = clusters();
  Numbers weights = noise(240, 9);
  for (double& w : weights) w += 1.0;
  const auto [mean, covariance] = moments_of(points, 3, weights);
  for (const Covariance kind : kinds)
    for (const int steps : {1, 2, 9}) {
      const auto fit = fit_samples(tensor<Double>(points, Shape{240, 3}), start_at<Double>(points, kind, 4, 3),
                                   exactly(steps), tensor<Double>(weights, Shape{240}));
      const auto [fitted_mean, fitted] = moments_of(fit.mixture);
      CAPTURE(static_cast<int>(kind), steps);
      CHECK(difference(fitted_mean, mean) < 1e-12);
      if (gmm::detail::is_whole(kind)) CHECK(difference(fitted, covariance) < 1e-11);
      if (kind == Covariance::diagonal)
        for (const std::size_t j : {0u, 4u, 8u}) CHECK(fitted[j] == Approx(covariance[j]).epsilon(1e-12));
      CHECK(fitted[0] + fitted[4] + fitted[8] == Approx(covariance[0] + covariance[4] + covariance[8]).epsilon(1e-12));
    }
}

TEST_CASE("on the points of a grid it is the EM of densities", "[gmm][samples]") {
  const Grid grid{-3.0, 5.0, 96};
  Numbers masses, positions;
  for (index_t i = 0; i < grid.points; ++i) {
    positions.push_back(grid[i]);
    masses.push_back(0.3 * normal_density(grid[i], -1.0, 0.5) + 0.7 * normal_density(grid[i], 2.0, 1.0));
  }
  const Mixture<Double> start{tensor<Double>({0.2, 0.3, 0.5}, Shape{1, 3}), tensor<Double>({-2, 0, 1}, Shape{1, 3}),
                              tensor<Double>({1, 1, 1}, Shape{1, 3})};
  const auto expected = em_steps(tensor<Double>(masses, Shape{96}), tensor<Double>(positions, Shape{96}), start, 40);
  for (const Covariance kind : {Covariance::full, Covariance::diagonal, Covariance::spherical}) {
    NormalMixture<Double> from = start_at<Double>({-2, 0, 1}, kind, 3, 1);
    from.weights = tensor<Double>({0.2, 0.3, 0.5}, Shape{3});
    const auto fit =
        fit_samples(tensor<Double>(positions, Shape{96, 1}), from, exactly(40), tensor<Double>(masses, Shape{96}));
    CHECK(difference(numbers(fit.mixture.weights), numbers(expected.mixture.weights)) < 1e-11);
    CHECK(difference(numbers(fit.mixture.means), numbers(expected.mixture.means)) < 1e-11);
    CHECK(difference(numbers(sqrt(fit.mixture.covariances)), numbers(expected.mixture.deviations)) < 1e-11);
    CHECK(fit.score.mean_log_density == Approx(expected.log_likelihood.item()).epsilon(1e-12));
  }
}

TEST_CASE("fits follow shifts and changes of coordinates", "[gmm][samples]") {
  const Numbers points = clusters();
  const Double x = tensor<Double>(points, Shape{240, 3});
  // Any linear map for whole covariances, a scale for each coordinate or for all for the others.
  const Numbers any{2.0, 0.5, -1.0, 0.0, 30.0, 4.0, 0.1, 0.0, 0.01}, shift{100.0, -5.0, 1e4};
  for (const Covariance kind : kinds) {
    Numbers map = any;
    if (!gmm::detail::is_whole(kind)) map = {2.0, 0.0, 0.0, 0.0, 30.0, 0.0, 0.0, 0.0, 0.01};
    if (kind == Covariance::spherical) map = {7.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0, 7.0};
    const auto moved = [&](const Numbers& from, bool with_shift) {
      Numbers result;
      for (std::size_t i = 0; i < from.size(); i += 3)
        for (std::size_t r = 0; r < 3; ++r)
          result.push_back(map[3 * r] * from[i] + map[3 * r + 1] * from[i + 1] + map[3 * r + 2] * from[i + 2] +
                           (with_shift ? shift[r] : 0.0));
      return result;
    };
    const auto congruent = [&](const Numbers& matrix) {
      Numbers result(9, 0.0);
      for (std::size_t r = 0; r < 3; ++r)
        for (std::size_t c = 0; c < 3; ++c)
          for (std::size_t i = 0; i < 3; ++i)
            for (std::size_t j = 0; j < 3; ++j)
              result[3 * r + c] += map[3 * r + i] * matrix[3 * i + j] * map[3 * c + j];
      return result;
    };
    const double determinant = map[0] * (map[4] * map[8] - map[5] * map[7]) -
                               map[1] * (map[3] * map[8] - map[5] * map[6]) +
                               map[2] * (map[3] * map[7] - map[4] * map[6]);
    NormalMixture<Double> start = fit_samples(x, start_at<Double>(points, kind, 3, 3), exactly(1)).mixture,
                          other = start;
    other.means = tensor<Double>(moved(numbers(start.means), true), Shape{3, 3});
    Numbers covariances;
    const gmm::detail::HostMixture host = gmm::detail::on_host(start, "test");
    for (index_t k = 0; k < (kind == Covariance::tied ? 1 : 3); ++k) {
      const Numbers c = congruent(host.matrix(k));
      if (gmm::detail::is_whole(kind)) covariances.insert(covariances.end(), c.begin(), c.end());
      if (kind == Covariance::diagonal) covariances.insert(covariances.end(), {c[0], c[4], c[8]});
      if (kind == Covariance::spherical) covariances.push_back(c[0]);
    }
    other.covariances = tensor<Double>(covariances, start.covariances.shape());
    const auto here = fit_samples(x, start, exactly(25));
    const auto there = fit_samples(tensor<Double>(moved(points, true), Shape{240, 3}), other, exactly(25));
    CAPTURE(static_cast<int>(kind));
    CHECK(difference(numbers(here.mixture.weights), numbers(there.mixture.weights)) < 1e-9);
    CHECK(there.score.mean_log_density ==
          Approx(here.score.mean_log_density - std::log(std::abs(determinant))).epsilon(1e-10));
    const Numbers expected = moved(numbers(here.mixture.means), true), means = numbers(there.mixture.means);
    for (std::size_t i = 0; i < 9; ++i) CHECK(means[i] == Approx(expected[i]).epsilon(1e-8));
    const Numbers first = congruent(gmm::detail::on_host(here.mixture, "test").matrix(0)),
                  first_there = gmm::detail::on_host(there.mixture, "test").matrix(0);
    for (std::size_t i = 0; i < 9; ++i) CHECK(first_there[i] == Approx(first[i]).epsilon(1e-7).margin(1e-9));
  }
}

TEST_CASE("k-means starts do not depend on units, nor on where zero is", "[gmm][samples]") {
  const Numbers points = clusters();
  Numbers moved;
  for (std::size_t i = 0; i < points.size(); ++i)
    moved.push_back(points[i] * (i % 3 == 0 ? 1024.0 : i % 3 == 1 ? 0.25 : 3.0) + 50.0);
  const auto a = fit_samples(tensor<Double>(points, Shape{240, 3}), 3),
             b = fit_samples(tensor<Double>(moved, Shape{240, 3}), 3);
  CHECK(difference(numbers(a.mixture.weights), numbers(b.mixture.weights)) < 1e-9);
  CHECK(a.iterations == b.iterations);
  CHECK(b.score.mean_log_density == Approx(a.score.mean_log_density - std::log(1024.0 * 0.25 * 3.0)).epsilon(1e-9));
}

TEST_CASE("nothing cancels for points far from zero or clusters far apart", "[gmm][samples]") {
  const Numbers points = clusters();
  Numbers far;
  for (std::size_t i = 0; i < points.size(); ++i) far.push_back(points[i] + 1048576.0);
  const auto near_fit = fit_samples(tensor<Double>(points, Shape{240, 3}), 3),
             far_fit = fit_samples(tensor<Double>(far, Shape{240, 3}), 3);
  CHECK(difference(numbers(near_fit.mixture.covariances), numbers(far_fit.mixture.covariances)) < 1e-8);
  // Two clusters of deviation about 1 at a distance of 10^5.
  Numbers apart = noise(2000, 5);
  for (std::size_t i = 0; i < 1000; ++i) apart[i] += 1e5;
  SampleFitOptions options;
  options.covariance_floor = 1e-14;
  const auto fit = fit_samples(tensor<Double>(apart, Shape{1000, 2}), 2, options);
  const auto upper = moments_of(Numbers(apart.begin(), apart.begin() + 1000), 2, Numbers(500, 1.0)),
             lower = moments_of(Numbers(apart.begin() + 1000, apart.end()), 2, Numbers(500, 1.0));
  Numbers expected = lower.second;
  expected.insert(expected.end(), upper.second.begin(), upper.second.end());
  CHECK(difference(numbers(fit.mixture.covariances), expected) < 1e-9);
}

TEST_CASE("a known mixture is found again from its sample", "[gmm][samples]") {
  const auto truth = three_normals();
  const auto drawn = sample(truth, Key{7}, 20000);
  SampleFitOptions options;
  options.starts = 3;
  const auto fit = fit_samples(drawn.points, 3, options);
  CHECK(fit.status == Status::ok);
  CHECK(difference(numbers(fit.mixture.weights), numbers(truth.weights)) < 0.01);
  CHECK(difference(numbers(fit.mixture.means), numbers(truth.means)) < 0.06);
  CHECK(difference(numbers(fit.mixture.covariances), numbers(truth.covariances)) < 0.2);
  // The maximum of the likelihood is above the truth's, by about half the parameters over the number of points.
  const double gain = fit.score.mean_log_density - score(truth, drawn.points).mean_log_density;
  CHECK(gain > 0.0);
  CHECK(gain < 20.0 / 20000.0);
  const auto labels = predict(fit.mixture, drawn.points).to_vector(), given = drawn.labels.to_vector();
  int wrong = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) wrong += labels[i] != given[i];
  CHECK(wrong < 200);
}

TEST_CASE("a weight counts as so many equal points, and none as no point", "[gmm][samples]") {
  const Numbers points = clusters();
  Numbers weights, repeated;
  for (int i = 0; i < 240; ++i) {
    weights.push_back(i * 7 % 4);
    for (int copy = 0; copy < i * 7 % 4; ++copy)
      repeated.insert(repeated.end(), points.begin() + 3 * i, points.begin() + 3 * i + 3);
  }
  const auto count = static_cast<index_t>(repeated.size() / 3);
  for (const Covariance kind : kinds) {
    const auto start = start_at<Double>(points, kind, 3, 3);
    const auto a = fit_samples(tensor<Double>(points, Shape{240, 3}), start, exactly(20),
                               tensor<Double>(weights, Shape{240})),
               b = fit_samples(tensor<Double>(repeated, Shape{count, 3}), start, exactly(20));
    CHECK(difference(a.mixture, b.mixture) < 1e-11);
    CHECK(a.score.bic() == Approx(b.score.bic()).epsilon(1e-12));
    CHECK(a.score.total_weight == Approx(static_cast<double>(count)));
    CHECK(score(a.mixture, tensor<Double>(points, Shape{240, 3}), tensor<Double>(weights, Shape{240})).aic() ==
          Approx(a.score.aic()).epsilon(1e-12));
    // The scale of the weights moves the criteria, not the fit.
    for (double& w : weights) w *= 1e-3;
    const auto c =
        fit_samples(tensor<Double>(points, Shape{240, 3}), start, exactly(20), tensor<Double>(weights, Shape{240}));
    CHECK(difference(a.mixture, c.mixture) < 1e-11);
    for (double& w : weights) w *= 1e3;
  }
}

TEST_CASE("fits have the same bits for any number of threads, and the rounding of the device apart on one",
          "[gmm][samples][device]") {
  const Double x = sample(three_normals(), Key{11}, 9000).points;
  for (const Covariance kind : kinds) {
    const SampleFitOptions options{.covariance = kind, .max_iterations = 12, .tolerance = 0.0, .starts = 2};
    std::optional<SampleFit<Double>> first;
    for (const int count : {1, 2, 4}) {
      const ThreadCount threads(count);
      const auto fit = fit_samples(x, 4, options);
      if (!first) first = fit;
      CHECK(same_bits(fit.mixture, first->mixture));
      CHECK(fit.score.mean_log_density == first->score.mean_log_density);
    }
    const auto device = fit_samples(x.to<TestDevice>(), 4, options);
    CHECK(difference(numbers(device.mixture.means), numbers(first->mixture.means)) < 1e-8);
    CHECK(device.score.mean_log_density == Approx(first->score.mean_log_density).epsilon(1e-12));
    CHECK(predict(device.mixture, x.to<TestDevice>()).to_vector() == predict(first->mixture, x).to_vector());
  }
}

TEST_CASE("more starts never give a smaller likelihood, and a key reproduces them", "[gmm][samples]") {
  const Double x = tensor<Double>(noise(3000, 3), Shape{1000, 3});
  SampleFitOptions options;
  options.key = Key{5};
  const auto one = fit_samples(x, 7, options);
  options.starts = 5;
  const auto five = fit_samples(x, 7, options), again = fit_samples(x, 7, options);
  CHECK(five.score.mean_log_density > one.score.mean_log_density);
  CHECK(five.start > 0);
  CHECK(same_bits(five.mixture, again.mixture));
  options.key = Key{6};
  CHECK_FALSE(same_bits(fit_samples(x, 7, options).mixture, five.mixture));
  // Components come in order of their first coordinate.
  const Numbers means = numbers(five.mixture.means);
  for (std::size_t k = 1; k < 7; ++k) CHECK(means[3 * k] > means[3 * k - 3]);
}

TEST_CASE("the criteria find the number of components", "[gmm][samples]") {
  const Double x = sample(three_normals(), Key{2}, 3000).points;
  const auto selection = select_components(x, 1, 6);
  REQUIRE(selection.fits.size() == 6);
  CHECK(selection.best_fit().mixture.components() == 3);
  for (std::size_t k = 1; k < 6; ++k) CHECK(selection.best_fit().score.bic() <= selection.fits[k].score.bic());
  const auto by_aic = select_components(x, 2, 4, Criterion::aic);
  for (const auto& fit : by_aic.fits) CHECK(by_aic.best_fit().score.aic() <= fit.score.aic());
  CHECK(select_components(x, 2, 2).best_fit().mixture.components() == 2);
  CHECK_THROWS_WITH(select_components(x, 3, 2), contains("given 3 to 2"));
}

TEST_CASE("points that do not vary, coincide or are few", "[gmm][samples]") {
  SECTION("a constant coordinate has the variance of the floor") {
    Numbers points = noise(200, 1);
    for (std::size_t i = 1; i < 200; i += 2) points[i] = 12345.678;
    const auto fit = fit_samples(tensor<Double>(points, Shape{100, 2}), 2);
    const gmm::detail::HostMixture host = gmm::detail::on_host(fit.mixture, "test");
    for (index_t k = 0; k < 2; ++k) {
      CHECK(host.mean(k, 1) == Approx(12345.678));
      CHECK(host.variance_of(k, 1) == Approx(1e-6).epsilon(1e-6));
    }
  }
  SECTION("one point") {
    const auto fit = fit_samples(tensor<Double>({1.0, 2.0}, Shape{1, 2}), 1);
    CHECK(numbers(fit.mixture.means) == Numbers{1.0, 2.0});
    CHECK(fit.floored == 1);
  }
  SECTION("dependent coordinates") {
    Numbers points;
    for (const double v : noise(300, 2)) points.insert(points.end(), {v, 2.0 * v});
    const auto fit = fit_samples(tensor<Double>(points, Shape{300, 2}), 2);
    CHECK(is_finite(fit.score.mean_log_density));
    CHECK(fit.floored == 2);
  }
}

TEST_CASE("bad input is refused with its row and what to do", "[gmm][samples]") {
  const Numbers points = clusters();
  const Double x = tensor<Double>(points, Shape{240, 3});
  const double nan = std::nan("");
  const auto with = [&](std::size_t at, double value) {
    Numbers changed = points;
    changed[at] = value;
    return tensor<Double>(changed, Shape{240, 3});
  };
  const auto weights = [&](std::size_t at, double value) {
    Numbers w(240, 1.0);
    w[at] = value;
    return tensor<Double>(w, Shape{240});
  };
  const auto mixture = start_at<Double>(points, Covariance::full, 2, 3);
  CHECK_THROWS_WITH(fit_samples(with(3 * 17 + 1, nan), 2), contains("row 17 of the points has a NaN"));
  CHECK_THROWS_WITH(fit_samples(with(3 * 239, INFINITY), 2), contains("row 239"));
  CHECK_THROWS_WITH(k_means(with(0, -INFINITY), 2), contains("k_means: row 0"));
  CHECK_THROWS_WITH(score(mixture, with(9, nan)), contains("score: row 3"));
  CHECK_THROWS_WITH(fit_samples(x, 2, {}, weights(5, -1.0)), contains("weight 5 is negative"));
  CHECK_THROWS_WITH(fit_samples(x, 2, {}, weights(6, nan)), contains("weight 6"));
  CHECK_THROWS_WITH(fit_samples(x, 2, {}, Double::zeros(Shape{240})), contains("at least one must be positive"));
  CHECK_THROWS_AS(fit_samples(x, 2, {}, Double::ones(Shape{239})), ShapeError);
  CHECK_THROWS_AS(fit_samples(Double::ones(Shape{240}), 2), ShapeError);
  CHECK_THROWS_AS(fit_samples(Double::ones(Shape{0, 3}), 2), ShapeError);
  CHECK_THROWS_WITH(fit_samples(x, 0), contains("must be 1 to 65535, given 0"));
  CHECK_THROWS_WITH(fit_samples(x, 241), contains("only 240 points"));
  const Double few = tensor<Double>({1, 1, 2, 2, 1, 1, 3, 3, 2, 2}, Shape{5, 2});
  CHECK_THROWS_WITH(fit_samples(few, 4), contains("4 components, but only 3 different points"));
  CHECK_NOTHROW(fit_samples(few, 3));
  CHECK_THROWS_WITH(fit_samples(few, 3, {}, tensor<Double>({1, 0, 1, 1, 0}, Shape{5})), contains("only 2 different"));
  CHECK_THROWS_WITH(k_means(few, 4), contains("only 3 different points"));

  for (const auto& wrong : {SampleFitOptions{.max_iterations = -1}, SampleFitOptions{.tolerance = nan},
                            SampleFitOptions{.covariance_floor = 0.0}, SampleFitOptions{.covariance_floor = 2.0},
                            SampleFitOptions{.starts = 0}, SampleFitOptions{.k_means_iterations = -1}})
    CHECK_THROWS_AS(fit_samples(x, 2, wrong), ArgumentError);
  CHECK_THROWS_AS(k_means(x, 2, {.tolerance = nan}), ArgumentError);

  NormalMixture<Double> bad = mixture;
  bad.covariances = tensor<Double>({1, 2, 0, 2, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1}, Shape{2, 3, 3});
  CHECK_THROWS_WITH(fit_samples(x, bad), contains("component 0 is not positive definite"));
  CHECK_THROWS_WITH(log_density(bad, x), contains("component 0 is not positive definite"));
  bad = mixture;
  bad.covariance = Covariance::tied;
  CHECK_THROWS_WITH(fit_samples(x, bad), contains("expected covariances of shape [3, 3], given [2, 3, 3]"));
  bad = mixture;
  bad.weights = tensor<Double>({-0.5, 1.5}, Shape{2});
  CHECK_THROWS_WITH(predict(bad, x), contains("negative"));
  bad.weights = tensor<Double>({nan, 1.5}, Shape{2});
  CHECK_THROWS_WITH(sample(bad, Key{}, 3), contains("not finite"));
  CHECK_THROWS_AS(log_density(mixture, Double::ones(Shape{4, 2})), ShapeError);
  CHECK_THROWS_AS(responsibilities(mixture, Double::ones(Shape{4})), ShapeError);
  CHECK_THROWS_WITH(sample(mixture, Key{}, 0), contains("given 0"));
  CHECK_THROWS_WITH(fit_samples(tensor<Double>({-1e308, 0.0, 1e308}, Shape{3, 1}), 1), contains("overflows"));
}
