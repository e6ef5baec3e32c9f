#pragma once
// The EM of one density, run one item at a time by a backend (see gmm/em.hpp). Points are taken in chunks
// whose scratch lies on the stack; sums over points run in independent lanes, so that compilers vectorise
// them without being allowed to reorder floating-point arithmetic.

#include <kolmo/gmm/em_start.hpp>
#include <kolmo/gmm/mixture_functions.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm::detail {

template <class T, int max_components>
struct EmItem : EmStart<T, max_components> {
  using Start = EmStart<T, max_components>;
  using Density = typename Start::Density;
  using Parameters = typename Start::Parameters;
  using Constants = EmConstants<T>;
  using Start::problem;

  static constexpr int lanes = 16;
  static constexpr int chunk = 128;

  /// Sums of an E-step; first and second moments are about the component's current mean.
  struct Sums {
    T log_likelihood;
    T mass[max_components];
    T first[max_components];
    T second[max_components];
  };

  KOLMO_HD static T sum_lanes(T* lane) {
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int j = 0; j < width; ++j) lane[j] += lane[j + width];
    return lane[0];
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
      p.variance[k] = larger(sums.second[k] / mass - shift * shift, this->variance_floor(d, p.mean[k]));
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
    const Density d = this->examine(item);
    Status status = d.status;
    Parameters p, best;
    T best_likelihood = T(0);
    int best_iterations = 0;
    Status best_status = Status::ok;
    for (int start = 0; status == Status::ok && start < problem.starts; ++start) {
      if (problem.start_weights != nullptr) {
        status = this->given_start(item, d, p);
        if (status != Status::ok) break;
      } else {
        this->quantile_start(d, p);
        if (start > 0) this->add_noise(item, start, d, p);
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
    if (status[i] == static_cast<std::int32_t>(Status::iteration_limit))
      status[i] = static_cast<std::int32_t>(Status::ok);
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
