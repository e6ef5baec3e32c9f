// Flow fields through a learned codec: vorticity becomes a few bits a point and comes back. Beside it a plain residual
// quantizer of square patches at the same rate.
// test: --train --restart --steps 10 --fields 32 --size 32 --width 4 --codes 16 --stages 2 --batch 4 --model field_codec.safetensors --output fields.rvq --picture fields.png
// test: --model field_codec.safetensors --fields 4 --size 32 --output fields.rvq --decoded fields.npy

#include <cstdio>
#include <filesystem>

#include <kolmo/io/npy.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>
#include <kolmo/rvq/bitstream.hpp>
#include <kolmo/rvq/codec_file.hpp>
#include <kolmo/rvq/field_training.hpp>

#include "compress_field.hpp"
#include "program.hpp"

namespace {

using namespace compress_field;
namespace io = kolmo::io;
namespace rvq = kolmo::rvq;

struct Arguments {
  std::string input, model, output = "fields.rvq", decoded, picture;
  bool train = false, restart = false;
  index_t steps = 800, batch = 8, stages = 4, codes = 256, use = 0, fields = 320, size = 64;
  rvq::FieldCodecOptions codec;
  double learning_rate = 1e-3, reynolds = 400;
  std::uint64_t seed = 0;
  int threads = 0;
};

/// The last fifth of the fields is not trained on.
index_t training_fields(index_t all) { return all < 5 ? all : all - all / 5; }

rvq::FieldCodec<V> trained(const Arguments& a, const V& fields) {
  rvq::CodebookOptions book;
  book.start_vectors_per_code = 16;
  rvq::QuantizerOptions settings;
  settings.trained_updates = kolmo::smaller<index_t>(100, a.steps);
  // Late stages are worth their rate only if the early ones stand alone.
  settings.dropout = 0.5;
  rvq::FieldCodec<V> codec(a.codec, std::vector<index_t>(static_cast<std::size_t>(a.stages), a.codes), book, settings);
  const kolmo::Key key{a.seed};
  init(fold_in(key, 1), codec);
  rvq::standardise(codec, fields);
  auto training =
      rvq::start_training(std::move(codec), {.learning_rate = a.learning_rate, .steps = a.steps}, fold_in(key, 2));
  io::Progress progress(stderr, a.steps);
  for (index_t step = 0; step < a.steps; ++step) {
    const kolmo::Key own = fold_in(fold_in(key, 3), static_cast<std::uint64_t>(step));
    const index_t square = a.codec.stride() * a.codec.stride();
    const index_t wanted =
        step > 0
            ? a.batch
            : kolmo::larger(a.batch, kolmo::divide_up(a.codes * 16 * square, fields.shape()[1] * fields.shape()[2]));
    const V start = training_batch(fields, wanted, own);
    const V batch = slice(start, 0, 0, a.batch).contiguous();
    const auto report = rvq::training_step(training, batch, start);
    const double perplexity = report.perplexity.empty() ? 0 : report.perplexity[0];
    progress.update(report.step, {{"error", report.error}, {"perplexity", perplexity}});
  }
  progress.finish(a.steps);
  if (training.skipped > 0)
    std::printf("%lld steps were skipped: their loss was not finite\n", static_cast<long long>(training.skipped));
  return training.codec;
}

/// Writes the codes to the file and reads them back: [n, h, w, stages].
rvq::CodesOf<V> through_file(const Arguments& a, const rvq::FieldCodec<V>& codec, const rvq::CodesOf<V>& codes) {
  const Shape shape = codes.shape();
  const index_t square = codec.options.stride() * codec.options.stride(), rows = codes.size() / shape[3];
  rvq::CodeStreamHeader header;
  header.hop = square;
  const auto counts = codec.quantizer.code_counts();
  for (index_t q = 0; q < shape[3]; ++q) header.bits.push_back(rvq::code_bits(counts[static_cast<std::size_t>(q)]));
  header.samples = static_cast<std::uint64_t>(rows * square);
  header.model = io::hash64(io::read_file(a.model));
  const std::string bytes = rvq::to_code_stream(header, codes.reshaped(Shape{rows, shape[3]}));
  io::write_atomically(a.output, io::detail::as_bytes(bytes));
  std::printf("%s: %zu bytes for %lld values, %.3f bits each\n", a.output.c_str(), bytes.size(),
              static_cast<long long>(rows * square),
              8 * static_cast<double>(bytes.size()) / static_cast<double>(rows * square));
  return rvq::load_code_stream(a.output).codes().reshaped(shape);
}

int run(Arguments a) {
  for (const std::string& written : {a.output, a.decoded, a.picture})
    for (const std::string& other : {a.input, a.model})
      if (same_file(written, other)) throw kolmo::ArgumentError(other + " is read; it cannot be written as well");
  if (same_file(a.input, a.model)) throw kolmo::ArgumentError("--input and --model are the same file, " + a.input);
  if (!a.picture.empty()) io::picture_format(a.picture);
  check_writable(a.output);
  check_writable(a.decoded);
  check_writable(a.picture);
  if (a.model.empty())
    throw kolmo::ArgumentError(a.train ? "--train needs --model: without the codec the codes say nothing"
                                       : "give --train and --model, or the --model of an earlier training");
  if (a.train) check_writable(a.model);
  if (a.train && !a.restart && std::filesystem::exists(a.model))
    throw kolmo::ArgumentError(a.model + " exists; give --model another name, or replace it with --restart");
  if (a.threads > 0) kolmo::threads::set_count(a.threads);
  const V all = a.input.empty() ? simulated_fields(a.fields, a.size, a.reynolds, a.seed)
                                : fields_of(io::load_npy(a.input), a.input);
  if (!a.train && a.input.empty())
    std::printf("the fields are simulated by --seed %llu; a codec that was trained with it has seen most of them\n",
                static_cast<unsigned long long>(a.seed));
  const index_t count = all.shape()[0], border = a.train ? training_fields(count) : 0;
  const V train = a.train ? slice(all, 0, 0, border).contiguous() : all;
  const V fields = a.train && border < count ? slice(all, 0, border, count).contiguous() : all;

  const rvq::FieldCodec<V> codec = a.train ? trained(a, train) : rvq::load_field_codec<V>(a.model);
  if (a.train) rvq::save_codec(a.model, codec);
  const auto encoded = rvq::encode(codec, fields, {.stages = a.use});
  if (!encoded.stages.warning.empty()) std::printf("note: %s\n", encoded.stages.warning.c_str());
  const auto codes = through_file(a, codec, encoded.codes);

  const index_t used = encoded.stages.used;
  Results by_codec;
  std::vector<double> bits;
  for (index_t stages = 1; stages <= used; ++stages) {
    bits.push_back(rvq::bits_per_point(codec, stages));
    by_codec.add(rvq::decode(codec, codes, stages), fields);
  }
  auto counts = codec.quantizer.code_counts();
  counts.resize(static_cast<std::size_t>(used));
  const Results patches = by_patches(train, fields, codec.options.stride(), counts, fold_in(kolmo::Key{a.seed}, 4));

  const bool square = fields.shape()[1] == fields.shape()[2];
  const auto reference = square ? spectrum_of(fields) : std::vector<double>{};
  const auto distance = [&](const V& decoded) {
    // The mean over the shells of |ln Z - ln Z_original|.
    return square ? kolmo::flow::spectrum_distance(spectrum_of(decoded), reference, 1e-6) /
                        static_cast<double>(reference.size() - 1)
                  : 0.0;
  };
  std::printf("%lld fields %lld x %lld%s\n", static_cast<long long>(fields.shape()[0]),
              static_cast<long long>(fields.shape()[1]), static_cast<long long>(fields.shape()[2]),
              a.train && border < count ? ", not trained on" : "");
  std::printf("stages  bits/point   codec: MSE/variance  log-spectrum   patches: MSE/variance  log-spectrum\n");
  for (std::size_t q = 0; q < bits.size(); ++q)
    std::printf("%6zu  %10.3f   %19.5f  %12.3f   %21.5f  %12.3f\n", q + 1, bits[q], by_codec.errors[q],
                distance(by_codec.decoded[q]), patches.errors[q], distance(patches.decoded[q]));
  if (!a.train) std::printf("the tables of the patches are trained on these very fields, which favours them\n");

  if (!a.decoded.empty()) {
    const V& result = by_codec.decoded.back();
    io::save_npy(a.decoded,
                 io::HostArray(result.to_vector(), {result.shape()[0], result.shape()[1], result.shape()[2]}));
  }
  if (!a.picture.empty()) io::save_picture(a.picture, picture_of(fields, by_codec, patches, bits));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app(
      "Compresses fields of vorticity by a convolutional autoencoder around a residual quantizer, writes the codes to "
      "a "
      "file, decodes that file, and reports rate and error beside a plain residual quantizer of square patches.");
  app.add_option("--input", a.input, "fields [n, height, width]; simulated Kolmogorov flow without it")
      ->option_text("FIELDS.npy");
  app.add_flag("--train", a.train, "train on the first four fifths of the fields, compress the last fifth");
  app.add_flag("--restart", a.restart, "with --train: replace a model that is there");
  app.add_option("--model", a.model, "the codec: written by --train, read without it")->option_text("FILE.safetensors");
  app.add_option("--output", a.output, "the stream of codes; fields.rvq by default")->option_text("FILE.rvq");
  app.add_option("--decoded", a.decoded, "the fields after decoding")->option_text("FILE.npy");
  app.add_option("--picture", a.picture, "a field before and after, what is lost, spectra, error against rate")
      ->option_text("FILE.png|svg");
  app.add_option("--use-stages", a.use, "encode by so many stages; all by default")
      ->check(CLI::Range(1, 255))
      ->option_text("A");
  app.add_option("--seed", a.seed, "of simulation and training; 0 by default")->option_text("S");
  app.add_option("--threads", a.threads, "all processors by default; the numbers do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  const std::string training = "Training";
  app.add_option("--steps", a.steps, "800 by default")
      ->check(CLI::Range(1, 100000000))
      ->option_text("N")
      ->group(training);
  app.add_option("--batch", a.batch, "fields in a step; 8 by default")
      ->check(CLI::Range(1, 4096))
      ->option_text("N")
      ->group(training);
  app.add_option("--learning-rate", a.learning_rate, "of Adam, falling to 0 as a half cosine; 1e-3 by default")
      ->option_text("R")
      ->group(training);
  app.add_option("--stages", a.stages, "of the quantizer; 4 by default")
      ->check(CLI::Range(1, 255))
      ->option_text("Q")
      ->group(training);
  app.add_option("--codes", a.codes, "of every stage; 256 by default")
      ->check(CLI::Range(2, 65536))
      ->option_text("K")
      ->group(training);
  app.add_option("--levels", a.codec.levels, "a vector stands for 2^L x 2^L points; 2 by default")
      ->check(CLI::Range(1, 6))
      ->option_text("L")
      ->group(training);
  app.add_option("--width", a.codec.width, "channels of the first convolution; 16 by default")
      ->check(CLI::Range(1, 1024))
      ->option_text("C")
      ->group(training);
  app.add_option("--latent", a.codec.latent, "numbers of a vector; 16 by default")
      ->check(CLI::Range(1, 4096))
      ->option_text("D")
      ->group(training);
  const std::string simulation = "Simulated fields";
  app.add_option("--fields", a.fields, "320 by default")
      ->check(CLI::Range(1, 1000000))
      ->option_text("N")
      ->group(simulation);
  app.add_option("--size", a.size, "points along each side; 64 by default")
      ->check(CLI::Range(16, 4096))
      ->option_text("N")
      ->group(simulation);
  app.add_option("--reynolds", a.reynolds, "1 / viscosity; 400 by default")->option_text("RE")->group(simulation);
  app.footer(
      "Exit code: 0 done, 1 a file could not be read or written, 2 wrong arguments.\n\n"
      "A first look:  compress_field --train --model fields.safetensors --picture fields.png");
  return run_program(app, "compress_field", argc, argv, [&] { return run(a); });
}
