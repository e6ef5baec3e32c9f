#pragma once
// The largest difference of two distribution functions over the whole line, certified (see gmm/mixture_distance.hpp).
//
// On an interval of length h the difference D lies within h^4 max|D''''| / 384 of the cubic that has its values and
// slopes at both ends, and that cubic between its four control points. An interval whose bound does not exceed what
// has been found is left out, any other is halved; near a maximum the bound falls with the square of h, so that a
// handful of intervals per halving remain. No root of D' can be missed, however narrow a component is.

#include <kolmo/core/math.hpp>
#include <kolmo/gmm/mixture_functions.hpp>

namespace kolmo::gmm::detail {

/// A value and a slope.
struct Contact {
  double value, slope;
};

/// max |He_3(u) phi(u)| over [a, b]: the third derivative of the normal density. It is at the ends or where He_4 is
/// zero, u^2 = 3 -+ sqrt(6).
KOLMO_HD inline double largest_third_derivative(double a, double b) {
  const double at_a = abs(a * (a * a - 3.0)) * exp(-0.5 * a * a), at_b = abs(b * (b * b - 3.0)) * exp(-0.5 * b * b);
  double largest = larger(at_a, at_b) * 0.39894228040143267794;
  const double inner = 0.74196378430272585765, outer = 2.3344142183389772393;
  if ((a < inner && b > inner) || (a < -inner && b > -inner))
    largest = larger(largest, 0.5505878396);
  else if ((a < outer && b > outer) || (a < -outer && b > -outer))
    largest = larger(largest, 0.1495622358);
  return largest;
}

/// A mixture row as a term of a difference.
template <class T>
struct MixtureTerm {
  const T* weights;
  const T* means;
  const T* deviations;
  int components;

  KOLMO_HD bool is_mixture() const {
    for (int k = 0; k < components; ++k)
      if (!(weights[k] >= T(0)) || !is_finite(weights[k]) || !is_finite(means[k]) || !is_finite(deviations[k]) ||
          !(deviations[k] > T(0)))
        return false;
    return true;
  }
  KOLMO_HD Contact at(double z) const {
    Contact sum{0.0, 0.0};
    for (int k = 0; k < components; ++k) {
      if (!(weights[k] > T(0))) continue;
      const double scale = 1.0 / static_cast<double>(deviations[k]);
      const double u = (z - static_cast<double>(means[k])) * scale;
      sum.value += static_cast<double>(weights[k]) * normal_cdf(u);
      sum.slope += static_cast<double>(weights[k]) * scale * 0.39894228040143267794 * exp(-0.5 * u * u);
    }
    return sum;
  }
  /// Bound of the fourth derivative of the distribution function on [a, b].
  KOLMO_HD double fourth(double a, double b) const {
    double sum = 0.0;
    for (int k = 0; k < components; ++k) {
      if (!(weights[k] > T(0))) continue;
      const double scale = 1.0 / static_cast<double>(deviations[k]), mean = static_cast<double>(means[k]);
      sum += static_cast<double>(weights[k]) * square(square(scale)) *
             largest_third_derivative((a - mean) * scale, (b - mean) * scale);
    }
    return sum;
  }
  /// Extends [low, high] to where all but 1e-17 of the mass lies.
  KOLMO_HD void extend(double& low, double& high) const {
    for (int k = 0; k < components; ++k) {
      if (!(weights[k] > T(0))) continue;
      const double mean = static_cast<double>(means[k]), reach = 8.5 * static_cast<double>(deviations[k]);
      low = smaller(low, mean - reach);
      high = larger(high, mean + reach);
    }
  }
};

/// G_1 - G_2.
template <class T>
struct MixtureDifference {
  MixtureTerm<T> one, two;
  KOLMO_HD Contact at(double z) const {
    const Contact a = one.at(z), b = two.at(z);
    return {a.value - b.value, a.slope - b.slope};
  }
  KOLMO_HD double fourth(double a, double b) const { return one.fourth(a, b) + two.fourth(a, b); }
};

/// G - F on one cell, in which F has the value `reached` at `start` and a density that is linear.
template <class T>
struct CellDifference {
  MixtureTerm<T> mixture;
  double start, reached, density, slope;
  KOLMO_HD Contact at(double z) const {
    const Contact g = mixture.at(z);
    const double t = z - start;
    return {g.value - (reached + t * (density + 0.5 * slope * t)), g.slope - (density + slope * t)};
  }
  KOLMO_HD double fourth(double a, double b) const { return mixture.fourth(a, b); }
};

/// max(found, max |D| over [low, high]) to `tolerance`.
template <class Difference>
KOLMO_HD double largest_absolute(const Difference& difference, double low, double high, double found,
                                 double tolerance) {
  constexpr int deepest = 64;
  struct Interval {
    double a, b;
    Contact at_a, at_b;
  };
  Interval stack[deepest];
  int count = 1;
  stack[0] = {low, high, difference.at(low), difference.at(high)};
  found = larger(found, larger(abs(stack[0].at_a.value), abs(stack[0].at_b.value)));
  while (count > 0) {
    const Interval i = stack[--count];
    const double h = i.b - i.a, third = h / 3.0;
    const double control =
        larger(larger(abs(i.at_a.value), abs(i.at_b.value)),
               larger(abs(i.at_a.value + third * i.at_a.slope), abs(i.at_b.value - third * i.at_b.slope)));
    if (control <= found + tolerance &&
        control + square(square(h)) * (1.0 / 384.0) * difference.fourth(i.a, i.b) <= found + tolerance)
      continue;
    const double middle = 0.5 * (i.a + i.b);
    if (!(middle > i.a && middle < i.b) || count + 2 > deepest) continue;
    const Contact at_middle = difference.at(middle);
    found = larger(found, abs(at_middle.value));
    stack[count++] = {i.a, middle, i.at_a, at_middle};
    stack[count++] = {middle, i.b, at_middle, i.at_b};
  }
  return found;
}

template <class T>
struct MixtureDistanceItem {
  const T* weights[2];
  const T* means[2];
  const T* deviations[2];
  int components[2];
  double tolerance;
  T* distance;

  KOLMO_HD MixtureTerm<T> term(int which, index_t item) const {
    const index_t offset = item * components[which];
    return {weights[which] + offset, means[which] + offset, deviations[which] + offset, components[which]};
  }
  KOLMO_HD void operator()(index_t item) const {
    const MixtureDifference<T> difference{term(0, item), term(1, item)};
    if (!difference.one.is_mixture() || !difference.two.is_mixture()) {
      distance[item] = kolmo::detail::not_a_number<T>();
      return;
    }
    double low = kolmo::detail::infinity<double>(), high = -low;
    difference.one.extend(low, high);
    difference.two.extend(low, high);
    distance[item] = low < high ? static_cast<T>(largest_absolute(difference, low, high, 0.0, tolerance)) : T(0);
  }
};

/// Between a mixture and sorted samples: G(x_i) against i / n and (i + 1) / n.
template <class T>
struct SampleDistanceItem {
  MixtureTerm<T> mixtures;
  const T* sorted;
  index_t count;
  T* distance;

  KOLMO_HD void operator()(index_t item) const {
    const index_t offset = item * mixtures.components;
    const MixtureTerm<T> mixture{mixtures.weights + offset, mixtures.means + offset, mixtures.deviations + offset,
                                 mixtures.components};
    bool good = mixture.is_mixture();
    double found = 0.0;
    for (index_t i = 0; i < count && good; ++i) {
      const double x = static_cast<double>(sorted[item * count + i]);
      good = is_finite(x);
      const double g = mixture_distribution_at(mixture, x);
      found = larger(found, larger(g - static_cast<double>(i) / static_cast<double>(count),
                                   static_cast<double>(i + 1) / static_cast<double>(count) - g));
    }
    distance[item] = good ? static_cast<T>(found) : kolmo::detail::not_a_number<T>();
  }
  KOLMO_HD static double mixture_distribution_at(const MixtureTerm<T>& m, double x) {
    double sum = 0.0;
    for (int k = 0; k < m.components; ++k)
      sum += static_cast<double>(m.weights[k]) *
             normal_cdf((x - static_cast<double>(m.means[k])) / static_cast<double>(m.deviations[k]));
    return sum;
  }
};

/// Between a mixture and a density sampled on an equally spaced grid, linear between the points and zero beyond.
template <class T>
struct DensityDistanceItem {
  MixtureTerm<T> mixtures;
  const T* densities;
  const T* offsets;  // null for none
  double first, spacing;
  index_t count;
  double tolerance;
  T* distance;

  KOLMO_HD void operator()(index_t item) const {
    const index_t offset = item * mixtures.components;
    const MixtureTerm<T> mixture{mixtures.weights + offset, mixtures.means + offset, mixtures.deviations + offset,
                                 mixtures.components};
    const T* row = densities + item * count;
    double area = 0.0;
    bool good = mixture.is_mixture();
    for (index_t i = 0; i < count; ++i) {
      good = good && is_finite(row[i]);
      area += larger(static_cast<double>(row[i]), 0.0) * (i == 0 || i == count - 1 ? 0.5 : 1.0) * spacing;
    }
    if (!good || !(area > 0.0) || !is_finite(area)) {
      distance[item] = kolmo::detail::not_a_number<T>();
      return;
    }
    const double start = first + (offsets != nullptr ? static_cast<double>(offsets[item]) : 0.0);
    double found = 0.0, reached = 0.0, density = larger(static_cast<double>(row[0]), 0.0) / area;
    for (index_t i = 0; i + 1 < count; ++i) {
      const double next = larger(static_cast<double>(row[i + 1]), 0.0) / area;
      const double a = start + spacing * static_cast<double>(i);
      const CellDifference<T> cell{mixture, a, reached, density, (next - density) / spacing};
      found = largest_absolute(cell, a, a + spacing, found, tolerance);
      reached += 0.5 * spacing * (density + next);
      density = next;
    }
    distance[item] = static_cast<T>(found);
  }
};

}  // namespace kolmo::gmm::detail
