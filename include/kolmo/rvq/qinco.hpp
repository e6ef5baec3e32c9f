#pragma once
// QINCo (Huijben et al. 2024): residual quantization whose codewords depend on what is already reconstructed. The first
// stage is a plain table; each later one has codewords c and a small network,
//
//   f(c, xh) = z after  z = c + W [c; xh] + b,  then L times  z <- z + relu(z U) V,        xh <- xh + f(c_k, xh).
//
// The loss is the sum over the stages of mean((x - xh)^2); the codes of a batch are chosen first and are constants of
// it. Vectors are divided by `scale`, their deviation. Encoding: rvq/qinco_encode.hpp; training:
// rvq/qinco_training.hpp.

#include <string>
#include <vector>

#include <kolmo/nn/layers.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/shape.hpp>
#include <kolmo/rvq/tables.hpp>

namespace kolmo::rvq {

/// z + relu(z up) down.
template <class V>
struct QincoBlock {
  V up;    ///< U [d, hidden]
  V down;  ///< V [hidden, d]

  static void fields(auto&& f, auto&... s) {
    f(param("up"), s.up...);
    f(param("down"), s.down...);
  }
  template <class U>
  using Rebind = QincoBlock<U>;

  template <TensorLike Z>
  auto operator()(const Z& z) const {
    return z + matmul(relu(matmul(z, up)), down);
  }
};

template <class V>
struct QincoStage {
  V codewords;        ///< c [K, d]
  V preselection;     ///< [K, d], codewords of the residual without network, which choose what is tried (QINCo2)
  nn::Linear<V> mix;  ///< [2 d, d]: W and b
  std::vector<QincoBlock<V>> blocks;

  static void fields(auto&& f, auto&... s) {
    f(param("codewords"), s.codewords...);
    f(param("preselection"), s.preselection...);
    f(submodule("mix"), s.mix...);
    f(submodule("blocks"), s.blocks...);
  }
  template <class U>
  using Rebind = QincoStage<U>;

  index_t codes() const { return codewords.shape()[0]; }

  /// Throws ShapeError unless the parts fit each other.
  void validate() const {
    if (codewords.rank() != 2 || codes() < 1 || !(preselection.shape() == codewords.shape()))
      throw ShapeError("QincoStage: expected codewords and preselection of one shape [K, d], given " +
                       codewords.shape().to_string() + " and " + preselection.shape().to_string());
    const index_t d = codewords.shape()[1];
    mix.validate();
    if (!(mix.weight.shape() == Shape{2 * d, d}))
      throw ShapeError("QincoStage: expected the mixing weight [" + std::to_string(2 * d) + ", " + std::to_string(d) +
                       "], given " + mix.weight.shape().to_string());
    for (const auto& block : blocks)
      if (block.up.rank() != 2 || block.up.shape()[0] != d || !(block.down.shape() == Shape{block.up.shape()[1], d}))
        throw ShapeError("QincoStage: expected block weights [" + std::to_string(d) + ", hidden] and [hidden, " +
                         std::to_string(d) + "], given " + block.up.shape().to_string() + " and " +
                         block.down.shape().to_string());
  }

  /// f(c, xh) of rows [m, d].
  template <TensorLike C, TensorLike G>
  auto operator()(const C& codeword, const G& given) const {
    auto z = codeword + mix(concat(-1, codeword, given));
    for (const auto& block : blocks) z = block(z);
    return z;
  }
};

struct QincoOptions {
  index_t hidden = 64;  ///< width of the blocks
  index_t blocks = 2;   ///< L, per stage
};

template <class V>
struct Qinco {
  V first;  ///< codewords of the first stage, [K, d]
  std::vector<QincoStage<V>> stages;
  double scale = 1;

  Qinco() = default;
  /// Starts from the tables of a residual quantizer of vectors whose deviation is `deviation`, with which it agrees:
  /// all networks add nothing yet. Throws ShapeError or ArgumentError for tables that do not fit, and for a deviation
  /// or options out of range.
  Qinco(Key key, const std::vector<V>& tables, double deviation, const QincoOptions& options = {}) : scale(deviation) {
    using kolmo::operator/;
    detail::check_tables(std::span<const V>(tables), "Qinco");
    if (!(deviation > 0) || !is_finite(deviation))
      throw ArgumentError("Qinco: the deviation of the vectors must be positive and finite, given " +
                          std::to_string(deviation));
    if (options.hidden < 1 || options.blocks < 0)
      throw ArgumentError("Qinco: expected hidden >= 1 and blocks >= 0, given " + std::to_string(options.hidden) +
                          " and " + std::to_string(options.blocks));
    const index_t d = tables[0].shape()[1];
    first = tables[0] / deviation;
    for (std::size_t q = 1; q < tables.size(); ++q) {
      const V table = tables[q] / deviation;
      QincoStage<V> stage{table, table, nn::Linear<V>(2 * d, d), {}};
      for (index_t l = 0; l < options.blocks; ++l)
        stage.blocks.push_back(
            {nn::he_uniform<V>(fold_in(fold_in(key, q), static_cast<std::uint64_t>(l)), Shape{d, options.hidden}, d),
             V::zeros(Shape{options.hidden, d})});
      stages.push_back(std::move(stage));
    }
  }

  static void fields(auto&& f, auto&... s) {
    f(param("first"), s.first...);
    f(submodule("stages"), s.stages...);
    f(option("scale"), s.scale...);
  }
  template <class U>
  using Rebind = Qinco<U>;

  index_t dimension() const { return first.shape()[1]; }
  index_t stage_count() const { return 1 + static_cast<index_t>(stages.size()); }
  /// Codes of every stage.
  std::vector<index_t> codes() const {
    std::vector<index_t> counts{first.shape()[0]};
    for (const auto& stage : stages) counts.push_back(stage.codes());
    return counts;
  }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    if (first.rank() != 2 || first.shape()[0] < 1)
      throw ShapeError("Qinco: expected the codewords of the first stage [K, d], given " + first.shape().to_string());
    if (!(scale > 0)) throw ArgumentError("Qinco: the scale must be positive, given " + std::to_string(scale));
    for (const auto& stage : stages) {
      stage.validate();
      if (stage.codewords.shape()[1] != dimension())
        throw ShapeError("Qinco: the stages have codewords of different dimensions, " + std::to_string(dimension()) +
                         " and " + std::to_string(stage.codewords.shape()[1]));
    }
  }
};

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

/// Column q of codes [n, A].
template <class B>
Tensor<Code, B> code_column(const Tensor<Code, B>& codes, index_t q) {
  return slice(codes, 1, q, q + 1).reshaped(Shape{codes.shape()[0]});
}

template <class V, class B>
void check_qinco_codes(const Qinco<V>& quantizer, const Tensor<Code, B>& codes) {
  if (codes.rank() != 2 || codes.shape()[1] < 1 || codes.shape()[1] > quantizer.stage_count())
    throw ShapeError("qinco: expected codes [n, 1.." + std::to_string(quantizer.stage_count()) + "], given " +
                     codes.shape().to_string());
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// The vectors [n, d] of codes [n, A], A at most the number of stages. Throws ShapeError for another shape,
/// ArgumentError for a code outside its stage, also -1: later stages depend on earlier ones.
template <PlainTensor V>
V decode(const Qinco<V>& quantizer, const CodesOf<V>& codes) {
  quantizer.validate();
  detail::check_qinco_codes(quantizer, codes);
  V reconstruction = take(quantizer.first, detail::code_column(codes, 0));
  for (index_t q = 1; q < codes.shape()[1]; ++q) {
    const auto& stage = quantizer.stages[static_cast<std::size_t>(q - 1)];
    reconstruction = reconstruction + stage(take(stage.codewords, detail::code_column(codes, q)), reconstruction);
  }
  return reconstruction * quantizer.scale;
}

/// The loss of vectors x [n, d] with given codes [n, all stages], in units of scale^2: the sum over the stages of
/// mean((x - xh)^2), and for the preselections that of mean((x - xh - p)^2), which trains them alone. Throws as decode.
template <class W, PlainTensor V>
auto qinco_loss(const Qinco<W>& quantizer, const V& x, const CodesOf<V>& codes) {
  detail::check_qinco_codes(quantizer, codes);
  const V target = x / quantizer.scale;
  auto reconstruction = take(quantizer.first, detail::code_column(codes, 0));
  auto loss = mean(square(reconstruction - target));
  for (index_t q = 1; q < codes.shape()[1]; ++q) {
    const auto& stage = quantizer.stages[static_cast<std::size_t>(q - 1)];
    const auto code = detail::code_column(codes, q);
    const V residual = target - detach(reconstruction);
    reconstruction = reconstruction + stage(take(stage.codewords, code), reconstruction);
    loss = loss + mean(square(reconstruction - target)) + mean(square(take(stage.preselection, code) - residual));
  }
  return loss;
}

}  // namespace kolmo::rvq
