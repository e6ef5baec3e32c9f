#pragma once
// Residual vector quantization by plain tables C_0, C_1, ...: every stage codes what the stages before it left,
//
//   r_0 = x,   k_q = the nearest codeword of r_q in C_q,   r_{q+1} = r_q - C_q[k_q]
//
// Codes of fewer stages are then the first codes of more stages. A beam (rvq/beam.hpp) keeps several codes per vector
// on the way: a smaller error, but no such prefixes.

#include <kolmo/ops/nearest_residual.hpp>
#include <kolmo/rvq/beam.hpp>
#include <kolmo/rvq/host_encode.hpp>

namespace kolmo::rvq {

struct SearchOptions {
  index_t beam = 1;                   ///< paths kept per vector
  Screen screen = Screen::automatic;  ///< changes the time alone
  /// How many vectors the tables will be searched for, if known: few do not repay preparations.
  index_t vectors = 1 << 20;
};

/// Tables [K_q, d] of all stages, made ready once for many calls.
template <PlainTensor V>
class ResidualEncoder {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  static_assert(Real<T>, "tables of codewords hold float or double; cast others");

 public:
  /// Keeps handles of the tables. Throws ShapeError unless they are [codes, d] of one d, ArgumentError unless there is
  /// one at least and beam >= 1.
  explicit ResidualEncoder(std::span<const V> tables, const SearchOptions& options = {}) : options_(options) {
    detail::check_tables(tables, "encode_residual");
    detail::check_beam(options.beam, "encode_residual");
    for (const V& table : tables) {
      tables_.push_back(table.contiguous());
      norms_.push_back(half_squared_norms(tables_.back()));
      if constexpr (kolmo::detail::HostMemory<B>) {
        prepared_.push_back(kolmo::detail::host_nearest_table<T>(table.shape()[0], table.shape()[1],
                                                                 tables_.back().data(), norms_.back().data(),
                                                                 options.screen, options.vectors));
      }
    }
  }

  /// Codes [n, stages] of x [n, d]. Throws ShapeError, or ArgumentError for a row with a NaN or an infinity.
  CodesOf<V> operator()(const V& x) const {
    detail::check_nearest_shapes(x.shape(), tables_[0].shape(), "encode_residual");
    const index_t n = x.shape()[0];
    const auto stages = static_cast<index_t>(tables_.size());
    if constexpr (kolmo::detail::HostMemory<B>) {
      const V source = x.contiguous();
      detail::check_finite_rows(source, "encode_residual");
      auto codes = CodesOf<V>::uninitialized(Shape{n, stages});
      detail::host_encode_residual<T>(prepared_, n, source.data(), options_.beam, codes.mutable_data());
      return codes;
    } else if (options_.beam == 1) {
      return nearest_residual(tables_, norms_, x, options_.screen, "encode_residual");
    } else {
      return detail::beam_encode(tables_, norms_, x, options_.beam, options_.screen);
    }
  }

  const std::vector<V>& tables() const { return tables_; }

 private:
  SearchOptions options_;
  std::vector<V> tables_, norms_;
  detail::NearestTables<T> prepared_;
};

/// Codes [n, A] of the rows of x [n, d] by A tables [K_q, d]: every stage takes the nearest codeword, or, with a beam
/// wider than one, the path of the least error among `beam` in every stage. Throws ShapeError for shapes that do not
/// fit, ArgumentError for a row of x with a NaN or an infinity, and unless beam >= 1.
template <PlainTensor V>
CodesOf<V> encode_residual(std::span<const V> tables, const V& x, index_t beam = 1, Screen screen = Screen::automatic) {
  const index_t rows = x.rank() > 0 ? x.shape()[0] : 0;
  return ResidualEncoder<V>(tables, {beam, screen, rows})(x);
}
template <PlainTensor V>
CodesOf<V> encode_residual(const std::vector<V>& tables, const V& x, index_t beam = 1,
                           Screen screen = Screen::automatic) {
  return encode_residual(std::span<const V>(tables), x, beam, screen);
}

}  // namespace kolmo::rvq
