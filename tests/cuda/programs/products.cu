// Matrix products on the device in every scalar and mode, against their definition.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/complex.hpp>
#include <kolmo/core/dual.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/cholesky.hpp>
#include <kolmo/ops/reduce.hpp>

#include "compare.hpp"

using namespace kolmo;

namespace {

/// C = alpha op(A) op(B) + beta C in double, from what the scalars store; its largest absolute sum of terms.
template <class T>
std::vector<double> definition(const GemmCall<T>& call, const std::vector<T>& a, const std::vector<T>& b,
                               const std::vector<T>& c, double& scale) {
  std::vector<double> result;
  for (const T& x : c) result.push_back(static_cast<double>(x));
  for (index_t s = 0; s < call.batch; ++s)
    for (index_t i = 0; i < call.m; ++i)
      for (index_t j = 0; j < call.n; ++j) {
        double sum = 0, size = 0;
        for (index_t l = 0; l < call.k; ++l) {
          const index_t at_a =
              s * call.batch_stride_a + (call.transpose_a ? l * call.leading_a + i : i * call.leading_a + l);
          const index_t at_b =
              s * call.batch_stride_b + (call.transpose_b ? j * call.leading_b + l : l * call.leading_b + j);
          const double term = static_cast<double>(a[static_cast<std::size_t>(at_a)]) *
                              static_cast<double>(b[static_cast<std::size_t>(at_b)]);
          sum += term;
          size += std::fabs(term);
        }
        double& target = result[static_cast<std::size_t>(s * call.batch_stride_c + i * call.leading_c + j)];
        const double kept = static_cast<double>(call.beta) * target;
        target = static_cast<double>(call.alpha) * sum + kept;
        scale = std::fmax(scale, std::fabs(static_cast<double>(call.alpha)) * size + std::fabs(kept));
      }
  return result;
}

template <class T>
std::vector<T> numbers(index_t count, int seed) {
  std::vector<T> result;
  for (index_t i = 0; i < count; ++i)
    result.push_back(static_cast<T>(std::sin(1.7 * static_cast<double>(i * i + seed))));
  return result;
}

struct Product {
  index_t m, n, k, batch, pad;
  bool repeat_b;
  double alpha, beta;
};

template <class T>
void compare_products(const std::string& name, double bound) {
  const Product products[] = {{33, 17, 40, 1, 3, false, 2, 1}, {20, 20, 20, 3, 0, true, 1, 0},
                              {5, 7, 9, 40, 1, false, 1, 2},   {16, 16, 32, 2, 0, false, 1, 0},
                              {6, 3, 0, 2, 0, false, 1, 2},    {1, 70, 65, 1, 0, false, 1, 0},
                              {70, 1, 65, 1, 0, false, 1, 0},  {3, 5, 300, 2, 0, false, 1, 0}};
  for (const Product& p : products)
    for (int transpositions = 0; transpositions < 4; ++transpositions) {
      GemmCall<T> call;
      call.transpose_a = transpositions % 2 != 0;
      call.transpose_b = transpositions / 2 != 0;
      call.m = p.m;
      call.n = p.n;
      call.k = p.k;
      call.batch = p.batch;
      call.alpha = static_cast<ComputeOf<T>>(p.alpha);
      call.beta = static_cast<ComputeOf<T>>(p.beta);
      call.leading_a = larger<index_t>(1, call.transpose_a ? p.m : p.k) + p.pad;
      call.leading_b = larger<index_t>(1, call.transpose_b ? p.k : p.n) + p.pad;
      call.leading_c = p.n + p.pad;
      call.batch_stride_a = larger<index_t>(1, call.transpose_a ? p.k : p.m) * call.leading_a;
      const index_t size_b = larger<index_t>(1, call.transpose_b ? p.n : p.k) * call.leading_b;
      call.batch_stride_b = p.repeat_b ? 0 : size_b;
      call.batch_stride_c = p.m * call.leading_c;
      const auto a = numbers<T>(call.batch_stride_a * p.batch, 1), b = numbers<T>(size_b * p.batch, 2);
      const auto c = numbers<T>(call.batch_stride_c * p.batch, 3);
      double scale = 0;
      const auto expected = definition(call, a, b, c, scale);
      const auto device_a = Tensor<T, Cuda>::from(a), device_b = Tensor<T, Cuda>::from(b);
      std::vector<T> results[2];
      for (auto& result : results) {
        auto device_c = Tensor<T, Cuda>::from(c);
        call.a = device_a.data();
        call.b = device_b.data();
        call.c = device_c.mutable_data();
        Cuda::gemm(call);
        result = device_c.to_vector();
      }
      double error = 0;
      for (std::size_t i = 0; i < expected.size(); ++i)
        error = std::fmax(error, std::fabs(static_cast<double>(results[0][i]) - expected[i]));
      const std::string what = name + " product " + std::to_string(p.m) + " x " + std::to_string(p.n) + " x " +
                               std::to_string(p.k) + ", transposes " + std::to_string(transpositions);
      check::that(error <= bound * scale, what + ": error " + std::to_string(error));
      check::identical(results[0], results[1], what + ", repeated");
    }
}

/// Complex numbers take the kernel of our own, in tiles and for small matrices.
template <class T, class B>
void other_scalars(check::Results<T>& results) {
  using D = Dual<T, 3>;
  for (const index_t edge : {5, 70}) {
    std::vector<D> a, b;
    for (index_t i = 0; i < edge * edge; ++i) {
      const T x = static_cast<T>(i * 7 % 23) / 23, y = static_cast<T>(i * 5 % 19) / 19;
      a.push_back(D(x, {{y, T(1), -x}}));
      b.push_back(D(y, {{x, -y, T(2)}}));
    }
    const auto product = matmul(Tensor<D, B>::from(a, Shape{edge, edge}), Tensor<D, B>::from(b, Shape{edge, edge}));
    std::vector<T> parts;
    for (const D& x : product.to_vector()) parts.insert(parts.end(), {x.v, x.d[0], x.d[1], x.d[2]});
    results.list.emplace_back("product of duals " + std::to_string(edge), parts);
  }
}

template <class T>
void compare_other_scalars() {
  check::Results<T> device, again, host;
  other_scalars<T, Cuda>(device);
  other_scalars<T, Cuda>(again);
  other_scalars<T, Cpu>(host);
  check::compare(device, again, host, 10);
}

/// Matrices of one thread, one warp, one block, and larger than a block's scratch memory; one of a batch is bad.
template <class T, class B>
void solvers(check::Results<T>& results) {
  using V = Tensor<T, B>;
  for (const index_t n : {5, 20, 40, 104}) {
    const std::string name = " of " + std::to_string(n);
    std::vector<T> values, right;
    for (index_t m = 0; m < 2; ++m)
      for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < n; ++j)
          values.push_back(i == j ? static_cast<T>(n)
                                  : static_cast<T>(std::sin(static_cast<double>(m + i * j + i + j))));
    const V a = V::from(values, Shape{2, n, n}), b = check::ramp<V>(Shape{2, n, 3}, -1, 1);
    const V factor = cholesky(a);
    results.add("factor" + name, factor);
    for (const bool lower : {false, true})
      for (const bool transpose : {false, true})
        results.add("solution" + name, solve_triangular(a, b, {.lower = lower, .transpose = transpose}));
    results.add("gradient of a solve" + name,
                grad([&](const auto& x) { return sum(square(cholesky_solve(cholesky(x), b))); }, a));
    values[static_cast<std::size_t>((2 * n - 1) * n + n - 1)] = T(-1);
    const auto failed = try_cholesky(V::from(values, Shape{2, n, n}));
    results.add("factor of one that is not positive" + name, failed.factor);
    results.add("status" + name, failed.status);
  }
}

template <class T>
void compare_solvers() {
  check::Results<T> device, again, host;
  solvers<T, Cuda>(device);
  solvers<T, Cuda>(again);
  solvers<T, Cpu>(host);
  check::compare(device, again, host, 10);
}

void modes() {
  using V = Tensor<float, Cuda>;
  const V a = V::from(numbers<float>(40 * 50, 1), Shape{40, 50}),
          b = V::from(numbers<float>(50 * 30, 2), Shape{50, 30});
  const auto exact = matmul(a, b).to_vector();
  std::vector<float> rounded;
  {
    const Cuda::Math scope{MatrixMath::tf32};
    check::that(Cuda::Math::mode() == MatrixMath::tf32, "the mode inside its scope");
    rounded = matmul(a, b).to_vector();
  }
  check::that(Cuda::Math::mode() == MatrixMath::exact, "the mode behind its scope");
  check::identical(matmul(a, b).to_vector(), exact, "exact products before and after a scope");
  double error = 0;
  for (std::size_t i = 0; i < exact.size(); ++i)
    error = std::fmax(error, std::fabs(static_cast<double>(exact[i]) - static_cast<double>(rounded[i])));
  check::that(error > 0 && error < 50 * 0x1p-9, "TF32 rounds the factors, and no more: error " + std::to_string(error));
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  compare_products<float>("float", 1e-6);
  compare_products<double>("double", 1e-15);
  compare_products<BFloat16>("bfloat16", 0x1p-8);
  compare_other_scalars<float>();
  compare_other_scalars<double>();
  compare_solvers<float>();
  compare_solvers<double>();
  modes();
#if defined(KOLMO_TEST_EMULATION)
  const int plans = emulation::plans, products = emulation::products;
  modes();
  check::that(emulation::plans == plans && emulation::products > products, "algorithms are chosen once");
#endif
  return check::result();
}
