// Scalars stored as bfloat16 inside kernels: conversion, elementwise functors, casts.
#include <kolmo/core/apply.hpp>
#include <kolmo/core/functors.hpp>
#include <kolmo/ops/cast.hpp>

using kolmo::BFloat16;

__global__ void increment(BFloat16* values, kolmo::index_t count) {
  const kolmo::index_t i = static_cast<kolmo::index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) values[i] += 1.0f;
}

__global__ void cast(kolmo::detail::CastKernel<float, BFloat16> kernel) { kernel(threadIdx.x); }

__global__ void silu(kolmo::detail::ElementwiseKernel<kolmo::fn::Silu, BFloat16, 1, 1, true> kernel) {
  kernel(threadIdx.x);
}

void launch(BFloat16* values, kolmo::index_t count, const kolmo::detail::CastKernel<float, BFloat16>& narrow,
            const kolmo::detail::ElementwiseKernel<kolmo::fn::Silu, BFloat16, 1, 1, true>& activate) {
  const kolmo::index_t threads = 256;
  increment<<<static_cast<unsigned>(kolmo::divide_up(count, threads)), static_cast<unsigned>(threads)>>>(values, count);
  cast<<<1, 32>>>(narrow);
  silu<<<1, 32>>>(activate);
}
