#pragma once
// Operators built from others: one after another, a linear map given by two functions, physical units.

#include <tuple>
#include <utility>

#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/strided.hpp>
#include <kolmo/score/normaliser.hpp>

namespace kolmo::score {

/// An operator that says that it is linear: its derivative is itself, anywhere.
template <class A>
concept LinearOperator = requires {
  requires A::is_linear;
};

/// The operators one after another, the first one first.
template <class... A>
struct Composition {
  static constexpr bool is_linear = (LinearOperator<A> && ...);
  std::tuple<A...> operators;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return from<0>(x);
  }

 private:
  template <std::size_t i, TensorLike X>
  auto from(const X& x) const {
    if constexpr (i == sizeof...(A))
      return x;
    else
      return from<i + 1>(std::get<i>(operators)(x));
  }
};

/// compose(subsample_time(3), Coarsen{4}, Vorticity{}): the first operator meets the state.
template <class... A>
Composition<A...> compose(A... operators) {
  return {std::tuple<A...>(std::move(operators)...)};
}

/// A linear map given by itself and its adjoint, both on plain tensors with the batch in front: a solver of one's own,
/// a sparse matrix. Derivatives of every order and mode follow from the two.
template <class Forward, class Adjoint>
struct LinearMap {
  static constexpr bool is_linear = true;
  Forward forward;
  Adjoint adjoint;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return kolmo::detail::linear_recorded(forward, adjoint, x);
  }
};

template <class Forward, class Adjoint>
LinearMap<Forward, Adjoint> linear_map(Forward forward, Adjoint adjoint) {
  return {std::move(forward), std::move(adjoint)};
}

/// The state in physical units, for operators and noise levels that are given in them: compose(Physical{n}, A).
template <PlainTensor V>
struct Physical {
  Normaliser<V> normaliser;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return normaliser.denormalised(x);
  }
};
template <PlainTensor V>
Physical(Normaliser<V>) -> Physical<V>;

}  // namespace kolmo::score
