#pragma once
// Synthetic sets of vectors to quantize. The law of a set is fixed by `law`, the vectors by
// `key`: two keys are a training set and held-out vectors of one law.
//
//   gaussian   N(0, I): G64 with 64 columns
//   mix8       64 components in 8 dimensions, weights proportional to 1 / (k + 4)
//   cl64       512 components in 64 dimensions, weights proportional to 1 / (k + 8)
//   heavy      8 dimensions, heavy tails, every column of mean 0 and deviation 1 over the set

#include <algorithm>
#include <cmath>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/core/tensor.hpp>

namespace synthetic {

namespace detail {

template <class T>
kolmo::Tensor<T, kolmo::Cpu> tensor_of_rows(const std::vector<double>& values, kolmo::index_t rows,
                                            kolmo::index_t columns) {
  std::vector<T> result(values.size());
  std::transform(values.begin(), values.end(), result.begin(), [](double x) { return static_cast<T>(x); });
  return kolmo::Tensor<T, kolmo::Cpu>::from(std::span<const T>(result), kolmo::Shape{rows, columns});
}

/// A mixture whose components have variances falling along the axes, turned by a reflection of their own.
struct ReflectedMixture {
  std::size_t columns;
  double decay;  ///< deviation of axis j is exp(-j / decay)
  std::vector<double> cumulative, centres, scales, normals;

  ReflectedMixture(std::size_t components, std::size_t dimension, double offset, double log_scale, double axis_decay,
                   kolmo::Key law)
      : columns(dimension), decay(axis_decay) {
    const auto keys = kolmo::split<3>(law);
    double sum = 0;
    for (std::size_t k = 0; k < components; ++k) {
      cumulative.push_back(sum += 1 / (static_cast<double>(k) + offset));
      scales.push_back(std::exp(log_scale + 0.3 * kolmo::normal<double>(keys[1], k)));
      double squares = 0;
      for (std::size_t j = 0; j < dimension; ++j) {
        centres.push_back(kolmo::normal<double>(keys[0], k * dimension + j));
        normals.push_back(kolmo::normal<double>(keys[2], k * dimension + j));
        squares += normals.back() * normals.back();
      }
      for (std::size_t j = 0; j < dimension; ++j) normals[k * dimension + j] /= std::sqrt(squares);
    }
    for (double& c : cumulative) c /= sum;
  }

  std::vector<double> sample(std::size_t count, kolmo::Key key) const {
    const auto keys = kolmo::split<2>(key);
    std::vector<double> result(count * columns), e(columns);
    for (std::size_t i = 0; i < count; ++i) {
      const double u = kolmo::uniform<double>(keys[0], i);
      const auto k = std::min<std::size_t>(
          static_cast<std::size_t>(std::lower_bound(cumulative.begin(), cumulative.end(), u) - cumulative.begin()),
          cumulative.size() - 1);
      double along = 0;
      for (std::size_t j = 0; j < columns; ++j) {
        e[j] = scales[k] * std::exp(-static_cast<double>(j) / decay) * kolmo::normal<double>(keys[1], i * columns + j);
        along += e[j] * normals[k * columns + j];
      }
      for (std::size_t j = 0; j < columns; ++j)
        result[i * columns + j] = centres[k * columns + j] + e[j] - 2 * along * normals[k * columns + j];
    }
    return result;
  }
};

}  // namespace detail

template <class T = float>
kolmo::Tensor<T, kolmo::Cpu> gaussian(kolmo::index_t n, kolmo::index_t columns, kolmo::Key key) {
  std::vector<double> values(static_cast<std::size_t>(n * columns));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = kolmo::normal<double>(key, i);
  return detail::tensor_of_rows<T>(values, n, columns);
}

template <class T = float>
kolmo::Tensor<T, kolmo::Cpu> g64(kolmo::index_t n, kolmo::Key key) {
  return gaussian<T>(n, 64, key);
}

template <class T = float>
kolmo::Tensor<T, kolmo::Cpu> mix8(kolmo::index_t n, kolmo::Key key, kolmo::Key law = {8}) {
  const detail::ReflectedMixture mixture(64, 8, 4, std::log(0.25), 6, law);
  return detail::tensor_of_rows<T>(mixture.sample(static_cast<std::size_t>(n), key), n, 8);
}

template <class T = float>
kolmo::Tensor<T, kolmo::Cpu> cl64(kolmo::index_t n, kolmo::Key key, kolmo::Key law = {64}) {
  const detail::ReflectedMixture mixture(512, 64, 8, std::log(0.35), 48, law);
  return detail::tensor_of_rows<T>(mixture.sample(static_cast<std::size_t>(n), key), n, 64);
}

/// The largest values of 2e5 vectors and more are near 100.
template <class T = float>
kolmo::Tensor<T, kolmo::Cpu> heavy(kolmo::index_t n, kolmo::Key key, kolmo::Key law = {100}) {
  constexpr std::size_t columns = 8;
  const auto count = static_cast<std::size_t>(n);
  const auto keys = kolmo::split<2>(key);
  std::vector<double> matrix(columns * columns), values(count * columns, 0.0), means(columns), squares(columns);
  for (std::size_t i = 0; i < matrix.size(); ++i)
    matrix[i] = kolmo::normal<double>(law, i) / std::sqrt(static_cast<double>(columns));
  for (std::size_t i = 0; i < count; ++i) {
    const double length = std::exp(1.2 * kolmo::normal<double>(keys[0], i));
    for (std::size_t k = 0; k < columns; ++k) {
      const double g = length * kolmo::normal<double>(keys[1], i * columns + k);
      for (std::size_t j = 0; j < columns; ++j) values[i * columns + j] += g * matrix[k * columns + j];
    }
    for (std::size_t j = 0; j < columns; ++j) {
      means[j] += values[i * columns + j] / static_cast<double>(n);
      squares[j] += values[i * columns + j] * values[i * columns + j] / static_cast<double>(n);
    }
  }
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = 0; j < columns; ++j)
      values[i * columns + j] = (values[i * columns + j] - means[j]) / std::sqrt(squares[j] - means[j] * means[j]);
  return detail::tensor_of_rows<T>(values, n, columns);
}

}  // namespace synthetic
