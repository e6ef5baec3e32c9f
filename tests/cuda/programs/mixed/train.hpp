#pragma once
// What the two files of the program share: ordinary types, whichever compiler reads them.

#include <kolmo/core/tensor.hpp>
#include <kolmo/cuda/runtime.hpp>

using DeviceTensor = kolmo::Tensor<float, kolmo::Cuda>;

/// Fits y = x w by gradient descent on the device and returns w. Defined in train.cu.
DeviceTensor fit_line(const DeviceTensor& x, const DeviceTensor& y, int steps);
