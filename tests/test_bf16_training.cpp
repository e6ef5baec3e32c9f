// Training in bfloat16 with master weights in float, beside training in float.

#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/mixed_precision.hpp>
#include <kolmo/optim/train.hpp>
#include <kolmo/score/score_net.hpp>

#include "catch.hpp"

using namespace kolmo;
using Single = Tensor<float, Cpu>;

namespace {

struct Points {
  Single x;
  index_t size() const { return x.shape()[0]; }
  Single batch(std::span<const index_t> indices) const {
    std::vector<float> values;
    for (const index_t i : indices)
      for (index_t j = 0; j < 4; ++j) values.push_back(x.data()[4 * i + j]);
    return Single::from(std::span<const float>(values), Shape{static_cast<index_t>(indices.size()), 4});
  }
};

/// Learns (sin 2x, x y) from (x, y); the targets have noise of variance 0.09, the loss that remains.
struct Regression {
  template <class M>
  auto operator()(const M& model, const Single& x) const {
    const Single first = slice(x, 1, 0, 1), second = slice(x, 1, 1, 2);
    const Single wanted = concat(1, sin(first * 2.0), first * second) + slice(x, 1, 2, 4) * 0.3;
    return mean(square(model(slice(x, 1, 0, 2), 0.5) - wanted));
  }
};

}  // namespace

TEST_CASE("training with master weights in float reaches the loss of training in float") {
  const Points points{nn::normal_values<Single>(Key{3}, Shape{1024, 4})};
  score::ScoreNet<Single> start({.features = 2, .hidden = {32, 32}, .activation = nn::ActivationKind::silu});
  init(Key{5}, start);
  optim::TrainOptions options;
  options.epochs = 30;
  options.batch = 64;
  const auto judge = [&](const auto& net) { return Regression{}(net, points.x).item(); };
  const float before = judge(start);
  const auto optimiser = optim::adam({.learning_rate = 3e-3});
  auto single = start, mixed = start;
  train(single, optimiser, points, Regression{}, options);
  train(mixed, optimiser, points, optim::mixed_precision(Regression{}), options);
  const float after = judge(single), after_mixed = judge(mixed);
  INFO("before " << before << " float " << after << " mixed " << after_mixed);
  CHECK(after < 0.12f * before);
  CHECK(after_mixed == Approx(after).epsilon(0.03));
  // Weights moved by less than bfloat16 can show: they are kept in float.
  bool finer = false;
  visit_parameters(
      [&](const std::string&, const Single& w) {
        finer = finer || cast<float>(cast<BFloat16>(w)).to_vector() != w.to_vector();
      },
      mixed);
  CHECK(finer);
}
