#pragma once
// The parameters of a mixture in D dimensions on the host, in double precision, and what the EM of samples does with
// them between two passes over the points. StandardCoordinates are standardised, x' = (x - centre) * scale, so that
// floors and tolerances mean the same in any unit.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <kolmo/core/shape.hpp>
#include <kolmo/error.hpp>
#include <kolmo/gmm/sample_tile.hpp>
#include <kolmo/gmm/small_matrix.hpp>

namespace kolmo::gmm {

/// What the covariances of the components may be.
enum class Covariance : std::int32_t {
  full = 0,       ///< any, one for each component: [K, D, D]
  diagonal = 1,   ///< the variance of every coordinate: [K, D]
  tied = 2,       ///< any, one for all components: [D, D]
  spherical = 3,  ///< one variance for each component: [K]
};

namespace detail {

/// Whether whole matrices are needed.
inline bool is_whole(Covariance kind) { return kind == Covariance::full || kind == Covariance::tied; }

inline Shape covariance_shape(Covariance kind, index_t components, index_t dimensions) {
  switch (kind) {
    case Covariance::diagonal:
      return {components, dimensions};
    case Covariance::tied:
      return {dimensions, dimensions};
    case Covariance::spherical:
      return {components};
    default:
      return {components, dimensions, dimensions};
  }
}

inline constexpr double half_log_two_pi = 0.91893853320467274178;

/// Standardised coordinates.
struct StandardCoordinates {
  std::vector<double> centre, scale;

  double log_scale() const {
    double sum = 0.0;
    for (const double s : scale) sum += std::log(s);
    return sum;
  }
};

struct HostMixture {
  Covariance kind = Covariance::full;
  index_t components = 0, dimensions = 0;
  std::vector<double> weights, means, covariances;

  HostMixture(Covariance covariance, index_t k, index_t d)
      : kind(covariance),
        components(k),
        dimensions(d),
        weights(static_cast<std::size_t>(k), 1.0 / static_cast<double>(k)),
        means(static_cast<std::size_t>(k * d)),
        covariances(static_cast<std::size_t>(covariance_shape(covariance, k, d).size())) {}

  double& mean(index_t k, index_t j) { return means[static_cast<std::size_t>(k * dimensions + j)]; }
  double mean(index_t k, index_t j) const { return means[static_cast<std::size_t>(k * dimensions + j)]; }

  /// The variance of coordinate j in component k.
  double variance_of(index_t k, index_t j) const {
    const index_t d = dimensions;
    return covariances[static_cast<std::size_t>(kind == Covariance::full       ? (k * d + j) * d + j
                                                : kind == Covariance::tied     ? j * d + j
                                                : kind == Covariance::diagonal ? k * d + j
                                                                               : k)];
  }

  /// The covariance of component k as a matrix [D, D].
  std::vector<double> matrix(index_t k) const {
    const index_t d = dimensions;
    std::vector<double> result(static_cast<std::size_t>(d * d), 0.0);
    if (is_whole(kind)) {
      const auto from = covariances.begin() + (kind == Covariance::full ? k * d * d : 0);
      std::copy(from, from + d * d, result.begin());
    } else {
      for (index_t j = 0; j < d; ++j) result[static_cast<std::size_t>(j * d + j)] = variance_of(k, j);
    }
    return result;
  }

  /// The lower factor of the covariance of component k [D, D]. Throws ArgumentError where there is none.
  void factor(index_t k, double* lower) const {
    if (!cholesky_lower(matrix(k).data(), dimensions, lower))
      throw ArgumentError("normal mixture: the covariance of component " + std::to_string(k) +
                          " is not positive definite; raise its diagonal");
  }

  /// StandardCoordinates in which the whole mixture has mean 0 and variance 1, or for spherical covariances variance 1
  /// on average.
  StandardCoordinates natural_coordinates() const {
    const auto d = static_cast<std::size_t>(dimensions);
    StandardCoordinates result{std::vector<double>(d, 0.0), std::vector<double>(d, 1.0)};
    double total = 0.0, trace = 0.0;
    for (const double w : weights) total += w;
    for (index_t j = 0; j < dimensions; ++j) {
      double centre = 0.0, variance = 0.0;
      for (index_t k = 0; k < components; ++k) centre += weights[static_cast<std::size_t>(k)] / total * mean(k, j);
      for (index_t k = 0; k < components; ++k) {
        const double shift = mean(k, j) - centre;
        variance += weights[static_cast<std::size_t>(k)] / total * (variance_of(k, j) + shift * shift);
      }
      result.centre[static_cast<std::size_t>(j)] = centre;
      trace += variance / static_cast<double>(dimensions);
      if (variance > 0.0) result.scale[static_cast<std::size_t>(j)] = 1.0 / std::sqrt(variance);
    }
    if (kind == Covariance::spherical && trace > 0.0)
      std::fill(result.scale.begin(), result.scale.end(), 1.0 / std::sqrt(trace));
    return result;
  }

  /// Between the coordinates of the points and standardised ones. A spherical covariance needs one scale for all.
  void convert(const StandardCoordinates& to, bool standardise) {
    const index_t d = dimensions;
    const auto factor = [&](index_t j) {
      const double s = to.scale[static_cast<std::size_t>(j)];
      return standardise ? s : 1.0 / s;
    };
    for (index_t k = 0; k < components; ++k)
      for (index_t j = 0; j < d; ++j) {
        const double centre = to.centre[static_cast<std::size_t>(j)];
        mean(k, j) = standardise ? (mean(k, j) - centre) * factor(j) : mean(k, j) * factor(j) + centre;
      }
    for (std::size_t i = 0; i < covariances.size(); ++i) {
      const auto at = static_cast<index_t>(i);
      const double f = is_whole(kind)                 ? factor(at / d % d) * factor(at % d)
                       : kind == Covariance::diagonal ? factor(at % d) * factor(at % d)
                                                      : factor(0) * factor(0);
      covariances[i] *= f;
    }
  }

  /// What the tiles read; log densities come out for the coordinates of the points. Throws ArgumentError where a
  /// covariance is not positive definite.
  template <class T>
  std::vector<T> tile_parameters(double log_scale) const {
    const index_t d = dimensions;
    const auto whole = is_whole(kind);
    const ComponentLayout layout{static_cast<int>(d), whole};
    std::vector<T> result(static_cast<std::size_t>(components * layout.size()), T(0));
    std::vector<double> lower(static_cast<std::size_t>(d * d)), inverse(lower);
    for (index_t k = 0; k < components; ++k) {
      if (k == 0 || kind != Covariance::tied) {
        factor(k, lower.data());
        invert_lower(lower.data(), d, inverse.data());
      }
      T* target = result.data() + k * layout.size();
      double constant = std::log(std::max(weights[static_cast<std::size_t>(k)], 1e-300)) + log_scale -
                        half_log_two_pi * static_cast<double>(d);
      for (index_t i = 0; i < d; ++i) {
        constant -= std::log(lower[static_cast<std::size_t>(i * d + i)]);
        target[1 + i] = static_cast<T>(mean(k, i));
        double offset = 0.0;
        for (index_t j = 0; j <= i; ++j) {
          const double w = inverse[static_cast<std::size_t>(i * d + j)];
          offset -= w * mean(k, j);
          if (whole) target[1 + 2 * d + j * d + i] = static_cast<T>(w);
        }
        target[1 + d + i] = static_cast<T>(whole ? offset : inverse[static_cast<std::size_t>(i * d + i)]);
      }
      target[0] = static_cast<T>(constant);
    }
    return result;
  }

  /// The M-step: weights, means and covariances of the sums over the points, which are about the means `about` [K, D]
  /// as the tiles knew them. Returns the number of covariances raised to the floor. A component without mass keeps
  /// mean and covariance, with weight zero.
  int maximise(const std::vector<double>& sums, const std::vector<double>& about, bool whole_moments, double floor) {
    const index_t d = dimensions;
    const MomentLayout layout{static_cast<int>(d), whole_moments};
    double total = 0.0;
    for (index_t k = 0; k < components; ++k) total += sums[static_cast<std::size_t>(1 + k * layout.size())];
    if (kind == Covariance::tied) std::fill(covariances.begin(), covariances.end(), 0.0);
    int floored = 0;
    std::vector<double> matrix(static_cast<std::size_t>(d * d));
    for (index_t k = 0; k < components; ++k) {
      const double* moment = sums.data() + 1 + k * layout.size();
      const double mass = moment[0];
      weights[static_cast<std::size_t>(k)] = mass / total;
      if (!(mass > 1e-14 * total)) continue;
      const double* first = moment + 1;
      const double* second = first + d;
      for (index_t i = 0; i < d; ++i) {
        mean(k, i) = about[static_cast<std::size_t>(k * d + i)] + first[i] / mass;
        for (index_t j = 0; j <= i; ++j) {
          if (!whole_moments && j < i) continue;
          const double value = whole_moments ? second[i * (i + 1) / 2 + j] : second[i];
          matrix[static_cast<std::size_t>(i * d + j)] = matrix[static_cast<std::size_t>(j * d + i)] =
              value / mass - first[i] / mass * (first[j] / mass);
        }
      }
      floored += take(k, matrix, mass / total, floor);
    }
    if (kind == Covariance::tied) floored += raise_eigenvalues(covariances.data(), d, floor) ? 1 : 0;
    return floored;
  }

  /// Components in order of their means, the first coordinate first.
  void sort() {
    std::vector<index_t> order;
    for (index_t k = 0; k < components; ++k) order.push_back(k);
    const index_t d = dimensions;
    std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) {
      return std::lexicographical_compare(means.begin() + a * d, means.begin() + (a + 1) * d, means.begin() + b * d,
                                          means.begin() + (b + 1) * d);
    });
    const auto reorder = [&](std::vector<double>& values) {
      const index_t size = static_cast<index_t>(values.size()) / components;
      const std::vector<double> before = values;
      for (index_t k = 0; k < components; ++k)
        std::copy(before.begin() + order[static_cast<std::size_t>(k)] * size,
                  before.begin() + (order[static_cast<std::size_t>(k)] + 1) * size, values.begin() + k * size);
    };
    reorder(weights);
    reorder(means);
    if (kind != Covariance::tied) reorder(covariances);
  }

 private:
  /// Stores the covariance of component k in the form there is; 1 if it was raised to the floor.
  int take(index_t k, std::vector<double>& matrix, double weight, double floor) {
    const index_t d = dimensions;
    if (kind == Covariance::full) {
      const bool raised = raise_eigenvalues(matrix.data(), d, floor);
      std::copy(matrix.begin(), matrix.end(), covariances.begin() + k * d * d);
      return raised ? 1 : 0;
    }
    if (kind == Covariance::tied) {
      for (std::size_t i = 0; i < matrix.size(); ++i) covariances[i] += weight * matrix[i];
      return 0;
    }
    bool raised = false;
    double trace = 0.0;
    for (index_t j = 0; j < d; ++j) {
      const double variance = matrix[static_cast<std::size_t>(j * d + j)];
      trace += variance;
      if (kind == Covariance::spherical) continue;
      raised = raised || variance < floor;
      covariances[static_cast<std::size_t>(k * d + j)] = std::max(variance, floor);
    }
    if (kind == Covariance::spherical) {
      const double variance = trace / static_cast<double>(d);
      raised = variance < floor;
      covariances[static_cast<std::size_t>(k)] = std::max(variance, floor);
    }
    return raised ? 1 : 0;
  }
};

}  // namespace detail
}  // namespace kolmo::gmm
