#pragma once
// What the tests of the quantizer's gradients share: a quantizer whose codes stay fixed, and central differences.

#include <algorithm>
#include <cmath>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

#include "catch.hpp"

namespace kolmo_test::fixed_codes {

using namespace kolmo;
using V = Tensor<double, Cpu>;
using rvq::CodebookTraining;
using rvq::ResidualQuantizer;

inline constexpr index_t n = 12, d = 4;

inline V vectors(std::uint64_t seed, const Shape& shape = {n, d}) { return nn::normal_values<V>(Key{seed}, shape); }

/// Codebooks of random vectors, ever smaller; updates enough to be used.
inline ResidualQuantizer<V> quantizer(const std::vector<index_t>& codes, const rvq::QuantizerOptions& options = {},
                                      CodebookTraining training = CodebookTraining::ema) {
  ResidualQuantizer<V> result(d, codes, {.training = training}, options);
  init(Key{5}, result);
  double scale = 1;
  for (std::size_t q = 0; q < codes.size(); ++q, scale *= 0.7) {
    auto& book = result.stages[q].book;
    book.codewords = nn::normal_values<V>(fold_in(Key{6}, q), book.codewords.shape()) * scale;
    book.initialised = true;
    book.updates = 100;
  }
  return result;
}

/// d f / d x by central differences.
template <class F>
std::vector<double> differences(const F& f, const V& x) {
  std::vector<double> result;
  const auto values = x.to_vector();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double h = 1e-5;
    const auto at = [&](double shift) {
      auto moved = values;
      moved[i] += shift;
      return f(V::from(std::span<const double>(moved), x.shape()));
    };
    result.push_back((at(h) - at(-h)) / (2 * h));
  }
  return result;
}

inline void check_close(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  CHECK(largest < tolerance);
}

}  // namespace kolmo_test::fixed_codes
