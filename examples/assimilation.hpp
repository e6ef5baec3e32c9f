#pragma once
// One assimilation: observations of a trajectory, samples of what the trajectory may have been, and how good they are.
// Shared by assimilate and evaluate_assimilation.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/score/ensemble.hpp>
#include <kolmo/score/guidance/choice.hpp>
#include <kolmo/score/markov.hpp>
#include <kolmo/score/sampler.hpp>

#include "observation_spec.hpp"
#include "score_model.hpp"

namespace score_program {

/// What a sampling run is told beside the observations.
struct SamplingSettings {
  std::string method = "default";
  score::GuidanceSettings<V> guidance;
  score::SamplerOptions sampler;
  score::StabilityPolicy stability = score::StabilityPolicy::report;
  index_t samples = 4;
  index_t together = 0;  ///< samples that are drawn at once; 0: all
  std::uint64_t seed = 0;
};

/// One row of the trace: a step of the sampler.
struct TraceRow {
  index_t step = 0;
  double t = 0, ratio = 0, prior_norm = 0, likelihood_norm = 0, chi_squared = 0, effective_noise = 0, stability = 0;
  int iterations = 0;
};

/// Samples and how they fit. All figures are in the units of the data.
struct Assimilation {
  V samples;                    ///< [K, L, C, space...]; empty when the run stopped
  std::vector<TraceRow> trace;  ///< of the first group of samples
  index_t observations = 0;     ///< scalar ones, of one trajectory
  double noise = 0;             ///< the true deviation of the sensor
  double residual = 0;          ///< rms of A(x) - y over the samples; the noise, where the fit is right
  double spread = 0;            ///< standard deviation between samples, rms over the points; 0 for one sample
  double error = std::numeric_limits<double>::quiet_NaN();         ///< rms of the mean - truth
  double sample_error = std::numeric_limits<double>::quiet_NaN();  ///< rms of a sample - truth
  double crps = std::numeric_limits<double>::quiet_NaN();
  double energy_ratio = std::numeric_limits<double>::quiet_NaN();  ///< deviation of the samples over that of the truth
  double largest_stability = 0;  ///< stable explicit steps have less than 1; 0 when not asked for
  double seconds_per_evaluation = 0;
  index_t evaluations = 0;
  std::string stopped;  ///< why there are no samples; empty when there are

  /// "ok", "stopped" (a value left the numbers), "exploded" (ten times the truth's variation, or measurements missed by
  /// as much), "flat" (less than half of the truth's variation is left), "misfit" (a residual not within 0.7 and 1.4
  /// of the sensor's noise).
  std::string outcome() const {
    if (!stopped.empty()) return "stopped";
    if (energy_ratio > 10 || residual > 100 * noise) return "exploded";
    if (energy_ratio < 0.5) return "flat";
    if (!(residual > 0.7 * noise && residual < 1.4 * noise)) return "misfit";
    return "ok";
  }
};

/// Sees each step of the sampler, for a progress line.
using StepCallback = std::function<void(index_t done, index_t steps, const TraceRow&)>;

namespace detail {

inline double mean_square(const V& x) {
  double sum = 0;
  for (const float v : x.to_vector()) sum += static_cast<double>(v) * static_cast<double>(v);
  return sum / static_cast<double>(x.size());
}

}  // namespace detail

/// Draws samples of the trajectory that `spec` saw as `measured`, in the units of the data. `truth` [L, C, space...],
/// in the same units, is looked at for the figures only and may be empty. Throws ArgumentError or ShapeError for what
/// does not fit; values that leave the numbers are reported in `stopped`.
inline Assimilation assimilate(const TrajectoryPrior& prior, const ObservationSpec& spec, const V& measured,
                               double noise, const Shape& event, const V& truth, const SamplingSettings& settings,
                               const StepCallback& on_step = {}) {
  if (event[0] < prior.description.config.window)
    throw ArgumentError("a trajectory of " + std::to_string(event[0]) +
                        " frames is shorter than the model's window of " +
                        std::to_string(prior.description.config.window) + "; give more frames");
  const score::Schedule schedule = prior.description.schedule();
  const auto observation = score::observe(score::compose(score::Physical{prior.normaliser}, spec), measured, noise);
  const auto posterior =
      score::guided(prior.noise, schedule, observation, score::guidance_by_name<V>(settings.method, settings.guidance),
                    {.stability = settings.stability});

  Assimilation result;
  result.noise = noise;
  result.observations = measured.size();
  const index_t group = settings.together > 0 ? settings.together : settings.samples;
  std::vector<V> groups;
  const auto begin = std::chrono::steady_clock::now();
  for (index_t first = 0; first < settings.samples; first += group) {
    const index_t count = smaller(group, settings.samples - first);
    Shape shape{count};
    for (const index_t extent : event) shape.push_back(extent);
    const auto keys = split(fold_in(Key{settings.seed}, static_cast<std::uint64_t>(first)));
    try {
      groups.push_back(score::sample(
          posterior, schedule, score::initial_state<V>(shape, keys.first, schedule, settings.sampler.grid.start_time),
          settings.sampler, keys.second, [&](const score::SamplerStep<V>& step) {
            const score::GuidanceReport& report = posterior.report();
            const TraceRow row{step.step,
                               step.t,
                               report.ratio(),
                               report.prior_norm,
                               report.likelihood_norm,
                               report.chi_squared,
                               report.effective_noise,
                               report.stability,
                               report.solver_iterations};
            result.largest_stability = std::max(result.largest_stability, row.stability);
            if (first == 0) result.trace.push_back(row);
            result.evaluations += settings.sampler.evaluations() / settings.sampler.steps;
            if (on_step)
              on_step(first / group * settings.sampler.steps + step.step,
                      divide_up(settings.samples, group) * settings.sampler.steps, row);
          }));
    } catch (const score::NonFiniteSample& error) {
      result.stopped = error.what();
      break;
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  result.seconds_per_evaluation = seconds.count() / static_cast<double>(std::max<index_t>(result.evaluations, 1));
  if (!result.stopped.empty()) return result;

  const V normalised = concat(0, groups);
  result.samples = prior.normaliser.denormalised(normalised);
  result.residual = std::sqrt(detail::mean_square(spec(result.samples) - measured));
  if (settings.samples > 1) {
    const V average = mean(result.samples, {0}, true);
    result.spread = std::sqrt(detail::mean_square(result.samples - average) * static_cast<double>(settings.samples) /
                              static_cast<double>(settings.samples - 1));
  }
  if (truth.has_value()) {
    const V average = mean(result.samples, {0});
    result.error = std::sqrt(detail::mean_square(average - truth));
    result.sample_error = std::sqrt(detail::mean_square(result.samples - truth));
    if (settings.samples > 1) result.crps = score::crps(result.samples, truth);
    result.energy_ratio = score::energy_ratio(result.samples, truth);
  }
  return result;
}

/// What a sensor with this noise measures of a trajectory [L, C, space...].
inline V measure(const ObservationSpec& spec, const V& truth, double noise, Key key) {
  const V seen = spec(unsqueeze(truth, 0));
  if (seen.size() == 0)
    throw ArgumentError("observations '" + spec.to_text() + "' see nothing of a trajectory of shape " +
                        truth.shape().to_string());
  return seen + nn::normal_values<V>(key, seen.shape(), 0, noise);
}

/// An array of the whole trajectory, [L, C, space...], with NaN where nothing was measured: the points that were.
inline std::pair<ObservationSpec, V> measured_points(const V& array) {
  std::vector<index_t> positions;
  std::vector<float> values;
  const std::vector<float> all = array.to_vector();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (!(all[i] != all[i])) {
      positions.push_back(static_cast<index_t>(i));
      values.push_back(all[i]);
    }
  if (positions.empty()) throw ArgumentError("the array of observations holds nothing but NaN: nothing was measured");
  ObservationSpec spec;
  spec.points.emplace(std::move(positions));
  const index_t count = static_cast<index_t>(values.size());
  return {std::move(spec), V::from(std::span<const float>(values), Shape{1, count})};
}

}  // namespace score_program
