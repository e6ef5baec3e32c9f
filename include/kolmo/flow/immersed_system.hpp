#pragma once
// What Immersed consists of besides its state: checked options, bodies, substeps with their force solves. Generic in
// the scalar of the state, so that the solver and its derivatives share it.

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/flow/body.hpp>
#include <kolmo/flow/immersed_forces.hpp>
#include <kolmo/flow/immersed_matrix.hpp>
#include <kolmo/flow/immersed_options.hpp>
#include <kolmo/flow/immersed_stepper.hpp>

namespace kolmo::flow::detail {

template <class T, class B>
class ImmersedSystem {
 public:
  using V = Tensor<T, B>;
  template <class S>
  using Work = SubstepWork<S, B>;
  using Solve = ForceSolve<T, B>;

  struct Stage {
    SubstepWeights weights;
    double end = 1;                      // of the substep, in steps
    std::shared_ptr<const Solve> solve;  // null for moving bodies
  };

  /// Points of all bodies; `angle` is that of their body.
  struct PointSet {
    std::vector<double> x, y, velocity_x, velocity_y, angle;
  };

  ImmersedSystem(ImmersedOptions options, std::vector<Body> bodies)
      : options_(std::move(options)), bodies_(std::move(bodies)) {
    options_.grid.validate();
    check_options();
    stepper_ = ImmersedStepper<T, B>(options_.grid);
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
    for (const SchemeStage& s : scheme_stages(options_.scheme)) {
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
    check_spacing(points);
    coupling_ = couple(points);
    std::vector<double> across = points.y;
    across.insert(across.end(), points.x.begin(), points.x.end());
    across_ = Tensor<double, B>::from(across);
    if (moving_) {
      for (std::size_t k = 0; k < stages_.size(); ++k) stages_[k].solve = nullptr;
      preconditioner_ = build(points, stages_.back().weights);
    } else {
      for (Stage& stage : stages_) stage.solve = build(points, stage.weights);
    }
  }

  const ImmersedOptions& options() const { return options_; }
  const std::vector<Body>& bodies() const { return bodies_; }
  index_t points() const { return points_; }
  bool moving() const { return moving_; }
  const std::vector<Stage>& stages() const { return stages_; }
  const ImmersedStepper<T, B>& stepper() const { return stepper_; }
  /// Of bodies at rest, or of moving ones where they are at t = 0.
  const Coupling<T, B>& coupling() const { return coupling_; }
  /// For moving bodies: the solve where they are at t = 0.
  const std::shared_ptr<const Solve>& preconditioner() const { return preconditioner_; }
  bool multistep() const { return options_.scheme == ImmersedScheme::ab2; }

  /// Distances between points and their nearest neighbours, in cells: smallest and largest; 0 for fewer than two.
  double closest() const { return closest_; }
  double widest() const { return widest_; }

  /// The same bodies in a free stream of another angle; the force matrices do not depend on it.
  ImmersedSystem with_incidence(double angle) const {
    ImmersedSystem result = *this;
    result.options_.incidence = angle;
    result.check_options();
    return result;
  }

  /// The same for `cases` states that are advanced at once; fields are then [levels, cases, ...] and velocities and
  /// forces [cases, 2, points]. For bodies at rest in the grid.
  ImmersedSystem for_cases(index_t cases) const {
    ImmersedSystem result = *this;
    result.stepper_ = stepper_.for_cases(cases);
    return result;
  }

  BaseFlow base_flow(double t) const {
    const double c = std::cos(options_.incidence), s = std::sin(options_.incidence), across = options_.pulse.at(t);
    BaseFlow base;
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

  Coupling<T, B> couple(const PointSet& points) const { return Coupling<T, B>(coupling_lists(points)); }

  /// Velocity of the body less that of the base flow.
  static std::vector<double> wanted_velocities(const PointSet& points, const BaseFlow& base) {
    std::vector<double> result;
    for (std::size_t k = 0; k < points.x.size(); ++k) result.push_back(points.velocity_x[k] - base.u_at(points.y[k]));
    for (std::size_t k = 0; k < points.x.size(); ++k) result.push_back(points.velocity_y[k] - base.v_at(points.x[k]));
    return result;
  }

  V wanted_at(const PointSet& points, double time) const {
    const std::vector<double> wanted = wanted_velocities(points, base_flow(time));
    return V::from(std::vector<T>(wanted.begin(), wanted.end()));
  }

  template <class S>
  void fluxes(double time, Work<S>& work, S* flux, V* largest = nullptr) const {
    const BaseFlow base = base_flow(time);
    const ImmersedGrid& grid = options_.grid;
    PerLevel<BaseFluxes<T>> table;
    for (index_t l = 0; l < grid.levels; ++l) {
      const double d = grid.spacing(l);
      BaseFluxes<T> b;
      b.x0 = static_cast<T>(d * base.u_at(grid.y(l, 0.5)));
      b.xj = static_cast<T>(d * d * base.rotation);
      b.y0 = static_cast<T>(d * base.v_at(grid.x(l, 0.5)));
      b.yi = static_cast<T>(-d * d * base.rotation);
      table.values[l] = b;
    }
    V scratch = largest == nullptr ? V::uninitialized(Shape{stepper_.shape().slabs() * (grid.nx + 1)}) : V();
    stepper_.fluxes(work.psi.data(), work.psi_rings.data(), table, flux,
                    (largest == nullptr ? scratch : *largest).mutable_data());
  }

  template <class S>
  void project(const Stage& stage, const SubstepWeights& weights, double time, Tensor<S, B>& omega,
               Tensor<S, B>& forces, Work<S>& work) const {
    stepper_.predict(weights.alpha, coupling_, omega.mutable_data(), work);
    if (points_ > 0) {
      const index_t cases = stepper_.shape().cases;
      B::for_each(cases * 2 * points_,
                  RestDefectKernel<S>{work.velocity.mutable_data(), base_flow(time), across_.data(), points_});
      stage.solve->solve(cases, work.velocity.data(), forces.mutable_data());
    }
    stepper_.correct(weights.alpha, weights.beta(), coupling_, forces.data(), omega.mutable_data(), work);
  }

 private:
  void check_spacing(const PointSet& points) {
    const double d = options_.grid.spacing();
    std::size_t worst = 0;
    for (std::size_t k = 0; k < points.x.size() && points.x.size() > 1; ++k) {
      double nearest = 1e300;
      for (std::size_t m = 0; m < points.x.size(); ++m) {
        if (m == k) continue;
        const double dx = points.x[k] - points.x[m], dy = points.y[k] - points.y[m], square = dx * dx + dy * dy;
        nearest = square < nearest ? square : nearest;
      }
      nearest = std::sqrt(nearest) / d;
      if (k == 0 || nearest < closest_) {
        closest_ = nearest;
        worst = k;
      }
      widest_ = nearest > widest_ ? nearest : widest_;
    }
    if (points.x.size() > 1 && closest_ < 0.4)
      throw ArgumentError("immersed: the body point at (" + std::to_string(points.x[worst]) + ", " +
                          std::to_string(points.y[worst]) + ") lies " + std::to_string(closest_) +
                          " cells from another one; points closer than 0.4 cells make the forces undetermined. Space "
                          "points about a cell, " +
                          std::to_string(d) + ", apart");
  }

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

  CouplingLists coupling_lists(const PointSet& points) const {
    return CouplingLists(options_.grid, edge_stencils(options_.grid, points.x, points.y));
  }
  std::shared_ptr<const Solve> build(const PointSet& points, const SubstepWeights& weights) const {
    return std::make_shared<const Solve>(
        force_matrix(options_.grid, coupling_lists(points), weights.alpha, weights.beta()), 2 * points_);
  }

  ImmersedOptions options_;
  std::vector<Body> bodies_;
  index_t points_ = 0;
  double closest_ = 0, widest_ = 0;
  bool moving_ = false;
  std::vector<Stage> stages_;
  ImmersedStepper<T, B> stepper_;
  Coupling<T, B> coupling_;
  Tensor<double, B> across_;
  std::shared_ptr<const Solve> preconditioner_;
};

}  // namespace kolmo::flow::detail
