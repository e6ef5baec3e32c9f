// The finite-volume Kolmogorov flow: against plain loops, against exact solutions, and what it refuses.

#include <cmath>
#include <limits>

#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/finite_volume.hpp>
#include <kolmo/flow/initial_conditions.hpp>

#include "catch.hpp"
#include "device.hpp"
#include "flow_reference.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using kolmo_test::TestDevice;
using kolmo_test::contains;
using kolmo_test::FlowReference;

namespace {

using Host = Tensor<double, Cpu>;

KolmogorovOptions options_of(index_t size, double reynolds = 1000) {
  KolmogorovOptions o;
  o.size = size;
  o.reynolds = reynolds;
  return o;
}

double largest(const Host& x) { return norm_max(flatten(x), 0).item(); }

FlowReference::Field component(const Host& x, int c) { return at(x, -3, c).to_vector(); }

double distance(const Host& x, const FlowReference::Field& u, const FlowReference::Field& v) {
  double result = 0;
  const auto x_u = component(x, 0), x_v = component(x, 1);
  for (std::size_t k = 0; k < u.size(); ++k)
    result = std::max({result, std::abs(x_u[k] - u[k]), std::abs(x_v[k] - v[k])});
  return result;
}

/// Advances plain loops and the solver from the same noise, and compares.
template <class B, class Step>
void expect_agreement(const KolmogorovOptions& flow, const FiniteVolumeOptions& options, double dt, index_t steps,
                      double tolerance, const Step& step) {
  FlowReference reference{flow};
  reference.central = options.advection == Advection::central;
  const Host start = filtered_velocity<Host>(flow, Key{3});
  auto u = component(start, 0), v = component(start, 1);
  for (index_t s = 0; s < steps; ++s) step(reference, u, v, dt);
  const FiniteVolume<double, B> solver(flow, options);
  const auto x = solver.transition(start.to<B>(), dt * static_cast<double>(steps), steps);
  CHECK(distance(x.template to<Cpu>(), u, v) < tolerance);
}

FiniteVolumeOptions central(RungeKutta scheme = RungeKutta::euler) {
  FiniteVolumeOptions options;
  options.scheme = scheme;
  options.advection = Advection::central;
  return options;
}

/// Error of Taylor-Green vortices by linear advection, in steps of Courant number 0.1: from the solution of the
/// equation, and from that of the grid, which decays as its Laplacian's eigenvalue says.
struct Errors {
  double all, of_time;
};

Errors taylor_green_errors(index_t size, double reynolds, double time, FiniteVolumeOptions options) {
  const KolmogorovOptions flow = decaying_turbulence(options_of(size, reynolds));
  options.courant = 0.1;
  options.assumed_speed = 1;
  const Host start = taylor_green_velocity<Host>(flow);
  const Host x = FiniteVolume<double>(flow, options).transition(start, time);
  const double h = flow.spacing(), decay = 2 * (2 - 2 * std::cos(h)) / (h * h) / reynolds;
  return {largest(x - taylor_green_velocity<Host>(flow, 1, time)), largest(x - start * std::exp(-decay * time))};
}

const auto euler_step = [](const FlowReference& r, auto& u, auto& v, double dt) { r.step(u, v, dt); };

}  // namespace

TEST_CASE("inner steps agree with plain loops over the equations", "[device]") {
  const index_t size = GENERATE(4, 15, 20, 33);
  KolmogorovOptions flow = options_of(size, 200);
  flow.forcing_wavenumber = 1;
  CAPTURE(size);
  expect_agreement<Cpu>(flow, {}, 0.4 * flow.spacing() / 5, 40, 5e-14, euler_step);
  expect_agreement<TestDevice>(flow, {}, 0.4 * flow.spacing() / 5, 10, 5e-14, euler_step);
}

TEST_CASE("40 inner steps of the data set's scheme on 64 x 64 cells agree with plain loops to round-off") {
  expect_agreement<Cpu>(options_of(64), {}, 0.2 / 21, 40, 1e-13, euler_step);
}

TEST_CASE("another box, forcing and drag reach the equations") {
  KolmogorovOptions flow = options_of(18, 40);
  flow.length = 3;
  flow.drag = 0.7;
  flow.forcing_amplitude = -2;
  flow.forcing_wavenumber = 3;
  expect_agreement<Cpu>(flow, {}, 0.01, 20, 5e-14, euler_step);
}

TEST_CASE("Runge-Kutta stages are projected one by one", "[device]") {
  const KolmogorovOptions flow = options_of(16, 100);
  FiniteVolumeOptions options;
  using Tableau = std::pair<std::vector<std::vector<double>>, std::vector<double>>;
  Tableau tableau;
  SECTION("Heun") {
    options.scheme = RungeKutta::heun;
    tableau = {{{}, {1}}, {0.5, 0.5}};
  }
  SECTION("midpoint") {
    options.scheme = RungeKutta::midpoint;
    tableau = {{{}, {0.5}}, {0, 1}};
  }
  SECTION("classical") {
    options.scheme = RungeKutta::classical;
    tableau = {{{}, {0.5}, {0, 0.5}, {0, 0, 1}}, {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6}};
  }
  const auto step = [&](const FlowReference& r, auto& u, auto& v, double dt) {
    r.step(u, v, dt, tableau.first, tableau.second);
  };
  expect_agreement<Cpu>(flow, options, 0.02, 10, 5e-14, step);
  expect_agreement<TestDevice>(flow, options, 0.02, 3, 5e-14, step);
}

TEST_CASE("implicit diffusion follows the projection of the rest", "[device]") {
  FiniteVolumeOptions options;
  options.implicit_diffusion = true;
  const auto step = [](const FlowReference& r, auto& u, auto& v, double dt) { r.implicit_step(u, v, dt); };
  expect_agreement<Cpu>(options_of(15, 5), options, 0.02, 20, 1e-13, step);
  expect_agreement<TestDevice>(options_of(16, 5), options, 0.02, 3, 1e-13, step);
}

TEST_CASE("a step leaves a velocity without divergence") {
  const index_t size = GENERATE(64, 100);
  const auto flow = options_of(size);
  const FiniteVolume<double> solver(flow);
  const Host x = solver.transition(filtered_velocity<Host>(flow, Key{5}), 0.2);
  const double scale = largest(x) / flow.spacing();
  CHECK(largest(divergence(x, flow.spacing())) < 1e-14 * static_cast<double>(size) * scale);

  using Single = Tensor<float, Cpu>;
  const Single y = FiniteVolume<float>(flow).transition(filtered_velocity<Single>(flow, Key{5}), 0.2);
  CHECK(norm_max(flatten(divergence(y, flow.spacing())), 0).item() < 1e-6 * scale);
}

TEST_CASE("the step rule of the data set gives 82, 41 and 21 inner steps per 0.2") {
  const struct {
    index_t size, steps;
    double largest, inner;
  } rows[] = {{256, 82, 0.00245437, 0.00243902}, {128, 41, 0.00490874, 0.00487805}, {64, 21, 0.00981748, 0.00952381}};
  for (const auto& row : rows) {
    const FiniteVolume<double> solver(options_of(row.size));
    CHECK(solver.stable_step() == Approx(row.largest).epsilon(2e-6));
    CHECK(solver.inner_steps(0.2) == row.steps);
    CHECK(0.2 / static_cast<double>(row.steps) == Approx(row.inner).epsilon(2e-6));
  }
  CHECK(FiniteVolume<double>(options_of(64)).inner_steps(0.005) == 1);
}

TEST_CASE("momentum decays by exactly 1 - mu dt per step") {
  const auto flow = options_of(32);
  Host x = filtered_velocity<Host>(flow, Key{2}) + Host::from({0.7, -0.4}, Shape{2, 1, 1});
  const FiniteVolume<double> solver(flow);
  const index_t steps = 50;
  const double dt = 0.01;
  x = solver.transition(x, dt * steps, steps);
  const double factor = std::pow(1 - 0.1 * dt, steps);
  CHECK(mean(at(x, 0, 0)).item() == Approx(0.7 * factor).epsilon(1e-13));
  CHECK(mean(at(x, 0, 1)).item() == Approx(-0.4 * factor).epsilon(1e-13));
}

TEST_CASE("the laminar flow of the grid stays where it is") {
  KolmogorovOptions flow = options_of(64, 5);
  FiniteVolumeOptions options;
  options.assumed_speed = 10;
  const Host x = laminar_velocity<Host>(flow, true);
  const Host y = FiniteVolume<double>(flow, options).transition(x, 0.4);
  CHECK(largest(y - x) < 1e-14);
  // 1/nu = 5: U0 = A / (nu k^2 + mu) = 1 / 3.3, here at y = h/2
  CHECK(laminar_velocity<Host>(flow).to_vector()[0] == Approx(std::sin(4 * flow.spacing() / 2) / 3.3).epsilon(1e-14));
  CHECK(KolmogorovOptions{}.laminar_speed() == Approx(8.6207).epsilon(1e-5));
}

TEST_CASE("Taylor-Green vortices decay as the exact solution, in L1 to second order in space") {
  // The time step falls with the square of the spacing, so that errors of time do too.
  const auto error = [](index_t size) {
    const KolmogorovOptions flow = decaying_turbulence(options_of(size, 100));
    const Host x = FiniteVolume<double>(flow).transition(taylor_green_velocity<Host>(flow), 0.2, size * size / 64);
    return mean(abs(x - taylor_green_velocity<Host>(flow, 1, 0.2))).item();
  };
  const double coarse = error(16), middle = error(32), fine = error(64);
  CHECK(fine < 2e-4);
  CHECK(std::log2(coarse / middle) > 1.7);
  CHECK(std::log2(middle / fine) > 1.8);
}

TEST_CASE("linear advection agrees with plain loops over the equations", "[device]") {
  const KolmogorovOptions flow = options_of(16, 100);
  expect_agreement<Cpu>(flow, central(), 0.02, 20, 5e-14, euler_step);
  expect_agreement<TestDevice>(flow, central(), 0.02, 5, 5e-14, euler_step);
  const auto heun = [](const FlowReference& r, auto& u, auto& v, double dt) {
    r.step(u, v, dt, {{}, {1}}, {0.5, 0.5});
  };
  expect_agreement<Cpu>(flow, central(RungeKutta::heun), 0.02, 10, 5e-14, heun);
  FiniteVolumeOptions implicit = central();
  implicit.implicit_diffusion = true;
  const auto implicit_step = [](const FlowReference& r, auto& u, auto& v, double dt) { r.implicit_step(u, v, dt); };
  expect_agreement<Cpu>(options_of(15, 5), implicit, 0.02, 10, 1e-13, implicit_step);
}

TEST_CASE("linear advection leaves Taylor-Green vortices in shape, and each step shrinks them as its scheme does") {
  // The advection of these vortices is a gradient on the grid too, so only diffusion is left.
  const KolmogorovOptions flow = decaying_turbulence(options_of(32, 10));
  const double h = flow.spacing(), dt = 0.05, z = -2 * (2 - 2 * std::cos(h)) / (h * h) * flow.viscosity() * dt;
  const index_t steps = 40;
  FiniteVolumeOptions implicit = central();
  implicit.implicit_diffusion = true;
  const std::pair<FiniteVolumeOptions, double> cases[] = {
      {central(), 1 + z},
      {central(RungeKutta::heun), 1 + z + z * z / 2},
      {central(RungeKutta::classical), 1 + z + z * z / 2 + z * z * z / 6 + z * z * z * z / 24},
      {implicit, 1 / (1 - z)}};
  const Host x = taylor_green_velocity<Host>(flow);
  for (const auto& [options, factor] : cases) {
    const Host y = FiniteVolume<double>(flow, options).transition(x, dt * static_cast<double>(steps), steps);
    CHECK(largest(y - x * std::pow(factor, steps)) < 1e-13);
  }
}

TEST_CASE("linear advection is second order in space: vortices in a wind") {
  const auto error = [](index_t size) {
    const KolmogorovOptions flow = decaying_turbulence(options_of(size, 50));
    const auto exact = [&](double time) {
      const double factor = std::exp(-2 * flow.viscosity() * time), a = 0.6 * time, b = -0.4 * time;
      return flow::detail::staggered_velocity<Host>(
          flow, [&](double x, double y) { return 0.6 + factor * std::cos(x - a) * std::sin(y - b); },
          [&](double x, double y) { return -0.4 - factor * std::sin(x - a) * std::cos(y - b); });
    };
    const FiniteVolume<double> solver(flow, central(RungeKutta::classical));
    return largest(solver.transition(exact(0), 2, size * 2) - exact(2));
  };
  const double coarse = error(16), middle = error(32), fine = error(64);
  CHECK(fine < 3e-3);
  CHECK(std::log2(coarse / middle) == Approx(2).margin(0.1));
  CHECK(std::log2(middle / fine) == Approx(2).margin(0.1));
}

TEST_CASE("without viscosity linear advection conserves the energy that Van Leer's takes") {
  KolmogorovOptions flow = decaying_turbulence(options_of(32));
  flow.reynolds = std::numeric_limits<double>::infinity();
  const Host x = filtered_velocity<Host>(flow, Key{6});
  const auto change = [&](const FiniteVolumeOptions& options) {
    const Host y = FiniteVolume<double>(flow, options).transition(x, 0.4, 40);
    return mean(y * y).item() / mean(x * x).item() - 1;
  };
  CHECK(std::abs(change(central(RungeKutta::classical))) < 1e-6);
  FiniteVolumeOptions limited;
  limited.scheme = RungeKutta::classical;
  CHECK(change(limited) < -1e-3);
}

TEST_CASE("Taylor-Green vortices by linear advection at Courant number 0.1, on a small grid") {
  // The bounds of the published cases below, which have 8 times as many cells along a side: space errors 64 times,
  // time errors 8 times as large.
  FiniteVolumeOptions implicit = central();
  implicit.implicit_diffusion = true;
  CHECK(taylor_green_errors(64, 100, 40, central()).all < 64 * 6e-6);
  CHECK(taylor_green_errors(64, 100, 40, central()).of_time < 8 * 6e-6);
  CHECK(taylor_green_errors(64, 100, 40, central(RungeKutta::classical)).of_time < 1e-10);
  CHECK(taylor_green_errors(64, 100, 40, implicit).all < 64 * 4e-5);
}

TEST_CASE("Taylor-Green vortices by linear advection at Courant number 0.1, as published", "[long]") {
  FiniteVolumeOptions implicit = central();
  implicit.implicit_diffusion = true;
  CHECK(taylor_green_errors(512, 100, 40, central()).all < 6e-6);
  CHECK(taylor_green_errors(512, 100, 40, implicit).all < 4e-5);
  // With hardly an error of time the grid's 2 nu t h^2 / 12 e^(-2 nu t) = 4.5e-6 is left, and Euler's no longer makes
  // up for it; the published 8e-7 holds for the rest.
  const Errors classical = taylor_green_errors(512, 100, 40, central(RungeKutta::classical));
  CHECK(classical.of_time < 8e-7);
  CHECK(classical.all < 6e-6);
  CHECK(taylor_green_errors(1024, 1000, 10, central()).all < 1e-5);
}

TEST_CASE("linear advection with the classical Runge-Kutta scheme is fourth order in time") {
  const auto flow = options_of(24, 50);
  const Host start = taylor_green_velocity<Host>(flow, 2) + laminar_velocity<Host>(flow) * 0.1;
  const FiniteVolume<double> solver(flow, central(RungeKutta::classical));
  const Host a = solver.transition(start, 0.8, 8), b = solver.transition(start, 0.8, 16),
             c = solver.transition(start, 0.8, 32);
  CHECK(std::log2(norm(a - b).item() / norm(b - c).item()) == Approx(4).margin(0.15));
}

TEST_CASE("forward Euler is first order in time") {
  const auto flow = options_of(24, 50);
  const Host start = taylor_green_velocity<Host>(flow, 2) + laminar_velocity<Host>(flow) * 0.1;
  const FiniteVolumeOptions options = GENERATE(FiniteVolumeOptions{}, central());
  const auto at_end = [&](index_t steps) { return FiniteVolume<double>(flow, options).transition(start, 0.2, steps); };
  const Host a = at_end(20), b = at_end(40), c = at_end(80);
  CHECK(std::log2(norm(a - b).item() / norm(b - c).item()) == Approx(1).margin(0.15));
}

TEST_CASE("float follows double to 1e-5 over 20 inner steps") {
  using Single = Tensor<float, Cpu>;
  const auto flow = options_of(64);
  const double dt = 20 * 0.2 / 21;
  const Host x = FiniteVolume<double>(flow).transition(filtered_velocity<Host>(flow, Key{4}), dt, 20);
  const Single y = FiniteVolume<float>(flow).transition(filtered_velocity<Single>(flow, Key{4}), dt, 20);
  const auto single = y.to_vector();
  const Host widened = Host::from(std::vector<double>(single.begin(), single.end())).reshaped(x.shape());
  CHECK(norm(widened - x).item() < 1e-5 * norm(x).item());
}

TEST_CASE("trajectories of a batch do not feel each other, and bits do not depend on threads") {
  const auto flow = options_of(32);
  const FiniteVolume<double> solver(flow);
  const Host x = filtered_velocities<Host>(flow, Key{8}, 0, 3);
  const int before = threads::count();
  threads::set_count(3);
  const Host y = solver.transition(x, 0.2);
  threads::set_count(1);
  const Host z = solver.transition(x, 0.2);
  CHECK(y.to_vector() == z.to_vector());
  for (index_t b = 0; b < 3; ++b) CHECK(solver.transition(at(x, 0, b), 0.2).to_vector() == at(z, 0, b).to_vector());
  threads::set_count(before);
}

TEST_CASE("a step above the Courant limit is an error that names step, cell and number, and spares its input", "[device]") {
  const auto flow = options_of(32);
  const FiniteVolume<double> solver(flow);
  Host x = filtered_velocities<Host>(flow, Key{8}, 0, 2);
  auto values = x.to_vector();
  const std::size_t cell = static_cast<std::size_t>(((1 * 2 + 0) * 32 + 5) * 32 + 9);
  values[cell] = 30;
  const Host fast = Host::from(std::span<const double>(values), x.shape());
  try {
    solver.step(fast, 0.01);
    FAIL("no error");
  } catch (const UnstableStep& e) {
    CHECK(e.step() == 0);
    CHECK(e.cell() == std::array<index_t, 2>{5, 9});
    CHECK(e.number() > 30 * 0.01 / flow.spacing());
    CHECK_THAT(e.what(), contains("item 1 of the batch") && contains("(5, 9)"));
  }
  // Whoever passes one trajectory knows which it is.
  CHECK_THROWS_WITH(solver.step(at(fast, 0, 1), 0.01), contains("(5, 9)") && !contains("item"));
  CHECK(fast.to_vector() == values);
  // |C| of 0.5 to 0.6 along an axis occurs in the data set and is none.
  CHECK_NOTHROW(solver.step(x * (0.6 * flow.spacing() / 0.01 / 3), 0.01));

  const auto device = fast.to<TestDevice>();
  const FiniteVolume<double, TestDevice> on_device(flow);
  try {
    on_device.step(device, 0.01);
    FAIL("no error");
  } catch (const UnstableStep& e) {
    CHECK(e.cell() == std::array<index_t, 2>{5, 9});
  }
}

TEST_CASE("values that are not finite are found, at the start or when a run blows up") {
  KolmogorovOptions flow = options_of(16);
  const Host x = filtered_velocity<Host>(flow, Key{8});
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    auto values = x.to_vector();
    values[37] = bad;
    const Host broken = Host::from(std::span<const double>(values), x.shape());
    CHECK_THROWS_WITH(FiniteVolume<double>(flow).step(broken, 0.01), contains("not finite") && contains("cell (2, 5)"));
    CHECK_THROWS_AS(FiniteVolume<double>(flow).step(broken, 0.01), UnstableStep);
  }
  // A forcing that drives the flow beyond every limit.
  flow.forcing_amplitude = 1e3;
  try {
    FiniteVolume<double>(flow).transition(x, 2, 100);
    FAIL("no error");
  } catch (const UnstableStep& e) {
    CHECK(e.step() > 0);
    CHECK(e.step() < 100);
    CHECK(e.number() > 1);
  }
}

TEST_CASE("what the solver cannot do is refused with a reason") {
  const auto flow = options_of(16);
  const FiniteVolume<double> solver(flow);
  const Host x = Host::zeros(Shape{2, 16, 16});
  CHECK_THROWS_WITH(solver.step(Host::zeros(Shape{2, 15, 16}), 0.1),
                    contains("[2, 16, 16]") && contains("[2, 15, 16]"));
  CHECK_THROWS_AS(solver.step(Host::zeros(Shape{16, 16}), 0.1), ShapeError);
  CHECK_THROWS_WITH(solver.step(x, 0.0), contains("dt must be positive"));
  CHECK_THROWS_AS(solver.step(x, std::numeric_limits<double>::quiet_NaN()), ArgumentError);
  CHECK_THROWS_WITH(solver.transition(x, 0.1, -1), contains("at least 1, given -1"));
  CHECK_THROWS_WITH(FiniteVolume<double>(options_of(64, 0.5)).inner_steps(0.2), contains("h^2 / 4 nu"));
  CHECK_THROWS_WITH(FiniteVolume<double>(options_of(3)), contains("size") && contains("given 3"));
  CHECK_THROWS_WITH(FiniteVolume<double>(options_of(64, -1)), contains("reynolds"));
  KolmogorovOptions fine = flow;
  fine.forcing_wavenumber = 8;
  CHECK_THROWS_WITH(FiniteVolume<double>(fine), contains("forcing_wavenumber"));
  FiniteVolumeOptions options;
  options.courant = 1.5;
  CHECK_THROWS_WITH(FiniteVolume<double>(flow, options), contains("courant") && contains("1.5"));
  CHECK(FiniteVolume<double>(flow).transition(Host::zeros(Shape{0, 2, 16, 16}), 0.2).shape() == Shape{0, 2, 16, 16});
}
