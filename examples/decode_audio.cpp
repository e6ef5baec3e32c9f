// Turns the codes of encode_audio into sound again.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include <kolmo/io/picture.hpp>
#include <kolmo/rvq/codec_stream.hpp>
#include <kolmo/rvq/losses/mel_losses.hpp>
#include <kolmo/rvq/losses/stft_losses.hpp>
#include <kolmo/rvq/losses/wave_losses.hpp>

#include "audio_files.hpp"
#include "shipped_model.hpp"
#include "spectrogram.hpp"

namespace {

using namespace kolmo;
using namespace codec_program;

struct Arguments {
  std::string model, input, output, reference, picture, format = "pcm16";
  index_t stages = 0;
  int threads = 0;
  bool quiet = false;
};

std::vector<float> first_channel(const io::Wave& wave) { return {wave.channel(0).begin(), wave.channel(0).end()}; }

/// How near the decoded sound comes to the original one.
void compare(const Arguments& a, const Codec& codec, const io::Wave& result) {
  const io::Wave original = load_for(codec, a.reference, true);
  if (original.frames() != result.frames())
    throw ArgumentError("--reference " + a.reference + " has " + std::to_string(original.frames()) +
                        " samples, the decoded sound " + std::to_string(result.frames()));
  const auto wave_of = [](const io::Wave& wave) {
    return V::from(std::span<const float>(wave.samples), {wave.channels, wave.frames()});
  };
  const V x = wave_of(original), y = wave_of(result);
  if (result.frames() >= 2048)
    std::printf("mel distance %.3f, STFT distance %.3f, ", rvq::mel_distance(x, y, codec.sample_rate),
                rvq::stft_distance(x, y));
  std::printf("SI-SDR %.2f dB\n", rvq::si_sdr(x, y));
}

int run(const Arguments& a) {
  if (a.threads > 0) threads::set_count(a.threads);
  rvq_program::check_ending("--output", a.output, {".wav"});
  for (const std::string& read : {a.input, a.model, a.reference})
    if (same_file(a.output, read) || same_file(a.picture, read))
      throw ArgumentError(read + " is read; it cannot be written as well");
  check_writable(a.output);
  if (!a.picture.empty()) io::picture_format(a.picture);
  check_writable(a.picture);
  const Codec codec = rvq::load_codec<V>(a.model);
  const auto bytes = io::read_file(a.input);
  // The header first: its refusals say more than those of the codes.
  const auto found = rvq::detail::parse_code_header(bytes, a.input);
  if (!found) throw IoError(a.input + " ends inside its header");
  const index_t coded_stages = found->first.stages();
  if (found->first.model != rvq_program::model_hash(codec.quantizer) ||
      coded_stages > rvq::trained_stages(codec.quantizer))
    throw ArgumentError(a.input + " was made with another model than " + a.model);
  const rvq::CodeStream stream = rvq::parse_code_stream(bytes, a.input,
                                                        found->first.layout == rvq::CodeLayout::range_coded
                                                            ? rvq_program::frequencies_of(codec.quantizer, coded_stages)
                                                            : std::vector<rvq::FrequencyTable>{});
  const rvq::CodeStreamHeader& header = stream.header;
  if (header.hop != codec.hop() || header.channels != codec.options.audio_channels)
    throw ArgumentError(a.input + " has " + std::to_string(header.channels) + " channels and " +
                        std::to_string(header.hop) + " samples a frame, the codec " +
                        std::to_string(codec.options.audio_channels) + " and " + std::to_string(codec.hop()));
  if (stream.cut) std::fprintf(stderr, "decode_audio: %s is cut off; what is there is decoded\n", a.input.c_str());
  if (a.stages > header.stages())
    throw ArgumentError("--stages " + std::to_string(a.stages) + ": the file has the codes of " +
                        std::to_string(header.stages()));
  const index_t used = a.stages > 0 ? a.stages : header.stages();
  const index_t whole =
      static_cast<index_t>(header.samples.value_or(static_cast<std::uint64_t>(stream.rows() * header.hop)));
  const index_t samples = smaller(whole, stream.rows() * header.hop);

  const rvq::CodesOf<V> all = stream.codes();
  const auto part = [&](index_t first, index_t count) {
    return slice(slice(all, 0, first, first + count), 1, 0, used).contiguous().reshaped({1, count, used});
  };
  WaveBuilder builder(header.channels);
  const index_t rows = stream.rows();
  if (codec.options.causal) {
    rvq::CodecDecoderStream<V> decoder(codec, 1);
    const index_t step = larger<index_t>(1, header.rate / header.hop);
    for (index_t first = 0; first < rows; first += step)
      builder.add(decoder.push(part(first, smaller(step, rows - first))));
  } else if (rows > 0) {
    builder.add(rvq::decode(codec, part(0, rows)));
  }
  const io::Wave result = builder.wave(header.rate, samples);
  const io::WavEncoding encoding = a.format == "float32" ? io::WavEncoding::float32
                                   : a.format == "pcm24" ? io::WavEncoding::pcm24
                                                         : io::WavEncoding::pcm16;
  const index_t clipped = io::save_wav(a.output, result, encoding);
  if (!a.quiet)
    std::printf("%s: %.2f s by %lld of %lld stages\n", a.output.c_str(),
                static_cast<double>(samples) / static_cast<double>(header.rate), static_cast<long long>(used),
                static_cast<long long>(header.stages()));
  if (clipped > 0)
    std::fprintf(stderr, "decode_audio: %lld samples were outside full scale and are clipped\n",
                 static_cast<long long>(clipped));
  if (!a.reference.empty()) compare(a, codec, result);
  if (!a.picture.empty()) {
    std::vector<std::pair<std::string, std::vector<float>>> sounds;
    if (!a.reference.empty()) sounds.emplace_back("original", first_channel(load_for(codec, a.reference, true)));
    sounds.emplace_back("decoded by " + std::to_string(used) + " stages", first_channel(result));
    io::save_picture(a.picture, sound::draw_spectrograms(sounds, header.rate), 1);
  }
  rvq_program::finish_output();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{"Decodes a file of encode_audio into a WAV file."};
  app.get_formatter()->column_width(30);
  app.add_option("--model", a.model, "the codec that made the codes; by default the one that ships with the examples");
  app.add_option("--input", a.input, "file of codes, .rvq")->required();
  app.add_option("--output", a.output, "WAV file")->required();
  app.add_option("--stages", a.stages, "decode the first so many only; by default all that the file has")
      ->check(CLI::Range(0, 255));
  app.add_option("--format", a.format, "of the samples; pcm16 by default")
      ->check(CLI::IsMember({"pcm16", "pcm24", "float32"}));
  app.add_option("--reference", a.reference, "the original WAV file, to be compared with");
  app.add_option("--picture", a.picture, "SVG or PNG file with spectrograms");
  app.add_option("--threads", a.threads, "all processors by default")->check(CLI::Range(0, 4096));
  app.add_flag("--quiet", a.quiet, "print errors only");
  return run_program(app, "decode_audio", argc, argv, [&] {
    if (a.model.empty()) a.model = shipped_model("codec_16khz.safetensors", "give --model");
    return run(a);
  });
}
