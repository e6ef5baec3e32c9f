// Grouped residual quantization: parts of the vectors quantized apart.

#include <kolmo/rvq/grouped.hpp>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/rvq/code_usage.hpp>

#include "rvq_data.hpp"

#include "catch.hpp"

using namespace kolmo;

namespace {

using V = Tensor<double, Cpu>;
using Quantizer = rvq::GroupedQuantizer<V>;

Quantizer trained_quantizer(const V& x, index_t groups = 2, rvq::CodebookTraining how = rvq::CodebookTraining::ema) {
  Quantizer quantizer(x.shape()[1], groups, {16, 8}, {.training = how}, {.trained_updates = 1});
  auto training = rvq::start_training(quantizer, {.batch = 256}, Key{1});
  rvq::train(training, x, 10);
  return training.quantizer();
}

/// Columns [begin, begin + count) of x.
V columns(const V& x, index_t begin, index_t count) { return slice(x, 1, begin, begin + count).contiguous(); }

}  // namespace

TEST_CASE("grouped: every group is a residual quantizer of its own components") {
  const V x = kolmo_test::mix8<double>(2000, Key{1});
  const Quantizer quantizer = trained_quantizer(x);
  const auto codes = rvq::encode(quantizer, x);
  REQUIRE(codes.shape() == Shape{2000, 2, 2});
  const V decoded = rvq::decode(quantizer, codes);
  for (index_t g = 0; g < 2; ++g) {
    const auto& group = quantizer.groups[static_cast<std::size_t>(g)];
    const auto alone = rvq::encode(group, columns(x, 4 * g, 4)).codes;
    REQUIRE(alone.to_vector() == at(codes, 1, g).to_vector());
    REQUIRE(columns(decoded, 4 * g, 4).to_vector() == rvq::decode(group, alone).to_vector());
  }
  const auto result = rvq::quantize(quantizer, x);
  REQUIRE(result.codes.to_vector() == codes.to_vector());
  REQUIRE(result.output.to_vector() == decoded.to_vector());
  REQUIRE(mean(square(x - decoded)).item() < 0.5 * mean(square(x)).item());
}

TEST_CASE("R16: grouped quantization passes the gradient once, and its losses are means over all elements") {
  const V x = kolmo_test::mix8<double>(300, Key{2});
  const Quantizer quantizer = trained_quantizer(x);
  const V weight = nn::normal_values<V>(Key{3}, x.shape());
  REQUIRE(grad([&](const auto& v) { return sum(rvq::quantize(quantizer, v).output * weight); }, x).to_vector() ==
          weight.to_vector());

  const auto codes = rvq::encode(quantizer, x);
  V pull = V::zeros(x.shape());
  double loss = 0;
  for (const index_t stages : {1, 2}) {
    const V left = x - rvq::decode(quantizer, slice(codes, 2, 0, stages).contiguous());
    loss += mean(square(left)).item();
    pull = pull + left * (2.0 / static_cast<double>(x.size()));
  }
  REQUIRE(rvq::quantize(quantizer, x).commitment_loss.item() == Approx(loss).epsilon(1e-10));
  const auto gradient = grad([&](const auto& v) { return rvq::quantize(quantizer, v).commitment_loss; }, x).to_vector();
  const auto expected = pull.to_vector();
  for (std::size_t i = 0; i < gradient.size(); ++i) REQUIRE(gradient[i] == Approx(expected[i]).margin(1e-12));
}

TEST_CASE("grouped: one call updates all groups, and refuses statistics of others") {
  const V x = kolmo_test::mix8<double>(1000, Key{4});
  Quantizer quantizer = trained_quantizer(x);
  const auto result = rvq::quantize(quantizer, x, {.mask = {}, .pass = {Key{5}, true}});
  const Quantizer before = quantizer;
  rvq::apply_update(quantizer, result.statistics, Key{6});
  for (std::size_t g = 0; g < 2; ++g) {
    REQUIRE(quantizer.groups[g].steps_completed == before.groups[g].steps_completed + 1);
    for (std::size_t q = 0; q < 2; ++q)
      REQUIRE(quantizer.groups[g].stages[q].book.codewords.to_vector() !=
              before.groups[g].stages[q].book.codewords.to_vector());
  }
  auto statistics = result.statistics;
  statistics.pop_back();
  REQUIRE_THROWS_AS(rvq::apply_update(quantizer, statistics, Key{6}), ArgumentError);
  REQUIRE(parameter_count(before) == 0);
  REQUIRE(parameter_count(trained_quantizer(x, 2, rvq::CodebookTraining::gradient)) == 2 * (16 + 8) * 4);
}

TEST_CASE("grouped: a run saved and loaded goes on with the same bits") {
  const V x = kolmo_test::mix8<double>(2000, Key{7});
  const Quantizer start(8, 4, {8}, {}, {.trained_updates = 1});
  auto whole = rvq::start_training(start, {.batch = 128}, Key{8});
  rvq::train(whole, x, 5);
  auto resumed = io::model_from_arrays<rvq::GroupedTraining<V>>(io::to_arrays(whole));
  rvq::train(whole, x, 12);
  rvq::train(resumed, x, 12);
  REQUIRE(rvq::encode(resumed.quantizer(), x).to_vector() == rvq::encode(whole.quantizer(), x).to_vector());
  REQUIRE(resumed.groups[3].quantizer.stages[0].book.codewords.to_vector() ==
          whole.groups[3].quantizer.stages[0].book.codewords.to_vector());
}

TEST_CASE("the use of codes is counted for any quantizer") {
  const auto codes = Tensor<rvq::Code, Cpu>::from({0, 0, 0, 1, 1, -1, 1, 1}, {4, 2});
  const auto usage = rvq::code_usage(codes, {2, 4});
  REQUIRE(usage[0].perplexity == Approx(2));
  REQUIRE(usage[0].utilisation == 1);
  // Codes 0, 1 and 1 of four; -1 is nothing.
  const double entropy = std::log2(3.0) - 2.0 / 3;
  REQUIRE(usage[1].vectors == 3);
  REQUIRE(usage[1].entropy == Approx(entropy));
  REQUIRE(usage[1].perplexity == Approx(std::exp2(entropy)));
  REQUIRE(usage[1].dead == 0.5);
  REQUIRE_THROWS_AS(rvq::code_usage(codes, {2}), ShapeError);
  REQUIRE_THROWS_AS(rvq::code_usage(codes, {1, 4}), ArgumentError);
}

TEST_CASE("grouped: bad groups, shapes and codes are refused") {
  REQUIRE_THROWS_AS(Quantizer(8, 3, {4}), ArgumentError);
  REQUIRE_THROWS_AS(Quantizer(8, 0, {4}), ArgumentError);
  const V x = kolmo_test::mix8<double>(200, Key{9});
  Quantizer quantizer = trained_quantizer(x);
  REQUIRE_THROWS_AS(rvq::encode(quantizer, V::zeros({3, 4})), ShapeError);
  REQUIRE_THROWS_AS(rvq::decode(quantizer, Tensor<rvq::Code, Cpu>::zeros({3, 2})), ShapeError);
  REQUIRE_THROWS_AS(rvq::decode(quantizer, Tensor<rvq::Code, Cpu>::full({3, 2, 2}, 100)), ArgumentError);
  quantizer.groups.pop_back();
  quantizer.groups.push_back(rvq::ResidualQuantizer<V>(4, std::vector<index_t>{4}));
  REQUIRE_THROWS_AS(rvq::encode(quantizer, x), ArgumentError);
}
