#pragma once
// What a thread's work on the GPU goes to: stream, memory and library handles, replaced for the time of a scope by
// those of a host program.

#include <kolmo/cuda/pool.hpp>
#include <kolmo/cuda/staging.hpp>

struct cublasLtContext;

namespace kolmo {

/// Handles of a host program that the library uses instead of its own; null: the library's. `blas_lt` is a
/// cublasLtHandle_t. It belongs to the current device and must outlive the scope.
struct CudaHandles {
  cublasLtContext* blas_lt = nullptr;
};

namespace detail {

/// A recording of this thread's work in place of its execution (cuda/graph.hpp).
class CudaCapture {
 public:
  virtual ~CudaCapture() = default;
  /// Before a call that the recording cannot hold: executes what was recorded, so that the call finds it done, or
  /// throws DeviceError with the call's name.
  virtual void pause(const char* call) = 0;
  /// After it: records again.
  virtual void resume() = 0;
  virtual bool can_pause() const = 0;
  /// Pinned memory for an upload, valid for as long as the recording may run.
  virtual void* stage(std::size_t bytes) = 0;
};

/// Where this thread's work goes. Nothing in it needs destruction, so it can be asked until the process ends.
struct CudaContext {
  cudaStream_t stream = cudaStreamLegacy;  // means the same whatever --default-stream a file is compiled with
  CudaHeap* heap = nullptr;                // null: that of the legacy default stream on the current device
  CudaLender lender;
  CudaHandles handles;
  CudaCapture* capture = nullptr;
};

inline CudaContext& cuda_context() noexcept {
  thread_local CudaContext context;
  return context;
}

/// Around a call that waits for the device, or that a recording cannot hold for another reason.
class CudaPause {
 public:
  explicit CudaPause(const char* call) : capture_(cuda_context().capture) {
    if (capture_ != nullptr) capture_->pause(call);
  }
  /// Not in the destructor: after a failure nothing more is recorded.
  void end() {
    if (capture_ != nullptr) capture_->resume();
  }

 private:
  CudaCapture* capture_;
};

/// See Cuda::Scope.
class CudaScope {
 public:
  explicit CudaScope(cudaStream_t stream) : CudaScope(stream, cuda_context().handles) {}

  CudaScope(cudaStream_t stream, const CudaHandles& handles) : outer_(cuda_context()) {
    CudaContext& context = cuda_context();
    if (stream != outer_.stream) {
      check_cuda(order_cuda_streams(outer_.stream, stream), "Cuda::Scope: cudaStreamWaitEvent");
      // The legacy default stream has its heap for the whole process.
      heap_ = stream == cudaStreamLegacy ? nullptr : CudaPool::instance().open(current_cuda_device(), stream);
      context.stream = stream;
      context.heap = heap_;
      context.lender = {heap_ != nullptr && outer_.capture == nullptr, outer_.heap};
    }
    context.handles = handles;
  }
  ~CudaScope() {
    CudaContext& context = cuda_context();
    const cudaStream_t inner = context.stream;
    if (order_cuda_streams(inner, outer_.stream) != cudaSuccess) static_cast<void>(cudaStreamSynchronize(inner));
    context.stream = outer_.stream;
    context.heap = outer_.heap;
    context.lender = outer_.lender;
    context.handles = outer_.handles;
    if (heap_ != nullptr) CudaPool::instance().close(*heap_, outer_.heap);
  }
  CudaScope(const CudaScope&) = delete;
  CudaScope& operator=(const CudaScope&) = delete;

 private:
  CudaContext outer_;
  CudaHeap* heap_ = nullptr;
};

}  // namespace detail
}  // namespace kolmo
