// Linear stability of the laminar Kolmogorov flow: the eigenvalues of the spectral solver's tangent, wave number by
// wave number along the stream, against the table of section 5.1 of the specification.

#include <Eigen/Eigenvalues>
#include <complex>
#include <limits>

#include "flow_spectral_support.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using namespace kolmo_test;

namespace {

using V = Tensor<double, Cpu>;

struct Case {
  index_t size;
  double reynolds, drag;
  index_t forcing_wavenumber;
  double aspect = 1;
};

/// Largest real part among the eigenvalues of perturbations with `waves` waves along x. The tangent of dw/dt leaves
/// their space, and there it is complex-linear.
double growth_rate(const Case& c, index_t waves) {
  KolmogorovOptions flow;
  flow.size = c.size;
  flow.reynolds = c.reynolds;
  flow.drag = c.drag;
  flow.forcing_wavenumber = c.forcing_wavenumber;
  const Spectral<double> solver(flow, {.aspect = c.aspect});
  const double amplitude = flow.laminar_speed() * flow.forcing_frequency();
  const auto laminar =
      solver
          .from_vorticity(field_of<V>(
              c.size,
              [&](double, double y) { return -amplitude * std::cos(static_cast<double>(c.forcing_wavenumber) * y); }))
          .to_vector();
  const index_t cut = solver.modes().cut, m = cut + 1, modes = 2 * cut + 1, state = c.size * 2 * m;
  // Mode (waves, q), q = -cut ... cut; a negative q is the conjugate of (-waves, -q).
  const auto place = [&](index_t q) { return ((q >= 0 ? waves : c.size - waves) * 2) * m + (q >= 0 ? q : -q); };
  std::vector<double> base, directions(static_cast<std::size_t>(modes * state), 0.0);
  for (index_t q = -cut; q <= cut; ++q) {
    base.insert(base.end(), laminar.begin(), laminar.end());
    const index_t offset = (q + cut) * state;
    directions[static_cast<std::size_t>(offset + place(q))] = 1;
    if (q == 0) directions[static_cast<std::size_t>(offset + (c.size - waves) * 2 * m)] = 1;
  }
  const auto x = V::from(std::span<const double>(base), solver.state_shape(modes));
  const auto dx = V::from(std::span<const double>(directions), solver.state_shape(modes));
  const auto y = jvp([&](const auto& w) { return solver.tendency(w); }, x, dx).tangent.to_vector();
  Eigen::MatrixXcd matrix(modes, modes);
  for (index_t from = -cut; from <= cut; ++from)
    for (index_t to = -cut; to <= cut; ++to) {
      const auto at = static_cast<std::size_t>((from + cut) * state + place(to));
      const double imaginary = y[at + static_cast<std::size_t>(m)];
      matrix(to + cut, from + cut) = {y[at], to >= 0 ? imaginary : -imaginary};
    }
  const Eigen::VectorXcd values = Eigen::ComplexEigenSolver<Eigen::MatrixXcd>(matrix, false).eigenvalues();
  double top = -std::numeric_limits<double>::infinity();
  for (index_t i = 0; i < modes; ++i) top = std::fmax(top, values(i).real());
  return top;
}

/// Where the growth rate changes its sign, by the secant rule.
double critical_reynolds(Case c, index_t waves, double a, double b) {
  const auto rate = [&](double reynolds) {
    c.reynolds = reynolds;
    return growth_rate(c, waves);
  };
  double fa = rate(a), fb = rate(b);
  for (int i = 0; i < 8 && std::abs(b - a) > 1e-8 * b; ++i) {
    const double next = b - fb * (b - a) / (fb - fa);
    a = b;
    fa = fb;
    b = next;
    fb = rate(b);
  }
  return b;
}

}  // namespace

TEST_CASE("growth rates of perturbations of the laminar flow") {
  const double expected[3][3] = {{1.4382, 2.3534, 2.0646}, {2.3443, 3.8146, 3.4541}, {5.5611, 8.8981, 8.1515}};
  const Case cases[3] = {{64, 40, 0, 4}, {128, 100, 0.1, 4}, {192, 1000, 0.1, 4}};
  for (int i = 0; i < 3; ++i)
    for (index_t waves = 1; waves <= 3; ++waves)
      CHECK(growth_rate(cases[i], waves) == Approx(expected[i][waves - 1]).margin(1.5e-4));
}

TEST_CASE("critical Reynolds numbers of the laminar flow") {
  CHECK(critical_reynolds({32, 0, 0, 4}, 1, 9.9, 10.1) == Approx(9.966923).epsilon(1e-6));
  CHECK(critical_reynolds({32, 0, 0, 2}, 1, 4.0, 4.1) == Approx(4.048606).epsilon(1e-6));
  CHECK(critical_reynolds({64, 0, 0, 8}, 1, 27.0, 27.5) == Approx(27.225229).epsilon(1e-6));
  CHECK(critical_reynolds({48, 0, 0.1, 4}, 2, 12.9, 13.1) == Approx(12.983279).epsilon(1e-6));
  CHECK(critical_reynolds({32, 0, 0.1, 4}, 1, 12.9, 13.1) == Approx(13.002455).epsilon(1e-6));
}

TEST_CASE("in long boxes the flow of one wave becomes unstable at sqrt(2), in the square one never") {
  // Re = U0 / (nu k_f) with U0 = A / nu is the square of 1 / nu.
  const auto critical = [](double wavenumber) {
    const double reynolds = critical_reynolds({16, 0, 0, 1, 1 / wavenumber}, 1, 1.18, 1.22);
    return reynolds * reynolds;
  };
  CHECK(critical(0.1) == Approx(1.43556).epsilon(1e-5));
  CHECK(critical(0.01) == Approx(1.41443).epsilon(1e-5));
  for (const double reynolds : {5.0, 50.0}) CHECK(growth_rate({32, reynolds, 0, 1}, 1) < 1e-9);
}
