// WAV files: samples of known bytes, headers of every kind, what is written is read again, and malformed files.

#include <kolmo/io/wav.hpp>

#include <bit>
#include <limits>

#include "catch.hpp"
#include "io_support.hpp"

namespace {

using kolmo::index_t;
using kolmo::io::Wave;
using kolmo::io::WavEncoding;
using kolmo::io::test::error_of;
using kolmo_test::contains;
namespace io = kolmo::io;

std::string u16(unsigned value) {
  std::string out;
  io::detail::append_little_endian(out, static_cast<std::uint16_t>(value));
  return out;
}
std::string u32(std::uint64_t value) {
  std::string out;
  io::detail::append_little_endian(out, static_cast<std::uint32_t>(value));
  return out;
}

std::string chunk(const std::string& name, const std::string& content) {
  return name + u32(content.size()) + content + std::string(content.size() % 2, '\0');
}

std::string format(unsigned code, unsigned channels, unsigned rate, unsigned bits) {
  const unsigned block = channels * bits / 8;
  return u16(code) + u16(channels) + u32(rate) + u32(std::uint64_t{rate} * block) + u16(block) + u16(bits);
}

std::string file_of(const std::string& chunks) { return "RIFF" + u32(4 + chunks.size()) + "WAVE" + chunks; }

std::string file_of(unsigned code, unsigned channels, unsigned bits, const std::string& data) {
  return file_of(chunk("fmt ", format(code, channels, 8000, bits)) + chunk("data", data));
}

Wave parse(const std::string& bytes) { return io::parse_wav(io::detail::as_bytes(bytes), "x.wav"); }

std::string problem_of(const std::string& bytes) {
  return error_of([&] { parse(bytes); });
}

template <class T>
std::string raw(std::initializer_list<T> values) {
  std::string out;
  for (const T v : values) out.append(reinterpret_cast<const char*>(&v), sizeof v);
  return out;
}

using Samples = std::vector<float>;

}  // namespace

TEST_CASE("Samples of every width are read as multiples of the full scale") {
  CHECK(parse(file_of(1, 1, 8, std::string("\x00\x80\xff\x81", 4))).samples ==
        Samples{-1.0f, 0.0f, 127.0f / 128, 1.0f / 128});
  CHECK(parse(file_of(1, 1, 16, std::string("\x00\x80\x00\x00\xff\x7f\x01\x00\xff\xff", 10))).samples ==
        Samples{-1.0f, 0.0f, 32767.0f / 32768, 1.0f / 32768, -1.0f / 32768});
  CHECK(parse(file_of(1, 1, 24, std::string("\x00\x00\x80\xff\xff\x7f\xff\xff\xff\x00\x01\x00", 12))).samples ==
        Samples{-1.0f, 8388607.0f / 8388608, -1.0f / 8388608, 1.0f / 32768});
  CHECK(parse(file_of(1, 1, 32, std::string("\x00\x00\x00\x80\x00\x00\x00\x40", 8))).samples == Samples{-1.0f, 0.5f});
  CHECK(parse(file_of(3, 1, 32, raw<float>({0.1f, -3.5f}))).samples == Samples{0.1f, -3.5f});
  CHECK(parse(file_of(3, 1, 64, raw<double>({0.1, -3.5}))).samples == Samples{0.1f, -3.5f});
}

TEST_CASE("Frames are taken apart into channels") {
  const Wave wave = parse(file_of(1, 3, 8, std::string("\x80\x90\xa0\x00\x10\x20", 6)));
  CHECK(wave.channels == 3);
  CHECK(wave.rate == 8000);
  CHECK(wave.frames() == 2);
  const auto second = wave.channel(1);
  CHECK(Samples(second.begin(), second.end()) == Samples{0.125f, -0.875f});
}

TEST_CASE("An extensible header gives the format in its identifier") {
  const auto extensible = [](unsigned valid, const std::string& identifier) {
    return file_of(chunk("fmt ", format(0xfffe, 1, 8000, 16) + u16(22) + u16(valid) + u32(4) + identifier) +
                   chunk("data", std::string("\x00\x40", 2)));
  };
  const std::string known = u16(1) + std::string(io::detail::wav_identifier);
  CHECK(parse(extensible(16, known)).samples == Samples{0.5f});
  CHECK(parse(extensible(12, known)).samples == Samples{0.5f});
  CHECK_THAT(problem_of(extensible(17, known)), contains("17 valid bits"));
  CHECK_THAT(problem_of(extensible(16, std::string(16, 'x'))), contains("not a known one"));
  CHECK_THAT(problem_of(file_of(chunk("fmt ", format(0xfffe, 1, 8000, 16)) + chunk("data", ""))),
             contains("at least 40 bytes, this has 16"));
}

TEST_CASE("Other chunks are skipped with their filling byte") {
  const std::string data = chunk("data", std::string("\xc0", 1));
  const Wave wave =
      parse(file_of(chunk("LIST", "abc") + chunk("fmt ", format(1, 1, 8000, 8)) + data + chunk("x   ", "")));
  CHECK(wave.samples == Samples{0.5f});
  // Some writers leave out the last one.
  const std::string whole = file_of(chunk("fmt ", format(1, 1, 8000, 8)) + data.substr(0, data.size() - 1));
  CHECK(parse(whole).samples == Samples{0.5f});
}

TEST_CASE("What is written is read again") {
  Wave wave{22050, 1, {0.0f, -1.0f, 0.5f, 12345.0f / 32768, -1.0f / 32768}};
  for (const index_t channels : {1, 5}) {
    wave.channels = channels;
    for (const auto encoding : {WavEncoding::pcm16, WavEncoding::pcm24, WavEncoding::float32}) {
      const auto file = io::to_wav(wave, encoding);
      CHECK(file.clipped == 0);
      CHECK(parse(file.bytes) == wave);
    }
  }
  wave.samples.clear();
  CHECK(parse(io::to_wav(wave).bytes) == wave);
}

TEST_CASE("A 16-bit file has the bytes of the format") {
  const std::string expected =
      file_of(chunk("fmt ", format(1, 2, 8000, 16)) + chunk("data", u16(0x4000) + u16(0xc000)));
  CHECK(io::to_wav({8000, 2, {0.5f, -0.5f}}).bytes == expected);
  // An odd number of bytes is filled up, as the format asks, and the size of the samples does not count the filling.
  const std::string odd = io::to_wav({8000, 1, {0.5f}}, WavEncoding::pcm24).bytes;
  CHECK(odd == file_of(chunk("fmt ", format(1, 1, 8000, 24)) + chunk("data", std::string("\x00\x00\x40", 3))));
}

TEST_CASE("Samples are rounded to the nearest value, and those outside are clipped and counted") {
  const auto file = io::to_wav({8000, 1, {0.4f / 32768, 0.6f / 32768, -0.6f / 32768, 1.0f, -1.0f, 7.0f, -1e30f}});
  CHECK(file.clipped == 3);
  CHECK(parse(file.bytes).samples ==
        Samples{0.0f, 1.0f / 32768, -1.0f / 32768, 32767.0f / 32768, -1.0f, 32767.0f / 32768, -1.0f});
  CHECK(io::to_wav({8000, 1, {1.0f, -7.0f}}, WavEncoding::pcm24).clipped == 2);
  CHECK(io::to_wav({8000, 1, {1.0f, -7.0f}}, WavEncoding::float32).clipped == 0);
}

TEST_CASE("A file is saved and loaded") {
  const io::test::TemporaryDirectory folder;
  const Wave wave{16000, 2, {0.25f, -0.25f, 2.0f, 0.0f}};
  CHECK(io::save_wav(folder / "a.wav", wave, WavEncoding::float32) == 0);
  CHECK(io::load_wav(folder / "a.wav") == wave);
  CHECK(io::save_wav(folder / "a.wav", wave) == 1);
  CHECK_THAT(error_of([&] { io::load_wav(folder / "b.wav"); }), contains("b.wav"));
}

TEST_CASE("Samples that are not finite are refused in both directions") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  CHECK_THAT(problem_of(file_of(3, 2, 32, raw<float>({0, 0, 0, nan}))), contains("frame 1 of channel 1"));
  CHECK_THAT(problem_of(file_of(3, 1, 32, raw<float>({infinity}))), contains("frame 0 of channel 0"));
  CHECK_THAT(problem_of(file_of(3, 1, 64, raw<double>({-std::numeric_limits<double>::infinity()}))),
             contains("no finite float"));
  CHECK_THAT(problem_of(file_of(3, 1, 64, raw<double>({-1e300}))), contains("too large for a float"));
  CHECK_THROWS_AS(io::to_wav({8000, 1, {nan}}), kolmo::ArgumentError);
  CHECK_THROWS_AS(io::to_wav({8000, 1, {infinity}}, WavEncoding::float32), kolmo::ArgumentError);
}

TEST_CASE("A malformed file is refused with the place and the rule") {
  const std::string good = file_of(1, 1, 16, "abcd"), header = chunk("fmt ", format(1, 1, 8000, 16));
  REQUIRE(problem_of(good) == "no error");
  CHECK_THAT(problem_of("RIFF"), contains("x.wav, byte 0: a WAV file has at least 44 bytes, this has 4"));
  CHECK_THAT(problem_of("RF64" + good.substr(4)), contains("RF64 are not read"));
  CHECK_THAT(problem_of("RIFX" + good.substr(4)), contains("RIFX are not read"));
  CHECK_THAT(problem_of("OggS" + good.substr(4)), contains("does not begin with RIFF and WAVE"));
  CHECK_THAT(problem_of(good.substr(0, good.size() - 1)), contains("the header tells 48 bytes, the file has 47"));
  CHECK_THAT(problem_of(good + "x"), contains("the header tells 48 bytes, the file has 49"));
  CHECK_THAT(problem_of(file_of(header + "data")), contains("a chunk is cut off"));
  CHECK_THAT(problem_of(file_of(header + "data" + u32(5) + "abcd")), contains("'data' of 5 bytes is cut off"));
  CHECK_THAT(problem_of(file_of(header)), contains("there is no chunk 'data'"));
  CHECK_THAT(problem_of(file_of("")), contains("there is no chunk 'fmt '"));
  CHECK_THAT(problem_of(file_of(chunk("data", ""))), contains("'data' comes before"));
  CHECK_THAT(problem_of(file_of(header + header)), contains("two chunks 'fmt '"));
  CHECK_THAT(problem_of(file_of(header + chunk("data", "") + chunk("data", ""))), contains("two chunks 'data'"));
  CHECK_THAT(problem_of(file_of(chunk("fmt ", "abc"))), contains("at least 16 bytes, this has 3"));
  CHECK_THAT(problem_of(file_of(1, 1, 16, "abc")), contains("3 bytes are no whole number of frames of 2 bytes"));
  CHECK_THAT(problem_of(file_of(1, 1, 12, "")), contains("format 1 with 12 bits"));
  CHECK_THAT(problem_of(file_of(3, 1, 16, "")), contains("format 3 with 16 bits"));
  CHECK_THAT(problem_of(file_of(7, 1, 8, "")), contains("format 7 with 8 bits are not read"));
  CHECK_THAT(problem_of(file_of(1, 0, 16, "")), contains("no channels"));
  CHECK_THAT(problem_of(file_of(chunk("fmt ", format(1, 1, 0, 16)))), contains("the sample rate is 0"));
  std::string wrong = format(1, 1, 8000, 16);
  wrong[12] = 4;
  CHECK_THAT(problem_of(file_of(chunk("fmt ", wrong))), contains("has 2 bytes, the header tells 4"));
  wrong = format(1, 1, 8000, 16);
  wrong[8] = 1;
  CHECK_THAT(problem_of(file_of(chunk("fmt ", wrong))), contains("are 16000 bytes"));
}

TEST_CASE("What no WAV file can hold is refused") {
  CHECK_THAT(error_of([] { io::to_wav({0, 1, {}}); }), contains("frames a second, given 0"));
  CHECK_THAT(error_of([] { io::to_wav({8000, 0, {}}); }), contains("channels of 2 bytes, given 0"));
  CHECK_THAT(error_of([] { io::to_wav({8000, 40000, {}}); }), contains("given 40000"));
  CHECK_THAT(error_of([] { io::to_wav({index_t{1} << 33, 1, {}}); }), contains("given 8589934592"));
  CHECK_THROWS_AS(io::to_wav({8000, 2, {0, 0, 0}}), kolmo::ShapeError);
}
