// Residual quantization of normal vectors: 8 stages of 1024 codewords in 64 dimensions. per_item_us is the time for one
// vector; with one thread it is processor time, with two the wall clock. Encoding is by tables trained with a few
// iterations of k-means; ema_update is a whole training step of 4096 vectors, beside the encoding of the same vectors.
// benchmarks/peers/rvq_faiss.py prints the same for FAISS and PyTorch.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/eigen.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/rvq/cross_tables.hpp>
#include <kolmo/rvq/train_tables.hpp>
#include <kolmo/rvq/training.hpp>

#include "measure.hpp"

namespace {

using kolmo::index_t;
using kolmo::Screen;
using kolmo::Shape;
using measure::compare;
using measure::Work;
using V = kolmo::Tensor<float, kolmo::Cpu>;

constexpr index_t dimension = 64, codes = 1024, stages = 8;

kolmo::rvq::TrainTablesOptions few_iterations() {
  kolmo::rvq::TrainTablesOptions options;
  options.iterations = 3;
  return options;
}

const std::vector<V>& tables() {
  static const std::vector<V> trained = [] {
    const V x = kolmo::nn::normal_values<V>(kolmo::Key{3}, Shape{16384, dimension});
    return kolmo::rvq::train_tables(x, std::vector<index_t>(stages, codes), few_iterations(), kolmo::Key{4}).tables;
  }();
  return trained;
}

struct Threads {
  explicit Threads(int count) { kolmo::threads::set_count(count); }
  ~Threads() { kolmo::threads::set_count(1); }
};

void add_encode(const std::string& name, index_t n, index_t beam, Screen screen, int threads) {
  measure::add(name, [=](benchmark::State& state) {
    const Threads scope(threads);
    const V x = kolmo::nn::normal_values<V>(kolmo::Key{1}, Shape{n, dimension});
    const kolmo::rvq::ResidualEncoder<V> encode(tables(), {.beam = beam, .screen = screen});
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
    for (const V& table : tables()) {
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
      compare(state, Work{}, [&] { kolmo::rvq::ResidualEncoder<V>(tables(), {.screen = screen}); });
    });
}

void add_cross_tables(index_t n, index_t beam) {
  measure::add("encode_beam_" + std::to_string(beam) + "/cross_tables/threads_1", [=](benchmark::State& state) {
    const V x = kolmo::nn::normal_values<V>(kolmo::Key{1}, Shape{n, dimension});
    const kolmo::rvq::CrossTableEncoder<V> encode(tables(), beam);
    compare(state, Work{.items = static_cast<double>(n)}, [&] { benchmark::DoNotOptimize(encode(x).data()); });
  });
}

void add_decode(index_t n) {
  measure::add("decode", [=](benchmark::State& state) {
    const V x = kolmo::nn::normal_values<V>(kolmo::Key{1}, Shape{n, dimension});
    const auto code = kolmo::rvq::encode_residual(tables(), x);
    compare(state, Work{.items = static_cast<double>(n)},
            [&] { benchmark::DoNotOptimize(kolmo::rvq::decode_residual(tables(), code).data()); });
  });
}

void add_training() {
  measure::add("ema_update/4096", [](benchmark::State& state) {
    const V x = kolmo::nn::normal_values<V>(kolmo::Key{1}, Shape{4096, dimension});
    auto training = kolmo::rvq::start_training(
        kolmo::rvq::ResidualQuantizer<V>(dimension, std::vector<index_t>(stages, codes)), {}, kolmo::Key{5});
    kolmo::rvq::training_step(training, x);
    std::vector<V> tables;
    for (const auto& stage : training.quantizer.stages) tables.push_back(stage.book.codewords);
    compare(
        state, Work{.items = 4096}, [&] { kolmo::rvq::training_step(training, x); },
        measure::Peer{std::string("encode"),
                      [&] { benchmark::DoNotOptimize(kolmo::rvq::encode_residual(tables, x).data()); }});
  });
  measure::add("train_tables/16384x3_iterations", [](benchmark::State& state) {
    const V x = kolmo::nn::normal_values<V>(kolmo::Key{3}, Shape{16384, dimension});
    compare(state, Work{.items = 16384}, [&] {
      benchmark::DoNotOptimize(kolmo::rvq::train_tables(x, {codes}, few_iterations(), kolmo::Key{4}).mse);
    });
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
    add_update("update_4096" + suffix, 4096, threads);
  }
  add_cross_tables(1024, 1);
  add_cross_tables(256, 5);
  add_decode(n);
  add_prepare();
  add_training();
  return measure::run(argc, argv);
}
