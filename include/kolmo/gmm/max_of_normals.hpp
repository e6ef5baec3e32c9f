#pragma once
// The maximum Z = max(X, Y) of two correlated normals: density and distribution function in closed form or
// by quadrature, moments by Clark (1961).
//
//   f(z) = phi(u)/sx Phi((v - rho u)/q) + phi(v)/sy Phi((u - rho v)/q)
//   u = (z - mx)/sx,  v = (z - my)/sy,  q = sqrt(1 - rho^2)
//
// Statistical timing analysis produces these densities. Deviations and variances are different types here,
// because mistaking one for the other gives a plausible wrong answer.

#include <string>

#include <kolmo/core/math.hpp>
#include <kolmo/error.hpp>
#include <kolmo/gmm/mixture_functions.hpp>

namespace kolmo::gmm {

/// sigma^2.
struct Variance {
  double value;
  KOLMO_HD explicit constexpr Variance(double v) : value(v) {}
};

/// sigma; a Variance converts by its square root, a plain number does not.
struct Deviation {
  double value;
  KOLMO_HD explicit constexpr Deviation(double v) : value(v) {}
  KOLMO_HD Deviation(Variance v) : value(sqrt(v.value)) {}
};

/// Contributions to the density from X being the larger, and from Y.
struct WinnerDensities {
  double x, y;
};

/// Mean, variance and the probability that X wins.
struct ClarkMoments {
  double mean, variance, x_wins;
};

/// max(X, Y) with X ~ N(mean_x, deviation_x^2), Y ~ N(mean_y, deviation_y^2) and correlation rho.
class MaxOfNormals {
 public:
  /// Throws ArgumentError unless deviations are positive, |rho| <= 1 and everything is finite.
  MaxOfNormals(double mean_x, Deviation deviation_x, double mean_y, Deviation deviation_y, double rho)
      : MaxOfNormals(mean_x, deviation_x.value, mean_y, deviation_y.value, rho) {
    if (!is_finite(mean_x) || !is_finite(mean_y) || !(sx_ > 0.0) || !(sy_ > 0.0) || !is_finite(sx_) ||
        !is_finite(sy_) || !(rho >= -1.0 && rho <= 1.0))
      throw ArgumentError(
          "MaxOfNormals: expected finite means, positive deviations and a correlation in [-1, 1], given means " +
          std::to_string(mx_) + ", " + std::to_string(my_) + ", deviations " + std::to_string(sx_) + ", " +
          std::to_string(sy_) + ", correlation " + std::to_string(rho));
  }

  /// The same without checks, for kernels.
  KOLMO_HD static MaxOfNormals unchecked(double mean_x, Deviation deviation_x, double mean_y, Deviation deviation_y,
                                         double rho) {
    return MaxOfNormals(mean_x, deviation_x.value, mean_y, deviation_y.value, rho);
  }

  KOLMO_HD double density(double z) const {
    const WinnerDensities parts = winner_densities(z);
    return parts.x + parts.y;
  }

  KOLMO_HD WinnerDensities winner_densities(double z) const {
    const double u = (z - mx_) * inverse_x_, v = (z - my_) * inverse_y_;
    return {factor_x_ * exp(-0.5 * u * u) * normal_cdf((v - rho_ * u) * inverse_q_),
            factor_y_ * exp(-0.5 * v * v) * normal_cdf((u - rho_ * v) * inverse_q_)};
  }

  KOLMO_HD ClarkMoments moments() const {
    const double theta = sqrt(larger(sx_ * sx_ + sy_ * sy_ - 2.0 * rho_ * sx_ * sy_, 0.0));
    const double alpha = theta > 0.0 ? (mx_ - my_) / theta : (mx_ > my_ ? 40.0 : mx_ < my_ ? -40.0 : 0.0);
    const double p = normal_cdf(alpha), r = normal_cdf(-alpha);
    const double phi = 0.39894228040143267794 * exp(-0.5 * alpha * alpha);
    const double mean = mx_ * p + my_ * r + theta * phi;
    // About the mean, where nothing cancels when means are large.
    const double dx = mx_ - mean, dy = my_ - mean;
    return {mean, (dx * dx + sx_ * sx_) * p + (dy * dy + sy_ * sy_) * r + (dx + dy) * theta * phi, p};
  }

  /// Integral of the density over [begin, end] by Gauss-Legendre quadrature with 16 nodes on each of
  /// `pieces` parts; about 1e-9 when a part is shorter than a third of the narrower deviation.
  KOLMO_HD double probability(double begin, double end, int pieces) const {
    const double x[8] = {0.0950125098376374, 0.2816035507792589, 0.4580167776572274, 0.6178762444026438,
                         0.7554044083550030, 0.8656312023878318, 0.9445750230732326, 0.9894009349916499};
    const double w[8] = {0.1894506104550685, 0.1826034150449236, 0.1691565193950025, 0.1495959888165767,
                         0.1246289712555339, 0.0951585116824928, 0.0622535239386479, 0.0271524594117541};
    const double half = 0.5 * (end - begin) / pieces;
    double sum = 0.0;
    for (int piece = 0; piece < pieces; ++piece) {
      const double middle = begin + (2.0 * piece + 1.0) * half;
      double value[16];
      for (int i = 0; i < 16; ++i) {
        const double node = i < 8 ? -x[i] : x[i - 8];
        value[i] = density(middle + half * node) * (i < 8 ? w[i] : w[i - 8]);
      }
      double part = 0.0;
      for (int i = 0; i < 16; ++i) part += value[i];
      sum += part;
    }
    return sum * half;
  }

  /// P(Z <= z), to about 1e-9.
  KOLMO_HD double distribution(double z) const {
    const double low = lower_end(), high = upper_end();
    if (z <= low) return 0.0;
    if (z >= high) return 1.0;
    // The winner changes over q deviations; parts must resolve that too.
    const double step = 0.3 * smaller(sx_, sy_) * larger(1.0 / inverse_q_, 0.05);
    return smaller(probability(low, z, static_cast<int>(smaller((z - low) / step, 20000.0)) + 1), 1.0);
  }

  /// Smallest and largest z between which all but about 1e-15 of the mass lies.
  KOLMO_HD double lower_end() const { return larger(mx_ - 9.0 * sx_, my_ - 9.0 * sy_); }
  KOLMO_HD double upper_end() const { return larger(mx_ + 9.0 * sx_, my_ + 9.0 * sy_); }

 private:
  KOLMO_HD MaxOfNormals(double mx, double sx, double my, double sy, double rho)
      : mx_(mx),
        my_(my),
        sx_(sx),
        sy_(sy),
        rho_(rho),
        inverse_x_(1.0 / sx),
        inverse_y_(1.0 / sy),
        inverse_q_(1.0 / sqrt(larger(1.0 - rho * rho, 1e-12))),
        factor_x_(0.39894228040143267794 / sx),
        factor_y_(0.39894228040143267794 / sy) {}

  double mx_, my_, sx_, sy_, rho_;
  double inverse_x_, inverse_y_, inverse_q_, factor_x_, factor_y_;
};

}  // namespace kolmo::gmm
