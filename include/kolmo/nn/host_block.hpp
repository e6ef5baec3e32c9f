#pragma once
// The modulated residual block on the host, some images at a time: what lies between its two convolutions stays in the
// last cache, and memory beside the results is that of a few images.

#include <kolmo/nn/channel_norm.hpp>
#include <kolmo/ops/conv.hpp>

namespace kolmo::detail {

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

template <class T>
struct AddIntoKernel {
  const T* increment;
  T* sum;
  KOLMO_HD void operator()(index_t i) const { sum[i] += increment[i]; }
};

/// The tensors of a block: fields [B, H, W, C], modulation [B, C] or [1, C], kernels [C, C, kh, kw], biases [C].
template <PlainTensor V>
struct BlockTensors {
  V x, m, w1, b1, w2, b2;
};

/// What a block keeps for its way back; z is empty where it is computed again.
template <PlainTensor V>
struct BlockKept {
  ComputeTensor<V> statistics;
  V z;
};

template <PlainTensor V, class F>
class HostBlock {
  using T = typename V::Scalar;
  using B = typename V::Backend;

 public:
  HostBlock(const ConvGeometry& g, const F& f, double epsilon, const BlockTensors<V>& in)
      : g_(g), f_(f), epsilon_(epsilon), in_(in), image_(g.pixels_in() * g.channels_in) {}

  V forward(BlockKept<V>* kept) const {
    V y = V::uninitialized(in_.x.shape());
    T* const out = y.mutable_data();
    ComputeOf<T>* const statistics = kept ? kept->statistics.mutable_data() : nullptr;
    T* const z = kept && kept->z.has_value() ? kept->z.mutable_data() : nullptr;
    const index_t most = part();
    const HostScratch<T> normal(most * image_), inner(most * image_);
    for (index_t first = 0; first < g_.batch; first += most) {
      const index_t count = smaller(most, g_.batch - first), at = first * image_;
      norm(first, count, normal.data(), statistics);
      convolve(count, normal.data(), in_.w1, in_.b1, inner.data(), z ? z + at : nullptr, true);
      convolve(count, inner.data(), in_.w2, in_.b2, out + at, nullptr, false);
      B::for_each(count * image_, AddIntoKernel<T>{in_.x.data() + at, out + at});
    }
    return y;
  }

  std::tuple<V, V, V, V, V, V> backward(const V& gradient, const BlockKept<V>& kept, const Wanted<6>& wanted) const {
    const bool before = wanted[0] || wanted[1];
    V gx, gm, gw1, gb1, gw2, gb2;
    if (before) gx = V::uninitialized(in_.x.shape());
    if (wanted[1]) gm = V::uninitialized(in_.m.shape());
    if (wanted[5]) gb2 = sum_to(gradient, Shape{g_.channels_out});
    const index_t most = part();
    V inner = V::uninitialized(Shape{most, g_.pixels_in(), g_.channels_in});
    const HostScratch<T> field(most * image_), sum(kept.z.has_value() ? 0 : most * image_);
    for (index_t first = 0; first < g_.batch; first += most) {
      const index_t count = smaller(most, g_.batch - first), at = first * image_;
      const ConvGeometry g = geometry(count);
      if (count < most) inner = V::uninitialized(Shape{count, g_.pixels_in(), g_.channels_in});
      const T* const from = gradient.data() + at;
      const T* z = kept.z.has_value() ? kept.z.data() + at : sum.data();
      if (!kept.z.has_value()) {
        norm(first, count, field.data(), nullptr);
        convolve(count, field.data(), in_.w1, in_.b1, sum.data(), nullptr, false);
      }
      T* const to = inner.mutable_data();
      host_conv_backward_data<T>(g, from, in_.w2.data(), to);
      B::for_each(count * image_, ActivationPullKernel<T, F>{f_, z, to, wanted[4] ? field.data() : nullptr});
      if (wanted[4]) add_filter(g, field.data(), from, gw2, in_.w2);
      if (wanted[3]) add(gb1, sum_to(inner, Shape{g_.channels_out}));
      if (wanted[2]) {
        norm(first, count, field.data(), nullptr);
        add_filter(g, field.data(), to, gw1, in_.w1);
      }
      if (!before) continue;
      host_conv_backward_data<T>(g, to, in_.w1.data(), field.data());
      norm_pull(first, count, kept.statistics.data(), field.data(), from, gx.mutable_data(), gm);
    }
    return {gx, gm, gw1, gb1, gw2, gb2};
  }

 private:
  /// Images at a time: some 2 MB of single precision, from the shape alone.
  index_t part() const {
    return smaller(g_.batch, larger<index_t>(1, (index_t{1} << 19) / larger<index_t>(1, image_)));
  }
  ConvGeometry geometry(index_t images) const {
    ConvGeometry g = g_;
    g.batch = images;
    return g;
  }
  bool shared() const { return in_.m.size() == g_.channels_in; }
  const T* modulation(index_t first) const { return in_.m.data() + (shared() ? 0 : first * g_.channels_in); }

  void norm(index_t first, index_t count, T* y, ComputeOf<T>* statistics) const {
    const ChannelNormGrid grid(count, g_.pixels_in(), g_.channels_in);
    channel_norm_into<B, T>(fn::Identity{}, grid, in_.x.data() + first * image_, modulation(first), shared(), epsilon_,
                            y, statistics ? statistics + 2 * first * g_.pixels_in() : nullptr);
  }

  void norm_pull(index_t first, index_t count, const ComputeOf<T>* statistics, const T* gradient, const T* residual,
                 T* gx, V& gm) const {
    const ChannelNormGrid grid(count, g_.pixels_in(), g_.channels_in);
    const bool once = !gm.has_value() || !shared() || first == 0;
    V own = once ? V() : V::uninitialized(gm.shape());
    T* const target = !gm.has_value() ? nullptr
                      : once          ? gm.mutable_data() + (shared() ? 0 : first * g_.channels_in)
                                      : own.mutable_data();
    channel_norm_pull_into<V>(fn::Identity{}, grid, in_.x.data() + first * image_, modulation(first), shared(),
                              statistics + 2 * first * g_.pixels_in(), gradient, residual, gx + first * image_, target);
    if (!once) apply_in_place(fn::Add{}, gm, own);
  }

  void convolve(index_t count, const T* x, const V& w, const V& bias, T* y, T* z, bool activated) const {
    ConvTarget<T> target;
    target.y = y;
    target.z = z;
    target.bias = bias.data();
    if (activated) target.epilogue = {&f_, &RunActivation<F, ComputeOf<T>>::run};
    host_conv_forward<T>(geometry(count), x, w.data(), target);
  }

  static void add(V& sum, const V& increment) {
    if (sum.has_value())
      apply_in_place(fn::Add{}, sum, increment);
    else
      sum = increment;
  }
  static void add_filter(const ConvGeometry& g, const T* x, const T* gradient, V& sum, const V& w) {
    V increment = V::uninitialized(w.shape());
    host_conv_backward_filter<T>(g, x, gradient, increment.mutable_data());
    add(sum, increment);
  }

  const ConvGeometry& g_;
  const F& f_;
  double epsilon_;
  const BlockTensors<V>& in_;
  index_t image_;
};

}  // namespace kolmo::detail
