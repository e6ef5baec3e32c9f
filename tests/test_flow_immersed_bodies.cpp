// Moving bodies, forces checked by other means, and what is read off wakes.

#include <kolmo/flow/body_diagnostics.hpp>
#include <kolmo/flow/immersed.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using kolmo_test::contains;

namespace {

constexpr double pi = 3.14159265358979323846;

ImmersedOptions box(index_t levels) {
  ImmersedOptions o;
  o.grid = {64, 48, levels, 4, -2, -1.5, 0, 0};
  o.reynolds = 60;
  o.time_step = 0.02;
  o.scheme = ImmersedScheme::ab2;
  return o;
}

}  // namespace

TEST_CASE("immersed: in its own frame, a body that moves through fluid at rest is a body at rest in a stream") {
  ImmersedOptions o = box(2);
  const Immersed<double> stream(o, {circle(0, 0, 0.4, 38)});
  o.speed = 0;
  o.body_frame = true;
  Body body = circle(0, 0, 0.4, 38);
  body.motion = FixedVelocity{-1, 0, 0};
  const Immersed<double> frame(o, {body});
  auto a = stream.start(), b = frame.start();
  stream.run(a, 10);
  frame.run(b, 10);
  const auto x = a.vorticity.to_vector(), y = b.vorticity.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(std::abs(x[i] - y[i]) < 1e-9);
  CHECK(frame.forces(b)[0].drag == Approx(stream.forces(a)[0].drag).epsilon(1e-9));
}

TEST_CASE("immersed: a body that moves through the grid has the fluid's velocity on it after every step") {
  for (const index_t levels : {1, 2}) {
    ImmersedOptions o = box(levels);
    Body body = line(-0.4, 0.05, 0.4, 0.05, 13);
    body.motion = PitchPlunge{0.4, 0.5, 0.2, 0.5, 0.3, 0};
    const Immersed<double> flow(o, {body, circle(1, 0, 0.2, 19)});
    auto state = flow.start();
    for (int k = 0; k < 8; ++k) {
      flow.step(state);
      CHECK(flow.slip(state) < 1e-9);
    }
  }
}

TEST_CASE("immersed: a motion that keeps the body in place gives the flow of a body at rest") {
  const ImmersedOptions o = box(1);
  Body body = circle(0, 0, 0.4, 38);
  const Immersed<double> rest(o, {body});
  body.motion = FixedVelocity{};
  const Immersed<double> moving(o, {body});
  auto a = rest.start(), b = moving.start();
  rest.run(a, 10);
  moving.run(b, 10);
  CHECK(moving.forces(b)[0].drag == Approx(rest.forces(a)[0].drag).epsilon(1e-8));
}

TEST_CASE("immersed: a body towed through the grid feels the drag of a body in a stream") {
  ImmersedOptions o = box(3);
  const Immersed<double> stream(o, {circle(0.8, 0, 0.4, 38)});
  o.speed = 0;
  Body body = circle(0.8, 0, 0.4, 38);
  body.motion = FixedVelocity{-1, 0, 0};
  const Immersed<double> towed(o, {body});
  auto a = stream.start(), b = towed.start();
  double still = 0, moved = 0;
  stream.run(a, 30);
  towed.run(b, 30);
  // The force on a body that passes over the grid wavers with its place between nodes.
  for (int k = 0; k < 10; ++k) {
    stream.step(a);
    towed.step(b);
    still += stream.forces(a)[0].drag;
    moved += towed.forces(b)[0].drag;
  }
  CHECK(moved == Approx(still).epsilon(0.04));
}

TEST_CASE("immersed: a turning circle drags fluid round, alike in the body's frame and in the laboratory's") {
  ImmersedOptions o = box(1);
  o.speed = 0;
  Body body = circle(0, 0, 0.4, 38);
  body.motion = FixedVelocity{0, 0, 1.5};
  const Immersed<double> laboratory(o, {body});
  o.body_frame = true;
  const Immersed<double> frame(o, {body});
  auto a = laboratory.start(), b = frame.start();
  laboratory.run(a, 20);
  frame.run(b, 20);
  CHECK(frame.slip(b) < 1e-11);
  const auto x = a.vorticity.to_vector(), y = b.vorticity.to_vector();
  double error = 0, size = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    error += std::pow(x[i] - y[i], 2);
    size += x[i] * x[i];
  }
  CHECK(size > 1);
  CHECK(std::sqrt(error / size) < 0.15);
}

TEST_CASE("immersed: the forces are those of the change of the vortex impulse") {
  ImmersedOptions o = box(4);
  o.grid.nx = 96;
  o.grid.ny = 72;
  o.incidence = 0.2;
  o.time_step = 0.01;
  o.scheme = ImmersedScheme::rk3;
  const Immersed<double> flow(o, {circle(0, 0, 0.4, 60)});
  auto state = flow.start();
  flow.run(state, 50);
  const Impulse begin = vortex_impulse(flow.grid(), state);
  const double t0 = state.time;
  double drag = 0, lift = 0;
  const int steps = 40;
  auto last = flow.forces(state)[0];
  for (int k = 0; k < steps; ++k) {
    flow.step(state);
    const auto now = flow.forces(state)[0];
    drag += 0.5 * (last.drag + now.drag) / steps;
    lift += 0.5 * (last.lift + now.lift) / steps;
    last = now;
  }
  const Impulse end = vortex_impulse(flow.grid(), state);
  const double x = -2 * (end.x - begin.x) / (state.time - t0), y = -2 * (end.y - begin.y) / (state.time - t0);
  const double c = std::cos(o.incidence), s = std::sin(o.incidence);
  CHECK(c * x + s * y == Approx(drag).epsilon(0.02));
  CHECK(c * y - s * x == Approx(lift).margin(0.02 * drag));
}

TEST_CASE("immersed: threads do not change bits") {
  const Immersed<double> flow(box(2), {circle(0, 0, 0.4, 38)});
  const int before = threads::count();
  std::vector<double> results[2];
  for (int k = 0; k < 2; ++k) {
    threads::set_count(k + 1);
    auto state = flow.start();
    flow.run(state, 5);
    results[k] = state.vorticity.to_vector();
  }
  threads::set_count(before);
  CHECK(results[0] == results[1]);
}

TEST_CASE("immersed: a body that leaves the grid, or forces that do not converge, throw and keep the last good state") {
  ImmersedOptions o = box(1);
  Body body = circle(1.3, 0, 0.4, 38);
  body.motion = FixedVelocity{2, 0, 0};
  const Immersed<double> flow(o, {body});
  auto state = flow.start();
  CHECK_THROWS_WITH(flow.run(state, 20), contains("two cells"));
  CHECK(state.step > 0);
  CHECK(flow.slip(state) < 1e-9);
  o.force_iterations = 1;
  body.motion = FixedVelocity{0.3, 0, 0};
  const Immersed<double> hasty(o, {body});
  auto start = hasty.start();
  CHECK_THROWS_WITH(hasty.run(start, 5), contains("did not converge"));
}

TEST_CASE("wakes: frequency, means and amplitudes of a history come from whole cycles") {
  ForceHistory h;
  const double f = 0.17;
  for (int k = 0; k < 2000; ++k) {
    const double t = 0.05 * k;
    h.append(t, 1.4 + 0.01 * std::cos(4 * pi * f * t) + std::exp(-t), 0.02 + 0.34 * std::sin(2 * pi * f * t + 1));
  }
  const SheddingStatistics s = shedding_statistics(h, 40, 2.0, 0.5);
  CHECK(s.cycles == 10);
  CHECK(s.strouhal == Approx(2.0 / 0.5 * f).epsilon(1e-5));
  CHECK(s.mean_drag == Approx(1.4).epsilon(1e-6));
  CHECK(s.drag_amplitude == Approx(0.01).epsilon(1e-2));
  CHECK(s.mean_lift == Approx(0.02).epsilon(1e-3));
  CHECK(s.lift_amplitude == Approx(0.34).epsilon(1e-3));
  CHECK(s.lift_rms == Approx(0.34 / std::sqrt(2.0)).epsilon(1e-3));
  CHECK(shedding_statistics(h, 99).cycles == 0);
  h.lift.pop_back();
  CHECK_THROWS_AS(shedding_statistics(h, 0), ArgumentError);
}

TEST_CASE("wakes: velocities of a state anywhere, and none outside") {
  ImmersedOptions o = box(2);
  o.incidence = 0.4;
  const Immersed<double> flow(o);
  const auto state = flow.start();
  const VelocityField field(flow.grid(), state);
  CHECK(field.at(0.123, 0.456).u == Approx(std::cos(0.4)));
  CHECK(field.at(-3.5, 2.2).v == Approx(std::sin(0.4)));
  CHECK_THROWS_AS(field.at(20, 0), ArgumentError);
  CHECK(wake_length(field, 0, 0) == 0);
}

TEST_CASE("immersed: cylinder at Re 40, steady wake [long]", "[long]") {
  ImmersedOptions o;
  o.grid = {200, 100, 4, 8, -2, -2, 0, 0};
  o.reynolds = 40;
  o.time_step = 0.02;
  const Immersed<double> flow(o, {circle_with_spacing(0, 0, 0.5, 0.04)});
  auto state = flow.start();
  flow.run(state, 2500);
  const VelocityField field(flow.grid(), state);
  CHECK(flow.forces(state)[0].drag == Approx(1.571).epsilon(0.005));
  CHECK(wake_length(field, 0.5, 0) == Approx(2.356).epsilon(0.01));
  const double angle = separation_angle(field, 0, 0, 0.5);
  CHECK(angle > 48);
  CHECK(angle < 55);
}

TEST_CASE("immersed: cylinder at Re 100 and 200, vortex shedding [long]", "[long]") {
  for (const double reynolds : {100.0, 200.0}) {
    ImmersedOptions o;
    o.grid = {200, 100, 3, 8, -2, -2, 0, 0};
    o.reynolds = reynolds;
    o.time_step = 0.02;
    o.pulse = {0.3, 1, 2};
    const Immersed<double> flow(o, {circle_with_spacing(0, 0, 0.5, 0.04)});
    auto state = flow.start();
    ForceHistory history;
    for (int k = 0; k < 6000; ++k) {
      flow.step(state);
      const ForceCoefficients c = flow.forces(state)[0];
      history.append(state.time, c.drag, c.lift);
    }
    const SheddingStatistics s = shedding_statistics(history, 72);
    CHECK(s.cycles >= 6);
    if (reynolds == 100) {
      CHECK(s.strouhal == Approx(0.1674).epsilon(0.01));
      CHECK(s.mean_drag == Approx(1.403).epsilon(0.01));
      CHECK(s.lift_amplitude == Approx(0.343).epsilon(0.03));
    } else {
      CHECK(s.strouhal == Approx(0.1982).epsilon(0.01));
      CHECK(s.mean_drag == Approx(1.367).epsilon(0.01));
      CHECK(s.lift_amplitude == Approx(0.686).epsilon(0.03));
    }
  }
}
