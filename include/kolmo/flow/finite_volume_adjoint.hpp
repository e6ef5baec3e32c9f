#pragma once
// The reverse sweep of finite-volume steps. Only the state before the first step is kept by whoever records; the inner
// states are computed again, all of them or, when there are many, in segments between states kept on the way.

#include <kolmo/backend/parts.hpp>
#include <kolmo/flow/advection_adjoint.hpp>
#include <kolmo/flow/finite_volume_run.hpp>

namespace kolmo::flow::detail {

/// Reverse steps of a part of a batch. S is T or a dual of it.
template <class T, class B, class S>
class FiniteVolumeReverse {
 public:
  FiniteVolumeReverse(const FiniteVolumeCore<T, B>& core, index_t batch, double dt)
      : run(core, batch, dt),
        core_(core),
        batch_(batch),
        work_(Tensor<S, B>::uninitialized(Shape{batch, advection_adjoint_work_rows, run.grid.row})) {
    if (core.one_stage()) return;
    for (int k = 0; k < core.tableau.stages; ++k) {
      stages_.push_back(run.state());
      cotangents_.push_back(run.state());
    }
    sum_ = run.state();
    projected_ = run.state();
  }

  FiniteVolumeRun<T, B, S> run;

  /// gx = the cotangent of the state x before a step from the cotangent g after it; overwrites g.
  void step(const S* x, S* g, S* gx) {
    if (core_.options.implicit_diffusion) run.diffuse(g);
    project(g);
    if (core_.one_stage()) {
      advect_adjoint<B>(core_.options.advection, run.grid, batch_, run.constants(), x, g, gx, work_.mutable_data(),
                        T(1));
      return;
    }
    const Tableau& tableau = core_.tableau;
    const std::size_t bytes = static_cast<std::size_t>(sum_.size()) * sizeof(S);
    for (int k = 0; k < tableau.stages; ++k) {
      const auto slot = static_cast<std::size_t>(k);
      if (k == 0)
        B::copy(stages_[slot].mutable_data(), x, bytes);
      else
        B::copy(stages_[slot].mutable_data(), run.stage(x, k, 0), bytes);
      run.changes(stages_[slot].data(), k);
    }
    // Cotangents of the changes: their weights in the result, then what later stages add.
    for (int k = 0; k < tableau.stages; ++k)
      add(nullptr, g, cotangents_[static_cast<std::size_t>(k)].mutable_data(), tableau.result[k]);
    B::copy(sum_.mutable_data(), g, bytes);
    for (int k = tableau.stages - 1; k >= 0; --k) {
      const auto slot = static_cast<std::size_t>(k);
      close(cotangents_[slot].mutable_data());
      advect_adjoint<B>(core_.options.advection, run.grid, batch_, run.constants(), stages_[slot].data(),
                        cotangents_[slot].data(), projected_.mutable_data(), work_.mutable_data(), T(0));
      if (k > 0) {
        close(projected_.mutable_data());
        project(projected_.mutable_data());
        for (int i = 0; i < k; ++i)
          if (tableau.stage[k][i] != 0) {
            S* target = cotangents_[static_cast<std::size_t>(i)].mutable_data();
            add(target, projected_.data(), target, tableau.stage[k][i]);
          }
      }
      add(sum_.data(), projected_.data(), sum_.mutable_data(), 1);
    }
    B::copy(gx, sum_.data(), bytes);
  }

  /// Gives the rows of g, which a step left open, their copies.
  void close(S* g) {
    combine<B>(run.grid, batch_, static_cast<const S*>(g), g, 0, Array<const S*, 4>{}, Array<T, 4>{});
  }

 private:
  /// The projection is its own adjoint.
  void project(S* g) {
    close(g);
    run.project(g, 0, std::numeric_limits<T>::max());
  }

  /// y = x + weight change with closed rows; a null x is zero.
  void add(const S* x, const S* change, S* y, double weight) {
    combine<B>(run.grid, batch_, x, y, 1, Array<const S*, 4>{{change}}, Array<T, 4>{{static_cast<T>(weight)}});
  }

  const FiniteVolumeCore<T, B>& core_;
  index_t batch_;
  Tensor<S, B> work_, sum_, projected_;
  std::vector<Tensor<S, B>> stages_, cotangents_;
};

/// The rule that a recorded transition leaves on the tape.
template <class T, class B, Value V>
struct FiniteVolumePullBack {
  std::shared_ptr<const FiniteVolumeCore<T, B>> core;
  V x;
  double dt;
  index_t steps;

  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    if constexpr (JetLike<G>)
      return std::make_tuple(
          kolmo::detail::unzip_dual(sweep(kolmo::detail::zip_dual(x), kolmo::detail::zip_dual(gradient))));
    else
      return std::make_tuple(sweep(x.contiguous(), gradient.contiguous()));
  }

 private:
  template <class S>
  Tensor<S, B> sweep(const Tensor<S, B>& state, const Tensor<S, B>& gradient) const {
    auto result = Tensor<S, B>::uninitialized(state.shape());
    const index_t cells = 2 * core->flow.size * core->flow.size;
    S* target = result.mutable_data();
    kolmo::detail::for_each_part<B>(state.size() / cells, [&](index_t begin, index_t count) {
      FiniteVolumeReverse<T, B, S> reverse(*core, count, dt);
      sweep_part(reverse, state.data() + begin * cells, gradient.data() + begin * cells, target + begin * cells);
    });
    return result;
  }

  template <class S>
  void sweep_part(FiniteVolumeReverse<T, B, S>& reverse, const S* state, const S* gradient, S* target) const {
    auto& run = reverse.run;
    const index_t length = std::min(steps, core->options.stored_steps), segments = divide_up(steps, length);
    std::vector<Tensor<S, B>> starts, states;
    for (index_t s = 0; s < segments; ++s) starts.push_back(run.state());
    for (index_t s = 0; s < length; ++s) states.push_back(run.state());
    run.load(state, starts[0].mutable_data());
    auto g = run.state(), gx = run.state();
    run.load(gradient, g.mutable_data());
    for (index_t s = 0; s + 1 < segments; ++s)
      fill(run, starts[at(s)].data(), states, length, starts[at(s + 1)].mutable_data());
    for (index_t s = segments - 1; s >= 0; --s) {
      const index_t count = std::min(length, steps - s * length);
      fill(run, starts[at(s)].data(), states, count, static_cast<S*>(nullptr));
      for (index_t k = count - 1; k >= 0; --k) {
        reverse.step(states[at(k)].data(), g.mutable_data(), gx.mutable_data());
        std::swap(g, gx);
      }
    }
    run.store(g.data(), target);
  }

  /// The states before each of `count` steps, and the one after them unless `after` is null.
  template <class S>
  static void fill(FiniteVolumeRun<T, B, S>& run, const S* start, std::vector<Tensor<S, B>>& states, index_t count,
                   S* after) {
    B::copy(states[0].mutable_data(), start, static_cast<std::size_t>(states[0].size()) * sizeof(S));
    for (index_t k = 0; k < count; ++k) {
      S* next = k + 1 < count ? states[at(k + 1)].mutable_data() : after;
      if (next != nullptr) run.step(states[at(k)].data(), next, 0, true);
    }
  }

  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }
};

}  // namespace kolmo::flow::detail
