// The file of the program that the host's compiler sees: device tensors, and not one kernel.

#include "../check.hpp"
#include "train.hpp"

int main() {
  using kolmo::Shape;
  const auto make = [] {
    std::vector<float> values;
    for (int i = 0; i < 64; ++i) values.push_back(static_cast<float>(i * 37 % 64) / 32 - 1);
    return values;
  };
  if (!kolmo::Cuda::available()) {
    check::throws<kolmo::DeviceError>([&] { DeviceTensor::from(make()); }, "Cuda::available()", "a machine without a GPU");
    return check::result() == 0 ? check::skipped : 1;
  }
  const std::vector<float> values = make();
  std::vector<float> targets;
  for (std::size_t i = 0; i < values.size(); i += 2) targets.push_back(3 * values[i] - 2 * values[i + 1]);
  const auto x = DeviceTensor::from(values, Shape{32, 2});
  const auto w = fit_line(x, DeviceTensor::from(targets, Shape{32, 1}), 200);
  const std::vector<float> fitted = w.to_vector();
  check::close(fitted, {3.0f, -2.0f}, "the fitted line");

  // A strided view is gathered by a kernel.
  const auto second_column = x.view(Shape{32}, kolmo::Strides{{2}}, 1);
  check::that(second_column.to_vector()[5] == values[11], "a view of a device tensor");
  check::identical(DeviceTensor::arange(4, 1.0f, 2.0f).to_vector(), {1.0f, 3.0f, 5.0f, 7.0f}, "a range");
  return check::result();
}
