#pragma once
// How well a codec does on sound that it never saw: distances of spectra, the ratio of signal to error and the level,
// for every number of stages, beside the rate.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/io/csv.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/rvq/codec.hpp>
#include <kolmo/rvq/losses/mel_losses.hpp>
#include <kolmo/rvq/losses/stft_losses.hpp>
#include <kolmo/rvq/losses/wave_losses.hpp>

#include "sound_corpus.hpp"
#include "spectrogram.hpp"

namespace codec_program {

using namespace kolmo;
using V = Tensor<float, Cpu>;
using Codec = rvq::Codec<V>;

/// Means over items for one number of stages.
struct CodecScore {
  index_t stages = 0;
  double kilobits = 0;            ///< a second
  double mel = 0;                 ///< DAC's mel distance
  double stft = 0;                ///< DAC's distance of spectra
  double si_sdr = 0;              ///< dB
  double level = 0;               ///< of the output over that of the input, dB
  double offset = 0;              ///< largest |mean| of an output over its root mean square
  double clipped = 0;             ///< share of samples outside [-1, 1]
  double perplexity = 0;          ///< of the last of the stages, over all items
  double bitrate_efficiency = 0;  ///< entropy of the codes over their bits
};

inline V wave_of(std::span<const float> samples) { return V::from(samples, {1, static_cast<index_t>(samples.size())}); }

/// The decoded wave by the first `stages` stages of its codes.
inline std::vector<float> decoded(const Codec& codec, const rvq::EncodedWave<V>& encoded, index_t stages) {
  return rvq::decode(codec, encoded.codes, encoded.samples, stages).to_vector();
}

/// 1, 2, 4, ... and all of `stages`.
inline std::vector<index_t> stage_choices(index_t stages) {
  std::vector<index_t> result;
  for (index_t a = 1; a < stages; a *= 2) result.push_back(a);
  result.push_back(stages);
  return result;
}

/// Scores over the first `items` items of a corpus, each cut to `seconds`, by the stages that are trained. Items that
/// are too short for the distances are left out. Throws ArgumentError when none is left.
inline std::vector<CodecScore> evaluate_codec(const Codec& codec, const sound::Corpus& corpus, index_t items,
                                              double seconds) {
  const index_t trained = rvq::trained_stages(codec.quantizer);
  const std::vector<index_t> choices = stage_choices(trained);
  std::vector<CodecScore> scores(choices.size());
  std::vector<std::vector<double>> hits;
  for (const index_t codes : codec.quantizer.code_counts()) hits.emplace_back(static_cast<std::size_t>(codes), 0.0);
  index_t used = 0;
  double level_count = 0;
  std::vector<double> ratios(choices.size(), 0.0), ratio_counts(choices.size(), 0.0);
  for (index_t i = 0; i < smaller(items, corpus.size()); ++i) {
    std::span<const float> samples = corpus.items[static_cast<std::size_t>(i)];
    samples =
        samples.first(std::min(samples.size(), static_cast<std::size_t>(seconds * static_cast<double>(corpus.rate))));
    if (samples.size() < 2048) continue;
    ++used;
    const V wave = wave_of(samples);
    const double level_in = sound::root_mean_square(samples);
    if (level_in > 1e-4) ++level_count;
    const auto encoded = rvq::encode(codec, wave);
    const std::vector<rvq::Code> codes = encoded.codes.to_vector();
    for (std::size_t k = 0; k < codes.size(); ++k)
      hits[k % static_cast<std::size_t>(encoded.stages.used)][static_cast<std::size_t>(codes[k])] += 1;
    for (std::size_t s = 0; s < choices.size(); ++s) {
      CodecScore& score = scores[s];
      const std::vector<float> result = decoded(codec, encoded, choices[s]);
      const V output = wave_of(result);
      score.mel += rvq::mel_distance(wave, output, codec.sample_rate);
      score.stft += rvq::stft_distance(wave, output);
      const double ratio = rvq::si_sdr(wave, output);
      if (ratio == ratio) {
        ratios[s] += ratio;
        ratio_counts[s] += 1;
      }
      double sum = 0;
      for (const float x : result) {
        sum += static_cast<double>(x);
        if (!(std::abs(x) <= 1)) score.clipped += 1.0 / static_cast<double>(result.size());
      }
      const double level_out = sound::root_mean_square(result);
      // The level of silence has no decibels.
      if (level_in > 1e-4) {
        score.level += 20 * std::log10((level_out + 1e-9) / level_in);
        score.offset = std::max(score.offset, std::abs(sum / static_cast<double>(result.size())) / (level_out + 1e-9));
      }
    }
  }
  if (used == 0) throw ArgumentError("no item of the held-out sound has 2048 samples; give longer ones");
  double entropy = 0, bits = 0;
  std::size_t done = 0;
  for (std::size_t s = 0; s < choices.size(); ++s) {
    CodecScore& score = scores[s];
    const double count = static_cast<double>(used);
    score.stages = choices[s];
    score.kilobits = rvq::bit_rate(codec, choices[s]) / 1000;
    score.mel /= count;
    score.stft /= count;
    score.clipped /= count;
    score.si_sdr = ratio_counts[s] > 0 ? ratios[s] / ratio_counts[s] : std::numeric_limits<double>::quiet_NaN();
    score.level = level_count > 0 ? score.level / level_count : std::numeric_limits<double>::quiet_NaN();
    double last = 0;
    for (; done < static_cast<std::size_t>(choices[s]); ++done) {
      double total = 0;
      for (const double h : hits[done]) total += h;
      last = 0;
      for (const double h : hits[done])
        if (h > 0) last -= h / total * std::log2(h / total);
      entropy += last;
      bits += std::log2(static_cast<double>(hits[done].size()));
    }
    score.perplexity = std::exp2(last);
    score.bitrate_efficiency = entropy / bits;
  }
  return scores;
}

inline const std::vector<std::string>& score_columns() {
  static const std::vector<std::string> names{
      "stages",  "kilobits_per_second", "mel_distance",      "stft_distance", "si_sdr_db", "level_db", "offset",
      "clipped", "perplexity",          "bitrate_efficiency"};
  return names;
}

inline void write_scores(const std::filesystem::path& path, const std::vector<CodecScore>& scores) {
  io::CsvWriter table;
  table.row(score_columns());
  for (const CodecScore& s : scores)
    table.number(s.stages)
        .number(s.kilobits)
        .number(s.mel)
        .number(s.stft)
        .number(s.si_sdr)
        .number(s.level)
        .number(s.offset)
        .number(s.clipped)
        .number(s.perplexity)
        .number(s.bitrate_efficiency)
        .end_row();
  io::write_atomically(path, table.str());
}

inline void print_scores(const std::vector<CodecScore>& scores) {
  std::printf("stages  kbit/s     mel    STFT  SI-SDR dB  level dB  perplexity\n");
  for (const CodecScore& s : scores)
    std::printf("%6lld  %6.2f  %6.3f  %6.3f  %9.2f  %8.2f  %10.1f\n", static_cast<long long>(s.stages), s.kilobits,
                s.mel, s.stft, s.si_sdr, s.level, s.perplexity);
}

/// Spectrograms of a sound and of what is decoded from 1, 2, 4, ... stages of its codes.
inline void draw_decoded(const Codec& codec, std::span<const float> samples, const std::filesystem::path& path) {
  std::vector<std::pair<std::string, std::vector<float>>> sounds{
      {"original", std::vector<float>(samples.begin(), samples.end())}};
  const auto encoded = rvq::encode(codec, wave_of(samples));
  for (const index_t stages : stage_choices(encoded.stages.used)) {
    char title[64];
    std::snprintf(title, sizeof title, "%lld stage%s, %.2f kbit/s", static_cast<long long>(stages),
                  stages > 1 ? "s" : "", rvq::bit_rate(codec, stages) / 1000);
    sounds.emplace_back(title, decoded(codec, encoded, stages));
  }
  io::save_picture(path, sound::draw_spectrograms(sounds, static_cast<index_t>(codec.sample_rate)), 1);
}

}  // namespace codec_program
