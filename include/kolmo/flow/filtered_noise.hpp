#pragma once
// The random initial velocity of the data set of Rozet and Louppe (2023): white noise per component, multiplied in
// Fourier space by LN(k)/k with a log-normal LN around the wave number `peak`, then projected and scaled to the largest
// speed, three times. Everything is computed in double, so that float and double runs start from the same field.

#include <cmath>

#include <kolmo/core/random.hpp>
#include <kolmo/flow/kolmogorov_options.hpp>
#include <kolmo/flow/staggered.hpp>
#include <kolmo/ops/reduce.hpp>

namespace kolmo::flow {

struct FilteredNoise {
  double peak = 4;           ///< waves along the box at the maximum of LN
  double variance = 0.25;    ///< of ln k
  double largest_speed = 3;  ///< largest (u[i, j]^2 + v[i, j]^2)^(1/2) of a trajectory
  int projections = 3;
};

namespace detail {

/// Standard normal numbers of one component of a trajectory, each with a key of its own.
struct FillNoise {
  Key key;
  index_t cells;
  index_t first;
  double* x;
  KOLMO_HD void operator()(index_t item) const {
    const index_t component = item / cells % 2, trajectory = first + item / (2 * cells);
    const auto of_trajectory = fold_in(key, static_cast<std::uint64_t>(trajectory));
    const auto of_component = fold_in(of_trajectory, static_cast<std::uint64_t>(component));
    x[item] = normal<double>(of_component, static_cast<std::uint64_t>(item % cells));
  }
};

template <class T>
struct ConvertFromDouble {
  const double* x;
  T* y;
  KOLMO_HD void operator()(index_t i) const { y[i] = static_cast<T>(x[i]); }
};

/// LN(k)/k up to a factor, [n/2 + 1, n/2 + 1], over the cells of the inverse transform.
inline std::vector<double> noise_gain(index_t n, const FilteredNoise& noise) {
  const index_t m = n / 2 + 1;
  std::vector<double> gain;
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < m; ++j) {
      const double k = std::sqrt(static_cast<double>(i * i + j * j));
      const double distance = std::log(noise.peak) + noise.variance - std::log(k);
      gain.push_back(i + j == 0 ? 0.0
                                : std::exp(-distance * distance / (2 * noise.variance)) / (k * k) /
                                      (static_cast<double>(n) * static_cast<double>(n)));
    }
  return gain;
}

}  // namespace detail

/// Initial velocities [count, 2, n, n] of the trajectories `first`, `first` + 1, ...; each depends on the key, its own
/// number and the options alone. Throws ArgumentError for a negative count or number and options out of their domain.
template <PlainTensor V>
V filtered_velocities(const KolmogorovOptions& flow, Key key, index_t first, index_t count,
                      const FilteredNoise& noise = {}) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  using Double = Tensor<double, B>;
  validate(flow);
  if (first < 0 || count < 0)
    throw ArgumentError("filtered_velocities: trajectories " + std::to_string(first) + " and " + std::to_string(count) +
                        " following were asked for; neither may be negative");
  if (!(noise.peak > 0) || !(noise.variance > 0) || !(noise.largest_speed > 0) || noise.projections < 0)
    throw ArgumentError("FilteredNoise: peak, variance and largest_speed must be positive, given " +
                        std::to_string(noise.peak) + ", " + std::to_string(noise.variance) + " and " +
                        std::to_string(noise.largest_speed) + ", projections not negative, given " +
                        std::to_string(noise.projections));
  const index_t n = flow.size;
  const Projection<double, B> project(n);
  const detail::PeriodicPoisson<double, B> poisson(n);
  const auto gain = Double::from(detail::noise_gain(n, noise));
  auto x = Double::uninitialized(Shape{count, 2, n, n});
  B::for_each(x.size(), detail::FillNoise{key, n * n, first, x.mutable_data()});
  kolmo::detail::for_each_part<B>(count, [&, data = x.mutable_data()](index_t begin, index_t part) {
    auto scratch = poisson.template scratch<double>(part * 2);
    poisson.filter(part * 2, gain, data + begin * 2 * n * n, scratch.mutable_data());
  });
  for (int i = 0; i < noise.projections; ++i) {
    x = project(x);
    const auto speed = sqrt(max(reshape(sum(x * x, {-3}), Shape{count, n * n}), -1));
    x = x * reshape(noise.largest_speed / speed, Shape{count, 1, 1, 1});
  }
  V y = V::uninitialized(x.shape());
  B::for_each(x.size(), detail::ConvertFromDouble<T>{x.data(), y.mutable_data()});
  return y;
}

/// The initial velocity [2, n, n] of one trajectory.
template <PlainTensor V>
V filtered_velocity(const KolmogorovOptions& flow, Key key, index_t trajectory = 0, const FilteredNoise& noise = {}) {
  return filtered_velocities<V>(flow, key, trajectory, 1, noise).reshaped(Shape{2, flow.size, flow.size});
}

}  // namespace kolmo::flow
