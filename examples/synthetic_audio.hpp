#pragma once
// Sets of synthetic sound that need no files: item i of a set is a function of the set's key and i, the same for any
// number of threads and in any order. Speech-like items, music-like ones, or both and speech over music.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/error.hpp>

#include "synthetic_music.hpp"
#include "synthetic_speech.hpp"

namespace sound {

enum class Kind { speech, music, mixed };

/// The kind of that name; throws ArgumentError for another.
inline Kind kind_of(const std::string& name) {
  if (name == "speech") return Kind::speech;
  if (name == "music") return Kind::music;
  if (name == "mixed") return Kind::mixed;
  throw kolmo::ArgumentError("a kind of sound is speech, music or mixed, given " + name);
}

struct SoundSet {
  Kind kind = Kind::mixed;
  index_t samples = 32000;  ///< of an item
  index_t rate = 16000;     ///< samples a second
  double quietest = -30;    ///< least root mean square of an item, dB below full scale
  double loudest = -12;     ///< and the largest; less where the peaks would pass 0.98
  Key key{};
};

/// Item `index` of a set, within (-1, 1). Throws ArgumentError for no samples, a rate below 8000 or above 192000, or
/// levels that are not ordered and below 0.
inline std::vector<float> synthesise(const SoundSet& set, index_t index) {
  if (set.samples < 1)
    throw kolmo::ArgumentError("a sound has at least one sample, given " + std::to_string(set.samples));
  if (set.rate < 8000 || set.rate > 192000)
    throw kolmo::ArgumentError("sound is synthesised with 8000 to 192000 samples a second, given " +
                               std::to_string(set.rate));
  if (!(set.quietest <= set.loudest && set.loudest <= 0))
    throw kolmo::ArgumentError("the levels of sounds are from a low one to a high one up to 0 dB, given " +
                               std::to_string(set.quietest) + " and " + std::to_string(set.loudest));
  const auto keys = kolmo::split<4>(kolmo::fold_in(set.key, static_cast<std::uint64_t>(index)));
  Draws draws(keys.elements[0]), noise(keys.elements[1]);
  const auto rate = static_cast<double>(set.rate);
  const double part = draws.uniform(0, 1);
  const bool voice = set.kind == Kind::speech || (set.kind == Kind::mixed && part < 0.65);
  const bool band = set.kind == Kind::music || (set.kind == Kind::mixed && part >= 0.45);
  std::vector<double> x(static_cast<std::size_t>(set.samples));
  const auto add = [&](const std::vector<double>& y, double size) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += size * y[i];
  };
  if (voice) add(speech(set.samples, rate, keys.elements[2]), 1);
  if (band) add(music(set.samples, rate, keys.elements[3]), voice ? from_decibels(draws.uniform(-16, -6)) : 1);
  // Half of all recordings have a noise floor.
  if (draws.chance(0.5)) {
    const double floor = from_decibels(draws.uniform(-70, -45));
    for (double& v : x) v += floor * noise.noise();
  }
  set_level(x, from_decibels(draws.uniform(set.quietest, set.loudest)));
  double peak = 0;
  for (const double v : x) peak = std::max(peak, std::abs(v));
  const double scale = peak > 0.98 ? 0.98 / peak : 1;
  std::vector<float> result(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) result[i] = static_cast<float>(scale * x[i]);
  return result;
}

/// Items [first, first + count) as rows: [count, samples]. Throws as synthesise, and ArgumentError for count < 0.
inline kolmo::Tensor<float, kolmo::Cpu> synthesise(const SoundSet& set, index_t first, index_t count) {
  if (count < 0) throw kolmo::ArgumentError("a number of sounds cannot be " + std::to_string(count));
  auto rows = kolmo::Tensor<float, kolmo::Cpu>::uninitialized({count, set.samples});
  float* target = rows.mutable_data();
  kolmo::threads::parallel_for(count, [&](index_t i) {
    const std::vector<float> item = synthesise(set, first + i);
    std::copy(item.begin(), item.end(), target + i * set.samples);
  });
  return rows;
}

}  // namespace sound
