#pragma once
// Steps in time of w' = L w + N(w), L = -(nu |k|^2 + mu) a negative number per Fourier mode, N the nonlinear term:
//
//   if_rk4      integrating factor with the classical Runge-Kutta method; exact where N = 0
//   etd_rk4     exponential time differencing (Cox and Matthews 2002), coefficients as in Kassam and Trefethen (2005)
//   cn_rk5      Crank-Nicolson for L in each of the five stages of a low-storage Runge-Kutta method of order four
//               (Carpenter and Kennedy 1994; Canuto et al. 2007); second order in L
//   cn_rk3      its relative of three stages
//   heun_cn     Heun and Crank-Nicolson (Chandler and Kerswell 2013); weakly unstable where N advects without damping
//
// A step is a sequence of stages. Stage s gets k = N of what stage s - 1 left as `next` (of w itself for s = 0), works
// on the mode's registers and leaves `next`; the last `next` is the new w. All coefficients are real, so parts are
// separate. `pull` is the adjoint: from the cotangent of `next` and of the registers to those of k and of the registers
// before.

#include <complex>
#include <string>
#include <vector>

#include <kolmo/core/dual_math.hpp>
#include <kolmo/error.hpp>

namespace kolmo::flow {

enum class SpectralStepper { if_rk4, etd_rk4, cn_rk5, cn_rk3, heun_cn };

/// Largest step times frequency for which a stepper's advection is stable, the extent of its stability region along the
/// imaginary axis. Heun's method has none; with 1 its amplitudes grow by at most an eighth a step where nothing damps.
inline double advective_stability(SpectralStepper stepper) {
  switch (stepper) {
    case SpectralStepper::if_rk4:
    case SpectralStepper::etd_rk4:
      return 2.83;
    case SpectralStepper::cn_rk5:
      return 3.34;
    case SpectralStepper::cn_rk3:
      return 1.73;
    case SpectralStepper::heun_cn:
      return 1.0;
  }
  return 0;
}

namespace detail {

template <class S>
struct StepRegisters {
  S w, a, b;
};

/// Which registers a stage reads and writes.
struct RegisterUse {
  bool read_w = false, read_a = false, read_b = false;
  bool write_w = false, write_a = false, write_b = false;
};

/// exp(L dt/2) is a product of a factor per row and one per column.
template <class T>
struct IntegratingFactorSteps {
  static constexpr int max_stages = 4;
  const T *half_x, *half_y;  // [cut + 1] each
  T dt;

  struct Mode {
    T e, dt;
  };
  struct Row {
    T x;
    const T* y;
    T dt;
    KOLMO_HD KOLMO_INLINE Mode mode(index_t ky) const { return {x * y[ky], dt}; }
  };
  KOLMO_HD Row row(index_t kx) const { return {half_x[kx], half_y, dt}; }
  KOLMO_HD int stages() const { return 4; }

  KOLMO_HD static constexpr RegisterUse use(int stage) {
    if (stage == 0) return {.read_w = true, .write_a = true};
    if (stage == 3) return {.read_a = true};
    return {.read_w = true, .read_a = true, .write_a = true};
  }
  KOLMO_HD static constexpr RegisterUse pull_use(int stage) {
    if (stage == 3) return {.write_a = true};
    if (stage == 2) return {.read_a = true, .write_w = true};
    return {.read_w = true, .read_a = true, .write_w = true};
  }

  template <int stage, class S>
  KOLMO_HD KOLMO_INLINE void advance(const Mode& m, StepRegisters<S>& r, const S& k, S& next) const {
    const T e = m.e, sixth = m.dt * T(1.0 / 6);
    if constexpr (stage == 0) {
      r.a = (r.w + k * sixth) * (e * e);
      next = (r.w + k * (T(0.5) * m.dt)) * e;
    } else if constexpr (stage == 1) {
      r.a = r.a + k * (T(2) * sixth * e);
      next = r.w * e + k * (T(0.5) * m.dt);
    } else if constexpr (stage == 2) {
      r.a = r.a + k * (T(2) * sixth * e);
      next = (r.w * e + k * m.dt) * e;
    } else {
      next = r.a + k * sixth;
    }
  }
  template <int stage, class S>
  KOLMO_HD KOLMO_INLINE void pull(const Mode& m, StepRegisters<S>& g, S& k, const S& next) const {
    const T e = m.e, sixth = m.dt * T(1.0 / 6);
    if constexpr (stage == 3) {
      g.a = next;
      k = next * sixth;
    } else if constexpr (stage == 2) {
      g.w = next * (e * e);
      k = g.a * (T(2) * sixth * e) + next * (m.dt * e);
    } else if constexpr (stage == 1) {
      g.w = g.w + next * e;
      k = g.a * (T(2) * sixth * e) + next * (T(0.5) * m.dt);
    } else {
      g.w = g.w + (g.a * e + next) * e;
      k = (g.a * (sixth * e) + next * (T(0.5) * m.dt)) * e;
    }
  }
};

/// Tables of z = L dt, [cut + 1, cut + 1] each.
template <class T>
struct ExponentialSteps {
  static constexpr int max_stages = 4;
  const T *half, *q, *alpha, *beta, *gamma;
  index_t columns;

  struct Mode {
    T e, q, alpha, beta, gamma;
  };
  struct Row {
    const T *half, *q, *alpha, *beta, *gamma;
    KOLMO_HD KOLMO_INLINE Mode mode(index_t ky) const { return {half[ky], q[ky], alpha[ky], beta[ky], gamma[ky]}; }
  };
  KOLMO_HD Row row(index_t kx) const {
    const index_t at = kx * columns;
    return {half + at, q + at, alpha + at, beta + at, gamma + at};
  }
  KOLMO_HD int stages() const { return 4; }

  KOLMO_HD static constexpr RegisterUse use(int stage) {
    if (stage == 0) return {.read_w = true, .write_a = true, .write_b = true};
    if (stage == 1) return {.read_w = true, .read_a = true, .write_a = true};
    if (stage == 2) return {.read_a = true, .read_b = true, .write_a = true};
    return {.read_a = true};
  }
  KOLMO_HD static constexpr RegisterUse pull_use(int stage) {
    if (stage == 3) return {.write_a = true};
    if (stage == 2) return {.read_a = true, .write_b = true};
    if (stage == 1) return {.read_a = true, .write_w = true};
    return {.read_w = true, .read_a = true, .read_b = true, .write_w = true};
  }

  template <int stage, class S>
  KOLMO_HD KOLMO_INLINE void advance(const Mode& m, StepRegisters<S>& r, const S& k, S& next) const {
    const T full = m.e * m.e, twice_beta = T(2) * m.beta;
    if constexpr (stage == 0) {
      r.a = r.w * full + k * m.alpha;
      r.b = r.w * full + k * ((m.e - T(1)) * m.q);
      next = r.w * m.e + k * m.q;
    } else if constexpr (stage == 1) {
      r.a = r.a + k * twice_beta;
      next = r.w * m.e + k * m.q;
    } else if constexpr (stage == 2) {
      r.a = r.a + k * twice_beta;
      next = r.b + k * (T(2) * m.q);
    } else {
      next = r.a + k * m.gamma;
    }
  }
  template <int stage, class S>
  KOLMO_HD KOLMO_INLINE void pull(const Mode& m, StepRegisters<S>& g, S& k, const S& next) const {
    const T full = m.e * m.e, twice_beta = T(2) * m.beta;
    if constexpr (stage == 3) {
      g.a = next;
      k = next * m.gamma;
    } else if constexpr (stage == 2) {
      g.b = next;
      k = g.a * twice_beta + next * (T(2) * m.q);
    } else if constexpr (stage == 1) {
      g.w = next * m.e;
      k = g.a * twice_beta + next * m.q;
    } else {
      g.w = g.w + (g.a + g.b) * full + next * m.e;
      k = g.a * m.alpha + g.b * ((m.e - T(1)) * m.q) + next * m.q;
    }
  }
};

/// Explicit stages of low storage with Crank-Nicolson for L: h <- N + B h, w <- (w + G dt h + m L w) / (1 - m L).
template <class T>
struct LowStorageSteps {
  static constexpr int max_stages = 5;
  const T *damping_x, *damping_y;  // L = -(x + y)
  T weight[max_stages];            // G dt
  T memory[max_stages];            // B
  T implicit[max_stages];          // m
  int count;

  struct Mode {
    T damping;
  };
  struct Row {
    T x;
    const T* y;
    KOLMO_HD KOLMO_INLINE Mode mode(index_t ky) const { return {x + y[ky]}; }
  };
  KOLMO_HD Row row(index_t kx) const { return {damping_x[kx], damping_y}; }
  KOLMO_HD int stages() const { return count; }

  KOLMO_HD static constexpr RegisterUse use(int stage) {
    return {.read_w = true, .read_a = stage > 0, .write_w = true, .write_a = true};
  }
  // The last stage of a step starts from zero cotangents of the registers.
  KOLMO_HD static constexpr RegisterUse pull_use(int) {
    return {.read_w = true, .read_a = true, .write_w = true, .write_a = true};
  }

  template <int stage, class S>
  KOLMO_HD KOLMO_INLINE void advance(const Mode& mode, StepRegisters<S>& r, const S& k, S& next) const {
    const T z = implicit[stage] * mode.damping, inverse = T(1) / (T(1) + z);
    if constexpr (stage == 0)
      r.a = k;
    else
      r.a = k + r.a * memory[stage];
    r.w = r.w * ((T(1) - z) * inverse) + r.a * (weight[stage] * inverse);
    next = r.w;
  }
  template <int stage, class S>
  KOLMO_HD KOLMO_INLINE void pull(const Mode& mode, StepRegisters<S>& g, S& k, const S& next) const {
    const T z = implicit[stage] * mode.damping, inverse = T(1) / (T(1) + z);
    const bool last = stage + 1 == count;
    const S w = last ? next : g.w + next;
    k = last ? w * (weight[stage] * inverse) : g.a + w * (weight[stage] * inverse);
    g.a = k * memory[stage];
    g.w = w * ((T(1) - z) * inverse);
  }
};

/// g = w + dt/2 L w; w1 = (g + dt N(w)) / (1 - dt/2 L); w+ = (g + dt/2 (N(w) + N(w1))) / (1 - dt/2 L).
template <class T>
struct HeunSteps {
  static constexpr int max_stages = 2;
  const T *damping_x, *damping_y;
  T dt;

  struct Mode {
    T z;
  };
  struct Row {
    T x;
    const T* y;
    T half;
    KOLMO_HD KOLMO_INLINE Mode mode(index_t ky) const { return {(x + y[ky]) * half}; }
  };
  KOLMO_HD Row row(index_t kx) const { return {damping_x[kx], damping_y, T(0.5) * dt}; }
  KOLMO_HD int stages() const { return 2; }

  KOLMO_HD static constexpr RegisterUse use(int stage) {
    if (stage == 0) return {.read_w = true, .write_a = true};
    return {.read_a = true};
  }
  KOLMO_HD static constexpr RegisterUse pull_use(int stage) {
    if (stage == 1) return {.write_a = true};
    return {.read_a = true, .write_w = true};
  }

  template <int stage, class S>
  KOLMO_HD KOLMO_INLINE void advance(const Mode& m, StepRegisters<S>& r, const S& k, S& next) const {
    const T inverse = T(1) / (T(1) + m.z), half = T(0.5) * dt * inverse;
    if constexpr (stage == 0) {
      r.a = r.w * ((T(1) - m.z) * inverse) + k * half;
      next = r.a + k * half;
    } else {
      next = r.a + k * half;
    }
  }
  template <int stage, class S>
  KOLMO_HD KOLMO_INLINE void pull(const Mode& m, StepRegisters<S>& g, S& k, const S& next) const {
    const T inverse = T(1) / (T(1) + m.z), half = T(0.5) * dt * inverse;
    if constexpr (stage == 1) {
      g.a = next;
      k = next * half;
    } else {
      g.w = (g.a + next) * ((T(1) - m.z) * inverse);
      k = g.a * half + next * (T(2) * half);
    }
  }
};

/// Coefficients of the low-storage methods: A (times of the stages), B, G.
struct LowStorageCoefficients {
  std::vector<double> time, memory, weight;
};

inline LowStorageCoefficients low_storage_coefficients(SpectralStepper stepper) {
  if (stepper == SpectralStepper::cn_rk3)
    return {{0, 1.0 / 3, 3.0 / 4, 1}, {0, -5.0 / 9, -153.0 / 128}, {1.0 / 3, 15.0 / 16, 8.0 / 15}};
  return {{0, 0.1496590219993, 0.3704009573644, 0.6222557631345, 0.9582821306748, 1},
          {0, -0.4178904745, -1.192151694643, -1.697784692471, -1.514183444257},
          {0.1496590219993, 0.3792103129999, 0.8229550293869, 0.6994504559488, 0.1530572479681}};
}

/// The functions of exponential time differencing at a real z <= 0, all over dt.
struct EtdCoefficients {
  double q, alpha, beta, gamma;
};

/// Means over a circle around z, on which the closed forms lose no digits (Kassam and Trefethen 2005).
inline EtdCoefficients etd_coefficients(double z) {
  constexpr int points = 32;  // of the upper half; the lower one holds the conjugates
  EtdCoefficients sum{0, 0, 0, 0};
  for (int i = 0; i < points; ++i) {
    const double angle = 3.14159265358979323846 * (i + 0.5) / points;
    const std::complex<double> c(z + std::cos(angle), std::sin(angle));
    const std::complex<double> e = std::exp(c), cube = c * c * c;
    sum.q += ((std::exp(c * 0.5) - 1.0) / c).real();
    sum.alpha += ((-4.0 - c + e * (4.0 - 3.0 * c + c * c)) / cube).real();
    sum.beta += ((2.0 + c + e * (c - 2.0)) / cube).real();
    sum.gamma += ((-4.0 - 3.0 * c - c * c + e * (4.0 - c)) / cube).real();
  }
  return {sum.q / points, sum.alpha / points, sum.beta / points, sum.gamma / points};
}

}  // namespace detail

}  // namespace kolmo::flow
