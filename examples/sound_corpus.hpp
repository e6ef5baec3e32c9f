#pragma once
// The sound that a codec learns from: WAV files of one rate, or synthetic items, all in memory; and crops of it drawn
// by key, so that a training sees the same sound wherever it is resumed.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/io/wav.hpp>

#include "synthetic_audio.hpp"

namespace sound {

using Waves = kolmo::Tensor<float, kolmo::Cpu>;

/// Items of one channel and one rate.
struct Corpus {
  index_t rate = 0;
  std::vector<std::string> names;
  std::vector<std::vector<float>> items;

  index_t size() const { return static_cast<index_t>(items.size()); }
  double seconds() const {
    double sum = 0;
    for (const auto& item : items) sum += static_cast<double>(item.size());
    return rate > 0 ? sum / static_cast<double>(rate) : 0;
  }
  /// Tells one corpus from another.
  std::uint64_t hash() const {
    std::uint64_t result = static_cast<std::uint64_t>(rate);
    for (const auto& item : items)
      result = result * 31 + kolmo::io::hash64(std::as_bytes(std::span<const float>(item)));
    return result;
  }

  /// The last items, at least one and at most all but one, leave this corpus.
  Corpus split_off(double share) {
    const auto wanted = static_cast<index_t>(std::lround(share * static_cast<double>(size())));
    const index_t count = std::max<index_t>(1, std::min(size() - 1, wanted));
    if (size() < 2)
      throw kolmo::ArgumentError("a corpus of " + std::to_string(size()) +
                                 " items cannot be split into one to learn from and one to judge by; give at least 2");
    Corpus rest;
    rest.rate = rate;
    const auto from = static_cast<std::ptrdiff_t>(size() - count);
    rest.names.assign(names.begin() + from, names.end());
    rest.items.assign(items.begin() + from, items.end());
    names.resize(static_cast<std::size_t>(from));
    items.resize(static_cast<std::size_t>(from));
    return rest;
  }
};

inline Corpus synthetic_corpus(const SoundSet& set, index_t count) {
  Corpus corpus;
  corpus.rate = set.rate;
  for (index_t i = 0; i < count; ++i) {
    corpus.names.push_back("item " + std::to_string(i));
    corpus.items.push_back(synthesise(set, i));
  }
  return corpus;
}

/// The mean of the channels of a file.
inline std::vector<float> mono(const kolmo::io::Wave& wave) {
  std::vector<float> result(static_cast<std::size_t>(wave.frames()), 0.f);
  for (index_t c = 0; c < wave.channels; ++c) {
    const auto channel = wave.channel(c);
    for (std::size_t i = 0; i < result.size(); ++i) result[i] += channel[i] / static_cast<float>(wave.channels);
  }
  return result;
}

/// Reads WAV files and all *.wav in folders, in the order of their names. Throws IoError for files that cannot be read,
/// ArgumentError when there is none or when rates differ.
inline Corpus read_corpus(const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    if (!fs::is_directory(path)) {
      files.emplace_back(path);
      continue;
    }
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      std::string ending = entry.path().extension().string();
      for (char& letter : ending) letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
      if (entry.is_regular_file() && ending == ".wav") found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    if (found.empty()) throw kolmo::ArgumentError(path + " holds no .wav file");
    files.insert(files.end(), found.begin(), found.end());
  }
  if (files.empty()) throw kolmo::ArgumentError("no WAV file was given");
  Corpus corpus;
  for (const fs::path& file : files) {
    const kolmo::io::Wave wave = kolmo::io::load_wav(file);
    if (corpus.rate == 0) corpus.rate = wave.rate;
    if (wave.rate != corpus.rate)
      throw kolmo::ArgumentError(file.string() + " has " + std::to_string(wave.rate) + " samples a second, " +
                                 files.front().string() + " " + std::to_string(corpus.rate) +
                                 "; convert them to one rate first");
    if (wave.frames() == 0) throw kolmo::ArgumentError(file.string() + " has no samples");
    corpus.names.push_back(file.string());
    corpus.items.push_back(mono(wave));
  }
  return corpus;
}

inline double root_mean_square(std::span<const float> x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(sum / std::max(1.0, static_cast<double>(x.size())));
}

/// `count` crops of `samples`, [count, samples], at places drawn by key. A crop that is silent (60 dB below full scale)
/// is drawn again, up to ten times, in four of five cases: silence is learned, but seldom. Items that are shorter are
/// followed by zeros.
inline Waves random_crops(const Corpus& corpus, index_t count, index_t samples, Key key) {
  Waves crops = Waves::zeros({count, samples});
  float* to = crops.mutable_data();
  for (index_t i = 0; i < count; ++i, to += samples) {
    const Key own = kolmo::fold_in(key, static_cast<std::uint64_t>(i));
    const bool silence_counts = kolmo::uniform<double>(own, 1000) < 0.2;
    std::span<const float> crop;
    for (std::uint64_t attempt = 0; attempt < 10; ++attempt) {
      const auto& item = corpus.items[static_cast<std::size_t>(kolmo::integer_below(own, 2 * attempt, corpus.size()))];
      const auto length = static_cast<index_t>(item.size());
      const index_t places = std::max<index_t>(1, length - samples + 1);
      const index_t begin = kolmo::integer_below(own, 2 * attempt + 1, places);
      crop = std::span<const float>(item).subspan(static_cast<std::size_t>(begin),
                                                  static_cast<std::size_t>(std::min(samples, length)));
      if (silence_counts || root_mean_square(crop) > 1e-3) break;
    }
    std::copy(crop.begin(), crop.end(), to);
  }
  return crops;
}

}  // namespace sound
