#pragma once
// The flux of a quantity through one face by linear interpolation, C (here + next)/2 with the Courant number C = V dt/h
// of the face. Nothing limits it: it conserves energy where Van Leer's (flow/van_leer.hpp) takes some away, and makes
// waves as short as the cells where the flow is not resolved.

#include <kolmo/core/dual.hpp>

namespace kolmo::flow {

/// The derivatives of a flux functor with respect to its five arguments, times the cotangent of its result.
template <class S>
struct FluxAdjoint {
  S courant, before, here, next, after;
};

/// dt/h times the flux through a face. S is a real scalar or a dual.
struct CentralFlux {
  template <class S>
  KOLMO_HD KOLMO_INLINE S operator()(S courant, S /*before*/, S here, S next, S /*after*/) const {
    return courant * ((here + next) * half<S>());
  }

  template <class S>
  KOLMO_HD KOLMO_INLINE FluxAdjoint<S> adjoint(S cotangent, S courant, S /*before*/, S here, S next,
                                               S /*after*/) const {
    const S share = cotangent * courant * half<S>();
    return {cotangent * ((here + next) * half<S>()), S(0), share, share, S(0)};
  }

 private:
  template <class S>
  KOLMO_HD KOLMO_INLINE static auto half() {
    return value_of(S(1)) / 2;
  }
};

}  // namespace kolmo::flow
