#pragma once
// Diffusion posterior sampling (Chung et al. 2023, arXiv:2209.14687) in the form of a noise estimate:
//
//   l = -zeta grad err / sqrt(err),   err = |y - A(xhat)|^2 of each sample,
//
// which is 2 zeta times the gradient of the norm that the original code subtracts after each step. The size of the term
// does not depend on the noise of the sensor. For the original form, a step followed by x <- x - zeta grad |y -
// A(xhat)|, see DpsStep in guided_steps.hpp.

#include <kolmo/score/guidance/sda.hpp>

namespace kolmo::score {

struct DpsGuidance {
  double zeta = 1;

  void check() const { kolmo::detail::check_at_least("dps", "zeta", zeta, 0); }

  template <class Call>
  auto operator()(Call& call) const {
    using V = typename Call::Tensor;
    call.record();
    std::vector<double> factor = sample_dots(call.residual(), call.residual());
    for (double& f : factor) f = f > 0 ? 2 * zeta / std::sqrt(f) : 0;
    return kolmo::detail::pull_likelihood(call, V(call.residual() * per_sample<V>(factor, call.residual().rank())),
                                          false);
  }
};

}  // namespace kolmo::score
