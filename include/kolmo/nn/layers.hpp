#pragma once
// Linear, LayerNorm and Dropout. Constructors set shapes; init(key, layer) draws the starting values.

#include <cmath>

#include <kolmo/nn/init.hpp>
#include <kolmo/nn/layer_norm.hpp>
#include <kolmo/nn/pass.hpp>
#include <kolmo/ops/linalg.hpp>

namespace kolmo::nn {

/// y = x W + b with x [..., in], W [in, out], b [out].
template <class V>
struct Linear {
  V weight, bias;

  Linear() = default;
  /// Zeros. Throws ShapeError for a negative extent.
  Linear(index_t in, index_t out) : weight(V::zeros(Shape{in, out})), bias(V::zeros(Shape{out})) {}

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(param("bias"), s.bias...);
  }
  template <class U>
  using Rebind = Linear<U>;

  /// Throws ShapeError unless weight and bias fit each other.
  void validate() const {
    if (weight.rank() != 2 || !(bias.shape() == Shape{weight.shape()[1]}))
      throw ShapeError("Linear: expected a weight [in, out] and a bias [out], given " + weight.shape().to_string() +
                       " and " + bias.shape().to_string());
  }

  /// Throws ShapeError unless the last axis of x has extent `in`.
  template <TensorLike X>
  auto operator()(const X& x) const {
    return affine(x, weight, bias);
  }
};

/// The bias starts at zero.
template <PlainTensor V>
void init(Key key, Linear<V>& layer, Start start = Start::he_uniform) {
  layer.weight = start_weight<V>(key, layer.weight.extent(0), layer.weight.extent(1), start);
  layer.bias = V::zeros(layer.bias.shape());
}

/// Layer normalisation over the last axis with scale `weight` and shift `bias`.
template <class V>
struct LayerNorm {
  V weight, bias;
  double epsilon = 1e-5;

  LayerNorm() = default;
  /// Scale one, shift zero.
  explicit LayerNorm(index_t columns) : weight(V::ones(Shape{columns})), bias(V::zeros(Shape{columns})) {}

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(param("bias"), s.bias...);
    f(option("epsilon"), s.epsilon...);
  }
  template <class U>
  using Rebind = LayerNorm<U>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    if (weight.rank() != 1 || !(bias.shape() == weight.shape()))
      throw ShapeError("LayerNorm: expected a weight and a bias of shape [columns], given " +
                       weight.shape().to_string() + " and " + bias.shape().to_string());
    if (!(epsilon > 0)) throw ArgumentError("LayerNorm: epsilon must be positive, given " + std::to_string(epsilon));
  }

  template <TensorLike X>
  auto operator()(const X& x) const {
    return layer_norm(x, weight, bias, epsilon);
  }
  /// Followed by an activation, in one pass.
  template <TensorLike X, class F>
  auto activated(const X& x, const F& f) const {
    return layer_norm(x, weight, bias, epsilon, f);
  }
};

template <PlainTensor V>
void init(Key, LayerNorm<V>& layer) {
  layer.weight = V::ones(layer.weight.shape());
  layer.bias = V::zeros(layer.bias.shape());
}

}  // namespace kolmo::nn

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::detail {

/// mask = 0 with the probability threshold / 2^32, else `scale`. Word w of random block 16 item + j decides element
/// 64 item + 16 w + j: the loop over j vectorises and writes neighbours.
template <class T>
struct DropoutMaskKernel {
  static constexpr int width = 16;
  static constexpr index_t elements_per_item = 4 * width;

  Array<std::uint32_t, 2> key;
  std::uint32_t threshold;
  T scale;
  T* mask;
  index_t size;

  KOLMO_HD void operator()(index_t item) const {
    const index_t begin = item * elements_per_item;
    if (begin + elements_per_item <= size) {
      fill(item, mask + begin);
    } else {
      T last[elements_per_item];
      fill(item, last);
      for (index_t i = begin; i < size; ++i) mask[i] = last[i - begin];
    }
  }

  KOLMO_HD void fill(index_t item, T* target) const {
    const std::uint64_t first = static_cast<std::uint64_t>(item) * width;
    const std::uint32_t high = static_cast<std::uint32_t>(first >> 32), low = static_cast<std::uint32_t>(first);
    const std::uint32_t limit = threshold;
    const T kept = scale;
    const Array<std::uint32_t, 2> words = key;
    KOLMO_INDEPENDENT
    for (int j = 0; j < width; ++j) {
      const auto bits = philox({{low + static_cast<std::uint32_t>(j), high, 0, 0}}, words);
      target[j] = bits.elements[0] < limit ? T(0) : kept;
      target[width + j] = bits.elements[1] < limit ? T(0) : kept;
      target[2 * width + j] = bits.elements[2] < limit ? T(0) : kept;
      target[3 * width + j] = bits.elements[3] < limit ? T(0) : kept;
    }
  }
};

}  // namespace kolmo::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

namespace kolmo::detail {

template <PlainTensor M>
struct MaskPullBack {
  M mask;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(apply(fn::Multiply{}, gradient, mask));
  }
};

}  // namespace kolmo::detail

namespace kolmo::nn {

/// Throws ArgumentError unless 0 <= probability < 1.
inline void check_dropout(double probability, const char* name) {
  if (!(probability >= 0 && probability < 1))
    throw ArgumentError(std::string(name) + ": the dropout probability must be in [0, 1), given " +
                        std::to_string(probability));
}

/// Sets each element to zero with the given probability and divides the others by 1 - probability (Srivastava et al.
/// 2014), so that the mean stays. The key decides which. Throws ArgumentError unless 0 <= probability < 1.
template <TensorLike X>
auto dropout(Key key, const X& x, double probability) {
  using M = BaseOf<X>;
  using T = ScalarOf<X>;
  check_dropout(probability, "dropout");
  M mask = M::uninitialized(x.shape());
  const Array<std::uint32_t, 2> words{
      {static_cast<std::uint32_t>(key.value), static_cast<std::uint32_t>(key.value >> 32)}};
  using Kernel = kolmo::detail::DropoutMaskKernel<T>;
  M::Backend::for_each(divide_up(x.size(), Kernel::elements_per_item),
                       Kernel{words, static_cast<std::uint32_t>(probability * 0x1p32),
                              static_cast<T>(1 / (1 - probability)), mask.mutable_data(), x.size()});
  return record(apply(fn::Multiply{}, value(x), mask), kolmo::detail::MaskPullBack<M>{mask}, x);
}

/// Dropout while training, the identity else.
template <class V>
struct Dropout {
  double probability = 0.5;

  static void fields(auto&& f, auto&... s) { f(option("probability"), s.probability...); }
  template <class U>
  using Rebind = Dropout<U>;

  /// Throws ArgumentError unless 0 <= probability < 1.
  void validate() const { check_dropout(probability, "Dropout"); }

  template <TensorLike X>
  X operator()(const X& x, const Pass& pass) const {
    if (!pass.training || probability == 0) return x;
    return dropout(pass.key, x, probability);
  }
};

template <class V>
void init(Key, Dropout<V>&) {}
template <class V, class F>
void init(Key, Activation<V, F>&) {}

}  // namespace kolmo::nn
