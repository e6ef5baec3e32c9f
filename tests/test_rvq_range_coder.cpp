// The range coder: codes are read as they were written, frequencies are whole and deterministic, and the length is that
// of the information.

#include <kolmo/core/random.hpp>
#include <kolmo/rvq/bitstream.hpp>

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "io_support.hpp"

namespace {

using kolmo::index_t;
using kolmo::io::test::error_of;
using kolmo_test::contains;
using namespace kolmo::rvq;
namespace io = kolmo::io;

/// Weights of a geometric law, or equal ones for ratio 1.
FrequencyTable geometric(std::size_t codes, double ratio) {
  std::vector<double> weights(codes);
  double w = 1;
  for (double& weight : weights) {
    weight = w;
    w *= ratio;
  }
  return frequency_table(weights);
}

/// Code `index` drawn from the table's own frequencies.
Code drawn(const FrequencyTable& table, kolmo::Key key, std::uint64_t index) {
  const auto number = static_cast<std::uint32_t>(kolmo::integer_below(key, index, FrequencyTable::total));
  Code code = 0;
  while (table.starts[static_cast<std::size_t>(code) + 1] <= number) ++code;
  return code;
}

}  // namespace

TEST_CASE("Frequencies have the sum 2^24 and are at least 2, whatever the weights") {
  for (const double ratio : {1.0, 0.9, 1e-3}) {
    for (const std::size_t codes : {1u, 2u, 3u, 1000u}) {
      const FrequencyTable table = geometric(codes, ratio);
      CHECK(table.codes() == static_cast<index_t>(codes));
      CHECK(table.starts.front() == 0);
      CHECK(table.starts.back() == FrequencyTable::total);
      for (index_t k = 0; k < table.codes(); ++k) CHECK(table.frequency(k) >= 2);
    }
  }
  const FrequencyTable table = frequency_table(std::vector<double>{3, 0, 1});
  CHECK(table.frequency(0) / double(FrequencyTable::total) == Approx(0.75).margin(1e-6));
  CHECK(table.frequency(1) == 2);
  CHECK(frequency_table(std::vector<double>(4, 0.0)) == frequency_table(std::vector<double>(4, 7.0)));
}

TEST_CASE("Frequencies do not change with the scale of the weights or their last digits") {
  std::vector<double> weights;
  for (int k = 0; k < 300; ++k)
    weights.push_back(1 + kolmo::uniform<double>(kolmo::Key{3}, static_cast<std::uint64_t>(k)));
  const FrequencyTable table = frequency_table(weights);
  for (double& w : weights) w *= 1000 * (1 + 1e-13);
  CHECK(frequency_table(weights) == table);
}

TEST_CASE("Weights that are no frequencies are refused") {
  CHECK_THROWS_AS(frequency_table(std::vector<double>{}), kolmo::ArgumentError);
  CHECK_THROWS_AS(frequency_table(std::vector<double>(1 << 21, 1.0)), kolmo::ArgumentError);
  CHECK_THAT(error_of([] { frequency_table(std::vector<double>{1, -1}); }), contains("for code 1"));
  CHECK_THROWS_AS(frequency_table(std::vector<double>{std::numeric_limits<double>::quiet_NaN()}), kolmo::ArgumentError);
  CHECK_THROWS_AS(frequency_table(std::vector<double>{std::numeric_limits<double>::infinity()}), kolmo::ArgumentError);
}

TEST_CASE("Codes are read as they were written and take the bits of their information") {
  for (const double ratio : {1.0, 0.99, 0.5, 1e-6}) {
    for (const std::size_t codes : {2u, 37u, 1024u}) {
      const FrequencyTable table = geometric(codes, ratio);
      for (const std::uint64_t count : {0u, 1u, 2u, 5u, 2000u}) {
        std::string bytes;
        RangeEncoder encoder(bytes);
        std::vector<Code> written;
        double information = 0;
        for (std::uint64_t i = 0; i < count; ++i) {
          // Now and then a code that hardly ever occurs.
          written.push_back(i % 97 == 96 ? static_cast<Code>(codes - 1) : drawn(table, kolmo::Key{codes}, i));
          information += table.bits(written.back());
          encoder.put(table, written.back());
        }
        encoder.finish();
        RangeDecoder decoder(io::detail::as_bytes(bytes));
        std::vector<Code> read;
        for (std::uint64_t i = 0; i < count; ++i) read.push_back(decoder.take(table));
        CHECK(read == written);
        CHECK(8 * static_cast<double>(bytes.size()) <= information + 16);
        CHECK(8 * static_cast<double>(bytes.size()) >= information - 64);
      }
    }
  }
}

TEST_CASE("Carries run through bytes of 255") {
  // The last code of a table always adds to the lower end: the text is a long row of 255 until something else comes.
  const FrequencyTable table = frequency_table(std::vector<double>{1, 1, 1, 1});
  for (int last = 0; last < 4; ++last) {
    std::string bytes;
    RangeEncoder encoder(bytes);
    for (int i = 0; i < 200; ++i) encoder.put(table, 3);
    for (int i = 0; i < 5; ++i) encoder.put(table, static_cast<Code>(last));
    encoder.finish();
    RangeDecoder decoder(io::detail::as_bytes(bytes));
    for (int i = 0; i < 200; ++i) REQUIRE(decoder.take(table) == 3);
    for (int i = 0; i < 5; ++i) CHECK(decoder.take(table) == last);
  }
  // Thirds of the interval end in 0.1010...: the sum of many carries at all places.
  const FrequencyTable thirds = frequency_table(std::vector<double>{1, 1, 1});
  std::string bytes;
  RangeEncoder encoder(bytes);
  for (int i = 0; i < 5000; ++i) encoder.put(thirds, i % 7 == 0 ? 2 : 1);
  encoder.finish();
  RangeDecoder decoder(io::detail::as_bytes(bytes));
  for (int i = 0; i < 5000; ++i) REQUIRE(decoder.take(thirds) == (i % 7 == 0 ? 2 : 1));
}

TEST_CASE(
    "Static frequencies gain log2 K - H bits a code: much for a codebook in uneven use, nothing for an even one") {
  const index_t rows = 2000;
  for (const double ratio : {1.0, 0.95}) {
    const std::vector<FrequencyTable> tables{geometric(256, ratio), geometric(256, ratio)};
    double entropy = 0;
    for (index_t k = 0; k < 256; ++k)
      entropy += tables[0].bits(k) * tables[0].frequency(k) / double(FrequencyTable::total);
    CodePacket packet{rows, {}, 1};
    for (index_t i = 0; i < 2 * rows; ++i)
      packet.codes.push_back(drawn(tables[0], kolmo::Key{8}, static_cast<std::uint64_t>(i)));
    CodeStreamHeader header;
    header.layout = CodeLayout::range_coded;
    header.bits = {8, 8};
    header.samples = static_cast<std::uint64_t>(rows);
    const std::string bytes = to_packet_bytes(header, packet, tables);
    CHECK(static_cast<double>(bytes.size()) == Approx(2 * static_cast<double>(rows) * entropy / 8).epsilon(0.03));
    CHECK(parse_packet(header, io::detail::as_bytes(bytes), tables) == packet);
  }
}

TEST_CASE("Tables and codes that do not fit the stream are refused") {
  CodeStreamHeader header;
  header.layout = CodeLayout::range_coded;
  header.bits = {3};
  header.samples = 1;
  const std::vector<FrequencyTable> tables{geometric(5, 0.5)};
  const auto problem = [&](Code code, const std::vector<FrequencyTable>& given) {
    return error_of([&] { to_packet_bytes(header, {1, {code}, 1}, given); });
  };
  CHECK(problem(4, tables) == "no error");
  CHECK_THAT(problem(5, tables), contains("code 5 is not in a table of 5 codes"));
  CHECK_THAT(problem(-1, tables), contains("code -1 stands for a dropped stage"));
  CHECK_THAT(problem(0, {geometric(4, 1)}), contains("codes of 3 bits and a table of 4 frequencies"));
  CHECK_THAT(problem(0, {}), contains("need the frequencies of 1 stages"));
  const std::string bytes = to_code_stream(header, std::vector<CodePacket>{{1, {2}, 1}}, tables);
  CHECK(parse_code_stream(io::detail::as_bytes(bytes), "x", tables).packets[0].codes == std::vector<Code>{2});
  CHECK_THROWS_AS(parse_code_stream(io::detail::as_bytes(bytes)), kolmo::ArgumentError);
  // A packet that claims more rows than its bytes can tell.
  std::string packet = to_packet_bytes(header, {1, {2}, 1}, tables);
  packet[1] = '\x7f';
  CHECK_THAT(error_of([&] { parse_packet(header, io::detail::as_bytes(packet), tables); }), contains("cannot be in"));
}
