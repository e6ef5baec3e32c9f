// Codebooks after training: all codes in use, codewords that are centroids, an error close to that of k-means on the
// whole set; small here, and at the sizes of the specification as [long].
#include <kolmo/rvq/codebook_start.hpp>
#include <kolmo/rvq/monitoring.hpp>

#include "catch.hpp"
#include "rvq_data.hpp"
#include "rvq_support.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using namespace kolmo_test;
using Matrix = Tensor<float, Cpu>;

namespace {

struct Trained {
  StageReport whole;
  double centroid_error = 0;  ///< usage-weighted rms distance of codewords to the means of their vectors / sqrt(MSE)
  double reference = 0;       ///< MSE of k-means on the whole set
  double late_replaced = 0;   ///< codes replaced per update in the second half, as a share of all
};

StageReport measure(const Codebook<Matrix>& book, const Matrix& x) {
  StageMonitor monitor;
  monitor.add(collect(book, x, assign(book, x).codes));
  return report(monitor, book);
}

double centroid_error(const Codebook<Matrix>& book, const Matrix& x) {
  const auto found = assign(book, x);
  const auto statistics = collect(book, x, found.codes);
  const auto hits = statistics.hits.to_vector(), sums = statistics.sums.to_vector();
  const auto words = book.codewords.to_vector();
  double distance = 0, error = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const double n = hits[i / static_cast<std::size_t>(book.dimension())];
    if (n > 0) distance += n * std::pow(words[i] - sums[i] / n, 2);
  }
  for (const float e : found.squared_error.to_vector()) error += e;
  return std::sqrt(distance / error);
}

Trained train(const Matrix& pool, index_t codes, double vectors_per_code, index_t updates, bool from_data) {
  const auto vectors = static_cast<index_t>(static_cast<double>(codes) * vectors_per_code);
  Codebook<Matrix> book(8, {.codes = codes});
  if (from_data)
    start_codebook(book, batch(pool, 16 * codes, Key{5}), Key{6}, vectors);
  else
    set_codewords(book, gaussian(codes, 8, Key{7}), 0);
  Trained result;
  for (index_t s = 0; s < updates; ++s) {
    const Key key = fold_in(Key{8}, static_cast<std::uint64_t>(s));
    const auto report = step(book, batch(pool, vectors, key), fold_in(key, 1));
    if (2 * s >= updates)
      result.late_replaced += 2 * static_cast<double>(report.replaced.size()) / static_cast<double>(updates * codes);
  }
  Codebook<Matrix> best(8, {.codes = codes, .lloyd_iterations = 50, .start_vectors_per_code = pool.shape()[0]});
  start_codebook(best, pool, Key{9});
  result.reference = measure(best, pool).mse;
  result.whole = measure(book, pool);
  result.centroid_error = centroid_error(book, pool);
  return result;
}

}  // namespace

TEST_CASE("R5, R11, R12: all codes are in use and are centroids, for few vectors in an update as for many") {
  struct Setting {
    double vectors_per_code;
    index_t updates;
    bool from_data;
    double perplexity, error, distance;
  };
  const auto pool = mix8(16384, Key{1});
  const Setting setting =
      GENERATE(Setting{8, 150, true, 0.75, 1.05, 0.10}, Setting{1, 800, true, 0.75, 1.10, 0.10},
               Setting{1, 1000, false, 0.70, 1.10, 0.10}, Setting{0.25, 1000, true, 0.75, 1.10, 0.20});
  CAPTURE(setting.vectors_per_code, setting.from_data);
  const auto trained = train(pool, 128, setting.vectors_per_code, setting.updates, setting.from_data);
  CHECK(trained.whole.dead < 0.02);
  CHECK(trained.whole.perplexity > setting.perplexity * 128);
  CHECK(trained.whole.mse < setting.error * trained.reference);
  CHECK(trained.centroid_error < setting.distance);
  CHECK(trained.whole.identity_gap < 0.005);
  CHECK(trained.whole.duplicates == 0);
  CHECK(trained.late_replaced < 0.001);
  CHECK_FALSE(trained.whole.alarm());
}

TEST_CASE("R5, R11, R12 at full size", "[long]") {
  const auto pool = mix8(65536, Key{1});
  for (const double vectors_per_code : {16.0, 1.0, 0.25})
    for (const bool from_data : {true, false}) {
      const auto trained = train(pool, 256, vectors_per_code, 1000, from_data);
      CAPTURE(vectors_per_code, from_data, trained.reference, trained.whole.codebook_std, trained.whole.perplexity);
      CHECK(trained.whole.dead < 0.02);
      CHECK(trained.whole.perplexity > 0.75 * 256);
      CHECK(trained.whole.mse < (vectors_per_code < 16 ? 1.10 : from_data ? 1.05 : 1.08) * trained.reference);
      CHECK(trained.whole.identity_gap < 0.005);
      CHECK(trained.centroid_error < (vectors_per_code == 16 ? 0.05 : vectors_per_code == 1 ? 0.10 : 0.20));
      CHECK(trained.late_replaced < 0.001);
    }
}

TEST_CASE("R5: on a Gaussian in 64 dimensions codewords have half the deviation, and stages less and less", "[long]") {
  Matrix residual = g64(100000, Key{1});
  for (int stage = 0; stage < 3; ++stage) {
    Codebook<Matrix> book(64, {.codes = 1024, .start_vectors_per_code = 98});
    start_codebook(book, residual, fold_in(Key{2}, static_cast<std::uint64_t>(stage)));
    const auto r = measure(book, residual);
    CAPTURE(stage, r.codebook_std, r.input_std);
    CHECK(r.scale_ratio > (stage == 0 ? 0.40 : 0.30));
    CHECK(r.scale_ratio < 0.60);
    CHECK(r.gain_db > 0.5);
    residual = apply(fn::Subtract{}, residual, assign(book, residual).reconstruction);
  }
}
