#pragma once
// Shared by the tests of io/: a directory that vanishes, and system calls whose n-th call fails.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/file.hpp>
#include <string>
#include <system_error>
#include <vector>

namespace kolmo::io::test {

/// A new directory, removed with everything in it at the end of the scope.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "kolmo_test_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw IoError("mkdtemp failed for " + name);
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  /// Names of the files inside, sorted.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::filesystem::path path_;
};

/// System calls of which the `fail_at`-th (from 1) fails with `code`. Every write is cut to `longest_write` bytes, and
/// every third one is interrupted once.
struct FaultyCalls {
  static inline int calls = 0;
  static inline int fail_at = 0;
  static inline int code = EIO;
  static inline std::size_t longest_write = 7;
  static inline int writes = 0;

  static void arm(int nth, int error) {
    calls = 0;
    writes = 0;
    fail_at = nth;
    code = error;
  }
  static bool fails() {
    if (++calls != fail_at) return false;
    errno = code;
    return true;
  }

  static int open(const char* path, int flags, mode_t mode) {
    return fails() ? -1 : SystemCalls::open(path, flags, mode);
  }
  static ssize_t write(int file, const void* bytes, std::size_t count) {
    if (fails()) return -1;
    if (++writes % 3 == 0) {
      errno = EINTR;
      return -1;
    }
    return SystemCalls::write(file, bytes, count < longest_write ? count : longest_write);
  }
  static int fsync(int file) { return fails() ? -1 : SystemCalls::fsync(file); }
  static int ftruncate(int file, off_t size) { return fails() ? -1 : SystemCalls::ftruncate(file, size); }
  static int close(int file) {
    // The kernel closes the descriptor even when it reports an error.
    const bool failed = fails();
    const int result = SystemCalls::close(file);
    if (failed) errno = code;
    return failed ? -1 : result;
  }
  static int rename(const char* from, const char* to) { return fails() ? -1 : SystemCalls::rename(from, to); }
  static int unlink(const char* path) { return fails() ? -1 : SystemCalls::unlink(path); }
};

/// The text of the kolmo::Error that `f` throws, or "no error".
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace kolmo::io::test
