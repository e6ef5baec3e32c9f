// The fitter that ships with the library, on the test set that the model card reports on and on families that it never
// saw.

#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/gmm/v5.hpp>
#include <kolmo/io/tree.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::gmm;
using F = Tensor<float, Cpu>;

namespace {

Lamf<F> shipped() { return io::load_model<Lamf<F>>(std::string(KOLMO_EXAMPLES) + "/models/lamf_v5.safetensors"); }

void report(const char* name, const LamfScores& s) {
  UNSCOPED_INFO(name << ": mean " << s.density_error << ", median " << s.median_error << ", below 0.01 "
                     << s.share_below << ", largest " << s.largest_error << ", distribution " << s.distribution_error
                     << ", KL " << s.divergence);
}

/// What a user gets without any option, against the densities on their own grid.
struct DefaultFits {
  Summary density, distribution;
  int without_fit = 0, spikes = 0;

  explicit DefaultFits(const DensitySet<F>& set) {
    FitOptions options;
    options.measures = true;
    const auto r = fit(shipped(), set.densities, set.grid, options, set.offsets);
    density = summarize(r.measures->density_error);
    distribution = summarize(r.measures->distribution_error);
    for (const Status status : r.statuses()) without_fit += !is_valid(status);
    for (const std::int32_t w : r.warnings.to_vector()) spikes += (w & static_cast<std::int32_t>(Warning::spike)) != 0;
    UNSCOPED_INFO("density: mean " << density.mean << ", median " << density.median << ", below 0.01 "
                                   << density.share_below << ", largest " << density.maximum << "; distribution: mean "
                                   << distribution.mean << "; spikes " << spikes);
  }
};

DensitySet<F> foreign_set(index_t count) {
  ForeignOptions options;
  options.centred = true;
  return make_foreign<F>(Key{7}, count, options);
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

TEST_CASE("the default fit is more exact than any published one on the V5 law") {
  const DefaultFits fits(make_v5<F>(Key{2}, 3000));
  CHECK(fits.without_fit == 0);
  CHECK(fits.density.mean <= 0.0004);
  CHECK(fits.density.median <= 0.00004);
  CHECK(fits.density.share_below >= 0.995);
  CHECK(fits.distribution.maximum <= 1.0);
}

TEST_CASE("the default fit reaches its goals on the whole V5 test set", "[long]") {
  const DefaultFits fits(make_v5<F>(Key{2}, 15000));
  CHECK(fits.without_fit == 0);
  CHECK(fits.density.mean <= 0.0004);
  CHECK(fits.density.median <= 0.00003);
  CHECK(fits.density.share_below >= 0.995);
}

TEST_CASE("the default fit is good on families that no model was trained on") {
  const DefaultFits fits(foreign_set(800));
  CHECK(fits.without_fit == 0);
  CHECK(fits.density.mean <= 0.0025);
}
