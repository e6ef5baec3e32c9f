#pragma once
// Device memory for the library: large pieces (segments) from the driver, cut into blocks on the host, so that a tensor
// costs no call of the driver and lies at an address that a captured graph may keep.
//
// Free blocks are found by their size in bins, sixteen to each power of two (the two-level segregated fit of Masmano et
// al. 2004), cut to what is needed and joined with their neighbours when they return. A block is a multiple of 256
// bytes, above 1 MiB of 64 KiB, so that less than 256 bytes or a sixteenth of it is unused.
//
// A heap is the memory of one stream: a block that is returned in the stream's order may be given out again at once,
// before the device has come to its last use. A block that was taken on one stream and is returned on another waits
// there until the two are ordered: by the end of the scope, or when the host has waited for that stream.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include <kolmo/core/array.hpp>
#include <kolmo/cuda/blocks.hpp>
#include <kolmo/cuda/errors.hpp>

namespace kolmo {

/// Device memory that the library holds on one device, in bytes.
struct CudaMemory {
  std::size_t in_use = 0;          ///< by tensors and operations, rounded to whole blocks
  std::size_t cached = 0;          ///< held for reuse; Cuda::trim() returns what lies in whole segments
  std::size_t peak = 0;            ///< the largest in_use since the program or reset_peak began
  std::uint64_t allocations = 0;   ///< blocks given out
  std::uint64_t driver_calls = 0;  ///< of them those that asked the driver
};

namespace detail {

/// All device memory of the process. Never destroyed: tensors of static storage duration may return memory later than
/// any object. A null heap is that of the legacy default stream.
class CudaPool {
 public:
  static CudaPool& instance() {
    static auto* const pool = new CudaPool;
    return *pool;
  }

  /// Takes a block from a heap, else from a segment without a used block of the heap outside of its scope, else from
  /// the driver. Null when the driver has not so much. Throws DeviceError for any other failure.
  void* allocate(CudaHeap* heap, int device, std::size_t bytes, const CudaLender& lender) {
    const std::lock_guard lock(mutex_);
    CudaHeap& own = heap != nullptr ? *heap : root(device);
    const bool large = bytes > most_small;
    const std::size_t granule = large ? large_granule : CudaBins::unit;
    if (bytes > SIZE_MAX / 2) return nullptr;
    const std::size_t size = bytes == 0 ? granule : (bytes + granule - 1) / granule * granule;
    CudaBlock* block = own.bins(large).find(size);
    if (block == nullptr && lender.present) block = borrow(own, lender, size, large);
    if (block == nullptr) block = grow(own, size, large);
    if (block == nullptr) return nullptr;
    own.bins(large).remove(*block);
    block->used = true;
    try {
      if (block->bytes - size >= granule) split(*block, size);
    } catch (...) {
      block->used = false;
      own.bins(large).insert(*block);
      throw;
    }
    count(own.device, block->bytes);
    return block->address;
  }

  /// A block of its own from the driver, whose borders its tools can watch.
  void* allocate_apart(int device, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const std::size_t size = bytes == 0 ? 1 : bytes;
    void* address = ask_driver(device, size);
    if (address == nullptr) return nullptr;
    CudaBlock& block = add_block(static_cast<char*>(address), size, device, nullptr);
    block.used = true;
    memory(device).cached += size;
    count(device, size);
    return address;
  }

  /// Returns memory in the order of the heap's stream. While the thread captures, the driver is not called.
  void deallocate(void* address, CudaHeap* heap, bool capturing) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(address);
    if (found == blocks_.end()) return;
    put_back(found->second, heap);
    if (!capturing) free_apart();
  }

  /// Keeps a block from being given out again until it is let go, although its tensor may end before.
  void keep(const void* address) {
    const std::lock_guard lock(mutex_);
    if (const auto found = blocks_.find(address); found != blocks_.end()) found->second.kept = true;
  }
  /// Whether the tensor has ended meanwhile. Then the block is returned, unless it is claimed for a new tensor.
  bool let_go(const void* address, CudaHeap* heap, bool claim) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(address);
    if (found == blocks_.end()) return false;
    CudaBlock& block = found->second;
    block.kept = false;
    const bool ended = std::exchange(block.returned, false);
    if (ended && !claim) put_back(block, heap);
    return ended;
  }

  /// The heap of a stream, for a scope or a graph; close gives it back.
  CudaHeap* open(int device, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    auto& heap = heaps_[{device, stream}];
    if (heap == nullptr) heap = make_heap(device, stream);
    ++heap->users;
    return heap.get();
  }
  /// The last user of a heap hands its memory to `outer`, whose stream waits for the heap's.
  void close(CudaHeap& heap, CudaHeap* outer) noexcept {
    const std::lock_guard lock(mutex_);
    if (--heap.users > 0) return;
    absorb(heap, outer != nullptr ? *outer : root(heap.device));
    heaps_.erase({heap.device, heap.stream});
  }
  /// A heap of its own, for memory that a graph refers to.
  std::unique_ptr<CudaHeap> make_arena(int device, cudaStream_t stream) const { return make_heap(device, stream); }
  /// Hands all memory of a heap to another, whose stream is behind it.
  void merge(CudaHeap& heap, CudaHeap* into) noexcept {
    const std::lock_guard lock(mutex_);
    absorb(heap, into != nullptr ? *into : root(heap.device));
  }
  /// Whether a block in use of this heap begins here.
  bool is_used_block(const CudaHeap& heap, const void* address) const {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(address);
    return found != blocks_.end() && found->second.used && found->second.segment != nullptr &&
           found->second.segment->heap == &heap;
  }
  /// Number of blocks of a heap in use.
  index_t used_blocks(const CudaHeap& heap) const {
    const std::lock_guard lock(mutex_);
    index_t result = 0;
    for (const CudaSegment* segment = heap.segments; segment != nullptr; segment = segment->next)
      for (const CudaBlock* block = segment->first; block != nullptr; block = block->right)
        if (block->used) ++result;
    return result;
  }

  /// The blocks of other heaps that were returned here until now; to be released once the host has waited.
  CudaBlock* take_returned(CudaHeap* heap, int device) {
    const std::lock_guard lock(mutex_);
    return std::exchange((heap != nullptr ? *heap : root(device)).returned, nullptr);
  }
  void release(CudaBlock* list) noexcept {
    if (list == nullptr) return;
    const std::lock_guard lock(mutex_);
    release_all(list);
  }
  /// The same for the blocks of one heap, when its stream waits for the other.
  void release_to(CudaHeap& owner, CudaBlock* list, CudaHeap* heap) noexcept {
    const std::lock_guard lock(mutex_);
    CudaHeap& other = heap != nullptr ? *heap : root(owner.device);
    while (list != nullptr) {
      CudaBlock* const block = std::exchange(list, list->next);
      block->next = nullptr;
      if (block->segment->heap == &owner)
        free_block(*block);
      else
        push(other.returned, *block);
    }
  }

  /// Waits for the device and returns every segment without a used block to the driver.
  cudaError_t trim(int device) noexcept {
    const std::lock_guard lock(mutex_);
    const cudaError_t code = cudaDeviceSynchronize();
    if (code != cudaSuccess) return code;
    for (auto& heap : roots_)
      if (heap != nullptr && heap->device == device) release_all(std::exchange(heap->returned, nullptr));
    for (auto& [key, heap] : heaps_)
      if (heap->device == device) release_all(std::exchange(heap->returned, nullptr));
    for (auto& heap : roots_)
      if (heap != nullptr && heap->device == device) shrink(*heap);
    for (auto& [key, heap] : heaps_)
      if (heap->device == device) shrink(*heap);
    return cudaSuccess;
  }

  CudaMemory statistics(int device) {
    const std::lock_guard lock(mutex_);
    CudaMemory result = memory(device);
    result.cached -= result.in_use;
    return result;
  }
  void reset_peak(int device) {
    const std::lock_guard lock(mutex_);
    memory(device).peak = memory(device).in_use;
  }

 private:
  static constexpr std::size_t most_small = std::size_t{1} << 20;
  static constexpr std::size_t large_granule = std::size_t{64} << 10;
  static constexpr std::size_t small_segment = std::size_t{16} << 20;
  static constexpr std::size_t large_segment = std::size_t{64} << 20;
  static constexpr std::size_t page = std::size_t{2} << 20;

  CudaPool() = default;

  static std::unique_ptr<CudaHeap> make_heap(int device, cudaStream_t stream) {
    auto heap = std::make_unique<CudaHeap>();
    heap->device = device;
    heap->stream = stream;
    return heap;
  }
  CudaHeap& root(int device) {
    const auto index = static_cast<std::size_t>(device);
    if (roots_.size() <= index) roots_.resize(index + 1);
    if (roots_[index] == nullptr) roots_[index] = make_heap(device, cudaStreamLegacy);
    return *roots_[index];
  }
  CudaMemory& memory(int device) {
    const auto index = static_cast<std::size_t>(device);
    if (memory_.size() <= index) memory_.resize(index + 1);
    return memory_[index];
  }
  void count(int device, std::size_t bytes) {
    CudaMemory& now = memory(device);
    ++now.allocations;
    now.in_use += bytes;
    if (now.in_use > now.peak) now.peak = now.in_use;
  }

  CudaBlock& add_block(char* address, std::size_t bytes, int device, CudaSegment* segment) {
    CudaBlock& block = blocks_[address];
    block = CudaBlock{};
    block.address = address;
    block.bytes = bytes;
    block.device = device;
    block.segment = segment;
    return block;
  }

  /// Null when the driver has not so much. A capture of this thread goes on.
  void* ask_driver(int device, std::size_t bytes) {
    ++memory(device).driver_calls;
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    check_cuda(cudaThreadExchangeStreamCaptureMode(&mode), "cudaThreadExchangeStreamCaptureMode");
    void* address = nullptr;
    const cudaError_t code = cudaMalloc(&address, bytes);
    static_cast<void>(cudaThreadExchangeStreamCaptureMode(&mode));
    if (code == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      return nullptr;
    }
    check_cuda(code, "cudaMalloc", bytes);
    return address;
  }

  /// The free block of a segment that the heap outside has no use for; the two streams are ordered first.
  CudaBlock* borrow(CudaHeap& heap, const CudaLender& lender, std::size_t size, bool large) {
    CudaHeap& source = lender.heap != nullptr ? *lender.heap : root(heap.device);
    if (&source == &heap) return nullptr;
    for (CudaSegment* segment = source.segments; segment != nullptr; segment = segment->next) {
      if (!is_free(*segment) || segment->bytes < size || segment->large != large) continue;
      check_cuda(order_cuda_streams(source.stream, heap.stream), "cudaStreamWaitEvent");
      move(*segment, source, heap);
      return segment->first;
    }
    return nullptr;
  }

  /// A new segment with one free block. When memory is short it is as small as it can be.
  CudaBlock* grow(CudaHeap& heap, std::size_t size, bool large) {
    const std::size_t usual = large ? large_segment : small_segment;
    const std::size_t wished = size > usual ? (size + page - 1) / page * page : usual;
    auto segment = std::make_unique<CudaSegment>();
    segment->bytes = wished;
    void* base = ask_driver(heap.device, wished);
    if (base == nullptr && size < wished) {
      segment->bytes = size;
      base = ask_driver(heap.device, size);
    }
    if (base == nullptr) return nullptr;
    segment->base = static_cast<char*>(base);
    segment->large = large;
    try {
      segment->first = &add_block(segment->base, segment->bytes, heap.device, segment.get());
    } catch (...) {
      static_cast<void>(cudaFree(base));
      throw;
    }
    link(*segment, heap);
    memory(heap.device).cached += segment->bytes;
    heap.bins(large).insert(*segment->first);
    return segment.release()->first;
  }

  void split(CudaBlock& block, std::size_t size) {
    CudaBlock& rest = add_block(block.address + size, block.bytes - size, block.device, block.segment);
    rest.left = &block;
    rest.right = block.right;
    if (rest.right != nullptr) rest.right->left = &rest;
    block.right = &rest;
    block.bytes = size;
    rest.segment->heap->bins(rest.segment->large).insert(rest);
  }

  void put_back(CudaBlock& block, CudaHeap* heap) noexcept {
    if (block.kept) {
      block.returned = true;
      return;
    }
    if (block.segment == nullptr) {
      push(apart_, block);
      return;
    }
    CudaHeap& own = heap != nullptr ? *heap : root(block.device);
    if (block.segment->heap == &own)
      free_block(block);
    else
      push(own.returned, block);
  }

  /// Returns blocks of the driver's own, which waits for the device.
  void free_apart() noexcept {
    while (apart_ != nullptr) {
      CudaBlock* const block = apart_;
      const cudaError_t code = cudaFree(block->address);
      if (code != cudaSuccess) {
        static_cast<void>(cudaGetLastError());
        return;
      }
      apart_ = block->next;
      CudaMemory& now = memory(block->device);
      now.in_use -= block->bytes;
      now.cached -= block->bytes;
      blocks_.erase(block->address);
    }
  }

  /// Joins the block with its free neighbours.
  void free_block(CudaBlock& given) noexcept {
    CudaBlock* block = &given;
    CudaBins& bins = block->segment->heap->bins(block->segment->large);
    memory(block->device).in_use -= block->bytes;
    block->used = false;
    if (CudaBlock* const left = block->left; left != nullptr && !left->used) {
      bins.remove(*left);
      swallow_right(*left);
      block = left;
    }
    if (CudaBlock* const right = block->right; right != nullptr && !right->used) {
      bins.remove(*right);
      swallow_right(*block);
    }
    bins.insert(*block);
  }
  void swallow_right(CudaBlock& block) noexcept {
    CudaBlock* const right = block.right;
    block.bytes += right->bytes;
    block.right = right->right;
    if (block.right != nullptr) block.right->left = &block;
    blocks_.erase(right->address);
  }

  static void push(CudaBlock*& list, CudaBlock& block) noexcept {
    block.next = list;
    list = &block;
  }
  void release_all(CudaBlock* list) noexcept {
    while (list != nullptr) {
      CudaBlock* const block = std::exchange(list, list->next);
      block->next = nullptr;
      free_block(*block);
    }
  }

  static bool is_free(const CudaSegment& segment) { return !segment.first->used && segment.first->right == nullptr; }
  static void link(CudaSegment& segment, CudaHeap& heap) noexcept {
    segment.heap = &heap;
    segment.previous = nullptr;
    segment.next = heap.segments;
    if (segment.next != nullptr) segment.next->previous = &segment;
    heap.segments = &segment;
  }
  static void unlink(CudaSegment& segment, CudaHeap& heap) noexcept {
    (segment.previous != nullptr ? segment.previous->next : heap.segments) = segment.next;
    if (segment.next != nullptr) segment.next->previous = segment.previous;
  }
  static void move(CudaSegment& segment, CudaHeap& from, CudaHeap& to) noexcept {
    for (CudaBlock* block = segment.first; block != nullptr; block = block->right) {
      if (block->used) continue;
      from.bins(segment.large).remove(*block);
      to.bins(segment.large).insert(*block);
    }
    unlink(segment, from);
    link(segment, to);
  }
  void absorb(CudaHeap& from, CudaHeap& into) noexcept {
    while (from.segments != nullptr) move(*from.segments, from, into);
    CudaBlock* list = std::exchange(from.returned, nullptr);
    while (list != nullptr) {
      CudaBlock* const block = std::exchange(list, list->next);
      block->next = nullptr;
      if (block->segment->heap == &into)
        free_block(*block);
      else
        push(into.returned, *block);
    }
  }
  void shrink(CudaHeap& heap) noexcept {
    for (CudaSegment* segment = heap.segments; segment != nullptr;) {
      CudaSegment* const next = segment->next;
      if (is_free(*segment) && cudaFree(segment->base) == cudaSuccess) {
        heap.bins(segment->large).remove(*segment->first);
        memory(heap.device).cached -= segment->bytes;
        unlink(*segment, heap);
        blocks_.erase(segment->base);
        delete segment;
      }
      segment = next;
    }
  }

  mutable std::mutex mutex_;
  std::unordered_map<const void*, CudaBlock> blocks_;
  std::vector<std::unique_ptr<CudaHeap>> roots_;
  std::map<std::pair<int, cudaStream_t>, std::unique_ptr<CudaHeap>> heaps_;
  std::vector<CudaMemory> memory_;
  CudaBlock* apart_ = nullptr;
};

}  // namespace detail
}  // namespace kolmo
