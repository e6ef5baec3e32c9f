#pragma once
// Layers one after the other, the list fixed at compile time. Fields are named "0", "1", ...

#include <tuple>

#include <kolmo/nn/layers.hpp>

namespace kolmo::nn {

namespace detail {

/// The decimal digits of I, as a name that lives forever.
template <std::size_t I>
struct IndexName {
  static_assert(I < 100, "a sequence holds at most 100 layers; nest sequences for more");
  static constexpr char text[3] = {I < 10 ? char('0' + I) : char('0' + I / 10), I < 10 ? '\0' : char('0' + I % 10),
                                   '\0'};
};

}  // namespace detail

/// y = layer_n(... layer_1(x)). Layers that take a Pass get one with a key of their own.
template <class V, class... Layers>
struct Sequential {
  std::tuple<Layers...> layers;

  Sequential() = default;
  explicit Sequential(Layers... l) : layers(std::move(l)...) {}

  static void fields(auto&& f, auto&... s) { each_field(f, std::index_sequence_for<Layers...>{}, s...); }
  template <class U>
  using Rebind = Sequential<U, RebindTo<U, Layers>...>;

  template <TensorLike X>
  auto operator()(const X& x, const Pass& pass = {}) const {
    return from<0>(x, pass);
  }

 private:
  template <std::size_t I, class X>
  auto from(const X& x, const Pass& pass) const {
    if constexpr (I == sizeof...(Layers))
      return x;
    else
      return from<I + 1>(call(std::get<I>(layers), x, pass.part(static_cast<index_t>(I))), pass);
  }
  template <class F, std::size_t... I>
  static void each_field(F& f, std::index_sequence<I...>, auto&... s) {
    (one_field<I>(f, s...), ...);
  }
  template <std::size_t I, class F>
  static void one_field(F& f, auto&... s) {
    f(submodule(detail::IndexName<I>::text), std::get<I>(s.layers)...);
  }
};

/// Sequential of the layers given: sequential(Linear<V>(4, 8), Relu<V>{}, Linear<V>(8, 1)).
template <class... Layers>
auto sequential(Layers... layers) {
  using V = KindOf<std::tuple_element_t<0, std::tuple<Layers...>>>;
  return Sequential<V, Layers...>(std::move(layers)...);
}

namespace detail {
template <class Layers, std::size_t... I>
void init_all(Key key, Layers& layers, std::index_sequence<I...>) {
  (init(fold_in(key, I), std::get<I>(layers)), ...);
}
}  // namespace detail

/// Draws every layer with a key of its own.
template <class V, class... Layers>
void init(Key key, Sequential<V, Layers...>& sequence) {
  detail::init_all(key, sequence.layers, std::index_sequence_for<Layers...>{});
}

}  // namespace kolmo::nn
