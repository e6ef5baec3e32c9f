#pragma once
// Moment-matching posterior sampling (Rozet et al. 2024, arXiv:2405.13712): p(x | x_t) has mean xhat and covariance
// C = (sigma^2 / mu) J, so p(y | x_t) ~ N(A(xhat), deviation^2 + A C A^T) and
//
//   l = J^T A'^T v,   (deviation^2 + A' C A'^T) v = y - A(xhat).
//
// The system is solved by a few Krylov iterations, one product with J^T each, over one recorded forward pass; one more
// gives l. Exact for Gaussian priors when solved exactly: the gain is bounded for any number of observations.

#include <kolmo/score/guidance/solve.hpp>

namespace kolmo {

namespace detail {

/// C v = (sigma^2 / mu) J^T v
struct NetworkCovariance {
  template <class Call, PlainTensor V>
  V operator()(Call& call, const V& v) const {
    return call.covariance(v);
  }
};

}  // namespace detail

namespace score {

struct MmpsGuidance {
  int iterations = 10;     ///< at most, per call
  double tolerance = 0.1;  ///< ends when the residual's rms is this fraction of the sensor's noise
  Solver solver = Solver::conjugate_gradients;
  bool warm_start = false;  ///< from the solution of the call before
  bool limit = false;       ///< as GuidanceOptions::limit

  bool limits() const { return limit; }

  void check() const {
    if (iterations < 1) throw ArgumentError("mmps: iterations must be at least 1, given " + std::to_string(iterations));
    if (!(tolerance >= 0) || !(tolerance < 1e300))
      throw ArgumentError("mmps: tolerance must be finite and at least 0, given " + io::to_text(tolerance));
  }

  template <class Call>
  auto operator()(Call& call) const {
    using V = typename Call::Tensor;
    call.record();
    const V g = kolmo::detail::pulled_solution(call, kolmo::detail::NetworkCovariance{}, solver,
                                               KrylovOptions{iterations, tolerance, 0, 1}, warm_start);
    return V(call.pull_clean(g) * call.sigma);
  }
};

}  // namespace score
}  // namespace kolmo
