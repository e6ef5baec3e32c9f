#pragma once
// A quantity carried by the flow without acting on it, at the centres of the cells:
//
//   dc/dt + (u . grad) c = kappa laplace c - G . u
//
// with the limited flux of the velocity's advection, now with the staggered velocities as those of the faces, explicit
// diffusion, and the source of a mean gradient G. Without it the sum over the cells stays the same, and without
// diffusion no new extremum arises along an axis while the Courant number of every face is below 1.

#include <kolmo/flow/finite_volume.hpp>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow {

struct TracerOptions {
  double diffusivity = 1e-3;  ///< kappa
  double gradient_x = 0;      ///< G; c is then the departure from the mean profile G . x
  double gradient_y = 0;
};

namespace detail {

template <class T>
struct TracerConstants {
  T courant;                 ///< dt/h
  T diffusion;               ///< kappa dt/h^2
  T gradient_x, gradient_y;  ///< G dt/2
};

/// One cell of a step, and of its transpose, from padded fields.
template <class T, class S>
struct TracerStencil {
  PaddedGrid grid;
  TracerConstants<T> constants;
  const S* c;  // of one trajectory
  const S* u;
  const S* v;

  KOLMO_HD KOLMO_INLINE S linear_part(const S* field, const S* before, const S* next, index_t j) const {
    const T diffusion = constants.diffusion, centre = T(1) - T(4) * diffusion;
    return field[j] * centre + ((before[j] + next[j]) + (field[j - 1] + field[j + 1])) * diffusion;
  }

  KOLMO_HD KOLMO_INLINE S stepped(index_t i, index_t j) const {
    const VanLeerFlux flux;
    const T courant = constants.courant;
    const index_t further = grid.wrapped(i - 2), before = grid.wrapped(i - 1), here = grid.at(i),
                  next = grid.wrapped(i + 1), after = grid.wrapped(i + 2);
    const S *c0 = c + further, *c1 = c + before, *c2 = c + here, *c3 = c + next, *c4 = c + after;
    const S *u1 = u + before, *u2 = u + here, *v2 = v + here;
    const S along_x =
        flux(S(courant * u2[j]), c1[j], c2[j], c3[j], c4[j]) - flux(S(courant * u1[j]), c0[j], c1[j], c2[j], c3[j]);
    const S along_y = flux(S(courant * v2[j]), c2[j - 1], c2[j], c2[j + 1], c2[j + 2]) -
                      flux(S(courant * v2[j - 1]), c2[j - 2], c2[j - 1], c2[j], c2[j + 1]);
    const S source = (u1[j] + u2[j]) * constants.gradient_x + (v2[j - 1] + v2[j]) * constants.gradient_y;
    return linear_part(c2, c1, c3, j) - ((along_x + along_y) + source);
  }

  /// Cotangents of c, u and v at a cell from those of the result, g. A face is evaluated with stand-ins for the cells
  /// that the part asked for does not depend on.
  KOLMO_HD KOLMO_INLINE void pulled(const S* g, index_t i, index_t j, S& to_c, S& to_u, S& to_v) const {
    const T courant = constants.courant;
    const index_t further = grid.wrapped(i - 2), before = grid.wrapped(i - 1), here = grid.at(i),
                  next = grid.wrapped(i + 1), after = grid.wrapped(i + 2);
    const S *c0 = c + further, *c1 = c + before, *c2 = c + here, *c3 = c + next, *c4 = c + after;
    const S *g0 = g + further, *g1 = g + before, *g2 = g + here, *g3 = g + next, *g4 = g + after;
    const S *u0 = u + further, *u1 = u + before, *u2 = u + here, *u3 = u + next, *v2 = v + here;
    const VanLeerFlux flux;
    const auto x_here = flux.adjoint(S(g3[j] - g2[j]), S(courant * u2[j]), c1[j], c2[j], c3[j], c4[j]);
    const auto x_before = flux.adjoint(S(g2[j] - g1[j]), S(courant * u1[j]), c0[j], c1[j], c2[j], c3[j]);
    const auto x_next = flux.adjoint(S(g4[j] - g3[j]), S(courant * u3[j]), c2[j], c3[j], c4[j], c4[j]);
    const auto x_further = flux.adjoint(S(g1[j] - g0[j]), S(courant * u0[j]), c0[j], c0[j], c1[j], c2[j]);
    const auto y_here = flux.adjoint(S(g2[j + 1] - g2[j]), S(courant * v2[j]), c2[j - 1], c2[j], c2[j + 1], c2[j + 2]);
    const auto y_before =
        flux.adjoint(S(g2[j] - g2[j - 1]), S(courant * v2[j - 1]), c2[j - 2], c2[j - 1], c2[j], c2[j + 1]);
    const auto y_next =
        flux.adjoint(S(g2[j + 2] - g2[j + 1]), S(courant * v2[j + 1]), c2[j], c2[j + 1], c2[j + 2], c2[j + 2]);
    const auto y_further =
        flux.adjoint(S(g2[j - 1] - g2[j - 2]), S(courant * v2[j - 2]), c2[j - 2], c2[j - 2], c2[j - 1], c2[j]);
    to_c = linear_part(g2, g1, g3, j) + ((x_next.before + x_here.here) + (x_before.next + x_further.after)) +
           ((y_next.before + y_here.here) + (y_before.next + y_further.after));
    to_u = x_here.courant * courant - (g2[j] + g3[j]) * constants.gradient_x;
    to_v = y_here.courant * courant - (g2[j] + g2[j + 1]) * constants.gradient_y;
  }
};

/// What the kernels below share: padded c [fields, n, row] and velocities [fields, 2, n, row].
template <class T, class S>
struct TracerFields {
  PaddedGrid grid;
  TracerConstants<T> constants;
  const S* c;
  const S* x;
  KOLMO_HD KOLMO_INLINE TracerStencil<T, S> of(index_t field) const {
    const S* velocity = x + field * 2 * grid.field();
    return {grid, constants, c + field * grid.field(), velocity, velocity + grid.field()};
  }
};

/// y[fields, n, n] after a step. An item is a row, or a cell when `cells` is set.
template <class T, class S, bool cells>
struct TracerStep {
  TracerFields<T, S> fields;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const index_t n = fields.grid.n, row = cells ? item / n : item, field = row / n, i = row - field * n;
    const TracerStencil<T, S> stencil = fields.of(field);
    if constexpr (cells) {
      y[item] = stencil.stepped(i, item - row * n);
    } else {
      KOLMO_INDEPENDENT
      for (index_t j = 0; j < n; ++j) y[row * n + j] = stencil.stepped(i, j);
    }
  }
};

template <class T, class S, bool cells>
struct TracerPull {
  TracerFields<T, S> fields;
  const S* g;  // padded
  S* to_c;     // [fields, n, n]
  S* to_x;     // [fields, 2, n, n]
  KOLMO_HD void operator()(index_t item) const {
    const index_t n = fields.grid.n, row = cells ? item / n : item, field = row / n, i = row - field * n;
    const TracerStencil<T, S> stencil = fields.of(field);
    const S* cotangent = g + field * fields.grid.field();
    S *c_row = to_c + row * n, *u_row = to_x + (field * 2 * n + i) * n, *v_row = u_row + n * n;
    if constexpr (cells) {
      const index_t j = item - row * n;
      stencil.pulled(cotangent, i, j, c_row[j], u_row[j], v_row[j]);
    } else {
      KOLMO_INDEPENDENT
      for (index_t j = 0; j < n; ++j) stencil.pulled(cotangent, i, j, c_row[j], u_row[j], v_row[j]);
    }
  }
};

template <class T, class B, template <class, class, bool> class Kernel, class S, class... More>
void run_tracer(const TracerFields<T, S>& fields, index_t batch, More... more) {
  const index_t n = fields.grid.n;
  if constexpr (takes_fields<B>)
    kolmo::detail::for_each_item<B>(batch * n, Kernel<T, S, false>{fields, more...});
  else
    B::for_each(batch * n * n, Kernel<T, S, true>{fields, more...});
}

template <class T, class B>
struct TracerCore {
  index_t n;
  TracerConstants<T> constants;
  double courant_per_speed;

  template <class S>
  Tensor<S, B> padded(const Tensor<S, B>& x) const {
    const auto grid = PaddedGrid::of<S>(n);
    auto result = Tensor<S, B>::uninitialized(Shape{x.size() / n, grid.row});
    pad<B>(grid, x.size() / (n * n), x.data(), result.mutable_data());
    return result;
  }

  template <class S>
  Tensor<S, B> step(const Tensor<S, B>& c, const Tensor<S, B>& x) const {
    const auto grid = PaddedGrid::of<S>(n);
    const index_t batch = c.size() / (n * n);
    const auto c_padded = padded(c);
    auto x_padded = padded(x);
    watch(grid, batch, x_padded.mutable_data());
    auto y = Tensor<S, B>::uninitialized(c.shape());
    run_tracer<T, B, TracerStep, S>({grid, constants, c_padded.data(), x_padded.data()}, batch, y.mutable_data());
    return y;
  }

  template <class S>
  std::tuple<Tensor<S, B>, Tensor<S, B>> pull(const Tensor<S, B>& c, const Tensor<S, B>& x,
                                              const Tensor<S, B>& g) const {
    const auto c_padded = padded(c), x_padded = padded(x), g_padded = padded(g);
    auto to_c = Tensor<S, B>::uninitialized(c.shape()), to_x = Tensor<S, B>::uninitialized(x.shape());
    run_tracer<T, B, TracerPull, S>({PaddedGrid::of<S>(n), constants, c_padded.data(), x_padded.data()},
                                    c.size() / (n * n), g_padded.data(), to_c.mutable_data(), to_x.mutable_data());
    return {to_c, to_x};
  }

 private:
  template <class S>
  void watch(const PaddedGrid& grid, index_t batch, S* x) const {
    Watch<T, B> watched(grid, batch);
    correct<B>(grid, batch, static_cast<const S*>(nullptr), x, watched, 0, static_cast<T>(1 / courant_per_speed));
    throw_violations("PassiveTracer", watched.violations.to_vector(), batch, 0, batch, courant_per_speed);
  }
};

template <class T, class B, Value C, Value X>
struct TracerPullBack {
  TracerCore<T, B> core;
  C c;
  X x;

  template <Value G>
  auto operator()(const G& gradient, const Wanted<2>&) const {
    if constexpr (JetLike<G>) {
      const auto both =
          core.pull(kolmo::detail::zip_dual(c), kolmo::detail::zip_dual(x), kolmo::detail::zip_dual(gradient));
      return std::make_tuple(kolmo::detail::unzip_dual(std::get<0>(both)),
                             kolmo::detail::unzip_dual(std::get<1>(both)));
    } else {
      return core.pull(c.contiguous(), x.contiguous(), gradient.contiguous());
    }
  }
};

}  // namespace detail

/// Steps of tracers [batch, n, n] (or [n, n]) in velocities [batch, 2, n, n] (or [2, n, n]) of a periodic box.
template <class T, class B = Cpu>
class PassiveTracer {
 public:
  /// Throws ArgumentError for options out of their domain.
  explicit PassiveTracer(const KolmogorovOptions& flow = {}, const TracerOptions& options = {})
      : flow_(flow), options_(options) {
    validate(flow);
    if (!(options.diffusivity >= 0) || !is_finite(options.diffusivity) || !is_finite(options.gradient_x) ||
        !is_finite(options.gradient_y))
      throw ArgumentError("TracerOptions: diffusivity must be finite and not negative, given " +
                          std::to_string(options.diffusivity) + ", and the mean gradient finite, given (" +
                          std::to_string(options.gradient_x) + ", " + std::to_string(options.gradient_y) + ")");
  }

  /// The tracer after one step of length dt in the velocity x. Throws ShapeError where the shapes do not fit,
  /// ArgumentError for a dt that is not positive or above h^2 / 4 kappa, UnstableStep for Courant numbers above 1.
  template <TensorLike C, TensorLike X>
  auto step(const C& c, const X& x, double dt) const {
    const index_t n = flow_.size;
    const double h = flow_.spacing(), limit = h * h / (4 * options_.diffusivity);
    if (!(dt > 0) || !is_finite(dt) || dt > limit)
      throw ArgumentError("PassiveTracer: dt must be positive and at most h^2 / (4 diffusivity) = " +
                          std::to_string(limit) + ", given " + std::to_string(dt));
    Shape expected = c.shape();
    if (expected.rank() >= 2) expected = expected.with(expected.rank() - 2, 2);
    if (c.rank() < 2 || c.rank() > 3 || c.shape()[-1] != n || c.shape()[-2] != n || !(x.shape() == expected))
      throw ShapeError("PassiveTracer: expected a tracer of shape [batch, " + std::to_string(n) + ", " +
                       std::to_string(n) + "] and a velocity of shape [batch, 2, " + std::to_string(n) + ", " +
                       std::to_string(n) + "], given " + c.shape().to_string() + " and " + x.shape().to_string());
    const detail::TracerCore<T, B> core{
        n,
        {static_cast<T>(dt / h), static_cast<T>(options_.diffusivity * dt / (h * h)),
         static_cast<T>(options_.gradient_x * dt / 2), static_cast<T>(options_.gradient_y * dt / 2)},
        dt / h};
    using VC = ValueOf<C>;
    using VX = ValueOf<X>;
    const VC c_value = value(c);
    const VX x_value = value(x);
    if constexpr (JetLike<VC> || JetLike<VX>)
      return record(
          kolmo::detail::unzip_dual(core.step(kolmo::detail::zip_dual(c_value), kolmo::detail::zip_dual(x_value))),
          detail::TracerPullBack<T, B, VC, VX>{core, c_value, x_value}, c, x);
    else
      return record(core.step(c_value.contiguous(), x_value.contiguous()),
                    detail::TracerPullBack<T, B, VC, VX>{core, c_value, x_value}, c, x);
  }

 private:
  KolmogorovOptions flow_;
  TracerOptions options_;
};

/// A velocity and the tracer in it.
template <class X, class C>
struct FlowWithTracer {
  X velocity;
  C tracer;
};

/// Both after the time dt, in inner steps as FiniteVolume::transition takes them: the tracer with the velocity at the
/// beginning of each.
template <class T, class B, Value X, Value C>
FlowWithTracer<X, C> transition(const FiniteVolume<T, B>& flow, const PassiveTracer<T, B>& tracer,
                                FlowWithTracer<X, C> state, double dt, index_t steps = 0) {
  if (steps == 0) steps = flow.inner_steps(dt);
  const double inner = dt / static_cast<double>(steps);
  for (index_t s = 0; s < steps; ++s) {
    state.tracer = tracer.step(state.tracer, state.velocity, inner);
    state.velocity = flow.step(state.velocity, inner);
  }
  return state;
}

}  // namespace kolmo::flow

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
