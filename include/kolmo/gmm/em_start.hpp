#pragma once
// The starts of the EM of one density (see gmm/em.hpp). A start that cannot be made gives way to another one, which
// the fit reports: a mixture density network to k-means++, the learned fitter and the parts of a maximum to quantiles,
// k-means++ to the parts of the maximum, where they are known, and else to quantiles.

#include <kolmo/gmm/em_kmeans.hpp>
#include <kolmo/gmm/em_qmi.hpp>

namespace kolmo::gmm::detail {

template <class T, int max_components>
struct EmStart : EmKmeans<T, max_components> {
  using typename EmRow<T>::Density;
  using Parameters = EmParameters<T, max_components>;
  using EmRow<T>::problem;

  /// Smallest mass of a part of a density that gets components by its own quantiles.
  static constexpr double least_part = 1e-15;

  KOLMO_HD Key key_of(index_t item, int start) const {
    return fold_in(fold_in(problem.key, static_cast<std::uint64_t>(problem.first_item + item)),
                   static_cast<std::uint64_t>(start));
  }

  /// How many runs of EM a start of this kind is good for: more would repeat the first.
  KOLMO_HD int runs(EmStartKind kind) const {
    bool varies = true;
    switch (kind) {
      case EmStartKind::random:
      case EmStartKind::kmeans:
        break;
      case EmStartKind::quantile:
        varies = problem.noise > T(0);
        break;
      case EmStartKind::qmi:
      case EmStartKind::wqmi:
        varies = problem.density_noise > T(0);
        break;
      case EmStartKind::custom:
        varies = problem.given_noise > T(0) || problem.variance_noise > T(0);
        break;
      case EmStartKind::mdn:
      case EmStartKind::lamf:
        varies = false;
        break;
    }
    return varies ? problem.starts : 1;
  }

  /// What is tried when a start of this kind cannot be made; the same kind when nothing is.
  KOLMO_HD EmStartKind fallback(EmStartKind kind) const {
    if (kind == EmStartKind::mdn) return EmStartKind::kmeans;
    if (kind == EmStartKind::kmeans && problem.winner_x != nullptr && problem.components > 1) return EmStartKind::wqmi;
    return kind == EmStartKind::custom ? kind : EmStartKind::quantile;
  }

  /// Run number `start` of a kind, the first without noise. Any status but ok: there is no such start.
  KOLMO_HD Status begin(EmStartKind kind, index_t item, int start, const Density& d, Parameters& p) const {
    switch (kind) {
      case EmStartKind::random:
        return random_start(key_of(item, start), d, p);
      case EmStartKind::qmi:
        return quantile_bins(item, start, d, p);
      case EmStartKind::wqmi:
        return winner_bins(item, start, d, p);
      case EmStartKind::kmeans:
        return this->kmeans_start(key_of(item, start), d, p);
      case EmStartKind::custom:
      case EmStartKind::mdn:
      case EmStartKind::lamf:
        return given_start(item, start, d, p);
      case EmStartKind::quantile:
        break;
    }
    return quantile_start(item, start, d, p);
  }

  KOLMO_HD Status quantile_start(index_t item, int start, const Density& d, Parameters& p) const {
    const int components = problem.components;
    T cumulative = T(0), previous = T(0);
    index_t i = -1;
    for (int k = 0; k < components; ++k) {
      const T level = d.total * ((T(k) + T(0.5)) / T(components));
      while (i < problem.count - 1 && (i < 0 || cumulative < level)) {
        previous = cumulative;
        cumulative += d.masses[++i];
      }
      T mean = d.points[i];
      if (i > 0 && cumulative > previous) {
        const T part = (level - previous) / (cumulative - previous);
        mean = d.points[i - 1] + smaller(part, T(1)) * (d.points[i] - d.points[i - 1]);
      }
      if (start > 0)
        mean += problem.noise * sqrt(d.variance) * normal<T>(key_of(item, start), static_cast<std::uint64_t>(k));
      set_common(d, k, mean, p);
    }
    return Status::ok;
  }

  /// K different points by Floyd's algorithm (1987).
  KOLMO_HD Status random_start(Key key, const Density& d, Parameters& p) const {
    index_t chosen[max_components];
    for (int k = 0; k < problem.components; ++k) {
      const index_t last = problem.count - problem.components + k;
      index_t point = integer_below(key, static_cast<std::uint64_t>(k), last + 1);
      for (int j = 0; j < k; ++j)
        if (chosen[j] == point) {
          point = last;
          break;
        }
      chosen[k] = point;
      set_common(d, k, d.points[point], p);
    }
    return Status::ok;
  }

  KOLMO_HD Status given_start(index_t item, int start, const Density& d, Parameters& p) const {
    const int components = problem.components;
    const index_t offset = item * components;
    const Key key = key_of(item, start);
    T total = T(0);
    for (int k = 0; k < components; ++k) {
      const T weight = problem.start_weights[offset + k], deviation = problem.start_deviations[offset + k];
      T mean = problem.start_means[offset + k], variance = deviation * deviation;
      if (!is_finite(weight) || !is_finite(mean) || !is_finite(variance)) return Status::non_finite;
      if (start > 0) {
        mean += problem.given_noise * sqrt(d.variance) * normal<T>(key, static_cast<std::uint64_t>(k));
        variance *=
            larger(T(0), T(1) + problem.variance_noise * normal<T>(key, static_cast<std::uint64_t>(components + k)));
      }
      p.weight[k] = larger(weight, T(0));
      p.mean[k] = mean;
      p.variance[k] = larger(variance, this->variance_floor(d, mean));
      total += p.weight[k];
    }
    if (!(total > T(0))) return Status::zero_mass;
    for (int k = 0; k < components; ++k) p.weight[k] /= total;
    return Status::ok;
  }

  KOLMO_HD Status quantile_bins(index_t item, int start, const Density& d, Parameters& p) const {
    const SampledRow<T> row{
        d.masses,           d.points, problem.count, true, start > 0 ? static_cast<double>(problem.density_noise) : 0.0,
        key_of(item, start)};
    add_bins(d, row, 0, problem.components, 1.0, p);
    this->normalise(p);
    return Status::ok;
  }

  KOLMO_HD Status winner_bins(index_t item, int start, const Density& d, Parameters& p) const {
    const index_t n = problem.count;
    const double noise = start > 0 ? static_cast<double>(problem.density_noise) : 0.0;
    const Key key = key_of(item, start);
    const SampledRow<T> x{problem.winner_x + item * n, d.points, n, false, noise, fold_in(key, 0)};
    const SampledRow<T> y{problem.winner_y + item * n, d.points, n, false, noise, fold_in(key, 1)};
    bool finite = true;
    for (index_t i = 0; i < n; ++i) finite = finite && is_finite(x.values[i]) && is_finite(y.values[i]);
    const double of_x = x.integral(), of_y = y.integral(), total = of_x + of_y;
    if (!finite || !is_finite(total)) return Status::non_finite;
    if (!(total > 1e-12)) return Status::zero_mass;
    const int components = problem.components;
    const int first = larger(1, smaller(components - 1, rounded_to_even(components * (of_x / total))));
    add_part(d, x, 0, first, of_x / total, p);
    add_part(d, y, first, components - first, of_y / total, p);
    this->normalise(p);
    return Status::ok;
  }

 private:
  /// A component with the weight and the deviation that all share.
  KOLMO_HD void set_common(const Density& d, int k, T mean, Parameters& p) const {
    p.weight[k] = T(1) / T(problem.components);
    p.mean[k] = mean;
    p.variance[k] = larger(d.variance, this->variance_floor(d, mean));
  }

  KOLMO_HD void add_bins(const Density& d, const SampledRow<T>& row, int first, int count, double scale,
                         Parameters& p) const {
    QuantileBins<T> bins(row, count);
    for (int k = first; k < first + count; ++k) {
      const QuantileBin bin = bins.take();
      p.weight[k] = static_cast<T>(scale * larger(bin.mass, least_part));
      p.mean[k] = static_cast<T>(bin.mean);
      p.variance[k] = larger(static_cast<T>(bin.variance), this->variance_floor(d, p.mean[k]));
    }
  }

  /// Components of one part of a maximum that has the share `probability`.
  KOLMO_HD void add_part(const Density& d, const SampledRow<T>& row, int first, int count, double probability,
                         Parameters& p) const {
    if (probability > least_part) return add_bins(d, row, first, count, probability, p);
    for (int k = first; k < first + count; ++k) {
      p.weight[k] = static_cast<T>(least_part);
      p.mean[k] = d.mean;
      p.variance[k] = this->variance_floor(d, d.mean);
    }
  }

  /// Halves go to the even neighbour.
  KOLMO_HD static int rounded_to_even(double x) {
    const int below = static_cast<int>(x);
    const double rest = x - below;
    return rest > 0.5 || (rest == 0.5 && below % 2 == 1) ? below + 1 : below;
  }
};

}  // namespace kolmo::gmm::detail
