// A score network trained on a chaotic system's trajectories, and samples of what a trajectory was, seen through a
// noisy sensor. The lines between the markers stand in docs/score.md.
//
// test: --epochs 2 --chains 40

#include <CLI/CLI.hpp>
#include <cstdio>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/flow/chains.hpp>
#include <kolmo/flow/lorenz.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/optim/train.hpp>
#include <kolmo/score/denoising_loss.hpp>
#include <kolmo/score/ensemble.hpp>
#include <kolmo/score/guidance/choice.hpp>
#include <kolmo/score/markov.hpp>
#include <kolmo/score/observations/sampling.hpp>
#include <kolmo/score/sampler.hpp>
#include <kolmo/score/score_net.hpp>
#include <kolmo/score/trajectory_data.hpp>
#include <kolmo/score/window_samples.hpp>

#include "program.hpp"

namespace {

using namespace kolmo;
using V = Tensor<float, Cpu>;

int run(index_t epochs, index_t chains) {
  // Trajectories [sample, time, component], in units in which they have about mean zero and variance one.
  const flow::Lorenz63 law;
  const V states = law.normalised(flow::simulate_chains<float>(law, chains, {.burn_in = 256, .kept = 256}));
  const score::TrajectoryData<V> data(states, {"sample", "time", "component"});

  // A network that sees five frames at once, and how their noise comes about.
  score::ScoreNet<V> network(
      {.features = 15, .embedding = 32, .hidden = {128, 128, 128}, .activation = nn::ActivationKind::silu});
  init(Key{1}, network);
  const score::Schedule schedule;

  // Every epoch visits every trajectory once, at a window drawn anew.
  const score::WindowSamples<V> windows(data, {.window = 5, .key = Key{2}});
  optim::train(network, optim::adamw({.learning_rate = 1e-3, .weight_decay = 1e-3}), windows,
               score::DenoisingLoss{schedule},
               {.epochs = epochs,
                .batch = 32,
                .schedule = optim::Cosine{.learning_rate = 1e-3, .period = epochs},
                .key = Key{3}});

  // The network of windows as one of trajectories of any length.
  const score::MarkovScore<score::ScoreNet<V>> prior(network, 2);

  // A trajectory that was not seen, [1, 33, 3], through a sensor that sees its first component every fourth frame.
  const V truth = law.normalised(flow::simulate_chains<float>(law, 1, {.burn_in = 256, .kept = 33, .key = Key{4}}));
  const auto sensor = score::compose(score::subsample_time(4), score::Select{{0}, 2});
  const double noise = 0.1;
  const V seen = sensor(truth);
  const V measured = seen + nn::normal_values<V>(Key{5}, seen.shape(), 0, noise);

  // Sixteen samples of the trajectory, given what was measured.
  const auto posterior =
      score::guided(prior, schedule, score::observe(sensor, measured, noise), score::default_guidance());
  const V start = score::initial_state<V>({16, 33, 3}, Key{6}, schedule);
  const V samples = score::sample(posterior, schedule, start, {}, Key{7});

  const auto skill = score::spread_skill(samples, at(truth, 0, 0));
  std::printf("error of the mean %.3f, spread %.3f; chi^2 of the fit %.2f\n", skill.skill, skill.spread,
              posterior.report().chi_squared);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  index_t epochs = 300, chains = 512;
  CLI::App app{"Trains a small score network on Lorenz-63 and samples a trajectory from noisy observations."};
  app.add_option("--epochs", epochs, "passes over the trajectories")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--chains", chains, "trajectories to learn from")
      ->check(CLI::Range(32, 100000))
      ->capture_default_str();
  return run_program(app, "posterior_sampling", argc, argv, [&] { return run(epochs, chains); });
}
