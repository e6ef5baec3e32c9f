#pragma once
// Immersed<T, B>: two-dimensional incompressible flow past rigid bodies, by the immersed-boundary projection method in
// null-space form on nested grids (Taira & Colonius, J. Comput. Phys. 225, 2118 (2007); Colonius & Taira, Comput.
// Methods Appl. Mech. Eng. 197, 2131 (2008)). Mass is conserved exactly, the velocity of the bodies is that of the
// fluid at their points after every substep, and forces come out as unknowns of the solve.
//
// Lengths are in units of the body's, velocities of the free stream: Reynolds number 1/nu.

#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/flow/body.hpp>
#include <kolmo/flow/immersed_forces.hpp>
#include <kolmo/flow/immersed_matrix.hpp>
#include <kolmo/flow/immersed_state.hpp>
#include <kolmo/flow/immersed_stepper.hpp>
#include <kolmo/flow/unstable.hpp>

namespace kolmo::flow {

/// Time integration of the nonlinear term; diffusion is Crank-Nicolson over every substep.
enum class ImmersedScheme {
  euler,  ///< first order
  ab2,    ///< Adams-Bashforth, one substep: the cheapest; Courant number to about 0.6
  rk3,    ///< three substeps: Courant number to 1.7
  rk3b    ///< four substeps
};

/// A short flow across the free stream, amplitude sin^2(pi (t - begin)/duration), which breaks the symmetry of a
/// symmetric set-up: without one vortex shedding may take hundreds of time units to begin.
struct CrossFlowPulse {
  double amplitude = 0, begin = 0, duration = 1;
  double at(double t) const {
    if (amplitude == 0 || t <= begin || t >= begin + duration) return 0;
    const double s = std::sin(3.14159265358979323846 * (t - begin) / duration);
    return amplitude * s * s;
  }
};

struct ImmersedOptions {
  ImmersedGrid grid;
  double reynolds = 100;
  double time_step = 0.01;
  ImmersedScheme scheme = ImmersedScheme::rk3;
  double speed = 1;      ///< of the free stream
  double incidence = 0;  ///< its angle to the x axis, in radians
  CrossFlowPulse pulse;
  bool body_frame = false;     ///< follow the motion of the only body: one force matrix for the whole run
  double courant_limit = 0;    ///< steps with more throw UnstableStep; 0 takes 2.5 for the Runge-Kutta schemes, 1 else
  double force_tolerance = 0;  ///< relative residual of the forces on moving bodies; 0 takes 1e-11, or 1e-5 in float
  index_t force_iterations = 200;  ///< at most, for moving bodies
};

/// Forces on one body in units of density, free-stream speed and length 1: force over 1/2, which for a body of length 1
/// is the coefficient. Along the free stream and across it, 90 degrees counter-clockwise.
struct ForceCoefficients {
  double drag = 0, lift = 0;
};

namespace detail {

struct SchemeStage {
  double a, b, end;
};

inline std::vector<SchemeStage> stages(ImmersedScheme scheme) {
  switch (scheme) {
    case ImmersedScheme::euler:
      return {{1, 0, 1}};
    case ImmersedScheme::ab2:
      return {{1.5, -0.5, 1}};
    case ImmersedScheme::rk3:
      return {{8.0 / 15, 0, 8.0 / 15}, {5.0 / 12, -17.0 / 60, 2.0 / 3}, {3.0 / 4, -5.0 / 12, 1}};
    case ImmersedScheme::rk3b:
      return {{8.0 / 17, 0, 8.0 / 17},
              {17.0 / 60, -15.0 / 68, 8.0 / 15},
              {5.0 / 12, -17.0 / 60, 2.0 / 3},
              {3.0 / 4, -5.0 / 12, 1}};
  }
  throw ArgumentError("immersed: unknown scheme number " + std::to_string(static_cast<int>(scheme)));
}

/// The undisturbed flow at one time: uniform plus solid rotation about (x, y); moving frames have the latter.
struct BaseFlow {
  double u = 0, v = 0, rotation = 0, x = 0, y = 0;
  double u_at(double py) const { return u + rotation * (py - y); }
  double v_at(double px) const { return v - rotation * (px - x); }
};

}  // namespace detail

template <class T, class B = Cpu>
class Immersed {
 public:
  using V = Tensor<T, B>;
  using State = ImmersedState<V>;

  /// Builds and factors the force matrices of bodies at rest. Throws ArgumentError for a grid, options or bodies that
  /// cannot be used: points nearer than two cells to the edge of the finest domain, points that coincide, several
  /// bodies with `body_frame`, a time step or Reynolds number that is not positive.
  explicit Immersed(ImmersedOptions options, std::vector<Body> bodies = {})
      : options_(std::move(options)), bodies_(std::move(bodies)) {
    options_.grid.validate();
    check_options();
    stepper_ = detail::ImmersedStepper<T, B>(options_.grid);
    moving_ = false;
    for (const Body& body : bodies_) {
      if (body.x.size() != body.y.size() || body.x.empty())
        throw ArgumentError("immersed: body '" + body.name + "' has " + std::to_string(body.x.size()) + " x and " +
                            std::to_string(body.y.size()) + " y coordinates; it needs points, as many of each");
      points_ += body.size();
      moving_ = moving_ || (!body.at_rest() && !options_.body_frame);
    }
    if (options_.body_frame && bodies_.size() != 1)
      throw ArgumentError("immersed: the body frame is that of a single body, but there are " +
                          std::to_string(bodies_.size()));
    double last = 0;
    for (const detail::SchemeStage& s : detail::stages(options_.scheme)) {
      Stage stage;
      stage.weights.now = options_.time_step * s.a;
      stage.weights.before = options_.time_step * s.b;
      stage.weights.alpha = stage.weights.beta() / (2 * options_.reynolds);
      stage.end = s.end;
      stages_.push_back(stage);
      last = s.end;
    }
    if (last != 1) throw ArgumentError("immersed: the last substep must end with the step");
    if (points_ == 0) return;
    const PointSet points = points_at(0);
    coupling_ = couple(points);
    if (moving_) {
      for (std::size_t k = 0; k < stages_.size(); ++k) stages_[k].solve = nullptr;
      preconditioner_ = build(points, stages_.back().weights);
    } else {
      for (Stage& stage : stages_) stage.solve = build(points, stage.weights);
    }
  }

  const ImmersedOptions& options() const { return options_; }
  const ImmersedGrid& grid() const { return options_.grid; }
  const std::vector<Body>& bodies() const { return bodies_; }
  /// Points of all bodies together.
  index_t points() const { return points_; }
  /// Asymmetry of the force matrix, max |M - M^T| / max |M|; round-off on one level, about 5e-5 on nested ones.
  double matrix_asymmetry() const {
    const auto& solve = moving_ ? preconditioner_ : stages_.back().solve;
    return solve ? solve->asymmetry() : 0.0;
  }

  /// Impulsive start: the free stream without vorticity.
  State start(double time = 0) const { return from_vorticity(V::zeros(options_.grid.node_shape()), time); }

  /// A state with the given vorticity [levels, nx-1, ny-1]; fluxes follow from it, forces are zero.
  /// Throws ShapeError for another shape.
  State from_vorticity(const V& vorticity, double time = 0, index_t step = 0) const {
    if (!(vorticity.shape() == options_.grid.node_shape()))
      throw ShapeError("immersed: a vorticity of shape " + vorticity.shape().to_string() + ", expected " +
                       options_.grid.node_shape().to_string());
    State state;
    state.vorticity = vorticity.contiguous();
    state.forces = V::zeros(Shape{2, points_});
    state.step = step;
    state.time = time;
    Work<T> work(stepper_.shape(), 2 * points_);
    state.flux = V::uninitialized(options_.grid.flux_shape());
    stepper_.streamfunction(state.vorticity.data(), work.psi.mutable_data(), work.psi_rings.mutable_data());
    fluxes(time, work, state.flux.mutable_data());
    return state;
  }

  /// One step. Throws UnstableStep when the result is not finite or its Courant number is above the limit, ShapeError
  /// for a state of another grid or of other bodies; the state is then as before.
  void step(State& state) const { run(state, 1); }

  /// Several steps; what is thrown leaves the state after the last good one.
  void run(State& state, index_t steps) const {
    check(state);
    Work<T> work(stepper_.shape(), 2 * points_);
    for (index_t k = 0; k < steps; ++k) state = next(state, work);
  }

  /// Drag and lift coefficient of every body.
  std::vector<ForceCoefficients> forces(const State& state) const {
    std::vector<ForceCoefficients> result;
    if (points_ == 0) return result;
    const std::vector<T> f = state.forces.to_vector();
    const double d = options_.grid.spacing();
    std::size_t begin = 0;
    for (const Body& body : bodies_) {
      double x = 0, y = 0;
      for (std::size_t k = 0; k < body.x.size(); ++k) {
        x += static_cast<double>(f[begin + k]);
        y += static_cast<double>(f[static_cast<std::size_t>(points_) + begin + k]);
      }
      begin += body.x.size();
      if (options_.body_frame) {
        const double angle = placement(body.motion, state.time).angle, c = std::cos(angle), s = std::sin(angle);
        const double turned = c * x - s * y;
        y = s * x + c * y;
        x = turned;
      }
      const double c = std::cos(options_.incidence), s = std::sin(options_.incidence);
      result.push_back({2 * d * d * (c * x + s * y), 2 * d * d * (c * y - s * x)});
    }
    return result;
  }

  /// Largest difference, over points and components, between the velocity of the fluid and that of the body.
  double slip(const State& state) const {
    if (points_ == 0) return 0;
    const PointSet points = points_at(state.time);
    const detail::Coupling<T, B> coupling = moving_ ? couple(points) : coupling_;
    Work<T> work(stepper_.shape(), 2 * points_);
    stepper_.streamfunction(state.vorticity.data(), work.psi.mutable_data(), work.psi_rings.mutable_data());
    coupling.interpolate(work.psi.data(), work.velocity.mutable_data());
    const std::vector<T> velocity = work.velocity.to_vector();
    const std::vector<double> wanted = wanted_velocities(points, base_flow(state.time));
    double most = 0;
    for (std::size_t k = 0; k < wanted.size(); ++k) {
      const double e = std::abs(static_cast<double>(velocity[k]) - wanted[k]);
      most = e > most || e != e ? e : most;
    }
    return most;
  }

  /// Largest |velocity| dt / spacing over the edges of all levels.
  double courant(const State& state) const {
    V largest = V::uninitialized(Shape{options_.grid.levels * (options_.grid.nx + 1)});
    V flux = V::uninitialized(options_.grid.flux_shape());
    Work<T> work(stepper_.shape(), 2 * points_);
    stepper_.streamfunction(state.vorticity.data(), work.psi.mutable_data(), work.psi_rings.mutable_data());
    fluxes(state.time, work, flux.mutable_data(), &largest);
    return worst(largest).second;
  }

 private:
  template <class S>
  using Work = detail::SubstepWork<S, B>;
  using Solve = detail::ForceSolve<T, B>;

  struct Stage {
    detail::SubstepWeights weights;
    double end = 1;  // of the substep, in steps
    std::shared_ptr<const Solve> solve;
  };

  struct PointSet {
    std::vector<double> x, y, velocity_x, velocity_y, angle;
  };

  void check_options() const {
    const auto positive = [](double x) { return x > 0 && is_finite(x); };
    if (!positive(options_.reynolds) || !positive(options_.time_step))
      throw ArgumentError("immersed: Reynolds number " + std::to_string(options_.reynolds) + " and time step " +
                          std::to_string(options_.time_step) + " must be positive and finite");
    if (!is_finite(options_.speed) || !is_finite(options_.incidence) || !is_finite(options_.pulse.amplitude) ||
        !positive(options_.pulse.duration))
      throw ArgumentError("immersed: the free stream (speed " + std::to_string(options_.speed) + ", incidence " +
                          std::to_string(options_.incidence) +
                          ") and its pulse must be finite, the pulse's duration positive");
    if (!(options_.courant_limit >= 0) || !(options_.force_tolerance >= 0) || options_.force_iterations < 1)
      throw ArgumentError(
          "immersed: courant_limit and force_tolerance must not be negative, force_iterations at least 1");
  }

  detail::BaseFlow base_flow(double t) const {
    const double c = std::cos(options_.incidence), s = std::sin(options_.incidence), across = options_.pulse.at(t);
    detail::BaseFlow base;
    base.u = options_.speed * c - across * s;
    base.v = options_.speed * s + across * c;
    if (options_.body_frame) {
      const Placement p = placement(bodies_[0].motion, t);
      const double cosine = std::cos(p.angle), sine = std::sin(p.angle);
      const double u = base.u - p.velocity_x, v = base.v - p.velocity_y;
      base.u = cosine * u + sine * v;
      base.v = cosine * v - sine * u;
      base.rotation = p.angular_velocity;
      base.x = bodies_[0].centre_x;
      base.y = bodies_[0].centre_y;
    }
    return base;
  }

  /// Points of all bodies at time t, in the frame of the grid. Throws ArgumentError when one comes too near the edge.
  PointSet points_at(double t) const {
    PointSet all;
    const ImmersedGrid& grid = options_.grid;
    const double d = grid.spacing();
    for (const Body& body : bodies_) {
      BodyPoints p;
      double angle = 0;
      if (options_.body_frame) {
        p.x = body.x;
        p.y = body.y;
        p.velocity_x.assign(body.x.size(), 0.0);
        p.velocity_y.assign(body.x.size(), 0.0);
      } else {
        p = body.at(t);
        angle = placement(body.motion, t).angle;
      }
      for (std::size_t k = 0; k < p.x.size(); ++k) {
        const double i = (p.x[k] - grid.corner_x) / d, j = (p.y[k] - grid.corner_y) / d;
        if (!(i >= 2 && i <= static_cast<double>(grid.nx) - 2 && j >= 2 && j <= static_cast<double>(grid.ny) - 2))
          throw ArgumentError(
              "immersed: point " + std::to_string(k) + " of body '" + body.name + "' at (" + std::to_string(p.x[k]) +
              ", " + std::to_string(p.y[k]) + ") at time " + std::to_string(t) +
              " is nearer than two cells to the edge of the finest domain, or outside; move or enlarge the domain");
        all.angle.push_back(angle);
      }
      all.x.insert(all.x.end(), p.x.begin(), p.x.end());
      all.y.insert(all.y.end(), p.y.begin(), p.y.end());
      all.velocity_x.insert(all.velocity_x.end(), p.velocity_x.begin(), p.velocity_x.end());
      all.velocity_y.insert(all.velocity_y.end(), p.velocity_y.begin(), p.velocity_y.end());
    }
    return all;
  }

  detail::CouplingLists coupling_lists(const PointSet& points) const {
    return detail::CouplingLists(options_.grid, detail::edge_stencils(options_.grid, points.x, points.y));
  }
  detail::Coupling<T, B> couple(const PointSet& points) const { return detail::Coupling<T, B>(coupling_lists(points)); }

  /// Velocity of the body less that of the base flow.
  static std::vector<double> wanted_velocities(const PointSet& points, const detail::BaseFlow& base) {
    std::vector<double> result;
    for (std::size_t k = 0; k < points.x.size(); ++k) result.push_back(points.velocity_x[k] - base.u_at(points.y[k]));
    for (std::size_t k = 0; k < points.x.size(); ++k) result.push_back(points.velocity_y[k] - base.v_at(points.x[k]));
    return result;
  }

  std::shared_ptr<const Solve> build(const PointSet& points, const detail::SubstepWeights& weights) const {
    return std::make_shared<const Solve>(
        detail::force_matrix(options_.grid, coupling_lists(points), weights.alpha, weights.beta()), 2 * points_);
  }

  void check(const State& state) const {
    const ImmersedGrid& grid = options_.grid;
    if (!(state.vorticity.shape() == grid.node_shape()) || !(state.flux.shape() == grid.flux_shape()))
      throw ShapeError("immersed: a state with vorticity " + state.vorticity.shape().to_string() + " and fluxes " +
                       state.flux.shape().to_string() + ", expected " + grid.node_shape().to_string() + " and " +
                       grid.flux_shape().to_string() + "; it belongs to another grid");
    if (!(state.forces.shape() == Shape{2, points_}))
      throw ShapeError("immersed: a state with forces " + state.forces.shape().to_string() + ", expected [2, " +
                       std::to_string(points_) + "]; it belongs to other bodies");
    if (state.nonlinear.has_value() && !(state.nonlinear.shape() == grid.node_shape()))
      throw ShapeError("immersed: a state whose explicit term has shape " + state.nonlinear.shape().to_string() +
                       ", expected " + grid.node_shape().to_string());
  }

  template <class S>
  void fluxes(double time, Work<S>& work, S* flux, V* largest = nullptr) const {
    const detail::BaseFlow base = base_flow(time);
    const ImmersedGrid& grid = options_.grid;
    std::vector<detail::BaseFluxes<T>> table;
    for (index_t l = 0; l < grid.levels; ++l) {
      const double d = grid.spacing(l);
      detail::BaseFluxes<T> b;
      b.x0 = static_cast<T>(d * base.u_at(grid.y(l, 0.5)));
      b.xj = static_cast<T>(d * d * base.rotation);
      b.y0 = static_cast<T>(d * base.v_at(grid.x(l, 0.5)));
      b.yi = static_cast<T>(-d * d * base.rotation);
      table.push_back(b);
    }
    const auto device = Tensor<detail::BaseFluxes<T>, B>::from(table);
    V scratch = largest == nullptr ? V::uninitialized(Shape{grid.levels * (grid.nx + 1)}) : V();
    stepper_.fluxes(work.psi.data(), work.psi_rings.data(), device.data(), flux,
                    (largest == nullptr ? scratch : *largest).mutable_data());
  }

  State next(const State& state, Work<T>& work) const {
    State now = state;
    const bool multistep = options_.scheme == ImmersedScheme::ab2;
    V before = multistep ? state.nonlinear : V();
    V largest = V::uninitialized(Shape{options_.grid.levels * (options_.grid.nx + 1)});
    for (std::size_t k = 0; k < stages_.size(); ++k) {
      const Stage& stage = stages_[k];
      detail::SubstepWeights weights = stage.weights;
      if (!before.has_value()) {
        weights.now += weights.before;
        weights.before = 0;
      }
      V nonlinear = V::uninitialized(options_.grid.node_shape()), omega = V::uninitialized(options_.grid.node_shape());
      stepper_.explicit_side(weights, now.vorticity.data(), now.flux.data(),
                             before.has_value() ? before.data() : nullptr, nonlinear.mutable_data(),
                             omega.mutable_data(), work);
      const double time = state.time + stage.end * options_.time_step;
      V forces = V::uninitialized(Shape{2, points_});
      if (moving_)
        move(weights, time, now.forces, omega, forces, work);
      else
        project(stage, weights, time, omega, forces, work);
      now.vorticity = omega;
      now.forces = forces;
      V flux = V::uninitialized(options_.grid.flux_shape());
      fluxes(time, work, flux.mutable_data(), &largest);
      now.flux = flux;
      before = nonlinear;
      check_stability(largest, now.flux, state.step + 1);
    }
    if (multistep) now.nonlinear = before;
    now.step = state.step + 1;
    now.time = state.time + options_.time_step;
    return now;
  }

  template <class S>
  void project(const Stage& stage, const detail::SubstepWeights& weights, double time, Tensor<S, B>& omega,
               Tensor<S, B>& forces, Work<S>& work) const {
    stepper_.predict(weights.alpha, coupling_, omega.mutable_data(), work);
    if (points_ > 0) {
      const auto wanted = wanted_at(points_at(time), time);
      B::for_each(2 * points_, detail::DefectKernel<S>{work.velocity.mutable_data(), wanted.data()});
      stage.solve->solve(work.velocity.data(), forces.mutable_data());
    }
    stepper_.correct(weights.alpha, weights.beta(), coupling_, forces.data(), omega.mutable_data(), work);
  }

  V wanted_at(const PointSet& points, double time) const {
    const std::vector<double> wanted = wanted_velocities(points, base_flow(time));
    return V::from(std::vector<T>(wanted.begin(), wanted.end()));
  }

  void move(const detail::SubstepWeights& weights, double time, const V& guess, V& omega, V& forces,
            Work<T>& work) const {
    const PointSet points = points_at(time);
    const detail::Coupling<T, B> coupling = couple(points);
    stepper_.predict(weights.alpha, coupling, omega.mutable_data(), work);
    const V wanted = wanted_at(points, time);
    B::for_each(2 * points_, detail::DefectKernel<T>{work.velocity.mutable_data(), wanted.data()});
    const std::vector<T> velocity = work.velocity.to_vector();
    const double tolerance = options_.force_tolerance > 0 ? options_.force_tolerance : sizeof(T) == 4 ? 1e-5 : 1e-11;
    V in = V::uninitialized(Shape{2, points_}), out = V::uninitialized(Shape{2, points_});
    const std::vector<T> start = guess.to_vector();
    const auto apply = [&](const std::vector<double>& x) {
      in = V::from(std::vector<T>(x.begin(), x.end()));
      stepper_.apply_force_matrix(weights.alpha, weights.beta(), coupling, in.data(), out.mutable_data(), work);
      const std::vector<T> y = out.to_vector();
      return std::vector<double>(y.begin(), y.end());
    };
    const auto precondition = [&](const std::vector<double>& x) {
      in = V::from(turned(x, points.angle, -1));
      preconditioner_->solve(in.data(), out.mutable_data());
      const std::vector<T> y = out.to_vector();
      const std::vector<T> back = turned(std::vector<double>(y.begin(), y.end()), points.angle, 1);
      return std::vector<double>(back.begin(), back.end());
    };
    const detail::KrylovResult result = detail::minimise_residual(
        apply, precondition, std::vector<double>(velocity.begin(), velocity.end()),
        std::vector<double>(start.begin(), start.end()), tolerance, options_.force_iterations);
    if (!result.converged)
      throw UnstableStep(
          "immersed: the forces on the moving bodies did not converge in " + std::to_string(options_.force_iterations) +
              " iterations; relative residual in place of a value. Space the points at least a cell apart "
              "or raise force_iterations or force_tolerance",
          0, {0, 0}, result.residual);
    forces = V::from(std::vector<T>(result.x.begin(), result.x.end())).reshaped(Shape{2, points_});
    stepper_.correct(weights.alpha, weights.beta(), coupling, forces.data(), omega.mutable_data(), work);
  }

  /// Vectors at the points, turned by `sign` times the points' angles.
  std::vector<T> turned(const std::vector<double>& x, const std::vector<double>& angle, double sign) const {
    const std::size_t n = static_cast<std::size_t>(points_);
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
    const index_t per_level = options_.grid.nx + 1;
    std::pair<index_t, double> result{0, 0};
    for (index_t r = 0; r < static_cast<index_t>(rows.size()); ++r) {
      const double d = options_.grid.spacing(r / per_level);
      const double c = static_cast<double>(rows[static_cast<std::size_t>(r)]) / d * options_.time_step / d;
      if (!is_finite(c)) return {r, c};
      if (c > result.second) result = {r, c};
    }
    return result;
  }

  void check_stability(const V& largest, const V& flux, index_t step) const {
    const auto [row, number] = worst(largest);
    const bool multistep = options_.scheme == ImmersedScheme::ab2 || options_.scheme == ImmersedScheme::euler;
    const double limit = options_.courant_limit > 0 ? options_.courant_limit : multistep ? 1.0 : 2.5;
    if (number <= limit) return;
    const ImmersedGrid& grid = options_.grid;
    const index_t level = row / (grid.nx + 1), i = row % (grid.nx + 1);
    const std::vector<T> q = flux.to_vector();
    index_t j = 0;
    double most = -1;
    for (index_t k = 0; k < grid.ny; ++k)
      for (const index_t at : {i * grid.ny + k, grid.fluxes_x() + (i < grid.nx ? i : i - 1) * (grid.ny + 1) + k}) {
        const double a = std::abs(static_cast<double>(q[static_cast<std::size_t>(level * grid.fluxes() + at)]));
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
                           "; use a time step of at most " + std::to_string(options_.time_step * limit / number * 0.8),
                       step, {i, j}, number);
  }

  ImmersedOptions options_;
  std::vector<Body> bodies_;
  index_t points_ = 0;
  bool moving_ = false;
  std::vector<Stage> stages_;
  detail::ImmersedStepper<T, B> stepper_;
  detail::Coupling<T, B> coupling_;
  std::shared_ptr<const Solve> preconditioner_;
};

}  // namespace kolmo::flow
