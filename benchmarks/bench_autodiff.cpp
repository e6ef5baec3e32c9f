// What differentiation costs, on one thread: the gradient of a perceptron beside the same arithmetic written by hand
// with Eigen products and preallocated memory, one node of the tape, a Jacobian-vector product beside a forward pass,
// and a Hessian-vector product beside a gradient.

#include <stdexcept>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/reduce.hpp>

#include <Eigen/Core>

#include "measure.hpp"

namespace {

using kolmo::index_t;
using kolmo::Shape;
using measure::compare;
using measure::Peer;
using measure::Work;
using Host = kolmo::Tensor<float, kolmo::Cpu>;
using Model = kolmo::nn::Mlp<Host>;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr index_t batch = 64, inputs = 64, width = 256, outputs = 8;

struct Problem {
  Model model;
  Host x, target;
};

/// Three hidden layers of 256 with ReLU, and data.
Problem make_problem() {
  kolmo::nn::MlpOptions options;
  options.inputs = inputs;
  options.hidden = {width, width, width};
  options.outputs = outputs;
  Problem problem{Model(options), {}, {}};
  init(kolmo::Key{1}, problem.model);
  std::vector<float> x, target;
  for (index_t i = 0; i < batch * inputs; ++i)
    x.push_back(kolmo::normal<float>(kolmo::Key{2}, static_cast<std::uint64_t>(i)));
  for (index_t i = 0; i < batch * outputs; ++i)
    target.push_back(kolmo::normal<float>(kolmo::Key{3}, static_cast<std::uint64_t>(i)));
  problem.x = Host::from(x).reshaped(Shape{batch, inputs});
  problem.target = Host::from(target).reshaped(Shape{batch, outputs});
  return problem;
}

/// Mean squared error of the network.
struct Loss {
  Host x, target;
  template <class M>
  auto operator()(const M& model) const {
    return kolmo::mean(kolmo::square(model(x) - target));
  }
};

/// The same loss and gradient by hand. Memory is allocated once.
class ByHand {
 public:
  explicit ByHand(const Problem& problem) : x_(map(problem.x)), target_(map(problem.target)) {
    for (const auto& layer : problem.model.layers) {
      weights_.push_back(map(layer.weight));
      biases_.emplace_back(layer.bias.data(), layer.bias.size());
      outputs_.emplace_back(batch, layer.bias.size());
      slopes_.emplace_back(batch, layer.bias.size());
      weight_gradients.emplace_back(layer.weight.extent(0), layer.weight.extent(1));
      bias_gradients.emplace_back(layer.bias.size());
    }
  }

  float operator()() {
    const std::size_t last = weights_.size() - 1;
    for (std::size_t l = 0; l <= last; ++l) {
      if (l == 0)
        outputs_[l].noalias() = x_ * weights_[l];
      else
        outputs_[l].noalias() = outputs_[l - 1] * weights_[l];
      activate(outputs_[l].data(), biases_[l].data(), outputs_[l].cols(), l < last);
    }
    const float scale = 1.0f / static_cast<float>(batch * outputs);
    const float loss = (outputs_[last] - target_).squaredNorm() * scale;
    slopes_[last] = (outputs_[last] - target_) * (2 * scale);
    for (std::size_t l = last + 1; l-- > 0;) {
      bias_gradients[l] = slopes_[l].colwise().sum();
      if (l == 0) {
        weight_gradients[l].noalias() = x_.transpose() * slopes_[l];
      } else {
        weight_gradients[l].noalias() = outputs_[l - 1].transpose() * slopes_[l];
        slopes_[l - 1].noalias() = slopes_[l] * weights_[l].transpose();
        mask(slopes_[l - 1].data(), outputs_[l - 1].data(), slopes_[l - 1].size());
      }
    }
    return loss;
  }

  std::vector<Matrix> weight_gradients;
  std::vector<Eigen::RowVectorXf> bias_gradients;

 private:
  using Map = Eigen::Map<const Matrix>;
  static Map map(const Host& x) { return {x.data(), x.extent(0), x.extent(1)}; }

  static void activate(float* __restrict y, const float* __restrict bias, index_t columns, bool relu) {
    for (index_t r = 0; r < batch; ++r)
      for (index_t c = 0; c < columns; ++c) {
        const float value = y[r * columns + c] + bias[c];
        y[r * columns + c] = relu && !(value > 0) ? 0.0f : value;
      }
  }
  static void mask(float* __restrict slope, const float* __restrict y, index_t n) {
    for (index_t i = 0; i < n; ++i) slope[i] = y[i] > 0 ? slope[i] : 0.0f;
  }

  Map x_, target_;
  std::vector<Map> weights_;
  std::vector<Eigen::Map<const Eigen::RowVectorXf>> biases_;
  std::vector<Matrix> outputs_, slopes_;
};

/// Both gradients must agree before their times are compared.
void check(const Model& gradient, const ByHand& by_hand) {
  for (std::size_t l = 0; l < gradient.layers.size(); ++l) {
    const Eigen::Map<const Matrix> weight(gradient.layers[l].weight.data(), by_hand.weight_gradients[l].rows(),
                                          by_hand.weight_gradients[l].cols());
    const Eigen::Map<const Eigen::RowVectorXf> bias(gradient.layers[l].bias.data(), by_hand.bias_gradients[l].size());
    if (!weight.isApprox(by_hand.weight_gradients[l], 1e-4f) || !bias.isApprox(by_hand.bias_gradients[l], 1e-4f))
      throw std::runtime_error("the gradients of layer " + std::to_string(l) + " differ");
  }
}

constexpr double multiplications =
    static_cast<double>(batch) * (inputs * width + 2.0 * width * width + width * outputs);

void add_gradient() {
  measure::add("mlp_3x256/gradient", [](benchmark::State& state) {
    const Problem problem = make_problem();
    const Loss loss{problem.x, problem.target};
    ByHand by_hand(problem);
    by_hand();
    check(kolmo::value_and_grad(problem.model, loss).gradient, by_hand);
    compare(
        state, Work{.flops = 2 * 3 * multiplications},
        [&] { benchmark::DoNotOptimize(kolmo::value_and_grad(problem.model, loss).value.data()); },
        Peer{"by_hand", [&] { benchmark::DoNotOptimize(by_hand()); }});
  });
  measure::add("mlp_3x256/gradient_over_forward", [](benchmark::State& state) {
    const Problem problem = make_problem();
    const Loss loss{problem.x, problem.target};
    compare(
        state, Work{.flops = 2 * 3 * multiplications},
        [&] { benchmark::DoNotOptimize(kolmo::value_and_grad(problem.model, loss).value.data()); },
        Peer{"forward", [&] { benchmark::DoNotOptimize(loss(problem.model).data()); }});
  });
  measure::add("mlp_3x256/jvp_over_forward", [](benchmark::State& state) {
    const Problem problem = make_problem();
    const Loss loss{problem.x, problem.target};
    compare(
        state, Work{.flops = 2 * 3 * multiplications},
        [&] { benchmark::DoNotOptimize(kolmo::jvp(loss, problem.model, problem.model).tangent.data()); },
        Peer{"forward", [&] { benchmark::DoNotOptimize(loss(problem.model).data()); }});
  });
  measure::add("mlp_3x256/hvp_over_gradient", [](benchmark::State& state) {
    const Problem problem = make_problem();
    const Loss loss{problem.x, problem.target};
    compare(
        state, Work{},
        [&] { benchmark::DoNotOptimize(kolmo::hvp(loss, problem.model, problem.model).layers[0].bias.data()); },
        Peer{"gradient", [&] { benchmark::DoNotOptimize(kolmo::value_and_grad(problem.model, loss).value.data()); }});
  });
}

/// A chain of small operations, where nothing but the bookkeeping costs time.
template <class X>
X chain(X x, int length) {
  for (int i = 0; i < length; ++i) x = kolmo::tanh(x);
  return x;
}

void add_tape() {
  static constexpr int length = 1000;
  measure::add("chain_of_1000/gradient", [](benchmark::State& state) {
    const Host x = Host::scalar(0.5f);
    compare(
        state, Work{.items = length},
        [&] { benchmark::DoNotOptimize(kolmo::grad([](const auto& v) { return chain(v, length); }, x).data()); },
        Peer{"forward", [&] { benchmark::DoNotOptimize(chain(x, length).data()); }});
  });
  measure::add("chain_of_1000/forward", [](benchmark::State& state) {
    const Host x = Host::scalar(0.5f);
    compare(state, Work{.items = length}, [&] { benchmark::DoNotOptimize(chain(x, length).data()); });
  });
}

}  // namespace

int main(int argc, char** argv) {
  add_gradient();
  add_tape();
  return measure::run(argc, argv);
}
