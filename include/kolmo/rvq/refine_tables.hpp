#pragma once
// Better tables for given codes: the sum of squares |x - sum_q C_q[k_q]|^2 is quadratic in all codewords together, and
// moving the codewords of one stage to the means of what the other stages leave, stage after stage, is Gauss and
// Seidel's way to its minimum. Codewords of few vectors would follow their noise; the ridge holds them back.

#include <cmath>

#include <kolmo/ops/groups.hpp>
#include <kolmo/rvq/encode.hpp>

namespace kolmo::rvq {

namespace detail {

/// Means of the rows r by code, shrunk by n / (n + ridge), added to a table; r loses them. A negative ridge is the
/// ratio of the variance of a row to that of the means beyond their noise (empirical Bayes), infinite without any.
template <PlainTensor V>
void refine_stage(V& table, V& r, const CodesOf<V>& codes, double ridge) {
  using T = typename V::Scalar;
  const auto groups = group_rows(codes, table.extent(0));
  const V origin = V::zeros(table.shape());
  const auto found = group_sums(r, groups, origin);
  const std::vector<double> sums = found.sums.to_vector(), squares = found.squares.to_vector();
  const std::vector<index_t> starts = groups.starts.to_vector();
  const auto d = static_cast<std::size_t>(table.extent(1));
  double total = 0.0, between = 0.0, rows = 0.0, used = 0.0;
  for (std::size_t k = 0; k + 1 < starts.size(); ++k) {
    const auto n = static_cast<double>(starts[k + 1] - starts[k]);
    if (n == 0.0) continue;
    total += squares[k];
    rows += n;
    used += 1.0;
    for (std::size_t j = 0; j < d; ++j) between += sums[k * d + j] * sums[k * d + j] / n;
  }
  if (rows <= used) return;
  // E[sum_k n |mean_k|^2] = used * noise + rows * signal, E[total - between] = (rows - used) noise.
  const double noise = (total - between) / (rows - used), signal = (between - used * noise) / rows;
  if (ridge < 0.0 && !(signal > 0.0)) return;
  const double prior = ridge < 0.0 ? noise / signal : ridge;
  std::vector<T> change(sums.size(), T(0));
  for (std::size_t k = 0; k + 1 < starts.size(); ++k) {
    const auto n = static_cast<double>(starts[k + 1] - starts[k]);
    for (std::size_t j = 0; n > 0.0 && j < d; ++j) change[k * d + j] = static_cast<T>(sums[k * d + j] / (n + prior));
  }
  const V step = V::from(std::span<const T>(change), table.shape());
  table = table + step;
  r = r - take(step, codes);
}

template <PlainTensor V>
double mean_error(const std::vector<V>& tables, const V& x, index_t beam) {
  double sum = 0.0;
  for (const auto e : squared_errors(tables, x, encode_residual(tables, x, beam)).to_vector())
    sum += static_cast<double>(e);
  return sum / static_cast<double>(x.size());
}

template <PlainTensor V>
std::vector<V> scaled_tables(const std::vector<V>& tables, double factor, double per_stage) {
  std::vector<V> result;
  for (std::size_t q = 0; q < tables.size(); ++q)
    result.push_back(static_cast<typename V::Scalar>(factor * std::pow(per_stage, static_cast<double>(q))) * tables[q]);
  return result;
}

/// Multiplies the table of stage q by a b^q with the best of a few a and b for the rows of x and a beam.
template <PlainTensor V>
void scale_tables(std::vector<V>& tables, const V& x, index_t beam) {
  double factor = 1.0, per_stage = 1.0, least = mean_error(tables, x, beam);
  const auto better = [&](double a, double b) {
    const double mse = mean_error(scaled_tables(tables, a, b), x, beam);
    if (!(mse < least)) return false;
    least = mse;
    factor = a;
    per_stage = b;
    return true;
  };
  for (int round = 0; round < 2; ++round) {
    const double step = 0.02, stage_step = 0.004;
    for (const double sign : {1.0, -1.0})
      while (std::abs(std::log(factor)) < 0.5 && better(factor * (1.0 + sign * step), per_stage)) continue;
    for (const double sign : {1.0, -1.0})
      while (std::abs(std::log(per_stage)) < 0.1 && better(factor, per_stage * (1.0 + sign * stage_step))) continue;
  }
  tables = scaled_tables(tables, factor, per_stage);
}

}  // namespace detail

/// Moves all codewords of the tables [K_q, d] towards the least-squares solution for vectors x [n, d] and their codes
/// [n, A], with `ridge` vectors per codeword that ask for no change; a negative ridge is estimated for every stage.
/// Throws ShapeError and ArgumentError as decode_residual.
template <PlainTensor V>
void refine_tables(std::vector<V>& tables, const V& x, const CodesOf<V>& codes, double ridge = -1.0,
                   index_t sweeps = 3) {
  V r = x - decode_residual(tables, codes);
  const auto source = codes.contiguous();
  for (index_t sweep = 0; sweep < sweeps; ++sweep)
    for (index_t q = 0; q < codes.extent(1); ++q) {
      const auto column = source.view(Shape{source.extent(0)}, Strides{source.extent(1)}, q).contiguous();
      detail::refine_stage(tables[static_cast<std::size_t>(q)], r, column, ridge);
    }
}

}  // namespace kolmo::rvq
