// Elementwise maps, reductions and scans over 1 GB: what they move, against the bandwidth of a copy.

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/scan.hpp>

#include "gpu_check.hpp"

using namespace kolmo;
using V = Tensor<float, Cuda>;

struct AffineOf {
  float factor, offset;
  KOLMO_HD auto operator()(auto x) const { return factor * x + offset; }
};
struct ProductAndSum {
  KOLMO_HD auto operator()(auto x, auto y, auto z) const { return x * y + z; }
};

namespace {

struct Bench {
  gpu::Report& report;
  index_t n, columns;
  V x, rows;
  std::vector<double> host;  // all of x
  double count;

  explicit Bench(gpu::Report& r)
      : report(r),
        n(r.tiny() ? 8192 : index_t{1} << 28),
        columns(r.tiny() ? 64 : 256),
        x(nn::uniform_values<V>(Key{1}, Shape{n}, 0, 1)),
        rows(x.reshaped(Shape{n / columns, columns})),
        host(gpu::doubles(x)),
        count(static_cast<double>(n)) {}

  /// Elements of the host's result where `sampled` takes them.
  template <class F>
  std::vector<double> expected(const F& f) const {
    const auto size = static_cast<std::size_t>(n), part = std::min<std::size_t>(size, 1000);
    std::vector<double> result;
    for (const std::size_t begin : {std::size_t{0}, (size - part) / 2, size - part})
      for (std::size_t i = begin; i < begin + part; ++i) result.push_back(f(host[i]));
    return result;
  }

  template <class F, class G>
  void map_row(const std::string& name, double bytes, const F& call, const G& expectation) {
    report.part(name, [&] {
      const gpu::Check check{gpu::relative_error(gpu::sampled(call()), expected(expectation)), 1e-5, "double"};
      report.row(name, {.bytes = bytes * count}, check, [&](index_t) { call(); });
    });
  }

  void maps() {
    map_row(
        "memory/map of one tensor", 8,
        [&] {
          return map(AffineOf{3, -1}, x);
        },
        [](double v) { return 3 * v - 1; });
    map_row(
        "memory/exp", 8, [&] { return exp(x); }, [](double v) { return std::exp(v); });
    report.part("memory/x y + z", [&] {
      const V y = x.copy(), z = x.copy();
      const gpu::Check check{gpu::relative_error(gpu::sampled(map(ProductAndSum{}, x, y, z)),
                                                 expected([](double v) { return v * v + v; })),
                             1e-5, "double"};
      report.row("memory/x y + z", {.bytes = 16 * count}, check, [&](index_t) { map(ProductAndSum{}, x, y, z); });
    });
    report.part("memory/rows + bias", [&] {
      const V bias = V::arange(columns);
      const V y = rows + bias;
      std::vector<double> first = gpu::doubles(V(slice(y, 0, 0, 1))), wanted;
      for (std::size_t i = 0; i < first.size(); ++i) wanted.push_back(host[i] + static_cast<double>(i));
      report.row("memory/rows + bias", {.bytes = 8 * count}, {gpu::relative_error(first, wanted), 1e-5, "double"},
                 [&](index_t) { static_cast<void>(rows + bias); });
    });
    report.part("memory/cast to bf16", [&] {
      const gpu::Check check{gpu::relative_error(gpu::sampled(cast<BFloat16>(x)), expected([](double v) { return v; })),
                             0.005, "double"};
      report.row("memory/cast to bf16", {.bytes = 6 * count}, check, [&](index_t) { cast<BFloat16>(x); });
    });
    report.part("memory/transpose", [&] {
      const index_t side = report.tiny() ? 64 : 16384;
      const V square = x.reshaped(Shape{n / side, side});
      const auto call = [&] { return V(transpose(square).contiguous()); };
      std::vector<double> actual = gpu::doubles(V(slice(call(), 0, 1, 2))), wanted;
      for (index_t i = 0; i < n / side; ++i) wanted.push_back(host[static_cast<std::size_t>(i * side + 1)]);
      report.row("memory/transpose", {.bytes = 8 * count}, {gpu::relative_error(actual, wanted), 0, "double"},
                 [&](index_t) { call(); });
    });
  }

  void reductions() {
    const auto reduction = [&](const std::string& name, double bytes, const auto& call,
                               const std::vector<double>& wanted) {
      report.part(name, [&] {
        report.row(name, {.bytes = bytes * count}, {gpu::relative_error(gpu::doubles(call()), wanted), 1e-5, "double"},
                   [&](index_t) { call(); });
      });
    };
    double total = 0, largest = 0;
    std::vector<double> of_rows(static_cast<std::size_t>(n / columns)), of_columns(static_cast<std::size_t>(columns));
    for (std::size_t i = 0; i < host.size(); ++i) {
      total += host[i];
      largest = std::max(largest, host[i]);
      of_rows[i / static_cast<std::size_t>(columns)] += host[i];
      of_columns[i % static_cast<std::size_t>(columns)] += host[i];
    }
    reduction("memory/sum of all", 4, [&] { return sum(x); }, {total});
    reduction("memory/maximum of all", 4, [&] { return max(x); }, {largest});
    reduction(
        "memory/sums of rows", 4, [&] { return sum(rows, {1}); }, of_rows);
    reduction(
        "memory/sums of columns", 4, [&] { return sum(rows, {0}); }, of_columns);
  }

  void scans() {
    const auto scan = [&](const std::string& name, const V& of, int axis, index_t length) {
      report.part(name, [&] {
        std::vector<double> running(host.size());
        double carry = 0;
        for (std::size_t i = 0; i < host.size(); ++i)
          running[i] = carry = i % static_cast<std::size_t>(length) == 0 ? host[i] : carry + host[i];
        const V y = cumsum(of, axis);
        std::vector<double> wanted;
        const auto size = host.size(), part = std::min<std::size_t>(size, 1000);
        for (const std::size_t begin : {std::size_t{0}, (size - part) / 2, size - part})
          for (std::size_t i = begin; i < begin + part; ++i) wanted.push_back(running[i]);
        report.row(name, {.bytes = 8 * count}, {gpu::relative_error(gpu::sampled(y), wanted), 1e-5, "double"},
                   [&](index_t) { cumsum(of, axis); });
      });
    };
    scan("memory/running sum of all", x, 0, n);
    scan("memory/running sums of rows", rows, 1, columns);
  }
};

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("Maps, reductions and scans over 1 GB of float.", argc, argv, [](gpu::Report& report) {
    Bench bench(report);
    bench.maps();
    bench.reductions();
    bench.scans();
  });
}
