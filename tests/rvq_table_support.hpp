#pragma once
// What the tests of residual encoding share: tables and vectors of random numbers.

#include <vector>

#include "expect_op_checks.hpp"

namespace kolmo_test {

using kolmo::index_t;
using kolmo::Shape;

template <class V>
V numbers(const Shape& shape, std::uint64_t seed, double scale = 1) {
  const auto values = Numbers(seed).vector(static_cast<std::size_t>(shape.size()));
  std::vector<typename V::Scalar> rounded;
  for (const double v : values) rounded.push_back(static_cast<typename V::Scalar>(scale * v));
  return V::from(std::span<const typename V::Scalar>(rounded), shape);
}

/// Stages of different sizes, every one finer than the one before.
template <class V>
std::vector<V> tables_of(const std::vector<index_t>& codes, index_t d) {
  std::vector<V> tables;
  double scale = 1;
  for (const index_t k : codes) {
    tables.push_back(numbers<V>({k, d}, 10 + tables.size(), scale));
    scale *= 0.6;
  }
  return tables;
}

}  // namespace kolmo_test
