// Gradients of the residual quantizer with its codes held fixed: against finite differences and the formulas of the
// straight-through form.

#include <cmath>
#include <vector>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

#include "catch.hpp"
#include "rvq_gradient_support.hpp"

using namespace kolmo_test::fixed_codes;

namespace {

/// Sum of the stages' codewords, and the residual that each stage saw, from the codes alone.
struct Recomputed {
  std::vector<V> residuals, codewords;
  V sum;
};
Recomputed recompute(const ResidualQuantizer<V>& q, const V& x, const Tensor<rvq::Code, Cpu>& codes) {
  Recomputed result;
  V residual = x;
  result.sum = V::zeros(x.shape());
  for (index_t stage = 0; stage < codes.shape()[1]; ++stage) {
    const V e = take(q.stages[static_cast<std::size_t>(stage)].book.codewords, at(codes, 1, stage).contiguous());
    result.residuals.push_back(residual);
    result.codewords.push_back(e);
    residual = residual - e;
    result.sum = result.sum + e;
  }
  return result;
}

}  // namespace

TEST_CASE("R16: the output passes gradients as if nothing had happened, for 1 to 8 stages") {
  const auto q = quantizer(std::vector<index_t>(8, 6));
  const V x = vectors(1), g = vectors(2);
  for (index_t active = 1; active <= 8; ++active) {
    Tape<V> tape;
    const auto leaf = tape.leaf(x);
    const auto result = rvq::quantize(q, leaf, {.active = active});
    tape.backward(result.output, g);
    CAPTURE(active);
    CHECK(tape.gradient(leaf).to_vector() == g.to_vector());
    check_close(result.output.value.to_vector(), recompute(q, x, result.codes).sum.to_vector(), 1e-14);
  }
}

TEST_CASE("R16: the commitment gradient is (2 beta / (n d)) sum (r_q - e_q), from each stage") {
  const V x = vectors(1);
  for (index_t active = 1; active <= 8; ++active) {
    for (const auto reduction : {rvq::StageReduction::sum, rvq::StageReduction::mean}) {
      const auto q = quantizer(std::vector<index_t>(8, 6), {.reduction = reduction});
      Tape<V> tape;
      const auto leaf = tape.leaf(x);
      const auto result = rvq::quantize(q, leaf, {.active = active});
      tape.backward(rvq::quantizer_loss(q, result));
      const auto parts = recompute(q, x, result.codes);
      V expected = V::zeros(x.shape());
      for (std::size_t s = 0; s < parts.residuals.size(); ++s)
        expected = expected + (parts.residuals[s] - parts.codewords[s]);
      const double share = reduction == rvq::StageReduction::mean ? 1.0 / static_cast<double>(active) : 1.0;
      CAPTURE(active, share);
      check_close(tape.gradient(leaf).to_vector(), (expected * (2 * 0.25 * share / (n * d))).to_vector(), 1e-15);
      // The codes stay what they are within the difference; r_q = x - what the stages before took.
      const auto loss = [&](const V& moved) {
        double sum = 0;
        for (std::size_t s = 0; s < parts.residuals.size(); ++s) {
          const V r = moved - x + parts.residuals[s] - parts.codewords[s];
          sum += 0.25 * share * mean(r * r).item();
        }
        return sum;
      };
      CHECK(result.commitment_loss.value.item() * 0.25 == Approx(loss(x)).epsilon(1e-12));
      check_close(tape.gradient(leaf).to_vector(), differences(loss, x), 1e-9);
    }
  }
  // Alone, too: what a stage adds to the gradient is not zero.
  const auto q = quantizer(std::vector<index_t>(8, 6));
  std::vector<double> before(n * d, 0.0);
  for (index_t active = 1; active <= 8; ++active) {
    Tape<V> tape;
    const auto leaf = tape.leaf(x);
    tape.backward(rvq::quantize(q, leaf, {.active = active}).commitment_loss);
    const auto gradient = tape.gradient(leaf).to_vector();
    double change = 0;
    for (std::size_t i = 0; i < gradient.size(); ++i) change += std::abs(gradient[i] - before[i]);
    CHECK(change > 1e-3);
    before = gradient;
  }
}

TEST_CASE("R17: the commitment of a stage is the mean squared error after it, recomputed from the codes") {
  const auto q = quantizer(std::vector<index_t>(4, 6));
  const V x = vectors(1);
  const auto result = rvq::quantize(q, x, {.active = 4});
  V residual = x;
  double sum = 0;
  for (index_t stage = 0; stage < 4; ++stage) {
    residual = residual - take(q.stages[static_cast<std::size_t>(stage)].book.codewords, at(result.codes, 1, stage));
    const double error = mean(residual * residual).item();
    sum += error;
    CHECK(result.stage_errors[static_cast<std::size_t>(stage)] == Approx(error).epsilon(1e-12));
  }
  CHECK(result.commitment_loss.item() == Approx(sum).epsilon(1e-12));
  CHECK(result.codebook_loss.item() == 0);
}

TEST_CASE("R18: averaged codebooks get no gradient and no optimiser sees them") {
  const auto averaged = quantizer({6, 6});
  CHECK(parameter_count(averaged) == 0);
  const V x = vectors(1);
  const auto [loss, gradient] = value_and_grad(averaged, [&](const auto& q) {
    const auto result = rvq::quantize(q, x, {.active = 2});
    return rvq::quantizer_loss(q, result) + sum(result.output * result.output);
  });
  CHECK(loss.item() > 0);
  for (const auto& stage : gradient.stages) CHECK(max(abs(stage.book.codewords)).item() == 0);
}

TEST_CASE("R18: a frozen codebook that was learned gets no gradient and no optimiser moves it") {
  auto q = quantizer({6, 5}, {}, CodebookTraining::gradient);
  q.stages[0].book.frozen = true;
  CHECK(parameter_count(q) == 5 * d);
  const V x = vectors(1);
  const auto gradient =
      value_and_grad(q, [&](const auto& v) { return rvq::quantize(v, x, {.active = 2}).codebook_loss; }).gradient;
  CHECK(max(abs(gradient.stages[0].book.codewords)).item() == 0);
  CHECK(max(abs(gradient.stages[1].book.codewords)).item() > 0);
  rvq::freeze(q);
  CHECK(parameter_count(q) == 0);
}

TEST_CASE("R18: learned codebooks get (2 / (n d)) sum over their vectors of c - r") {
  const auto q = quantizer({6, 5}, {}, CodebookTraining::gradient);
  CHECK(parameter_count(q) == (6 + 5) * d);
  const V x = vectors(1);
  Tensor<rvq::Code, Cpu> codes;
  const auto [loss, gradient] = value_and_grad(q, [&](const auto& variables) {
    const auto result = rvq::quantize(variables, x, {.active = 2});
    codes = result.codes;
    return rvq::quantizer_loss(variables, result) + sum(result.output);
  });
  const auto parts = recompute(q, x, codes);
  for (std::size_t stage = 0; stage < 2; ++stage) {
    const V& words = q.stages[stage].book.codewords;
    std::vector<double> expected(static_cast<std::size_t>(words.size()), 0.0);
    const auto chosen = at(codes, 1, static_cast<index_t>(stage)).to_vector();
    const auto r = parts.residuals[stage].to_vector(), c = words.to_vector();
    for (std::size_t i = 0; i < chosen.size(); ++i)
      for (std::size_t j = 0; j < d; ++j) {
        const std::size_t place = static_cast<std::size_t>(chosen[i]) * d + j;
        expected[place] += 2.0 / (n * d) * (c[place] - r[i * d + j]);
      }
    CAPTURE(stage);
    check_close(gradient.stages[stage].book.codewords.to_vector(), expected, 1e-14);
  }
}

TEST_CASE("the rotation is applied once, to the sum of all stages") {
  const auto q = quantizer({6, 6, 6});
  const V x = vectors(1), g = vectors(2);
  Tape<V> tape, other;
  const auto leaf = tape.leaf(x);
  const auto result = rvq::quantize(q, leaf, {.active = 3, .gradient = rvq::QuantizerGradient::rotation});
  tape.backward(result.output, g);
  const auto single = other.leaf(x);
  other.backward(rvq::rotation_trick(recompute(q, x, result.codes).sum, single), g);
  check_close(tape.gradient(leaf).to_vector(), other.gradient(single).to_vector(), 1e-14);
}
