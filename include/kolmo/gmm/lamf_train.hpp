#pragma once
// Training of the learned fitters: prepared densities as a source of batches, and the loss of a batch with deep
// supervision and with weights that may change from epoch to epoch. lamf_scores.hpp judges the result.

#include <string>
#include <vector>

#include <kolmo/gmm/density_set.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/lamf_scores.hpp>
#include <kolmo/gmm/v5.hpp>

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
  v5,       ///< maxima of two normals alone
  broad,    ///< 70 % of these, 15 % with a wider range of deviations, 15 % random mixtures of two to five normals
  original  ///< maxima of two normals as the model card has them: not centred, and not always resolved by the grid
};

/// Densities of a law; centred and resolved by the grid, but for `original`. Throws ArgumentError for an impossible grid.
template <PlainTensor V>
std::vector<DensitySet<V>> training_densities(Key key, index_t count, TrainingLaw law, const Grid& grid) {
  V5Options v5 = V5Options::training();
  if (law == TrainingLaw::original) v5 = {};
  v5.grid = grid;
  if (law != TrainingLaw::broad) return {make_v5<V>(fold_in(key, 0), count, v5)};
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

/// A weight over the epochs: 0 until `first`, in a straight line to 1 at `last`, 1 from then on; always 1 when `last` is
/// 0.
struct Ramp {
  index_t first = 0;
  index_t last = 0;
  double operator()(index_t epoch) const {
    if (last == 0 || epoch >= last) return 1.0;
    if (epoch <= first) return 0.0;
    return static_cast<double>(epoch - first) / static_cast<double>(last - first);
  }
};

/// The mean loss of a batch, for optim::train: of the terms at full weight; at_epoch gives that of an epoch.
struct LamfTrainingLoss {
  LamfLossOptions terms;
  Supervision supervision = Supervision::final_only;
  index_t linear_from = 0;  ///< epoch from which supervision is linear; 0: never
  Ramp l2_ramp = {};        ///< multiplies terms.l2
  Ramp soft_max_ramp = {};  ///< multiplies terms.soft_max

  LamfTrainingLoss at_epoch(index_t epoch) const {
    LamfTrainingLoss result{terms, supervision};
    result.terms.l2 *= l2_ramp(epoch);
    result.terms.soft_max *= soft_max_ramp(epoch);
    if (linear_from > 0 && epoch >= linear_from) result.supervision = Supervision::linear;
    return result;
  }

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

}  // namespace kolmo::gmm
