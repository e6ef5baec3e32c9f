#pragma once
// Comma-separated values, row by row (RFC 4180): quoted fields with doubled quotes and line breaks, CRLF or LF, an
// optional UTF-8 byte order mark. Nothing is guessed: what breaks the rules is reported with line and field.

#include <cstddef>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kolmo::io {

/// One row. `fields` stays valid until the next call of CsvReader::next.
struct CsvRow {
  std::size_t line = 0;                  ///< line of the file on which the row starts, from 1
  std::vector<std::string_view> fields;  ///< without quotes
  std::string problem;                   ///< empty, or "line L, field F: what is wrong"; `fields` is then incomplete
};

/// What a reader accepts.
struct CsvLimits {
  char separator = ',';
  std::size_t field_bytes = std::size_t{1} << 20;  ///< longest field
  std::size_t fields = 1'000'000;                  ///< most fields in a row
};

/// Reads the rows of a text that outlives the reader.
class CsvReader {
 public:
  /// Throws IoError when the text starts with the byte order mark of UTF-16.
  explicit CsvReader(std::string_view text, CsvLimits limits = {}, const std::string& source = "CSV text")
      : text_(text), limits_(limits) {
    if (text_.starts_with("\xff\xfe") || text_.starts_with("\xfe\xff")) {
      throw IoError(source + ": the text is UTF-16; save it as UTF-8");
    }
    if (text_.starts_with("\xef\xbb\xbf")) position_ = 3;
  }

  /// Reads the next row; false at the end. After a problem reading goes on with the next line, so that one bad row does
  /// not hide the others. Empty lines at the end of the text are no rows; elsewhere they are rows of one empty field.
  bool next(CsvRow& row) {
    row.fields.clear();
    row.problem.clear();
    unquoted_.clear();
    if (text_.find_first_not_of("\r\n", position_) == std::string_view::npos) return false;
    row.line = line_;
    // The views are made at the end, when `unquoted_` no longer moves.
    pieces_.clear();
    while (row.problem.empty()) {
      if (pieces_.size() == limits_.fields) {
        report(row, "more than " + std::to_string(limits_.fields) + " fields");
        break;
      }
      if (!read_field(row)) break;
    }
    if (!row.problem.empty()) skip_line();
    row.fields.reserve(pieces_.size());
    for (const Piece& piece : pieces_) {
      row.fields.push_back((piece.unquoted ? std::string_view(unquoted_) : text_).substr(piece.begin, piece.size));
    }
    return true;
  }

 private:
  struct Piece {
    std::size_t begin, size;
    bool unquoted;
  };

  void report(CsvRow& row, const std::string& what) {
    row.problem = "line " + std::to_string(line_) + ", field " + std::to_string(pieces_.size() + 1) + ": " + what;
  }

  bool at_line_end() const {
    return position_ >= text_.size() || text_[position_] == '\n' || text_.substr(position_, 2) == "\r\n";
  }

  void pass_line_end() {
    if (position_ < text_.size()) position_ += text_[position_] == '\r' ? 2 : 1;
    ++line_;
  }

  void skip_line() {
    if (line_ended_) return;
    const std::size_t end = text_.find('\n', position_);
    position_ = end == std::string_view::npos ? text_.size() : end + 1;
    ++line_;
  }

  /// Reads one field and what follows it; returns whether another field follows.
  bool read_field(CsvRow& row) {
    line_ended_ = false;
    const bool fine = position_ < text_.size() && text_[position_] == '"' ? read_quoted(row) : read_plain(row);
    if (!fine) return false;
    if (at_line_end()) {
      pass_line_end();
      line_ended_ = true;
      return false;
    }
    ++position_;
    return true;
  }

  bool too_long(CsvRow& row, std::size_t size) {
    if (size <= limits_.field_bytes) return false;
    report(row, "longer than " + std::to_string(limits_.field_bytes) + " bytes");
    return true;
  }

  bool read_plain(CsvRow& row) {
    const std::size_t begin = position_;
    for (; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      if (c == limits_.separator || c == '\n') break;
      if (c == '\r') {
        if (text_.substr(position_, 2) == "\r\n") break;
        report(row, "a carriage return without a line feed");
        return false;
      }
      if (c == '\0') {
        report(row, "a NUL byte");
        return false;
      }
      if (c == '"') {
        report(row, "a quote inside a field that does not start with one");
        return false;
      }
    }
    if (too_long(row, position_ - begin)) return false;
    pieces_.push_back({begin, position_ - begin, false});
    return true;
  }

  bool read_quoted(CsvRow& row) {
    const std::size_t begin = unquoted_.size();
    const std::size_t first = ++position_;
    const std::size_t first_line = line_;
    for (;; ++position_) {
      if (position_ >= text_.size()) {
        // The rest of the text may be good rows swallowed by one stray quote: go on after the line it is on.
        position_ = first;
        line_ = first_line;
        report(row, "the quote is not closed before the end of the text");
        return false;
      }
      const char c = text_[position_];
      if (c == '\0') {
        report(row, "a NUL byte");
        return false;
      }
      if (c == '\n') ++line_;
      if (c == '"') {
        if (position_ + 1 >= text_.size() || text_[position_ + 1] != '"') break;
        ++position_;
      }
      unquoted_ += c;
    }
    ++position_;
    if (!at_line_end() && text_[position_] != limits_.separator) {
      report(row, "text after the closing quote");
      return false;
    }
    if (too_long(row, unquoted_.size() - begin)) return false;
    pieces_.push_back({begin, unquoted_.size() - begin, true});
    return true;
  }

  std::string_view text_;
  CsvLimits limits_;
  std::size_t position_ = 0;
  std::size_t line_ = 1;
  bool line_ended_ = false;
  std::string unquoted_;
  std::vector<Piece> pieces_;
};

}  // namespace kolmo::io
