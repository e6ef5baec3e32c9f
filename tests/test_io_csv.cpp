// CSV: what is not exactly a table is reported with line and field, and numbers survive unchanged.

#include <cerrno>
#include <clocale>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/csv_log.hpp>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "io_support.hpp"

using namespace kolmo;
using namespace kolmo::io;
using namespace kolmo::io::test;
using Catch::Matchers::Contains;

namespace {

std::vector<std::vector<std::string>> rows_of(const std::string& text) {
  CsvReader reader(text);
  CsvRow row;
  std::vector<std::vector<std::string>> out;
  while (reader.next(row)) {
    out.emplace_back(row.fields.begin(), row.fields.end());
    if (!row.problem.empty()) out.back().push_back("! " + row.problem);
  }
  return out;
}

using Rows = std::vector<std::vector<std::string>>;

}  // namespace

TEST_CASE("fields are split as RFC 4180 says") {
  CHECK(rows_of("a,b\n1,2\n") == Rows{{"a", "b"}, {"1", "2"}});
  CHECK(rows_of("a,b\r\n1,2") == Rows{{"a", "b"}, {"1", "2"}});
  CHECK(rows_of("\xef\xbb\xbf"
                "a\n") == Rows{{"a"}});
  CHECK(rows_of("\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\nz") == Rows{{"a,b", "say \"x\"", "two\nlines"}, {"z"}});
  CHECK(rows_of(",\n,,") == Rows{{"", ""}, {"", "", ""}});
  CHECK(rows_of("") == Rows{});
  CHECK(rows_of("\n\n") == Rows{});
  CHECK(rows_of("a\n\nb\n\n") == Rows{{"a"}, {""}, {"b"}});
  CHECK(rows_of("\"\"\n") == Rows{{""}});
}

TEST_CASE("line numbers count the lines inside quoted fields") {
  CsvReader reader("h\n\"a\nb\nc\"\nx\"y\nlast\n");
  CsvRow row;
  std::vector<std::size_t> lines;
  while (reader.next(row)) lines.push_back(row.line);
  CHECK(lines == std::vector<std::size_t>{1, 2, 5, 6});
}

TEST_CASE("a problem in one row does not hide the rows after it") {
  const Rows rows = rows_of("a,b\n1,\"x\"y\nc,d\n\"open\ne,f\n");
  REQUIRE(rows.size() == 5);
  CHECK(rows[1].back() == "! line 2, field 2: text after the closing quote");
  CHECK(rows[2] == std::vector<std::string>{"c", "d"});
  CHECK(rows[3].back() == "! line 4, field 1: the quote is not closed before the end of the text");
  CHECK(rows[4] == std::vector<std::string>{"e", "f"});
}

TEST_CASE("bad number tables are refused with line, field and column") {
  struct Case {
    std::string text, message;
  };
  const std::string nul("a,b\n1,\0\n", 8);
  const std::vector<Case> cases = {
      {"", "empty, a header expected"},
      {"\n\n", "empty, a header expected"},
      {"a,a\n", "'a' appears twice in the header"},
      {"a,\"b\n1,2\n", "line 1, field 2: the quote is not closed"},
      {"a,b\n1\n", "line 2: 2 fields expected, found 1"},
      {"a,b\n1,2,3\n", "line 2: 2 fields expected, found 3"},
      {"a,b\n1,2\n\n3,4\n", "line 3: 2 fields expected, found 1"},
      {"a,b\n1,2,\n", "line 2: 2 fields expected, found 3"},
      {"a,b\n1,\n", "line 2, field 2 (b): a number expected, the field is empty"},
      {"a,b\n1, \n", "field 2 (b): a number expected"},
      {"a,b\n1,x\n", "line 2, field 2 (b): 'x' is not a number"},
      {"a,b\n1,2x\n", "'2x' is not a number"},
      {"a,b\n1,1 2\n", "'1 2' is not a number"},
      {"a,b\n1,0x10\n", "'0x10' is not a number"},
      {"a,b\n1,1e\n", "'1e' is not a number"},
      {"a,b\n1,e5\n", "'e5' is not a number"},
      {"a,b\n1,.\n", "'.' is not a number"},
      {"a,b\n1,-\n", "'-' is not a number"},
      {"a,b\n1,+\n", "'+' is not a number"},
      {"a,b\n1,+-1\n", "'+-1' is not a number"},
      {"a,b\n1,++1\n", "'++1' is not a number"},
      {"a,b\n1,--1\n", "'--1' is not a number"},
      {"a,b\n1,1.2.3\n", "'1.2.3' is not a number"},
      {"a,b\n1,1_000\n", "'1_000' is not a number"},
      {"a,b\n1,\"1,5\"\n", "'1,5' is not a number"},
      {"a,b\n1,1e400\n", "'1e400' is outside the range"},
      {"a,b\n1,-1e400\n", "'-1e400' is outside the range"},
      {"a,b\n1,1e-400\n", "'1e-400' is outside the range"},
      {"a,b\n1,nan\n", "'nan' is not finite"},
      {"a,b\n1,NaN\n", "'NaN' is not finite"},
      {"a,b\n1,-nan\n", "'-nan' is not finite"},
      {"a,b\n1,inf\n", "'inf' is not finite"},
      {"a,b\n1,-Infinity\n", "'-Infinity' is not finite"},
      {"a,b\n1,nan(1)\n", "'nan(1)' is not a number"},
      {"a,b\n1,NA\n", "'NA' is not a number"},
      {"a,b\n1,null\n", "'null' is not a number"},
      {"a,b\n1,true\n", "'true' is not a number"},
      {"a;b\n1;2\n3,4\n", "line 2, field 1 (a;b): '1;2' is not a number"},
      {"a\tb\n1\t2\n", "'1\\x092' is not a number"},
      {nul, "line 2, field 2: a NUL byte"},
      {std::string("a,b\n1,\"\0\"\n", 10), "line 2, field 2: a NUL byte"},
      {"a,b\r1,2\r", "line 1, field 2: a carriage return without a line feed"},
      {"a,b\n1,2\r3\n", "line 2, field 2: a carriage return"},
      {"a,b\n1\",2\n", "line 2, field 1: a quote inside"},
      {"a,b\n1,\"2\"3\n", "line 2, field 2: text after the closing quote"},
      {"a,b\n1,\"2\n", "line 2, field 2: the quote is not closed"},
      {"a,b\n1,\"2\"\"\n", "line 2, field 2: the quote is not closed"},
      {std::string("\xff\xfe"
                   "a\0,\0",
                   6),
       "UTF-16"},
      {"\xfe\xff", "UTF-16"},
      {"a\n\xef\xbb\xbf"
       "1\n",
       "line 2, field 1 (a): '\xef\xbb\xbf"
       "1' is not a number"},
      {"a\n\xff\n", "'\\xff' is not a number"},
      {"a\n\xd9\xa1\n", "is not a number"},
      {"a\n1\xc2\xa0\n", "is not a number"},
      {"a\n\xe2\x88\x92"
       "1\n",
       "is not a number"},
      {"a\n" + std::string(2000000, '1') + "\n", "line 2, field 1: longer than 1048576 bytes"},
      {"a\n\"" + std::string(2000000, '1') + "\"\n", "line 2, field 1: longer than 1048576 bytes"},
      {"a\n" + std::string(1000001, ','), "more than 1000000 fields"},
      {"a\n" + std::string(200, 'z') + "\n", "...' is not a number"},
  };
  for (const Case& c : cases) {
    INFO(c.text.substr(0, 60));
    CHECK_THAT(error_of([&] { parse_numeric_csv(c.text, {}, "t.csv"); }), Contains(c.message) && Contains("t.csv"));
  }
}

TEST_CASE("numbers are read in every usual spelling") {
  const NumericTable t = parse_numeric_csv("x\n1\n+2.5\n -3e-2 \n.5\n1.\n1E5\n-0\n4.9e-324\n\"7\"\n");
  CHECK(t.column("x") == std::vector<double>{1, 2.5, -0.03, 0.5, 1, 1e5, -0.0, 4.9e-324, 7});
  CHECK(std::signbit(t(6, 0)));
  CHECK_THAT(error_of([&] { t.column("y"); }), Contains("'y'") && Contains("present: x"));
  CsvOptions options;
  options.header = false;
  options.allow_non_finite = true;
  const NumericTable bare = parse_numeric_csv("1,nan\n-inf,2\n", options);
  CHECK(bare.rows == 2);
  CHECK(bare.columns == 2);
  CHECK(std::isnan(bare(0, 1)));
  CHECK(bare(1, 0) == -HUGE_VAL);
}

TEST_CASE("reading and writing do not depend on the locale") {
  const char* changed = std::setlocale(LC_ALL, "de_DE.UTF-8");
  if (changed == nullptr) changed = std::setlocale(LC_ALL, "de_DE");
  CHECK(parse_numeric_csv("a\n1.5\n")(0, 0) == 1.5);
  CHECK(CsvWriter().number(1.5).end_row().str() == "1.5\n");
  std::setlocale(LC_ALL, "C");
}

TEST_CASE("a labelled table keeps its bad rows with line and id, and the others are usable") {
  const LabelledTable t = parse_labelled_csv(
      "id,source,f0,f1\n"
      "a,x,1,2\n"
      "b,y,1\n"
      "c,z,1,nan\n"
      "\n"
      "d,\"w, v\",3,4\n"
      "e,\"broken\"!,1,2\n"
      "f,u,1,abc\n"
      "g,t,5,6\n");
  CHECK(t.text_names == std::vector<std::string>{"id", "source"});
  CHECK(t.value_names == std::vector<std::string>{"f0", "f1"});
  REQUIRE(t.rows.size() == 8);
  CHECK(t.bad_rows == 5);
  CHECK(t.rows[0].values == std::vector<double>{1, 2});
  CHECK(t.rows[1].id() == "b");
  CHECK(t.rows[1].problem == "line 3: 4 fields expected, found 3");
  CHECK(t.rows[1].values.empty());
  CHECK(t.rows[2].problem == "line 4, field 4 (f1): 'nan' is not finite");
  CHECK(t.rows[3].problem == "line 5: 4 fields expected, found 1");
  CHECK(t.rows[4].texts == std::vector<std::string>{"d", "w, v"});
  CHECK(t.rows[5].id() == "e");
  CHECK(t.rows[5].problem == "line 7, field 2: text after the closing quote");
  CHECK(t.rows[6].problem == "line 8, field 4 (f1): 'abc' is not a number");
  CHECK(t.rows[7].values == std::vector<double>{5, 6});
}

TEST_CASE("a labelled table with a wrong header is refused") {
  CHECK_THAT(error_of([] { parse_labelled_csv("id,g0\n"); }), Contains("'f0' is missing"));
  CHECK_THAT(error_of([] { parse_labelled_csv("f0,f1\n"); }), Contains("'f0' comes first"));
  CHECK_THAT(error_of([] { parse_labelled_csv("id,f0,f2\n"); }), Contains("header field 3 is 'f2', expected 'f1'"));
  CHECK_THAT(error_of([] { parse_labelled_csv("id,f0,f1,note\n"); }), Contains("'note', expected 'f2'"));
  CHECK_THAT(error_of([] { parse_labelled_csv(""); }), Contains("a header id"));
}

TEST_CASE("what is written is read back bit by bit") {
  CsvWriter writer;
  const std::vector<double> values = {
      0.1, -0.0, 1e300, 4.9e-324, 1.0 / 3, 123456789, std::numeric_limits<double>::max()};
  const std::vector<std::string> texts = {"", "plain", "a,b", "say \"x\"", "two\r\nlines", " spaced ", "é"};
  for (std::size_t i = 0; i < values.size(); ++i) writer.text(texts[i]).number(values[i]).number(i).end_row();
  CsvReader reader(writer.str());
  CsvRow row;
  for (std::size_t i = 0; i < values.size(); ++i) {
    REQUIRE(reader.next(row));
    REQUIRE(row.problem.empty());
    CHECK(row.fields[0] == texts[i]);
    double value = 0;
    CHECK(detail::parse_number(row.fields[1], value) == NumberProblem::none);
    CHECK(std::memcmp(&value, &values[i], sizeof value) == 0);
  }
  CHECK_FALSE(reader.next(row));
  CHECK(CsvWriter().number(0.1f).end_row().str() == "0.1\n");
  CHECK(CsvWriter().number(-std::nan("")).number(-HUGE_VAL).end_row().str() == "nan,-inf\n");
  CHECK(rows_of(CsvWriter().empty().end_row().text("x").end_row().str()) == Rows{{""}, {"x"}});
  for (const std::string mark : {"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"}) {
    CHECK(rows_of(CsvWriter().text(mark + "x").end_row().str()) == Rows{{mark + "x"}});
  }
}

TEST_CASE("a log grows by complete lines, and on resuming loses the rows after the step") {
  TemporaryDirectory dir;
  const auto path = dir / "log.csv";
  const std::vector<std::string> columns = {"step", "loss"};
  {
    CsvLog<> log(path, columns);
    for (int i = 1; i <= 5; ++i) log.append(i, {1.0 / i});
    log.sync();
    CHECK_THROWS_AS(log.append(6, {1, 2}), ArgumentError);
  }
  CHECK(read_text_file(path) == "step,loss\n1,1\n2,0.5\n3,0.3333333333333333\n4,0.25\n5,0.2\n");
  CHECK_THAT(error_of([&] { CsvLog<>(path, columns); }), Contains("exists; resume"));
  CHECK_THAT(error_of([&] { CsvLog<>(path, {"step", "error"}, 3); }), Contains("other columns"));
  // A kill in the middle of a write leaves half a line.
  std::ofstream(path, std::ios::app) << "6,0.1";
  {
    CsvLog<> log(path, columns, 3);
    log.append(4, {9});
  }
  CHECK(read_text_file(path) == "step,loss\n1,1\n2,0.5\n3,0.3333333333333333\n4,9\n");
  CsvLog<>(dir / "other.csv", columns, 3);
  CHECK(read_text_file(dir / "other.csv") == "step,loss\n");
}

TEST_CASE("a log whose disk is full keeps its complete rows and goes on when there is room") {
  TemporaryDirectory dir;
  const auto path = dir / "log.csv";
  CsvLog<FaultyCalls> log(path, {"step", "loss"});
  FaultyCalls::arm(0, ENOSPC);
  log.append(1, {0.5});
  // The second write of the line fails after 7 bytes.
  FaultyCalls::arm(2, ENOSPC);
  CHECK_THAT(error_of([&] { log.append(2, {0.123456789}); }), Contains("No space left") && Contains("log.csv"));
  CHECK(read_text_file(path) == "step,loss\n1,0.5\n");
  FaultyCalls::arm(0, ENOSPC);
  log.append(2, {0.25});
  CHECK(read_text_file(path) == "step,loss\n1,0.5\n2,0.25\n");
}
