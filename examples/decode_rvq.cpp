// Codes back to vectors: the sum of the codewords, in the order of the stages.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include <kolmo/io/progress.hpp>

#include "rvq_files.hpp"

namespace {

using namespace rvq_program;

struct Arguments {
  std::string model, input, output;
  index_t stages = 0;
  int threads = 0;
};

/// The first `stages` columns.
Codes first_stages(const Codes& codes, index_t stages) {
  if (codes.shape()[1] == stages) return codes;
  const std::vector<rvq::Code> all = codes.to_vector();
  std::vector<rvq::Code> kept;
  for (index_t row = 0; row < codes.shape()[0]; ++row)
    for (index_t q = 0; q < stages; ++q) kept.push_back(all[static_cast<std::size_t>(row * codes.shape()[1] + q)]);
  return Codes::from(std::span<const rvq::Code>(kept), {codes.shape()[0], stages});
}

/// How many stages of the codes are used. Throws ArgumentError when they do not fit the model.
index_t stages_to_decode(const Arguments& arguments, const Quantizer& quantizer, index_t in_codes) {
  const index_t trained = rvq::stage_use(quantizer).used;
  if (in_codes > trained)
    throw ArgumentError(arguments.input + " has codes of " + std::to_string(in_codes) + " stages, the model has " +
                        std::to_string(trained) + " that are trained");
  if (arguments.stages > in_codes)
    throw ArgumentError("--stages " + std::to_string(arguments.stages) + ": " + arguments.input + " has codes of " +
                        std::to_string(in_codes) + " stages");
  return arguments.stages > 0 ? arguments.stages : in_codes;
}

struct Decoded {
  index_t vectors = 0, stages = 0;
};

Decoded decode_array(const Arguments& arguments, const Quantizer& quantizer) {
  const io::NpyReader reader(arguments.input);
  std::vector<index_t> shape = reader.shape();
  if (shape.size() < 2)
    throw ArgumentError(arguments.input + " has shape " + io::shape_text(shape) + "; codes are [..., stages]");
  const index_t columns = shape.back(), stages = stages_to_decode(arguments, quantizer, columns);
  index_t group = 1;
  for (std::size_t axis = 1; axis + 1 < shape.size(); ++axis) group *= shape[axis];
  shape.back() = quantizer.dimension();
  io::NpyWriter<float> writer(arguments.output, shape);
  io::Progress line(stderr, shape[0] * group, {.label = "decoding", .unit = "vectors"});
  const index_t step = std::max<index_t>(1, block / std::max<index_t>(1, group));
  for (index_t first = 0; first < shape[0]; first += step) {
    const index_t count = std::min(step, shape[0] - first);
    const auto values = reader.read(first, count).convert<rvq::Code>();
    const Codes codes = Codes::from(std::span<const rvq::Code>(values), {count * group, columns});
    writer.write(rvq::decode(quantizer, first_stages(codes, stages)).to_vector());
    line.update((first + count) * group);
  }
  writer.finish();
  return {shape[0] * group, stages};
}

struct StreamEnd {
  index_t rows = 0;
  bool cut = false;
};

/// Calls f(packet) for every packet of a stream.
template <class F>
StreamEnd each_packet(std::span<const std::byte> bytes, const std::string& source,
                      const std::vector<rvq::FrequencyTable>& tables, const F& f) {
  constexpr std::size_t piece = std::size_t{1} << 20;
  rvq::CodeStreamReader reader(source, tables);
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    reader.push(bytes.subspan(at, std::min(piece, bytes.size() - at)));
    while (const auto packet = reader.next()) f(*packet);
  }
  if (const auto rest = reader.finish()) f(*rest);
  return {static_cast<index_t>(reader.rows()), reader.cut()};
}

Decoded decode_stream(const Arguments& arguments, const Quantizer& quantizer) {
  const auto bytes = io::read_file(arguments.input);
  // The header first: its refusals say more than those of the codes.
  const auto found = rvq::detail::parse_code_header(bytes, arguments.input);
  if (!found) throw IoError(arguments.input + " ends inside its header");
  const rvq::CodeStreamHeader& header = found->first;
  const index_t trained = rvq::stage_use(quantizer).used;
  if (header.model != model_hash(quantizer) || header.stages() > trained ||
      header.bits != bits_of_stages(quantizer, header.stages()))
    throw IoError(arguments.input + " was coded by another model than " + arguments.model);
  const index_t stages = stages_to_decode(arguments, quantizer, header.stages());
  std::vector<rvq::FrequencyTable> tables;
  if (header.layout == rvq::CodeLayout::range_coded) tables = frequencies_of(quantizer, header.stages());
  // Once through all of it before anything is written: the checksum stands for the whole.
  const StreamEnd end = each_packet(bytes, arguments.input, tables, [](const rvq::CodePacket&) {});
  if (end.cut)
    warn("decode_rvq", arguments.input + " is cut off: decoded are its first " + std::to_string(end.rows) +
                           " vectors, the last ones with fewer stages");
  io::NpyWriter<float> writer(arguments.output, {end.rows, quantizer.dimension()});
  io::Progress line(stderr, end.rows, {.label = "decoding", .unit = "vectors"});
  index_t done = 0;
  each_packet(bytes, arguments.input, tables, [&](const rvq::CodePacket& packet) {
    const Codes codes = Codes::from(std::span<const rvq::Code>(packet.codes), {packet.rows, header.stages()});
    auto values = rvq::decode(quantizer, first_stages(codes, stages)).to_vector();
    for (float& v : values) v *= packet.scale * header.gain;
    writer.write(values);
    line.update(done += packet.rows);
  });
  writer.finish();
  return {end.rows, stages};
}

int run(const Arguments& arguments) {
  check_ending("--input", arguments.input, {".npy", ".rvq"});
  check_ending("--output", arguments.output, {".npy"});
  check_writable(arguments.output);
  check_not_read(arguments.output, arguments.model, arguments.input);
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);
  const Quantizer quantizer = rvq::load_quantizer<Vectors>(arguments.model);
  const bool packed = has_ending(arguments.input, ".rvq");
  const Decoded decoded = packed ? decode_stream(arguments, quantizer) : decode_array(arguments, quantizer);
  std::printf("%lld vectors [%lld] from %lld stages: %s\n", static_cast<long long>(decoded.vectors),
              static_cast<long long>(quantizer.dimension()), static_cast<long long>(decoded.stages),
              arguments.output.c_str());
  finish_output();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Decodes what encode_rvq has written: codes to vectors.");
  app.get_formatter()->column_width(34);
  app.add_option("--model", arguments.model, "the quantizer that made the codes")
      ->required()
      ->option_text("MODEL (required)");
  app.add_option("--input", arguments.input,
                 "FILE.npy: codes [..., stages], where -1 stands for none; FILE.rvq: packed bits, which must come from "
                 "this model")
      ->required()
      ->option_text("CODES.npy|CODES.rvq (required)");
  app.add_option("--output", arguments.output, "the vectors [..., d], float32")
      ->required()
      ->option_text("VECTORS.npy (required)");
  app.add_option("--stages", arguments.stages, "uses the first ones alone; all of the codes by default")
      ->check(CLI::Range(index_t{1}, index_t{255}))
      ->option_text("A");
  app.add_option("--threads", arguments.threads, "all processors by default; the vectors do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.footer(
      "A packed file whose stages follow each other (encode_rvq --layout stages) decodes even when its end is "
      "missing.\n"
      "Stages that the model has not trained are never used.\n\n"
      "Exit code: 0 done, 1 a file could not be read or written or is damaged, 2 wrong arguments or codes that do not\n"
      "exist.\n\n"
      "Example: decode_rvq --model model.safetensors --input codes.rvq --output vectors.npy --stages 4");
  return run_program(app, "decode_rvq", argc, argv, [&] { return run(arguments); });
}
