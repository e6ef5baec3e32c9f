// The polish of mixtures by teams against the CPU: one chunk of points and several, few components and many, least
// squares and higher norms, rows without a density or a start, points of any spacing.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/gmm/polish.hpp>

#include "check.hpp"

using namespace kolmo;

namespace {

constexpr index_t batch = 5;

struct Results {
  std::vector<double> numbers;
  std::vector<std::int32_t> status, evaluations;
};

template <class T>
void append(std::vector<double>& target, const std::vector<T>& values) {
  for (const T value : values) target.push_back(static_cast<double>(value));
}

template <class T, class B>
Results polished(index_t points, int components, int minimax, bool spaced) {
  using V = Tensor<T, B>;
  const gmm::Grid grid{-6.0, 7.0, points};
  std::vector<double> at;
  for (index_t i = 0; i < points; ++i) {
    const double z = grid.first + grid.spacing() * static_cast<double>(i);
    at.push_back(spaced ? z + 0.02 * z * z : z);
  }
  std::vector<T> densities, weights, means, deviations;
  for (index_t row = 0; row < batch; ++row) {
    for (const double z : at) {
      double sum = 0;
      for (int k = 0; k < components; ++k) {
        const double q = (z + 3.5 - 1.1 * k - 0.05 * static_cast<double>(row)) / (0.5 + 0.06 * k);
        sum += (1.0 + 0.3 * (k % 3)) * std::exp(-0.5 * q * q) / (0.5 + 0.06 * k);
      }
      densities.push_back(static_cast<T>(row == 3 ? 0.0 : sum));
    }
    for (int k = 0; k < components; ++k) {
      weights.push_back(static_cast<T>(row == 4 && k == 0 ? -1.0 : 1.0 / components));
      means.push_back(static_cast<T>(-3.4 + 1.08 * k));
      deviations.push_back(static_cast<T>(0.62));
    }
  }
  const Shape shape{batch, components};
  const gmm::Mixture<V> start{V::from(weights).reshaped(shape), V::from(means).reshaped(shape),
                              V::from(deviations).reshaped(shape)};
  // Neither the number of evaluations nor a choice may hang on the last bit.
  const gmm::PolishOptions options{.evaluations = 4, .minimax = minimax, .tolerance = 0, .gain = 0};
  const V f = V::from(densities).reshaped(Shape{batch, points});
  const auto report =
      spaced ? gmm::polish(f, std::span<const double>(at), start, options) : gmm::polish(f, grid, start, options);
  Results results;
  append(results.numbers, report.mixture.weights.to_vector());
  append(results.numbers, report.mixture.means.to_vector());
  append(results.numbers, report.mixture.deviations.to_vector());
  results.status = report.status.to_vector();
  results.evaluations = report.evaluations.to_vector();
  return results;
}

template <class T>
void compare(const std::string& scalar, index_t points, int components, int minimax, bool spaced, double slack) {
  const std::string name = "polish of " + scalar + ", " + std::to_string(points) + " points, " +
                           std::to_string(components) + " components, minimax " + std::to_string(minimax) +
                           (spaced ? ", uneven" : "");
  const Results device = polished<T, Cuda>(points, components, minimax, spaced);
  const Results host = polished<T, Cpu>(points, components, minimax, spaced);
  check::close(device.numbers, host.numbers, name, slack);
  check::identical(device.status, host.status, name + ": status");
  check::identical(device.evaluations, host.evaluations, name + ": evaluations");
  check::identical(polished<T, Cuda>(points, components, minimax, spaced).numbers, device.numbers, name + ": repeated");
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
#if defined(KOLMO_TEST_EMULATION)
  for (const bool backwards : {false, true}) {
    emulation::backwards = backwards;
#else
  {
#endif
    compare<double>("double", 96, 3, 0, false, 1e3);
    compare<double>("double", 70, 5, 2, false, 1e4);
    compare<double>("double", 200, 4, 0, true, 1e3);
    compare<double>("double", 300, 7, 0, false, 1e4);
    // Numbers are doubles here, of single precision.
    compare<float>("float", 96, 5, 0, false, 1e10);
    compare<float>("float", 40, 1, 0, false, 1e10);
  }
  return check::result();
}
