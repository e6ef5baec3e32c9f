#pragma once
// Grouped residual quantization: the d components of a vector are cut into G groups of neighbours, and each group has a
// residual quantizer of its own, of dimension d / G. At G times the rate of one such quantizer, and searches of G times
// fewer components. With one stage it is product quantization.

#include <string>
#include <vector>

#include <kolmo/ops/join.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/training.hpp>

namespace kolmo::rvq {

template <class V>
struct GroupedQuantizer {
  std::vector<ResidualQuantizer<V>> groups;

  GroupedQuantizer() = default;
  /// `count` groups of vectors of `dimension`, each with one stage for every number in `codes`. Throws ArgumentError
  /// unless the groups divide the dimension, and as ResidualQuantizer.
  GroupedQuantizer(index_t dimension, index_t count, const std::vector<index_t>& codes,
                   const CodebookOptions& book = {}, const QuantizerOptions& options = {}) {
    if (count < 1 || dimension < 1 || dimension % count != 0)
      throw ArgumentError("GroupedQuantizer: the number of groups must divide the dimension " +
                          std::to_string(dimension) + ", given " + std::to_string(count));
    groups.assign(static_cast<std::size_t>(count), ResidualQuantizer<V>(dimension / count, codes, book, options));
  }

  static void fields(auto&& f, auto&... s) { f(submodule("groups"), s.groups...); }
  template <class U>
  using Rebind = GroupedQuantizer<U>;

  index_t group_count() const { return static_cast<index_t>(groups.size()); }
  index_t dimension() const { return group_count() * groups.at(0).dimension(); }

  /// Throws ArgumentError unless all groups have one dimension and one number of stages.
  void validate() const {
    if (groups.empty()) throw ArgumentError("GroupedQuantizer: no groups");
    for (const auto& group : groups)
      if (group.dimension() != groups[0].dimension() || group.stage_count() != groups[0].stage_count())
        throw ArgumentError("GroupedQuantizer: the groups differ in dimension or number of stages, " +
                            std::to_string(group.dimension()) + " and " + std::to_string(group.stage_count()) +
                            " beside " + std::to_string(groups[0].dimension()) + " and " +
                            std::to_string(groups[0].stage_count()));
  }
};

/// As Quantized, for all groups.
template <class X, class L, class V>
struct GroupedQuantized {
  X output;           ///< of the shape of x
  CodesOf<V> codes;   ///< [n, groups, A]
  L commitment_loss;  ///< mean over all n d elements, without its weight
  L codebook_loss;
  std::vector<std::vector<UpdateStatistics<V>>> statistics;  ///< of every group and stage, in training
};

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

/// The part of x [..., d] that a group sees.
template <class V, TensorLike X>
auto group_of(const GroupedQuantizer<V>& quantizer, const X& x, std::size_t g) {
  const index_t width = quantizer.groups[g].dimension(), begin = static_cast<index_t>(g) * width;
  return slice(x, -1, begin, begin + width);
}

template <class V>
void check_grouped(const GroupedQuantizer<V>& quantizer, const Shape& x) {
  quantizer.validate();
  check_vectors(x, quantizer.dimension(), "grouped quantizer");
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// Quantizes x [..., d], each group as rvq::quantize does. Throws likewise.
template <TensorLike C, TensorLike X>
auto quantize(const GroupedQuantizer<C>& quantizer, const X& x, const QuantizeOptions<BaseOf<C>>& options = {}) {
  using V = BaseOf<C>;
  detail::check_grouped(quantizer, x.shape());
  using Part = decltype(quantize(quantizer.groups[0], detail::group_of(quantizer, x, 0), options));
  std::vector<Part> parts;
  std::vector<decltype(Part::output)> outputs;
  std::vector<CodesOf<V>> codes;
  std::vector<std::vector<UpdateStatistics<V>>> statistics;
  for (std::size_t g = 0; g < quantizer.groups.size(); ++g) {
    auto own = options;
    own.pass.key = fold_in(options.pass.key, g);
    parts.push_back(quantize(quantizer.groups[g], detail::group_of(quantizer, x, g), own));
    outputs.push_back(parts.back().output);
    codes.push_back(parts.back().codes);
    statistics.push_back(parts.back().statistics);
  }
  auto commitment = parts[0].commitment_loss, codebook = parts[0].codebook_loss;
  for (std::size_t g = 1; g < parts.size(); ++g) {
    commitment = commitment + parts[g].commitment_loss;
    codebook = codebook + parts[g].codebook_loss;
  }
  const double share = 1 / static_cast<double>(parts.size());
  return GroupedQuantized<decltype(Part::output), decltype(Part::commitment_loss), V>{
      concat(-1, outputs), stack(1, codes), commitment * share, codebook * share, std::move(statistics)};
}

/// The one call that changes codebooks in training, once per step, with what quantize returned. Throws as apply_update
/// of one quantizer; nothing has changed then.
template <PlainTensor V>
std::vector<QuantizerUpdate> apply_update(GroupedQuantizer<V>& quantizer,
                                          const std::vector<std::vector<UpdateStatistics<V>>>& statistics, Key key) {
  if (statistics.size() != quantizer.groups.size())
    throw ArgumentError("apply_update: expected statistics of " + std::to_string(quantizer.groups.size()) +
                        " groups, given " + std::to_string(statistics.size()));
  GroupedQuantizer<V> changed = quantizer;
  std::vector<QuantizerUpdate> updates;
  for (std::size_t g = 0; g < statistics.size(); ++g)
    updates.push_back(apply_update(changed.groups[g], statistics[g], fold_in(key, g)));
  quantizer = std::move(changed);
  return updates;
}

/// Starts the stages that the next step needs, on x [..., d]; see start_stages of one quantizer.
template <PlainTensor V, TensorLike X>
void start_stages(GroupedQuantizer<V>& quantizer, const X& x, Key key,
                  const StartOptions<std::type_identity_t<V>>& options = {}) {
  detail::check_grouped(quantizer, x.shape());
  for (std::size_t g = 0; g < quantizer.groups.size(); ++g)
    start_stages(quantizer.groups[g], detail::group_of(quantizer, x, g), fold_in(key, g), options);
}

/// Codes [n, G, A] of the vectors x [..., d]. Throws as encode of one quantizer.
template <PlainTensor V>
CodesOf<V> encode(const GroupedQuantizer<V>& quantizer, const V& x, const EncodeOptions& options = {}) {
  detail::check_grouped(quantizer, x.shape());
  std::vector<CodesOf<V>> codes;
  for (std::size_t g = 0; g < quantizer.groups.size(); ++g)
    codes.push_back(encode(quantizer.groups[g], V(detail::group_of(quantizer, x, g).contiguous()), options).codes);
  return stack(1, codes);
}

/// The vectors [n, d] of codes [n, G, A]. Throws ShapeError for codes of another number of groups, else as decode of
/// one quantizer.
template <PlainTensor V>
V decode(const GroupedQuantizer<V>& quantizer, const CodesOf<V>& codes) {
  quantizer.validate();
  if (codes.rank() != 3 || codes.shape()[1] != quantizer.group_count())
    throw ShapeError("grouped quantizer: expected codes [n, " + std::to_string(quantizer.group_count()) +
                     ", stages], given " + codes.shape().to_string());
  std::vector<V> parts;
  for (std::size_t g = 0; g < quantizer.groups.size(); ++g)
    parts.push_back(decode(quantizer.groups[g], CodesOf<V>(at(codes, 1, static_cast<index_t>(g)).contiguous())));
  return concat(-1, parts);
}

/// A run of training.hpp for every group; on plain vectors they need nothing of each other.
template <class V>
struct GroupedTraining {
  std::vector<QuantizerTraining<V>> groups;

  static void fields(auto&& f, auto&... s) { f(submodule("groups"), s.groups...); }
  template <class U>
  using Rebind = GroupedTraining<U>;

  GroupedQuantizer<V> quantizer() const {
    GroupedQuantizer<V> result;
    for (const auto& group : groups) result.groups.push_back(group.quantizer);
    return result;
  }
};

template <PlainTensor V>
GroupedTraining<V> start_training(const GroupedQuantizer<V>& quantizer, const TrainingOptions& options, Key key) {
  quantizer.validate();
  GroupedTraining<V> training;
  for (std::size_t g = 0; g < quantizer.groups.size(); ++g)
    training.groups.push_back(start_training(quantizer.groups[g], options, fold_in(key, g)));
  return training;
}

/// Steps on data [n, d] until `steps` are completed in every group. Throws as train of one quantizer.
template <PlainTensor V>
void train(GroupedTraining<V>& training, const V& data, index_t steps) {
  const GroupedQuantizer<V> quantizer = training.quantizer();
  detail::check_grouped(quantizer, data.shape());
  for (std::size_t g = 0; g < training.groups.size(); ++g)
    train(training.groups[g], V(detail::group_of(quantizer, data, g).contiguous()), steps);
}

}  // namespace kolmo::rvq
