// Residual quantization in a program of your own: tables by k-means, codebooks that follow moving data, streams, and
// the quantizer as a layer. vector_quantization SEED
// test: 1

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/eigen.hpp>
#include <kolmo/nn/layers.hpp>
#include <kolmo/rvq/bitstream.hpp>
#include <kolmo/rvq/encode.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/model_file.hpp>
#include <kolmo/rvq/rate_distortion.hpp>
#include <kolmo/rvq/train_tables.hpp>
#include <kolmo/rvq/training.hpp>

namespace rvq = kolmo::rvq;
using kolmo::Key;
using Tensor = kolmo::Tensor<float, kolmo::Cpu>;

std::uint64_t seed = 0;

/// Vectors [n, 8], one in each row; in practice they come from a file.
Tensor some_vectors(kolmo::index_t n, std::uint64_t part) {
  return kolmo::nn::normal_values<Tensor>(kolmo::fold_in(Key{seed}, part), {n, 8});
}

void tables_from_vectors() {
  const Tensor vectors = some_vectors(8192, 0), others = some_vectors(4096, 1);
  const auto trained = rvq::train_tables(vectors, {64, 64, 64, 64}, {}, Key{seed});

  const auto codes = rvq::encode_residual(trained.tables, others);     // [n, 4], whole numbers
  const Tensor decoded = rvq::decode_residual(trained.tables, codes);  // [n, 8]
  const Tensor difference = others - decoded;
  std::printf("3 bits a number: mean squared error %.4f, possible at best %.4f\n",
              kolmo::mean(difference * difference).item(), rvq::gaussian_distortion(1, 3));
  const auto better = rvq::encode_residual(trained.tables, others, 5);  // a beam of 5: the same decoder
  const Tensor left = others - rvq::decode_residual(trained.tables, better);
  std::printf("with a beam of 5: %.4f\n", kolmo::mean(left * left).item());
}

void codebooks_that_follow() {
  rvq::CodebookOptions book{.codes = 64};
  rvq::QuantizerOptions options{.progressive = 100};  // a stage more every 100 steps
  rvq::ResidualQuantizer<Tensor> untrained(8, {64, 64, 64}, book, options);
  auto training = rvq::start_training(untrained, {.batch = 1024}, Key{seed});

  const Tensor vectors = some_vectors(8192, 0);
  rvq::train(training, vectors, 400, [](const rvq::StepReport& report) {
    if (report.step % 100 == 0 && !report.window.empty())
      std::printf("step %lld: %lld stages, error %.4f, perplexity of the last %.1f of 64\n",
                  static_cast<long long>(report.step), static_cast<long long>(report.active), report.error,
                  report.window.back().perplexity);
  });

  const auto file = std::filesystem::temp_directory_path() / ("quantizer_" + std::to_string(seed) + ".safetensors");
  rvq::save_quantizer(file, training.quantizer);
  const auto quantizer = rvq::load_quantizer<Tensor>(file);
  std::filesystem::remove(file);

  const auto encoded = rvq::encode(quantizer, some_vectors(1000, 2));  // by the stages that are trained, never more
  rvq::CodeStreamHeader header;
  header.bits = {6, 6, 6};
  header.samples = 1000;
  const std::string bytes = rvq::to_code_stream(header, encoded.codes);
  const rvq::CodeStream stream = rvq::parse_code_stream(std::as_bytes(std::span<const char>(bytes)));
  const Tensor decoded = rvq::decode(quantizer, rvq::with_stages(stream, 2).codes());  // a lower rate, no new encoding
  std::printf("%zu bytes for %lld vectors of 32\n", bytes.size(), static_cast<long long>(decoded.shape()[0]));
}

/// An encoder and a decoder around a quantizer. Gradients of the output pass the codes as if there were none.
template <class V>
struct Autoencoder {
  kolmo::nn::Linear<V> encoder, decoder;
  rvq::ResidualQuantizer<V> quantizer;

  static void fields(auto&& f, auto&... s) {
    f(kolmo::submodule("encoder"), s.encoder...);
    f(kolmo::submodule("decoder"), s.decoder...);
    f(kolmo::submodule("quantizer"), s.quantizer...);
  }
  template <class U>
  using Rebind = Autoencoder<U>;
};

void as_a_layer() {
  Autoencoder<Tensor> model{{8, 4}, {4, 8}, {4, {32, 32}}};
  kolmo::nn::init(kolmo::fold_in(Key{seed}, 3), model.encoder);
  kolmo::nn::init(kolmo::fold_in(Key{seed}, 4), model.decoder);
  const auto optimiser = kolmo::optim::adam({.learning_rate = 3e-3});
  auto moments = optimiser.init(model);

  for (std::uint64_t step = 0; step < 300; ++step) {
    const Tensor x = some_vectors(512, 100 + step);
    const Key key = kolmo::fold_in(Key{seed}, step);
    rvq::start_stages(model.quantizer, model.encoder(x), key);  // those that are new, from what reaches them
    std::vector<rvq::UpdateStatistics<Tensor>> statistics;
    const auto [loss, gradient] = kolmo::value_and_grad(model, [&](const auto& m) {
      const auto quantized = rvq::quantize(m.quantizer, m.encoder(x), {.pass = {key, true}});
      statistics = quantized.statistics;
      const auto difference = x - m.decoder(quantized.output);
      return kolmo::mean(difference * difference) + rvq::quantizer_loss(m.quantizer, quantized);
    });
    optimiser.step(model, gradient, moments, optimiser.learning_rate());
    rvq::apply_update(model.quantizer, statistics, key);  // codebooks move here, once, and nowhere else
    if (step % 100 == 99) std::printf("step %d: loss %.4f\n", static_cast<int>(step) + 1, loss.item());
  }
}

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::printf("Quantizes vectors drawn from a normal distribution in three ways.\nUsage: vector_quantization SEED\n");
    return argc == 2 ? 0 : 2;
  }
  seed = std::strtoull(argv[1], nullptr, 10);
  tables_from_vectors();
  codebooks_that_follow();
  as_a_layer();
}
