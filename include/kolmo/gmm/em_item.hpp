#pragma once
// The EM of one density, run one item at a time by a backend (see gmm/em.hpp). Points are taken in chunks
// whose scratch lies on the stack; sums over points run in independent lanes, so that compilers vectorise
// them without being allowed to reorder floating-point arithmetic.

#include <kolmo/core/math.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/gmm/mixture_functions.hpp>
#include <kolmo/gmm/status.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm::detail {

/// Largest number of components of a fit.
inline constexpr int em_max_components = 32;

/// What the items of a batch share; pointers are in the backend's memory.
template <class T>
struct EmProblem {
  const T* masses;
  const T* points;
  index_t point_stride;  // 0 when the batch shares the points
  index_t count;
  int components;
  int max_iterations;
  int starts;
  T tolerance;
  T noise;
  T deviation_floor;
  T floor_in_spacings;
  Key key;
  const T* start_weights;  // null for the quantile start
  const T* start_means;
  const T* start_deviations;
  T* weights;
  T* means;
  T* deviations;
  T* log_likelihood;
  std::int32_t* iterations;
  std::int32_t* status;
};

template <class T>
struct EmConstants;
template <>
struct EmConstants<float> {
  // Masses and responsibilities below these are zero: their products would be subnormal, which costs a
  // hundred cycles each and changes nothing.
  static constexpr float least_mass = 1e-19f;
  static constexpr float cut = 42.0f;
  static constexpr float least_weight = 1e-37f;
};
template <>
struct EmConstants<double> {
  static constexpr double least_mass = 1e-150;
  static constexpr double cut = 345.0;
  static constexpr double least_weight = 1e-300;
};

/// Parameters of one mixture with variances.
template <class T, int max_components>
struct EmParameters {
  T weight[max_components];
  T mean[max_components];
  T variance[max_components];
};

template <class T, int max_components>
struct EmItem {
  EmProblem<T> problem;

  static constexpr int lanes = 16;
  static constexpr int chunk = 128;
  using Constants = EmConstants<T>;
  using Parameters = EmParameters<T, max_components>;

  /// Sums of an E-step; first and second moments are about the component's current mean.
  struct Sums {
    T log_likelihood;
    T mass[max_components];
    T first[max_components];
    T second[max_components];
  };

  struct Density {
    const T* masses;
    const T* points;
    T total;     // of the masses as given
    T mean;
    T variance;
    T spacing;   // zero when the points are not equally spaced
    Status status;
  };

  KOLMO_HD static T sum_lanes(T* lane) {
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int j = 0; j < width; ++j) lane[j] += lane[j + width];
    return lane[0];
  }

  KOLMO_HD Density examine(index_t item) const {
    const index_t n = problem.count;
    Density d{problem.masses + item * n, problem.points + item * problem.point_stride, T(0), T(0), T(0), T(0), Status::ok};
    if (n < 3) {
      d.status = Status::too_short;
      return d;
    }
    bool finite = true, negative = false;
    for (index_t i = 0; i < n; ++i) {
      const T w = d.masses[i];
      finite = finite && is_finite(w) && is_finite(d.points[i]);
      negative = negative || w < T(0);
      d.total += w;
    }
    if (!finite || !is_finite(d.total))
      d.status = Status::non_finite;
    else if (negative)
      d.status = Status::negative_mass;
    else if (!(d.total > T(1e-12)))
      d.status = Status::zero_mass;
    if (d.status != Status::ok) return d;
    for (index_t i = 0; i < n; ++i) d.mean += d.masses[i] * (d.points[i] - d.points[0]);
    d.mean = d.points[0] + d.mean / d.total;
    for (index_t i = 0; i < n; ++i) d.variance += d.masses[i] * square(d.points[i] - d.mean);
    d.variance /= d.total;
    const T average = (d.points[n - 1] - d.points[0]) / T(n - 1);
    bool uniform = true;
    for (index_t i = 1; i < n; ++i) uniform = uniform && abs(d.points[i] - d.points[i - 1] - average) < T(1e-3) * average;
    d.spacing = uniform ? average : T(0);
    return d;
  }

  /// Smallest variance of a component at `mean`.
  KOLMO_HD T variance_floor(const Density& d, T mean) const {
    if (problem.deviation_floor > T(0)) return square(problem.deviation_floor);
    if (d.spacing > T(0)) return square(problem.floor_in_spacings * d.spacing);
    index_t low = 0, high = problem.count - 1;
    while (high - low > 1) {
      const index_t middle = (low + high) / 2;
      if (d.points[middle] <= mean)
        low = middle;
      else
        high = middle;
    }
    return square(problem.floor_in_spacings * (d.points[high] - d.points[low]));
  }

  KOLMO_HD void quantile_start(const Density& d, Parameters& p) const {
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
      p.weight[k] = T(1) / T(components);
      p.mean[k] = mean;
      p.variance[k] = larger(d.variance, variance_floor(d, mean));
    }
  }

  KOLMO_HD Status given_start(index_t item, const Density& d, Parameters& p) const {
    const index_t offset = item * problem.components;
    T total = T(0);
    for (int k = 0; k < problem.components; ++k) {
      p.weight[k] = larger(problem.start_weights[offset + k], T(0));
      p.mean[k] = problem.start_means[offset + k];
      const T deviation = problem.start_deviations[offset + k];
      p.variance[k] = larger(deviation * deviation, variance_floor(d, p.mean[k]));
      total += p.weight[k];
      if (!is_finite(p.weight[k]) || !is_finite(p.mean[k]) || !is_finite(p.variance[k])) return Status::non_finite;
    }
    if (!(total > T(0))) return Status::zero_mass;
    for (int k = 0; k < problem.components; ++k) p.weight[k] /= total;
    return Status::ok;
  }

  /// Adds the points [begin, begin + n), n <= chunk, to lanes of sums.
  KOLMO_HD void accumulate(const Density& d, const Parameters& p, index_t begin, int n, T* likelihood, T (*mass)[lanes],
                           T (*first)[lanes], T (*second)[lanes]) const {
    const int components = problem.components;
    const int padded = (n + lanes - 1) / lanes * lanes;
    alignas(64) T w[chunk], z[chunk], top[chunk], sum[chunk];
    alignas(64) T value[max_components][chunk];
    const T scale = T(1) / d.total;
    for (int i = 0; i < padded; ++i) {
      const bool inside = i < n;
      const T mass_i = inside ? d.masses[begin + i] * scale : T(0);
      w[i] = mass_i < Constants::least_mass ? T(0) : mass_i;
      z[i] = d.points[inside ? begin + i : begin];
      sum[i] = T(0);
    }
    for (int k = 0; k < components; ++k) {
      const T constant =
          log(larger(p.weight[k], Constants::least_weight)) - T(0.5) * log(T(6.28318530717958647693) * p.variance[k]);
      const T factor = T(-0.5) / p.variance[k];
      const T mean = p.mean[k];
      T* target = value[k];
      KOLMO_INDEPENDENT
      for (int i = 0; i < padded; ++i) {
        const T t = z[i] - mean;
        const T logit = constant + factor * t * t;
        target[i] = logit;
        top[i] = k == 0 || logit > top[i] ? logit : top[i];
      }
    }
    for (int k = 0; k < components; ++k) {
      T* target = value[k];
      KOLMO_INDEPENDENT
      for (int i = 0; i < padded; ++i) {
        const T argument = target[i] - top[i];
        const T e = exp(argument < -Constants::cut ? -Constants::cut : argument);
        target[i] = argument < -Constants::cut ? T(0) : e;
        sum[i] += target[i];
      }
    }
    KOLMO_INDEPENDENT
    for (int i = 0; i < padded; ++i) {
      top[i] = w[i] * (top[i] + log(sum[i]));
      w[i] = w[i] / sum[i];
    }
    for (int i = 0; i < padded; i += lanes)
      for (int j = 0; j < lanes; ++j) likelihood[j] += top[i + j];
    for (int k = 0; k < components; ++k) {
      const T mean = p.mean[k];
      const T* source = value[k];
      alignas(64) T a[lanes], b[lanes], c[lanes];
      for (int j = 0; j < lanes; ++j) {
        a[j] = mass[k][j];
        b[j] = first[k][j];
        c[j] = second[k][j];
      }
      for (int i = 0; i < padded; i += lanes) {
        for (int j = 0; j < lanes; ++j) {
          const T r = w[i + j] * source[i + j];
          const T t = z[i + j] - mean;
          a[j] += r;
          b[j] += r * t;
          c[j] += r * t * t;
        }
      }
      for (int j = 0; j < lanes; ++j) {
        mass[k][j] = a[j];
        first[k][j] = b[j];
        second[k][j] = c[j];
      }
    }
  }

  KOLMO_HD void expectation(const Density& d, const Parameters& p, Sums& sums) const {
    alignas(64) T likelihood[lanes];
    alignas(64) T mass[max_components][lanes], first[max_components][lanes], second[max_components][lanes];
    for (int j = 0; j < lanes; ++j) likelihood[j] = T(0);
    for (int k = 0; k < problem.components; ++k)
      for (int j = 0; j < lanes; ++j) mass[k][j] = first[k][j] = second[k][j] = T(0);
    for (index_t begin = 0; begin < problem.count; begin += chunk)
      accumulate(d, p, begin, static_cast<int>(smaller<index_t>(chunk, problem.count - begin)), likelihood, mass, first,
                 second);
    sums.log_likelihood = sum_lanes(likelihood);
    for (int k = 0; k < problem.components; ++k) {
      sums.mass[k] = sum_lanes(mass[k]);
      sums.first[k] = sum_lanes(first[k]);
      sums.second[k] = sum_lanes(second[k]);
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
      p.variance[k] = larger(sums.second[k] / mass - shift * shift, variance_floor(d, p.mean[k]));
    }
  }

  /// Iterates in place; returns the likelihood of the parameters left in p.
  KOLMO_HD T iterate(const Density& d, Parameters& p, int& iterations, Status& status) const {
    Sums sums;
    T previous = T(0);
    iterations = 0;
    status = Status::iteration_limit;
    for (;;) {
      expectation(d, p, sums);
      if (iterations > 0 && abs(sums.log_likelihood - previous) < problem.tolerance) {
        status = Status::ok;
        return sums.log_likelihood;
      }
      if (iterations == problem.max_iterations) return sums.log_likelihood;
      previous = sums.log_likelihood;
      maximisation(d, sums, p);
      ++iterations;
    }
  }

  KOLMO_HD void operator()(index_t item) const {
    const int components = problem.components;
    const index_t offset = item * components;
    const Density d = examine(item);
    Status status = d.status;
    Parameters p, best;
    T best_likelihood = T(0);
    int best_iterations = 0;
    Status best_status = Status::ok;
    for (int start = 0; status == Status::ok && start < problem.starts; ++start) {
      if (problem.start_weights != nullptr) {
        status = given_start(item, d, p);
        if (status != Status::ok) break;
      } else {
        quantile_start(d, p);
        if (start > 0) {
          const Key key = fold_in(fold_in(problem.key, static_cast<std::uint64_t>(item)), static_cast<std::uint64_t>(start));
          for (int k = 0; k < components; ++k)
            p.mean[k] += problem.noise * sqrt(d.variance) * normal<T>(key, static_cast<std::uint64_t>(k));
        }
      }
      int iterations = 0;
      Status ended = Status::ok;
      const T likelihood = iterate(d, p, iterations, ended);
      // A comparison with NaN is false, so that a start that broke down never wins.
      if (is_finite(likelihood) && (start == 0 || !is_finite(best_likelihood) || likelihood > best_likelihood)) {
        best = p;
        best_likelihood = likelihood;
        best_iterations = iterations;
        best_status = ended;
      } else if (start == 0) {
        best_likelihood = likelihood;
      }
    }
    if (status == Status::ok && !is_finite(best_likelihood)) status = Status::non_finite;
    const bool valid = status == Status::ok;
    for (int k = 0; k < components; ++k) {
      problem.weights[offset + k] = valid ? best.weight[k] : T(0);
      problem.means[offset + k] = valid ? best.mean[k] : T(0);
      problem.deviations[offset + k] = valid ? sqrt(best.variance[k]) : T(1);
    }
    sort_by_mean(problem.weights + offset, problem.means + offset, problem.deviations + offset, components);
    problem.log_likelihood[item] = valid ? best_likelihood : T(0);
    problem.iterations[item] = valid ? best_iterations : 0;
    problem.status[item] = static_cast<std::int32_t>(valid ? best_status : status);
  }
};

/// Turns iteration_limit into ok where the number of iterations was prescribed.
struct AcceptLimit {
  std::int32_t* status;
  KOLMO_HD void operator()(index_t i) const {
    if (status[i] == static_cast<std::int32_t>(Status::iteration_limit)) status[i] = static_cast<std::int32_t>(Status::ok);
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
