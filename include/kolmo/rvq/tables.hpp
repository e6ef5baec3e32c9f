#pragma once
// What the tables of a residual quantizer, C_0, C_1, ..., decode to: x^ = C_0[k_0] + C_1[k_1] + ...

#include <span>

#include <kolmo/ops/nearest.hpp>
#include <kolmo/rvq/code.hpp>

namespace kolmo::rvq {

namespace detail {

using namespace kolmo::detail;

/// One stage of x^, its sum in the order of the stages; -1 adds nothing.
template <class T>
struct AddCodewordKernel {
  const T* table;
  const Code* codes;
  T* sum;
  index_t d, stages, stage;
  KOLMO_HD void operator()(index_t item) const {
    const index_t row = item / d, j = item % d;
    const Code k = codes[row * stages + stage];
    if (k >= 0) sum[item] = sum[item] + table[k * d + j];
  }
};

struct LoadBadCode {
  const Code* codes;
  index_t columns, column, extent, rows;
  KOLMO_HD index_t operator()(index_t, index_t row) const {
    const Code k = codes[row * columns + column];
    return k < -1 || k >= extent ? row : rows;
  }
};

template <PlainTensor V>
void check_tables(std::span<const V> tables, const char* operation) {
  if (tables.empty()) throw ArgumentError(std::string(operation) + ": no tables given; expected at least one stage");
  for (std::size_t q = 0; q < tables.size(); ++q) {
    const Shape& shape = tables[q].shape();
    if (shape.rank() != 2 || shape[0] < 1 || shape[1] < 1 || shape[1] != tables[0].shape()[-1])
      throw ShapeError(std::string(operation) + ": expected tables [codes, d] of one d, stage " + std::to_string(q) +
                       " has " + shape.to_string() + " and stage 0 " + tables[0].shape().to_string());
  }
}

/// Throws ArgumentError for a code outside [-1, K) of its stage.
template <PlainTensor V, class I>
void check_codes(std::span<const V> tables, const I& codes, const char* operation) {
  using B = typename V::Backend;
  const auto stages = static_cast<index_t>(tables.size());
  if (codes.rank() != 2 || codes.shape()[1] > stages)
    throw ShapeError(std::string(operation) + ": expected codes [n, stages] of at most " + std::to_string(stages) +
                     " stages, given " + codes.shape().to_string());
  const index_t n = codes.shape()[0], columns = codes.shape()[1];
  if (n == 0) return;
  for (index_t q = 0; q < columns; ++q) {
    const index_t extent = tables[static_cast<std::size_t>(q)].shape()[0];
    auto first = Tensor<index_t, B>::uninitialized(Shape{});
    B::reduce(1, n, LoadBadCode{codes.data(), columns, q, extent, n}, KeepSmallest{}, n,
              StoreRow<index_t>{first.mutable_data()});
    const index_t row = first.item();
    if (row < n)
      throw ArgumentError(std::string(operation) + ": the code " +
                          std::to_string(codes.view(Shape{}, Strides{}, row * columns + q).item()) + " of vector " +
                          std::to_string(row) + " in stage " + std::to_string(q) + " is not in [0, " +
                          std::to_string(extent) + "), nor -1 for none");
  }
}

template <class T>
struct SquaredDistanceKernel {
  const T* x;
  const T* y;
  T* distance;
  index_t d;
  KOLMO_HD void operator()(index_t row) const {
    double sum = 0;
    for (index_t j = 0; j < d; ++j) {
      const double difference = static_cast<double>(x[row * d + j]) - static_cast<double>(y[row * d + j]);
      sum = multiply_add(difference, difference, sum);
    }
    distance[row] = static_cast<T>(sum);
  }
};

}  // namespace detail

/// The sum of the codewords, in the order of the stages: codes [n, A] with A at most the number of tables [K_q, d] give
/// [n, d]. A code of -1 adds nothing. Throws ShapeError, or ArgumentError for a code outside its table.
template <PlainTensor V>
V decode_residual(std::span<const V> tables, const CodesOf<V>& codes) {
  using T = typename V::Scalar;
  detail::check_tables(tables, "decode_residual");
  const auto source = codes.contiguous();
  detail::check_codes(tables, source, "decode_residual");
  const index_t n = codes.shape()[0], d = tables[0].shape()[1];
  V result = V::zeros(Shape{n, d});
  for (index_t q = 0; q < codes.shape()[1]; ++q) {
    const V table = tables[static_cast<std::size_t>(q)].contiguous();
    V::Backend::for_each(n * d, detail::AddCodewordKernel<T>{table.data(), source.data(), result.mutable_data(), d,
                                                             codes.shape()[1], q});
  }
  return result;
}
template <PlainTensor V>
V decode_residual(const std::vector<V>& tables, const CodesOf<V>& codes) {
  return decode_residual(std::span<const V>(tables), codes);
}

/// |x - x^|^2 of every row of x [n, d] and its decoded codes [n, A]: [n], summed in double. Throws as decode_residual.
template <PlainTensor V>
V squared_errors(std::span<const V> tables, const V& x, const CodesOf<V>& codes) {
  const V decoded = decode_residual(tables, codes), source = x.contiguous();
  if (!(decoded.shape() == x.shape()))
    throw ShapeError("squared_errors: the codes decode to " + decoded.shape().to_string() + ", given x " +
                     x.shape().to_string());
  V result = V::uninitialized(Shape{x.shape()[0]});
  V::Backend::for_each(result.size(), detail::SquaredDistanceKernel<typename V::Scalar>{
                                          source.data(), decoded.data(), result.mutable_data(), x.shape()[1]});
  return result;
}
template <PlainTensor V>
V squared_errors(const std::vector<V>& tables, const V& x, const CodesOf<V>& codes) {
  return squared_errors(std::span<const V>(tables), x, codes);
}

}  // namespace kolmo::rvq
