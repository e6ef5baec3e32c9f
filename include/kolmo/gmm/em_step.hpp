#pragma once
// One iteration of the EM of one density (see gmm/em.hpp): the E-step with the likelihood of its parameters, and
// the M-step. Points are taken in chunks whose scratch lies on the stack; sums over points run in independent
// lanes, so that compilers vectorise them without being allowed to reorder floating-point arithmetic.
//
// Densities of components are summed as they are, in units of the density's deviation: no maximum is looked for and
// no logarithm is taken of a parameter. Where a point with mass is so far from all components that this would lose
// digits, the chunk is done again in the log domain.

#include <kolmo/gmm/em_problem.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm::detail {

/// 2^y for y <= 0 that is not so small that the result is subnormal.
template <class T>
KOLMO_HD KOLMO_INLINE T exp2_of_normal(T y) {
  using kolmo::detail::rounding_shift;
  const T shifted = y + rounding_shift<T>();
  const T r = (y - (shifted - rounding_shift<T>())) * T(0.69314718055994530942);
  const T tail = r + r * r * kolmo::detail::exp_polynomial(r);
  return (T(1) + tail) * kolmo::detail::power_of_two<T>(kolmo::detail::integer_of_shifted(shifted));
}

/// log x for normal x > 0.
template <class T>
KOLMO_HD KOLMO_INLINE T log_of_normal(T x) {
  const auto reduced = kolmo::detail::reduce_for_log(x);
  return kolmo::detail::log_of_parts(reduced.k, reduced.m - T(1));
}

template <class T, int max_components>
struct EmStep : EmRow<T> {
  using typename EmRow<T>::Density;
  using Parameters = EmParameters<T, max_components>;
  using Constants = EmConstants<T>;
  using EmRow<T>::problem;

  // Loops over lanes stay loops: g++ unrolls them before it vectorises, and then shuffles single values.
  static constexpr int lanes = 16;
  static constexpr int chunk = 128;

  /// Normalised masses and points of a chunk, padded with points of mass zero to whole lanes.
  struct Points {
    alignas(64) T mass[chunk];
    alignas(64) T place[chunk];
    int padded;
  };

  /// Sums of an E-step; first and second moments are about the component's current mean.
  struct Sums {
    T log_likelihood;
    T mass[max_components];
    T first[max_components];
    T second[max_components];
  };

  struct Lanes {
    alignas(64) T likelihood[lanes];
    alignas(64) T mass[max_components][lanes];
    alignas(64) T first[max_components][lanes];
    alignas(64) T second[max_components][lanes];
  };

  struct Scratch {
    alignas(64) T sum[chunk];
    alignas(64) T log_sum[chunk];
    alignas(64) T value[max_components][chunk];
  };

  KOLMO_HD KOLMO_INLINE static T sum_lanes(const T* lane) {
    T part[8];
    for (int j = 0; j < 8; ++j) part[j] = lane[j] + lane[j + 8];
    return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
  }

  /// Whether all points that matter fit one chunk, which is then loaded once per fit.
  KOLMO_HD bool one_chunk(const Density& d) const { return d.end - d.begin <= chunk; }

  KOLMO_HD void load(const Density& d, index_t begin, Points& points) const {
    const int n = static_cast<int>(smaller<index_t>(chunk, d.end - begin));
    points.padded = (n + lanes - 1) / lanes * lanes;
    const T scale = T(1) / d.total;
    for (int i = 0; i < points.padded; ++i) {
      const bool inside = i < n;
      const T mass = inside ? d.masses[begin + i] * scale : T(0);
      points.mass[i] = mass < d.negligible ? T(0) : mass;
      points.place[i] = d.points[inside ? begin + i : begin + n - 1];
    }
  }

  /// Densities of the components at the points, weighted, and their sums; false when a sum is so small that digits
  /// are lost.
  KOLMO_HD bool sum_densities(const Density& d, const Parameters& p, const Points& points, Scratch& s) const {
    const int padded = points.padded;
    for (int k = 0; k < problem.components; ++k) {
      const T inverse = T(1) / p.variance[k];
      const T weight = p.weight[k] < Constants::least_weight ? T(0) : p.weight[k];
      const T height = weight * d.deviation * sqrt(inverse) * T(0.39894228040143267794);
      // Values below 2^-cut are zero, whatever the height.
      const T lowest = weight > T(0) ? -Constants::cut - kolmo::detail::reduce_for_log(height).k : -Constants::cut;
      const T factor = inverse * T(-0.72134752044448170368);
      const T mean = p.mean[k];
      T* target = s.value[k];
      T* sum = s.sum;
      const bool begin = k == 0;
      KOLMO_INDEPENDENT
      for (int i = 0; i < padded; ++i) {
        const T t = points.place[i] - mean;
        const T exponent = factor * t * t;
        const T value = height * exp2_of_normal(exponent < lowest ? lowest : exponent);
        target[i] = exponent < lowest ? T(0) : value;
        sum[i] = (begin ? T(0) : sum[i]) + target[i];
      }
    }
    alignas(64) T least[lanes];
    KOLMO_ROLLED
    for (int j = 0; j < lanes; ++j) least[j] = Constants::least_sum;
    for (int i = 0; i < padded; i += lanes) {
      KOLMO_ROLLED
      for (int j = 0; j < lanes; ++j) {
        const T value = points.mass[i + j] > T(0) ? s.sum[i + j] : Constants::least_sum;
        least[j] = value < least[j] ? value : least[j];
      }
    }
    bool good = true;
    KOLMO_ROLLED
    for (int j = 0; j < lanes; ++j) good = good && least[j] >= Constants::least_sum;
    if (!good) return false;
    KOLMO_INDEPENDENT
    for (int i = 0; i < padded; ++i) {
      // Points without mass may be anywhere.
      s.sum[i] = s.sum[i] < Constants::least_sum ? Constants::least_sum : s.sum[i];
      s.log_sum[i] = log_of_normal(s.sum[i]);
    }
    return true;
  }

  /// The same relative to the largest component at each point.
  KOLMO_HD void sum_in_log_domain(const Density& d, const Parameters& p, const Points& points, Scratch& s) const {
    const int padded = points.padded;
    T* top = s.log_sum;
    for (int k = 0; k < problem.components; ++k) {
      const T constant = log(larger(p.weight[k], Constants::least_weight)) - T(0.5) * log(p.variance[k]) +
                         log(d.deviation) - T(0.91893853320467274178);
      const T factor = T(-0.5) / p.variance[k];
      const T mean = p.mean[k];
      T* target = s.value[k];
      const bool begin = k == 0;
      KOLMO_INDEPENDENT
      for (int i = 0; i < padded; ++i) {
        const T t = points.place[i] - mean;
        const T logit = constant + factor * t * t;
        target[i] = logit;
        top[i] = begin || logit > top[i] ? logit : top[i];
      }
    }
    for (int k = 0; k < problem.components; ++k) {
      T* target = s.value[k];
      const bool begin = k == 0;
      KOLMO_INDEPENDENT
      for (int i = 0; i < padded; ++i) {
        const T exponent = (target[i] - top[i]) * T(1.44269504088896340736);
        const T value = exp2_of_normal(exponent < -Constants::cut ? -Constants::cut : exponent);
        target[i] = exponent < -Constants::cut ? T(0) : value;
        s.sum[i] = (begin ? T(0) : s.sum[i]) + target[i];
      }
    }
    KOLMO_INDEPENDENT
    for (int i = 0; i < padded; ++i) s.log_sum[i] = top[i] + log_of_normal(s.sum[i]);
  }

  /// Adds the points of a chunk to lanes of sums.
  KOLMO_HD void accumulate(const Density& d, const Parameters& p, const Points& points, Lanes& lane) const {
    const int padded = points.padded;
    Scratch s;
    if (!sum_densities(d, p, points, s)) sum_in_log_domain(d, p, points, s);
    T* share = s.sum;
    KOLMO_INDEPENDENT
    for (int i = 0; i < padded; ++i) {
      s.log_sum[i] *= points.mass[i];
      share[i] = points.mass[i] / share[i];
    }
    for (int i = 0; i < padded; i += lanes) {
      KOLMO_ROLLED
      for (int j = 0; j < lanes; ++j) lane.likelihood[j] += s.log_sum[i + j];
    }
    for (int k = 0; k < problem.components; ++k) {
      const T mean = p.mean[k];
      const T* source = s.value[k];
      alignas(64) T a[lanes], b[lanes], c[lanes];
      KOLMO_ROLLED
      for (int j = 0; j < lanes; ++j) {
        a[j] = lane.mass[k][j];
        b[j] = lane.first[k][j];
        c[j] = lane.second[k][j];
      }
      for (int i = 0; i < padded; i += lanes) {
        KOLMO_ROLLED
        for (int j = 0; j < lanes; ++j) {
          const T r = share[i + j] * source[i + j];
          const T t = points.place[i + j] - mean;
          a[j] += r;
          b[j] += r * t;
          c[j] += r * t * t;
        }
      }
      KOLMO_ROLLED
      for (int j = 0; j < lanes; ++j) {
        lane.mass[k][j] = a[j];
        lane.first[k][j] = b[j];
        lane.second[k][j] = c[j];
      }
    }
  }

  /// The E-step; `points` holds the only chunk, if there is but one.
  KOLMO_HD void expectation(const Density& d, const Parameters& p, Points& points, Sums& sums) const {
    Lanes lane;
    KOLMO_ROLLED
    for (int j = 0; j < lanes; ++j) lane.likelihood[j] = T(0);
    for (int k = 0; k < problem.components; ++k) {
      KOLMO_ROLLED
      for (int j = 0; j < lanes; ++j) lane.mass[k][j] = lane.first[k][j] = lane.second[k][j] = T(0);
    }
    if (one_chunk(d)) {
      accumulate(d, p, points, lane);
    } else {
      for (index_t begin = d.begin; begin < d.end; begin += chunk) {
        load(d, begin, points);
        accumulate(d, p, points, lane);
      }
    }
    sums.log_likelihood = sum_lanes(lane.likelihood) - d.log_deviation;
    for (int k = 0; k < problem.components; ++k) {
      sums.mass[k] = sum_lanes(lane.mass[k]);
      sums.first[k] = sum_lanes(lane.first[k]);
      sums.second[k] = sum_lanes(lane.second[k]);
    }
  }

  KOLMO_HD void maximisation(const Density& d, const Sums& sums, Parameters& p) const {
    T total = T(0);
    for (int k = 0; k < problem.components; ++k) total += sums.mass[k];
    for (int k = 0; k < problem.components; ++k) {
      const T mass = sums.mass[k];
      p.weight[k] = mass / total;
      // A component without mass stays where it is, with weight zero.
      if (!(mass > Constants::least_mass)) continue;
      const T shift = sums.first[k] / mass;
      p.mean[k] += shift;
      p.variance[k] = larger(sums.second[k] / mass - shift * shift, this->variance_floor(d, p.mean[k]));
    }
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
