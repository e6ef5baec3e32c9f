// Tensor operations beside hand-written loops, Eigen, xtensor and BLAS, on one thread. Columns: the median time, the
// bytes a perfect cache would still move per second or the arithmetic per second, and the ratio to each peer.

#include <cstring>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/xtensor.hpp>
#include <kolmo/nn/layers.hpp>
#include <kolmo/ops/indexing.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/shape.hpp>

#include <Eigen/Core>
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xmath.hpp>

#include "measure.hpp"

namespace {

using kolmo::index_t;
using kolmo::Shape;
using kolmo::smaller;
using measure::compare;
using measure::Peer;
using measure::Work;
using Host = kolmo::Tensor<float, kolmo::Cpu>;
using HostBlas = kolmo::Tensor<float, kolmo::CpuBlas>;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr index_t million = index_t{1} << 20;

/// Values spread over [-2, 2] without a pattern.
template <class V = Host>
V sample(const Shape& shape, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(shape.size()));
  for (float& x : values) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<float>(seed >> 8) * 0x1p-22f - 2.0f;
  }
  return V::from(std::span<const float>(values), shape);
}

// What one would write by hand: loops that vectorise, over memory that already exists.

/// A vectorised sum with independent lanes.
float lane_sum(const float* x, index_t n) {
  constexpr index_t lanes = 64;
  float lane[lanes] = {};
  index_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (index_t j = 0; j < lanes; ++j) lane[j] += x[i + j];
  for (index_t j = 0; j < lanes && i + j < n; ++j) lane[j] += x[i + j];
  float total = 0;
  for (const float part : lane) total += part;
  return total;
}

void add_bias(const float* __restrict x, const float* __restrict bias, float* __restrict y, index_t rows,
              index_t columns) {
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < columns; ++c) y[r * columns + c] = x[r * columns + c] + bias[c];
}

void sum_columns(const float* __restrict x, float* __restrict y, index_t rows, index_t columns) {
  for (index_t c = 0; c < columns; ++c) y[c] = 0;
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < columns; ++c) y[c] += x[r * columns + c];
}

/// Softmax of one row whose length is a multiple of 16.
void softmax_row(const float* __restrict x, float* __restrict y, index_t n) {
  float top[16];
  for (index_t j = 0; j < 16; ++j) top[j] = x[j];
  for (index_t c = 16; c < n; c += 16)
    for (index_t j = 0; j < 16; ++j) top[j] = x[c + j] > top[j] ? x[c + j] : top[j];
  float largest = top[0];
  for (const float t : top) largest = t > largest ? t : largest;
  for (index_t c = 0; c < n; ++c) y[c] = kolmo::exp(x[c] - largest);
  const float inverse = 1 / lane_sum(y, n);
  for (index_t c = 0; c < n; ++c) y[c] *= inverse;
}

struct MultiplyAdd {
  KOLMO_HD auto operator()(auto x, auto y, auto z) const { return x * y + z; }
};

/// An elementwise function of one variable against the loops one would write: forward, and forward with backward.
template <class F, class Value, class Slope>
void add_unary(const std::string& name, F function, Value value, Slope slope) {
  measure::add(name + "/forward", [=](benchmark::State& state) {
    const Host x = sample(Shape{million}, 1);
    Host y = Host::uninitialized(x.shape());
    const float* in = x.data();
    float* out = y.mutable_data();
    compare(
        state, Work{.bytes = 8.0 * million}, [&] { benchmark::DoNotOptimize(kolmo::map(function, x).data()); },
        Peer{"loop", [&] {
               KOLMO_INDEPENDENT
               for (index_t i = 0; i < million; ++i) out[i] = value(in[i]);
               benchmark::ClobberMemory();
             }});
  });
  measure::add(name + "/forward+backward", [=](benchmark::State& state) {
    const Host x = sample(Shape{million}, 1), g = sample(Shape{million}, 2);
    Host y = Host::uninitialized(x.shape()), gx = Host::uninitialized(x.shape());
    const float *in = x.data(), *gradient = g.data();
    float *out = y.mutable_data(), *gradient_in = gx.mutable_data();
    const auto f = [=](const auto& v) { return kolmo::map(function, v); };
    compare(
        state, Work{.bytes = 20.0 * million}, [&] { benchmark::DoNotOptimize(kolmo::vjp(f, x).pull(g).data()); },
        Peer{"loop", [&] {
               KOLMO_INDEPENDENT
               for (index_t i = 0; i < million; ++i) out[i] = value(in[i]);
               benchmark::ClobberMemory();
               KOLMO_INDEPENDENT
               for (index_t i = 0; i < million; ++i) gradient_in[i] = gradient[i] * slope(in[i]);
               benchmark::ClobberMemory();
             }});
  });
}

void add_elementwise() {
  measure::add("multiply_add/forward", [](benchmark::State& state) {
    const Shape shape{million};
    const Host x = sample(shape, 1), y = sample(shape, 2), z = sample(shape, 3);
    Host result = Host::uninitialized(shape);
    const float *a = x.data(), *b = y.data(), *c = z.data();
    float* out = result.mutable_data();
    compare(
        state, Work{.bytes = 16.0 * million},
        [&] { benchmark::DoNotOptimize(kolmo::map(MultiplyAdd{}, x, y, z).data()); },
        Peer{"loop", [&] {
               KOLMO_INDEPENDENT
               for (index_t i = 0; i < million; ++i) out[i] = a[i] * b[i] + c[i];
               benchmark::ClobberMemory();
             }});
  });
  measure::add("multiply_add/forward+backward", [](benchmark::State& state) {
    const Shape shape{million};
    const Host x = sample(shape, 1), y = sample(shape, 2), z = sample(shape, 3), g = sample(shape, 4);
    Host buffers[4];
    for (Host& buffer : buffers) buffer = Host::uninitialized(shape);
    const float *a = x.data(), *b = y.data(), *c = z.data(), *gradient = g.data();
    float *out = buffers[0].mutable_data(), *ga = buffers[1].mutable_data(), *gb = buffers[2].mutable_data(),
          *gc = buffers[3].mutable_data();
    compare(
        state, Work{.bytes = 40.0 * million},
        [&] {
          kolmo::Tape<Host> tape;
          const auto u = tape.leaf(x), v = tape.leaf(y), w = tape.leaf(z);
          tape.backward(kolmo::map(MultiplyAdd{}, u, v, w), g);
          benchmark::DoNotOptimize(tape.gradient(u).data());
        },
        Peer{"loop", [&] {
               KOLMO_INDEPENDENT
               for (index_t i = 0; i < million; ++i) out[i] = a[i] * b[i] + c[i];
               benchmark::ClobberMemory();
               KOLMO_INDEPENDENT
               for (index_t i = 0; i < million; ++i) {
                 ga[i] = gradient[i] * b[i];
                 gb[i] = gradient[i] * a[i];
                 gc[i] = gradient[i];
               }
               benchmark::ClobberMemory();
             }});
  });
  add_unary(
      "square", kolmo::fn::Square{}, [](float x) { return x * x; }, [](float x) { return 2 * x; });
  add_unary(
      "exp", kolmo::fn::Exp{}, [](float x) { return kolmo::exp(x); }, [](float x) { return kolmo::exp(x); });
  add_unary(
      "tanh", kolmo::fn::Tanh{}, [](float x) { return kolmo::tanh(x); },
      [](float x) {
        const float y = kolmo::tanh(x);
        return 1 - y * y;
      });
}

void add_broadcast(index_t rows, index_t columns) {
  measure::add("bias/" + std::to_string(rows) + "x" + std::to_string(columns), [=](benchmark::State& state) {
    const Host x = sample(Shape{rows, columns}, 1), bias = sample(Shape{columns}, 2);
    Host result = Host::uninitialized(x.shape());
    const float *in = x.data(), *b = bias.data();
    float* out = result.mutable_data();
    compare(
        state, Work{.bytes = 8.0 * static_cast<double>(rows * columns)},
        [&] { benchmark::DoNotOptimize((x + bias).data()); }, Peer{"loop", [&] {
                                                                     add_bias(in, b, out, rows, columns);
                                                                     benchmark::ClobberMemory();
                                                                   }});
  });
}

void add_reductions() {
  static constexpr index_t rows = 4096, columns = 256;
  const Work work{.bytes = 4.0 * rows * columns};
  measure::add("sum/all", [=](benchmark::State& state) {
    const Host x = sample(Shape{rows, columns}, 1);
    const Eigen::Map<const Eigen::ArrayXf> eigen(x.data(), x.size());
    const auto xarray = xt::adapt(x.data(), static_cast<std::size_t>(x.size()), xt::no_ownership(),
                                  std::vector<std::size_t>{static_cast<std::size_t>(x.size())});
    compare(
        state, work, [&] { benchmark::DoNotOptimize(kolmo::sum(x).data()); },
        Peer{"loop", [&] { benchmark::DoNotOptimize(lane_sum(x.data(), x.size())); }},
        Peer{"eigen", [&] { benchmark::DoNotOptimize(eigen.sum()); }},
        Peer{"xtensor", [&] { benchmark::DoNotOptimize(xt::sum(xarray)()); }});
  });
  measure::add("sum/rows", [=](benchmark::State& state) {
    const Host x = sample(Shape{rows, columns}, 1);
    const Eigen::Map<const Matrix> eigen(x.data(), rows, columns);
    Eigen::VectorXf eigen_result(rows), result(rows);
    const auto xarray = xt::adapt(x.data(), static_cast<std::size_t>(x.size()), xt::no_ownership(),
                                  std::vector<std::size_t>{rows, columns});
    compare(
        state, work, [&] { benchmark::DoNotOptimize(kolmo::sum(x, {1}).data()); },
        Peer{"loop",
             [&] {
               for (index_t r = 0; r < rows; ++r) result[r] = lane_sum(x.data() + r * columns, columns);
               benchmark::ClobberMemory();
             }},
        Peer{"eigen",
             [&] {
               eigen_result = eigen.rowwise().sum();
               benchmark::ClobberMemory();
             }},
        Peer{"xtensor", [&] {
               const xt::xarray<float> y = xt::sum(xarray, {1});
               benchmark::DoNotOptimize(y.data());
             }});
  });
  measure::add("sum/columns", [=](benchmark::State& state) {
    const Host x = sample(Shape{rows, columns}, 1);
    const Eigen::Map<const Matrix> eigen(x.data(), rows, columns);
    Eigen::RowVectorXf eigen_result(columns), result(columns);
    const auto xarray = xt::adapt(x.data(), static_cast<std::size_t>(x.size()), xt::no_ownership(),
                                  std::vector<std::size_t>{rows, columns});
    compare(
        state, work, [&] { benchmark::DoNotOptimize(kolmo::sum(x, {0}).data()); },
        Peer{"loop",
             [&] {
               sum_columns(x.data(), result.data(), rows, columns);
               benchmark::ClobberMemory();
             }},
        Peer{"eigen",
             [&] {
               eigen_result = eigen.colwise().sum();
               benchmark::ClobberMemory();
             }},
        Peer{"xtensor", [&] {
               const xt::xarray<float> y = xt::sum(xarray, {0});
               benchmark::DoNotOptimize(y.data());
             }});
  });
  measure::add("softmax/rows", [=](benchmark::State& state) {
    const Host x = sample(Shape{rows, columns}, 1);
    Host result = Host::uninitialized(x.shape());
    float* y = result.mutable_data();
    compare(
        state, Work{.bytes = 8.0 * rows * columns}, [&] { benchmark::DoNotOptimize(kolmo::softmax(x, 1).data()); },
        Peer{"loop", [&] {
               for (index_t r = 0; r < rows; ++r) softmax_row(x.data() + r * columns, y + r * columns, columns);
               benchmark::ClobberMemory();
             }});
  });
}

void add_gather() {
  measure::add("take/rows", [](benchmark::State& state) {
    constexpr index_t rows = 4096, columns = 256;
    const Host x = sample(Shape{rows, columns}, 1);
    std::vector<index_t> order(rows);
    for (index_t i = 0; i < rows; ++i) order[static_cast<std::size_t>(i)] = i * 1237 % rows;
    const auto indices = kolmo::Tensor<index_t, kolmo::Cpu>::from(order);
    Host result = Host::uninitialized(x.shape());
    float* out = result.mutable_data();
    compare(
        state, Work{.bytes = 8.0 * rows * columns},
        [&] { benchmark::DoNotOptimize(kolmo::take(x, indices, 0).data()); },
        Peer{"memcpy", [&] {
               for (index_t i = 0; i < rows; ++i)
                 std::memcpy(out + i * columns, x.data() + order[static_cast<std::size_t>(i)] * columns,
                             columns * sizeof(float));
               benchmark::ClobberMemory();
             }});
  });
}

/// a b, or a^T b and a b^T as a gradient needs them, at one shape.
void add_matmul(index_t m, index_t n, index_t k, bool transpose_a = false, bool transpose_b = false) {
  const std::string name = std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) +
                           (transpose_a   ? "/at_b"
                            : transpose_b ? "/a_bt"
                                          : "/a_b");
  measure::add("matmul/" + name, [=](benchmark::State& state) {
    const Shape shape_a = transpose_a ? Shape{k, m} : Shape{m, k}, shape_b = transpose_b ? Shape{n, k} : Shape{k, n};
    const Host a = sample(shape_a, 1), b = sample(shape_b, 2);
    const HostBlas blas_a = sample<HostBlas>(shape_a, 1), blas_b = sample<HostBlas>(shape_b, 2);
    const Eigen::Map<const Matrix> eigen_a(a.data(), shape_a[0], shape_a[1]), eigen_b(b.data(), shape_b[0], shape_b[1]);
    Matrix eigen_c(m, n);
    const auto product = [=](const auto& x, const auto& y) {
      if (transpose_a) return kolmo::matmul(kolmo::transpose(x), y);
      if (transpose_b) return kolmo::matmul(x, kolmo::transpose(y));
      return kolmo::matmul(x, y);
    };
    compare(
        state, Work{.flops = 2.0 * static_cast<double>(m * n * k)},
        [&] { benchmark::DoNotOptimize(product(a, b).data()); },
        Peer{"CpuBlas", [&] { benchmark::DoNotOptimize(product(blas_a, blas_b).data()); }},
        Peer{"eigen", [&] {
               if (transpose_a)
                 eigen_c.noalias() = eigen_a.transpose() * eigen_b;
               else if (transpose_b)
                 eigen_c.noalias() = eigen_a * eigen_b.transpose();
               else
                 eigen_c.noalias() = eigen_a * eigen_b;
               benchmark::ClobberMemory();
             }});
  });
}

void add_layer_norm(index_t rows, index_t columns) {
  measure::add("layer_norm_relu/" + std::to_string(rows) + "x" + std::to_string(columns), [=](benchmark::State& state) {
    const Host x = sample(Shape{rows, columns}, 1), gamma = sample(Shape{columns}, 2), beta = sample(Shape{columns}, 3);
    Host result = Host::uninitialized(x.shape());
    float* out = result.mutable_data();
    compare(
        state, Work{.bytes = 8.0 * static_cast<double>(rows * columns)},
        [&] { benchmark::DoNotOptimize(kolmo::nn::layer_norm_relu(x, gamma, beta).data()); },
        Peer{"copy", [&] {
               std::memcpy(out, x.data(), static_cast<std::size_t>(x.size()) * sizeof(float));
               benchmark::ClobberMemory();
             }});
  });
}

}  // namespace

int main(int argc, char** argv) {
  add_elementwise();
  add_broadcast(4096, 256);
  add_broadcast(64, 256);
  add_broadcast(65536, 3);
  add_reductions();
  add_gather();
  // The products of the learned fitter at a batch of 256 and of one, and what their gradients need.
  add_matmul(1280, 128, 128);
  add_matmul(1280, 128, 12);
  add_matmul(1280, 3, 128);
  add_matmul(256, 256, 290);
  add_matmul(256, 256, 256);
  add_matmul(5, 128, 128);
  add_matmul(1, 256, 290);
  add_matmul(128, 128, 1280, true, false);
  add_matmul(1280, 128, 128, false, true);
  add_matmul(1024, 1024, 1024);
  add_layer_norm(1280, 128);
  add_layer_norm(8192, 512);
  return measure::run(argc, argv);
}
