#pragma once
// The residual quantizer as data: stages, each a codebook with perhaps projections around it, and what their training
// has done so far. What moves it is in rvq/residual_quantizer.hpp; encoding and decoding in rvq/inference.hpp.

#include <optional>
#include <string>
#include <vector>

#include <kolmo/rvq/codebook.hpp>
#include <kolmo/rvq/projection.hpp>
#include <kolmo/rvq/quantizer_options.hpp>
#include <kolmo/rvq/schedule.hpp>

namespace kolmo::rvq {

/// One stage: a codebook over the residual, or over its projection.
template <class V>
struct Stage {
  Codebook<V> book;
  std::optional<Projection<V>> projection;

  static void fields(auto&& f, auto&... s) {
    f(submodule("book"), s.book...);
    f(submodule("projection"), s.projection...);
  }
  template <class U>
  using Rebind = Stage<U>;

  /// Of the vectors that the stage quantizes.
  index_t dimension() const { return projection ? projection->in.direction.shape()[0] : book.codewords.shape()[1]; }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    book.validate();
    if (!projection) return;
    projection->validate();
    if (projection->in.outputs() != book.dimension())
      throw ShapeError("Stage: the projection leads to " + std::to_string(projection->in.outputs()) +
                       " dimensions, the codewords have " + std::to_string(book.dimension()));
    if (book.options.training != CodebookTraining::gradient || book.options.distance != Distance::cosine)
      throw ArgumentError("Stage: a projected codebook is searched by angle and trained by gradient");
  }
};

/// x is approximated by a sum of one codeword of each stage: r_0 = x, r_{q+1} = r_q - e_q. A value like any model: its
/// functions that change it say so by taking it without const.
template <class V>
struct ResidualQuantizer {
  QuantizerOptions options;
  std::vector<Stage<V>> stages;
  index_t steps_completed = 0;  ///< s: completed optimizer steps
  index_t active_trained = 0;   ///< A(s - 1): stages that the last completed step used; 0 before the first

  ResidualQuantizer() = default;

  /// A quantizer of vectors of `dimension`, with one stage for each number of codes in `codes`, which replaces that of
  /// `book`. Averaged codebooks wait for their start from data; with projections call init, too. Throws ArgumentError
  /// for options outside their ranges or that do not go together.
  ResidualQuantizer(index_t dimension, const std::vector<index_t>& codes, CodebookOptions book = {},
                    const QuantizerOptions& settings = {})
      : options(settings) {
    options.validate();
    if (codes.empty()) throw ArgumentError("ResidualQuantizer: no stages; give the number of codes of each");
    if (dimension < 1)
      throw ArgumentError("ResidualQuantizer: the dimension must be at least 1, given " + std::to_string(dimension));
    const bool projected = options.projected_dimension > 0;
    if (projected) {
      book.training = CodebookTraining::gradient;
      book.distance = Distance::cosine;
    }
    for (const index_t k : codes) {
      book.codes = k;
      Stage<V> stage{Codebook<V>(projected ? options.projected_dimension : dimension, book), std::nullopt};
      if (projected) stage.projection.emplace(dimension, options.projected_dimension);
      stages.push_back(std::move(stage));
    }
    validate();
  }
  /// `count` stages of one size, that of `book`.
  ResidualQuantizer(index_t dimension, index_t count, const CodebookOptions& book = {},
                    const QuantizerOptions& settings = {})
      : ResidualQuantizer(dimension,
                          std::vector<index_t>(static_cast<std::size_t>(larger<index_t>(0, count)), book.codes), book,
                          settings) {}

  static void fields(auto&& f, auto&... s) {
    f(submodule("options"), s.options...);
    f(submodule("stages"), s.stages...);
    f(state("steps_completed"), s.steps_completed...);
    f(state("active_trained"), s.active_trained...);
  }
  template <class U>
  using Rebind = ResidualQuantizer<U>;

  index_t dimension() const { return stages.at(0).dimension(); }
  index_t stage_count() const { return static_cast<index_t>(stages.size()); }
  /// A(s): stages of the next training step.
  index_t active() const { return active_stages(steps_completed, options.progressive, stage_count()); }
  /// Codes of every stage.
  std::vector<index_t> code_counts() const {
    std::vector<index_t> result;
    for (const Stage<V>& stage : stages) result.push_back(stage.book.codes());
    return result;
  }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    options.validate();
    if (stages.empty()) throw ArgumentError("ResidualQuantizer: no stages");
    for (std::size_t q = 0; q < stages.size(); ++q) {
      const Stage<V>& stage = stages[q];
      stage.validate();
      const auto fail = [&](const std::string& why) {
        throw ArgumentError("ResidualQuantizer: stage " + std::to_string(q) + " " + why);
      };
      if (stage.dimension() != dimension())
        fail("has dimension " + std::to_string(stage.dimension()) + ", the first one " + std::to_string(dimension()));
      if (stage.projection.has_value() != (options.projected_dimension > 0) ||
          (stage.projection && stage.book.dimension() != options.projected_dimension))
        fail("does not have the projection that projected_dimension = " + std::to_string(options.projected_dimension) +
             " asks for");
      if (options.shared_codebook &&
          (stage.book.options != stages[0].book.options || stage.book.options.training != CodebookTraining::ema))
        fail("cannot share a codebook: that takes averaged codebooks of one size");
    }
    if (steps_completed < 0 ||
        active_trained != rvq::active_trained(steps_completed, options.progressive, stage_count()))
      throw ArgumentError("ResidualQuantizer: after " + std::to_string(steps_completed) +
                          " steps with one more stage every " + std::to_string(options.progressive) +
                          " the last step cannot have used " + std::to_string(active_trained) + " of " +
                          std::to_string(stage_count()) + " stages");
  }
};

/// Draws projections; codebooks start from data instead, see start_stages.
template <PlainTensor V>
void init(Key key, ResidualQuantizer<V>& quantizer) {
  for (std::size_t q = 0; q < quantizer.stages.size(); ++q)
    if (quantizer.stages[q].projection) init(fold_in(key, q), *quantizer.stages[q].projection);
}

/// The number of leading stages that have started and had trained_updates updates: those that encoding and decoding
/// may use.
template <PlainTensor V>
index_t trained_stages(const ResidualQuantizer<V>& quantizer) {
  index_t trained = 0;
  for (const Stage<V>& stage : quantizer.stages) {
    if (!stage.book.initialised || stage.book.updates < quantizer.options.trained_updates) break;
    ++trained;
  }
  return trained;
}

/// A quantizer of tables [K_q, d] that were trained elsewhere; all stages count as trained. Throws ShapeError unless
/// the tables have one d.
template <PlainTensor V>
ResidualQuantizer<V> quantizer_of_tables(const std::vector<V>& tables, CodebookOptions book = {},
                                         const QuantizerOptions& settings = {}) {
  if (settings.projected_dimension != 0)
    throw ArgumentError("quantizer_of_tables: tables have no projections; projected_dimension must be 0");
  std::vector<index_t> codes;
  for (const V& table : tables) {
    if (table.rank() != 2 || table.shape()[-1] != tables[0].shape()[-1])
      throw ShapeError("quantizer_of_tables: expected tables [codes, d] of one d, given " + table.shape().to_string() +
                       " beside " + tables[0].shape().to_string());
    codes.push_back(table.shape()[0]);
  }
  ResidualQuantizer<V> result(tables.empty() ? 1 : tables[0].shape()[1], codes, book, settings);
  for (std::size_t q = 0; q < tables.size(); ++q) {
    result.stages[q].book.codewords = tables[q];
    result.stages[q].book.initialised = true;
    result.stages[q].book.updates = larger<index_t>(1, settings.trained_updates);
  }
  return result;
}

}  // namespace kolmo::rvq
