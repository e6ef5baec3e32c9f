#pragma once
// State of the immersed-boundary solver after a step.

#include <kolmo/ad/module.hpp>
#include <kolmo/flow/immersed_grid.hpp>

namespace kolmo::flow {

/// Everything a run needs to go on. Fluxes follow from the vorticity (and the base flow); they are kept because every
/// use of a state wants velocities.
template <TensorLike V>
struct ImmersedState {
  V vorticity;  ///< [levels, nx-1, ny-1]
  V flux;       ///< [levels, (nx+1) ny + nx (ny+1)], see immersed_grid.hpp: qx[i, j], then qy[i, j], j fastest
  V forces;     ///< [2, points]: x components of all bodies' points, then y; force densities of the last substep
  V nonlinear;  ///< [levels, nx-1, ny-1]: the explicit term of the last substep; without value where there is none (a
                ///< start, or a file without it): the next step then begins with Euler's scheme
  index_t step = 0;
  double time = 0;

  static void fields(auto&& f, auto&... s) {
    f(state("vorticity"), s.vorticity...);
    f(state("flux"), s.flux...);
    f(state("forces"), s.forces...);
    f(state("nonlinear"), s.nonlinear...);
    f(option("step"), s.step...);
    f(option("time"), s.time...);
  }
  template <class U>
  using Rebind = ImmersedState<U>;
};

}  // namespace kolmo::flow
