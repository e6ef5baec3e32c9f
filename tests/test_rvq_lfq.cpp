// Lookup-free quantization: signs as codes, and the entropy that keeps all of them in use.

#include <kolmo/rvq/lfq.hpp>

#include <set>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/optim/adam.hpp>

#include "catch.hpp"

using namespace kolmo;
using kolmo_test::contains;

namespace {

using V = Tensor<double, Cpu>;
using Quantizer = rvq::LookupFreeQuantizer<V>;

Quantizer quantizer_of(index_t d, index_t bits, index_t group, std::uint64_t seed) {
  Quantizer quantizer(d, {.bits = bits, .group_bits = group});
  rvq::init(Key{seed}, quantizer);
  return quantizer;
}

/// Entropies by listing every corner of every group.
std::pair<double, double> entropies_by_hand(const std::vector<double>& z, std::size_t n, std::size_t bits,
                                            std::size_t group, double sharpness) {
  double of_vectors = 0, of_codes = 0;
  const std::size_t corners = std::size_t(1) << group;
  for (std::size_t first = 0; first < bits; first += group) {
    std::vector<double> mean(corners, 0.0);
    for (std::size_t row = 0; row < n; ++row) {
      std::vector<double> p(corners);
      double total = 0;
      for (std::size_t c = 0; c < corners; ++c) {
        double distance = 0;
        for (std::size_t i = 0; i < group; ++i) {
          const double difference = z[row * bits + first + i] - ((c >> i) % 2 == 1 ? 1.0 : -1.0);
          distance += difference * difference;
        }
        total += p[c] = std::exp(-sharpness * distance);
      }
      for (std::size_t c = 0; c < corners; ++c) {
        p[c] /= total;
        mean[c] += p[c] / static_cast<double>(n);
        of_vectors -= p[c] * std::log(p[c]) / static_cast<double>(n);
      }
    }
    for (const double p : mean) of_codes -= p * std::log(p);
  }
  return {of_vectors, of_codes};
}

}  // namespace

TEST_CASE("lfq: the entropies and their gradients, against every corner listed") {
  const auto penalty = [](const std::vector<double>& z, std::size_t group) {
    const auto [of_vectors, of_codes] = entropies_by_hand(z, 5, 4, group, 0.7);
    return of_vectors - 1.5 * of_codes;
  };
  for (const index_t group : {1, 2, 4}) {
    const V z = nn::normal_values<V>(Key{static_cast<std::uint64_t>(group)}, Shape{5, 4}, 0, 1.5);
    const auto result = value_and_grad(z, [&](const auto& v) {
      const auto entropy = rvq::corner_entropy(v, group, 0.7);
      return entropy.of_vectors - entropy.of_codes * 1.5;
    });
    std::vector<double> values = z.to_vector();
    REQUIRE(result.value.item() == Approx(penalty(values, static_cast<std::size_t>(group))).epsilon(1e-12));
    const auto gradient = result.gradient.to_vector();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto at = [&](double step) {
        auto moved = values;
        moved[i] += step;
        return penalty(moved, static_cast<std::size_t>(group));
      };
      const double difference = (8 * (at(1e-3) - at(-1e-3)) - (at(2e-3) - at(-2e-3))) / 12e-3;
      REQUIRE(gradient[i] == Approx(difference).margin(1e-9));
    }
  }
}

TEST_CASE("lfq: the code is the signs of the projection, and decoding restores the output") {
  const Quantizer quantizer = quantizer_of(3, 6, 3, 2);
  const V x = nn::normal_values<V>(Key{3}, Shape{200, 3});
  const auto z = quantizer.in(x).to_vector();
  const auto result = rvq::quantize(quantizer, x);
  const auto codes = result.codes.to_vector();
  for (std::size_t row = 0; row < 200; ++row)
    for (std::size_t i = 0; i < 6; ++i) REQUIRE(((codes[row] >> i) % 2 == 1) == (z[row * 6 + i] > 0));
  REQUIRE(rvq::encode(quantizer, x).to_vector() == codes);
  REQUIRE(rvq::decode(quantizer, result.codes).to_vector() == result.output.to_vector());
  double commitment = 0;
  for (const double v : z) commitment += std::pow(std::abs(v) - 1, 2) / static_cast<double>(z.size());
  REQUIRE(result.commitment_loss.item() == Approx(commitment).epsilon(1e-12));
}

TEST_CASE("lfq: index and corner are a bijection") {
  Quantizer quantizer(10, {.bits = 10, .group_bits = 5});
  for (index_t i = 0; i < 10; ++i) quantizer.out.weight.mutable_data()[i * 11] = 1;  // the identity
  const auto all = Tensor<rvq::Code, Cpu>::arange(1024).reshaped(Shape{1024, 1});
  const auto corners = rvq::decode(quantizer, all).to_vector();
  for (std::size_t code = 0; code < 1024; ++code)
    for (std::size_t i = 0; i < 10; ++i) REQUIRE(corners[code * 10 + i] == ((code >> i) % 2 == 1 ? 1.0 : -1.0));
}

TEST_CASE("lfq: the gradient passes the signs, and the commitment pulls to them") {
  const Quantizer quantizer = quantizer_of(3, 4, 2, 4);
  const V x = nn::normal_values<V>(Key{5}, Shape{30, 3}), weight = nn::normal_values<V>(Key{6}, Shape{30, 3});
  const V through = grad([&](const auto& v) { return sum(rvq::quantize(quantizer, v).output * weight); }, x);
  // As if the two projections stood without the signs between them.
  const V linear = grad([&](const auto& v) { return sum(quantizer.out(quantizer.in(v)) * weight); }, x);
  const auto a = through.to_vector(), b = linear.to_vector();
  for (std::size_t i = 0; i < a.size(); ++i) REQUIRE(a[i] == Approx(b[i]).epsilon(1e-12));

  const V pull = grad([&](const auto& v) { return rvq::quantize(quantizer, v).commitment_loss; }, x);
  const V z = quantizer.in(x);
  const V signs = apply(fn::Sign{}, z);
  const V expected = matmul((z - signs) * (2.0 / 120), transpose(quantizer.in.weight));
  const auto c = pull.to_vector(), d = expected.to_vector();
  for (std::size_t i = 0; i < c.size(); ++i) REQUIRE(c[i] == Approx(d[i]).epsilon(1e-10));
}

TEST_CASE("lfq: training with the entropy penalty uses all codes") {
  using F = Tensor<float, Cpu>;
  // Two narrow clusters: without the penalty the signs say which of the two, and no more.
  const auto vectors = [](std::uint64_t seed, index_t n) {
    F x = nn::normal_values<F>(Key{seed}, Shape{n, 4}, 0, 0.3);
    float* p = x.mutable_data();
    for (index_t row = 0; row < n; ++row)
      for (index_t i = 0; i < 4; ++i) p[row * 4 + i] += row % 2 == 0 ? 1.0f : -1.0f;
    return x;
  };
  const auto used = [&](double entropy_weight) {
    rvq::LookupFreeQuantizer<F> quantizer(4, {.bits = 4, .group_bits = 4});
    rvq::init(Key{1}, quantizer);
    const auto optimiser = optim::adam({.learning_rate = 1e-2});
    auto moments = optimiser.init(quantizer);
    for (std::uint64_t step = 0; step < 300; ++step) {
      const F x = vectors(10 + step, 256);
      const auto result = value_and_grad(quantizer, [&](const auto& q) {
        const auto y = rvq::quantize(q, x);
        return mean(square(y.output - x)) + y.commitment_loss * 0.25 + y.entropy_loss * entropy_weight;
      });
      optimiser.step(quantizer, result.gradient, moments);
    }
    const auto codes = rvq::encode(quantizer, vectors(1000, 4096)).to_vector();
    return std::set<rvq::Code>(codes.begin(), codes.end()).size();
  };
  const auto with = used(0.5), without = used(0.0);
  CAPTURE(with, without);
  REQUIRE(with == 16);
  REQUIRE(without <= 4);
}

TEST_CASE("lfq: saved and loaded with all options") {
  Quantizer quantizer(3, {.bits = 6, .group_bits = 3, .inverse_temperature = 2, .diversity = 0.5});
  rvq::init(Key{7}, quantizer);
  const auto loaded = io::model_from_arrays<Quantizer>(io::to_arrays(quantizer));
  REQUIRE(loaded.options.bits == 6);
  REQUIRE(loaded.options.group_bits == 3);
  REQUIRE(loaded.options.inverse_temperature == 2);
  REQUIRE(loaded.options.diversity == 0.5);
  const V x = nn::normal_values<V>(Key{8}, Shape{50, 3});
  REQUIRE(rvq::encode(loaded, x).to_vector() == rvq::encode(quantizer, x).to_vector());
}

TEST_CASE("lfq: bad options, shapes, codes and vectors are refused") {
  REQUIRE_THROWS_AS(rvq::corner_entropy(V::zeros({4}), 2, 1), ShapeError);
  REQUIRE_THROWS_AS(rvq::corner_entropy(V::zeros({0, 4}), 2, 1), ShapeError);
  REQUIRE_THROWS_AS(rvq::corner_entropy(V::zeros({5, 3}), 2, 1), ArgumentError);
  REQUIRE_THROWS_AS(Quantizer(3, {.bits = 31, .group_bits = 1}), ArgumentError);
  REQUIRE_THROWS_AS(Quantizer(3, {.bits = 10, .group_bits = 3}), ArgumentError);
  REQUIRE_THROWS_AS(Quantizer(3, {.bits = 4, .group_bits = 2, .inverse_temperature = 0}), ArgumentError);
  const Quantizer quantizer = quantizer_of(3, 4, 2, 9);
  REQUIRE_THROWS_AS(rvq::encode(quantizer, V::zeros({3, 4})), ShapeError);
  V bad = V::zeros({3, 3});
  bad.mutable_data()[8] = std::nan("");
  REQUIRE_THROWS_WITH(rvq::encode(quantizer, bad), contains("vector 2 holds NaN"));
  const auto code = [](rvq::Code c) { return Tensor<rvq::Code, Cpu>::full({2, 1}, c); };
  REQUIRE_THROWS_AS(rvq::decode(quantizer, code(16)), ArgumentError);
  REQUIRE_THROWS_AS(rvq::decode(quantizer, code(-1)), ArgumentError);
  REQUIRE_THROWS_AS(rvq::decode(quantizer, Tensor<rvq::Code, Cpu>::zeros({2, 2})), ShapeError);
}
