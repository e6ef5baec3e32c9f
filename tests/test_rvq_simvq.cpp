// SimVQ: a frozen basis times a learned matrix as the codebook.

#include <kolmo/rvq/simvq.hpp>

#include <set>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/optim/adam.hpp>

#include "rvq_data.hpp"

#include "catch.hpp"

using namespace kolmo;
using kolmo_test::contains;

namespace {

using V = Tensor<double, Cpu>;
using F = Tensor<float, Cpu>;

/// A quantizer whose weights are not the identity.
rvq::SimVq<V> quantizer_of(index_t d, index_t codes, index_t stages) {
  rvq::SimVq<V> quantizer(Key{1}, d, codes, stages);
  for (std::size_t q = 0; q < quantizer.stages.size(); ++q)
    quantizer.stages[q].weight = nn::normal_values<V>(Key{10 + q}, Shape{d, d}, 0, q == 0 ? 1.0 : 0.3);
  return quantizer;
}

/// The losses with the chosen codes, from the definition.
struct Losses {
  double commitment = 0, codebook = 0;
};
Losses losses_by_hand(const rvq::SimVq<V>& quantizer, const V& x, const std::vector<rvq::Code>& codes,
                      const V& frozen_x, const rvq::SimVq<V>& frozen_quantizer) {
  const auto tables = rvq::bake(quantizer), frozen = rvq::bake(frozen_quantizer);
  const std::size_t n = static_cast<std::size_t>(x.shape()[0]), d = static_cast<std::size_t>(x.shape()[1]);
  const std::size_t stages = tables.size();
  const auto v = x.to_vector(), fixed = frozen_x.to_vector();
  Losses result;
  for (std::size_t i = 0; i < n * d; ++i) {
    double before = 0;  // what earlier stages took, a constant of the gradient
    for (std::size_t q = 0; q < stages; ++q) {
      const std::size_t at = static_cast<std::size_t>(codes[i / d * stages + q]) * d + i % d;
      const double e = tables[q].to_vector()[at], constant = frozen[q].to_vector()[at];
      result.commitment += std::pow(v[i] - before - constant, 2) / static_cast<double>(n * d);
      result.codebook += std::pow(fixed[i] - before - e, 2) / static_cast<double>(n * d);
      before += constant;
    }
  }
  return result;
}

double share_used(const rvq::CodesOf<F>& codes, index_t count) {
  const auto values = codes.to_vector();
  return static_cast<double>(std::set<rvq::Code>(values.begin(), values.end()).size()) / static_cast<double>(count);
}

}  // namespace

TEST_CASE("simvq: losses and gradients follow the definition, in every stage") {
  const auto quantizer = quantizer_of(3, 7, 2);
  const V x = nn::normal_values<V>(Key{2}, Shape{12, 3});
  const auto codes = rvq::encode(quantizer, x).to_vector();
  const auto result = rvq::quantize(quantizer, x);
  const auto expected = losses_by_hand(quantizer, x, codes, x, quantizer);
  REQUIRE(result.codes.to_vector() == codes);
  REQUIRE(result.commitment_loss.item() == Approx(expected.commitment).epsilon(1e-12));
  REQUIRE(result.codebook_loss.item() == Approx(expected.codebook).epsilon(1e-12));
  REQUIRE(result.output.to_vector() == rvq::decode(quantizer, result.codes).to_vector());

  const V of_x = grad([&](const auto& v) { return rvq::quantize(quantizer, v).commitment_loss; }, x);
  for (std::size_t i = 0; i < 36; ++i) {
    const auto at = [&](double step) {
      V moved = x;
      moved.mutable_data()[i] += step;
      return losses_by_hand(quantizer, moved, codes, x, quantizer).commitment;
    };
    REQUIRE(of_x.to_vector()[i] == Approx((at(1e-3) - at(-1e-3)) / 2e-3).margin(1e-9));
  }
  const auto of_weights =
      value_and_grad(quantizer, [&](const auto& q) { return rvq::quantize(q, x).codebook_loss; }).gradient;
  for (std::size_t q = 0; q < 2; ++q)
    for (std::size_t i = 0; i < 9; ++i) {
      const auto at = [&](double step) {
        auto moved = quantizer;
        moved.stages[q].weight.mutable_data()[i] += step;
        return losses_by_hand(moved, x, codes, x, quantizer).codebook;
      };
      REQUIRE(of_weights.stages[q].weight.to_vector()[i] == Approx((at(1e-3) - at(-1e-3)) / 2e-3).margin(1e-9));
    }
}

TEST_CASE("R16: simvq passes the gradient once, whatever the number of stages") {
  const V x = nn::normal_values<V>(Key{3}, Shape{9, 4}), weight = nn::normal_values<V>(Key{4}, Shape{9, 4});
  for (const index_t stages : {1, 2, 5}) {
    const auto quantizer = quantizer_of(4, 6, stages);
    const V g = grad([&](const auto& v) { return sum(rvq::quantize(quantizer, v).output * weight); }, x);
    REQUIRE(g.to_vector() == weight.to_vector());
    const V rotated = grad([&](const auto& v) { return sum(rvq::quantize(quantizer, v, true).output * weight); }, x);
    REQUIRE(rotated.to_vector() != weight.to_vector());
  }
}

TEST_CASE("simvq: the basis is frozen, and one step moves every codeword") {
  rvq::SimVq<V> quantizer = quantizer_of(4, 50, 1);
  REQUIRE(parameter_count(quantizer) == 16);
  const V x = nn::normal_values<V>(Key{5}, Shape{3, 4});  // three vectors hit at most three codes
  const V before = rvq::bake(quantizer)[0], basis = quantizer.stages[0].basis;
  const auto optimiser = optim::adam();
  auto moments = optimiser.init(quantizer);
  const auto result = value_and_grad(quantizer, [&](const auto& q) { return rvq::quantize(q, x).codebook_loss; });
  optimiser.step(quantizer, result.gradient, moments);
  REQUIRE(quantizer.stages[0].basis.to_vector() == basis.to_vector());
  const auto a = before.to_vector(), b = rvq::bake(quantizer)[0].to_vector();
  for (std::size_t k = 0; k < 50; ++k)
    REQUIRE_FALSE(std::equal(a.begin() + static_cast<std::ptrdiff_t>(4 * k),
                             a.begin() + static_cast<std::ptrdiff_t>(4 * k + 4),
                             b.begin() + static_cast<std::ptrdiff_t>(4 * k)));
}

TEST_CASE("simvq: baked tables decode as the quantizer does, after saving and loading too") {
  const auto quantizer = quantizer_of(5, 20, 3);
  const V x = nn::normal_values<V>(Key{6}, Shape{40, 5});
  const auto tables = rvq::bake(quantizer);
  const auto codes = rvq::encode_residual(tables, x);
  REQUIRE(rvq::encode(quantizer, x).to_vector() == codes.to_vector());
  REQUIRE(rvq::quantize(tables, x).codes.to_vector() == codes.to_vector());
  REQUIRE(rvq::decode(quantizer, codes).to_vector() == rvq::decode_residual(tables, codes).to_vector());
  const auto loaded = io::model_from_arrays<rvq::SimVq<V>>(io::to_arrays(quantizer));
  REQUIRE(rvq::encode(loaded, x).to_vector() == codes.to_vector());
}

TEST_CASE("simvq: all codes come into use where a codebook of free codewords leaves some dead") {
  // Correlated Gaussian vectors, far from the start of both.
  const auto vectors = [](std::uint64_t key, index_t n) {
    const F mix = nn::normal_values<F>(Key{7}, Shape{8, 8}, 0, 2 / std::sqrt(8.0));
    return F(matmul(nn::normal_values<F>(Key{key}, Shape{n, 8}), mix));
  };
  constexpr index_t codes = 256;
  rvq::SimVq<F> quantizer(Key{8}, 8, codes);
  F table = quantizer.stages[0].basis;
  const auto optimiser = optim::adam({.learning_rate = 2e-2});
  auto moments = optimiser.init(quantizer);
  auto table_moments = optimiser.init(table);
  for (std::uint64_t step = 0; step < 200; ++step) {
    const F x = vectors(100 + step, 256);
    const auto result = value_and_grad(quantizer, [&](const auto& q) { return rvq::quantize(q, x).codebook_loss; });
    optimiser.step(quantizer, result.gradient, moments);
    const auto plain =
        value_and_grad(table, [&](const auto& t) { return rvq::quantize(std::vector{t}, x).codebook_loss; });
    optimiser.step(table, plain.gradient, table_moments);
  }
  const F held_out = vectors(1, 16384);
  const double simvq = share_used(rvq::encode(quantizer, held_out), codes);
  const double free = share_used(rvq::encode_residual(std::vector{table}, held_out), codes);
  CAPTURE(simvq, free);
  REQUIRE(simvq > 0.95);
  REQUIRE(free < 0.9);
}

TEST_CASE("simvq: the start gives codewords the size of what they code") {
  rvq::SimVq<F> quantizer(Key{9}, 8, 64, 2);
  const F x = kolmo_test::mix8(1024, Key{1}) * 30.0;
  rvq::scale_to(quantizer, x);
  const auto tables = rvq::bake(quantizer);
  REQUIRE(mean(square(tables[0])).item() == Approx(mean(square(x)).item()).epsilon(1e-4));
  REQUIRE(mean(square(tables[1])).item() < mean(square(tables[0])).item());
}

TEST_CASE("simvq: bad extents, shapes and vectors are refused") {
  REQUIRE_THROWS_AS(rvq::SimVq<V>(Key{1}, 0, 4), ArgumentError);
  REQUIRE_THROWS_AS(rvq::SimVq<V>(Key{1}, 4, 4, 0), ArgumentError);
  auto quantizer = quantizer_of(3, 4, 1);
  REQUIRE_THROWS_AS(rvq::quantize(quantizer, V::zeros({2, 4})), ShapeError);
  V bad = V::zeros({2, 3});
  bad.mutable_data()[4] = std::nan("");
  REQUIRE_THROWS_WITH(rvq::quantize(quantizer, bad), contains("row 1"));
  quantizer.stages[0].weight = V::zeros({3, 2});
  REQUIRE_THROWS_AS(rvq::bake(quantizer), ShapeError);
}
