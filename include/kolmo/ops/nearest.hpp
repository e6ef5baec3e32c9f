#pragma once
// Exact search of the nearest rows of a table: for every row x of a tensor the codeword c with the largest score
//
//   s(x, c) = <x, c> - |c|^2 / 2,      |x - c|^2 = |x|^2 - 2 s(x, c)
//
// Scores are defined bit for bit (backend/nearest_score.hpp) and ties go to the lowest index, so all kernels give equal
// codes. The search of cosine similarity is this one between normalised rows; a row of zeros then scores the same with
// every codeword and gets the first.

#include <kolmo/backend/host_nearest.hpp>
#include <kolmo/backend/nearest_call.hpp>
#include <kolmo/backend/nearest_score.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/indexing.hpp>

namespace kolmo {

/// The nearest rows of a table for every row of x, and their scores: [n], or [n, count] best first.
template <PlainTensor V>
struct NearestRows {
  using Index = Tensor<std::int32_t, typename V::Backend>;

  Index index;
  V score;
};

namespace detail {

/// |c|^2 / 2 of every row, summed in double.
template <class T>
struct HalfNormKernel {
  const T* table;
  T* half_norm;
  index_t d;
  KOLMO_HD void operator()(index_t row) const {
    double sum = 0;
    for (index_t j = 0; j < d; ++j) {
      const double c = static_cast<double>(table[row * d + j]);
      sum = multiply_add(c, c, sum);
    }
    half_norm[row] = static_cast<T>(sum / 2);
  }
};

/// An item is a row of x.
template <class T>
struct NearestKernel {
  const T* x;
  const T* table;
  const T* half_norm;
  index_t codes, d, count;
  std::int32_t* index;
  T* score;
  KOLMO_HD void operator()(index_t row) const {
    BestScores<T> best(index + row * count, score + row * count, count);
    for (index_t k = 0; k < codes; ++k)
      best.add(nearest_score(x + row * d, table + k * d, half_norm[k], d), static_cast<std::int32_t>(k));
  }
};

template <class T>
struct LoadNotFinite {
  const T* x;
  index_t d, rows;
  KOLMO_HD index_t operator()(index_t, index_t i) const { return is_finite(x[i]) ? rows : i / d; }
};

[[noreturn]] inline void throw_not_finite(index_t row, const Shape& shape, const char* operation) {
  throw ArgumentError(std::string(operation) + ": row " + std::to_string(row) + " of x " + shape.to_string() +
                      " holds a NaN or an infinity, which has no nearest codeword; mend the data or leave the row out");
}

/// The first row that holds a NaN or an infinity, in the memory of the backend; the number of rows if there is none.
/// Reading it waits for the backend, so it is read once, when all work is under way.
template <class B>
class FirstBadRow {
 public:
  explicit FirstBadRow(index_t rows) : rows_(rows), row_(Tensor<index_t, B>::full(Shape{}, rows)) {}

  /// Looks at x [rows, d].
  template <PlainTensor V>
  void look(const V& x) {
    B::reduce(1, x.size(), LoadNotFinite<typename V::Scalar>{x.data(), x.shape()[1], rows_}, KeepSmallest{}, rows_,
              StoreRow<index_t>{row_.mutable_data()});
  }

  /// Lowered by a backend that looks itself.
  index_t* data() { return row_.mutable_data(); }

  bool found() const { return row_.item() != rows_; }

  /// Throws ArgumentError that names the row.
  void check(const Shape& shape, const char* operation) const {
    const index_t row = row_.item();
    if (row != rows_) throw_not_finite(row, shape, operation);
  }

 private:
  index_t rows_;
  Tensor<index_t, B> row_;
};

/// Throws ArgumentError that names the first row of x [n, d] with a NaN or an infinity. Waits for the backend.
template <PlainTensor V>
void check_finite_rows(const V& x, const char* operation) {
  if (x.size() == 0) return;
  FirstBadRow<typename V::Backend> bad(x.shape()[0]);
  bad.look(x);
  bad.check(x.shape(), operation);
}

/// The search alone, of contiguous tensors of fitting shapes. A row that is not finite is noted in `bad`, for the
/// caller to throw; the result is of no use then.
template <PlainTensor V>
NearestRows<V> search_rows(const V& x, const V& table, const V& half_norms, index_t count, Screen screen,
                           FirstBadRow<typename V::Backend>& bad) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const index_t n = x.shape()[0], codes = table.shape()[0], d = table.shape()[1];
  NearestRows<V> result{NearestRows<V>::Index::uninitialized(Shape{n, count}), V::uninitialized(Shape{n, count})};
  if (n == 0) return result;
  if constexpr (HostMemory<B>) {
    bad.look(x);
    if (bad.found()) return result;
    const auto packed = host_nearest_table<T>(codes, d, table.data(), half_norms.data(), screen, n);
    host_nearest<T>(*packed, n, x.data(), count, result.index.mutable_data(), result.score.mutable_data());
  } else if constexpr (requires(const NearestCall<T>& call) { B::nearest(call); }) {
    B::nearest(NearestCall<T>{n, codes, d, count, x.data(), table.data(), half_norms.data(), screen,
                              result.index.mutable_data(), result.score.mutable_data(), bad.data()});
  } else {
    bad.look(x);
    B::for_each(n, NearestKernel<T>{x.data(), table.data(), half_norms.data(), codes, d, count,
                                    result.index.mutable_data(), result.score.mutable_data()});
  }
  return result;
}

inline void check_nearest_shapes(const Shape& x, const Shape& table, const char* operation) {
  if (table.rank() != 2 || table[0] < 1 || table[1] < 1)
    throw ShapeError(std::string(operation) + ": expected a table [codes, d] of at least one codeword, given " +
                     table.to_string());
  if (x.rank() != 2 || x[1] != table[1])
    throw ShapeError(std::string(operation) + ": expected vectors [n, " + std::to_string(table[1]) +
                     "] for the table " + table.to_string() + ", given " + x.to_string());
}

}  // namespace detail

/// |c|^2 / 2 for the rows c of a table [K, d]: [K].
template <PlainTensor V>
V half_squared_norms(const V& table) {
  static_assert(Real<typename V::Scalar>, "tables of codewords hold float or double; cast others");
  if (table.rank() != 2)
    throw ShapeError("half_squared_norms: expected a table [codes, d], given " + table.shape().to_string());
  const V source = table.contiguous();
  V result = V::uninitialized(Shape{table.shape()[0]});
  V::Backend::for_each(result.size(), detail::HalfNormKernel<typename V::Scalar>{source.data(), result.mutable_data(),
                                                                                 table.shape()[1]});
  return result;
}

/// The `count` best rows of table [K, d] for every row of x [n, d], best first, ties in the order of the table:
/// [n, count]. `half_norms` are half_squared_norms(table). Vectors in BFloat16 are searched in float. A codeword that
/// is NaN is never chosen; a place for which no codeword is left has a score of minus infinity. Throws ShapeError for
/// shapes that do not fit, ArgumentError for a row of x with a NaN or an infinity and unless 1 <= count <= K.
template <PlainTensor X, PlainTensor V>
NearestRows<V> nearest_rows(const X& x, const V& table, const V& half_norms, index_t count,
                            Screen screen = Screen::automatic) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  static_assert(Real<T>, "tables of codewords hold float or double; cast others");
  static_assert(std::is_same_v<ComputeOf<typename X::Scalar>, T> && std::is_same_v<typename X::Backend, B>,
                "nearest_rows: vectors and table have one scalar and one backend");
  detail::check_nearest_shapes(x.shape(), table.shape(), "nearest_rows");
  const index_t n = x.shape()[0], codes = table.shape()[0];
  if (!(half_norms.shape() == Shape{codes}))
    throw ShapeError("nearest_rows: expected half_squared_norms of shape [" + std::to_string(codes) + "], given " +
                     half_norms.shape().to_string());
  if (count < 1 || count > codes)
    throw ArgumentError("nearest_rows: expected a count of rows between 1 and the " + std::to_string(codes) +
                        " of the table, given " + std::to_string(count));
  const V source = cast<T>(x).contiguous(), rows = table.contiguous(), norms = half_norms.contiguous();
  detail::FirstBadRow<B> bad(n);
  NearestRows<V> result = detail::search_rows(source, rows, norms, count, screen, bad);
  if (n > 0) bad.check(source.shape(), "nearest_rows");
  return result;
}

/// The nearest row of table [K, d] for every row of x [n, d]: [n]. See above.
template <PlainTensor X, PlainTensor V>
NearestRows<V> nearest_rows(const X& x, const V& table, const V& half_norms, Screen screen = Screen::automatic) {
  NearestRows<V> result = nearest_rows(x, table, half_norms, 1, screen);
  result.index = result.index.reshaped(Shape{x.shape()[0]});
  result.score = result.score.reshaped(Shape{x.shape()[0]});
  return result;
}

}  // namespace kolmo
