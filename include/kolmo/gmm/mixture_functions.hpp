#pragma once
// One Gaussian mixture as three short arrays: weights pi, means mu and standard deviations sigma.
//
//   density       g(z) = sum_k pi_k phi((z - mu_k) / sigma_k) / sigma_k
//   distribution  G(z) = sum_k pi_k Phi((z - mu_k) / sigma_k)
//   moments       M_1 = sum pi mu, M_2 = sum pi (mu^2 + v), M_3 = sum pi (mu^3 + 3 mu v),
//                 M_4 = sum pi (mu^4 + 6 mu^2 v + 3 v^2) with v = sigma^2
//
// Plain functions over pointers for loops over single densities, on the host and in kernels; Mixture in
// gmm/mixture.hpp is the same over tensors, with derivatives.

#include <kolmo/core/array.hpp>
#include <kolmo/core/math.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm {

/// Normal density with the given mean and standard deviation.
template <class T>
KOLMO_HD T normal_density(T z, T mean, T deviation) {
  const T u = (z - mean) / deviation;
  return T(0.39894228040143267794) * exp(T(-0.5) * u * u) / deviation;
}

/// Density of a mixture at z.
template <class T>
KOLMO_HD T mixture_density(const T* weights, const T* means, const T* deviations, int components, T z) {
  T sum = T(0);
  for (int k = 0; k < components; ++k) sum += weights[k] * normal_density(z, means[k], deviations[k]);
  return sum;
}

/// Logarithm of the density at z; finite where the density itself underflows.
template <class T>
KOLMO_HD T mixture_log_density(const T* weights, const T* means, const T* deviations, int components, T z) {
  T top = T(0), sum = T(0);
  for (int k = 0; k < components; ++k) {
    const T u = (z - means[k]) / deviations[k];
    const T weight = larger(weights[k], T(1e-37));
    const T value = log(weight / deviations[k]) - T(0.5) * u * u;
    if (k == 0 || value > top) {
      sum = (k == 0 ? T(0) : sum * exp(top - value)) + T(1);
      top = value;
    } else {
      sum += exp(value - top);
    }
  }
  return top + log(sum) - T(0.91893853320467274178);
}

/// Distribution function at z.
template <class T>
KOLMO_HD T mixture_distribution(const T* weights, const T* means, const T* deviations, int components, T z) {
  T sum = T(0);
  for (int k = 0; k < components; ++k) sum += weights[k] * normal_cdf((z - means[k]) / deviations[k]);
  return sum;
}

/// Densities at `count` points; the loop over points vectorises.
template <class T>
KOLMO_HD void mixture_densities(const T* weights, const T* means, const T* deviations, int components, const T* points,
                                index_t count, T* result) {
  for (index_t i = 0; i < count; ++i) result[i] = T(0);
  for (int k = 0; k < components; ++k) {
    const T factor = T(0.39894228040143267794) * weights[k] / deviations[k];
    const T mean = means[k];
    const T scale = T(1) / deviations[k];
    KOLMO_INDEPENDENT
    for (index_t i = 0; i < count; ++i) {
      const T u = (points[i] - mean) * scale;
      result[i] += factor * exp(T(-0.5) * u * u);
    }
  }
}

/// Raw moments of order 0 to 4.
template <class T>
KOLMO_HD Array<T, 5> mixture_raw_moments(const T* weights, const T* means, const T* deviations, int components) {
  Array<T, 5> moment{};
  for (int k = 0; k < components; ++k) {
    const T w = weights[k];
    const T m = means[k];
    const T v = deviations[k] * deviations[k];
    moment[0] += w;
    moment[1] += w * m;
    moment[2] += w * (m * m + v);
    moment[3] += w * m * (m * m + T(3) * v);
    moment[4] += w * (m * m * (m * m + T(6) * v) + T(3) * v * v);
  }
  return moment;
}

/// Mean, and central moments of order 2 to 4, in positions 1 to 4; position 0 holds the sum of weights.
template <class T>
KOLMO_HD Array<T, 5> mixture_central_moments(const T* weights, const T* means, const T* deviations, int components) {
  Array<T, 5> moment{};
  for (int k = 0; k < components; ++k) {
    moment[0] += weights[k];
    moment[1] += weights[k] * means[k];
  }
  for (int k = 0; k < components; ++k) {
    const T w = weights[k];
    const T d = means[k] - moment[1];
    const T v = deviations[k] * deviations[k];
    moment[2] += w * (d * d + v);
    moment[3] += w * d * (d * d + T(3) * v);
    moment[4] += w * (d * d * (d * d + T(6) * v) + T(3) * v * v);
  }
  return moment;
}

/// Orders the components by mean, carrying weights and deviations along; equal means keep their order.
template <class T>
KOLMO_HD void sort_by_mean(T* weights, T* means, T* deviations, int components) {
  for (int k = 1; k < components; ++k) {
    const T weight = weights[k], mean = means[k], deviation = deviations[k];
    int j = k;
    for (; j > 0 && means[j - 1] > mean; --j) {
      weights[j] = weights[j - 1];
      means[j] = means[j - 1];
      deviations[j] = deviations[j - 1];
    }
    weights[j] = weight;
    means[j] = mean;
    deviations[j] = deviation;
  }
}

}  // namespace kolmo::gmm

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
