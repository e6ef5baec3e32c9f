#pragma once
// The training of a residual quantizer around its forward pass (rvq/quantize.hpp), in the order of a step:
//
//   start_stages      codebooks of stages that become active start from data
//   quantize          outputs, losses, statistics; changes nothing
//   the optimiser     for networks around it, and codebooks and projections that are trained by gradient
//   apply_update      the one call that moves averaged codebooks, and counts the step

#include <optional>
#include <vector>

#include <kolmo/rvq/codebook_start.hpp>
#include <kolmo/rvq/quantize.hpp>

namespace kolmo::rvq::detail {

/// Gives stage q the codebook of the first one; its updates are its own.
template <PlainTensor V>
void share_codebook(ResidualQuantizer<V>& quantizer, index_t q, index_t more_updates) {
  Codebook<V>& book = quantizer.stages[static_cast<std::size_t>(q)].book;
  const index_t updates = book.updates + more_updates;
  book = quantizer.stages[0].book;
  book.updates = updates;
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// The losses with their weights: commitment_weight * commitment + codebook_weight * codebook.
template <class V, class X, class L, class P>
L quantizer_loss(const ResidualQuantizer<V>& quantizer, const Quantized<X, L, P>& result) {
  return result.commitment_loss * quantizer.options.commitment_weight +
         result.codebook_loss * quantizer.options.codebook_weight;
}

/// Whether a stage of the next training step has no start yet.
template <class V>
bool needs_start(const ResidualQuantizer<V>& quantizer) {
  for (index_t q = 0; q < quantizer.active(); ++q)
    if (!quantizer.stages[static_cast<std::size_t>(q)].book.initialised) return true;
  return false;
}

/// What apply_update did, per stage of the step.
struct QuantizerUpdate {
  std::vector<UpdateReport> stages;
};

/// The one call that changes codebooks in training, once per step, after the optimizer: averages, counts, ages, codes
/// out of use, and one completed step more. `statistics` come from quantize in training, added over micro-batches or
/// workers with `add`. Throws ArgumentError when they are not those of the stages of this step; nothing has changed
/// then.
template <PlainTensor V>
QuantizerUpdate apply_update(ResidualQuantizer<V>& quantizer, const std::vector<UpdateStatistics<V>>& statistics,
                             Key key) {
  const index_t active = quantizer.active();
  if (static_cast<index_t>(statistics.size()) != active)
    throw ArgumentError("apply_update: expected statistics of the " + std::to_string(active) +
                        " stages of this step, given " + std::to_string(statistics.size()) +
                        "; pass those of quantize in a training pass");
  ResidualQuantizer<V> changed = quantizer;  // handles: a stage that throws leaves nothing half done
  QuantizerUpdate result;
  if (quantizer.options.shared_codebook) {
    UpdateStatistics<V> all = statistics[0];
    for (index_t q = 1; q < active; ++q) all = add(all, statistics[static_cast<std::size_t>(q)]);
    result.stages.push_back(update(changed.stages[0].book, all, fold_in(key, 0)));
    for (index_t q = 1; q < active; ++q) detail::share_codebook(changed, q, result.stages[0].applied ? 1 : 0);
  } else {
    for (index_t q = 0; q < active; ++q)
      result.stages.push_back(update(changed.stages[static_cast<std::size_t>(q)].book,
                                     statistics[static_cast<std::size_t>(q)],
                                     fold_in(key, static_cast<std::uint64_t>(q))));
  }
  changed.active_trained = active;
  ++changed.steps_completed;
  quantizer = std::move(changed);
  return result;
}

template <class V>
struct StartOptions {
  /// Vectors that an update gets; as many as are given to start_stages unless told.
  std::optional<index_t> vectors_per_update = std::nullopt;
  V mask = {};  ///< as in QuantizeOptions
};

/// A stage that started.
struct StageStart {
  index_t stage = 0;
  StartReport report;
};

/// Starts every stage of the next training step that has not been started, on what the stages before it leave of the
/// vectors x [..., d]: one batch of at least eight vectors a code, better several. Call it at the beginning of a step;
/// where nothing is to be done it looks at flags only. Throws as start_codebook; the quantizer is then unchanged.
template <PlainTensor V, TensorLike X>
std::vector<StageStart> start_stages(ResidualQuantizer<V>& quantizer, const X& x, Key key,
                                     const StartOptions<std::type_identity_t<V>>& options = {}) {
  using T = typename V::Scalar;
  std::vector<StageStart> started;
  if (!needs_start(quantizer)) return started;
  const index_t active = quantizer.active(), d = quantizer.dimension();
  detail::check_vectors(x.shape(), d, "start_stages");
  V residual = cast<T>(detach(x)).reshaped(Shape{x.size() / d, d});
  if (options.mask.has_value()) {
    const Shape leading = x.shape().without(x.rank() - 1);
    if (!(options.mask.shape() == leading))
      throw ShapeError("start_stages: expected a mask of shape " + leading.to_string() +
                       ", the leading axes of x, given " + options.mask.shape().to_string());
    std::vector<index_t> counted;
    const auto flags = options.mask.to_vector();
    for (std::size_t i = 0; i < flags.size(); ++i)
      if (flags[i] != T(0)) counted.push_back(static_cast<index_t>(i));
    residual = take(residual, Tensor<index_t, typename V::Backend>::from(counted));
  }
  ResidualQuantizer<V> changed = quantizer;
  for (index_t q = 0; q < active; ++q) {
    Stage<V>& stage = changed.stages[static_cast<std::size_t>(q)];
    const V z = stage.projection ? V(stage.projection->in(residual)) : residual;
    if (!stage.book.initialised) {
      if (changed.options.shared_codebook && q > 0) {
        detail::share_codebook(changed, q, 0);
        started.push_back({q, {}});
      } else {
        started.push_back({q, start_codebook(stage.book, z, fold_in(key, static_cast<std::uint64_t>(q)),
                                             options.vectors_per_update)});
      }
    }
    const V e = assign(stage.book, z).reconstruction;
    residual = residual - (stage.projection ? V(stage.projection->out(e)) : e);
  }
  quantizer = std::move(changed);
  return started;
}

/// Sets the counts of every started stage to what an update of `vectors_per_update` vectors like x [n, d] brings: after
/// tables were trained elsewhere, so that averages go on from where they are, and counts tell how often codes are used.
/// Throws as quantize.
template <PlainTensor V>
void set_counts(ResidualQuantizer<V>& quantizer, const V& x, index_t vectors_per_update) {
  using T = typename V::Scalar;
  index_t started = 0;
  while (started < quantizer.stage_count() && quantizer.stages[static_cast<std::size_t>(started)].book.initialised)
    ++started;
  if (started == 0) return;
  const auto codes = quantize(quantizer, x, {.active = started, .mask = {}}).codes.to_vector();
  const double scale = static_cast<double>(vectors_per_update) / static_cast<double>(larger<index_t>(1, x.shape()[0]));
  for (index_t q = 0; q < started; ++q) {
    Codebook<V>& book = quantizer.stages[static_cast<std::size_t>(q)].book;
    std::vector<T> counts(static_cast<std::size_t>(book.codes()), T(0));
    for (std::size_t i = static_cast<std::size_t>(q); i < codes.size(); i += static_cast<std::size_t>(started))
      counts[static_cast<std::size_t>(codes[i])] += T(1);
    for (T& count : counts) count = static_cast<T>(static_cast<double>(count) * scale);
    book.counts = V::from(std::span<const T>(counts), book.counts.shape());
  }
}

/// From now on updates change no codebook, and no gradient reaches it; steps are still counted.
template <PlainTensor V>
void freeze(ResidualQuantizer<V>& quantizer, bool frozen = true) {
  for (Stage<V>& stage : quantizer.stages) stage.book.frozen = frozen;
}

}  // namespace kolmo::rvq
