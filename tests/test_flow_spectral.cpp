// The spectral solver of the Kolmogorov flow against exact solutions, invariants and its own convergence.

#include <cstring>
#include <limits>

#include <kolmo/backend/threads.hpp>

#include "device.hpp"
#include "flow_spectral_support.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using namespace kolmo_test;

namespace {

using V = Tensor<double, Cpu>;

constexpr double endless = std::numeric_limits<double>::infinity();

constexpr SpectralStepper steppers[] = {SpectralStepper::if_rk4, SpectralStepper::etd_rk4, SpectralStepper::cn_rk5,
                                        SpectralStepper::cn_rk3, SpectralStepper::heun_cn};

KolmogorovOptions flow_of(index_t n, double reynolds, double drag, double amplitude = 1) {
  KolmogorovOptions o;
  o.size = n;
  o.reynolds = reynolds;
  o.drag = drag;
  o.forcing_amplitude = amplitude;
  return o;
}

struct Energies {
  double energy, enstrophy;
};

Energies energies(const Spectral<double, Cpu>& solver, const V& state) {
  const auto u = solver.velocity(state).to_vector(), w = solver.to_vorticity(state).to_vector();
  return {dot(u, u) / static_cast<double>(w.size()) / 2, dot(w, w) / static_cast<double>(w.size()) / 2};
}

template <class T>
double taylor_green_error(SpectralStepper stepper, Dealiasing dealiasing, double dt, index_t steps) {
  using W = Tensor<T, Cpu>;
  const Spectral<T, Cpu> solver(flow_of(32, 100, 0.05, 0),
                                {.stepper = stepper, .dealiasing = dealiasing, .stability = endless});
  const auto start = field_of<W>(32, [](double x, double y) { return -4 * std::cos(2 * x) * std::cos(2 * y); });
  const auto end = solver.to_vorticity(
      solver.transition(solver.from_vorticity(start), dt * static_cast<double>(steps), {.steps = steps}));
  const double decay = std::exp(-(2 * 4 * 0.01 + 0.05) * dt * static_cast<double>(steps));
  std::vector<double> expected;
  for (const T x : start.to_vector()) expected.push_back(static_cast<double>(x) * decay);
  return largest_difference(end.to_vector(), expected) / (4 * decay);
}

}  // namespace

TEST_CASE("Taylor-Green vortices decay exactly for any step of the exponential steppers") {
  for (const auto stepper : {SpectralStepper::if_rk4, SpectralStepper::etd_rk4})
    for (const auto dealiasing :
         {Dealiasing::square, Dealiasing::circle, Dealiasing::exponential, Dealiasing::padding, Dealiasing::none}) {
      CHECK(taylor_green_error<double>(stepper, dealiasing, 10, 1) < 1e-12);
      CHECK(taylor_green_error<double>(stepper, dealiasing, 0.1, 100) < 1e-12);
      CHECK(taylor_green_error<float>(stepper, dealiasing, 0.1, 100) < 1e-5);
    }
  // Crank-Nicolson: second order in the decay.
  const double coarse = taylor_green_error<double>(SpectralStepper::heun_cn, Dealiasing::square, 0.5, 20);
  const double fine = taylor_green_error<double>(SpectralStepper::heun_cn, Dealiasing::square, 0.25, 40);
  CHECK(coarse / fine == Approx(4).epsilon(0.02));
}

TEST_CASE("the three forms of the nonlinear term agree where products are free of aliasing") {
  for (const auto dealiasing : {Dealiasing::square, Dealiasing::circle, Dealiasing::padding})
    for (const double aspect : {1.0, 2.5}) {
      const SpectralOptions how{.dealiasing = dealiasing, .aspect = aspect};
      const auto flow = flow_of(32, 100, 0.1);
      const Spectral<double, Cpu> basdevant(flow, how);
      const Spectral<double, Cpu, FluxForm> flux(flow, how);
      const Spectral<double, Cpu, AdvectiveForm> advective(flow, how);
      const auto state = basdevant.from_vorticity(noise<V>(Shape{2, 32, 32}, 3));
      const auto a = basdevant.tendency(state).to_vector(), b = flux.tendency(state).to_vector(),
                 c = advective.tendency(state).to_vector();
      CHECK(largest_difference(a, b) < 1e-13 * largest(a));
      CHECK(largest_difference(a, c) < 1e-13 * largest(a));
    }
}

TEST_CASE("aliased products differ, filtered ones little") {
  const auto flow = flow_of(32, 100, 0.1);
  const auto smooth = field_of<V>(32, lively_vorticity);
  const auto rough = noise<V>(Shape{1, 32, 32}, 4);
  const Spectral<double, Cpu> exact(flow, {.dealiasing = Dealiasing::padding}),
      raw(flow, {.dealiasing = Dealiasing::none}), filtered(flow, {.dealiasing = Dealiasing::exponential});
  const auto difference = [&](const Spectral<double, Cpu>& other, const V& w) {
    const auto a = exact.tendency(exact.from_vorticity(w)).to_vector();
    return largest_difference(a, other.tendency(other.from_vorticity(w)).to_vector()) / largest(a);
  };
  CHECK(difference(raw, smooth) < 1e-13);
  CHECK(difference(filtered, smooth) < 1e-8);
  CHECK(difference(raw, rough) > 0.005);
}

TEST_CASE("errors in time fall with the orders of the methods") {
  // Section 1.8 of the specification has the same flow from another start: 1.8e-6 at dt = 0.01 for the order four.
  const auto flow = flow_of(64, 100, 0.1);
  const Spectral<double, Cpu> fine(flow, {});
  const auto start = field_of<V>(64, lively_vorticity);
  const auto state = fine.from_vorticity(start);
  const auto exact = fine.to_vorticity(fine.transition(state, 1, {.steps = 2000})).to_vector();
  const auto error = [&](SpectralStepper stepper, index_t steps) {
    const Spectral<double, Cpu> solver(flow, {.stepper = stepper, .stability = endless});
    return largest_difference(solver.to_vorticity(solver.transition(state, 1, {.steps = steps})).to_vector(), exact);
  };
  const auto order = [&](SpectralStepper stepper, index_t steps) {
    return std::log2(error(stepper, steps) / error(stepper, 2 * steps));
  };
  CHECK(order(SpectralStepper::if_rk4, 50) == Approx(4).margin(0.2));
  CHECK(order(SpectralStepper::etd_rk4, 50) == Approx(4).margin(0.2));
  CHECK(order(SpectralStepper::cn_rk5, 200) == Approx(2).margin(0.3));
  CHECK(order(SpectralStepper::cn_rk3, 50) == Approx(3).margin(0.3));
  CHECK(order(SpectralStepper::cn_rk3, 800) < 2.7);
  CHECK(order(SpectralStepper::heun_cn, 400) == Approx(2).margin(0.2));
  for (const auto stepper : {SpectralStepper::if_rk4, SpectralStepper::etd_rk4}) {
    const double at = error(stepper, 100);
    CHECK(at > 1e-7);
    CHECK(at < 1e-5);
  }
  CHECK(error(SpectralStepper::cn_rk5, 100) < 1e-5);
  CHECK(error(SpectralStepper::heun_cn, 100) < 1e-2);
}

TEST_CASE("without viscosity, drag and forcing, energy and enstrophy stay, to the order of the stepper") {
  for (const auto dealiasing : {Dealiasing::square, Dealiasing::padding}) {
    const Spectral<double, Cpu> solver(flow_of(32, endless, 0, 0), {.dealiasing = dealiasing});
    const auto start = solver.from_vorticity(field_of<V>(32, lively_vorticity));
    const Energies before = energies(solver, start);
    const auto drift = [&](index_t steps) {
      const Energies after = energies(solver, solver.transition(start, 1, {.steps = steps}));
      return std::array<double, 2>{std::abs(after.energy / before.energy - 1),
                                   std::abs(after.enstrophy / before.enstrophy - 1)};
    };
    const auto coarse = drift(60), fine = drift(240), finest = drift(1000);
    for (int i = 0; i < 2; ++i) {
      const auto k = static_cast<std::size_t>(i);
      CHECK(fine[k] < coarse[k] / 64);
      CHECK(finest[k] < 1e-10);
    }
  }
}

TEST_CASE("the laminar flow is steady") {
  for (const auto& [reynolds, drag] : {std::pair{5.0, 0.0}, std::pair{1000.0, 0.1}}) {
    const auto flow = flow_of(32, reynolds, drag);
    const double scale = flow.laminar_speed() * 4;
    const auto laminar = field_of<V>(32, [&](double, double y) { return -scale * std::cos(4 * y); });
    for (const auto stepper : steppers) {
      const Spectral<double, Cpu> solver(flow, {.stepper = stepper, .stability = endless});
      const auto state = solver.from_vorticity(laminar);
      CHECK(largest(solver.tendency(state).to_vector()) < 1e-11 * largest(state.to_vector()));
      // Only exponential differences and Heun's method hold a steady state exactly.
      const bool exact = stepper == SpectralStepper::etd_rk4 || stepper == SpectralStepper::heun_cn;
      const auto end = solver.transition(state, 0.05, {.steps = 10});
      CHECK(largest_difference(end.to_vector(), state.to_vector()) <
            (exact ? 1e-12 : 1e-5) * largest(state.to_vector()));
    }
  }
}

TEST_CASE("below the critical Reynolds number a perturbed flow returns to the laminar one") {
  const auto flow = flow_of(32, 5, 0);
  // Integrating factors would leave a steady flow off by (L dt)^4 / 2880.
  const Spectral<double, Cpu> solver(flow, {.stepper = SpectralStepper::etd_rk4});
  const double scale = flow.laminar_speed() * 4;
  const auto start = field_of<V>(32, [&](double x, double y) {
    return -scale * std::cos(4 * y) + 0.1 * std::sin(x + y) + 0.05 * std::cos(2 * x);
  });
  const Energies end = energies(solver, solver.transition(solver.from_vorticity(start), 60));
  CHECK(end.energy / (flow.laminar_speed() * flow.laminar_speed() / 4) == Approx(1).margin(1e-8));
}

TEST_CASE("the forcing of the vorticity is the curl of the forcing of the velocity") {
  const auto flow = flow_of(32, 100, 0.3, 1.7);
  const Spectral<double, Cpu> solver(flow, {});
  const auto rest = V::zeros(solver.state_shape(1));
  const auto force = solver.velocity(solver.tendency(rest)).to_vector();
  const auto expected = field_of<V>(32, [](double, double y) { return 1.7 * std::sin(4 * y); }).to_vector();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(force[i] == Approx(expected[i]).margin(1e-13));
    CHECK(std::abs(force[expected.size() + i]) < 1e-13);
  }
}

TEST_CASE("velocities: corners, staggered places and back") {
  const index_t n = 24;
  const Spectral<double, Cpu> solver(flow_of(n, 100, 0.1), {});
  const double h = two_pi / static_cast<double>(n);
  const auto u = [](double x, double y) { return std::cos(3 * x) * std::sin(3 * y) + std::sin(2 * y + 1); };
  const auto v = [](double x, double y) { return -std::sin(3 * x) * std::cos(3 * y) + std::cos(x); };
  const auto w = [](double x, double y) {
    return -6 * std::cos(3 * x) * std::cos(3 * y) - 2 * std::cos(2 * y + 1) - std::sin(x);
  };
  const auto state = solver.from_vorticity(field_of<V>(n, w));
  const auto join = [&](double xu, double yu, double xv, double yv) {
    auto both = field_of<V>(n, [&](double x, double y) { return u(x + xu, y + yu); }).to_vector();
    const auto second = field_of<V>(n, [&](double x, double y) { return v(x + xv, y + yv); }).to_vector();
    both.insert(both.end(), second.begin(), second.end());
    return both;
  };
  CHECK(largest_difference(solver.velocity(state).to_vector(), join(0, 0, 0, 0)) < 1e-13);
  CHECK(largest_difference(solver.to_staggered(state).to_vector(), join(h, h / 2, h / 2, h)) < 1e-13);
  const double size = largest(state.to_vector());
  CHECK(largest_difference(solver.from_staggered(solver.to_staggered(state)).to_vector(), state.to_vector()) <
        1e-13 * size);
  CHECK(largest_difference(solver.from_velocity(solver.velocity(state)).to_vector(), state.to_vector()) < 1e-13 * size);
  CHECK(largest_difference(solver.from_vorticity(solver.to_vorticity(state)).to_vector(), state.to_vector()) <
        1e-13 * size);
  // A mean of the vorticity is dropped.
  const auto shifted = field_of<V>(n, [&](double x, double y) { return w(x, y) + 3; });
  CHECK(largest_difference(solver.from_vorticity(shifted).to_vector(), state.to_vector()) < 1e-13 * size);
}

TEST_CASE("the mean vorticity stays zero") {
  const Spectral<double, Cpu> solver(flow_of(32, 1000, 0.1), {});
  const auto end = solver.transition(solver.from_vorticity(field_of<V>(32, lively_vorticity)), 1);
  const auto values = end.to_vector();
  CHECK(values[0] == 0);
  double sum = 0;
  for (const double x : solver.to_vorticity(end).to_vector()) sum += x;
  CHECK(std::abs(sum) < 1e-10);
}

TEST_CASE("a transition that chooses its steps lands on its end, with no more steps than the flow needs") {
  const Spectral<double, Cpu> solver(flow_of(32, 1000, 0.1), {});
  const auto state = solver.from_vorticity(field_of<V>(32, lively_vorticity));
  const double longest = solver.longest_step(state)[0];
  const auto u = solver.velocity(state).to_vector();
  double speed = 0;
  for (std::size_t i = 0; i < 1024; ++i) speed = std::fmax(speed, std::abs(u[i]) + std::abs(u[1024 + i]));
  CHECK(longest == Approx(2.83 / (10 * speed)).epsilon(1e-12));
  const double duration = 7.3 * longest;
  const auto steps = static_cast<index_t>(std::ceil(7.3 / 0.7));
  CHECK(solver.transition(state, duration).to_vector() ==
        solver.transition(state, duration, {.steps = steps}).to_vector());
  // This flow becomes faster: what would just do at the start is taken back.
  CHECK_THROWS_AS(solver.transition(state, duration, {.steps = 8}), UnstableStep);
  const auto tight = solver.transition(state, duration, {.safety = 1}).to_vector();
  bool found = false;
  for (index_t more = 9; more <= 11; ++more)
    found = found || tight == solver.transition(state, duration, {.steps = more}).to_vector();
  CHECK(found);
  // Halves and the whole agree to the stepper's error.
  const auto halves = solver.trajectory(state, duration / 2, 2);
  CHECK(largest_difference(solver.to_vorticity(halves[1]).to_vector(),
                           solver.to_vorticity(solver.transition(state, duration)).to_vector()) < 1e-2);
}

TEST_CASE("two independent steppers agree on a trajectory") {
  const auto flow = flow_of(64, 100, 0.1);
  const Spectral<double, Cpu> one(flow, {}), other(flow, {.stepper = SpectralStepper::etd_rk4});
  const Spectral<double, Cpu, AdvectiveForm> third(flow, {});
  const auto state = one.from_vorticity(field_of<V>(64, lively_vorticity));
  const auto a = one.to_vorticity(one.transition(state, 2, {.steps = 2000})).to_vector();
  CHECK(largest_difference(a, one.to_vorticity(other.transition(state, 2, {.steps = 2000})).to_vector()) < 1e-9);
  CHECK(largest_difference(a, one.to_vorticity(third.transition(state, 2, {.steps = 2000})).to_vector()) < 1e-9);
}

TEST_CASE("trajectories of a batch have the bits they have alone, on any number of threads") {
  const Spectral<double, Cpu> solver(flow_of(24, 1000, 0.1), {});
  const auto fields = noise<V>(Shape{5, 24, 24}, 7, 20);
  const auto run = [&](const V& w) { return solver.transition(solver.from_vorticity(w), 0.1).to_vector(); };
  const int threads_before = threads::count();
  threads::set_count(1);
  const auto serial = run(fields);
  threads::set_count(4);
  CHECK(run(fields) == serial);
  threads::set_count(threads_before);
  for (index_t b = 0; b < 5; ++b) {
    const auto alone = run(V::borrow(fields.data() + b * 576, Shape{1, 24, 24}));
    CHECK(std::memcmp(alone.data(), serial.data() + b * static_cast<index_t>(alone.size()),
                      alone.size() * sizeof(double)) == 0);
  }
  CHECK(solver.transition(V::zeros(solver.state_shape(0)), 0.1).shape() == solver.state_shape(0));
}

TEST_CASE("float follows double") {
  const auto flow = flow_of(32, 1000, 0.1);
  const Spectral<double, Cpu> reference(flow, {});
  for (const auto stepper : steppers) {
    const Spectral<double, Cpu> wide(flow, {.stepper = stepper, .stability = endless});
    const Spectral<float, Cpu> narrow(flow, {.stepper = stepper, .stability = endless});
    const auto a =
        wide.to_vorticity(wide.transition(wide.from_vorticity(field_of<V>(32, lively_vorticity)), 0.1, {.steps = 20}));
    const auto b = narrow.to_vorticity(narrow.transition(
        narrow.from_vorticity(field_of<Tensor<float, Cpu>>(32, lively_vorticity)), 0.1, {.steps = 20}));
    CHECK(largest_difference(a.to_vector(), b.to_vector()) < 1e-5 * largest(a.to_vector()));
  }
}

TEST_CASE("a device computes what the host computes", "[device]") {
  const auto flow = flow_of(18, 200, 0.1);
  for (const auto stepper : steppers) {
    const Spectral<double, Cpu> host(flow, {.stepper = stepper});
    const Spectral<double, TestDevice> device(flow, {.stepper = stepper});
    const auto w = noise<V>(Shape{2, 18, 18}, 9, 5);
    const auto a = host.transition(host.from_vorticity(w), 0.05);
    const auto b = device.transition(device.from_vorticity(w.to<TestDevice>()), 0.05);
    CHECK(largest_difference(a.to_vector(), b.to_vector()) < 1e-12 * largest(a.to_vector()));
    CHECK(largest_difference(host.to_staggered(a).to_vector(), device.to_staggered(b).to_vector()) < 1e-12);
    const auto ga = vjp([&](const auto& x) { return host.transition(x, 0.05); }, host.from_vorticity(w)).pull(a);
    const auto gb =
        vjp([&](const auto& x) { return device.transition(x, 0.05); }, device.from_vorticity(w.to<TestDevice>()))
            .pull(b);
    CHECK(largest_difference(ga.to_vector(), gb.to_vector()) < 1e-11 * largest(ga.to_vector()));
  }
}

TEST_CASE("a step that is too long is an error that names the step and the cell and leaves the state") {
  const Spectral<double, Cpu> solver(flow_of(32, 1000, 0.1), {});
  const auto state = solver.from_vorticity(field_of<V>(32, lively_vorticity));
  const auto before = state.to_vector();
  const double longest = solver.longest_step(state)[0];
  bool thrown = false;
  try {
    solver.transition(state, 3 * longest, {.steps = 2});
  } catch (const UnstableStep& e) {
    thrown = true;
    CHECK(e.step() == 0);
    CHECK(e.number() == Approx(1.5 * 2.83));
    const auto u = solver.velocity(state).to_vector();
    const auto cell = static_cast<std::size_t>(e.cell()[0] * 32 + e.cell()[1]);
    CHECK(std::abs(u[cell]) + std::abs(u[1024 + cell]) == Approx(2.83 / (10 * longest)));
    CHECK_THAT(std::string(e.what()), contains("take more steps"));
  }
  CHECK(thrown);
  CHECK(state.to_vector() == before);
  // Nothing stops the one who wants to see it blow up, but what is not finite is never returned.
  const Spectral<double, Cpu> reckless(flow_of(32, 1000, 0.1), {.stability = endless});
  CHECK_THROWS_AS(reckless.transition(state, 400, {.steps = 400}), UnstableStep);
  auto broken = V::from(std::span<const double>(before), state.shape());
  broken.mutable_data()[70] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(solver.step(broken, 1e-3), contains("no longer finite"));
  CHECK_THROWS_AS(solver.transition(broken, 1e-3), UnstableStep);
}

TEST_CASE("bad options and inputs of the spectral solver") {
  CHECK_THROWS_WITH((Spectral<double, Cpu>(flow_of(32, -1, 0.1), {})), contains("reynolds"));
  CHECK_THROWS_WITH((Spectral<double, Cpu>(flow_of(12, 100, 0.1), {})), contains("cut off at 3"));
  CHECK_THROWS_WITH((Spectral<double, Cpu>(flow_of(32, 100, 0.1), {.aspect = 0})), contains("aspect"));
  CHECK_THROWS_WITH((Spectral<double, Cpu>(flow_of(32, 100, 0.1), {.stability = -1})), contains("stability"));
  const Spectral<double, Cpu> solver(flow_of(32, 100, 0.1), {});
  const auto state = V::zeros(solver.state_shape(1));
  CHECK_THROWS_AS(solver.step(V::zeros(Shape{1, 32, 2, 17}), 0.1), ShapeError);
  CHECK_THROWS_AS(solver.from_vorticity(V::zeros(Shape{32, 32})), ShapeError);
  CHECK_THROWS_AS(solver.from_staggered(V::zeros(Shape{1, 32, 32})), ShapeError);
  CHECK_THROWS_AS(solver.step(state, 0), ArgumentError);
  CHECK_THROWS_AS(solver.step(state, -1), ArgumentError);
  CHECK_THROWS_AS(solver.step(state, endless), ArgumentError);
  CHECK_THROWS_AS(solver.transition(state, 1, {.steps = -1}), ArgumentError);
  CHECK_THROWS_AS(solver.transition(state, 1, {.safety = 0}), ArgumentError);
}

TEST_CASE("a passive tracer is carried, spread and fed by its mean gradient, and changes nothing else") {
  const index_t n = 32;
  const auto flow = flow_of(n, 200, 0.1);
  const Spectral<double> alone(flow, {});
  const auto fields = [&](const V& w, const auto& c) {
    auto both = w.to_vector();
    const auto second = field_of<V>(n, c).to_vector();
    both.insert(both.end(), second.begin(), second.end());
    return V::from(std::span<const double>(both), Shape{1, 2, n, n});
  };
  const auto vorticity = field_of<V>(n, lively_vorticity);
  const auto split = [](const std::vector<double>& x, bool second) {
    const auto half = static_cast<std::ptrdiff_t>(x.size() / 2);
    return second ? std::vector<double>(x.begin() + half, x.end()) : std::vector<double>(x.begin(), x.begin() + half);
  };
  for (const auto stepper : steppers) {
    const SpectralOptions how{.stepper = stepper};
    const Spectral<double> same(flow, how);
    // With the flow's damping the vorticity without its forcing is a tracer, too: take the forcing away.
    auto free = flow_of(n, 200, 0, 0);
    const Spectral<double, Cpu, BasdevantWithTracer> carried(free, how, {.diffusivity = free.viscosity()});
    const auto end =
        carried
            .to_fields(carried.transition(carried.from_fields(fields(vorticity, lively_vorticity)), 0.5, {.steps = 50}))
            .to_vector();
    CHECK(largest_difference(split(end, false), split(end, true)) < 1e-12 * largest(end));
    const Spectral<double, Cpu, BasdevantWithTracer> other(flow, how, {.diffusivity = 0.02, .gradient = 1.5});
    const auto mixed =
        other.transition(other.from_fields(fields(vorticity, [](double x, double y) { return 2 + std::cos(x - y); })),
                         0.5, {.steps = 50});
    const auto w = same.to_vorticity(same.transition(same.from_vorticity(vorticity), 0.5, {.steps = 50})).to_vector();
    CHECK(largest_difference(split(other.to_fields(mixed).to_vector(), false), w) < 1e-12 * largest(w));
    double mean = 0;
    for (const double c : split(other.to_fields(mixed).to_vector(), true)) mean += c / static_cast<double>(n * n);
    CHECK(mean == Approx(2).epsilon(1e-13));
  }
  // In the laminar flow u = (U(y), 0) a tracer c(x) has dc/dt = -U dc/dx + kappa d2c/dx2.
  const Spectral<double, Cpu, BasdevantWithTracer> laminar(flow, {}, {.diffusivity = 0.3, .gradient = 4});
  const double speed = flow.laminar_speed();
  const auto state =
      laminar.from_fields(fields(field_of<V>(n, [&](double, double y) { return -4 * speed * std::cos(4 * y); }),
                                 [](double x, double) { return std::sin(2 * x); }));
  const auto rate = split(laminar.to_fields(laminar.tendency(state)).to_vector(), true);
  const auto expected = field_of<V>(n, [&](double x, double y) {
                          return -speed * std::sin(4 * y) * 2 * std::cos(2 * x) - 0.3 * 4 * std::sin(2 * x);
                        }).to_vector();
  CHECK(largest_difference(rate, expected) < 1e-11);
  // A gradient along y feeds by -G v.
  const Spectral<double, Cpu, BasdevantWithTracer> fed(flow, {}, {.gradient = 4});
  const auto start = fed.from_fields(fields(vorticity, [](double, double) { return 1.0; }));
  const auto growth = split(fed.to_fields(fed.tendency(start)).to_vector(), true);
  auto source = split(alone.velocity(alone.from_vorticity(vorticity)).to_vector(), true);
  for (double& x : source) x *= -4;
  CHECK(largest_difference(growth, source) < 1e-11);
  CHECK_THROWS_WITH((Spectral<double, Cpu, BasdevantWithTracer>(flow, {}, {.diffusivity = -1})),
                    contains("diffusivity"));
}

TEST_CASE("odd and awkward sizes run") {
  for (const index_t n : {9, 10, 15, 21, 22, 27, 30}) {
    for (const auto dealiasing : {Dealiasing::square, Dealiasing::padding, Dealiasing::none}) {
      auto flow = flow_of(n, 100, 0.1);
      flow.forcing_wavenumber = 2;
      const Spectral<double, Cpu> solver(flow, {.dealiasing = dealiasing, .stability = endless});
      const Spectral<double, Cpu, AdvectiveForm> other(flow, {.dealiasing = dealiasing, .stability = endless});
      const auto state = solver.from_vorticity(
          field_of<V>(n, [](double x, double y) { return std::cos(x + 2 * y) + std::sin(2 * x - y); }));
      const auto a = solver.step(state, 0.01).to_vector(), b = other.step(state, 0.01).to_vector();
      CHECK(largest_difference(a, b) < (dealiasing != Dealiasing::none ? 1e-12 : n < 12 ? 1e-2 : 1e-7) * largest(a));
    }
  }
}
