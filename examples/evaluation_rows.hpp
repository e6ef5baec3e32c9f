#pragma once
// A table of results that grows by a row at a time as a CSV file, so that a long evaluation goes on where it was
// stopped. The settings that decide the numbers lie beside it, in FILE.json, and must be the same then.

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/io/append_file.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/csv_reader.hpp>
#include <kolmo/io/json.hpp>
#include <kolmo/io/lock.hpp>
#include <kolmo/io/number_text.hpp>

#include "program.hpp"
#include "trajectory_store.hpp"

/// Rows of texts, by which a row is known, and numbers; nan stands for what could not be computed.
struct EvaluationRow {
  std::vector<std::string> keys;
  std::vector<double> values;
};

class EvaluationRows {
 public:
  /// Opens FILE and reads its rows. Throws ArgumentError when FILE.json has other settings, unless `restart` says to
  /// forget what is there; IoError for a file that is no such table, or one that another process is at work on.
  EvaluationRows(const std::filesystem::path& path, const kolmo::io::JsonValue& settings,
                 std::vector<std::string> key_columns, std::vector<std::string> value_columns, bool restart)
      : keys_(key_columns.size()), lock_(path.string() + ".lock") {
    namespace io = kolmo::io;
    namespace fs = std::filesystem;
    std::vector<std::string> columns = std::move(key_columns);
    columns.insert(columns.end(), value_columns.begin(), value_columns.end());
    const fs::path record = path.string() + ".json";
    if (restart) {
      fs::remove(path);
      fs::remove(record);
    }
    if (fs::exists(path)) {
      if (!fs::exists(record))
        throw kolmo::ArgumentError(path.string() + " exists without " + record.string() +
                                   ", so it was not made here; give another --output, or --restart to replace it");
      const std::string differs = difference(io::parse_json(io::read_text_file(record), record.string()), settings);
      if (!differs.empty())
        throw kolmo::ArgumentError(path.string() + " was made with other settings: " + differs +
                                   "; give the same to go on, another --output, or --restart to replace it");
      std::string text = io::read_text_file(path);
      text.resize(text.rfind('\n') + 1);  // a row that was cut off; npos + 1 is 0
      read(text, path.string(), columns);
    }
    io::write_atomically(record, io::to_json(settings) + "\n");
    std::string kept = io::CsvWriter().row(columns).str();
    for (const EvaluationRow& row : rows_) kept += line(row);
    io::write_atomically(path, kept);
    file_ = io::AppendFile<>(path);
  }
  const std::vector<EvaluationRow>& rows() const { return rows_; }

  /// The row with these keys, or a null pointer.
  const EvaluationRow* find(const std::vector<std::string>& keys) const {
    for (const EvaluationRow& row : rows_)
      if (row.keys == keys) return &row;
    return nullptr;
  }

  /// Keeps a row for good. Throws IoError.
  void add(EvaluationRow row) {
    file_.append(kolmo::io::detail::as_bytes(line(row)));
    file_.sync();
    rows_.push_back(std::move(row));
  }

 private:
  static std::string line(const EvaluationRow& row) {
    kolmo::io::CsvWriter csv;
    for (const std::string& key : row.keys) csv.text(key);
    for (const double value : row.values) csv.number(value);
    return csv.end_row().str();
  }

  void read(const std::string& text, const std::string& source, const std::vector<std::string>& columns) {
    namespace io = kolmo::io;
    io::CsvReader reader(text, {}, source);
    io::CsvRow fields;
    bool header = true;
    while (reader.next(fields)) {
      if (!fields.problem.empty()) throw kolmo::IoError(source + ": " + fields.problem);
      const std::vector<std::string> texts(fields.fields.begin(), fields.fields.end());
      if (header && texts != columns)
        throw kolmo::IoError(source + " has other columns than this evaluation; give another --output");
      if (!std::exchange(header, false)) {
        if (texts.size() != columns.size())
          throw kolmo::IoError(source + ", line " + std::to_string(fields.line) + ": expected " +
                               std::to_string(columns.size()) + " fields");
        EvaluationRow row;
        row.keys.assign(texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(keys_));
        for (std::size_t i = keys_; i < texts.size(); ++i) {
          double value = 0;
          if (io::detail::parse_number(texts[i], value, true) != io::NumberProblem::none)
            throw kolmo::IoError(source + ", line " + std::to_string(fields.line) + ": '" + texts[i] +
                                 "' is no number");
          row.values.push_back(value);
        }
        rows_.push_back(std::move(row));
      }
    }
  }

  std::size_t keys_;
  kolmo::io::RunLock lock_;
  std::vector<EvaluationRow> rows_;
  kolmo::io::AppendFile<> file_;
};

/// The value in the middle, nan when any is; the mean of two in an even number.
inline double median(std::vector<double> values) {
  for (const double v : values)
    if (v != v) return v;
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}
