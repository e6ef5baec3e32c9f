// Finite scalar quantization against the formulas of Mentzer et al. 2023.

#include <kolmo/rvq/fsq.hpp>

#include <set>

#include "expect_op.hpp"

#include <kolmo/io/tree.hpp>
#include <kolmo/nn/init.hpp>

using namespace kolmo;
using namespace kolmo_test;

namespace {

using V = Tensor<double, Cpu>;
using Quantizer = rvq::FiniteScalarQuantizer<V>;

/// Vectors whose bounded value runs through the whole range of each channel.
V spread(index_t n, index_t d, std::uint64_t seed) { return nn::normal_values<V>(Key{seed}, Shape{n, d}, 0, 1.5); }

/// The formulas, one number at a time, in double.
double bounded_by_hand(double x, index_t level) {
  const double h = static_cast<double>(level - 1) * 1.001 / 2, o = level % 2 == 0 ? 0.5 : 0.0;
  return std::tanh(x + std::atanh(o / h)) * h - o;
}

}  // namespace

TEST_CASE("fsq: the bounded value and its gradients follow the formula") {
  const std::vector<index_t> levels{8, 5, 2};
  const auto bounded = [&](const auto& x) { return rvq::fsq_bounded(levels, x); };
  expect_op(
      "fsq_bounded", bounded, {random_input({4, 3}, 1, -2, 2)},
      [&](const Inputs& in) {
        Result y{{4, 3}, {}};
        for (std::size_t i = 0; i < 12; ++i)
          y.values.push_back(bounded_by_hand(in[0].values[i], levels[i % 3]) / static_cast<double>(levels[i % 3] / 2));
        return y;
      },
      {.bad = {{{Shape{4, 2}}}, {{Shape{}}}}});
}

TEST_CASE("fsq: codes and values follow the formula, halves round to even") {
  const std::vector<index_t> levels{8, 6, 5};
  const Quantizer quantizer(levels);
  const V x = spread(500, 3, 2);
  const auto result = rvq::quantize(quantizer, x);
  const auto codes = result.codes.to_vector();
  const auto values = result.output.to_vector();
  const auto input = x.to_vector();
  for (std::size_t row = 0; row < 500; ++row) {
    std::int32_t code = 0, place = 1;
    for (std::size_t i = 0; i < 3; ++i) {
      const double digit = std::nearbyint(bounded_by_hand(input[row * 3 + i], levels[i]));
      const auto low = levels[i] / 2;
      REQUIRE(values[row * 3 + i] == digit / static_cast<double>(low));
      code += static_cast<std::int32_t>(digit + static_cast<double>(low)) * place;
      place *= static_cast<std::int32_t>(levels[i]);
    }
    REQUIRE(codes[row] == code);
  }
  for (const double x0 : {-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1e6 + 0.5})
    REQUIRE(kolmo::detail::round_half_even(x0) == std::nearbyint(x0));
}

TEST_CASE("fsq: index and value are a bijection, and every index is reached") {
  for (const int bits : {8, 10, 12, 14, 16}) {
    const Quantizer quantizer(rvq::recommended_levels(bits));
    const index_t count = quantizer.codes(), d = quantizer.channels();
    const auto all = Tensor<rvq::Code, Cpu>::arange(count).reshaped(Shape{count, 1});
    const V values = rvq::decode(quantizer, all);
    const auto rows = values.to_vector();
    std::set<std::vector<double>> different;
    for (index_t i = 0; i < count; ++i) different.insert({rows.begin() + i * d, rows.begin() + (i + 1) * d});
    REQUIRE(static_cast<index_t>(different.size()) == count);

    // An input that is bounded to a little off each value has its code.
    std::vector<double> inputs(rows.size());
    Numbers numbers(static_cast<std::uint64_t>(bits));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const index_t level = quantizer.levels[i % static_cast<std::size_t>(d)];
      const double h = static_cast<double>(level - 1) * 1.001 / 2, o = level % 2 == 0 ? 0.5 : 0.0;
      const double z = rows[i] * static_cast<double>(level / 2);
      const double target = std::min(std::max(z + numbers.uniform(-0.4, 0.4), -h - o + 1e-6), h - o - 1e-6);
      inputs[i] = std::atanh((target + o) / h) - std::atanh(o / h);
    }
    const auto codes = rvq::encode(quantizer, V::from(std::span<const double>(inputs), values.shape()));
    REQUIRE(codes.to_vector() == all.to_vector());
  }
}

TEST_CASE("fsq: the gradient is that of the bounded input, untouched by the rounding") {
  const std::vector<index_t> levels{7, 4};
  const Quantizer quantizer(levels);
  const V x = spread(50, 2, 3), weight = spread(50, 2, 4);
  const V gradient = grad([&](const auto& v) { return sum(rvq::quantize(quantizer, v).output * weight); }, x);
  const auto g = gradient.to_vector(), w = weight.to_vector(), in = x.to_vector();
  for (std::size_t i = 0; i < g.size(); ++i) {
    const index_t level = levels[i % 2];
    const double h = static_cast<double>(level - 1) * 1.001 / 2, o = level % 2 == 0 ? 0.5 : 0.0;
    const double t = std::tanh(in[i] + std::atanh(o / h));
    REQUIRE(g[i] == Approx(w[i] * (1 - t * t) * h / static_cast<double>(level / 2)).epsilon(1e-12));
  }
}

TEST_CASE("fsq: each further stage divides the rounding error of odd levels by L - 1") {
  const std::vector<index_t> levels{5, 5, 7};
  const V x = spread(400, 3, 5);
  const auto bounded = rvq::fsq_bounded(levels, x).to_vector();
  for (const index_t stages : {1, 2, 3, 4}) {
    const auto values = rvq::decode(Quantizer(levels, stages), rvq::encode(Quantizer(levels, stages), x)).to_vector();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double level = static_cast<double>(levels[i % 3]);
      // Half a step of the last grid.
      const double bound = std::pow(level - 1, -static_cast<double>(stages)) * (1 + 1e-9);
      REQUIRE(std::abs(values[i] - bounded[i]) <= bound);
    }
  }
}

TEST_CASE("fsq: decoding the first stages equals a quantizer with so many") {
  const Quantizer four({8, 5}, 4), two({8, 5}, 2);
  const V x = spread(300, 2, 6);
  const auto codes = rvq::encode(four, x);
  const auto first = codes.view(Shape{300, 2}, codes.strides(), 0);
  REQUIRE(rvq::encode(two, x).to_vector() == first.to_vector());
  REQUIRE(rvq::decode(four, first.contiguous()).to_vector() == rvq::decode(two, rvq::encode(two, x)).to_vector());
  const auto result = rvq::quantize(four, x);
  REQUIRE(result.output.to_vector() == rvq::decode(four, codes).to_vector());
}

TEST_CASE("fsq: learned scales receive the gradient of the rounding error") {
  const Quantizer quantizer({5, 6}, 3, true);
  const V x = spread(40, 2, 7), weight = spread(40, 2, 8);
  const auto result =
      value_and_grad(quantizer, [&](const auto& q) { return sum(rvq::quantize(q, x).output * weight); });
  // d/ds of s round(r / s) with the rounding held at its distance from r / s: the output is s_q (r/s + e) with e fixed.
  const auto bounded = rvq::fsq_bounded(quantizer.levels, x).to_vector(), s = quantizer.scales.to_vector();
  const auto w = weight.to_vector();
  std::vector<double> expected(6, 0.0);
  for (std::size_t i = 0; i < bounded.size(); ++i) {
    const std::size_t c = i % 2;
    const double half = c == 0 ? 2 : 3, top = c == 0 ? 2 : 2;
    double rest = bounded[i];
    for (std::size_t q = 0; q < 3; ++q) {
      const double scale = s[q * 2 + c];
      const double value = std::min(std::max(std::nearbyint(rest / scale * half), -half), top) / half;
      expected[q * 2 + c] += w[i] * (value - rest / scale);
      rest -= scale * value;
    }
  }
  const auto gradient = result.gradient.scales.to_vector();
  for (std::size_t i = 0; i < 6; ++i) REQUIRE(gradient[i] == Approx(expected[i]).epsilon(1e-10));
  REQUIRE(parameter_count(quantizer) == 6);
  REQUIRE(parameter_count(Quantizer({5, 6}, 3)) == 0);
}

TEST_CASE("fsq: saved and loaded with all options") {
  const Quantizer quantizer({8, 5, 5}, 2, true);
  const auto loaded = io::model_from_arrays<Quantizer>(io::to_arrays(quantizer));
  REQUIRE(loaded.levels == quantizer.levels);
  REQUIRE(loaded.learned_scales);
  const V x = spread(20, 3, 9);
  REQUIRE(rvq::encode(loaded, x).to_vector() == rvq::encode(quantizer, x).to_vector());
}

TEST_CASE("fsq: the same codes on a device and in networks' shapes") {
  using D = Tensor<float, TestDevice>;
  const auto x = nn::normal_values<Tensor<float, Cpu>>(Key{10}, Shape{4, 25, 3});
  const rvq::FiniteScalarQuantizer<Tensor<float, Cpu>> host({8, 6, 5}, 2);
  const rvq::FiniteScalarQuantizer<D> device({8, 6, 5}, 2);
  const auto on_host = rvq::quantize(host, x);
  const auto on_device = rvq::quantize(device, x.to<TestDevice>());
  REQUIRE(on_host.output.shape() == x.shape());
  REQUIRE(on_host.codes.shape() == Shape{100, 2});
  REQUIRE(on_host.codes.to_vector() == on_device.codes.to_vector());
  REQUIRE(as_on_host(on_device.output.to_vector(), on_host.output.to_vector()));
}

TEST_CASE("fsq: bad levels, shapes, codes and vectors are refused") {
  REQUIRE_THROWS_AS(Quantizer(std::vector<index_t>{}), ArgumentError);
  REQUIRE_THROWS_AS(Quantizer({8, 1}), ArgumentError);
  REQUIRE_THROWS_AS(Quantizer({65536, 65536}), ArgumentError);
  REQUIRE_THROWS_AS(Quantizer({8}, 0), ArgumentError);
  REQUIRE_THROWS_AS(rvq::recommended_levels(9), ArgumentError);
  const Quantizer quantizer({8, 5});
  REQUIRE_THROWS_AS(rvq::encode(quantizer, V::zeros({3, 3})), ShapeError);
  V bad = V::zeros({3, 2});
  bad.mutable_data()[3] = std::nan("");
  REQUIRE_THROWS_WITH(rvq::encode(quantizer, bad), contains("vector 1 holds NaN"));
  const auto code = [](rvq::Code c) { return Tensor<rvq::Code, Cpu>::full({2, 1}, c); };
  REQUIRE_THROWS_AS(rvq::decode(quantizer, code(-1)), ArgumentError);
  REQUIRE_THROWS_AS(rvq::decode(quantizer, code(40)), ArgumentError);
  REQUIRE_THROWS_AS(rvq::decode(quantizer, Tensor<rvq::Code, Cpu>::zeros({2, 2})), ShapeError);
}
