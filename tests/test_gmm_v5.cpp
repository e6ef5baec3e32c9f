#include "catch.hpp"
#include "gmm_reference.hpp"

#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/preprocess.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

TEST_CASE("the closed form of the maximum has the published values", "[gmm][v5]") {
  const MaxOfNormals d = reference_maximum();
  const Grid grid;
  const std::vector<double> density{0.018960605, 0.093832620, 0.266367833, 0.438072740,
                                    0.421941575, 0.240627269, 0.082063326};
  const std::vector<double> distribution{0.005639752, 0.036572178, 0.145853608, 0.373876888,
                                         0.657733574, 0.870637330, 0.967711367};
  for (int i = 0; i < 7; ++i) {
    const auto j = static_cast<std::size_t>(i);
    CHECK(d.density(grid[44 + 2 * i]) == Approx(density[j]).margin(6e-10));
    CHECK(d.distribution(grid[44 + 2 * i]) == Approx(distribution[j]).margin(6e-10));
  }
  const ClarkMoments moments = d.moments();
  CHECK(moments.mean == Approx(1.071900520).margin(6e-10));
  CHECK(moments.variance == Approx(0.752262812).margin(6e-10));
  CHECK(moments.x_wins == Approx(0.146665086).margin(6e-10));
  const WinnerDensities parts = d.winner_densities(0.3);
  CHECK(parts.x + parts.y == Approx(d.density(0.3)).epsilon(1e-15));
}

TEST_CASE("G-20: variances are variances: the closed form agrees with sampling", "[gmm][v5]") {
  static_assert(!std::is_convertible_v<double, Variance> && !std::is_convertible_v<double, Deviation>);
  static_assert(!std::is_convertible_v<Deviation, Variance>);
  const double a = 0.4, b = 2.5, rho = -0.6;
  const MaxOfNormals d(0.0, Variance(a), 0.7, Variance(b), rho);
  const int n = 200000;
  int below = 0;
  double mean = 0.0, square_sum = 0.0;
  for (int i = 0; i < n; ++i) {
    const auto c = static_cast<std::uint64_t>(i);
    const double u = normal<double>(Key{17}, 2 * c), v = normal<double>(Key{17}, 2 * c + 1);
    const double x = std::sqrt(a) * u, y = 0.7 + std::sqrt(b) * (rho * u + std::sqrt(1.0 - rho * rho) * v);
    const double z = std::max(x, y);
    below += z <= 1.0 ? 1 : 0;
    mean += z / n;
    square_sum += z * z / n;
  }
  const ClarkMoments moments = d.moments();
  const double error = 5.0 / std::sqrt(static_cast<double>(n));
  CHECK(mean == Approx(moments.mean).margin(error * std::sqrt(moments.variance)));
  CHECK(square_sum - mean * mean == Approx(moments.variance).margin(3.0 * error * moments.variance));
  CHECK(static_cast<double>(below) / n == Approx(d.distribution(1.0)).margin(error));
  // The reading that must not be confused with it is far away.
  CHECK(std::abs(MaxOfNormals(0.0, Deviation(a), 0.7, Deviation(b), rho).moments().variance - moments.variance) > 1.0);
}

TEST_CASE("the density of the maximum integrates to its distribution function and moments", "[gmm][v5]") {
  for (double rho : {-0.999, -0.5, 0.0, 0.9, 0.999}) {
    for (double difference : {-4.0, 0.0, 0.5, 9.0}) {
      const MaxOfNormals d(0.0, Variance(0.15), difference, Variance(4.0), rho);
      CHECK(d.probability(d.lower_end(), d.upper_end(), 4000) == Approx(1.0).margin(1e-9));
      const ClarkMoments moments = d.moments();
      double mean = 0.0, second = 0.0, area = 0.0;
      const int n = 40000;
      const double step = (d.upper_end() - d.lower_end()) / n;
      for (int i = 0; i < n; ++i) {
        const double z = d.lower_end() + (i + 0.5) * step, f = d.density(z) * step;
        area += f;
        mean += f * z;
        second += f * (z - moments.mean) * (z - moments.mean);
      }
      CHECK(area == Approx(1.0).margin(1e-6));
      CHECK(mean == Approx(moments.mean).margin(1e-5));
      CHECK(second == Approx(moments.variance).epsilon(1e-4));
      const double middle = moments.mean + 0.2;
      CHECK(d.distribution(middle) == Approx(d.probability(d.lower_end(), middle, 8000)).margin(2e-9));
    }
  }
  CHECK_THROWS_AS(MaxOfNormals(0.0, Deviation(0.0), 0.0, Deviation(1.0), 0.0), ArgumentError);
  CHECK_THROWS_AS(MaxOfNormals(0.0, Deviation(1.0), 0.0, Deviation(1.0), 1.5), ArgumentError);
}

TEST_CASE("the V5 set has the published entropy, strata and ranges", "[gmm][v5]") {
  const index_t n = 15000;
  const auto set = make_v5<Double>(Key{2}, n);
  const Summary h = summarize(entropy(set.densities, set.grid));
  // Published means of the three sets: 1.2559, 1.2632, 1.2562; the standard error of this size is 0.0045.
  CHECK(h.mean == Approx(1.2562).margin(4.0 * h.deviation / std::sqrt(static_cast<double>(n))));
  CHECK(h.deviation == Approx(0.55).margin(0.05));

  const auto stratum = set.stratum.to_vector();
  CHECK(std::count(stratum.begin(), stratum.end(), 0) == 9000);
  CHECK(std::count(stratum.begin(), stratum.end(), 1) == 3750);
  CHECK(std::count(stratum.begin(), stratum.end(), 2) == 2250);

  const auto p = set.parameters.to_vector();
  int wide = 0;
  for (std::size_t i = 0; i < p.size(); i += 5) {
    REQUIRE(p[i] == 0.0);
    REQUIRE((p[i + 1] >= 0.1 && p[i + 1] <= 5.0));
    REQUIRE((p[i + 2] >= -10.0 && p[i + 2] <= 10.0));
    REQUIRE((p[i + 3] >= 0.1 && p[i + 3] <= 5.0));
    REQUIRE(std::abs(p[i + 4]) <= 0.999);
    if (i < 5 * 9000) wide += p[i + 1] > std::sqrt(0.5) ? 1 : 0;
  }
  CHECK(wide / 9000.0 == Approx(0.5).margin(0.03));  // log-uniform: the median is the geometric mean

  const auto input = preprocess(set.densities, set.grid);
  const Summary deviation = summarize(input.deviation), mean = summarize(input.mean);
  CHECK(deviation.median == Approx(0.870).margin(0.03));
  CHECK(deviation.percentile_95 == Approx(1.990).margin(0.03));
  CHECK(deviation.maximum <= 2.2361);
  CHECK(mean.median == Approx(0.64).margin(0.15));
  CHECK(mean.percentile_95 == Approx(8.99).margin(0.12));
}

TEST_CASE("every kind of edge case occurs with its law", "[gmm][v5]") {
  const index_t n = 20000;
  const auto set = make_v5<Double>(Key{3}, n);
  const auto p = set.parameters.to_vector();
  int strong = 0, far = 0, both_narrow = 0, both_wide = 0;
  for (index_t i = 17000; i < n; ++i) {
    const double* q = p.data() + 5 * i;
    strong += std::abs(q[4]) >= 0.95 ? 1 : 0;
    far += std::abs(q[2]) >= 6.0 ? 1 : 0;
    both_narrow += q[1] <= 0.3 && q[3] <= 0.3 ? 1 : 0;
    both_wide += q[1] >= 3.0 && q[3] >= 3.0 ? 1 : 0;
  }
  // Probabilities follow from the laws of the five kinds: P(|rho| >= 0.95) = (49/199 + 1 + 49/999 + 49/999 + 49/299)
  // / 5.
  CHECK(strong / 3000.0 == Approx((49.0 / 199.0 + 1.0 + 2.0 * 49.0 / 999.0 + 49.0 / 299.0) / 5.0).margin(0.04));
  CHECK(far / 3000.0 == Approx((3.0 * 0.4 + 1.0 + 4.0 / 6.0) / 5.0).margin(0.04));
  CHECK(both_narrow / 3000.0 > 0.1);
  CHECK(both_wide / 3000.0 > 0.1);
}

TEST_CASE("the set depends on the key alone, not on threads", "[gmm][v5]") {
  const auto options = V5Options::training();
  const auto set = make_v5<Double>(Key{4}, 500, options);
  const int before = threads::count();
  for (int count : {1, 2, 4}) {
    threads::set_count(count);
    const auto again = make_v5<Double>(Key{4}, 500, options);
    CHECK(same_bits(again.densities, set.densities));
    CHECK(same_bits(again.stratum, set.stratum));
  }
  threads::set_count(before);
  CHECK_FALSE(same_bits(make_v5<Double>(Key{5}, 500, options).densities, set.densities));
}

TEST_CASE("the training set is centred, resolved and shuffled", "[gmm][v5]") {
  const index_t n = 2000;
  V5Options options = V5Options::training();
  const auto set = make_v5<Double>(Key{6}, n, options);
  const auto stratum = set.stratum.to_vector();
  CHECK(std::count(stratum.begin(), stratum.end(), 0) == 1200);
  CHECK(std::count(stratum.begin(), stratum.begin() + 1000, 0) < 700);
  const double cell = set.grid.spacing();
  const auto p = set.parameters.to_vector(), offset = set.offsets.to_vector();
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    const double* q = p.data() + 5 * i;
    const MaxOfNormals d(q[0], Variance(q[1]), q[2], Variance(q[3]), q[4]);
    REQUIRE(std::abs(offset[i] - d.moments().mean) <= 0.5 * cell + 1e-12);
    double area = 0.0;
    for (index_t j = 0; j < set.grid.points; ++j) area += d.density(offset[i] + set.grid[j]) * cell;
    REQUIRE(area == Approx(1.0).margin(1.1e-3));
  }
  // Shuffling only reorders.
  options.shuffle = false;
  auto plain = make_v5<Double>(Key{6}, n, options).offsets.to_vector();
  auto mixed = offset;
  CHECK(plain != mixed);
  std::sort(plain.begin(), plain.end());
  std::sort(mixed.begin(), mixed.end());
  CHECK(plain == mixed);
}

TEST_CASE("foreign densities have the drawn mean and deviation and integrate to one", "[gmm][foreign]") {
  gmm::detail::Draws draws{Key{7}};
  for (int f = 0; f < family_count; ++f) {
    const auto family = static_cast<Family>(f);
    for (int repeat = 0; repeat < 4; ++repeat) {
      const auto d = ForeignDensity::draw(family, draws, 1.3, 0.8);
      const double factor = family == Family::bimodal || family == Family::random_mixture ? 2.0 : 1.0;
      double area = 0.0, mean = 0.0, second = 0.0;
      const double step = 1e-3;
      for (int i = -60000; i < 60000; ++i) {
        const double z = 1.3 + step * (i + 0.5), mass = d.density(z) * step;
        area += mass;
        mean += mass * z;
        second += mass * (z - 1.3) * (z - 1.3);
      }
      INFO(describe(family));
      // The tails of Student's t with three degrees of freedom reach beyond the range of this sum.
      const bool heavy = family == Family::student_t;
      CHECK(area == Approx(1.0).margin(heavy ? 1e-4 : 1e-6));
      CHECK(mean == Approx(1.3).margin(heavy ? 1e-3 : 1e-5));
      CHECK(std::sqrt(second) == Approx(0.8 * factor).epsilon(heavy ? 0.03 : 1e-4));
    }
  }
  const auto set = make_foreign<Double>(Key{1}, 16);
  CHECK(set.stratum.to_vector()[9] == static_cast<int>(Family::gamma));
  for (index_t b = 0; b < 16; ++b) {
    double area = 0.0;
    for (double v : row_of(set.densities, b).to_vector()) area += v * set.grid.spacing();
    CHECK(area == Approx(1.0).margin(1e-3));
  }
  ForeignOptions bad;
  bad.least_deviation = -1.0;
  CHECK_THROWS_AS(make_foreign<Double>(Key{1}, 1, bad), ArgumentError);
  CHECK_THROWS_AS(make_v5<Double>(Key{1}, -1), ArgumentError);
}
