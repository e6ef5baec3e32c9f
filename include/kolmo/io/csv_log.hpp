#pragma once
// A CSV file that grows by a row a step while a training runs. A row is one write of one complete line; on resuming,
// the rows after the step that is resumed from are removed, so that no step appears twice.

#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
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
    open();
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
    open();
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
    const std::string text = line.end_row().str();
    std::uint64_t written = 0;
    if (!detail::write_all<Calls>(file_.get(), detail::as_bytes(text), written)) {
      const int code = errno;
      if (written > 0) static_cast<void>(Calls::ftruncate(file_.get(), size_));
      throw IoError("cannot write " + path_.string() + ": " + detail::error_text(code) + " after " +
                    std::to_string(size_) + " bytes; the rows before are unchanged");
    }
    size_ += static_cast<off_t>(text.size());
  }

  /// Makes the rows durable; call before a checkpoint that counts on them. Throws IoError.
  void sync() {
    if (!detail::fsync_retrying<Calls>(file_.get())) {
      throw IoError("cannot write " + path_.string() + ": fsync: " + detail::error_text(errno));
    }
  }

 private:
  static std::string header(const std::vector<std::string>& columns) {
    if (columns.empty()) throw ArgumentError("a log needs columns, the first for the step");
    return CsvWriter().row(columns).str();
  }

  void open() {
    file_ = detail::Descriptor<Calls>(detail::open_retrying<Calls>(path_.string(), O_WRONLY | O_APPEND));
    if (file_.get() < 0) throw IoError("cannot write " + path_.string() + ": open: " + detail::error_text(errno));
    size_ = ::lseek(file_.get(), 0, SEEK_END);
    if (size_ < 0) size_ = 0;
  }

  std::filesystem::path path_;
  std::size_t columns_;
  detail::Descriptor<Calls> file_;
  off_t size_ = 0;
};

}  // namespace kolmo::io
