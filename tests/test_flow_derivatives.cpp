// Derivatives through the finite-volume solver: forward against reverse, both against differences, second order.

#include <cmath>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/finite_volume.hpp>
#include <kolmo/flow/initial_conditions.hpp>

#include "catch.hpp"
#include "device.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using kolmo_test::TestDevice;

namespace {

using Host = Tensor<double, Cpu>;

KolmogorovOptions options_of(index_t size, double reynolds) {
  KolmogorovOptions o;
  o.size = size;
  o.reynolds = reynolds;
  return o;
}

double largest(const Host& x) { return norm_max(flatten(x), 0).item(); }

/// A smooth velocity whose fluxes stay away from the switches of the limiter.
template <class B>
Tensor<double, B> smooth(const KolmogorovOptions& flow) {
  const auto x = filtered_velocities<Host>(flow, Key{1}, 0, 2) + Host::from({0.11, -0.07}, Shape{2, 1, 1});
  return x.to<B>();
}

template <class B>
Tensor<double, B> direction(const KolmogorovOptions& flow, std::uint64_t key) {
  return Tensor<double, B>::from(std::span<const double>(filtered_velocities<Host>(flow, Key{key}, 5, 2).to_vector()),
                                 Shape{2, 2, flow.size, flow.size}) +
         0.25;
}

template <class B>
void expect_adjoint(const KolmogorovOptions& flow, const FiniteVolumeOptions& options, double dt, index_t steps) {
  const FiniteVolume<double, B> solver(flow, options);
  const auto x = smooth<B>(flow), dx = direction<B>(flow, 2), dy = direction<B>(flow, 3);
  const auto f = [&](const auto& y) { return solver.transition(y, dt * static_cast<double>(steps), steps); };
  const auto forward = jvp(f, x, dx);
  auto pull = vjp(f, x);
  CHECK(largest((forward.value - f(x)).template to<Cpu>()) < 1e-14);
  CHECK(dot(forward.tangent, dy).item() == Approx(dot(dx, pull.pull(dy)).item()).epsilon(1e-12));
  const double e = 1e-6;
  const double difference = dot((f(x + dx * e) - f(x - dx * e)) * (0.5 / e), dy).item();
  CHECK(dot(forward.tangent, dy).item() == Approx(difference).epsilon(1e-6));
}

}  // namespace

TEST_CASE("the derivative of every stepper has its transpose", "[device]") {
  FiniteVolumeOptions options;
  index_t steps = 3;
  SECTION("one step") { steps = 1; }
  SECTION("forward Euler") {}
  SECTION("Heun") { options.scheme = RungeKutta::heun; }
  SECTION("midpoint") { options.scheme = RungeKutta::midpoint; }
  SECTION("classical Runge-Kutta") { options.scheme = RungeKutta::classical; }
  SECTION("implicit diffusion") { options.implicit_diffusion = true; }
  SECTION("Heun with implicit diffusion") {
    options.scheme = RungeKutta::heun;
    options.implicit_diffusion = true;
  }
  SECTION("linear advection") { options.advection = Advection::central; }
  SECTION("linear advection, classical Runge-Kutta") {
    options.advection = Advection::central;
    options.scheme = RungeKutta::classical;
  }
  expect_adjoint<Cpu>(options_of(18, 50), options, 0.02, steps);
  expect_adjoint<TestDevice>(options_of(15, 50), options, 0.02, steps);
}

TEST_CASE("a transition of the data set's flow passes the dot-product test") {
  expect_adjoint<Cpu>(options_of(48, 1000), {}, 0.2 / 16, 16);
}

TEST_CASE("segments between stored states give the gradient of storing all") {
  const auto flow = options_of(16, 50);
  const Host x = smooth<Cpu>(flow);
  const auto gradient = [&](index_t stored) {
    FiniteVolumeOptions options;
    options.stored_steps = stored;
    const FiniteVolume<double> solver(flow, options);
    return grad(
               [&](const auto& y) {
                 const auto z = solver.transition(y, 0.2, 10);
                 return sum(z * z * z);
               },
               x)
        .to_vector();
  };
  const auto all = gradient(128);
  CHECK(gradient(10) == all);
  CHECK(gradient(3) == all);
  CHECK(gradient(1) == all);
}

TEST_CASE("a trajectory passes the Taylor test: what the gradient leaves falls faster than the distance") {
  const auto flow = options_of(24, 100);
  const FiniteVolume<double> solver(flow);
  const Host x = smooth<Cpu>(flow), dx = direction<Cpu>(flow, 4);
  const auto loss = [&](const auto& start) {
    auto y = start;
    for (int t = 0; t < 5; ++t) y = checkpoint([&](const auto& z) { return solver.transition(z, 0.05); }, y);
    return sum(y * y * y);
  };
  const double value = loss(x).item(), slope = dot(grad(loss, x), dx).item();
  const auto rest = [&](double e) { return std::abs(loss(x + dx * e).item() - value - e * slope); };
  // With a wrong gradient the order would be 1. Cells that cross a switch of the limiter scatter it about 2.
  const double order = std::log10(rest(1e-2) / rest(1e-4)) / 2;
  CHECK(order == Approx(2).margin(0.3));
}

TEST_CASE("second derivatives: forward over reverse") {
  const auto flow = options_of(12, 50);
  FiniteVolumeOptions options;
  options.advection = GENERATE(Advection::van_leer, Advection::central);
  const FiniteVolume<double> solver(flow, options);
  const Host x = smooth<Cpu>(flow), dx = direction<Cpu>(flow, 2);
  const auto loss = [&](const auto& y) {
    const auto z = solver.transition(y, 0.06, 3);
    return sum(z * z * z);
  };
  const Host h = hvp(loss, x, dx);
  const double e = 1e-5;
  const Host difference = (grad(loss, Host(x + dx * e)) - grad(loss, Host(x - dx * e))) * (0.5 / e);
  CHECK(largest(h - difference) < 1e-6 * largest(h));
}

TEST_CASE("gradients are finite where the limiter divides zero by zero: uniform flow, fluid at rest") {
  const auto flow = options_of(12, 50);
  const FiniteVolume<double> solver(flow);
  for (const double speed : {0.0, 0.5}) {
    const Host x = Host::full(Shape{2, 12, 12}, speed);
    const Host g = grad(
        [&](const auto& y) {
          const auto z = solver.transition(y, 0.05, 2);
          return sum(z * z);
        },
        x);
    CHECK(is_finite(largest(g)));
    const auto tangent = jvp([&](const auto& y) { return solver.step(y, 0.05); }, x, Host::ones(x.shape())).tangent;
    CHECK(is_finite(largest(tangent)));
  }
}
