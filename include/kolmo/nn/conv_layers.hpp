#pragma once
// The convolution layer: kernel and bias, with stride and padding as saved options. Fields are channels-last,
// [B, H, W, C] or [B, N, C]; the kernel is [out, in, kh, kw] or [out, in, k], as in files.

#include <vector>

#include <kolmo/nn/uniform_init.hpp>
#include <kolmo/ops/conv.hpp>

namespace kolmo::nn {

template <class V>
struct Conv {
  V weight, bias;
  std::vector<index_t> stride;  ///< one per axis
  Padding padding = Padding::zeros;

  Conv() = default;
  /// Zeros. `kernel` has 1 or 2 extents; every side is padded by half of them. Throws ArgumentError for another number
  /// of axes or an extent below 1.
  Conv(index_t in, index_t out, const std::vector<index_t>& kernel, index_t step = 1,
       Padding continued = Padding::zeros)
      : stride(kernel.size(), step), padding(continued) {
    if (kernel.size() != 1 && kernel.size() != 2)
      throw ArgumentError("Conv: expected a kernel of 1 or 2 axes, given " + std::to_string(kernel.size()));
    Shape shape{out, in};
    for (const index_t extent : kernel) shape.push_back(extent);
    if (shape.size() == 0 || step < 1)
      throw ArgumentError("Conv: expected channels, kernel and stride of at least 1, given a kernel " +
                          shape.to_string() + " and stride " + std::to_string(step));
    weight = V::zeros(shape);
    bias = V::zeros(Shape{out});
  }

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(param("bias"), s.bias...);
    f(option("stride"), s.stride...);
    f(option("padding"), s.padding...);
  }
  template <class U>
  using Rebind = Conv<U>;

  index_t in() const { return weight.shape()[1]; }
  index_t out() const { return weight.shape()[0]; }
  int axes() const { return weight.rank() - 2; }

  ConvOptions options() const {
    ConvOptions result;
    for (std::size_t i = 0; i < stride.size(); ++i) result.stride[static_cast<int>(i)] = stride[i];
    result.padding = padding;
    return result;
  }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    if ((weight.rank() != 3 && weight.rank() != 4) || weight.size() == 0 || !(bias.shape() == Shape{weight.shape()[0]}))
      throw ShapeError("Conv: expected a kernel [out, in, kh, kw] or [out, in, k] and a bias [out], given " +
                       weight.shape().to_string() + " and " + bias.shape().to_string());
    bool good = stride.size() == static_cast<std::size_t>(axes());
    for (const index_t step : stride) good = good && step >= 1;
    if (!good || static_cast<int>(padding) < 0 || static_cast<int>(padding) > 3)
      throw ArgumentError("Conv: expected a stride of at least 1 for each axis and a padding from 0 to 3, given " +
                          std::to_string(stride.size()) + " strides and padding " +
                          std::to_string(static_cast<int>(padding)));
  }

  /// f(convolution + bias). Throws ShapeError unless x is [B, H, W, in] or [B, N, in].
  template <TensorLike X, class F = fn::Identity>
  auto operator()(const X& x, const F& f = {}) const {
    using Y = decltype(conv2d(x, weight, bias, options(), f));
    return axes() == 1 ? Y(conv1d(x, weight, bias, options(), f)) : Y(conv2d(x, weight, bias, options(), f));
  }
  /// Multiply-adds for fields of shape x, as for operator().
  index_t multiply_adds(const Shape& x) const { return conv_flops(x, weight.shape(), options()); }
};

template <PlainTensor V>
void uniform_init(Key key, Conv<V>& layer) {
  uniform_start(key, layer.weight, layer.bias, layer.weight.size() / layer.weight.extent(0));
}
template <PlainTensor V>
void init(Key key, Conv<V>& layer) {
  uniform_init(key, layer);
}

}  // namespace kolmo::nn
