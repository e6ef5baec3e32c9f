// Networks in bfloat16 beside the same networks in float: norms, convolutions, U-Nets.

#include <cmath>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/optim/mixed_precision.hpp>
#include <kolmo/score/score_unet.hpp>

#include "catch.hpp"

using namespace kolmo;
using Half = Tensor<BFloat16, Cpu>;
using Single = Tensor<float, Cpu>;

namespace {

/// |a - b| / |b| in the Euclidean norm.
double relative_error(const Single& a, const Single& b) {
  const auto x = a.to_vector(), y = b.to_vector();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    difference += d * d;
    size += static_cast<double>(y[i]) * static_cast<double>(y[i]);
  }
  return std::sqrt(difference / size);
}
double relative_error(const Half& a, const Single& b) { return relative_error(cast<float>(a), b); }

/// Numbers that both scalars hold.
Single exact(std::uint64_t seed, const Shape& shape) {
  return cast<float>(cast<BFloat16>(nn::normal_values<Single>(Key{seed}, shape)));
}
Half half(const Single& x) { return cast<BFloat16>(x); }

constexpr double unit = 0x1p-8;  // of rounding

}  // namespace

TEST_CASE("norms of BFloat16 fields are computed in float and rounded once") {
  const Single x = exact(1, Shape{2, 3, 5, 70}), m = exact(2, Shape{2, 70}), g = exact(3, x.shape());
  CHECK(relative_error(nn::channel_norm(half(x), half(m)), nn::channel_norm(x, m)) < unit);
  const auto pull = [](const auto& field, const auto& modulation, const auto& cotangent) {
    auto f = vjp([&](const auto& v) { return nn::channel_norm(v, modulation, 1e-5, fn::Silu{}); }, field);
    return f.pull(cotangent);
  };
  CHECK(relative_error(pull(half(x), half(m), half(g)), pull(x, m, g)) < unit);
  const auto pull_modulation = [](const auto& field, const auto& modulation, const auto& cotangent) {
    auto f = vjp([&](const auto& v) { return nn::channel_norm(field, v, 1e-5, fn::Silu{}); }, modulation);
    return f.pull(cotangent);
  };
  CHECK(relative_error(pull_modulation(half(x), half(m), half(g)), pull_modulation(x, m, g)) < unit);

  const Single rows = exact(4, Shape{9, 70}), scale = exact(5, Shape{70}), shift = exact(6, Shape{70});
  CHECK(relative_error(nn::layer_norm(half(rows), half(scale), half(shift)), nn::layer_norm(rows, scale, shift)) <
        unit);
  const auto pull_scale = [](const auto& r, const auto& s, const auto& b) {
    return grad([&](const auto& v) { return sum(square(nn::layer_norm(r, v, b))); }, s);
  };
  CHECK(relative_error(pull_scale(half(rows), half(scale), half(shift)), pull_scale(rows, scale, shift)) < 3 * unit);
}

TEST_CASE("convolutions of BFloat16 fields and their gradients agree with float") {
  const Padding padding = GENERATE(Padding::zeros, Padding::circular, Padding::reflect, Padding::replicate);
  const index_t stride = GENERATE(1, 2);
  const ConvOptions options{{{stride, stride}}, padding, {{-1, -1}}};
  INFO("padding " << static_cast<int>(padding) << " stride " << stride);
  const Single x = exact(1, Shape{2, 9, 8, 19}), w = exact(2, Shape{21, 19, 3, 3}), b = exact(3, Shape{21});
  const auto run = [&](const auto& field, const auto& kernel, const auto& bias) {
    return conv2d(field, kernel, bias, options, fn::Silu{});
  };
  const Single y = run(x, w, b), g = exact(4, y.shape());
  CHECK(relative_error(run(half(x), half(w), half(b)), y) < unit);
  const auto pull_x = [&](const auto& f, const auto& k, const auto& c, const auto& cotangent) {
    return vjp([&](const auto& v) { return run(v, k, c); }, f).pull(cotangent);
  };
  const auto pull_w = [&](const auto& f, const auto& k, const auto& c, const auto& cotangent) {
    return vjp([&](const auto& v) { return run(f, v, c); }, k).pull(cotangent);
  };
  // The gradient of the sum is rounded before it is multiplied, and the result once more.
  CHECK(relative_error(pull_x(half(x), half(w), half(b), half(g)), pull_x(x, w, b, g)) < 3 * unit);
  CHECK(relative_error(pull_w(half(x), half(w), half(b), half(g)), pull_w(x, w, b, g)) < 3 * unit);
}

TEST_CASE("a U-Net with BFloat16 weights: values and gradients of weights and input beside float") {
  score::ScoreUNetOptions options;
  options.channels = 2;
  options.embedding = 16;
  options.hidden_channels = {16, 24};
  options.hidden_blocks = {1, 1};
  options.activation = nn::ActivationKind::silu;
  score::ScoreUNet<Single> net(options);
  init(Key{7}, net);
  net = cast<float>(cast<BFloat16>(net));
  const Single x = exact(1, Shape{2, 2, 9, 11}), target = exact(2, x.shape()), t = Single::from({0.25f, 0.75f});
  const auto loss = [&](const auto& model) { return mean(square(model(x, t) - target)); };
  const auto in_float = value_and_grad(net, loss);
  const auto mixed = value_and_grad(net, optim::mixed_precision(loss));
  CHECK(mixed.value.item() == Approx(in_float.value.item()).epsilon(0.01));
  // Some ten operations deep, each with one rounding: errors add up as a random walk.
  visit_parameters(
      [&](const std::string& path, const Single& a, const Single& b) {
        INFO(path);
        CHECK(relative_error(a, b) < 12 * unit);
      },
      mixed.gradient, in_float.gradient);

  // Guidance: the gradient of a float state through a network stored in bfloat16.
  const score::ScoreUNet<Half> stored = cast<BFloat16>(net);
  const Single prediction = stored(x, 0.3);
  CHECK(relative_error(prediction, net(x, 0.3)) < 6 * unit);
  const auto guide = [&](const auto& model) {
    return grad([&](const auto& v) { return sum(square(model(v, 0.3))); }, x);
  };
  CHECK(relative_error(guide(stored), guide(net)) < 12 * unit);
}
