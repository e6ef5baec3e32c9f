// Derivatives of the spectral solver: adjoints by dot products, tangents by differences, trajectories by Taylor's
// theorem.

#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/reduce.hpp>

#include "flow_spectral_support.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using namespace kolmo_test;

namespace {

using V = Tensor<double, Cpu>;

KolmogorovOptions small_flow(index_t n = 16) {
  KolmogorovOptions o;
  o.size = n;
  o.reynolds = 50;
  o.forcing_wavenumber = 2;
  return o;
}

/// |<J dx, y> - <dx, J^T y>| / (|J dx| |y|).
template <class F>
double adjoint_error(const F& f, const V& x, std::uint64_t seed) {
  const auto dx = noise<V>(x.shape(), seed);
  const auto tangent = jvp(f, x, dx).tangent.to_vector();
  auto pull = vjp(f, x);
  const auto y = noise<V>(pull.value().shape(), seed + 1);
  const auto gradient = pull.pull(y).to_vector();
  const double a = dot(tangent, y.to_vector()), b = dot(dx.to_vector(), gradient);
  return std::abs(a - b) / std::sqrt(dot(tangent, tangent) * dot(y.to_vector(), y.to_vector()));
}

/// The tangent against a central difference.
template <class F>
double tangent_error(const F& f, const V& x, const V& dx) {
  const double h = 1e-5;
  auto forward = x.to_vector(), backward = x.to_vector();
  const auto d = dx.to_vector();
  for (std::size_t i = 0; i < d.size(); ++i) {
    forward[i] += h * d[i];
    backward[i] -= h * d[i];
  }
  const auto a = f(V::from(std::span<const double>(forward), x.shape())).to_vector();
  const auto b = f(V::from(std::span<const double>(backward), x.shape())).to_vector();
  std::vector<double> difference;
  for (std::size_t i = 0; i < a.size(); ++i) difference.push_back((a[i] - b[i]) / (2 * h));
  const auto tangent = jvp(f, x, dx).tangent.to_vector();
  return largest_difference(tangent, difference) / largest(tangent);
}

template <class Form>
void check_forms() {
  for (const auto dealiasing :
       {Dealiasing::square, Dealiasing::circle, Dealiasing::exponential, Dealiasing::padding, Dealiasing::none}) {
    const Spectral<double, Cpu, Form> solver(small_flow(), {.dealiasing = dealiasing, .aspect = 1.5});
    const auto x = solver.from_vorticity(noise<V>(Shape{2, 16, 16}, 1));
    const auto f = [&](const auto& w) { return solver.tendency(w); };
    CHECK(adjoint_error(f, x, 5) < 1e-12);
    CHECK(tangent_error(f, x, noise<V>(x.shape(), 2)) < 1e-8);
  }
}

}  // namespace

TEST_CASE("tangents and adjoints of the nonlinear term in every form") {
  check_forms<Basdevant>();
  check_forms<FluxForm>();
  check_forms<AdvectiveForm>();
}

TEST_CASE("tangents and adjoints of steps and transitions of every stepper") {
  for (const auto stepper : {SpectralStepper::if_rk4, SpectralStepper::etd_rk4, SpectralStepper::cn_rk5,
                             SpectralStepper::cn_rk3, SpectralStepper::heun_cn}) {
    const Spectral<double, Cpu> solver(small_flow(), {.stepper = stepper});
    const auto x = solver.from_vorticity(noise<V>(Shape{2, 16, 16}, 3, 10));
    const auto step = [&](const auto& w) { return solver.step(w, 0.01); };
    const auto three = [&](const auto& w) { return solver.transition(w, 0.05, {.steps = 3}); };
    const auto chosen = [&](const auto& w) { return solver.transition(w, 0.2); };
    CHECK(adjoint_error(step, x, 7) < 1e-12);
    CHECK(adjoint_error(three, x, 8) < 1e-12);
    CHECK(adjoint_error(chosen, x, 9) < 1e-12);
    CHECK(tangent_error(three, x, noise<V>(x.shape(), 2)) < 1e-7);
  }
}

TEST_CASE("tangents and adjoints with a tracer") {
  for (const auto stepper : {SpectralStepper::if_rk4, SpectralStepper::etd_rk4, SpectralStepper::cn_rk5}) {
    const Spectral<double, Cpu, BasdevantWithTracer> solver(small_flow(), {.stepper = stepper},
                                                            {.diffusivity = 0.1, .gradient = 0.7});
    const auto fields = noise<V>(Shape{2, 2, 16, 16}, 3, 10);
    const auto x = solver.from_fields(fields);
    CHECK(adjoint_error([&](const auto& w) { return solver.tendency(w); }, x, 1) < 1e-12);
    CHECK(adjoint_error([&](const auto& w) { return solver.transition(w, 0.05, {.steps = 3}); }, x, 2) < 1e-12);
    CHECK(tangent_error([&](const auto& w) { return solver.transition(w, 0.05, {.steps = 3}); }, x,
                        noise<V>(x.shape(), 2)) < 1e-7);
    CHECK(adjoint_error([&](const auto& w) { return solver.from_fields(w); }, fields, 3) < 1e-13);
    CHECK(adjoint_error([&](const auto& w) { return solver.to_fields(w); }, x, 4) < 1e-13);
    CHECK(adjoint_error([&](const auto& w) { return solver.velocity(w); }, x, 5) < 1e-13);
  }
}

TEST_CASE("adjoints of the conversions") {
  for (const auto dealiasing : {Dealiasing::square, Dealiasing::circle, Dealiasing::padding}) {
    for (const index_t n : {15, 16}) {
      const Spectral<double, Cpu> solver(small_flow(n), {.dealiasing = dealiasing, .aspect = 0.7});
      const auto state = noise<V>(solver.state_shape(2), 4), field = noise<V>(Shape{2, n, n}, 5),
                 velocity = noise<V>(Shape{2, 2, n, n}, 6);
      CHECK(adjoint_error([&](const auto& x) { return solver.to_vorticity(x); }, state, 1) < 1e-13);
      CHECK(adjoint_error([&](const auto& x) { return solver.from_vorticity(x); }, field, 2) < 1e-13);
      CHECK(adjoint_error([&](const auto& x) { return solver.velocity(x); }, state, 3) < 1e-13);
      CHECK(adjoint_error([&](const auto& x) { return solver.from_velocity(x); }, velocity, 4) < 1e-13);
      CHECK(adjoint_error([&](const auto& x) { return solver.to_staggered(x); }, state, 5) < 1e-13);
      CHECK(adjoint_error([&](const auto& x) { return solver.from_staggered(x); }, velocity, 6) < 1e-13);
    }
  }
}

TEST_CASE("the gradient of a loss over a trajectory passes Taylor's test") {
  const Spectral<double, Cpu> solver(small_flow(24), {});
  const auto start = solver.from_vorticity(field_of<V>(24, lively_vorticity));
  const auto target = solver.velocity(solver.from_vorticity(noise<V>(Shape{1, 24, 24}, 8)));
  const auto loss = [&](const auto& w) {
    auto state = w;
    auto total = sum(square(solver.velocity(state) - target));
    for (int i = 0; i < 4; ++i) {
      state = solver.transition(state, 0.1, {.steps = 4});
      total = total + sum(square(solver.to_staggered(state) - target));
    }
    return total;
  };
  const auto result = value_and_grad(start, loss);
  const auto direction = solver.from_vorticity(noise<V>(Shape{1, 24, 24}, 9)).to_vector();
  const auto at = start.to_vector();
  const double slope = dot(result.gradient.to_vector(), direction);
  const auto remainder = [&](double h) {
    auto x = at;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += h * direction[i];
    return loss(V::from(std::span<const double>(x), start.shape())).item() - result.value.item() - h * slope;
  };
  for (const double h : {1e-1, 1e-2}) CHECK(remainder(h) / remainder(h / 2) == Approx(4).epsilon(0.05));
}

TEST_CASE("Hessian-vector products through a transition") {
  const Spectral<double, Cpu> solver(small_flow(), {});
  const auto x = solver.from_vorticity(field_of<V>(16, lively_vorticity));
  const auto loss = [&](const auto& w) {
    return sum(square(solver.to_vorticity(solver.transition(w, 0.06, {.steps = 3}))));
  };
  const auto d = solver.from_vorticity(noise<V>(Shape{1, 16, 16}, 2));
  const auto product = hvp(loss, x, d).to_vector();
  const double h = 1e-5;
  auto forward = x.to_vector(), backward = x.to_vector();
  const auto direction = d.to_vector();
  for (std::size_t i = 0; i < direction.size(); ++i) {
    forward[i] += h * direction[i];
    backward[i] -= h * direction[i];
  }
  const auto a = grad(loss, V::from(std::span<const double>(forward), x.shape())).to_vector();
  const auto b = grad(loss, V::from(std::span<const double>(backward), x.shape())).to_vector();
  std::vector<double> difference;
  for (std::size_t i = 0; i < a.size(); ++i) difference.push_back((a[i] - b[i]) / (2 * h));
  CHECK(largest_difference(product, difference) < 1e-7 * largest(product));
}
