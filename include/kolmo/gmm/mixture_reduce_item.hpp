#pragma once
// Fewer components for one mixture, run one item at a time by a backend (see gmm/mixture_reduce.hpp). Sums are in
// double whatever the scalar.

#include <kolmo/core/math.hpp>
#include <kolmo/gmm/mixture_functions.hpp>

namespace kolmo::gmm::detail {

/// One component in double.
struct Component {
  double weight, mean, variance;
};

/// The normal with the mass, mean and variance of two.
KOLMO_HD inline Component merged_pair(const Component& a, const Component& b) {
  const double weight = a.weight + b.weight;
  if (!(weight > 0.0)) return a;
  const double p = a.weight / weight, q = b.weight / weight, d = b.mean - a.mean;
  return {weight, a.mean + q * d, p * a.variance + q * b.variance + p * q * d * d};
}

/// Runnalls' bound of the divergence that merging two components costs:
/// ((pi_i + pi_j) log v_ij - pi_i log v_i - pi_j log v_j) / 2.
KOLMO_HD inline double merging_cost(const Component& a, const Component& b) {
  if (!(a.weight > 0.0) || !(b.weight > 0.0)) return 0.0;
  const Component both = merged_pair(a, b);
  return 0.5 * (a.weight * log(both.variance / a.variance) + b.weight * log(both.variance / b.variance));
}

/// A mixture row that loses components in place: `count` of them are left, in front.
template <class T>
struct ReducibleRow {
  T* weights;
  T* means;
  T* deviations;
  int count;

  KOLMO_HD Component get(int k) const {
    return {static_cast<double>(weights[k]), static_cast<double>(means[k]), square(static_cast<double>(deviations[k]))};
  }
  KOLMO_HD void set(int k, const Component& c) {
    weights[k] = static_cast<T>(c.weight);
    means[k] = static_cast<T>(c.mean);
    deviations[k] = static_cast<T>(sqrt(c.variance));
  }
  KOLMO_HD void move(int from, int to) {
    weights[to] = weights[from];
    means[to] = means[from];
    deviations[to] = deviations[from];
  }
  KOLMO_HD bool is_mixture() const {
    double total = 0.0;
    for (int k = 0; k < count; ++k) {
      if (!(weights[k] >= T(0)) || !is_finite(weights[k]) || !is_finite(means[k]) || !is_finite(deviations[k]) ||
          !(deviations[k] > T(0)))
        return false;
      total += static_cast<double>(weights[k]);
    }
    return total > 0.0;
  }
  /// Removes components lighter than `least` of the whole, but never the heaviest, and gives the others their mass.
  KOLMO_HD void prune(double least) {
    double total = 0.0, kept = 0.0;
    int heaviest = 0;
    for (int k = 0; k < count; ++k) {
      total += static_cast<double>(weights[k]);
      if (weights[k] > weights[heaviest]) heaviest = k;
    }
    int left = 0;
    for (int k = 0; k < count; ++k) {
      const bool keep = k == heaviest || (weights[k] > T(0) && static_cast<double>(weights[k]) >= least * total);
      if (!keep) continue;
      kept += static_cast<double>(weights[k]);
      move(k, left++);
    }
    count = left;
    for (int k = 0; k < count; ++k) weights[k] = static_cast<T>(static_cast<double>(weights[k]) * (total / kept));
  }
  /// Leaves what is unused with weight zero and the parameters of the last component, so that the order of the means
  /// and every loop over the row stay good.
  KOLMO_HD void finish(int width) {
    sort_by_mean(weights, means, deviations, count);
    for (int k = count; k < width; ++k) {
      move(count - 1, k);
      weights[k] = T(0);
    }
  }
};

/// What is left of a row that is no mixture.
template <class T>
KOLMO_HD void spoil_row(T* weights, T* means, T* deviations, int width) {
  for (int k = 0; k < width; ++k) weights[k] = means[k] = deviations[k] = kolmo::detail::not_a_number<T>();
}

template <class T>
struct PruneItem {
  T* weights;
  T* means;
  T* deviations;
  int width;
  double least_weight;
  std::int32_t* counts;

  KOLMO_HD void operator()(index_t item) const {
    const index_t offset = item * width;
    ReducibleRow<T> row{weights + offset, means + offset, deviations + offset, width};
    if (!row.is_mixture()) {
      spoil_row(weights + offset, means + offset, deviations + offset, width);
      counts[item] = 0;
      return;
    }
    row.prune(least_weight);
    row.finish(width);
    counts[item] = row.count;
  }
};

/// Greedy merging. Each component remembers its cheapest partner to the right; after a merge only those whose partner
/// changed look again, so that hundreds of components stay affordable.
template <class T>
struct MergeItem {
  T* weights;
  T* means;
  T* deviations;
  int width;
  int most_components;
  double most_divergence;
  double* cost;           // [batch, width], scratch
  std::int32_t* partner;  // [batch, width], scratch
  std::int32_t* counts;
  T* divergence;

  KOLMO_HD static void find_partner(const ReducibleRow<T>& row, int i, double* cost, std::int32_t* partner) {
    cost[i] = kolmo::detail::infinity<double>();
    partner[i] = -1;
    const Component a = row.get(i);
    for (int j = i + 1; j < row.count; ++j) {
      const double c = merging_cost(a, row.get(j));
      if (c < cost[i]) {
        cost[i] = c;
        partner[i] = j;
      }
    }
  }

  KOLMO_HD void operator()(index_t item) const {
    const index_t offset = item * width;
    ReducibleRow<T> row{weights + offset, means + offset, deviations + offset, width};
    if (!row.is_mixture()) {
      spoil_row(weights + offset, means + offset, deviations + offset, width);
      counts[item] = 0;
      divergence[item] = kolmo::detail::not_a_number<T>();
      return;
    }
    row.prune(0.0);
    double* c = cost + offset;
    std::int32_t* p = partner + offset;
    for (int i = 0; i < row.count; ++i) find_partner(row, i, c, p);
    double spent = 0.0;
    while (row.count > 1) {
      int i = 0;
      for (int k = 1; k < row.count; ++k)
        if (c[k] < c[i]) i = k;
      if (row.count <= most_components && !(spent + c[i] <= most_divergence)) break;
      spent += c[i];
      const int j = p[i], last = row.count - 1;
      row.set(i, merged_pair(row.get(i), row.get(j)));
      row.move(last, j);
      --row.count;
      for (int k = 0; k < row.count; ++k) {
        // The last component moved to j: those after j have it on their left now, and k = j looks for itself.
        const bool lost = p[k] == i || p[k] == j || p[k] == last || k == i || k == j;
        if (lost) {
          find_partner(row, k, c, p);
          continue;
        }
        for (int side = 0; side < 2; ++side) {
          const int moved = side == 0 ? i : j;
          if (moved <= k || moved >= row.count) continue;
          const double offer = merging_cost(row.get(k), row.get(moved));
          if (offer < c[k] || (offer == c[k] && moved < p[k])) {
            c[k] = offer;
            p[k] = moved;
          }
        }
      }
      // Pairs (k, j) with k > j are looked after by j, which has just searched; pairs (k, i) by i.
    }
    row.finish(width);
    counts[item] = row.count;
    divergence[item] = static_cast<T>(spent);
  }
};

}  // namespace kolmo::gmm::detail
