// Norm over channels with modulation, as in the blocks of the score U-Net, batch 32: x + modulation standardised per
// pixel, then SiLU; value alone, and with both gradients. Layer norm beside it.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/channel_norm.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/reduce.hpp>

#include "gpu_check.hpp"
#include "gpu_precision.hpp"

using namespace kolmo;
using T = gpu::Scalar;
using V = Tensor<T, Cuda>;

namespace {

V random(Key key, const Shape& shape) { return cast<T>(nn::normal_values<Tensor<float, Cuda>>(key, shape)); }

/// f((x + m - mean) / deviation) of the first pixels of the first image, in double.
std::vector<double> expected(const std::vector<double>& x, const std::vector<double>& m, index_t channels,
                             index_t pixels) {
  std::vector<double> result;
  const auto n = static_cast<std::size_t>(channels);
  for (std::size_t p = 0; p < static_cast<std::size_t>(pixels); ++p) {
    double mean = 0, square = 0;
    for (std::size_t c = 0; c < n; ++c) mean += (x[p * n + c] + m[c]) / static_cast<double>(n);
    for (std::size_t c = 0; c < n; ++c) {
      const double d = x[p * n + c] + m[c] - mean;
      square += d * d / static_cast<double>(n - 1);
    }
    for (std::size_t c = 0; c < n; ++c) {
      const double u = (x[p * n + c] + m[c] - mean) / std::sqrt(square + 1e-5);
      result.push_back(u / (1 + std::exp(-u)));
    }
  }
  return result;
}

void add_level(gpu::Report& report, index_t batch, index_t channels, index_t points) {
  const std::string name = "norm/" + std::string(gpu::precision) + "/" + std::to_string(channels) + " channels, " +
                           std::to_string(points) + " x " + std::to_string(points);
  report.part(name, [&] {
    const Shape shape{batch, points, points, channels};
    const double bytes = static_cast<double>(sizeof(T)) * static_cast<double>(shape.size());
    std::vector<V> fields;
    for (index_t i = 0; i < gpu::rotation(2 * bytes, report.tiny()); ++i)
      fields.push_back(random(fold_in(Key{1}, static_cast<std::uint64_t>(i)), shape));
    const V m = random(Key{2}, Shape{batch, channels}), gradient = random(Key{3}, shape);
    const auto turn = [&](index_t i) -> const V& { return fields[static_cast<std::size_t>(i) % fields.size()]; };
    const auto forward = [&](index_t i) { return V(nn::channel_norm(turn(i), m, 1e-5, fn::Silu{})); };
    const index_t pixels = std::min<index_t>(64, points);
    const auto first = [&](const V& x) {
      return gpu::doubles(V(slice(x.reshaped(Shape{batch * points * points, channels}), 0, 0, pixels)));
    };
    const auto wanted = expected(first(fields[0]), gpu::doubles(V(slice(m, 0, 0, 1))), channels, pixels);
    report.row(name + ", forward", {.bytes = 2 * bytes},
               {gpu::relative_error(first(forward(0)), wanted), gpu::product_tolerance, "double"},
               [&](index_t i) { forward(i); });

    // The sum of the gradient of x over a pixel's channels is zero: what the norm cannot see.
    const auto back = [&](index_t i) {
      auto pull = vjp([&](const auto& x) { return nn::channel_norm(x, m, 1e-5, fn::Silu{}); }, turn(i));
      return pull.pull(gradient);
    };
    const auto gx = first(back(0));
    double largest = 0, worst = 0;
    for (std::size_t p = 0; p < static_cast<std::size_t>(pixels); ++p) {
      double sum = 0;
      for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
        const double v = gx[p * static_cast<std::size_t>(channels) + c];
        sum += v;
        largest = std::max(largest, std::fabs(v));
      }
      // Written so that NaN stays.
      worst = std::fabs(sum) <= worst ? worst : std::fabs(sum);
    }
    report.row(
        name + ", forward and gradient", {.bytes = 5 * bytes},
        {worst / largest / std::sqrt(static_cast<double>(channels)), gpu::product_tolerance,
         "the zero sum of a pixel's gradient"},
        [&](index_t i) { back(i); }, "reads x twice and g, writes y and dx");
  });
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("Norm, modulation and activation of the score U-Net.", argc, argv, [](gpu::Report& report) {
    if (report.tiny()) return add_level(report, 2, 16, 8);
    add_level(report, 32, 96, 64);
    add_level(report, 32, 192, 32);
    add_level(report, 32, 384, 16);
  });
}
