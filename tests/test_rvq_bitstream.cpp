// Codes as bits, packets and streams: lengths, orders, cuts, damage, and streams that are written and read as they
// come.

#include <kolmo/core/random.hpp>
#include <kolmo/rvq/bitstream.hpp>

#include <limits>

#include "catch.hpp"
#include "io_support.hpp"

namespace {

using kolmo::Cpu;
using kolmo::index_t;
using kolmo::Tensor;
using kolmo::io::test::error_of;
using kolmo_test::contains;
using namespace kolmo::rvq;
namespace io = kolmo::io;

using Codes = std::vector<Code>;

/// Codes [rows, bits.size()] that fill their bits.
Codes random_codes(index_t rows, const std::vector<int>& bits, std::uint64_t seed = 1) {
  Codes codes;
  std::uint64_t i = 0;
  for (index_t row = 0; row < rows; ++row)
    for (const int b : bits)
      codes.push_back(static_cast<Code>(kolmo::integer_below(kolmo::Key{seed}, i++, index_t{1} << b)));
  return codes;
}

Tensor<Code, Cpu> tensor_of(const Codes& codes, index_t stages) {
  return Tensor<Code, Cpu>::from(std::span<const Code>(codes), {static_cast<index_t>(codes.size()) / stages, stages});
}

std::span<const std::byte> bytes_of(const std::string& text) { return io::detail::as_bytes(text); }

CodeStreamHeader header_of(CodeLayout layout, std::vector<int> bits, std::uint64_t samples) {
  CodeStreamHeader header;
  header.layout = layout;
  header.bits = std::move(bits);
  header.samples = samples;
  header.rate = 16000;
  header.hop = 320;
  header.model = 0x123456789abcdef0ull;
  header.gain = 0.5f;
  return header;
}

constexpr CodeOrder both_orders[] = {CodeOrder::frame_major, CodeOrder::stage_major};

}  // namespace

TEST_CASE("R24: packing and unpacking is the identity for 1 to 16 bits, any number of rows and both orders") {
  for (int b = 1; b <= 16; ++b) {
    for (const index_t rows : {0, 1, 2, 3, 7, 8, 9, 100}) {
      for (const auto& bits : {std::vector<int>{b}, std::vector<int>{b, b, b}, std::vector<int>{b, 17 - b, 1, 31}}) {
        const Codes codes = random_codes(rows, bits);
        for (const CodeOrder order : both_orders) {
          const std::string packed = pack_codes(codes, bits, order);
          CHECK(unpack_codes(bytes_of(packed), rows, bits, order) == codes);
        }
      }
    }
  }
}

TEST_CASE("R24: the length is the number of bits divided by eight, rounded up") {
  for (int b = 1; b <= 16; ++b) {
    for (const index_t rows : {0, 1, 5, 64, 75}) {
      const std::vector<int> bits{b, 3, b};
      const index_t total = rows * (2 * b + 3), expected = total / 8 + (total % 8 == 0 ? 0 : 1);
      CHECK(packed_size(rows, bits) == expected);
      for (const CodeOrder order : both_orders)
        CHECK(static_cast<index_t>(pack_codes(random_codes(rows, bits), bits, order).size()) == expected);
    }
  }
  // EnCodec at 24 kHz: a second of 75 frames of 8 stages of 1024 codes is 6 kbit.
  CHECK(packed_size(75, std::vector<int>(8, code_bits(1024))) * 8 == 6000);
}

TEST_CASE("Bits are pushed lowest first, in the order of the layout") {
  // 3 bits of stage 0, 2 of stage 1: rows (5, 2) and (1, 3).
  const Codes codes{5, 2, 1, 3};
  const std::vector<int> bits{3, 2};
  // frame-major 101 10 001 11 from the lowest bit: 1|11 001 ... = 0b001_10_101, then 0b11
  CHECK(pack_codes(codes, bits, CodeOrder::frame_major) == std::string("\x35\x03"));
  // stage-major 5, 1, 2, 3: 0b10_001_101, then 0b11
  CHECK(pack_codes(codes, bits, CodeOrder::stage_major) == std::string("\x8d\x03"));
}

TEST_CASE("A code takes ceil(log2 K) bits") {
  CHECK(code_bits(1) == 1);
  CHECK(code_bits(2) == 1);
  CHECK(code_bits(3) == 2);
  CHECK(code_bits(1024) == 10);
  CHECK(code_bits(1025) == 11);
  CHECK(code_bits(index_t{1} << 31) == 31);
  CHECK_THROWS_AS(code_bits(0), kolmo::ArgumentError);
  CHECK_THROWS_AS(code_bits((index_t{1} << 31) + 1), kolmo::ArgumentError);
}

TEST_CASE("R24: -1 and other codes that do not fit are rejected, with their place") {
  for (const CodeOrder order : both_orders) {
    const auto problem = [&](const Codes& codes) {
      return error_of([&] { pack_codes(codes, std::vector<int>{4, 2}, order); });
    };
    CHECK_THAT(problem({0, 0, 15, 3, 0, -1}), contains("row 2, stage 1: code -1 stands for a dropped stage"));
    CHECK_THAT(problem({0, 0, 16, 3}), contains("row 1, stage 0: code 16 is not in [0, 2^4)"));
    CHECK_THAT(problem({0, -2}), contains("code -2"));
    CHECK_THAT(problem({0, 0, 0}), contains("3 codes are no rows of 2 stages"));
  }
  CHECK_THROWS_AS(pack_codes(Codes{}, std::vector<int>{}, CodeOrder::frame_major), kolmo::ArgumentError);
  CHECK_THROWS_AS(pack_codes(Codes{0}, std::vector<int>{32}, CodeOrder::frame_major), kolmo::ArgumentError);
  CHECK_THROWS_AS(pack_codes(Codes{0}, std::vector<int>{0}, CodeOrder::frame_major), kolmo::ArgumentError);
}

TEST_CASE("Bytes of another number, or filled up with something, are rejected") {
  const std::vector<int> bits{3};
  const std::string packed = pack_codes(Codes{1, 2, 3}, bits, CodeOrder::frame_major);
  CHECK_THROWS_AS(unpack_codes(bytes_of(packed + "x"), 3, bits, CodeOrder::frame_major), kolmo::IoError);
  CHECK_THROWS_AS(unpack_codes(bytes_of(packed.substr(1)), 3, bits, CodeOrder::frame_major), kolmo::IoError);
  // Two "ghost" codes of 3 bits would fit into the 7 bits of the filling: the number of rows decides.
  std::string ghost = packed;
  ghost[1] = static_cast<char>(ghost[1] | 0x40);
  CHECK_THAT(error_of([&] { unpack_codes(bytes_of(ghost), 3, bits, CodeOrder::frame_major); }),
             contains("not filled up with zeros"));
}

TEST_CASE("R24: stage-major packets that are cut decode to the prefix") {
  const std::vector<int> bits{5, 9, 2, 10};
  const index_t rows = 13;
  const Codes codes = random_codes(rows, bits);
  const std::string packed = pack_codes(codes, bits, CodeOrder::stage_major);
  for (std::size_t size = 0; size <= packed.size(); ++size) {
    const Codes prefix = unpack_prefix(bytes_of(packed).first(size), rows, bits);
    // The codes that are whole in so many bits, stage by stage.
    index_t left = 8 * static_cast<index_t>(size), there = 0;
    Codes expected(codes.size(), -1);
    bool ended = false;
    for (std::size_t q = 0; q < bits.size(); ++q) {
      for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
        ended = ended || left < bits[q];
        if (ended) continue;
        left -= bits[q];
        expected[row * 4 + q] = codes[row * 4 + q];
        if (q == 0) ++there;
      }
    }
    expected.resize(static_cast<std::size_t>(there) * 4);
    CHECK(prefix == expected);
  }
  CHECK_THROWS_AS(unpack_prefix(bytes_of(packed + "x"), rows, bits), kolmo::IoError);
}

TEST_CASE("A stream is read as it was written, in every layout") {
  const std::vector<int> bits{4, 7, 1};
  const Codes codes = random_codes(2500, bits);
  for (const auto layout : {CodeLayout::frame_major, CodeLayout::stage_major, CodeLayout::range_coded}) {
    const auto header = header_of(layout, bits, 2500 * 320 - 5);
    std::vector<FrequencyTable> tables;
    if (layout == CodeLayout::range_coded)
      for (const int b : bits) tables.push_back(frequency_table(std::vector<double>(std::size_t{1} << b, 1.0)));
    const std::string bytes = to_code_stream(header, tensor_of(codes, 3), tables);
    const CodeStream stream = parse_code_stream(bytes_of(bytes), "x", tables);
    CHECK(stream.header == header);
    CHECK_FALSE(stream.cut);
    CHECK(stream.packets.size() == 3);
    CHECK(stream.codes().to_vector() == codes);
    // A header of 42 bytes and one for every stage; three packets of 1024, 1024 and 452 rows of 12 bits.
    if (layout != CodeLayout::range_coded) CHECK(bytes.size() == 45 + 3 * 2 + 1536 + 1536 + 678);
  }
}

TEST_CASE("The header has the fields of the format in their places") {
  const auto header = header_of(CodeLayout::stage_major, {10, 3}, 641);
  const std::string bytes = to_code_stream(header, tensor_of({1023, 7, 0, 0, 0, 0}, 2));
  const std::string expected = std::string("KRVQ\x01\x01\x80\x3e\x00\x00\x01\x40\x01\x02\x0a\x03", 16) +
                               std::string("\x81\x02\x00\x00\x00\x00\x00\x00", 8) + std::string("\x00\x00\x00\x3f", 4) +
                               "\xf0\xde\xbc\x9a\x78\x56\x34\x12";
  CHECK(bytes.substr(0, expected.size()) == expected);
  const std::string packet = std::string("\x03\x00\xff\x03\x00\xc0\x01", 7);
  REQUIRE(bytes.size() == 44 + packet.size());
  CHECK(bytes.substr(44) == packet);
  CHECK(io::detail::load_unaligned<std::uint32_t>(bytes_of(bytes).data() + 44 - 8) == io::crc32(bytes_of(packet)));
}

TEST_CASE("Streamed bytes equal those of the whole, whatever the pieces, with scales and channels of their own") {
  const std::vector<int> bits{6, 6};
  auto header = header_of(CodeLayout::frame_major, bits, 640);
  header.channels = 2;
  header.separate_channels = true;
  header.packet_scales = true;
  const Codes codes = random_codes(4, bits);
  std::vector<CodePacket> packets;
  for (std::size_t row = 0; row < 4; ++row)
    packets.push_back({1, {codes[2 * row], codes[2 * row + 1]}, 0.25f * static_cast<float>(row + 1)});
  const std::string whole = to_code_stream(header, packets);

  CodeStreamWriter writer(header);
  std::string streamed;
  for (const CodePacket& packet : packets) streamed += writer.packet(packet.codes, packet.scale);
  CHECK(writer.rows() == 4);
  CHECK(writer.header(640) + streamed == whole);
  CHECK(writer.open_header().size() + streamed.size() == whole.size());
  CHECK_THAT(error_of([&] { writer.header(641); }), contains("641 samples have 6 rows of codes, written are 4"));

  for (const std::size_t piece : {1u, 2u, 7u, 1000u}) {
    CodeStreamReader reader;
    std::vector<CodePacket> read;
    for (std::size_t at = 0; at < whole.size(); at += piece) {
      reader.push(bytes_of(whole).subspan(at, std::min(piece, whole.size() - at)));
      while (auto packet = reader.next()) read.push_back(*packet);
    }
    CHECK(reader.complete());
    CHECK_FALSE(reader.finish().has_value());
    CHECK(read == packets);
  }
}

TEST_CASE("A stream that is sent while it is made ends between packets") {
  CodeStreamWriter writer(header_of(CodeLayout::frame_major, {8}, 0));
  const std::string head = writer.open_header(), packet = writer.packet(Codes{1, 2, 3});
  const CodeStream stream = parse_code_stream(bytes_of(head + packet + packet));
  CHECK_FALSE(stream.header.samples.has_value());
  CHECK(stream.rows() == 6);
  CHECK_THAT(error_of([&] { parse_code_stream(bytes_of(head + packet + packet.substr(0, 3))); }),
             contains("cut off after 3 rows"));
}

TEST_CASE("R24: every damaged bit of header, checksum or codes is found, and every cut of a frame-major stream") {
  for (const auto layout : {CodeLayout::frame_major, CodeLayout::stage_major}) {
    const std::string good =
        to_code_stream(header_of(layout, {5, 4}, 20 * 320), tensor_of(random_codes(20, {5, 4}), 2));
    REQUIRE(error_of([&] { parse_code_stream(bytes_of(good)); }) == "no error");
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string damaged = good;
        damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
        bool found = false;
        try {
          // A damaged number of rows may make a stage-major packet look cut, which it tells.
          found = parse_code_stream(bytes_of(damaged)).cut;
        } catch (const kolmo::IoError&) {
          found = true;
        }
        CHECK(found);
      }
    }
    if (layout == CodeLayout::stage_major) continue;
    for (std::size_t size = 0; size < good.size(); ++size)
      CHECK_THROWS_AS(parse_code_stream(bytes_of(good).first(size)), kolmo::IoError);
  }
}

TEST_CASE("R24: a stage-major stream that is cut anywhere decodes to its prefix and says so") {
  const std::vector<int> bits{5, 4, 6};
  const Codes codes = random_codes(30, bits);
  const auto header = header_of(CodeLayout::stage_major, bits, 30 * 320);
  const std::string good = to_code_stream(header, code_packets(tensor_of(codes, 3), 20));
  std::size_t begin = good.size() - (2 + 2 + 38 + 19);  // 300 and 150 bits
  for (std::size_t size = begin; size < good.size(); ++size) {
    const CodeStream stream = parse_code_stream(bytes_of(good).first(size));
    CHECK(stream.cut);
    const auto read = stream.codes().to_vector();
    for (std::size_t i = 0; i < read.size(); ++i) CHECK((read[i] == codes[i] || (read[i] == -1 && i % 3 != 0)));
  }
  // Bytes of the first packet alone, up to the end of its second stage.
  const CodeStream two = parse_code_stream(bytes_of(good).first(begin + 2 + 23));
  CHECK(two.rows() == 20);
  const auto read = two.codes().to_vector();
  for (std::size_t row = 0; row < 20; ++row) {
    CHECK(read[3 * row] == codes[3 * row]);
    CHECK(read[3 * row + 1] == codes[3 * row + 1]);
  }
  CHECK(read[3 * 19 + 2] == -1);
}

TEST_CASE("A stream is reduced to fewer stages without a model") {
  const std::vector<int> bits{5, 4, 6};
  const Codes codes = random_codes(30, bits);
  const CodeStream all{header_of(CodeLayout::frame_major, bits, 30 * 320), code_packets(tensor_of(codes, 3), 7), false};
  const CodeStream two = with_stages(all, 2);
  const CodeStream read = parse_code_stream(bytes_of(to_code_stream(two.header, two.packets)));
  const auto kept = read.codes().to_vector();
  for (std::size_t row = 0; row < 30; ++row)
    for (std::size_t q = 0; q < 2; ++q) CHECK(kept[2 * row + q] == codes[3 * row + q]);
  CHECK(read.header.bits == std::vector<int>{5, 4});
  CHECK_THAT(error_of([&] { with_stages(all, 4); }), contains("has 3 stages, asked for 4"));
  CHECK_THROWS_AS(with_stages(all, 0), kolmo::ArgumentError);
}

TEST_CASE("Rates in bit/s are those of the codecs") {
  CodeStreamHeader encodec;
  encodec.rate = 24000;
  encodec.hop = 320;
  encodec.bits.assign(8, 10);
  CHECK(encodec.bits_per_second() == Approx(6000));
  CodeStreamHeader dac;
  dac.rate = 44100;
  dac.hop = 512;
  dac.bits.assign(9, 10);
  CHECK(dac.bits_per_second() == Approx(7751.95).margin(0.01));
  dac.channels = 2;
  CHECK(dac.bits_per_second() == Approx(7751.95).margin(0.01));
  dac.separate_channels = true;
  CHECK(dac.bits_per_second() == Approx(2 * 7751.95).margin(0.02));
}

TEST_CASE("What no stream can hold is refused by name") {
  const auto problem = [](auto change) {
    auto header = header_of(CodeLayout::frame_major, {4}, 320);
    change(header);
    return error_of([&] { to_code_stream(header, tensor_of({1}, 1)); });
  };
  REQUIRE(problem([](auto&) {}) == "no error");
  CHECK_THAT(problem([](auto& h) { h.hop = 0; }), contains("hop must be from 1 to 65535, given 0"));
  CHECK_THAT(problem([](auto& h) { h.hop = 65536; }), contains("hop"));
  CHECK_THAT(problem([](auto& h) { h.channels = 256; }), contains("channels"));
  CHECK_THAT(problem([](auto& h) { h.rate = -1; }), contains("rate"));
  CHECK_THAT(problem([](auto& h) { h.gain = std::numeric_limits<float>::quiet_NaN(); }), contains("gain"));
  CHECK_THAT(problem([](auto& h) { h.bits.assign(256, 4); }), contains("stages"));
  CHECK_THAT(problem([](auto& h) { h.bits.clear(); }), contains("stages"));
  CHECK_THAT(problem([](auto& h) { h.samples.reset(); }), contains("must be given"));
  CHECK_THAT(problem([](auto& h) { h.samples = 321; }), contains("2 rows of codes, written are 1"));
  CHECK_THAT(problem([](auto& h) { h.layout = CodeLayout::range_coded; }),
             contains("need the frequencies of 1 stages"));
  CodeStreamWriter writer(header_of(CodeLayout::frame_major, {4}, 320));
  CHECK_THAT(error_of([&] { writer.packet(Codes{}); }), contains("1 to 65535 rows, given 0"));
  CHECK_THAT(error_of([&] { writer.packet(Codes(65536, 0)); }), contains("given 65536"));
  CHECK_THAT(error_of([&] { writer.packet(Codes{1}, 2.0f); }), contains("1 unless packets carry scales; given 2"));
  CHECK_THROWS_AS(code_packets(tensor_of({1, 2}, 1), 0), kolmo::ArgumentError);
}

TEST_CASE("A malformed stream is refused with the place and the rule") {
  const std::string good = to_code_stream(header_of(CodeLayout::frame_major, {8}, 2 * 320), tensor_of({1, 2}, 1));
  const auto problem = [](const std::string& bytes) {
    return error_of([&] { parse_code_stream(bytes_of(bytes), "a.rvq"); });
  };
  CHECK_THAT(problem(""), contains("a.rvq, byte 0: the stream ends inside its header"));
  CHECK_THAT(problem("RIFF"), contains("begins with KRVQ"));
  CHECK_THAT(problem("KRVQ\x02"), contains("version 2, this reads version 1"));
  CHECK_THAT(problem(good + "x"), contains("bytes after the last packet"));
  CHECK_THAT(problem(good.substr(0, good.size() - 1)), contains("cut off after 0 of 2 rows"));
  // Headers with a right checksum and wrong fields.
  const auto with_byte = [&](std::size_t at, char value) {
    std::string bytes = good;
    bytes[at] = value;
    const std::string sum = [&] {
      std::string out;
      io::detail::append_little_endian(out, io::crc32(bytes_of(bytes).first(43 - 4)));
      return out;
    }();
    return problem(bytes.replace(39, 4, sum));
  };
  CHECK(with_byte(5, 0) == "no error");
  CHECK_THAT(with_byte(5, 3), contains("layout 3 is not known"));
  CHECK_THAT(with_byte(5, 64), contains("layout 64 is not known"));
  CHECK_THAT(with_byte(10, 0), contains("channels must be from 1 to 255"));
  CHECK_THAT(with_byte(14, 0), contains("a code has 1 to 31 bits, given 0"));
  CHECK_THAT(with_byte(16, 3), contains("cut off after 2 of 3 rows"));
}
