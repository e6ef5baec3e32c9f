// Codes out of use start again at vectors of the batch: when, where, and never at copies.
#include <set>

#include <kolmo/rvq/codebook_update.hpp>

#include "catch.hpp"
#include "rvq_data.hpp"
#include "rvq_support.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using namespace kolmo_test;
using Matrix = Tensor<float, Cpu>;
using Codes = Tensor<Code, Cpu>;

namespace {

std::set<std::vector<float>> distinct_rows(const Matrix& x) {
  std::set<std::vector<float>> result;
  for (index_t k = 0; k < x.shape()[0]; ++k) result.insert(slice_rows(x, k, 1).to_vector());
  return result;
}

/// The codes that start again first, of a run whose batches stand `repeats` times in every update, and the update.
std::set<index_t> first_replaced(int repeats, index_t& number) {
  const auto pool = mix8(8192, Key{1});
  CodebookOptions options;
  options.grace = 50;
  options.replace_share = 1;
  auto book = book_at(gaussian(64, 8, Key{2}), 0, options);
  for (std::uint64_t s = 0; s < 100; ++s) {
    const auto x = batch(pool, 256, fold_in(Key{3}, s));
    const auto once = collect(book, x, assign(book, x).codes);
    auto all = once;
    for (int i = 1; i < repeats; ++i) all = add(all, once);
    const auto report = update(book, all, fold_in(Key{4}, s));
    number = report.update;
    if (!report.replaced.empty()) return {report.replaced.begin(), report.replaced.end()};
  }
  return {};
}

}  // namespace

TEST_CASE("R13: no code starts again before its grace, and ten times the vectors leave the choice as it is") {
  index_t few_update = 0, many_update = 0;
  const auto few = first_replaced(1, few_update), many = first_replaced(10, many_update);
  CHECK(few_update == 50);
  CHECK(many_update == 50);
  CHECK(few.size() > 4);
  CHECK(few == many);
}

TEST_CASE("R13: a stage from data keeps its codes, whatever the update it begins at") {
  const auto pool = mix8(8192, Key{1});
  auto book = book_at(batch(pool, 64, Key{5}), 16);
  index_t replaced = 0;
  for (std::uint64_t s = 0; s < 99; ++s)
    replaced +=
        static_cast<index_t>(step(book, batch(pool, 1024, fold_in(Key{3}, s)), fold_in(Key{4}, s)).replaced.size());
  CHECK(replaced == 0);
}

TEST_CASE("R14: a code that starts again is a vector of the batch, is hit, and stays in the hull") {
  const auto pool = mix8(16384, Key{1});
  auto book = book_at(gaussian(64, 8, Key{2}), 0);
  index_t revived = 0, hit = 0, most = 0;
  std::vector<std::pair<index_t, std::uint64_t>> waiting;
  for (std::uint64_t s = 0; s < 400; ++s) {
    const auto x = batch(pool, 512, fold_in(Key{3}, s));
    const auto report = step(book, x, fold_in(Key{4}, s));
    const auto counts = book.counts.to_vector(), ages = book.ages.to_vector(), hits = book.last_hits.to_vector();
    std::erase_if(waiting, [&](const auto& entry) {
      const bool was_hit = hits[static_cast<std::size_t>(entry.first)] > 0;
      if (was_hit) ++hit;
      return was_hit || s - entry.second >= 20;
    });
    const auto vectors = distinct_rows(x);
    for (const index_t k : report.replaced) {
      REQUIRE(vectors.contains(slice_rows(book.codewords, k, 1).to_vector()));
      REQUIRE(ages[static_cast<std::size_t>(k)] == 0);
      REQUIRE(counts[static_cast<std::size_t>(k)] > 0);
      waiting.emplace_back(k, s);
      ++revived;
    }
    most = std::max(most, static_cast<index_t>(report.replaced.size()));
    REQUIRE(largest(book.codewords) <= std::max(largest(pool), 4.5));
    for (const float n : counts) REQUIRE(n >= 0);
  }
  CHECK(most == 8);
  CHECK(revived >= 10);
  CHECK(static_cast<double>(hit) >= 0.95 * static_cast<double>(revived));
  CHECK(distinct_rows(book.codewords).size() == 64);
  CHECK(unused_of(usage(book, pool)) == 0);
}

TEST_CASE("R15: silence does not fill the codebook with copies") {
  for (const double count : {0.0, 4.0}) {
    auto book = book_at(gaussian(32, 8, Key{2}), count);
    const auto silence = Matrix::full(Shape{128, 8}, 0.01f);
    index_t replaced = 0;
    for (std::uint64_t s = 0; s < 300; ++s)
      replaced += static_cast<index_t>(step(book, silence, fold_in(Key{4}, s)).replaced.size());
    CHECK(replaced <= 1);
    CHECK(mean_square_error(book, silence) < (count == 0 ? 1e-12 : 1e-5));
    CHECK(distinct_rows(book.codewords).size() == 32);
    CHECK(largest(book.codewords) < 5);
    // Sound after silence finds its codes.
    const auto pool = mix8(4096, Key{1});
    for (std::uint64_t s = 0; s < 300; ++s) step(book, batch(pool, 256, fold_in(Key{3}, s)), fold_in(Key{4}, s));
    CHECK(unused_of(usage(book, pool)) == 0);
  }
}

TEST_CASE("Replacements are drawn by squared error, without repetition") {
  // Two codes that are never hit, and vectors of which a tenth has errors a hundred times those of the others.
  CodebookOptions options;
  options.grace = 1;
  options.replace_share = 1;
  Matrix x = Matrix::zeros(Shape{1000, 1});
  for (index_t i = 0; i < 1000; ++i) x.mutable_data()[i] = (i < 100 ? 10.0f : 1.0f) + 1e-4f * static_cast<float>(i);
  const auto share_of_large = [&](Replacement how) {
    options.replacement = how;
    int large = 0;
    for (std::uint64_t s = 0; s < 500; ++s) {
      auto book = book_at(Matrix::from({0, -100, -101}, Shape{3, 1}), 0, options);
      const auto report = step(book, x, Key{s});
      REQUIRE(report.replaced.size() == 2);
      const auto words = book.codewords.to_vector();
      REQUIRE(words[1] != words[2]);
      large += (words[1] > 5 ? 1 : 0) + (words[2] > 5 ? 1 : 0);
    }
    return large / 1000.0;
  };
  // 100 times 100 against 900 times about 2.2: 0.83; uniform 0.1.
  double by_size[2] = {};
  for (index_t i = 0; i < 1000; ++i) by_size[i < 100 ? 1 : 0] += std::pow(static_cast<double>(x.data()[i]), 2);
  CHECK(share_of_large(Replacement::by_error) == Approx(by_size[1] / (by_size[0] + by_size[1])).margin(0.04));
  CHECK(share_of_large(Replacement::uniform) == Approx(0.1).margin(0.04));
}
