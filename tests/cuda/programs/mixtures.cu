// Mixture fitting on the device, by weighted EM, by its polish and by the learned fitter with its loss, against the CPU.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/lamf_loss.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/polish.hpp>
#include <kolmo/gmm/v5.hpp>

#include "compare.hpp"

using namespace kolmo;

namespace {

template <class B>
check::Results<double> all() {
  using V = Tensor<double, B>;
  check::Results<double> results;
  const auto set = gmm::make_v5<V>(Key{3}, 6, gmm::V5Options::training());
  results.add("densities", set.densities);

  gmm::PreprocessOptions preprocessing;
  const auto prepared = gmm::preprocess(set.densities, set.grid, preprocessing, set.offsets);
  results.add("masses", prepared.masses);
  gmm::EmOptions em;
  em.tolerance = 0;  // the number of iterations must not hang on the last bit
  em.max_iterations = 20;
  em.acceleration = gmm::Acceleration::none;  // nor may its choices
  const auto fit = gmm::fit_em(prepared.masses, prepared.points, em);
  results.add_model("EM's fit", fit.mixture);
  results.add("density", gmm::density(fit.mixture, prepared.points));
  results.add("distribution", gmm::distribution(fit.mixture, prepared.points));
  results.add("variance", gmm::variance(fit.mixture));

  // A number of evaluations that does not hang on the last bit either.
  const gmm::PolishOptions polish{.evaluations = 5, .tolerance = 0, .gain = 0};
  const auto polished = gmm::polish(set.densities, set.grid, gmm::to_input_units(fit.mixture, prepared), polish,
                                    std::optional<V>(set.offsets));
  results.add_model("polished fit", polished.mixture);
  results.add("its error", polished.largest_error);

  preprocessing.scaling = gmm::Scaling::deviation;
  const auto scaled = gmm::preprocess(set.densities, set.grid, preprocessing, set.offsets);
  const auto input = gmm::lamf_input(scaled);
  gmm::LamfOptions options;
  options.init_width = 32;
  options.refine_width = 16;
  options.iterations = 2;
  gmm::Lamf<V> model(options);
  gmm::init(Key{4}, model);
  auto& last = model.refine_network.layers.back();
  last.weight = nn::normal_values<V>(Key{5}, last.weight.shape());
  const auto target = gmm::lamf_target(input, V::ones(Shape{6}));
  const auto loss = [&](const auto& m) { return gmm::lamf_loss(input, target, m(input), {}).total; };
  results.add("the fitter's mixtures", model(input));
  gmm::FitOptions learned;
  learned.polish = polish;
  learned.measures = true;
  learned.refit_above = 0.003;
  const auto report = gmm::fit(model, set.densities, set.grid, learned, set.offsets);
  results.add_model("a learned fit", report.mixture);
  results.add("its measured error", report.measures->density_error);
  const auto first = value_and_grad(model, loss);
  results.add("loss", first.value);
  results.add_model("gradient", first.gradient);
  results.add("tangent of the loss", jvp(loss, model, model).tangent);
  return results;
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  check::compare(all<Cuda>(), all<Cuda>(), all<Cpu>(), 1e3);
  return check::result();
}
