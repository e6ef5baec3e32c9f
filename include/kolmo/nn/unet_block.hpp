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
#include <kolmo/nn/host_block.hpp>

namespace kolmo {

namespace detail {

/// g f'(z) and f(z)
template <class F>
struct PullActivation {
  F f;
  template <class S>
  KOLMO_HD Array<S, 2> operator()(S gradient, S z) const {
    const Dual<S, 1> y = f(Dual<S, 1>(z, {{S(1)}}));
    return {{gradient * y.d[0], y.v}};
  }
};

/// gradient <- gradient f'(z), and f(z) where there is memory for it, in one pass over contiguous tensors.
template <class F, PlainTensor V>
void pull_activation(const F& f, const V& z, V& gradient, typename V::Scalar* activated) {
  using T = typename V::Scalar;
  if (z.size() == 0) return;
  ElementwiseKernel<PullActivation<F>, T, 2, 2, false> kernel{{f}, Shape{z.size()}, {}, {}, {}, {}, {}};
  for (int i = 0; i < 2; ++i) kernel.strides[i][0] = 1;
  kernel.y = {{gradient.mutable_data(), activated}};
  kernel.x = {{kernel.y[0], z.data()}};
  run_elementwise<decltype(kernel), typename V::Backend>(kernel);
}

/// The block on plain tensors: its value, and its gradients from what it kept.
template <class F, PlainTensor V>
struct BlockFunction {
  F f;
  ConvGeometry g;
  double epsilon = 1e-5;
  bool checkpoint = false;
  BlockTensors<V> in{};

  V values(BlockKept<V>* kept) const {
    if (kept) kept->statistics = ComputeTensor<V>::uninitialized(Shape{in.x.size() / in.x.shape()[-1], 2});
    if constexpr (HostConvolved<V>) {
      if (kept && !checkpoint) kept->z = V::uninitialized(in.x.shape());
      return HostBlock<V, F>(g, f, epsilon, in).forward(kept);
    } else {
      V h = norm(kept ? &kept->statistics : nullptr);
      ConvValue<V> inner = conv_value(g, f, h, in.w1, in.b1, kept != nullptr && !checkpoint);
      if (kept) kept->z = inner.z;
      h = V();
      V y = conv_value(g, fn::Identity{}, inner.y, in.w2, in.b2, false).y;
      apply_in_place(fn::Add{}, y, in.x);
      return y;
    }
  }

  auto gradients(const V& gradient, const BlockKept<V>& kept, const Wanted<6>& wanted) const {
    using T = typename V::Scalar;
    if constexpr (HostConvolved<V>) {
      return HostBlock<V, F>(g, f, epsilon, in).backward(gradient, kept, wanted);
    } else {
      V z = kept.z, activated, normal, gx, gm, gw1, gb1, gw2, gb2;
      if (!z.has_value() || wanted[2]) normal = norm(nullptr);
      if (!z.has_value()) z = conv_value(g, fn::Identity{}, normal, in.w1, in.b1, false).y;
      V inner = ConvBackwardData{g}(gradient, in.w2);
      if (wanted[4]) activated = V::uninitialized(z.shape());
      pull_activation(f, z, inner, wanted[4] ? activated.mutable_data() : static_cast<T*>(nullptr));
      if (wanted[5]) gb2 = sum_to(gradient, Shape{g.channels_out});
      if (wanted[4]) gw2 = ConvBackwardFilter{g}(activated, gradient);
      if (wanted[3]) gb1 = sum_to(inner, Shape{g.channels_out});
      if (wanted[2]) gw1 = ConvBackwardFilter{g}(normal, inner);
      if (wanted[0] || wanted[1])
        std::tie(gx, gm) = channel_norm_gradients(fn::Identity{}, in.x, in.m, kept.statistics,
                                                  ConvBackwardData{g}(inner, in.w1), gradient, wanted[1]);
      return std::make_tuple(gx, gm, gw1, gb1, gw2, gb2);
    }
  }

 private:
  V norm(ComputeTensor<V>* statistics) const {
    return channel_norm_values(fn::Identity{}, in.x, in.m, epsilon, statistics);
  }
};

template <class F, PlainTensor V>
struct BlockPullBack {
  BlockFunction<F, V> function;
  BlockKept<V> kept;

  auto operator()(const V& gradient, const Wanted<6>& wanted) const {
    return function.gradients(gradient.contiguous(), kept, wanted);
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
      using Function = kolmo::detail::BlockFunction<F, Plain>;
      constexpr bool recorded = VarLike<X> || VarLike<M> || VarLike<W>;
      const Function function{
          f,
          g,
          1e-5,
          checkpoint,
          {value(x).contiguous(), value(m).contiguous(), value(w1).contiguous(), value(first.bias).contiguous(),
           value(w2).contiguous(), value(second.bias).contiguous()}};
      kolmo::detail::BlockKept<Plain> kept;
      Plain y = function.values(recorded ? &kept : nullptr);
      return record(std::move(y), kolmo::detail::BlockPullBack<F, Plain>{function, kept}, x, m, w1, first.bias, w2,
                    second.bias);
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
