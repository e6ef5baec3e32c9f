// k-means for codebooks: the optimal scalar quantizers of a Gaussian (Max 1960), what an iteration may not do, and
// data that are short of vectors.

#include <kolmo/kolmo.hpp>
#include <kolmo/rvq/k_means.hpp>

#include <algorithm>
#include <set>

#include "catch.hpp"
#include "device.hpp"
#include "rvq_data.hpp"

using namespace kolmo;
using kolmo_test::as_on_host;
using kolmo_test::TestDevice;
using V = Tensor<float, Cpu>;
using kolmo_test::contains;

namespace {

V normals(Key key, index_t n, index_t d) { return kolmo_test::gaussian(n, d, key); }

std::set<std::vector<float>> rows(const V& x) {
  const std::vector<float> values = x.to_vector();
  std::set<std::vector<float>> result;
  for (auto row = values.begin(); row != values.end(); row += x.extent(1))
    result.insert(std::vector<float>(row, row + x.extent(1)));
  return result;
}

std::vector<float> sorted(const V& x) {
  std::vector<float> values = x.to_vector();
  std::sort(values.begin(), values.end());
  return values;
}

/// 64 clusters of vectors in 8 dimensions.
V clusters(Key key, index_t n) {
  const auto [centres, noise] = split(key);
  std::vector<index_t> which;
  for (index_t i = 0; i < n; ++i) which.push_back(i % 64);
  return take(normals(centres, 64, 8), Tensor<index_t, Cpu>::from(which)) + 0.1f * normals(noise, n, 8);
}

}  // namespace

TEST_CASE("one and two bits of a Gaussian scalar are those of Lloyd and Max") {
  const V x = normals(Key{1}, 50000, 1);
  rvq::KMeansOptions options;
  options.iterations = 100;
  const auto one = rvq::k_means(x, 2, options, Key{2});
  CHECK(one.mse == Approx(0.363380).epsilon(0.02));
  CHECK(sorted(one.codewords)[1] == Approx(0.79788).epsilon(0.02));
  const auto two = rvq::k_means(x, 4, options, Key{3});
  CHECK(two.mse == Approx(0.117482).epsilon(0.02));
  const std::vector<float> level = sorted(two.codewords);
  CHECK((level[3] - level[0]) / 2 == Approx(1.51042).epsilon(0.02));
  CHECK((level[2] - level[1]) / 2 == Approx(0.45278).epsilon(0.02));
}

TEST_CASE("six rates of a Gaussian scalar are those of Lloyd and Max within 1 %", "[long]") {
  const V x = normals(Key{1}, 1000000, 1);
  const double exact[] = {0.363380, 0.117482, 0.034548, 0.009501, 0.002505, 0.000644};
  rvq::KMeansOptions options;
  V start = V::from({-1.f, 1.f}, Shape{2, 1});
  for (int bits = 1; bits <= 6; ++bits) {
    options.iterations = 500;
    options.vectors_per_code = 50000 >> bits;
    const auto coarse = rvq::k_means_from(x, start, options, Key{static_cast<std::uint64_t>(bits)});
    options.iterations = 20;
    options.vectors_per_code = 0;
    const auto result = rvq::k_means_from(x, coarse.codewords, options);
    // Linde, Buzo and Gray 1980: neighbours push each other slowly into place, so the next rate starts from pairs.
    std::vector<float> pairs;
    for (const float c : sorted(result.codewords))
      for (const float side : {-0.5f, 0.5f}) pairs.push_back(c + side * static_cast<float>(std::sqrt(result.mse)));
    start = V::from(std::span<const float>(pairs), Shape{static_cast<index_t>(pairs.size()), 1});
    INFO(bits << " bits, " << result.iterations << " iterations");
    CHECK(result.mse == Approx(exact[bits - 1]).epsilon(0.01));
  }
}

TEST_CASE("two residual stages of one bit reach 0.130454 on a Gaussian scalar") {
  const V x = normals(Key{4}, 100000, 1);
  rvq::KMeansOptions options;
  options.iterations = 50;
  const auto first = rvq::k_means(x, 2, options, Key{5});
  const auto codes = nearest_rows(x, first.codewords, half_squared_norms(first.codewords)).index;
  const auto second = rvq::k_means(x - take(first.codewords, codes), 2, options, Key{6});
  CHECK(second.mse == Approx(0.130454).epsilon(0.02));
  CHECK(sorted(second.codewords)[1] == Approx(0.482624).epsilon(0.02));
}

TEST_CASE("no iteration raises the MSE, and every codeword keeps vectors") {
  const V x = clusters(Key{7}, 4000);
  for (const auto start : {rvq::KMeansStart::plus_plus, rvq::KMeansStart::vectors}) {
    rvq::KMeansOptions options;
    options.iterations = 30;
    options.start = start;
    const auto result = rvq::k_means(x, 100, options, Key{8});
    REQUIRE(result.history.size() == static_cast<std::size_t>(result.iterations + 1));
    CHECK(result.history.back() == result.mse);
    for (std::size_t i = 1; i < result.history.size(); ++i)
      CHECK(result.history[i] <= result.history[i - 1] * (1 + 1e-7));
    CHECK(*std::min_element(result.counts.begin(), result.counts.end()) > 0);
    CHECK(std::accumulate(result.counts.begin(), result.counts.end(), index_t{0}) == 4000);
    CHECK(result.warnings.empty());
  }
}

TEST_CASE("k-means++ finds clusters that lie apart, and random vectors miss some") {
  const V x = clusters(Key{9}, 6400);
  rvq::KMeansOptions options;
  const auto seeded = rvq::k_means(x, 64, options, Key{10});
  CHECK(seeded.mse == Approx(0.01).epsilon(0.05));
  options.iterations = 0;
  // A vector of the cluster instead of its middle doubles the error.
  CHECK(rvq::k_means(x, 64, options, Key{10}).mse < 0.03);
}

TEST_CASE("k-means goes on from given codewords") {
  const V x = clusters(Key{25}, 1000);
  rvq::KMeansOptions options;
  options.iterations = 6;
  const auto whole = rvq::k_means(x, 30, options, Key{26});
  options.iterations = 4;
  const auto first = rvq::k_means(x, 30, options, Key{26});
  options.iterations = 2;
  const auto second = rvq::k_means_from(x, first.codewords, options);
  CHECK(second.codewords.to_vector() == whole.codewords.to_vector());
  CHECK(second.mse == whole.mse);
  CHECK_THROWS_AS(rvq::k_means_from(x, V::zeros(Shape{30, 7}), options), ShapeError);
}

TEST_CASE("a codeword is the mean of its vectors") {
  const V x = clusters(Key{11}, 1000);
  rvq::KMeansOptions options;
  options.iterations = 100;
  const auto result = rvq::k_means(x, 20, options, Key{12});
  REQUIRE(result.iterations < 100);
  const auto codes = nearest_rows(x, result.codewords, half_squared_norms(result.codewords)).index.to_vector();
  std::vector<double> sums(20 * 8, 0.0);
  const auto values = x.to_vector();
  for (std::size_t i = 0; i < values.size(); ++i) sums[static_cast<std::size_t>(codes[i / 8]) * 8 + i % 8] += values[i];
  const auto codewords = result.codewords.to_vector();
  for (std::size_t i = 0; i < sums.size(); ++i)
    CHECK(codewords[i] == Approx(sums[i] / static_cast<double>(result.counts[i / 8])).margin(1e-6));
}

TEST_CASE("an empty cluster takes the vector with the largest error") {
  const V x = V::from({0.f, 1.f, 2.f, 10.f, 11.f, 30.f}, Shape{6, 1});
  rvq::detail::Lloyd<V> lloyd(x, V::from({1.f, 100.f, 10.f}, Shape{3, 1}));
  lloyd.assign();
  CHECK(lloyd.counts() == std::vector<index_t>{3, 0, 3});
  lloyd.update();
  CHECK(lloyd.codewords().to_vector() == std::vector<float>{1.f, 30.f, 17.f});
}

TEST_CASE("bits of k-means do not depend on threads") {
  const V x = clusters(Key{13}, 3000);
  rvq::KMeansOptions options;
  const int before = threads::count();
  threads::set_count(1);
  const auto one = rvq::k_means(x, 70, options, Key{14});
  threads::set_count(4);
  const auto four = rvq::k_means(x, 70, options, Key{14});
  threads::set_count(before);
  CHECK(one.codewords.to_vector() == four.codewords.to_vector());
  CHECK(one.mse == four.mse);
  CHECK(one.codewords.to_vector() != rvq::k_means(x, 70, options, Key{15}).codewords.to_vector());
}

TEST_CASE("k-means has the same bits on another backend, whose memory the host does not touch", "[device]") {
  using W = Tensor<float, TestDevice>;
  const V x = clusters(Key{27}, 600);
  rvq::KMeansOptions options;
  options.iterations = 4;
  const auto here = rvq::k_means(x, 40, options, Key{28});
  const auto there = rvq::k_means(x.to<TestDevice>(), 40, options, Key{28});
  CHECK(as_on_host(there.codewords.to_vector(), here.codewords.to_vector()));
  CHECK(as_on_host(std::vector{there.mse}, std::vector{here.mse}, 1e7));
  rvq::detail::Lloyd<W> lloyd(x.to<TestDevice>(), V::full(Shape{3, 8}, 50.0f).to<TestDevice>());
  lloyd.assign();
  lloyd.assign_leave_one_out();
  lloyd.update();  // two codewords are without vectors
  CHECK(rows(lloyd.codewords().to<Cpu>()).size() == 3);
}

TEST_CASE("R6: vectors times a power of two give codewords times it") {
  const V x = clusters(Key{16}, 2000);
  const rvq::KMeansOptions options;
  const auto once = rvq::k_means(x, 50, options, Key{17}), scaled = rvq::k_means(1024.f * x, 50, options, Key{17});
  CHECK((1024.f * once.codewords).to_vector() == scaled.codewords.to_vector());
  CHECK(scaled.counts == once.counts);
}

TEST_CASE("fewer vectors than codes: all of them and moved copies, with a warning") {
  const V x = normals(Key{18}, 10, 3);
  for (const auto start : {rvq::KMeansStart::plus_plus, rvq::KMeansStart::vectors}) {
    rvq::KMeansOptions options;
    options.start = start;
    const auto result = rvq::k_means(x, 25, options, Key{19});
    CHECK(result.mse < 1e-12);
    CHECK(rows(result.codewords).size() == 25);
    REQUIRE(result.warnings.size() == 1);
    CHECK_THAT(result.warnings[0], contains("25 codewords, but only 10 different"));
  }
}

TEST_CASE("R15: vectors that repeat give no equal codewords") {
  const V repeated = take(normals(Key{20}, 5, 4), Tensor<index_t, Cpu>::from({0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 4, 4}));
  const auto result = rvq::k_means(repeated, 8, {}, Key{21});
  CHECK(result.mse < 1e-12);
  CHECK(rows(result.codewords).size() == 8);
  REQUIRE(result.warnings.size() == 1);
  CHECK_THAT(result.warnings[0], contains("8 codewords, but only 5 different"));
  for (const float level : {0.f, 3.f}) {
    const auto silence = rvq::k_means(V::full(Shape{100, 4}, level), 8, {}, Key{22});
    CHECK(silence.mse < 1e-12);
    CHECK(rows(silence.codewords).size() == 8);
  }
}

TEST_CASE("k_means refuses what is no set of vectors") {
  const V x = normals(Key{23}, 10, 3);
  CHECK_THROWS_WITH(rvq::k_means(V::zeros(Shape{10}), 2, {}, Key{}), contains("rows of a matrix [n, d]"));
  CHECK_THROWS_WITH(rvq::k_means(V::zeros(Shape{0, 3}), 2, {}, Key{}), contains("no vectors"));
  CHECK_THROWS_WITH(rvq::k_means(x, 0, {}, Key{}), contains("must be positive, given 0"));
  std::vector<float> values = x.to_vector();
  values[7] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(rvq::k_means(V::from(std::span<const float>(values), x.shape()), 2, {}, Key{}), contains("row 2"));
  rvq::KMeansOptions options;
  options.iterations = -1;
  CHECK_THROWS_AS(rvq::k_means(x, 2, options, Key{}), ArgumentError);
}

TEST_CASE("rows are grouped in their order, without those that have no label") {
  const auto groups = group_rows(Tensor<std::int32_t, Cpu>::from({2, -1, 0, 2, 0, -1}), 4);
  CHECK(groups.starts.to_vector() == std::vector<index_t>{2, 4, 4, 6, 6});
  CHECK(groups.order.to_vector() == std::vector<index_t>{1, 5, 2, 4, 0, 3});
  CHECK_THROWS_WITH(group_rows(Tensor<std::int32_t, Cpu>::from({0, 4}), 4), contains("label 4 at position 1"));
}
