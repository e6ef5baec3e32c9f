#pragma once
// The program of encode_rvq.cpp, and of its twin encode_rvq.cu on a GPU.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/io/progress.hpp>

#include "rvq_files.hpp"

namespace encode_rvq_program {

using namespace rvq_program;

struct Arguments {
  std::string model, input, output, layout = "frames";
  index_t beam = 1, stages = 0, packet = 1024;
  int threads = 0;
};

inline rvq::CodeLayout layout_of(const std::string& name) {
  if (name == "frames") return rvq::CodeLayout::frame_major;
  return name == "stages" ? rvq::CodeLayout::stage_major : rvq::CodeLayout::range_coded;
}

/// A stream that is packed as the codes come.
class Packer {
 public:
  Packer(const Arguments& arguments, const Quantizer& quantizer, index_t stages, index_t vectors)
      : packet_(arguments.packet), vectors_(static_cast<std::uint64_t>(vectors)) {
    rvq::CodeStreamHeader header;
    header.layout = layout_of(arguments.layout);
    header.bits = bits_of_stages(quantizer, stages);
    header.model = model_hash(quantizer);
    const bool coded = header.layout == rvq::CodeLayout::range_coded;
    writer_ = std::make_unique<rvq::CodeStreamWriter>(
        header, coded ? frequencies_of(quantizer, stages) : std::vector<rvq::FrequencyTable>());
  }
  void add(const Codes& codes) {
    const std::vector<rvq::Code> values = codes.to_vector();
    waiting_.insert(waiting_.end(), values.begin(), values.end());
    flush(static_cast<std::size_t>(packet_ * codes.shape()[1]));
  }
  /// Bytes of the file.
  std::size_t save(const std::string& path) {
    if (!waiting_.empty()) flush(waiting_.size());
    const std::string header = writer_->header(vectors_);
    io::write_atomically(path, [&](auto& sink) {
      sink.write(std::string_view(header));
      sink.write(std::string_view(packets_));
    });
    return header.size() + packets_.size();
  }

 private:
  void flush(std::size_t size) {
    std::size_t begin = 0;
    for (; waiting_.size() - begin >= size; begin += size) {
      const auto from = waiting_.begin() + static_cast<std::ptrdiff_t>(begin);
      packets_ += writer_->packet(std::vector<rvq::Code>(from, from + static_cast<std::ptrdiff_t>(size)));
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(begin));
  }

  index_t packet_;
  std::uint64_t vectors_;
  std::unique_ptr<rvq::CodeStreamWriter> writer_;
  std::vector<rvq::Code> waiting_;
  std::string packets_;
};

inline int run(const Arguments& arguments) {
  require_device();
  check_ending("--output", arguments.output, {".npy", ".rvq"});
  check_writable(arguments.output);
  if (arguments.layout != "frames" && !has_ending(arguments.output, ".rvq"))
    throw ArgumentError("--layout " + arguments.layout + " is of packed codes; give --output CODES.rvq");
  check_not_read(arguments.output, arguments.model, arguments.input);
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);
  const Quantizer quantizer = rvq::load_quantizer<Vectors>(arguments.model);
  const rvq::StageUse use = rvq::stage_use(quantizer, arguments.stages);
  warn("encode_rvq", use.warning);
  const VectorFile input(arguments.input, quantizer.dimension());
  const std::vector<Vectors> tables = rvq::decode_tables(quantizer, use.used);
  std::vector<index_t> sizes = quantizer.code_counts();
  sizes.resize(static_cast<std::size_t>(use.used));

  const bool packed = has_ending(arguments.output, ".rvq");
  std::unique_ptr<Packer> packer;
  std::unique_ptr<io::NpyWriter<rvq::Code>> array;
  if (packed) {
    packer = std::make_unique<Packer>(arguments, quantizer, use.used, input.vectors());
  } else {
    std::vector<index_t> shape = input.shape();
    shape.back() = use.used;
    array = std::make_unique<io::NpyWriter<rvq::Code>>(arguments.output, shape);
  }
  Usage usage(sizes);
  double error = 0, power = 0, seconds = 0;
  io::Progress line(stderr, input.vectors(), {.label = "coding", .unit = "vectors"});
  for (index_t first = 0; first < input.entries(); first += input.step()) {
    const index_t count = std::min(input.step(), input.entries() - first);
    const Vectors x = input.read(first, count);
    const auto begin = std::chrono::steady_clock::now();
    const Codes codes = rvq::encode(quantizer, x, {.stages = use.used, .beam = arguments.beam}).codes;
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    for (const float e : rvq::squared_errors(tables, x, codes).to_vector()) error += static_cast<double>(e);
    for (const float v : x.to_vector()) power += static_cast<double>(v) * static_cast<double>(v);
    usage.add(codes);
    if (packed)
      packer->add(codes);
    else
      array->write(codes.to_vector());
    line.update((first + count) * (input.vectors() / input.entries()));
  }
  std::size_t bytes = 0;
  if (packed)
    bytes = packer->save(arguments.output);
  else
    array->finish();

  const auto vectors = static_cast<double>(input.vectors());
  const double numbers = vectors * static_cast<double>(quantizer.dimension());
  for (index_t q = 0; q < use.used; ++q)
    std::printf("stage %lld: %lld codes, used %s %%, perplexity %s\n", static_cast<long long>(q),
                static_cast<long long>(sizes[static_cast<std::size_t>(q)]), io::to_text(100 * usage.used(q), 6).c_str(),
                io::to_text(usage.perplexity(q), 9).c_str());
  if (numbers > 0)
    std::printf("MSE %s a number, %s of the mean square; %s us a vector\n", io::to_text(error / numbers, 9).c_str(),
                io::to_text(power > 0 ? error / power : 0, 5).c_str(), io::to_text(1e6 * seconds / vectors, 3).c_str());
  const auto header_bits = rvq::row_bits(bits_of_stages(quantizer, use.used));
  std::printf("%lld vectors [%lld], %lld stages, %lld bits a vector: %s", static_cast<long long>(input.vectors()),
              static_cast<long long>(quantizer.dimension()), static_cast<long long>(use.used),
              static_cast<long long>(header_bits), arguments.output.c_str());
  if (packed) std::printf(", %zu bytes", bytes);
  std::printf("\n");
  finish_output();
  return 0;
}

inline int main_program(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Codes vectors by a trained residual quantizer: every stage codes what the stages before it left.");
  app.get_formatter()->column_width(34);
  app.add_option("--model", arguments.model, "the quantizer, as train_rvq has written it")
      ->required()
      ->option_text("MODEL (required)");
  app.add_option("--input", arguments.input, "the vectors [..., d]; read by parts, so it may be larger than the memory")
      ->required()
      ->option_text("VECTORS.npy (required)");
  app.add_option("--output", arguments.output,
                 "FILE.npy: int32 codes [..., stages]; FILE.rvq: packed bits with a header and a checksum")
      ->required()
      ->option_text("CODES.npy|CODES.rvq (required)");
  app.add_option("--beam", arguments.beam, "partial codes kept in the search; 1, the greedy search, by default")
      ->check(CLI::Range(index_t{1}, index_t{1024}))
      ->option_text("B");
  app.add_option("--stages", arguments.stages, "how many to use; all that are trained by default")
      ->check(CLI::Range(index_t{1}, index_t{255}))
      ->option_text("A");
  app.add_option("--layout", arguments.layout,
                 "of FILE.rvq; frames: one vector after the other, stages: a packet that is cut decodes to fewer "
                 "stages, coded: range-coded by the counts of the model. frames by default")
      ->check(CLI::IsMember({"frames", "stages", "coded"}))
      ->option_text("frames|stages|coded");
  app.add_option("--packet", arguments.packet, "vectors of a packet of FILE.rvq; 1024 by default")
      ->check(CLI::Range(index_t{1}, index_t{65535}))
      ->option_text("N");
  app.add_option("--threads", arguments.threads, "all processors by default; the codes do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.footer(
      "Prints how the codes of each stage are used and the mean squared error.\n\n"
      "Exit code: 0 done, 1 a file could not be read or written, 2 wrong arguments or vectors that cannot be coded.\n\n"
      "Example: encode_rvq --model model.safetensors --input vectors.npy --output codes.rvq --beam 5");
  return run_program(app, "encode_rvq", argc, argv, [&] { return run(arguments); });
}

}  // namespace encode_rvq_program
