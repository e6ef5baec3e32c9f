#pragma once
// A perceptron of residual blocks (Rozet and Louppe 2023). For each pair (a, b) of the widths [in, hidden..., out]: a
// linear map a -> b where a != b, then
//
//   x + W2 f(W1 norm(x) + b1) + b2,   norm: zero mean and unit unbiased variance over the features
//
// at width b, the last width included.

#include <optional>
#include <vector>

#include <kolmo/nn/activation_kind.hpp>
#include <kolmo/nn/channel_norm.hpp>
#include <kolmo/nn/uniform_init.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::nn {

struct ResMlpOptions {
  index_t inputs = 0;
  index_t outputs = 0;
  std::vector<index_t> hidden = {64, 64};
  ActivationKind activation = ActivationKind::relu;
};

/// One width of a ResMlp: the map to it, where the width changes, and the residual block.
template <class V>
struct ResMlpStage {
  std::optional<Linear<V>> change;
  Linear<V> first, second;

  static void fields(auto&& f, auto&... s) {
    f(submodule("change"), s.change...);
    f(submodule("first"), s.first...);
    f(submodule("second"), s.second...);
  }
  template <class U>
  using Rebind = ResMlpStage<U>;

  template <TensorLike X>
  auto operator()(const X& x, ActivationKind activation) const {
    return x + second(activate(activation, first(channel_norm(x))));
  }
};

template <class V>
struct ResMlp {
  std::vector<ResMlpStage<V>> stages;
  ActivationKind activation = ActivationKind::relu;

  ResMlp() = default;
  /// Zero weights; call init. Throws ArgumentError for a width below 1, or below 2 behind the input.
  explicit ResMlp(const ResMlpOptions& options) : activation(options.activation) {
    static_cast<void>(name_of(activation));
    if (options.inputs < 1)
      throw ArgumentError("ResMlp: expected at least 1 input, given " + std::to_string(options.inputs));
    std::vector<index_t> widths = options.hidden;
    widths.push_back(options.outputs);
    index_t width = options.inputs;
    for (const index_t next : widths) {
      if (next < 2)
        throw ArgumentError(
            "ResMlp: every hidden width and the number of outputs must be at least 2, because each is standardised; "
            "given " +
            std::to_string(next));
      ResMlpStage<V> stage;
      if (next != width) stage.change = Linear<V>(width, next);
      stage.first = Linear<V>(next, next);
      stage.second = Linear<V>(next, next);
      stages.push_back(std::move(stage));
      width = next;
    }
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("stages"), s.stages...);
    f(option("activation"), s.activation...);
  }
  template <class U>
  using Rebind = ResMlp<U>;

  index_t inputs() const { return stages[0].change ? stages[0].change->weight.extent(0) : stages[0].first.bias.size(); }
  index_t outputs() const { return stages.back().first.bias.size(); }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    static_cast<void>(name_of(activation));
    if (stages.empty()) throw ArgumentError("ResMlp: a network without stages");
    index_t width = 0;
    for (const auto& stage : stages) {
      if (stage.change) stage.change->validate();
      stage.first.validate();
      stage.second.validate();
      const index_t next = stage.first.weight.extent(0);
      const Shape square{next, next};
      if (!(stage.first.weight.shape() == square) || !(stage.second.weight.shape() == square) || next < 2)
        throw ShapeError("ResMlp: a block has weights " + stage.first.weight.shape().to_string() + " and " +
                         stage.second.weight.shape().to_string() + ", expected two squares of width 2 or more");
      const bool first = width == 0;
      const bool fits =
          stage.change ? (first || stage.change->weight.extent(0) == width) && stage.change->weight.extent(1) == next
                       : first || next == width;
      if (!fits)
        throw ShapeError("ResMlp: a stage of width " + std::to_string(next) + " does not follow the one before");
      width = next;
    }
  }

  /// x [..., inputs] to [..., outputs]. Throws ShapeError unless the last axis fits.
  template <TensorLike X>
  auto operator()(const X& x) const {
    using Y = decltype(stages[0].first(x));
    if (x.rank() < 1 || x.shape()[-1] != inputs())
      throw ShapeError("ResMlp: expected x [..., " + std::to_string(inputs()) + "], given " + x.shape().to_string());
    // The products take matrices: one row for each element of the leading axes.
    const auto rows = reshape(x, Shape{x.size() / inputs(), inputs()});
    Y y = stages[0].change ? stages[0]((*stages[0].change)(rows), activation)
                           : stages[0](kolmo::detail::lifted<Y>(rows), activation);
    for (std::size_t i = 1; i < stages.size(); ++i)
      y = stages[i].change ? stages[i]((*stages[i].change)(y), activation) : stages[i](y, activation);
    Shape shape = x.shape();
    shape[-1] = outputs();
    return reshape(y, shape);
  }
};

template <PlainTensor V>
void init(Key key, ResMlp<V>& net) {
  for (std::size_t i = 0; i < net.stages.size(); ++i) {
    auto& stage = net.stages[i];
    const Key own = fold_in(key, i);
    if (stage.change) uniform_init(fold_in(own, 0), *stage.change);
    uniform_init(fold_in(own, 1), stage.first);
    uniform_init(fold_in(own, 2), stage.second);
  }
}

}  // namespace kolmo::nn
