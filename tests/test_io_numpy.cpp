// NPY and NPZ files: what NumPy writes is read, what we write NumPy reads, and nothing is read in two ways.

#include <cstdint>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/npy_reader.hpp>
#include <kolmo/io/npz.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "io_support.hpp"

using namespace kolmo;
using namespace kolmo::io;
using namespace kolmo::io::test;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = io::detail::as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

/// An NPY file from its dictionary and data.
std::vector<std::byte> npy_of(const std::string& dictionary, const std::string& data, int version = 1) {
  std::string text(io::detail::npy_magic);
  text += static_cast<char>(version);
  text += '\0';
  if (version == 1) {
    io::detail::append_little_endian(text, static_cast<std::uint16_t>(dictionary.size()));
  } else {
    io::detail::append_little_endian(text, static_cast<std::uint32_t>(dictionary.size()));
  }
  return bytes_of(text + dictionary + data);
}

std::string dictionary(const std::string& descr, const std::string& order, const std::string& shape) {
  return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

NamedArrays sample() {
  NamedArrays named;
  named.add("weights", HostArray(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}));
  named.add("group/é", HostArray(std::vector<std::int64_t>{-1}));
  named.add("empty", HostArray(DType::u8, {0}));
  return named;
}

/// Where `what` first stands in the bytes.
std::size_t position(const std::vector<std::byte>& bytes, const std::string& what, std::size_t from = 0) {
  return io::detail::as_text(bytes).find(what, from);
}

}  // namespace

TEST_CASE("arrays of every type NumPy has survive a round trip") {
  for (int code = 0; code <= static_cast<int>(DType::bool_); ++code) {
    const auto dtype = static_cast<DType>(code);
    if (dtype == DType::bf16) continue;
    for (const std::vector<index_t>& shape : std::vector<std::vector<index_t>>{{}, {3}, {2, 0}, {2, 3, 4}}) {
      HostArray array(dtype, shape);
      for (std::size_t i = 0; i < array.data.size(); ++i) array.data[i] = static_cast<std::byte>(i % 2);
      const auto bytes = to_npy(array);
      CHECK((bytes.size() - array.data.size()) % 64 == 0);
      CHECK(parse_npy(bytes) == array);
    }
  }
  CHECK_THROWS_AS(to_npy(HostArray(DType::bf16, {1})), ArgumentError);
  TemporaryDirectory dir;
  const HostArray array(std::vector<double>{1, 2});
  save_npy(dir / "a.npy", array);
  CHECK(load_npy(dir / "a.npy") == array);
}

TEST_CASE("an array written bit by bit is the one written at once, and appears only when it is whole") {
  TemporaryDirectory dir;
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  {
    NpyWriter<float> broken_off(dir / "a.npy", {2, 3});
    broken_off.write(std::span(values).first(2));
    CHECK(broken_off.left() == 4);
    CHECK_THAT(error_of([&] { broken_off.finish(); }), Contains("4 values of shape [2, 3] are missing"));
    CHECK_THAT(error_of([&] { broken_off.write(values); }), Contains("has room for 4 more"));
  }
  CHECK(dir.files().empty());
  NpyWriter<float> writer(dir / "a.npy", {2, 3});
  writer.write(std::span(values).first(2));
  writer.write(std::span(values).subspan(2));
  writer.finish();
  CHECK(read_file(dir / "a.npy") == to_npy(HostArray(values, {2, 3})));
  CHECK(dir.files() == std::vector<std::string>{"a.npy"});
  for (int n = 1; n <= 30; ++n) {
    FaultyCalls::arm(n, EIO);
    const std::string message = error_of([&] {
      NpyWriter<float, FaultyCalls> faulty(dir / "a.npy", {6});
      faulty.write(values);
      faulty.finish();
    });
    const HostArray left = load_npy(dir / "a.npy");
    CHECK((left.shape == std::vector<index_t>{2, 3} || left.shape == std::vector<index_t>{6}));
    if (left.shape.size() == 2) CHECK_THAT(message, Contains("a.npy"));
    save_npy(dir / "a.npy", HostArray(values, {2, 3}));
  }
}

TEST_CASE("big-endian numbers, Fortran order and versions 2 and 3 are read") {
  const HostArray big =
      parse_npy(npy_of(dictionary("'>i4'", "False", "(2,)"), std::string("\0\0\1\2\xff\xff\xff\xfe", 8)));
  CHECK(big.convert<int>() == std::vector<int>{258, -2});
  const std::string six("\1\2\3\4\5\6", 6);
  const HostArray columns = parse_npy(npy_of(dictionary("'|u1'", "True", "(2, 3)"), six));
  CHECK(columns.convert<int>() == std::vector<int>{1, 3, 5, 2, 4, 6});
  const HostArray cube = parse_npy(npy_of(dictionary("'|u1'", "True", "(1, 2, 3)"), six, 2));
  CHECK(cube.convert<int>() == std::vector<int>{1, 3, 5, 2, 4, 6});
  const HostArray both = parse_npy(npy_of(dictionary("'>u2'", "True", "(1, 3)"), six, 3));
  CHECK(both.convert<int>() == std::vector<int>{0x102, 0x304, 0x506});
  CHECK(parse_npy(npy_of("{\"shape\":(), \"descr\":\"=f4\",'fortran_order':True}", std::string(4, '\0'))).size() == 1);
}

TEST_CASE("malformed and hostile NPY files are refused with the rule they break") {
  struct Case {
    std::vector<std::byte> bytes;
    std::string message;
  };
  const std::string good = dictionary("'<f4'", "False", "(1,)");
  const std::string four(4, '\0');
  const std::vector<Case> cases = {
      {{}, "no NPY file"},
      {bytes_of("\x93NUMPX\1\0\0\0"), "no NPY file"},
      {npy_of(good, four, 4), "version 4.0"},
      {npy_of(good, four, 0), "version 0.0"},
      {bytes_of(std::string("\x93NUMPY\1\0\xff\xff", 10)), "exceeds the 0 bytes"},
      {bytes_of(std::string("\x93NUMPY\2\0\xff\xff\xff\xff", 12)), "above 65536"},
      {bytes_of(std::string("\x93NUMPY\2\0\xff\xff", 10)), "ends in its header"},
      {npy_of(dictionary("'|O'", "False", "(1,)"), four), "pickled"},
      {npy_of(dictionary("'<O8'", "False", "(1,)"), four), "pickled"},
      {npy_of(dictionary("[('a', '<f4')]", "False", "(1,)"), four), "structured"},
      {npy_of(dictionary("'<c8'", "False", "(1,)"), four), "'<c8' is not supported"},
      {npy_of(dictionary("'<U4'", "False", "(1,)"), four), "'<U4' is not supported"},
      {npy_of(dictionary("'<f16'", "False", "(1,)"), four), "'<f16' is not supported"},
      {npy_of(dictionary("'|f4'", "False", "(1,)"), four), "'|f4' is not supported"},
      {npy_of(dictionary("''", "False", "(1,)"), four), "'' is not supported"},
      {npy_of(dictionary("'<'", "False", "(1,)"), four), "'<' is not supported"},
      {npy_of(dictionary("'<f4'", "0", "(1,)"), four), "True or False"},
      {npy_of(dictionary("'<f4'", "False", "(2,)"), four), "needs 8 bytes, found 4"},
      {npy_of(dictionary("'<f4'", "False", "(1,)"), four + "x"), "needs 4 bytes, found 5"},
      {npy_of(dictionary("'<f4'", "False", "(-1,)"), four), "an extent"},
      {npy_of(dictionary("'<f4'", "False", "(1)"), four), "needs a comma"},
      {npy_of(dictionary("'<f4'", "False", "(1.0,)"), four), "')' expected"},
      {npy_of(dictionary("'<f4'", "False", "[1]"), four), "'(' expected"},
      {npy_of(dictionary("'<f4'", "False", "(99999999999999999999,)"), four), "below 2^63"},
      {npy_of(dictionary("'<f4'", "False", "(4294967296, 4294967296)"), four), "overflows"},
      {npy_of(dictionary("'<f4'", "False", "(4611686018427387904, 0)"), ""), "overflows"},
      {npy_of("{'descr': '<f4', 'descr': '<f4'}", four), "'descr' appears twice"},
      {npy_of("{'descr': '<f4', 'shape': (1,)}", four), "are needed"},
      {npy_of("{'descr': '<f4', 'more': 1}", four), "unknown key 'more'"},
      {npy_of("{'descr", four), "closing quote"},
      {npy_of("{'de\\'scr': 1}", four), "without escapes"},
      {npy_of("{descr: 1}", four), "in quotes"},
      {npy_of(good + "x", four), "after the dictionary"},
      {npy_of(good + std::string(1, '\0'), four), "after the dictionary"},
      {npy_of("", four), "'{' expected"},
      {npy_of(dictionary("'|b1'", "False", "(2,)"), "\1\2"), "neither 0 nor 1"},
  };
  for (const Case& c : cases) {
    const std::string message = error_of([&] { parse_npy(c.bytes, "evil.npy"); });
    CHECK_THAT(message, Contains(c.message) && StartsWith("evil.npy, byte "));
  }
  const auto whole = to_npy(HostArray(std::vector<float>{1, 2, 3}));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    REQUIRE_THROWS_AS(parse_npy(std::span(whole).first(length)), IoError);
  }
}

TEST_CASE("archives survive a round trip") {
  CHECK(parse_npz(to_npz(sample())) == sample());
  CHECK(parse_npz(to_npz({})) == NamedArrays{});
  TemporaryDirectory dir;
  save_npz(dir / "a.npz", sample());
  CHECK(load_npz(dir / "a.npz") == sample());
}

TEST_CASE("every truncation and every changed byte of an archive's data is detected") {
  auto bytes = to_npz(sample());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    REQUIRE_THROWS_AS(parse_npz(std::span(bytes).first(length)), IoError);
  }
  // Times and permissions of members mean nothing here; any other flipped bit is seen.
  int accepted = 0;
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const auto mask = static_cast<std::byte>(1u << (bit % 8));
    bytes[bit / 8] ^= mask;
    try {
      const NamedArrays read = parse_npz(bytes);
      ++accepted;
      CHECK(read == sample());
    } catch (const IoError&) {
    }
    bytes[bit / 8] ^= mask;
  }
  CHECK(accepted < 3 * 8 * (4 + 4 + 4 + 2 + 14));
}

TEST_CASE("hostile archives are refused with the rule they break") {
  const auto changed = [](const std::string& what, std::size_t skip, std::size_t offset, std::uint32_t value,
                          std::size_t size) {
    auto bytes = to_npz(sample());
    std::size_t at = position(bytes, what);
    for (std::size_t i = 0; i < skip; ++i) at = position(bytes, what, at + 1);
    for (std::size_t i = 0; i < size; ++i) bytes[at + offset + i] = static_cast<std::byte>(value >> (8 * i));
    return error_of([&] { parse_npz(bytes, "evil.npz"); });
  };
  const std::string entry("PK\x01\x02"), local("PK\x03\x04"), end("PK\x05\x06");
  CHECK_THAT(changed(entry, 0, 10, 8, 2), Contains("'weights.npy' is compressed (method 8)") && Contains("np.savez "));
  CHECK_THAT(changed(entry, 0, 8, 1, 2), Contains("encrypted"));
  CHECK_THAT(changed(entry, 0, 16, 5, 4), Contains("another size or checksum"));
  CHECK_THAT(changed(entry, 0, 20, 5, 4), Contains("two different sizes"));
  CHECK_THAT(changed(entry, 0, 20, 0xffffffff, 4), Contains("ZIP64"));
  CHECK_THAT(changed(entry, 1, 42, 0, 4), Contains("another local header"));
  CHECK_THAT(changed(entry, 0, 28, 0xffff, 2), Contains("leaves the central directory"));
  CHECK_THAT(changed(local, 0, 28, 0xffff, 2), Contains("leaves the archive"));
  CHECK_THAT(changed(local, 0, 26, 3, 2), Contains("another local header"));
  CHECK_THAT(changed(end, 0, 10, 0xffff, 2), Contains("ZIP64"));
  CHECK_THAT(changed(end, 0, 4, 1, 2), Contains("several disks"));
  CHECK_THAT(changed(end, 0, 16, 1, 4), Contains("does not end where"));
  CHECK_THAT(changed(end, 0, 20, 1, 2), Contains("no end of a ZIP archive"));
  CHECK_THAT(changed(end, 0, 8, 0x00020002, 4), Contains("more than its count"));
  CHECK_THAT(changed("\x93NUMPY", 0, 100, 1, 1), Contains("CRC-32"));
  CHECK_THAT(error_of([] { parse_npz(bytes_of("PK")); }), Contains("no end of a ZIP archive"));

  const auto named = [](const std::string& a, const std::string& b) {
    NamedArrays arrays;
    arrays.add(a, HostArray(DType::u8, {1}));
    arrays.add(b, HostArray(DType::u8, {1}));
    return error_of([&] { to_npz(arrays); });
  };
  CHECK_THAT(named("a", "a"), Contains("'a.npy' is used twice"));
  for (const std::string bad : {"../a", "a/../b", "/a", "a//b", "./a", "C:a", "a\\b"})
    CHECK(named("x", bad) != "no error");
  CHECK_THAT(named("x", "../a"), Contains("leaves the archive"));
  CHECK_THAT(named("x", ""), Contains("is not NAME.npy"));
  CHECK_THAT(named("x", "\xff"), Contains("UTF-8"));
  CHECK_THAT(named("x", std::string(70000, 'n')), Contains("make no NPZ archive"));
}

TEST_CASE("an archive with many directory entries for one member is refused at once") {
  // All entries point to the same bytes: without the check for overlap, reading would take their number times the size.
  NamedArrays one;
  one.add("a", HostArray(DType::u8, {1000000}));
  const auto bytes = to_npz(one);
  const std::size_t begin = position(bytes, "PK\x01\x02"), end = position(bytes, "PK\x05\x06");
  std::string text(io::detail::as_text(std::span(bytes).first(begin)));
  const std::string entry(io::detail::as_text(std::span(bytes).subspan(begin, end - begin)));
  for (int i = 0; i < 60000; ++i) text += entry;
  const std::size_t size = text.size() - begin;
  text += std::string("PK\x05\x06\0\0\0\0", 8);
  for (int i = 0; i < 2; ++i) io::detail::append_little_endian(text, std::uint16_t{60000});
  io::detail::append_little_endian(text, static_cast<std::uint32_t>(size));
  io::detail::append_little_endian(text, static_cast<std::uint32_t>(begin));
  text += std::string(2, '\0');
  CHECK_THAT(error_of([&] { parse_npz(bytes_of(text)); }), Contains("overlaps"));
}

TEST_CASE("rows of a file are those of the whole array, in either order of bytes and of axes") {
  const TemporaryDirectory folder;
  const std::vector<double> values{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const HostArray array(values, {4, 3});
  save_npy(folder / "c.npy", array);
  const auto with_header = [&](const std::string& dictionary, const std::vector<std::byte>& data) {
    std::string text("\x93NUMPY\x01\x00", 8);
    text += static_cast<char>(dictionary.size() + 1);
    text += '\0';
    text += dictionary + "\n";
    text.append(reinterpret_cast<const char*>(data.data()), data.size());
    return text;
  };
  std::vector<std::byte> swapped = array.data;
  for (std::size_t i = 0; i < swapped.size(); i += 8)
    std::reverse(swapped.begin() + static_cast<std::ptrdiff_t>(i),
                 swapped.begin() + static_cast<std::ptrdiff_t>(i) + 8);
  write_atomically(folder / "big.npy",
                   with_header("{'descr': '>f8', 'fortran_order': False, 'shape': (4, 3), }", swapped));
  const HostArray columns(std::vector<double>{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11}, {12});
  write_atomically(folder / "f.npy",
                   with_header("{'descr': '<f8', 'fortran_order': True, 'shape': (4, 3), }", columns.data));
  for (const char* name : {"c.npy", "big.npy", "f.npy"}) {
    CAPTURE(name);
    const NpyReader reader(folder / name);
    CHECK(reader.shape() == std::vector<index_t>{4, 3});
    const HostArray rows = reader.read(1, 2);
    CHECK(rows.shape == std::vector<index_t>{2, 3});
    CHECK(rows.convert<double>() == std::vector<double>{3, 4, 5, 6, 7, 8});
    CHECK(reader.read(4, 0).size() == 0);
    CHECK_THROWS_AS(reader.read(3, 2), ShapeError);
    CHECK_THROWS_AS(reader.read(-1, 1), ShapeError);
  }
  write_atomically(folder / "cut.npy", read_text_file(folder / "c.npy").substr(0, 150));
  CHECK_THROWS_AS(NpyReader(folder / "cut.npy"), IoError);
  CHECK_THROWS_AS(NpyReader(folder / "none.npy"), IoError);
}
