#pragma once
// The per-density kernels of the learned mixture fitter. Coordinates are standardised: z = (x - mean) / sd
// of the density, so that a fit commutes with shifting and scaling its input. A mixture is a row of 3K
// numbers: log weights, means, log deviations.
//
//   project     unconstrained outputs of the initial network -> mixture (ordered means, bounded deviations)
//   statistics  E-step with temperature and the moments of every component -> features of the update network
//   update      damped EM step plus bounded corrections -> mixture, ordered by mean
//   density     log density at the grid points
//
// Every kernel has its forward and reverse rule side by side. Loops over grid points run in fixed lanes, so
// that they vectorise without reassociating sums.

#include <kolmo/core/dual.hpp>
#include <kolmo/core/math.hpp>

namespace kolmo::gmm {

/// Largest number of components of a learned fitter.
inline constexpr int max_components = 32;

/// Features per component that the update network sees.
inline constexpr int feature_count = 12;

namespace detail {

inline constexpr int lanes = 32;

template <class S>
KOLMO_HD S sum_lanes(S* lane) {
  for (int width = lanes / 2; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lane[j] = lane[j] + lane[j + width];
  return lane[0];
}

/// Points of one density in fixed lanes; lanes past the end carry no mass.
template <class T>
struct PointBlock {
  T w[lanes];
  T z[lanes];
  KOLMO_HD void load(const T* masses, const T* points, index_t begin, index_t count) {
    if (begin + lanes <= count) {
      for (int j = 0; j < lanes; ++j) {
        w[j] = masses[begin + j];
        z[j] = points[begin + j];
      }
    } else {
      for (int j = 0; j < lanes; ++j) {
        const bool inside = begin + j < count;
        w[j] = inside ? masses[begin + j] : T(0);
        z[j] = points[inside ? begin + j : count - 1];
      }
    }
  }
};

/// log(1 + |x|) with the sign of x: keeps rare large moments in the range of the network.
template <class S>
KOLMO_HD S signed_log(S x) {
  const S magnitude = log(1 + abs(x));
  return select(x < 0, -magnitude, magnitude);
}
template <class S>
KOLMO_HD S signed_log_derivative(S x) {
  return 1 / (1 + abs(x));
}

/// Smallest variance ratio and component mass; they keep the logarithms finite.
template <class T>
KOLMO_HD constexpr T smallest() {
  return T(1e-8);
}

/// Component scores (log weight - log deviation - q^2 / 2) / temperature and responsibilities of a block.
template <class S, class T>
struct ResponsibilityBlock {
  S q[max_components][lanes];
  S r[max_components][lanes];

  /// `score` may be null; when given it receives log weight - log deviation - q^2 / 2.
  KOLMO_HD void compute(const PointBlock<T>& block, int components, const S* offset, const S* mean,
                        const S* inverse_deviation, S inverse_temperature) {
    S top[lanes];
    for (int k = 0; k < components; ++k) {
      for (int j = 0; j < lanes; ++j) {
        const S d = (block.z[j] - mean[k]) * inverse_deviation[k];
        q[k][j] = d;
        r[k][j] = (offset[k] - T(0.5) * d * d) * inverse_temperature;
      }
    }
    for (int j = 0; j < lanes; ++j) top[j] = r[0][j];
    for (int k = 1; k < components; ++k)
      for (int j = 0; j < lanes; ++j) top[j] = select(r[k][j] > top[j], r[k][j], top[j]);
    S total[lanes];
    for (int j = 0; j < lanes; ++j) total[j] = S(T(0));
    for (int k = 0; k < components; ++k) {
      for (int j = 0; j < lanes; ++j) {
        r[k][j] = exp(r[k][j] - top[j]);
        total[j] = total[j] + r[k][j];
      }
    }
    for (int j = 0; j < lanes; ++j) total[j] = 1 / total[j];
    for (int k = 0; k < components; ++k)
      for (int j = 0; j < lanes; ++j) r[k][j] = r[k][j] * total[j];
  }
};

}  // namespace detail

/// E-step and component moments. Inputs: mixture [3K], inverse temperature (shared). Output: features
/// [K, feature_count] in the order
/// log weight, mean, log deviation, n, m, log sqrt(v), log n - log weight, m - mean, log sqrt(v) - log deviation,
/// third and fourth standardised moment (signed log), log of deviation floor,
/// with n, m, v the mass, mean and variance of the component's share of the density.
template <class T>
struct StatisticsKernel {
  const T* masses;
  const T* points;
  const T* log_floor;
  index_t count;
  int components;

  struct Feature {
    enum { log_weight, mean, log_deviation, n, m, log_v, weight_step, mean_step, deviation_step, third, fourth, floor };
  };

  template <class S>
  KOLMO_HD void forward(index_t item, const S* mixture, const S* inverse_temperature, S* features) const {
    S moment[5][max_components];
    moments(item, mixture, *inverse_temperature, moment);
    for (int k = 0; k < components; ++k) {
      const S log_weight = mixture[k], mean = mixture[components + k], log_deviation = mixture[2 * components + k];
      const S n = moment[0][k];
      const S e1 = moment[1][k] / n, e2 = moment[2][k] / n, e3 = moment[3][k] / n, e4 = moment[4][k] / n;
      const S ratio = maximum(e2 - e1 * e1, S(detail::smallest<T>()));
      const S step = exp(log_deviation) * e1;
      const S half_log_ratio = T(0.5) * log(ratio);
      S* x = features + k * feature_count;
      x[Feature::log_weight] = log_weight;
      x[Feature::mean] = mean;
      x[Feature::log_deviation] = log_deviation;
      x[Feature::n] = n;
      x[Feature::m] = mean + step;
      x[Feature::log_v] = log_deviation + half_log_ratio;
      x[Feature::weight_step] = log(n) - log_weight;
      x[Feature::mean_step] = step;
      x[Feature::deviation_step] = half_log_ratio;
      x[Feature::third] = detail::signed_log(e3);
      x[Feature::fourth] = detail::signed_log(e4 - 3);
      x[Feature::floor] = S(log_floor[item]);
    }
  }

  template <class S>
  KOLMO_HD void pull(index_t item, const S* mixture, const S* inverse_temperature, const S* g, S* g_mixture,
                     S* g_inverse_temperature) const {
    S moment[5][max_components];
    moments(item, mixture, *inverse_temperature, moment);
    // Derivatives with respect to the sums over points: c0 + c1 q + ... + c4 q^4 multiplies dr.
    S c[5][max_components];
    S direct_mean[max_components], direct_log_deviation[max_components];
    for (int k = 0; k < components; ++k) {
      const S* gx = g + k * feature_count;
      const S n = moment[0][k];
      const bool floored = !(n > detail::smallest<T>());
      const S e1 = moment[1][k] / n, e2 = moment[2][k] / n, e3 = moment[3][k] / n, e4 = moment[4][k] / n;
      const S spread = e2 - e1 * e1;
      const bool flat = !(spread > detail::smallest<T>());
      const S deviation = exp(mixture[2 * components + k]);
      const S g_step = gx[Feature::m] + gx[Feature::mean_step];
      const S g_half_log = gx[Feature::log_v] + gx[Feature::deviation_step];
      const S g_ratio = flat ? S(T(0)) : S(T(0.5) * g_half_log / spread);
      const S g1 = g_step * deviation - 2 * e1 * g_ratio;
      const S g2 = g_ratio;
      const S g3 = gx[Feature::third] * detail::signed_log_derivative(e3);
      const S g4 = gx[Feature::fourth] * detail::signed_log_derivative(e4 - 3);
      const S g_n = gx[Feature::n] + gx[Feature::weight_step] / n;
      const S through_n = g_n - (g1 * e1 + g2 * e2 + g3 * e3 + g4 * e4) / n;
      c[0][k] = floored ? S(T(0)) : through_n;
      c[1][k] = g1 / n;
      c[2][k] = g2 / n;
      c[3][k] = g3 / n;
      c[4][k] = g4 / n;
      // q = (z - mean) / deviation moves with the parameters at fixed responsibilities: dq/dmean = -1/deviation,
      // dq/dlog_deviation = -q.
      const S d_mean = c[1][k] * moment[0][k] + 2 * c[2][k] * moment[1][k] + 3 * c[3][k] * moment[2][k] +
                       4 * c[4][k] * moment[3][k];
      const S d_scale = c[1][k] * moment[1][k] + 2 * c[2][k] * moment[2][k] + 3 * c[3][k] * moment[3][k] +
                        4 * c[4][k] * moment[4][k];
      direct_mean[k] = gx[Feature::mean] + gx[Feature::m] - d_mean / deviation;
      direct_log_deviation[k] =
          gx[Feature::log_deviation] + gx[Feature::log_v] + g_step * deviation * e1 - d_scale;
      g_mixture[k] = gx[Feature::log_weight] - gx[Feature::weight_step];
    }
    const S inverse = *inverse_temperature;
    S offset[max_components], inverse_deviation[max_components];
    prepare(mixture, offset, inverse_deviation);
    S sum0[max_components][detail::lanes], sum1[max_components][detail::lanes], sum2[max_components][detail::lanes];
    S sum_temperature[detail::lanes];
    for (int k = 0; k < components; ++k)
      for (int j = 0; j < detail::lanes; ++j) sum0[k][j] = sum1[k][j] = sum2[k][j] = S(T(0));
    for (int j = 0; j < detail::lanes; ++j) sum_temperature[j] = S(T(0));
    detail::PointBlock<T> block;
    detail::ResponsibilityBlock<S, T> responsibility;
    for (index_t begin = 0; begin < count; begin += detail::lanes) {
      block.load(masses + item * count, points + item * count, begin, count);
      responsibility.compute(block, components, offset, mixture + components, inverse_deviation, inverse);
      S slope[max_components][detail::lanes];
      S average[detail::lanes];
      for (int j = 0; j < detail::lanes; ++j) average[j] = S(T(0));
      for (int k = 0; k < components; ++k) {
        for (int j = 0; j < detail::lanes; ++j) {
          const S q = responsibility.q[k][j];
          slope[k][j] = c[0][k] + q * (c[1][k] + q * (c[2][k] + q * (c[3][k] + q * c[4][k])));
          average[j] = average[j] + responsibility.r[k][j] * slope[k][j];
        }
      }
      for (int k = 0; k < components; ++k) {
        for (int j = 0; j < detail::lanes; ++j) {
          const S q = responsibility.q[k][j];
          // Gradient with respect to the score divided by temperature.
          const S b = block.w[j] * responsibility.r[k][j] * (slope[k][j] - average[j]);
          sum0[k][j] = sum0[k][j] + b;
          sum1[k][j] = sum1[k][j] + b * q;
          sum2[k][j] = sum2[k][j] + b * q * q;
          sum_temperature[j] = sum_temperature[j] + b * (offset[k] - T(0.5) * q * q);
        }
      }
    }
    for (int k = 0; k < components; ++k) {
      const S s0 = detail::sum_lanes(sum0[k]) * inverse;
      const S s1 = detail::sum_lanes(sum1[k]) * inverse;
      const S s2 = detail::sum_lanes(sum2[k]) * inverse;
      g_mixture[k] = g_mixture[k] + s0;
      g_mixture[components + k] = direct_mean[k] + s1 * inverse_deviation[k];
      g_mixture[2 * components + k] = direct_log_deviation[k] + s2 - s0;
    }
    *g_inverse_temperature = detail::sum_lanes(sum_temperature);
  }

 private:
  template <class S>
  KOLMO_HD void prepare(const S* mixture, S* offset, S* inverse_deviation) const {
    for (int k = 0; k < components; ++k) {
      offset[k] = mixture[k] - mixture[2 * components + k];
      inverse_deviation[k] = exp(-mixture[2 * components + k]);
    }
  }

  /// Sums of w r q^p for p = 0 ... 4; the mass is kept above its floor.
  template <class S>
  KOLMO_HD void moments(index_t item, const S* mixture, S inverse_temperature, S (&moment)[5][max_components]) const {
    S offset[max_components], inverse_deviation[max_components];
    prepare(mixture, offset, inverse_deviation);
    S sum[5][max_components][detail::lanes];
    for (int p = 0; p < 5; ++p)
      for (int k = 0; k < components; ++k)
        for (int j = 0; j < detail::lanes; ++j) sum[p][k][j] = S(T(0));
    detail::PointBlock<T> block;
    detail::ResponsibilityBlock<S, T> responsibility;
    for (index_t begin = 0; begin < count; begin += detail::lanes) {
      block.load(masses + item * count, points + item * count, begin, count);
      responsibility.compute(block, components, offset, mixture + components, inverse_deviation, inverse_temperature);
      for (int k = 0; k < components; ++k) {
        for (int j = 0; j < detail::lanes; ++j) {
          const S q = responsibility.q[k][j];
          const S p0 = block.w[j] * responsibility.r[k][j];
          const S p1 = p0 * q, p2 = p1 * q, p3 = p2 * q;
          sum[0][k][j] = sum[0][k][j] + p0;
          sum[1][k][j] = sum[1][k][j] + p1;
          sum[2][k][j] = sum[2][k][j] + p2;
          sum[3][k][j] = sum[3][k][j] + p3;
          sum[4][k][j] = sum[4][k][j] + p3 * q;
        }
      }
    }
    for (int p = 0; p < 5; ++p)
      for (int k = 0; k < components; ++k) moment[p][k] = detail::sum_lanes(sum[p][k]);
    for (int k = 0; k < components; ++k) moment[0][k] = maximum(moment[0][k], S(detail::smallest<T>()));
  }
};

/// Log density of the mixture at the points of an item. Input: mixture [3K]. Output: [N].
template <class T>
struct LogDensityKernel {
  const T* points;
  index_t count;
  int components;

  template <class S>
  KOLMO_HD void forward(index_t item, const S* mixture, S* log_density) const {
    S offset[max_components], inverse_deviation[max_components];
    prepare(mixture, offset, inverse_deviation);
    const T* z = points + item * count;
    for (index_t begin = 0; begin < count; begin += detail::lanes) {
      const int width = static_cast<int>(smaller<index_t>(detail::lanes, count - begin));
      S score[max_components][detail::lanes], top[detail::lanes], total[detail::lanes];
      scores(z + begin, width, mixture, offset, inverse_deviation, score, top, total);
      for (int j = 0; j < width; ++j) log_density[begin + j] = top[j] + log(total[j]);
    }
  }

  template <class S>
  KOLMO_HD void pull(index_t item, const S* mixture, const S* g, S* g_mixture) const {
    S offset[max_components], inverse_deviation[max_components];
    prepare(mixture, offset, inverse_deviation);
    const T* z = points + item * count;
    S sum0[max_components][detail::lanes], sum1[max_components][detail::lanes], sum2[max_components][detail::lanes];
    for (int k = 0; k < components; ++k)
      for (int j = 0; j < detail::lanes; ++j) sum0[k][j] = sum1[k][j] = sum2[k][j] = S(T(0));
    for (index_t begin = 0; begin < count; begin += detail::lanes) {
      const int width = static_cast<int>(smaller<index_t>(detail::lanes, count - begin));
      S score[max_components][detail::lanes], top[detail::lanes], total[detail::lanes], weight[detail::lanes];
      scores(z + begin, width, mixture, offset, inverse_deviation, score, top, total);
      for (int j = 0; j < detail::lanes; ++j) weight[j] = S(T(0));
      for (int j = 0; j < width; ++j) weight[j] = g[begin + j] / total[j];
      for (int k = 0; k < components; ++k) {
        for (int j = 0; j < detail::lanes; ++j) {
          const T point = z[begin + (j < width ? j : 0)];
          const S q = (point - mixture[components + k]) * inverse_deviation[k];
          const S b = weight[j] * score[k][j];
          sum0[k][j] = sum0[k][j] + b;
          sum1[k][j] = sum1[k][j] + b * q;
          sum2[k][j] = sum2[k][j] + b * q * q;
        }
      }
    }
    for (int k = 0; k < components; ++k) {
      const S s0 = detail::sum_lanes(sum0[k]);
      g_mixture[k] = s0;
      g_mixture[components + k] = detail::sum_lanes(sum1[k]) * inverse_deviation[k];
      g_mixture[2 * components + k] = detail::sum_lanes(sum2[k]) - s0;
    }
  }

 private:
  template <class S>
  KOLMO_HD void prepare(const S* mixture, S* offset, S* inverse_deviation) const {
    for (int k = 0; k < components; ++k) {
      offset[k] = mixture[k] - mixture[2 * components + k] - T(0.91893853320467274178);
      inverse_deviation[k] = exp(-mixture[2 * components + k]);
    }
  }

  /// exp(score - top) per component, the top score and their sum; lanes past `width` repeat the first point.
  template <class S>
  KOLMO_HD void scores(const T* z, int width, const S* mixture, const S* offset, const S* inverse_deviation,
                       S (&score)[max_components][detail::lanes], S (&top)[detail::lanes],
                       S (&total)[detail::lanes]) const {
    T point[detail::lanes];
    for (int j = 0; j < detail::lanes; ++j) point[j] = z[j < width ? j : 0];
    for (int k = 0; k < components; ++k) {
      for (int j = 0; j < detail::lanes; ++j) {
        const S q = (point[j] - mixture[components + k]) * inverse_deviation[k];
        score[k][j] = offset[k] - T(0.5) * q * q;
      }
    }
    for (int j = 0; j < detail::lanes; ++j) top[j] = score[0][j];
    for (int k = 1; k < components; ++k)
      for (int j = 0; j < detail::lanes; ++j) top[j] = select(score[k][j] > top[j], score[k][j], top[j]);
    for (int j = 0; j < detail::lanes; ++j) total[j] = S(T(0));
    for (int k = 0; k < components; ++k) {
      for (int j = 0; j < detail::lanes; ++j) {
        score[k][j] = exp(score[k][j] - top[j]);
        total[j] = total[j] + score[k][j];
      }
    }
  }
};

}  // namespace kolmo::gmm
