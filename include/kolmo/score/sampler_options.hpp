#pragma once
// What a sampler is told: method, steps, times, corrections. The default is chosen by the closed form of Gaussian
// posteriors (docs/score_scaling.md): third-order multistep on eps over a grid uniform in log rho.

#include <kolmo/score/multistep.hpp>
#include <kolmo/score/time_grid.hpp>

namespace kolmo::score {

/// How x at time t becomes x at the next time u. z = eps, r = mu_u / mu_t.
///   ddim     mu_u xhat + sigma_u (sqrt(1 - tau) z + sqrt(tau) noise), tau = eta (1 - (rho_u / rho_t)^2) in [0, 1];
///            eta = 0 is the predictor of score-based data assimilation, eta = 1 is DDPM (Ho et al. 2020)
///   heun     the predictor again with the mean of eps at both ends (Karras et al. 2022); two evaluations a step
///   ito      r x + (1 + eta^2) / temperature (sigma_u / sigma_t - r) (x - mu_t xhat)
///            + eta mu_u sqrt(rho_t^2 - rho_u^2) noise
///   adams_bashforth, multistep_eps, multistep_xhat, multistep_v   see multistep.hpp; with order 1 the first three are
///   ddim
enum class SamplerMethod { ddim, heun, ito, adams_bashforth, multistep_eps, multistep_xhat, multistep_v };

/// What is done at the new time, `corrections` times, each with one evaluation e of eps and fresh noise z:
///   langevin             x - sigma (delta e + sqrt(2 delta) z), delta = tau / mean(e^2) over the event, per sample
///   balanced_langevin    the same with sqrt((2 - tau) delta) z. Repeated, the plain step turns white noise into one of
///                        1 + tau / 2 times the variance, a spread 1.12 times too wide for tau = 0.5; this one keeps it
///   variance_preserving  mu xhat + sqrt(1 - delta) (x - mu xhat) + sqrt(delta) sigma z with delta = tau
enum class Corrector { langevin, balanced_langevin, variance_preserving };

struct SamplerOptions {
  SamplerMethod method = SamplerMethod::multistep_eps;
  index_t steps = 32;
  int order = 3;  ///< adams_bashforth and multistep: 1 to 4
  TimeGrid grid{};
  double eta = 0;              ///< ddim and ito: how much noise is added
  double temperature = 1;      ///< ito
  index_t most_substeps = 64;  ///< a guided estimator that asks for shorter steps gets at most so many in place of one
  index_t corrections = 0;
  Corrector corrector = Corrector::langevin;
  double tau = 0.5;

  /// The predictor-corrector of score-based data assimilation: uniform times, exponential predictor, Langevin.
  static SamplerOptions predictor_corrector(index_t steps = 256, index_t corrections = 1, double tau = 0.5) {
    SamplerOptions options;
    options.method = SamplerMethod::ddim;
    options.steps = steps;
    options.order = 1;
    options.grid.policy = GridPolicy::uniform_time;
    options.corrections = corrections;
    options.tau = tau;
    return options;
  }

  /// Evaluations of eps in a run without substeps.
  index_t evaluations() const { return steps * ((method == SamplerMethod::heun ? 2 : 1) + corrections); }

  /// Throws ArgumentError, naming the option, when one is out of range.
  void check() const {
    if (steps < 1) throw ArgumentError("sampler: expected at least one step, given " + std::to_string(steps));
    if (order < 1 || order > largest_order)
      throw ArgumentError("sampler: the order must be 1 to 4, given " + std::to_string(order));
    if (most_substeps < 1)
      throw ArgumentError("sampler: most_substeps must be at least 1, given " + std::to_string(most_substeps));
    if (corrections < 0)
      throw ArgumentError("sampler: the number of corrections must not be negative, given " +
                          std::to_string(corrections));
    if (!(tau > 0) || !is_finite(tau) || (corrector == Corrector::variance_preserving && tau > 1) ||
        (corrector == Corrector::balanced_langevin && !(tau < 2)))
      throw ArgumentError(
          "sampler: tau must be positive, below 2 for the balanced corrector and at most 1 for the variance-preserving "
          "one, given " +
          io::to_text(tau));
    if (!(eta >= 0) || !is_finite(eta))
      throw ArgumentError("sampler: eta must not be negative, given " + io::to_text(eta));
    if (!(temperature > 0) || !is_finite(temperature))
      throw ArgumentError("sampler: the temperature must be positive, given " + io::to_text(temperature));
  }
};

}  // namespace kolmo::score
