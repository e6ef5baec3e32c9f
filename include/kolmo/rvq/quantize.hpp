#pragma once
// Residual quantization as a layer that trains. With x_hat = sum of the codewords e_q that the stages chose,
//
//   output = x + sg(x_hat - x)                                         one straight-through step (or a rotation)
//   commitment loss = sum_q mean((r_q - sg(e_q))^2),   codebook loss = sum_q mean((sg(r_q) - e_q)^2)
//
// with r_q = x - sg(e_0 + .. + e_{q-1}), the residual *before* stage q is taken from it. So d output / d x is the
// identity for any number of stages, and the gradient of the commitment loss is (2 / (n d)) sum_q (r_q - e_q).
//
// With projections the stage works on z = W_in r + b_in, searches by angle, takes the codeword c itself and returns
// e = W_out (z + sg(c - z)) + b_out; the losses compare z and c, and the output is the sum of the e.
//
// The forward pass changes nothing and returns what an update needs (rvq/residual_quantizer.hpp).

#include <vector>

#include <kolmo/nn/pass.hpp>
#include <kolmo/ops/views.hpp>
#include <kolmo/rvq/codebook_update.hpp>
#include <kolmo/rvq/stages.hpp>
#include <kolmo/rvq/straight_through.hpp>

namespace kolmo::rvq {

/// What stands for the gradient of the quantizer.
enum class QuantizerGradient { straight_through, rotation };

template <class V>
struct QuantizeOptions {
  /// Stages to use. In training it is left at 0: the schedule decides. In evaluation 0 means as many as the last step
  /// used.
  index_t active = 0;
  /// Of the leading axes of x: zero for padding, which has codes -1, output 0, no gradient and no part in losses and
  /// statistics. No values: everything counts.
  V mask = {};
  /// Statistics are collected and stages dropped in training only.
  nn::Pass pass = {};
  QuantizerGradient gradient = QuantizerGradient::straight_through;
};

/// What quantize returns. X and L are the tensor kinds of the output and of the losses, V the plain tensor.
template <class X, class L, class V>
struct Quantized {
  X output;                                 ///< of the shape of x
  Tensor<Code, typename V::Backend> codes;  ///< [n, A]; -1 where a stage was dropped or a vector is padding
  L commitment_loss;                        ///< without its weight
  L codebook_loss;                          ///< without its weight; zero for averaged codebooks
  std::vector<double> stage_errors;         ///< of every stage, mean((r - e)^2) over n d: its part of the commitment
  std::vector<UpdateStatistics<V>> statistics;  ///< of every stage, in training
};

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

/// w (a - b)^2 for rows of weight w.
struct WeightedSquare {
  KOLMO_HD auto operator()(auto a, auto b, auto w) const { return w * ((a - b) * (a - b)); }
};
struct SquaredDifference {
  KOLMO_HD auto operator()(auto a, auto b) const { return (a - b) * (a - b); }
};

/// How many stages a row goes through: those of its item, or none when it is padding.
template <class T>
struct SeenKernel {
  const T* mask;  // may be null
  const index_t* items;
  index_t rows_per_item;
  index_t* seen;
  KOLMO_HD void operator()(index_t row) const {
    seen[row] = mask != nullptr && mask[row] == T(0) ? 0 : items[row / rows_per_item];
  }
};

template <class T>
struct StageWeightKernel {
  const index_t* seen;
  index_t stage;
  T* weights;
  KOLMO_HD void operator()(index_t row) const { weights[row] = T(seen[row] > stage ? 1 : 0); }
};

/// codes[row, stage] = code where the row goes through the stage, else -1; also into `kept`.
struct PlaceCodesKernel {
  const Code* chosen;
  const index_t* seen;  // may be null
  index_t stage, stages;
  Code* codes;
  Code* kept;
  KOLMO_HD void operator()(index_t row) const {
    const Code code = seen == nullptr || seen[row] > stage ? chosen[row] : Code(-1);
    codes[row * stages + stage] = code;
    kept[row] = code;
  }
};

/// Which rows go through which stage.
template <PlainTensor V>
class RowChoice {
  using T = typename V::Scalar;
  using B = typename V::Backend;

 public:
  /// `leading` are the axes of x without the last; items are along the first one.
  RowChoice(const Shape& leading, index_t active, double dropout, const QuantizeOptions<V>& options) {
    rows_ = leading.size();
    const bool drops = options.pass.training && dropout > 0, padded = options.mask.has_value();
    counted_ = rows_;
    if (!drops && !padded) return;
    if (padded && !(options.mask.shape() == leading))
      throw ShapeError("quantize: expected a mask of shape " + leading.to_string() + ", the leading axes of x, given " +
                       options.mask.shape().to_string());
    const index_t items = leading.rank() > 0 ? leading[0] : 1;
    std::vector<index_t> stages(static_cast<std::size_t>(items), active);
    if (drops) {
      const auto [chance, depth] = split(options.pass.key);
      for (std::size_t b = 0; b < stages.size(); ++b)
        if (uniform<double>(chance, b) < dropout) stages[b] = 1 + integer_below(depth, b, active);
    }
    seen_ = Seen::uninitialized(Shape{rows_});
    const auto of_items = Seen::from(stages);
    const V mask = padded ? options.mask.contiguous() : V();
    B::for_each(rows_, SeenKernel<T>{padded ? mask.data() : nullptr, of_items.data(),
                                     larger<index_t>(1, rows_ / larger<index_t>(1, items)), seen_.mutable_data()});
    if (padded) counted_ = static_cast<index_t>(sum(weights(0)).item());
  }

  bool all() const { return !seen_.has_value(); }
  /// Rows that are not padding.
  index_t counted() const { return counted_; }
  const index_t* seen() const { return all() ? nullptr : seen_.data(); }
  /// [n, 1] of zeros and ones.
  V weights(index_t stage) const {
    V result = V::uninitialized(Shape{rows_, 1});
    B::for_each(rows_, StageWeightKernel<T>{seen_.data(), stage, result.mutable_data()});
    return result;
  }

 private:
  using Seen = Tensor<index_t, B>;
  index_t rows_ = 0, counted_ = 0;
  Seen seen_;
};

/// The sum of (a - b)^2 over the rows that count.
template <TensorLike A, TensorLike C, PlainTensor V>
auto squared_error(const A& a, const C& b, const V& weights) {
  if (weights.has_value()) return sum(map(WeightedSquare{}, a, b, weights));
  return sum(map(SquaredDifference{}, a, b));
}

template <class Q, TensorLike X>
auto quantized_as(QuantizerGradient gradient, const Q& value_of_it, const X& x) {
  return gradient == QuantizerGradient::rotation ? rotation_trick(value_of_it, x) : straight_through(value_of_it, x);
}

inline void check_vectors(const Shape& shape, index_t d, const char* operation) {
  if (shape.rank() < 2 || shape[-1] != d)
    throw ShapeError(std::string(operation) + ": expected x [..., " + std::to_string(d) +
                     "] with vectors along the last axis, given " + shape.to_string());
}

template <class V>
void check_started(const ResidualQuantizer<V>& quantizer, index_t active) {
  for (index_t q = 0; q < active; ++q)
    if (!quantizer.stages[static_cast<std::size_t>(q)].book.initialised)
      throw ArgumentError("quantize: stage " + std::to_string(q) +
                          " has not been started; call start_stages with the batch before the training step");
}

/// The stages that a pass uses.
template <class V>
index_t stages_of_pass(const ResidualQuantizer<V>& quantizer, index_t requested, bool training) {
  const index_t stages = quantizer.stage_count(), scheduled = quantizer.active();
  if (training && requested != 0 && requested != scheduled)
    throw ArgumentError("quantize: a training pass uses the " + std::to_string(scheduled) +
                        " stages of the schedule, given active = " + std::to_string(requested) +
                        "; leave it at 0, and change `progressive` for another schedule");
  if (requested < 0 || requested > stages)
    throw ArgumentError("quantize: expected 0 to " + std::to_string(stages) + " active stages, given " +
                        std::to_string(requested));
  if (training) return scheduled;
  return requested > 0 ? requested : larger<index_t>(1, quantizer.active_trained);
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// Quantizes x [..., d], a tensor of any kind, whose last axis holds vectors and whose first one items. The quantizer
/// may be plain, or variables when codebooks or projections are trained by gradient. In BFloat16 the output has that
/// scalar and everything inside the scalar of the quantizer. Changes nothing. Throws ShapeError when shapes do not fit,
/// ArgumentError for a stage without a start, for vectors with NaN, and for options out of range.
template <TensorLike C, TensorLike X>
auto quantize(const ResidualQuantizer<C>& quantizer, const X& x, const QuantizeOptions<BaseOf<C>>& options = {}) {
  using V = BaseOf<C>;
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const index_t d = quantizer.dimension();
  detail::check_vectors(x.shape(), d, "quantize");
  const bool training = options.pass.training;
  const index_t active = detail::stages_of_pass(quantizer, options.active, training);
  detail::check_started(quantizer, active);
  const Shape leading = x.shape().without(x.rank() - 1);
  const index_t n = leading.size();
  const detail::RowChoice<V> rows(leading, active, quantizer.options.dropout, options);

  const auto input = reshape(cast<T>(x), Shape{n, d});
  using Input = std::remove_cvref_t<decltype(input)>;
  using K = typename kolmo::detail::JoinedKind<Input, C>::Type;
  const auto zero = [] { return kolmo::detail::lifted<K>(V::zeros(Shape{})); };
  using Output = decltype(cast<ScalarOf<X>>(std::declval<K>()));
  Quantized<Output, K, V> result{{}, Tensor<Code, B>::uninitialized(Shape{n, active}), zero(), zero(), {}, {}};

  V residual = detach(input).contiguous();  // r_q of stages without projections
  V sum_of_codewords = V::zeros(Shape{n, d});
  K flowing = kolmo::detail::lifted<K>(input);  // r_q of stages with projections
  K output = flowing;
  for (index_t q = 0; q < active; ++q) {
    const auto& stage = quantizer.stages[static_cast<std::size_t>(q)];
    const bool learned = stage.book.options.training == CodebookTraining::gradient;
    const V weights = rows.all() ? V() : rows.weights(q);
    K z = flowing;
    if (stage.projection)
      z = stage.projection->in(flowing);
    else if (q > 0)
      z = kolmo::detail::lifted<K>(straight_through(residual, input));
    const auto chosen = assign(stage.book, detach(z));
    auto kept = Tensor<Code, B>::uninitialized(Shape{n});
    B::for_each(n, detail::PlaceCodesKernel{chosen.codes.data(), rows.seen(), q, active, result.codes.mutable_data(),
                                            kept.mutable_data()});

    const double elements = static_cast<double>(larger<index_t>(1, rows.counted()) * z.shape()[1]);
    const double stages = quantizer.options.reduction == StageReduction::mean ? static_cast<double>(active) : 1.0;
    const K error = detail::squared_error(z, chosen.reconstruction, weights) * (1 / elements);
    result.stage_errors.push_back(static_cast<double>(detach(error).item()));
    result.commitment_loss = result.commitment_loss + error * (1 / stages);
    if (learned)
      result.codebook_loss = result.codebook_loss + kolmo::detail::lifted<K>(detail::squared_error(
                                                        detach(z), take(stage.book.codewords, chosen.codes), weights)) *
                                                        (1 / (elements * stages));
    if (training) result.statistics.push_back(collect(stage.book, detach(z), kept));

    if (stage.projection) {
      const K e = stage.projection->out(detail::quantized_as(options.gradient, chosen.reconstruction, z));
      const K seen = rows.all() ? e : K(e * weights);
      output = q == 0 ? seen : K(output + seen);
      flowing = quantizer.options.detach_residual ? K(flowing - detach(e)) : K(flowing - e);
    } else {
      residual = residual - chosen.reconstruction;
      sum_of_codewords = sum_of_codewords + (rows.all() ? chosen.reconstruction : V(chosen.reconstruction * weights));
    }
  }
  if (quantizer.options.projected_dimension == 0) {
    output = kolmo::detail::lifted<K>(detail::quantized_as(options.gradient, sum_of_codewords, input));
    if (options.mask.has_value()) output = output * rows.weights(0);
  }
  result.output = cast<ScalarOf<X>>(reshape(output, x.shape()));
  return result;
}

}  // namespace kolmo::rvq
