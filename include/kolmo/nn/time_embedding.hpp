#pragma once
// The diffusion time as features: cos(pi j t) and sin(pi j t), j = 1..16, through a perceptron 32 -> 256 -> E with
// SiLU between its layers (Rozet and Louppe 2023). The frequencies are constants.

#include <kolmo/nn/uniform_init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::nn {

inline constexpr index_t time_frequencies = 16;

/// t [...] to [..., 32]: cosines, then sines.
template <TensorLike X>
auto time_features(const X& t) {
  using V = BaseOf<X>;
  using T = ScalarOf<X>;
  constexpr T pi = T(3.14159265358979323846);
  const auto angles = unsqueeze(t, -1) * V::arange(time_frequencies, pi, pi);
  return concat(-1, cos(angles), sin(angles));
}

template <class V>
struct TimeEmbedding {
  Linear<V> hidden, output;

  TimeEmbedding() = default;
  /// Zero weights; call init. Throws ArgumentError for fewer than 1 feature.
  explicit TimeEmbedding(index_t features) {
    if (features < 1)
      throw ArgumentError("TimeEmbedding: expected at least 1 feature, given " + std::to_string(features));
    hidden = Linear<V>(2 * time_frequencies, 256);
    output = Linear<V>(256, features);
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("hidden"), s.hidden...);
    f(submodule("output"), s.output...);
  }
  template <class U>
  using Rebind = TimeEmbedding<U>;

  index_t features() const { return output.bias.size(); }

  /// Throws ShapeError unless the layers fit each other.
  void validate() const {
    hidden.validate();
    output.validate();
    if (hidden.weight.shape()[0] != 2 * time_frequencies || hidden.weight.shape()[1] != output.weight.shape()[0])
      throw ShapeError("TimeEmbedding: expected layers 32 -> h -> E, given " + hidden.weight.shape().to_string() +
                       " and " + output.weight.shape().to_string());
  }

  /// t [...] to [..., E]. The features are computed in the scalar of t, which may differ from that of the layers.
  template <TensorLike X>
  auto operator()(const X& t) const {
    // A matrix in between: the products want rows.
    Shape shape = t.shape();
    const auto features_of_t = cast<ScalarOf<V>>(time_features(reshape(t, Shape{t.size()})));
    shape.push_back(features());
    return reshape(output(silu(hidden(features_of_t))), shape);
  }
};

template <PlainTensor V>
void init(Key key, TimeEmbedding<V>& embedding) {
  uniform_init(fold_in(key, 0), embedding.hidden);
  uniform_init(fold_in(key, 1), embedding.output);
}

}  // namespace kolmo::nn
