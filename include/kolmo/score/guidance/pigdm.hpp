#pragma once
// Methods that put a covariance of the observation in place of SDA's var:
//
//   PiGDM (Song et al. 2023)   l = J^T A^T (r^2 A A^T + deviation^2)^-1 (y - A(xhat)), r^2 = (1 / lambda + 1 /
//   rho^2)^-1,
//     lambda the prior's variance: exact for a white Gaussian prior. With lambda = 1, r^2 = sigma^2 / (mu^2 + sigma^2).
//   its diagonal               var = deviation^2 + gamma rho^2 / (1 + rho^2), gamma about the diagonal of A A^T
//   TMPD (Boys et al. 2023)    var = deviation^2 + A C A^T 1, C v = (sigma^2 / mu) J^T v: the diagonal by row sums

#include <kolmo/score/guidance/sda.hpp>
#include <kolmo/score/guidance/solve.hpp>

namespace kolmo {

namespace detail {

/// C v = scale v
struct WhiteScale {
  double scale;
  template <class Call, PlainTensor V>
  V operator()(const Call&, const V& v) const {
    return v * scale;
  }
};

struct AddPositive {
  template <class S>
  KOLMO_HD S operator()(S deviation, S spread) const {
    return deviation * deviation + select(spread > S(0), spread, S(0));
  }
};

}  // namespace detail

namespace score {

struct PigdmGuidance {
  double prior_variance = 1;
  bool diagonal = false;
  double gamma = 1;      ///< of the diagonal form
  int iterations = 100;  ///< at most; products with A A^T, none with the network. One suffices where A A^T = c I.

  void check() const {
    kolmo::detail::check_positive("pigdm", "prior_variance", prior_variance);
    kolmo::detail::check_at_least("pigdm", "gamma", gamma, 0);
    kolmo::detail::check_at_least("pigdm", "iterations", iterations, 1);
  }

  template <class Call>
  auto operator()(Call& call) const {
    using V = typename Call::Tensor;
    using T = typename V::Scalar;
    call.record();
    const double rho2 = call.rho * call.rho;
    if (diagonal) {
      const kolmo::detail::SquareAddScaled<T> variance{T(1), static_cast<T>(rho2 / (1 + rho2))};
      const V var = apply(variance, call.deviation(), V::scalar(static_cast<T>(gamma)));
      return kolmo::detail::pull_likelihood(call, V(call.residual() / kolmo::detail::stable_variance(call, var)),
                                            false);
    }
    const kolmo::detail::WhiteScale white{prior_variance * rho2 / (prior_variance + rho2)};
    const KrylovOptions options{iterations, 0, std::is_same_v<T, float> ? 1e-6 : 1e-12, 1};
    const V g = kolmo::detail::pulled_solution(call, white, Solver::conjugate_gradients, options, false);
    return V(call.pull_clean(g) * call.sigma);
  }
};

struct TmpdGuidance {
  void check() const {}

  template <class Call>
  auto operator()(Call& call) const {
    using V = typename Call::Tensor;
    call.record();
    auto& a = call.operation();
    const V row_sums = a.push(call.covariance(a.pull(V::ones(call.residual().shape()))));
    const V var = apply(kolmo::detail::AddPositive{}, V(broadcast_to(call.deviation(), row_sums.shape())), row_sums);
    return kolmo::detail::pull_likelihood(call, V(call.residual() / var), false);
  }
};

}  // namespace score
}  // namespace kolmo
