// The fitter that ships with the library, on the test set that the model card reports on and on families that it never
// saw.

#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/io/tree.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::gmm;
using F = Tensor<float, Cpu>;

namespace {

Lamf<F> shipped() { return io::load_model<Lamf<F>>(std::string(KOLMO_EXAMPLES) + "/models/lamf_v5.safetensors"); }

void report(const char* name, const LamfScores& s) {
  UNSCOPED_INFO(name << ": mean " << s.density_error << ", median " << s.median_error << ", below 0.01 " << s.share_below
                     << ", largest " << s.largest_error << ", distribution " << s.distribution_error << ", KL "
                     << s.divergence);
}

}  // namespace

TEST_CASE("the shipped fitter halves the error of the model card on the V5 law") {
  const auto model = shipped();
  CHECK(model.options.components == 5);
  CHECK(model.options.points == 96);
  const LamfSamples<F> samples(make_v5<F>(Key{2}, 3000), Grid{});
  const LamfScores scores = evaluate(model, samples);
  report("V5", scores);
  CHECK(scores.density_error <= 0.0040);
  CHECK(scores.share_below >= 0.95);
}

TEST_CASE("the shipped fitter reaches the goal on the whole V5 test set", "[long]") {
  const auto model = shipped();
  const LamfScores scores = evaluate(model, LamfSamples<F>(make_v5<F>(Key{2}, 15000), Grid{}));
  report("V5", scores);
  CHECK(scores.density_error <= 0.0079);
  CHECK(scores.distribution_error <= 0.0048);
}

TEST_CASE("the shipped fitter copes with families it was not trained on") {
  const auto model = shipped();
  ForeignOptions options;
  options.centred = true;
  for (const Family family : {Family::student_t, Family::skew_normal, Family::smoothed_uniform, Family::bimodal}) {
    options.only = family;
    const LamfScores scores = evaluate(model, LamfSamples<F>(make_foreign<F>(Key{7}, 200, options), Grid{}));
    report(describe(family), scores);
    CHECK(scores.density_error <= 0.03);
  }
}
