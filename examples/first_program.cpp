// A function of one's own, with its gradient and curvature: the program of the README.

#include <cstdio>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/ops/reduce.hpp>

// Written once, for numbers and for dual numbers, on every backend.
struct Snake {
  double frequency;
  KOLMO_HD auto operator()(auto x) const { return x + sin(frequency * x) * sin(frequency * x) / frequency; }
};

int main() {
  using Tensor = kolmo::Tensor<double, kolmo::Cpu>;
  const Tensor x = Tensor::from({-1.0, 0.5, 2.0});
  const auto loss = [](const auto& v) { return kolmo::sum(kolmo::map(Snake{3.0}, v)); };

  const auto [value, gradient] = kolmo::value_and_grad(x, loss);
  const Tensor curvature = kolmo::hvp(loss, x, Tensor::ones(x.shape()));
  std::printf("loss %.4f\n", value.item());
  const auto slopes = gradient.to_vector(), curvatures = curvature.to_vector();
  for (std::size_t i = 0; i < 3; ++i) std::printf("slope %7.4f  curvature %7.4f\n", slopes[i], curvatures[i]);
}
