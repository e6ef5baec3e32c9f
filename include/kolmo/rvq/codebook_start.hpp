#pragma once
// Where a codebook starts: greedy k-means++ and Lloyd's iteration on the vectors of its stage, with the counts already
// at their steady state, N_k = (vectors of code k) n / n_0 for n vectors in one update and n_0 used here. Batches too
// small for that are pooled first.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/ops/join.hpp>
#include <kolmo/rvq/codebook.hpp>
#include <kolmo/rvq/k_means.hpp>

namespace kolmo::rvq {

/// What a start found.
struct StartReport {
  index_t vectors = 0;     ///< given
  index_t used = 0;        ///< of them, for the iterations
  index_t iterations = 0;  ///< of Lloyd's
  double mse = 0;          ///< per number, over the vectors used
  std::vector<std::string> warnings;
};

/// Vectors of several batches, or of several workers in their order, until there are enough to start from. A part of
/// what a run must save, so that one killed while gathering goes on with the same bits.
template <class V>
struct VectorPool {
  std::optional<V> vectors;  ///< [n, d]; none before the first batch
  index_t batches = 0;

  static void fields(auto&& f, auto&... s) {
    f(state("vectors"), s.vectors...);
    f(state("batches"), s.batches...);
  }
  template <class U>
  using Rebind = VectorPool<U>;

  index_t size() const { return vectors.has_value() ? vectors->shape()[0] : 0; }

  /// Throws ShapeError unless the rows of x [n, d] are as long as those before.
  void add(const V& x) requires PlainTensor<V> {
    if (x.rank() != 2 || (vectors.has_value() && vectors->shape()[1] != x.shape()[1]))
      throw ShapeError("VectorPool: expected vectors [n, " +
                       (vectors.has_value() ? std::to_string(vectors->shape()[1]) : std::string("d")) + "], given " +
                       x.shape().to_string());
    vectors = vectors.has_value() ? concat(0, std::vector<V>{*vectors, x}) : x.contiguous();
    ++batches;
  }
};

namespace detail {

/// Unit rows without those of zeros, which have no direction to start from.
template <PlainTensor V>
V rows_with_direction(const V& x) {
  using T = typename V::Scalar;
  const auto columns = static_cast<std::ptrdiff_t>(x.shape()[1]);
  const std::vector<T> values = x.to_vector();
  std::vector<T> kept;
  for (auto row = values.begin(); row != values.end(); row += columns)
    if (std::any_of(row, row + columns, [](T value) { return value != T(0); }))
      kept.insert(kept.end(), row, row + columns);
  return V::from(std::span<const T>(kept), Shape{static_cast<index_t>(kept.size()) / x.shape()[1], x.shape()[1]});
}

}  // namespace detail

/// Starts a codebook from vectors x [n_0, d]; use at least eight per code, pooled over batches if need be.
/// `vectors_per_update` is the number of vectors that updates will get, as many as x has unless given. Fewer different
/// vectors than codes give a warning and codewords that are copies, moved by 1 % of the deviation. Deterministic for a
/// key. Throws ShapeError unless x has rows of the codebook's dimension, ArgumentError without vectors and for those
/// that are not finite; the codebook is then unchanged.
template <PlainTensor V, PlainTensor X>
StartReport start_codebook(Codebook<V>& book, const X& x, Key key,
                           std::optional<index_t> vectors_per_update = std::nullopt) {
  using T = typename V::Scalar;
  book.validate();
  if (vectors_per_update && *vectors_per_update < 1)
    throw ArgumentError("start_codebook: an update gets at least one vector, given " +
                        std::to_string(*vectors_per_update));
  V vectors = detail::vectors_for<V>(book.codewords.shape(), x, "start_codebook");
  const bool directions = book.options.distance == Distance::cosine && book.options.training == CodebookTraining::ema;
  if (directions) {
    kolmo::detail::check_finite_rows(vectors, "start_codebook");
    vectors = detail::rows_with_direction(detail::unit_rows(vectors));
  }
  KMeansOptions options;
  options.iterations = book.options.lloyd_iterations;
  options.start_vectors_per_code = options.vectors_per_code = book.options.start_vectors_per_code;
  const KMeans<V> found = k_means(vectors, book.options.codes, options, key);
  StartReport report{x.shape()[0], 0, found.iterations, found.mse, found.warnings};
  for (const index_t count : found.counts) report.used += count;
  const double scale =
      static_cast<double>(vectors_per_update.value_or(x.shape()[0])) / static_cast<double>(report.used);
  std::vector<T> counts;
  for (const index_t count : found.counts) counts.push_back(static_cast<T>(static_cast<double>(count) * scale));
  set_codewords(book, found.codewords, 0);
  book.counts = V::from(std::span<const T>(counts), book.counts.shape());
  return report;
}

}  // namespace kolmo::rvq
