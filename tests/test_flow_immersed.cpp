// The immersed-boundary projection method: against a plain implementation with dense solves, and its own properties.

#include <kolmo/flow/immersed.hpp>

#include <kolmo/backend/fake_device.hpp>

#include "catch.hpp"
#include "immersed_oracle.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using kolmo_test::contains;

namespace {

ImmersedOptions small_options(index_t levels, ImmersedScheme scheme) {
  ImmersedOptions o;
  o.grid = {24, 16, levels, 3, -1, -1, 0, 0};
  o.reynolds = 50;
  o.time_step = 0.04;
  o.scheme = scheme;
  o.incidence = 0.2;
  return o;
}

oracle::Flow oracle_of(const ImmersedOptions& o, const std::vector<Body>& bodies) {
  oracle::Flow f;
  f.nx = static_cast<int>(o.grid.nx);
  f.ny = static_cast<int>(o.grid.ny);
  f.levels = static_cast<int>(o.grid.levels);
  f.ex = static_cast<int>(std::lround(0.25 * f.nx * (1 - o.grid.shift_x)));
  f.ey = static_cast<int>(std::lround(0.25 * f.ny * (1 - o.grid.shift_y)));
  f.d = o.grid.length / f.nx;
  f.x0 = o.grid.corner_x;
  f.y0 = o.grid.corner_y;
  f.reynolds = o.reynolds;
  f.dt = o.time_step;
  f.u0 = std::cos(o.incidence);
  f.v0 = std::sin(o.incidence);
  for (const Body& b : bodies) {
    f.px.insert(f.px.end(), b.x.begin(), b.x.end());
    f.py.insert(f.py.end(), b.y.begin(), b.y.end());
  }
  if (o.scheme == ImmersedScheme::euler) f.ab = {{1, 0}};
  if (o.scheme == ImmersedScheme::ab2) f.ab = {{1.5, -0.5}};
  if (o.scheme == ImmersedScheme::rk3) f.ab = {{8.0 / 15, 0}, {5.0 / 12, -17.0 / 60}, {0.75, -5.0 / 12}};
  if (o.scheme == ImmersedScheme::rk3b)
    f.ab = {{8.0 / 17, 0}, {17.0 / 60, -15.0 / 68}, {5.0 / 12, -17.0 / 60}, {0.75, -5.0 / 12}};
  f.prepare();
  return f;
}

void compare_with_oracle(const ImmersedOptions& o, const std::vector<Body>& bodies, int steps) {
  oracle::Flow f = oracle_of(o, bodies);
  const Immersed<double> flow(o, bodies);
  auto state = flow.start();
  for (int k = 0; k < steps; ++k) {
    f.step();
    flow.step(state);
  }
  const std::vector<double> w = state.vorticity.to_vector(), q = state.flux.to_vector(),
                            force = state.forces.to_vector();
  std::size_t at = 0, edge = 0;
  double worst = 0, worst_flux = 0, worst_force = 0, most = 0;
  for (int l = 0; l < f.levels; ++l) {
    const std::size_t level = static_cast<std::size_t>(l);
    for (int i = 1; i < f.nx; ++i)
      for (int j = 1; j < f.ny; ++j) {
        most = std::max(most, std::abs(w[at]));
        worst = std::max(worst, std::abs(f.omega[level](i, j) - w[at++]));
      }
    for (double e : f.qx[level].v) worst_flux = std::max(worst_flux, std::abs(e - q[edge++]));
    for (double e : f.qy[level].v) worst_flux = std::max(worst_flux, std::abs(e - q[edge++]));
  }
  for (std::size_t k = 0; k < force.size(); ++k) worst_force = std::max(worst_force, std::abs(force[k] - f.force[k]));
  CHECK(most > 1);
  CHECK(worst < 2e-12 * most);
  CHECK(worst_flux < 1e-13);
  CHECK(worst_force < 1e-9);
}

}  // namespace

TEST_CASE("immersed: every scheme agrees with plain loops and dense solves") {
  for (const ImmersedScheme scheme :
       {ImmersedScheme::euler, ImmersedScheme::ab2, ImmersedScheme::rk3, ImmersedScheme::rk3b})
    compare_with_oracle(small_options(1, scheme), {circle(0.1, 0.02, 0.35, 14)}, 5);
}

TEST_CASE("immersed: two and three levels, concentric and shifted, agree with plain loops and dense solves") {
  compare_with_oracle(small_options(2, ImmersedScheme::ab2), {circle(0.1, 0.02, 0.35, 14)}, 5);
  compare_with_oracle(small_options(3, ImmersedScheme::rk3), {circle(0.1, 0.02, 0.35, 14)}, 3);
  ImmersedOptions shifted = small_options(3, ImmersedScheme::ab2);
  shifted.grid.shift_x = 0.5;
  shifted.grid.shift_y = -0.25;
  compare_with_oracle(shifted, {circle(-0.2, 0, 0.25, 10), line(0.8, -0.3, 0.8, 0.3, 5)}, 5);
}
