#pragma once
// The distance between two sets of numbers as distributions.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <kolmo/error.hpp>

namespace kolmo {

/// The Wasserstein distance of order one between two sets of equally likely numbers, which may differ in size: the area
/// between their distribution functions. Throws ArgumentError for an empty set or a NaN.
inline double wasserstein_distance(std::vector<double> a, std::vector<double> b) {
  if (a.empty() || b.empty()) throw ArgumentError("wasserstein_distance: both sets need at least one number");
  for (const auto* set : {&a, &b})
    for (const double v : *set)
      if (v != v) throw ArgumentError("wasserstein_distance: a NaN has no place on the line");
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  double sum = 0, at = 0;
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    // The next step of either distribution function.
    const double of_a = static_cast<double>(i + 1) / static_cast<double>(a.size());
    const double of_b = static_cast<double>(j + 1) / static_cast<double>(b.size());
    const double next = std::min(of_a, of_b);
    sum += (next - at) * std::abs(a[i] - b[j]);
    at = next;
    // Equal fractions must step together whatever the rounding.
    const std::size_t cross_a = (i + 1) * b.size(), cross_b = (j + 1) * a.size();
    if (cross_a <= cross_b) ++i;
    if (cross_b <= cross_a) ++j;
  }
  return sum;
}

}  // namespace kolmo
