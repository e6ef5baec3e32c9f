// Triangular parts, diagonals and triangular solves.

#include <kolmo/ops/triangular.hpp>

#include <limits>

#include <xtensor-blas/xlinalg.hpp>

#include "expect_op.hpp"
#include "xtensor_oracle.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

Input well_conditioned_triangle(const Shape& shape, std::uint64_t seed) {
  Input a = random_input(shape, seed);
  const index_t n = shape[-1];
  for (index_t k = 0; k < shape.size() / n; ++k) a.values[static_cast<std::size_t>(k * n + k % n)] += 2.0;
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

TEST_CASE("solve_triangular solves all four systems and reads one triangle") {
  const Inputs in{well_conditioned_triangle({2, 3, 3}, 1), random_input({2, 3, 2}, 2)};
  const std::vector<BadShapes> bad{{{Shape{3, 2}, Shape{3, 2}}},
                                   {{Shape{3}, Shape{3, 2}}},
                                   {{Shape{3, 3}, Shape{2, 2}}},
                                   {{Shape{3, 3}, Shape{3}}},
                                   {{Shape{2, 3, 3}, Shape{4, 3, 1}}}};
  expect_op<products>(
      "solve_triangular", [](const auto& a, const auto& b) { return solve_triangular(a, b); }, {in[0], in[1]},
      [](const Inputs& x) { return solve_each(x, [](const XArray& a) { return XArray(xt::tril(a)); }); },
      {.bad = bad, .large = {{well_conditioned_triangle({20, 9, 9}, 4), random_input({20, 9, 70}, 5)}}});
  expect_op<products>(
      "solve_triangular upper, transposed",
      [](const auto& a, const auto& b) { return solve_triangular(a, b, {.lower = false, .transpose = true}); },
      {in[0], in[1]},
      [](const Inputs& x) {
        return solve_each(x, [](const XArray& a) { return XArray(xt::transpose(XArray(xt::triu(a)))); });
      });
  using V = Tensor<double, Cpu>;
  const V a = V::from({2, 9, 1, 4}, {2, 2}), b = V::from({2, 5}, {2, 1});
  REQUIRE(solve_triangular(a, b).to_vector() == std::vector<double>{1, 1});
  REQUIRE(solve_triangular(a, b, {.lower = true, .transpose = true}).to_vector() == std::vector<double>{0.375, 1.25});
  REQUIRE(solve_triangular(a, b, {.lower = false}).to_vector() == std::vector<double>{-4.625, 1.25});
}

TEST_CASE("a triangular solve shares one matrix among a batch of right-hand sides") {
  expect_op<products>(
      "solve_triangular, shared matrix",
      [](const auto& a, const auto& b) { return solve_triangular(a, b, {.lower = true}); },
      {well_conditioned_triangle({2, 2}, 6), random_input({3, 2, 2}, 7)},
      [](const Inputs& x) {
        Input repeated{{3, 2, 2}, {}};
        for (int m = 0; m < 3; ++m)
          repeated.values.insert(repeated.values.end(), x[0].values.begin(), x[0].values.end());
        return solve_each({repeated, x[1]}, [](const XArray& a) { return XArray(xt::tril(a)); });
      });
}

TEST_CASE("a singular triangular matrix is an error that names it") {
  using V = Tensor<double, TestDevice>;
  const V b = V::ones({2, 1});
  REQUIRE_THROWS_WITH(solve_triangular(V::from({1, 0, 0, 1, 1, 0, 5, 0}, {2, 2, 2}), b),
                      contains("matrix 1 of shape [2, 2, 2] is singular: diagonal element 1"));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE_THROWS_AS(solve_triangular(V::from({1, 0, 0, nan}, {2, 2}), b), ArgumentError);
}

TEST_CASE("triangles and diagonals are linear with the expected adjoints") {
  expect_op(
      "lower_triangle and diagonal",
      [](const auto& a) { return unsqueeze(diagonal(a), -1) * lower_triangle(a) + upper_triangle(a); },
      {random_input({2, 3, 3}, 9)},
      [](const Inputs& in) {
        Result y = {in[0].shape, in[0].values};
        for (std::size_t k = 0; k < 18; ++k) {
          const std::size_t i = k / 3 % 3, j = k % 3;
          const double diagonal = in[0].values[k / 3 * 3 + i], x = in[0].values[k];
          y.values[k] = (j <= i ? diagonal * x : 0.0) + (j >= i ? x : 0.0);
        }
        return y;
      },
      {.bad = {{{Shape{3}}}, {{Shape{}}}}});
}
