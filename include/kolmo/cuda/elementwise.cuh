#pragma once
// Elementwise functors on CUDA (see core/apply.hpp): a thread takes packs of neighbouring elements of 16 bytes, loads
// all operands of its packs before it computes, and finds rows of broadcast or strided operands by multiplications
// instead of divisions. Two kernels per functor: with packs where extents and addresses are multiples of them, else
// with single elements.

#include <kolmo/core/apply.hpp>
#include <kolmo/cuda/launch.cuh>

namespace kolmo {

namespace detail {

/// Division by a constant that is known at run time (Granlund and Montgomery 1994), of numbers below 2^31.
struct FastDivider {
  unsigned divisor = 1, multiplier = 0;
  int shift = 0;

  FastDivider() = default;
  explicit FastDivider(index_t d) : divisor(static_cast<unsigned>(d)) {
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    multiplier = static_cast<unsigned>((((std::uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  __device__ unsigned operator()(unsigned n) const { return (__umulhi(n, multiplier) + n) >> shift; }
};

/// How an operand of a pack is read.
enum class PackAccess : std::int8_t { packed, repeated, strided };

/// Where the packs of an elementwise kernel lie.
template <int N>
struct ElementwisePlan {
  index_t packs = 0;          // whole ones
  index_t packs_per_row = 1;  // of the last axis
  bool all_packed = true;
  FastDivider row;  // by packs_per_row
  FastDivider extent[max_rank];
  PackAccess access[N];
};

template <class T>
inline constexpr int elements_per_pack = sizeof(T) <= 8 && (sizeof(T) & (sizeof(T) - 1)) == 0
                                             ? smaller(8, static_cast<int>(16 / sizeof(T)))
                                             : 1;

template <class T, int count>
struct alignas(count == 1 ? alignof(T) : count * sizeof(T)) ElementPack {
  T element[count];
};

/// Offsets of all operands at the start of a pack.
template <int V, class F, class T, int N, int M, bool tangent>
__device__ Array<index_t, N> pack_offsets(const ElementwiseKernel<F, T, N, M, tangent>& kernel,
                                          const ElementwisePlan<N>& plan, index_t pack) {
  Array<index_t, N> offset{};
  const int last = kernel.shape.rank() - 1;
  index_t column = pack * V;
  if (last > 0) {
    auto rest = plan.row(static_cast<unsigned>(pack));
    column = (pack - static_cast<index_t>(rest) * plan.packs_per_row) * V;
    KOLMO_ROLLED
    for (int d = last - 1; d > 0; --d) {
      const unsigned above = plan.extent[d](rest);
      const auto position = static_cast<index_t>(rest - above * plan.extent[d].divisor);
      rest = above;
      for (int i = 0; i < N; ++i) offset[i] += position * kernel.strides[i][d];
    }
    for (int i = 0; i < N; ++i) offset[i] += rest * kernel.strides[i][0];
  }
  for (int i = 0; i < N; ++i) offset[i] += column * kernel.strides[i][last];
  return offset;
}

template <int V, class T>
__device__ ElementPack<T, V> load_pack(const T* source, index_t stride, PackAccess access) {
  if constexpr (V == 1) {
    return {{*source}};
  } else {
    using Pack = ElementPack<T, V>;
    if (access == PackAccess::packed) return *reinterpret_cast<const Pack*>(source);
    Pack pack;
    if (access == PackAccess::repeated) {
      const T value = *source;
      for (int j = 0; j < V; ++j) pack.element[j] = value;
    } else {
      for (int j = 0; j < V; ++j) pack.element[j] = source[j * stride];
    }
    return pack;
  }
}

/// U packs of a thread: loads, then the functor, then stores.
template <int V, int U, class F, class T, int N, int M, bool tangent, int... I, int... J>
__device__ void run_packs(const ElementwiseKernel<F, T, N, M, tangent>& kernel, const ElementwisePlan<N>& plan,
                          index_t first, std::integer_sequence<int, I...>, std::integer_sequence<int, J...>) {
  using C = ComputeOf<T>;
  using Pack = ElementPack<T, V>;
  const int last = kernel.shape.rank() - 1;
  Pack x[U][N];
  [[maybe_unused]] Pack dx[tangent ? U : 1][N];
  // Past the end the last pack is read again. No branch stands between the loads of the usual case, so that all are
  // in flight together.
  Array<index_t, N> offset[U];
  for (int u = 0; u < U; ++u)
    offset[u] = pack_offsets<V>(kernel, plan, smaller(first + u * static_cast<int>(blockDim.x), plan.packs - 1));
  if (plan.all_packed) {
    for (int u = 0; u < U; ++u) ((x[u][I] = *reinterpret_cast<const Pack*>(kernel.x[I] + offset[u][I])), ...);
  } else {
    for (int u = 0; u < U; ++u)
      ((x[u][I] = load_pack<V>(kernel.x[I] + offset[u][I], kernel.strides[I][last], plan.access[I])), ...);
  }
  if constexpr (tangent)
    for (int u = 0; u < U; ++u)
      ((dx[u][I] =
            kernel.dx[I] ? load_pack<V>(kernel.dx[I] + offset[u][I], kernel.strides[I][last], plan.access[I]) : Pack{}),
       ...);
  for (int u = 0; u < U; ++u) {
    const index_t pack = first + u * static_cast<int>(blockDim.x);
    if (pack >= plan.packs) break;
    Pack y[M];
    [[maybe_unused]] Pack dy[M];
    for (int j = 0; j < V; ++j) {
      if constexpr (tangent) {
        using D = Dual<C, 1>;
        const auto result = kernel.f(D(x[u][I].element[j], {{kernel.dx[I] ? C(dx[u][I].element[j]) : C(0)}})...);
        ((y[J].element[j] = T(output<J>(result).v)), ...);
        ((dy[J].element[j] = T(output<J>(result).d[0])), ...);
      } else {
        const auto result = kernel.f(C(x[u][I].element[j])...);
        ((y[J].element[j] = T(output<J>(result))), ...);
      }
    }
    ((kernel.y[J] ? void(reinterpret_cast<Pack*>(kernel.y[J])[pack] = y[J]) : void()), ...);
    if constexpr (tangent) ((kernel.dy[J] ? void(reinterpret_cast<Pack*>(kernel.dy[J])[pack] = dy[J]) : void()), ...);
  }
}

/// An element behind the packs of a single row; without tangents.
template <class F, class T, int N, int M, int... I, int... J>
__device__ void run_rest(const ElementwiseKernel<F, T, N, M, false>& kernel, index_t index,
                         std::integer_sequence<int, I...>, std::integer_sequence<int, J...>) {
  const auto result = kernel.f(ComputeOf<T>(kernel.x[I][index * kernel.strides[I][0]])...);
  ((kernel.y[J] ? void(kernel.y[J][index] = T(output<J>(result))) : void()), ...);
}

inline constexpr int elementwise_threads = 256;

template <int V, int U, class F, class T, int N, int M, bool tangent>
KOLMO_KERNEL __launch_bounds__(elementwise_threads)
    elementwise_kernel(index_t size, const __grid_constant__ ElementwiseKernel<F, T, N, M, tangent> kernel,
                       const __grid_constant__ ElementwisePlan<N> plan) {
  const index_t first = static_cast<index_t>(blockIdx.x) * (U * static_cast<int>(blockDim.x)) + threadIdx.x;
  if (first < plan.packs)
    run_packs<V, U>(kernel, plan, first, std::make_integer_sequence<int, N>{}, std::make_integer_sequence<int, M>{});
  if constexpr (V > 1)
    if (blockIdx.x == 0 && plan.packs * V + threadIdx.x < size)
      run_rest(kernel, plan.packs * V + threadIdx.x, std::make_integer_sequence<int, N>{},
               std::make_integer_sequence<int, M>{});
}

template <class T>
bool is_pack_aligned(const T* address, int elements) {
  return reinterpret_cast<std::uintptr_t>(address) % (static_cast<std::size_t>(elements) * sizeof(T)) == 0;
}

template <int V, class F, class T, int N, int M, bool tangent>
ElementwisePlan<N> elementwise_plan(const ElementwiseKernel<F, T, N, M, tangent>& kernel) {
  ElementwisePlan<N> plan;
  const Shape& shape = kernel.shape;
  const int last = shape.rank() > 0 ? shape.rank() - 1 : 0;
  plan.packs_per_row = shape[last] / V;
  plan.packs = last > 0 ? shape.size() / V : plan.packs_per_row;
  if (last > 0) plan.row = FastDivider(plan.packs_per_row);
  for (int d = 1; d < last; ++d) plan.extent[d] = FastDivider(shape[d]);
  for (int i = 0; i < N; ++i) {
    bool packed = kernel.strides[i][last] == 1 && is_pack_aligned(kernel.x[i], V) &&
                  (!tangent || kernel.dx[i] == nullptr || is_pack_aligned(kernel.dx[i], V));
    for (int d = 0; d < last; ++d) packed = packed && kernel.strides[i][d] % V == 0;
    plan.access[i] = packed                         ? PackAccess::packed
                     : kernel.strides[i][last] == 0 ? PackAccess::repeated
                                                    : PackAccess::strided;
    plan.all_packed = plan.all_packed && (packed || V == 1);
  }
  return plan;
}

template <int V, int U, class F, class T, int N, int M, bool tangent>
void launch_elementwise(const ElementwiseKernel<F, T, N, M, tangent>& kernel) {
  const ElementwisePlan<N> plan = elementwise_plan<V>(kernel);
  // Few packs may each be much work; small blocks spread them over the device.
  const int threads = plan.packs > 16384 ? elementwise_threads : warp_threads;
  const index_t blocks = larger<index_t>(1, divide_up(plan.packs, U * threads));
  launch<F>("elementwise", elementwise_kernel<V, U, F, T, N, M, tangent>, LaunchShape{blocks, threads, 0},
            kernel.shape.size(), kernel, plan);
}

/// Whether rows and outputs consist of whole, aligned packs; a single row may have a rest.
template <int V, class F, class T, int N, int M, bool tangent>
bool is_packed(const ElementwiseKernel<F, T, N, M, tangent>& kernel) {
  if (kernel.shape.rank() > 1 && kernel.shape[-1] % V != 0) return false;
  for (int m = 0; m < M; ++m)
    if (!is_pack_aligned(kernel.y[m], V) || !is_pack_aligned(kernel.dy[m], V)) return false;
  return true;
}

/// Items [begin, begin + count) of the first axis.
template <class F, class T, int N, int M, bool tangent>
ElementwiseKernel<F, T, N, M, tangent> part_of(ElementwiseKernel<F, T, N, M, tangent> kernel, index_t begin,
                                               index_t count) {
  const index_t below = kernel.shape.size() / kernel.shape[0];
  for (int i = 0; i < N; ++i) {
    kernel.x[i] += begin * kernel.strides[i][0];
    if (kernel.dx[i] != nullptr) kernel.dx[i] += begin * kernel.strides[i][0];
  }
  for (int m = 0; m < M; ++m) {
    if (kernel.y[m] != nullptr) kernel.y[m] += begin * below;
    if (kernel.dy[m] != nullptr) kernel.dy[m] += begin * below;
  }
  kernel.shape[0] = count;
  merge_axes(kernel.shape, kernel.strides);
  return kernel;
}

template <class F, class T, int N, int M, bool tangent>
void run_elementwise_kernel(const ElementwiseKernel<F, T, N, M, tangent>& kernel) {
  // What the fast dividers cannot number is done in two halves.
  if (kernel.shape.rank() > 1 && kernel.shape.size() >= index_t{1} << 31) {
    const index_t half = kernel.shape[0] / 2;
    run_elementwise_kernel(part_of(kernel, 0, half));
    return run_elementwise_kernel(part_of(kernel, half, kernel.shape[0] - half));
  }
  constexpr int V = tangent ? 1 : elements_per_pack<T>;
  // Loads in flight: about four of a thread.
  constexpr int U = N <= 2 ? 2 : 1;
  if constexpr (V > 1)
    if (is_packed<V>(kernel)) return launch_elementwise<V, U>(kernel);
  launch_elementwise<1, sizeof(T) < 8 ? 2 * U : U>(kernel);
}

}  // namespace detail

template <class Kernel>
KOLMO_LINKABLE void Cuda::elementwise(const Kernel& kernel) {
  if (kernel.shape.size() > 0) detail::run_elementwise_kernel(kernel);
}

}  // namespace kolmo
