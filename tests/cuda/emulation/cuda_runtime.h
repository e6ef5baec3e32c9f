#pragma once
// Kernels on the CPU, see cuda_runtime_api.h. One translation unit per program includes this.

#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "cuda_runtime_api.h"

#define __host__
#define __device__
#define __global__
#define __grid_constant__
#define __shared__ static

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

namespace emulation {

/// Dynamic shared memory of the running block; what it holds at the start of a block is no number.
inline constexpr std::size_t most_shared_bytes = 232448;
alignas(1024) inline unsigned char shared_memory[most_shared_bytes];
inline std::size_t granted_shared_bytes = 49152;
inline unsigned char* dynamic_shared() { return shared_memory; }

inline std::map<void*, std::size_t>& blocks() {
  static std::map<void*, std::size_t> map;
  return map;
}

inline void* allocate(std::size_t bytes) {
  if (bytes > capacity - used) return nullptr;
  void* block = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (block == nullptr) return nullptr;
  blocks()[block] = bytes;
  used += bytes;
  return block;
}
inline void release(void* block) {
  const auto found = blocks().find(block);
  if (found == blocks().end()) std::abort();  // freed twice, or never allocated
  used -= found->second;
  blocks().erase(found);
  std::free(block);
}

/// Runs one block at a time. A fiber runs until it ends or waits; a barrier opens when every living thread of
/// the warp or block waits at it.
class Block {
 public:
  static Block*& running() {
    static Block* block = nullptr;
    return block;
  }

  Block(unsigned threads, const std::function<void()>& body) : body_(body), fibers_(threads) {
    while (stacks().size() < threads) stacks().push_back(std::unique_ptr<char[]>(new char[stack_bytes]));
  }

  void run() {
    running() = this;
    for (std::size_t i = 0; i < fibers_.size(); ++i) prepare(fibers_[i].context, stacks()[i].get());
    while (step()) {
    }
    running() = nullptr;
  }

  enum class State { ready, at_warp_barrier, at_block_barrier, ended };

  void wait(State at) {
    Fiber& fiber = fibers_[current_];
    fiber.state = at;
    swapcontext(&fiber.context, &scheduler_);
    threadIdx = dim3(static_cast<unsigned>(current_));
  }

 private:
  static constexpr std::size_t stack_bytes = std::size_t{256} << 10;
  static std::vector<std::unique_ptr<char[]>>& stacks() {
    static std::vector<std::unique_ptr<char[]>> pool;
    return pool;
  }
  struct Fiber {
    ucontext_t context{};
    State state = State::ready;
  };

  void prepare(ucontext_t& context, char* stack) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = stack_bytes;
    context.uc_link = &scheduler_;
    makecontext(&context, &Block::enter, 0);
  }

  static void enter() {
    Block& block = *running();
    block.body_();
    block.fibers_[block.current_].state = State::ended;
  }

  bool step() {
    bool progressed = false;
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      current_ = backwards ? fibers_.size() - 1 - i : i;
      if (fibers_[current_].state != State::ready) continue;
      threadIdx = dim3(static_cast<unsigned>(current_));
      swapcontext(&scheduler_, &fibers_[current_].context);
      progressed = true;
    }
    for (std::size_t warp = 0; warp < fibers_.size(); warp += 32)
      progressed = open(warp, std::min(warp + 32, fibers_.size()), State::at_warp_barrier) || progressed;
    progressed = open(0, fibers_.size(), State::at_block_barrier) || progressed;
    bool alive = false;
    for (const Fiber& fiber : fibers_) alive = alive || fiber.state != State::ended;
    if (alive && !progressed) std::abort();  // threads wait at barriers that the others never reach
    return alive;
  }

  bool open(std::size_t begin, std::size_t end, State at) {
    bool any = false;
    for (std::size_t i = begin; i < end; ++i) {
      if (fibers_[i].state != at && fibers_[i].state != State::ended) return false;
      any = any || fibers_[i].state == at;
    }
    for (std::size_t i = begin; i < end; ++i)
      if (fibers_[i].state == at) fibers_[i].state = State::ready;
    return any;
  }

  const std::function<void()>& body_;
  std::vector<Fiber> fibers_;
  ucontext_t scheduler_{};
  std::size_t current_ = 0;
};

}  // namespace emulation

inline void __syncthreads() { emulation::Block::running()->wait(emulation::Block::State::at_block_barrier); }
inline void __syncwarp() { emulation::Block::running()->wait(emulation::Block::State::at_warp_barrier); }

inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<std::size_t>(value) > emulation::most_shared_bytes) return cudaErrorInvalidValue;
  emulation::granted_shared_bytes = std::max(emulation::granted_shared_bytes, static_cast<std::size_t>(value));
  return cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* configuration, void (*kernel)(Parameters...),
                               const Arguments&... arguments) {
  if (emulation::next_launch != cudaSuccess) return std::exchange(emulation::next_launch, cudaSuccess);
  const dim3 grid = configuration->gridDim, block = configuration->blockDim;
  if (grid.x == 0 || grid.x > 2147483647u || block.x == 0 || block.x > 1024) return cudaErrorInvalidConfiguration;
  const std::size_t shared_bytes = configuration->dynamicSmemBytes;
  if (shared_bytes > emulation::granted_shared_bytes) return cudaErrorInvalidValue;
  ++emulation::launches;
  gridDim = grid;
  blockDim = block;
  const std::function<void()> body = [&] { kernel(static_cast<Parameters>(arguments)...); };
  for (unsigned b = 0; b < grid.x; ++b) {
    blockIdx = dim3(b);
    std::memset(emulation::shared_memory, 0xff, shared_bytes);
    emulation::Block(block.x, body).run();
  }
  return cudaSuccess;
}

inline cudaError_t cudaMallocFromPoolAsync(void** block, std::size_t bytes, cudaMemPool_t, cudaStream_t) {
  *block = emulation::allocate(bytes);
  return *block == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFreeAsync(void* block, cudaStream_t) {
  emulation::release(block);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memcpy(target, source, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* target, int value, std::size_t bytes, cudaStream_t) {
  std::memset(target, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* unused, std::size_t* total) {
  *unused = emulation::capacity - emulation::used;
  *total = emulation::capacity;
  return cudaSuccess;
}
