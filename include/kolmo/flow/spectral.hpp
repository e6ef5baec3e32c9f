#pragma once
// Pseudo-spectral solver of the two-dimensional Kolmogorov flow in vorticity form:
//
//   d(omega)/dt + u . grad(omega) = nu laplace(omega) - mu omega - A k_f cos(k_f y),   u = (d/dy, -d/dx) psi,
//   laplace(psi) = -omega
//
// on the periodic box of KolmogorovOptions. The state is the half spectrum of the vorticity, [batch, n, 2, m]: rows kx
// as a discrete Fourier transform orders them, then real and imaginary parts of ky = 0 ... m - 1, unnormalised sums
// over the n x n points (i h, j h). Its mean is zero, and so is the mean velocity; rows |kx| >= m are zero.
//
// Everything takes tensors, jets and variables: `jvp` is the linearised flow, `vjp` the adjoint one.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/flow/spectral_core.hpp>
#include <kolmo/ops/strided.hpp>

namespace kolmo::flow {

/// How many steps a transition takes.
struct SpectralSteps {
  /// Number of equal steps; 0 for as many as the flow needs, so that they land on the end of the transition.
  index_t steps = 0;
  /// With steps = 0: the step over the longest stable one at the transition's start. A flow that becomes faster on the
  /// way than this leaves room for starts the transition again with more steps.
  double safety = 0.7;
};

namespace detail {

/// A linear conversion of states or fields, [batch, ...] to [batch, shape...].
template <class Core, class Run>
struct SpectralLinear {
  std::shared_ptr<const Core> core;
  Shape item;  // shape of the result without its batch
  Run run;

  template <PlainTensor V>
  V operator()(const V& x) const {
    const V source = x.contiguous();
    const index_t batch = x.shape()[0];
    V result = V::uninitialized(item.with(0, batch));
    if (batch == 0) return result;
    const auto* from = source.data();
    auto* to = result.mutable_data();
    const index_t x_size = source.size() / batch, y_size = result.size() / batch;
    kolmo::detail::for_each_part<typename V::Backend>(
        batch, [&](index_t begin, index_t count) { run(*core, count, from + begin * x_size, to + begin * y_size); });
    return result;
  }
};

}  // namespace detail

/// `Form` is how the nonlinear term is written: Basdevant, FluxForm or AdvectiveForm (flow/spectral_terms.hpp). With
/// BasdevantWithTracer a passive tracer is carried along, and states have two fields.
template <class T, class B = Cpu, class Form = Basdevant>
class Spectral {
 public:
  using V = Tensor<T, B>;

  /// Throws ArgumentError for options that make no flow, or a forcing that the truncation cuts off.
  explicit Spectral(const KolmogorovOptions& flow = {}, const SpectralOptions& how = {}, const Form& form = {})
      : core_(std::make_shared<const Core>(flow, how, form)) {}

  const KolmogorovOptions& flow() const { return core_->flow(); }
  const SpectralOptions& options() const { return core_->how(); }
  /// The modes kept.
  const Truncation& modes() const { return core_->modes(); }
  /// [batch, n, 2, m]; [batch, 2, n, 2, m] with a tracer.
  Shape state_shape(index_t batch) const { return core_->state_shape(batch); }

  /// The state after one step of dt. Throws UnstableStep when the step is longer than the flow allows or the
  /// result is not finite, ShapeError for another shape than state_shape; the input stays as it is.
  template <TensorLike X>
  auto step(const X& state, double dt) const {
    return transition(state, dt, {.steps = 1});
  }

  /// The state after `duration`. Steps are equal, and of a number of its own for each trajectory where the flow
  /// chooses. Differentiates the steps that were taken; reverse mode keeps the first state alone and runs them again.
  template <TensorLike X>
  auto transition(const X& state, double duration, const SpectralSteps& control = {}) const {
    require_state(state.shape(), "transition");
    if (!(duration > 0 && is_finite(duration)))
      throw ArgumentError("Spectral: the duration must be positive and finite, given " + std::to_string(duration));
    if (control.steps < 0 || (control.steps == 0 && !(control.safety > 0 && control.safety <= 1)))
      throw ArgumentError("Spectral: steps must not be negative (given " + std::to_string(control.steps) +
                          ") and safety lies in (0, 1] (given " + std::to_string(control.safety) + ")");
    auto run = forward(value(state), duration, control);
    return record(std::move(run.state),
                  TransitionPullBack<ValueOf<X>>{core_, value(state), duration, std::move(run.steps)}, state);
  }

  /// The states after duration, 2 duration, ... ; `count` of them.
  template <TensorLike X>
  std::vector<X> trajectory(const X& state, double duration, index_t count, const SpectralSteps& control = {}) const {
    std::vector<X> states;
    for (index_t i = 0; i < count; ++i) states.push_back(transition(i == 0 ? state : states.back(), duration, control));
    return states;
  }

  /// d(state)/dt, all terms.
  template <TensorLike X>
  auto tendency(const X& state) const {
    require_state(state.shape(), "tendency");
    return record(tendency_of(value(state)), TendencyPullBack<ValueOf<X>>{core_, value(state)}, state);
  }

  /// The longest stable step of each trajectory as it flows now.
  std::vector<double> longest_step(const V& state) const {
    require_state(state.shape(), "longest_step");
    std::vector<double> result = core_->rates(state.shape()[0], state.contiguous().data());
    for (double& x : result) x = core_->stability() / x;
    return result;
  }

  /// Vorticity [batch, n, n] at the points (i h, j h) to the state; modes that are not kept, and the mean, are dropped.
  template <TensorLike X>
  auto from_vorticity(const X& vorticity) const requires(Form::fields == 1) {
    require_field(vorticity.shape(), field_item(), "from_vorticity");
    return converted(vorticity, state_item(), field_item(), FromFields{}, FromFieldsAdjoint{});
  }
  template <TensorLike X>
  auto to_vorticity(const X& state) const requires(Form::fields == 1) {
    require_state(state.shape(), "to_vorticity");
    return converted(state, field_item(), state_item(), ToFields{}, ToFieldsAdjoint{});
  }
  /// The same for forms with several fields: vorticity and tracer, [batch, 2, n, n]. The tracer keeps its mean.
  template <TensorLike X>
  auto from_fields(const X& fields) const {
    require_field(fields.shape(), field_item(), "from_fields");
    return converted(fields, state_item(), field_item(), FromFields{}, FromFieldsAdjoint{});
  }
  template <TensorLike X>
  auto to_fields(const X& state) const {
    require_state(state.shape(), "to_fields");
    return converted(state, field_item(), state_item(), ToFields{}, ToFieldsAdjoint{});
  }

  /// Velocity [batch, 2, n, n] at the points (i h, j h).
  template <TensorLike X>
  auto velocity(const X& state) const {
    require_state(state.shape(), "velocity");
    return converted(state, velocity_item(), state_item(), ToVelocity{false}, ToVelocityAdjoint{false});
  }
  /// The state of a velocity [batch, 2, n, n] at the points (i h, j h), without its mean and its divergence.
  template <TensorLike X>
  auto from_velocity(const X& velocity) const requires(Form::fields == 1) {
    require_field(velocity.shape(), velocity_item(), "from_velocity");
    return converted(velocity, state_item(), velocity_item(), FromVelocity{false}, FromVelocityAdjoint{false});
  }

  /// Velocity [batch, 2, n, n] on the staggered grid of the finite-volume solver: u at ((i+1) h, (j+1/2) h), v at
  /// ((i+1/2) h, (j+1) h).
  template <TensorLike X>
  auto to_staggered(const X& state) const {
    require_state(state.shape(), "to_staggered");
    return converted(state, velocity_item(), state_item(), ToVelocity{true}, ToVelocityAdjoint{true});
  }
  /// The state of a staggered velocity, without its mean and its divergence.
  template <TensorLike X>
  auto from_staggered(const X& velocity) const requires(Form::fields == 1) {
    require_field(velocity.shape(), velocity_item(), "from_staggered");
    return converted(velocity, state_item(), velocity_item(), FromVelocity{true}, FromVelocityAdjoint{true});
  }

 private:
  using Core = detail::SpectralCore<T, B, Form>;

  struct ToFields {
    void operator()(const Core& c, index_t count, const T* x, T* y) const { c.to_fields(count, x, y); }
  };
  struct ToFieldsAdjoint {
    void operator()(const Core& c, index_t count, const T* x, T* y) const { c.to_fields_adjoint(count, x, y); }
  };
  struct FromFields {
    void operator()(const Core& c, index_t count, const T* x, T* y) const { c.from_fields(count, x, y); }
  };
  struct FromFieldsAdjoint {
    void operator()(const Core& c, index_t count, const T* x, T* y) const { c.from_fields_adjoint(count, x, y); }
  };
  struct ToVelocity {
    bool staggered;
    void operator()(const Core& c, index_t count, const T* x, T* y) const { c.to_velocity(count, x, y, staggered); }
  };
  struct ToVelocityAdjoint {
    bool staggered;
    void operator()(const Core& c, index_t count, const T* x, T* y) const {
      c.to_velocity_adjoint(count, x, y, staggered);
    }
  };
  struct FromVelocity {
    bool staggered;
    void operator()(const Core& c, index_t count, const T* x, T* y) const { c.from_velocity(count, x, y, staggered); }
  };
  struct FromVelocityAdjoint {
    bool staggered;
    void operator()(const Core& c, index_t count, const T* x, T* y) const {
      c.from_velocity_adjoint(count, x, y, staggered);
    }
  };

  template <Value X>
  struct Run {
    X state;
    std::vector<index_t> steps;  // of each trajectory
  };

  template <Value X>
  struct TransitionPullBack {
    std::shared_ptr<const Core> core;
    X input;
    double duration;
    std::vector<index_t> steps;

    template <Value G>
    auto operator()(const G& gradient, const Wanted<1>&) const {
      if constexpr (JetLike<G>)
        return std::make_tuple(
            kolmo::detail::unzip_dual(pulled(kolmo::detail::zip_dual(input), kolmo::detail::zip_dual(gradient))));
      else
        return std::make_tuple(pulled(input.contiguous(), gradient.contiguous()));
    }

    template <PlainTensor W>
    W pulled(const W& x, const W& gy) const {
      W gx = W::uninitialized(x.shape());
      auto* to = gx.mutable_data();
      const index_t item = core->state_shape(1).size();
      for_equal_steps(steps, [&](index_t begin, index_t count, index_t number) {
        core->pull(count, x.data() + begin * item, gy.data() + begin * item, to + begin * item, duration, number);
      });
      return gx;
    }
  };

  template <Value X>
  struct TendencyPullBack {
    std::shared_ptr<const Core> core;
    X input;

    template <Value G>
    auto operator()(const G& gradient, const Wanted<1>&) const {
      if constexpr (JetLike<G>)
        return std::make_tuple(
            kolmo::detail::unzip_dual(pulled(kolmo::detail::zip_dual(input), kolmo::detail::zip_dual(gradient))));
      else
        return std::make_tuple(pulled(input.contiguous(), gradient.contiguous()));
    }

    template <PlainTensor W>
    W pulled(const W& x, const W& gy) const {
      W gx = W::uninitialized(x.shape());
      core->tendency_pull(x.shape()[0], x.data(), gy.data(), gx.mutable_data());
      return gx;
    }
  };

  index_t size() const { return core_->modes().size; }
  Shape state_item() const { return core_->state_shape(1).without(0); }
  Shape field_item() const { return Form::fields == 1 ? Shape{size(), size()} : Shape{Form::fields, size(), size()}; }
  Shape velocity_item() const { return {2, size(), size()}; }

  /// Calls f(begin, count, steps) for trajectories that take the same number of steps, on the host one by one.
  template <class F>
  static void for_equal_steps(const std::vector<index_t>& steps, const F& f) {
    kolmo::detail::for_each_part<B>(static_cast<index_t>(steps.size()), [&](index_t begin, index_t count) {
      for (index_t i = begin; i < begin + count;) {
        const index_t first = i, number = steps[static_cast<std::size_t>(i)];
        while (i < begin + count && steps[static_cast<std::size_t>(i)] == number) ++i;
        f(first, i - first, number);
      }
    });
  }

  template <Value X>
  Run<X> forward(const X& state, double duration, const SpectralSteps& control) const {
    std::vector<index_t> steps(static_cast<std::size_t>(state.shape()[0]), control.steps);
    if constexpr (JetLike<X>) {
      auto y = forward_plain(kolmo::detail::zip_dual(state), duration, control, steps);
      return {kolmo::detail::unzip_dual(y), std::move(steps)};
    } else {
      auto y = forward_plain(state.contiguous(), duration, control, steps);
      return {std::move(y), std::move(steps)};
    }
  }

  template <PlainTensor W>
  W forward_plain(const W& x, double duration, const SpectralSteps& control, std::vector<index_t>& steps) const {
    W y = W::uninitialized(x.shape());
    auto* to = y.mutable_data();
    const index_t item = core_->state_shape(1).size();
    if (control.steps > 0) {
      for_equal_steps(steps, [&](index_t begin, index_t count, index_t number) {
        core_->advance(count, x.data() + begin * item, to + begin * item, duration, number, true);
      });
      return y;
    }
    kolmo::detail::for_each_part<B>(x.shape()[0], [&](index_t begin, index_t count) {
      const std::vector<double> rates = core_->rates(count, x.data() + begin * item);
      for (index_t i = 0; i < count; ++i)
        steps[static_cast<std::size_t>(begin + i)] =
            chosen_steps(x.data() + (begin + i) * item, to + (begin + i) * item, duration, control,
                         rates[static_cast<std::size_t>(i)]);
    });
    return y;
  }

  /// Takes as many steps as one trajectory needs.
  template <class S>
  index_t chosen_steps(const S* x, S* y, double duration, const SpectralSteps& control, double rate) const {
    const double bound = core_->stability();
    const double wanted = is_finite(bound) && is_finite(rate) ? duration * rate / (control.safety * bound) : 1;
    constexpr double most = 1e9;
    index_t steps = wanted < 1 ? 1 : static_cast<index_t>(std::ceil(wanted < most ? wanted : most));
    for (int attempt = 0;; ++attempt) {
      try {
        core_->advance(index_t{1}, x, y, duration, steps, true);
        return steps;
      } catch (const UnstableStep& e) {
        if (!is_finite(e.number()) || attempt == 4) throw;
        steps = static_cast<index_t>(
            std::ceil(static_cast<double>(steps) * larger(1.25, e.number() / (control.safety * bound))));
      }
    }
  }

  template <Value X>
  X tendency_of(const X& state) const {
    if constexpr (JetLike<X>) {
      return kolmo::detail::unzip_dual(tendency_of(kolmo::detail::zip_dual(state)));
    } else {
      const X source = state.contiguous();
      X y = X::uninitialized(state.shape());
      core_->tendency(state.shape()[0], source.data(), y.mutable_data());
      return y;
    }
  }

  template <TensorLike X, class Operation, class Adjoint>
  auto converted(const X& x, const Shape& result, const Shape& source, Operation operation, Adjoint adjoint) const {
    return kolmo::detail::linear_recorded(detail::SpectralLinear<Core, Operation>{core_, result, operation},
                                          detail::SpectralLinear<Core, Adjoint>{core_, source, adjoint}, x);
  }

  void require_state(const Shape& shape, const char* what) const { require_field(shape, state_item(), what); }
  void require_field(const Shape& shape, const Shape& item, const char* what) const {
    bool good = shape.rank() == item.rank() + 1;
    for (int i = 0; good && i < item.rank(); ++i) good = shape[i + 1] == item[i];
    if (!good)
      throw ShapeError(std::string("Spectral: ") + what + " expects [batch, ...] with items of shape " +
                       item.to_string() + ", given " + shape.to_string());
  }

  std::shared_ptr<const Core> core_;
};

}  // namespace kolmo::flow
