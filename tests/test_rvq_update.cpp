// Averages of codebooks: the algebra of the update, its statistics, and codes that start again.
#include <kolmo/ops/views.hpp>
#include <kolmo/rvq/codebook_update.hpp>

#include "catch.hpp"
#include "rvq_data.hpp"
#include "rvq_support.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using namespace kolmo_test;
using Catch::Matchers::Contains;
using Matrix = Tensor<float, Cpu>;
using Codes = Tensor<Code, Cpu>;

TEST_CASE("Statistics are the hits and sums of every code, without the vectors that do not count") {
  const auto book = book_at(Matrix::from({0, 0, 1, 1, 2, 2}, Shape{3, 2}), 1);
  const auto x = Matrix::from({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, Shape{5, 2});
  const auto codes = Codes::from({2, 0, -1, 2, 0});
  const auto all = collect(book, x, codes);
  CHECK(all.hits.to_vector() == std::vector<double>{2, 0, 2});
  CHECK(all.sums.to_vector() == std::vector<double>{12, 14, 0, 0, 8, 10});
  CHECK(all.errors.to_vector() == std::vector<float>{1, 25, -1, 61, 181});
  const auto masked = collect(book, x, codes, Codes::from({1, 1, 1, 0, 0}));
  CHECK(masked.hits.to_vector() == std::vector<double>{1, 0, 1});
  CHECK(masked.sums.to_vector() == std::vector<double>{3, 4, 0, 0, 1, 2});
  CHECK_THROWS_WITH(collect(book, x, Codes::from({0, 1, 3, 0, 0})), Contains("code 3 of vector 2"));
  CHECK_THROWS_WITH(collect(book, x, Codes::from({0, 1, 2, 0, -2})), Contains("code -2 of vector 4"));
  CHECK_THROWS_AS(collect(book, x, Codes::from({0, 1})), ShapeError);
  CHECK_THROWS_AS(collect(book, x, codes, Codes::from({0, 1})), ShapeError);
}

TEST_CASE("R10: a code that is never hit keeps its value exactly, and at N = 0 the first vector becomes it") {
  auto book = book_at(Matrix::from({0.1f, 0.2f, 10.3f, 10.7f, -50.1f, 7.3f}, Shape{3, 2}), 0);
  const auto x = Matrix::from({0.3f, -0.7f, 11.1f, 9.9f, 11.3f, 10.1f}, Shape{3, 2});
  const auto report = step(book, x, Key{1});
  const auto words = book.codewords.to_vector();
  CHECK(words[0] == 0.3f);
  CHECK(words[1] == -0.7f);
  CHECK(words[2] == Approx(11.2));
  CHECK(words[4] == -50.1f);
  CHECK(words[5] == 7.3f);
  CHECK(report.applied);
  CHECK(report.update == 1);
  CHECK(report.vectors == 3);
  CHECK(report.hit_codes == 2);
  CHECK(report.perplexity == Approx(std::exp(std::log(3.0) - 2.0 / 3 * std::log(2.0))));
  CHECK(book.ages.to_vector() == std::vector<float>{1, 1, 1});
  CHECK(book.last_hits.to_vector() == std::vector<float>{1, 1, 0});
  CHECK(book.counts.to_vector()[1] == Approx(0.02));
}

TEST_CASE("R4: codewords stay in the hull of the data and of their start, whatever the batch") {
  const auto pool = GENERATE(0, 1) == 0 ? mix8(4096, Key{1}) : heavy(4096, Key{1});
  const index_t codes = 32;
  for (const index_t n : {index_t{3}, index_t{32}, index_t{2048}}) {
    auto book = book_at(gaussian(codes, 8, Key{2}), 0);
    double bound = largest(book.codewords);
    for (std::uint64_t s = 0; s < 60; ++s) {
      const auto x = batch(pool, n, fold_in(Key{3}, s));
      bound = std::max(bound, largest(x));
      step(book, x, fold_in(Key{4}, s));
      REQUIRE(largest(book.codewords) <= bound * (1 + 1e-6));
    }
  }
}
