#pragma once
// What the methods share that solve with a covariance of the observation: with W = 1 / deviation and a covariance C of
// the clean state given the noisy one,
//
//   (I + W A' C A'^T W) u = W (y - A(xhat)),   v = W u = (deviation^2 + A' C A'^T)^-1 (y - A(xhat)).
//
// In these units the sensor's noise is one, so a tolerance is a fraction of it.

#include <kolmo/score/clipped_lanczos.hpp>
#include <kolmo/score/guidance.hpp>

namespace kolmo {

namespace detail {

/// u -> W A' C A'^T W u, and with `identity` u more.
template <class Call, class Covariance, PlainTensor V>
struct WhitenedCovariance {
  Call& call;
  const Covariance& covariance;
  const V& weight;
  bool identity = true;

  V operator()(const V& u) const {
    const V moved = call.operation().push(covariance(call, call.operation().pull(u * weight))) * weight;
    return identity ? V(u + moved) : moved;
  }
};

}  // namespace detail

namespace score {

/// Which iteration solves the linear system of a guided estimator. The last one is for covariances of networks, which
/// are neither symmetric nor positive: see clipped_lanczos.hpp.
enum class Solver { conjugate_gradients, gmres, clipped_lanczos };

}  // namespace score

namespace detail {

/// A'^T v for the v above; writes iterations and residual into the report. A call that is not later in the process than
/// the last one starts from its solution when `warm` is set.
template <class Call, class Covariance>
auto pulled_solution(Call& call, const Covariance& covariance, score::Solver solver,
                     const score::KrylovOptions& options, bool warm) {
  using V = typename Call::Tensor;
  const V weight = 1 / call.deviation();
  const V right = call.residual() * weight;
  auto& memory = call.memory();
  const bool usable = warm && memory.solution.has_value() && memory.solution.shape() == right.shape() &&
                      call.time <= memory.solution_time;
  const WhitenedCovariance<Call, Covariance, V> k{call, covariance, weight, solver != score::Solver::clipped_lanczos};
  const V guess = usable ? memory.solution : V();
  const auto result = solver == score::Solver::clipped_lanczos ? score::clipped_lanczos(k, right, options, guess)
                      : solver == score::Solver::gmres         ? score::gmres(k, right, options, guess)
                                                               : score::conjugate_gradients(k, right, options, guess);
  call.report().solver_iterations = result.iterations;
  call.report().solver_residual = result.residual;
  memory.solution = warm ? result.solution : V();
  memory.solution_time = call.time;
  return call.operation().pull(result.solution * weight);
}

}  // namespace detail
}  // namespace kolmo
