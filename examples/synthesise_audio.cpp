// Makes sound to train and test a codec with: speech-like, music-like or both, as WAV files.
//
// test: --kind speech --seconds 1 --output speech.wav --picture speech.png
// test: --kind mixed --seconds 0.5 --items 3 --output sounds --picture sounds.svg
// test: --kind music --seconds 0.5 --rate 22050 --seed 7 --items 2 --first 3 --output more_sounds/

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <kolmo/backend/threads.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>
#include <kolmo/io/wav.hpp>

#include "program.hpp"
#include "spectrogram.hpp"
#include "synthetic_audio.hpp"

namespace {

using kolmo::ArgumentError;
using kolmo::index_t;
namespace fs = std::filesystem;
namespace io = kolmo::io;

struct Arguments {
  std::string kind = "mixed", output, picture;
  double seconds = 2;
  index_t items = 1, first = 0, rate = 16000;
  std::uint64_t seed = 0;
  int threads = 0;
};

bool is_wav(const fs::path& path) { return path.extension() == ".wav" || path.extension() == ".WAV"; }

/// FOLDER/KIND_00012.wav
fs::path item_path(const Arguments& arguments, index_t index) {
  const std::string number = std::to_string(index);
  return fs::path(arguments.output) /
         (arguments.kind + "_" + std::string(number.size() < 5 ? 5 - number.size() : 0, '0') + number + ".wav");
}

int run(const Arguments& arguments) {
  const bool one_file = is_wav(arguments.output);
  if (one_file && arguments.items != 1)
    throw ArgumentError("--output " + arguments.output + " is one file, --items asks for " +
                        std::to_string(arguments.items) + "; give a folder");
  const double exact = arguments.seconds * static_cast<double>(arguments.rate);
  if (!(exact >= 1 && exact < 1e9))
    throw ArgumentError("--seconds " + io::to_text(arguments.seconds) + " and --rate " +
                        std::to_string(arguments.rate) + " give " + io::to_text(exact, 3) +
                        " samples; an item has 1 to 10^9");
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  check_writable(arguments.picture);
  if (one_file) check_writable(arguments.output);
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);
  sound::SoundSet set;
  set.kind = sound::kind_of(arguments.kind);
  set.samples = static_cast<index_t>(std::llround(exact));
  set.rate = arguments.rate;
  set.key = kolmo::Key{arguments.seed};
  if (!one_file) {
    std::error_code error;
    fs::create_directories(arguments.output, error);
    if (error) throw kolmo::IoError("cannot create the folder " + arguments.output + ": " + error.message());
  }

  io::Progress line(stderr, arguments.items, {.label = "synthesising", .unit = "items"});
  std::vector<std::pair<std::string, std::vector<float>>> shown;
  for (index_t done = 0; done < arguments.items;) {
    // Items that are made together.
    const index_t count = std::min<index_t>(arguments.items - done, std::max<index_t>(1, (1 << 22) / set.samples));
    const auto rows = sound::synthesise(set, arguments.first + done, count).to_vector();
    for (index_t i = 0; i < count; ++i, ++done) {
      const index_t index = arguments.first + done;
      const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(i * set.samples);
      const io::Wave wave{set.rate, 1, {begin, begin + static_cast<std::ptrdiff_t>(set.samples)}};
      io::save_wav(one_file ? fs::path(arguments.output) : item_path(arguments, index), wave);
      if (!arguments.picture.empty() && shown.size() < 4)
        shown.emplace_back(arguments.kind + " " + std::to_string(index), wave.samples);
    }
    if (done < arguments.items) line.update(done);
  }
  if (!arguments.picture.empty()) io::save_picture(arguments.picture, sound::draw_spectrograms(shown, set.rate));
  std::printf("%lld %s of %s s, %lld samples a second: %s\n", static_cast<long long>(arguments.items),
              arguments.items == 1 ? "sound" : "sounds",
              io::to_text(static_cast<double>(set.samples) / static_cast<double>(set.rate), 6).c_str(),
              static_cast<long long>(set.rate), arguments.output.c_str());
  if (!arguments.picture.empty()) std::printf("Picture: %s\n", arguments.picture.c_str());
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw kolmo::IoError("cannot write to the standard output");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Synthesises sound: voices and pieces of music that nobody has recorded, as 16-bit WAV files.");
  app.get_formatter()->column_width(30);
  app.add_option("--kind", arguments.kind,
                 "speech: a voice of 80 to 300 Hz with moving formants, consonants and pauses; music: chords, melody, "
                 "bass, drums; mixed: both kinds and speech over music. mixed by default")
      ->check(CLI::IsMember({"speech", "music", "mixed"}))
      ->option_text("speech|music|mixed");
  app.add_option("--output", arguments.output, "one file, or a folder of KIND_00000.wav, KIND_00001.wav, ...")
      ->required()
      ->option_text("FILE.wav|FOLDER (required)");
  app.add_option("--seconds", arguments.seconds, "of an item; 2 by default")
      ->check(CLI::PositiveNumber)
      ->option_text("T");
  app.add_option("--items", arguments.items, "how many; 1 by default")
      ->check(CLI::Range(index_t{1}, index_t{1} << 40))
      ->option_text("N");
  app.add_option("--first", arguments.first, "number of the first item; items depend on the seed and their number only")
      ->check(CLI::Range(index_t{0}, index_t{1} << 40))
      ->option_text("I");
  app.add_option("--rate", arguments.rate, "samples a second, 8000 to 192000; 16000 by default")
      ->check(CLI::Range(index_t{8000}, index_t{192000}))
      ->option_text("R");
  app.add_option("--seed", arguments.seed, "0 by default")->option_text("S");
  app.add_option("--threads", arguments.threads, "all processors by default; the sound does not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.add_option("--picture", arguments.picture, "spectrograms of the first items, at most four")
      ->option_text("FILE.svg|png");
  app.footer(
      "Items have levels from -30 to -12 dB below full scale and differ in speaker, tempo, key, instruments and "
      "noise.\n"
      "Recorded sound may be used beside it: on Debian and Ubuntu the package alsa-utils brings a few spoken words in\n"
      "/usr/share/sounds/alsa/*.wav (48 kHz), asterisk-core-sounds-en-wav many (8 kHz). Nothing depends on them.\n\n"
      "Exit code: 0 done, 1 a file could not be written, 2 wrong arguments.\n\n"
      "Example: synthesise_audio --kind speech --items 500 --seed 1 --output speech/ --picture speech.png");
  return run_program(app, "synthesise_audio", argc, argv, [&] { return run(arguments); });
}
