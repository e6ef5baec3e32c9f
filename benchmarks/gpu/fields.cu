// Fourier and sine transforms of fields, as the flow solvers use them.

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/fft.hpp>

#include "gpu_check.hpp"

using namespace kolmo;

namespace {

template <class T>
void add_fields(gpu::Report& report, const char* scalar, index_t batch, index_t n) {
  const std::string name = std::string("transform/") + scalar + "/" + std::to_string(batch) + " real fields of " +
                           std::to_string(n) + " x " + std::to_string(n);
  using V = Tensor<T, Cuda>;
  report.part(name, [&] {
    const V x = nn::normal_values<V>(Key{1}, Shape{batch, n, n});
    const V y = rfft2(x);
    const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;
    // Of the last field: the mean, the wave number (1, 2), and the way back.
    const auto last = [&](const V& z) { return gpu::doubles(V(slice(z, 0, batch - 1, batch))); };
    const std::vector<double> field = last(x), spectrum = last(y);
    const auto m = static_cast<std::size_t>(n / 2 + 1), side = static_cast<std::size_t>(n);
    std::vector<double> actual{spectrum[0], spectrum[2 * m + 2], spectrum[3 * m + 2]}, wanted(3);
    for (std::size_t i = 0; i < side; ++i)
      for (std::size_t j = 0; j < side; ++j) {
        const double v = field[i * side + j];
        const double angle = -2 * 3.14159265358979323846 * static_cast<double>(i + 2 * j) / static_cast<double>(n);
        wanted[0] += v;
        wanted[1] += v * std::cos(angle);
        wanted[2] += v * std::sin(angle);
      }
    const double points = static_cast<double>(x.size()), size = sizeof(T);
    const gpu::Work work{.bytes = size * (points + static_cast<double>(y.size())),
                         .flops = 2.5 * points * std::log2(static_cast<double>(n * n)),
                         .unit = sizeof(T) == 4 ? "float" : "double"};
    report.row(name + ", forward", work, {gpu::relative_error(actual, wanted), tolerance, "three modes in double"},
               [&](index_t) { static_cast<void>(rfft2(x)); });
    report.row(name + ", inverse", work,
               {gpu::relative_error(last(irfft2(y)), field), tolerance, "what was transformed"},
               [&](index_t) { static_cast<void>(irfft2(y)); });
  });
}

template <class T>
void add_sines(gpu::Report& report, const char* scalar, index_t batch, index_t nx, index_t ny) {
  const std::string name = std::string("transform/") + scalar + "/" + std::to_string(batch) + " sine transforms of " +
                           std::to_string(nx - 1) + " x " + std::to_string(ny - 1);
  using V = Tensor<T, Cuda>;
  report.part(name, [&] {
    const V x = nn::normal_values<V>(Key{1}, Shape{batch, nx - 1, ny - 1});
    const V twice = dst1_2d(V(dst1_2d(x))) * static_cast<T>(1 / (4.0 * static_cast<double>(nx * ny)));
    const double points = static_cast<double>(x.size());
    report.row(
        name,
        {.bytes = 2 * static_cast<double>(sizeof(T)) * points,
         .flops = 2.5 * points * std::log2(static_cast<double>(nx * ny)),
         .unit = sizeof(T) == 4 ? "float" : "double"},
        {gpu::relative_error(gpu::sampled(twice), gpu::sampled(x)), sizeof(T) == 4 ? 1e-5 : 1e-12, "its own inverse"},
        [&](index_t) { static_cast<void>(dst1_2d(x)); });
  });
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("Fourier and sine transforms of fields.", argc, argv, [](gpu::Report& report) {
    if (report.tiny()) {
      add_fields<float>(report, "float", 2, 16);
      add_fields<double>(report, "double", 1, 12);
      return add_sines<double>(report, "double", 1, 10, 8);
    }
    add_fields<float>(report, "float", 1024, 256);
    add_fields<float>(report, "float", 4096, 64);
    add_fields<double>(report, "double", 256, 256);
    add_sines<float>(report, "float", 64, 400, 200);
    add_sines<double>(report, "double", 64, 400, 200);
  });
}
