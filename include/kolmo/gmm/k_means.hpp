#pragma once
// Weighted k-means: centres c_k that minimise sum_i w_i min_k |x_i - c_k|^2, by k-means++ and the iteration of Lloyd
// (1982), in which every point goes to its nearest centre and every centre to the mean of its points.

#include <kolmo/gmm/k_means_start.hpp>
#include <kolmo/gmm/status.hpp>

namespace kolmo::gmm {

struct KMeansOptions {
  /// Iterations of Lloyd's at most; with 0 the centres are those of k-means++.
  int max_iterations = 100;
  /// Stop when the centres move by less, root mean square, in deviations of the points.
  double tolerance = 1e-4;
  /// Measure distances in deviations of each coordinate, so that units do not matter. Otherwise they are Euclidean.
  bool standardise = false;
  /// Source of the starting centres.
  Key key{};
};

/// Centres and what they leave.
template <PlainTensor V>
struct KMeans {
  using Integers = Tensor<std::int32_t, typename V::Backend>;

  V centres;        ///< [K, D]
  Integers labels;  ///< [N], the nearest centre; the first on a tie
  /// sum_i w_i |x_i - c|^2 over the points and their nearest centres; in deviations if `standardise`
  double inertia = 0.0;
  int iterations = 0;
  Status status = Status::ok;  ///< or iteration_limit
};

namespace detail {

inline void check_k_means_options(const KMeansOptions& o, const char* operation) {
  if (o.max_iterations < 0 || !(o.tolerance >= 0.0))
    throw ArgumentError(std::string(operation) +
                        ": max_iterations and tolerance of k-means must not be negative or NaN, given " +
                        std::to_string(o.max_iterations) + " and " + std::to_string(o.tolerance));
}

template <PlainTensor V>
void check_components(index_t components, const SampleSet<V>& set) {
  if (components < 1 || components > 65535)
    throw ArgumentError(set.text("the number of components must be 1 to 65535, given " + std::to_string(components)));
  if (components > set.count())
    throw ArgumentError(set.text(std::to_string(components) + " components, but only " + std::to_string(set.count()) +
                                 " points; ask for fewer components"));
}

/// k-means in standard coordinates; centres as a mixture of unit normals of equal weights.
template <PlainTensor V>
struct Lloyd {
  HostMixture centres;
  int iterations = 0;
  Status status = Status::iteration_limit;
  std::vector<double> before;  ///< the centres before the last iteration, none of which lacks points

  Lloyd(SampleSet<V>& set, index_t components, const KMeansOptions& options)
      : centres(Covariance::spherical, components, set.dimensions()) {
    std::fill(centres.covariances.begin(), centres.covariances.end(), 1.0);
    std::fill(centres.weights.begin(), centres.weights.end(), 1.0);
    centres.means = KMeansStart<V>(set, options.key).centres(components);
    const MomentLayout layout{static_cast<int>(set.dimensions()), false};
    double least = 0.0;
    while (status != Status::ok && iterations < options.max_iterations) {
      const auto sums = set.run(centres, {.hard = true});
      // Each iteration lowers the distances, until nothing but rounding is left.
      const double inertia = -sums.values[0];
      if (iterations > 0 && !(inertia < least)) {
        status = Status::ok;
        break;
      }
      least = inertia;
      double moved = 0.0;
      bool empty = false;
      std::vector<double> next = sums.about;
      for (index_t k = 0; k < components; ++k) {
        const double* moment = sums.values.data() + 1 + k * layout.size();
        if (!(moment[0] > 0.0)) {
          empty = true;
          break;
        }
        for (index_t j = 0; j < set.dimensions(); ++j) {
          const double shift = moment[1 + j] / moment[0];
          next[static_cast<std::size_t>(k * set.dimensions() + j)] += shift;
          moved += shift * shift;
        }
      }
      // A centre without points would be lost; the centres before this iteration all had some.
      if (empty) {
        if (!before.empty()) centres.means = before;
        status = Status::ok;
        break;
      }
      before = centres.means;
      centres.means = next;
      ++iterations;
      if (moved <= options.tolerance * options.tolerance * static_cast<double>(components)) status = Status::ok;
    }
  }
};

}  // namespace detail

/// Clusters points [N, D] with weights [N], if given. Deterministic for a key. Throws ShapeError, or ArgumentError for
/// rows that are no points, negative weights, and more centres than different points.
template <PlainTensor V>
KMeans<V> k_means(const V& points, index_t components, const KMeansOptions& options = {},
                  const std::optional<std::type_identity_t<V>>& weights = std::nullopt) {
  detail::check_k_means_options(options, "k_means");
  detail::SampleSet<V> set(points, weights, "k_means");
  detail::check_components(components, set);
  set.standardise(!options.standardise);
  detail::Lloyd<V> lloyd(set, components, options);
  KMeans<V> result;
  result.labels = KMeans<V>::Integers::uninitialized(Shape{set.count()});
  const auto sums = set.run(lloyd.centres, {.hard = true, .labels = result.labels.mutable_data()});
  const double scale = options.standardise ? 1.0 : set.coordinates().scale[0];
  // The scores are -|x - c|^2 / 2 in standard coordinates.
  result.inertia = larger(0.0, -2.0 * sums.values[0]) / (scale * scale);
  lloyd.centres.convert(set.coordinates(), false);
  std::vector<typename V::Scalar> centres;
  for (const double x : lloyd.centres.means) centres.push_back(static_cast<typename V::Scalar>(x));
  result.centres = V::from(std::span<const typename V::Scalar>(centres), Shape{components, set.dimensions()});
  result.iterations = lloyd.iterations;
  result.status = options.max_iterations == 0 ? Status::ok : lloyd.status;
  return result;
}

}  // namespace kolmo::gmm
