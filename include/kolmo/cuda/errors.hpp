#pragma once
// Errors of the CUDA runtime as exceptions, and the order of two streams.

#include <string>

#include <cuda_runtime_api.h>

#include <kolmo/error.hpp>

namespace kolmo::detail {

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
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureIsolation:
      return "; a function that replay records called CUDA by itself in a way that a graph cannot hold: it may wait "
             "for the "
             "device through the library alone, and use other streams inside a Cuda::Scope alone";
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

}  // namespace kolmo::detail
