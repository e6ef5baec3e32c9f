#pragma once
// Mixtures of normals from weighted points in D dimensions by expectation-maximisation (Dempster, Laird, Rubin 1977),
// which maximises
//
//   sum_i w_i log sum_k pi_k N(x_i; m_k, S_k)
//
// from k-means starts. One pass over the points gives the shares of the components and the sums of the M-step (see
// gmm/sample_tile.hpp); the few parameters are updated on the host in double precision, for points in float too.
//
// The likelihood has no bound where a component may shrink onto a point or a plane. So no covariance gets narrower, in
// any direction, than a part of the variance of all points: in coordinates of deviation one, eigenvalues are at least
// `covariance_floor`. That is the exact maximum under this bound, so the likelihood still never falls, and covariances
// away from the bound are not changed at all; nothing is added to diagonals.

#include <functional>

#include <kolmo/gmm/k_means.hpp>
#include <kolmo/gmm/normal_mixture.hpp>

namespace kolmo::gmm {

/// Where a fit is.
struct SampleFitProgress {
  int start = 0;
  int iteration = 0;
  double mean_log_density = 0.0;
};

struct SampleFitOptions {
  Covariance covariance = Covariance::full;
  int max_iterations = 500;
  /// Stop when the mean log density changes by less.
  double tolerance = 1e-6;
  /// Least variance in any direction, as a part of the variance of all points: of each coordinate, or for spherical
  /// covariances of the average one. A coordinate that does not vary counts as one of variance 1.
  double covariance_floor = 1e-6;
  /// Number of k-means starts, each with its own random numbers; the one with the largest likelihood wins.
  int starts = 1;
  /// Source of the random numbers.
  Key key{};
  /// Iterations of k-means for a start.
  int k_means_iterations = 50;
  /// Called after every pass over the points, if given.
  std::function<void(const SampleFitProgress&)> on_iteration{};
};

/// A fit in the coordinates of the points.
template <PlainTensor V>
struct SampleFit {
  NormalMixture<V> mixture;    ///< components in order of their means, or of the given start
  SampleScore score;           ///< of the returned parameters, with bic() and aic()
  int iterations = 0;          ///< parameter updates of the start that won
  int start = 0;               ///< which one that was
  int floored = 0;             ///< covariances that lie on the floor: clusters of equal points, or too many components
  Status status = Status::ok;  ///< or iteration_limit: the tolerance was not met
};

namespace detail {

inline void check_sample_options(const SampleFitOptions& o) {
  if (o.max_iterations < 0 || o.starts < 1 || o.k_means_iterations < 0)
    throw ArgumentError("fit_samples: iterations must not be negative and starts must be at least 1, given " +
                        std::to_string(o.max_iterations) + ", " + std::to_string(o.k_means_iterations) + " and " +
                        std::to_string(o.starts));
  if (!(o.tolerance >= 0.0)) throw ArgumentError("fit_samples: the tolerance must not be negative or NaN");
  if (!(o.covariance_floor > 0.0) || !(o.covariance_floor <= 1.0))
    throw ArgumentError(
        "fit_samples: the covariance floor is a part of the variance of the points, above 0 and at most 1");
}

/// One run of EM in standard coordinates.
template <PlainTensor V>
class SampleEm {
 public:
  HostMixture mixture;
  double log_density = 0.0;  // mean
  int iterations = 0;
  int floored = 0;
  Status status = Status::iteration_limit;

  SampleEm(SampleSet<V>& set, HostMixture from, const SampleFitOptions& options, int start) : mixture(std::move(from)) {
    const bool whole = is_whole(mixture.kind);
    double previous = 0.0;
    for (;;) {
      const auto sums = set.run(mixture, {.whole_moments = whole});
      log_density = sums.values[0] / set.total();
      if (!is_finite(log_density))
        throw ArgumentError(set.text("the densities overflow; the points span too many orders of magnitude"));
      if (options.on_iteration) options.on_iteration({start, iterations, log_density});
      if (iterations > 0 && std::abs(log_density - previous) < options.tolerance) {
        status = Status::ok;
        return;
      }
      if (iterations == options.max_iterations) return;
      previous = log_density;
      floored = mixture.maximise(sums.values, sums.about, whole, options.covariance_floor);
      ++iterations;
    }
  }
};

/// The M-step of a k-means clustering.
template <PlainTensor V>
HostMixture k_means_mixture(SampleSet<V>& set, index_t components, const SampleFitOptions& options, Key key) {
  Lloyd<V> lloyd(set, components, {.max_iterations = options.k_means_iterations, .key = key});
  HostMixture result(options.covariance, components, set.dimensions());
  const bool whole = is_whole(options.covariance);
  const MomentLayout layout{static_cast<int>(set.dimensions()), whole};
  auto sums = set.run(lloyd.centres, {.whole_moments = whole, .hard = true});
  for (index_t k = 0; k < components; ++k) {
    if (sums.values[static_cast<std::size_t>(1 + k * layout.size())] > 0.0) continue;
    // The last move took a centre's last point away.
    lloyd.centres.means = lloyd.before;
    sums = set.run(lloyd.centres, {.whole_moments = whole, .hard = true});
    break;
  }
  result.maximise(sums.values, sums.about, whole, options.covariance_floor);
  return result;
}

template <PlainTensor V>
SampleFit<V> finish_fit(const SampleSet<V>& set, SampleEm<V> em, int start) {
  SampleFit<V> fit;
  em.mixture.convert(set.coordinates(), false);
  fit.mixture = from_host<V>(em.mixture);
  fit.score = {em.log_density, set.total(), parameter_count(fit.mixture)};
  fit.iterations = em.iterations;
  fit.start = start;
  fit.floored = em.floored;
  fit.status = em.status;
  return fit;
}

template <PlainTensor V>
SampleFit<V> fit_samples(SampleSet<V>& set, index_t components, const SampleFitOptions& options) {
  check_components(components, set);
  std::optional<SampleEm<V>> best;
  int winner = 0;
  for (int start = 0; start < options.starts; ++start) {
    const Key key = fold_in(options.key, static_cast<std::uint64_t>(start));
    SampleEm<V> em(set, k_means_mixture(set, components, options, key), options, start);
    if (best.has_value() && !(em.log_density > best->log_density)) continue;
    best = std::move(em);
    winner = start;
  }
  best->mixture.sort();
  return finish_fit(set, std::move(*best), winner);
}

}  // namespace detail

/// Fits a mixture of `components` normals to points [N, D] with weights [N], if given, from k-means starts. A weight
/// counts as so many equal points. Deterministic for a key, with the same bits for any number of threads. Throws
/// ShapeError; ArgumentError for impossible options, a point that is not finite or a bad weight (with its row), and
/// more components than different points.
template <PlainTensor V>
SampleFit<V> fit_samples(const V& points, index_t components, const SampleFitOptions& options = {},
                         const std::optional<std::type_identity_t<V>>& weights = std::nullopt) {
  detail::check_sample_options(options);
  detail::SampleSet<V> set(points, weights, "fit_samples");
  set.standardise(options.covariance == Covariance::spherical);
  return detail::fit_samples(set, components, options);
}

/// The same from a given start, whose kind of covariance is kept and whose weights are normalised.
template <PlainTensor V>
SampleFit<V> fit_samples(const V& points, const NormalMixture<V>& start, const SampleFitOptions& options = {},
                         const std::optional<std::type_identity_t<V>>& weights = std::nullopt) {
  detail::check_sample_options(options);
  detail::check_sample_points(start, points.shape(), "fit_samples");
  detail::SampleSet<V> set(points, weights, "fit_samples");
  set.standardise(start.covariance == Covariance::spherical);
  detail::HostMixture host = detail::on_host(start, "fit_samples");
  double total = 0.0;
  for (const double w : host.weights) total += w;
  for (double& w : host.weights) w /= total;
  host.convert(set.coordinates(), true);
  return detail::finish_fit(set, detail::SampleEm<V>(set, std::move(host), options, 0), 0);
}

/// By what the number of components is chosen.
enum class Criterion { bic, aic };

/// The fits for a range of numbers of components, and which is the best.
template <PlainTensor V>
struct SampleSelection {
  std::vector<SampleFit<V>> fits;  ///< for least, least + 1, ..., most components
  std::size_t best = 0;

  const SampleFit<V>& best_fit() const { return fits[best]; }
};

/// Fits mixtures of `least` to `most` components and takes the one with the smallest criterion; the smaller number on a
/// tie. Throws as fit_samples.
template <PlainTensor V>
SampleSelection<V> select_components(const V& points, index_t least, index_t most, Criterion criterion = Criterion::bic,
                                     const SampleFitOptions& options = {},
                                     const std::optional<std::type_identity_t<V>>& weights = std::nullopt) {
  detail::check_sample_options(options);
  if (least > most)
    throw ArgumentError("select_components: expected a range of numbers of components, given " + std::to_string(least) +
                        " to " + std::to_string(most));
  detail::SampleSet<V> set(points, weights, "select_components");
  set.standardise(options.covariance == Covariance::spherical);
  SampleSelection<V> selection;
  const auto value = [&](const SampleFit<V>& fit) {
    return criterion == Criterion::bic ? fit.score.bic() : fit.score.aic();
  };
  for (index_t k = least; k <= most; ++k) {
    selection.fits.push_back(detail::fit_samples(set, k, options));
    if (value(selection.fits.back()) < value(selection.best_fit())) selection.best = selection.fits.size() - 1;
  }
  return selection;
}

}  // namespace kolmo::gmm
