// The residual quantizer as a layer: stages of unequal size, padding, dropped stages, statistics, a shared codebook,
// and inference that never uses a stage that was not trained.

#include <cmath>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/bfloat16.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

#include "catch.hpp"
#include "rvq_data.hpp"

using namespace kolmo;
using kolmo_test::contains;
using V = Tensor<float, Cpu>;
using rvq::ResidualQuantizer;

namespace {

constexpr index_t d = 8;

V vectors(index_t n, std::uint64_t seed = 1) { return kolmo_test::gaussian(n, d, Key{seed}); }

/// Started on data, and as if it had been trained.
ResidualQuantizer<V> quantizer(const std::vector<index_t>& codes, const rvq::QuantizerOptions& options = {},
                               index_t updates = 100) {
  ResidualQuantizer<V> result(d, codes, {.lloyd_iterations = 3}, options);
  rvq::start_stages(result, vectors(2048, 9), Key{7});
  for (index_t q = 0; q < result.active(); ++q) result.stages[static_cast<std::size_t>(q)].book.updates = updates;
  return result;
}

std::vector<double> hits_of(const rvq::UpdateStatistics<V>& statistics) { return statistics.hits.to_vector(); }
double total(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum;
}

/// Every array and text of the file that the quantizer would be.
template <class Q>
std::vector<float> state_of(const Q& q) {
  std::vector<float> result;
  visit(
      [&](const std::string&, FieldKind, const auto& x) {
        using X = std::remove_cvref_t<decltype(x)>;
        if constexpr (PlainTensor<X>)
          for (const auto v : x.to_vector()) result.push_back(v);
        else if constexpr (std::is_arithmetic_v<X>)
          result.push_back(static_cast<float>(x));
      },
      q);
  return result;
}

}  // namespace

TEST_CASE("stages of unequal size: every stage takes what it codes off the residual") {
  const auto q = quantizer({64, 16, 4});
  CHECK(q.code_counts() == std::vector<index_t>{64, 16, 4});
  CHECK(rvq::bits_per_frame(q.code_counts(), 3) == 12);
  const V x = vectors(200);
  const auto result = rvq::quantize(q, x, {.active = 3});
  V residual = x;
  for (index_t stage = 0; stage < 3; ++stage) {
    const auto codes = at(result.codes, 1, stage).contiguous();
    const V expected = rvq::assign(q.stages[static_cast<std::size_t>(stage)].book, residual).reconstruction;
    residual = residual - expected;
    CHECK(take(q.stages[static_cast<std::size_t>(stage)].book.codewords, codes).to_vector() == expected.to_vector());
    CHECK(result.stage_errors[static_cast<std::size_t>(stage)] ==
          Approx(mean(residual * residual).item()).epsilon(2e-6));
  }
  CHECK(max(abs(x - result.output - residual)).item() < 1e-6f);
  CHECK(result.statistics.empty());
  // The decoder adds the same codewords in the same order.
  CHECK(rvq::decode(q, result.codes).to_vector() == result.output.to_vector());
  const auto encoded = rvq::encode(q, x);
  CHECK(encoded.codes.to_vector() == result.codes.to_vector());
  // Codes of fewer stages are the first ones.
  CHECK(rvq::encode(q, x, {.stages = 2}).codes.to_vector() == slice(result.codes, 1, 0, 2).to_vector());
}

TEST_CASE("vectors may stand in any leading axes") {
  const auto q = quantizer({16, 16});
  const V x = vectors(24);
  const auto flat = rvq::quantize(q, x, {.active = 2});
  const auto field = rvq::quantize(q, x.reshaped(Shape{2, 3, 4, d}), {.active = 2});
  CHECK(field.output.shape() == Shape{2, 3, 4, d});
  CHECK(field.codes.shape() == Shape{24, 2});
  CHECK(field.output.to_vector() == flat.output.to_vector());
  CHECK(rvq::encode(q, x.reshaped(Shape{2, 3, 4, d})).codes.to_vector() == flat.codes.to_vector());
}

TEST_CASE("padding has no code, no output, and no part in losses, gradients and statistics") {
  const auto q = quantizer({16, 16});
  const V x = vectors(12);
  std::vector<float> real(12, 1.0f);
  for (const std::size_t i : {3u, 10u, 11u}) real[i] = 0;
  const V mask = V::from(std::span<const float>(real), Shape{3, 4});
  const V alone = take(x, Tensor<index_t, Cpu>::from({0, 1, 2, 4, 5, 6, 7, 8, 9}, Shape{9}));
  Tape<V> tape, other;
  const auto leaf = tape.leaf(x.reshaped(Shape{3, 4, d})), single = other.leaf(alone);
  const nn::Pass pass{Key{3}, true};
  const auto padded = rvq::quantize(q, leaf, {.mask = mask, .pass = pass});
  const auto whole = rvq::quantize(q, single, {.pass = pass});
  tape.backward(rvq::quantizer_loss(q, padded) + sum(padded.output * padded.output));
  other.backward(rvq::quantizer_loss(q, whole) + sum(whole.output * whole.output));
  CHECK(padded.commitment_loss.value.item() == Approx(whole.commitment_loss.value.item()).epsilon(1e-6));
  const auto gradient = tape.gradient(leaf).to_vector(), expected = other.gradient(single).to_vector();
  const auto codes = padded.codes.to_vector();
  const auto output = padded.output.value.to_vector();
  std::size_t row = 0;
  for (std::size_t i = 0; i < 12; ++i) {
    for (std::size_t j = 0; j < d; ++j) {
      CHECK(gradient[i * d + j] == Approx(real[i] != 0 ? expected[row * d + j] : 0).epsilon(1e-5).margin(1e-8));
      if (real[i] == 0) CHECK(output[i * d + j] == 0);
    }
    CHECK((codes[2 * i] >= 0) == (real[i] != 0));
    row += real[i] != 0 ? 1 : 0;
  }
  for (std::size_t stage = 0; stage < 2; ++stage) {
    CHECK(hits_of(padded.statistics[stage]) == hits_of(whole.statistics[stage]));
    CHECK(padded.statistics[stage].sums.to_vector() == whole.statistics[stage].sums.to_vector());
  }
  CHECK_THROWS_WITH(rvq::quantize(q, x, {.mask = mask}), contains("expected a mask of shape [12]"));
}

TEST_CASE("dropout: items see a random number of stages, the others neither move them nor show a code") {
  const auto q = quantizer({16, 16, 16, 16}, {.dropout = 0.5});
  const index_t items = 400, frames = 3;
  const V x = vectors(items * frames).reshaped(Shape{items, frames, d});
  const auto result = rvq::quantize(q, x, {.pass = {Key{11}, true}});
  const auto full = rvq::quantize(q, x, {.active = 4});
  const auto codes = result.codes.to_vector(), all = full.codes.to_vector();
  std::vector<double> seen(5, 0.0);
  V expected = V::zeros(Shape{items * frames, d});
  for (index_t stage = 0; stage < 4; ++stage) {
    std::vector<rvq::Code> of_stage;
    for (std::size_t i = 0; i < static_cast<std::size_t>(items * frames); ++i)
      of_stage.push_back(codes[4 * i + static_cast<std::size_t>(stage)]);
    double counted = 0;
    for (const auto code : of_stage) counted += code >= 0 ? 1 : 0;
    CHECK(total(hits_of(result.statistics[static_cast<std::size_t>(stage)])) == counted);
    // Losses and errors are means over all vectors, whether they saw the stage or not.
    CHECK(result.stage_errors[static_cast<std::size_t>(stage)] <
          full.stage_errors[static_cast<std::size_t>(stage)] * (stage == 0 ? 1.0001 : 0.95));
  }
  bool prefix = true, of_item = true;
  for (std::size_t i = 0; i < static_cast<std::size_t>(items * frames); ++i) {
    std::size_t depth = 0;
    while (depth < 4 && codes[4 * i + depth] >= 0) ++depth;
    for (std::size_t stage = 0; stage < 4; ++stage)
      prefix = prefix && codes[4 * i + stage] == (stage < depth ? all[4 * i + stage] : -1);
    if (i % frames > 0) of_item = of_item && (codes[4 * i + 3] >= 0) == (codes[4 * (i - 1) + 3] >= 0);
    if (i % frames == 0) seen[depth] += 1;
  }
  CHECK(prefix);
  CHECK(of_item);
  CHECK(seen[0] == 0);
  // 1/8 each for one to three stages, the rest has four; three standard deviations of 400 draws.
  for (const std::size_t depth : {1u, 2u, 3u}) CHECK(std::abs(seen[depth] / items - 0.125) < 0.05);
  CHECK(std::abs(seen[4] / items - 0.625) < 0.075);
  CHECK(rvq::decode(q, result.codes).to_vector() == result.output.to_vector());
  // Evaluation drops nothing, another key drops others.
  CHECK(rvq::quantize(q, x, {.active = 4, .pass = {Key{11}, false}}).codes.to_vector() == all);
  CHECK(rvq::quantize(q, x, {.pass = {Key{12}, true}}).codes.to_vector() != codes);
}

TEST_CASE("R19: passes and encoding change no byte; one update moves each active stage once") {
  auto q = quantizer({16, 16, 16}, {.progressive = 5}, 0);
  const auto before = state_of(q);
  const V x = vectors(300);
  const auto trained = rvq::quantize(q, x, {.pass = {Key{1}, true}});
  rvq::quantize(q, x);
  q.options.trained_updates = 0;
  const auto untouched = state_of(q);
  rvq::encode(q, x);
  CHECK(state_of(q) == untouched);
  q.options.trained_updates = 100;
  CHECK(state_of(q) == before);
  const auto report = rvq::apply_update(q, trained.statistics, Key{2});
  REQUIRE(report.stages.size() == 1);
  CHECK(q.steps_completed == 1);
  CHECK(q.active_trained == 1);
  CHECK(q.stages[0].book.updates == 1);
  CHECK(q.stages[1].book.updates == 0);
  CHECK_FALSE(q.stages[1].book.initialised);
  CHECK_THROWS_WITH(rvq::apply_update(q, {}, Key{2}), contains("statistics of the 1 stages"));
  CHECK_THROWS_WITH(rvq::quantize(q, x, {.active = 2, .pass = {Key{1}, true}}), contains("of the schedule"));
  CHECK_THROWS_WITH(rvq::quantize(q, x, {.active = 2}), contains("stage 1 has not been started"));
}

TEST_CASE("a frozen quantizer counts steps and keeps its codebooks") {
  auto q = quantizer({16, 16});
  rvq::freeze(q);
  const V x = vectors(300);
  const auto words = q.stages[1].book.codewords.to_vector();
  const auto result = rvq::quantize(q, x, {.pass = {Key{1}, true}});
  rvq::apply_update(q, result.statistics, Key{2});
  CHECK(q.steps_completed == 1);
  CHECK(q.stages[1].book.updates == 100);
  CHECK(q.stages[1].book.codewords.to_vector() == words);
  rvq::freeze(q, false);
  rvq::apply_update(q, result.statistics, Key{2});
  CHECK(q.stages[1].book.codewords.to_vector() != words);
}

TEST_CASE("a shared codebook is moved once by the vectors of all stages") {
  auto q = quantizer({16, 16, 16}, {.shared_codebook = true});
  const V x = vectors(300);
  const auto result = rvq::quantize(q, x, {.pass = {Key{1}, true}});
  auto book = q.stages[0].book;
  rvq::update(book, rvq::add(rvq::add(result.statistics[0], result.statistics[1]), result.statistics[2]),
              fold_in(Key{2}, 0));
  rvq::apply_update(q, result.statistics, Key{2});
  for (const auto& stage : q.stages) {
    CHECK(stage.book.codewords.to_vector() == book.codewords.to_vector());
    CHECK(stage.book.counts.to_vector() == book.counts.to_vector());
    CHECK(stage.book.updates == 101);
  }
}

TEST_CASE("R3: inference uses trained stages only and says so") {
  auto q = quantizer({16, 16, 16, 16});
  q.stages[2].book.updates = 99;
  CHECK(rvq::trained_stages(q) == 2);
  const V x = vectors(50);
  const auto all = rvq::encode(q, x);
  CHECK(all.codes.shape() == Shape{50, 2});
  CHECK_THAT(all.stages.warning, contains("2 of 4 stages used"));
  const auto more = rvq::encode(q, x, {.stages = 4});
  CHECK(more.codes.shape() == Shape{50, 2});
  CHECK_THAT(more.stages.warning, contains("4 stages requested, 2 used"));
  const auto fewer = rvq::encode(q, x, {.stages = 1});
  CHECK(fewer.stages.used == 1);
  CHECK_FALSE(fewer.stages.made_for_fewer);
  CHECK_THAT(fewer.stages.warning, contains("without dropout"));
  q.options.dropout = 0.5;
  CHECK(rvq::encode(q, x, {.stages = 1}).stages.warning.empty());
  CHECK(rvq::encode(q, x, {.stages = 1}).stages.made_for_fewer);
  // Codes of a stage that is not trained are not decoded.
  CHECK_THROWS_AS(rvq::decode(q, Tensor<rvq::Code, Cpu>::zeros(Shape{5, 3})), ShapeError);
  q.stages[0].book.updates = 3;
  CHECK_THROWS_WITH(rvq::encode(q, x), contains("had 3 updates and needs 100"));
}

TEST_CASE("R22: vectors in bfloat16 are quantized in the scalar of the codebooks") {
  const auto q = quantizer({64, 64});
  const V x = vectors(1000);
  const auto half = cast<BFloat16>(x);
  const auto result = rvq::quantize(q, half, {.pass = {Key{1}, true}});
  static_assert(std::is_same_v<decltype(result.output), Tensor<BFloat16, Cpu>>);
  static_assert(std::is_same_v<decltype(result.commitment_loss), V>);
  const auto exact = rvq::quantize(q, cast<float>(half), {.pass = {Key{1}, true}});
  CHECK(result.codes.to_vector() == exact.codes.to_vector());
  CHECK(result.statistics[1].sums.to_vector() == exact.statistics[1].sums.to_vector());
  const auto whole = rvq::quantize(q, x, {.active = 1}).codes.to_vector();
  const auto rounded = rvq::quantize(q, half, {.active = 1}).codes.to_vector();
  index_t other = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) other += whole[i] != rounded[i] ? 1 : 0;
  CHECK(other < 20);
}

TEST_CASE("what cannot be quantized is refused with what to do") {
  const auto q = quantizer({16, 16});
  V x = vectors(10);
  CHECK_THROWS_WITH(rvq::quantize(q, kolmo_test::gaussian(10, d + 1, Key{1})), contains("expected x [..., 8]"));
  CHECK_THROWS_AS(rvq::quantize(q, x, {.active = 3}), ArgumentError);
  CHECK_THROWS_WITH(rvq::decode(q, Tensor<rvq::Code, Cpu>::full(Shape{2, 2}, 16)), contains("the code 16"));
  CHECK_THROWS_AS(rvq::decode(q, Tensor<rvq::Code, Cpu>::full(Shape{2, 2}, -2)), ArgumentError);
  CHECK_THROWS_AS(rvq::encode(q, x, {.stages = 3}), ArgumentError);
  x.mutable_data()[13] = std::nanf("");
  CHECK_THROWS_AS(rvq::quantize(q, x), ArgumentError);
  CHECK_THROWS_AS(rvq::encode(q, x), ArgumentError);
  CHECK_THROWS_WITH((ResidualQuantizer<V>(d, std::vector<index_t>{})), contains("no stages"));
  CHECK_THROWS_WITH((ResidualQuantizer<V>(d, 2, {}, {.dropout = 1.5})), contains("dropout must be a probability"));
  CHECK_THROWS_AS((ResidualQuantizer<V>(d, {4, 8}, {}, {.shared_codebook = true})), ArgumentError);
  ResidualQuantizer<V> fresh(d, 2, {.codes = 4});
  CHECK_THROWS_WITH(rvq::quantize(fresh, vectors(5)), contains("start_stages"));
}
