#pragma once
// The codebook of one quantizer stage: K codewords c_k with what their training remembers, and the choice of the
// nearest codeword. What moves the codewords is in rvq/codebook_update.hpp, where they start in
// rvq/codebook_start.hpp.

#include <concepts>

#include <kolmo/ops/nearest.hpp>
#include <kolmo/rvq/code.hpp>
#include <kolmo/rvq/codebook_options.hpp>

namespace kolmo::rvq {

/// Scalars that running averages can be kept in. In half precision a count of 160 stays at 107.
template <class T>
concept CodebookScalar = std::same_as<T, float> || std::same_as<T, double>;

/// K codewords of d numbers. Searching, encoding and decoding change nothing; `update` and `start_codebook` are the
/// functions that do, or the optimiser when the options say that codewords are trained by gradient.
template <class V>
struct Codebook {
  static_assert(CodebookScalar<ScalarOf<V>>,
                "the scalar of a codebook is float or double: running averages are wrong in half precision; keep the "
                "codebook in float and cast the vectors");

  CodebookOptions options;
  V codewords;               ///< [K, d]
  V counts;                  ///< [K], running average of the vectors that a code gets in one update
  V ages;                    ///< [K], updates since the code was started or replaced; whole numbers
  V last_hits;               ///< [K], number of the update in which the code last got a vector; 0 before the first
  bool initialised = false;  ///< the codewords come from data, or were set
  bool frozen = false;       ///< update changes nothing, and no gradient reaches the codewords
  index_t updates = 0;       ///< updates, or steps of the optimiser, since the start

  Codebook() = default;
  /// Zeros, waiting for start_codebook. Throws ArgumentError for options outside their ranges or dimension < 1.
  explicit Codebook(index_t dimension, const CodebookOptions& settings = {}) : options(settings) {
    options.validate();
    if (dimension < 1)
      throw ArgumentError("Codebook: the dimension must be at least 1, given " + std::to_string(dimension));
    codewords = V::zeros(Shape{options.codes, dimension});
    counts = ages = last_hits = V::zeros(Shape{options.codes});
  }

  index_t codes() const { return codewords.shape()[0]; }
  index_t dimension() const { return codewords.shape()[1]; }

  /// Whether the codewords are a parameter or a state depends on how they are trained, and whether they are.
  static void fields(auto&& f, auto&... s) {
    f(submodule("options"), s.options...);
    f(Field{"codewords", codeword_kind(s...)}, s.codewords...);
    f(state("counts"), s.counts...);
    f(state("ages"), s.ages...);
    f(state("last_hits"), s.last_hits...);
    f(state("initialised"), s.initialised...);
    f(state("frozen"), s.frozen...);
    f(state("updates"), s.updates...);
  }
  template <class U>
  using Rebind = Codebook<U>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    options.validate();
    const Shape row{options.codes};
    if (codewords.rank() != 2 || codes() != options.codes || dimension() < 1 || !(counts.shape() == row) ||
        !(ages.shape() == row) || !(last_hits.shape() == row))
      throw ShapeError("Codebook: expected codewords [" + std::to_string(options.codes) +
                       ", d] and counts, ages and last_hits " + row.to_string() + ", given " +
                       codewords.shape().to_string() + ", " + counts.shape().to_string() + ", " +
                       ages.shape().to_string() + " and " + last_hits.shape().to_string());
    if (updates < 0) throw ArgumentError("Codebook: updates must not be negative, given " + std::to_string(updates));
  }

 private:
  static FieldKind codeword_kind(const auto& first, const auto&...) {
    return first.options.training == CodebookTraining::gradient && !first.frozen ? FieldKind::parameter
                                                                                 : FieldKind::state;
  }
};

/// The codes of n vectors and what they leave.
template <PlainTensor V>
struct Assignment {
  Tensor<Code, typename V::Backend> codes;  ///< [n]
  V reconstruction;                         ///< [n, d], the chosen codewords
  V squared_error;                          ///< [n], |x - c|^2
};

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

inline constexpr double shortest_vector = 1e-12;

/// Row r of y = x / |x|; zeros for a vector shorter than shortest_vector.
template <class T>
struct UnitRowsKernel {
  const T* x;
  T* y;
  index_t columns;
  KOLMO_HD void operator()(index_t row) const {
    const T* from = x + row * columns;
    T* to = y + row * columns;
    double squares = 0;
    for (index_t i = 0; i < columns; ++i) squares += static_cast<double>(from[i]) * static_cast<double>(from[i]);
    const double length = sqrt(squares);
    const double factor = length < shortest_vector ? 0 : 1 / length;
    for (index_t i = 0; i < columns; ++i) to[i] = static_cast<T>(static_cast<double>(from[i]) * factor);
  }
};

template <PlainTensor V>
V unit_rows(const V& x) {
  const V source = x.contiguous();
  V result = V::uninitialized(x.shape());
  V::Backend::for_each(x.shape()[0],
                       UnitRowsKernel<typename V::Scalar>{source.data(), result.mutable_data(), x.shape()[1]});
  return result;
}

/// |a - b|^2 in eight partial sums.
template <class T>
KOLMO_HD KOLMO_INLINE T squared_distance(const T* a, const T* b, index_t columns) {
  T sums[8] = {};
  const index_t whole = columns / 8 * 8;
  for (index_t i = 0; i < whole; i += 8)
    for (int j = 0; j < 8; ++j) sums[j] += (a[i + j] - b[i + j]) * (a[i + j] - b[i + j]);
  for (index_t i = whole; i < columns; ++i) sums[i - whole] += (a[i] - b[i]) * (a[i] - b[i]);
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

/// Copies the chosen codeword of a row and measures what it leaves.
template <class T>
struct ReconstructKernel {
  const T* x;
  const T* codewords;
  const Code* codes;
  T* reconstruction;
  T* squared_error;
  index_t columns;
  KOLMO_HD void operator()(index_t row) const {
    const T* word = codewords + static_cast<index_t>(codes[row]) * columns;
    T* to = reconstruction + row * columns;
    for (index_t i = 0; i < columns; ++i) to[i] = word[i];
    squared_error[row] = squared_distance(x + row * columns, word, columns);
  }
};

/// The vectors in the scalar of the codebook. Throws ShapeError unless they are rows of its dimension.
template <PlainTensor V, PlainTensor X>
V vectors_for(const Shape& codewords, const X& x, const char* operation) {
  if (x.rank() != 2 || x.shape()[1] != codewords[1])
    throw ShapeError(std::string(operation) + ": expected vectors [n, " + std::to_string(codewords[1]) +
                     "], one in each row, given " + x.shape().to_string());
  return cast<typename V::Scalar>(x).contiguous();
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// The nearest codeword of every row of x [n, d], the lowest on ties. Vectors may be of another scalar; they are
/// compared in the scalar of the codebook. Changes nothing, and derivatives do not pass. Throws ShapeError, and
/// ArgumentError for a vector that is not finite and for a codebook that has not been started.
template <TensorLike C, TensorLike X>
auto assign(const Codebook<C>& book, const X& x) {
  using V = BaseOf<C>;
  using T = typename V::Scalar;
  using B = typename V::Backend;
  if (!book.initialised)
    throw ArgumentError("assign: the codebook has not been started; call start_codebook with vectors first");
  const V table = detach(book.codewords).contiguous();
  const V vectors = detail::vectors_for<V>(table.shape(), detach(x), "assign");
  const bool angles = book.options.distance == Distance::cosine;
  const V searched = angles ? detail::unit_rows(table) : table;
  // All directions have one length: norms that differ by rounding would decide for a vector of length zero.
  const V half_norms = angles ? V::zeros(Shape{table.shape()[0]}) : half_squared_norms(table);
  auto codes = nearest_rows(angles ? detail::unit_rows(vectors) : vectors, searched, half_norms).index;
  const index_t n = vectors.shape()[0], columns = vectors.shape()[1];
  V reconstruction = V::uninitialized(vectors.shape()), squared_error = V::uninitialized(Shape{n});
  B::for_each(n, detail::ReconstructKernel<T>{vectors.data(), table.data(), codes.data(), reconstruction.mutable_data(),
                                              squared_error.mutable_data(), columns});
  return Assignment<V>{std::move(codes), std::move(reconstruction), std::move(squared_error)};
}

/// Starts a codebook at given codewords [K, d], with `count` vectors a code as the average of one update: 0 makes the
/// first vectors of a code its value. Throws ShapeError, and ArgumentError for numbers that are not finite.
template <PlainTensor V>
void set_codewords(Codebook<V>& book, const V& codewords, double count) {
  using T = typename V::Scalar;
  if (codewords.rank() != 2 || codewords.shape()[0] != book.options.codes || codewords.shape()[1] < 1)
    throw ShapeError("set_codewords: expected codewords [" + std::to_string(book.options.codes) + ", d], given " +
                     codewords.shape().to_string());
  if (!(count >= 0) || !is_finite(count))
    throw ArgumentError("set_codewords: the count must be finite and not negative, given " + std::to_string(count));
  for (const T x : codewords.to_vector())
    if (!is_finite(x)) throw ArgumentError("set_codewords: a codeword has a number that is not finite");
  book.codewords = book.options.distance == Distance::cosine && book.options.training == CodebookTraining::ema
                       ? detail::unit_rows(codewords)
                       : codewords.contiguous();
  const Shape row{book.options.codes};
  book.counts = V::full(row, static_cast<T>(count));
  book.ages = book.last_hits = V::zeros(row);
  book.initialised = true;
  book.updates = 0;
}

}  // namespace kolmo::rvq
