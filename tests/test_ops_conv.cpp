// Convolutions against their definition in plain loops, with every derivative, on the CPU backends.

#include <kolmo/ops/conv.hpp>

#include "conv_reference.hpp"
#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {
constexpr OpChecks convolution{.gemm = true, .host_kernel = true};
}

TEST_CASE("conv2d is its definition for every padding, stride and kernel, with bias and activation") {
  struct Case {
    Shape x, w;
    ConvOptions options;
  };
  const Case cases[] = {
      {{2, 5, 4, 3}, {2, 3, 3, 3}, {}},
      {{1, 5, 7, 2}, {3, 2, 3, 3}, {{{1, 1}}, Padding::circular}},
      {{1, 4, 5, 1}, {2, 1, 3, 5}, {{{2, 1}}, Padding::reflect, {{1, 3}}}},
      {{2, 5, 3, 2}, {1, 2, 4, 2}, {{{2, 3}}, Padding::replicate, {{2, 1}}}},
      {{1, 6, 1, 2}, {2, 2, 3, 1}, {{{2, 2}}, Padding::circular, {{6, 0}}}},
      {{1, 3, 3, 4}, {2, 4, 3, 3}, {{{1, 1}}, Padding::zeros, {{0, 0}}}},
      {{2, 1, 9, 2}, {3, 2, 1, 3}, {{{1, 1}}, Padding::zeros, {{0, 6}}, {{0, 0}}, {{1, 3}}}},
      {{1, 6, 5, 2}, {2, 2, 3, 2}, {{{2, 3}}, Padding::circular, {{3, 0}}, {{1, 4}}, {{2, 3}}}},
  };
  for (const Case& c : cases) {
    const Input x = random_input(c.x, 1), w = random_input(c.w, 2), bias = random_input(Shape{c.w[0]}, 3);
    expect_op<convolution>(
        "conv2d", [&](const auto& a, const auto& k, const auto& s) { return conv2d(a, k, s, c.options, fn::Silu{}); },
        {x, w, bias}, [&](const Inputs& in) { return plain_conv(in, c.options, fn::Silu{}); },
        {.bad = {{{c.x, c.w.without(1), Shape{c.w[0]}}}, {{c.x, c.w, Shape{c.w[0] + 1}}}}});
  }
}
