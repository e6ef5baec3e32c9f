#pragma once
// Derivatives as functions of functions. A "model" is a tensor, or a struct of tensors with `fields`;
// a "function" is any callable that is generic in the tensor kind.
//
//   value_and_grad(model, loss)   the loss and a model of gradients
//   grad(f, x)                    the gradient alone
//   vjp(f, x)                     the value, and a pull-back: cotangent -> gradient
//   jvp(f, x, dx)                 value and tangent in one forward pass
//   hvp(loss, model, direction)   Hessian-vector product, forward over reverse
//   checkpoint(f, x...)           forgets what f records and runs it again on the way back

#include <utility>

#include <kolmo/ad/map.hpp>
#include <kolmo/ad/module.hpp>

namespace kolmo {

/// A value and the gradient with respect to a model; both of the model's kind.
template <class L, class M>
struct ValueAndGrad {
  L value;
  M gradient;
};

namespace detail {

template <class V>
struct MakeLeaf {
  Tape<V>& tape;
  Var<V> operator()(const std::string&, FieldKind kind, const V& x) const {
    return kind == FieldKind::state ? tape.constant(x) : tape.leaf(x);
  }
};

template <class V>
struct TakeGradient {
  const Tape<V>& tape;
  V operator()(const std::string&, FieldKind, const Var<V>& x) const { return tape.gradient(x); }
};

template <class V>
struct MakeJet {
  Jet<V> operator()(const std::string&, FieldKind, const V& x) const { return {x, V::zeros(x.shape())}; }
};

template <class V>
struct TakeTangent {
  V operator()(const std::string&, FieldKind, const Jet<V>& x) const { return x.tangent; }
};

template <class V, class M>
RebindTo<Jet<V>, M> jets(const M& model, const M& direction) {
  RebindTo<Jet<V>, M> result = rebind<Jet<V>>(model, MakeJet<V>{});
  visit_tensors(
      [](const std::string& path, FieldKind kind, Jet<V>& x, const V& d) {
        if (kind == FieldKind::state) return;
        if (!(d.shape() == x.shape()))
          throw ShapeError("direction '" + path + "' has shape " + d.shape().to_string() + ", expected " +
                           x.shape().to_string());
        x.tangent = d;
      },
      result, direction);
  return result;
}

}  // namespace detail

/// Loss and its gradient with respect to every parameter of the model; `loss(model)` must return one
/// element. Throws ShapeError otherwise.
template <class M, class Loss>
auto value_and_grad(const M& model, const Loss& loss) {
  using V = KindOf<M>;
  Tape<V> tape;
  const auto variables = rebind<Var<V>>(model, detail::MakeLeaf<V>{tape});
  const Var<V> result = loss(variables);
  tape.backward(result);
  return ValueAndGrad<V, M>{result.value, rebind<V>(variables, detail::TakeGradient<V>{tape})};
}

/// The gradient of a scalar-valued function at x.
template <class F, class M>
M grad(const F& f, const M& x) {
  return value_and_grad(x, f).gradient;
}

/// The value of f at x with what is needed to pull one cotangent back.
template <class Y, class M>
class Vjp {
  using V = KindOf<M>;

 public:
  template <class F>
  Vjp(const F& f, const M& x) : tape_(std::make_unique<Tape<V>>()) {
    variables_ = rebind<Var<V>>(x, detail::MakeLeaf<V>{*tape_});
    output_ = f(variables_);
  }

  const Y& value() const { return output_.value; }

  /// The gradient of <cotangent, f(x)>. May be called once. Throws ShapeError unless the cotangent has the
  /// shape of the value, ArgumentError on a second call.
  M pull(const Y& cotangent) {
    if (tape_ == nullptr)
      throw ArgumentError("vjp: the recording was consumed by the first pull; call vjp again for another cotangent");
    const std::unique_ptr<Tape<V>> tape = std::move(tape_);
    tape->backward(output_, cotangent);
    return rebind<V>(variables_, detail::TakeGradient<V>{*tape});
  }

  /// As pull, keeping the recording for further cotangents. Throws ShapeError likewise, ArgumentError after pull.
  M pull_and_keep(const Y& cotangent) {
    if (tape_ == nullptr)
      throw ArgumentError("vjp: the recording was consumed by pull; use pull_and_keep for all cotangents but the last");
    tape_->backward_and_keep(output_, cotangent);
    return rebind<V>(variables_, detail::TakeGradient<V>{*tape_});
  }

 private:
  std::unique_ptr<Tape<V>> tape_;
  RebindTo<Var<V>, M> variables_;
  Var<Y> output_;
};

template <class F, class M>
auto vjp(const F& f, const M& x) {
  return Vjp<KindOf<M>, M>(f, x);
}

/// Value and derivative of f at x along dx, as a jet.
template <class F, class M>
auto jvp(const F& f, const M& x, const M& dx) {
  using V = KindOf<M>;
  return f(detail::jets<V>(x, dx));
}

/// Product of the Hessian of a scalar loss at `model` with `direction`.
template <class Loss, class M>
M hvp(const Loss& loss, const M& model, const M& direction) {
  using V = KindOf<M>;
  const auto result = value_and_grad(detail::jets<V>(model, direction), loss);
  return rebind<V>(result.gradient, detail::TakeTangent<V>{});
}

namespace detail {

template <class F, class... X>
struct CheckpointPullBack {
  F f;
  std::tuple<X...> inputs;

  template <Value G>
  auto operator()(const G& gradient, const Wanted<static_cast<int>(sizeof...(X))>& wanted) const {
    return evaluate(gradient, wanted, std::make_index_sequence<sizeof...(X)>{});
  }

  template <Value G, std::size_t... I>
  auto evaluate(const G& gradient, const Wanted<static_cast<int>(sizeof...(X))>& wanted,
                std::index_sequence<I...>) const {
    Tape<G> tape;
    const auto variables = std::make_tuple((wanted[static_cast<int>(I)]
                                                ? tape.leaf(as_kind<G>(std::get<I>(inputs)))
                                                : tape.constant(as_kind<G>(std::get<I>(inputs))))...);
    tape.backward(f(std::get<I>(variables)...), gradient);
    return std::make_tuple((wanted[static_cast<int>(I)] ? tape.gradient(std::get<I>(variables)) : G())...);
  }
};

}  // namespace detail

/// Runs f on values alone, keeping its inputs but nothing it computes, and runs it again when its gradient
/// is needed. Everything f differentiates must come in as an argument: a captured Var gets no gradient.
template <class F, TensorLike... X>
auto checkpoint(const F& f, const X&... inputs) {
  return record(f(value(inputs)...),
                detail::CheckpointPullBack<F, ValueOf<X>...>{f, std::tuple<ValueOf<X>...>(value(inputs)...)}, inputs...);
}

}  // namespace kolmo
