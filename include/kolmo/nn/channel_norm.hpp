#pragma once
// Standardisation over channels with a modulation that enters before it, followed by an activation, as one recorded
// operation: the front of the residual blocks of score networks (Rozet and Louppe 2023). Per pixel, over n channels,
//
//   u = x + modulation,   y = f((u - m) q),   m = mean(u),   q = 1 / sqrt(v + epsilon),   v = sum (u - m)^2 / (n - 1)
//
// without learned scale or shift. The variance is the unbiased one. Kept for the way back: x, m and q. With
// h = f'((u - m) q) g,
//
//   du = q (h - mean(h)) - q^3 (u - m) sum(h (u - m)) / (n - 1)
//
// and the modulation of an image receives the sum of du over its pixels: in fixed blocks of pixels, then over blocks.

#include <kolmo/nn/channel_norm_team.hpp>
#include <kolmo/nn/layer_norm.hpp>
#include <kolmo/ops/views.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo {

namespace detail {

/// Rows (pixels) of a batch of images, cut into blocks that do not cross images.
struct ChannelNormGrid {
  index_t images, pixels, channels, pixels_per_item, items_per_image;

  ChannelNormGrid(index_t image_count, index_t pixel_count, index_t channel_count)
      : images(image_count),
        pixels(pixel_count),
        channels(channel_count),
        pixels_per_item(norm_rows_per_item(channel_count)),
        items_per_image(divide_up(pixel_count, pixels_per_item)) {}
  index_t items() const { return images * items_per_image; }
};

/// A pixel with its modulation.
template <class T>
struct ModulatedPixel {
  const T* x;
  const T* shift;
  KOLMO_HD ComputeOf<T> operator[](index_t c) const { return x[c] + shift[c]; }
};

template <class T, class F>
struct ChannelNormKernel {
  using C = ComputeOf<T>;

  F f;
  ChannelNormGrid grid;
  const T* x;
  const T* modulation;  // null: none
  index_t modulation_stride;
  T* y;
  C* statistics;  // [rows, 2]: m, q; null: not kept
  C epsilon;

  KOLMO_HD void operator()(index_t item) const {
    const index_t image = item / grid.items_per_image, block = item % grid.items_per_image;
    const index_t begin = block * grid.pixels_per_item, end = smaller(grid.pixels, begin + grid.pixels_per_item);
    const T* shift = modulation ? modulation + image * modulation_stride : nullptr;
    for (index_t p = begin; p < end; ++p) {
      const index_t r = image * grid.pixels + p;
      if (shift)
        row(r, ModulatedPixel<T>{x + r * grid.channels, shift});
      else
        row(r, x + r * grid.channels);
    }
  }

  template <class Pixel>
  KOLMO_HD void row(index_t r, const Pixel in) const {
    const index_t n = grid.channels;
    T* out = y + r * n;
    const F function = f;
    const C mean = RowSums<C>::sum(in, n) / static_cast<C>(n);
    const C inverse = C(1) / sqrt(RowSums<C>::sum_of_squares(in, mean, n) / static_cast<C>(n - 1) + epsilon);
    if (statistics) {
      statistics[2 * r] = mean;
      statistics[2 * r + 1] = inverse;
    }
    KOLMO_INDEPENDENT
    for (index_t c = 0; c < n; ++c) out[c] = T(function((in[c] - mean) * inverse));
  }
};

/// The gradient with respect to u, plus `residual` where one is given: what reaches x past the block.
template <class T, class F>
struct ChannelNormPullKernel {
  using C = ComputeOf<T>;

  F f;
  ChannelNormGrid grid;
  const T* x;
  const T* modulation;
  index_t modulation_stride;
  const C* statistics;
  const T* gradient;
  const T* residual;  // null: none
  T* gradient_x;
  C* partial;  // [items, channels]: gradient of the modulation from the pixels of each item; null: not wanted

  KOLMO_HD void operator()(index_t item) const {
    const index_t n = grid.channels;
    const index_t image = item / grid.items_per_image, block = item % grid.items_per_image;
    const index_t begin = block * grid.pixels_per_item, end = smaller(grid.pixels, begin + grid.pixels_per_item);
    const T* shift = modulation ? modulation + image * modulation_stride : nullptr;
    C* sums = partial ? partial + item * n : nullptr;
    if (sums)
      for (index_t c = 0; c < n; ++c) sums[c] = C(0);
    for (index_t p = begin; p < end; ++p) row(image * grid.pixels + p, shift, sums);
  }

  KOLMO_HD void row(index_t r, const T* shift, C* sums) const {
    using D = Dual<C, 1>;
    constexpr int lanes = RowSums<C>::lanes;
    const index_t n = grid.channels;
    const T* in = x + r * n;
    const T* g = gradient + r * n;
    T* h = gradient_x + r * n;
    const F function = f;
    const C mean = statistics[2 * r], inverse = statistics[2 * r + 1];
    C total[lanes] = {}, product[lanes] = {};
    index_t c = 0;
    for (; c + lanes <= n; c += lanes)
      for (int j = 0; j < lanes; ++j) {
        const C centred = in[c + j] + (shift ? C(shift[c + j]) : C(0)) - mean;
        const C inner = g[c + j] * function(D(centred * inverse, {{C(1)}})).d[0];
        total[j] += inner;
        product[j] += inner * centred;
      }
    for (int j = 0; c + j < n; ++j) {
      const C centred = in[c + j] + (shift ? C(shift[c + j]) : C(0)) - mean;
      const C inner = g[c + j] * function(D(centred * inverse, {{C(1)}})).d[0];
      total[j] += inner;
      product[j] += inner * centred;
    }
    const C mean_h = RowSums<C>::fold(total) / static_cast<C>(n);
    const C slope = RowSums<C>::fold(product) * inverse * inverse / static_cast<C>(n - 1);
    KOLMO_INDEPENDENT
    for (index_t k = 0; k < n; ++k) {
      const C centred = in[k] + (shift ? C(shift[k]) : C(0)) - mean;
      const C inner = g[k] * function(D(centred * inverse, {{C(1)}})).d[0];
      const C step = inverse * (inner - mean_h - centred * slope);
      if (sums) sums[k] += step;
      h[k] = T(residual ? residual[r * n + k] + step : step);
    }
  }
};

/// Sums of the blocks of each image: [images, items, channels], which is used up, to [images, channels], in the order
/// of the blocks.
template <class T>
struct SumBlocksKernel {
  ComputeOf<T>* partial;
  T* sum;
  index_t items, channels;
  KOLMO_HD void operator()(index_t image) const {
    T* target = sum + image * channels;
    ComputeOf<T>* total = partial + image * items * channels;
    for (index_t i = 1; i < items; ++i)
      for (index_t c = 0; c < channels; ++c) total[c] += total[i * channels + c];
    for (index_t c = 0; c < channels; ++c) target[c] = items > 0 ? T(total[c]) : T(0);
  }
};

/// The norm of images [first, first + grid.images) of x and their rows of the modulation (null: none; shared: one row
/// for all), for whose results memory is given; statistics may be null.
template <class B, class T, class F>
void channel_norm_into(const F& f, const ChannelNormGrid& grid, const T* x, const T* modulation, bool shared,
                       double epsilon, T* y, ComputeOf<T>* statistics) {
  const index_t stride = shared ? 0 : grid.channels;
  if constexpr (HasTeams<B>) {
    const ChannelNormRows<T> rows{grid.pixels, grid.channels, x, modulation, stride};
    with_norm_team<T>(grid.channels, in_packs<T>(grid.channels, x, modulation, y), [&](auto team) {
      for_each_team<B>(grid.images * grid.pixels, ChannelNormTeam<decltype(team), T, F>{
                                                      f, rows, y, statistics, static_cast<ComputeOf<T>>(epsilon)});
    });
  } else {
    for_each_item<B>(grid.items(), ChannelNormKernel<T, F>{f, grid, x, modulation, stride, y, statistics,
                                                           static_cast<ComputeOf<T>>(epsilon)});
  }
}

/// Gradients of the same: of x, plus `residual` unless it is null, and of the modulation unless that is null; `targets`
/// rows of it, one or one for each image.
template <class V, class F, class T = typename V::Scalar>
void channel_norm_pull_into(const F& f, const ChannelNormGrid& grid, const T* x, const T* modulation, bool shared,
                            const ComputeOf<T>* statistics, const T* gradient, const T* residual, T* gradient_x,
                            T* gradient_modulation) {
  using B = typename V::Backend;
  const index_t stride = shared ? 0 : grid.channels, targets = shared ? 1 : grid.images;
  ComputeTensor<V> partial;
  if constexpr (HasTeams<B>) {
    const index_t per_item = norm_team_rows(grid.images * grid.pixels, grid.pixels, grid.channels, sizeof(T));
    const index_t per_image = divide_up(grid.pixels, per_item), items = grid.images * per_image;
    if (gradient_modulation) partial = ComputeTensor<V>::uninitialized(Shape{items, grid.channels});
    ComputeOf<T>* const sums = gradient_modulation ? partial.mutable_data() : nullptr;
    const ChannelNormRows<T> rows{grid.pixels, grid.channels, x, modulation, stride};
    with_norm_team<T>(grid.channels, in_packs<T>(grid.channels, x, modulation, gradient, residual, gradient_x),
                      [&](auto team) {
                        for_each_team<B>(items, ChannelNormPullTeam<decltype(team), T, F>{
                                                    f, rows, per_item, per_image, statistics, gradient, residual,
                                                    gradient_x, sums});
                      });
    if (gradient_modulation)
      sum_norm_blocks<B, T>(targets, targets == 0 ? 0 : items / targets, grid.channels, sums, gradient_modulation);
  } else {
    if (gradient_modulation) partial = ComputeTensor<V>::uninitialized(Shape{grid.items(), grid.channels});
    for_each_item<B>(grid.items(), ChannelNormPullKernel<T, F>{f, grid, x, modulation, stride, statistics, gradient,
                                                               residual, gradient_x,
                                                               gradient_modulation ? partial.mutable_data() : nullptr});
    if (gradient_modulation)
      for_each_item<B>(targets, SumBlocksKernel<T>{partial.mutable_data(), gradient_modulation,
                                                   targets == 0 ? 0 : grid.items() / targets, grid.channels});
  }
}

inline ChannelNormGrid channel_norm_grid(const Shape& x) {
  const index_t channels = x[-1], images = x.rank() > 1 ? x[0] : 1;
  return {images, images == 0 ? 0 : x.size() / images / channels, channels};
}

/// Values of the norm; `statistics` is filled when it has memory. `modulation` may be a default tensor.
template <class F, PlainTensor V>
V channel_norm_values(const F& f, const V& x, const V& modulation, double epsilon,
                      std::type_identity_t<ComputeTensor<V>>* statistics) {
  using T = typename V::Scalar;
  const ChannelNormGrid grid = channel_norm_grid(x.shape());
  const bool modulated = modulation.has_value();
  V y = V::uninitialized(x.shape());
  channel_norm_into<typename V::Backend, T>(f, grid, x.data(), modulated ? modulation.data() : nullptr,
                                            modulated && modulation.size() == grid.channels, epsilon, y.mutable_data(),
                                            statistics ? statistics->mutable_data() : nullptr);
  return y;
}

/// Gradients with respect to x (plus `residual` where it has values) and to the modulation, of the modulation's shape.
template <class F, PlainTensor V>
std::tuple<V, V> channel_norm_gradients(const F& f, const V& x, const V& modulation, const ComputeTensor<V>& statistics,
                                        const V& gradient, const V& residual, bool want_modulation) {
  const ChannelNormGrid grid = channel_norm_grid(x.shape());
  const bool modulated = modulation.has_value();
  V gradient_x = V::uninitialized(x.shape()), gradient_modulation;
  if (want_modulation) gradient_modulation = V::uninitialized(modulation.shape());
  channel_norm_pull_into<V>(f, grid, x.data(), modulated ? modulation.data() : nullptr,
                            modulated && modulation.size() == grid.channels, statistics.data(), gradient.data(),
                            residual.has_value() ? residual.data() : nullptr, gradient_x.mutable_data(),
                            want_modulation ? gradient_modulation.mutable_data() : nullptr);
  return {gradient_x, gradient_modulation};
}

template <class F, PlainTensor V>
struct ChannelNormPullBack {
  F f;
  V x, modulation;
  ComputeTensor<V> statistics;

  auto operator()(const V& gradient, const Wanted<2>& wanted) const {
    return channel_norm_gradients(f, x, modulation, statistics, gradient.contiguous(), V(), wanted[1]);
  }
};

template <class F, PlainTensor V>
struct PlainChannelNormPullBack {
  F f;
  V x;
  ComputeTensor<V> statistics;

  auto operator()(const V& gradient, const Wanted<1>&) const {
    return std::make_tuple(
        std::get<0>(channel_norm_gradients(f, x, V(), statistics, gradient.contiguous(), V(), false)));
  }
};

/// f(centred / deviation) for the form made of ordinary operations.
template <class F>
struct DivideActivate {
  F f;
  KOLMO_HD auto operator()(auto centred, auto deviation) const { return f(centred / deviation); }
};

/// The form made of operations that know their tangents: for jets, and variables over jets.
template <class F, TensorLike U>
auto channel_norm_composed(const U& u, double epsilon, const F& f) {
  const auto n = static_cast<double>(u.shape()[-1]);
  const auto centred = u - mean(u, {-1}, true);
  return map(DivideActivate<F>{f}, centred, sqrt(mean(square(centred), {-1}, true) * (n / (n - 1)) + epsilon));
}

inline void check_channel_norm(const Shape& x, double epsilon) {
  if (x.rank() < 1 || x[-1] < 2)
    throw ShapeError("channel_norm: expected x [..., channels] with at least 2 channels, given shape " + x.to_string());
  if (!(epsilon > 0)) throw ArgumentError("channel_norm: epsilon must be positive, given " + std::to_string(epsilon));
}

}  // namespace detail

namespace nn {

/// Every pixel of x [batch, ..., channels] standardised over its channels, with unbiased variance, then f. Throws
/// ShapeError for fewer than 2 channels, ArgumentError unless epsilon > 0.
template <TensorLike X, class F = fn::Identity>
auto channel_norm(const X& x, double epsilon = 1e-5, const F& f = {}) {
  kolmo::detail::check_channel_norm(x.shape(), epsilon);
  using V = ValueOf<X>;
  if constexpr (PlainTensor<V>) {
    const V input = value(x).contiguous();
    ComputeTensor<V> statistics;
    if constexpr (VarLike<X>) statistics = ComputeTensor<V>::uninitialized(Shape{input.size() / input.shape()[-1], 2});
    V y = kolmo::detail::channel_norm_values(f, input, V(), epsilon, VarLike<X> ? &statistics : nullptr);
    return record(std::move(y), kolmo::detail::PlainChannelNormPullBack<F, V>{f, input, statistics}, x);
  } else {
    return kolmo::detail::channel_norm_composed(x, epsilon, f);
  }
}

/// The same of x + modulation, for x [batch, ..., channels] and a modulation [batch, channels], or [1, channels] or
/// [channels] for all images. Throws ShapeError when the shapes do not fit.
template <TensorLike X, TensorLike M, class F = fn::Identity>
auto channel_norm(const X& x, const M& modulation, double epsilon = 1e-5, const F& f = {}) {
  kolmo::detail::check_channel_norm(x.shape(), epsilon);
  const Shape& s = modulation.shape();
  const index_t channels = x.shape()[-1];
  const bool row = s == Shape{channels} || s == Shape{1, channels};
  if (!row && (x.rank() < 2 || !(s == Shape{x.shape()[0], channels})))
    throw ShapeError("channel_norm: x has shape " + x.shape().to_string() +
                     ", expected a modulation [batch, channels], [1, channels] or [channels], given " + s.to_string());
  using V = ValueOf<X>;
  if constexpr (PlainTensor<V> && PlainTensor<ValueOf<M>>) {
    constexpr bool recorded = VarLike<X> || VarLike<M>;
    const V input = value(x).contiguous(), shift = value(modulation).contiguous();
    ComputeTensor<V> statistics;
    if constexpr (recorded) statistics = ComputeTensor<V>::uninitialized(Shape{input.size() / channels, 2});
    V y = kolmo::detail::channel_norm_values(f, input, shift, epsilon, recorded ? &statistics : nullptr);
    return record(std::move(y), kolmo::detail::ChannelNormPullBack<F, V>{f, input, shift, statistics}, x, modulation);
  } else {
    Shape aligned;
    for (int i = 0; i + 1 < x.rank(); ++i) aligned.push_back(i == 0 && !row ? s[0] : 1);
    aligned.push_back(channels);
    return kolmo::detail::channel_norm_composed(x + reshape(modulation, aligned), epsilon, f);
  }
}

}  // namespace nn
}  // namespace kolmo

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
