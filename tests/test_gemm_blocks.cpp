// The register-blocked matrix product against the product by its definition.

#include <algorithm>
#include <cmath>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/backend/gemm_blocks.hpp>

#include "catch.hpp"

using kolmo::GemmCall;
using kolmo::index_t;

namespace {

template <class T>
std::vector<T> numbers(index_t count, unsigned seed) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& x : values) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<T>(static_cast<double>(seed >> 8) / 8388608.0 - 1.0);
  }
  return values;
}

/// Operands with room between their rows, so that a stray access shows.
template <class T>
struct Case {
  GemmCall<T> call;
  std::vector<T> a, b, c, expected;

  Case(index_t m, index_t n, index_t k, bool transpose_a, bool transpose_b, T alpha, T beta) {
    constexpr index_t gap = 3;
    call.transpose_a = transpose_a;
    call.transpose_b = transpose_b;
    call.m = m;
    call.n = n;
    call.k = k;
    call.alpha = alpha;
    call.beta = beta;
    call.leading_a = (transpose_a ? m : k) + gap;
    call.leading_b = (transpose_b ? k : n) + gap;
    call.leading_c = n + gap;
    a = numbers<T>((transpose_a ? k : m) * call.leading_a, 1);
    b = numbers<T>((transpose_b ? n : k) * call.leading_b, 2);
    c = numbers<T>(m * call.leading_c, 3);
    // What beta = 0 overwrites may be anything.
    if (beta == T(0))
      for (index_t i = 0; i < m; ++i)
        for (index_t j = 0; j < n; ++j) c[static_cast<std::size_t>(i * call.leading_c + j)] = static_cast<T>(std::nan(""));
    expected = c;
    call.a = a.data();
    call.b = b.data();
    call.c = expected.data();
    kolmo::detail::plain_gemm(call);
    call.c = c.data();
  }

  double error() const {
    double worst = 0;
    for (std::size_t i = 0; i < c.size(); ++i) {
      const double e = std::abs(static_cast<double>(c[i]) - static_cast<double>(expected[i]));
      if (!(e <= worst)) worst = e;
    }
    return worst;
  }
};

}  // namespace

TEMPLATE_TEST_CASE("blocks in registers give the product for every remainder of rows, columns and depth", "[gemm]",
                   float, double) {
  using T = TestType;
  const double tolerance = sizeof(T) == 4 ? 2e-4 : 1e-12;
  for (const index_t m : {1, 5, 6, 7, 64, 70})
    for (const index_t n : {1, 3, 15, 16, 17, 47, 64, 100, 130})
      for (const index_t k : {1, 12, 129})
        for (int form = 0; form < 4; ++form) {
          Case<T> test(m, n, k, form % 2 == 1, form >= 2, T(1), T(0));
          kolmo::detail::GemmBlocks<T>::product(test.call);
          CAPTURE(m, n, k, form);
          REQUIRE(test.error() <= tolerance);
        }
}

TEMPLATE_TEST_CASE("blocks in registers scale, accumulate and cut long sums", "[gemm]", float, double) {
  using T = TestType;
  const double tolerance = sizeof(T) == 4 ? 1e-3 : 1e-11;
  for (const index_t k : {0, 3, 512, 1100})
    for (const index_t n : {20, 600})
      for (int form = 0; form < 4; ++form)
        for (const T beta : {T(0), T(1), T(-0.5)}) {
          Case<T> test(67, n, k, form % 2 == 1, form >= 2, T(1.5), beta);
          kolmo::detail::GemmBlocks<T>::product(test.call);
          CAPTURE(k, n, form, beta);
          REQUIRE(test.error() <= tolerance);
        }
}

TEST_CASE("a product has the same bits on one thread and on several", "[gemm]") {
  Case<float> test(1000, 130, 200, false, false, 1.0f, 0.0f);
  kolmo::threads::set_count(1);
  kolmo::Cpu::gemm(test.call);
  const std::vector<float> alone = test.c;
  for (const int threads : {2, 4}) {
    kolmo::threads::set_count(threads);
    std::fill(test.c.begin(), test.c.end(), 0.0f);
    kolmo::Cpu::gemm(test.call);
    bool equal = true;
    for (index_t i = 0; i < 1000; ++i)
      for (index_t j = 0; j < 130; ++j) {
        const auto at = static_cast<std::size_t>(i * test.call.leading_c + j);
        equal = equal && alone[at] == test.c[at];
      }
    REQUIRE(equal);
  }
  kolmo::threads::set_count(1);
}
