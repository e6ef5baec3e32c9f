#pragma once
// A file that grows by whole records: each is one write, and one that fails leaves what was there before.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/file.hpp>
#include <span>
#include <string>

namespace kolmo::io {

template <class Calls = SystemCalls>
class AppendFile {
 public:
  AppendFile() = default;
  /// Opens a file to append to it; `flags` are further ones of open(2), such as O_CREAT. Throws IoError.
  explicit AppendFile(std::filesystem::path path, int flags = 0)
      : path_(std::move(path)), file_(detail::open_retrying<Calls>(path_.string(), O_WRONLY | O_APPEND | flags, 0666)) {
    if (file_.get() < 0) throw IoError("cannot write " + path_.string() + ": open: " + detail::error_text(errno));
    size_ = ::lseek(file_.get(), 0, SEEK_END);
    if (size_ < 0) size_ = 0;
  }

  const std::filesystem::path& path() const { return path_; }

  /// Appends one record. When the write fails, what was written of it is removed and IoError thrown.
  void append(std::span<const std::byte> record) {
    std::uint64_t written = 0;
    if (!detail::write_all<Calls>(file_.get(), record, written)) {
      const int code = errno;
      if (written > 0) static_cast<void>(Calls::ftruncate(file_.get(), size_));
      throw IoError("cannot write " + path_.string() + ": " + detail::error_text(code) + " after " +
                    std::to_string(size_) + " bytes; what was there before is unchanged");
    }
    size_ += static_cast<off_t>(record.size());
  }

  /// Makes the records durable. Throws IoError.
  void sync() {
    if (!detail::fsync_retrying<Calls>(file_.get()))
      throw IoError("cannot write " + path_.string() + ": fsync: " + detail::error_text(errno));
  }

 private:
  std::filesystem::path path_;
  detail::Descriptor<Calls> file_;
  off_t size_ = 0;
};

}  // namespace kolmo::io
