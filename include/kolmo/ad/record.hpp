#pragma once
// record: gives an operation its reverse rule. It is dropped at compile time when no input is a Var.
// Also the elementary rules that need nothing else: detach, straight_through.

#include <string>
#include <tuple>

#include <kolmo/ad/tape.hpp>

namespace kolmo {

/// Which inputs of a recorded operation need a gradient; passed to its vjp.
template <int N>
using Wanted = Array<bool, N>;

namespace detail {

template <class X>
int slot_of(const X& x) {
  if constexpr (VarLike<X>)
    return x.slot;
  else
    return -1;
}

/// A gradient as the tape's kind: a plain tensor among jets has no tangent.
template <Value V, Value X>
V as_kind(X x) {
  if constexpr (std::is_same_v<V, X>)
    return x;
  else if constexpr (JetLike<V> && PlainTensor<X>)
    return V{x, X::zeros(x.shape())};
  else
    static_assert(!sizeof(X*), "a gradient must be of the kind of the recorded value");
}

template <Value V, class X>
void find_tape(Tape<V>*& tape, const X& x) {
  if constexpr (VarLike<X>) {
    static_assert(std::is_same_v<ValueOf<X>, V>,
                  "all variables of an operation must be of one kind: do not mix Var<Tensor> and Var<Jet>");
    if (tape == nullptr || x.slot >= 0) tape = x.tape;
  }
}

template <Value V, class Vjp, int N>
struct PullBack {
  Vjp vjp;
  Array<int, N> slots;

  void operator()(Tape<V>& tape, const V& gradient) const {
    Wanted<N> wanted;
    for (int i = 0; i < N; ++i) wanted[i] = slots[i] >= 0;
    distribute(tape, vjp(gradient, wanted), wanted, std::make_integer_sequence<int, N>{});
  }

  template <class Gradients, int... I>
  void distribute(Tape<V>& tape, Gradients gradients, const Wanted<N>& wanted, std::integer_sequence<int, I...>) const {
    ((wanted[I] ? tape.accumulate(slots[I], as_kind<V>(std::move(std::get<I>(gradients)))) : void()), ...);
  }
};

}  // namespace detail

/// Attaches a reverse rule to the value `y` computed from `inputs`. `vjp(gradient, wanted)` returns a
/// tuple with one gradient per input, each of that input's shape; entries not wanted are not looked at.
/// Returns y itself when no input is a Var.
template <Value V, class Vjp, TensorLike... X>
auto record(V y, Vjp vjp, const X&... inputs) {
  if constexpr ((VarLike<X> || ...)) {
    constexpr int N = sizeof...(X);
    Tape<V>* tape = nullptr;
    (detail::find_tape<V>(tape, inputs), ...);
    const Array<int, N> slots{{detail::slot_of(inputs)...}};
    bool any = false;
    for (int i = 0; i < N; ++i) any = any || slots[i] >= 0;
    if (!any) return Var<V>{std::move(y), tape, -1};
    return tape->push(std::move(y), detail::PullBack<V, Vjp, N>{std::move(vjp), slots});
  } else {
    return y;
  }
}

/// The value as a constant: derivatives do not pass, neither reverse nor forward.
template <TensorLike X>
auto detach(const X& x) {
  if constexpr (VarLike<X>)
    return detach(value(x));
  else
    return primal(x);
}

namespace detail {

struct PassThrough {
  template <class G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::tuple<G>(gradient);
  }
};

}  // namespace detail

/// The value of `substitute` with the derivative of `x`: gradients pass as if nothing had happened
/// (straight-through estimator, Bengio et al. 2013). Throws ShapeError unless the shapes agree.
template <TensorLike S, TensorLike X>
auto straight_through(const S& substitute, const X& x) {
  if (!(substitute.shape() == x.shape()))
    throw ShapeError("straight_through: the substitute has shape " + substitute.shape().to_string() +
                     " but the original has " + x.shape().to_string());
  const auto plain = detach(substitute);
  if constexpr (JetLike<ValueOf<X>>)
    return record(ValueOf<X>{plain, value(x).tangent}, detail::PassThrough{}, x);
  else
    return record(plain, detail::PassThrough{}, x);
}

}  // namespace kolmo
