#pragma once
// NumPy's array files (NPY versions 1.0, 2.0 and 3.0).
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
//
// Numbers of either byte order and arrays in C or Fortran order are read. Object arrays hold pickled Python code and
// are refused, as are structured, complex and text arrays.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/host_array.hpp>
#include <kolmo/io/number_text.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kolmo::io {

namespace detail {

inline constexpr std::string_view npy_magic{"\x93NUMPY", 6};
inline constexpr std::size_t npy_header_limit = 65536;
inline constexpr std::size_t npy_rank_limit = 64;

/// "f4", "i8", ... as in the descr field, without the byte order.
inline std::string_view npy_name(DType dtype) {
  constexpr std::string_view names[] = {"f4", "f8", "f2", "", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"};
  return names[static_cast<std::size_t>(dtype)];
}

/// What an NPY header says.
struct NpyHeader {
  DType dtype = DType::f32;
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<index_t> shape;
  std::uint64_t data_begin = 0;  ///< where the values start in the file
};

/// Reads the Python dictionary of an NPY header: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
class NpyHeaderReader {
 public:
  NpyHeaderReader(std::string_view text, const std::string& source, std::size_t base)
      : text_(text), source_(source), base_(base) {}

  NpyHeader read() {
    bool have_descr = false, have_order = false, have_shape = false;
    expect('{');
    while (peek() != '}') {
      const std::string_view key = quoted_text();
      expect(':');
      if (key == "descr") {
        once(have_descr, key);
        read_descr();
      } else if (key == "fortran_order") {
        once(have_order, key);
        header_.fortran_order = read_flag();
      } else if (key == "shape") {
        once(have_shape, key);
        read_shape();
      } else {
        fail("unknown key " + in_quotes(key));
      }
      if (peek() != ',') break;
      ++position_;
    }
    expect('}');
    if (peek() != '\0' || position_ < text_.size()) fail("text after the dictionary");
    if (!have_descr || !have_order || !have_shape) fail("the keys descr, fortran_order and shape are needed");
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail(const std::string& rule) const {
    throw IoError(source_ + ", byte " + std::to_string(base_ + position_) + ": " + rule);
  }
  void once(bool& seen, std::string_view key) const {
    if (seen) fail("key " + in_quotes(key) + " appears twice");
    seen = true;
  }
  char peek() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\n')) ++position_;
    return position_ < text_.size() ? text_[position_] : '\0';
  }
  void expect(char wanted) {
    if (peek() != wanted || position_ >= text_.size()) fail(std::string("'") + wanted + "' expected");
    ++position_;
  }
  std::string_view quoted_text() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail("a text in quotes expected");
    const std::size_t begin = ++position_;
    while (position_ < text_.size() && text_[position_] != quote && text_[position_] != '\\') ++position_;
    if (position_ >= text_.size() || text_[position_] != quote)
      fail("a text without escapes and with a closing quote expected");
    return text_.substr(begin, position_++ - begin);
  }
  bool read_flag() {
    peek();
    for (const std::string_view word : {std::string_view("True"), std::string_view("False")}) {
      if (text_.substr(position_, word.size()) == word) {
        position_ += word.size();
        return word == "True";
      }
    }
    fail("True or False expected");
  }
  void read_descr() {
    if (peek() == '[') fail("structured arrays are not supported; save each field as an array of its own");
    const std::string_view descr = quoted_text();
    if (descr.find('O') != std::string_view::npos) {
      fail("an object array holds pickled Python code and is not read; save it as numbers");
    }
    const char order = descr.empty() ? '\0' : descr.front();
    for (int code = 0; code <= static_cast<int>(DType::bool_); ++code) {
      const auto dtype = static_cast<DType>(code);
      const std::string_view name = npy_name(dtype);
      const bool order_fits = size_of(dtype) == 1 ? std::string_view("|<>=").find(order) != std::string_view::npos
                                                  : std::string_view("<>=").find(order) != std::string_view::npos;
      if (!name.empty() && order != '\0' && descr.substr(1) == name && order_fits) {
        header_.dtype = dtype;
        header_.big_endian = order == '>';
        return;
      }
    }
    fail("element type " + in_quotes(descr) + " is not supported; real numbers, integers and bools are");
  }
  void read_shape() {
    expect('(');
    bool comma = false;
    while (peek() != ')') {
      const std::size_t begin = position_;
      while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') ++position_;
      index_t extent = 0;
      if (!parse_whole(text_.substr(begin, position_ - begin), extent)) fail("an extent below 2^63 expected");
      if (header_.shape.size() == npy_rank_limit) fail("more than 64 dimensions");
      header_.shape.push_back(extent);
      comma = peek() == ',';
      if (!comma) break;
      ++position_;
    }
    expect(')');
    if (header_.shape.size() == 1 && !comma) fail("a tuple of one extent needs a comma");
  }

  std::string_view text_;
  const std::string& source_;
  std::size_t base_;
  std::size_t position_ = 0;
  NpyHeader header_;
};

/// Elements from Fortran to C order: the first index varies fastest in `from`, the last in the result.
inline std::vector<std::byte> from_fortran_order(std::span<const std::byte> from, std::span<const index_t> shape,
                                                 std::size_t size) {
  std::vector<std::byte> out(from.size());
  std::vector<index_t> index(shape.size(), 0);
  std::vector<std::size_t> stride(shape.size(), size);
  for (std::size_t d = 1; d < shape.size(); ++d) stride[d] = stride[d - 1] * static_cast<std::size_t>(shape[d - 1]);
  std::size_t source = 0;
  for (std::size_t target = 0; target < out.size(); target += size) {
    std::memcpy(out.data() + target, from.data() + source, size);
    for (std::size_t d = shape.size(); d-- > 0;) {
      source += stride[d];
      if (++index[d] < shape[d]) break;
      source -= stride[d] * static_cast<std::size_t>(shape[d]);
      index[d] = 0;
    }
  }
  return out;
}

}  // namespace detail

namespace detail {

/// The header at the start of a file of `total` bytes, of which `bytes` are at least the header. Throws IoError unless
/// the file has just the bytes that the shape needs.
inline NpyHeader parse_npy_header(std::span<const std::byte> bytes, std::uint64_t total, const std::string& source) {
  const auto fail = [&](std::uint64_t offset, const std::string& rule) {
    throw IoError(source + ", byte " + std::to_string(offset) + ": " + rule);
  };
  const std::string_view text = as_text(bytes);
  if (!text.starts_with(npy_magic) || total < 10 || bytes.size() < 10) fail(0, "this is no NPY file");
  const unsigned major = std::to_integer<unsigned>(bytes[6]), minor = std::to_integer<unsigned>(bytes[7]);
  if (major < 1 || major > 3 || minor != 0) {
    fail(6, "NPY version " + std::to_string(major) + "." + std::to_string(minor) + " found, 1.0 to 3.0 are read");
  }
  const std::size_t prefix = major == 1 ? 10 : 12;
  if (bytes.size() < prefix) fail(8, "the file ends in its header");
  const std::size_t length =
      major == 1 ? load_unaligned<std::uint16_t>(bytes.data() + 8) : load_unaligned<std::uint32_t>(bytes.data() + 8);
  if (length > npy_header_limit) fail(8, "header length " + std::to_string(length) + " is above 65536");
  if (length > total - prefix || length > bytes.size() - prefix) {
    fail(8, "header length " + std::to_string(length) + " exceeds the " + std::to_string(total - prefix) +
                " bytes that follow");
  }
  NpyHeader header = NpyHeaderReader(text.substr(prefix, length), source, prefix).read();

  const std::size_t size = size_of(header.dtype);
  std::uint64_t expected = size;
  bool empty = false;
  for (const index_t extent : header.shape) {
    empty = empty || extent == 0;
    if (extent != 0 && __builtin_mul_overflow(expected, static_cast<std::uint64_t>(extent), &expected))
      expected = UINT64_MAX;
    if (expected > static_cast<std::uint64_t>(INT64_MAX))
      fail(prefix, "the size of shape " + shape_text(header.shape) + " overflows");
  }
  if (empty) expected = 0;
  header.data_begin = prefix + length;
  if (total - header.data_begin != expected) {
    fail(prefix + length, "shape " + shape_text(header.shape) + " of " + std::string(name_of(header.dtype)) +
                              " needs " + std::to_string(expected) + " bytes, found " +
                              std::to_string(total - header.data_begin));
  }
  return header;
}

}  // namespace detail

/// The array in the bytes of an NPY file, in C order and this machine's byte order. Throws IoError with `source`, the
/// byte offset and the rule that is broken; bytes after the data are refused.
inline HostArray parse_npy(std::span<const std::byte> bytes, const std::string& source = "NPY data") {
  detail::NpyHeader header = detail::parse_npy_header(bytes, bytes.size(), source);
  const std::size_t size = size_of(header.dtype);
  const std::span<const std::byte> data = bytes.subspan(static_cast<std::size_t>(header.data_begin));
  HostArray array;
  array.dtype = header.dtype;
  if (header.fortran_order && header.shape.size() > 1) {
    array.data = detail::from_fortran_order(data, header.shape, size);
  } else {
    array.data.assign(data.begin(), data.end());
  }
  array.shape = std::move(header.shape);
  if (header.big_endian) detail::swap_byte_order(array.data, size);
  if (array.dtype == DType::bool_) {
    const auto bad = std::find_if(data.begin(), data.end(), [](std::byte b) { return std::to_integer<int>(b) > 1; });
    if (bad != data.end()) {
      throw IoError(source + ", byte " +
                    std::to_string(header.data_begin + static_cast<std::uint64_t>(bad - data.begin())) +
                    ": a bool that is neither 0 nor 1");
    }
  }
  return array;
}

namespace detail {

/// Magic, length and dictionary, padded so that the data start at a multiple of 64.
inline std::string npy_header(DType dtype, std::span<const index_t> shape) {
  const std::string_view name = npy_name(dtype);
  if (name.empty()) throw ArgumentError("NPY has no type for bf16; convert the array first");
  if (shape.size() > npy_rank_limit) throw ShapeError("NPY arrays have at most 64 axes, given " + shape_text(shape));
  std::string dictionary = "{'descr': '" + std::string(size_of(dtype) == 1 ? "|" : "<") + std::string(name) +
                           "', 'fortran_order': False, 'shape': (";
  for (std::size_t d = 0; d < shape.size(); ++d) dictionary += (d > 0 ? ", " : "") + std::to_string(shape[d]);
  dictionary += shape.size() == 1 ? ",), }" : "), }";
  dictionary.append((64 - (10 + dictionary.size() + 1) % 64) % 64, ' ');
  dictionary += '\n';
  std::string header(npy_magic);
  header += std::string("\x01\x00", 2);
  append_little_endian(header, static_cast<std::uint16_t>(dictionary.size()));
  return header + dictionary;
}

inline std::string npy_header(const HostArray& array) {
  if (static_cast<std::size_t>(array.size()) * size_of(array.dtype) != array.data.size()) {
    throw ShapeError("an array of shape " + shape_text(array.shape) + " and type " + std::string(name_of(array.dtype)) +
                     " holds " + std::to_string(array.data.size()) + " bytes");
  }
  return npy_header(array.dtype, array.shape);
}

}  // namespace detail

/// The bytes of an NPY file (version 1.0). Throws ArgumentError for bf16, which NumPy does not have.
inline std::vector<std::byte> to_npy(const HostArray& array) {
  const std::string header = detail::npy_header(array);
  const auto start = detail::as_bytes(header);
  std::vector<std::byte> bytes(start.begin(), start.end());
  bytes.insert(bytes.end(), array.data.begin(), array.data.end());
  return bytes;
}

/// Reads a file of at most `limit` bytes; throws IoError.
inline HostArray load_npy(const std::filesystem::path& path, std::uint64_t limit = default_file_limit) {
  return parse_npy(read_file(path, limit), path.string());
}

/// Writes a file atomically.
template <class Calls = SystemCalls>
void save_npy(const std::filesystem::path& path, const HostArray& array) {
  const std::string header = detail::npy_header(array);
  write_atomically<Calls>(path, [&](FileSink<Calls>& sink) {
    sink.write(header);
    sink.write(array.data);
  });
}

/// Writes one array of a known shape bit by bit, for data that do not fit into memory: the values follow each other in
/// C order. The file appears, whole, with finish(); without it the path keeps what it held. Throws IoError.
template <Storable T, class Calls = SystemCalls>
class NpyWriter {
 public:
  NpyWriter(const std::filesystem::path& path, std::vector<index_t> shape)
      : path_(path), shape_(std::move(shape)), left_(element_count(shape_)), file_(path) {
    file_.sink().write(detail::npy_header(dtype_of<T>, shape_));
  }
  /// The next values; throws ShapeError when there are more than the shape has left.
  void write(std::span<const T> values) {
    if (static_cast<index_t>(values.size()) > left_) {
      throw ShapeError(std::to_string(values.size()) + " values given for " + path_.string() + ", but shape " +
                       shape_text(shape_) + " has room for " + std::to_string(left_) + " more");
    }
    file_.sink().write(std::as_bytes(values));
    left_ -= static_cast<index_t>(values.size());
  }
  /// Values that are still to come.
  index_t left() const { return left_; }
  /// Puts the file in place. Throws ShapeError while values are missing.
  void finish() {
    if (left_ != 0) {
      throw ShapeError(path_.string() + " is not complete: " + std::to_string(left_) + " values of shape " +
                       shape_text(shape_) + " are missing");
    }
    file_.commit();
  }

 private:
  std::filesystem::path path_;
  std::vector<index_t> shape_;
  index_t left_;
  AtomicFile<Calls> file_;
};

}  // namespace kolmo::io
