#pragma once
// Matrix products of tensors of any kind. Leading axes are batches and broadcast.

#include <kolmo/backend/eigen.hpp>
#include <kolmo/ops/elementwise.hpp>

namespace kolmo {

namespace detail {

/// Swaps the last two axes without copying.
struct TransposeLast {
  template <PlainTensor V>
  V operator()(const V& x) const {
    Shape shape = x.shape();
    Strides strides = x.strides();
    const int last = shape.rank() - 1;
    if (last < 1) return x;
    shape[last] = x.shape()[last - 1];
    shape[last - 1] = x.shape()[last];
    strides[last] = x.strides()[last - 1];
    strides[last - 1] = x.strides()[last];
    return x.view(shape, strides, 0);
  }
};

/// One operand as the packages take it: [rows, columns] with unit stride in one of them.
template <class V>
struct GemmOperand {
  V holder;
  bool transposed = false;
  index_t leading = 0;
  index_t batch_stride = 0;

  /// x has the full batch axes `batch`, possibly with stride zero, before its two matrix axes.
  GemmOperand(const V& x, const Shape& batch) {
    Strides strides{};
    Shape shape = batch;
    const int matrix = x.rank() - 2;
    const Strides repeated = batch_strides(x, batch);
    for (int i = 0; i < batch.rank(); ++i) strides[i] = repeated[i];
    for (int i = 0; i < 2; ++i) {
      strides[batch.rank() + i] = x.strides()[matrix + i];
      shape.push_back(x.shape()[matrix + i]);
    }
    holder = x.view(shape, strides, 0);
    if (!describe(batch)) {
      holder = holder.copy();
      describe(batch);
    }
  }

  const typename V::Scalar* data() const { return holder.data(); }

 private:
  static Strides batch_strides(const V& x, const Shape& batch) {
    Shape own;
    for (int i = 0; i < x.rank() - 2; ++i) own.push_back(x.shape()[i]);
    return broadcast_strides(own, x.strides(), batch);
  }

  bool describe(const Shape& batch) {
    const int last = holder.rank() - 1;
    if (last < 1) return false;
    const index_t rows = holder.shape()[last - 1], columns = holder.shape()[last];
    const index_t row_stride = holder.strides()[last - 1], column_stride = holder.strides()[last];
    if ((column_stride == 1 || columns == 1) && (row_stride >= columns || rows == 1)) {
      transposed = false;
      leading = rows == 1 ? larger(columns, index_t{1}) : row_stride;
    } else if ((row_stride == 1 || rows == 1) && (column_stride >= rows || columns == 1)) {
      transposed = true;
      leading = columns == 1 ? larger(rows, index_t{1}) : column_stride;
    } else {
      return false;
    }
    Shape merged = batch;
    Array<Strides, 1> strides{{holder.strides()}};
    merge_axes(merged, strides);
    if (merged.rank() > 1) return false;
    batch_stride = batch.size() == 1 ? 0 : strides[0][0];
    return true;
  }
};

struct CopyScalar {
  KOLMO_HD auto operator()(auto x) const { return x; }
};

struct Product {
  template <PlainTensor V>
  V operator()(const V& a, const V& b) const {
    return (*this)(a, b, V());
  }

  /// a b + bias; the rows of the result start as the bias, which saves a pass over it. No bias: a default tensor.
  template <PlainTensor V>
  V operator()(const V& a, const V& b, const V& bias) const {
    using T = typename V::Scalar;
    const index_t m = a.shape()[-2], k = a.shape()[-1], n = b.shape()[-1];
    // A stack of matrices times one matrix is one tall product.
    if (a.rank() > 2 && b.rank() == 2 && a.is_contiguous()) {
      const Shape flat{k == 0 ? 0 : a.size() / k, k};
      Shape shape = a.shape();
      shape[-1] = n;
      if (k != 0) return (*this)(a.reshaped(flat), b, bias).reshaped(shape);
    }
    Shape batch_a, batch_b;
    for (int i = 0; i < a.rank() - 2; ++i) batch_a.push_back(a.shape()[i]);
    for (int i = 0; i < b.rank() - 2; ++i) batch_b.push_back(b.shape()[i]);
    const Shape batch = broadcast(batch_a, batch_b, "matmul");
    Shape shape = batch;
    shape.push_back(m);
    shape.push_back(n);
    V result = V::uninitialized(shape);
    const GemmOperand<V> left(a, batch), right(b, batch);
    GemmCall<T> call;
    call.m = m;
    call.n = n;
    call.k = k;
    call.batch = batch.size();
    call.a = left.data();
    call.transpose_a = left.transposed;
    call.leading_a = left.leading;
    call.batch_stride_a = left.batch_stride;
    call.b = right.data();
    call.transpose_b = right.transposed;
    call.leading_b = right.leading;
    call.batch_stride_b = right.batch_stride;
    call.c = result.mutable_data();
    call.leading_c = larger(n, index_t{1});
    call.batch_stride_c = m * n;
    if (bias.has_value()) {
      apply_into(CopyScalar{}, result, bias);
      call.beta = ComputeOf<T>(1);
    }
    if (result.size() > 0) V::Backend::gemm(call);
    return result;
  }
};

/// [..., rows, columns] as one tall matrix.
struct FlattenRows {
  template <PlainTensor V>
  V operator()(const V& x) const {
    const index_t columns = x.shape()[-1];
    return x.reshaped(Shape{columns == 0 ? 0 : x.size() / columns, columns});
  }
};

/// a^T g summed over the batch: with a single matrix b, one tall product instead of many and a sum.
template <Value A, Value G>
auto product_gradient_right(const A& a, const G& gradient, const Shape& shape) {
  if (shape.rank() == 2 && a.rank() > 2) {
    const FlattenRows rows;
    return bilinear(Product{}, linear(TransposeLast{}, linear(rows, a)), linear(rows, gradient));
  }
  return sum_to(bilinear(Product{}, linear(TransposeLast{}, a), gradient), shape);
}

template <Value A, Value B>
struct ProductPullBack {
  A a;
  B b;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<2>& wanted) const {
    return std::make_tuple(
        wanted[0] ? as_kind<G>(sum_to(bilinear(Product{}, gradient, linear(TransposeLast{}, b)), a.shape())) : G(),
        wanted[1] ? as_kind<G>(product_gradient_right(a, gradient, b.shape())) : G());
  }
};

inline void check_product(const Shape& a, const Shape& b, const char* name) {
  if (a.rank() < 2 || b.rank() < 2)
    throw ShapeError(std::string(name) + ": expected matrices, given shapes " + a.to_string() + " and " +
                     b.to_string() + "; add an axis to a vector with unsqueeze");
  if (a[-1] != b[-2])
    throw ShapeError(std::string(name) + ": the columns of " + a.to_string() + " must equal the rows of " +
                     b.to_string());
}

}  // namespace detail

/// Product of the last two axes: [..., m, k] times [..., k, n]. Throws ShapeError when they do not fit.
template <TensorLike A, TensorLike B>
auto matmul(const A& a, const B& b) {
  detail::check_product(a.shape(), b.shape(), "matmul");
  return record(bilinear(detail::Product{}, value(a), value(b)),
                detail::ProductPullBack<ValueOf<A>, ValueOf<B>>{value(a), value(b)}, a, b);
}

namespace detail {

template <Value X, Value W>
struct AffinePullBack {
  X x;
  W weight;
  Shape bias;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<3>& wanted) const {
    const auto product = ProductPullBack<X, W>{x, weight}(gradient, Wanted<2>{{wanted[0], wanted[1]}});
    return std::make_tuple(std::get<0>(product), std::get<1>(product), wanted[2] ? sum_to(gradient, bias) : G());
  }
};

}  // namespace detail

/// x W + b with x [..., in], W [in, out], b [out]: the linear layer as one recorded operation.
/// Throws ShapeError when the shapes do not fit.
template <TensorLike X, TensorLike W, TensorLike C>
auto affine(const X& x, const W& weight, const C& bias) {
  detail::check_product(x.shape(), weight.shape(), "affine");
  if (bias.rank() != 1 || bias.shape()[0] != weight.shape()[-1])
    throw ShapeError("affine: expected a bias of shape [" + std::to_string(weight.shape()[-1]) + "], given " +
                     bias.shape().to_string());
  const detail::AffinePullBack<ValueOf<X>, ValueOf<W>> pull_back{value(x), value(weight), bias.shape()};
  if constexpr (PlainTensor<ValueOf<X>> && PlainTensor<ValueOf<W>> && PlainTensor<ValueOf<C>>)
    return record(detail::Product{}(value(x), value(weight), value(bias)), pull_back, x, weight, bias);
  else
    return record(apply(fn::Add{}, bilinear(detail::Product{}, value(x), value(weight)), value(bias)), pull_back, x,
                  weight, bias);
}

}  // namespace kolmo
