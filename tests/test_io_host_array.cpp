// Arrays with a run-time element type, and the strict JSON reader of the file headers.

#include <cmath>
#include <cstdint>
#include <kolmo/io/host_array.hpp>
#include <kolmo/io/json.hpp>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "io_support.hpp"

using namespace kolmo;
using namespace kolmo::io;
using Catch::Matchers::Contains;
using kolmo::io::test::error_of;

TEST_CASE("an array gives back the values it was built from, in their own type only") {
  const HostArray a(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(a.dtype == DType::f32);
  CHECK(a.size() == 6);
  CHECK(a.as<float>()[4] == 5.0f);
  CHECK_THROWS_AS(a.as<double>(), ArgumentError);
  CHECK_THAT(error_of([&] { a.as<std::int32_t>(); }), Contains("holds f32") && Contains("accessed as i32"));
}

TEST_CASE("a shape must have as many elements as there are values") {
  CHECK_THROWS_AS(HostArray(std::vector<int>{1, 2, 3}, {2, 2}), ShapeError);
  CHECK_THROWS_AS(HostArray(DType::f32, {-1}), ShapeError);
  CHECK_THROWS_AS(HostArray(DType::u8, {std::numeric_limits<index_t>::max(), 3}), ShapeError);
  CHECK(HostArray(DType::u8, {std::numeric_limits<index_t>::max(), 3, 0}).size() == 0);
  CHECK(HostArray::scalar(2.5).size() == 1);
  HostArray broken(DType::f64, {4});
  broken.data.pop_back();
  CHECK_THROWS_AS(broken.as<double>(), ShapeError);
}

TEST_CASE("conversion rounds to floating point and refuses what an integer cannot hold") {
  const HostArray numbers(std::vector<double>{0.5, -1.0, 3.0});
  CHECK(numbers.convert<float>() == std::vector<float>{0.5f, -1.0f, 3.0f});
  CHECK_THAT(error_of([&] { numbers.convert<int>(); }), Contains("element 0") && Contains("not representable as i32"));
  CHECK(HostArray(std::vector<double>{-128.0, 127.0}).convert<std::int8_t>() == std::vector<std::int8_t>{-128, 127});
  for (const double bad : {128.0, -129.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS(HostArray(std::vector<double>{bad}).convert<std::int8_t>(), ArgumentError);
  }
  CHECK_THROWS_AS(HostArray(std::vector<double>{0x1p63}).convert<std::int64_t>(), ArgumentError);
  CHECK(HostArray(std::vector<double>{-0x1p63}).convert<std::int64_t>()[0] == std::numeric_limits<std::int64_t>::min());
  CHECK_THROWS_AS(HostArray(std::vector<std::uint64_t>{1ull << 63}).convert<std::int64_t>(), ArgumentError);
  CHECK_THROWS_AS(HostArray(std::vector<int>{-1}).convert<unsigned>(), ArgumentError);
}

TEST_CASE("conversion to single precision keeps infinities and refuses finite overflow") {
  const double largest = std::numeric_limits<float>::max();
  CHECK(HostArray(std::vector<double>{largest}).convert<float>()[0] == std::numeric_limits<float>::max());
  CHECK_THROWS_AS(HostArray(std::vector<double>{0x1.ffffffp127}).convert<float>(), ArgumentError);
  CHECK(HostArray(std::vector<double>{std::nextafter(0x1.ffffffp127, 0.0)}).convert<float>()[0] == largest);
  CHECK(std::isinf(HostArray(std::vector<double>{-HUGE_VAL}).convert<float>()[0]));
}

TEST_CASE("half precision and bfloat16 widen exactly") {
  const HostArray halves(std::vector<Half>{{0x3c00}, {0xc000}, {0x0001}, {0x03ff}, {0x7bff}, {0x7c00}, {0x8000}});
  const std::vector<float> expected{1.0f, -2.0f, 0x1p-24f, 1023 * 0x1p-24f, 65504.0f, HUGE_VALF, -0.0f};
  const std::vector<float> found = halves.convert<float>();
  CHECK(found == expected);
  CHECK(std::signbit(found.back()));
  CHECK(std::isnan(to_float(Half{0x7e00})));
  CHECK(HostArray(std::vector<BFloat16>{BFloat16::from_bits(0x3f80), BFloat16::from_bits(0xc040)}).convert<double>() == std::vector<double>{1.0, -3.0});
}

TEST_CASE("bool arrays hold zeros and ones only") {
  HostArray flags(DType::bool_, {3});
  flags.as<bool>()[1] = true;
  CHECK(flags.convert<int>() == std::vector<int>{0, 1, 0});
  flags.data[2] = std::byte{2};
  CHECK_THROWS_AS(flags.as<bool>(), ArgumentError);
}

TEST_CASE("a missing array is named together with what is there") {
  NamedArrays named;
  named.add("weight", HostArray(std::vector<float>{1}));
  CHECK(named.find("weight") != nullptr);
  CHECK(named.find("bias") == nullptr);
  CHECK_THAT(error_of([&] { named.at("bias"); }), Contains("'bias'") && Contains("weight"));
}

TEST_CASE("non-finite values are counted with their first place") {
  NamedArrays named;
  named.add("fine", HostArray(std::vector<double>{1, 2}));
  named.add("bad", HostArray(std::vector<float>{0, HUGE_VALF, std::nanf(""), 1}));
  named.add("half", HostArray(std::vector<Half>{{0x7c00}}));
  named.add("whole", HostArray(std::vector<std::int64_t>{-1}));
  const auto found = find_non_finite(named);
  REQUIRE(found.size() == 2);
  CHECK(found[0].name == "bad");
  CHECK(found[0].count == 2);
  CHECK(found[0].first_index == 1);
  CHECK(found[1].name == "half");
}

TEST_CASE("JSON values survive a round trip") {
  const std::string text =
      R"({"a":[1,-2.5,1e-300,true,false,null],"b":{"":"\u0000\"\\é\ud83d\ude00"},"c":9223372036854775807,"d":1e19,"e":-0,"f":[]})";
  const JsonValue value = parse_json(text);
  CHECK(std::get<std::int64_t>(value.find("c")->value) == std::numeric_limits<std::int64_t>::max());
  CHECK(std::signbit(std::get<double>(value.find("e")->value)));
  CHECK(std::get<std::string>(value.find("b")->find("")->value) == std::string("\0\"\\é😀", 9));
  CHECK(parse_json(to_json(value)) == value);
  CHECK(to_json(parse_json("[2.0]")) == "[2.0]");
}

TEST_CASE("malformed JSON is refused with the byte and the rule") {
  struct Case {
    std::string text, message;
  };
  const std::vector<Case> cases = {
      {"", "a digit expected"},
      {"{\"a\":1,\"a\":2}", "'a' appears twice"},
      {"[1,]", "a digit expected"},
      {"{,}", "a key in double quotes"},
      {"[1 2]", "']' expected"},
      {"{\"a\" 1}", "':' expected"},
      {"\"abc", "ends inside a string"},
      {"\"a\nb\"", "control character"},
      {"\"\\x\"", "unknown escape"},
      {"\"\\", "unknown escape"},
      {"\"\\u12\"", "hexadecimal"},
      {"\"\\u-123\"", "hexadecimal"},
      {"\"\\ud800\"", "high surrogate without"},
      {"\"\\udc00\"", "low surrogate without"},
      {"\"\\ud800\\u0041\"", "high surrogate without"},
      {"\"\xff\"", "invalid UTF-8"},
      {"\"\xc0\xaf\"", "invalid UTF-8"},
      {"\"\xed\xa0\x80\"", "invalid UTF-8"},
      {"\"\xf4\x90\x80\x80\"", "invalid UTF-8"},
      {"\"\xe2\x82", "invalid UTF-8"},
      {"01", "superfluous 0"},
      {"1.", "a digit expected"},
      {".5", "a digit expected"},
      {"+1", "a digit expected"},
      {"1e", "a digit expected"},
      {"1e400", "outside the range"},
      {"NaN", "a digit expected"},
      {"tru", "a value expected"},
      {"null x", "text after"},
      {std::string(17, '[') + std::string(17, ']'), "deeper than 16"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const std::string message = error_of([&] { parse_json(c.text); });
    CHECK_THAT(message, Contains(c.message) && Contains("byte "));
  }
}

TEST_CASE("a million opening brackets are refused at once, not followed") {
  CHECK_THAT(error_of([] { parse_json(std::string(1000000, '[')); }), Contains("byte 17"));
}
