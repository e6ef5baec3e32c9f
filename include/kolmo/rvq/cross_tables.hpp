#pragma once
// Residual encoding by one product of matrices. With P = x C^T for the codewords of all stages, and the products of all
// pairs of codewords of different stages, the scores of a stage are sums of rows,
//
//   <r_q, c> - |c|^2 / 2 = P[c] - <c_0, c> - ... - <c_{q-1}, c> - |c|^2 / 2,
//
// up to rounding, which is bounded: codewords that cannot be told apart by these sums are compared by the scores of
// rvq/encode.hpp, so the codes are the same. Every path reads q rows of a table of all pairs, which must be kept:
// (sum of K)^2 / 2 numbers. For 8 stages of 1024 codes they lie in main memory and ResidualEncoder is several times
// faster; this form suits few codes in many dimensions, and devices.

#include <algorithm>

#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/shape.hpp>
#include <kolmo/rvq/encode.hpp>

namespace kolmo::rvq {

namespace detail {

/// Approximate scores; an item is a path.
template <class T>
struct CrossScoreKernel {
  const T* products;  // [n, total]
  const T* cross;     // [offset, K]
  const T* half_norm;
  const Code* codes;       // [n, paths, stage]
  const index_t* offsets;  // where every stage begins in `products`
  index_t paths, stage, total, codewords;
  T* score;
  KOLMO_HD void operator()(index_t path) const {
    T* s = score + path * codewords;
    const T* from = products + path / paths * total + offsets[stage];
    for (index_t k = 0; k < codewords; ++k) s[k] = from[k] - half_norm[k];
    for (index_t j = 0; j < stage; ++j) {
      const T* row = cross + (offsets[j] + codes[path * stage + j]) * codewords;
      for (index_t k = 0; k < codewords; ++k) s[k] = s[k] - row[k];
    }
  }
};

/// The `count` best of a path by their scores in the order of coordinates; an item is a path.
template <class T>
struct CrossChooseKernel {
  const T* approximate;
  const T* residual;
  const T* table;
  const T* half_norm;
  const T* all_half_norms;  // of all stages
  const double* x_norm;     // |x|^2 [n]
  const Code* codes;
  const index_t* offsets;
  index_t paths, stage, codewords, d, count;
  T largest_half_norm;
  std::int32_t* index;
  T* score;
  KOLMO_HD void operator()(index_t path) const {
    const T* a = approximate + path * codewords;
    std::int32_t* best_index = index + path * count;
    T* best_score = score + path * count;
    T least;
    {
      BestScores<T> best(best_index, best_score, count);
      for (index_t k = 0; k < codewords; ++k)
        if (!(a[k] < best.score[count - 1])) best.add(a[k], static_cast<std::int32_t>(k));
      least = best.score[count - 1];
    }
    const T window = 2 * bound(path);
    BestScores<T> best(best_index, best_score, count);
    for (index_t k = 0; k < codewords; ++k)
      if (!(a[k] < least - window))
        best.add(nearest_score(residual + path * d, table + k * d, half_norm[k], d), static_cast<std::int32_t>(k));
  }

 private:
  /// Of the difference to the score: products of d terms, as many rows as stages, and the rounding of the residual
  /// itself.
  KOLMO_HD T bound(index_t path) const {
    T moduli = static_cast<T>(sqrt(x_norm[path / paths]));
    for (index_t j = 0; j < stage; ++j) moduli += sqrt(2 * all_half_norms[offsets[j] + codes[path * stage + j]]);
    const T roundings = static_cast<T>(2 * d + 8 * stage + 32);
    const T unit = T(std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53), tiny = T(std::is_same_v<T, float> ? 1e-36 : 1e-300);
    const T product = moduli * sqrt(2 * largest_half_norm) + largest_half_norm;
    const T most = T(std::is_same_v<T, float> ? 1e36 : 1e300);  // sums of larger products may overflow
    return product < most ? T(1.02) * unit * roundings * product + roundings * tiny : infinity<T>();
  }
};

/// One item is one task where there are few and long ones.
template <class B, class F>
void for_each_path(index_t paths, const F& f) {
  if constexpr (requires { B::for_each_item(paths, f); })
    B::for_each_item(paths, f);
  else
    B::for_each(paths, f);
}

}  // namespace detail

/// Tables [K_q, d] of all stages and the products of their codewords. Codes as by ResidualEncoder.
template <PlainTensor V>
class CrossTableEncoder {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  static_assert(Real<T>, "tables of codewords hold float or double; cast others");

 public:
  /// Throws ShapeError unless the tables are [codes, d] of one d, ArgumentError unless there is one at least and
  /// beam >= 1, OutOfMemory for the table of all pairs.
  explicit CrossTableEncoder(std::span<const V> tables, index_t beam = 1) : beam_(beam) {
    detail::check_tables(tables, "CrossTableEncoder");
    detail::check_beam(beam, "CrossTableEncoder");
    std::vector<index_t> offsets;
    index_t total = 0;
    for (const V& table : tables) {
      const V rows = table.contiguous();
      tables_.push_back(rows);
      half_norms_.push_back(half_squared_norms(rows));
      const auto norms = half_norms_.back().to_vector();
      largest_.push_back(*std::max_element(norms.begin(), norms.end()));
      offsets.push_back(total);
      total += rows.shape()[0];
    }
    all_ = concat(0, tables_);
    all_half_norms_ = half_squared_norms(all_);
    offsets_ = Tensor<index_t, B>::from(offsets);
    for (std::size_t q = 0; q < tables_.size(); ++q) {
      const V before = all_.view(Shape{offsets[q], all_.shape()[1]}, all_.strides(), 0);
      cross_.push_back(q == 0 ? V::zeros(Shape{0, tables_[q].shape()[0]}) : matmul(before, transpose(tables_[q])));
    }
  }
  explicit CrossTableEncoder(const std::vector<V>& tables, index_t beam = 1)
      : CrossTableEncoder(std::span<const V>(tables), beam) {}

  /// Codes [n, stages] of x [n, d]. Throws as ResidualEncoder.
  CodesOf<V> operator()(const V& x) const {
    detail::check_nearest_shapes(x.shape(), tables_[0].shape(), "CrossTableEncoder");
    const V source = x.contiguous();
    detail::check_finite_rows(source, "CrossTableEncoder");
    const index_t n = x.shape()[0], d = x.shape()[1], chunk = 256;
    std::vector<CodesOf<V>> parts;
    for (index_t i = 0; i < n; i += chunk)
      parts.push_back(encode(source.view(Shape{smaller(chunk, n - i), d}, source.strides(), i * d)));
    const Shape shape{n, static_cast<index_t>(tables_.size())};
    return parts.empty() ? CodesOf<V>::uninitialized(shape) : concat(0, parts);
  }

 private:
  CodesOf<V> encode(const V& x) const {
    const index_t n = x.shape()[0], d = x.shape()[1];
    const auto stages = static_cast<index_t>(tables_.size());
    const V products = matmul(x, transpose(all_));
    const BeamPaths<V> start = beam_start(x);
    BeamPaths<V> paths = start;
    for (index_t q = 0; q < stages; ++q) {
      const auto at = static_cast<std::size_t>(q);
      const V& table = tables_[at];
      const V& half_norms = half_norms_[at];
      const index_t codewords = table.shape()[0], width = paths.residual.shape()[1], rows = n * width;
      const index_t wanted = q + 1 < stages ? beam_ : 1, count = smaller(wanted, codewords);
      V score = V::uninitialized(Shape{rows, codewords});
      detail::for_each_path<B>(rows, detail::CrossScoreKernel<T>{products.data(), cross_[at].data(), half_norms.data(),
                                                                 paths.codes.data(), offsets_.data(), width, q,
                                                                 all_.shape()[0], codewords, score.mutable_data()});
      NearestRows<V> nearest{NearestRows<V>::Index::uninitialized(Shape{rows, count}),
                             V::uninitialized(Shape{rows, count})};
      detail::for_each_path<B>(
          rows, detail::CrossChooseKernel<T>{score.data(), paths.residual.data(), table.data(), half_norms.data(),
                                             all_half_norms_.data(), start.norms.data(), paths.codes.data(),
                                             offsets_.data(), width, q, codewords, d, count, largest_[at],
                                             nearest.index.mutable_data(), nearest.score.mutable_data()});
      paths = detail::beam_advance(paths, table, nearest, wanted);
    }
    return paths.codes.reshaped(Shape{n, stages});
  }

  index_t beam_;
  std::vector<V> tables_, half_norms_, cross_;
  std::vector<T> largest_;
  V all_, all_half_norms_;
  Tensor<index_t, B> offsets_;
};

}  // namespace kolmo::rvq
