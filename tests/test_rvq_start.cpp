// Where codebooks start: k-means++ and Lloyd on the vectors of the stage, with counts at their steady state.
#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/codebook_start.hpp>

#include "catch.hpp"
#include "rvq_data.hpp"
#include "rvq_support.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using namespace kolmo_test;
using Catch::Matchers::Contains;
using Matrix = Tensor<float, Cpu>;
using Codes = Tensor<Code, Cpu>;

TEST_CASE("R9: the first update after the start leaves the codebook nearly where it was") {
  const auto pool = mix8(8192, Key{1});
  Codebook<Matrix> book(8, {.codes = 64});
  const auto started = start_codebook(book, slice_rows(pool, 0, 2048), Key{2}, 1024);
  CHECK(started.vectors == 2048);
  CHECK(started.used == 2048);
  CHECK(started.warnings.empty());
  CHECK(started.mse == Approx(mean_square_error(book, slice_rows(pool, 0, 2048))).epsilon(1e-5));
  double sum = 0;
  for (const float n : book.counts.to_vector()) sum += n;
  CHECK(sum == Approx(1024));
  CHECK(book.initialised);
  CHECK(book.updates == 0);

  const auto before = book;
  const auto x = batch(pool, 1024, Key{3});
  const double error = mean_square_error(book, pool);
  const auto report = step(book, x, Key{4});
  CHECK(report.movement < 0.1 * std::sqrt(error));
  CHECK(report.movement == Approx(rms_difference(book.codewords, before.codewords)));
  CHECK(mean_square_error(book, pool) < 1.1 * error);

  // Sums S = c beside N = count, as two peers start, divide every codeword by its count.
  auto peer = before;
  Matrix sums = peer.codewords;
  update_ratio(peer, sums, collect(before, x, assign(before, x).codes));
  CHECK(mean_square_error(peer, pool) > 10 * error);
  auto right = before;
  sums = weighted_sums(right);
  update_ratio(right, sums, collect(before, x, assign(before, x).codes));
  CHECK(mean_square_error(right, pool) < 1.1 * error);
}

TEST_CASE("R21: pooled vectors of batches or of workers start the codebook that all of them at once start") {
  const auto pool = mix8(1024, Key{1});
  Codebook<Matrix> one(8, {.codes = 32}), two = one;
  VectorPool<Matrix> vectors;
  for (index_t i = 0; i < 4; ++i) {
    CHECK(vectors.size() == 256 * i);
    vectors.add(slice_rows(pool, 256 * i, 256));
    vectors = io::model_from_arrays<VectorPool<Matrix>>(io::to_arrays(vectors));
  }
  CHECK(vectors.batches == 4);
  start_codebook(one, pool, Key{2}, 256);
  start_codebook(two, *vectors.vectors, Key{2}, 256);
  CHECK(one.codewords.to_vector() == two.codewords.to_vector());
  CHECK(one.counts.to_vector() == two.counts.to_vector());
  CHECK_THROWS_AS(vectors.add(Matrix::zeros(Shape{3, 7})), ShapeError);
}

TEST_CASE("Fewer vectors than codes give a warning and codewords that differ") {
  const auto few = mix8(10, Key{1});
  Codebook<Matrix> book(8, {.codes = 32});
  const auto report = start_codebook(book, few, Key{2});
  REQUIRE(report.warnings.size() == 1);
  CHECK_THAT(report.warnings[0], Contains("32") && Contains("10"));
  std::vector<std::vector<float>> words;
  for (index_t k = 0; k < 32; ++k) words.push_back(slice_rows(book.codewords, k, 1).to_vector());
  std::sort(words.begin(), words.end());
  CHECK(std::adjacent_find(words.begin(), words.end()) == words.end());
  CHECK(mean_square_error(book, few) < 1e-3);
}

TEST_CASE("By angle the start is of unit vectors; bad vectors leave the codebook as it was") {
  const auto pool = mix8(1024, Key{1});
  CodebookOptions options;
  options.codes = 16;
  options.distance = Distance::cosine;
  Codebook<Matrix> book(8, options);
  start_codebook(book, pool, Key{2});
  const auto words = book.codewords.to_vector();
  for (std::size_t k = 0; k < 16; ++k) {
    double squares = 0;
    for (std::size_t i = 0; i < 8; ++i) squares += static_cast<double>(words[8 * k + i]) * words[8 * k + i];
    CHECK(squares == Approx(1).epsilon(1e-6));
  }
  // Silence has no direction, at the start or later.
  auto silent = pool;
  std::fill_n(silent.mutable_data(), 8 * 100, 0.0f);
  Codebook<Matrix> other(8, options);
  CHECK(start_codebook(other, silent, Key{2}).used == 924);
  other.ages = Matrix::full(Shape{16}, 1000);
  other.counts.mutable_data()[3] = 0;
  for (std::uint64_t s = 0; s < 5; ++s) step(other, silent, Key{s});
  const auto directions = other.codewords.to_vector();
  for (std::size_t k = 0; k < 16; ++k)
    CHECK(std::any_of(&directions[8 * k], &directions[8 * k] + 8, [](float x) { return x != 0; }));

  auto bad = pool;
  bad.mutable_data()[11] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(start_codebook(book, bad, Key{2}), ArgumentError);
  CHECK_THROWS_AS(start_codebook(book, Matrix::zeros(Shape{10, 3}), Key{2}), ShapeError);
  CHECK_THROWS_AS(start_codebook(book, Matrix::zeros(Shape{0, 8}), Key{2}), ArgumentError);
  CHECK_THROWS_WITH(start_codebook(book, pool, Key{2}, 0), Contains("at least one vector"));
  CHECK(book.codewords.to_vector() == words);
}
