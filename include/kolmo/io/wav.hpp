#pragma once
// WAV files (RIFF/WAVE): PCM of 8, 16, 24 and 32 bits and IEEE floats of 32 and 64 bits are read, with plain or
// extensible headers and any number of channels; PCM of 16 and 24 bits and 32-bit floats are written.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/number_text.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kolmo::io {

/// Sound: the samples of channel c are samples[c * frames(), (c + 1) * frames()). Full scale is [-1, 1).
struct Wave {
  index_t rate = 0;  ///< frames per second
  index_t channels = 1;
  std::vector<float> samples;

  index_t frames() const { return channels > 0 ? static_cast<index_t>(samples.size()) / channels : 0; }
  std::span<const float> channel(index_t c) const {
    return std::span<const float>(samples).subspan(static_cast<std::size_t>(c * frames()),
                                                   static_cast<std::size_t>(frames()));
  }
  friend bool operator==(const Wave&, const Wave&) = default;
};

/// How samples are written.
enum class WavEncoding {
  pcm16,   ///< rounded to multiples of 2^-15; what lies outside is clipped
  pcm24,   ///< rounded to multiples of 2^-23; what lies outside is clipped
  float32  ///< exactly
};

/// The bytes of a WAV file, and what writing has changed.
struct WavBytes {
  std::string bytes;
  index_t clipped = 0;  ///< samples that were cut to the range of the encoding
};

namespace detail {

inline constexpr std::uint16_t wav_pcm = 1, wav_float = 3, wav_extensible = 0xfffe;

/// The 14 bytes after the format code in the identifier of an extensible header.
inline constexpr std::string_view wav_identifier{"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71", 14};

struct WavFormat {
  std::uint16_t code = 0, channels = 0, block = 0, bits = 0;
  std::uint32_t rate = 0;
};

/// Reads the chunks of a file.
class WavReader {
 public:
  WavReader(std::span<const std::byte> bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  Wave read() {
    if (bytes_.size() < 12) throw failure(0, "a WAV file has at least 44 bytes, this has " + size_text());
    if (text(0, 4) == "RF64" || text(0, 4) == "RIFX")
      throw failure(0, "files of the form " + std::string(text(0, 4)) + " are not read, only RIFF");
    if (text(0, 4) != "RIFF" || text(8, 4) != "WAVE") throw failure(0, "it does not begin with RIFF and WAVE");
    const std::uint64_t end = std::uint64_t{8} + at<std::uint32_t>(4);
    if (end != bytes_.size())
      throw failure(4, "the header tells " + std::to_string(end) + " bytes, the file has " + size_text());
    bool has_format = false, has_data = false;
    Wave wave;
    for (std::size_t place = 12; place < bytes_.size();) {
      if (bytes_.size() - place < 8) throw failure(place, "a chunk is cut off");
      const std::string_view name = text(place, 4);
      const std::size_t size = at<std::uint32_t>(place + 4), begin = place + 8;
      if (size > bytes_.size() - begin)
        throw failure(place, "chunk " + in_quotes(name) + " of " + std::to_string(size) + " bytes is cut off");
      if (name == "fmt ") {
        if (has_format) throw failure(place, "there are two chunks 'fmt '");
        has_format = true;
        read_format(begin, size);
      } else if (name == "data") {
        if (!has_format) throw failure(place, "chunk 'data' comes before chunk 'fmt '");
        if (has_data) throw failure(place, "there are two chunks 'data'");
        has_data = true;
        wave = read_samples(begin, size);
      }
      place = begin + size;
      // Chunks begin at even places; the last may lack its filling byte.
      if (size % 2 != 0 && place < bytes_.size()) ++place;
    }
    if (!has_data) throw failure(bytes_.size(), std::string("there is no chunk ") + (has_format ? "'data'" : "'fmt '"));
    return wave;
  }

 private:
  void read_format(std::size_t begin, std::size_t size) {
    if (size < 16) throw failure(begin, "chunk 'fmt ' has at least 16 bytes, this has " + std::to_string(size));
    format_ = {at<std::uint16_t>(begin), at<std::uint16_t>(begin + 2), at<std::uint16_t>(begin + 12),
               at<std::uint16_t>(begin + 14), at<std::uint32_t>(begin + 4)};
    if (format_.code == wav_extensible) {
      if (size < 40 || at<std::uint16_t>(begin + 16) < 22)
        throw failure(begin, "an extensible chunk 'fmt ' has at least 40 bytes, this has " + std::to_string(size));
      if (text(begin + 26, 14) != wav_identifier) throw failure(begin + 24, "the sample format is not a known one");
      if (const auto valid = at<std::uint16_t>(begin + 18); valid > format_.bits)
        throw failure(begin + 18, std::to_string(valid) + " valid bits are told of samples of " +
                                      std::to_string(format_.bits) + " bits");
      format_.code = at<std::uint16_t>(begin + 24);
    }
    const std::uint16_t bits = format_.bits;
    const bool known = format_.code == wav_pcm ? bits == 8 || bits == 16 || bits == 24 || bits == 32
                                               : format_.code == wav_float && (bits == 32 || bits == 64);
    if (!known)
      throw failure(begin, "samples of format " + std::to_string(format_.code) + " with " + std::to_string(bits) +
                               " bits are not read; PCM (format 1) of 8, 16, 24 or 32 bits and floats (format 3) of 32 "
                               "or 64 bits are");
    if (format_.channels == 0) throw failure(begin + 2, "there are no channels");
    if (format_.rate == 0) throw failure(begin + 4, "the sample rate is 0");
    const std::uint64_t block = std::uint64_t{format_.channels} * (bits / 8u);
    if (format_.block != block)
      throw failure(begin + 12, "a frame of " + std::to_string(format_.channels) + " samples of " +
                                    std::to_string(bits) + " bits has " + std::to_string(block) +
                                    " bytes, the header tells " + std::to_string(format_.block));
    if (at<std::uint32_t>(begin + 8) != static_cast<std::uint32_t>(block * format_.rate))
      throw failure(begin + 8, std::to_string(format_.rate) + " frames of " + std::to_string(block) +
                                   " bytes a second are " + std::to_string(block * format_.rate) +
                                   " bytes, the header tells " + std::to_string(at<std::uint32_t>(begin + 8)));
  }

  Wave read_samples(std::size_t begin, std::size_t size) const {
    if (size % format_.block != 0)
      throw failure(begin, std::to_string(size) + " bytes are no whole number of frames of " +
                               std::to_string(format_.block) + " bytes");
    Wave wave;
    wave.rate = format_.rate;
    wave.channels = format_.channels;
    const std::size_t frames = size / format_.block, channels = format_.channels, width = format_.bits / 8u;
    wave.samples.resize(frames * channels);
    for (std::size_t frame = 0; frame < frames; ++frame) {
      for (std::size_t c = 0; c < channels; ++c) {
        const std::size_t place = begin + frame * format_.block + c * width;
        const float value = format_.code == wav_pcm ? pcm_sample(place) : float_sample(place);
        if (!is_finite(value))
          throw failure(place, "frame " + std::to_string(frame) + " of channel " + std::to_string(c) +
                                   " is no finite float; repair the file first");
        wave.samples[c * frames + frame] = value;
      }
    }
    return wave;
  }

  float pcm_sample(std::size_t place) const {
    switch (format_.bits) {
      case 8:
        return static_cast<float>(static_cast<int>(at<std::uint8_t>(place)) - 128) * 0x1p-7f;
      case 16:
        return static_cast<float>(at<std::int16_t>(place)) * 0x1p-15f;
      case 24: {
        const int high = at<std::int8_t>(place + 2), low = at<std::uint16_t>(place);
        return static_cast<float>(high * 65536 + low) * 0x1p-23f;
      }
      default:
        return static_cast<float>(at<std::int32_t>(place)) * 0x1p-31f;
    }
  }

  float float_sample(std::size_t place) const {
    if (format_.bits == 32) return at<float>(place);
    const double value = at<double>(place);
    // The conversion of a double that no float is near to is undefined.
    if (is_finite(value) && std::abs(value) >= 0x1.ffffffp127)
      throw failure(place, "a sample of " + to_text(value, 3) + " is too large for a float");
    return static_cast<float>(value);
  }

  template <class T>
  T at(std::size_t place) const {
    return load_unaligned<T>(bytes_.data() + place);
  }
  std::string_view text(std::size_t place, std::size_t count) const { return as_text(bytes_.subspan(place, count)); }
  std::string size_text() const { return std::to_string(bytes_.size()); }
  IoError failure(std::size_t place, const std::string& why) const {
    return IoError(source_ + ", byte " + std::to_string(place) + ": " + why);
  }

  std::span<const std::byte> bytes_;
  const std::string& source_;
  WavFormat format_;
};

/// The multiple of 2^-(bits-1) nearest to x, as an integer of `bits` bits; counts those that had to be clipped.
inline std::int32_t pcm_value(float x, int bits, index_t& clipped) {
  const double scale = std::ldexp(1.0, bits - 1);
  const double rounded = std::round(static_cast<double>(x) * scale);
  if (rounded >= scale || rounded < -scale) {
    ++clipped;
    return static_cast<std::int32_t>(rounded < 0 ? -scale : scale - 1);
  }
  return static_cast<std::int32_t>(rounded);
}

}  // namespace detail

/// The sound in the bytes of a WAV file. 24-bit PCM and narrower is exact; 32-bit PCM and 64-bit floats are rounded to
/// float. Chunks other than the format and the samples are skipped. Throws IoError with `source`, the place and the
/// rule that is broken for anything else than one whole well-formed file of finite samples.
inline Wave parse_wav(std::span<const std::byte> bytes, const std::string& source = "WAV data") {
  return detail::WavReader(bytes, source).read();
}

/// The bytes of a WAV file. Throws ArgumentError for a rate or a number of channels that the format cannot hold, for
/// samples that are not finite, and above 4 GiB; ShapeError when the samples do not fill the channels.
inline WavBytes to_wav(const Wave& wave, WavEncoding encoding = WavEncoding::pcm16) {
  const std::uint64_t width = encoding == WavEncoding::pcm16 ? 2 : encoding == WavEncoding::pcm24 ? 3 : 4;
  if (wave.channels < 1 || wave.channels > 65535 / static_cast<index_t>(width))
    throw ArgumentError("a WAV file has 1 to " + std::to_string(65535 / width) + " channels of " +
                        std::to_string(width) + " bytes, given " + std::to_string(wave.channels));
  const std::uint64_t block = static_cast<std::uint64_t>(wave.channels) * width;
  if (wave.rate < 1 || static_cast<std::uint64_t>(wave.rate) > 0xffffffffu / block)
    throw ArgumentError("a WAV file of " + std::to_string(wave.channels) + " channels has 1 to " +
                        std::to_string(0xffffffffu / block) + " frames a second, given " + std::to_string(wave.rate));
  if (wave.samples.size() % static_cast<std::size_t>(wave.channels) != 0)
    throw ShapeError(std::to_string(wave.samples.size()) + " samples do not fill " + std::to_string(wave.channels) +
                     " channels evenly");
  // Players expect the extensible header for more than two channels; a format that is not PCM carries its size.
  const bool extensible = wave.channels > 2, plain = !extensible && encoding != WavEncoding::float32;
  const std::uint64_t format_size = extensible ? 40 : plain ? 16 : 18, fact_size = plain ? 0 : 12;
  const auto frames = static_cast<std::uint64_t>(wave.frames()), size = frames * block;
  const std::uint64_t total = 4 + 8 + format_size + fact_size + 8 + size + size % 2;
  if (total > 0xffffffffu)
    throw ArgumentError("a WAV file has less than 4 GiB; " + std::to_string(frames) + " frames of " +
                        std::to_string(block) + " bytes do not fit");
  WavBytes result;
  std::string& out = result.bytes;
  out.reserve(static_cast<std::size_t>(total + 8));
  const auto put16 = [&](std::uint64_t value) { detail::append_little_endian(out, static_cast<std::uint16_t>(value)); };
  const auto put32 = [&](std::uint64_t value) { detail::append_little_endian(out, static_cast<std::uint32_t>(value)); };
  const std::uint16_t code = encoding == WavEncoding::float32 ? detail::wav_float : detail::wav_pcm;
  out += "RIFF";
  put32(total);
  out += "WAVEfmt ";
  put32(format_size);
  put16(extensible ? detail::wav_extensible : code);
  put16(static_cast<std::uint64_t>(wave.channels));
  put32(static_cast<std::uint64_t>(wave.rate));
  put32(static_cast<std::uint64_t>(wave.rate) * block);
  put16(block);
  put16(8 * width);
  if (!plain) put16(extensible ? 22 : 0);
  if (extensible) {
    put16(8 * width);
    put32(0);  // which loudspeakers is left open
    put16(code);
    out += detail::wav_identifier;
  }
  if (!plain) {
    out += "fact";
    put32(4);
    put32(frames);
  }
  out += "data";
  put32(size);
  for (index_t frame = 0; frame < wave.frames(); ++frame) {
    for (index_t c = 0; c < wave.channels; ++c) {
      const float value = wave.samples[static_cast<std::size_t>(c * wave.frames() + frame)];
      if (!detail::is_finite(value))
        throw ArgumentError("frame " + std::to_string(frame) + " of channel " + std::to_string(c) +
                            " is not finite; a WAV file holds finite samples");
      if (encoding == WavEncoding::float32) {
        put32(std::bit_cast<std::uint32_t>(value));
        continue;
      }
      const auto pcm =
          static_cast<std::uint32_t>(detail::pcm_value(value, static_cast<int>(8 * width), result.clipped));
      for (std::uint64_t b = 0; b < width; ++b) out += static_cast<char>((pcm >> (8 * b)) & 0xff);
    }
  }
  if (size % 2 != 0) out += '\0';
  return result;
}

/// Reads a file of at most 4 GiB. Throws IoError as parse_wav.
inline Wave load_wav(const std::filesystem::path& path) {
  return parse_wav(read_file(path, (std::uint64_t{1} << 32) + 8), path.string());
}

/// Writes a file atomically; returns how many samples were clipped. Throws as to_wav, and IoError.
template <class Calls = SystemCalls>
index_t save_wav(const std::filesystem::path& path, const Wave& wave, WavEncoding encoding = WavEncoding::pcm16) {
  const WavBytes file = to_wav(wave, encoding);
  write_atomically<Calls>(path, file.bytes);
  return file.clipped;
}

}  // namespace kolmo::io
