// Residual quantization: 8 stages of 1024 codewords in 64 dimensions, 10^6 vectors; encoding and decoding.

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/init.hpp>
#include <kolmo/rvq/encode.hpp>
#include <kolmo/rvq/tables.hpp>

#include "gpu_check.hpp"

using namespace kolmo;
using V = Tensor<float, Cuda>;

namespace {

/// The largest excess of a chosen codeword's distance over the nearest one's, relative, in double, for `count` vectors
/// spread over all; ties and near ties may go either way.
double excess(const std::vector<V>& tables, const V& x, const rvq::CodesOf<V>& codes, index_t count) {
  const index_t n = x.shape()[0], d = x.shape()[1];
  std::vector<std::vector<double>> table;
  for (const V& t : tables) table.push_back(gpu::doubles(t));
  double worst = 0;
  for (index_t i = 0; i < count; ++i) {
    const index_t row = count > 1 ? i * (n - 1) / (count - 1) : 0;
    std::vector<double> r = gpu::doubles(V(slice(x, 0, row, row + 1)));
    const std::vector<double> chosen = gpu::doubles(rvq::CodesOf<V>(slice(codes, 0, row, row + 1)));
    for (std::size_t q = 0; q < table.size(); ++q) {
      const std::size_t dimension = static_cast<std::size_t>(d), words = table[q].size() / dimension;
      const auto distance = [&](std::size_t k) {
        double sum = 0;
        for (std::size_t c = 0; c < dimension; ++c) {
          const double e = r[c] - table[q][k * dimension + c];
          sum += e * e;
        }
        return sum;
      };
      const auto k = static_cast<std::size_t>(chosen[q]);
      if (!(chosen[q] >= 0) || k >= words) return std::numeric_limits<double>::quiet_NaN();
      double best = distance(0);
      for (std::size_t other = 1; other < words; ++other) best = std::min(best, distance(other));
      worst = std::max(worst, distance(k) / best - 1);
      for (std::size_t c = 0; c < dimension; ++c) r[c] -= table[q][k * dimension + c];
    }
  }
  return worst;
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("Residual quantization.", argc, argv, [](gpu::Report& report) {
    report.part("RVQ", [&] {
      const index_t n = report.tiny() ? 40 : 1000000, codes = report.tiny() ? 16 : 1024, d = report.tiny() ? 8 : 64,
                    stages = report.tiny() ? 2 : 8;
      const V x = nn::normal_values<V>(Key{1}, Shape{n, d});
      std::vector<V> tables;
      for (index_t q = 0; q < stages; ++q)
        tables.push_back(nn::normal_values<V>(fold_in(Key{2}, static_cast<std::uint64_t>(q)), Shape{codes, d}, 0,
                                              std::pow(0.8, static_cast<double>(q))));
      const rvq::ResidualEncoder<V> encode(tables);
      const auto found = encode(x);
      const double size = static_cast<double>(n);
      const gpu::Check check{excess(tables, x, found, report.tiny() ? 20 : 200), 1e-5, "distances in double"};
      report.row(
          "RVQ/encode 8 x 1024 x 64, 10^6 vectors",
          {.bytes = 4 * size * static_cast<double>(d + stages),
           .flops = 2 * size * static_cast<double>(stages * codes * d),
           .unit = "bf16",
           .items = size},
          check, [&](index_t) { encode(x); }, "screened by products of bf16; the codes are the exact ones");
      report.row("RVQ/decode", {.bytes = 4 * size * static_cast<double>(d + stages), .items = size}, check,
                 [&](index_t) { rvq::decode_residual(tables, found); });
    });
  });
}
