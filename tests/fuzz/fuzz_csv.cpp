// Any text is refused by the CSV readers or read; fields and numbers that are read are written and read again
// unchanged.

#include <cstring>
#include <kolmo/io/csv.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz_support.hpp"

namespace {

void read_rows(std::string_view text) {
  using namespace kolmo;
  io::CsvReader reader(text);
  io::CsvRow row;
  io::CsvWriter writer;
  std::vector<std::vector<std::string>> rows;
  std::size_t line = 0;
  while (reader.next(row)) {
    fuzz::require(row.line > line);
    line = row.line;
    if (!row.problem.empty()) continue;
    rows.emplace_back(row.fields.begin(), row.fields.end());
    writer.row(rows.back());
  }
  io::CsvReader again(writer.str());
  for (const auto& expected : rows) {
    fuzz::require(again.next(row) && row.problem.empty());
    fuzz::require(std::vector<std::string>(row.fields.begin(), row.fields.end()) == expected);
  }
  fuzz::require(!again.next(row));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kolmo;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    read_rows(text);
  } catch (const IoError&) {
  }
  try {
    io::CsvOptions options;
    options.header = false;
    const io::NumericTable table = io::parse_numeric_csv(text, options);
    io::CsvWriter writer;
    for (std::size_t r = 0; r < table.rows; ++r) {
      for (std::size_t c = 0; c < table.columns; ++c) writer.number(table(r, c));
      writer.end_row();
    }
    const io::NumericTable again = io::parse_numeric_csv(writer.str(), options);
    fuzz::require(again.rows == table.rows && again.values.size() == table.values.size());
    fuzz::require(table.values.empty() ||
                  std::memcmp(again.values.data(), table.values.data(), 8 * table.values.size()) == 0);
  } catch (const IoError&) {
  }
  try {
    const io::LabelledTable table = io::parse_labelled_csv(text);
    std::size_t bad = 0;
    for (const io::LabelledRow& row : table.rows) {
      const bool good = row.problem.empty();
      bad += good ? 0 : 1;
      fuzz::require(row.values.size() == (good ? table.value_names.size() : 0));
      fuzz::require(!good || row.texts.size() == table.text_names.size());
    }
    fuzz::require(bad == table.bad_rows);
  } catch (const IoError&) {
  }
  return 0;
}
