#pragma once
// A CSV file that grows by a row a step while a training runs. A row is one write of one complete line; on resuming,
// the rows after the step that is resumed from are removed, so that no step appears twice.

#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/append_file.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/file.hpp>
#include <string>
#include <utility>
#include <vector>

namespace kolmo::io {

/// Appends rows whose first column is a step that grows.
template <class Calls = SystemCalls>
class CsvLog {
 public:
  /// Starts a new file with a header line. Throws IoError when the file exists.
  CsvLog(std::filesystem::path path, std::vector<std::string> columns)
      : path_(std::move(path)), columns_(columns.size()) {
    if (std::filesystem::is_regular_file(path_)) {
      throw IoError(path_.string() + " exists; resume that run, remove the file, or use another name");
    }
    write_atomically<Calls>(path_, header(columns));
    file_ = AppendFile<Calls>(path_);
  }

  /// Goes on with an existing file after `step`: rows of later steps and an incomplete last line are removed
  /// atomically. Starts a new file when there is none. Throws IoError when the columns differ or a row has no step.
  CsvLog(std::filesystem::path path, std::vector<std::string> columns, std::int64_t step)
      : path_(std::move(path)), columns_(columns.size()) {
    std::string kept = header(columns);
    if (std::filesystem::is_regular_file(path_)) {
      std::string text = read_text_file(path_);
      text.resize(text.rfind('\n') + 1);  // npos + 1 is 0
      CsvReader reader(text, {}, path_.string());
      CsvRow row;
      const bool any = reader.next(row);
      if (any && std::vector<std::string>(row.fields.begin(), row.fields.end()) != columns) {
        throw IoError(path_.string() + ": the log has other columns than this run; use another name");
      }
      while (any && reader.next(row)) {
        std::int64_t at = 0;
        if (!row.problem.empty()) throw IoError(path_.string() + ": " + row.problem);
        if (row.fields.size() != columns.size() || !detail::parse_whole(row.fields[0], at)) {
          throw IoError(path_.string() + ": line " + std::to_string(row.line) + " is no row of this log");
        }
        if (at > step) continue;
        CsvWriter line;
        for (const std::string_view field : row.fields) line.text(field);
        kept += line.end_row().str();
      }
    }
    write_atomically<Calls>(path_, kept);
    file_ = AppendFile<Calls>(path_);
  }

  /// Appends one line: the step and the other columns. When the write fails, what was written of the line is removed
  /// and IoError thrown.
  void append(std::int64_t step, const std::vector<double>& values) {
    if (values.size() + 1 != columns_) {
      throw ArgumentError("a row of " + std::to_string(columns_) + " columns got " + std::to_string(values.size()) +
                          " values besides the step");
    }
    CsvWriter line;
    line.number(step);
    for (const double value : values) line.number(value);
    file_.append(detail::as_bytes(line.end_row().str()));
  }

  /// Makes the rows durable; call before a checkpoint that counts on them. Throws IoError.
  void sync() { file_.sync(); }

 private:
  static std::string header(const std::vector<std::string>& columns) {
    if (columns.empty()) throw ArgumentError("a log needs columns, the first for the step");
    return CsvWriter().row(columns).str();
  }

  std::filesystem::path path_;
  std::size_t columns_;
  AppendFile<Calls> file_;
};

}  // namespace kolmo::io
