// The programs of the guide: tensors, derivatives, a model and its training, saving and loading.
// test: guide_model.safetensors

#include <cmath>
#include <cstdio>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/shape.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/samples.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/optim/train.hpp>

using kolmo::Shape;
using Tensor = kolmo::Tensor<float, kolmo::Cpu>;

void tensors() {
  const Tensor x = Tensor::from({1, 2, 3, 4, 5, 6}, Shape{2, 3});
  const Tensor column_means = kolmo::mean(x, {0});                // [3]
  const Tensor centred = x - column_means;                        // broadcasts, as in NumPy
  const Tensor covariance = kolmo::matmul(kolmo::transpose(centred), centred) / 2;
  const Tensor first = kolmo::slice(covariance, 0, 0, 1);         // a view; no copy
  std::printf("covariance %s, first entry %.1f\n", covariance.shape().to_string().c_str(), first.to_vector()[0]);
}

struct Energy {
  template <class X>
  auto operator()(const X& x) const {
    return kolmo::sum(kolmo::square(x) * kolmo::exp(-x));
  }
};

void derivatives() {
  const Tensor x = Tensor::from({0.5f, 1.0f, 2.0f});
  const Tensor direction = Tensor::ones(x.shape());
  const Tensor gradient = kolmo::grad(Energy{}, x);
  const auto forward = kolmo::jvp(Energy{}, x, direction);        // value and derivative along a direction
  const Tensor curvature = kolmo::hvp(Energy{}, x, direction);    // Hessian times direction
  std::printf("gradient %.4f, along ones %.4f, curvature %.4f\n", gradient.to_vector()[0], forward.tangent.item(),
              curvature.to_vector()[0]);
}

// Mean squared error, written once for every kind of tensor.
struct SquaredError {
  template <class Model, class Batch>
  auto operator()(const Model& model, const Batch& batch) const {
    const auto& [x, y] = batch;
    return kolmo::mean(kolmo::square(model(x) - y));
  }
};

void training(const char* path) {
  const Tensor x = Tensor::arange(256, -3.0f, 6.0f / 255).reshaped(Shape{256, 1});
  const kolmo::optim::Samples<Tensor, Tensor> samples(x, kolmo::sin(x));

  kolmo::nn::MlpOptions sizes;
  sizes.inputs = 1;
  sizes.hidden = {32, 32};
  sizes.outputs = 1;
  kolmo::nn::Mlp<Tensor, kolmo::fn::Tanh> model(sizes);
  kolmo::nn::init(kolmo::Key{1}, model);

  kolmo::optim::TrainOptions options;
  options.epochs = 300;
  options.batch = 32;
  options.schedule = kolmo::optim::Cosine{.learning_rate = 1e-2, .period = options.epochs};
  options.key = kolmo::Key{2};
  kolmo::optim::train(model, kolmo::optim::adam(), samples, SquaredError{}, options);

  kolmo::io::save_model(path, model);
  const auto again = kolmo::io::load_model<kolmo::nn::Mlp<Tensor, kolmo::fn::Tanh>>(path);
  std::printf("sin(1) = %.3f, the network says %.3f\n", std::sin(1.0), again(Tensor::ones(Shape{1, 1})).item());
}

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::printf("Runs the programs of the guide and writes a small model.\nUsage: guide MODEL.safetensors\n");
    return argc == 2 ? 0 : 2;
  }
  try {
    tensors();
    derivatives();
    training(argv[1]);
  } catch (const kolmo::Error& error) {
    std::fprintf(stderr, "guide: %s\n", error.what());
    return 1;
  }
}
