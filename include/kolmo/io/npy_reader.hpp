#pragma once
// NPY files row by row, for data that do not fit into memory or are wanted in part; NpyWriter is their counterpart.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/npy.hpp>
#include <string>
#include <utility>
#include <vector>

namespace kolmo::io {

/// An open NPY file. Its header is read and checked at once, its values when they are asked for.
class NpyReader {
 public:
  /// Throws IoError when the file cannot be read or is no NPY file of the size its header says.
  explicit NpyReader(const std::filesystem::path& path)
      : path_(path), file_(detail::open_retrying<SystemCalls>(path.string(), O_RDONLY)) {
    if (file_.get() < 0) throw failure(detail::error_text(errno));
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) throw failure(detail::error_text(errno));
    if (!S_ISREG(status.st_mode)) throw failure("it is no regular file");
    const auto size = static_cast<std::uint64_t>(status.st_size);
    std::vector<std::byte> start(
        static_cast<std::size_t>(std::min<std::uint64_t>(size, 12 + detail::npy_header_limit)));
    fill(start, 0);
    header_ = detail::parse_npy_header(start, size, path.string());
  }

  const std::vector<index_t>& shape() const { return header_.shape; }
  DType dtype() const { return header_.dtype; }

  /// Rows [first, first + count) of axis 0, in C order and this machine's byte order. Throws ShapeError for rows that
  /// are not there, and IoError.
  HostArray read(index_t first, index_t count) const {
    if (shape().empty() || first < 0 || count < 0 || first > shape()[0] || count > shape()[0] - first)
      throw ShapeError(path_.string() + " has shape " + shape_text(shape()) + "; rows " + std::to_string(first) +
                       " to " + std::to_string(first + count - 1) + " are not in it");
    std::vector<index_t> wanted = shape();
    wanted[0] = count;
    HostArray rows(dtype(), wanted);
    const std::uint64_t row = count == 0 ? 0 : rows.data.size() / static_cast<std::size_t>(count);
    const std::uint64_t begin = row * static_cast<std::uint64_t>(first);
    // Rows of an array in Fortran order are all over the file, and a bool must be looked at.
    if ((header_.fortran_order && shape().size() > 1) || dtype() == DType::bool_) {
      const HostArray whole = load_npy(path_);
      std::copy_n(whole.data.begin() + static_cast<std::ptrdiff_t>(begin), rows.data.size(), rows.data.begin());
      return rows;
    }
    fill(rows.data, header_.data_begin + begin);
    if (header_.big_endian) detail::swap_byte_order(rows.data, size_of(dtype()));
    return rows;
  }

 private:
  IoError failure(const std::string& why) const { return IoError("cannot read " + path_.string() + ": " + why); }

  void fill(std::vector<std::byte>& bytes, std::uint64_t offset) const {
    for (std::size_t filled = 0; filled < bytes.size();) {
      const ssize_t count =
          ::pread(file_.get(), bytes.data() + filled, bytes.size() - filled, static_cast<off_t>(offset + filled));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw failure(detail::error_text(errno));
      if (count == 0) throw failure("it has become shorter while it was read");
      filled += static_cast<std::size_t>(count);
    }
  }

  std::filesystem::path path_;
  detail::Descriptor<SystemCalls> file_;
  detail::NpyHeader header_;
};

}  // namespace kolmo::io
