#pragma once
// The EM of one density, run one item at a time by a backend (see gmm/em.hpp). Points are taken in chunks
// whose scratch lies on the stack; sums over points run in independent lanes, so that compilers vectorise
// them without being allowed to reorder floating-point arithmetic.

#include <kolmo/gmm/em_acceleration.hpp>
#include <kolmo/gmm/mixture_functions.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm::detail {

template <class T, int max_components>
struct EmItem : EmIteration<T, max_components> {
  using Step = EmIteration<T, max_components>;
  using typename Step::Density;
  using typename Step::Parameters;
  using typename Step::Points;
  using typename Step::Sums;
  using Step::problem;

  KOLMO_HD void operator()(index_t item) const {
    const int components = problem.components;
    const index_t offset = item * components;
    const Density d = this->examine(item);
    Status status = d.status;
    Parameters p, best;
    Points points;
    if (status == Status::ok && this->one_chunk(d)) this->load(d, d.begin, points);
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
      const T likelihood = this->iterate(d, points, p, iterations, ended);
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
