// Derivatives through the immersed-boundary solver: forward against differences, reverse against forward.

#include <kolmo/backend/fake_device.hpp>
#include <kolmo/flow/immersed_transition.hpp>

#include <kolmo/core/random.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using kolmo_test::contains;

namespace {

using V = Tensor<double, Cpu>;

Immersed<double> small_flow(index_t levels, ImmersedScheme scheme, bool with_body = true) {
  ImmersedOptions o;
  o.grid = {24, 16, levels, 3, -1, -1, levels > 1 ? 0.5 : 0.0, 0};
  o.reynolds = 40;
  o.time_step = 0.03;
  o.scheme = scheme;
  o.incidence = 0.3;
  return Immersed<double>(o, with_body ? std::vector<Body>{circle(0.1, 0.02, 0.35, 14)} : std::vector<Body>{});
}

double dot(const V& x, const V& y) {
  double sum = 0;
  const auto a = x.to_vector(), b = y.to_vector();
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

V noise(std::uint64_t seed, const Shape& shape) {
  std::vector<double> values;
  for (index_t i = 0; i < shape.size(); ++i) values.push_back(normal<double>(Key{seed}, static_cast<std::uint64_t>(i)));
  return V::from(values, shape);
}

V developed(const Immersed<double>& flow, index_t steps) {
  auto state = flow.start();
  flow.run(state, steps);
  return pack(flow, state);
}

void check_derivatives(index_t levels, ImmersedScheme scheme, bool with_body = true) {
  const Immersed<double> flow = small_flow(levels, scheme, with_body);
  const V x = developed(flow, 5), dx = noise(1, x.shape()), gy = noise(2, x.shape());
  const auto f = [&](const auto& z) { return transition(flow, z, 3, 0.15); };
  const auto jet = jvp(f, x, dx);
  auto back = vjp(f, x);
  const V gx = back.pull(gy);
  const double forward = dot(gy, jet.tangent), reverse = dot(gx, dx);
  INFO("levels " << levels << " scheme " << static_cast<int>(scheme));
  CHECK(std::abs(forward - reverse) < 1e-12 * std::abs(forward));
  CHECK(std::abs(forward) > 1e-3);

  const double h = 1e-4;
  std::vector<double> high = x.to_vector(), low = high, d = dx.to_vector();
  for (std::size_t i = 0; i < d.size(); ++i) {
    high[i] += h * d[i];
    low[i] -= h * d[i];
  }
  const auto a = f(V::from(high)).to_vector(), b = f(V::from(low)).to_vector(), t = jet.tangent.to_vector();
  double error = 0, size = 0;
  for (std::size_t i = 0; i < d.size(); ++i) {
    error += std::pow((a[i] - b[i]) / (2 * h) - t[i], 2);
    size += t[i] * t[i];
  }
  CHECK(std::sqrt(error / size) < 1e-6);
}

}  // namespace

TEST_CASE("immersed: a transition on a packed state is the solver's own steps") {
  for (const index_t levels : {1, 3}) {
    const Immersed<double> flow = small_flow(levels, ImmersedScheme::ab2);
    auto state = flow.start();
    const V x = pack(flow, state);
    flow.run(state, 4);
    const auto expected = pack(flow, state).to_vector(), got = transition(flow, x, 4).to_vector();
    double most = 0, error = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      most = std::max(most, std::abs(expected[i]));
      error = std::max(error, std::abs(expected[i] - got[i]));
    }
    CHECK(error < 1e-13 * most);
    const auto again = unpack(flow, transition(flow, x, 4), state.time, state.step);
    CHECK(flow.slip(again) < 1e-12);
    CHECK(flow.forces(again)[0].drag == Approx(flow.forces(state)[0].drag).epsilon(1e-11));
  }
}

TEST_CASE("immersed: forward and reverse derivatives agree to round-off, and with differences") {
  check_derivatives(1, ImmersedScheme::ab2);
  check_derivatives(1, ImmersedScheme::rk3);
  check_derivatives(1, ImmersedScheme::rk3b, false);
  check_derivatives(2, ImmersedScheme::ab2);
  check_derivatives(3, ImmersedScheme::rk3);
}

TEST_CASE("immersed: a batch of states has the values and gradients of each, and checkpoints change nothing") {
  const Immersed<double> flow = small_flow(1, ImmersedScheme::ab2);
  const V one = developed(flow, 3), two = developed(flow, 6);
  std::vector<double> both = one.to_vector();
  const auto second = two.to_vector();
  both.insert(both.end(), second.begin(), second.end());
  const V x = V::from(both, Shape{2, one.size()}), gy = noise(3, x.shape());
  auto plain = vjp([&](const auto& z) { return transition(flow, z, 4); }, x);
  auto kept = vjp(
      [&](const auto& z) {
        const auto half = [&flow](const auto& w) { return transition(flow, w, 2); };
        return checkpoint(half, checkpoint(half, z));
      },
      x);
  const auto once = plain.value().to_vector(), parts = kept.value().to_vector();
  for (std::size_t i = 0; i < once.size(); ++i) REQUIRE(std::abs(once[i] - parts[i]) < 1e-10);
  const auto a = plain.pull(gy).to_vector(), b = kept.pull(gy).to_vector();
  double error = 0, most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error = std::max(error, std::abs(a[i] - b[i]));
    most = std::max(most, std::abs(a[i]));
  }
  CHECK(error < 1e-12 * most);
  const auto single = transition(flow, two, 4).to_vector(), all = plain.value().to_vector();
  CHECK(std::equal(single.begin(), single.end(), all.begin() + static_cast<std::ptrdiff_t>(single.size())));
}

TEST_CASE("immersed: a device advances a batch at once, each state as the host advances it alone") {
  for (const index_t levels : {1, 3}) {
    const ImmersedScheme scheme = levels == 1 ? ImmersedScheme::ab2 : ImmersedScheme::rk3;
    const Immersed<double> flow = small_flow(levels, scheme);
    const Immersed<double, FakeDevice> device(flow.options(), flow.bodies());
    std::vector<double> all;
    const V one = developed(flow, 2);
    for (const V& x : {one, developed(flow, 4), developed(flow, 5)})
      for (const double value : x.to_vector()) all.push_back(value);
    using D = Tensor<double, FakeDevice>;
    for (const index_t steps : {0, 3}) {
      const auto host = transition(flow, V::from(all, Shape{3, one.size()}), steps).to_vector();
      const auto batch = transition(device, D::from(all, Shape{3, one.size()}), steps).to_vector();
      for (std::size_t i = 0; i < host.size(); ++i) REQUIRE(std::abs(host[i] - batch[i]) < 1e-9);
      CHECK(transition(device, D::zeros(Shape{0, one.size()}), steps).size() == 0);
    }
  }
}

TEST_CASE("immersed: transitions refuse packed states of other sizes and moving bodies") {
  const Immersed<double> flow = small_flow(1, ImmersedScheme::rk3);
  CHECK_THROWS_AS(transition(flow, V::zeros(Shape{7}), 1), ShapeError);
  CHECK_THROWS_AS(unpack(flow, V::zeros(Shape{7}), 0.0), ShapeError);
  CHECK_THROWS_AS(transition(flow, V::zeros(Shape{packed_size(flow)}), -1), ArgumentError);
  Body body = circle(0, 0, 0.35, 14);
  body.motion = FixedVelocity{0.1, 0, 0};
  const Immersed<double> moving(flow.options(), {body});
  CHECK_THROWS_WITH(transition(moving, V::zeros(Shape{packed_size(moving)}), 1), contains("body_frame"));
}
