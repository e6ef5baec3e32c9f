#include "catch.hpp"
#include "gmm_reference.hpp"

#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/lamf_fit.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

FitOptions measured() {
  FitOptions options;
  options.measures = true;
  return options;
}

EmOptions learned_start(int components) {
  EmOptions options;
  options.start = EmStartKind::lamf;
  options.components = components;
  return options;
}

}  // namespace

TEST_CASE("G-14: EM from a learned start does not destroy it", "[gmm][em]") {
  const auto model = load_lamf<Double>(KOLMO_EXAMPLES "/models/lamf_v5.safetensors");
  const auto set = make_foreign<Double>(Key{31}, 70);
  FitOptions alone = measured();
  alone.polish = PolishOptions{.evaluations = 0};
  const auto learned = gmm::fit(model, set.densities, set.grid, alone, set.offsets);
  EmOptions em = learned_start(static_cast<int>(model.options.components));
  const auto polished =
      gmm::fit(em, set.densities, set.grid, EmGiven<Double>{learned.mixture}, measured(), set.offsets);
  const auto early = learned.measures->density_error.to_vector(), late = polished.measures->density_error.to_vector();
  const auto ce_early = learned.measures->cross_entropy.to_vector(),
             ce_late = polished.measures->cross_entropy.to_vector();
  for (std::size_t b = 0; b < early.size(); ++b) {
    INFO(b);
    CHECK((polished.warnings.to_vector()[b] & static_cast<std::int32_t>(Warning::fallback_start)) == 0);
    // The learned fitter was trained for the largest error, which EM does not look at: the error may grow, by a small
    // factor, where the density has a kink. A collapse grows it twentyfold.
    CHECK(late[b] <= 3.0 * early[b] + 1e-3);
    CHECK(late[b] < 0.1);
    // The cross entropy of the metrics is minus the likelihood, up to a mixture below 1e-12.
    CHECK(ce_late[b] <= ce_early[b] + 1e-9);
  }
  CHECK(summarize(polished.measures->density_error).mean < summarize(learned.measures->density_error).mean);
  // Also with a floor in units of the input that is far too low: it is raised to half a spacing.
  em.deviation_floor = 1e-4;
  const auto raised = gmm::fit(em, set.densities, set.grid, EmGiven<Double>{learned.mixture}, measured(), set.offsets);
  for (double narrowest : raised.measures->narrowest.to_vector()) CHECK(narrowest >= 0.5 * (1.0 - 1e-9));
}
