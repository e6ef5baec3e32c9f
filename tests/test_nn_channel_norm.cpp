// Standardisation over channels with a modulation before it, against its definition with every derivative.

#include <cmath>

#include <kolmo/nn/channel_norm.hpp>

#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;
using Ten = Tensor<double, Cpu>;

namespace {

double identity_of(double x) { return x; }
double silu_of(double x) { return x / (1 + std::exp(-x)); }

/// f((u - mean) / sqrt(unbiased variance + 1e-5)), u = x + modulation of the image, pixel by pixel.
Result standardised(const Inputs& in, double (*f)(double)) {
  Result y{in[0].shape, in[0].values};
  const auto n = static_cast<std::size_t>(in[0].shape[-1]);
  const std::size_t per_image = y.values.size() / static_cast<std::size_t>(in[0].shape[0]);
  for (std::size_t row = 0; row < y.values.size(); row += n) {
    double* u = y.values.data() + row;
    if (in.size() > 1) {
      const bool shared = in[1].values.size() == n;
      for (std::size_t c = 0; c < n; ++c) u[c] += in[1].values[(shared ? 0 : row / per_image * n) + c];
    }
    double mean = 0, variance = 0;
    for (std::size_t c = 0; c < n; ++c) mean += u[c] / static_cast<double>(n);
    for (std::size_t c = 0; c < n; ++c) variance += (u[c] - mean) * (u[c] - mean) / static_cast<double>(n - 1);
    for (std::size_t c = 0; c < n; ++c) u[c] = f((u[c] - mean) / std::sqrt(variance + 1e-5));
  }
  return y;
}

}  // namespace

TEST_CASE("channel_norm is its definition, and all derivatives are exact") {
  expect_op(
      "channel_norm", [](const auto& x, const auto& m) { return nn::channel_norm(x, m); },
      {random_input({2, 3, 5}, 1), random_input({2, 5}, 2)},
      [](const Inputs& in) { return standardised(in, identity_of); },
      {.bad = {{{Shape{2, 3, 1}, Shape{2, 1}}},
               {{Shape{2, 3, 5}, Shape{3, 5}}},
               {{Shape{2, 3, 5}, Shape{2, 3}}},
               {{Shape{2, 3, 5}, Shape{2, 3, 5}}},
               {{Shape{}, Shape{}}}},
       .large = {{random_input({3, 230, 130}, 4), random_input({3, 130}, 5)}}});
}

TEST_CASE("channel_norm with an activation and a shared modulation") {
  expect_op(
      "channel_norm silu", [](const auto& x, const auto& m) { return nn::channel_norm(x, m, 1e-5, fn::Silu{}); },
      {random_input({2, 2, 37}, 3), random_input({1, 37}, 4)},
      [](const Inputs& in) { return standardised(in, silu_of); });
}

TEST_CASE("channel_norm without a modulation") {
  expect_op(
      "channel_norm plain", [](const auto& x) { return nn::channel_norm(x); }, {random_input({3, 4}, 5)},
      [](const Inputs& in) { return standardised(in, identity_of); });
}

TEST_CASE("equal channels give zeros, an empty batch an empty result, and the variance is unbiased") {
  CHECK(nn::channel_norm(Ten::full({1, 3}, 1e8)).to_vector() == std::vector<double>{0, 0, 0});
  CHECK(nn::channel_norm(Ten::zeros({0, 4, 3}), Ten::zeros({0, 3})).shape() == Shape{0, 4, 3});
  // Two channels a distance 2 apart: variance 2 with divisor n - 1.
  CHECK(nn::channel_norm(Ten::from({3.0, 5.0}), 1e-30).to_vector()[1] == Approx(1 / std::sqrt(2.0)).epsilon(1e-14));
  CHECK_THROWS_AS(nn::channel_norm(Ten::ones({2, 3}), 0.0), ArgumentError);
}
