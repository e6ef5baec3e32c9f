// Reading, adding and ordering at computed positions.

#include <kolmo/ops/indexing.hpp>

#include <algorithm>
#include <limits>
#include <numeric>

#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

template <class X, class I = std::int32_t>
auto positions(const std::vector<I>& values, const Shape& shape) {
  return Tensor<I, typename X::Backend>::from(std::span<const I>(values), shape);
}

template <class X>
using KindOfOperand = BaseOf<std::remove_cvref_t<X>>;

std::vector<std::int32_t> random_positions(index_t count, index_t extent, std::uint64_t seed) {
  Numbers numbers(seed);
  std::vector<std::int32_t> result;
  for (index_t i = 0; i < count; ++i)
    result.push_back(static_cast<std::int32_t>(numbers.uniform(0, static_cast<double>(extent))));
  return result;
}

}  // namespace

TEST_CASE("take replaces an axis by the axes of the indices") {
  const std::vector<std::int32_t> index{2, 0, 2, 1, 2, 2};
  const auto rows = [&](const auto& x) { return take(x, positions<KindOfOperand<decltype(x)>>(index, {3, 2}), 1); };
  expect_op("take", rows, {random_input({2, 3, 4}, 1)},
            [&](const Inputs& in) {
              Result y{{2, 3, 2, 4}, {}};
              for (std::size_t o = 0; o < 2; ++o)
                for (const auto j : index)
                  for (std::size_t i = 0; i < 4; ++i)
                    y.values.push_back(in[0].values[(o * 3 + static_cast<std::size_t>(j)) * 4 + i]);
              return y;
            },
            {.bad = {{{Shape{2}}}, {{Shape{2, 2}}, Thrown::argument}, {{Shape{2, 0}}, Thrown::argument}}});
}

TEST_CASE("scatter_add sums repeated positions in their order") {
  const std::vector<std::int32_t> index{2, 0, 2, 2};
  const auto scattered = [&](const auto& x, const auto& u) {
    return scatter_add(x, positions<KindOfOperand<decltype(x)>>(index, {4}), u, -1);
  };
  expect_op("scatter_add", scattered, {random_input({2, 3}, 2), random_input({2, 4}, 3)},
            [&](const Inputs& in) {
              Result y{{2, 3}, in[0].values};
              for (std::size_t o = 0; o < 2; ++o)
                for (std::size_t j = 0; j < 4; ++j)
                  y.values[o * 3 + static_cast<std::size_t>(index[j])] += in[1].values[o * 4 + j];
              return y;
            },
            {.bad = {{{Shape{2, 3}, Shape{2, 3}}},
                     {{Shape{2, 3}, Shape{4}}},
                     {{Shape{2, 2}, Shape{2, 4}}, Thrown::argument},
                     {{Shape{}, Shape{4}}}}});
  // Many updates of few places: the same bits on every backend and for any number of threads.
  const auto many = random_positions(5000, 40, 7);
  const auto run = [&]<class B>(B) {
    using V = Tensor<float, B>;
    const auto u = V::arange(3 * 5000, 0.1f, 0.37f).reshaped({3, 5000});
    return scatter_add(V::zeros({3, 40}), positions<V>(many, {5000}), u, 1).to_vector();
  };
  const auto expected = run(Cpu{});
  REQUIRE(as_on_host(run(TestDevice{}), expected));
  std::vector<float> by_hand(120, 0.0f);
  for (std::size_t o = 0; o < 3; ++o)
    for (std::size_t j = 0; j < 5000; ++j)
      by_hand[o * 40 + static_cast<std::size_t>(many[j])] += 0.1f + 0.37f * static_cast<float>(o * 5000 + j);
  REQUIRE(expected == by_hand);
}

TEST_CASE("take_along_axis picks one element per fibre and its derivative adds repeated picks") {
  const std::vector<std::int32_t> index{1, 0, 2, 2, 1, 1, 0, 0, 2, 0, 1, 1};
  const auto picked = [&](const auto& x) {
    return take_along_axis(x, positions<KindOfOperand<decltype(x)>>(index, {2, 2, 3}), 1);
  };
  expect_op("take_along_axis", picked, {random_input({2, 3, 3}, 4)},
            [&](const Inputs& in) {
              Result y{{2, 2, 3}, {}};
              for (std::size_t k = 0; k < 12; ++k)
                y.values.push_back(in[0].values[(k / 6 * 3 + static_cast<std::size_t>(index[k])) * 3 + k % 3]);
              return y;
            },
            {.bad = {{{Shape{2, 3}}}, {{Shape{3, 3, 3}}}, {{Shape{2, 2, 3}}, Thrown::argument}}});
}

TEST_CASE("an index outside its axis is named with its position and the extent") {
  const auto check = []<class B>(B) {
    using V = Tensor<float, B>;
    const auto x = V::arange(12).reshaped({4, 3});
    for (const std::int32_t bad : {4, -1, 2000000000}) {
      const auto index = positions<V, std::int32_t>({0, 3, bad, 1}, {2, 2});
      const auto message = contains("index " + std::to_string(bad) + " at position 2 of [2, 2] is not in [0, 4)");
      REQUIRE_THROWS_WITH(take(x, index), message);
      REQUIRE_THROWS_WITH(add_at(V::ones({2, 2, 3}), index, 4), message);
      REQUIRE_THROWS_WITH(one_hot<float>(index, 4), message);
    }
    REQUIRE_THROWS_AS(take_along_axis(x, positions<V, index_t>({0, 1, 3}, {1, 3}) * Tensor<index_t, B>::full({}, 2), 0),
                      ArgumentError);
    REQUIRE(take(x, positions<V, index_t>({}, {0, 2})).shape() == Shape{0, 2, 3});
  };
  check(Cpu{});
  check(TestDevice{});
}

TEST_CASE("one_hot puts a one at each index") {
  using V = Tensor<double, Cpu>;
  REQUIRE(one_hot<double>(positions<V>({2, 0}, {2}), 3).to_vector() == std::vector<double>{0, 0, 1, 1, 0, 0});
  REQUIRE(one_hot<double>(positions<V>({1}, {1}), 2).shape() == Shape{1, 2});
}

TEST_CASE("sort orders an axis and passes derivatives to where the elements were") {
  const auto sorted = [](const Inputs& in) {
    Result y{in[0].shape, in[0].values};
    for (std::size_t o = 0; o < 2; ++o)
      for (std::size_t i = 0; i < 3; ++i) {
        std::vector<double> fibre;
        for (std::size_t j = 0; j < 5; ++j) fibre.push_back(in[0].values[(o * 5 + j) * 3 + i]);
        std::sort(fibre.begin(), fibre.end());
        for (std::size_t j = 0; j < 5; ++j) y.values[(o * 5 + j) * 3 + i] = fibre[j];
      }
    return y;
  };
  expect_op("sort", [](const auto& x) { return sort(x, 1); }, {random_input({2, 5, 3}, 8)}, sorted,
            // Small steps keep the order of close elements.
            {.step = 1e-5, .bad = {{{Shape{3}}}, {{Shape{}}}}, .large = {{random_input({2, 3000}, 9)}}});
}

TEST_CASE("top_k gives the largest elements in descending order and their positions") {
  expect_op(
      "top_k", [](const auto& x) { return top_k(x, 3).values; }, {random_input({2, 6}, 10)},
      [](const Inputs& in) {
        Result y{{2, 3}, {}};
        for (std::size_t r = 0; r < 2; ++r) {
          auto row = std::vector<double>(in[0].values.begin() + static_cast<long>(6 * r),
                                         in[0].values.begin() + static_cast<long>(6 * r + 6));
          std::sort(row.rbegin(), row.rend());
          y.values.insert(y.values.end(), row.begin(), row.begin() + 3);
        }
        return y;
      },
      {.step = 1e-5, .bad = {{{Shape{2, 2}}, Thrown::argument}, {{Shape{}}}}});
  const auto x = Tensor<float, Cpu>::from({1, 5, 5, 0, 5}, {5});
  REQUIRE(top_k(x, 2).indices.to_vector() == std::vector<index_t>{1, 2});
  REQUIRE(top_k(x, 0).values.shape() == Shape{0});
  REQUIRE_THROWS_WITH(top_k(x, 6), contains("between 0 and 5") && contains("6"));
}

TEST_CASE("argsort is stable for any length, with NaN as the largest") {
  const auto check = []<class B>(B, index_t n) {
    Numbers numbers(static_cast<std::uint64_t>(n));
    std::vector<float> values;
    for (index_t i = 0; i < 3 * n; ++i) {
      const double u = numbers.uniform(0, 20);  // many ties
      values.push_back(u > 19.5 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(std::floor(u)));
    }
    const auto x = Tensor<float, B>::from(std::span<const float>(values), {3, n});
    for (const bool descending : {false, true}) {
      const auto order = argsort(x, 1, descending).to_vector();
      for (index_t r = 0; r < 3; ++r) {
        std::vector<index_t> expected(static_cast<std::size_t>(n));
        std::iota(expected.begin(), expected.end(), index_t{0});
        const auto key = [&](index_t i) {
          const float v = values[static_cast<std::size_t>(r * n + i)];
          return std::isnan(v) ? std::numeric_limits<float>::infinity() : v;
        };
        std::stable_sort(expected.begin(), expected.end(),
                         [&](index_t p, index_t q) { return descending ? key(p) > key(q) : key(p) < key(q); });
        REQUIRE(std::equal(expected.begin(), expected.end(), order.begin() + static_cast<long>(r * n)));
      }
    }
  };
  for (const index_t n : {0, 1, 2, 31, 32, 33, 64, 100, 1000, 4097}) {
    check(Cpu{}, n);
    check(TestDevice{}, n);
  }
}
