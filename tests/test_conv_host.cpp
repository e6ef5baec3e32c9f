// The host's convolution kernels against the generic ones in double precision: every geometry and padding, border
// tiles, odd channels, both algorithms, and the error of Winograd's.

#include <kolmo/backend/fake_device.hpp>
#include <kolmo/ops/conv.hpp>

#include "catch.hpp"
#include "expect_op_checks.hpp"

using namespace kolmo;
using kolmo_test::Numbers;

namespace {

struct Case {
  Shape x, w;
  ConvOptions options;
};

std::vector<double> numbers(index_t count, std::uint64_t seed) {
  std::vector<double> values = Numbers(seed).vector(static_cast<std::size_t>(count));
  for (double& v : values) v = static_cast<double>(static_cast<float>(v));
  return values;
}

template <class V>
V tensor(const std::vector<double>& values, const Shape& shape) {
  std::vector<typename V::Scalar> cast;
  for (const double v : values) cast.push_back(static_cast<typename V::Scalar>(v));
  return V::from(std::span<const typename V::Scalar>(cast), shape);
}

/// The three sums and the activated one.
template <class V>
std::vector<std::vector<double>> sums(const Case& c) {
  const auto g = detail::conv_geometry("test", c.x, c.w, c.options);
  const Shape out = detail::conv_out_shape(g);
  const V x = tensor<V>(numbers(c.x.size(), 1), c.x), w = tensor<V>(numbers(c.w.size(), 2), c.w);
  const V gradient = tensor<V>(numbers(out.size(), 3), out), bias = tensor<V>(numbers(c.w[0], 4), Shape{c.w[0]});
  const auto both = detail::conv_value(g, fn::Silu{}, x, w, bias, true);
  const V results[] = {detail::ConvForward{g}(x, w),
                       detail::ConvBackwardData{g}(gradient, w),
                       detail::ConvBackwardFilter{g}(x, gradient),
                       both.y,
                       both.z,
                       detail::conv_value(g, fn::Silu{}, x, w, bias, false).y};
  std::vector<std::vector<double>> values;
  for (const V& r : results) {
    values.emplace_back();
    for (const auto v : r.to_vector()) values.back().push_back(static_cast<double>(v));
  }
  return values;
}

/// Largest difference relative to the largest value.
double error(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, scale = 1e-30;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return difference / scale;
}

/// Root mean square difference relative to the root mean square value.
double mean_error(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, scale = 1e-60;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    scale += b[i] * b[i];
  }
  return std::sqrt(difference / scale);
}

const char* const names[] = {"forward",  "gradient of the field", "gradient of the kernel", "activated",
                             "kept sum", "activated in place"};

void expect_equal(const Case& c, double in_float) {
  INFO("x " << c.x.to_string() << " w " << c.w.to_string() << " padding " << static_cast<int>(c.options.padding));
  const auto reference = sums<Tensor<double, FakeDevice>>(c);
  const auto wide = sums<Tensor<double, Cpu>>(c), narrow = sums<Tensor<float, Cpu>>(c);
  for (std::size_t i = 0; i < reference.size(); ++i) {
    INFO(names[i]);
    CHECK(error(wide[i], reference[i]) <= 2e-14);
    CHECK(error(narrow[i], reference[i]) <= in_float);
    CHECK(mean_error(narrow[i], reference[i]) <= 0.5 * in_float);
  }
}

const Padding paddings[] = {Padding::zeros, Padding::circular, Padding::reflect, Padding::replicate};

}  // namespace

TEST_CASE("products of patches agree with the generic sums") {
  for (const Padding padding : paddings) {
    const Case cases[] = {
        {{2, 7, 5, 3}, {4, 3, 3, 3}, {{{1, 1}}, padding}},
        {{1, 9, 6, 17}, {49, 17, 3, 2}, {{{2, 1}}, padding}},
        {{2, 5, 8, 2}, {65, 2, 1, 4}, {{{1, 3}}, padding}},
        {{1, 6, 6, 5}, {3, 5, 2, 2}, {{{3, 3}}, padding, {{1, 1}}}},
        {{1, 1, 40, 1}, {1, 1, 1, 5}, {{{1, 2}}, padding, {{0, 4}}}},
        {{2, 1, 41, 8}, {8, 8, 1, 7}, {{{1, 1}}, padding, {{0, 18}}, {{0, 0}}, {{1, 3}}}},
        {{1, 1, 43, 3}, {20, 3, 1, 4}, {{{1, 2}}, padding, {{0, 2}}, {{0, 1}}, {{1, 2}}}},
        {{1, 9, 10, 5}, {4, 5, 3, 3}, {{{3, 2}}, padding, {{-1, 0}}, {{4, 7}}, {{2, 3}}}},
        {{1, 9, 10, 3}, {4, 3, 3, 3}, {{{1, 1}}, padding, {{3, 0}}, {{1, 4}}, {{2, 2}}}},
    };
    for (const Case& c : cases) expect_equal(c, 2e-6);
  }
  // Points shared out among tasks of few rows.
  expect_equal({{2, 199, 41, 1}, {2, 1, 3, 3}, {}}, 5e-6);
}

TEST_CASE("lines of sequences agree with the generic sums: every fold, phase, residue and border") {
  for (const Padding padding : paddings) {
    const Case cases[] = {
        {{2, 1, 131, 1}, {8, 1, 1, 7}, {{{1, 1}}, padding, {{0, 6}}, {{0, 0}}}},
        {{1, 1, 97, 8}, {4, 8, 1, 3}, {{{1, 1}}, padding}},
        {{2, 1, 61, 4}, {8, 4, 1, 1}, {{{1, 1}}, padding}},
        {{1, 1, 90, 5}, {3, 5, 1, 7}, {{{1, 1}}, padding, {{0, 18}}, {{0, 0}}, {{1, 3}}}},
        {{1, 1, 83, 3}, {20, 3, 1, 2}, {{{1, 1}}, padding, {{0, 1}}, {{0, 2}}, {{1, 2}}}},
        {{1, 1, 85, 3}, {6, 3, 1, 4}, {{{1, 2}}, padding, {{0, 2}}, {{0, 1}}}},
        {{1, 1, 200, 2}, {50, 2, 1, 16}, {{{1, 8}}, padding, {{0, 3}}, {{0, 5}}}},
        {{1, 1, 150, 2}, {3, 2, 1, 2}, {{{1, 5}}, padding, {{0, 4}}, {{0, 0}}}},
        {{1, 1, 33, 70}, {65, 70, 1, 3}, {{{1, 1}}, padding}},
        {{1, 1, 2500, 1}, {1, 1, 1, 5}, {{{1, 1}}, padding}},
    };
    for (const Case& c : cases) expect_equal(c, 3e-6);
  }
}

TEST_CASE("Winograd's tiles agree with the generic sums at every border") {
  for (const Padding padding : paddings) {
    const Case cases[] = {
        {{2, 8, 8, 16}, {16, 16, 3, 3}, {{{1, 1}}, padding}},
        {{1, 5, 6, 19}, {37, 19, 3, 3}, {{{1, 1}}, padding}},
        {{1, 7, 9, 11}, {70, 11, 3, 3}, {{{1, 1}}, padding, {{0, 2}}}},
        {{1, 11, 6, 16}, {16, 16, 3, 3}, {{{1, 1}}, padding, {{3, 0}}}},
    };
    for (const Case& c : cases) expect_equal(c, 5e-6);
    const Case uneven[] = {
        {{1, 8, 9, 16}, {16, 16, 3, 3}, {{{1, 1}}, padding, {{2, 1}}, {{0, 0}}}},
        {{1, 8, 9, 16}, {16, 16, 3, 3}, {{{1, 1}}, padding, {{0, 1}}, {{1, 4}}}},
        {{1, 8, 9, 16}, {16, 16, 3, 3}, {{{1, 1}}, padding, {{-1, -1}}, {{-1, -1}}, {{1, 2}}}},
    };
    for (const Case& c : uneven) expect_equal(c, 1e-5);
  }
}

TEST_CASE("Winograd in float keeps its error bound, in one block of tiles and in several") {
  expect_equal({{1, 12, 12, 400}, {16, 400, 3, 3}, {{{1, 1}}, Padding::circular}}, 2e-5);
  expect_equal({{1, 8, 8, 20}, {390, 20, 3, 3}, {{{1, 1}}, Padding::circular}}, 2e-5);
  expect_equal({{1, 66, 70, 50}, {20, 50, 3, 3}, {}}, 2e-5);
}

TEST_CASE("host convolutions have the same bits for any number of threads") {
  const int before = threads::count();
  for (const Case& c : {Case{{1, 66, 70, 50}, {20, 50, 3, 3}, {}}, Case{{2, 30, 31, 7}, {5, 7, 3, 3}, {}},
                        Case{{2, 1, 3001, 2}, {3, 2, 1, 7}, {}},
                        Case{{1, 12, 12, 17}, {150, 17, 3, 3}, {{{1, 1}}, Padding::reflect}}}) {
    threads::set_count(1);
    const auto one = sums<Tensor<float, Cpu>>(c);
    threads::set_count(3);
    CHECK(sums<Tensor<float, Cpu>>(c) == one);
  }
  threads::set_count(before);
}
