#pragma once
// One substep of the immersed-boundary projection method in null-space form (Colonius & Taira 2008) on pointers:
//
//   r = omega + dt ((a+b)/(2 Re) L omega + a N + b N_before),    omega* = A^-1 r,    A = 1 - beta/(2 Re) L,
//   M F = P L^-1 K (-omega*) - defect,                           omega+ = omega* - A^-1 beta P^T F,
//   psi = L^-1 K (-omega+),                                      q = C psi + q0
//
// with beta = (a + b) dt and P = E C (see immersed_coupling.hpp). Generic in the state's scalar S: T or Dual<T, 1>.

#include <cmath>

#include <kolmo/flow/immersed_coupling.hpp>
#include <kolmo/flow/immersed_elliptic.hpp>
#include <kolmo/flow/immersed_nonlinear.hpp>
#include <kolmo/flow/immersed_options.hpp>
#include <kolmo/flow/immersed_transposes.hpp>

namespace kolmo::flow::detail {

/// Coefficients of one substep; weights include the time step.
struct SubstepWeights {
  double now = 0, before = 0;  ///< dt a, dt b
  double alpha = 0;            ///< factor of L on both sides: (now + before) / (2 Re)
  double beta() const { return now + before; }
};

template <class S>
struct NegateKernel {
  const S* x;
  S* y;
  KOLMO_HD void operator()(index_t i) const { y[i] = -x[i]; }
};

template <class S>
struct DefectKernel {
  S* velocity;
  const BaseScalar<S>* wanted;
  KOLMO_HD void operator()(index_t k) const { velocity[k] = velocity[k] - wanted[k]; }
};

/// The same for points at rest in a base flow. An item is a velocity of one case: x components of all points, then y.
template <class S>
struct RestDefectKernel {
  using T = BaseScalar<S>;
  S* velocity;
  BaseFlow base;
  const double* across;  // y of the points, then x: what their base velocity depends on
  index_t points;
  KOLMO_HD void operator()(index_t item) const {
    const index_t k = item % (2 * points);
    velocity[item] = velocity[item] + static_cast<T>(k < points ? base.u_at(across[k]) : base.v_at(across[k]));
  }
};

/// Scratch of a substep on all levels, of all cases of the shape; `velocities` of each.
template <class S, class B>
struct SubstepWork {
  using V = Tensor<S, B>;
  V x, y, psi, source;                         // nodal
  V x_rings, y_rings, omega_rings, psi_rings;  // zero on the outermost level
  V velocity;

  SubstepWork() = default;
  SubstepWork(const GridShape& g, index_t velocities) {
    const Shape nodal{g.slabs(), g.nodes()}, rings{g.slabs(), g.ring()};
    x = V::uninitialized(nodal);
    y = V::uninitialized(nodal);
    psi = V::uninitialized(nodal);
    source = V::uninitialized(nodal);
    x_rings = V::zeros(rings);
    y_rings = V::zeros(rings);
    omega_rings = V::zeros(rings);
    psi_rings = V::zeros(rings);
    velocity = V::uninitialized(Shape{g.cases * larger<index_t>(velocities, 1)});
  }
};

template <class T, class B>
class ImmersedStepper {
 public:
  ImmersedStepper() = default;
  explicit ImmersedStepper(const ImmersedGrid& grid) : g_(grid), elliptic_(grid) {
    for (index_t l = 0; l < grid.levels; ++l) {
      half_inverse_spacing_.values[l] = static_cast<T>(0.5 / grid.spacing(l));
      inverse_square_.push_back(1 / (grid.spacing(l) * grid.spacing(l)));
    }
  }

  /// The same for fields of `cases` cases, [levels, cases, ...]. Transposes are of one case.
  ImmersedStepper for_cases(index_t cases) const {
    ImmersedStepper result = *this;
    result.g_.cases = cases;
    result.elliptic_ = elliptic_.for_cases(cases);
    return result;
  }

  const GridShape& shape() const { return g_; }
  const NestedElliptic<T, B>& elliptic() const { return elliptic_; }
  index_t nodes() const { return g_.slabs() * g_.nodes(); }

  /// nonlinear = N(omega, flux), r = the explicit side of a substep.
  template <class S>
  void explicit_side(const SubstepWeights& weights, const S* omega, const S* flux, const S* before, S* nonlinear, S* r,
                     SubstepWork<S, B>& w) const {
    if (g_.levels == 1) {
      const T h = static_cast<T>(0.25 * inverse_square_[0]);
      for_each_item<B>(
          g_.cases * g_.rows(),
          ExplicitOneLevelKernel<S>{g_, omega, w.omega_rings.data(), flux, before, h,
                                    static_cast<T>(weights.alpha * inverse_square_[0]), static_cast<T>(weights.now),
                                    static_cast<T>(weights.before), nonlinear, r});
      return;
    }
    S *x = w.x.mutable_data(), *y = w.y.mutable_data();
    S *x_rings = w.x_rings.mutable_data(), *y_rings = w.y_rings.mutable_data(), *rings = w.omega_rings.mutable_data();
    for_each_item<B>(g_.slabs() * g_.rows(), ProductKernel<S>{g_, omega, flux, half_inverse_spacing_, x, y});
    const index_t interface = (g_.levels - 1) * g_.cases * InterfaceNodes{g_}.count();
    B::for_each(interface, InterfaceProductKernel<S>{g_, omega, flux, half_inverse_spacing_, x, y});
    B::for_each(interface, InterfaceInsideKernel<S>{g_, x, y});
    elliptic_.extend(x, x_rings);
    elliptic_.extend(y, y_rings);
    elliptic_.extend(omega, rings);
    for_each_item<B>(g_.slabs() * g_.rows(),
                     ExplicitKernel<S>{g_, omega, rings, x, x_rings, y, y_rings, before, half_inverse_spacing_,
                                       per_level(weights.alpha), static_cast<T>(weights.now),
                                       static_cast<T>(weights.before), nonlinear, r});
  }

  /// u <- A^-1 u.
  template <class S>
  void solve_implicit(double alpha, S* u, S* rings) const {
    elliptic_.solve([&](index_t l) { return elliptic_.helmholtz(-alpha, l); }, u, rings);
  }
  /// psi <- L^-1 K (-omega), with its borders.
  template <class S>
  void streamfunction(const S* omega, S* psi, S* rings) const {
    B::for_each(nodes(), NegateKernel<S>{omega, psi});
    elliptic_.solve([&](index_t l) { return elliptic_.laplace(1, l); }, psi, rings);
  }
  /// flux <- C psi + base; largest[levels, cases, nx+1] is the largest |flux| of each row.
  template <class S>
  void fluxes(const S* psi, const S* rings, const PerLevel<BaseFluxes<T>>& base, S* flux, T* largest) const {
    for_each_item<B>(g_.slabs() * (g_.nx + 1), FluxKernel<S>{g_, psi, rings, base, flux, largest});
  }

  /// omega <- omega* = A^-1 r in place of r, velocity <- P L^-1 K (-omega*). On one level omega stays in sine
  /// coefficients.
  template <class S>
  void predict(double alpha, const Coupling<T, B>& coupling, S* r, SubstepWork<S, B>& w) const {
    if (g_.levels == 1) {
      S* psi = w.psi.mutable_data();
      elliptic_.transform(r);
      elliptic_.spectral_step(alpha, static_cast<const S*>(nullptr), r, psi);
      if (coupling.velocities() == 0) return;
      elliptic_.transform_part(psi, {0, g_.rows(), coupling.box().column_begin, coupling.box().column_end});
      coupling.interpolate(g_, static_cast<const S*>(psi), w.velocity.mutable_data());
      return;
    }
    solve_implicit(alpha, r, w.psi_rings.mutable_data());
    if (coupling.velocities() == 0) return;
    streamfunction(r, w.psi.mutable_data(), w.psi_rings.mutable_data());
    coupling.interpolate(g_, w.psi.data(), w.velocity.mutable_data());
  }
  /// omega <- omega - A^-1 beta P^T forces, psi and its borders of the result; follows predict.
  template <class S>
  void correct(double alpha, double beta, const Coupling<T, B>& coupling, const S* forces, S* omega,
               SubstepWork<S, B>& w) const {
    if (g_.levels == 1) {
      S *psi = w.psi.mutable_data(), *source = nullptr;
      if (coupling.velocities() > 0) {
        source = w.source.mutable_data();
        B::for_each(nodes(), kolmo::detail::FillKernel<S>{S(T(0)), source});
        coupling.spread(g_, forces, static_cast<T>(beta), source);
        elliptic_.transform_part(source, {coupling.box().row_begin, coupling.box().row_end, 0, g_.columns()});
        elliptic_.spectral_step(alpha, static_cast<const S*>(source), omega, psi);
      }
      elliptic_.transform(omega);
      elliptic_.transform(psi);
      return;
    }
    if (coupling.velocities() > 0) {
      force_response(alpha, beta, coupling, forces, w);
      B::for_each(nodes(), AddKernel<S>{w.source.data(), omega, T(-1)});
    }
    streamfunction(omega, w.psi.mutable_data(), w.psi_rings.mutable_data());
  }
  /// w.source <- A^-1 beta P^T forces.
  template <class S>
  void force_response(double alpha, double beta, const Coupling<T, B>& coupling, const S* forces,
                      SubstepWork<S, B>& w) const {
    S* source = w.source.mutable_data();
    B::for_each(nodes(), kolmo::detail::FillKernel<S>{S(T(0)), source});
    coupling.spread(g_, forces, static_cast<T>(beta), source);
    solve_implicit(alpha, source, w.psi_rings.mutable_data());
  }
  /// velocity <- M forces.
  template <class S>
  void apply_force_matrix(double alpha, double beta, const Coupling<T, B>& coupling, const S* forces, S* velocity,
                          SubstepWork<S, B>& w) const {
    force_response(alpha, beta, coupling, forces, w);
    streamfunction(w.source.data(), w.psi.mutable_data(), w.psi_rings.mutable_data());
    coupling.interpolate(g_, w.psi.data(), velocity);
  }

  /// Transpose of fluxes after streamfunction: omega -= its part. `flux` is a gradient.
  template <class S>
  void fluxes_transpose(const S* flux, S* omega, SubstepWork<S, B>& w) const {
    S *psi = w.psi.mutable_data(), *rings = w.psi_rings.mutable_data();
    for_each_item<B>(g_.levels * g_.rows(), FluxTransposeKernel<S>{g_, flux, psi});
    if (g_.levels > 1) for_each_item<B>(g_.levels - 1, FluxRingTransposeKernel<S>{g_, flux, rings});
    streamfunction_transpose(psi, rings, omega);
  }

  /// Transpose of correct and predict, given `omega`, the gradient of omega+, which becomes that of r, and `forces`,
  /// that of F, which is used up. solve_transpose(x, y) is y = M^-T x.
  template <class S, class SolveTranspose>
  void project_transpose(double alpha, double beta, const Coupling<T, B>& coupling,
                         const SolveTranspose& solve_transpose, S* forces, S* omega, SubstepWork<S, B>& w) const {
    if (coupling.velocities() > 0) {
      S *response = w.source.mutable_data(), *psi = w.psi.mutable_data(), *velocity = w.velocity.mutable_data();
      B::copy(response, omega, static_cast<std::size_t>(nodes()) * sizeof(S));
      implicit_transpose(alpha, response);
      coupling.interpolate(g_, static_cast<const S*>(response), velocity);
      B::for_each(coupling.velocities(), AddKernel<S>{velocity, forces, static_cast<T>(-beta)});
      solve_transpose(static_cast<const S*>(forces), velocity);
      B::for_each(nodes(), kolmo::detail::FillKernel<S>{S(T(0)), psi});
      coupling.spread(g_, static_cast<const S*>(velocity), T(1), psi);
      streamfunction_transpose(psi, static_cast<S*>(nullptr), omega);
    }
    implicit_transpose(alpha, omega);
  }

  /// Transpose of explicit_side at (omega, flux). `r` and `nonlinear` are gradients; the latter is used up. Writes
  /// the gradients of omega, flux and of the term before.
  template <class S>
  void explicit_transpose(const SubstepWeights& weights, const S* omega, const S* flux, const S* r, S* nonlinear,
                          S* omega_gradient, S* flux_gradient, S* before_gradient, SubstepWork<S, B>& w) const {
    const index_t n = nodes(), rows = g_.levels * g_.rows(), count = InterfaceNodes{g_}.count();
    S *x = w.x.mutable_data(), *y = w.y.mutable_data();
    const PerLevel<T>& half = half_inverse_spacing_;
    const auto zero_rings = Tensor<S, B>::zeros(Shape{g_.levels, g_.ring()});
    const auto fill = [n](S* target) { B::for_each(n, kolmo::detail::FillKernel<S>{S(T(0)), target}); };
    fill(omega_gradient);
    if (before_gradient != nullptr) {
      fill(before_gradient);
      B::for_each(n, AddKernel<S>{r, before_gradient, static_cast<T>(weights.before)});
    }
    B::for_each(n, AddKernel<S>{r, nonlinear, static_cast<T>(weights.now)});
    for (index_t l = 1; l < g_.levels; ++l)
      for_each_item<B>(g_.nx / 2 - 1, ClearInsideKernel<S>{g_, nonlinear + l * g_.nodes()});
    for_each_item<B>(rows,
                     DiffusionTransposeKernel<S>{g_, r, zero_rings.data(), per_level(weights.alpha), omega_gradient});
    for_each_item<B>(rows, DivergenceTransposeKernel<S>{g_, nonlinear, zero_rings.data(), half, x, y});
    if (g_.levels > 1) {
      auto ring = Tensor<S, B>::uninitialized(Shape{g_.ring()});
      for (index_t l = 0; l + 1 < g_.levels; ++l) {
        const T factor = static_cast<T>(-weights.alpha * inverse_square_[static_cast<std::size_t>(l)]);
        for_each_item<B>(1, BorderTransposeKernel<S>{g_, r + l * g_.nodes(), factor, ring.mutable_data()});
        for_each_item<B>(1, ExtendTransposeKernel<S>{g_, ring.data(), omega_gradient + (l + 1) * g_.nodes()});
      }
      S *x_rings = w.x_rings.mutable_data(), *y_rings = w.y_rings.mutable_data();
      for_each_item<B>(g_.levels - 1, DivergenceRingTransposeKernel<S>{g_, nonlinear, half, x_rings, y_rings});
      elliptic_.extend_transpose(static_cast<const S*>(x_rings), x);
      elliptic_.extend_transpose(static_cast<const S*>(y_rings), y);
      for (index_t l = g_.levels - 1; l > 0; --l) B::for_each(count, InterfaceInsideTransposeKernel<S>{g_, l, x, y});
    }
    auto interface = Tensor<S, B>::uninitialized(Shape{(g_.levels - 1) * count + 1, 2});
    if (g_.levels > 1)
      B::for_each((g_.levels - 1) * count, InterfaceProductTransposeKernel<S>{
                                               g_, omega, flux, half, x, y, omega_gradient, interface.mutable_data()});
    for_each_item<B>(rows, ProductTransposeKernel<S>{g_, omega, flux, half, x, y, omega_gradient});
    for_each_item<B>(g_.levels * (g_.nx + 1),
                     VelocityTransposeKernel<S>{g_, x, y, zero_rings.data(), half, flux_gradient});
    if (g_.levels > 1) for_each_item<B>(1, InterfaceVelocityTransposeKernel<S>{g_, interface.data(), flux_gradient});
  }

 private:
  /// omega -= (L^-1 K)^T psi; psi and rings are used up.
  template <class S>
  void streamfunction_transpose(S* psi, S* rings, S* omega) const {
    elliptic_.solve_transpose([&](index_t l) { return elliptic_.laplace(1, l); }, psi, rings);
    B::for_each(nodes(), AddKernel<S>{psi, omega, T(-1)});
  }
  template <class S>
  void implicit_transpose(double alpha, S* u) const {
    elliptic_.solve_transpose([&](index_t l) { return elliptic_.helmholtz(-alpha, l); }, u, static_cast<S*>(nullptr));
  }
  PerLevel<T> per_level(double factor) const {
    PerLevel<T> result;
    for (index_t l = 0; l < g_.levels; ++l)
      result.values[l] = static_cast<T>(factor * inverse_square_[static_cast<std::size_t>(l)]);
    return result;
  }

  GridShape g_;
  NestedElliptic<T, B> elliptic_;
  PerLevel<T> half_inverse_spacing_;
  std::vector<double> inverse_square_;
};

}  // namespace kolmo::flow::detail
