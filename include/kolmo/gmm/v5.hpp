#pragma once
// The V5 data set: densities of max(X, Y) of two correlated normals with X ~ N(0, a), Y ~ N(d, b),
// correlation rho, on 96 points of [-15, 15]. a and b are variances in [0.1, 5].
//
// Of n samples the first 60 % are `basic` (broad laws), then 25 % `grid` (uniform over cells of the
// parameters), then 15 % `edge` (hard cases of five kinds). Sample i draws from fold_in(key, i) alone, so
// that the set does not depend on threads or on the order of generation.

#include <kolmo/core/random.hpp>
#include <kolmo/gmm/density_set.hpp>
#include <kolmo/gmm/max_of_normals.hpp>

namespace kolmo::gmm {

enum class Stratum : std::int32_t { basic = 0, grid = 1, edge = 2 };

struct V5Options {
  Grid grid{};
  /// Samples the closed form on a grid moved to its mean, up to a random part of a cell, as preparation
  /// leaves it. Without, the grid stays and up to 1.3 % of the mass of a row lies beyond its end.
  bool centred = false;
  /// Draws again until the trapezoid area is within `area_tolerance` of one: a density with another area is
  /// too narrow for the grid, or falls off it.
  bool reject_under_resolved = false;
  double area_tolerance = 1e-3;
  /// Mixes the strata.
  bool shuffle = false;
  /// Reads a and b as deviations, which gives wider and narrower densities than the original.
  bool deviations = false;

  /// What the library trains on.
  static V5Options training() {
    V5Options options;
    options.centred = options.reject_under_resolved = options.shuffle = true;
    return options;
  }
};

namespace detail {

/// Means, variances (or deviations) and correlation of one sample.
struct V5Parameters {
  double difference, a, b, rho;
};

KOLMO_HD inline V5Parameters draw_basic(Draws& draws) {
  V5Parameters p{};
  p.difference = draws.uniform(-10.0, 10.0);
  p.a = draws.log_uniform(0.1, 5.0);
  p.b = draws.log_uniform(0.1, 5.0);
  p.rho = draws.uniform(-0.999, 0.999);
  return p;
}

KOLMO_HD inline V5Parameters draw_grid(Draws& draws) {
  const double difference[8] = {-10.0, -6.0, -3.0, -1.0, 1.0, 3.0, 6.0, 10.0};
  const double variance[6] = {0.1, 0.3, 0.7, 1.5, 3.0, 5.0};
  const double rho[8] = {-0.999, -0.9, -0.7, -0.3, 0.3, 0.7, 0.9, 0.999};
  const int i = draws.choose(7), j = draws.choose(5), k = draws.choose(5), l = draws.choose(7);
  V5Parameters p{};
  p.difference = draws.uniform(difference[i], difference[i + 1]);
  p.a = draws.uniform(variance[j], variance[j + 1]);
  p.b = draws.uniform(variance[k], variance[k + 1]);
  p.rho = draws.uniform(rho[l], rho[l + 1]);
  return p;
}

KOLMO_HD inline void maybe_swap(Draws& draws, V5Parameters& p) {
  if (draws.unit() < 0.5) {
    const double a = p.a;
    p.a = p.b;
    p.b = a;
  }
}

KOLMO_HD inline V5Parameters draw_edge(Draws& draws) {
  V5Parameters p{};
  switch (draws.choose(5)) {
    case 0:  // unequal variances, strong correlation
      p.a = draws.uniform(0.1, 1.0);
      p.b = draws.uniform(3.0 * p.a, smaller(10.0 * p.a, 5.0));
      maybe_swap(draws, p);
      p.rho = draws.sign() * draws.uniform(0.8, 0.999);
      p.difference = draws.uniform(-10.0, 10.0);
      break;
    case 1:  // nearly full correlation
      p.a = draws.log_uniform(0.1, 5.0);
      p.b = draws.log_uniform(0.1, 5.0);
      p.rho = draws.sign() * draws.uniform(0.95, 0.999);
      p.difference = draws.uniform(-10.0, 10.0);
      break;
    case 2:  // far apart and narrow
      p.difference = draws.sign() * draws.uniform(6.0, 10.0);
      p.a = draws.uniform(0.1, 1.0);
      p.b = draws.uniform(0.1, 1.0);
      p.rho = draws.uniform(-0.999, 0.999);
      break;
    case 3: {  // both narrow, or both wide
      const bool narrow = draws.unit() < 0.5;
      p.a = narrow ? draws.uniform(0.1, 0.3) : draws.uniform(3.0, 5.0);
      p.b = narrow ? draws.uniform(0.1, 0.3) : draws.uniform(3.0, 5.0);
      p.rho = draws.uniform(-0.999, 0.999);
      p.difference = draws.uniform(-10.0, 10.0);
      break;
    }
    default:  // narrow against wide, far apart
      p.a = draws.uniform(0.1, 0.5);
      p.b = draws.uniform(2.0, 5.0);
      maybe_swap(draws, p);
      p.rho = draws.sign() * draws.uniform(0.7, 0.999);
      p.difference = draws.sign() * draws.uniform(4.0, 10.0);
      break;
  }
  return p;
}

/// The stratum of sample i of n.
KOLMO_HD constexpr Stratum v5_stratum(index_t i, index_t n) {
  return 10 * i < 6 * n ? Stratum::basic : 20 * i < 17 * n ? Stratum::grid : Stratum::edge;
}

template <class T>
struct V5Item {
  Key key;
  index_t samples;
  index_t points;
  double first, spacing, area_tolerance;
  bool centred, reject, deviations;
  const std::int64_t* order;  // null when not shuffled
  T* densities;
  T* offsets;
  double* parameters;
  std::int32_t* stratum;

  KOLMO_HD void operator()(index_t item) const {
    const index_t sample = order != nullptr ? order[item] : item;
    const Stratum part = v5_stratum(sample, samples);
    T* row = densities + item * points;
    Draws draws{fold_in(key, static_cast<std::uint64_t>(sample))};
    V5Parameters p{};
    double offset = 0.0, area = 0.0;
    // A draw is rejected with a probability of a few per cent; the bound only guards against a grid on
    // which nothing is resolved.
    for (int attempt = 0; attempt < 1000; ++attempt) {
      p = part == Stratum::basic ? draw_basic(draws) : part == Stratum::grid ? draw_grid(draws) : draw_edge(draws);
      p.rho = larger(smaller(p.rho, 0.999), -0.999);
      const Deviation x = deviations ? Deviation(p.a) : Deviation(Variance(p.a));
      const Deviation y = deviations ? Deviation(p.b) : Deviation(Variance(p.b));
      const MaxOfNormals z = MaxOfNormals::unchecked(0.0, x, p.difference, y, p.rho);
      if (centred) offset = static_cast<double>(static_cast<T>(z.moments().mean + spacing * draws.uniform(-0.5, 0.5)));
      area = sample_row(z, offset + first, spacing, points, row);
      if (!reject || abs(area - 1.0) <= area_tolerance) break;
    }
    scale_row(row, points, 1.0 / area);
    offsets[item] = static_cast<T>(offset);
    double* target = parameters + 5 * item;
    target[0] = 0.0;
    target[1] = p.a;
    target[2] = p.difference;
    target[3] = p.b;
    target[4] = p.rho;
    stratum[item] = static_cast<std::int32_t>(part);
  }
};

}  // namespace detail

/// `samples` densities by the V5 laws. Parameters are (0, a, d, b, rho); strata are Stratum as integers.
/// Throws ArgumentError for a negative number of samples or an impossible grid.
template <PlainTensor V>
DensitySet<V> make_v5(Key key, index_t samples, const V5Options& options = {}) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  check_grid(options.grid, "make_v5");
  if (samples < 0)
    throw ArgumentError("make_v5: the number of samples must not be negative, given " + std::to_string(samples));
  const index_t points = options.grid.points;
  DensitySet<V> set{options.grid, V::uninitialized(Shape{samples, points}), V::uninitialized(Shape{samples}),
                    DensitySet<V>::Parameters::uninitialized(Shape{samples, 5}),
                    DensitySet<V>::Integers::uninitialized(Shape{samples})};
  Tensor<std::int64_t, B> order;
  if (options.shuffle)
    order = Tensor<std::int64_t, B>::from(permutation(fold_in(key, static_cast<std::uint64_t>(samples)), samples));
  kolmo::detail::for_each_item<B>(
      samples,
      detail::V5Item<T>{key, samples, points, options.grid.first, options.grid.spacing(), options.area_tolerance,
                        options.centred, options.reject_under_resolved, options.deviations,
                        options.shuffle ? order.data() : nullptr, set.densities.mutable_data(),
                        set.offsets.mutable_data(), set.parameters.mutable_data(), set.stratum.mutable_data()});
  return set;
}

}  // namespace kolmo::gmm
