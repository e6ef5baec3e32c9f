#pragma once
// Who wrote a file: host, process number and process start time. The start time tells a running process from a later
// one that got the same number.

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>

namespace kolmo::io {

/// Identity of a process. `start` is in clock ticks since the machine's start, 0 where the system does not tell.
struct ProcessIdentity {
  std::string host;
  std::int64_t pid = 0;
  std::uint64_t start = 0;
  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

namespace detail {

/// Field 22 of /proc/PID/stat, counted after the command name, which may itself contain spaces and brackets.
inline std::uint64_t process_start_time(std::int64_t pid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%lld/stat", static_cast<long long>(pid));
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return 0;
  char text[1024];
  const std::size_t length = std::fread(text, 1, sizeof text, file);
  std::fclose(file);
  std::string_view rest(text, length);
  const std::size_t name_end = rest.rfind(')');
  if (name_end == std::string_view::npos) return 0;
  rest.remove_prefix(name_end + 1);
  for (int field = 2; field < 22; ++field) {
    const std::size_t space = rest.find(' ');
    if (space == std::string_view::npos) return 0;
    rest.remove_prefix(space + 1);
  }
  std::uint64_t start = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), start);
  return start;
}

}  // namespace detail

inline std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "unknown";
  return name;
}

/// The identity of the calling process.
inline ProcessIdentity this_process() {
  const auto pid = static_cast<std::int64_t>(::getpid());
  return {host_name(), pid, detail::process_start_time(pid)};
}

/// Whether a process of this host still runs. A process of another host cannot be asked and counts as running.
inline bool may_be_running(const ProcessIdentity& process) {
  if (process.host != host_name()) return true;
  if (process.pid <= 0) return false;
  if (::kill(static_cast<pid_t>(process.pid), 0) != 0 && errno == ESRCH) return false;
  const std::uint64_t start = detail::process_start_time(process.pid);
  return start == 0 || process.start == 0 || start == process.start;
}

}  // namespace kolmo::io
