#pragma once
// One writer for a run directory. The lock is held by the kernel, so it ends with the process however that ends; the
// file's text says who holds it, for the message that a second writer gets.

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/process.hpp>
#include <string>
#include <utility>

namespace kolmo::io {

/// What to do with a lock file left by a process of another host that no longer holds the kernel's lock.
enum class ForeignLock {
  refuse,    ///< the file system may not share locks between hosts, so its owner may still run
  take_over  ///< the caller knows that the owner is gone
};

/// Holds a lock file from construction to destruction.
class RunLock {
 public:
  /// Throws IoError naming host, pid and start time of the holder when the lock is held. The file of a dead process of
  /// this host is taken over.
  explicit RunLock(std::filesystem::path path, ForeignLock foreign = ForeignLock::refuse) : path_(std::move(path)) {
    for (;;) {
      file_ =
          detail::Descriptor<SystemCalls>(detail::open_retrying<SystemCalls>(path_.string(), O_RDWR | O_CREAT, 0666));
      if (file_.get() < 0) throw failure("open", errno);
      if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) throw failure("lock", errno);
        throw IoError("cannot lock " + path_.string() + ": held by " + read_record() +
                      "; wait for that process or use another run directory");
      }
      // The previous holder may have removed the file between our open and our lock.
      struct stat mine {
      }, named{};
      if (::fstat(file_.get(), &mine) != 0) throw failure("stat", errno);
      if (::stat(path_.c_str(), &named) == 0 && mine.st_ino == named.st_ino && mine.st_dev == named.st_dev) break;
    }
    const std::string left = read_record();
    const std::string own_host = "host " + host_name() + ",";
    took_over_ = !left.empty();
    if (took_over_ && left.compare(0, own_host.size(), own_host) != 0 && foreign == ForeignLock::refuse) {
      throw IoError("cannot lock " + path_.string() + ": left by " + left + ", whose end cannot be seen from " +
                    host_name() + "; delete the file if that process is gone");
    }
    write_record();
  }
  RunLock(RunLock&& other) noexcept
      : path_(std::exchange(other.path_, {})), file_(std::move(other.file_)), took_over_(other.took_over_) {}
  RunLock& operator=(RunLock&&) = delete;
  ~RunLock() {
    if (file_.get() >= 0) ::unlink(path_.c_str());
  }

  /// True when a dead process had left the lock.
  bool took_over() const { return took_over_; }

 private:
  IoError failure(const char* step, int code) const {
    return IoError("cannot lock " + path_.string() + ": " + step + ": " + detail::error_text(code));
  }

  std::string read_record() const {
    char text[512];
    const ssize_t count = ::pread(file_.get(), text, sizeof text, 0);
    std::string record(text, count > 0 ? static_cast<std::size_t>(count) : 0);
    while (!record.empty() && record.back() == '\n') record.pop_back();
    return record;
  }

  void write_record() {
    const ProcessIdentity self = this_process();
    std::tm utc{};
    const std::time_t now = std::time(nullptr);
    ::gmtime_r(&now, &utc);
    char when[32];
    const std::size_t length = std::strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &utc);
    const std::string record = "host " + self.host + ", pid " + std::to_string(self.pid) + ", started at tick " +
                               std::to_string(self.start) + ", locked " + std::string(when, length) + "\n";
    std::uint64_t written = 0;
    if (::ftruncate(file_.get(), 0) != 0) throw failure("truncate", errno);
    if (!detail::write_all<SystemCalls>(file_.get(), detail::as_bytes(record), written)) throw failure("write", errno);
  }

  std::filesystem::path path_;
  detail::Descriptor<SystemCalls> file_;
  bool took_over_ = false;
};

}  // namespace kolmo::io
