#pragma once
// Immersed<T, B>: two-dimensional incompressible flow past rigid bodies, by the immersed-boundary projection method in
// null-space form on nested grids (Taira & Colonius, J. Comput. Phys. 225, 2118 (2007); Colonius & Taira, Comput.
// Methods Appl. Mech. Eng. 197, 2131 (2008)). Mass is conserved exactly, the velocity of the bodies is that of the
// fluid at their points after every substep, and forces come out as unknowns of the solve.
//
// Lengths are in units of the body's, velocities of the free stream: Reynolds number 1/nu.

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/backend/parts.hpp>
#include <kolmo/flow/immersed_state.hpp>
#include <kolmo/flow/immersed_system.hpp>
#include <kolmo/flow/unstable.hpp>

namespace kolmo::flow {

template <class T, class B = Cpu>
class Immersed {
 public:
  using V = Tensor<T, B>;
  using State = ImmersedState<V>;

  /// Builds and factors the force matrices of bodies at rest. Throws ArgumentError for a grid, options or bodies that
  /// cannot be used: points nearer than two cells to the edge of the finest domain, points that coincide, several
  /// bodies with `body_frame`, a time step or Reynolds number that is not positive.
  explicit Immersed(ImmersedOptions options, std::vector<Body> bodies = {})
      : system_(std::make_shared<const System>(std::move(options), std::move(bodies))) {}

  /// The solver for a free stream at another angle, in radians; the force matrices are shared.
  Immersed with_incidence(double angle) const {
    Immersed result = *this;
    result.system_ = std::make_shared<const System>(system_->with_incidence(angle));
    return result;
  }

  const ImmersedOptions& options() const { return system_->options(); }
  const ImmersedGrid& grid() const { return options().grid; }
  const std::vector<Body>& bodies() const { return system_->bodies(); }
  /// Points of all bodies together.
  index_t points() const { return system_->points(); }
  /// Asymmetry of the force matrix, max |M - M^T| / max |M|; round-off on one level, about 5e-5 on nested ones.
  double matrix_asymmetry() const {
    const auto& solve = system_->moving() ? system_->preconditioner() : system_->stages().back().solve;
    return solve ? solve->asymmetry() : 0.0;
  }

  /// What may spoil results of a set-up that works: point spacing, resolution, a confining domain. One sentence each.
  std::vector<std::string> warnings() const {
    std::vector<std::string> result;
    const double d = grid().spacing(), cell = std::abs(options().speed) * d * options().reynolds;
    if (points() > 1 && system_->closest() < 0.7)
      result.push_back("body points are " + io::to_text(system_->closest(), 5) +
                       " cells apart at the closest; below about 1 the forces of single points become noise");
    if (points() > 1 && system_->widest() > 2)
      result.push_back("body points are " + io::to_text(system_->widest(), 5) +
                       " cells apart at the widest; above 2 the fluid leaks between them");
    if (cell > 8)
      result.push_back("the grid Reynolds number " + io::to_text(cell, 5) +
                       " is above 8; vorticity near bodies is under-resolved");
    double low = 1e300, high = -1e300;
    for (const Body& body : bodies())
      for (double y : body.y) {
        low = y < low ? y : low;
        high = y > high ? y : high;
      }
    const double height = grid().spacing(grid().levels - 1) * static_cast<double>(grid().ny);
    if (points() > 1 && (high - low) / height > 0.1)
      result.push_back(
          "bodies block " + io::to_text(100 * (high - low) / height, 5) +
          " % of the height of the outermost level; drag and frequencies are those of a channel. Add levels");
    return result;
  }

  /// Impulsive start: the free stream without vorticity.
  State start(double time = 0) const { return from_vorticity(V::zeros(grid().node_shape()), time); }

  /// A state with the given vorticity [levels, nx-1, ny-1]; fluxes follow from it, forces are zero.
  /// Throws ShapeError for another shape.
  State from_vorticity(const V& vorticity, double time = 0, index_t step = 0) const {
    if (!(vorticity.shape() == grid().node_shape()))
      throw ShapeError("immersed: a vorticity of shape " + vorticity.shape().to_string() + ", expected " +
                       grid().node_shape().to_string());
    State state;
    state.vorticity = vorticity.contiguous();
    state.forces = V::zeros(Shape{2, points()});
    state.step = step;
    state.time = time;
    Work<T> work(system_->stepper().shape(), 2 * points());
    state.flux = V::uninitialized(grid().flux_shape());
    system_->stepper().streamfunction(state.vorticity.data(), work.psi.mutable_data(), work.psi_rings.mutable_data());
    system_->fluxes(time, work, state.flux.mutable_data());
    return state;
  }

  /// One step. Throws UnstableStep when the result is not finite or its Courant number is above the limit, ShapeError
  /// for a state of another grid or of other bodies; the state is then as before.
  void step(State& state) const { run(state, 1); }

  /// Several steps; what is thrown leaves the state after the last good one.
  void run(State& state, index_t steps) const {
    check(state);
    const auto all = [&](index_t, index_t) {
      Work<T> work(system_->stepper().shape(), 2 * points());
      for (index_t k = 0; k < steps; ++k) state = next(state, work);
    };
    // The loops of a small grid are shorter than it takes to hand them to other threads.
    constexpr index_t worth_sharing = index_t{1} << 17;
    if (grid().levels * grid().nodes() < worth_sharing)
      kolmo::detail::for_each_part<B>(1, all);
    else
      all(0, 1);
  }

  /// Drag and lift coefficient of every body.
  std::vector<ForceCoefficients> forces(const State& state) const {
    std::vector<ForceCoefficients> result;
    if (points() == 0) return result;
    const std::vector<T> f = state.forces.to_vector();
    const double d = grid().spacing();
    std::size_t begin = 0;
    for (const Body& body : bodies()) {
      double x = 0, y = 0;
      for (std::size_t k = 0; k < body.x.size(); ++k) {
        x += static_cast<double>(f[begin + k]);
        y += static_cast<double>(f[static_cast<std::size_t>(points()) + begin + k]);
      }
      begin += body.x.size();
      if (options().body_frame) {
        const double angle = placement(body.motion, state.time).angle, c = std::cos(angle), s = std::sin(angle);
        const double turned = c * x - s * y;
        y = s * x + c * y;
        x = turned;
      }
      const double c = std::cos(options().incidence), s = std::sin(options().incidence);
      result.push_back({2 * d * d * (c * x + s * y), 2 * d * d * (c * y - s * x)});
    }
    return result;
  }

  /// Largest difference, over points and components, between the velocity of the fluid and that of the body.
  double slip(const State& state) const {
    if (points() == 0) return 0;
    const auto set = system_->points_at(state.time);
    const detail::Coupling<T, B> coupling = system_->moving() ? system_->couple(set) : system_->coupling();
    Work<T> work(system_->stepper().shape(), 2 * points());
    system_->stepper().streamfunction(state.vorticity.data(), work.psi.mutable_data(), work.psi_rings.mutable_data());
    coupling.interpolate(system_->stepper().shape(), work.psi.data(), work.velocity.mutable_data());
    const std::vector<T> velocity = work.velocity.to_vector();
    const std::vector<double> wanted = System::wanted_velocities(set, system_->base_flow(state.time));
    double most = 0;
    for (std::size_t k = 0; k < wanted.size(); ++k) {
      const double e = std::abs(static_cast<double>(velocity[k]) - wanted[k]);
      most = e > most || e != e ? e : most;
    }
    return most;
  }

  /// The explicit term N = -div(u omega) [levels, nx-1, ny-1] of a state; zero strictly inside a finer domain.
  V nonlinear_term(const State& state) const {
    check(state);
    Work<T> work(system_->stepper().shape(), 2 * points());
    V nonlinear = V::uninitialized(grid().node_shape()), r = V::uninitialized(grid().node_shape());
    system_->stepper().explicit_side(detail::SubstepWeights{}, state.vorticity.data(), state.flux.data(),
                                     static_cast<const T*>(nullptr), nonlinear.mutable_data(), r.mutable_data(), work);
    return nonlinear;
  }

  /// What the solver consists of; for functions beside this class.
  const std::shared_ptr<const detail::ImmersedSystem<T, B>>& system() const { return system_; }

  /// Largest |velocity| dt / spacing over the edges of all levels.
  double courant(const State& state) const {
    V largest = V::uninitialized(Shape{grid().levels * (grid().nx + 1)});
    V flux = V::uninitialized(grid().flux_shape());
    Work<T> work(system_->stepper().shape(), 2 * points());
    system_->stepper().streamfunction(state.vorticity.data(), work.psi.mutable_data(), work.psi_rings.mutable_data());
    system_->fluxes(state.time, work, flux.mutable_data(), &largest);
    return worst(largest).second;
  }

 private:
  using System = detail::ImmersedSystem<T, B>;
  template <class S>
  using Work = detail::SubstepWork<S, B>;

  void check(const State& state) const {
    if (!(state.vorticity.shape() == grid().node_shape()) || !(state.flux.shape() == grid().flux_shape()))
      throw ShapeError("immersed: a state with vorticity " + state.vorticity.shape().to_string() + " and fluxes " +
                       state.flux.shape().to_string() + ", expected " + grid().node_shape().to_string() + " and " +
                       grid().flux_shape().to_string() + "; it belongs to another grid");
    if (!(state.forces.shape() == Shape{2, points()}))
      throw ShapeError("immersed: a state with forces " + state.forces.shape().to_string() + ", expected [2, " +
                       std::to_string(points()) + "]; it belongs to other bodies");
    if (state.nonlinear.has_value() && !(state.nonlinear.shape() == grid().node_shape()))
      throw ShapeError("immersed: a state whose explicit term has shape " + state.nonlinear.shape().to_string() +
                       ", expected " + grid().node_shape().to_string());
  }

  State next(const State& state, Work<T>& work) const {
    State now = state;
    const bool multistep = system_->multistep();
    V before = multistep ? state.nonlinear : V();
    V largest = V::uninitialized(Shape{grid().levels * (grid().nx + 1)});
    for (std::size_t k = 0; k < system_->stages().size(); ++k) {
      const typename System::Stage& stage = system_->stages()[k];
      detail::SubstepWeights weights = stage.weights;
      if (!before.has_value()) {
        weights.now += weights.before;
        weights.before = 0;
      }
      V nonlinear = V::uninitialized(grid().node_shape()), omega = V::uninitialized(grid().node_shape());
      system_->stepper().explicit_side(weights, now.vorticity.data(), now.flux.data(),
                                       before.has_value() ? before.data() : nullptr, nonlinear.mutable_data(),
                                       omega.mutable_data(), work);
      const double time = state.time + stage.end * options().time_step;
      V forces = V::uninitialized(Shape{2, points()});
      if (system_->moving())
        move(weights, time, now.forces, omega, forces, work);
      else
        system_->project(stage, weights, time, omega, forces, work);
      now.vorticity = omega;
      now.forces = forces;
      // Fluxes between substeps are nobody else's: their memory, still in the caches, is written again.
      if (k == 0) now.flux = V::uninitialized(grid().flux_shape());
      system_->fluxes(time, work, now.flux.mutable_data(), &largest);
      before = nonlinear;
      check_stability(largest, now.flux, state.step + 1);
    }
    if (multistep) now.nonlinear = before;
    now.step = state.step + 1;
    now.time = state.time + options().time_step;
    return now;
  }

  void move(const detail::SubstepWeights& weights, double time, const V& guess, V& omega, V& forces,
            Work<T>& work) const {
    const auto set = system_->points_at(time);
    const detail::Coupling<T, B> coupling = system_->couple(set);
    system_->stepper().predict(weights.alpha, coupling, omega.mutable_data(), work);
    const V wanted = system_->wanted_at(set, time);
    B::for_each(2 * points(), detail::DefectKernel<T>{work.velocity.mutable_data(), wanted.data()});
    const std::vector<T> velocity = work.velocity.to_vector();
    const double tolerance = options().force_tolerance > 0 ? options().force_tolerance : sizeof(T) == 4 ? 1e-5 : 1e-11;
    V in = V::uninitialized(Shape{2, points()}), out = V::uninitialized(Shape{2, points()});
    const std::vector<T> start = guess.to_vector();
    const auto apply = [&](const std::vector<double>& x) {
      in = V::from(std::vector<T>(x.begin(), x.end()));
      system_->stepper().apply_force_matrix(weights.alpha, weights.beta(), coupling, in.data(), out.mutable_data(),
                                            work);
      const std::vector<T> y = out.to_vector();
      return std::vector<double>(y.begin(), y.end());
    };
    const auto precondition = [&](const std::vector<double>& x) {
      in = V::from(turned(x, set.angle, -1));
      system_->preconditioner()->solve(1, in.data(), out.mutable_data());
      const std::vector<T> y = out.to_vector();
      const std::vector<T> back = turned(std::vector<double>(y.begin(), y.end()), set.angle, 1);
      return std::vector<double>(back.begin(), back.end());
    };
    const detail::KrylovResult result = detail::minimise_residual(
        apply, precondition, std::vector<double>(velocity.begin(), velocity.end()),
        std::vector<double>(start.begin(), start.end()), tolerance, options().force_iterations);
    if (!result.converged)
      throw UnstableStep(
          "immersed: the forces on the moving bodies did not converge in " +
              std::to_string(options().force_iterations) +
              " iterations; relative residual in place of a value. Space the points at least a cell apart "
              "or raise force_iterations or force_tolerance",
          0, {0, 0}, result.residual);
    forces = V::from(std::vector<T>(result.x.begin(), result.x.end())).reshaped(Shape{2, points()});
    system_->stepper().correct(weights.alpha, weights.beta(), coupling, forces.data(), omega.mutable_data(), work);
  }

  /// Vectors at the points, turned by `sign` times the points' angles.
  std::vector<T> turned(const std::vector<double>& x, const std::vector<double>& angle, double sign) const {
    const std::size_t n = static_cast<std::size_t>(points());
    std::vector<T> result(2 * n);
    for (std::size_t k = 0; k < n; ++k) {
      const double c = std::cos(angle[k]), s = sign * std::sin(angle[k]);
      result[k] = static_cast<T>(c * x[k] - s * x[n + k]);
      result[n + k] = static_cast<T>(s * x[k] + c * x[n + k]);
    }
    return result;
  }

  /// Row of the largest Courant number, or of the first that is none, and that number.
  std::pair<index_t, double> worst(const V& largest) const {
    const std::vector<T> rows = largest.to_vector();
    const index_t per_level = grid().nx + 1;
    std::pair<index_t, double> result{0, 0};
    for (index_t r = 0; r < static_cast<index_t>(rows.size()); ++r) {
      const double d = grid().spacing(r / per_level);
      const double c = static_cast<double>(rows[static_cast<std::size_t>(r)]) / d * options().time_step / d;
      if (!is_finite(c)) return {r, c};
      if (c > result.second) result = {r, c};
    }
    return result;
  }

  void check_stability(const V& largest, const V& flux, index_t step) const {
    const auto [row, number] = worst(largest);
    const bool multistep = options().scheme == ImmersedScheme::ab2 || options().scheme == ImmersedScheme::euler;
    const double limit = options().courant_limit > 0 ? options().courant_limit : multistep ? 1.0 : 2.5;
    if (number <= limit) return;
    const index_t level = row / (grid().nx + 1), i = row % (grid().nx + 1);
    const std::vector<T> q = flux.to_vector();
    index_t j = 0;
    double most = -1;
    for (index_t k = 0; k < grid().ny; ++k)
      for (const index_t at :
           {i * grid().ny + k, grid().fluxes_x() + (i < grid().nx ? i : i - 1) * (grid().ny + 1) + k}) {
        const double a = std::abs(static_cast<double>(q[static_cast<std::size_t>(level * grid().fluxes() + at)]));
        if (most == most && !(a <= most)) {
          most = a;
          j = k;
        }
      }
    const std::string where = " on level " + std::to_string(level);
    if (!is_finite(number))
      throw UnstableStep("immersed: the flow is no longer finite" + where + "; use a shorter time step", step, {i, j},
                         number);
    throw UnstableStep("immersed: Courant number above " + std::to_string(limit) + where +
                           "; use a time step of at most " + std::to_string(options().time_step * limit / number * 0.8),
                       step, {i, j}, number);
  }

  std::shared_ptr<const System> system_;
};

}  // namespace kolmo::flow
