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
  CHECK_THROWS_WITH(collect(book, x, Codes::from({0, 1, 3, 0, 0})), Contains("label 3 at position 2"));
  CHECK_THROWS_WITH(collect(book, x, Codes::from({0, 1, 2, 0, -2})), Contains("label -2 at position 4"));
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

TEST_CASE("R4: codewords stay in the hull of the data and of their start in every dimension, whatever the batch") {
  const auto pool = GENERATE(0, 1) == 0 ? mix8(4096, Key{1}) : heavy(4096, Key{1});
  const auto widen = [](std::vector<float>& bounds, const Matrix& x) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(x.size()); ++i)
      bounds[i % 8] = std::max(bounds[i % 8], std::abs(x.data()[i]));
  };
  // From a tenth of a vector per code to a thousand.
  for (const auto& [codes, vectors] :
       std::vector<std::pair<index_t, index_t>>{{32, 3}, {32, 32}, {32, 2048}, {2, 2000}}) {
    auto book = book_at(gaussian(codes, 8, Key{2}), 0);
    std::vector<float> bounds(8);
    widen(bounds, book.codewords);
    for (std::uint64_t s = 0; s < 110; ++s) {
      const auto x = batch(pool, vectors, fold_in(Key{3}, s));
      widen(bounds, x);
      step(book, x, fold_in(Key{4}, s));
      std::vector<float> reached(8);
      widen(reached, book.codewords);
      for (std::size_t i = 0; i < 8; ++i) REQUIRE(reached[i] <= bounds[i] * (1 + 1e-6f));
    }
  }
}

TEST_CASE("R6: data times a factor gives the same codes and codewords times the factor") {
  const auto pool = mix8<double>(2048, Key{1});
  using Doubles = Tensor<double, Cpu>;
  const auto start = gaussian<double>(16, 8, Key{2});
  auto book = book_at(start, 0);
  for (const double factor : {0x1p-10, 1e3}) {
    const auto scaled = [&](const Doubles& x) { return apply(fn::Multiply{}, x, Doubles::scalar(factor)); };
    auto plain = book, other = book_at(scaled(start), 0);
    for (std::uint64_t s = 0; s < 120; ++s) {
      const auto x = batch(pool, 64, fold_in(Key{3}, s));
      const auto codes = assign(plain, x).codes;
      REQUIRE(assign(other, scaled(x)).codes.to_vector() == codes.to_vector());
      step(plain, x, fold_in(Key{4}, s));
      const auto report = step(other, scaled(x), fold_in(Key{4}, s));
      if (s == 99) CHECK_FALSE(report.replaced.empty());
    }
    CHECK(rms_difference(scaled(plain.codewords), other.codewords) < 1e-12 * factor);
  }
}

TEST_CASE("R7: one stream cut into large batches or into small ones of less forgetting gives one codebook") {
  const auto pool = mix8(16384, Key{1});
  CodebookOptions large, small;
  large.dead_threshold = small.dead_threshold = 0;
  small.decay = std::pow(large.decay, 0.25);
  const auto start = batch(pool, 32, Key{5});
  auto whole = book_at(start, 512 / 32.0, large), parts = book_at(start, 128 / 32.0, small);
  for (std::uint64_t s = 0; s < 300; ++s) {
    const auto x = batch(pool, 512, fold_in(Key{3}, s));
    step(whole, x, Key{});
    for (index_t i = 0; i < 4; ++i) step(parts, slice_rows(x, 128 * i, 128), Key{});
  }
  CHECK(rms_difference(whole.codewords, parts.codewords) < 0.02 * std::sqrt(mean_square_error(whole, pool)));
  CHECK(parts.updates == 1200);
}

TEST_CASE("R8: the ratio of averaged sums and counts is the incremental average") {
  const auto pool = mix8(8192, Key{1});
  CodebookOptions options;
  options.dead_threshold = 0;
  auto incremental = book_at(batch(pool, 32, Key{5}), 4, options);
  auto ratio = incremental;
  auto sums = weighted_sums(ratio);
  for (std::uint64_t s = 0; s < 1000; ++s) {
    const auto x = batch(pool, 128, fold_in(Key{3}, s));
    // The same codes for both: near ties would go apart and hide what is compared.
    const auto statistics = collect(incremental, x, assign(incremental, x).codes);
    update(incremental, statistics, Key{});
    update_ratio(ratio, sums, statistics);
  }
  CHECK(ratio.counts.to_vector() == incremental.counts.to_vector());
  CHECK(rms_difference(ratio.codewords, incremental.codewords) < 1e-5 * largest(incremental.codewords));
  // S = c instead of S = N c divides every codeword by its count.
  auto wrong = incremental;
  Matrix codewords = wrong.codewords;
  update_ratio(wrong, codewords, collect(wrong, slice_rows(pool, 0, 1), Codes::from({0})));
  CHECK(largest(wrong.codewords) < 0.9 * largest(incremental.codewords));
}

TEST_CASE("R21: statistics of two workers are those of one with all vectors, and so are codes that start again") {
  const auto pool = mix8(8192, Key{1});
  const auto start = gaussian(64, 8, Key{2});
  auto one = book_at(start, 0), two = book_at(start, 0);
  index_t replaced = 0;
  for (std::uint64_t s = 0; s < 150; ++s) {
    const auto x = batch(pool, 256, fold_in(Key{3}, s)), first = slice_rows(x, 0, 100),
               second = slice_rows(x, 100, 156);
    const auto whole = step(one, x, fold_in(Key{4}, s));
    const auto parts =
        add(collect(two, first, assign(two, first).codes), collect(two, second, assign(two, second).codes));
    const auto report = update(two, parts, fold_in(Key{4}, s));
    REQUIRE(report.replaced == whole.replaced);
    replaced += static_cast<index_t>(report.replaced.size());
  }
  CHECK(replaced > 5);
  CHECK(rms_difference(one.codewords, two.codewords) <= 1e-6 * largest(one.codewords));
  CHECK(rms_difference(one.counts, two.counts) <= 1e-6 * largest(one.counts));
  CHECK_THROWS_AS(add(collect(one, pool, assign(one, pool).codes),
                      collect(book_at(slice_rows(start, 0, 3), 1), pool, Codes::zeros(Shape{8192}))),
                  ShapeError);
}

TEST_CASE("R22: vectors in BFloat16 give the averages of their values, which are kept in float") {
  const auto pool = mix8(8192, Key{1});
  auto book = book_at(batch(pool, 32, Key{5}), 16), half = book;
  index_t different = 0, all = 0;
  for (std::uint64_t s = 0; s < 60; ++s) {
    const auto x = batch(pool, 512, fold_in(Key{3}, s));
    const auto rounded = cast<BFloat16>(x);
    const auto codes = assign(book, x).codes.to_vector(), others = assign(book, rounded).codes.to_vector();
    for (std::size_t i = 0; i < codes.size(); ++i, ++all) different += codes[i] != others[i] ? 1 : 0;
    update(half, collect(half, rounded, assign(book, x).codes), Key{});
    update(book, collect(book, x, assign(book, x).codes), Key{});
  }
  CHECK(different < all / 100);
  CHECK(half.counts.to_vector() == book.counts.to_vector());
  CHECK(rms_difference(half.codewords, book.codewords) < 1e-3 * largest(book.codewords));
}

TEST_CASE("R19: every update counts one; frozen books and batches that count nothing change nothing") {
  const auto pool = mix8(512, Key{1});
  auto book = book_at(gaussian(8, 8, Key{2}), 1);
  for (int s = 1; s <= 3; ++s) CHECK(step(book, pool, Key{}).update == s);
  CHECK(book.updates == 3);
  const auto unchanged = [&](const Codebook<Matrix>& other) {
    return other.updates == 3 && other.codewords.to_vector() == book.codewords.to_vector() &&
           other.counts.to_vector() == book.counts.to_vector() && other.ages.to_vector() == book.ages.to_vector();
  };
  auto frozen = book;
  frozen.frozen = true;
  CHECK_FALSE(step(frozen, pool, Key{}).applied);
  CHECK(unchanged(frozen));
  auto masked = book;
  CHECK_FALSE(update(masked, collect(masked, pool, Codes::full(Shape{512}, -1)), Key{}).applied);
  CHECK(unchanged(masked));
  auto poisoned = book;
  auto infinite = pool;
  infinite.mutable_data()[100] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH(update(poisoned, collect(poisoned, infinite, Codes::zeros(Shape{512})), Key{}),
                    Contains("not finite"));
  CHECK(unchanged(poisoned));
  // Codewords trained by gradient are the optimiser's.
  CodebookOptions options;
  options.training = CodebookTraining::gradient;
  auto learned = book_at(book.codewords, 1, options);
  CHECK(step(learned, pool, Key{}).applied);
  CHECK(learned.codewords.to_vector() == book.codewords.to_vector());
  CHECK(learned.updates == 1);
  CHECK(perplexity_of(usage(book, pool)) > 1);
}

TEST_CASE("Averages by angle stay unit vectors") {
  const auto pool = mix8(1024, Key{1});
  CodebookOptions options;
  options.distance = Distance::cosine;
  auto book = book_at(gaussian(16, 8, Key{2}), 0, options);
  for (std::uint64_t s = 0; s < 120; ++s) step(book, batch(pool, 64, fold_in(Key{3}, s)), fold_in(Key{4}, s));
  const auto words = book.codewords.to_vector();
  for (std::size_t k = 0; k < 16; ++k) {
    double squares = 0;
    for (std::size_t i = 0; i < 8; ++i) squares += static_cast<double>(words[8 * k + i]) * words[8 * k + i];
    CHECK(squares == Approx(1).epsilon(1e-6));
  }
}
