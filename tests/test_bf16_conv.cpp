// The host's convolutions of BFloat16 fields with every form of the kernel, beside float ones of the same numbers.

#include <cmath>

#include <kolmo/backend/bf16_kernel.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/conv.hpp>

#include "catch.hpp"

using namespace kolmo;
using Half = Tensor<BFloat16, Cpu>;
using Single = Tensor<float, Cpu>;

namespace {

Half numbers(std::uint64_t seed, const Shape& shape) {
  return cast<BFloat16>(nn::normal_values<Single>(Key{seed}, shape));
}

/// Largest difference in units of one rounding to bfloat16 of the largest number.
double roundings(const Half& found, const Single& expected) {
  const auto x = cast<float>(found).to_vector(), y = expected.to_vector();
  float worst = 0, largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!(std::abs(x[i] - y[i]) <= worst)) worst = std::abs(x[i] - y[i]);
    largest = std::max(largest, std::abs(y[i]));
  }
  return static_cast<double>(worst / largest) * 0x1p8;
}

struct Problem {
  detail::ConvGeometry g;
  Half x, w, gradient;

  Problem(const Shape& field, const Shape& kernel, const ConvOptions& options)
      : g(detail::conv_geometry("test", field, kernel, options)),
        x(numbers(1, field)),
        w(numbers(2, kernel)),
        gradient(numbers(3, detail::conv_out_shape(g))) {}

  /// Results of the three sums on tensors of either scalar.
  template <class V>
  Array<V, 3> results(const V& field, const V& kernel, const V& cotangent) const {
    return {{detail::ConvForward{g}(field, kernel), detail::ConvBackwardData{g}(cotangent, kernel),
             detail::ConvBackwardFilter{g}(field, cotangent)}};
  }
};

}  // namespace

TEST_CASE("forward, backward-data and backward-filter with every form, any remainder of channels and points") {
  // Points beyond one chunk and not a multiple of it; input channels beyond one group; an odd number of channels; a
  // pointwise kernel with so many points that their sum is shared out.
  const Problem problems[] = {
      {Shape{2, 21, 19, 50}, Shape{37, 50, 3, 3}, {}},
      {Shape{1, 12, 11, 7}, Shape{33, 7, 3, 5}, {{{2, 3}}, Padding::circular, {{1, 2}}}},
      {Shape{1, 70, 65, 9}, Shape{5, 9, 1, 1}, {}},
      {Shape{3, 1, 40, 16}, Shape{16, 16, 1, 5}, {{{1, 1}}, Padding::reflect, {{0, 2}}}},
      {Shape{1, 3, 9, 17}, Shape{18, 17, 5, 3}, {{{1, 1}}, Padding::circular, {{2, 1}}}},
  };
  for (const Problem& problem : problems) {
    const auto expected =
        problem.results(cast<float>(problem.x), cast<float>(problem.w), cast<float>(problem.gradient));
    for (const auto kernel :
         {Bf16Kernel::portable, Bf16Kernel::avx512, Bf16Kernel::tiles, Bf16Kernel::emulated_tiles}) {
      if (!bf16_kernel_available(kernel)) continue;
      INFO("kernel " << name_of(kernel) << ", weight " << problem.w.shape().to_string());
      set_bf16_kernel(kernel);
      const auto found = problem.results(problem.x, problem.w, problem.gradient);
      reset_bf16_kernel();
      CHECK(roundings(found[0], expected[0]) <= 1.01);
      // Borders that are folded back are rounded before and after; periodic ones of stride one need no folding.
      const bool folded = problem.g.padding != Padding::zeros && problem.g.axis[1].out != problem.g.axis[1].in;
      CHECK(roundings(found[1], expected[1]) <= (folded || problem.g.padding == Padding::reflect ? 3 : 1.01));
      CHECK(roundings(found[2], expected[2]) <= 1.01);
    }
  }
}

TEST_CASE("bias and activation are applied in float before the one rounding") {
  const Half x = numbers(1, Shape{1, 6, 7, 20}), w = numbers(2, Shape{18, 20, 3, 3}), b = numbers(3, Shape{18});
  const Half y = conv2d(x, w, b, {}, fn::Silu{});
  CHECK(roundings(y, conv2d(cast<float>(x), cast<float>(w), cast<float>(b), {}, fn::Silu{})) <= 1.01);
}

TEST_CASE("the bits of a convolution in bfloat16 do not depend on the number of threads") {
  const Problem problem(Shape{2, 40, 33, 24}, Shape{40, 24, 3, 3}, {});
  const int before = threads::count();
  std::vector<std::vector<float>> first;
  for (const int count : {1, 2, 4}) {
    threads::set_count(count);
    const auto found = problem.results(problem.x, problem.w, problem.gradient);
    for (int i = 0; i < 3; ++i) {
      const auto values = cast<float>(found[i]).to_vector();
      if (count == 1)
        first.push_back(values);
      else
        CHECK(values == first[static_cast<std::size_t>(i)]);
    }
  }
  threads::set_count(before);
}
