#pragma once
// SimVQ (Zhu et al. 2024): the codebook is B W with B [K, d] drawn from N(0, 1/d) and frozen, and W [d, d] learned. The
// gradient of every chosen codeword moves W and with it all codewords, so none is left behind. Losses of a stage:
//
//   codebook mean((sg(r) - e)^2),   commitment mean((r - sg(e))^2), weight 0.25
//
// Several stages are a residual quantizer: one straight-through step around the sum, r_q = x - sg(e_0 + .. + e_{q-1}).
// For inference B W is baked into plain tables.

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/nn/init.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/shape.hpp>
#include <kolmo/rvq/encode.hpp>
#include <kolmo/rvq/straight_through.hpp>

namespace kolmo::rvq {

/// One codebook, basis times weight.
template <class V>
struct SimVqStage {
  V basis;   ///< B [K, d], frozen
  V weight;  ///< W [d, d]

  static void fields(auto&& f, auto&... s) {
    f(state("basis"), s.basis...);
    f(param("weight"), s.weight...);
  }
  template <class U>
  using Rebind = SimVqStage<U>;

  /// Throws ShapeError unless the parts fit each other.
  void validate() const {
    if (basis.rank() != 2 || basis.shape()[0] < 1 || !(weight.shape() == Shape{basis.shape()[1], basis.shape()[1]}))
      throw ShapeError("SimVqStage: expected a basis [codes, d] and a weight [d, d], given " +
                       basis.shape().to_string() + " and " + weight.shape().to_string());
  }
};

template <class V>
struct SimVq {
  std::vector<SimVqStage<V>> stages;

  SimVq() = default;
  /// The basis of every stage is drawn with the key, the weights are the identity: codewords of length about one. See
  /// scale_to. Throws ArgumentError for extents below one.
  SimVq(Key key, index_t dimension, index_t codes, index_t stage_count = 1) {
    using T = typename V::Scalar;
    if (dimension < 1 || codes < 1 || stage_count < 1)
      throw ArgumentError("SimVq: expected dimension, codes and stages of at least one, given " +
                          std::to_string(dimension) + ", " + std::to_string(codes) + " and " +
                          std::to_string(stage_count));
    std::vector<T> identity(static_cast<std::size_t>(dimension * dimension), T(0));
    for (index_t i = 0; i < dimension; ++i) identity[static_cast<std::size_t>(i * (dimension + 1))] = T(1);
    const double deviation = 1 / std::sqrt(static_cast<double>(dimension));
    for (index_t q = 0; q < stage_count; ++q)
      stages.push_back(
          {nn::normal_values<V>(fold_in(key, static_cast<std::uint64_t>(q)), Shape{codes, dimension}, 0, deviation),
           V::from(std::span<const T>(identity), Shape{dimension, dimension})});
  }

  static void fields(auto&& f, auto&... s) { f(submodule("stages"), s.stages...); }
  template <class U>
  using Rebind = SimVq<U>;

  index_t dimension() const { return stages.at(0).basis.shape()[1]; }

  /// Throws ArgumentError or ShapeError unless the parts fit each other.
  void validate() const {
    if (stages.empty()) throw ArgumentError("SimVq: expected at least one stage, given none");
    for (const auto& stage : stages) {
      stage.validate();
      if (stage.basis.shape()[1] != dimension())
        throw ShapeError("SimVq: the stages have codewords of different dimensions, " + std::to_string(dimension()) +
                         " and " + std::to_string(stage.basis.shape()[1]));
    }
  }
};

/// What a SimVQ gives in training. X is the kind of the input, L that of the weights.
template <class X, class L>
struct SimVqQuantized {
  X output;           ///< of the shape of the input
  CodesOf<X> codes;   ///< [n, stages]
  X commitment_loss;  ///< sum over the stages of mean((r - sg(e))^2), without its weight
  L codebook_loss;    ///< sum over the stages of mean((sg(r) - e)^2)
};

/// The codebooks B W of all stages, [K, d]: plain tables for decode_residual and encode_residual, variables in
/// training. They cost K d^2 each: once per step is enough, however many batches it has.
template <class V>
std::vector<V> bake(const SimVq<V>& quantizer) {
  quantizer.validate();
  std::vector<V> tables;
  for (const auto& stage : quantizer.stages) tables.push_back(matmul(stage.basis, stage.weight));
  return tables;
}

/// Quantizes x [..., d] with the baked tables. `rotation` passes the gradient by the rotation trick in place of
/// straight-through. Throws ShapeError for another last axis, ArgumentError for vectors with NaN.
template <class W, TensorLike X>
auto quantize(const std::vector<W>& tables, const X& x, bool rotation = false) {
  using V = BaseOf<X>;
  if (tables.empty()) throw ArgumentError("simvq: no tables given; expected those of bake");
  if (x.rank() < 1 || x.shape()[-1] != tables[0].shape()[1])
    throw ShapeError("simvq: expected vectors [..., " + std::to_string(tables[0].shape()[1]) + "], given " +
                     x.shape().to_string());
  const index_t d = x.shape()[-1], n = x.size() / larger<index_t>(1, d);
  const auto rows = reshape(x, Shape{n, d});
  const V vectors = detach(rows);
  std::vector<V> plain;
  for (const W& table : tables) plain.push_back(detach(table));
  const CodesOf<X> codes = encode_residual(plain, vectors);

  V chosen = V::zeros(Shape{n, d});  // e_0 + .. + e_{q-1}
  using Row = std::remove_cvref_t<decltype(rows)>;
  using L = std::remove_cvref_t<decltype(mean(square(vectors - take(tables[0], codes))))>;
  std::vector<Row> commitment;
  std::vector<L> codebook;
  for (std::size_t q = 0; q < tables.size(); ++q) {
    const auto code = slice(codes, 1, static_cast<index_t>(q), static_cast<index_t>(q) + 1).reshaped(Shape{n});
    const V residual = vectors - chosen;
    const auto codeword = take(tables[q], code);
    codebook.push_back(mean(square(codeword - residual)));
    chosen = chosen + detach(codeword);
    commitment.push_back(mean(square(rows - chosen)));
  }
  for (std::size_t q = 1; q < tables.size(); ++q) {
    commitment[0] = commitment[0] + commitment[q];
    codebook[0] = codebook[0] + codebook[q];
  }
  const Row output = rotation ? rotation_trick(chosen, rows) : straight_through(chosen, rows);
  return SimVqQuantized<Row, L>{reshape(output, x.shape()), codes, commitment[0], codebook[0]};
}

/// The same with the tables of the quantizer, baked here.
template <class W, TensorLike X>
auto quantize(const SimVq<W>& quantizer, const X& x, bool rotation = false) {
  return quantize(bake(quantizer), x, rotation);
}

/// Gives the weights of each stage the size that makes its codewords as long, in the root mean square, as what the
/// stages before it leave of x [n, d]. A start, to be called once. Throws as encode.
template <PlainTensor V>
void scale_to(SimVq<V>& quantizer, const V& x) {
  quantizer.validate();
  V residual = rows_of(x);
  for (auto& stage : quantizer.stages) {
    const double data = static_cast<double>(mean(square(residual)).item());
    const double words = static_cast<double>(mean(square(matmul(stage.basis, stage.weight))).item());
    if (data > 0 && words > 0) stage.weight = stage.weight * std::sqrt(data / words);
    const std::vector<V> table{matmul(stage.basis, stage.weight)};
    residual = residual - decode_residual(table, encode_residual(table, residual));
  }
}

/// Codes [n, stages] of x [..., d]; bake once and use encode_residual where many batches are encoded. Throws as
/// encode_residual.
template <PlainTensor V>
CodesOf<V> encode(const SimVq<V>& quantizer, const V& x, index_t beam = 1) {
  return encode_residual(bake(quantizer), rows_of(x), beam);
}

/// The vectors [n, d] of codes [n, A]. Throws as decode_residual.
template <PlainTensor V>
V decode(const SimVq<V>& quantizer, const CodesOf<V>& codes) {
  return decode_residual(bake(quantizer), codes);
}

}  // namespace kolmo::rvq
