// The numbers by which a codebook in training is watched.
#include <cstdio>
#include <filesystem>

#include <kolmo/io/npy.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/monitoring.hpp>

#include "catch.hpp"
#include "io_support.hpp"
#include "rvq_data.hpp"
#include "rvq_support.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using namespace kolmo_test;
using Catch::Matchers::Contains;
using Matrix = Tensor<float, Cpu>;
using Codes = Tensor<Code, Cpu>;

namespace {

StageReport measure(const Codebook<Matrix>& book, const Matrix& x) {
  StageMonitor monitor;
  monitor.add(collect(book, x, assign(book, x).codes));
  return report(monitor, book);
}

}  // namespace

TEST_CASE("Usage: perplexity, utilisation, shares and quantiles of a known choice") {
  Matrix words = Matrix::zeros(Shape{20, 1});
  for (index_t k = 0; k < 20; ++k) words.mutable_data()[k] = static_cast<float>(k);
  auto book = book_at(words, 1);
  std::vector<float> counts(20);
  for (std::size_t k = 0; k < 20; ++k) counts[k] = static_cast<float>(k);
  book.counts = Matrix::from(counts);
  // Code 3 eight times, codes 4 to 7 twice each: p = 1/2, 4 x 1/8, entropy 2 bits.
  Matrix x = Matrix::from({3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7}, Shape{16, 1});
  const auto r = measure(book, x);
  CHECK(r.entropy == Approx(2));
  CHECK(r.perplexity == Approx(4));
  CHECK(r.batch_perplexity == Approx(4));
  CHECK(r.utilisation == Approx(0.25));
  CHECK(r.dead == Approx(0.75));
  CHECK(r.max_over_mean == Approx(20 * 0.5));
  CHECK(r.top10_share == Approx(1));
  CHECK(r.vectors_per_code == Approx(0.8));
  CHECK(r.uniform_perplexity == Approx(20 * std::exp(-19.0 / 32)));
  CHECK(r.count_q50 == Approx(1));
  CHECK(r.count_q90 == Approx(17.1 / 9.5));
  CHECK(r.codebook_mean == Approx(9.5));
  CHECK(r.codebook_std == Approx(std::sqrt(399 / 12.0)));
  CHECK(r.codebook_max == 19);
  CHECK(r.input_mean == Approx(68 / 16.0));
  CHECK(r.input_min == 3);
  CHECK(r.input_max == 7);
  CHECK(r.mse == 0);
  CHECK(r.drift == 0);
  CHECK(r.alarm_range == 1);
  CHECK(r.alarm_dead == 0);  // no code is past its grace
  book.ages = Matrix::full(Shape{20}, 1000);
  CHECK(measure(book, x).alarm_dead == 1);
}

TEST_CASE("Codewords that are means have no identity gap, others show it") {
  const auto x = mix8(4096, Key{1});
  auto book = book_at(batch(x, 32, Key{2}), 1);
  const auto codes = assign(book, x).codes;
  const auto statistics = collect(book, x, codes);
  const auto hits = statistics.hits.to_vector(), sums = statistics.sums.to_vector();
  std::vector<float> means = book.codewords.to_vector();
  for (std::size_t i = 0; i < means.size(); ++i)
    if (hits[i / 8] > 0) means[i] = static_cast<float>(sums[i] / hits[i / 8]);
  auto centred = book_at(Matrix::from(std::span<const float>(means), Shape{32, 8}), 1);
  StageMonitor monitor;
  monitor.add(collect(centred, x, codes));
  const auto good = report(monitor, centred);
  CHECK(good.identity_gap < 1e-5);
  CHECK(good.drift < 1e-5);
  CHECK(good.alarm() == false);

  // The variance of the input is that about the mean vector.
  double squares = 0, mean_squares = 0, error = 0;
  for (std::size_t j = 0; j < 8; ++j) {
    double mean = 0;
    for (std::size_t i = 0; i < 4096; ++i) mean += x.data()[8 * i + j] / 4096.0;
    mean_squares += mean * mean / 8;
  }
  for (std::size_t i = 0; i < 4096 * 8; ++i) squares += static_cast<double>(x.data()[i]) * x.data()[i] / (4096 * 8);
  for (const float e : collect(centred, x, codes).errors.to_vector()) error += e / (4096.0 * 8);
  CHECK(good.mse == Approx(error));
  CHECK(good.gain_db == Approx(10 * std::log10(squares / error)));

  auto shrunk = book_at(apply(fn::Multiply{}, centred.codewords, Matrix::scalar(0.5f)), 1);
  StageMonitor other;
  other.add(collect(shrunk, x, codes));
  const auto bad = report(other, shrunk);
  // Codewords at half their size: Var(c) falls to a quarter, the error grows by a quarter of it.
  const double between = squares - mean_squares - error;
  const double gap = std::abs(between - 0.25 * between - (bad.mse - error)) / (squares - mean_squares);
  CHECK(bad.identity_gap == Approx(gap).epsilon(1e-4));
  CHECK(bad.alarm_identity == 1);
  CHECK(bad.drift > 0.1);
}

TEST_CASE("Alarms compare with the input, never with fixed numbers") {
  const auto x = heavy(20000, Key{1});
  auto book = book_at(batch(x, 64, Key{2}), 20000 / 64.0);
  // A codebook of heavy-tailed vectors has extremes of tens.
  book.codewords.mutable_data()[0] = static_cast<float>(largest(x));
  auto r = measure(book, x);
  CHECK(r.codebook_max > 15);
  CHECK(r.alarm_range == 0);
  CHECK(r.alarm_scale == 0);
  book.codewords.mutable_data()[0] = static_cast<float>(1.1 * largest(x));
  CHECK(measure(book, x).alarm_range == 1);

  StageMonitor monitor;
  monitor.window = 1;
  CHECK_THROWS_WITH(report(monitor, book), Contains("no vectors"));
  const auto narrow = [&](index_t codes) {
    const auto few = slice_rows(book.codewords, 0, codes);
    monitor.add(collect(book, few, assign(book, few).codes));
    CHECK(monitor.full());
    const auto result = report(monitor, book);
    monitor.next_window(result);
    return result.alarm_perplexity;
  };
  for (index_t codes = 10; codes > 5; --codes) CHECK(narrow(codes) == 0);
  CHECK(narrow(5) == 1);
  CHECK(narrow(6) == 0);
}

TEST_CASE("Copies of codewords are found, and codewords apart are none") {
  auto words = gaussian(300, 8, Key{1});
  CHECK(measure(book_at(words, 1), words).duplicates == 0);
  float* to = words.mutable_data();
  for (int i = 0; i < 8; ++i) {
    to[8 * 7 + i] = to[8 * 100 + i];
    to[8 * 8 + i] = to[8 * 100 + i];
    to[8 * 50 + i] = to[8 * 51 + i];
  }
  // The same sum, but another codeword.
  to[8 * 60] += 1;
  to[8 * 60 + 1] -= 1;
  CHECK(measure(book_at(words, 1), words).duplicates == 5);
}

TEST_CASE("R21: windows of two workers merge into that of one; a window comes back from a file") {
  const auto x = mix8(2048, Key{1});
  const auto book = book_at(batch(x, 32, Key{2}), 64);
  StageMonitor one, first, second;
  const auto masked = [&](const Matrix& rows) {
    auto codes = assign(book, rows).codes;
    codes.mutable_data()[5] = -1;
    return collect(book, rows, codes);
  };
  first.add(masked(slice_rows(x, 0, 1000)));
  second.add(masked(slice_rows(x, 1000, 1048)));
  one.add(add(masked(slice_rows(x, 0, 1000)), masked(slice_rows(x, 1000, 1048))));
  first.merge(second);
  const auto whole = report(one, book).values(), parts = report(first, book).values();
  const auto names = StageReport::names("q3_");
  REQUIRE(names.size() == whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i)
    if (names[i] != "q3_batch_perplexity") CHECK(parts[i] == Approx(whole[i]));
  CHECK(report(one, book).vectors == 2046);
  CHECK(names[5] == "q3_perplexity");

  const auto again = io::model_from_arrays<StageMonitor>(io::to_arrays(one));
  CHECK(report(again, book).values() == whole);
  StageMonitor other;
  other.add(collect(book_at(batch(x, 16, Key{2}), 1), x, Codes::zeros(Shape{2048})));
  CHECK_THROWS_AS(other.add(masked(x)), ShapeError);
  CHECK_THROWS_AS(other.merge(one), ShapeError);
  CHECK_THROWS_AS(report(other, book), ShapeError);
}

TEST_CASE("R26: codes and codewords in files give the reported error, use and perplexity") {
  const io::test::TemporaryDirectory folder;
  const auto x = mix8(3000, Key{1});
  const auto book = book_at(batch(x, 64, Key{2}), 1);
  const auto r = measure(book, x);
  io::save_npy(folder / "codes.npy", io::HostArray(assign(book, x).codes.to_vector(), {3000}));
  io::save_npy(folder / "codewords.npy", io::HostArray(book.codewords.to_vector(), {64, 8}));
  // From here on nothing but the files and the data.
  const auto code_file = io::load_npy(folder / "codes.npy"), word_file = io::load_npy(folder / "codewords.npy");
  const auto codes = code_file.as<std::int32_t>();
  const auto words = word_file.as<float>();
  double error = 0, entropy = 0, used = 0;
  std::vector<double> hits(64);
  for (std::size_t i = 0; i < 3000; ++i) {
    hits[static_cast<std::size_t>(codes[i])] += 1;
    for (std::size_t j = 0; j < 8; ++j)
      error +=
          std::pow(static_cast<double>(x.data()[8 * i + j]) - words[static_cast<std::size_t>(codes[i]) * 8 + j], 2);
  }
  for (const double h : hits) {
    used += h > 0;
    if (h > 0) entropy -= h / 3000 * std::log2(h / 3000);
  }
  CHECK(r.mse == Approx(error / 24000).epsilon(1e-6));
  CHECK(r.utilisation == used / 64);
  CHECK(r.perplexity == Approx(std::exp2(entropy)).epsilon(1e-12));
  const StageReport stages[] = {r, r};
  CHECK(bitrate_efficiency(stages) == Approx(entropy / 6));
}
