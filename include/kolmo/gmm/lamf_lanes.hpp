#pragma once
// What the kernels of the learned fitter share: the components of one mixture and the points of one density in
// arrays of fixed length, so that loops over them vectorise, and each component's share of the density at the points.
// Sums over points run in fixed lanes that are folded in a fixed order; nothing depends on the vector length.

#include <kolmo/core/dual.hpp>
#include <kolmo/core/math.hpp>

namespace kolmo::gmm {

/// Largest number of components of a learned fitter.
inline constexpr int max_components = 32;

namespace detail {

/// Points summed side by side. g++ unrolls loops of up to 16 before it can vectorise them.
inline constexpr int lanes = 32;
/// Points held at once.
inline constexpr int points_per_chunk = 128;

template <class S>
KOLMO_HD KOLMO_INLINE S sum_lanes(const S* lane) {
  S part[8];
  for (int j = 0; j < 8; ++j) part[j] = (lane[j] + lane[j + 16]) + (lane[j + 8] + lane[j + 24]);
  return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

/// A mixture row [log weights, means, log deviations] with room to a multiple of 16, so that loops to `padded` run on
/// whole vectors. The components past `count` are standard normals of weight one, to be left out of every sum.
template <class S>
struct Components {
  int count = 0, padded = 0;
  S log_weight[max_components];
  S mean[max_components];
  S log_deviation[max_components];
  S deviation[max_components];
  S inverse_deviation[max_components];
  S offset[max_components];  // log weight - log deviation

  KOLMO_HD Components(const S* mixture, int components) : count(components), padded((components + 15) / 16 * 16) {
    for (int k = 0; k < count; ++k) {
      log_weight[k] = mixture[k];
      mean[k] = mixture[count + k];
      log_deviation[k] = mixture[2 * count + k];
    }
    for (int k = count; k < padded; ++k) log_weight[k] = mean[k] = log_deviation[k] = S(0);
    for (int k = 0; k < padded; ++k) {
      deviation[k] = exp(log_deviation[k]);
      inverse_deviation[k] = 1 / deviation[k];
      offset[k] = log_weight[k] - log_deviation[k];
    }
  }
};

/// Points of one density; those from `count` to `padded` repeat the last one without mass.
template <class T>
struct PointChunk {
  int count = 0, padded = 0;
  T w[points_per_chunk];
  T z[points_per_chunk];

  /// `masses` may be null: no point has mass then.
  KOLMO_HD PointChunk(const T* masses, const T* points, index_t left) {
    count = static_cast<int>(smaller<index_t>(points_per_chunk, left));
    padded = (count + lanes - 1) / lanes * lanes;
    for (int i = 0; i < count; ++i) z[i] = points[i];
    for (int i = 0; i < count; ++i) w[i] = masses != nullptr ? masses[i] : T(0);
    for (int i = count; i < padded; ++i) {
      z[i] = points[count - 1];
      w[i] = T(0);
    }
  }
};

/// exp(score - top) of every component at every point with score = (offset - q^2 / 2) inverse_temperature and
/// q = (z - mean) / deviation; `top` is the largest score at a point and `total` the sum over the components.
template <class S>
struct Shares {
  S share[max_components][points_per_chunk];
  S top[points_per_chunk];
  S total[points_per_chunk];

  template <class T>
  KOLMO_HD void compute(const PointChunk<T>& points, const Components<S>& components, S inverse_temperature) {
    for (int b = 0; b < points.padded; b += lanes) {
      S largest[lanes], sum[lanes];
      for (int k = 0; k < components.count; ++k) {
        const S offset = components.offset[k], mean = components.mean[k], inverse = components.inverse_deviation[k];
        S* score = share[k] + b;
        for (int j = 0; j < lanes; ++j) {
          const S q = (points.z[b + j] - mean) * inverse;
          score[j] = (offset - T(0.5) * q * q) * inverse_temperature;
        }
      }
      for (int j = 0; j < lanes; ++j) largest[j] = share[0][b + j];
      for (int k = 1; k < components.count; ++k)
        for (int j = 0; j < lanes; ++j) largest[j] = select(share[k][b + j] > largest[j], share[k][b + j], largest[j]);
      for (int j = 0; j < lanes; ++j) sum[j] = S(T(0));
      for (int k = 0; k < components.count; ++k) {
        S* e = share[k] + b;
        for (int j = 0; j < lanes; ++j) {
          e[j] = exp(e[j] - largest[j]);
          sum[j] = sum[j] + e[j];
        }
      }
      for (int j = 0; j < lanes; ++j) {
        top[b + j] = largest[j];
        total[b + j] = sum[j];
      }
    }
  }

  /// share *= factor, point by point.
  KOLMO_HD void multiply(const S* factor, int padded, int components) {
    for (int b = 0; b < padded; b += lanes)
      for (int k = 0; k < components; ++k)
        for (int j = 0; j < lanes; ++j) share[k][b + j] = share[k][b + j] * factor[b + j];
  }
};

}  // namespace detail
}  // namespace kolmo::gmm
