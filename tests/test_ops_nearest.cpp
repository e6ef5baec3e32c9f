// The nearest rows of a table: equal to a search by the definition, bit for bit.

#include <kolmo/backend/xtensor.hpp>
#include <kolmo/ops/nearest.hpp>

#include <limits>

#include "device.hpp"
#include "expect_op_checks.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

template <class V>
V numbers(const Shape& shape, std::uint64_t seed) {
  const auto values = Numbers(seed).vector(static_cast<std::size_t>(shape.size()));
  const std::vector<typename V::Scalar> rounded(values.begin(), values.end());
  return V::from(std::span<const typename V::Scalar>(rounded), shape);
}

struct Best {
  std::vector<std::int32_t> index;
  std::vector<double> score;
};

/// The `count` best rows by sorting the chains of multiply-adds.
template <class V>
Best by_definition(const V& x, const V& table, index_t count) {
  using T = typename V::Scalar;
  const auto rows = x.to_vector(), codes = table.to_vector(), norms = half_squared_norms(table).to_vector();
  const index_t n = x.shape()[0], k = table.shape()[0], d = x.shape()[1];
  Best best;
  for (index_t i = 0; i < n; ++i) {
    std::vector<std::pair<T, index_t>> scores;
    for (index_t c = 0; c < k; ++c) {
      T s = -norms[static_cast<std::size_t>(c)];
      for (index_t j = 0; j < d; ++j) s = kolmo::detail::multiply_add(rows[i * d + j], codes[c * d + j], s);
      scores.emplace_back(-s, c);
    }
    std::sort(scores.begin(), scores.end());
    for (index_t c = 0; c < count; ++c) {
      best.index.push_back(static_cast<std::int32_t>(scores[static_cast<std::size_t>(c)].second));
      best.score.push_back(-static_cast<double>(scores[static_cast<std::size_t>(c)].first));
    }
  }
  return best;
}

}  // namespace

TEMPLATE_TEST_CASE("R23: the nearest rows are those of a search by definition", "[device]", (Tensor<float, Cpu>),
                   (Tensor<double, Cpu>), (Tensor<float, CpuBlas>), (Tensor<float, TestDevice>)) {
  using V = TestType;
  for (const index_t d : {1, 3, 8, 17})
    for (const index_t codes : {1, 5, 67}) {
      const V x = numbers<V>({23, d}, 1), table = numbers<V>({codes, d}, 2);
      for (const index_t count : {index_t{1}, smaller<index_t>(4, codes)}) {
        const auto found = nearest_rows(x, table, half_squared_norms(table), count);
        const Best expected = by_definition(x, table, count);
        CHECK(found.index.to_vector() == expected.index);
        const auto score = found.score.to_vector();
        CHECK(as_on_host(std::vector<double>(score.begin(), score.end()), expected.score, 1e7));
      }
    }
}

TEST_CASE("half the squared norms") {
  using V = Tensor<float, Cpu>;
  CHECK(half_squared_norms(V::from({3, 4, 0, 0, 1, -1}, {3, 2})).to_vector() == std::vector<float>{12.5f, 0, 1});
  CHECK_THROWS_AS(half_squared_norms(V::zeros({3})), ShapeError);
}

TEST_CASE("equal scores go to the lowest index") {
  using V = Tensor<float, Cpu>;
  const V table = V::from({1, 0, 0, 1, 1, 0, -1, 0, 1, 0}, {5, 2});
  const V x = V::from({2, 0, 0, 0, 1, 1}, {3, 2});
  const auto found = nearest_rows(x, table, half_squared_norms(table));
  CHECK(found.index.to_vector() == std::vector<std::int32_t>{0, 0, 0});
  CHECK(nearest_rows(x, table, half_squared_norms(table), 3).index.to_vector() ==
        std::vector<std::int32_t>{0, 2, 4, 0, 1, 2, 0, 1, 2});
}

TEST_CASE("what cannot be searched is named") {
  using V = Tensor<float, Cpu>;
  const V table = numbers<V>({4, 3}, 1), norms = half_squared_norms(table);
  std::vector<float> values(12, 1.0f);
  values[7] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(nearest_rows(V::from(std::span<const float>(values), {4, 3}), table, norms), contains("row 2"));
  values[7] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(nearest_rows(V::from(std::span<const float>(values), {4, 3}), table, norms), ArgumentError);
  CHECK_THROWS_WITH(nearest_rows(V::zeros({2, 2}), table, norms), contains("[2, 2]"));
  CHECK_THROWS_WITH(nearest_rows(V::zeros({2, 3}), table, V::zeros({3})), contains("[4]"));
  CHECK_THROWS_WITH(nearest_rows(V::zeros({2, 3}), V::zeros({0, 3}), V::zeros({0})), contains("at least one codeword"));
  CHECK_THROWS_WITH(nearest_rows(V::zeros({2, 3}), table, norms, 5), contains("given 5"));
  CHECK(nearest_rows(V::zeros({0, 3}), table, norms).index.shape() == Shape{0});
}

TEST_CASE("R22: vectors in bfloat16 are searched in float") {
  using V = Tensor<float, Cpu>;
  const V table = numbers<V>({30, 6}, 1);
  const auto half = cast<BFloat16>(numbers<V>({50, 6}, 2));
  const auto found = nearest_rows(half, table, half_squared_norms(table));
  CHECK(found.index.to_vector() == by_definition(cast<float>(half), table, 1).index);
}

TEST_CASE("a codeword that is NaN is never chosen") {
  using V = Tensor<float, Cpu>;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const V table = V::from({nan, 0, 5, 5, 0, nan, 1, 1}, {4, 2});
  CHECK(nearest_rows(V::from({0, 0, 9, 9}, {2, 2}), table, half_squared_norms(table)).index.to_vector() ==
        std::vector<std::int32_t>{3, 1});
}
