#pragma once
// Memory, streams, events and graphs of the emulated runtime. Work is a closure. It runs at once, or, with
// `emulation::deferred`, when something waits for it and not before, which shows an order that nothing guarantees.
// A stream that is captured records its work as the nodes of a graph, with the rules that CUDA has for it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace emulation {

/// Bytes of device memory; allocations beyond fail.
inline std::size_t capacity = std::size_t{1} << 30;
inline std::size_t used = 0;
/// The allocation of the driver after so many others fails, and as many as `failing_allocations` after it; -1: none.
inline int allocations_until_failure = -1;
inline int failing_allocations = 3;
/// Returned by the next launch, once.
inline cudaError_t next_launch = cudaSuccess;
/// The launch of a kernel after so many others fails, once; -1: none.
inline int launches_until_failure = -1;
/// Numbers for tests that count: kernels run, barriers between streams, allocations asked of the driver, waits of the
/// host, graphs launched, made executable, and updated.
inline int launches = 0;
inline int stream_orderings = 0;
inline int allocations = 0;
inline int waits = 0;
inline int graph_launches = 0;
inline int instantiations = 0;
inline int graph_updates = 0;
/// Whether work waits until something waits for it.
inline bool deferred = false;

enum class NodeKind { kernel, copy, set, library };

struct Node {
  NodeKind kind;
  std::function<void()> run;
};

struct Capture;

/// Work of a stream: a node, or waiting for a position of another stream.
struct Item {
  std::function<void()> run;
  cudaStream_t other = nullptr;
  std::size_t position = 0;
};
struct StreamState {
  std::vector<Item> items;
  std::size_t done = 0;
  bool running = false;
  std::shared_ptr<Capture> capture;
};
struct Capture {
  cudaStream_t origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool invalidated = false;
  std::vector<Node> nodes;
  std::set<cudaStream_t> unjoined;
};

inline std::map<cudaStream_t, StreamState>& streams() {
  static auto* const map = new std::map<cudaStream_t, StreamState>;
  return *map;
}
inline StreamState& state_of(cudaStream_t stream) { return streams()[stream]; }

/// Runs what the stream was given up to a position.
inline void progress(cudaStream_t stream, std::size_t position) {
  StreamState& state = state_of(stream);
  if (state.running) std::abort();  // two streams wait for each other
  state.running = true;
  while (state.done < position) {
    const Item item = std::move(state.items[state.done++]);
    if (item.run)
      item.run();
    else
      progress(item.other, item.position);
  }
  state.running = false;
  if (state.done == state.items.size() && !state.items.empty()) {
    // Positions keep counting: events refer to them.
    for (Item& item : state.items) item = Item{};
  }
}
inline void progress(cudaStream_t stream) { progress(stream, state_of(stream).items.size()); }
inline void progress_all() {
  for (auto& [stream, state] : streams()) progress(stream, state.items.size());
}

inline cudaStreamCaptureMode& thread_mode() {
  thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  return mode;
}

/// A call that may wait for the device ends every capture in vain, unless the thread has relaxed its mode.
inline cudaError_t unsafe_call() {
  if (thread_mode() == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  bool capturing = false;
  for (auto& [stream, state] : streams())
    if (state.capture != nullptr && state.capture->mode != cudaStreamCaptureModeRelaxed) {
      state.capture->invalidated = true;
      capturing = true;
    }
  return capturing ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

/// Gives work to a stream: kernels, copies, and the calls of libraries that take a stream.
inline cudaError_t submit(cudaStream_t stream, NodeKind kind, std::function<void()> run) {
  StreamState& state = state_of(stream);
  if (state.capture != nullptr) {
    if (state.capture->invalidated) return cudaErrorStreamCaptureInvalidated;
    state.capture->nodes.push_back({kind, std::move(run)});
  } else if (deferred) {
    state.items.push_back({std::move(run)});
  } else {
    run();
  }
  return cudaSuccess;
}

inline std::map<void*, std::size_t>& blocks() {
  static auto* const map = new std::map<void*, std::size_t>;
  return *map;
}
inline std::map<void*, std::size_t>& pinned_blocks() {
  static auto* const map = new std::map<void*, std::size_t>;
  return *map;
}
inline bool is_within(const std::map<void*, std::size_t>& all, const void* address) {
  auto next = all.upper_bound(const_cast<void*>(address));
  if (next == all.begin()) return false;
  --next;
  return static_cast<const char*>(address) < static_cast<const char*>(next->first) + next->second;
}

inline void* allocate(std::size_t bytes) {
  ++allocations;
  if (allocations_until_failure >= 0 && allocations_until_failure-- == 0) {
    if (--failing_allocations > 0) allocations_until_failure = 0;
    return nullptr;
  }
  if (bytes > capacity - used) return nullptr;
  void* block = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (block == nullptr) return nullptr;
  blocks()[block] = bytes;
  used += bytes;
  return block;
}
inline void release(void* block) {
  if (block == nullptr) return;
  const auto found = blocks().find(block);
  if (found == blocks().end()) std::abort();  // freed twice, or never allocated
  used -= found->second;
  blocks().erase(found);
  std::free(block);
}

}  // namespace emulation

struct EmulatedEvent {
  cudaStream_t stream = nullptr;
  std::size_t position = 0;
  std::shared_ptr<emulation::Capture> capture;
  bool recorded = false;
  std::chrono::steady_clock::time_point time{};
};
struct EmulatedStream {};
struct EmulatedGraph {
  std::vector<emulation::Node> nodes;
};
struct EmulatedGraphExec {
  std::vector<emulation::Node> nodes;
};

inline cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  if (const cudaError_t code = emulation::unsafe_call(); code != cudaSuccess) return code;
  *block = emulation::allocate(bytes);
  return *block == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
/// Waits for the device, as CUDA's does.
inline cudaError_t cudaFree(void* block) {
  if (const cudaError_t code = emulation::unsafe_call(); code != cudaSuccess) return code;
  emulation::progress_all();
  emulation::release(block);
  return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** block, std::size_t bytes) {
  if (const cudaError_t code = emulation::unsafe_call(); code != cudaSuccess) return code;
  *block = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (*block == nullptr) return cudaErrorMemoryAllocation;
  emulation::pinned_blocks()[*block] = bytes;
  return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* block) {
  if (const cudaError_t code = emulation::unsafe_call(); code != cudaSuccess) return code;
  emulation::progress_all();
  if (emulation::pinned_blocks().erase(block) != 1) std::abort();
  std::free(block);
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* unused, std::size_t* total) {
  *unused = emulation::capacity - emulation::used;
  *total = emulation::capacity;
  return cudaSuccess;
}

/// Pageable memory is read before the call returns and written before it returns; a captured copy needs pinned memory,
/// since the pages behind any other address are those of the time of the launch.
inline cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream) {
  using namespace emulation;
  if (bytes == 0) return cudaSuccess;
  const bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
  if (to_device != is_within(blocks(), target) || from_device != is_within(blocks(), source))
    return cudaErrorInvalidValue;
  const bool pageable =
      (!to_device && !is_within(pinned_blocks(), target)) || (!from_device && !is_within(pinned_blocks(), source));
  if (!pageable) return submit(stream, NodeKind::copy, [=] { std::memcpy(target, source, bytes); });
  if (state_of(stream).capture != nullptr) return unsafe_call();
  if (to_device) {
    const std::vector<char> staged(static_cast<const char*>(source), static_cast<const char*>(source) + bytes);
    return submit(stream, NodeKind::copy, [=] { std::memcpy(target, staged.data(), bytes); });
  }
  progress(stream);
  std::memcpy(target, source, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* target, int value, std::size_t bytes, cudaStream_t stream) {
  if (!emulation::is_within(emulation::blocks(), target)) return cudaErrorInvalidValue;
  return emulation::submit(stream, emulation::NodeKind::set, [=] { std::memset(target, value, bytes); });
}

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  emulation::progress(stream);
  emulation::streams().erase(stream);
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (emulation::state_of(stream).capture != nullptr) {
    emulation::state_of(stream).capture->invalidated = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  ++emulation::waits;
  emulation::progress(stream);
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t code = emulation::unsafe_call(); code != cudaSuccess) return code;
  ++emulation::waits;
  emulation::progress_all();
  return cudaSuccess;
}

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const emulation::StreamState& state = emulation::state_of(stream);
  *event = EmulatedEvent{stream, state.items.size(), state.capture, true, std::chrono::steady_clock::now()};
  return cudaSuccess;
}
/// A stream that waits for an event of a captured stream belongs to that capture, until a captured stream waits for it.
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  using namespace emulation;
  ++stream_orderings;
  StreamState& state = state_of(stream);
  if (event->capture != nullptr) {
    if (state.capture != nullptr && state.capture != event->capture) return cudaErrorStreamCaptureMerge;
    if (state.capture == nullptr) {
      state.capture = event->capture;
      state.capture->unjoined.insert(stream);
    } else {
      state.capture->unjoined.erase(event->stream);
    }
    return cudaSuccess;
  }
  if (state.capture != nullptr) {
    state.capture->invalidated = true;
    return cudaErrorStreamCaptureIsolation;
  }
  if (deferred && event->stream != stream) state.items.push_back({{}, event->stream, event->position});
  return cudaSuccess;
}
inline cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (event->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  return emulation::state_of(event->stream).done >= event->position ? cudaSuccess : cudaErrorNotReady;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  ++emulation::waits;
  emulation::progress(event->stream, event->position);
  return cudaSuccess;
}

inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (!begin->recorded || !end->recorded || end->capture != nullptr) return cudaErrorInvalidValue;
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}

inline cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, emulation::thread_mode());
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  emulation::StreamState& state = emulation::state_of(stream);
  if (stream == cudaStreamLegacy) return cudaErrorStreamCaptureUnsupported;
  if (state.capture != nullptr) return cudaErrorInvalidValue;
  state.capture = std::make_shared<emulation::Capture>();
  state.capture->origin = stream;
  state.capture->mode = mode;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const std::shared_ptr<emulation::Capture> capture = emulation::state_of(stream).capture;
  if (capture == nullptr || capture->origin != stream) return cudaErrorInvalidValue;
  for (auto& [other, state] : emulation::streams())
    if (state.capture == capture) state.capture = nullptr;
  if (capture->invalidated) return cudaErrorStreamCaptureInvalidated;
  if (!capture->unjoined.empty()) return cudaErrorStreamCaptureUnjoined;
  *graph = new EmulatedGraph{std::move(capture->nodes)};
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, std::size_t* count) {
  *count = graph->nodes.size();
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  ++emulation::instantiations;
  *exec = new EmulatedGraphExec{graph->nodes};
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo*) {
  bool same = exec->nodes.size() == graph->nodes.size();
  for (std::size_t i = 0; same && i < graph->nodes.size(); ++i) same = exec->nodes[i].kind == graph->nodes[i].kind;
  if (!same) return cudaErrorGraphExecUpdateFailure;
  ++emulation::graph_updates;
  exec->nodes = graph->nodes;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  ++emulation::graph_launches;
  for (const emulation::Node& node : exec->nodes)
    if (const cudaError_t code = emulation::submit(stream, node.kind, node.run); code != cudaSuccess) return code;
  return cudaSuccess;
}
