#pragma once
// The parts of the device memory pool: blocks, the segments that they are cut from, bins of free blocks by size, and
// the heap of a stream.

#include <array>
#include <bit>
#include <cstdint>

#include <cuda_runtime_api.h>

namespace kolmo::detail {

struct CudaHeap;

struct CudaBlock;
struct CudaSegment {
  char* base = nullptr;
  std::size_t bytes = 0;
  CudaHeap* heap = nullptr;
  CudaBlock* first = nullptr;
  bool large = false;
  CudaSegment* previous = nullptr;
  CudaSegment* next = nullptr;
};

struct CudaBlock {
  char* address = nullptr;
  std::size_t bytes = 0;
  int device = 0;
  CudaSegment* segment = nullptr;  // none: the driver's own block, in debug mode
  bool used = false;
  bool kept = false;          // a graph refers to it: it is not given out again
  bool returned = false;      // while it was kept
  CudaBlock* left = nullptr;  // neighbours in the segment
  CudaBlock* right = nullptr;
  CudaBlock* previous = nullptr;  // in a bin or a list
  CudaBlock* next = nullptr;
};

/// Free blocks by size, counted in units of 256 bytes: one bin for each size below 16 units, then sixteen to each power
/// of two.
class CudaBins {
 public:
  static constexpr std::size_t unit = 256;

  void insert(CudaBlock& block) {
    const std::size_t bin = bin_of(block.bytes);
    block.previous = nullptr;
    block.next = first_[bin];
    if (block.next != nullptr) block.next->previous = &block;
    first_[bin] = &block;
    filled_[bin / 64] |= std::uint64_t{1} << (bin % 64);
  }
  void remove(CudaBlock& block) {
    const std::size_t bin = bin_of(block.bytes);
    (block.previous != nullptr ? block.previous->next : first_[bin]) = block.next;
    if (block.next != nullptr) block.next->previous = block.previous;
    if (first_[bin] == nullptr) filled_[bin / 64] &= ~(std::uint64_t{1} << (bin % 64));
    block.previous = block.next = nullptr;
  }
  /// A block of at least so many bytes: the best of the first few of its own bin, else any of the next larger one.
  CudaBlock* find(std::size_t bytes) const {
    const std::size_t bin = bin_of(bytes);
    CudaBlock* best = nullptr;
    int tried = 0;
    for (CudaBlock* block = first_[bin]; block != nullptr && tried < most_tried; block = block->next, ++tried)
      if (block->bytes >= bytes && (best == nullptr || block->bytes < best->bytes)) best = block;
    if (best != nullptr) return best;
    for (std::size_t word = (bin + 1) / 64; word < filled_.size(); ++word) {
      std::uint64_t bits = filled_[word];
      if (word == (bin + 1) / 64) bits &= ~std::uint64_t{0} << ((bin + 1) % 64);
      if (bits != 0) return first_[64 * word + static_cast<std::size_t>(std::countr_zero(bits))];
    }
    return nullptr;
  }

 private:
  static constexpr int most_tried = 16;
  static constexpr std::size_t count = 16 * 53;

  static std::size_t bin_of(std::size_t bytes) {
    const std::size_t units = bytes / unit;
    if (units < 16) return units;
    const int exponent = static_cast<int>(std::bit_width(units)) - 4;
    return static_cast<std::size_t>(exponent) * 16 + ((units >> (exponent - 1)) & 15);
  }

  std::array<CudaBlock*, count> first_{};
  std::array<std::uint64_t, (count + 63) / 64> filled_{};
};

/// The memory of one stream.
struct CudaHeap {
  int device = 0;
  cudaStream_t stream = cudaStreamLegacy;
  int users = 0;
  CudaBins small, large;
  CudaSegment* segments = nullptr;
  CudaBlock* returned = nullptr;  // blocks of other heaps, returned in the order of this stream

  CudaBins& bins(bool is_large) { return is_large ? large : small; }
};

/// The heap outside of a scope, from which the inner one may take what it has no use for.
struct CudaLender {
  bool present = false;
  CudaHeap* heap = nullptr;
};

}  // namespace kolmo::detail
