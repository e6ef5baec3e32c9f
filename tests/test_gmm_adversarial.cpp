// Distribution functions of mixtures that no fitter should return, against densities that nobody should give: their
// distance is never above one, and never NaN.

#include "catch.hpp"
#include "gmm_reference.hpp"

#include <limits>

#include <kolmo/core/random.hpp>
#include <kolmo/gmm/metrics.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

/// A number of any size from 10^-decades to 10^decades.
double any_size(Key key, std::uint64_t i, double decades) {
  return std::pow(10.0, decades * (2 * uniform<double>(key, i) - 1));
}

/// `count` pairs, a thousand at a time: weights with zeros, deviations from 1e-30 to 1e30, means anywhere, densities
/// with spikes, of noise, of one point.
template <class V>
void check_distances(index_t count) {
  using T = typename V::Scalar;
  constexpr index_t rows = 1000, components = 5;
  const Grid grid{-4.0, 5.0, 24};
  // Weights that sum to one up to rounding, in the scalar of the mixture.
  const double most = 1 + 4 * static_cast<double>(std::numeric_limits<T>::epsilon());
  double largest = 0;
  for (index_t begin = 0; begin < count; begin += rows) {
    const Key key{2026 + static_cast<std::uint64_t>(begin)};
    std::uint64_t next = 0;
    std::vector<T> values, weights, means, deviations;
    for (index_t b = 0; b < rows; ++b) {
      const int kind = static_cast<int>(b % 4);
      const auto spike = static_cast<index_t>(uniform<double>(key, next++) * 24);
      for (index_t i = 0; i < grid.points; ++i) {
        const double noise = uniform<double>(key, next++);
        values.push_back(static_cast<T>(kind == 0   ? noise
                                        : kind == 1 ? (i == spike ? 1e20 : noise)
                                        : kind == 2 ? (i == spike ? 1.0 : 0.0)
                                                    : any_size(key, next++, 15)));
      }
      double w[components], total = 0;
      for (double& x : w) {
        x = uniform<double>(key, next) < 0.3 ? 0.0 : any_size(key, next + 1, 6);
        next += 2;
        total += x;
      }
      for (double& x : w) {
        weights.push_back(static_cast<T>(total > 0 ? x / total : 1.0 / components));
        const double sign = uniform<double>(key, next) < 0.5 ? -1.0 : 1.0;
        means.push_back(static_cast<T>(uniform<double>(key, next + 1) < 0.5 ? 4 * sign * uniform<double>(key, next + 2)
                                                                            : sign * any_size(key, next + 2, 30)));
        deviations.push_back(static_cast<T>(any_size(key, next + 3, 30)));
        next += 4;
      }
    }
    const Shape shape{rows, components};
    const Mixture<V> mixture{V::from(weights, shape), V::from(means, shape), V::from(deviations, shape)};
    const auto m = evaluate(V::from(values, Shape{rows, grid.points}), grid, mixture);
    for (const T error : m.distribution_error.to_vector()) {
      REQUIRE(error >= T(0));
      REQUIRE(static_cast<double>(error) <= most);
      largest = std::max(largest, static_cast<double>(error));
    }
  }
  // They are as bad as they can be.
  CHECK(largest > 0.99);
}

}  // namespace

TEMPLATE_TEST_CASE("the error of a distribution function is never above one", "[gmm][metrics]", float, double) {
  check_distances<Tensor<TestType, Cpu>>(20000);
}

TEST_CASE("the error of a distribution function is never above one in a million cases", "[gmm][metrics][long]") {
  check_distances<Double>(1000000);
}
