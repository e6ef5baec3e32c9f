#pragma once
// What a backend is: a stateless type with memory functions and four compute primitives. Every
// operation of the library is written with these; a backend may replace a single one by providing a
// static of the same name.
//
//   allocate, deallocate, upload, download, copy, synchronize
//   for_each(n, f)                              f(i) for i in [0, n), in any order
//   reduce(rows, columns, load, combine, init, store)
//                                               store(r, fold of load(r, c) over c), fixed tree
//   scan(rows, columns, load, combine, store)   store(r, c, inclusive fold up to c)
//   gemm(call)                                  batched C = alpha op(A) op(B) + beta C, row-major
//
// load, combine, store and f are functors that hold scalars, small arrays and pointers; they run
// wherever the backend's memory lives.

#include <concepts>
#include <cstddef>

#include <kolmo/core/bfloat16.hpp>

namespace kolmo {

/// Batched row-major product C[m, n] = alpha op(A)[m, k] op(B)[k, n] + beta C. With `transpose_a` the
/// stored A is [k, m], likewise for B. Strides count elements. Sums are formed in ComputeOf<T> and rounded once.
template <class T>
struct GemmCall {
  bool transpose_a = false;
  bool transpose_b = false;
  index_t m = 0, n = 0, k = 0;
  index_t batch = 1;
  ComputeOf<T> alpha = ComputeOf<T>(1);
  ComputeOf<T> beta = ComputeOf<T>(0);
  const T* a = nullptr;
  index_t leading_a = 0, batch_stride_a = 0;
  const T* b = nullptr;
  index_t leading_b = 0, batch_stride_b = 0;
  T* c = nullptr;
  index_t leading_c = 0, batch_stride_c = 0;
};

namespace detail {
struct ProbeEach {
  KOLMO_HD void operator()(index_t) const {}
};
struct ProbeLoad {
  KOLMO_HD float operator()(index_t, index_t) const { return 0.0f; }
};
struct ProbeCombine {
  KOLMO_HD float operator()(float a, float b) const { return a + b; }
};
struct ProbeStoreRow {
  KOLMO_HD void operator()(index_t, float) const {}
};
struct ProbeStoreElement {
  KOLMO_HD void operator()(index_t, index_t, float) const {}
};
}  // namespace detail

/// A load functor with this constant true is read fastest along rows: load(r, c) and load(r + 1, c)
/// are neighbours in memory.
template <class Load>
concept RowsContiguous = requires {
  requires Load::rows_contiguous;
};

/// The memory functions every backend has.
template <class B>
concept BackendMemory = requires(std::size_t bytes, void* target, const void* source) {
  { B::allocate(bytes) } -> std::same_as<void*>;
  { B::deallocate(target, bytes) } noexcept;
  B::upload(target, source, bytes);
  B::download(target, source, bytes);
  B::copy(target, source, bytes);
  B::synchronize();
};

/// The four compute primitives.
template <class B>
concept BackendCompute = requires(index_t n, const GemmCall<float>& call) {
  B::for_each(n, detail::ProbeEach{});
  B::reduce(n, n, detail::ProbeLoad{}, detail::ProbeCombine{}, 0.0f, detail::ProbeStoreRow{});
  B::scan(n, n, detail::ProbeLoad{}, detail::ProbeCombine{}, detail::ProbeStoreElement{});
  B::gemm(call);
};

template <class B>
concept Backend = BackendMemory<B> && BackendCompute<B>;

}  // namespace kolmo
