#pragma once
// Comparing what the GPU computed with sums in double on the host, on parts of large tensors.

#include <vector>

#include <kolmo/core/tensor.hpp>
#include <kolmo/ops/shape.hpp>

#include "gpu_measure.hpp"

namespace gpu {

template <class V>
std::vector<double> doubles(const V& x) {
  const auto given = x.to_vector();
  std::vector<double> values;
  values.reserve(given.size());
  for (const auto& value : given) values.push_back(static_cast<double>(value));
  return values;
}

/// Elements from the beginning, the middle and the end of x, at most a thousand each.
template <class V>
std::vector<double> sampled(const V& x) {
  const V flat = x.contiguous().reshaped(kolmo::Shape{x.size()});
  const index_t n = x.size(), count = std::min<index_t>(n, 1000);
  std::vector<double> result;
  for (const index_t begin : {index_t{0}, (n - count) / 2, n - count})
    for (const double value : doubles(V(kolmo::slice(flat, 0, begin, begin + count)))) result.push_back(value);
  return result;
}

/// Error of 64 elements of c = a b, [m, k] by [k, n], relative to the largest of them.
template <class V>
double product_error(const V& a, const V& b, const V& c) {
  const index_t m = a.shape()[0], k = a.shape()[1], n = b.shape()[1];
  std::vector<double> actual, expected;
  const auto part = [](const V& x, int axis, index_t at) { return doubles(V(kolmo::slice(x, axis, at, at + 1))); };
  for (index_t r = 0; r < 8; ++r) {
    const index_t i = r * (m - 1) / 7;
    const std::vector<double> row = part(a, 0, i), result = part(c, 0, i);
    for (index_t s = 0; s < 8; ++s) {
      const index_t j = s * (n - 1) / 7;
      const std::vector<double> column = part(b, 1, j);
      double sum = 0;
      for (std::size_t l = 0; l < static_cast<std::size_t>(k); ++l) sum += row[l] * column[l];
      expected.push_back(sum);
      actual.push_back(result[static_cast<std::size_t>(j)]);
    }
  }
  return relative_error(actual, expected);
}

}  // namespace gpu
