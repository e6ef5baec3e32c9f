// Products of matrices and batches of them, against xtensor-blas on every tensor kind, backend and scalar.

#include <kolmo/ops/linalg.hpp>

#include <xtensor-blas/xlinalg.hpp>

#include "expect_op.hpp"
#include "xtensor_oracle.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

constexpr OpChecks products{.gemm = true};

/// [batch, m, k] times [batch, k, n] one by one; an operand without a batch is shared.
Result multiply_each(const Inputs& in) {
  const auto batch =
      std::max(in[0].shape.rank() == 3 ? in[0].shape[0] : 1, in[1].shape.rank() == 3 ? in[1].shape[0] : 1);
  Result y{{batch, in[0].shape[-2], in[1].shape[-1]}, {}};
  for (index_t s = 0; s < batch; ++s) {
    const auto matrix = [&](const Input& x) {
      const index_t size = x.shape[-1] * x.shape[-2], at = x.shape.size() == size ? 0 : s * size;
      const auto begin = x.values.begin() + at;
      return xarray_of({{x.shape[-2], x.shape[-1]}, {begin, begin + size}});
    };
    const XArray part = xt::linalg::dot(matrix(in[0]), matrix(in[1]));
    y.values.insert(y.values.end(), part.begin(), part.end());
  }
  return y;
}

const std::vector<BadShapes> bad{{{Shape{2, 3}, Shape{2, 3}}},       {{Shape{3}, Shape{3, 2}}},
                                 {{Shape{2, 3}, Shape{3}}},          {{Shape{}, Shape{3, 2}}},
                                 {{Shape{2, 2, 3}, Shape{3, 3, 2}}}, {{Shape{2, 0}, Shape{1, 2}}}};

}  // namespace

TEST_CASE("matmul multiplies matrices") {
  expect_op<products>("matmul", [](const auto& a, const auto& b) { return matmul(a, b); },
                      {random_input({3, 4}, 1), random_input({4, 2}, 2)},
                      oracle2([](const XArray& a, const XArray& b) { return XArray(xt::linalg::dot(a, b)); }),
                      {.bad = bad, .large = {{random_input({190, 130}, 3), random_input({130, 210}, 4)}}});
}

TEST_CASE("leading axes are batches and broadcast") {
  expect_op<products>("matmul, batch times batch", [](const auto& a, const auto& b) { return matmul(a, b); },
                      {random_input({2, 3, 2}, 5), random_input({2, 2, 3}, 6)}, multiply_each,
                      {.large = {{random_input({30, 9, 20}, 7), random_input({30, 20, 11}, 8)}}});
  expect_op<products>(
      "matmul, batch times matrix", [](const auto& a, const auto& b) { return matmul(a, b); },
      {random_input({3, 2, 4}, 9), random_input({4, 2}, 10)}, multiply_each);
  expect_op<products>(
      "matmul, matrix times batch", [](const auto& a, const auto& b) { return matmul(a, b); },
      {random_input({2, 3}, 11), random_input({3, 3, 2}, 12)}, multiply_each);
}

TEST_CASE("affine is a product and a bias in one operation") {
  expect_op<products>(
      "affine", [](const auto& x, const auto& w, const auto& b) { return affine(x, w, b); },
      {random_input({5, 3}, 13), random_input({3, 4}, 14), random_input({4}, 15)},
      oracle3([](const XArray& x, const XArray& w, const XArray& b) { return XArray(xt::linalg::dot(x, w) + b); }),
      {.bad = {{{Shape{5, 3}, Shape{3, 4}, Shape{3}}},
               {{Shape{5, 3}, Shape{3, 4}, Shape{1, 4}}},
               {{Shape{5, 3}, Shape{3, 4}, Shape{}}},
               {{Shape{5, 2}, Shape{3, 4}, Shape{4}}},
               {{Shape{3}, Shape{3, 4}, Shape{4}}}}});
}

TEST_CASE("products of empty and of one-element matrices") {
  using V = Tensor<double, Cpu>;
  REQUIRE(matmul(V::ones({2, 0}), V::ones({0, 3})).to_vector() == std::vector<double>(6, 0.0));
  REQUIRE(matmul(V::ones({0, 2}), V::ones({2, 3})).shape() == Shape{0, 3});
  REQUIRE(matmul(V::ones({3, 2, 0}), V::ones({0, 4})).to_vector() == std::vector<double>(24, 0.0));
  REQUIRE(matmul(V::ones({0, 3, 2}), V::ones({2, 4})).shape() == Shape{0, 3, 4});
  REQUIRE(matmul(V::full({1, 1}, 3), V::full({1, 1}, 4)).item() == 12);
  Tape<V> tape;
  const auto a = tape.leaf(V::ones({2, 0})), b = tape.leaf(V::ones({0, 3}));
  const auto y = matmul(a, b);
  tape.backward(y, V::ones({2, 3}));
  REQUIRE(tape.gradient(a).shape() == Shape{2, 0});
  REQUIRE(tape.gradient(b).shape() == Shape{0, 3});
}

TEST_CASE("integer matrices multiply exactly") {
  using V = Tensor<std::int64_t, Cpu>;
  REQUIRE(matmul(V::arange(4).reshaped({2, 2}), V::arange(4).reshaped({2, 2})).to_vector() ==
          std::vector<std::int64_t>{2, 3, 6, 11});
}
