// Bfloat16 on the host: conversion, products, and the 3 x 3 convolutions of the score U-Net's levels (periodic, batch
// 4), forward, gradient of the field and gradient of the kernel. GFLOP/s count two operations for each multiply-add.
// `peak` is the rate of the inner product whose operands stay in the first-level cache, in the form of the kernel that
// the processor has (its name is part of the name). float_ are the same in float, by Winograd's algorithm where it
// applies. benchmarks/peers/bf16_torch.py prints the same table for PyTorch.

#include <kolmo/backend/bf16_kernel.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/conv.hpp>
#include <kolmo/ops/linalg.hpp>

#include "measure.hpp"

namespace {

using kolmo::BFloat16;
using kolmo::index_t;
using kolmo::Shape;
using measure::compare;
using measure::Work;
using Half = kolmo::Tensor<BFloat16, kolmo::Cpu>;
using Single = kolmo::Tensor<float, kolmo::Cpu>;

void add_peak() {
  measure::add(std::string("peak/") + kolmo::name_of(kolmo::bf16_kernel()), [](benchmark::State& state) {
    constexpr index_t rows = 16, depth = 256, panels = 3;
    const Half a = Half::zeros(Shape{rows, depth}), b = Half::zeros(Shape{16 * panels, depth});
    Single c = Single::zeros(Shape{rows, 16 * panels});
    compare(state, Work{.flops = 2.0 * rows * depth * 16 * panels * 100}, [&] {
      for (int i = 0; i < 100; ++i)
        kolmo::detail::bf16_product(kolmo::bf16_kernel(), rows, panels, depth, a.data(), depth, b.data(), 16 * depth,
                                    c.mutable_data(), 16 * panels, true);
      benchmark::DoNotOptimize(c.data());
    });
  });
}

void add_cast() {
  measure::add("cast/float_to_bf16_1M", [](benchmark::State& state) {
    const Single x = kolmo::nn::normal_values<Single>(kolmo::Key{1}, Shape{1 << 20});
    compare(state, Work{.bytes = 6.0 * static_cast<double>(x.size())},
            [&] { benchmark::DoNotOptimize(kolmo::cast<BFloat16>(x).data()); });
  });
  measure::add("cast/bf16_to_float_1M", [](benchmark::State& state) {
    const Half x = kolmo::nn::normal_values<Half>(kolmo::Key{1}, Shape{1 << 20});
    compare(state, Work{.bytes = 6.0 * static_cast<double>(x.size())},
            [&] { benchmark::DoNotOptimize(kolmo::cast<float>(x).data()); });
  });
}

void add_product(index_t channels) {
  measure::add("product/4096x" + std::to_string(9 * channels) + "x" + std::to_string(channels),
               [=](benchmark::State& state) {
                 const Half a = kolmo::nn::normal_values<Half>(kolmo::Key{1}, Shape{4096, 9 * channels});
                 const Half b = kolmo::nn::normal_values<Half>(kolmo::Key{2}, Shape{9 * channels, channels});
                 compare(state, Work{.flops = 2.0 * 4096 * 9 * static_cast<double>(channels * channels)},
                         [&] { benchmark::DoNotOptimize(kolmo::matmul(a, b).data()); });
               });
}

template <class V>
void add_convolution(const std::string& scalar, index_t channels, index_t points, int threads) {
  const std::string name = scalar + "_" + std::to_string(channels) + "_channels_" + std::to_string(points) + "x" +
                           std::to_string(points) + "/threads_" + std::to_string(threads);
  const auto add = [&](const std::string& part, const auto& call) {
    measure::add(name + "/" + part, [=](benchmark::State& state) {
      kolmo::threads::set_count(threads);
      const Shape field{4, points, points, channels}, kernel{channels, channels, 3, 3};
      const auto g = kolmo::detail::conv_geometry("bench", field, kernel, {.padding = kolmo::Padding::circular});
      const V x = kolmo::nn::normal_values<V>(kolmo::Key{1}, field);
      const V w = kolmo::nn::normal_values<V>(kolmo::Key{2}, kernel);
      const V gradient = kolmo::nn::normal_values<V>(kolmo::Key{3}, field);
      compare(state, Work{.flops = 2.0 * static_cast<double>(g.products())},
              [&] { benchmark::DoNotOptimize(call(g, x, w, gradient).data()); });
      kolmo::threads::set_count(1);
    });
  };
  add("forward", [](const auto& g, const V& x, const V& w, const V&) { return kolmo::detail::ConvForward{g}(x, w); });
  add("gradient_of_field", [](const auto& g, const V&, const V& w, const V& gradient) {
    return kolmo::detail::ConvBackwardData{g}(gradient, w);
  });
  add("gradient_of_kernel", [](const auto& g, const V& x, const V&, const V& gradient) {
    return kolmo::detail::ConvBackwardFilter{g}(x, gradient);
  });
}

}  // namespace

int main(int argc, char** argv) {
  kolmo::threads::set_count(1);
  add_peak();
  add_cast();
  for (const index_t channels : {96, 192, 384}) add_product(channels);
  for (const int threads : {1, 2})
    for (int level = 0; level < 3; ++level) add_convolution<Half>("bf16", 96 << level, 64 >> level, threads);
  for (int level = 0; level < 3; ++level) add_convolution<Single>("float", 96 << level, 64 >> level, 1);
  return measure::run(argc, argv);
}
