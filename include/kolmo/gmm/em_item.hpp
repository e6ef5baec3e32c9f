#pragma once
// The EM of one density from all its starts, run one item at a time by a backend (see gmm/em.hpp).

#include <kolmo/gmm/em_acceleration.hpp>
#include <kolmo/gmm/em_start.hpp>
#include <kolmo/gmm/mixture_functions.hpp>

namespace kolmo::gmm::detail {

template <class T, int max_components>
struct EmItem : EmIteration<T, max_components> {
  using Iteration = EmIteration<T, max_components>;
  using Iteration::problem;
  using typename Iteration::Density;
  using typename Iteration::Parameters;
  using typename Iteration::Points;

  KOLMO_HD void operator()(index_t item) const {
    const int components = problem.components;
    const index_t offset = item * components;
    const Density d = this->examine(item);
    Parameters p, best;
    Points points;
    if (d.status == Status::ok && this->one_chunk(d)) this->load(d, d.begin, points);

    const EmStart<T, max_components> starts{{problem}};
    EmStartKind kind = problem.start;
    Status status = d.status;
    int runs = 0;
    if (status == Status::ok) {
      status = starts.begin(kind, item, 0, d, p);
      while (status != Status::ok && starts.fallback(kind) != kind) {
        kind = starts.fallback(kind);
        status = starts.begin(kind, item, 0, d, p);
      }
      runs = status == Status::ok ? starts.runs(kind) : 0;
    }
    bool any = false;
    T best_likelihood = T(0);
    int best_iterations = 0;
    Status best_status = Status::ok;
    for (int run = 0; run < runs; ++run) {
      if (run > 0 && starts.begin(kind, item, run, d, p) != Status::ok) continue;
      int iterations = 0;
      Status ended = Status::ok;
      const T likelihood = this->iterate(d, points, p, iterations, ended);
      // A run that broke down never wins.
      if (!is_finite(likelihood) || (any && !(likelihood > best_likelihood))) continue;
      any = true;
      best = p;
      best_likelihood = likelihood;
      best_iterations = iterations;
      best_status = ended;
    }
    if (status == Status::ok && !any) status = Status::non_finite;
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
    problem.used[item] = static_cast<std::int32_t>(kind);
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
