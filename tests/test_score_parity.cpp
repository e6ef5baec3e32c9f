// The networks of vectors against PyTorch: time embedding, residual perceptron with every activation, score network,
// and the composition over trajectories; values and every gradient, to 1e-10 in double and 1e-5 in float
// (tests/reference/score_networks.py); the composition in double.

#include <kolmo/score/markov.hpp>
#include <kolmo/score/score_net.hpp>

#include "score_parity.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

template <class V>
struct EmbeddingProblem {
  nn::TimeEmbedding<V> net;
  V t;
  static void fields(auto&& f, auto&... s) {
    f(submodule("net"), s.net...);
    f(param("t"), s.t...);
  }
  template <class U>
  using Rebind = EmbeddingProblem<U>;
};

/// A network and its input.
template <class V, class Net>
struct NetProblem {
  Net net;
  V x;
  static void fields(auto&& f, auto&... s) {
    f(submodule("net"), s.net...);
    f(param("x"), s.x...);
  }
  template <class U>
  using Rebind = NetProblem<U, typename Net::template Rebind<U>>;
};

template <class V, class Net>
NetProblem<V, Net> problem(const Net& net, const Shape& shape) {
  return {reference_parameters<V>(net), reference_numbers<V>(stream_x, shape)};
}

template <class V>
V times(index_t count) {
  return reference_numbers<V>(stream_t, Shape{count}, 0.5, 0.5);
}

template <class T>
void expect_networks() {
  using V = Tensor<T, Cpu>;
  for (const char* name : {"relu", "elu", "gelu", "selu", "silu"})
    expect_parity(std::string("res_mlp_") + name,
                  problem<V>(nn::ResMlp<V>({3, 4, {6, 6}, nn::activation_of(name)}), Shape{4, 3}),
                  [](const auto& p) { return p.net(p.x); });
  const V t = times<V>(2), c = reference_numbers<V>(stream_c, Shape{2});
  expect_parity(
      "net", problem<V>(score::ScoreNet<V>({3, 2, 4, {6, 6}, nn::ActivationKind::silu}), Shape{2, 5, 3}),
      [&](const auto& p) { return p.net(p.x, t, c); }, "embedding.hidden.weight");
}

template <class T>
void expect_markov(const std::string& name, index_t order, index_t length, index_t stride, score::FoldRule rule,
                   index_t chunk) {
  using V = Tensor<T, Cpu>;
  const index_t width = 2 * order + 1;
  const score::ScoreNet<V> net({3 * width, 0, 4, {6}, nn::ActivationKind::silu});
  const V t = times<V>(2);
  expect_parity(
      "markov_" + name, problem<V>(net, Shape{2, length, 3}),
      [&](const auto& p) {
        using Net = std::remove_cvref_t<decltype(p.net)>;
        return score::MarkovScore<Net>(p.net, order, stride, rule, chunk)(p.x, t);
      },
      "embedding.hidden.weight");
}

}  // namespace

TEST_CASE("9.1: time embedding, residual perceptron and score network, and every gradient") {
  using V = Tensor<double, Cpu>;
  expect_parity(
      "time_embedding", EmbeddingProblem<V>{reference_parameters<V>(nn::TimeEmbedding<V>(5)), times<V>(3)},
      [](const auto& p) { return p.net(p.t); }, "hidden.weight");
  expect_networks<double>();
  expect_networks<float>();
}

TEST_CASE("9.1: the composition over trajectories and every gradient, whole and in chunks") {
  using score::FoldRule;
  for (const index_t chunk : {0, 3}) {
    expect_markov<double>("symmetrical", 2, 7, 1, FoldRule::symmetrical, chunk);
    expect_markov<double>("stride", 2, 11, 3, FoldRule::symmetrical, chunk);
    expect_markov<double>("causal", 1, 7, 2, FoldRule::causal, chunk);
    expect_markov<double>("average", 1, 5, 1, FoldRule::average, chunk);
  }
}
