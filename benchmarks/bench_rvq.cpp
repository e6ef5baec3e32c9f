// Residual encoding of normal vectors: 8 stages of 1024 codewords in 64 dimensions, each stage's codewords drawn like
// what the stages before it leave. per_item_us is the time for one vector; with one thread it is processor time, with
// two the wall clock. benchmarks/peers/rvq_faiss.py prints the same for FAISS and PyTorch.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/rvq/codebook_update.hpp>
#include <kolmo/rvq/encode.hpp>

#include "measure.hpp"

namespace {

using kolmo::index_t;
using kolmo::Screen;
using kolmo::Shape;
using measure::compare;
using measure::Work;
using V = kolmo::Tensor<float, kolmo::Cpu>;

constexpr index_t dimension = 64, codes = 1024, stages = 8;

/// Codewords with the deviations that k-means of normal residuals has: half the residual's, falling, and a gain of 0.72
/// dB per stage.
std::vector<V> tables_of(index_t k = codes, index_t d = dimension) {
  std::vector<V> tables;
  double scale = 0.5;
  for (index_t q = 0; q < stages; ++q) {
    tables.push_back(
        kolmo::nn::normal_values<V>(kolmo::Key{static_cast<std::uint64_t>(10 + q)}, Shape{k, d}, 0, scale));
    scale *= 0.92;
  }
  return tables;
}

struct Threads {
  explicit Threads(int count) { kolmo::threads::set_count(count); }
  ~Threads() { kolmo::threads::set_count(1); }
};

void add_encode(const std::string& name, index_t n, index_t beam, Screen screen, int threads) {
  measure::add(name, [=](benchmark::State& state) {
    const Threads scope(threads);
    const V x = kolmo::nn::normal_values<V>(kolmo::Key{1}, Shape{n, dimension});
    const auto tables = tables_of();
    const kolmo::rvq::ResidualEncoder<V> encode(tables, {.beam = beam, .screen = screen});
    const double flops = 2.0 * static_cast<double>(n * stages * codes * dimension);
    compare(state, Work{.flops = flops, .items = static_cast<double>(n)},
            [&] { benchmark::DoNotOptimize(encode(x).data()); });
  });
}

/// Statistics and updates of the averaged codebooks of all stages, beside the encode of the same vectors.
void add_update(const std::string& name, index_t n, int threads) {
  measure::add(name, [=](benchmark::State& state) {
    const Threads scope(threads);
    std::vector<kolmo::rvq::Codebook<V>> books;
    std::vector<V> inputs{kolmo::nn::normal_values<V>(kolmo::Key{1}, Shape{n, dimension})};
    std::vector<kolmo::rvq::Assignment<V>> found;
    for (const V& table : tables_of()) {
      books.emplace_back(dimension, kolmo::rvq::CodebookOptions{.codes = codes});
      set_codewords(books.back(), table, static_cast<double>(n) / codes);
      found.push_back(assign(books.back(), inputs.back()));
      inputs.push_back(inputs.back() - found.back().reconstruction);
    }
    compare(state, Work{.items = static_cast<double>(n)}, [&] {
      for (std::size_t q = 0; q < books.size(); ++q)
        benchmark::DoNotOptimize(
            update(books[q], collect(books[q], inputs[q], found[q].codes), kolmo::Key{q}).movement);
    });
  });
}

void add_prepare() {
  for (const Screen screen : {Screen::none, Screen::int8, Screen::bf16})
    measure::add("prepare_tables/" + std::to_string(static_cast<int>(screen)), [=](benchmark::State& state) {
      const auto tables = tables_of();
      compare(state, Work{}, [&] { kolmo::rvq::ResidualEncoder<V>(tables, {.screen = screen}); });
    });
}

}  // namespace

int main(int argc, char** argv) {
  constexpr index_t n = 9600;
  for (const int threads : {1, 2}) {
    const std::string suffix = "/threads_" + std::to_string(threads);
    add_encode("encode_beam_1/float" + suffix, n, 1, Screen::none, threads);
    add_encode("encode_beam_1/int8" + suffix, n, 1, Screen::int8, threads);
    add_encode("encode_beam_1/bf16" + suffix, n, 1, Screen::bf16, threads);
    add_encode("encode_beam_5/float" + suffix, n / 4, 5, Screen::none, threads);
    add_encode("encode_beam_5/int8" + suffix, n / 4, 5, Screen::int8, threads);
    add_encode("encode_4096/float" + suffix, 4096, 1, Screen::none, threads);
    add_update("update_4096" + suffix, 4096, threads);
  }
  add_prepare();
  return measure::run(argc, argv);
}
