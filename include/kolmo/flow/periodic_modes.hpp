#pragma once
// The Fourier modes of flows on the periodic square, in double precision on the host: what the diagnostics of
// spectra.hpp and budgets.hpp are computed from. Averages are over the box; |k| counts waves along the box unless it
// says otherwise.

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/flow/kolmogorov_options.hpp>
#include <kolmo/ops/fft_plan.hpp>

namespace kolmo::flow {

/// Where the values of a field stand in their cells of side h.
enum class VelocityGrid {
  collocated,  ///< all components at (i h, j h)
  staggered    ///< u at ((i+1) h, (j+1/2) h), v at ((i+1/2) h, (j+1) h), as in the finite-volume scheme
};

/// How an array is to be read.
struct FieldGeometry {
  double length = two_pi;  ///< of the sides of the box
  VelocityGrid grid = VelocityGrid::collocated;
};

namespace detail {

/// A complex number of the host.
struct Mode {
  double re = 0, im = 0;
  double square() const { return re * re + im * im; }
  friend Mode operator*(Mode a, Mode b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
  friend Mode operator+(Mode a, Mode b) { return {a.re + b.re, a.im + b.im}; }
  friend Mode operator-(Mode a, Mode b) { return {a.re - b.re, a.im - b.im}; }
  friend Mode operator*(double a, Mode b) { return {a * b.re, a * b.im}; }
};
/// Real part of conj(a) b.
inline double inner(Mode a, Mode b) { return a.re * b.re + a.im * b.im; }

/// The modes of one flow, scaled so that a field is the sum of mode e^{i k x} over all k; row kx = 0 .. n-1, column
/// ky = 0 .. n/2 at [kx * columns + ky].
struct FlowModes {
  index_t n = 0, columns = 0;
  double length = two_pi;
  bool from_vorticity = false;
  std::vector<Mode> u, v, vorticity;

  double fundamental() const { return two_pi / length; }
  /// Waves along x of a row: 0, 1, ..., then negative ones.
  index_t waves(index_t row) const { return 2 * row <= n ? row : row - n; }
  std::size_t place(index_t row, index_t column) const { return static_cast<std::size_t>(row * columns + column); }
  /// How often the mode of a column counts in sums over all modes.
  double weight(index_t column) const { return column == 0 || 2 * column == n ? 1 : 2; }
  /// Waves along the box of a mode.
  double modulus(index_t row, index_t column) const {
    return std::hypot(static_cast<double>(waves(row)), static_cast<double>(column));
  }
  index_t shell(index_t row, index_t column) const { return static_cast<index_t>(std::lround(modulus(row, column))); }
  index_t shells() const { return static_cast<index_t>(std::lround(std::sqrt(2.0) * static_cast<double>(n / 2))) + 1; }
  /// Wave numbers for derivatives; the highest one of an even grid has none.
  double kx(index_t row) const { return 2 * row == n ? 0 : fundamental() * static_cast<double>(waves(row)); }
  double ky(index_t column) const { return 2 * column == n ? 0 : fundamental() * static_cast<double>(column); }
  double k_square(index_t row, index_t column) const {
    const double k = fundamental() * modulus(row, column);
    return k * k;
  }
  /// Energy of a mode, without its weight.
  double energy(index_t row, index_t column) const {
    const std::size_t m = place(row, column);
    if (!from_vorticity) return 0.5 * (u[m].square() + v[m].square());
    return row == 0 && column == 0 ? 0 : 0.5 * vorticity[m].square() / k_square(row, column);
  }
  double enstrophy(index_t row, index_t column) const { return 0.5 * vorticity[place(row, column)].square(); }

  template <class F>
  void for_each(const F& f) const {
    for (index_t r = 0; r < n; ++r)
      for (index_t c = 0; c < columns; ++c) f(r, c);
  }
};

/// Modes of `batch` fields [n, n], scaled.
inline std::vector<Mode> modes_of(const double* fields, index_t batch, index_t n) {
  const index_t columns = n / 2 + 1;
  const RealFft2<double> fft(n, n);
  std::vector<double> raw(static_cast<std::size_t>(batch * n * 2 * columns));
  fft.template forward<Cpu>(batch, fields, raw.data());
  std::vector<Mode> modes(static_cast<std::size_t>(batch * n * columns));
  const double scale = 1 / (static_cast<double>(n) * static_cast<double>(n));
  for (index_t r = 0; r < batch * n; ++r)
    for (index_t c = 0; c < columns; ++c)
      modes[static_cast<std::size_t>(r * columns + c)] = {
          scale * raw[static_cast<std::size_t>(2 * r * columns + c)],
          scale * raw[static_cast<std::size_t>((2 * r + 1) * columns + c)]};
  return modes;
}

/// The field of modes on `points` x `points` points; more points than modes interpolate. Modes at n/2 are left out
/// then.
inline std::vector<double> field_of(const FlowModes& of, const std::vector<Mode>& modes, index_t points) {
  const index_t columns = points / 2 + 1;
  std::vector<double> raw(static_cast<std::size_t>(points * 2 * columns), 0),
      field(static_cast<std::size_t>(points * points));
  of.for_each([&](index_t r, index_t c) {
    if (points > of.n && (2 * r == of.n || 2 * c == of.n)) return;
    const index_t row = of.waves(r) < 0 ? of.waves(r) + points : of.waves(r);
    raw[static_cast<std::size_t>(2 * row * columns + c)] = modes[of.place(r, c)].re;
    raw[static_cast<std::size_t>((2 * row + 1) * columns + c)] = modes[of.place(r, c)].im;
  });
  RealFft2<double>(points, points).template inverse<Cpu>(1, raw.data(), field.data());
  return field;
}

template <PlainTensor X>
std::vector<double> host_doubles(const X& x) {
  const auto values = x.to_vector();
  return {values.begin(), values.end()};
}

inline bool is_velocity(const Shape& shape, const char* operation) {
  const bool velocity = shape.rank() == 4 && shape[1] == 2;
  if (!(velocity || shape.rank() == 3) || shape[-1] != shape[-2] || shape[-1] < 2)
    throw ShapeError(std::string(operation) +
                     ": expected vorticity [batch, n, n] or velocity [batch, 2, n, n], given " + shape.to_string());
  return velocity;
}

/// The modes of every flow of a batch.
template <PlainTensor X>
std::vector<FlowModes> flow_modes(const X& x, const FieldGeometry& geometry, const char* operation) {
  const bool velocity = is_velocity(x.shape(), operation);
  if (!(geometry.length > 0))
    throw ArgumentError(std::string(operation) + ": the length of the box must be positive, given " +
                        std::to_string(geometry.length));
  const index_t batch = x.shape()[0], n = x.shape()[-1], columns = n / 2 + 1;
  const std::vector<double> values = host_doubles(x);
  const auto modes = modes_of(values.data(), velocity ? 2 * batch : batch, n);
  const auto size = static_cast<std::size_t>(n * columns);
  std::vector<FlowModes> flows(static_cast<std::size_t>(batch));
  for (std::size_t b = 0; b < flows.size(); ++b) {
    FlowModes& flow = flows[b];
    flow.n = n;
    flow.columns = columns;
    flow.length = geometry.length;
    flow.from_vorticity = !velocity;
    flow.u.resize(size);
    flow.v.resize(size);
    flow.vorticity.resize(size);
    const Mode* const own = modes.data() + b * size * (velocity ? 2 : 1);
    const double h = geometry.length / static_cast<double>(n);
    flow.for_each([&](index_t r, index_t c) {
      const std::size_t m = flow.place(r, c);
      const double kx = flow.kx(r), ky = flow.ky(c);
      if (velocity) {
        flow.u[m] = own[m];
        flow.v[m] = own[size + m];
        if (geometry.grid == VelocityGrid::staggered) {
          const auto shifted = [](Mode a, double angle) { return a * Mode{std::cos(angle), -std::sin(angle)}; };
          flow.u[m] = shifted(flow.u[m], kx * h + ky * h / 2);
          flow.v[m] = shifted(flow.v[m], kx * h / 2 + ky * h);
        }
        flow.vorticity[m] = Mode{0, kx} * flow.v[m] - Mode{0, ky} * flow.u[m];
      } else {
        flow.vorticity[m] = own[m];
        const double k = flow.k_square(r, c);
        if (k > 0) {
          flow.u[m] = Mode{0, ky / k} * own[m];
          flow.v[m] = Mode{0, -kx / k} * own[m];
        }
      }
    });
  }
  return flows;
}

}  // namespace detail

}  // namespace kolmo::flow
