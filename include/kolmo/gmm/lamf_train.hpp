#pragma once
// Training of the learned fitter: prepared densities as a source of batches, the loss of a batch with deep
// supervision, and the validation by which the best epoch is chosen.

#include <algorithm>
#include <string>
#include <vector>

#include <kolmo/gmm/density_set.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/lamf_loss.hpp>
#include <kolmo/gmm/v5.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/optim/samples.hpp>

namespace kolmo::gmm {

/// How much every output of the fitter counts in the loss; index 0 is the initial network.
enum class Supervision { final_only, linear, uniform };

/// Weights that sum to one. Throws ArgumentError without outputs.
inline std::vector<double> supervision_weights(Supervision supervision, std::size_t outputs) {
  if (outputs == 0) throw ArgumentError("supervision_weights: a fitter has at least one output");
  std::vector<double> weights(outputs, supervision == Supervision::uniform ? 1.0 / static_cast<double>(outputs) : 0.0);
  if (supervision == Supervision::final_only) weights.back() = 1.0;
  if (supervision == Supervision::linear)
    for (std::size_t t = 0; t < outputs; ++t)
      weights[t] = 2.0 * static_cast<double>(t + 1) / static_cast<double>(outputs * (outputs + 1));
  return weights;
}

/// What a fitter is trained on.
enum class TrainingLaw {
  v5,    ///< maxima of two normals alone
  broad  ///< 70 % of these, 15 % with a wider range of deviations, 15 % random mixtures of two to five normals
};

/// Densities of a law, centred, resolved by the grid. Throws ArgumentError for an impossible grid.
template <PlainTensor V>
std::vector<DensitySet<V>> training_densities(Key key, index_t count, TrainingLaw law, const Grid& grid) {
  V5Options v5 = V5Options::training();
  v5.grid = grid;
  if (law == TrainingLaw::v5) return {make_v5<V>(fold_in(key, 0), count, v5)};
  const index_t part = count * 3 / 20;
  V5Options wide = v5;
  wide.deviations = true;
  ForeignOptions mixtures;
  mixtures.grid = grid;
  mixtures.centred = true;
  mixtures.only = Family::random_mixture;
  mixtures.least_deviation = 0.8;
  return {make_v5<V>(fold_in(key, 0), count - 2 * part, v5), make_v5<V>(fold_in(key, 1), part, wide),
          make_foreign<V>(fold_in(key, 2), part, mixtures)};
}

/// Densities prepared once for training and validation.
template <PlainTensor V>
class LamfSamples {
 public:
  /// Prepares every row of the sets for a model on `grid`. Throws ArgumentError naming the first row that is not a
  /// density, and without any set.
  LamfSamples(const std::vector<DensitySet<V>>& sets, const Grid& grid) : samples_(prepare(sets, grid)) {}
  LamfSamples(const DensitySet<V>& set, const Grid& grid) : LamfSamples(std::vector<DensitySet<V>>{set}, grid) {}

  index_t size() const { return samples_.size(); }

  /// A batch ready for the fitter and its losses.
  struct Batch {
    LamfInput<V> input;
    LamfTarget<V> target;
    V scale;  ///< [batch], standard deviation of each density in the input's units
  };

  Batch batch(std::span<const index_t> indices) const {
    const auto [masses, points, spacing, scale] = samples_.batch(indices);
    const LamfInput<V> input = lamf_input(masses, points, spacing);
    return {input, lamf_target(input, scale), scale};
  }

 private:
  static optim::Samples<V, V, V, V> prepare(const std::vector<DensitySet<V>>& sets, const Grid& grid) {
    if (sets.empty()) throw ArgumentError("lamf: expected at least one set of training densities");
    PreprocessOptions options;
    options.grid = grid;
    options.scaling = Scaling::deviation;
    std::vector<V> masses, points, spacing, scale;
    for (const DensitySet<V>& set : sets) {
      const Preprocessed<V> prepared = preprocess(set.densities, set.grid, options, set.offsets);
      const auto statuses = prepared.statuses();
      for (std::size_t i = 0; i < statuses.size(); ++i)
        if (!is_valid(statuses[i]))
          throw ArgumentError("lamf: training density " + std::to_string(i) + " cannot be used: " + describe(statuses[i]));
      masses.push_back(prepared.masses);
      points.push_back(prepared.points);
      spacing.push_back(prepared.spacing);
      scale.push_back(prepared.scale);
    }
    return optim::Samples<V, V, V, V>(concat(0, masses), concat(0, points), concat(0, spacing), concat(0, scale));
  }

  optim::Samples<V, V, V, V> samples_;
};

/// The mean loss of a batch, for optim::train.
struct LamfTrainingLoss {
  LamfLossOptions terms;
  Supervision supervision = Supervision::final_only;

  template <class Model, class Batch>
  auto operator()(const Model& model, const Batch& batch, const nn::Pass& pass) const {
    const auto outputs = model.trajectory(batch.input, pass);
    const std::vector<double> weights = supervision_weights(supervision, outputs.size());
    auto total = lamf_loss(batch.input, batch.target, outputs.back(), terms).total * weights.back();
    for (std::size_t t = 0; t + 1 < outputs.size(); ++t)
      if (weights[t] > 0.0) total = total + lamf_loss(batch.input, batch.target, outputs[t], terms).total * weights[t];
    return total;
  }
};

/// What one density's fit amounts to.
struct LamfScores {
  double divergence = 0;      ///< mean KL of the unnormalised masses
  double density_error = 0;   ///< mean over densities of max |f - g| at the grid points
  double median_error = 0;
  double share_below = 0;     ///< of densities with an error below 0.01
  double distribution_error = 0;  ///< mean over densities of the largest difference of running trapezoid sums
  double largest_error = 0;
};

/// Fits all samples and compares. Deterministic for any number of threads.
template <PlainTensor V>
LamfScores evaluate(const Lamf<V>& model, const LamfSamples<V>& samples, index_t chunk = 512) {
  const index_t n = samples.size();
  if (n == 0) throw ArgumentError("evaluate: no samples to fit");
  std::vector<double> errors(static_cast<std::size_t>(n)), divergences(errors), distributions(errors);
  const index_t chunks = divide_up(n, chunk);
  threads::parallel_for_backend<typename V::Backend>(chunks, [&](index_t c) {
    std::vector<index_t> indices;
    for (index_t i = c * chunk; i < smaller(n, (c + 1) * chunk); ++i) indices.push_back(i);
    const auto batch = samples.batch(indices);
    const std::vector<typename V::Scalar> log_density = row_log_density(batch.input.points, model(batch.input)).to_vector();
    const auto masses = batch.input.masses.to_vector(), density = batch.target.density.to_vector();
    const auto weight = batch.target.weight.to_vector(), scale = batch.scale.to_vector(), entropy = batch.target.entropy.to_vector();
    const std::size_t points = static_cast<std::size_t>(batch.input.masses.shape()[1]);
    for (std::size_t b = 0; b < indices.size(); ++b) {
      double largest = 0, cross_entropy = 0, grid_mass = 0, sum = 0, largest_sum = 0;
      for (std::size_t i = b * points; i < (b + 1) * points; ++i) {
        const double w = static_cast<double>(masses[i]), f = static_cast<double>(density[i]);
        const double g = std::exp(static_cast<double>(log_density[i]));
        const double error = std::abs(f - g) / static_cast<double>(scale[b]);
        largest = error > largest ? error : largest;
        cross_entropy -= w * static_cast<double>(log_density[i]);
        sum += w - g * static_cast<double>(weight[i]);
        grid_mass += g * static_cast<double>(weight[i]);
        largest_sum = std::abs(sum) > largest_sum ? std::abs(sum) : largest_sum;
      }
      const std::size_t row = static_cast<std::size_t>(indices[b]);
      errors[row] = largest;
      divergences[row] = cross_entropy - static_cast<double>(entropy[b]) + grid_mass - 1;
      distributions[row] = largest_sum;
    }
  });
  LamfScores scores;
  const double count = static_cast<double>(n);
  for (std::size_t i = 0; i < errors.size(); ++i) {
    scores.divergence += divergences[i] / count;
    scores.density_error += errors[i] / count;
    scores.distribution_error += distributions[i] / count;
    scores.share_below += errors[i] < 0.01 ? 1.0 / count : 0.0;
    scores.largest_error = errors[i] > scores.largest_error ? errors[i] : scores.largest_error;
  }
  std::nth_element(errors.begin(), errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2), errors.end());
  scores.median_error = errors[errors.size() / 2];
  return scores;
}

}  // namespace kolmo::gmm
