// The file of the program that nvcc compiles: everything that launches kernels.

#include "train.hpp"

#include <kolmo/ad/transforms.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>

// Creating, filling and copying tensors launches kernels too; main.cpp finds them here.
template class kolmo::Tensor<float, kolmo::Cuda>;

DeviceTensor fit_line(const DeviceTensor& x, const DeviceTensor& y, int steps) {
  DeviceTensor w = DeviceTensor::zeros(kolmo::Shape{x.shape()[1], 1});
  for (int step = 0; step < steps; ++step)
    w = w - 0.5f * kolmo::grad([&](const auto& v) { return kolmo::mean(kolmo::square(kolmo::matmul(x, v) - y)); }, w);
  return w;
}
