// The passive tracer: against plain loops, what it conserves and keeps bounded, its derivatives, bad input.

#include <cmath>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/initial_conditions.hpp>
#include <kolmo/flow/passive_tracer.hpp>

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

KolmogorovOptions options_of(index_t size) {
  KolmogorovOptions o;
  o.size = size;
  return o;
}

double largest(const Host& x) { return norm_max(flatten(x), 0).item(); }

Host noise(const Shape& shape, std::uint64_t key) {
  std::vector<double> values;
  for (index_t i = 0; i < shape.size(); ++i) values.push_back(normal<double>(Key{key}, static_cast<std::uint64_t>(i)));
  return Host::from(std::span<const double>(values), shape);
}

}  // namespace

TEST_CASE("tracer steps agree with plain loops", "[device]") {
  const auto flow = options_of(17);
  TracerOptions options;
  options.diffusivity = 0.02;
  options.gradient_x = 0.3;
  options.gradient_y = -0.7;
  const FlowReference r{flow};
  const double dt = 0.02;
  const Host x = filtered_velocity<Host>(flow, Key{1});
  const auto u = at(x, 0, 0).to_vector(), v = at(x, 0, 1).to_vector();
  Host c = noise(Shape{17, 17}, 2);
  const Host device_start = c;
  auto expected = c.to_vector();
  const PassiveTracer<double> tracer(flow, options);
  const PassiveTracer<double, TestDevice> on_device(flow, options);
  for (int s = 0; s < 10; ++s) {
    c = tracer.step(c, x, dt);
    const auto old = expected;
    const auto rate = r.advection(old, u, v, dt);
    for (int i = 0; i < 17; ++i)
      for (int j = 0; j < 17; ++j) {
        const auto k = r.at(i, j);
        const double source = 0.3 * (u[k] + u[r.at(i - 1, j)]) / 2 - 0.7 * (v[k] + v[r.at(i, j - 1)]) / 2;
        expected[k] += dt * (rate[k] + 0.02 * r.laplacian(old, i, j) - source);
      }
  }
  const auto values = c.to_vector();
  for (std::size_t k = 0; k < values.size(); ++k) CHECK(values[k] == Approx(expected[k]).margin(1e-13));
  auto d = device_start.to<TestDevice>();
  for (int s = 0; s < 10; ++s) d = on_device.step(d, x.to<TestDevice>(), dt);
  CHECK(largest(d.to<Cpu>() - c) < 1e-13);
}

TEST_CASE("the tracer's total stays, and its values stay between their extremes") {
  const auto flow = options_of(64);
  TracerOptions options;
  options.diffusivity = 0;
  Host c = noise(Shape{2, 64, 64}, 3);
  c = map(fn::Clamp<double>{0, 1}, c);
  FlowWithTracer<Host, Host> state{filtered_velocities<Host>(flow, Key{4}, 0, 2), c};
  state = transition(FiniteVolume<double>(flow), PassiveTracer<double>(flow, options), state, 0.4);
  CHECK(sum(state.tracer).item() == Approx(sum(c).item()).epsilon(1e-13));
  CHECK(max(state.tracer).item() < 1 + 0.02);
  CHECK(min(state.tracer).item() > -0.02);
  CHECK(largest(state.velocity -
                FiniteVolume<double>(flow).transition(filtered_velocities<Host>(flow, Key{4}, 0, 2), 0.4)) < 1e-13);
}

TEST_CASE("a tracer in a uniform wind comes back after one turn around the box") {
  const auto error = [](index_t size) {
    const auto flow = options_of(size);
    TracerOptions options;
    options.diffusivity = 0;
    std::vector<double> values;
    for (index_t i = 0; i < size * size; ++i)
      values.push_back(std::sin(two_pi * static_cast<double>(i / size) / static_cast<double>(size)));
    const Host start = Host::from(values).reshaped(Shape{size, size});
    const Host wind = Host::zeros(Shape{2, size, size}) + Host::from({1.0, 0.0}, Shape{2, 1, 1});
    const PassiveTracer<double> tracer(flow, options);
    Host c = start;
    for (index_t s = 0; s < 2 * size; ++s) c = tracer.step(c, wind, two_pi / static_cast<double>(2 * size));
    return mean(abs(c - start)).item();
  };
  CHECK(std::log2(error(32) / error(64)) > 1.7);
}

TEST_CASE("derivatives through a tracer step in both the tracer and the velocity", "[device]") {
  const auto flow = options_of(12);
  TracerOptions options;
  options.gradient_x = 0.4;
  options.gradient_y = 0.2;
  const auto check = [&](auto backend) {
    using B = decltype(backend);
    using V = Tensor<double, B>;
    const PassiveTracer<double, B> tracer(flow, options);
    const auto c = noise(Shape{2, 12, 12}, 1).to<B>(), dc = noise(Shape{2, 12, 12}, 2).to<B>();
    const auto x = noise(Shape{2, 2, 12, 12}, 3).to<B>(), dx = noise(Shape{2, 2, 12, 12}, 4).to<B>();
    const auto gy = noise(Shape{2, 12, 12}, 5).to<B>();
    const Jet<V> y = tracer.step(Jet<V>{c, dc}, Jet<V>{x, dx}, 0.02);
    Tape<V> tape;
    const auto c_leaf = tape.leaf(c), x_leaf = tape.leaf(x);
    tape.backward(tracer.step(c_leaf, x_leaf, 0.02), gy);
    const double reverse = dot(tape.gradient(c_leaf), dc).item() + dot(tape.gradient(x_leaf), dx).item();
    CHECK(dot(y.tangent, gy).item() == Approx(reverse).epsilon(1e-12));
    const double e = 1e-6;
    const V difference =
        (tracer.step(V(c + dc * e), V(x + dx * e), 0.02) - tracer.step(V(c - dc * e), V(x - dx * e), 0.02)) * (0.5 / e);
    CHECK(dot(difference, gy).item() == Approx(reverse).epsilon(1e-5));
  };
  check(Cpu{});
  check(TestDevice{});
}

TEST_CASE("what the tracer cannot do is refused with a reason") {
  const auto flow = options_of(12);
  const PassiveTracer<double> tracer(flow);
  const Host c = Host::zeros(Shape{2, 12, 12}), x = Host::full(Shape{2, 2, 12, 12}, 10.0);
  CHECK_THROWS_AS(tracer.step(c, x, 0.1), UnstableStep);
  CHECK_THROWS_WITH(tracer.step(c, x, -0.1), contains("given -0.1"));
  CHECK_THROWS_WITH(tracer.step(c, Host::zeros(Shape{2, 12, 12}), 0.1), contains("[2, 12, 12] and [2, 12, 12]"));
  TracerOptions bad;
  bad.diffusivity = -1;
  CHECK_THROWS_WITH((PassiveTracer<double>(flow, bad)), contains("diffusivity"));
}
