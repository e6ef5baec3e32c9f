// Turns sound into a few kilobits a second: WAV to codes of a trained codec.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include <kolmo/io/progress.hpp>
#include <kolmo/rvq/codec_stream.hpp>

#include "audio_files.hpp"
#include "shipped_model.hpp"

namespace {

using namespace kolmo;
using namespace codec_program;

struct Arguments {
  std::string model, input, output, layout = "frames";
  index_t stages = 0;
  int threads = 0;
  bool resample = false, quiet = false;
};

int run(const Arguments& a) {
  if (a.threads > 0) threads::set_count(a.threads);
  rvq_program::check_ending("--output", a.output, {".rvq"});
  if (same_file(a.output, a.input) || same_file(a.output, a.model))
    throw ArgumentError("--output " + a.output + " is one of the files that are read");
  check_writable(a.output);
  const Codec codec = rvq::load_codec<V>(a.model);
  const io::Wave wave = load_for(codec, a.input, a.resample);
  const rvq::StageUse use = rvq::stage_use(codec.quantizer, a.stages);
  rvq_program::warn("encode_audio", use.warning);

  rvq::CodeStreamHeader header;
  header.layout = a.layout == "stages"  ? rvq::CodeLayout::stage_major
                  : a.layout == "coded" ? rvq::CodeLayout::range_coded
                                        : rvq::CodeLayout::frame_major;
  header.rate = wave.rate;
  header.channels = wave.channels;
  header.hop = codec.hop();
  header.bits = rvq_program::bits_of_stages(codec.quantizer, use.used);
  header.samples = static_cast<std::uint64_t>(wave.frames());
  header.model = rvq_program::model_hash(codec.quantizer);
  const auto tables =
      a.layout == "coded" ? rvq_program::frequencies_of(codec.quantizer, use.used) : std::vector<rvq::FrequencyTable>{};
  rvq::CodeStreamWriter writer(header, tables);
  std::string packets;
  const auto write = [&](const rvq::CodesOf<V>& codes) {
    if (codes.size() > 0)
      for (const rvq::CodePacket& packet : rvq::code_packets(codes.reshaped({codes.shape()[1], use.used})))
        packets += writer.packet(packet);
  };
  const rvq::EncodeOptions options{.stages = use.used};
  if (codec.options.causal) {
    // A second at a time, so that memory does not grow with the sound.
    rvq::CodecEncoderStream<V> stream(codec, options);
    std::optional<io::Progress> line;
    const index_t seconds = divide_up(wave.frames(), wave.rate);
    if (!a.quiet && seconds > 60) line.emplace(stderr, seconds, io::ProgressOptions{.label = "encoding", .unit = "s"});
    for (index_t first = 0; first < wave.frames(); first += wave.rate) {
      write(stream.push(interleaved(wave, first, smaller(wave.rate, wave.frames() - first))));
      if (line) line->update(first / wave.rate + 1);
    }
    write(stream.flush());
    if (line) line->finish(seconds);
  } else {
    write(rvq::encode(codec, interleaved(wave, 0, wave.frames()), options).codes);
  }
  const std::string bytes = writer.header(static_cast<std::uint64_t>(wave.frames())) + packets;
  io::write_atomically(a.output, bytes);
  const double seconds = static_cast<double>(wave.frames()) / static_cast<double>(wave.rate);
  if (!a.quiet)
    std::printf("%s: %.2f s by %lld stages in %zu bytes, %.2f kbit/s (16-bit samples: %.0f)\n", a.output.c_str(),
                seconds, static_cast<long long>(use.used), bytes.size(),
                static_cast<double>(bytes.size()) * 8e-3 / seconds,
                static_cast<double>(wave.rate * wave.channels) * 16e-3);
  rvq_program::finish_output();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{"Encodes a WAV file with a codec of train_codec; decode_audio turns the codes into sound again."};
  app.get_formatter()->column_width(30);
  app.add_option("--model", a.model, "a codec, made by train_codec; by default the one that ships with the examples");
  app.add_option("--input", a.input, "WAV file")->required();
  app.add_option("--output", a.output, "file of codes, .rvq")->required();
  app.add_option("--stages", a.stages, "of the quantizer: fewer bits, less quality; by default all that are trained")
      ->check(CLI::Range(0, 255));
  app.add_option("--layout", a.layout,
                 "frames: least delay; stages: a file that is cut off decodes to a lower rate; coded: range-coded by "
                 "the model's frequencies")
      ->check(CLI::IsMember({"frames", "stages", "coded"}));
  app.add_flag("--resample", a.resample, "convert the input to the codec's sample rate first");
  app.add_option("--threads", a.threads, "all processors by default")->check(CLI::Range(0, 4096));
  app.add_flag("--quiet", a.quiet, "print errors only");
  return run_program(app, "encode_audio", argc, argv, [&] {
    if (a.model.empty()) a.model = shipped_model("codec_16khz.safetensors", "give --model");
    return run(a);
  });
}
