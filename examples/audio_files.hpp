#pragma once
// What encode_audio and decode_audio share: waves of a codec's channels, and the streams between them.

#include <cstdio>
#include <string>
#include <vector>

#include <kolmo/io/wav.hpp>
#include <kolmo/rvq/codec_file.hpp>
#include <kolmo/rvq/resample.hpp>

#include "rvq_files.hpp"

namespace codec_program {

using namespace kolmo;
using V = Tensor<float, Cpu>;
using Codec = rvq::Codec<V>;

/// Samples of all channels at one time stand together in networks, [1, samples, channels] or, of one, [1, samples].
inline V interleaved(const io::Wave& wave, index_t first, index_t count) {
  std::vector<float> values(static_cast<std::size_t>(count * wave.channels));
  for (index_t c = 0; c < wave.channels; ++c) {
    const auto channel = wave.channel(c);
    for (index_t i = 0; i < count; ++i)
      values[static_cast<std::size_t>(i * wave.channels + c)] = channel[static_cast<std::size_t>(first + i)];
  }
  return V::from(std::span<const float>(values), wave.channels == 1 ? Shape{1, count} : Shape{1, count, wave.channels});
}

/// The other way: samples [1, n] or [1, n, channels], appended channel by channel.
class WaveBuilder {
 public:
  explicit WaveBuilder(index_t channels) : channels_(static_cast<std::size_t>(channels)) {}
  void add(const V& samples) {
    const std::vector<float> values = samples.to_vector();
    for (std::size_t i = 0; i < values.size(); ++i) channels_[i % channels_.size()].push_back(values[i]);
  }
  /// Cut to `samples` of each channel.
  io::Wave wave(index_t rate, index_t samples) const {
    io::Wave result{rate, static_cast<index_t>(channels_.size()), {}};
    for (const auto& channel : channels_)
      result.samples.insert(
          result.samples.end(), channel.begin(),
          channel.begin() + static_cast<std::ptrdiff_t>(std::min(channel.size(), static_cast<std::size_t>(samples))));
    return result;
  }

 private:
  std::vector<std::vector<float>> channels_;
};

/// A file as the codec takes it, at the codec's rate. Throws ArgumentError for another rate that is not to be converted,
/// and for channels that are neither those of the codec nor to be mixed into its one.
inline io::Wave load_for(const Codec& codec, const std::string& path, bool resample) {
  io::Wave wave = io::load_wav(path);
  if (static_cast<double>(wave.rate) != codec.sample_rate) {
    if (!resample)
      throw ArgumentError(path + " has " + std::to_string(wave.rate) + " samples a second, the codec was trained for " +
                          io::to_text(codec.sample_rate) + "; convert the file, or give --resample");
    io::Wave converted{static_cast<index_t>(codec.sample_rate), wave.channels, {}};
    for (index_t c = 0; c < wave.channels; ++c) {
      const std::vector<float> channel = rvq::resample(wave.channel(c), wave.rate, converted.rate);
      converted.samples.insert(converted.samples.end(), channel.begin(), channel.end());
    }
    wave = converted;
  }
  if (wave.frames() == 0) throw ArgumentError(path + " has no samples");
  const index_t wanted = codec.options.audio_channels;
  if (wave.channels == wanted) return wave;
  if (wanted != 1)
    throw ArgumentError(path + " has " + std::to_string(wave.channels) + " channels, the codec " +
                        std::to_string(wanted));
  io::Wave mixed{wave.rate, 1, std::vector<float>(static_cast<std::size_t>(wave.frames()), 0.f)};
  for (index_t c = 0; c < wave.channels; ++c)
    for (index_t i = 0; i < wave.frames(); ++i)
      mixed.samples[static_cast<std::size_t>(i)] +=
          wave.channel(c)[static_cast<std::size_t>(i)] / static_cast<float>(wave.channels);
  std::printf("%s: %lld channels are mixed into one\n", path.c_str(), static_cast<long long>(wave.channels));
  return mixed;
}

}  // namespace codec_program
