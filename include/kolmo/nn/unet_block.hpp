#pragma once
// The modulated residual block of a U-Net (Rozet and Louppe 2023),
//
//   y = x + conv2(f(conv1(norm(x + W e + b)))),
//
// with e the time embedding and norm over channels: see channel_norm.hpp. The modulation enters inside the residue
// only. On plain tensors it is one recorded operation that keeps x, two numbers per pixel, and the sum z before f; the
// norm and f(z) are recomputed on the way back. Checkpointed it keeps no z and repeats the first convolution.

#include <kolmo/nn/activation_kind.hpp>
#include <kolmo/nn/channel_norm.hpp>
#include <kolmo/nn/conv_layers.hpp>

namespace kolmo {

namespace detail {

/// g <- g f'(z), and f(z) where there is memory for it.
template <class T, class F>
struct ActivationPullKernel {
  F f;
  const T* z;
  T* gradient;
  T* activated;  // null: not wanted
  KOLMO_HD void operator()(index_t i) const {
    using C = ComputeOf<T>;
    using D = Dual<C, 1>;
    const D y = f(D(z[i], {{C(1)}}));
    gradient[i] = T(gradient[i] * y.d[0]);
    if (activated) activated[i] = T(y.v);
  }
};

template <class F>
struct BlockFunction {
  F f;
  ConvGeometry g;
  double epsilon = 1e-5;
  bool checkpoint = false;

  template <PlainTensor V>
  struct Kept {
    ComputeTensor<V> statistics;
    V z;
  };

  template <PlainTensor V>
  V values(const V& x, const V& m, const V& w1, const V& b1, const V& w2, const V& b2, Kept<V>* kept) const {
    if (kept) kept->statistics = ComputeTensor<V>::uninitialized(Shape{x.size() / x.shape()[-1], 2});
    V h = channel_norm_values(fn::Identity{}, x, m, epsilon, kept ? &kept->statistics : nullptr);
    ConvValue<V> inner = conv_value(g, f, h, w1, b1, kept != nullptr && !checkpoint);
    if (kept) kept->z = inner.z;
    h = V();
    V y = conv_value(g, fn::Identity{}, inner.y, w2, b2, false).y;
    apply_in_place(fn::Add{}, y, x);
    return y;
  }
};

template <class F, PlainTensor V>
struct BlockPullBack {
  BlockFunction<F> function;
  V x, m, w1, b1, w2;
  typename BlockFunction<F>::template Kept<V> kept;

  auto operator()(const V& cotangent, const Wanted<6>& wanted) const {
    using T = typename V::Scalar;
    const ConvGeometry& g = function.g;
    const V gradient = cotangent.contiguous();
    const bool before = wanted[0] || wanted[1];  // what lies before the first convolution
    V gradient_w1, gradient_b1, gradient_w2, gradient_b2;
    if (wanted[5]) gradient_b2 = sum_to(gradient, Shape{g.channels_out});
    V normal;
    const auto norm = [&] {
      // The statistics are computed again rather than read: the same pass needs them in registers anyway.
      return channel_norm_values(fn::Identity{}, x, m, function.epsilon, nullptr);
    };
    V z = kept.z;
    if (!z.has_value()) {
      normal = norm();
      z = conv_value(g, fn::Identity{}, normal, w1, b1, false).y;
    }
    V inner = ConvBackwardData{g}(gradient, w2);
    {
      V activated;
      if (wanted[4]) activated = V::uninitialized(z.shape());
      V::Backend::for_each(z.size(), ActivationPullKernel<T, F>{function.f, z.data(), inner.mutable_data(),
                                                                wanted[4] ? activated.mutable_data() : nullptr});
      z = V();
      if (wanted[4]) gradient_w2 = ConvBackwardFilter{g}(activated, gradient);
    }
    if (wanted[3]) gradient_b1 = sum_to(inner, Shape{g.channels_out});
    if (wanted[2]) {
      if (!normal.has_value()) normal = norm();
      gradient_w1 = ConvBackwardFilter{g}(normal, inner);
    }
    normal = V();
    V gradient_x, gradient_m;
    if (before) {
      inner = ConvBackwardData{g}(inner, w1);
      std::tie(gradient_x, gradient_m) =
          channel_norm_gradients(fn::Identity{}, x, m, kept.statistics, inner, gradient, wanted[1]);
    }
    return std::make_tuple(gradient_x, gradient_m, gradient_w1, gradient_b1, gradient_w2, gradient_b2);
  }
};

}  // namespace detail

namespace nn {

template <class V>
struct ModulatedBlock {
  Linear<V> projection;  ///< of the embedding to the channels
  Conv<V> first, second;

  ModulatedBlock() = default;
  /// Zeros.
  ModulatedBlock(index_t channels, index_t embedding, const std::vector<index_t>& kernel, Padding padding)
      : projection(embedding, channels),
        first(channels, channels, kernel, 1, padding),
        second(channels, channels, kernel, 1, padding) {}

  static void fields(auto&& f, auto&... s) {
    f(submodule("projection"), s.projection...);
    f(submodule("first"), s.first...);
    f(submodule("second"), s.second...);
  }
  template <class U>
  using Rebind = ModulatedBlock<U>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    projection.validate();
    first.validate();
    second.validate();
    const index_t channels = projection.bias.size();
    for (const Conv<V>* conv : {&first, &second}) {
      bool same = conv->in() == channels && conv->out() == channels && conv->padding == first.padding;
      for (int i = 0; i < conv->axes(); ++i)
        same = same && conv->stride[static_cast<std::size_t>(i)] == 1 && conv->weight.shape()[2 + i] % 2 == 1 &&
               conv->axes() == first.axes() && conv->weight.shape()[2 + i] == first.weight.shape()[2 + i];
      if (!same)
        throw ShapeError("ModulatedBlock: expected two convolutions of " + std::to_string(channels) +
                         " channels with stride 1 and the same odd kernel, given " + first.weight.shape().to_string() +
                         " and " + second.weight.shape().to_string());
    }
  }

  /// x [B, H, W, C] and an embedding [B, E] or [1, E]; a block of 1-D kernels takes rows [B, 1, N, C]. Throws
  /// ShapeError when they do not fit.
  template <TensorLike X, TensorLike E>
  auto operator()(const X& x, const E& embedding, ActivationKind activation, bool checkpoint = false) const {
    const auto m = projection(embedding);
    return with_activation(activation, [&](const auto& f) {
      return run(x, m, kernel_2d(first.weight), kernel_2d(second.weight), f, checkpoint);
    });
  }

  /// A kernel over the last axis of rows, or itself.
  template <TensorLike W>
  static W kernel_2d(const W& w) {
    if (w.rank() == 4) return w;
    return reshape(w, Shape{w.shape()[0], w.shape()[1], 1, w.shape()[2]});
  }

 private:
  template <TensorLike X, TensorLike M, TensorLike W, class F>
  auto run(const X& x, const M& m, const W& w1, const W& w2, const F& f, bool checkpoint) const {
    const ConvOptions options{.padding = first.padding};
    const auto g = kolmo::detail::conv_geometry("ModulatedBlock", x.shape(), w1.shape(), options);
    if constexpr (PlainTensor<ValueOf<X>> && PlainTensor<ValueOf<M>> && PlainTensor<ValueOf<W>>) {
      using Plain = ValueOf<X>;
      using Function = kolmo::detail::BlockFunction<F>;
      constexpr bool recorded = VarLike<X> || VarLike<M> || VarLike<W>;
      const Function function{f, g, 1e-5, checkpoint};
      typename Function::template Kept<Plain> kept;
      const Plain field = value(x).contiguous(), shift = value(m).contiguous();
      Plain y = function.values(field, shift, value(w1), value(first.bias), value(w2), value(second.bias),
                                recorded ? &kept : nullptr);
      return record(
          std::move(y),
          kolmo::detail::BlockPullBack<F, Plain>{function, field, shift, value(w1), value(first.bias), value(w2), kept},
          x, m, w1, first.bias, w2, second.bias);
    } else {
      return x + conv2d(conv2d(channel_norm(x, m), w1, first.bias, options, f), w2, second.bias, options);
    }
  }
};

template <PlainTensor V>
void init(Key key, ModulatedBlock<V>& block) {
  uniform_init(fold_in(key, 0), block.projection);
  uniform_init(fold_in(key, 1), block.first);
  uniform_init(fold_in(key, 2), block.second);
}

}  // namespace nn
}  // namespace kolmo
