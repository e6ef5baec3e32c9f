#pragma once
// Densities prepared once for training and validation of a learned fitter, as a source of batches.

#include <span>
#include <string>
#include <vector>

#include <kolmo/gmm/density_set.hpp>
#include <kolmo/gmm/lamf_loss.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/optim/samples.hpp>

namespace kolmo::gmm {

template <PlainTensor V>
class LamfSamples {
 public:
  /// Prepares every row of the sets as `preparation` says, for a model on its grid. Throws ArgumentError naming the first
  /// row that is not a density, and without any set.
  LamfSamples(const std::vector<DensitySet<V>>& sets, const PreprocessOptions& preparation)
      : samples_(prepare(sets, preparation)) {}
  /// In standardised coordinates.
  LamfSamples(const std::vector<DensitySet<V>>& sets, const Grid& grid) : LamfSamples(sets, standardised(grid)) {}
  LamfSamples(const DensitySet<V>& set, const Grid& grid) : LamfSamples(std::vector<DensitySet<V>>{set}, grid) {}

  index_t size() const { return samples_.size(); }

  /// A batch ready for the fitter and its losses.
  struct Batch {
    LamfInput<V> input;
    LamfTarget<V> target;
    V scale;  ///< [batch], units of the input per unit of the model's coordinates
  };

  Batch batch(std::span<const index_t> indices) const {
    const auto [masses, points, spacing, scale] = samples_.batch(indices);
    const LamfInput<V> input = lamf_input(masses, points, spacing);
    return {input, lamf_target(input, scale), scale};
  }

 private:
  static PreprocessOptions standardised(const Grid& grid) {
    PreprocessOptions options;
    options.grid = grid;
    options.scaling = Scaling::deviation;
    return options;
  }

  static optim::Samples<V, V, V, V> prepare(const std::vector<DensitySet<V>>& sets, const PreprocessOptions& options) {
    if (sets.empty()) throw ArgumentError("lamf: expected at least one set of training densities");
    std::vector<V> masses, points, spacing, scale;
    for (const DensitySet<V>& set : sets) {
      const Preprocessed<V> prepared = preprocess(set.densities, set.grid, options, set.offsets);
      const auto statuses = prepared.statuses();
      for (std::size_t i = 0; i < statuses.size(); ++i)
        if (!is_valid(statuses[i]))
          throw ArgumentError("lamf: training density " + std::to_string(i) +
                              " cannot be used: " + describe(statuses[i]));
      masses.push_back(prepared.masses);
      points.push_back(prepared.points);
      spacing.push_back(prepared.spacing);
      scale.push_back(prepared.scale);
    }
    return optim::Samples<V, V, V, V>(concat(0, masses), concat(0, points), concat(0, spacing), concat(0, scale));
  }

  optim::Samples<V, V, V, V> samples_;
};

}  // namespace kolmo::gmm
