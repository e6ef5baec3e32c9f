#pragma once
// Weighted k-means++ (Arthur and Vassilvitskii 2007) and Lloyd's iterations for the points of one density, as a start
// of EM (see gmm/em_start.hpp).

#include <kolmo/gmm/em_problem.hpp>

namespace kolmo::gmm::detail {

template <class T, int max_components>
struct EmKmeans : EmRow<T> {
  using typename EmRow<T>::Density;
  using Parameters = EmParameters<T, max_components>;
  using EmRow<T>::problem;

  KOLMO_HD void normalise(Parameters& p) const {
    T total = T(0);
    for (int k = 0; k < problem.components; ++k) total += p.weight[k];
    for (int k = 0; k < problem.components; ++k) p.weight[k] /= total;
  }

  /// Centres drawn by mass times squared distance, then at most 20 iterations. The centres stay sorted, so that
  /// clusters are runs of points. There is no such start with fewer points with mass than components.
  KOLMO_HD Status kmeans_start(Key key, const Density& d, Parameters& p) const {
    const int components = problem.components;
    T* centre = p.mean;
    for (int k = 0; k < components; ++k) {
      const T target_unit = uniform<T>(key, static_cast<std::uint64_t>(k));
      T total = d.total;
      if (k > 0) {
        total = T(0);
        for (index_t i = 0; i < problem.count; ++i) total += d.masses[i] * squared_distance(d.points[i], centre, k);
      }
      if (!(total > T(0))) return Status::zero_mass;
      T reached = T(0);
      index_t chosen = -1;
      for (index_t i = 0; i < problem.count && (chosen < 0 || reached < target_unit * total); ++i) {
        const T part = d.masses[i] * (k > 0 ? squared_distance(d.points[i], centre, k) : T(1));
        if (part > T(0)) chosen = i;
        reached += part;
      }
      insert(d.points[chosen], centre, k);
    }
    T mass[max_components], first[max_components], second[max_components];
    for (int round = 0; round < 20; ++round) {
      clusters(d, centre, mass, first, second);
      T largest_shift = T(0);
      int empty = -1;
      for (int k = 0; k < components; ++k) {
        if (!(mass[k] > T(0))) {
          empty = k;
          continue;
        }
        const T shift = first[k] / mass[k];
        centre[k] += shift;
        largest_shift = larger(largest_shift, abs(shift));
      }
      if (empty >= 0) {
        // The point that the centres serve worst.
        index_t worst = -1;
        T worst_cost = T(0);
        for (index_t i = 0; i < problem.count; ++i) {
          const T cost = d.masses[i] * squared_distance(d.points[i], centre, components);
          if (cost > worst_cost) {
            worst_cost = cost;
            worst = i;
          }
        }
        if (worst < 0) return Status::zero_mass;
        for (int k = empty; k + 1 < components; ++k) centre[k] = centre[k + 1];
        insert(d.points[worst], centre, components - 1);
      } else if (!(largest_shift > T(1e-6) * d.deviation)) {
        break;
      }
    }
    clusters(d, centre, mass, first, second);
    for (int k = 0; k < components; ++k) {
      const bool some = mass[k] > T(0);
      const T shift = some ? first[k] / mass[k] : T(0);
      p.weight[k] = mass[k];
      p.variance[k] =
          (some ? larger(second[k] / mass[k] - shift * shift, T(0)) : T(0)) + this->variance_floor(d, centre[k]);
    }
    normalise(p);
    return Status::ok;
  }

 private:
  KOLMO_HD static T squared_distance(T z, const T* centre, int count) {
    T least = square(z - centre[0]);
    for (int k = 1; k < count; ++k) least = smaller(least, square(z - centre[k]));
    return least;
  }

  /// Puts a value among `count` sorted ones.
  KOLMO_HD static void insert(T value, T* sorted, int count) {
    int k = count;
    for (; k > 0 && sorted[k - 1] > value; --k) sorted[k] = sorted[k - 1];
    sorted[k] = value;
  }

  /// Masses of the clusters about sorted centres, and their first and second moments about the centre.
  KOLMO_HD void clusters(const Density& d, const T* centre, T* mass, T* first, T* second) const {
    for (int k = 0; k < problem.components; ++k) mass[k] = first[k] = second[k] = T(0);
    int k = 0;
    for (index_t i = 0; i < problem.count; ++i) {
      const T z = d.points[i];
      while (k + 1 < problem.components && abs(z - centre[k + 1]) < abs(z - centre[k])) ++k;
      const T w = d.masses[i], t = z - centre[k];
      mass[k] += w;
      first[k] += w * t;
      second[k] += w * t * t;
    }
  }
};

}  // namespace kolmo::gmm::detail
