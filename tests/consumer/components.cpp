// A program that multiplies matrices on both CPU backends, whose libraries it gets through kolmo's components.
#include <kolmo/backend/xtensor.hpp>
#include <kolmo/ops/linalg.hpp>

template <class B>
double corner() {
  using Tensor = kolmo::Tensor<double, B>;
  const Tensor a = Tensor::from({1, 2, 3, 4}, {2, 2});
  return kolmo::matmul(a, a).to_vector()[3];
}

int main() { return corner<kolmo::Cpu>() == 22 && corner<kolmo::CpuBlas>() == 22 ? 0 : 1; }
