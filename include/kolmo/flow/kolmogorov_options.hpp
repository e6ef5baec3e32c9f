#pragma once
// What a forced two-dimensional flow on the periodic square [0, length)^2 is:
//
//   du/dt + (u . grad) u = -grad p + nu laplace u + f,   div u = 0,   f = (A sin(k_f y), 0) - mu u,   nu = 1/reynolds.
//
// The defaults are the Kolmogorov flow of the data set of Rozet and Louppe (2023). With A = mu = 0 it is decaying
// turbulence. Array axes: the one before the last is x, the last is y.

#include <string>

#include <kolmo/ad/module.hpp>
#include <kolmo/core/math.hpp>
#include <kolmo/error.hpp>

namespace kolmo::flow {

inline constexpr double two_pi = 6.283185307179586476925287;

struct KolmogorovOptions {
  index_t size = 256;              ///< cells along each side
  double reynolds = 1000;          ///< 1/viscosity; infinity for none
  double drag = 0.1;               ///< mu, the rate of the linear drag
  double forcing_amplitude = 1;    ///< A
  index_t forcing_wavenumber = 4;  ///< waves of the forcing along the box: k_f = 2 pi forcing_wavenumber / length
  double length = two_pi;          ///< of the box's sides

  double viscosity() const { return 1 / reynolds; }
  /// Side of a cell.
  double spacing() const { return length / static_cast<double>(size); }
  /// Wave number of the longest wave in the box.
  double fundamental() const { return two_pi / length; }
  /// k_f.
  double forcing_frequency() const { return fundamental() * static_cast<double>(forcing_wavenumber); }
  /// Speed of the laminar flow u = U0 sin(k_f y); infinite when neither viscosity nor drag limits it.
  double laminar_speed() const {
    const double k = forcing_frequency();
    return forcing_amplitude / (viscosity() * k * k + drag);
  }

  friend bool operator==(const KolmogorovOptions&, const KolmogorovOptions&) = default;

  static void fields(auto&& f, auto&... s) {
    f(option("size"), s.size...);
    f(option("reynolds"), s.reynolds...);
    f(option("drag"), s.drag...);
    f(option("forcing_amplitude"), s.forcing_amplitude...);
    f(option("forcing_wavenumber"), s.forcing_wavenumber...);
    f(option("length"), s.length...);
  }
};

/// The same flow without forcing and drag.
inline KolmogorovOptions decaying_turbulence(KolmogorovOptions options = {}) {
  options.forcing_amplitude = 0;
  options.drag = 0;
  return options;
}

/// Throws ArgumentError that names the option, its value and what it may be.
inline void validate(const KolmogorovOptions& o) {
  const auto require = [](bool good, const char* name, const std::string& value, const char* expected) {
    if (!good)
      throw ArgumentError(std::string("KolmogorovOptions: ") + name + " must be " + expected + ", given " + value);
  };
  require(o.size >= 4 && o.size <= (index_t{1} << 20), "size", std::to_string(o.size), "from 4 to 2^20 cells");
  require(o.reynolds > 0, "reynolds", std::to_string(o.reynolds), "positive (infinity for a flow without viscosity)");
  require(o.drag >= 0 && is_finite(o.drag), "drag", std::to_string(o.drag), "finite and not negative");
  require(is_finite(o.forcing_amplitude), "forcing_amplitude", std::to_string(o.forcing_amplitude), "finite");
  require(o.forcing_wavenumber >= 0 && 2 * o.forcing_wavenumber < o.size, "forcing_wavenumber",
          std::to_string(o.forcing_wavenumber),
          "at least 0 and less than half of size, or the grid does not resolve it");
  require(o.length > 0 && is_finite(o.length), "length", std::to_string(o.length), "positive and finite");
}

}  // namespace kolmo::flow
