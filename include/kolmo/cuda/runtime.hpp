#pragma once
// The CUDA backend as a type: memory, streams and errors. Any C++ compiler can include this header; it
// needs the CUDA runtime API alone. The compute primitives are declared here and defined for nvcc in
// cuda/cuda.cuh. So a host file holds and passes Tensor<T, Cuda> like any other tensor, and a program
// without the kernels fails to link with the name of the missing one.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include <kolmo/backend/concept.hpp>
#include <kolmo/backend/conv_geometry.hpp>
#include <kolmo/backend/nearest_call.hpp>
#include <kolmo/cuda/matrix_math.hpp>
#include <kolmo/error.hpp>

namespace kolmo {

namespace detail {

template <class T>
struct FftLine;

/// What to do about an error code, as the end of a message.
inline const char* cuda_advice(cudaError_t code) {
  switch (code) {
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
      return "; the Cuda backend needs a GPU and a driver of the toolkit's version: ask Cuda::available() first";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "; the program was compiled for another GPU: pass its architecture to nvcc, for example -arch=sm_90";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
      return "; the device's memory is lost to this process: save what the host holds and start again. The failure may "
             "come from any kernel before this call; Cuda::set_debug(true) finds which";
    default:
      return "";
  }
}

/// Throws DeviceError and clears the runtime's record of the error, so that later calls are not blamed for it.
[[noreturn]] inline void throw_cuda(cudaError_t code, const std::string& call) {
  static_cast<void>(cudaGetLastError());
  throw DeviceError(call + ": " + cudaGetErrorName(code) + " (" + std::to_string(static_cast<int>(code)) + "), " +
                    cudaGetErrorString(code) + cuda_advice(code));
}

inline void check_cuda(cudaError_t code, const char* call) {
  if (code != cudaSuccess) throw_cuda(code, call);
}
inline void check_cuda(cudaError_t code, const char* call, std::size_t bytes) {
  if (code != cudaSuccess) throw_cuda(code, std::string(call) + " of " + std::to_string(bytes) + " bytes");
}

inline int current_cuda_device() {
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

/// The library's memory pool on the current device. It is our own, so that the settings of the device's
/// default pool, which other code of the process may use, stay as they are.
inline cudaMemPool_t cuda_memory_pool() {
  static std::mutex mutex;
  // Never destroyed: tensors of static storage duration may return memory later than any object.
  static auto* const pools = new std::vector<cudaMemPool_t>;
  const int device = current_cuda_device();
  const auto index = static_cast<std::size_t>(device);
  const std::lock_guard lock(mutex);
  if (pools->size() <= index) pools->resize(index + 1, nullptr);
  cudaMemPool_t& pool = (*pools)[index];
  if (pool == nullptr) {
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.handleTypes = cudaMemHandleTypeNone;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    cudaMemPool_t created = nullptr;
    check_cuda(cudaMemPoolCreate(&created, &properties), "cudaMemPoolCreate");
    // Blocks stay in the pool across synchronisations: a training step then asks the driver for nothing.
    std::uint64_t threshold = UINT64_MAX;
    check_cuda(cudaMemPoolSetAttribute(created, cudaMemPoolAttrReleaseThreshold, &threshold), "cudaMemPoolSetAttribute");
    pool = created;
  }
  return pool;
}

/// Work given to `after` from now on waits for the work given to `before` until now.
inline cudaError_t order_cuda_streams(cudaStream_t before, cudaStream_t after) {
  if (before == after) return cudaSuccess;
  cudaEvent_t event = nullptr;
  cudaError_t code = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  if (code != cudaSuccess) return code;
  code = cudaEventRecord(event, before);
  if (code == cudaSuccess) code = cudaStreamWaitEvent(after, event, 0);
  static_cast<void>(cudaEventDestroy(event));
  return code;
}

/// Scalars whose convolutions have kernels of their own; others are gathered and multiplied.
template <class T>
concept CudaConvScalar = std::same_as<T, float> || std::same_as<T, BFloat16>;

}  // namespace detail

/// Backend of one NVIDIA GPU: the thread's current device and current stream. All work is asynchronous
/// and ordered; download, upload and synchronize wait for it. A tensor made on one thread may be used on
/// another that has the same current stream, or after synchronize().
struct Cuda {
  /// Tells loops over parts of a batch to issue them from the caller's thread, whose stream is the current one.
  static constexpr bool one_host_thread = true;

  /// Makes a stream the current one of this thread until the end of the scope. Entering and leaving order
  /// the two streams, so that tensors may cross the border in both directions. The stream must outlive the
  /// scope. Throws DeviceError.
  class Scope {
   public:
    explicit Scope(cudaStream_t stream) : outer_(Cuda::stream()) {
      detail::check_cuda(detail::order_cuda_streams(outer_, stream), "Cuda::Scope: cudaStreamWaitEvent");
      current_stream() = stream;
    }
    ~Scope() {
      const cudaStream_t inner = Cuda::stream();
      if (detail::order_cuda_streams(inner, outer_) != cudaSuccess) static_cast<void>(cudaStreamSynchronize(inner));
      current_stream() = outer_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    cudaStream_t outer_;
  };

  /// `Cuda::Math scope{MatrixMath::tf32}`: how this thread's matrix products and convolutions of float are computed
  /// until the end of the scope. MatrixMath::exact outside of any.
  using Math = detail::CudaMathScope;

  /// Whether this machine has a GPU that the installed driver can use.
  static bool available() noexcept {
    int count = 0;
    const bool found = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
    if (!found) static_cast<void>(cudaGetLastError());
    return found;
  }

  /// The stream that this thread's work goes to; the legacy default stream outside of any Scope.
  static cudaStream_t stream() noexcept { return current_stream(); }

  /// In debug mode every kernel is waited for, so that an error names the kernel that caused it, and new
  /// memory is filled with NaN (all bits one). Off by default; for the whole process.
  static void set_debug(bool on) noexcept { debug_.store(on, std::memory_order_relaxed); }
  static bool debug() noexcept { return debug_.load(std::memory_order_relaxed); }

  /// Device memory, aligned to 256 bytes, in the order of the current stream. Throws OutOfMemory with the bytes
  /// asked for, free and installed; the device stays usable. Throws DeviceError on any other failure.
  static void* allocate(std::size_t bytes) {
    const std::size_t size = bytes == 0 ? 1 : bytes;
    const cudaMemPool_t pool = detail::cuda_memory_pool();
    void* block = nullptr;
    cudaError_t code = cudaMallocFromPoolAsync(&block, size, pool, stream());
    if (code == cudaErrorMemoryAllocation) {
      // Memory whose release the stream has not reached yet, or that lies in pieces, may be enough.
      static_cast<void>(cudaGetLastError());
      trim();
      code = cudaMallocFromPoolAsync(&block, size, pool, stream());
    }
    if (code == cudaErrorMemoryAllocation) throw_out_of_memory(bytes);
    detail::check_cuda(code, "cudaMallocFromPoolAsync", bytes);
    if (debug()) detail::check_cuda(cudaMemsetAsync(block, 0xff, size, stream()), "cudaMemsetAsync", size);
    return block;
  }

  /// Returns memory in the order of the current stream.
  static void deallocate(void* block, std::size_t) noexcept {
    // An error here is an earlier one, which the next call that may throw reports; or the process is ending.
    if (block != nullptr) static_cast<void>(cudaFreeAsync(block, stream()));
  }

  /// Host to device. The source may be changed when it returns.
  static void upload(void* target, const void* source, std::size_t bytes) {
    if (bytes == 0) return;
    detail::check_cuda(cudaMemcpyAsync(target, source, bytes, cudaMemcpyHostToDevice, stream()), "cudaMemcpyAsync (upload)",
                       bytes);
    detail::check_cuda(cudaStreamSynchronize(stream()), "cudaStreamSynchronize after upload", bytes);
  }

  /// Device to host. Waits for all work before it.
  static void download(void* target, const void* source, std::size_t bytes) {
    if (bytes == 0) return;
    detail::check_cuda(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToHost, stream()),
                       "cudaMemcpyAsync (download)", bytes);
    detail::check_cuda(cudaStreamSynchronize(stream()), "cudaStreamSynchronize after download", bytes);
  }

  /// Device to device.
  static void copy(void* target, const void* source, std::size_t bytes) {
    if (bytes == 0) return;
    detail::check_cuda(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream()), "cudaMemcpyAsync (copy)",
                       bytes);
  }

  /// Waits for the current stream. Throws DeviceError when something given to it failed.
  static void synchronize() { detail::check_cuda(cudaStreamSynchronize(stream()), "cudaStreamSynchronize"); }

  /// Returns unused memory of the pool to the driver, for other processes. Waits for the current stream.
  static void trim() {
    synchronize();
    detail::check_cuda(cudaMemPoolTrimTo(detail::cuda_memory_pool(), 0), "cudaMemPoolTrimTo");
  }

  template <class F>
  static void for_each(index_t n, const F& f);
  /// See core/apply.hpp.
  template <class Kernel>
  static void elementwise(const Kernel& kernel);
  /// See backend/team.hpp.
  template <class F>
  static void for_each_team(index_t n, const F& f);
  template <class Load, class Combine, class Accumulator, class Store>
  static void reduce(index_t rows, index_t columns, const Load& load, const Combine& combine, Accumulator init,
                     const Store& store);
  template <class Load, class Combine, class Store>
  static void scan(index_t rows, index_t columns, const Load& load, const Combine& combine, const Store& store);
  template <class T>
  static void gemm(const GemmCall<T>& call);
  template <Real T>
  static void nearest(const NearestCall<T>& call);
  template <class T, class Set>
  static bool fft_lines(const detail::FftLine<T>& fft, const Set& set);

  // The sums of a convolution (ops/conv_kernels.hpp) over contiguous arrays: y = f(z), z the sum plus bias; bias and z may
  // be null. Each returns whether it computed the case at hand. See cuda/conv.cuh.
  template <class T, class F>
    requires detail::CudaConvScalar<T>
  static bool conv_forward(const detail::ConvGeometry& g, const T* x, const T* w, const T* bias, const F& f, T* z, T* y);
  template <class T>
    requires detail::CudaConvScalar<T>
  static bool conv_backward_data(const detail::ConvGeometry& g, const T* gradient, const T* w, T* x);
  template <class T>
    requires detail::CudaConvScalar<T>
  static bool conv_backward_filter(const detail::ConvGeometry& g, const T* x, const T* gradient, T* w);

 private:
  // A handle that means the same whatever --default-stream a file is compiled with.
  static cudaStream_t& current_stream() noexcept {
    thread_local cudaStream_t stream = cudaStreamLegacy;
    return stream;
  }

  [[noreturn]] static void throw_out_of_memory(std::size_t bytes) {
    static_cast<void>(cudaGetLastError());
    std::size_t unused = 0, total = 0;
    static_cast<void>(cudaMemGetInfo(&unused, &total));
    throw OutOfMemory("could not allocate " + std::to_string(bytes) + " bytes of device memory: " + std::to_string(unused) +
                      " of " + std::to_string(total) + " are free; use a smaller batch or checkpoint");
  }

  inline static std::atomic<bool> debug_{false};
};

static_assert(Backend<Cuda>);

}  // namespace kolmo
