// 3 x 3 convolutions of the score U-Net's levels, periodic, batch 4, float: the sum with bias and SiLU, the gradient of
// the field and that of the kernel, on one and two threads. GFLOP/s count two operations for each multiply-add of the
// definition; Winograd's F(4 x 4, 3 x 3) does a quarter of the products, so the bound is four times the processor's
// rate, which `peak` measures. benchmarks/peers/conv_torch.py prints the same table for PyTorch.

#include <kolmo/backend/panel_product.hpp>
#include <kolmo/ops/conv.hpp>

#include "measure.hpp"

namespace {

using kolmo::index_t;
using kolmo::Shape;
using measure::compare;
using measure::Work;
using Host = kolmo::Tensor<float, kolmo::Cpu>;

/// A product whose operands stay in the first-level cache.
void add_peak() {
  measure::add("peak", [](benchmark::State& state) {
    using Product = kolmo::detail::PanelProduct<float>;
    constexpr index_t rows = 48, depth = 96, columns = 3 * Product::width;
    Host a = Host::full(Shape{rows, depth}, 0.5f), b = Host::full(Shape{depth, columns}, 0.25f);
    Host c = Host::zeros(Shape{rows, columns});
    kolmo::detail::PanelCall<float> call{rows, depth, a.data(), depth, 1, b.data(), c.mutable_data(), columns, false};
    compare(state, Work{.flops = 2.0 * rows * depth * columns * 100}, [&] {
      for (int i = 0; i < 100; ++i) Product::run(call, 3);
      benchmark::DoNotOptimize(call.c);
    });
  });
}

/// `in` to `out` channels on a square of `points`.
void add_convolution(index_t in, index_t out, index_t points, index_t stride, int threads) {
  std::string name = std::to_string(in);
  if (out != in) name += "_to_" + std::to_string(out);
  name += "_channels_" + std::to_string(points) + "x" + std::to_string(points) + "/threads_" + std::to_string(threads);
  const auto add = [&](const std::string& part, const auto& call) {
    measure::add(name + "/" + part, [=](benchmark::State& state) {
      kolmo::threads::set_count(threads);
      const kolmo::ConvOptions options{{{stride, stride}}, kolmo::Padding::circular};
      const Shape field{4, points, points, in}, kernel{out, in, 3, 3};
      const auto g = kolmo::detail::conv_geometry("bench", field, kernel, options);
      const Host x = Host::full(field, 0.5f), w = Host::full(kernel, 0.01f), bias = Host::zeros(Shape{out});
      const Host gradient = Host::full(kolmo::detail::conv_out_shape(g), 0.1f);
      compare(state, Work{.flops = 2.0 * static_cast<double>(g.products())},
              [&] { benchmark::DoNotOptimize(call(g, options, x, w, bias, gradient).data()); });
      kolmo::threads::set_count(1);
    });
  };
  add("forward", [](const auto&, const auto& options, const Host& x, const Host& w, const Host& bias, const Host&) {
    return kolmo::conv2d(x, w, bias, options, kolmo::fn::Silu{});
  });
  add("gradient_of_field", [](const auto& g, const auto&, const Host&, const Host& w, const Host&,
                              const Host& gradient) { return kolmo::detail::ConvBackwardData{g}(gradient, w); });
  add("gradient_of_kernel", [](const auto& g, const auto&, const Host& x, const Host&, const Host&,
                               const Host& gradient) { return kolmo::detail::ConvBackwardFilter{g}(x, gradient); });
}

}  // namespace

int main(int argc, char** argv) {
  add_peak();
  for (const int threads : {1, 2}) {
    add_convolution(96, 96, 64, 1, threads);
    add_convolution(192, 192, 32, 1, threads);
    add_convolution(384, 384, 16, 1, threads);
  }
  // The rest of the network: entry, strided head, tail and exit.
  add_convolution(11, 96, 64, 1, 1);
  add_convolution(96, 192, 64, 2, 1);
  add_convolution(192, 96, 64, 1, 1);
  add_convolution(96, 10, 64, 1, 1);
  return measure::run(argc, argv);
}
