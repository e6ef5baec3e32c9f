#pragma once
// Pinned host memory for uploads: the source is copied into it at once and from it to the device when the stream comes
// to it, so that the host does not wait and the source may change. A buffer is used again when its copy has passed.

#include <bit>
#include <memory>
#include <mutex>
#include <vector>

#include <kolmo/core/array.hpp>
#include <kolmo/cuda/errors.hpp>

namespace kolmo::detail {

/// Calls of the driver that a capture of this thread would refuse although they do it no harm.
class CudaRelaxed {
 public:
  CudaRelaxed() { static_cast<void>(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  ~CudaRelaxed() { static_cast<void>(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  CudaRelaxed(const CudaRelaxed&) = delete;
  CudaRelaxed& operator=(const CudaRelaxed&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

class CudaStaging {
 public:
  struct Buffer {
    void* memory = nullptr;
    cudaEvent_t passed = nullptr;
    int device = 0;
    bool taken = false;
    bool pending = false;  // until the event has happened
  };

  /// Uploads are cut into pieces of so many bytes.
  static constexpr std::size_t piece = std::size_t{8} << 20;

  /// Never destroyed, like the pool.
  static CudaStaging& instance() {
    static auto* const staging = new CudaStaging;
    return *staging;
  }

  /// A buffer of at least so many bytes, at most a piece. Waits for the oldest one of its size when 64 MiB are in use.
  /// Throws OutOfMemory when the host has no more memory to pin.
  Buffer* take(std::size_t bytes, int device) {
    const CudaRelaxed relaxed;
    const std::lock_guard lock(mutex_);
    const std::size_t size = std::bit_ceil(larger(bytes, smallest));
    auto& list = buffers_[static_cast<std::size_t>(std::countr_zero(size) - std::countr_zero(smallest))];
    Buffer* oldest = nullptr;
    for (Buffer* buffer : list) {
      if (buffer->taken || buffer->device != device) continue;
      if (buffer->pending && cudaEventQuery(buffer->passed) == cudaSuccess) buffer->pending = false;
      if (!buffer->pending) return mark(*buffer);
      if (oldest == nullptr) oldest = buffer;
    }
    static_cast<void>(cudaGetLastError());
    if (oldest != nullptr && bytes_ + size > most_bytes) {
      check_cuda(cudaEventSynchronize(oldest->passed), "cudaEventSynchronize of an upload");
      oldest->pending = false;
      return mark(*oldest);
    }
    auto buffer = std::make_unique<Buffer>();
    buffer->device = device;
    list.reserve(list.size() + 1);
    check_cuda(cudaEventCreateWithFlags(&buffer->passed, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    if (const cudaError_t code = cudaMallocHost(&buffer->memory, size); code != cudaSuccess) {
      static_cast<void>(cudaEventDestroy(buffer->passed));
      if (code != cudaErrorMemoryAllocation) check_cuda(code, "cudaMallocHost", size);
      static_cast<void>(cudaGetLastError());
      throw OutOfMemory("could not pin " + std::to_string(size) + " bytes of host memory for an upload");
    }
    bytes_ += size;
    list.push_back(buffer.release());
    return mark(*list.back());
  }

  /// The buffer may be used again when the stream has done what it was given until now.
  void pass(Buffer& buffer, cudaStream_t stream) noexcept {
    const std::lock_guard lock(mutex_);
    buffer.pending = cudaEventRecord(buffer.passed, stream) == cudaSuccess;
    // Without the event nothing says when: it is waited for.
    if (!buffer.pending) static_cast<void>(cudaStreamSynchronize(stream));
    buffer.taken = false;
  }
  /// The buffer has been used.
  void give_back(Buffer& buffer) noexcept {
    const std::lock_guard lock(mutex_);
    buffer.taken = false;
  }

 private:
  static constexpr std::size_t smallest = std::size_t{64} << 10;
  static constexpr std::size_t most_bytes = std::size_t{64} << 20;
  static constexpr int sizes = std::countr_zero(piece) - std::countr_zero(smallest) + 1;

  CudaStaging() = default;

  static Buffer* mark(Buffer& buffer) {
    buffer.taken = true;
    return &buffer;
  }

  std::mutex mutex_;
  std::vector<Buffer*> buffers_[sizes];
  std::size_t bytes_ = 0;
};

}  // namespace kolmo::detail
