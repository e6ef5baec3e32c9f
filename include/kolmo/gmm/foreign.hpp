#pragma once
// Densities that are not maxima of normals, with closed forms: what a fitter trained on one law must also
// cope with. Every family is brought to a drawn mean and deviation:
//
//   student_t        degrees of freedom 3 to 12           laplace         a kink at the mode
//   gamma            shape 1.5 to 8                       skew_normal     shape -6 to 6
//   lognormal        log deviation 0.2 to 0.6             bimodal         two normals, widths 1 : 5
//   smoothed_uniform edges of width 0.1 to 0.4            random_mixture  two to five normals

#include <optional>

#include <kolmo/core/random.hpp>
#include <kolmo/gmm/density_set.hpp>
#include <kolmo/gmm/mixture_functions.hpp>

namespace kolmo::gmm {

enum class Family : std::int32_t {
  student_t = 0,
  gamma = 1,
  lognormal = 2,
  smoothed_uniform = 3,
  bimodal = 4,
  laplace = 5,
  skew_normal = 6,
  random_mixture = 7,
};

inline constexpr int family_count = 8;

constexpr const char* describe(Family family) {
  switch (family) {
    case Family::student_t:
      return "Student t";
    case Family::gamma:
      return "gamma";
    case Family::lognormal:
      return "lognormal";
    case Family::smoothed_uniform:
      return "smoothed uniform";
    case Family::bimodal:
      return "bimodal, widths 1:5";
    case Family::laplace:
      return "Laplace";
    case Family::skew_normal:
      return "skew normal";
    case Family::random_mixture:
      return "random mixture";
  }
  return "unknown family";
}

namespace detail {

/// log Gamma(x), x > 0, by Lanczos' series (g = 7, nine terms), to about 1e-14.
KOLMO_HD inline double log_gamma(double x) {
  const double c[8] = {676.5203681218851,  -1259.1392167224028,  771.32342877765313,    -176.61502916214059,
                       12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7};
  double sum = 0.99999999999980993;
  for (int i = 0; i < 8; ++i) sum += c[i] / (x + static_cast<double>(i));
  const double t = x + 6.5;
  return 0.91893853320467274178 + (x - 0.5) * log(t) - t + log(sum);
}

}  // namespace detail

/// One density of a family: location + scale X, with X the family's standard form.
struct ForeignDensity {
  static constexpr int most_components = 5;
  /// location, scale, then the shape: one number, or weights, means and deviations of five components.
  static constexpr int parameter_count = 2 + 3 * most_components;

  Family family = Family::student_t;
  Array<double, parameter_count> parameters{};
  double log_constant = 0.0;  ///< logarithm of the normalising constant, of families that have one

  KOLMO_HD const double* shape() const { return parameters.elements + 2; }

  KOLMO_HD double density(double z) const { return standard((z - parameters[0]) / parameters[1]) / parameters[1]; }

  /// Sets the constant that belongs to family and shape, as after reading parameters back from a set.
  KOLMO_HD void set_constant() {
    const double s = parameters[2];
    if (family == Family::student_t)
      log_constant = detail::log_gamma(0.5 * (s + 1.0)) - detail::log_gamma(0.5 * s) - 0.5 * log(3.14159265358979323846 * s);
    else
      log_constant = family == Family::gamma ? -detail::log_gamma(s) : 0.0;
  }

  /// Draws a shape and sets location and scale so that the density has the given mean and deviation; a
  /// mixture gets twice the deviation, so that its narrow components are resolved like the other families.
  template <class Draws>
  KOLMO_HD static ForeignDensity draw(Family family, Draws& draws, double mean, double deviation) {
    ForeignDensity d;
    d.family = family;
    double* s = d.parameters.elements + 2;
    switch (family) {
      case Family::student_t:
        s[0] = draws.uniform(3.0, 12.0);
        break;
      case Family::gamma:
        s[0] = draws.uniform(1.5, 8.0);
        break;
      case Family::lognormal:
        s[0] = draws.uniform(0.2, 0.6);
        break;
      case Family::smoothed_uniform:
        s[0] = draws.uniform(0.1, 0.4);
        break;
      case Family::laplace:
        break;
      case Family::skew_normal:
        s[0] = draws.uniform(-6.0, 6.0);
        break;
      case Family::bimodal: {
        const double first = draws.uniform(0.2, 0.8), distance = draws.uniform(0.7, 1.4) * draws.sign();
        s[0] = first;
        s[1] = 1.0 - first;
        s[most_components] = -distance;
        s[most_components + 1] = distance;
        s[2 * most_components] = 0.3;
        s[2 * most_components + 1] = 1.5;
        fill_absent(s, 2);
        break;
      }
      case Family::random_mixture: {
        const int count = 2 + draws.choose(most_components - 1);
        double total = 0.0;
        for (int k = 0; k < count; ++k) {
          s[k] = draws.uniform(0.1, 1.0);
          total += s[k];
          s[most_components + k] = draws.uniform(-2.0, 2.0);
          s[2 * most_components + k] = draws.log_uniform(0.3, 1.2);
        }
        for (int k = 0; k < count; ++k) s[k] /= total;
        fill_absent(s, count);
        break;
      }
    }
    d.set_constant();
    const Array<double, 2> moments = d.standard_moments();
    const double factor = family == Family::bimodal || family == Family::random_mixture ? 2.0 : 1.0;
    d.parameters[1] = factor * deviation / sqrt(moments[1]);
    d.parameters[0] = mean - d.parameters[1] * moments[0];
    return d;
  }

  /// Density of the standard form.
  KOLMO_HD double standard(double x) const {
    const double* s = shape();
    switch (family) {
      case Family::student_t:
        return exp(log_constant - 0.5 * (s[0] + 1.0) * log(1.0 + x * x / s[0]));
      case Family::gamma:
        return x > 0.0 ? exp(log_constant + (s[0] - 1.0) * log(x) - x) : 0.0;
      case Family::lognormal:
        return x > 0.0 ? normal_density(log(x), 0.0, s[0]) / x : 0.0;
      case Family::smoothed_uniform:
        return 0.5 * (normal_cdf((x + 1.0) / s[0]) - normal_cdf((x - 1.0) / s[0]));
      case Family::laplace:
        return 0.5 * exp(-abs(x));
      case Family::skew_normal:
        return 2.0 * normal_density(x, 0.0, 1.0) * normal_cdf(s[0] * x);
      case Family::bimodal:
      case Family::random_mixture:
        return mixture_density(s, s + most_components, s + 2 * most_components, most_components, x);
    }
    return 0.0;
  }

  /// Mean and variance of the standard form.
  KOLMO_HD Array<double, 2> standard_moments() const {
    const double* s = shape();
    switch (family) {
      case Family::student_t:
        return {{0.0, s[0] / (s[0] - 2.0)}};
      case Family::gamma:
        return {{s[0], s[0]}};
      case Family::lognormal: {
        const double v = s[0] * s[0];
        return {{exp(0.5 * v), (exp(v) - 1.0) * exp(v)}};
      }
      case Family::smoothed_uniform:
        return {{0.0, 1.0 / 3.0 + s[0] * s[0]}};
      case Family::laplace:
        return {{0.0, 2.0}};
      case Family::skew_normal: {
        const double delta = s[0] / sqrt(1.0 + s[0] * s[0]) * 0.79788456080286535588;
        return {{delta, 1.0 - delta * delta}};
      }
      case Family::bimodal:
      case Family::random_mixture: {
        const auto moments = mixture_central_moments(s, s + most_components, s + 2 * most_components, most_components);
        return {{moments[1], moments[2]}};
      }
    }
    return {{0.0, 1.0}};
  }

 private:
  KOLMO_HD static void fill_absent(double* s, int count) {
    for (int k = count; k < most_components; ++k) {
      s[k] = s[most_components + k] = 0.0;
      s[2 * most_components + k] = 1.0;
    }
  }
};

struct ForeignOptions {
  Grid grid{};
  /// Deviations are log-uniform between these (twice these for mixtures).
  double least_deviation = 0.5;
  double most_deviation = 1.5;
  /// Means are uniform in [-most_mean, most_mean].
  double most_mean = 5.0;
  /// Moves the grid to the mean of each density, up to a random part of a cell.
  bool centred = false;
  /// Draws from one family instead of all in turn.
  std::optional<Family> only{};
};

namespace detail {

template <class T>
struct ForeignItem {
  Key key;
  index_t points;
  double first, spacing, least_deviation, most_deviation, most_mean;
  bool centred;
  int only;  // -1 for all in turn
  T* densities;
  T* offsets;
  double* parameters;
  std::int32_t* stratum;

  KOLMO_HD void operator()(index_t item) const {
    Draws draws{fold_in(key, static_cast<std::uint64_t>(item))};
    const Family family = static_cast<Family>(only < 0 ? static_cast<int>(item % family_count) : only);
    const double mean = draws.uniform(-most_mean, most_mean);
    const double deviation = draws.log_uniform(least_deviation, most_deviation);
    double offset = centred ? mean + spacing * draws.uniform(-0.5, 0.5) : 0.0;
    offset = static_cast<double>(static_cast<T>(offset));
    const ForeignDensity d = ForeignDensity::draw(family, draws, mean, deviation);
    T* row = densities + item * points;
    const double area = sample_row(d, offset + first, spacing, points, row);
    scale_row(row, points, 1.0 / area);
    offsets[item] = static_cast<T>(offset);
    for (int i = 0; i < ForeignDensity::parameter_count; ++i)
      parameters[item * ForeignDensity::parameter_count + i] = d.parameters[i];
    stratum[item] = static_cast<std::int32_t>(family);
  }
};

}  // namespace detail

/// `samples` densities, the families in turn unless one is asked for; strata are Family as integers. Throws ArgumentError for a
/// negative number of samples, an impossible grid, or deviations that are not positive and ordered.
template <PlainTensor V>
DensitySet<V> make_foreign(Key key, index_t samples, const ForeignOptions& options = {}) {
  check_grid(options.grid, "make_foreign");
  if (samples < 0)
    throw ArgumentError("make_foreign: the number of samples must not be negative, given " + std::to_string(samples));
  if (!(options.least_deviation > 0.0) || !(options.most_deviation >= options.least_deviation) ||
      !(options.most_mean >= 0.0))
    throw ArgumentError("make_foreign: expected 0 < least_deviation <= most_deviation and most_mean >= 0, given " +
                        std::to_string(options.least_deviation) + ", " + std::to_string(options.most_deviation) + ", " +
                        std::to_string(options.most_mean));
  const index_t points = options.grid.points;
  DensitySet<V> set{options.grid, V::uninitialized(Shape{samples, points}), V::uninitialized(Shape{samples}),
                    DensitySet<V>::Parameters::uninitialized(Shape{samples, ForeignDensity::parameter_count}),
                    DensitySet<V>::Integers::uninitialized(Shape{samples})};
  kolmo::detail::for_each_item<typename V::Backend>(
      samples, detail::ForeignItem<typename V::Scalar>{
                   key, points, options.grid.first, options.grid.spacing(), options.least_deviation,
                   options.most_deviation, options.most_mean, options.centred,
                   options.only ? static_cast<int>(*options.only) : -1, set.densities.mutable_data(),
                   set.offsets.mutable_data(), set.parameters.mutable_data(), set.stratum.mutable_data()});
  return set;
}

}  // namespace kolmo::gmm
