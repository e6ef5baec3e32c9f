#pragma once
// Guidance without derivatives of the network: a fitted covariance in place of (sigma^2 / mu) J,
//
//   xhat' = xhat + C A^T (deviation^2 + A C A^T)^-1 (y - A xhat),   eps' = (x_t - mu xhat') / sigma.
//
//   JFPS        C = (Sigma^-1 + rho^-2 I)^-1 for a Gaussian prior of covariance Sigma: exact when the prior is that
//   proximal    C = (rho^2 / lambda) I: the data step of DiffPIR (Zhu et al. 2023, arXiv:2305.08995) and plug-and-play
//   projection  C -> infinity: xhat' is the nearest state with A xhat' = y (DDNM, Wang et al. 2022); for a mask the
//               observed entries are replaced
//
// A nonlinear A is linearised at xhat.

#include <kolmo/score/covariance.hpp>
#include <kolmo/score/guidance/pigdm.hpp>

namespace kolmo {

namespace detail {

template <class C>
struct GaussianPosteriorCovariance {
  const C& prior;
  template <class Call, PlainTensor V>
  V operator()(const Call& call, const V& v) const {
    return prior.given_noise(v, call.rho);
  }
};

/// A' A'^T u
template <class Call>
struct OperatorGram {
  Call& call;
  template <PlainTensor V>
  V operator()(const V& u) const {
    return call.operation().push(call.operation().pull(u));
  }
};

/// How much eps moves when xhat moves by C A^T v: (mu / sigma) C A^T v.
template <class Call, class Covariance>
auto moved_estimate(Call& call, const Covariance& covariance, const score::KrylovOptions& options) {
  using V = typename Call::Tensor;
  const V g = pulled_solution(call, covariance, score::Solver::conjugate_gradients, options, false);
  return V(covariance(call, g) * (call.mu / call.sigma));
}

}  // namespace detail

namespace score {

/// `C` is one of the covariances of covariance.hpp.
template <class C>
struct JfpsGuidance {
  C prior;
  int iterations = 200;     ///< at most; products with the covariance, none with the network
  double tolerance = 1e-3;  ///< ends when the residual's rms is this fraction of the sensor's noise

  void check() const {
    kolmo::detail::check_at_least("jfps", "iterations", iterations, 1);
    kolmo::detail::check_at_least("jfps", "tolerance", tolerance, 0);
  }

  template <class Call>
  auto operator()(Call& call) const {
    const kolmo::detail::GaussianPosteriorCovariance<C> covariance{prior};
    return kolmo::detail::moved_estimate(call, covariance, KrylovOptions{iterations, tolerance, 0, 1});
  }
};
template <class C>
JfpsGuidance(C, int = 200, double = 1e-3) -> JfpsGuidance<C>;

struct ProximalGuidance {
  double lambda = 10;
  int iterations = 200;
  double tolerance = 1e-3;

  void check() const {
    kolmo::detail::check_positive("proximal", "lambda", lambda);
    kolmo::detail::check_at_least("proximal", "iterations", iterations, 1);
    kolmo::detail::check_at_least("proximal", "tolerance", tolerance, 0);
  }

  template <class Call>
  auto operator()(Call& call) const {
    const kolmo::detail::WhiteScale white{call.rho * call.rho / lambda};
    return kolmo::detail::moved_estimate(call, white, KrylovOptions{iterations, tolerance, 0, 1});
  }
};

/// The sensor's noise plays no part: for observations (nearly) without any.
struct ProjectionGuidance {
  int iterations = 200;

  void check() const { kolmo::detail::check_at_least("projection", "iterations", iterations, 1); }

  template <class Call>
  auto operator()(Call& call) const {
    using V = typename Call::Tensor;
    const kolmo::detail::OperatorGram<Call> gram{call};
    const double relative = std::is_same_v<typename V::Scalar, float> ? 1e-5 : 1e-10;
    const auto result = conjugate_gradients(gram, call.residual(), KrylovOptions{iterations, 0, relative, 0});
    call.report().solver_iterations = result.iterations;
    call.report().solver_residual = result.residual;
    return V(call.operation().pull(result.solution) * (call.mu / call.sigma));
  }
};

}  // namespace score
}  // namespace kolmo
