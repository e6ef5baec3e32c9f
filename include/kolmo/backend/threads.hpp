#pragma once
// Deterministic parallel loops on the host. Work is cut into tiles whose number and borders depend on
// the problem alone, never on the number of threads; which thread runs a tile does not matter, so the
// results have the same bits for any number of threads.

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo::threads {

namespace detail {

/// Workers that sleep between jobs. One job runs at a time; a nested or concurrent one runs serially
/// on its caller.
class Pool {
 public:
  static Pool& instance() {
    static Pool pool;
    return pool;
  }

  int count() const { return count_.load(std::memory_order_relaxed); }
  int available() const { return inside_ ? 1 : count(); }

  void set_count(int count) {
    if (inside_) throw ArgumentError("the number of threads cannot change inside a parallel loop; set it before");
    const std::lock_guard guard(job_mutex_);
    count_.store(count, std::memory_order_relaxed);
    stop_workers();
  }

  /// Calls run(context, tile) for every tile in [0, tiles). Rethrows the error of the lowest tile.
  void parallel_for(index_t tiles, void (*run)(const void*, index_t), const void* context) {
    if (tiles <= 1 || count() <= 1 || inside_ || !job_mutex_.try_lock()) {
      for (index_t tile = 0; tile < tiles; ++tile) run(context, tile);
      return;
    }
    const std::unique_lock guard(job_mutex_, std::adopt_lock);
    start_workers();
    error_ = nullptr;
    error_tile_ = tiles;
    {
      const std::lock_guard lock(mutex_);
      run_ = run;
      context_ = context;
      tiles_ = tiles;
      next_.store(0, std::memory_order_relaxed);
      busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work();
    for (int spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins)
      if (spins > spin_limit) std::this_thread::yield();
    if (error_) std::rethrow_exception(error_);
  }

  /// Calls f(); parallel loops inside run serially on this thread.
  template <class F>
  static void serially(const F& f) {
    struct Inside {
      bool before = inside_;
      Inside() { inside_ = true; }
      ~Inside() { inside_ = before; }
    };
    const Inside scope;
    f();
  }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  static constexpr int spin_limit = 2000;

  Pool() : count_(static_cast<int>(std::thread::hardware_concurrency())) {
    if (count() < 1) count_ = 1;
  }
  ~Pool() { stop_workers(); }

  void start_workers() {
    while (static_cast<int>(workers_.size()) < count() - 1) {
      const std::uint64_t seen = generation_.load(std::memory_order_relaxed);
      workers_.emplace_back([this, seen] { worker_loop(seen); });
    }
  }

  void stop_workers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
  }

  void worker_loop(std::uint64_t seen) {
    for (;;) {
      for (int spins = 0; spins < spin_limit && generation_.load(std::memory_order_acquire) == seen; ++spins) {
      }
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
        seen = generation_.load(std::memory_order_relaxed);
        if (stopping_) return;
      }
      work();
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  void work() {
    inside_ = true;
    for (;;) {
      const index_t tile = next_.fetch_add(1, std::memory_order_relaxed);
      if (tile >= tiles_) break;
      try {
        run_(context_, tile);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (tile < error_tile_) {
          error_tile_ = tile;
          error_ = std::current_exception();
        }
      }
    }
    inside_ = false;
  }

  inline static thread_local bool inside_ = false;

  std::atomic<int> count_;
  std::mutex job_mutex_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<index_t> next_{0};
  std::atomic<int> busy_{0};
  bool stopping_ = false;
  void (*run_)(const void*, index_t) = nullptr;
  const void* context_ = nullptr;
  index_t tiles_ = 0;
  std::exception_ptr error_;
  index_t error_tile_ = 0;
};

template <class F>
void run_tile(const void* context, index_t tile) {
  (*static_cast<const F*>(context))(tile);
}

}  // namespace detail

/// Number of threads that parallel loops of this process use; the number of processors unless set.
inline int count() { return detail::Pool::instance().count(); }

/// How many of them a loop that starts here would get: one inside a parallel loop.
inline int available() { return detail::Pool::instance().available(); }

/// Sets the number of threads. Throws ArgumentError unless count >= 1.
inline void set_count(int count) {
  if (count < 1) throw ArgumentError("the number of threads must be at least 1, given " + std::to_string(count));
  detail::Pool::instance().set_count(count);
}

/// Calls f(tile) for every tile in [0, tiles), in parallel. f must not depend on the order of tiles.
/// Called from inside a tile it runs serially.
template <class F>
void parallel_for(index_t tiles, const F& f) {
  detail::Pool::instance().parallel_for(tiles, &detail::run_tile<F>, &f);
}

/// Calls f() as if it were a tile: parallel loops inside run serially on this thread.
template <class F>
void serially(const F& f) {
  detail::Pool::serially(f);
}

/// The same for tiles that each run operations of backend B. A backend whose current stream belongs to a thread
/// says so by the constant `one_host_thread`; it is parallel by itself, and its tiles run in turn on the caller.
template <class B, class F>
void parallel_for_backend(index_t tiles, const F& f) {
  if constexpr (requires { requires B::one_host_thread; })
    for (index_t tile = 0; tile < tiles; ++tile) f(tile);
  else
    parallel_for(tiles, f);
}

}  // namespace kolmo::threads
