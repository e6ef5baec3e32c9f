#pragma once
// A progress line for long work: done of total, rate, time left and named values. It writes only to the stream it is
// given, and rewrites its line only where the stream is a terminal; elsewhere it writes a plain line now and then.

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <kolmo/io/number_text.hpp>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kolmo::io {

namespace detail {

/// "45 s", "3:07 min", "2:05 h" for a number of seconds.
inline std::string duration_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  const auto two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return std::to_string(whole / 60) + ":" + two(whole % 60) + " min";
  return std::to_string(whole / 3600) + ":" + two(whole / 60 % 60) + " h";
}

}  // namespace detail

/// How a progress line behaves.
struct ProgressOptions {
  std::string label{};           ///< what is being done; starts the line
  std::string unit = "steps";    ///< what is counted
  bool terminal = false;         ///< rewrite one line in place
  std::int64_t already_done = 0; ///< units finished before this run; they do not count in the rate
  double interval_seconds = -1;  ///< least time between two lines; negative: 0.2 on a terminal, 10 elsewhere
};

/// Named values at the end of the line.
using ProgressFields = std::vector<std::pair<std::string, double>>;

/// Reports on work of `total` units; `total` 0 means that the end is not known.
class Progress {
 public:
  using Clock = std::function<double()>;

  /// Writes to a stream of the standard library. `clock` gives seconds; tests replace it.
  Progress(std::ostream& stream, std::int64_t total, ProgressOptions options = {}, Clock clock = steady_clock())
      : Progress([&stream](std::string_view text) { stream << text << std::flush; }, total, std::move(options),
                 std::move(clock)) {}

  /// Writes to a C stream; whether it is a terminal is found out.
  Progress(std::FILE* stream, std::int64_t total, ProgressOptions options = {}, Clock clock = steady_clock())
      : Progress(
            [stream](std::string_view text) {
              std::fwrite(text.data(), 1, text.size(), stream);
              std::fflush(stream);
            },
            total, terminal_options(stream, std::move(options)), std::move(clock)) {}

  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    // An unfinished line on a terminal would run into what is written next.
    if (line_open_) write_("\n");
  }

  /// Reports that `done` units are finished; writes when enough time has passed since the last line.
  void update(std::int64_t done, const ProgressFields& fields = {}) {
    const double now = clock_();
    if (now - last_ < interval_) return;
    last_ = now;
    show(done, now, fields);
  }

  /// Writes the last line with the total time.
  void finish(std::int64_t done, const ProgressFields& fields = {}) {
    show(done, clock_(), fields, true);
    if (line_open_) write_("\n");
    line_open_ = false;
  }

 private:
  Progress(std::function<void(std::string_view)> write, std::int64_t total, ProgressOptions options, Clock clock)
      : write_(std::move(write)), total_(total), options_(std::move(options)), clock_(std::move(clock)) {
    start_ = clock_();
    interval_ = options_.interval_seconds >= 0 ? options_.interval_seconds : (options_.terminal ? 0.2 : 10);
    last_ = start_;
  }

  static Clock steady_clock() {
    return [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  }

  static ProgressOptions terminal_options(std::FILE* stream, ProgressOptions options) {
    options.terminal = ::isatty(::fileno(stream)) == 1;
    return options;
  }

  void show(std::int64_t done, double now, const ProgressFields& fields, bool last = false) {
    const double elapsed = now - start_;
    const double rate = elapsed > 0 ? static_cast<double>(done - options_.already_done) / elapsed : 0;
    std::string line = options_.label.empty() ? "" : options_.label + ": ";
    line += std::to_string(done);
    if (total_ > 0) line += "/" + std::to_string(total_);
    line += " " + options_.unit;
    if (total_ > 0) line += " (" + std::to_string(100 * done / total_) + " %)";
    if (rate > 0) line += ", " + to_text(rate, 3) + "/s";
    if (last) {
      line += ", " + detail::duration_text(elapsed);
    } else if (total_ > done && rate > 0) {
      line += ", " + detail::duration_text(static_cast<double>(total_ - done) / rate) + " left";
    }
    for (const auto& [name, value] : fields) line += ", " + name + " " + to_text(value, 5);
    if (!options_.terminal) {
      write_(line + "\n");
      return;
    }
    // Spaces cover what the line before was longer.
    const std::size_t length = line.size();
    if (length < shown_) line.append(shown_ - length, ' ');
    shown_ = length;
    line_open_ = true;
    write_("\r" + line);
  }

  std::function<void(std::string_view)> write_;
  std::int64_t total_;
  ProgressOptions options_;
  Clock clock_;
  double start_ = 0;
  double last_ = 0;
  double interval_ = 0;
  std::size_t shown_ = 0;
  bool line_open_ = false;
};

}  // namespace kolmo::io
