#pragma once
// Caching allocator for host memory. Freed blocks are kept in per-thread lists by size class, so that
// the short-lived tensors of a training step cost no system call and no lock.

#include <bit>
#include <cstdlib>
#include <new>
#include <vector>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo::detail {

/// Alignment of every host block in bytes: a cache line, and a whole vector register.
inline constexpr std::size_t host_alignment = 64;

/// Per-thread cache of 64-byte aligned blocks. A block may be returned on another thread than the one
/// that took it.
class HostPool {
 public:
  /// Throws OutOfMemory with the size asked for.
  static void* allocate(std::size_t bytes) {
    const SizeClass size = size_class(bytes);
    if (HostPool* pool = local()) {
      auto& list = pool->lists_[static_cast<std::size_t>(size.index)];
      if (list.capacity() == 0) list.reserve(blocks_per_class);  // deallocate must not allocate
      if (!list.empty()) {
        pool->cached_ -= size.bytes;
        return take(list);
      }
      // Rather than more memory, a large block that is up to a quarter larger than needed; it stays in the class that
      // it served last.
      for (int i = 1; i < 4 && size.index >= small_count && size.index + i < class_count; ++i) {
        auto& next = pool->lists_[static_cast<std::size_t>(size.index + i)];
        if (next.empty()) continue;
        pool->cached_ -= large_bytes(size.index + i);
        return take(next);
      }
    }
    void* block = std::aligned_alloc(host_alignment, size.bytes);
    if (block == nullptr) {
      trim();
      block = std::aligned_alloc(host_alignment, size.bytes);
    }
    if (block == nullptr)
      throw OutOfMemory("could not allocate " + std::to_string(bytes) + " bytes of host memory; use a smaller batch");
    return block;
  }

  static void deallocate(void* block, std::size_t bytes) noexcept {
    if (block == nullptr) return;
    const SizeClass size = size_class(bytes);
    HostPool* pool = local();
    if (pool == nullptr || pool->cached_ + size.bytes > cache_limit) {
      std::free(block);
      return;
    }
    auto& list = pool->lists_[static_cast<std::size_t>(size.index)];
    if (list.size() == list.capacity()) {
      std::free(block);
      return;
    }
    list.push_back(block);
    pool->cached_ += size.bytes;
  }

  /// Returns this thread's cached blocks to the system.
  static void trim() noexcept {
    if (HostPool* pool = local()) pool->release();
  }

 private:
  struct SizeClass {
    int index;
    std::size_t bytes;
  };
  // Four classes per power of two waste at most a quarter of a block; from 1 MiB on sixteen, a sixteenth.
  static constexpr int large_exponent = 20;
  static constexpr int small_count = 4 * (large_exponent - 8) + 1;
  static constexpr int class_count = small_count + 16 * 28;
  static constexpr std::size_t blocks_per_class = 256;
  static constexpr std::size_t cache_limit = std::size_t{512} << 20;

  static SizeClass size_class(std::size_t bytes) {
    constexpr std::size_t smallest = 256;
    if (bytes <= smallest) return {0, smallest};
    const int exponent = static_cast<int>(std::bit_width(bytes - 1)) - 1;
    const bool large = exponent >= large_exponent;
    const std::size_t unit = std::size_t{1} << (exponent - (large ? 4 : 2));
    const std::size_t steps = (bytes + unit - 1) / unit;  // 5 ... 8 quarters or 17 ... 32 sixteenths of 2^exponent
    const int index = large ? small_count + 16 * (exponent - large_exponent) + static_cast<int>(steps) - 17
                            : 4 * (exponent - 8) + static_cast<int>(steps) - 4;
    if (index >= class_count) throw OutOfMemory("a block of " + std::to_string(bytes) + " bytes exceeds the address space");
    return {index, steps * unit};
  }

  static std::size_t large_bytes(int index) {
    const int rest = index - small_count, steps = 17 + rest % 16;
    return static_cast<std::size_t>(steps) << (large_exponent + rest / 16 - 4);
  }
  static void* take(std::vector<void*>& list) {
    void* block = list.back();
    list.pop_back();
    return block;
  }

  // Tensors of static storage duration may outlive the thread's pool; they then free directly.
  enum class State : char { unborn, alive, dead };
  static State& state() {
    thread_local State value = State::unborn;
    return value;
  }
  static HostPool* local() {
    if (state() == State::dead) return nullptr;
    thread_local HostPool pool;
    return &pool;
  }

  HostPool() : lists_(class_count) { state() = State::alive; }
  ~HostPool() {
    release();
    state() = State::dead;
  }
  void release() noexcept {
    for (auto& list : lists_) {
      for (void* block : list) std::free(block);
      list.clear();
    }
    cached_ = 0;
  }

  std::vector<std::vector<void*>> lists_;
  std::size_t cached_ = 0;
};

/// Pooled memory for the length of a scope.
template <class V>
class HostScratch {
 public:
  explicit HostScratch(index_t count)
      : bytes_(static_cast<std::size_t>(count) * sizeof(V)), data_(static_cast<V*>(HostPool::allocate(bytes_))) {}
  ~HostScratch() { HostPool::deallocate(data_, bytes_); }
  HostScratch(const HostScratch&) = delete;
  HostScratch& operator=(const HostScratch&) = delete;
  V* data() const { return data_; }

 private:
  std::size_t bytes_;
  V* data_;
};

}  // namespace kolmo::detail
