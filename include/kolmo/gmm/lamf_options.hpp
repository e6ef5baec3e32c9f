#pragma once
// Sizes, bounds and coordinates of the learned fitter. They are stored with its weights; those that came later than the
// first files have in `fields` the text that their absence means.

#include <cmath>
#include <string>

#include <kolmo/ad/module.hpp>
#include <kolmo/gmm/lamf_kernels.hpp>
#include <kolmo/gmm/preprocess.hpp>
#include <kolmo/nn/transformer.hpp>

namespace kolmo::gmm {

/// Largest number of grid points of a fitter.
inline constexpr index_t max_points = index_t{1} << 24;

/// The coordinates in which a fitter sees a density.
enum class Coordinates {
  standardised,  ///< (z - mean) / sd: fits commute with shifts and changes of unit
  relative,      ///< z - mean, in the units of the input
  absolute,      ///< z as it is: fits depend on where the density lies on the model's grid
};

/// What the networks read.
enum class LamfFeatures {
  /// Beside the features of `card`: where the mean lies within its cell and the resolution; and per component, instead
  /// of the mean and deviation of the density, its third and fourth moments and the deviation floor.
  extended,
  /// Masses, their logarithms and running sums; 11 numbers per component: log weight, mean, log deviation, n, m, log v,
  /// the three steps that EM would take, mean and deviation of the density.
  card,
};

/// The defaults of the sizes are those of the model card.
struct LamfOptions {
  index_t points = 96;
  index_t components = 5;
  index_t iterations = 6;
  index_t init_width = 256;
  index_t init_layers = 3;
  index_t refine_width = 128;
  index_t refine_layers = 2;
  double dropout = 0.0;            ///< in the initial network, while training
  double deviation_floor = 0.5;    ///< in grid spacings; not standardised: in units of the input
  double deviation_largest = 3.0;  ///< in standard deviations of the density; not standardised: in units of the input
  double correction_scale = 0.5;
  Coordinates coordinates = Coordinates::standardised;
  LamfFeatures features = LamfFeatures::extended;
  double first_point = -15.0;  ///< of the model's grid, whose units only matter when not standardised
  double last_point = 15.0;
  double least_weight = 0.0;         ///< of a component after the initial network
  bool share_refine_weights = true;  ///< one update network for all iterations
  bool share_blend = false;          ///< one temperature and one blend for all iterations
  bool ordered = true;               ///< sort the means after every iteration, not only after the last
  nn::Positions positions = nn::Positions::sinusoidal;  ///< of a PointNetwork; its further sizes below
  index_t encoder_layers = 2;
  index_t heads = 4;

  static void fields(auto&& f, auto&... s) {
    f(option("points"), s.points...);
    f(option("components"), s.components...);
    f(option("iterations"), s.iterations...);
    f(option("init_width"), s.init_width...);
    f(option("init_layers"), s.init_layers...);
    f(option("refine_width"), s.refine_width...);
    f(option("refine_layers"), s.refine_layers...);
    f(option("dropout"), s.dropout...);
    f(option("deviation_floor"), s.deviation_floor...);
    f(option("deviation_largest"), s.deviation_largest...);
    f(option("correction_scale"), s.correction_scale...);
    f(option("coordinates", "0"), s.coordinates...);
    f(option("features", "0"), s.features...);
    f(option("first_point", "-15"), s.first_point...);
    f(option("last_point", "15"), s.last_point...);
    f(option("least_weight", "0"), s.least_weight...);
    f(option("share_refine_weights", "1"), s.share_refine_weights...);
    f(option("share_blend", "0"), s.share_blend...);
    f(option("ordered", "1"), s.ordered...);
    f(option("positions", "1"), s.positions...);
    f(option("encoder_layers", "2"), s.encoder_layers...);
    f(option("heads", "4"), s.heads...);
  }

  bool standardised() const { return coordinates == Coordinates::standardised; }
  /// The deviation floor in the model's coordinates of a density with this spacing.
  double floor(double spacing) const { return standardised() ? deviation_floor * spacing : deviation_floor; }
  /// Networks and scalars that differ between iterations.
  index_t update_networks() const { return share_refine_weights ? 1 : iterations; }
  index_t blends() const { return share_blend ? 1 : iterations; }

  /// Throws ArgumentError for sizes and bounds that make no model.
  void validate() const {
    if (points < 3 || points > max_points || components < 1 || components > max_components || iterations < 0 ||
        iterations > 65536 || init_layers < 1 || refine_layers < 1)
      throw ArgumentError("lamf: expected at least 3 points, 1 to " + std::to_string(max_components) +
                          " components, 0 or more iterations and at least one hidden layer, given " +
                          std::to_string(points) + " points, " + std::to_string(components) + " components, " +
                          std::to_string(iterations) + " iterations");
    if (!(deviation_floor > 0) || !(deviation_largest > 0) || !(correction_scale >= 0))
      throw ArgumentError(
          "lamf: deviation_floor and deviation_largest must be positive, correction_scale not negative");
    if (!standardised() && !(deviation_floor < deviation_largest))
      throw ArgumentError("lamf: deviation_floor " + std::to_string(deviation_floor) +
                          " must be below deviation_largest " + std::to_string(deviation_largest));
    if (!(last_point > first_point) || !is_finite(first_point) || !is_finite(last_point))
      throw ArgumentError("lamf: the grid from " + std::to_string(first_point) + " to " + std::to_string(last_point) +
                          " is none");
    if (!(least_weight >= 0) || !(least_weight * static_cast<double>(components) < 1))
      throw ArgumentError("lamf: " + std::to_string(components) + " weights of at least " +
                          std::to_string(least_weight) + " do not sum to one");
  }
};

/// The grid that a model reads prepared densities on. In standardised coordinates only its number of points and the
/// position of its middle matter.
inline Grid lamf_grid(const LamfOptions& options) { return {options.first_point, options.last_point, options.points}; }

/// How densities are prepared for a model, in training and in fitting.
inline PreprocessOptions model_preparation(const LamfOptions& model) {
  PreprocessOptions preparation;
  preparation.grid = lamf_grid(model);
  preparation.scaling = model.standardised() ? Scaling::deviation : Scaling::none;
  preparation.centred = model.coordinates != Coordinates::absolute;
  return preparation;
}

}  // namespace kolmo::gmm
