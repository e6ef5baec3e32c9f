// The Cholesky factorisation, with derivatives and failure status.

#include <kolmo/ops/cholesky.hpp>

#include <limits>

#include <xtensor-blas/xlinalg.hpp>

#include "expect_op.hpp"
#include "xtensor_oracle.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

/// Symmetric, well inside the positive definite cone.
Input positive_definite(index_t batch, index_t n, std::uint64_t seed) {
  const Input half = random_input({batch, n, n}, seed);
  Input a{half.shape, std::vector<double>(half.values.size())};
  for (index_t m = 0; m < batch; ++m)
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) {
        double sum = i == j ? 1.0 : 0.0;
        for (index_t k = 0; k < n; ++k)
          sum += half.values[static_cast<std::size_t>((m * n + i) * n + k)] *
                 half.values[static_cast<std::size_t>((m * n + j) * n + k)];
        a.values[static_cast<std::size_t>((m * n + i) * n + j)] = static_cast<double>(static_cast<float>(sum));
      }
  return a;
}

/// Solves by LAPACK for every matrix of a batch.
Result solve_each(const Inputs& in, const std::function<XArray(const XArray&)>& prepare) {
  const index_t n = in[0].shape[-1], columns = in[1].shape[-1], batch = in[0].shape.size() / (n * n);
  Result y{in[1].shape, {}};
  for (index_t m = 0; m < batch; ++m) {
    const auto part = [&](const Input& x, index_t size, const Shape& shape) {
      const auto begin = x.values.begin() + m * size;
      return xarray_of({shape, {begin, begin + size}});
    };
    const XArray x = xt::linalg::solve(prepare(part(in[0], n * n, {n, n})), part(in[1], n * columns, {n, columns}));
    y.values.insert(y.values.end(), x.begin(), x.end());
  }
  return y;
}

constexpr OpChecks products{.gemm = true};

}  // namespace

TEST_CASE("cholesky factors a batch and differentiates to second order") {
  const auto oracle_of = [](const Inputs& in) {
    Result y{in[0].shape, {}};
    for (index_t m = 0; m < in[0].shape[0]; ++m) {
      const auto begin = in[0].values.begin() + m * 9;
      const XArray factor = xt::linalg::cholesky(xarray_of({{3, 3}, {begin, begin + 9}}));
      y.values.insert(y.values.end(), factor.begin(), factor.end());
    }
    return y;
  };
  expect_op<products>("cholesky", [](const auto& a) { return cholesky(a); }, {positive_definite(2, 3, 1)}, oracle_of,
                      {.bad = {{{Shape{3, 2}}}, {{Shape{3}}}, {{Shape{}}}, {{Shape{2, 2}}, Thrown::argument}},
                       .large = {{positive_definite(50, 12, 2)}}});
}

TEST_CASE("cholesky_solve and cholesky_log_det use the factor") {
  expect_op<products>(
      "cholesky_solve", [](const auto& a, const auto& b) { return cholesky_solve(cholesky(a), b); },
      {positive_definite(1, 3, 3), random_input({1, 3, 2}, 4)},
      [](const Inputs& x) { return solve_each(x, [](const XArray& a) { return a; }); });
  expect_op<products>(
      "cholesky_log_det", [](const auto& a) { return cholesky_log_det(cholesky(a)); }, {positive_definite(1, 4, 5)},
      [](const Inputs& x) {
        Input matrix{{4, 4}, x[0].values};
        return Result{{1}, {std::log(xt::linalg::det(xarray_of(matrix)))}};
      });
}

TEST_CASE("the factor reproduces the matrix for sizes up to 257") {
  for (const index_t n : {0, 1, 2, 3, 5, 10, 16, 31, 64, 257}) {
    const Input in = positive_definite(1, n, static_cast<std::uint64_t>(n));
    const auto a = Tensor<double, Cpu>::from(std::span<const double>(in.values), {n, n});
    const auto factor = cholesky(a);
    if (n == 0) continue;
    const double residual = norm(matmul(factor, transpose(factor)) - a).item();
    // LAPACK's normalisation: |A - L L^T| / (n |A| eps) below 10.
    REQUIRE(residual < 10 * static_cast<double>(n) * norm(a).item() * std::numeric_limits<double>::epsilon());
    const auto b = Tensor<double, Cpu>::ones({n, 1});
    const auto x = cholesky_solve(factor, b);
    REQUIRE(norm(matmul(a, x) - b).item() <
            10 * static_cast<double>(n) * norm(a).item() * norm(x).item() * std::numeric_limits<double>::epsilon());
  }
}

TEST_CASE("matrices that are not positive definite are reported and never factored silently") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const auto check = [&]<class B>(B) {
    using V = Tensor<double, B>;
    // good, zero, rank one, indefinite, NaN above the diagonal, infinite, tiny but definite
    const V a =
        V::from({4, 2, 2, 3, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 1, 1, nan, 0, 1, infinity, 0, 0, 1, 1e-300, 0, 0, 1e-300},
                {7, 2, 2});
    const auto result = try_cholesky(a);
    REQUIRE(result.status.to_vector() == std::vector<std::int32_t>{0, 1, 2, 2, 2, 1, 0});
    const auto values = result.factor.to_vector();
    for (std::size_t m = 0; m < 7; ++m)
      for (std::size_t k = 0; k < 4; ++k) REQUIRE(std::isnan(values[4 * m + k]) == (m >= 1 && m <= 5));
    REQUIRE_THROWS_WITH(cholesky(a), contains("matrix 1 of shape [7, 2, 2]") && contains("pivot 0"));
    REQUIRE_THROWS_AS(cholesky_solve(result.factor, V::ones({2, 1})), ArgumentError);
  };
  check(Cpu{});
  check(TestDevice{});
}
