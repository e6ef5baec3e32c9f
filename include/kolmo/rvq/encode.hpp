#pragma once
// Residual vector quantization by plain tables C_0, C_1, ...: every stage codes what the stages before it left,
//
//   r_0 = x,   k_q = the nearest codeword of r_q in C_q,   r_{q+1} = r_q - C_q[k_q]
//
// Codes of fewer stages are then the first codes of more stages. A beam (rvq/beam.hpp) keeps several codes per vector
// on the way: a smaller error, but no such prefixes.

#include <kolmo/rvq/beam.hpp>

namespace kolmo::rvq {

/// Codes [n, A] of the rows of x [n, d] by A tables [K_q, d]: every stage takes the nearest codeword, or, with a beam
/// wider than one, the path of the least error among `beam` in every stage. Throws ShapeError for shapes that do not
/// fit, ArgumentError for a row of x with a NaN or an infinity, and unless beam >= 1.
template <PlainTensor V>
CodesOf<V> encode_residual(std::span<const V> tables, const V& x, index_t beam = 1) {
  detail::check_tables(tables, "encode_residual");
  detail::check_nearest_shapes(x.shape(), tables[0].shape(), "encode_residual");
  if (beam < 1)
    throw ArgumentError("encode_residual: the width of the beam must be at least 1, given " + std::to_string(beam));
  BeamPaths<V> paths = beam_start(x);
  for (std::size_t q = 0; q < tables.size(); ++q)
    paths = beam_step(paths, tables[q], q + 1 < tables.size() ? beam : index_t{1});
  return paths.codes.reshaped(Shape{x.shape()[0], static_cast<index_t>(tables.size())});
}
template <PlainTensor V>
CodesOf<V> encode_residual(const std::vector<V>& tables, const V& x, index_t beam = 1) {
  return encode_residual(std::span<const V>(tables), x, beam);
}

}  // namespace kolmo::rvq
