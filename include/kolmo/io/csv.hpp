#pragma once
// Tables of numbers from CSV files, and CSV texts from numbers. Independent of the locale; a text that is no finite
// number is an error with line, field and column name, never a silent 0.

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/csv_reader.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/number_text.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kolmo::io {

/// How number tables are read.
struct CsvOptions {
  CsvLimits limits;
  bool header = true;             ///< the first row holds the column names
  bool allow_non_finite = false;  ///< accept "nan" and "inf"
};

/// A table of numbers, row-major.
struct NumericTable {
  std::vector<std::string> names;  ///< one for each column; empty without a header
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<double> values;

  double operator()(std::size_t row, std::size_t column) const { return values[row * columns + column]; }

  /// The values of a named column; throws ArgumentError that names the columns there are.
  std::vector<double> column(std::string_view name) const {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      std::string present;
      for (const std::string& n : names) present += (present.empty() ? "" : ", ") + n;
      throw ArgumentError("column " + detail::in_quotes(name) + " is missing; present: " + present);
    }
    std::vector<double> out;
    for (std::size_t r = 0; r < rows; ++r) out.push_back((*this)(r, static_cast<std::size_t>(found - names.begin())));
    return out;
  }
};

/// A row that starts with texts and goes on with numbers.
struct LabelledRow {
  std::size_t line = 0;
  std::vector<std::string> texts;  ///< as many as the table has text columns, when the row has them
  std::vector<double> values;      ///< empty when the row has a problem
  std::string problem;             ///< empty, or "line L, field F (name): what is wrong"

  /// The first text, by which messages name the row.
  const std::string& id() const {
    static const std::string none;
    return texts.empty() ? none : texts.front();
  }
};

/// A table `id,<any text columns>,f0..fN-1`.
struct LabelledTable {
  std::vector<std::string> text_names;
  std::vector<std::string> value_names;
  std::vector<LabelledRow> rows;  ///< every row of the file in its order, good or not
  std::size_t bad_rows = 0;
};

namespace detail {

inline std::string describe(NumberProblem problem, std::string_view text) {
  switch (problem) {
    case NumberProblem::out_of_range:
      return in_quotes(text) + " is outside the range of a double";
    case NumberProblem::not_finite:
      return in_quotes(text) + " is not finite";
    default:
      return text.find_first_not_of(" \t") == std::string_view::npos ? "a number expected, the field is empty"
                                                                     : in_quotes(text) + " is not a number";
  }
}

inline std::string place(std::size_t line, std::size_t field, const std::vector<std::string>& names) {
  std::string out = "line " + std::to_string(line) + ", field " + std::to_string(field + 1);
  if (field < names.size() && !names[field].empty()) out += " (" + names[field] + ")";
  return out + ": ";
}

inline std::string count_problem(std::size_t line, std::size_t expected, std::size_t found) {
  return "line " + std::to_string(line) + ": " + std::to_string(expected) + " fields expected, found " +
         std::to_string(found);
}

/// The names in a header row; throws IoError when it is broken or a name appears twice.
inline std::vector<std::string> header_names(const CsvRow& row, const std::string& source) {
  if (!row.problem.empty()) throw IoError(source + ": " + row.problem);
  std::vector<std::string> names(row.fields.begin(), row.fields.end());
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    throw IoError(source + ": column name " + in_quotes(*twice) + " appears twice in the header");
  return names;
}

}  // namespace detail

/// A table of which every field is a number. Throws IoError at the first problem.
inline NumericTable parse_numeric_csv(std::string_view text, CsvOptions options = {},
                                      const std::string& source = "CSV text") {
  CsvReader reader(text, options.limits, source);
  CsvRow row;
  NumericTable table;
  if (options.header) {
    if (!reader.next(row)) throw IoError(source + ": empty, a header expected");
    table.names = detail::header_names(row, source);
    table.columns = table.names.size();
  }
  while (reader.next(row)) {
    if (!row.problem.empty()) throw IoError(source + ": " + row.problem);
    if (!options.header && table.rows == 0) table.columns = row.fields.size();
    if (row.fields.size() != table.columns) {
      throw IoError(source + ": " + detail::count_problem(row.line, table.columns, row.fields.size()));
    }
    for (std::size_t c = 0; c < table.columns; ++c) {
      double value = 0;
      const NumberProblem problem = detail::parse_number(row.fields[c], value, options.allow_non_finite);
      if (problem != NumberProblem::none) {
        throw IoError(source + ": " + detail::place(row.line, c, table.names) +
                      detail::describe(problem, row.fields[c]));
      }
      table.values.push_back(value);
    }
    ++table.rows;
  }
  return table;
}

/// A table whose header is texts followed by `first`0, `first`1, ... (f0, f1, ... by default). A broken header throws
/// IoError; a broken row is kept with its problem, so that the others can be used.
inline LabelledTable parse_labelled_csv(std::string_view text, CsvOptions options = {},
                                        const std::string& source = "CSV text", const std::string& prefix = "f") {
  CsvReader reader(text, options.limits, source);
  CsvRow row;
  if (!reader.next(row)) throw IoError(source + ": empty, a header id,...," + prefix + "0,... expected");
  const std::vector<std::string> names = detail::header_names(row, source);
  const auto first = std::find(names.begin(), names.end(), prefix + "0");
  if (first == names.end() || first == names.begin()) {
    throw IoError(source + ": the header must hold text columns, then " + prefix + "0, " + prefix + "1, ...; column '" +
                  prefix + "0' " + (first == names.end() ? "is missing" : "comes first"));
  }
  LabelledTable table;
  table.text_names.assign(names.begin(), first);
  table.value_names.assign(first, names.end());
  for (std::size_t i = 0; i < table.value_names.size(); ++i) {
    if (table.value_names[i] != prefix + std::to_string(i)) {
      throw IoError(source + ": header field " + std::to_string(table.text_names.size() + i + 1) + " is " +
                    detail::in_quotes(table.value_names[i]) + ", expected '" + prefix + std::to_string(i) + "'");
    }
  }
  const std::size_t texts = table.text_names.size();
  while (reader.next(row)) {
    LabelledRow out;
    out.line = row.line;
    for (std::size_t c = 0; c < texts && c < row.fields.size(); ++c) out.texts.emplace_back(row.fields[c]);
    out.problem = row.problem;
    if (out.problem.empty() && row.fields.size() != names.size()) {
      out.problem = detail::count_problem(row.line, names.size(), row.fields.size());
    }
    if (out.problem.empty()) out.values.reserve(names.size() - texts);
    for (std::size_t c = texts; c < names.size() && out.problem.empty(); ++c) {
      double value = 0;
      const NumberProblem problem = detail::parse_number(row.fields[c], value, options.allow_non_finite);
      if (problem != NumberProblem::none) {
        out.problem = detail::place(row.line, c, names) + detail::describe(problem, row.fields[c]);
      }
      out.values.push_back(value);
    }
    if (!out.problem.empty()) {
      out.values.clear();
      ++table.bad_rows;
    }
    table.rows.push_back(std::move(out));
  }
  return table;
}

/// Reads a file of at most `limit` bytes as parse_numeric_csv does.
inline NumericTable load_numeric_csv(const std::filesystem::path& path, CsvOptions options = {},
                                     std::uint64_t limit = default_file_limit) {
  return parse_numeric_csv(read_text_file(path, limit), options, path.string());
}

/// Reads a file of at most `limit` bytes as parse_labelled_csv does.
inline LabelledTable load_labelled_csv(const std::filesystem::path& path, CsvOptions options = {},
                                       std::uint64_t limit = default_file_limit) {
  return parse_labelled_csv(read_text_file(path, limit), options, path.string());
}

/// Builds a CSV text field by field. Texts are quoted where needed, numbers are the shortest that read back equal.
class CsvWriter {
 public:
  explicit CsvWriter(char separator = ',') : separator_(separator) {}

  CsvWriter& text(std::string_view field) {
    separate();
    const char special[] = {separator_, '"', '\r', '\n'};
    // At the start of the text these bytes would be taken for a byte order mark.
    const bool like_a_mark = out_.empty() && (field.starts_with("\xef\xbb\xbf") || field.starts_with("\xff\xfe") ||
                                              field.starts_with("\xfe\xff"));
    const bool needs_quotes =
        like_a_mark || field.find_first_of(std::string_view(special, 4)) != std::string_view::npos;
    if (!needs_quotes) {
      out_ += field;
      // A row of one empty field would look like an empty line.
      empty_row_ = empty_row_ && field.empty();
      return *this;
    }
    empty_row_ = false;
    out_ += '"';
    for (const char c : field) {
      if (c == '"') out_ += '"';
      out_ += c;
    }
    out_ += '"';
    return *this;
  }

  template <class T>
  requires std::is_arithmetic_v<T> CsvWriter& number(T value) {
    separate();
    empty_row_ = false;
    out_ += to_text(value);
    return *this;
  }

  /// An empty field.
  CsvWriter& empty() { return text(""); }

  CsvWriter& end_row() {
    if (fields_ == 1 && empty_row_) out_ += "\"\"";
    out_ += '\n';
    fields_ = 0;
    empty_row_ = true;
    return *this;
  }

  /// A whole row of texts.
  CsvWriter& row(const std::vector<std::string>& texts) {
    for (const std::string& field : texts) text(field);
    return end_row();
  }

  /// Everything written so far.
  const std::string& str() const { return out_; }

 private:
  void separate() {
    if (fields_++ > 0) out_ += separator_;
  }

  char separator_;
  std::string out_;
  std::size_t fields_ = 0;
  bool empty_row_ = true;
};

}  // namespace kolmo::io
