// Diagnostics on flows that the spectral solver makes: budgets close along a run, and the largest Lyapunov exponent of
// the laminar flow is the growth rate of its most unstable wave.

#include <cmath>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/flow/budgets.hpp>
#include <kolmo/flow/lyapunov.hpp>
#include <kolmo/flow/spectra.hpp>
#include <kolmo/flow/spectral.hpp>

#include "expect_op_checks.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using namespace kolmo_test;

namespace {

using V = Tensor<double, Cpu>;

template <class Solver>
struct Step {
  const Solver& solver;
  double dt;
  template <class X>
  X operator()(const X& x) const {
    return solver.step(x, dt);
  }
};

/// Random waves of up to three periods.
V random_vorticity(index_t n, double size) {
  std::vector<double> values(static_cast<std::size_t>(n * n), 0);
  Numbers numbers(5);
  for (int kx = -3; kx <= 3; ++kx)
    for (int ky = 0; ky <= 3; ++ky) {
      const double amplitude = numbers.uniform(-size, size), phase = numbers.uniform(0, two_pi);
      if (kx == 0 && ky == 0) continue;
      for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < n; ++j)
          values[static_cast<std::size_t>(i * n + j)] +=
              amplitude * std::cos(two_pi / static_cast<double>(n) * static_cast<double>(kx * i + ky * j) + phase);
    }
  return V::from(std::span<const double>(values), {1, n, n});
}

}  // namespace

TEST_CASE("the account of a forced flow closes, to second order in the time between its entries") {
  KolmogorovOptions options;
  options.size = 48;
  options.reynolds = 60;
  const Spectral<double, Cpu> solver(options);
  const auto closure = [&](double dt) {
    std::vector<Budget> series;
    V state = solver.from_vorticity(random_vorticity(48, 0.5));
    for (int entry = 0; entry < 4; ++entry) {
      const V vorticity = solver.to_vorticity(state);
      series.push_back(budgets(vorticity, options).at(0));
      CHECK(budgets(solver.velocity(state), options).at(0).energy == Approx(series.back().energy).epsilon(1e-12));
      if (entry < 3) state = solver.transition(state, dt);
    }
    return budget_closure(series, dt);
  };
  const BudgetClosure coarse = closure(0.04), fine = closure(0.02);
  CHECK(fine.relative_energy < 1e-3);
  CHECK(fine.relative_enstrophy < 1e-2);
  CHECK(std::log2(std::abs(coarse.energy[0] / fine.energy[0])) == Approx(2).margin(0.3));
  CHECK(std::log2(std::abs(coarse.enstrophy[0] / fine.enstrophy[0])) == Approx(2).margin(0.3));
}

TEST_CASE("the exponent of the laminar flow vanishes at the critical Reynolds number, and is its growth rate above") {
  const auto exponent = [](double reynolds, double drag, double dt, const LyapunovOptions& how) {
    KolmogorovOptions options;
    options.size = 32;
    options.reynolds = reynolds;
    options.drag = drag;
    const Spectral<double, Cpu> solver(options);
    std::vector<double> laminar;
    for (index_t i = 0; i < 32; ++i)
      for (index_t j = 0; j < 32; ++j)
        laminar.push_back(-options.forcing_frequency() * options.laminar_speed() *
                          std::cos(options.forcing_frequency() * options.spacing() * static_cast<double>(j)));
    const V state = solver.from_vorticity(V::from(std::span<const double>(laminar), {1, 32, 32}));
    return largest_lyapunov_exponent(Step<Spectral<double, Cpu>>{solver, dt}, state, dt, how).exponent;
  };
  CHECK(std::abs(exponent(12.983279, 0.1, 0.1, {.steps = 400, .discard = 1200})) < 1e-3);
  CHECK(exponent(12.5, 0.1, 0.1, {.steps = 400, .discard = 1200}) < -2e-3);
  // Round-off grows as well, so that there is time only until the second wave, of rate 2.06, is down to a tenth.
  CHECK(exponent(40, 0, 0.02, {.steps = 50, .discard = 400}) == Approx(2.3534).margin(0.05));
}

TEST_CASE("errors in the flow of the data set grow at the rate 0.57", "[long]") {
  KolmogorovOptions options;
  options.size = 128;
  const Spectral<double, Cpu> solver(options);
  V state = solver.from_vorticity(random_vorticity(128, 0.5));
  for (int unit = 0; unit < 15; ++unit) state = solver.transition(state, 1.0);
  const auto exponent = largest_lyapunov_exponent(Step<Spectral<double, Cpu>>{solver, 0.005}, state, 0.005,
                                                  {.steps = 8000, .discard = 400});
  INFO(exponent.exponent << " +- " << exponent.standard_error);
  CHECK(std::abs(exponent.exponent - 0.57) < 0.15);
}
