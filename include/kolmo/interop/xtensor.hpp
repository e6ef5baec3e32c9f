#pragma once
// xtensor arrays as tensors and tensors as xtensor views, without copies.

#include <vector>

#if __has_include(<xtensor/containers/xadapt.hpp>)
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xarray.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#endif

#include <kolmo/core/tensor.hpp>

namespace kolmo::interop {

/// A tensor over the memory of a row-major xtensor array, which must outlive it. Never written.
/// Throws ShapeError for more than max_rank axes.
template <BackendMemory B, class T>
Tensor<T, B> borrow(const xt::xarray<T>& array) {
  return Tensor<T, B>::borrow(array.data(), Shape(array.shape().begin(), array.shape().end()));
}

/// A read-only xtensor view of a host tensor of any layout. The tensor must outlive it.
template <class T, BackendMemory B>
auto as_xtensor(const Tensor<T, B>& x) {
  const std::vector<std::size_t> shape(x.shape().begin(), x.shape().end());
  const std::vector<std::ptrdiff_t> strides(x.strides().begin(), x.strides().begin() + x.rank());
  // The size is that of the shape: with any other xtensor would try to resize the borrowed memory.
  return xt::adapt(x.data(), static_cast<std::size_t>(x.size()), xt::no_ownership(), shape, strides);
}

}  // namespace kolmo::interop
