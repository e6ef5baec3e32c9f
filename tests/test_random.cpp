// Random numbers: the published generator, independence of keys, the laws of the streams.

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <kolmo/core/random.hpp>

#include "catch.hpp"

using namespace kolmo;

namespace {

constexpr std::uint64_t sample = 1'000'000;

/// The number of a permutation in lexicographic order.
std::size_t rank_of(const std::vector<index_t>& order) {
  std::size_t rank = 0;
  for (std::size_t a = 0; a < order.size(); ++a) {
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(a);
    const auto smaller_later = std::count_if(first, order.end(), [&](index_t x) { return x < *first; });
    rank = rank * (order.size() - a) + static_cast<std::size_t>(smaller_later);
  }
  return rank;
}

}  // namespace

TEST_CASE("Philox4x32-10 gives the known answers of its authors") {
  using Block = Array<std::uint32_t, 4>;
  STATIC_REQUIRE(philox({{0, 0, 0, 0}}, {{0, 0}}) == Block{{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}});
  STATIC_REQUIRE(philox({{0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}}, {{0xffffffffu, 0xffffffffu}}) ==
                 Block{{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}});
  STATIC_REQUIRE(philox({{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}}, {{0xa4093822u, 0x299f31d0u}}) ==
                 Block{{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}});
}

TEST_CASE("keys derive from keys without collisions or relation to the numbers") {
  const Key key{42};
  const auto [a, b] = split(key);
  const auto three = split<3>(key);
  CHECK(a == three[0]);
  CHECK(b == three[1]);
  std::set<std::uint64_t> seen{key.value};
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    seen.insert(fold_in(key, i).value);
    seen.insert(fold_in(a, i).value);
    seen.insert(fold_in(b, i).value);
    const auto [left, right] = split(fold_in(three[2], i));
    seen.insert(left.value);
    seen.insert(right.value);
  }
  CHECK(seen.size() == 50'001);
  // Neighbouring seeds and a large index are no worse than others.
  CHECK(split(Key{0}).first != split(Key{1}).first);
  CHECK(fold_in(key, std::uint64_t(1) << 40) != fold_in(key, 0));
}

TEST_CASE("an element depends on its key and index alone") {
  const Key key{7};
  std::vector<float> forward(1000), backward(1000);
  for (std::size_t i = 0; i < 1000; ++i) forward[i] = normal<float>(key, i);
  for (std::size_t i = 1000; i-- > 0;) backward[i] = fn::Normal<float>{key}(static_cast<index_t>(i));
  CHECK(forward == backward);
  CHECK(uniform<double>(key, 3) == fn::Uniform<double>{key}(3));
  CHECK(integer_below(key, 3, 100) == fn::IntegerBelow{key, 100}(3));
  CHECK(uniform<double>(key, 3) != uniform<double>(key, 3 + (std::uint64_t(1) << 32)));
}

TEMPLATE_TEST_CASE("uniform numbers lie strictly between 0 and 1 and fill the interval evenly", "", float, double) {
  const Key key{11};
  double sum = 0, squares = 0, neighbours = 0, previous = 0.5;
  std::vector<double> cells(100);
  for (std::uint64_t i = 0; i < sample; ++i) {
    const auto u = uniform<TestType>(key, i);
    if (!(u > 0 && u < 1)) FAIL("element " << i << " is " << u);
    const double x = static_cast<double>(u) - 0.5;
    sum += x;
    squares += x * x;
    neighbours += x * (previous - 0.5);
    previous = static_cast<double>(u);
    cells[static_cast<std::size_t>(u * 100)] += 1;
  }
  const double n = static_cast<double>(sample);
  // Five standard deviations of each statistic.
  CHECK(std::abs(sum / n) < 5 / std::sqrt(12 * n));
  CHECK(std::abs(squares / n - 1.0 / 12) < 5 / std::sqrt(180 * n));
  CHECK(std::abs(neighbours / n) < 5.0 / 12 / std::sqrt(n));
  double chi = 0;
  for (const double count : cells) chi += (count - n / 100) * (count - n / 100) / (n / 100);
  CHECK(std::abs(chi - 99) < 5 * std::sqrt(2.0 * 99));
}

TEMPLATE_TEST_CASE("the ends of the uniform cells stay inside the open interval", "", float, double) {
  constexpr auto low = detail::open_uniform(0, 0, TestType());
  constexpr auto high = detail::open_uniform(0xffffffffu, 0xffffffffu, TestType());
  STATIC_REQUIRE(low > 0);
  STATIC_REQUIRE(high < 1);
  STATIC_REQUIRE(low == 1 - high);
}

TEMPLATE_TEST_CASE("normal numbers follow the normal law into the tails", "", float, double) {
  const Key key{13};
  std::vector<double> z(sample);
  double mean = 0, variance = 0, skewness = 0, kurtosis = 0;
  for (std::uint64_t i = 0; i < sample; ++i) {
    const double x = static_cast<double>(normal<TestType>(key, i));
    z[i] = x;
    mean += x;
    variance += x * x;
    skewness += x * x * x;
    kurtosis += x * x * x * x;
  }
  const double n = static_cast<double>(sample);
  CHECK(std::abs(mean / n) < 5 / std::sqrt(n));
  CHECK(std::abs(variance / n - 1) < 5 * std::sqrt(2 / n));
  CHECK(std::abs(skewness / n) < 5 * std::sqrt(15 / n));
  CHECK(std::abs(kurtosis / n - 3) < 5 * std::sqrt(96 / n));
  // Kolmogorov and Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand samples.
  std::sort(z.begin(), z.end());
  double distance = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double law = 0.5 * std::erfc(-z[i] / std::sqrt(2.0));
    distance = std::max(
        {distance, std::abs(law - static_cast<double>(i) / n), std::abs(law - static_cast<double>(i + 1) / n)});
  }
  CHECK(distance < 1.95 / std::sqrt(n));
  // 63.3 beyond 4 are expected.
  const auto beyond = std::count_if(z.begin(), z.end(), [](double x) { return std::abs(x) > 4; });
  CHECK(std::abs(static_cast<double>(beyond) - 63.3) < 5 * std::sqrt(63.3));
}

TEST_CASE("integers below n take every value equally often") {
  const Key key{17};
  const index_t n = GENERATE(index_t(1), index_t(2), index_t(7), index_t(1000));
  std::vector<double> counts(static_cast<std::size_t>(n));
  const std::uint64_t draws = 200'000;
  for (std::uint64_t i = 0; i < draws; ++i) {
    const index_t k = integer_below(key, i, n);
    REQUIRE((k >= 0 && k < n));
    counts[static_cast<std::size_t>(k)] += 1;
  }
  const double expected = static_cast<double>(draws) / static_cast<double>(n);
  double chi = 0;
  for (const double count : counts) chi += (count - expected) * (count - expected) / expected;
  CHECK(std::abs(chi - static_cast<double>(n - 1)) <= 5 * std::sqrt(2.0 * static_cast<double>(n)));
}

TEST_CASE("integers below a bound beyond 2^32 use all bits") {
  STATIC_REQUIRE(detail::multiply_high(~std::uint64_t(0), ~std::uint64_t(0)) == ~std::uint64_t(0) - 1);
  STATIC_REQUIRE(detail::multiply_high(0x123456789abcdef0u, 0xfedcba9876543210u) == 0x121fa00ad77d7422u);
  const index_t n = index_t(1) << 60;
  double sum = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i)
    sum += static_cast<double>(integer_below(Key{19}, i, n)) / static_cast<double>(n);
  CHECK(std::abs(sum / 10'000 - 0.5) < 5 / std::sqrt(12 * 10'000.0));
}

TEST_CASE("a permutation holds every index once, depends on the key, and is uniform") {
  auto order = permutation(Key{23}, 1000);
  CHECK(order == permutation(Key{23}, 1000));
  CHECK(order != permutation(Key{24}, 1000));
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < order.size(); ++i) REQUIRE(order[i] == static_cast<index_t>(i));
  CHECK(permutation(Key{1}, 0).empty());
  CHECK(permutation(Key{1}, 1) == std::vector<index_t>{0});
  CHECK_THROWS_AS(permutation(Key{1}, -1), ArgumentError);

  std::vector<double> counts(24);
  const std::uint64_t draws = 24'000;
  for (std::uint64_t i = 0; i < draws; ++i) {
    const auto p = permutation(fold_in(Key{29}, i), 4);
    counts[rank_of(p)] += 1;
  }
  double chi = 0;
  for (const double count : counts) chi += (count - 1000) * (count - 1000) / 1000;
  CHECK(chi < 23 + 5 * std::sqrt(2.0 * 23));
}
