#pragma once
// The mixture density network as a user calls it: densities on their own grid in, mixtures in their own coordinates out,
// with the report that every fitter gives.
//
//   const auto model = load_mdn<Tensor<float, Cpu>>("mdn_v5.safetensors");
//   const auto report = fit(model, densities, Grid{0.0, 20.0, 200});

#include <filesystem>

#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/mdn.hpp>

namespace kolmo::gmm {

namespace detail {

/// Sorts the components of a row by mean, then by weight (the larger first), then by deviation.
template <class T>
struct SortComponentsItem {
  T* weights;
  T* means;
  T* deviations;
  int components;

  KOLMO_HD bool before(index_t a, index_t b) const {
    if (means[a] != means[b]) return means[a] < means[b];
    if (weights[a] != weights[b]) return weights[a] > weights[b];
    return deviations[a] < deviations[b];
  }
  KOLMO_HD static void exchange(T* values, index_t a, index_t b) {
    const T kept = values[a];
    values[a] = values[b];
    values[b] = kept;
  }
  KOLMO_HD void operator()(index_t item) const {
    const index_t first = item * components;
    for (index_t k = 1; k < components; ++k)
      for (index_t j = first + k; j > first && before(j, j - 1); --j) {
        exchange(weights, j, j - 1);
        exchange(means, j, j - 1);
        exchange(deviations, j, j - 1);
      }
  }
};

/// `Points` is a Grid or a span of points.
template <PlainTensor V, class Points>
struct FitMdnChunk {
  const Mdn<V>& model;
  const FitOptions& options;
  const Points& points;

  FittedChunk<V> operator()(const V& densities, const std::optional<V>& offsets) const {
    using T = typename V::Scalar;
    PreprocessOptions preparation = model_preparation(model.options);
    preparation.resampling = options.resampling;
    preparation.negative_tolerance = options.negative_tolerance;
    preparation.most_mass_lost = options.most_mass_lost;
    FittedChunk<V> fitted;
    fitted.prepared = prepare_rows(densities, points, preparation, offsets);
    fitted.mixture = to_mixture(model(lamf_input(fitted.prepared)));
    const index_t rows = densities.extent(0);
    kolmo::detail::for_each_item<typename V::Backend>(
        rows,
        SortComponentsItem<T>{fitted.mixture.weights.mutable_data(), fitted.mixture.means.mutable_data(),
                              fitted.mixture.deviations.mutable_data(), static_cast<int>(model.options.components)});
    fitted.common_iterations = 1;
    fitted.warnings = FittedChunk<V>::Integers::uninitialized(Shape{rows});
    kolmo::detail::for_each_item<typename V::Backend>(
        rows, UnusualItem<T>{fitted.prepared.masses.data(), fitted.prepared.points.data(),
                             fitted.prepared.spacing.data(), fitted.prepared.mass_lost.data(), model.options.points,
                             options.usual, fitted.warnings.mutable_data()});
    return fitted;
  }
};

}  // namespace detail

/// Fits densities [batch, n] (or [n]) sampled at the points of `grid`, moved by `offsets` [batch] row by row if given.
/// Like every learned fit it is polished (FitOptions::polish). A row that is no density gets a status and does not disturb
/// the others. Throws ShapeError or ArgumentError when the arguments do not fit each other.
template <PlainTensor V>
FitReport<V> fit(const Mdn<V>& model, const V& densities, const Grid& grid, const FitOptions& options = {},
                 const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  return detail::fit_learned(densities, grid, model.options.components, options, std::optional<V>(offsets),
                             detail::FitMdnChunk<V, Grid>{model, options, grid});
}

/// The same for densities sampled at increasing points of any spacing.
template <PlainTensor V>
FitReport<V> fit(const Mdn<V>& model, const V& densities, std::span<const double> points,
                 const FitOptions& options = {}) {
  return detail::fit_learned(densities, points, model.options.components, options, std::optional<V>{},
                             detail::FitMdnChunk<V, std::span<const double>>{model, options, points});
}

/// Reads a network that io::save_model wrote. Throws IoError when the file cannot be read, is damaged, or holds
/// something else.
template <PlainTensor V>
Mdn<V> load_mdn(const std::filesystem::path& path) {
  return io::load_model<Mdn<V>>(path);
}

/// The same for a program that needs a certain number of components; throws ArgumentError naming both numbers.
template <PlainTensor V>
Mdn<V> load_mdn(const std::filesystem::path& path, index_t components) {
  Mdn<V> model = load_mdn<V>(path);
  if (model.options.components != components)
    throw ArgumentError("the model " + path.string() + " fits " + std::to_string(model.options.components) +
                        " components, but " + std::to_string(components) + " were asked for");
  return model;
}

}  // namespace kolmo::gmm
