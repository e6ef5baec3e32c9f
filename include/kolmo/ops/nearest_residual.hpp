#pragma once
// Residual search: r_0 = x, and every table takes the nearest row of what the tables before it left,
//
//   k_q = the nearest row of r_q in C_q,   r_{q+1} = r_q - C_q[k_q]
//
// Codes are those of nearest_rows, stage by stage; a backend may keep the residuals in its fastest memory meanwhile.

#include <span>
#include <vector>

#include <kolmo/ops/nearest.hpp>

namespace kolmo {

namespace detail {

/// r_{q+1} in place of r_q, and the codes of stage q among those of all. An item is a coordinate.
template <class T>
struct SubtractNearestKernel {
  const T* table;
  const std::int32_t* index;
  T* residual;
  std::int32_t* codes;
  index_t d, stages, stage;
  KOLMO_HD void operator()(index_t item) const {
    const index_t row = item / d, j = item % d;
    const std::int32_t k = index[row];
    residual[item] = residual[item] - table[static_cast<index_t>(k) * d + j];
    if (j == 0) codes[row * stages + stage] = k;
  }
};

}  // namespace detail

/// Codes [n, stages] of the rows of x [n, d] by tables [K_q, d], with half_squared_norms of each. Throws ShapeError for
/// shapes that do not fit, ArgumentError for a row of x with a NaN or an infinity, both as `operation`. Waits for the
/// backend once, at the end.
template <PlainTensor V>
typename NearestRows<V>::Index nearest_residual(std::span<const V> tables, std::span<const V> half_norms, const V& x,
                                                Screen screen = Screen::automatic,
                                                const char* operation = "nearest_residual") {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  using Index = typename NearestRows<V>::Index;
  static_assert(Real<T>, "tables of codewords hold float or double; cast others");
  const auto stages = static_cast<index_t>(tables.size());
  if (stages == 0 || half_norms.size() != tables.size())
    throw ShapeError(std::string(operation) + ": expected norms for each of one table at least, given " +
                     std::to_string(half_norms.size()) + " norms for " + std::to_string(stages) + " tables");
  std::vector<V> rows, norms;
  for (std::size_t q = 0; q < tables.size(); ++q) {
    detail::check_nearest_shapes(x.shape(), tables[q].shape(), operation);
    if (!(half_norms[q].shape() == Shape{tables[q].shape()[0]}))
      throw ShapeError(std::string(operation) + ": expected half_squared_norms of shape [" +
                       std::to_string(tables[q].shape()[0]) + "], given " + half_norms[q].shape().to_string());
    rows.push_back(tables[q].contiguous());
    norms.push_back(half_norms[q].contiguous());
  }
  const index_t n = x.shape()[0], d = x.shape()[1];
  const V source = x.contiguous();
  auto codes = Index::uninitialized(Shape{n, stages});
  if (n == 0) return codes;
  detail::FirstBadRow<B> bad(n);
  bool done = false;
  if constexpr (requires(const NearestResidualCall<T>& call) { B::nearest_residual(call); }) {
    std::vector<NearestStage<T>> parts;
    for (std::size_t q = 0; q < rows.size(); ++q)
      parts.push_back({rows[q].data(), norms[q].data(), rows[q].shape()[0]});
    done = B::nearest_residual(
        NearestResidualCall<T>{n, d, stages, parts.data(), source.data(), screen, codes.mutable_data(), bad.data()});
  }
  if (!done) {
    V residual = source;
    // Residuals of finite rows are not the caller's: what overflows on the way is no error.
    detail::FirstBadRow<B> later(n);
    for (std::size_t q = 0; q < rows.size(); ++q) {
      const auto nearest = detail::search_rows(residual, rows[q], norms[q], 1, screen, q == 0 ? bad : later);
      if (q == 0 && detail::HostMemory<B>) bad.check(x.shape(), operation);
      B::for_each(n * d, detail::SubtractNearestKernel<T>{rows[q].data(), nearest.index.data(), residual.mutable_data(),
                                                          codes.mutable_data(), d, stages, static_cast<index_t>(q)});
    }
  }
  bad.check(x.shape(), operation);
  return codes;
}
template <PlainTensor V>
typename NearestRows<V>::Index nearest_residual(const std::vector<V>& tables, const std::vector<V>& half_norms,
                                                const V& x, Screen screen = Screen::automatic,
                                                const char* operation = "nearest_residual") {
  return nearest_residual(std::span<const V>(tables), std::span<const V>(half_norms), x, screen, operation);
}

}  // namespace kolmo
