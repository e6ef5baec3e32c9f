// Projections of a factorised quantizer: gradients against finite differences with the codes held fixed, the tables
// that decode, and training.

#include <cmath>
#include <vector>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

#include "catch.hpp"
#include "rvq_gradient_support.hpp"

using namespace kolmo_test::fixed_codes;

namespace {}  // namespace

TEST_CASE("with projections the gradients are those of the straight-through form in the low dimension") {
  for (const bool detached : {false, true}) {
    const auto q = quantizer({6, 5}, {.projected_dimension = 2, .detach_residual = detached});
    const V x = vectors(1), g = vectors(2);
    // One layer after the other by hand, with constants for what is quantized.
    const auto plain = rvq::quantize(q, x, {.active = 2});
    std::vector<V> words, kept_z, kept_e;
    {
      V r = x;
      for (std::size_t s = 0; s < 2; ++s) {
        const auto& stage = q.stages[s];
        const V z = stage.projection->in(r);
        const V c = take(stage.book.codewords, at(plain.codes, 1, static_cast<index_t>(s)));
        kept_z.push_back(z);
        words.push_back(c);
        kept_e.push_back(stage.projection->out(c));
        r = r - kept_e.back();
      }
      check_close(plain.output.to_vector(), (kept_e[0] + kept_e[1]).to_vector(), 1e-14);
    }
    // The function whose ordinary derivative the form promises: z enters as z + (c - z) with c - z a constant.
    const auto surrogate = [&](const auto& model, const auto& moved) {
      const double weight = 1.0 / (n * 2);
      const auto square = [](const auto& a, const auto& b) { return sum((a - b) * (a - b)); };
      const auto z0 = model.stages[0].projection->in(moved);
      const auto e0 = model.stages[0].projection->out(z0 + (words[0] - kept_z[0]));
      const auto z1 =
          detached ? model.stages[1].projection->in(moved - kept_e[0]) : model.stages[1].projection->in(moved - e0);
      const auto e1 = model.stages[1].projection->out(z1 + (words[1] - kept_z[1]));
      const auto c0 = take(model.stages[0].book.codewords, at(plain.codes, 1, 0));
      const auto c1 = take(model.stages[1].book.codewords, at(plain.codes, 1, 1));
      return sum((e0 + e1) * g) + (square(z0, words[0]) + square(z1, words[1])) * (0.25 * weight) +
             (square(kept_z[0], c0) + square(kept_z[1], c1)) * weight;
    };
    const auto loss = [&](const auto& model, const auto& moved) {
      const auto result = rvq::quantize(model, moved, {.active = 2});
      return sum(result.output * g) + rvq::quantizer_loss(model, result);
    };
    CAPTURE(detached);
    CHECK(loss(q, x).item() == Approx(surrogate(q, x).item()).epsilon(1e-12));
    const V by_x = grad([&](const auto& moved) { return loss(q, moved); }, x);
    check_close(by_x.to_vector(), differences([&](const V& moved) { return surrogate(q, moved).item(); }, x), 1e-8);

    const auto by_model = value_and_grad(q, [&](const auto& model) { return loss(model, x); }).gradient;
    visit_parameters(
        [&](const std::string& path, const V& gradient, const V& parameter) {
          const auto numerical = differences(
              [&](const V& moved) {
                auto changed = q;
                visit_parameters(
                    [&](const std::string& other, V& target) {
                      if (other == path) target = moved;
                    },
                    changed);
                return surrogate(changed, x).item();
              },
              parameter);
          CAPTURE(path);
          check_close(gradient.to_vector(), numerical, 1e-7);
        },
        by_model, q);
  }
}

TEST_CASE("projected stages decode by tables of D dimensions to what the encoder meant") {
  const auto q = quantizer({6, 5}, {.projected_dimension = 2});
  const V x = vectors(1);
  const auto tables = rvq::decode_tables(q);
  REQUIRE(tables.size() == 2);
  CHECK(tables[0].shape() == Shape{6, d});
  const auto trained = rvq::quantize(q, x, {.active = 2});
  const auto encoded = rvq::encode(q, x);
  CHECK(encoded.codes.to_vector() == trained.codes.to_vector());
  check_close(rvq::decode(q, encoded.codes).to_vector(), trained.output.to_vector(), 1e-14);
  CHECK_THROWS_WITH(rvq::encode(q, x, {.beam = 2}), kolmo_test::contains("without projections"));
  CHECK_THROWS_AS((ResidualQuantizer<V>(d, 2, {}, {.projected_dimension = 2, .shared_codebook = true})), ArgumentError);
}

TEST_CASE("stages with projections are found by angle and valued by the codeword itself") {
  ResidualQuantizer<V> q(2, 1, {.codes = 2}, {.projected_dimension = 2});
  auto& stage = q.stages[0];
  // Both layers the identity.
  for (auto* layer : {&stage.projection->in, &stage.projection->out}) {
    layer->direction = V::from({2, 0, 0, 3}, Shape{2, 2});
    layer->length = V::ones(Shape{2});
  }
  stage.book.codewords = V::from({1, 1, 3, 0.1}, Shape{2, 2});
  stage.book.initialised = true;
  // Nearer to the first codeword, in the direction of the second.
  const auto result = rvq::quantize(q, V::from({1, 0}, Shape{1, 2}), {.active = 1});
  CHECK(result.codes.to_vector() == std::vector<rvq::Code>{1});
  CHECK(result.output.to_vector() == std::vector<double>{3, 0.1});
}
