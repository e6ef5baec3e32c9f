// The program train_mdn, run as a user runs it, and the network that ships with the examples.
// program: train_mdn

#include "catch.hpp"
#include "io_support.hpp"

#include <sys/wait.h>

#include <cstdlib>

#include <kolmo/gmm/mdn_fit.hpp>
#include <kolmo/gmm/mdn_train.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using F = Tensor<float, Cpu>;

TEST_CASE("train_mdn writes a network that load_mdn reads, of the published sizes when asked for") {
  const kolmo::io::test::TemporaryDirectory folder;
  const auto run = [&](const std::string& arguments) {
    const std::string command = "cd '" + (folder / "").string() + "' && '" KOLMO_PROGRAM "' " + arguments +
                                " --train 64 --valid 32 --epochs 1 --batch_size 32 --quiet >out.txt 2>err.txt";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  REQUIRE(run("--output small.safetensors --width 16 --layers 3 --residual 1 --K 4 --picture small.png") == 0);
  const auto small = load_mdn<F>(folder / "small.safetensors", 4);
  CHECK(small.options.residual);
  CHECK(small.hidden.size() == 3);
  CHECK(std::filesystem::exists(folder / "small.png"));
  CHECK(std::filesystem::exists(folder / "small.safetensors.run/log.csv"));
  REQUIRE(run("--recipe v5 --output v5.safetensors") == 0);
  CHECK(load_mdn<F>(folder / "v5.safetensors").options.width == 512);
  CHECK(load_mdn<F>(folder / "v5.safetensors").options.layer_norm);
  REQUIRE(run("--recipe v1 --output v1.safetensors") == 0);
  CHECK(load_mdn<F>(folder / "v1.safetensors").norms.empty());
  CHECK(run("--recipe v5 --pdf_loss l1 --output no.safetensors") == 1);
  CHECK(run("--recipe v9 --output no.safetensors") == 2);
}

TEST_CASE("the shipped network is as exact on the V5 law as EM to a tolerance of 1e-6, and its fits are mixtures") {
  const auto model = load_mdn<F>(std::string(KOLMO_EXAMPLES) + "/models/mdn_v5.safetensors", 5);
  const LamfSamples<F> samples(make_v5<F>(Key{2}, 3000), Grid{});
  const LamfScores scores = evaluate(model, samples);
  UNSCOPED_INFO("mean " << scores.density_error << ", median " << scores.median_error << ", below 0.01 "
                        << scores.share_below << ", distribution " << scores.analytic_distribution_error << ", of sums "
                        << scores.distribution_error << ", KL " << scores.relative_entropy);
  CHECK(scores.density_error <= 0.0030);
  CHECK(scores.share_below >= 0.93);
  const auto report = fit(model, make_v5<F>(Key{2}, 100).densities, Grid{});
  for (const Status status : report.statuses()) CHECK(is_valid(status));
}
