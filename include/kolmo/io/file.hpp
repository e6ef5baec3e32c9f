#pragma once
// Whole files in and out. A file is replaced atomically: a temporary in the same directory is written, synchronised,
// renamed over the target, and the directory is synchronised. Whatever fails or whenever the process dies, the path
// holds either the previous content or the complete new one.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/process.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kolmo::io {

/// The system calls that change files. Functions that write take such a type as template parameter, so that a test can
/// pass one whose n-th call fails. Each function reports failure as the call of its name does, with errno.
struct SystemCalls {
  static int open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
  static ssize_t write(int file, const void* bytes, std::size_t count) { return ::write(file, bytes, count); }
  static int fsync(int file) { return ::fsync(file); }
  static int ftruncate(int file, off_t size) { return ::ftruncate(file, size); }
  static int close(int file) { return ::close(file); }
  static int rename(const char* from, const char* to) { return ::rename(from, to); }
  static int unlink(const char* path) { return ::unlink(path); }
};

namespace detail {

inline std::string error_text(int code) {
  return std::error_code(code, std::generic_category()).message() + " (errno " + std::to_string(code) + ")";
}

/// Closes a descriptor on every path; `close()` reports the failure, the destructor cannot.
template <class Calls>
class Descriptor {
 public:
  explicit Descriptor(int file = -1) : file_(file) {}
  Descriptor(Descriptor&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      close();
      file_ = std::exchange(other.file_, -1);
    }
    return *this;
  }
  ~Descriptor() { close(); }
  int get() const { return file_; }
  bool close() {
    if (file_ < 0) return true;
    // After EINTR Linux has closed the descriptor; calling again could close one of another thread.
    return Calls::close(std::exchange(file_, -1)) == 0 || errno == EINTR;
  }

 private:
  int file_;
};

template <class Calls>
int open_retrying(const std::string& path, int flags, mode_t mode = 0) {
  for (;;) {
    const int file = Calls::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (file >= 0 || errno != EINTR) return file;
  }
}

/// Writes all bytes; returns false with errno, and how many were written in `written`.
template <class Calls>
bool write_all(int file, std::span<const std::byte> bytes, std::uint64_t& written) {
  constexpr std::size_t chunk = std::size_t{1} << 28;
  while (!bytes.empty()) {
    const ssize_t count = Calls::write(file, bytes.data(), std::min(bytes.size(), chunk));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = ENOSPC;
    if (count <= 0) return false;
    written += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

template <class Calls>
bool fsync_retrying(int file) {
  while (Calls::fsync(file) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

inline constexpr std::string_view temporary_mark = ".kolmo-";
inline constexpr std::string_view temporary_end = ".tmp";

/// Name of a temporary beside `target`; it carries the writer's identity: NAME.kolmo-PID-START-N-HOST.tmp.
inline std::string temporary_path(const std::filesystem::path& target) {
  static std::atomic<std::uint64_t> counter{0};
  const ProcessIdentity self = this_process();
  std::string name = target.filename().string().substr(0, 100);
  name += std::string(temporary_mark) + std::to_string(self.pid) + "-" + std::to_string(self.start) + "-" +
          std::to_string(counter.fetch_add(1)) + "-" + self.host.substr(0, 64) + std::string(temporary_end);
  return (target.parent_path() / name).string();
}

/// Who wrote a temporary of this name, or nothing when the name is not one of a temporary.
inline std::optional<ProcessIdentity> temporary_owner(std::string_view name) {
  if (!name.ends_with(temporary_end)) return std::nullopt;
  name.remove_suffix(temporary_end.size());
  const std::size_t mark = name.rfind(temporary_mark);
  if (mark == std::string_view::npos) return std::nullopt;
  name.remove_prefix(mark + temporary_mark.size());
  std::uint64_t numbers[3];
  for (std::uint64_t& number : numbers) {
    const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (code != std::errc() || end == name.data() + name.size() || *end != '-') return std::nullopt;
    name.remove_prefix(static_cast<std::size_t>(end - name.data()) + 1);
  }
  return ProcessIdentity{std::string(name), static_cast<std::int64_t>(numbers[0]), numbers[1]};
}

}  // namespace detail

/// Default bound of readers that take a whole file: 64 GiB.
inline constexpr std::uint64_t default_file_limit = std::uint64_t{1} << 36;

/// The bytes of a file. Throws IoError when it cannot be read or is larger than `limit` bytes.
inline std::vector<std::byte> read_file(const std::filesystem::path& path, std::uint64_t limit = default_file_limit) {
  const auto fail = [&](const std::string& why) -> IoError {
    return IoError("cannot read " + path.string() + ": " + why);
  };
  const auto too_large = [&](std::uint64_t size) {
    return fail(std::to_string(size) + " bytes or more, the limit is " + std::to_string(limit));
  };
  detail::Descriptor<SystemCalls> file(detail::open_retrying<SystemCalls>(path.string(), O_RDONLY));
  if (file.get() < 0) throw fail(detail::error_text(errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw fail(detail::error_text(errno));
  if (S_ISDIR(status.st_mode)) throw fail("it is a directory");
  const std::uint64_t expected = status.st_size > 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
  if (expected > limit) throw too_large(expected);
  // One byte more than expected shows the end of the file without growing; pipes and /proc report size 0.
  std::vector<std::byte> bytes(static_cast<std::size_t>(expected) + 1);
  std::size_t filled = 0;
  for (;;) {
    if (filled == bytes.size()) bytes.resize(bytes.size() + std::max<std::size_t>(bytes.size() / 2, 65536));
    const ssize_t count = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw fail(detail::error_text(errno));
    if (count == 0) break;
    filled += static_cast<std::size_t>(count);
    if (filled > limit) throw too_large(filled);
  }
  bytes.resize(filled);
  return bytes;
}

/// As read_file, as text.
inline std::string read_text_file(const std::filesystem::path& path, std::uint64_t limit = default_file_limit) {
  const std::vector<std::byte> bytes = read_file(path, limit);
  return std::string(detail::as_text(bytes));
}

/// What a callback of write_atomically writes to.
template <class Calls>
class FileSink {
 public:
  FileSink(int file, std::string description) : file_(file), description_(std::move(description)) {}
  /// Throws IoError with the system's reason and the number of bytes written so far.
  void write(std::span<const std::byte> bytes) {
    if (!detail::write_all<Calls>(file_, bytes, written_)) {
      const int code = errno;
      throw IoError("cannot write " + description_ + ": " + detail::error_text(code) + " after " +
                    std::to_string(written_) + " bytes; the previous file, if any, is unchanged");
    }
  }
  void write(std::string_view text) { write(detail::as_bytes(text)); }
  std::uint64_t written() const { return written_; }

 private:
  int file_;
  std::string description_;
  std::uint64_t written_ = 0;
};

/// A file that replaces the one at `path` when it is committed, for writers that write bit by bit. Until then, and for
/// ever if the object ends without commit(), the path holds what it held. A symbolic link keeps pointing to the
/// replaced file; a path that is no regular file (a pipe, /dev/stdout) is written directly. A new file gets the mode
/// 0666 less the umask, a replaced one at most its former mode. Throws IoError.
template <class Calls = SystemCalls>
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path) : shown_(path.string()), sink_(-1, shown_) {
    struct stat status {};
    const bool exists = ::stat(path.c_str(), &status) == 0;
    if (exists && S_ISDIR(status.st_mode)) throw IoError("cannot write " + shown_ + ": it is a directory");
    if (exists && !S_ISREG(status.st_mode)) {
      file_ = detail::Descriptor<Calls>(detail::open_retrying<Calls>(shown_, O_WRONLY));
      if (file_.get() < 0) throw failure("open", errno);
    } else {
      std::error_code ignored;
      target_ = path;
      if (exists) target_ = std::filesystem::canonical(path, ignored);
      if (ignored) target_ = path;
      const mode_t mode = exists ? (status.st_mode & 0777) : 0666;
      const std::string name = detail::temporary_path(target_);
      file_ =
          detail::Descriptor<Calls>(detail::open_retrying<Calls>(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
      if (file_.get() < 0) throw failure("create the temporary file", errno);
      temporary_ = name;
    }
    sink_ = FileSink<Calls>(file_.get(), shown_);
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (!temporary_.empty()) Calls::unlink(temporary_.c_str());
  }

  FileSink<Calls>& sink() { return sink_; }
  int descriptor() const { return file_.get(); }
  /// The file that is written before the commit; empty when the path is written directly.
  const std::string& temporary() const { return temporary_; }

  /// Synchronises the file, renames it over the path and synchronises the directory. Nothing can be written afterwards.
  void commit() {
    if (temporary_.empty()) {
      if (!file_.close()) throw failure("close", errno);
      return;
    }
    if (!detail::fsync_retrying<Calls>(file_.get())) throw failure("fsync", errno);
    if (!file_.close()) throw failure("close", errno);
    if (Calls::rename(temporary_.c_str(), target_.c_str()) != 0) throw failure("rename", errno);
    temporary_.clear();

    const std::string directory = target_.has_parent_path() ? target_.parent_path().string() : std::string(".");
    const auto fail_directory = [&](int code) {
      return IoError("wrote " + shown_ + " completely, but cannot synchronise its directory: " +
                     detail::error_text(code) + "; after a power cut the previous file may reappear");
    };
    detail::Descriptor<Calls> parent(detail::open_retrying<Calls>(directory, O_RDONLY | O_DIRECTORY));
    if (parent.get() < 0) throw fail_directory(errno);
    // Some file systems refuse to synchronise directories and order renames by themselves.
    if (!detail::fsync_retrying<Calls>(parent.get()) && errno != EINVAL && errno != ENOTSUP)
      throw fail_directory(errno);
  }

 private:
  IoError failure(const char* step, int code) const {
    return IoError("cannot write " + shown_ + ": " + step + ": " + detail::error_text(code) + " after " +
                   std::to_string(sink_.written()) + " bytes; the previous file, if any, is unchanged");
  }

  std::string shown_, temporary_;
  std::filesystem::path target_;
  detail::Descriptor<Calls> file_;
  FileSink<Calls> sink_;
};

/// Replaces the file at `path` by what `produce(FileSink&)` writes, or leaves it as it was and throws IoError; the
/// rules are those of AtomicFile.
template <class Calls = SystemCalls, class Producer>
requires std::is_invocable_v < Producer&, FileSink<Calls>
& > void write_atomically(const std::filesystem::path& path, Producer&& produce) {
  AtomicFile<Calls> file(path);
  produce(file.sink());
  file.commit();
}

/// As above with the bytes at hand.
template <class Calls = SystemCalls>
void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  write_atomically<Calls>(path, [&](FileSink<Calls>& sink) { sink.write(bytes); });
}
template <class Calls = SystemCalls>
void write_atomically(const std::filesystem::path& path, std::string_view text) {
  write_atomically<Calls>(path, detail::as_bytes(text));
}

/// Removes the temporaries in `directory` whose writers are dead processes of this host; returns their names.
template <class Calls = SystemCalls>
std::vector<std::string> remove_stale_temporaries(const std::filesystem::path& directory) {
  std::vector<std::string> removed;
  std::error_code code;
  for (std::filesystem::directory_iterator it(directory, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    const auto owner = detail::temporary_owner(name);
    if (owner && !may_be_running(*owner) && Calls::unlink(it->path().c_str()) == 0) removed.push_back(name);
  }
  std::sort(removed.begin(), removed.end());
  return removed;
}

}  // namespace kolmo::io
