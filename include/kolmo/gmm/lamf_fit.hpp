#pragma once
// The learned fitter as a user calls it: densities on their own grid in, mixtures in their own coordinates out.
//
//   const auto model = load_lamf<Tensor<float, Cpu>>("lamf_v5.safetensors");
//   const auto report = fit(model, densities, Grid{0.0, 20.0, 200});
//
// Every density is brought to the model's grid (preprocess.hpp), goes through the networks, and the mixture
// comes back to its units; fit for EM in em_fit.hpp has the same form and returns the same report.

#include <filesystem>
#include <string>

#include <kolmo/gmm/lamf.hpp>
#include <kolmo/gmm/learned_fit.hpp>
#include <kolmo/io/tree.hpp>

namespace kolmo::gmm {

/// How densities are prepared for a model, in training and in fitting.
inline PreprocessOptions lamf_preparation(const LamfOptions& model, const FitOptions& options = {}) {
  PreprocessOptions preparation = model_preparation(model);
  preparation.resampling = options.resampling;
  preparation.negative_tolerance = options.negative_tolerance;
  preparation.most_mass_lost = options.most_mass_lost;
  return preparation;
}

namespace detail {

/// `Points` is a Grid or a span of points.
template <PlainTensor V, class Init, class Points>
struct FitLamfChunk {
  const Lamf<V, Init>& model;
  const FitOptions& options;
  const Points& points;

  FittedChunk<V> operator()(const V& densities, const std::optional<V>& offsets) const {
    using T = typename V::Scalar;
    FittedChunk<V> fitted;
    fitted.prepared = prepare_rows(densities, points, lamf_preparation(model.options, options), offsets);
    fitted.mixture = to_mixture(model(lamf_input(fitted.prepared)));
    fitted.common_iterations = model.options.iterations;
    // The measures of an unusual density are those of standardised coordinates.
    if (!model.options.standardised()) return fitted;
    fitted.warnings = FittedChunk<V>::Integers::uninitialized(Shape{densities.extent(0)});
    kolmo::detail::for_each_item<typename V::Backend>(
        densities.extent(0), UnusualItem<T>{fitted.prepared.masses.data(), fitted.prepared.points.data(),
                                            fitted.prepared.spacing.data(), fitted.prepared.mass_lost.data(),
                                            model.options.points, options.usual, fitted.warnings.mutable_data()});
    return fitted;
  }
};

struct ConvertScalar {
  template <class To, class From>
  static To tensor(const From& x) {
    const auto values = x.to_vector();
    return To::from(std::vector<typename To::Scalar>(values.begin(), values.end())).reshaped(x.shape());
  }
};

}  // namespace detail

/// Fits densities [batch, n] (or [n]) sampled at the points of `grid`, any number from 3 up; `offsets` [batch], if
/// given, moves the grid row by row. Values need not be normalised. The model's mixtures are polished against the density
/// at its own points (FitOptions::polish), and where that does not help, EM tries (FitOptions::refit_above). A row that is
/// no density gets a status and does not disturb the others. The model is not changed, so that threads may share it.
/// Throws ShapeError or ArgumentError when the arguments do not fit each other.
template <PlainTensor V, class Init>
FitReport<V> fit(const Lamf<V, Init>& model, const V& densities, const Grid& grid, const FitOptions& options = {},
                 const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  return detail::fit_learned(densities, grid, model.options.components, options, std::optional<V>(offsets),
                             detail::FitLamfChunk<V, Init, Grid>{model, options, grid});
}

/// The same for densities sampled at increasing points of any spacing. Throws ArgumentError also when the points are not
/// finite and strictly increasing.
template <PlainTensor V, class Init>
FitReport<V> fit(const Lamf<V, Init>& model, const V& densities, std::span<const double> points,
                 const FitOptions& options = {}) {
  return detail::fit_learned(densities, points, model.options.components, options, std::optional<V>{},
                             detail::FitLamfChunk<V, Init, std::span<const double>>{model, options, points});
}

/// Reads a model that io::save_model wrote; a model in the other precision is converted. Throws IoError when the
/// file cannot be read, is damaged, or holds something else.
template <PlainTensor V>
Lamf<V> load_lamf(const std::filesystem::path& path) {
  using T = typename V::Scalar;
  using Other = Tensor<std::conditional_t<std::is_same_v<T, float>, double, float>, typename V::Backend>;
  const io::NamedArrays arrays = io::load_safetensors(path);
  const auto stored = arrays.arrays.empty() ? io::dtype_of<T> : arrays.arrays.front().second.dtype;
  if (stored != io::dtype_of<typename Other::Scalar>) return io::model_from_arrays<Lamf<V>>(arrays, path.string());
  const auto other = io::model_from_arrays<Lamf<Other>>(arrays, path.string());
  return rebind<V>(other,
                   [](const std::string&, FieldKind, const Other& x) { return detail::ConvertScalar::tensor<V>(x); });
}

/// The same for a program that needs a certain number of components; throws ArgumentError naming both numbers.
template <PlainTensor V>
Lamf<V> load_lamf(const std::filesystem::path& path, index_t components) {
  Lamf<V> model = load_lamf<V>(path);
  if (model.options.components != components)
    throw ArgumentError("the model " + path.string() + " fits " + std::to_string(model.options.components) +
                        " components, but " + std::to_string(components) + " were asked for");
  return model;
}

}  // namespace kolmo::gmm
