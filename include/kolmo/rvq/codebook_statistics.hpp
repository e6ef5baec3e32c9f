#pragma once
// What an update of a codebook needs to know of the vectors that chose its codes: hits, sums, and the vectors
// themselves with their errors, from which codes out of use start again. Collected by passes that change nothing; those
// of micro-batches and workers add up to those of the whole.

#include <vector>

#include <kolmo/ops/groups.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/rvq/codebook.hpp>

namespace kolmo::rvq {

/// What one update needs to know of its vectors. Sums are kept in double, so that those of parts, added, are those of
/// the whole.
template <PlainTensor V>
struct UpdateStatistics {
  using Sums = Tensor<double, typename V::Backend>;

  Sums hits;     ///< [K], n_k
  Sums sums;     ///< [K, d], sum of the vectors that chose code k; of unit vectors for the cosine distance
  V candidates;  ///< [n, d], the vectors, from which codes out of use start again
  V errors;      ///< [n], squared error of each; -1 for one that does not count
};

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

/// hits[k] and sums[k, :] over the rows that `order` lists for code k, in their order.
template <class T>
struct SumHitsKernel {
  const T* x;
  const index_t* order;
  const index_t* starts;
  double* hits;
  double* sums;
  index_t columns;
  KOLMO_HD void operator()(index_t k) const {
    double* to = sums + k * columns;
    for (index_t i = 0; i < columns; ++i) to[i] = 0;
    for (index_t j = starts[k]; j < starts[k + 1]; ++j) {
      const T* from = x + order[j] * columns;
      for (index_t i = 0; i < columns; ++i) to[i] += static_cast<double>(from[i]);
    }
    hits[k] = static_cast<double>(starts[k + 1] - starts[k]);
  }
};

/// errors[row] = |x - c|^2, -1 where no code was chosen; 0 for a vector without a direction where directions count.
template <class T>
struct CandidateErrorKernel {
  const T* x;
  const T* codewords;
  const Code* codes;
  T* errors;
  index_t columns;
  bool unit;
  KOLMO_HD void operator()(index_t row) const {
    const index_t code = codes[row];
    const T* vector = x + row * columns;
    errors[row] = code < 0 ? T(-1) : squared_distance(vector, codewords + code * columns, columns);
    if (!unit || code < 0) return;
    bool zero = true;
    for (index_t i = 0; i < columns; ++i) zero = zero && vector[i] == T(0);
    if (zero) errors[row] = T(0);
  }
};

template <class M>
struct MaskCodesKernel {
  const Code* codes;
  const M* mask;
  Code* result;
  KOLMO_HD void operator()(index_t i) const { result[i] = mask[i] == M(0) ? Code(-1) : codes[i]; }
};

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// Hits and sums of the vectors x [n, d] that chose `codes` [n] in this codebook; a vector with code -1 does not count.
/// Call it before the codewords change: errors are measured against them. Nothing changes, and derivatives do not
/// pass. Throws ShapeError, and ArgumentError for a code that does not exist.
template <TensorLike C, TensorLike X, PlainTensor I>
auto collect(const Codebook<C>& book, const X& x, const I& codes) {
  using V = BaseOf<C>;
  using T = typename V::Scalar;
  using B = typename V::Backend;
  using Sums = Tensor<double, B>;
  const V table = detach(book.codewords).contiguous();
  V vectors = detail::vectors_for<V>(table.shape(), detach(x), "collect");
  const index_t n = vectors.shape()[0], count = table.shape()[0], columns = table.shape()[1];
  if (!(codes.shape() == Shape{n}))
    throw ShapeError("collect: " + std::to_string(n) + " vectors, expected as many codes, given " +
                     codes.shape().to_string());
  const auto chosen = codes.contiguous();
  const auto groups = group_rows(chosen, count);
  if (book.options.distance == Distance::cosine) vectors = detail::unit_rows(vectors);
  UpdateStatistics<V> result{Sums::uninitialized(Shape{count}), Sums::uninitialized(table.shape()), vectors,
                             V::uninitialized(Shape{n})};
  kolmo::detail::for_each_item<B>(
      count, detail::SumHitsKernel<T>{vectors.data(), groups.order.data(), groups.starts.data(),
                                      result.hits.mutable_data(), result.sums.mutable_data(), columns});
  B::for_each(n,
              detail::CandidateErrorKernel<T>{vectors.data(), table.data(), chosen.data(), result.errors.mutable_data(),
                                              columns, book.options.distance == Distance::cosine});
  return result;
}

/// The same for the vectors whose `mask` [n] is not zero; padding does not count.
template <TensorLike C, TensorLike X, PlainTensor I, PlainTensor M>
auto collect(const Codebook<C>& book, const X& x, const I& codes, const M& mask) {
  if (!(mask.shape() == codes.shape()))
    throw ShapeError("collect: expected a mask of shape " + codes.shape().to_string() + ", given " +
                     mask.shape().to_string());
  const auto chosen = codes.contiguous();
  const auto counted = mask.contiguous();
  auto kept = I::uninitialized(codes.shape());
  I::Backend::for_each(codes.size(),
                       detail::MaskCodesKernel<typename M::Scalar>{chosen.data(), counted.data(), kept.mutable_data()});
  return collect(book, x, kept);
}

/// The statistics of two parts of a batch as those of the whole: micro-batches, or workers in the order of their parts.
/// Throws ShapeError when they are of different codebooks.
template <PlainTensor V>
UpdateStatistics<V> add(const UpdateStatistics<V>& a, const UpdateStatistics<V>& b) {
  if (!(a.sums.shape() == b.sums.shape()))
    throw ShapeError("add: statistics of codebooks " + a.sums.shape().to_string() + " and " +
                     b.sums.shape().to_string());
  return {apply(fn::Add{}, a.hits, b.hits), apply(fn::Add{}, a.sums, b.sums),
          concat(0, std::vector<V>{a.candidates, b.candidates}), concat(0, std::vector<V>{a.errors, b.errors})};
}

}  // namespace kolmo::rvq
