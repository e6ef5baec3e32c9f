// The safetensors reader accepts exactly the files that can be read in one way, and the writer produces such files.

#include <cstdint>
#include <cstring>
#include <kolmo/io/safetensors.hpp>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "io_support.hpp"

using namespace kolmo;
using namespace kolmo::io;
using namespace kolmo::io::test;
using Catch::Matchers::Contains;

namespace {

NamedArrays sample() {
  NamedArrays named;
  named.add("bytes", HostArray(std::vector<std::uint8_t>{1, 2, 3}));
  named.add("layer.weight", HostArray(std::vector<float>{1, -2, 3.5f, 4, 5, 6}, {2, 3}));
  named.add("é 重み \"quoted\"", HostArray::scalar(2.25));
  named.add("empty", HostArray(DType::i64, {0, 4}));
  named.add("flags", HostArray(DType::bool_, {2}));
  named.add("half", HostArray(std::vector<Half>{{0x3c00}}));
  named.add("brain", HostArray(std::vector<BFloat16>{BFloat16::from_bits(0x3f80), BFloat16()}));
  named.metadata = {{"format", "pt"}, {"note", "line\nbreak"}};
  return named;
}

/// A file from a header text and a number of data bytes.
std::vector<std::byte> file_of(const std::string& header, std::size_t data) {
  std::string text;
  io::detail::append_little_endian(text, static_cast<std::uint64_t>(header.size()));
  text += header + std::string(data, '\0');
  const auto bytes = io::detail::as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

std::string entry(const std::string& name, const std::string& shape, const std::string& offsets,
                  const std::string& dtype = "F32") {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

}  // namespace

TEST_CASE("arrays of every type, names and texts survive a round trip in their order") {
  const NamedArrays named = sample();
  CHECK(parse_safetensors(to_safetensors(named)) == named);
  CHECK(parse_safetensors(to_safetensors({})) == NamedArrays{});
  TemporaryDirectory dir;
  save_safetensors(dir / "m.safetensors", named);
  CHECK(read_file(dir / "m.safetensors") == to_safetensors(named));
  CHECK(load_safetensors(dir / "m.safetensors") == named);
}

TEST_CASE("the data of each array starts at a multiple of its element size") {
  const auto bytes = to_safetensors(sample());
  const auto header = io::detail::load_unaligned<std::uint64_t>(bytes.data());
  CHECK(header % 8 == 0);
  // The double comes before the floats, halves and bytes.
  double first = 0;
  std::memcpy(&first, bytes.data() + 8 + header, 8);
  CHECK(first == 2.25);
}

TEST_CASE("every truncation and every extension of a file is refused") {
  const auto bytes = to_safetensors(sample());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    INFO(length);
    REQUIRE_THROWS_AS(parse_safetensors(std::span(bytes).first(length)), IoError);
  }
  auto longer = bytes;
  longer.push_back(std::byte{0});
  CHECK_THAT(error_of([&] { parse_safetensors(longer); }), Contains("1 bytes after the last array"));
}

TEST_CASE("a flipped bit in the header is refused or changes what is read, never anything else") {
  const NamedArrays named = sample();
  const auto bytes = to_safetensors(named);
  const std::size_t header = 8 + static_cast<std::size_t>(io::detail::load_unaligned<std::uint64_t>(bytes.data()));
  int accepted = 0;
  for (std::size_t bit = 0; bit < 8 * header; ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    try {
      const NamedArrays read = parse_safetensors(flipped);
      ++accepted;
      CHECK(parse_safetensors(to_safetensors(read)) == read);
    } catch (const IoError&) {
    }
  }
  // Letters of names and texts may change into other letters; the format itself has no checksum.
  CHECK(accepted < static_cast<int>(8 * header) / 2);
}

TEST_CASE("hostile and malformed files are refused with the rule they break") {
  struct Case {
    std::vector<std::byte> bytes;
    std::string message;
  };
  auto huge_length = file_of("{}", 0);
  huge_length[7] = std::byte{0xff};
  auto long_length = file_of("{}", 0);
  long_length[0] = std::byte{3};
  auto above_limit = file_of("{}", 0);
  const std::uint64_t limit = 100'000'001;
  std::memcpy(above_limit.data(), &limit, 8);
  const std::vector<Case> cases = {
      {{}, "at least 8 bytes, found 0"},
      {huge_length, "above 100000000"},
      {above_limit, "above 100000000"},
      {long_length, "exceeds the 2 bytes"},
      {file_of("", 0), "start with '{'"},
      {file_of(" {}", 0), "start with '{'"},
      {file_of("[]", 0), "start with '{'"},
      {file_of("{}\n", 0), "end with '}' and spaces"},
      {file_of(std::string("{}\0", 3), 0), "end with '}' and spaces"},
      {file_of("{} {}", 0), "text after the value"},
      {file_of("{", 0), "must end with '}'"},
      {file_of("{} ", 3), "3 bytes after the last array"},
      {file_of("{" + entry("a", "[1]", "[0,4]") + "," + entry("a", "[1]", "[4,8]") + "}", 8), "'a' appears twice"},
      {file_of("{" + entry("a", "[1]", "[0,4]") + "," + entry("b", "[1]", "[0,4]") + "}", 4), "an overlap"},
      {file_of("{" + entry("a", "[2]", "[0,8]") + "," + entry("b", "[1]", "[4,8]") + "}", 8), "an overlap"},
      {file_of("{" + entry("a", "[1]", "[4,8]") + "}", 8), "a hole"},
      {file_of("{" + entry("a", "[2]", "[0,8]") + "," + entry("z", "[0]", "[4,4]") + "}", 8), "an overlap"},
      {file_of("{" + entry("a", "[1]", "[0,4]") + "}", 3), "leave the buffer of 3 bytes"},
      {file_of("{" + entry("a", "[1]", "[4,0]") + "}", 4), "leave the buffer"},
      {file_of("{" + entry("a", "[2]", "[0,4]") + "}", 4), "span 4 bytes, the shape needs 8"},
      {file_of("{" + entry("a", "[4294967296,4294967296]", "[0,4]") + "}", 4), "size overflows"},
      {file_of("{" + entry("a", "[4611686018427387904]", "[0,0]") + "}", 0), "size overflows"},
      {file_of("{" + entry("a", "[18446744073709551615]", "[0,4]") + "}", 4), "above 2^63 - 1"},
      {file_of("{" + entry("a", "[18446744073709551616]", "[0,4]") + "}", 4), "unsigned integer"},
      {file_of("{" + entry("a", "[-1]", "[0,4]") + "}", 4), "unsigned integer"},
      {file_of("{" + entry("a", "[1.0]", "[0,4]") + "}", 4), "unsigned integer"},
      {file_of("{" + entry("a", "[1e0]", "[0,4]") + "}", 4), "unsigned integer"},
      {file_of("{" + entry("a", "[true]", "[0,4]") + "}", 4), "a digit expected"},
      {file_of("{" + entry("a", "1", "[0,4]") + "}", 4), "'[' expected"},
      {file_of("{" + entry("a", "[1]", "[0]") + "}", 4), "two numbers"},
      {file_of("{" + entry("a", "[1]", "[0,4,8]") + "}", 4), "two numbers"},
      {file_of("{" + entry("a", "[1]", "[0,4]", "F33") + "}", 4), "'F33' is not supported"},
      {file_of("{" + entry("a", "[4]", "[0,4]", "F8_E4M3") + "}", 4), "'F8_E4M3' is not supported"},
      {file_of("{" + entry("a", "[1]", "[0,4]", "f32") + "}", 4), "'f32' is not supported"},
      {file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4), "dtype, shape and data_offsets are needed"},
      {file_of("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
       "'dtype' appears twice"},
      {file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4),
       "unknown field 'more'"},
      {file_of("{\"a\":[]}", 0), "an object expected"},
      {file_of("{\"__metadata__\":{\"a\":1}}", 0), "maps texts to texts"},
      {file_of("{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0), "maps texts to texts"},
      {file_of("{\"__metadata__\":[]}", 0), "'{' expected"},
      {file_of("{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", 0), "'a' appears twice"},
      {file_of("{\"__metadata__\":{},\"__metadata__\":{}}", 0), "'__metadata__' appears twice"},
      {file_of("{" + entry("a", "[[1]]", "[0,4]") + "}", 4), "a digit expected"},
      {file_of("{" + entry(std::string(513, 'n'), "[1]", "[0,4]") + "}", 4), "longer than 512 bytes"},
      {file_of("{" + entry("\xff", "[1]", "[0,4]") + "}", 4), "invalid UTF-8"},
      {file_of("{\"a\":" + std::string(100000, '['), 0), "must end with '}'"},
  };
  for (const Case& c : cases) {
    const std::string message = error_of([&] { parse_safetensors(c.bytes, "evil.safetensors"); });
    CHECK_THAT(message, Contains(c.message) && Catch::Matchers::StartsWith("evil.safetensors, byte "));
  }
  std::string many_dimensions = "[1";
  for (int i = 0; i < 64; ++i) many_dimensions += ",1";
  CHECK_THAT(error_of([&] { parse_safetensors(file_of("{" + entry("a", many_dimensions + "]", "[0,4]") + "}", 4)); }),
             Contains("more than 64 dimensions"));
  auto not_a_flag = file_of("{" + entry("a", "[1]", "[0,1]", "BOOL") + "}", 1);
  not_a_flag.back() = std::byte{2};
  CHECK_THAT(error_of([&] { parse_safetensors(not_a_flag); }), Contains("neither 0 nor 1"));
}

TEST_CASE("the writer refuses what the reader would") {
  const auto error_with = [](const std::string& name, const HostArray& array) {
    NamedArrays named;
    named.add("a", HostArray(DType::f32, {1}));
    named.add(name, array);
    return error_of([&] { to_safetensors(named); });
  };
  CHECK_THAT(error_with("a", HostArray()), Contains("'a' is used twice"));
  CHECK_THAT(error_with("__metadata__", HostArray()), Contains("reserved"));
  CHECK_THAT(error_with("\xff", HostArray()), Contains("UTF-8"));
  HostArray broken(DType::f32, {2});
  broken.data.resize(7);
  CHECK_THAT(error_with("b", broken), Contains("holds 7 bytes"));
}

TEST_CASE("whichever system call fails while saving, the former file stays loadable") {
  TemporaryDirectory dir;
  const auto path = dir / "m.safetensors";
  const NamedArrays before = sample();
  NamedArrays after = before;
  after.arrays[0].second.data[0] = std::byte{9};
  FaultyCalls::longest_write = 64;
  for (int n = 1;; ++n) {
    save_safetensors(path, before);
    FaultyCalls::arm(n, ENOSPC);
    bool failed = false;
    try {
      save_safetensors<FaultyCalls>(path, after);
    } catch (const IoError&) {
      failed = true;
    }
    INFO("call " << n);
    const NamedArrays now = load_safetensors(path);
    CHECK((now == after || (failed && now == before)));
    CHECK(dir.files().size() == 1);
    if (FaultyCalls::calls < n) break;
  }
  FaultyCalls::longest_write = 7;
}
