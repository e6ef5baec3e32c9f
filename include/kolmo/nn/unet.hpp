#pragma once
// The U-Net of score networks (Rozet and Louppe 2023), on channels-last fields [B, H, W, C] or [B, N, C]:
//
//   for l = 0 .. P-1:  x = head_l(x);  blocks of the descent;  keep x        head_0: in -> ch_0, head_l: strided
//   for l = P-1 .. 0:  blocks of the ascent;  x = tail_l(x) + kept_{l-1}     tail_0: ch_0 -> out, without a sum
//
// head_l (l > 0) is a convolution with stride S; tail_l (l > 0) standardises the channels, repeats every point S times
// per axis, cuts the result to the extents of the field it will be added to, and convolves. The deepest level has no
// field to add. Cutting makes any grid possible, 199 x 399 as well.

#include <kolmo/nn/unet_block.hpp>
#include <kolmo/nn/unet_tail.hpp>

namespace kolmo::nn {

/// What a U-Net keeps for the way back: all it needs, or the input of each block.
enum class UNetCheckpoint { none, block };

struct UNetOptions {
  index_t in = 0, out = 0;
  index_t embedding = 64;              ///< features of the time
  std::vector<index_t> channels = {};  ///< per level
  std::vector<index_t> blocks = {};    ///< per level, on each side
  index_t kernel = 3;                  ///< odd, the same on every axis
  index_t stride = 2;                  ///< between levels
  Padding padding = Padding::zeros;
  ActivationKind activation = ActivationKind::relu;
  int spatial = 2;  ///< axes of the field: 1 or 2
  UNetCheckpoint checkpoint = UNetCheckpoint::none;
};

template <class V>
struct UNetLevel {
  Conv<V> head;
  std::vector<ModulatedBlock<V>> descent, ascent;
  Conv<V> tail;

  static void fields(auto&& f, auto&... s) {
    f(submodule("head"), s.head...);
    f(submodule("descent"), s.descent...);
    f(submodule("ascent"), s.ascent...);
    f(submodule("tail"), s.tail...);
  }
  template <class U>
  using Rebind = UNetLevel<U>;
};

template <class V>
struct UNet {
  std::vector<UNetLevel<V>> levels;
  ActivationKind activation = ActivationKind::relu;
  UNetCheckpoint checkpoint = UNetCheckpoint::none;

  UNet() = default;
  /// Zeros; call init. Throws ArgumentError for options that make no network.
  explicit UNet(const UNetOptions& o) : activation(o.activation), checkpoint(o.checkpoint) {
    check(o);
    const std::vector<index_t> kernel(static_cast<std::size_t>(o.spatial), o.kernel);
    for (std::size_t l = 0; l < o.channels.size(); ++l) {
      UNetLevel<V> level;
      const index_t channels = o.channels[l];
      level.head = l == 0 ? Conv<V>(o.in, channels, kernel, 1, o.padding)
                          : Conv<V>(o.channels[l - 1], channels, kernel, o.stride, o.padding);
      for (index_t i = 0; i < o.blocks[l]; ++i) {
        level.descent.emplace_back(channels, o.embedding, kernel, o.padding);
        level.ascent.emplace_back(channels, o.embedding, kernel, o.padding);
      }
      level.tail = Conv<V>(channels, l == 0 ? o.out : o.channels[l - 1], kernel, 1, o.padding);
      levels.push_back(std::move(level));
    }
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("levels"), s.levels...);
    f(option("activation"), s.activation...);
    f(option("checkpoint", "0"), s.checkpoint...);
  }
  template <class U>
  using Rebind = UNet<U>;

  index_t in() const { return levels[0].head.in(); }
  index_t out() const { return levels[0].tail.out(); }
  int spatial() const { return levels[0].head.axes(); }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    static_cast<void>(name_of(activation));
    if (levels.empty()) throw ArgumentError("UNet: a network without levels");
    for (std::size_t l = 0; l < levels.size(); ++l) {
      const auto& level = levels[l];
      level.head.validate();
      level.tail.validate();
      bool fits = level.head.axes() == spatial() && level.tail.axes() == spatial() &&
                  level.tail.in() == level.head.out() && level.descent.size() == level.ascent.size();
      if (l > 0) fits = fits && level.head.in() == levels[l - 1].head.out() && level.tail.out() == level.head.in();
      for (const auto* side : {&level.descent, &level.ascent})
        for (const auto& block : *side) {
          block.validate();
          fits = fits && block.first.axes() == spatial() && block.first.in() == level.head.out();
        }
      if (!fits) throw ShapeError("UNet: the parts of level " + std::to_string(l) + " do not fit each other");
    }
  }

  /// x [B, H, W, in], or [B, N, in], with the embedding of the time [B, E], or [1, E] or [E] for all. Throws ShapeError
  /// when they do not fit.
  template <TensorLike X, TensorLike E>
  auto operator()(const X& x, const E& embedding) const {
    const int rank = spatial() + 2;
    if (x.rank() != rank || x.shape()[-1] != in())
      throw ShapeError("UNet: expected a field [batch, " + std::string(spatial() == 1 ? "points" : "height, width") +
                       ", " + std::to_string(in()) + "], given " + x.shape().to_string());
    const index_t features = embedding.rank() == 0 ? 1 : embedding.shape()[-1];
    const auto rows = reshape(embedding, Shape{features == 0 ? 0 : embedding.size() / features, features});
    Shape plane = x.shape();
    if (spatial() == 1) plane = Shape{x.shape()[0], 1, x.shape()[1], x.shape()[2]};
    const auto y = run(reshape(x, plane), rows);
    Shape shape = x.shape();
    shape[-1] = out();
    return reshape(y, shape);
  }

  /// Multiply-adds of all convolutions for one field of the given extents, {H, W} or {N}.
  index_t multiply_adds(const Shape& extents) const {
    index_t sum = 0;
    std::vector<Shape> grids;
    Shape grid = with_batch(extents, in());
    for (const auto& level : levels) {
      grid[-1] = level.head.in();
      sum += level.head.multiply_adds(grid);
      for (int i = 0; i < spatial(); ++i) {
        const index_t step = level.head.stride[static_cast<std::size_t>(i)];
        grid[1 + i] = divide_up(grid[1 + i], step);
      }
      grid[-1] = level.head.out();
      grids.push_back(grid);
      for (const auto& block : level.descent) sum += 4 * block.first.multiply_adds(grid);
    }
    for (std::size_t l = levels.size(); l-- > 0;) {
      Shape at = grids[l > 0 ? l - 1 : 0];
      at[-1] = levels[l].tail.in();
      sum += levels[l].tail.multiply_adds(at);
    }
    return sum;
  }

 private:
  static void check(const UNetOptions& o) {
    bool good = o.in >= 1 && o.out >= 1 && o.embedding >= 1 && !o.channels.empty() &&
                o.channels.size() == o.blocks.size() && o.kernel >= 1 && o.kernel % 2 == 1 && o.stride >= 1 &&
                (o.spatial == 1 || o.spatial == 2);
    for (const index_t channels : o.channels) good = good && channels >= 2;
    for (const index_t blocks : o.blocks) good = good && blocks >= 0;
    if (!good)
      throw ArgumentError(
          "UNet: expected in, out and embedding of at least 1, as many numbers of channels (at least 2) as of blocks, "
          "an "
          "odd kernel, a stride of at least 1 and 1 or 2 axes; given in " +
          std::to_string(o.in) + ", out " + std::to_string(o.out) + ", embedding " + std::to_string(o.embedding) +
          ", " + std::to_string(o.channels.size()) + " levels of channels, " + std::to_string(o.blocks.size()) +
          " of blocks, kernel " + std::to_string(o.kernel) + ", stride " + std::to_string(o.stride) + ", " +
          std::to_string(o.spatial) + " axes");
    static_cast<void>(name_of(o.activation));
  }

  Shape with_batch(const Shape& extents, index_t channels) const {
    if (extents.rank() != spatial())
      throw ShapeError("UNet: expected " + std::to_string(spatial()) + " extents, given " + extents.to_string());
    Shape shape{1};
    for (const index_t extent : extents) shape.push_back(extent);
    shape.push_back(channels);
    return shape;
  }

  /// A layer on planes; 1-D fields are planes of height one.
  template <TensorLike X>
  static auto convolve(const Conv<V>& conv, const X& x) {
    ConvOptions options = conv.options();
    if (conv.axes() == 1) options = {.stride = {{1, options.stride[0]}}, .padding = options.padding};
    return conv2d(x, ModulatedBlock<V>::kernel_2d(conv.weight), conv.bias, options);
  }

  /// The way up to the level of `skip`.
  template <TensorLike X, TensorLike S>
  static auto ascend(const UNetLevel<V>& level, const X& x, const S& skip) {
    const index_t across = level.head.stride.back(), down = level.head.axes() == 1 ? 1 : level.head.stride[0];
    return unet_tail(x, ModulatedBlock<V>::kernel_2d(level.tail.weight), level.tail.bias, skip, {{down, across}},
                     level.tail.padding);
  }

  template <TensorLike X, TensorLike E>
  auto run(const X& input, const E& e) const {
    using Y = decltype(convolve(levels[0].head, input));
    const bool again = checkpoint == UNetCheckpoint::block;
    const std::size_t depth = levels.size();
    std::vector<Y> kept;
    Y x = convolve(levels[0].head, input);
    for (std::size_t l = 0; l < depth; ++l) {
      if (l > 0) x = convolve(levels[l].head, x);
      for (const auto& block : levels[l].descent) x = block(x, e, activation, again);
      if (l + 1 < depth) kept.push_back(x);
    }
    for (std::size_t l = depth; l-- > 0;) {
      for (const auto& block : levels[l].ascent) x = block(x, e, activation, again);
      if (l == 0) break;
      x = ascend(levels[l], x, kept.back());
      kept.pop_back();
    }
    return convolve(levels[0].tail, x);
  }
};

template <PlainTensor V>
void init(Key key, UNet<V>& net) {
  for (std::size_t l = 0; l < net.levels.size(); ++l) {
    auto& level = net.levels[l];
    const Key own = fold_in(key, l);
    uniform_init(fold_in(own, 0), level.head);
    uniform_init(fold_in(own, 1), level.tail);
    for (std::size_t i = 0; i < level.descent.size(); ++i) init(fold_in(own, 2 + 2 * i), level.descent[i]);
    for (std::size_t i = 0; i < level.ascent.size(); ++i) init(fold_in(own, 3 + 2 * i), level.ascent[i]);
  }
}

}  // namespace kolmo::nn
