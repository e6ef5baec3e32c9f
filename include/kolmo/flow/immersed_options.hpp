#pragma once
// Options of the immersed-boundary solver: grid, time scheme, free stream.

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/flow/immersed_grid.hpp>

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

inline std::vector<SchemeStage> scheme_stages(ImmersedScheme scheme) {
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
  KOLMO_HD double u_at(double py) const { return u + rotation * (py - y); }
  KOLMO_HD double v_at(double px) const { return v - rotation * (px - x); }
};

}  // namespace detail

}  // namespace kolmo::flow
