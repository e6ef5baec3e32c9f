#pragma once
// The CUDA backend as a type: memory, streams and errors. Any C++ compiler can include this header; it
// needs the CUDA runtime API alone. The compute primitives are declared here and defined for nvcc in
// cuda/cuda.cuh. So a host file holds and passes Tensor<T, Cuda> like any other tensor, and a program
// without the kernels fails to link with the name of the missing one.

#include <atomic>
#include <cstring>
#include <string>

#include <kolmo/backend/concept.hpp>
#include <kolmo/backend/conv_geometry.hpp>
#include <kolmo/backend/nearest_call.hpp>
#include <kolmo/cuda/matrix_math.hpp>
#include <kolmo/cuda/stream.hpp>

namespace kolmo {

namespace detail {

class CudaRecorder;
class CudaFixedGraph;
template <class T>
struct FftLine;

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

  /// `Cuda::Scope scope{stream}` or `Cuda::Scope scope{stream, handles}`: makes a stream, and library handles of a host
  /// program, the current ones of this thread until the end of the scope. Entering and leaving order the two streams, so
  /// that tensors may cross the border in both directions. The stream must outlive the scope. Throws DeviceError.
  using Scope = detail::CudaScope;
  using Handles = CudaHandles;

  /// What replay (ad/replay.hpp) records with: cuda/graph.hpp.
  using Recorder = detail::CudaRecorder;
  using FixedGraph = detail::CudaFixedGraph;
  /// Whether this thread's work is recorded now.
  static bool is_recording() noexcept { return detail::cuda_context().capture != nullptr; }

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
  static cudaStream_t stream() noexcept { return detail::cuda_context().stream; }

  /// The handles that the host program gave for this scope; null ones are the library's own.
  static const CudaHandles& handles() noexcept { return detail::cuda_context().handles; }

  /// In debug mode every kernel is waited for, so that an error names the kernel that caused it; new memory is filled
  /// with NaN (all bits one) and comes from the driver block by block, so that compute-sanitizer knows its borders. Off
  /// by default; for the whole process, but not while a graph is recorded.
  static void set_debug(bool on) noexcept { debug_.store(on, std::memory_order_relaxed); }
  static bool debug() noexcept {
    return debug_.load(std::memory_order_relaxed) && detail::cuda_context().capture == nullptr;
  }

  /// Device memory, aligned to 256 bytes, in the order of the current stream. Throws OutOfMemory with the bytes
  /// asked for, free and installed; the device stays usable. Throws DeviceError on any other failure.
  static void* allocate(std::size_t bytes) {
    void* block = try_allocate(bytes);
    const detail::CudaCapture* const capture = detail::cuda_context().capture;
    if (block == nullptr && (capture == nullptr || capture->can_pause())) {
      // Memory whose release a stream has not reached yet, or that lies in pieces, may be enough.
      trim();
      block = try_allocate(bytes);
    }
    if (block == nullptr) throw_out_of_memory(bytes);
    if (debug()) detail::check_cuda(cudaMemsetAsync(block, 0xff, bytes, stream()), "cudaMemsetAsync", bytes);
    return block;
  }

  /// Returns memory in the order of the current stream.
  static void deallocate(void* block, std::size_t) noexcept {
    const detail::CudaContext& context = detail::cuda_context();
    if (block != nullptr) detail::CudaPool::instance().deallocate(block, context.heap, context.capture != nullptr);
  }

  /// Host to device, without waiting for the device: the source is copied and may be changed when it returns.
  static void upload(void* target, const void* source, std::size_t bytes) {
    auto& staging = detail::CudaStaging::instance();
    detail::CudaCapture* const capture = detail::cuda_context().capture;
    for (std::size_t begin = 0; begin < bytes; begin += detail::CudaStaging::piece) {
      const std::size_t size = smaller(detail::CudaStaging::piece, bytes - begin);
      auto* const buffer = capture != nullptr ? nullptr : staging.take(size, detail::current_cuda_device());
      void* const staged = capture != nullptr ? capture->stage(size) : buffer->memory;
      std::memcpy(staged, static_cast<const char*>(source) + begin, size);
      const cudaError_t code =
          cudaMemcpyAsync(static_cast<char*>(target) + begin, staged, size, cudaMemcpyHostToDevice, stream());
      if (buffer != nullptr) staging.pass(*buffer, stream());
      detail::check_cuda(code, "cudaMemcpyAsync (upload)", size);
    }
    if (debug()) synchronize();
  }

  /// Device to host. Waits for all work before it.
  static void download(void* target, const void* source, std::size_t bytes) {
    if (bytes == 0) return;
    detail::CudaPause pause("Cuda::download (item, to_vector)");
    detail::check_cuda(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToHost, stream()),
                       "cudaMemcpyAsync (download)", bytes);
    wait("cudaStreamSynchronize after download");
    pause.end();
  }

  /// Device to device.
  static void copy(void* target, const void* source, std::size_t bytes) {
    if (bytes == 0) return;
    detail::check_cuda(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream()), "cudaMemcpyAsync (copy)",
                       bytes);
  }

  /// Waits for the current stream. Throws DeviceError when something given to it failed.
  static void synchronize() {
    detail::CudaPause pause("Cuda::synchronize");
    wait("cudaStreamSynchronize");
    pause.end();
  }

  /// Returns unused memory of the pool to the driver, for other processes. Waits for the device.
  static void trim() {
    detail::CudaPause pause("Cuda::trim");
    detail::check_cuda(detail::CudaPool::instance().trim(detail::current_cuda_device()),
                       "cudaDeviceSynchronize before memory is returned");
    pause.end();
  }

  /// Memory that the library holds on the current device.
  static CudaMemory memory() { return detail::CudaPool::instance().statistics(detail::current_cuda_device()); }
  /// Counts the peak of memory() from now on.
  static void reset_peak() { detail::CudaPool::instance().reset_peak(detail::current_cuda_device()); }

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
  /// False when it leaves the stages to nearest.
  template <Real T>
  static bool nearest_residual(const NearestResidualCall<T>& call);
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
  static void* try_allocate(std::size_t bytes) {
    const detail::CudaContext& context = detail::cuda_context();
    auto& pool = detail::CudaPool::instance();
    const int device = detail::current_cuda_device();
    if (debug()) return pool.allocate_apart(device, bytes);
    return pool.allocate(context.heap, device, bytes, context.lender);
  }

  static void wait(const char* call) {
    const detail::CudaContext& context = detail::cuda_context();
    auto& pool = detail::CudaPool::instance();
    // What was returned here until now has been used for the last time when the stream has been waited for.
    detail::CudaBlock* const returned = pool.take_returned(context.heap, detail::current_cuda_device());
    const cudaError_t code = cudaStreamSynchronize(context.stream);
    pool.release(returned);
    detail::check_cuda(code, call);
  }

  [[noreturn]] static void throw_out_of_memory(std::size_t bytes) {
    std::size_t unused = 0, total = 0;
    static_cast<void>(cudaMemGetInfo(&unused, &total));
    throw OutOfMemory("could not allocate " + std::to_string(bytes) + " bytes of device memory: " + std::to_string(unused) +
                      " of " + std::to_string(total) + " are free; use a smaller batch or checkpoint");
  }

  inline static std::atomic<bool> debug_{false};
};

static_assert(Backend<Cuda>);

}  // namespace kolmo

#include <kolmo/cuda/graph.hpp>
