// Matrix products of the library at the sizes of its networks and searches, in the arithmetic that the program is
// compiled for: bf16, TF32 or float.

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/linalg.hpp>

#include "gpu_check.hpp"
#include "gpu_precision.hpp"

using namespace kolmo;
using T = gpu::Scalar;
using V = Tensor<T, Cuda>;

namespace {

V random(Key key, const Shape& shape) { return cast<T>(nn::normal_values<Tensor<float, Cuda>>(key, shape)); }

/// [m, k] by [k, n].
void add_product(gpu::Report& report, index_t m, index_t n, index_t k) {
  const std::string name = "product/" + std::string(gpu::precision) + "/" + std::to_string(m) + " x " +
                           std::to_string(n) + " x " + std::to_string(k);
  report.part(name, [&] {
    const double size = sizeof(T);
    const gpu::Work work{.bytes = size * static_cast<double>(m * k + k * n + m * n),
                         .flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k),
                         .unit = gpu::unit};
    const gpu::Precision mode;
    std::vector<V> left;
    for (index_t i = 0; i < gpu::rotation(work.bytes, report.tiny()); ++i)
      left.push_back(random(fold_in(Key{1}, static_cast<std::uint64_t>(i)), Shape{m, k}));
    const V right = random(Key{2}, Shape{k, n});
    const auto call = [&](index_t i) { return V(matmul(left[static_cast<std::size_t>(i) % left.size()], right)); };
    report.row(name, work,
               {gpu::product_error(left[0], right, call(0)), gpu::product_tolerance, "sums in double of 64 elements"},
               [&](index_t i) { call(i); });
  });
}

/// A batch of small square products.
void add_batch(gpu::Report& report, index_t batch, index_t n) {
  const std::string name = "product/" + std::string(gpu::precision) + "/" + std::to_string(batch) + " of " +
                           std::to_string(n) + " x " + std::to_string(n) + " x " + std::to_string(n);
  report.part(name, [&] {
    const gpu::Precision mode;
    const double edge = static_cast<double>(n), size = sizeof(T);
    const V a = random(Key{1}, Shape{batch, n, n}), b = random(Key{2}, Shape{batch, n, n});
    const V c = matmul(a, b);
    const auto last = [&](const V& x) { return V(slice(x, 0, batch - 1, batch).contiguous().reshaped(Shape{n, n})); };
    report.row(name,
               {.bytes = 3 * size * edge * edge * static_cast<double>(batch),
                .flops = 2 * edge * edge * edge * static_cast<double>(batch),
                .unit = gpu::unit},
               {gpu::product_error(last(a), last(b), last(c)), gpu::product_tolerance, "sums in double of 64 elements"},
               [&](index_t) { static_cast<void>(matmul(a, b)); });
  });
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("Matrix products.", argc, argv, [](gpu::Report& report) {
    if (report.tiny()) {
      add_product(report, 40, 24, 17);
      return add_batch(report, 3, 8);
    }
    add_product(report, 8192, 8192, 8192);
    // As im2col of the U-Net would have them; LAMF's hidden layers; codewords; a row of a guidance step.
    add_product(report, 131072, 96, 864);
    add_product(report, 32768, 192, 1728);
    add_product(report, 8192, 384, 3456);
    add_product(report, 327680, 64, 64);
    add_product(report, 65536, 128, 290);
    add_product(report, 131072, 1024, 64);
    add_product(report, 1, 4096, 4096);
    add_batch(report, 65536, 16);
    add_batch(report, 4096, 64);
  });
}
