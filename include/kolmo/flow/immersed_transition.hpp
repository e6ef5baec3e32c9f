#pragma once
// The immersed-boundary solver as a differentiable function of its state: steps on one tensor that holds vorticity,
// the explicit term of the step before (AB2 alone) and the forces. Forward derivatives run the same kernels on dual
// numbers; the reverse sweep is written by hand from transposes of the same operators and solves, so that no solve is
// differentiated step by step.
//
// A packed state is [size] or [batch, size]: vorticity [levels, nx-1, ny-1], with AB2 the explicit term [levels, nx-1,
// ny-1], and forces [2, points], which are results only: no step depends on them.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/parts.hpp>
#include <kolmo/flow/immersed.hpp>

namespace kolmo::flow {

namespace detail {

/// Moves a field between packed states, [cases, size] with [levels, nodes] from where the pointer is, and the solver's
/// [levels, cases, nodes]. An item is a node of the latter.
template <class S, bool gather>
struct CasesKernel {
  GridShape g;
  const S* from;
  S* to;
  index_t size;
  KOLMO_HD void operator()(index_t item) const {
    const index_t slab = item / g.nodes(), node = item % g.nodes();
    const index_t packed = slab % g.cases * size + g.level_of(slab) * g.nodes() + node;
    if constexpr (gather)
      to[item] = from[packed];
    else
      to[packed] = from[item];
  }
};

/// Rows of `columns` numbers between arrays of other row lengths.
template <class S>
struct CopyRowsKernel {
  const S* from;
  index_t from_length;
  S* to;
  index_t to_length, columns;
  KOLMO_HD void operator()(index_t item) const {
    const index_t row = item / columns, column = item % columns;
    to[row * to_length + column] = from[row * from_length + column];
  }
};

template <class T, class B>
class ImmersedTrajectory {
  using System = ImmersedSystem<T, B>;

 public:
  ImmersedTrajectory(std::shared_ptr<const System> system, index_t steps, double time)
      : system_(std::move(system)),
        steps_(steps),
        time_(time),
        cases_(system_->stepper().shape().cases),
        nodes_(system_->stepper().nodes() / cases_) {}

  /// Numbers of one packed state.
  index_t size() const { return (system_->multistep() ? 2 : 1) * nodes_ + 2 * system_->points(); }

  /// `count` packed states at once.
  template <class S>
  void forward(index_t count, const S* x, S* y) const {
    if (count > 1) {
      ImmersedTrajectory(std::make_shared<const System>(system_->for_cases(count)), steps_, time_).advance(x, y);
    } else if (count == 1) {
      advance(x, y);
    }
  }

  /// Of one state.
  template <class S>
  void pull(const S* x, const S* gy, S* gx) const {
    std::vector<Record<S>> records;
    Run<S> run(*this, x);
    for (index_t k = 0; k < steps_; ++k) step(run, k, &records);
    using V = Tensor<S, B>;
    const auto& stepper = system_->stepper();
    const index_t flux_size = system_->options().grid.levels * system_->options().grid.fluxes();
    V omega = copied(gy, nodes_);
    // Gradients of the explicit term that the next substep received, of fluxes, and of the last forces.
    V before = system_->multistep() ? copied(gy + nodes_, nodes_) : V::zeros(Shape{nodes_});
    V flux = V::zeros(Shape{flux_size}), forces = copied(gy + forces_at(), 2 * system_->points());
    for (std::size_t r = records.size(); r-- > 0;) {
      const Record<S>& record = records[r];
      const auto& stage = system_->stages()[record.stage];
      if (r + 1 < records.size()) stepper.fluxes_transpose(flux.data(), omega.mutable_data(), run.work);
      stepper.project_transpose(
          record.weights.alpha, record.weights.beta(), system_->coupling(),
          [&](const S* f, S* v) { stage.solve->solve_transpose(f, v); }, forces.mutable_data(), omega.mutable_data(),
          run.work);
      V next_omega = V::uninitialized(Shape{nodes_}), next_before = V::uninitialized(Shape{nodes_});
      stepper.explicit_transpose(record.weights, record.omega.data(), record.flux.data(), omega.data(),
                                 before.mutable_data(), next_omega.mutable_data(), flux.mutable_data(),
                                 next_before.mutable_data(), run.work);
      omega = next_omega;
      before = next_before;
      forces = V::zeros(Shape{2 * system_->points()});
    }
    if (!records.empty()) stepper.fluxes_transpose(flux.data(), omega.mutable_data(), run.work);
    copy(gx, omega.data(), nodes_);
    if (system_->multistep()) copy(gx + nodes_, before.data(), nodes_);
    const V zero = V::zeros(Shape{2 * system_->points()});
    copy(gx + forces_at(), steps_ == 0 ? forces.data() : zero.data(), 2 * system_->points());
  }

 private:
  template <class S>
  struct Record {
    std::size_t stage;
    SubstepWeights weights;
    Tensor<S, B> omega, flux;
  };

  /// A state on its way.
  template <class S>
  struct Run {
    using V = Tensor<S, B>;
    SubstepWork<S, B> work;
    V omega, flux, before;
    V forces;  // without values before the first step

    Run(const ImmersedTrajectory& t, const S* x) : work(t.system_->stepper().shape(), 2 * t.system_->points()) {
      const auto& stepper = t.system_->stepper();
      omega = t.by_levels(x);
      if (t.system_->multistep()) before = t.by_levels(x + t.nodes_);
      flux = V::uninitialized(t.flux_shape());
      stepper.streamfunction(omega.data(), work.psi.mutable_data(), work.psi_rings.mutable_data());
      t.system_->fluxes(t.time_, work, flux.mutable_data());
    }
  };

  Shape flux_shape() const {
    const ImmersedGrid& grid = system_->options().grid;
    return Shape{grid.levels, cases_, grid.fluxes()};
  }

  template <class S>
  void advance(const S* x, S* y) const {
    Run<S> run(*this, x);
    for (index_t k = 0; k < steps_; ++k) step(run, k, static_cast<std::vector<Record<S>>*>(nullptr));
    by_cases(run.omega, y);
    if (system_->multistep()) by_cases(run.before, y + nodes_);
    const index_t forces = 2 * system_->points();
    if (forces == 0) return;
    const S* source = steps_ == 0 ? x + forces_at() : run.forces.data();
    B::for_each(cases_ * forces,
                CopyRowsKernel<S>{source, steps_ == 0 ? size() : forces, y + forces_at(), size(), forces});
  }

  /// A nodal field of every state, [cases, levels, ...] within packed states, as the solver has it: [levels, cases,
  /// ...].
  template <class S>
  Tensor<S, B> by_levels(const S* x) const {
    auto result = Tensor<S, B>::uninitialized(Shape{cases_ * nodes_});
    B::for_each(result.size(), CasesKernel<S, true>{system_->stepper().shape(), x, result.mutable_data(), size()});
    return result;
  }
  template <class S>
  void by_cases(const Tensor<S, B>& field, S* y) const {
    B::for_each(field.size(), CasesKernel<S, false>{system_->stepper().shape(), field.data(), y, size()});
  }

  index_t forces_at() const { return (system_->multistep() ? 2 : 1) * nodes_; }

  template <class S>
  static void copy(S* target, const S* source, index_t n) {
    if (n > 0) B::copy(target, source, static_cast<std::size_t>(n) * sizeof(S));
  }
  template <class S>
  static Tensor<S, B> copied(const S* source, index_t n) {
    auto result = Tensor<S, B>::uninitialized(Shape{n});
    copy(result.mutable_data(), source, n);
    return result;
  }

  template <class S>
  void step(Run<S>& run, index_t number, std::vector<Record<S>>* records) const {
    using V = Tensor<S, B>;
    const auto& stepper = system_->stepper();
    const double begin = time_ + static_cast<double>(number) * system_->options().time_step;
    for (std::size_t k = 0; k < system_->stages().size(); ++k) {
      const auto& stage = system_->stages()[k];
      if (records != nullptr) records->push_back({k, stage.weights, run.omega, run.flux});
      const Shape nodal{cases_ * nodes_};
      V nonlinear = V::uninitialized(nodal), omega = V::uninitialized(nodal);
      V forces = V::uninitialized(Shape{cases_ * 2 * system_->points()});
      stepper.explicit_side(stage.weights, run.omega.data(), run.flux.data(),
                            run.before.has_value() ? run.before.data() : nullptr, nonlinear.mutable_data(),
                            omega.mutable_data(), run.work);
      const double time = begin + stage.end * system_->options().time_step;
      system_->project(stage, stage.weights, time, omega, forces, run.work);
      V flux = V::uninitialized(flux_shape());
      system_->fluxes(time, run.work, flux.mutable_data());
      run.omega = omega;
      run.forces = forces;
      run.flux = flux;
      run.before = nonlinear;
    }
  }

  std::shared_ptr<const System> system_;
  index_t steps_;
  double time_;
  index_t cases_, nodes_;
};

template <class T, class B, class S>
Tensor<S, B> run_trajectories(const ImmersedTrajectory<T, B>& trajectory, const Tensor<S, B>& x) {
  auto y = Tensor<S, B>::uninitialized(x.shape());
  const S* from = x.data();
  S* to = y.mutable_data();
  const index_t size = trajectory.size();
  kolmo::detail::for_each_part<B>(x.size() / size, [&](index_t begin, index_t count) {
    trajectory.forward(count, from + begin * size, to + begin * size);
  });
  return y;
}

template <class T, class B, class S>
Tensor<S, B> pull_trajectories(const ImmersedTrajectory<T, B>& trajectory, const Tensor<S, B>& x,
                               const Tensor<S, B>& gy) {
  auto gx = Tensor<S, B>::uninitialized(x.shape());
  const S *from = x.data(), *gradient = gy.data();
  S* to = gx.mutable_data();
  const index_t size = trajectory.size();
  kolmo::detail::for_each_part<B>(x.size() / size, [&](index_t begin, index_t count) {
    for (index_t item = begin; item < begin + count; ++item)
      trajectory.pull(from + item * size, gradient + item * size, to + item * size);
  });
  return gx;
}

template <class T, class B, class X>
struct ImmersedPullBack {
  ImmersedTrajectory<T, B> trajectory;
  X x;

  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    if constexpr (JetLike<G>)
      return std::make_tuple(kolmo::detail::unzip_dual(
          pull_trajectories(trajectory, kolmo::detail::zip_dual(x), kolmo::detail::zip_dual(gradient))));
    else
      return std::make_tuple(pull_trajectories(trajectory, x.contiguous(), gradient.contiguous()));
  }
};

}  // namespace detail

/// Numbers in a packed state.
template <class T, class B>
index_t packed_size(const Immersed<T, B>& flow) {
  return detail::ImmersedTrajectory<T, B>(flow.system(), 0, 0).size();
}

/// The state as one tensor [packed_size]. A state without an explicit term gets the one that makes AB2 begin with
/// Euler's step.
template <class T, class B>
Tensor<T, B> pack(const Immersed<T, B>& flow, const ImmersedState<Tensor<T, B>>& state) {
  using V = Tensor<T, B>;
  const index_t nodes = state.vorticity.size(), points = state.forces.size();
  V x = V::uninitialized(Shape{packed_size(flow)});
  T* target = x.mutable_data();
  const auto put = [&](const T* source, index_t n) {
    if (n > 0) B::copy(target, source, static_cast<std::size_t>(n) * sizeof(T));
    target += n;
  };
  put(state.vorticity.data(), nodes);
  if (flow.system()->multistep()) {
    V nonlinear = state.nonlinear;
    if (!nonlinear.has_value()) nonlinear = flow.nonlinear_term(state);
    put(nonlinear.data(), nodes);
  }
  put(state.forces.data(), points);
  return x;
}

/// The way back, [packed_size] -> state; `step` and `time` are the state's.
template <class T, class B>
ImmersedState<Tensor<T, B>> unpack(const Immersed<T, B>& flow, const Tensor<T, B>& x, double time, index_t step = 0) {
  using V = Tensor<T, B>;
  if (!(x.shape() == Shape{packed_size(flow)}))
    throw ShapeError("immersed: a packed state of shape " + x.shape().to_string() + ", expected [" +
                     std::to_string(packed_size(flow)) + "]");
  const V whole = x.contiguous();
  const Shape nodal = flow.grid().node_shape(), forces{2, flow.points()};
  const auto part = [&](const Shape& shape, index_t offset) {
    return whole.view(shape, row_major_strides(shape), offset).copy();
  };
  auto state = flow.from_vorticity(part(nodal, 0), time, step);
  if (flow.system()->multistep()) state.nonlinear = part(nodal, nodal.size());
  state.forces = part(forces, (flow.system()->multistep() ? 2 : 1) * nodal.size());
  return state;
}

/// `steps` steps from time `time` on a packed state or a batch of them, [size] or [batch, size]; differentiable in both
/// directions. Its gradient keeps 2 fields per substep: use kolmo::checkpoint around parts of long runs.
/// Stability is not checked. Throws ShapeError for another size, ArgumentError for bodies that move through the grid.
template <class T, class B, TensorLike X>
auto transition(const Immersed<T, B>& flow, const X& x, index_t steps, double time = 0) {
  const Shape& shape = value(x).shape();
  if (flow.system()->moving())
    throw ArgumentError(
        "immersed: transitions are for bodies at rest in the grid; use body_frame for a single moving body");
  if (steps < 0) throw ArgumentError("immersed: " + std::to_string(steps) + " steps");
  if (shape.rank() < 1 || shape.rank() > 2 || shape[-1] != packed_size(flow))
    throw ShapeError("immersed: packed states of shape " + shape.to_string() + ", expected [" +
                     std::to_string(packed_size(flow)) + "], or a batch of them");
  const detail::ImmersedTrajectory<T, B> trajectory(flow.system(), steps, time);
  using Kind = ValueOf<X>;
  Kind y = [&] {
    if constexpr (JetLike<Kind>)
      return kolmo::detail::unzip_dual(detail::run_trajectories(trajectory, kolmo::detail::zip_dual(value(x))));
    else
      return detail::run_trajectories(trajectory, value(x).contiguous());
  }();
  return record(std::move(y), detail::ImmersedPullBack<T, B, Kind>{trajectory, value(x)}, x);
}

}  // namespace kolmo::flow
