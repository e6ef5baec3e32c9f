#pragma once
// The measures of one fit, run one item at a time by a backend (see gmm/metrics.hpp). Sums are in double.

#include <kolmo/core/math.hpp>
#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/mixture_functions.hpp>

namespace kolmo::gmm::detail {

/// Trapezoid integral of the positive part of a row.
template <class T>
KOLMO_HD double positive_area(const T* row, const Sampling& sampling) {
  double area = 0.0;
  for (index_t i = 0; i < sampling.count; ++i) area += larger(static_cast<double>(row[i]), 0.0) * sampling.weight(i);
  return area;
}

/// w log f of one point; zero where there is no mass.
KOLMO_HD inline double mass_log(double mass, double density) {
  return mass > 0.0 && density > 0.0 ? mass * log(density) : 0.0;
}

template <class T>
struct EntropyItem {
  const T* densities;
  Sampling sampling;
  T* result;

  KOLMO_HD void operator()(index_t item) const {
    const index_t count = sampling.count;
    const T* row = densities + item * count;
    const double area = positive_area(row, sampling);
    double sum = 0.0;
    for (index_t i = 0; i < count; ++i) {
      const double f = larger(static_cast<double>(row[i]), 0.0) / area;
      sum += mass_log(f * sampling.weight(i), f);
    }
    result[item] = static_cast<T>(-sum);
  }
};

template <class T>
struct MetricsItem {
  const T* densities;
  Sampling sampling;
  const T* offsets;       // null for none
  const T* distribution;  // null: running integral of the density
  const T* weights;
  const T* means;
  const T* deviations;
  int components;
  T* density_error;
  T* distribution_error;
  T* trapezoid_error;
  T* cross_entropy;
  T* divergence;
  T* area;
  T* narrowest;

  KOLMO_HD void operator()(index_t item) const {
    const index_t count = sampling.count, offset = item * components;
    const T* row = densities + item * count;
    const double shift = offsets != nullptr ? static_cast<double>(offsets[item]) : 0.0;
    const double total = positive_area(row, sampling);
    double worst_density = 0.0, worst_distribution = 0.0, worst_trapezoid = 0.0;
    double integral = 0.0, model_integral = 0.0, cross = 0.0, negative_entropy = 0.0;
    double previous = 0.0, reached = 0.0;
    for (index_t i = 0; i < count; ++i) {
      const double z = sampling.point(i) + shift;
      const double f = larger(static_cast<double>(row[i]), 0.0) / total;
      double g = 0.0, cumulative = 0.0;
      for (int k = 0; k < components; ++k) {
        const double u = (z - static_cast<double>(means[offset + k])) / static_cast<double>(deviations[offset + k]);
        const double weight = static_cast<double>(weights[offset + k]);
        g += weight * 0.39894228040143267794 / static_cast<double>(deviations[offset + k]) * exp(-0.5 * u * u);
        cumulative += weight * normal_cdf(u);
      }
      const double t = sampling.weight(i);
      // The maximum of a NaN is one: a mixture that is none must not look perfect.
      worst_density = maximum(worst_density, abs(f - g));
      integral += t * f;
      model_integral += t * g;
      worst_trapezoid = maximum(worst_trapezoid, abs(integral - model_integral));
      if (i > 0) reached += 0.5 * (sampling.point(i) - sampling.point(i - 1)) * (previous + f);
      previous = f;
      const double exact = distribution != nullptr ? static_cast<double>(distribution[item * count + i]) : reached;
      worst_distribution = maximum(worst_distribution, abs(exact - cumulative));
      cross -= t * f * log(maximum(g, 1e-12));
      negative_entropy += mass_log(t * f, f);
    }
    double least = 1e30;
    for (int k = 0; k < components; ++k)
      if (weights[offset + k] > T(1e-6))
        least = smaller(least, static_cast<double>(deviations[offset + k]) /
                                   sampling.spacing_at(static_cast<double>(means[offset + k]) - shift));
    density_error[item] = static_cast<T>(worst_density);
    distribution_error[item] = static_cast<T>(worst_distribution);
    trapezoid_error[item] = static_cast<T>(worst_trapezoid);
    cross_entropy[item] = static_cast<T>(cross);
    divergence[item] = static_cast<T>(cross + negative_entropy);
    area[item] = static_cast<T>(model_integral);
    narrowest[item] = static_cast<T>(least);
  }
};

}  // namespace kolmo::gmm::detail
