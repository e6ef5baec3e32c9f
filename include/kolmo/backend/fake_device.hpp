#pragma once
// FakeDevice: a backend on the CPU whose memory faults when host code touches it outside a kernel or a
// copy. It finds the mistakes that would crash on a GPU, on machines without one. For tests.

#include <sys/mman.h>

#include <map>
#include <mutex>

#include <kolmo/backend/cpu.hpp>

namespace kolmo {

namespace detail {

/// One reserved address range; pages are accessible only while a window is open.
class GuardedArena {
 public:
  static GuardedArena& instance() {
    // Never destroyed: tensors of static storage duration may return their memory later than any object.
    static GuardedArena* arena = new GuardedArena;
    return *arena;
  }

  void* allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const std::size_t size = (larger<std::size_t>(bytes, 1) + host_alignment - 1) / host_alignment * host_alignment;
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->second < size) continue;
      const std::size_t offset = it->first, rest = it->second - size;
      free_.erase(it);
      if (rest > 0) free_[offset + size] = rest;
      used_[offset] = size;
      return base_ + offset;
    }
    if (top_ + size > capacity)
      throw OutOfMemory("the guarded device could not allocate " + std::to_string(bytes) + " bytes: " +
                        std::to_string(capacity - top_) + " of " + std::to_string(capacity) + " are left");
    const std::size_t offset = top_;
    top_ += size;
    used_[offset] = size;
    if (windows_ > 0) protect(PROT_READ | PROT_WRITE);
    return base_ + offset;
  }

  void deallocate(void* block) noexcept {
    const std::lock_guard lock(mutex_);
    const auto offset = static_cast<std::size_t>(static_cast<char*>(block) - base_);
    const auto it = used_.find(offset);
    std::size_t size = it->second;
    used_.erase(it);
    auto next = free_.lower_bound(offset);
    if (next != free_.end() && offset + size == next->first) {
      size += next->second;
      next = free_.erase(next);
    }
    if (next != free_.begin()) {
      const auto previous = std::prev(next);
      if (previous->first + previous->second == offset) {
        previous->second += size;
        return;
      }
    }
    free_[offset] = size;
  }

  void open() {
    const std::lock_guard lock(mutex_);
    if (windows_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (--windows_ == 0) protect(PROT_NONE);
  }

 private:
  static constexpr std::size_t capacity = std::size_t{1} << 30;

  GuardedArena() {
    void* range = mmap(nullptr, capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) throw OutOfMemory("the guarded device could not reserve its address range");
    base_ = static_cast<char*>(range);
  }

  void protect(int access) {
    constexpr std::size_t page = std::size_t{1} << 16;
    const std::size_t length = (top_ + page - 1) / page * page;
    if (length > 0) mprotect(base_, length, access);
  }

  std::mutex mutex_;
  char* base_ = nullptr;
  std::size_t top_ = 0;
  int windows_ = 0;
  std::map<std::size_t, std::size_t> free_, used_;
};

/// Keeps the device's memory accessible during a kernel or a copy.
struct GuardedWindow {
  GuardedWindow() { GuardedArena::instance().open(); }
  ~GuardedWindow() { GuardedArena::instance().close(); }
  GuardedWindow(const GuardedWindow&) = delete;
  GuardedWindow& operator=(const GuardedWindow&) = delete;
};

}  // namespace detail

struct FakeDevice {
  using Host = Cpu;

  static void* allocate(std::size_t bytes) { return detail::GuardedArena::instance().allocate(bytes); }
  static void deallocate(void* block, std::size_t) noexcept { detail::GuardedArena::instance().deallocate(block); }
  static void upload(void* target, const void* source, std::size_t bytes) { copy(target, source, bytes); }
  static void download(void* target, const void* source, std::size_t bytes) { copy(target, source, bytes); }
  static void copy(void* target, const void* source, std::size_t bytes) {
    const detail::GuardedWindow window;
    Host::copy(target, source, bytes);
  }
  static void synchronize() {}

  template <class F>
  static void for_each(index_t n, const F& f) {
    const detail::GuardedWindow window;
    Host::for_each(n, f);
  }
  template <class Load, class Combine, class Accumulator, class Store>
  static void reduce(index_t rows, index_t columns, const Load& load, const Combine& combine, Accumulator init,
                     const Store& store) {
    const detail::GuardedWindow window;
    Host::reduce(rows, columns, load, combine, init, store);
  }
  template <class Load, class Combine, class Store>
  static void scan(index_t rows, index_t columns, const Load& load, const Combine& combine, const Store& store) {
    const detail::GuardedWindow window;
    Host::scan(rows, columns, load, combine, store);
  }
  template <class T>
  static void gemm(const GemmCall<T>& call) {
    const detail::GuardedWindow window;
    Host::gemm(call);
  }
};

static_assert(Backend<FakeDevice>);

}  // namespace kolmo
