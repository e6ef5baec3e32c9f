#pragma once
// checkpoint for a function of a model: nothing that it computes is kept, and the gradients of all parameters of the
// model arrive as those of its inputs do.

#include <kolmo/ad/transforms.hpp>

namespace kolmo {

namespace detail {

template <class V>
struct TakeValue {
  V operator()(const std::string&, FieldKind, const Var<V>& x) const { return x.value; }
};

/// The variables of a model on another tape; those without a slot stay constants.
template <class V>
struct MoveLeaf {
  Tape<V>& tape;
  Var<V> operator()(const std::string&, FieldKind, const Var<V>& x) const {
    return x.slot >= 0 ? tape.leaf(x.value) : tape.constant(x.value);
  }
};

template <class F, Value V, class M, int N>
struct CheckpointModelPull {
  F f;
  M model;
  Array<Var<V>, N> inputs;

  void operator()(Tape<V>& outer, const V& gradient) const {
    evaluate(outer, gradient, std::make_integer_sequence<int, N>{});
  }

  template <int... I>
  void evaluate(Tape<V>& outer, const V& gradient, std::integer_sequence<int, I...>) const {
    Tape<V> tape;
    const MoveLeaf<V> move{tape};
    const auto copy = rebind<Var<V>>(model, move);
    const Array<Var<V>, N> leaves{{move(std::string(), FieldKind::parameter, inputs[I])...}};
    tape.backward(f(copy, leaves[I]...), gradient);
    visit_tensors(
        [&](const std::string&, FieldKind, const Var<V>& target, const Var<V>& x) {
          if (target.slot >= 0) outer.accumulate(target.slot, tape.gradient(x));
        },
        model, copy);
    for (int i = 0; i < N; ++i)
      if (inputs[i].slot >= 0) outer.accumulate(inputs[i].slot, tape.gradient(leaves[i]));
  }
};

}  // namespace detail

/// f(model, x...) on values alone, and once more when its gradient is needed. Everything that f differentiates must be
/// an argument: a captured Var gets no gradient. A model that is not recorded costs nothing beside `checkpoint`.
template <class F, class M, TensorLike... X>
auto checkpoint_model(const F& f, const M& model, const X&... inputs) {
  if constexpr (VarLike<KindOf<M>>) {
    using V = ValueOf<KindOf<M>>;
    constexpr int N = sizeof...(X);
    Tape<V>* tape = nullptr;
    (detail::find_tape<V>(tape, inputs), ...);
    visit_tensors([&](const std::string&, FieldKind, const Var<V>& x) { detail::find_tape<V>(tape, x); }, model);
    const Array<Var<V>, N> variables{{Var<V>{detail::as_kind<V>(value(inputs)), nullptr, detail::slot_of(inputs)}...}};
    V y = f(rebind<V>(model, detail::TakeValue<V>{}), detail::as_kind<V>(value(inputs))...);
    if (tape == nullptr) return Var<V>{std::move(y), nullptr, -1};
    return tape->push(std::move(y), detail::CheckpointModelPull<F, V, M, N>{f, model, variables});
  } else {
    return checkpoint([f, model](const auto&... x) { return f(model, x...); }, inputs...);
  }
}

}  // namespace kolmo
