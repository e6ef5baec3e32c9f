#pragma once
// What is read off a flow past bodies: velocities at points, force histories with Strouhal number and amplitudes, wake
// length, separation angle, and the vortex impulse, whose change gives the force independently of the solver's own.

#include <cmath>
#include <vector>

#include <kolmo/flow/immersed_state.hpp>

namespace kolmo::flow {

/// Drag and lift coefficients over time.
struct ForceHistory {
  std::vector<double> time, drag, lift;

  void append(double t, double drag_coefficient, double lift_coefficient) {
    time.push_back(t);
    drag.push_back(drag_coefficient);
    lift.push_back(lift_coefficient);
  }
};

/// Averages over whole shedding cycles. Amplitudes are half the difference of extremes, averaged over cycles.
struct SheddingStatistics {
  index_t cycles = 0;
  double period = 0, strouhal = 0;
  double mean_drag = 0, drag_amplitude = 0;
  double mean_lift = 0, lift_amplitude = 0, lift_rms = 0;
};

namespace detail {

/// Integral over [a, b] of the polygon through (t, y).
inline double polygon_integral(const std::vector<double>& t, const std::vector<double>& y, double a, double b,
                               bool square, double shift) {
  double sum = 0;
  for (std::size_t i = 0; i + 1 < t.size(); ++i) {
    const double low = a > t[i] ? a : t[i], high = b < t[i + 1] ? b : t[i + 1];
    if (!(low < high)) continue;
    const double slope = (y[i + 1] - y[i]) / (t[i + 1] - t[i]);
    const double p = y[i] + slope * (low - t[i]) - shift, q = y[i] + slope * (high - t[i]) - shift;
    sum += (high - low) * (square ? (p * p + p * q + q * q) / 3 : 0.5 * (p + q));
  }
  return sum;
}

/// Times at which y - level passes zero upwards.
inline std::vector<double> upward_crossings(const std::vector<double>& t, const std::vector<double>& y, double level,
                                            double from) {
  std::vector<double> result;
  for (std::size_t i = 0; i + 1 < t.size(); ++i)
    if (t[i] >= from && y[i] < level && y[i + 1] >= level)
      result.push_back(t[i] + (t[i + 1] - t[i]) * (level - y[i]) / (y[i + 1] - y[i]));
  return result;
}

inline double mean_half_range(const std::vector<double>& t, const std::vector<double>& y,
                              const std::vector<double>& crossings) {
  double sum = 0;
  for (std::size_t c = 0; c + 1 < crossings.size(); ++c) {
    double low = 1e300, high = -1e300;
    for (std::size_t i = 0; i < t.size(); ++i)
      if (t[i] >= crossings[c] && t[i] <= crossings[c + 1]) {
        low = y[i] < low ? y[i] : low;
        high = y[i] > high ? y[i] : high;
      }
    sum += high > low ? 0.5 * (high - low) : 0;
  }
  return sum / static_cast<double>(crossings.size() - 1);
}

}  // namespace detail

/// Statistics of the history from time `from` on, between the first and the last upward passage of the lift through its
/// mean; cycles is 0, and the rest zero, where there are fewer than two passages or the lift is but round-off. The
/// Strouhal number is diameter/(speed period). Throws ArgumentError unless the columns have one length and times
/// increase.
inline SheddingStatistics shedding_statistics(const ForceHistory& history, double from, double diameter = 1,
                                              double speed = 1) {
  const std::vector<double>& t = history.time;
  if (history.drag.size() != t.size() || history.lift.size() != t.size())
    throw ArgumentError("shedding_statistics: " + std::to_string(t.size()) + " times, " +
                        std::to_string(history.drag.size()) + " drag and " + std::to_string(history.lift.size()) +
                        " lift coefficients; give as many of each");
  for (std::size_t i = 0; i + 1 < t.size(); ++i)
    if (!(t[i] < t[i + 1])) throw ArgumentError("shedding_statistics: times must increase");
  SheddingStatistics result;
  if (t.size() < 3 || !(from < t.back())) return result;
  from = from > t.front() ? from : t.front();
  double level = detail::polygon_integral(t, history.lift, from, t.back(), false, 0) / (t.back() - from);
  std::vector<double> crossings;
  // The mean over whole cycles, from the mean over everything.
  for (int pass = 0; pass < 4; ++pass) {
    crossings = detail::upward_crossings(t, history.lift, level, from);
    if (crossings.size() < 2) return result;
    level = detail::polygon_integral(t, history.lift, crossings.front(), crossings.back(), false, 0) /
            (crossings.back() - crossings.front());
  }
  const double begin = crossings.front(), end = crossings.back(), length = end - begin;
  result.cycles = static_cast<index_t>(crossings.size()) - 1;
  result.period = length / static_cast<double>(result.cycles);
  result.strouhal = diameter / (speed * result.period);
  result.mean_drag = detail::polygon_integral(t, history.drag, begin, end, false, 0) / length;
  result.mean_lift = level;
  result.lift_rms = std::sqrt(detail::polygon_integral(t, history.lift, begin, end, true, level) / length);
  result.drag_amplitude = detail::mean_half_range(t, history.drag, crossings);
  result.lift_amplitude = detail::mean_half_range(t, history.lift, crossings);
  // The lift of a symmetric wake is round-off, of up to 1e-4 in float, which has passages but no frequency.
  if (result.lift_amplitude <= 5e-4 * std::abs(result.mean_drag)) return {};
  return result;
}

struct Velocity {
  double u = 0, v = 0;
};

/// Fluxes of a state on the host, to be asked for velocities anywhere.
class VelocityField {
 public:
  template <class T, class B>
  VelocityField(const ImmersedGrid& grid, const ImmersedState<Tensor<T, B>>& state) : grid_(grid) {
    const std::vector<T> flux = state.flux.to_vector();
    if (static_cast<index_t>(flux.size()) != grid.levels * grid.fluxes())
      throw ShapeError("VelocityField: " + std::to_string(flux.size()) + " fluxes, but the grid has " +
                       std::to_string(grid.levels * grid.fluxes()));
    flux_.assign(flux.begin(), flux.end());
  }

  const ImmersedGrid& grid() const { return grid_; }

  /// Velocity at a point, bilinear between edges of the finest level that has it. Throws ArgumentError outside of all.
  Velocity at(double x, double y) const {
    for (index_t l = 0; l < grid_.levels; ++l) {
      const double d = grid_.spacing(l), a = (x - grid_.left(l)) / d, b = (y - grid_.bottom(l)) / d;
      if (!(a >= 0.5 && b >= 0.5 && a <= static_cast<double>(grid_.nx) - 0.5 &&
            b <= static_cast<double>(grid_.ny) - 0.5))
        continue;
      const double* q = flux_.data() + l * grid_.fluxes();
      return {bilinear(q, grid_.ny, a, b - 0.5, grid_.nx, grid_.ny - 1) / d,
              bilinear(q + grid_.fluxes_x(), grid_.ny + 1, a - 0.5, b, grid_.nx - 1, grid_.ny) / d};
    }
    throw ArgumentError("VelocityField: the point (" + std::to_string(x) + ", " + std::to_string(y) +
                        ") lies outside of the grid");
  }

 private:
  static double bilinear(const double* q, index_t stride, double a, double b, index_t last_i, index_t last_j) {
    index_t i = static_cast<index_t>(a), j = static_cast<index_t>(b);
    i = i < last_i ? i : last_i - 1;
    j = j < last_j ? j : last_j - 1;
    const double s = a - static_cast<double>(i), t = b - static_cast<double>(j);
    const double* p = q + i * stride + j;
    return (1 - s) * ((1 - t) * p[0] + t * p[1]) + s * ((1 - t) * p[stride] + t * p[stride + 1]);
  }

  ImmersedGrid grid_;
  std::vector<double> flux_;
};

/// Distance from (x, y), the rear end of a body, along the x axis to where u turns positive: the length of the
/// recirculation behind it. 0 where there is none; the distance to the end of the grid where it reaches that far.
inline double wake_length(const VelocityField& field, double x, double y) {
  const ImmersedGrid& grid = field.grid();
  const double step = 0.5 * grid.spacing();
  const double end = grid.x(grid.levels - 1, static_cast<double>(grid.nx) - 0.5) - step;
  double before = 0;
  bool reversed = false;
  // Within 1.5 cells of the body the velocity is smeared.
  for (double s = 1.5 * grid.spacing(); x + s < end; s += step) {
    const double u = field.at(x + s, y).u;
    if (reversed && u >= 0) return s - step * u / (u - before);
    if (u < 0) reversed = true;
    if (!reversed && s > 4 * grid.spacing()) return 0;
    before = u;
  }
  return reversed ? end - x : 0;
}

/// Angle in degrees, from the rear end of a circle, at which the flow on its upper side separates: where the slope of
/// the tangential velocity at the wall, extrapolated from 1.5 and 2.5 cells off, changes sign. 0 where it does not.
inline double separation_angle(const VelocityField& field, double centre_x, double centre_y, double radius) {
  const double d = field.grid().spacing(), degree = 0.017453292519943295769;
  double before = 0;
  for (double angle = 5; angle < 175; angle += 0.5) {
    const double c = std::cos(angle * degree), s = std::sin(angle * degree);
    double slope[2];
    for (int k = 0; k < 2; ++k) {
      const double off = (1.5 + k) * d, r = radius + off;
      const Velocity w = field.at(centre_x + r * c, centre_y + r * s);
      slope[k] = (w.u * s - w.v * c) / off;  // along the wall, upstream to downstream
    }
    const double wall = slope[0] + 1.5 * (slope[0] - slope[1]);
    if (angle > 5 && before < 0 && wall >= 0) return angle - 0.5 * wall / (wall - before);
    before = wall;
  }
  return 0;
}

struct Impulse {
  double x = 0, y = 0;
};

/// Integrals of y omega and -x omega over all levels. Minus their rate of change is the force on the fluid's
/// boundaries: on bodies, as long as no vorticity leaves the outermost level.
template <class T, class B>
Impulse vortex_impulse(const ImmersedGrid& grid, const ImmersedState<Tensor<T, B>>& state) {
  const std::vector<T> omega = state.vorticity.to_vector();
  if (static_cast<index_t>(omega.size()) != grid.levels * grid.nodes())
    throw ShapeError("vortex_impulse: " + std::to_string(omega.size()) + " vorticities, but the grid has " +
                     std::to_string(grid.levels * grid.nodes()));
  Impulse result;
  const auto side = [](index_t k, index_t begin, index_t n) {
    return k > begin && k < begin + n ? 2 : k == begin || k == begin + n ? 1 : 0;
  };
  std::size_t at = 0;
  for (index_t l = 0; l < grid.levels; ++l)
    for (index_t i = 1; i < grid.nx; ++i)
      for (index_t j = 1; j < grid.ny; ++j) {
        double weight = grid.spacing(l) * grid.spacing(l);
        if (l > 0) {
          const int across = side(i, grid.inner_x(), grid.nx / 2), up = side(j, grid.inner_y(), grid.ny / 2);
          if (across == 2 && up == 2) weight = 0;
          if (across * up == 2) weight *= 0.75;
          if (across == 1 && up == 1) weight *= 0.9375;
        }
        const double w = weight * static_cast<double>(omega[at++]);
        result.x += w * grid.y(l, static_cast<double>(j));
        result.y -= w * grid.x(l, static_cast<double>(i));
      }
  return result;
}

}  // namespace kolmo::flow
