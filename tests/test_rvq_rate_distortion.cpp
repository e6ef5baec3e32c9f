// The bounds beside which quantizers are shown.

#include <kolmo/rvq/rate_distortion.hpp>

#include <vector>

#include "catch.hpp"

using namespace kolmo;
using kolmo_test::contains;

TEST_CASE("a bit halves the deviation that a Gaussian keeps") {
  CHECK(rvq::gaussian_distortion(1.0, 1.25) == Approx(0.1768).epsilon(1e-3));
  CHECK(rvq::gaussian_distortion(3.0, 0.0) == 3.0);
  CHECK(rvq::gaussian_distortion(3.0, 2.0) == Approx(3.0 / 16).epsilon(1e-14));
}

TEST_CASE("factors of the sphere bound are those of the reference") {
  const std::pair<index_t, double> table[] = {{1, 2.721},  {2, 2.000},  {4, 1.591},  {8, 1.351},  {16, 1.207},
                                              {32, 1.121}, {40, 1.102}, {64, 1.070}, {128, 1.040}};
  for (const auto& [d, factor] : table) CHECK(rvq::sphere_bound_factor(d) == Approx(factor).margin(6e-4));
  CHECK(rvq::sphere_bound_factor(100000) > 1.0);
  CHECK(rvq::sphere_bound_factor(100000) < 1.0002);
}

TEST_CASE("reverse water-filling of equal variances is the Gaussian's D(R)") {
  const std::vector<double> equal(7, 0.3);
  for (const double bits : {0.0, 0.1, 1.0, 7.5})
    CHECK(rvq::reverse_water_filling(equal, bits).distortion ==
          Approx(rvq::gaussian_distortion(0.3, bits)).epsilon(1e-12));
}

TEST_CASE("reverse water-filling gives no bits to components below the level") {
  // Variances 4 and 1: up to log2(4 / 1) / 2 = 1 bit for the larger one alone, half a bit per dimension.
  const std::vector<double> two{1.0, 4.0};
  const auto low = rvq::reverse_water_filling(two, 0.25);
  CHECK(low.water_level == Approx(2.0).epsilon(1e-12));
  CHECK(low.distortion == Approx(1.5).epsilon(1e-12));
  const auto edge = rvq::reverse_water_filling(two, 0.5);
  CHECK(edge.water_level == Approx(1.0).epsilon(1e-12));
  const auto high = rvq::reverse_water_filling(two, 2.0);
  CHECK(high.distortion == Approx(2.0 * std::exp2(-4.0)).epsilon(1e-12));
  CHECK(high.water_level == Approx(high.distortion).epsilon(1e-12));
  const std::vector<double> flat{0.0, 2.0, 0.0};
  CHECK(rvq::reverse_water_filling(flat, 1.0).distortion == Approx(2.0 / 3 / 64).epsilon(1e-12));
  CHECK(rvq::reverse_water_filling(std::vector<double>(4, 0.0), 1.0).distortion == 0.0);
}

TEST_CASE("distortion falls convexly with the rate") {
  const std::vector<double> falling{1.0, 0.5, 0.25, 0.1, 0.01, 1e-6};
  double before = 1e9, slope_before = -1e9;
  for (double bits = 0.0; bits < 4.0; bits += 0.125) {
    const double distortion = rvq::reverse_water_filling(falling, bits).distortion;
    CHECK(distortion < before);
    if (bits > 0.0) CHECK(distortion - before > slope_before * (1 + 1e-9) - 1e-12);
    if (bits > 0.0) slope_before = distortion - before;
    before = distortion;
  }
}

TEST_CASE("bounds refuse what is no rate, variance or dimension") {
  CHECK_THROWS_WITH(rvq::gaussian_distortion(1.0, -0.5), contains("0 or more, given -0.5"));
  CHECK_THROWS_WITH(rvq::gaussian_distortion(-1.0, 0.5), contains("variance must not be negative"));
  CHECK_THROWS_WITH(rvq::reverse_water_filling(std::vector<double>{1.0, -2.0}, 1.0), contains("eigenvalue 1 is -2"));
  CHECK_THROWS_WITH(rvq::reverse_water_filling(std::vector<double>{}, 1.0), contains("no eigenvalues"));
  CHECK_THROWS_WITH(rvq::sphere_bound_factor(0), contains("must be positive"));
}
