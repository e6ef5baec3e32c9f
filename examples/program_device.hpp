#pragma once
// Where the programs with a twin compute: NAME.cpp on the CPU and NAME.cu on a GPU, by one type.

#include <kolmo/error.hpp>

#ifdef __CUDACC__
#include <kolmo/cuda/cuda.cuh>

using Device = kolmo::Cuda;
#else
#include <kolmo/backend/cpu.hpp>

using Device = kolmo::Cpu;
#endif

/// Throws DeviceError when there is nothing to compute on.
template <class B = Device>
void require_device() {
  if constexpr (requires { B::available(); })
    if (!B::available())
      throw kolmo::DeviceError(
          "this machine has no GPU that can be used; install its driver, or take the program of the same name without "
          "_cuda");
}

/// Whether a backend has one queue of work, so that many small items are best computed as one large batch.
template <class B>
inline constexpr bool takes_batches = requires { requires B::one_host_thread; };
