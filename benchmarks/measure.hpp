#pragma once
// Comparing kolmo with peers in one run. Both are called in turn, so that a busy machine disturbs both, and the
// medians are reported: the time in microseconds, and per peer how many times its time kolmo needs.

#include <time.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <kolmo/backend/threads.hpp>

namespace measure {

/// What a call moves and computes at least; zero when it says nothing.
struct Work {
  double bytes = 0;
  double flops = 0;
  double items = 0;  ///< fits, elements or nodes: adds a column with the time per item
};

/// A peer and its name in the report.
template <class F>
struct Peer {
  std::string name;
  F call;
};
template <class F>
Peer(std::string, F) -> Peer<F>;

namespace detail {

/// Processor time of this thread where it works alone, so that other programs on the machine disturb less; else the
/// wall clock.
inline double seconds() {
  timespec time{};
  clock_gettime(kolmo::threads::count() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

inline double median(std::vector<double>& times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

template <class F>
double time_of(const F& call, int repetitions) {
  const double begin = seconds();
  for (int i = 0; i < repetitions; ++i) call();
  return (seconds() - begin) / repetitions;
}

}  // namespace detail

/// Calls kolmo's function and every peer in turn in each iteration. Short calls are repeated within an iteration until
/// the clock resolves them.
template <class Ours, class... F>
void compare(benchmark::State& state, const Work& work, const Ours& ours, const Peer<F>&... peers) {
  ours();
  const double once = detail::time_of(ours, 1);
  const int repetitions = static_cast<int>(std::clamp(50e-6 / std::max(once, 1e-9), 1.0, 10000.0));
  std::vector<double> times;
  std::vector<std::vector<double>> peer_times(sizeof...(F));
  for (auto _ : state) {
    times.push_back(detail::time_of(ours, repetitions));
    std::size_t i = 0;
    ((peer_times[i++].push_back(detail::time_of(peers.call, repetitions))), ...);
    state.SetIterationTime(times.back());
  }
  const double typical = detail::median(times);
  state.counters["median_us"] = typical * 1e6;
  if (work.items > 0) state.counters["per_item_us"] = typical * 1e6 / work.items;
  if (work.bytes > 0) state.counters["GB/s"] = work.bytes / typical * 1e-9;
  if (work.flops > 0) state.counters["GFLOP/s"] = work.flops / typical * 1e-9;
  std::size_t i = 0;
  ((state.counters["ratio_" + peers.name] = typical / detail::median(peer_times[i++])), ...);
}

/// Registers a benchmark timed by compare().
template <class F>
void add(const std::string& name, const F& body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->UseManualTime()->Unit(benchmark::kMicrosecond);
}

/// Runs what was registered, on one thread unless a benchmark says otherwise.
inline int run(int argc, char** argv) {
  kolmo::threads::set_count(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace measure
