#pragma once
// Eigen objects as tensors and tensors as Eigen objects, without copies.

#include <Eigen/Core>

#include <kolmo/core/tensor.hpp>

namespace kolmo::interop {

/// Row-major matrix of Eigen, the layout of tensors.
template <class T>
using RowMajorMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A tensor [rows, columns] over the memory of a row-major Eigen matrix, which must outlive it. Never written.
template <BackendMemory B, class T>
Tensor<T, B> borrow(const RowMajorMatrix<T>& matrix) {
  return Tensor<T, B>::borrow(matrix.data(), Shape{matrix.rows(), matrix.cols()});
}

/// A read-only Eigen view of a host tensor of rank 2 whose rows are contiguous. The tensor must outlive it.
/// Throws ShapeError for another rank or layout.
template <class T, BackendMemory B>
Eigen::Map<const RowMajorMatrix<T>, 0, Eigen::OuterStride<>> as_eigen(const Tensor<T, B>& x) {
  if (x.rank() != 2) throw ShapeError("as_eigen: expected a tensor of rank 2, given shape " + x.shape().to_string());
  if (x.shape()[1] > 1 && x.strides()[1] != 1)
    throw ShapeError("as_eigen: the rows of the view are not contiguous; pass x.contiguous()");
  return {x.data(), x.shape()[0], x.shape()[1], Eigen::OuterStride<>(x.strides()[0])};
}

}  // namespace kolmo::interop
