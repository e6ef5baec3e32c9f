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
// Every kernel has its forward and reverse rule side by side. See lamf_lanes.hpp for how loops are laid out.

#include <kolmo/gmm/lamf_lanes.hpp>

namespace kolmo::gmm {

/// Features per component that the update network sees.
inline constexpr int feature_count = 12;

namespace detail {

/// log(1 + |x|) with the sign of x: keeps rare large moments in the range of the network.
template <class S>
KOLMO_HD KOLMO_INLINE S signed_log(S x) {
  const S magnitude = log(1 + abs(x));
  return select(x < 0, -magnitude, magnitude);
}
template <class S>
KOLMO_HD KOLMO_INLINE S signed_log_derivative(S x) {
  return 1 / (1 + abs(x));
}

/// Smallest variance ratio and component mass; they keep the logarithms finite.
template <class T>
KOLMO_HD constexpr T smallest() {
  return T(1e-8);
}

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
    const detail::Components<S> c(mixture, components);
    S moment[5][max_components];
    moments(item, c, *inverse_temperature, moment);
    S step[max_components], half_log_ratio[max_components], log_n[max_components], third[max_components],
        fourth[max_components];
    for (int k = 0; k < c.padded; ++k) {
      const S inverse_n = 1 / moment[0][k];
      const S e1 = moment[1][k] * inverse_n, e2 = moment[2][k] * inverse_n;
      step[k] = c.deviation[k] * e1;
      half_log_ratio[k] = T(0.5) * log(maximum(e2 - e1 * e1, S(detail::smallest<T>())));
      log_n[k] = log(moment[0][k]);
      third[k] = detail::signed_log(moment[3][k] * inverse_n);
      fourth[k] = detail::signed_log(moment[4][k] * inverse_n - 3);
    }
    for (int k = 0; k < components; ++k) {
      S* x = features + k * feature_count;
      x[Feature::log_weight] = c.log_weight[k];
      x[Feature::mean] = c.mean[k];
      x[Feature::log_deviation] = c.log_deviation[k];
      x[Feature::n] = moment[0][k];
      x[Feature::m] = c.mean[k] + step[k];
      x[Feature::log_v] = c.log_deviation[k] + half_log_ratio[k];
      x[Feature::weight_step] = log_n[k] - c.log_weight[k];
      x[Feature::mean_step] = step[k];
      x[Feature::deviation_step] = half_log_ratio[k];
      x[Feature::third] = third[k];
      x[Feature::fourth] = fourth[k];
      x[Feature::floor] = S(log_floor[item]);
    }
  }

  template <class S>
  KOLMO_HD void pull(index_t item, const S* mixture, const S* inverse_temperature, const S* g, S* g_mixture,
                     S* g_inverse_temperature) const {
    const detail::Components<S> c(mixture, components);
    S moment[5][max_components];
    moments(item, c, *inverse_temperature, moment);
    S gx[feature_count][max_components];
    for (int f = 0; f < feature_count; ++f) {
      for (int k = 0; k < components; ++k) gx[f][k] = g[k * feature_count + f];
      for (int k = components; k < c.padded; ++k) gx[f][k] = S(T(0));
    }
    // Derivatives with respect to the sums over points: a0 + a1 q + ... + a4 q^4 multiplies dr.
    S a[5][max_components];
    S direct_mean[max_components], direct_log_deviation[max_components];
    for (int k = 0; k < c.padded; ++k) {
      const S n = moment[0][k], inverse_n = 1 / n;
      const bool floored = !(n > detail::smallest<T>());
      const S e1 = moment[1][k] * inverse_n, e2 = moment[2][k] * inverse_n, e3 = moment[3][k] * inverse_n,
              e4 = moment[4][k] * inverse_n;
      const S spread = e2 - e1 * e1;
      const bool flat = !(spread > detail::smallest<T>());
      const S g_step = gx[Feature::m][k] + gx[Feature::mean_step][k];
      const S g_half_log = gx[Feature::log_v][k] + gx[Feature::deviation_step][k];
      const S g_ratio = select(flat, S(T(0)), S(T(0.5) * g_half_log / spread));
      const S g1 = g_step * c.deviation[k] - 2 * e1 * g_ratio;
      const S g3 = gx[Feature::third][k] * detail::signed_log_derivative(e3);
      const S g4 = gx[Feature::fourth][k] * detail::signed_log_derivative(e4 - 3);
      const S g_n = gx[Feature::n][k] + gx[Feature::weight_step][k] * inverse_n;
      const S through_n = g_n - (g1 * e1 + g_ratio * e2 + g3 * e3 + g4 * e4) * inverse_n;
      a[0][k] = select(floored, S(T(0)), through_n);
      a[1][k] = g1 * inverse_n;
      a[2][k] = g_ratio * inverse_n;
      a[3][k] = g3 * inverse_n;
      a[4][k] = g4 * inverse_n;
      // q = (z - mean) / deviation moves with the parameters at fixed responsibilities: dq/dmean = -1/deviation,
      // dq/dlog_deviation = -q.
      const S d_mean =
          a[1][k] * n + 2 * a[2][k] * moment[1][k] + 3 * a[3][k] * moment[2][k] + 4 * a[4][k] * moment[3][k];
      const S d_scale =
          a[1][k] * moment[1][k] + 2 * a[2][k] * moment[2][k] + 3 * a[3][k] * moment[3][k] + 4 * a[4][k] * moment[4][k];
      direct_mean[k] = gx[Feature::mean][k] + gx[Feature::m][k] - d_mean * c.inverse_deviation[k];
      direct_log_deviation[k] =
          gx[Feature::log_deviation][k] + gx[Feature::log_v][k] + g_step * c.deviation[k] * e1 - d_scale;
    }
    S sum[3][max_components];
    score_sums(item, c, *inverse_temperature, a, sum);
    S temperature = S(T(0));
    for (int k = 0; k < components; ++k) {
      temperature = temperature + c.offset[k] * sum[0][k] - T(0.5) * sum[2][k];
      const S s0 = sum[0][k] * *inverse_temperature, s1 = sum[1][k] * *inverse_temperature,
              s2 = sum[2][k] * *inverse_temperature;
      g_mixture[k] = gx[Feature::log_weight][k] - gx[Feature::weight_step][k] + s0;
      g_mixture[components + k] = direct_mean[k] + s1 * c.inverse_deviation[k];
      g_mixture[2 * components + k] = direct_log_deviation[k] + s2 - s0;
    }
    *g_inverse_temperature = temperature;
  }

 private:
  /// Sums of w r q^p for p = 0 ... 4; the mass is kept above its floor.
  template <class S>
  KOLMO_HD void moments(index_t item, const detail::Components<S>& c, S inverse_temperature,
                        S (&moment)[5][max_components]) const {
    using detail::lanes;
    for (int p = 0; p < 5; ++p)
      for (int k = 0; k < c.padded; ++k) moment[p][k] = S(T(0));
    detail::Shares<S> shares;
    for (index_t begin = 0; begin < count; begin += detail::points_per_chunk) {
      const detail::PointChunk<T> block(masses + item * count + begin, points + item * count + begin, count - begin);
      shares.compute(block, c, inverse_temperature);
      for (int i = 0; i < block.padded; ++i) shares.total[i] = block.w[i] / shares.total[i];
      for (int k = 0; k < components; ++k) {
        S sum0[lanes], sum1[lanes], sum2[lanes], sum3[lanes], sum4[lanes];
        for (int j = 0; j < lanes; ++j) sum0[j] = sum1[j] = sum2[j] = sum3[j] = sum4[j] = S(T(0));
        const S mean = c.mean[k], inverse = c.inverse_deviation[k];
        const S* share = shares.share[k];
        for (int b = 0; b < block.padded; b += lanes) {
          for (int j = 0; j < lanes; ++j) {
            const S q = (block.z[b + j] - mean) * inverse;
            const S p0 = share[b + j] * shares.total[b + j];
            const S p1 = p0 * q, p2 = p1 * q, p3 = p2 * q;
            sum0[j] = sum0[j] + p0;
            sum1[j] = sum1[j] + p1;
            sum2[j] = sum2[j] + p2;
            sum3[j] = sum3[j] + p3;
            sum4[j] = sum4[j] + p3 * q;
          }
        }
        moment[0][k] = moment[0][k] + detail::sum_lanes(sum0);
        moment[1][k] = moment[1][k] + detail::sum_lanes(sum1);
        moment[2][k] = moment[2][k] + detail::sum_lanes(sum2);
        moment[3][k] = moment[3][k] + detail::sum_lanes(sum3);
        moment[4][k] = moment[4][k] + detail::sum_lanes(sum4);
      }
    }
    for (int k = 0; k < c.padded; ++k) moment[0][k] = maximum(moment[0][k], S(detail::smallest<T>()));
  }

  /// Sums of b q^p for p = 0, 1, 2 with b = w r (slope - sum over components of r slope), the gradient with respect to
  /// a score divided by temperature, where slope is the polynomial in q with coefficients a.
  template <class S>
  KOLMO_HD void score_sums(index_t item, const detail::Components<S>& c, S inverse_temperature,
                           const S (&a)[5][max_components], S (&sum)[3][max_components]) const {
    using detail::lanes;
    for (int p = 0; p < 3; ++p)
      for (int k = 0; k < components; ++k) sum[p][k] = S(T(0));
    detail::Shares<S> shares;
    S average[detail::points_per_chunk];
    for (index_t begin = 0; begin < count; begin += detail::points_per_chunk) {
      const detail::PointChunk<T> block(masses + item * count + begin, points + item * count + begin, count - begin);
      shares.compute(block, c, inverse_temperature);
      for (int i = 0; i < block.padded; ++i) shares.total[i] = 1 / shares.total[i];
      shares.multiply(shares.total, block.padded, components);
      for (int i = 0; i < block.padded; ++i) average[i] = S(T(0));
      for (int k = 0; k < components; ++k)
        for (int i = 0; i < block.padded; ++i)
          average[i] = average[i] + shares.share[k][i] * slope(a, k, (block.z[i] - c.mean[k]) * c.inverse_deviation[k]);
      for (int k = 0; k < components; ++k) {
        S sum0[lanes], sum1[lanes], sum2[lanes];
        for (int j = 0; j < lanes; ++j) sum0[j] = sum1[j] = sum2[j] = S(T(0));
        for (int b = 0; b < block.padded; b += lanes) {
          for (int j = 0; j < lanes; ++j) {
            const S q = (block.z[b + j] - c.mean[k]) * c.inverse_deviation[k];
            const S p0 = block.w[b + j] * shares.share[k][b + j] * (slope(a, k, q) - average[b + j]);
            const S p1 = p0 * q;
            sum0[j] = sum0[j] + p0;
            sum1[j] = sum1[j] + p1;
            sum2[j] = sum2[j] + p1 * q;
          }
        }
        sum[0][k] = sum[0][k] + detail::sum_lanes(sum0);
        sum[1][k] = sum[1][k] + detail::sum_lanes(sum1);
        sum[2][k] = sum[2][k] + detail::sum_lanes(sum2);
      }
    }
  }

  template <class S>
  KOLMO_HD static KOLMO_INLINE S slope(const S (&a)[5][max_components], int k, S q) {
    return a[0][k] + q * (a[1][k] + q * (a[2][k] + q * (a[3][k] + q * a[4][k])));
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
    const detail::Components<S> c(mixture, components);
    detail::Shares<S> shares;
    for (index_t begin = 0; begin < count; begin += detail::points_per_chunk) {
      const detail::PointChunk<T> block(nullptr, points + item * count + begin, count - begin);
      shares.compute(block, c, S(T(1)));
      // -log sqrt(2 pi) is left out of the scores.
      for (int i = 0; i < block.count; ++i)
        log_density[begin + i] = shares.top[i] + (log(shares.total[i]) - T(0.91893853320467274178));
    }
  }

  template <class S>
  KOLMO_HD void pull(index_t item, const S* mixture, const S* g, S* g_mixture) const {
    using detail::lanes;
    const detail::Components<S> c(mixture, components);
    S sum[3][max_components];
    for (int p = 0; p < 3; ++p)
      for (int k = 0; k < components; ++k) sum[p][k] = S(T(0));
    detail::Shares<S> shares;
    for (index_t begin = 0; begin < count; begin += detail::points_per_chunk) {
      const detail::PointChunk<T> block(nullptr, points + item * count + begin, count - begin);
      shares.compute(block, c, S(T(1)));
      for (int i = 0; i < block.count; ++i) shares.total[i] = g[begin + i] / shares.total[i];
      for (int i = block.count; i < block.padded; ++i) shares.total[i] = S(T(0));
      for (int k = 0; k < components; ++k) {
        S sum0[lanes], sum1[lanes], sum2[lanes];
        for (int j = 0; j < lanes; ++j) sum0[j] = sum1[j] = sum2[j] = S(T(0));
        for (int b = 0; b < block.padded; b += lanes) {
          for (int j = 0; j < lanes; ++j) {
            const S q = (block.z[b + j] - c.mean[k]) * c.inverse_deviation[k];
            const S p0 = shares.share[k][b + j] * shares.total[b + j];
            const S p1 = p0 * q;
            sum0[j] = sum0[j] + p0;
            sum1[j] = sum1[j] + p1;
            sum2[j] = sum2[j] + p1 * q;
          }
        }
        sum[0][k] = sum[0][k] + detail::sum_lanes(sum0);
        sum[1][k] = sum[1][k] + detail::sum_lanes(sum1);
        sum[2][k] = sum[2][k] + detail::sum_lanes(sum2);
      }
    }
    for (int k = 0; k < components; ++k) {
      g_mixture[k] = sum[0][k];
      g_mixture[components + k] = sum[1][k] * c.inverse_deviation[k];
      g_mixture[2 * components + k] = sum[2][k] - sum[0][k];
    }
  }
};

}  // namespace kolmo::gmm
