#pragma once
// The flux of a quantity through one face, Lax-Wendroff limited by Van Leer's function (Sweby 1984, Van Leer 1974):
// with the quantity at four cells along the axis, before, here, | next, after, and the Courant number C = V dt/h of the
// face between the middle two,
//
//   C > 0:   C (here + (1 - C)/2 d phi(r)),   d = next - here,  r = (here - before)/d,  phi(r) = 2r/(1 + r) for r > 0
//   C <= 0:  C (next - (1 + C)/2 d phi(r)),   r = (after - next)/d
//
// With n = r d this is C upwind + |C| (1 - |C|) n d/(n + d) where n d > 0: one division, and no branch.

#include <kolmo/flow/central_flux.hpp>

namespace kolmo::flow {

/// dt/h times the flux through a face. S is a real scalar or a dual.
struct VanLeerFlux {
  template <class S>
  KOLMO_HD KOLMO_INLINE S operator()(S courant, S before, S here, S next, S after) const {
    const auto zero = value_of(S(0));
    const bool forward = courant > zero;
    const S difference = next - here;
    const S upwind_difference = select(forward, here - before, after - next);
    const S product = difference * upwind_difference;
    const bool limited = product > zero;
    const S divisor = select(limited, difference + upwind_difference, S(1));
    const S slope = select(limited, product / divisor, S(0));
    return courant * select(forward, here, next) + (select(forward, courant, -courant) - courant * courant) * slope;
  }

  /// One-sided derivatives where the upwind side changes or the limiter switches on: those of the branch taken.
  template <class S>
  KOLMO_HD KOLMO_INLINE FluxAdjoint<S> adjoint(S cotangent, S courant, S before, S here, S next, S after) const {
    const auto zero = value_of(S(0));
    const bool forward = courant > zero;
    const S difference = next - here;
    const S upwind_difference = select(forward, here - before, after - next);
    const S product = difference * upwind_difference;
    const bool limited = product > zero;
    const S divisor = select(limited, difference + upwind_difference, S(1));
    const S inverse = select(limited, S(1) / divisor, S(0));
    const S share = upwind_difference * inverse;  // of n in n + d; the rest is the share of d
    const S rest = difference * inverse;
    const S magnitude = select(forward, courant, -courant);
    const S weighted = cotangent * (magnitude - courant * courant);
    const S upwind = cotangent * courant;
    const S by_difference = weighted * share * share;
    const S by_upwind_difference = weighted * rest * rest;
    const S slope = share * difference;
    const S sign = select(forward, S(1), S(-1));
    FluxAdjoint<S> result;
    result.courant = cotangent * (select(forward, here, next) + (sign - courant - courant) * slope);
    result.before = select(forward, -by_upwind_difference, S(0));
    result.here = select(forward, upwind + by_upwind_difference, S(0)) - by_difference;
    result.next = select(forward, S(0), upwind - by_upwind_difference) + by_difference;
    result.after = select(forward, S(0), by_upwind_difference);
    return result;
  }
};

}  // namespace kolmo::flow
