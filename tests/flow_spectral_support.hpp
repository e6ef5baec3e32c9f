#pragma once
// Fields that the tests of the spectral solver start from.

#include <cmath>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/flow/spectral.hpp>

#include "expect_op_checks.hpp"

namespace kolmo_test {

template <class T>
double largest(const std::vector<T>& x) {
  double top = 0;
  for (const T& v : x) top = std::fmax(top, std::abs(static_cast<double>(v)));
  return top;
}

template <class X, class Y>
double largest_difference(const std::vector<X>& x, const std::vector<Y>& y) {
  double top = x.size() == y.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < x.size() && i < y.size(); ++i)
    top = std::fmax(top, std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i])));
  return top;
}

/// f at the points (i h, j h) of the box [0, 2 pi)^2.
template <class V, class F>
V field_of(kolmo::index_t n, const F& f) {
  std::vector<typename V::Scalar> values;
  for (kolmo::index_t i = 0; i < n; ++i)
    for (kolmo::index_t j = 0; j < n; ++j) {
      const double h = kolmo::flow::two_pi / static_cast<double>(n);
      values.push_back(static_cast<typename V::Scalar>(f(h * static_cast<double>(i), h * static_cast<double>(j))));
    }
  return V::from(std::span<const typename V::Scalar>(values), kolmo::Shape{1, n, n});
}

/// A smooth vorticity of size about 8 with waves up to 5 per box.
inline double lively_vorticity(double x, double y) {
  return 1.7 * std::sin(x + 0.3) * std::cos(2 * y) + 2.1 * std::cos(3 * x - 2 * y + 1) - 2.6 * std::cos(4 * y) +
         1.3 * std::sin(2 * x + 5 * y + 2) + 0.9 * std::cos(4 * x + y);
}

template <class V>
V noise(const kolmo::Shape& shape, std::uint64_t seed, double scale = 1) {
  std::vector<typename V::Scalar> values;
  for (const double x : Numbers(seed).vector(static_cast<std::size_t>(shape.size())))
    values.push_back(static_cast<typename V::Scalar>(scale * x));
  return V::from(std::span<const typename V::Scalar>(values), shape);
}

inline double dot(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

}  // namespace kolmo_test
