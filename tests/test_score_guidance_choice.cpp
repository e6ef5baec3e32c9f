// Guidance chosen by name gives what the struct gives; unknown names are told the known ones; the methods run where the
// memory is not the host's.
#include <kolmo/score/guidance/choice.hpp>

#include "catch.hpp"
#include "device.hpp"
#include "score_gaussian_support.hpp"

using namespace kolmo_test;

namespace {

template <class T>
using Device = Tensor<T, TestDevice>;

/// A prior that lives on any backend, with a nonlinear part, so that J is neither constant nor symmetric.
template <class V>
struct SmallEstimator {
  V weight;
  template <TensorLike X>
  auto operator()(const X& x, double t) const {
    return x * t + tanh(matmul(x, weight)) * 0.3;
  }
};

template <class V>
std::vector<double> posterior_of(const AnyGuidance<V>& method) {
  using T = typename V::Scalar;
  const auto values = [](const Matrix& m) {
    std::vector<T> result;
    for (Eigen::Index i = 0; i < m.size(); ++i) result.push_back(static_cast<T>(m(i)));
    return result;
  };
  const V weight = V::from(values(random(8, 8, 1) * 0.3)).reshaped(Shape{8, 8});
  const V x = V::from(values(random(3, 8, 2))).reshaped(Shape{3, 8});
  const auto estimate = guided(SmallEstimator<V>{weight}, Schedule{},
                               observe(SubsampleSpace{2, 0, 1}, V::from(values(random(1, 4, 3))), 0.2), method,
                               {StabilityPolicy::report});
  estimate.begin_step(0.5, 0.4);
  std::vector<double> result;
  for (const T y : estimate(x, 0.5).to_vector()) result.push_back(static_cast<double>(y));
  result.push_back(estimate.report().stability);
  return result;
}

}  // namespace

TEST_CASE("every name gives a method, on the host and on a device, in double and float", "[device]") {
  const SpectralCovariance<Device<float>> spectrum(Device<float>::from({1, 1, 0.5, 0.25, 0.1f}, Shape{5}), 1);
  for (const std::string& name : guidance_names()) {
    INFO(name);
    CHECK(name_of(guidance_method(name)) == name);
    const auto host = posterior_of<V>(guidance_by_name<V>(name));
    const auto device = posterior_of<Device<float>>(guidance_by_name<Device<float>>(name));
    REQUIRE(host.size() == device.size());
    double largest = 1;
    for (const double y : host) largest = std::max(largest, std::abs(y));
    for (std::size_t i = 0; i < host.size(); ++i) CHECK(std::abs(host[i] - device[i]) < 1e-4 * largest);
  }
  GuidanceSettings<Device<float>> settings;
  settings.spectrum = spectrum;
  CHECK(posterior_of<Device<float>>(guidance_by_name<Device<float>>("jfps", settings)).size() == 25);
}

TEST_CASE("settings reach the method that reads them") {
  GuidanceSettings<V> settings;
  settings.gamma = 0.3;
  CHECK(posterior_of<V>(guidance_by_name<V>("sda", settings)) == posterior_of<V>({SdaGuidance<>{0.3}}));
  settings.reference_count = 2;
  CHECK(posterior_of<V>(guidance_by_name<V>("dual_scaling", settings)) ==
        posterior_of<V>({ScaledGuidance{Scaling::dual, 2, 0.3}}));
  settings.iterations = 2;
  settings.tolerance = 0;
  CHECK(posterior_of<V>(guidance_by_name<V>("mmps", settings)) == posterior_of<V>({MmpsGuidance{2, 0}}));
  CHECK(posterior_of<V>(guidance_by_name<V>("default")) == posterior_of<V>({default_guidance()}));
}

TEST_CASE("unknown names and bad settings are refused") {
  CHECK_THROWS_WITH(guidance_by_name<V>("magic"),
                    kolmo_test::contains("'magic'") && kolmo_test::contains("default, sda, sda_detached, dps, pigdm"));
  GuidanceSettings<V> settings;
  settings.gamma = -1;
  CHECK_THROWS_AS(guidance_by_name<V>("sda", settings), ArgumentError);
  settings.iterations = 0;
  CHECK_THROWS_AS(guidance_by_name<V>("default", settings), ArgumentError);
  settings.reference_count = 0;
  CHECK_THROWS_AS(guidance_by_name<V>("dual_scaling", settings), ArgumentError);
}
