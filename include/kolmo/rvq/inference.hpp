#pragma once
// Encoding and decoding with a residual quantizer: by its first stages, at most those that were asked for, and never
// one that was not trained. After two trained stages six untrained ones would undo them.

#include <string>
#include <vector>

#include <kolmo/rvq/encode.hpp>
#include <kolmo/rvq/stages.hpp>

namespace kolmo::rvq {

/// How many stages are used, and what a user should know about it.
struct StageUse {
  index_t requested = 0;  ///< 0: all that are trained
  index_t used = 0;
  index_t trained = 0;          ///< leading stages that may be used
  bool made_for_fewer = false;  ///< trained with quantizer dropout, so that fewer stages lose little
  std::string warning;          ///< empty when all is as requested
};

/// How many of the `requested` stages (0: all) can be used. Throws ArgumentError for a negative number, for more stages
/// than there are, and when no stage is trained.
template <PlainTensor V>
StageUse stage_use(const ResidualQuantizer<V>& quantizer, index_t requested = 0) {
  const index_t stages = quantizer.stage_count();
  if (requested < 0 || requested > stages)
    throw ArgumentError("stages: expected 1 to " + std::to_string(stages) + ", or 0 for all that are trained, given " +
                        std::to_string(requested));
  StageUse use{requested, 0, trained_stages(quantizer), quantizer.options.dropout > 0, {}};
  if (use.trained == 0)
    throw ArgumentError("stages: no stage of this quantizer is trained; the first one had " +
                        std::to_string(quantizer.stages.at(0).book.updates) + " updates and needs " +
                        std::to_string(quantizer.options.trained_updates) + ". Train it longer");
  use.used = requested == 0 ? use.trained : smaller(requested, use.trained);
  if (use.used < requested)
    use.warning = std::to_string(requested) + " stages requested, " + std::to_string(use.used) +
                  " used: the others are not trained";
  else if (requested == 0 && use.trained < stages)
    use.warning =
        std::to_string(use.used) + " of " + std::to_string(stages) + " stages used: the others are not trained";
  if (use.used < use.trained && !use.made_for_fewer) {
    if (!use.warning.empty()) use.warning += "; ";
    use.warning += "the quantizer was trained for " + std::to_string(use.trained) +
                   " stages, without dropout: networks around it may not do with " + std::to_string(use.used);
  }
  return use;
}

/// What decoding adds up: for every stage the table [K, d] of its codewords, behind their projections. Throws as
/// stage_use.
template <PlainTensor V>
std::vector<V> decode_tables(const ResidualQuantizer<V>& quantizer, index_t stages = 0) {
  const StageUse use = stage_use(quantizer, stages);
  std::vector<V> tables;
  for (index_t q = 0; q < use.used; ++q) {
    const Stage<V>& stage = quantizer.stages[static_cast<std::size_t>(q)];
    tables.push_back(stage.projection ? V(stage.projection->out(stage.book.codewords)) : stage.book.codewords);
  }
  return tables;
}

struct EncodeOptions {
  index_t stages = 0;  ///< 0: all that are trained
  index_t beam = 1;    ///< paths kept in the search; more than 1 not with projections or a search by angle
};

template <PlainTensor V>
struct Encoded {
  CodesOf<V> codes;  ///< [n, stages.used]
  StageUse stages;
};

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

struct PutColumnKernel {
  const Code* from;
  Code* to;
  index_t columns, column;
  KOLMO_HD void operator()(index_t row) const { to[row * columns + column] = from[row]; }
};

/// Every stage by its own search, what it decodes to taken off.
template <PlainTensor V>
CodesOf<V> encode_by_assignment(const ResidualQuantizer<V>& quantizer, const std::vector<V>& tables, const V& x) {
  using B = typename V::Backend;
  const index_t n = x.shape()[0], stages = static_cast<index_t>(tables.size());
  auto codes = CodesOf<V>::uninitialized(Shape{n, stages});
  V residual = x;
  for (index_t q = 0; q < stages; ++q) {
    const Stage<V>& stage = quantizer.stages[static_cast<std::size_t>(q)];
    const auto chosen = assign(stage.book, stage.projection ? V(stage.projection->in(residual)) : residual).codes;
    B::for_each(n, PutColumnKernel{chosen.data(), codes.mutable_data(), stages, q});
    residual = residual - take(tables[static_cast<std::size_t>(q)], chosen);
  }
  return codes;
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// Codes [n, A] of the vectors x [..., d], n of them, by the trained stages. Nothing changes. Throws ShapeError for
/// vectors of another dimension, ArgumentError as stage_use, for vectors that are not finite, and for a beam that the
/// search does not have.
template <PlainTensor V, PlainTensor X>
Encoded<V> encode(const ResidualQuantizer<V>& quantizer, const X& x, const EncodeOptions& options = {}) {
  const index_t d = quantizer.dimension();
  if (x.rank() < 1 || x.shape()[-1] != d)
    throw ShapeError("encode: expected vectors [..., " + std::to_string(d) + "], given " + x.shape().to_string());
  const V vectors = cast<typename V::Scalar>(x).reshaped(Shape{x.size() / d, d});
  StageUse use = stage_use(quantizer, options.stages);
  const std::vector<V> tables = decode_tables(quantizer, use.used);
  const bool plain =
      quantizer.options.projected_dimension == 0 && quantizer.stages[0].book.options.distance == Distance::euclidean;
  if (!plain && options.beam != 1)
    throw ArgumentError("encode: a beam of " + std::to_string(options.beam) +
                        " needs a search by Euclidean distance without projections; use beam 1");
  return {
      plain ? encode_residual(tables, vectors, options.beam) : detail::encode_by_assignment(quantizer, tables, vectors),
      std::move(use)};
}

/// The sum of the codewords, in the order of the stages: codes [n, A] give [n, d], bit for bit what the encoder meant.
/// Codes of fewer stages are the first columns; -1 adds nothing. Throws ShapeError for codes of more stages than are
/// trained, ArgumentError for a code that does not exist.
template <PlainTensor V>
V decode(const ResidualQuantizer<V>& quantizer, const CodesOf<V>& codes) {
  return decode_residual(decode_tables(quantizer), codes);
}

}  // namespace kolmo::rvq
