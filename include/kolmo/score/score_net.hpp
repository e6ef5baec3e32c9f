#pragma once
// The score network of states without a grid (Rozet and Louppe 2023): state, embedded time and context side by side
// through a residual perceptron to as many features as the state has.

#include <kolmo/nn/res_mlp.hpp>
#include <kolmo/nn/time_embedding.hpp>

namespace kolmo::score {

namespace detail {

/// Features [] or [batch], each followed by [n], repeated over the leading axes of a state [batch, ..., m]. Throws
/// ShapeError when they do not fit.
template <TensorLike F>
auto beside(const F& features, const Shape& state, const char* name) {
  const Shape& s = features.shape();
  Shape aligned, target;
  for (int i = 0; i + 1 < state.rank(); ++i) target.push_back(state[i]);
  target.push_back(s[-1]);
  const bool per_sample = s.rank() == 2 && state.rank() > 1 && s[0] == state[0];
  const bool per_row =
      s.rank() > 1 && s.rank() == state.rank() && s.without(s.rank() - 1) == target.without(target.rank() - 1);
  if (s.rank() != 1 && !per_sample && !per_row)
    throw ShapeError(std::string(name) + ": a state of shape " + state.to_string() +
                     " takes one value for all samples or one for each sample, given leading axes " +
                     s.without(s.rank() - 1).to_string());
  if (per_row) return broadcast_to(reshape(features, target), target);
  for (int i = 0; i + 1 < state.rank(); ++i) aligned.push_back(i == 0 && per_sample ? s[0] : 1);
  aligned.push_back(s[-1]);
  return broadcast_to(reshape(features, aligned), target);
}

}  // namespace detail

struct ScoreNetOptions {
  index_t features = 0;  ///< of the state
  index_t context = 0;   ///< features of the context; 0: none
  index_t embedding = 16;
  std::vector<index_t> hidden = {64, 64};
  nn::ActivationKind activation = nn::ActivationKind::relu;
};

template <class V>
struct ScoreNet {
  nn::TimeEmbedding<V> embedding;
  nn::ResMlp<V> network;

  ScoreNet() = default;
  /// Zero weights; call init. Throws ArgumentError for a width that is not possible.
  explicit ScoreNet(const ScoreNetOptions& options)
      : embedding(options.embedding),
        network({options.features + options.embedding + options.context, options.features, options.hidden,
                 options.activation}) {
    if (options.context < 0)
      throw ArgumentError("ScoreNet: the context cannot have " + std::to_string(options.context) + " features");
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("embedding"), s.embedding...);
    f(submodule("network"), s.network...);
  }
  template <class U>
  using Rebind = ScoreNet<U>;

  index_t features() const { return network.outputs(); }
  index_t context_features() const { return network.inputs() - features() - embedding.features(); }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    embedding.validate();
    network.validate();
    if (context_features() < 0)
      throw ShapeError("ScoreNet: the perceptron takes " + std::to_string(network.inputs()) +
                       " inputs, but state and time have " + std::to_string(features() + embedding.features()));
  }

  /// The noise in x [..., features] at time t, of shape [] (shared) or [batch], the first axis of x. The scalar of x
  /// may differ from that of the weights, in which the network computes; the result has that of x. Throws ShapeError
  /// when the shapes do not fit.
  template <TensorLike X, TensorLike S>
  auto operator()(const X& x, const S& t) const {
    check(x, 0);
    return cast<ScalarOf<X>>(
        network(concat(-1, cast<ScalarOf<V>>(x), detail::beside(embedding(t), x.shape(), "ScoreNet: the time"))));
  }
  template <TensorLike X>
  auto operator()(const X& x, double t) const {
    return (*this)(x, BaseOf<X>::scalar(static_cast<ScalarOf<X>>(t)));
  }

  /// With a context [context], [batch, context] or one for every row of x.
  template <TensorLike X, TensorLike S, TensorLike C>
  auto operator()(const X& x, const S& t, const C& context) const {
    check(x, context.rank() < 1 ? 0 : context.shape()[-1]);
    return cast<ScalarOf<X>>(
        network(concat(-1, cast<ScalarOf<V>>(x), detail::beside(embedding(t), x.shape(), "ScoreNet: the time"),
                       detail::beside(cast<ScalarOf<V>>(context), x.shape(), "ScoreNet: the context"))));
  }
  template <TensorLike X, TensorLike C>
  auto operator()(const X& x, double t, const C& context) const {
    return (*this)(x, BaseOf<X>::scalar(static_cast<ScalarOf<X>>(t)), context);
  }

 private:
  template <TensorLike X>
  void check(const X& x, index_t context) const {
    if (x.rank() < 1 || x.shape()[-1] != features() || context != context_features())
      throw ShapeError("ScoreNet: expected a state [..., " + std::to_string(features()) + "] and " +
                       std::to_string(context_features()) + " context features, given " + x.shape().to_string() +
                       " and " + std::to_string(context));
  }
};

template <PlainTensor V>
void init(Key key, ScoreNet<V>& net) {
  nn::init(fold_in(key, 0), net.embedding);
  nn::init(fold_in(key, 1), net.network);
}

}  // namespace kolmo::score
