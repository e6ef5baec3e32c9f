#pragma once
// xtensor as the oracle of expect_op: its NumPy semantics were written by other people.

#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>

#include "expect_op_checks.hpp"

namespace kolmo_test {

using XArray = xt::xarray<double>;

inline XArray xarray_of(const Input& input) {
  std::vector<std::size_t> shape;
  for (const auto extent : input.shape) shape.push_back(static_cast<std::size_t>(extent));
  XArray x = XArray::from_shape(shape);
  std::copy(input.values.begin(), input.values.end(), x.begin());
  return x;
}

inline Result result_of_xarray(const XArray& y) {
  return {kolmo::Shape(y.shape().begin(), y.shape().end()), std::vector<double>(y.begin(), y.end())};
}

/// An oracle from a function of one xarray.
inline Oracle oracle(const std::function<XArray(const XArray&)>& f) {
  return [f](const Inputs& x) { return result_of_xarray(f(xarray_of(x[0]))); };
}
/// ... of two,
inline Oracle oracle2(const std::function<XArray(const XArray&, const XArray&)>& f) {
  return [f](const Inputs& x) { return result_of_xarray(f(xarray_of(x[0]), xarray_of(x[1]))); };
}
/// ... of three.
inline Oracle oracle3(const std::function<XArray(const XArray&, const XArray&, const XArray&)>& f) {
  return [f](const Inputs& x) { return result_of_xarray(f(xarray_of(x[0]), xarray_of(x[1]), xarray_of(x[2]))); };
}

}  // namespace kolmo_test
