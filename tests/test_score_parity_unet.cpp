// The U-Net and the norm over channels against PyTorch: values and every gradient, to 1e-10 in double and 1e-5 in float
// (tests/reference/score_networks.py).

#include <kolmo/nn/unet.hpp>

#include "score_parity.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

template <class V>
struct NormProblem {
  V x, m;
  static void fields(auto&& f, auto&... s) {
    f(param("x"), s.x...);
    f(param("m"), s.m...);
  }
  template <class U>
  using Rebind = NormProblem<U>;
};

template <class V>
struct UNetProblem {
  nn::UNet<V> net;
  V x, e;
  static void fields(auto&& f, auto&... s) {
    f(submodule("net"), s.net...);
    f(param("x"), s.x...);
    f(param("e"), s.e...);
  }
  template <class U>
  using Rebind = UNetProblem<U>;
};

struct Case {
  const char* name;
  std::vector<index_t> grid;
  Padding padding;
  nn::ActivationKind activation;
  index_t stride;
  std::vector<index_t> channels, blocks;
};

const std::vector<Case>& cases() {
  using K = nn::ActivationKind;
  static const std::vector<Case> all{
      {"1d_zeros", {13}, Padding::zeros, K::silu, 2, {3, 4, 5}, {1, 1, 1}},
      {"1d_circular", {12}, Padding::circular, K::gelu, 2, {3, 4, 5}, {1, 1, 1}},
      {"2d_circular", {8, 12}, Padding::circular, K::silu, 2, {3, 4, 5}, {1, 1, 1}},
      {"2d_zeros_odd", {7, 9}, Padding::zeros, K::elu, 2, {3, 4}, {1, 1}},
      {"2d_reflect_odd", {7, 10}, Padding::reflect, K::silu, 3, {3, 4}, {0, 2}},
      {"2d_replicate", {5, 4}, Padding::replicate, K::silu, 2, {3, 4}, {1, 1}},
  };
  return all;
}

template <class T>
void expect_unet(const Case& c, nn::UNetCheckpoint checkpoint) {
  using V = Tensor<T, Cpu>;
  const auto spatial = static_cast<int>(c.grid.size());
  const nn::UNet<V> net({3, 2, 3, c.channels, c.blocks, 3, c.stride, c.padding, c.activation, spatial, checkpoint});
  Shape shape{2};
  for (const index_t n : c.grid) shape.push_back(n);
  shape.push_back(3);
  const UNetProblem<V> problem{reference_parameters<V>(net), reference_numbers<V>(stream_x, shape),
                               reference_numbers<V>(stream_m, Shape{2, 3})};
  expect_parity(std::string("unet_") + c.name, problem, [](const auto& p) { return p.net(p.x, p.e); });
}

template <class T>
void expect_norm() {
  using V = Tensor<T, Cpu>;
  const NormProblem<V> problem{reference_numbers<V>(stream_x, Shape{2, 3, 4, 5}),
                               reference_numbers<V>(stream_m, Shape{2, 5})};
  expect_parity("channel_norm", problem, [](const auto& p) { return nn::channel_norm(p.x, p.m); });
}

}  // namespace

TEST_CASE("9.1: the norm over channels with its modulation, and every gradient") {
  expect_norm<double>();
  expect_norm<float>();
}

TEST_CASE("9.1: the U-Net and every gradient, in double") {
  for (const Case& c : cases()) {
    expect_unet<double>(c, nn::UNetCheckpoint::none);
    expect_unet<double>(c, nn::UNetCheckpoint::block);
  }
}

TEST_CASE("9.1: the U-Net and every gradient, in float") {
  for (const Case& c : cases()) expect_unet<float>(c, nn::UNetCheckpoint::none);
}
