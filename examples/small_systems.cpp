// Lorenz's system, a law of one's own, and a smoother that is exact: small_systems SEED
// test: 3

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/eigen.hpp>
#include <kolmo/flow/chains.hpp>
#include <kolmo/flow/kalman.hpp>
#include <kolmo/flow/lorenz.hpp>
#include <kolmo/flow/lyapunov.hpp>
#include <kolmo/flow/spring.hpp>
#include <kolmo/ops/views.hpp>

namespace flow = kolmo::flow;
using kolmo::index_t;
using Tensor = kolmo::Tensor<double, kolmo::Cpu>;

/// The pendulum: one component of its rate, and one of the transposed Jacobian applied to a cotangent.
struct Pendulum {
  double damping = 0.1;
  index_t dimensions() const { return 2; }
  template <class S>
  KOLMO_HD S rate(index_t i, const S* x) const {
    using std::sin;
    return i == 0 ? x[1] : -sin(x[0]) - S(damping) * x[1];
  }
  template <class S>
  KOLMO_HD S pull(index_t i, const S* x, const S* g) const {
    using std::cos;
    return i == 0 ? -cos(x[0]) * g[1] : g[0] - S(damping) * g[1];
  }
};

void lorenz(kolmo::Key key) {
  flow::ChainOptions options;
  options.kept = 1000;  // after 1024 transitions of 0.025 that are thrown away
  options.key = key;
  const Tensor chains = flow::simulate_chains<double>(flow::Lorenz63{}, 4, options);  // [4, 1000, 3]
  std::printf("chains %s\n", chains.shape().to_string().c_str());

  const Tensor start = flow::prior_states<double>(flow::Lorenz63{}, 8, key);
  const auto step = [](const auto& x) { return flow::transition(flow::Lorenz63{}, x, 0.025, 5); };
  const auto exponent = flow::largest_lyapunov_exponent(step, start, 0.025, {.steps = 4000});
  std::printf("largest Lyapunov exponent %.3f +- %.3f\n", exponent.exponent, exponent.standard_error);
}

void smoother(kolmo::Key key) {
  const Tensor position = Tensor::from({1.0, 0.0, 0.0, 0.0}, {1, 4}), noise = Tensor::from({0.01}, {1, 1});
  flow::ChainOptions options;
  options.dt = 0.01;
  options.burn_in = 0;
  options.kept = 200;
  options.key = key;
  const Tensor truth = flow::simulate_chains<double>(flow::DampedSpring{}, 1, options);  // [1, 200, 4]
  const Tensor seen = kolmo::slice(truth, 2, 0, 1);                                      // the position alone
  const auto model = flow::DampedSpring::model(0.01, position, noise);
  const auto filter = flow::kalman_filter(model, seen);
  const auto path = flow::kalman_smoother(model, filter);
  std::printf("log likelihood %.2f, smoothed velocity at the end %.3f, true %.3f\n", filter.log_likelihood.item(),
              path.means.back().to_vector()[1], truth.to_vector()[199 * 4 + 1]);
}

int main(int argc, char** argv) {
  const kolmo::Key key{argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 1};
  const Tensor swing = flow::transition(Pendulum{}, Tensor::from({1.0, 0.0}, {1, 2}), 10.0, 200);
  std::printf("pendulum at t = 10: angle %.4f\n", swing.to_vector()[0]);
  lorenz(key);
  smoother(key);
}
