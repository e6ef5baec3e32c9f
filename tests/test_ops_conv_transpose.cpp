// Transposed convolutions against their definition, with every derivative, on the CPU backends.

#include <kolmo/ops/conv.hpp>

#include "conv_reference.hpp"
#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {
constexpr OpChecks convolution{.gemm = true, .host_kernel = true};
}

TEST_CASE("conv_transpose2d is the transpose of conv2d, with a bias and output padding") {
  for (const Padding padding : {Padding::zeros, Padding::circular}) {
    // 10 x 5 points, strides 2 and 1, give 5 x 4; without output padding the transpose would return 9 x 5.
    const ConvOptions options{{{2, 1}}, padding, {{1, 0}}};
    const Plain p{10, 5, 2, 3, 3, 2, 2, 1, 1, 0, padding};
    expect_op<convolution>(
        "conv_transpose2d",
        [&](const auto& a, const auto& k, const auto& s) {
          return conv_transpose2d(a, k, s, options, {{1, 0}});
        },
        {random_input({2, 5, 4, 3}, 6), random_input({3, 2, 3, 2}, 7), random_input({2}, 8)},
        [&](const Inputs& in) {
          Result y{Shape{2, 10, 5, 2}, std::vector<double>(200)};
          for (std::size_t i = 0; i < 200; ++i) y.values[i] = in[2].values[i % 2];
          for_each_term(2, p, [&](std::size_t a, std::size_t b, std::size_t c) {
            y.values[b] += in[0].values[a] * in[1].values[c];
          });
          return y;
        },
        {.bad = {{{Shape{2, 5, 4, 2}, Shape{3, 2, 3, 2}, Shape{2}}},
                 {{Shape{2, 5, 4, 3}, Shape{3, 2, 3, 2}, Shape{3}}}}});
  }
}

TEST_CASE("a transposed convolution trims what its kernels cover by separate numbers at the two ends") {
  // The causal one of rvq.md 5.1: kernel 2 s, all of the s surplus points trimmed on the right.
  const ConvOptions options{{{1, 3}}, Padding::zeros, {{0, 0}}, {{0, 3}}};
  const Plain p{1, 12, 2, 3, 1, 6, 1, 3, 0, 0, Padding::zeros, 0, 3};
  expect_op<convolution>(
      "conv_transpose2d", [&](const auto& a, const auto& k) { return conv_transpose2d(a, k, options); },
      {random_input({2, 1, 4, 3}, 9), random_input({3, 2, 1, 6}, 10)},
      [&](const Inputs& in) {
        Result y{Shape{2, 1, 12, 2}, std::vector<double>(48)};
        for_each_term(2, p, [&](std::size_t a, std::size_t b, std::size_t c) {
          y.values[b] += in[0].values[a] * in[1].values[c];
        });
        return y;
      });
}
