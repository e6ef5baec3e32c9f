#pragma once
// The inner steps of the finite-volume solver on padded velocities: Runge-Kutta stages of the explicit part, each made
// free of divergence, and an implicit solve of the diffusion if wanted.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include <kolmo/flow/advection.hpp>
#include <kolmo/flow/kolmogorov_options.hpp>
#include <kolmo/flow/projection.hpp>
#include <kolmo/flow/step_tables.hpp>
#include <kolmo/flow/unstable.hpp>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow {

/// Explicit Runge-Kutta schemes; every stage is made free of divergence.
enum class RungeKutta { euler, heun, midpoint, classical };

/// How a FiniteVolume solver advances in time.
struct FiniteVolumeOptions {
  RungeKutta scheme = RungeKutta::euler;
  Advection advection = Advection::van_leer;
  bool implicit_diffusion = false;  ///< (1 - nu dt L)^-1 after the explicit part of a step, instead of nu L within it
  double courant = 0.5;             ///< inner steps are at most courant h / assumed_speed long
  double assumed_speed = 5;         ///< largest component of the velocity that the steps are made for
  index_t stored_steps = 128;       ///< inner states that a reverse sweep keeps per trajectory at a time

  friend bool operator==(const FiniteVolumeOptions&, const FiniteVolumeOptions&) = default;
};

namespace detail {

struct Tableau {
  int stages;
  Array<Array<double, 4>, 4> stage;  // a: stage i from the changes of the stages before
  Array<double, 4> result;           // b
};

inline Tableau tableau_of(RungeKutta scheme) {
  switch (scheme) {
    case RungeKutta::heun:
      return {2, {{{{}}, {{1}}}}, {{0.5, 0.5}}};
    case RungeKutta::midpoint:
      return {2, {{{{}}, {{0.5}}}}, {{0, 1}}};
    case RungeKutta::classical:
      return {4, {{{{}}, {{0.5}}, {{0, 0.5}}, {{0, 0, 1}}}}, {{1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6}}};
    default:
      return {1, {}, {{1}}};
  }
}

/// What all runs of a solver share.
template <class T, class B>
struct FiniteVolumeCore {
  KolmogorovOptions flow;
  FiniteVolumeOptions options;
  PeriodicPoisson<T, B> poisson;
  Tableau tableau;

  FiniteVolumeCore(const KolmogorovOptions& f, const FiniteVolumeOptions& o)
      : flow(f), options(o), poisson(f.size), tableau(tableau_of(o.scheme)) {}

  bool one_stage() const { return tableau.stages == 1; }
  /// The explicit part's change of forcing in a step, per column. The last few are kept, so that a device is not
  /// waited for.
  Tensor<T, B> forcing(double dt) const {
    return forcing_of.get(dt, [&] { return new_forcing(dt); });
  }
  /// The factors of the implicit solve of a step.
  Tensor<T, B> implicit_factors(double dt) const {
    return factors_of.get(dt, [&] {
      const double h = flow.spacing(), cells = static_cast<double>(flow.size) * static_cast<double>(flow.size);
      return Tensor<T, B>::from(
          spectral_table<T>(flow.size, ImplicitDiffusionFactor{flow.viscosity() * dt / (h * h), 1 / cells}));
    });
  }

 private:
  Tensor<T, B> new_forcing(double dt) const {
    std::vector<T> values;
    for (index_t j = 0; j < flow.size; ++j) {
      const double y = (static_cast<double>(j) + 0.5) * flow.spacing();
      values.push_back(static_cast<T>(dt * flow.forcing_amplitude * std::sin(flow.forcing_frequency() * y)));
    }
    return Tensor<T, B>::from(values);
  }

  TablesOfSteps<T, B> forcing_of, factors_of;
};

/// y = x + sum_k weight_k change_k with closed rows; a null x is zero. An item is a row.
template <class T, class S>
struct CombineRows {
  PaddedGrid grid;
  const S* x;
  S* y;
  int count;
  Array<const S*, 4> change;
  Array<T, 4> weight;
  KOLMO_HD void operator()(index_t item) const {
    S* target = y + grid.at(item);
    if (x == nullptr)
      for (index_t j = 0; j < grid.n; ++j) target[j] = S(T(0));
    else if (x != y)
      copy_row(x + grid.at(item), target);
    for (int k = 0; k < count; ++k) {
      const S* added = change[k] + grid.at(item);
      const T factor = weight[k];
      KOLMO_INDEPENDENT
      for (index_t j = 0; j < grid.n; ++j) target[j] = target[j] + added[j] * factor;
    }
    grid.close(target);
  }
  KOLMO_HD KOLMO_INLINE void copy_row(const S* source, S* target) const {
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) target[j] = source[j];
  }
};

template <class T, class S>
struct CombineCells {
  PaddedGrid grid;
  const S* x;
  S* y;
  int count;
  Array<const S*, 4> change;
  Array<T, 4> weight;
  KOLMO_HD void operator()(index_t item) const {
    const index_t i = item / grid.n, j = item - i * grid.n, at = grid.at(i);
    S sum = x == nullptr ? S(T(0)) : x[at + j];
    for (int k = 0; k < count; ++k) sum = sum + change[k][at + j] * weight[k];
    grid.store(y + at, j, sum);
  }
};

template <class B, class T, class S>
void combine(const PaddedGrid& grid, index_t batch, const S* x, S* y, int count, const Array<const S*, 4>& change,
             const Array<T, 4>& weight) {
  if constexpr (takes_fields<B>)
    kolmo::detail::for_each_item<B>(batch * 2 * grid.n, CombineRows<T, S>{grid, x, y, count, change, weight});
  else
    B::for_each(batch * 2 * grid.n * grid.n, CombineCells<T, S>{grid, x, y, count, change, weight});
}

/// Steps of length dt of a part of a batch, with their scratch. S is T or a dual of it.
template <class T, class B, class S>
class FiniteVolumeRun {
 public:
  FiniteVolumeRun(const FiniteVolumeCore<T, B>& core, index_t batch, double dt)
      : grid(PaddedGrid::of<S>(core.flow.size)),
        core_(core),
        batch_(batch),
        courant_per_speed_(dt / core.flow.spacing()),
        forcing_(core.forcing(dt)),
        watch_(grid, batch),
        divergence_(make(Shape{batch, grid.n, grid.n})),
        spectrum_(core.poisson.template scratch<S>(batch)),
        work_(make(Shape{batch, advection_work_rows, grid.row})) {
    const double h = core.flow.spacing();
    const double diffusion = core.flow.viscosity() * dt / (h * h);
    constants_ = {static_cast<T>(dt / (2 * h)), static_cast<T>(core.options.implicit_diffusion ? 0.0 : diffusion),
                  static_cast<T>(core.flow.drag * dt), forcing_.data()};
    if (core.options.implicit_diffusion) {
      diffusion_ = core.implicit_factors(dt);
      components_ = make(Shape{batch, 2, grid.n, grid.n});
      component_spectra_ = core.poisson.template scratch<S>(batch * 2);
    }
    if (!core.one_stage()) {
      stage_ = state();
      for (int k = 0; k < core.tableau.stages; ++k) changes_.push_back(state());
    }
  }

  const PaddedGrid grid;

  Tensor<S, B> state() const { return make(Shape{batch_, 2, grid.n, grid.row}); }

  void load(const S* x, S* state) const { pad<B>(grid, batch_ * 2, x, state); }
  void store(const S* state, S* y) const { unpad<B>(grid, batch_ * 2, state, y); }

  /// Notes whether the state before a step breaks its limit.
  void watch(S* state, index_t step) {
    correct<B>(grid, batch_, static_cast<const S*>(nullptr), state, watch_, step, fastest());
  }

  /// y = the state one step after x; `last` asks only that it is finite, as no step starts from it.
  void step(const S* x, S* y, index_t number, bool last) {
    const T limit = last ? std::numeric_limits<T>::max() : fastest();
    const bool implicit = core_.options.implicit_diffusion;
    if (core_.one_stage()) {
      advect<B>(core_.options.advection, grid, batch_, constants_, x, y, divergence_.mutable_data(),
                work_.mutable_data());
    } else {
      for (int k = 0; k < core_.tableau.stages; ++k) {
        const S* source = k == 0 ? x : stage(x, k, number);
        changes(source, k);
      }
      add_changes(x, y, core_.tableau.result);
    }
    const bool taken = core_.one_stage() && advection_gives_divergence<B>;
    project(y, number, implicit ? std::numeric_limits<T>::max() : limit, taken);
    if (implicit) {
      diffuse(y);
      correct<B>(grid, batch_, static_cast<const S*>(nullptr), y, watch_, number, limit);
    }
  }

  /// The state of stage k >= 1, after the changes of those before.
  const S* stage(const S* x, int k, index_t number) {
    add_changes(x, stage_.mutable_data(), core_.tableau.stage[k]);
    project(stage_.mutable_data(), number, std::numeric_limits<T>::max());
    return stage_.data();
  }

  void changes(const S* x, int k) {
    advect<B>(core_.options.advection, grid, batch_, constants_, x,
              changes_[static_cast<std::size_t>(k)].mutable_data(), static_cast<S*>(nullptr), work_.mutable_data());
  }

  /// Makes y free of divergence, which is `taken` where it stands in divergence_ already.
  void project(S* y, index_t number, T limit, bool taken = false) {
    core_.poisson.potential_of(grid, batch_, y, taken, divergence_.mutable_data(), spectrum_.mutable_data());
    correct<B>(grid, batch_, divergence_.data(), y, watch_, number, limit);
  }

  /// The implicit part of the diffusion, in place; symmetric.
  void diffuse(S* y) {
    unpad<B>(grid, batch_ * 2, y, components_.mutable_data());
    core_.poisson.filter(batch_ * 2, diffusion_, components_.mutable_data(), component_spectra_.mutable_data());
    pad<B>(grid, batch_ * 2, components_.data(), y);
  }

  /// Throws UnstableStep when a step noted a violation; `first` is the number of the part's first item, of `items` in
  /// the whole batch.
  void check(index_t first, index_t items) const {
    throw_violations("FiniteVolume", watch_.noted(), batch_, first, items, courant_per_speed_);
  }

  const StepConstants<T>& constants() const { return constants_; }
  S* work() { return work_.mutable_data(); }

 private:
  static Tensor<S, B> make(const Shape& shape) { return Tensor<S, B>::uninitialized(shape); }

  /// Largest |u| + |v| that a step may start from.
  T fastest() const { return static_cast<T>(1 / courant_per_speed_); }

  void add_changes(const S* x, S* y, const Array<double, 4>& weights) {
    Array<const S*, 4> change{};
    Array<T, 4> weight{};
    int count = 0;
    for (int k = 0; k < core_.tableau.stages; ++k) {
      if (weights[k] == 0) continue;
      change[count] = changes_[static_cast<std::size_t>(k)].data();
      weight[count++] = static_cast<T>(weights[k]);
    }
    combine<B>(grid, batch_, x, y, count, change, weight);
  }

  const FiniteVolumeCore<T, B>& core_;
  index_t batch_;
  double courant_per_speed_;
  Tensor<T, B> forcing_, diffusion_;
  StepConstants<T> constants_{};
  Watch<T, B> watch_;
  Tensor<S, B> divergence_, spectrum_, work_, stage_, components_, component_spectra_;
  std::vector<Tensor<S, B>> changes_;
};

}  // namespace detail

}  // namespace kolmo::flow

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
