#pragma once
// Launching a kernel on the current stream, with an error that says which kernel, how large and where.

#if !defined(__CUDACC__)
#error "kolmo/cuda/*.cuh defines CUDA kernels: include it in a .cu file compiled by nvcc. A file for another \
compiler includes kolmo/cuda/runtime.hpp, which has the same type Cuda."
#endif

#include <cuda_runtime.h>

#include <kolmo/cuda/instructions.cuh>
#include <kolmo/cuda/runtime.hpp>

/// A kernel is launched by the file that defines it alone; hidden, it cannot be taken for the copy in another
/// shared library.
#define KOLMO_KERNEL __attribute__((visibility("hidden"))) __global__ void

/// Keeps a function template's instance in the object file although its callers may have inlined it, for
/// files of other compilers to link.
#define KOLMO_LINKABLE __attribute__((used))

namespace kolmo::detail {

/// Blocks of a launch; kernels loop over the rest.
inline constexpr index_t max_cuda_blocks = 65535;

/// Bytes of arguments that a kernel can take on every GPU of the toolkit.
inline constexpr std::size_t max_kernel_arguments = 4096;

template <class Operation>
const char* cuda_operation_name() {
  return __PRETTY_FUNCTION__;
}

template <class Operation>
std::string describe_launch(const char* kernel, unsigned blocks, unsigned threads) {
  return "kernel " + std::string(kernel) + " (" + cuda_operation_name<Operation>() + ") with " + std::to_string(blocks) +
         " blocks of " + std::to_string(threads) + " threads on stream " +
         std::to_string(reinterpret_cast<std::uintptr_t>(Cuda::stream()));
}

/// Grid, block and dynamic shared memory of a launch.
struct LaunchShape {
  index_t blocks = 1;
  int threads = 32;
  std::size_t shared_bytes = 0;
};

/// Shared memory that a kernel may have without asking.
inline constexpr std::size_t default_shared_bytes = 49152;

/// Launches exactly this grid and throws DeviceError when the launch fails; in debug mode also when the kernel does.
/// Operation is the functor that tells one instance of the kernel from another.
template <class Operation, class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape, const Arguments&... arguments) {
  static_assert((sizeof(Parameters) + ... + 0) <= max_kernel_arguments,
                "the functors of this operation are too large for a kernel: hold pointers to device memory instead of data");
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = dim3(static_cast<unsigned>(shape.blocks));
  configuration.blockDim = dim3(static_cast<unsigned>(shape.threads));
  configuration.dynamicSmemBytes = shape.shared_bytes;
  configuration.stream = Cuda::stream();
  cudaError_t code = cudaSuccess;
  if (shape.shared_bytes > default_shared_bytes)
    code = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(shape.shared_bytes));
  if (code == cudaSuccess) code = cudaLaunchKernelEx(&configuration, kernel, arguments...);
  if (code != cudaSuccess)
    throw_cuda(code, "launch of " + describe_launch<Operation>(name, configuration.gridDim.x, configuration.blockDim.x));
  if (Cuda::debug()) {
    const cudaError_t result = cudaStreamSynchronize(Cuda::stream());
    if (result != cudaSuccess)
      throw_cuda(result, describe_launch<Operation>(name, configuration.gridDim.x, configuration.blockDim.x));
  }
}

/// The same for kernels whose blocks loop over the items that are left: the grid is cut at max_cuda_blocks.
template <class Operation, class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), index_t blocks, int threads, const Arguments&... arguments) {
  launch<Operation>(name, kernel, LaunchShape{smaller(blocks, max_cuda_blocks), threads, 0}, arguments...);
}

/// Device memory for the time of an operation; given back in the order of the stream.
template <class T>
class CudaBuffer {
 public:
  explicit CudaBuffer(index_t count)
      : bytes_(static_cast<std::size_t>(count) * sizeof(T)), data_(static_cast<T*>(Cuda::allocate(bytes_))) {}
  ~CudaBuffer() { Cuda::deallocate(data_, bytes_); }
  CudaBuffer(const CudaBuffer&) = delete;
  CudaBuffer& operator=(const CudaBuffer&) = delete;
  T* data() const { return data_; }

 private:
  std::size_t bytes_;
  T* data_;
};

/// Threads of a block that share one T each, within the 48 KiB of shared memory that every GPU has.
template <class T>
inline constexpr int block_threads = sizeof(T) <= 128 ? 256 : sizeof(T) <= 256 ? 128 : sizeof(T) <= 512 ? 64 : 32;

/// Largest accumulator of a reduction or scan, in bytes.
inline constexpr std::size_t max_accumulator = 1024;

inline constexpr int warp_threads = 32;

/// Waits for the threads of a group: a single one, a warp, or the whole block.
template <int group>
__device__ void synchronize_group() {
  if constexpr (group == warp_threads)
    __syncwarp();
  else if constexpr (group > 1)
    __syncthreads();
}

}  // namespace kolmo::detail
