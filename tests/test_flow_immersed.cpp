// The immersed-boundary projection method: against a plain implementation with dense solves, and its own properties.

#include <kolmo/flow/immersed.hpp>


#include "catch.hpp"
#include "device.hpp"
#include "immersed_oracle.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using kolmo_test::TestDevice;
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

TEST_CASE("immersed: the regularised delta has sum 1, first moment 0 and sum of squares 1/2") {
  for (double shift = 0; shift < 1; shift += 0.05) {
    double sum = 0, moment = 0, squares = 0;
    for (int k = -3; k <= 3; ++k) {
      const double r = k - shift, w = regularised_delta(r);
      sum += w;
      moment += r * w;
      squares += w * w;
    }
    CHECK(sum == Approx(1).epsilon(1e-14));
    CHECK(moment == Approx(0).margin(1e-14));
    CHECK(squares == Approx(0.5).epsilon(1e-14));
  }
  CHECK(regularised_delta(1.5) == 0);
  CHECK(regularised_delta(-1.7) == 0);
}

TEST_CASE("immersed: interpolating what one point spreads gives a quarter") {
  const ImmersedGrid grid{24, 16, 1, 3, -1, -1, 0, 0};
  for (const auto& stencil : flow::detail::edge_stencils(grid, {0.123}, {0.456})) {
    double sum = 0, squares = 0;
    for (double a : stencil.weight_x)
      for (double b : stencil.weight_y) {
        sum += a * b;
        squares += a * b * a * b;
      }
    CHECK(sum == Approx(1).epsilon(1e-13));
    CHECK(squares == Approx(0.25).epsilon(1e-13));
  }
}

TEST_CASE("immersed: nested solves satisfy L u = K f and (1 + alpha L) u = K f for every wave number") {
  for (const index_t levels : {1, 2}) {
    const ImmersedGrid grid{16, 8, levels, 2, -1, -0.5, 0, 0};
    const flow::detail::NestedElliptic<double, Cpu> elliptic(grid);
    const flow::detail::GridShape g(grid);
    const std::size_t size = static_cast<std::size_t>(levels * g.nodes());
    double worst = 0;
    for (int p = 1; p < 16; ++p)
      for (int q = 1; q < 8; ++q)
        for (const double alpha : {0.0, -0.03}) {
          std::vector<double> f(size);
          for (index_t l = 0; l < levels; ++l)
            for (index_t i = 1; i < 16; ++i)
              for (index_t j = 1; j < 8; ++j)
                f[static_cast<std::size_t>(l * g.nodes() + g.node(i, j))] =
                    std::sin(3.14159265358979 * static_cast<double>(i * p) / 16) *
                    std::sin(3.14159265358979 * static_cast<double>(j * q) / 8);
          std::vector<double> u = f, rings(static_cast<std::size_t>(levels * g.ring()), 0.0);
          elliptic.coarsen(f.data());
          elliptic.solve([&](index_t l) { return alpha == 0 ? elliptic.laplace(1, l) : elliptic.helmholtz(alpha, l); },
                         u.data(), rings.data());
          for (index_t l = 0; l < levels; ++l) {
            const flow::detail::NodeView<double> view(g, u.data(), rings.data(), l);
            const double d = grid.spacing(l);
            const auto at = [&](index_t i, index_t j) {
              return j == 0 ? view.south(i) : j == g.ny ? view.north(i) : view.line(i)[j];
            };
            for (index_t i = 1; i < 16; ++i)
              for (index_t j = 1; j < 8; ++j) {
                const double laplacian =
                    (at(i - 1, j) + at(i + 1, j) + at(i, j - 1) + at(i, j + 1) - 4 * at(i, j)) / (d * d);
                const double left = alpha == 0 ? laplacian : at(i, j) + alpha * laplacian;
                worst = std::max(worst, std::abs(left - f[static_cast<std::size_t>(l * g.nodes() + g.node(i, j))]));
              }
          }
        }
    CHECK(worst < 1e-10);
  }
}

TEST_CASE("immersed: a start is the free stream, and fluxes never have a divergence") {
  ImmersedOptions o = small_options(3, ImmersedScheme::ab2);
  const Immersed<double> flow(o, {circle(0.1, 0.02, 0.35, 14)});
  auto state = flow.start();
  const ImmersedGrid& g = flow.grid();
  const auto check = [&](double bound) {
    const auto q = state.flux.to_vector();
    double worst = 0;
    for (index_t l = 0; l < g.levels; ++l) {
      const double* x = q.data() + l * g.fluxes();
      const double* y = x + g.fluxes_x();
      for (index_t i = 0; i < g.nx; ++i)
        for (index_t j = 0; j < g.ny; ++j)
          worst = std::max(worst, std::abs(x[(i + 1) * g.ny + j] - x[i * g.ny + j] + y[i * (g.ny + 1) + j + 1] -
                                           y[i * (g.ny + 1) + j]));
    }
    CHECK(worst < bound);
  };
  const auto q = state.flux.to_vector();
  CHECK(q[0] == Approx(std::cos(0.2) * g.spacing(0)));
  CHECK(q.back() == Approx(std::sin(0.2) * g.spacing(2)));
  check(1e-16);
  flow.run(state, 5);
  check(1e-15);
}

TEST_CASE("immersed: the fluid moves with the body after every step, on any number of levels and in every scheme") {
  for (const index_t levels : {1, 2, 3})
    for (const ImmersedScheme scheme : {ImmersedScheme::ab2, ImmersedScheme::rk3}) {
      ImmersedOptions o = small_options(levels, scheme);
      o.grid.nx = 48;
      o.grid.ny = 32;
      o.time_step = 0.02;
      const Immersed<double> flow(o, {circle_with_spacing(0, 0, 0.3, 0.0625), line(1, -0.3, 1.2, 0.3, 9)});
      auto state = flow.start();
      for (int k = 0; k < 10; ++k) {
        flow.step(state);
        CHECK(flow.slip(state) < 1e-12);
      }
      CHECK(flow.matrix_asymmetry() < (levels == 1 ? 1e-13 : 2e-4));
    }
}

TEST_CASE("immersed: the first drag after an impulsive start goes with one over the time step") {
  ImmersedOptions o = small_options(1, ImmersedScheme::ab2);
  o.incidence = 0;
  double drag[2];
  for (int k = 0; k < 2; ++k) {
    o.time_step = k == 0 ? 0.002 : 0.001;
    const Immersed<double> flow(o, {circle(0.1, 0.02, 0.35, 14)});
    auto state = flow.start();
    flow.step(state);
    drag[k] = flow.forces(state)[0].drag;
  }
  CHECK(drag[1] > 100);
  CHECK(drag[1] / drag[0] == Approx(2).epsilon(0.05));
}

TEST_CASE("immersed: a symmetric set-up stays symmetric and has no lift; a pulse across breaks the symmetry") {
  ImmersedOptions o = small_options(2, ImmersedScheme::rk3);
  o.grid = {48, 32, 2, 3, -1, -1, 0.5, 0};
  o.incidence = 0;
  const std::vector<Body> body{circle(0, 0, 0.3, 30)};
  {
    const Immersed<double> flow(o, body);
    auto state = flow.start();
    flow.run(state, 30);
    CHECK(std::abs(flow.forces(state)[0].lift) < 1e-10);
    const auto w = state.vorticity.to_vector();
    for (index_t i = 0; i < 47; ++i)
      for (index_t j = 0; j < 31; ++j)
        REQUIRE(std::abs(w[static_cast<std::size_t>(i * 31 + j)] + w[static_cast<std::size_t>(i * 31 + 30 - j)]) <
                1e-9);
  }
  o.pulse = {0.2, 0.1, 0.5};
  const Immersed<double> flow(o, body);
  auto state = flow.start();
  flow.run(state, 10);
  CHECK(std::abs(flow.forces(state)[0].lift) > 1e-2);
  CHECK(flow.slip(state) < 1e-12);
}

TEST_CASE("immersed: an Oseen vortex without a body converges with second order") {
  double error[2];
  for (int k = 0; k < 2; ++k) {
    ImmersedOptions o;
    const index_t n = k == 0 ? 32 : 64;
    o.grid = {n, n, 3, 4, -2, -2, 0, 0};
    o.reynolds = 20;
    o.speed = 0;
    o.scheme = ImmersedScheme::rk3;
    o.time_step = k == 0 ? 0.04 : 0.02;
    const Immersed<double> flow(o);
    const double circulation = 1.5, t0 = 1, t1 = 2;
    const auto exact = [&](double t) {
      std::vector<double> w;
      for (index_t l = 0; l < 3; ++l)
        for (index_t i = 1; i < n; ++i)
          for (index_t j = 1; j < n; ++j) {
            const double x = o.grid.x(l, static_cast<double>(i)), y = o.grid.y(l, static_cast<double>(j));
            w.push_back(circulation * o.reynolds / (4 * 3.14159265358979 * t) *
                        std::exp(-(x * x + y * y) * o.reynolds / (4 * t)));
          }
      return w;
    };
    auto state = flow.from_vorticity(Tensor<double, Cpu>::from(exact(t0), o.grid.node_shape()), t0);
    flow.run(state, std::lround((t1 - t0) / o.time_step));
    const auto w = state.vorticity.to_vector(), e = exact(t1);
    error[k] = 0;
    for (index_t i = 0; i < o.grid.nodes(); ++i)
      error[k] = std::max(error[k], std::abs(w[static_cast<std::size_t>(i)] - e[static_cast<std::size_t>(i)]));
  }
  CHECK(error[0] < 0.02);
  CHECK(error[0] / error[1] > 3.5);
  CHECK(error[0] / error[1] < 4.8);
}

TEST_CASE("immersed: second order in time with a body") {
  for (const ImmersedScheme scheme : {ImmersedScheme::ab2, ImmersedScheme::rk3}) {
    ImmersedOptions o = small_options(1, scheme);
    o.time_step = 0.02;
    const std::vector<Body> body{circle(0.1, 0.02, 0.35, 14)};
    const Immersed<double> first(o, body);
    auto developed = first.start();
    first.run(developed, 50);
    developed.nonlinear = {};
    std::vector<std::vector<double>> w;
    for (int k = 0; k < 3; ++k) {
      o.time_step = 0.02 / (1 << k);
      const Immersed<double> flow(o, body);
      auto state = developed;
      flow.run(state, 20 << k);
      w.push_back(state.vorticity.to_vector());
    }
    double coarse = 0, fine = 0;
    for (std::size_t i = 0; i < w[0].size(); ++i) {
      coarse += std::pow(w[0][i] - w[1][i], 2);
      fine += std::pow(w[1][i] - w[2][i], 2);
    }
    CHECK(std::sqrt(coarse / fine) > 3.2);
  }
}

TEST_CASE("immersed: steps that are too long or states that blow up throw, and leave the state as it was") {
  ImmersedOptions o = small_options(1, ImmersedScheme::ab2);
  o.time_step = 0.2;
  const Immersed<double> flow(o, {circle(0.1, 0.02, 0.35, 14)});
  auto state = flow.start();
  const auto before = state.flux.to_vector();
  try {
    flow.run(state, 3);
    FAIL("expected an UnstableStep");
  } catch (const UnstableStep& e) {
    CHECK(e.step() == 1);
    CHECK(e.number() > 1);
    CHECK(e.cell()[0] >= 0);
    CHECK_THAT(std::string(e.what()), contains("time step of at most"));
  }
  CHECK(state.step == 0);
  CHECK(state.flux.to_vector() == before);

  o.time_step = 0.02;
  const Immersed<double> good(o, {circle(0.1, 0.02, 0.35, 14)});
  auto w = good.start().vorticity.to_vector();
  w[40] = std::nan("");
  auto bad = good.from_vorticity(Tensor<double, Cpu>::from(w, o.grid.node_shape()));
  CHECK_THROWS_WITH(good.step(bad), contains("no longer finite"));
  CHECK(bad.step == 0);
}

TEST_CASE("immersed: float follows double") {
  const ImmersedOptions o = small_options(2, ImmersedScheme::rk3);
  const std::vector<Body> body{circle(0.1, 0.02, 0.35, 14)};
  const Immersed<double> fine(o, body);
  const Immersed<float> coarse(o, body);
  auto a = fine.start();
  auto b = coarse.start();
  fine.run(a, 10);
  coarse.run(b, 10);
  const auto x = a.vorticity.to_vector();
  const auto y = b.vorticity.to_vector();
  double error = 0, size = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    error += std::pow(x[i] - static_cast<double>(y[i]), 2);
    size += x[i] * x[i];
  }
  CHECK(std::sqrt(error / size) < 2e-5);
  CHECK(coarse.forces(b)[0].drag == Approx(fine.forces(a)[0].drag).epsilon(1e-3));
}

TEST_CASE("immersed: a device gives what the host gives", "[device]") {
  for (const index_t levels : {1, 3}) {
    ImmersedOptions o = small_options(levels, ImmersedScheme::ab2);
    const std::vector<Body> body{circle(0.1, 0.02, 0.35, 14)};
    const Immersed<double> host(o, body);
    const Immersed<double, TestDevice> device(o, body);
    auto a = host.start();
    auto b = device.start();
    host.run(a, 4);
    device.run(b, 4);
    const auto x = a.vorticity.to_vector(), y = b.vorticity.to_vector();
    for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(std::abs(x[i] - y[i]) < 1e-9);
    CHECK(device.slip(b) < 1e-12);
    CHECK(device.courant(b) == Approx(host.courant(a)));
    CHECK(device.forces(b)[0].drag == Approx(host.forces(a)[0].drag));
  }
}

TEST_CASE("immersed: states of other grids or bodies, and set-ups that cannot work, are refused") {
  const ImmersedOptions o = small_options(1, ImmersedScheme::ab2);
  const Body body = circle(0.1, 0.02, 0.35, 14);
  const Immersed<double> flow(o, {body}), bare(o), nested(small_options(2, ImmersedScheme::ab2), {body});
  auto state = nested.start();
  CHECK_THROWS_AS(flow.step(state), ShapeError);
  state = bare.start();
  CHECK_THROWS_WITH(flow.step(state), contains("other bodies"));
  CHECK_THROWS_AS(flow.from_vorticity(Tensor<double, Cpu>::zeros(Shape{3})), ShapeError);
  CHECK_THROWS_WITH(Immersed<double>(o, {circle(-0.6, 0, 0.35, 14)}), contains("two cells"));
  CHECK_THROWS_WITH(Immersed<double>(o, {circle(5, 0, 0.35, 14)}), contains("two cells"));
  CHECK_THROWS_WITH(Immersed<double>(o, {body, body}), contains("closer than 0.4"));
  CHECK_THROWS_WITH(Immersed<double>(o, {circle(0.1, 0.02, 0.35, 100)}), contains("closer than 0.4"));
  CHECK_THROWS_AS(Immersed<double>(o, {Body{}}), ArgumentError);
  ImmersedOptions p = o;
  p.reynolds = 0;
  CHECK_THROWS_AS(Immersed<double>(p, {body}), ArgumentError);
  p = o;
  p.time_step = std::nan("");
  CHECK_THROWS_AS(Immersed<double>(p, {body}), ArgumentError);
  p = o;
  p.grid.levels = 2;
  p.grid.nx = 22;
  CHECK_THROWS_WITH(Immersed<double>(p, {body}), contains("multiples of 4"));
  p = o;
  p.body_frame = true;
  CHECK_THROWS_AS(Immersed<double>(p, {body, body}), ArgumentError);
  CHECK_THROWS_AS(Immersed<double>(p), ArgumentError);
}

TEST_CASE("immersed: a set-up that works but deceives says so") {
  ImmersedOptions o = small_options(1, ImmersedScheme::ab2);
  const auto joined = [&](const Body& body) {
    std::string all;
    for (const std::string& w : Immersed<double>(o, {body}).warnings()) all += w + "\n";
    return all;
  };
  CHECK_THAT(joined(circle(0.1, 0.02, 0.35, 14)), contains("Add levels"));
  CHECK_THAT(joined(circle(0.1, 0.02, 0.35, 6)), contains("leaks"));
  CHECK_THAT(joined(circle(0.1, 0.02, 0.35, 30)), contains("noise"));
  o.reynolds = 1000;
  CHECK_THAT(joined(circle(0.1, 0.02, 0.35, 14)), contains("grid Reynolds number"));
  o = small_options(4, ImmersedScheme::ab2);
  CHECK(joined(circle(0.1, 0.02, 0.25, 12)).empty());
}
