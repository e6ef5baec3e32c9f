#pragma once
// How the programs of gpu_report measure and what they print: one JSON object a line.
//
// A row is timed with events on the current stream, so that both the device's work and the gaps in which it waits for
// the host count. Warm-up first; then samples of about a millisecond or one call, whichever is longer; the median and
// the quartiles. A call gets the number of the repetition, so that it can take its inputs from buffers that are
// together larger than the second-level cache. Every row states against what its result was checked; a row whose check
// fails, and NaN does, is reported as failed and has no time.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include <kolmo/cuda/runtime.hpp>

namespace gpu {

using kolmo::index_t;

/// What a call moves through device memory and computes at least. `unit` names the measured ceiling of the arithmetic:
/// bf16, tf32, float or double.
struct Work {
  double bytes = 0;
  double flops = 0;
  const char* unit = "float";
  double items = 0;  ///< fits, vectors or cases: adds a time per item
};

/// How far the result was from what it should be.
struct Check {
  double error = std::numeric_limits<double>::quiet_NaN();
  double tolerance = 0;
  const char* against = "";

  bool passed() const { return error <= tolerance; }
};

struct Timing {
  double median = 0, low = 0, high = 0;  ///< seconds of a call; the quartiles
  int samples = 0;
};

/// Device memory that a set of rotating buffers must exceed: several times any second-level cache.
inline constexpr double cold_bytes = 256e6;

/// Buffers of `bytes` each that a rotation needs, so that none is still in the cache when its turn comes.
inline index_t rotation(double bytes, bool tiny) {
  if (tiny) return 1;
  return static_cast<index_t>(std::clamp(std::ceil(cold_bytes / std::max(bytes, 1.0)), 2.0, 64.0));
}

namespace detail {

inline void check(cudaError_t code, const char* call) { kolmo::detail::check_cuda(code, call); }

class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, 0), "cudaEventCreateWithFlags"); }
  ~Event() { static_cast<void>(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record() { check(cudaEventRecord(event_, kolmo::Cuda::stream()), "cudaEventRecord"); }
  double seconds_since(const Event& begin) const {
    check(cudaEventSynchronize(event_), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin.event_, event_), "cudaEventElapsedTime");
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

inline std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  }
  return result + '"';
}

inline std::string number(double value) {
  if (!(std::fabs(value) <= std::numeric_limits<double>::max())) return "null";
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

}  // namespace detail

/// Seconds on the host's clock, for what waits for the device by itself.
inline double host_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Largest |a - b| over the largest |b|; NaN where a value is not finite or nothing was compared.
template <class A, class B>
double relative_error(const std::vector<A>& a, const std::vector<B>& b) {
  double scale = 0, error = 0;
  if (a.size() != b.size() || a.empty()) return std::numeric_limits<double>::quiet_NaN();
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    if (!(std::fabs(x) <= std::numeric_limits<double>::max()) || !(std::fabs(y) <= std::numeric_limits<double>::max()))
      return std::numeric_limits<double>::quiet_NaN();
    scale = std::max(scale, std::fabs(y));
    error = std::max(error, std::fabs(x - y));
  }
  return scale > 0 ? error / scale : error;
}

class Report {
 public:
  Report(bool tiny, std::string wanted, double seconds) : tiny_(tiny), wanted_(std::move(wanted)), seconds_(seconds) {}

  bool tiny() const { return tiny_; }
  /// Another name than kolmo in the column of who was measured.
  void call_itself(const std::string& who) { who_ = who; }
  bool failed() const { return failed_; }
  bool wants(const std::string& row) const { return row.find(wanted_) != std::string::npos; }

  /// Runs a part of a program; an exception becomes a failed row and the rest goes on.
  void part(const std::string& row, const std::function<void()>& body) {
    if (!wants(row)) return;
    try {
      body();
    } catch (const std::exception& error) {
      fail(row, error.what());
    }
  }

  void fail(const std::string& row, const std::string& why) {
    failed_ = true;
    std::printf("{\"row\": %s, \"who\": %s, \"failed\": %s}\n", detail::quoted(row).c_str(),
                detail::quoted(who_).c_str(), detail::quoted(why).c_str());
    std::fflush(stdout);
  }

  /// Times call(repetition) if the check passed.
  template <class F>
  void row(const std::string& name, const Work& work, const Check& check, const F& call, const std::string& note = "") {
    if (refuses(name, check)) return;
    add(name, work, check, time(call), note);
  }

  /// A row whose time was measured otherwise.
  void add(const std::string& name, const Work& work, const Check& check, const Timing& timing,
           const std::string& note = "") {
    if (refuses(name, check)) return;
    std::string line = "{\"row\": " + detail::quoted(name) + ", \"who\": " + detail::quoted(who_);
    const auto value = [&](const char* key, double v) {
      line += std::string(", \"") + key + "\": " + detail::number(v);
    };
    value("seconds", timing.median);
    value("low", timing.low);
    value("high", timing.high);
    value("samples", timing.samples);
    if (work.bytes > 0) value("bytes", work.bytes);
    if (work.flops > 0) {
      value("flops", work.flops);
      line += ", \"unit\": " + detail::quoted(work.unit);
    }
    if (work.items > 0) value("items", work.items);
    value("error", check.error);
    value("tolerance", check.tolerance);
    line += ", \"against\": " + detail::quoted(check.against);
    if (!note.empty()) line += ", \"note\": " + detail::quoted(note);
    if (tiny_) line += ", \"tiny\": true";
    std::printf("%s}\n", line.c_str());
    std::fflush(stdout);
  }

  /// Seconds of call(repetition).
  template <class F>
  Timing time(const F& call) const {
    using detail::Event;
    index_t turn = 0;
    const auto sample = [&](int repetitions) {
      Event begin, end;
      begin.record();
      for (int i = 0; i < repetitions; ++i) call(turn++);
      end.record();
      return end.seconds_since(begin) / repetitions;
    };
    const double began = host_seconds();
    double once = sample(1);
    // Clocks rise and lazy loading ends within some calls.
    const int warm_calls = tiny_ ? 1 : 5;
    for (int i = 0; i < warm_calls && host_seconds() - began < 0.5 * seconds_; ++i) once = sample(1);
    const int repetitions = tiny_ ? 1 : static_cast<int>(std::clamp(1e-3 / std::max(once, 1e-7), 1.0, 1000.0));
    const int most = tiny_ ? 2 : 51, least = tiny_ ? 2 : 3;
    std::vector<double> times;
    const double start = host_seconds();
    while (static_cast<int>(times.size()) < most &&
           (static_cast<int>(times.size()) < least || host_seconds() - start < seconds_))
      times.push_back(sample(repetitions));
    return summary(times);
  }

  static Timing summary(std::vector<double> times) {
    std::sort(times.begin(), times.end());
    const std::size_t n = times.size();
    return {times[n / 2], times[n / 4], times[3 * n / 4], static_cast<int>(n)};
  }

 private:
  bool refuses(const std::string& name, const Check& check) {
    if (!wants(name)) return true;
    if (check.passed()) return false;
    fail(name, std::string("the result is wrong: error ") + detail::number(check.error) + " against " + check.against +
                   ", at most " + detail::number(check.tolerance));
    return true;
  }

  bool tiny_;
  std::string wanted_, who_ = "kolmo";
  double seconds_;
  bool failed_ = false;
};

/// What ctest takes for "skipped".
inline constexpr int skipped = 77;

/// The main function of a program: reads the options, runs the body, returns the exit status.
template <class Body>
int run(const char* what, int argc, char** argv, const Body& body) {
  bool tiny = false;
  std::string wanted;
  double seconds = 0.6;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--tiny") {
      tiny = true;
    } else if (option == "--rows" && i + 1 < argc) {
      wanted = argv[++i];
    } else if (option == "--seconds" && i + 1 < argc) {
      seconds = std::atof(argv[++i]);
    } else {
      std::printf(
          "%s\n\nusage: %s [--tiny] [--rows PART] [--seconds S]\n"
          "  --tiny       the smallest sizes, to see that it runs\n"
          "  --rows PART  only the rows whose names contain PART\n"
          "  --seconds S  time each row for about S seconds (0.6)\n"
          "Prints one JSON object a line; the exit status is 1 where a check failed, 77 without a GPU.\n",
          what, argv[0]);
      return option == "--help" ? 0 : 2;
    }
  }
  if (!kolmo::Cuda::available()) {
    std::fprintf(stderr, "%s: no GPU that the installed driver can use\n", argv[0]);
    return skipped;
  }
  Report report(tiny, wanted, seconds);
  body(report);
  return report.failed() ? 1 : 0;
}

}  // namespace gpu
