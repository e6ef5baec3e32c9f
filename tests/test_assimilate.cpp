// The program assimilate with the shipped model of Lorenz-63, run as a user runs it.
// program: assimilate

#include "catch.hpp"
#include "program.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/flow/chains.hpp>
#include <kolmo/flow/lorenz.hpp>
#include <kolmo/io/npy.hpp>

using namespace kolmo;
using kolmo_test::contains;
using kolmo_test::ProgramRuns;

namespace {

/// Ten chains of 40 states as simulate_lorenz writes them.
void write_chains(const ProgramRuns& runs) {
  const flow::Lorenz63 law;
  const auto states =
      law.normalised(flow::simulate_chains<float>(law, 10, {.burn_in = 100, .kept = 40, .key = Key{3}}));
  io::save_npy(runs.folder / "x.npy", io::HostArray(states.to_vector(), {10, 40, 3}));
  runs.write("x.npy.json", R"({"axes":["chain","time","component"]})");
}

}  // namespace

TEST_CASE("samples given a sensor's view of a held-out trajectory stay near it") {
  const ProgramRuns assimilate;
  write_chains(assimilate);
  const auto result = assimilate(
      "--system lorenz --observations component=0 --noise 0.25 --data x.npy --frames 20 --samples 8 --steps 24 "
      "--output s.npy --picture s.svg --trace s.csv");
  CAPTURE(result.err, result.out);
  REQUIRE(result.code == 0);
  CHECK_THAT(result.out, contains("20 observations"));
  CHECK_THAT(result.out, contains("energy ratio"));
  CHECK_THAT(result.out, !contains("exploded"));
  const auto samples = io::load_npy(assimilate.folder / "s.npy");
  CHECK(samples.shape == std::vector<index_t>{8, 20, 3});
  const auto truth = io::load_npy(assimilate.folder / "x.npy").convert<double>();
  const auto values = samples.convert<double>();
  double error = 0, spread = 0;
  for (std::size_t e = 0; e < 60; ++e) {
    double mean = 0;
    for (std::size_t k = 0; k < 8; ++k) mean += values[60 * k + e] / 8;
    error += std::pow(mean - truth[9 * 120 + e], 2) / 60;
    for (std::size_t k = 0; k < 8; ++k) spread += std::pow(values[60 * k + e] - mean, 2) / (7 * 60);
  }
  // The prior's deviation is one.
  CHECK(std::sqrt(error) < 0.6);
  CHECK(std::sqrt(spread) < 0.6);
  CHECK(assimilate.has("s.svg"));
  CHECK_THAT(assimilate.read("s.csv"), contains("chi_squared"));
}

TEST_CASE("measured values with gaps are observations, in any place") {
  const ProgramRuns assimilate;
  std::vector<float> measured(12 * 3, std::numeric_limits<float>::quiet_NaN());
  measured[4] = 0.5f;
  measured[30] = -0.3f;
  io::save_npy(assimilate.folder / "y.npy", io::HostArray(measured, {12, 3}));
  const auto result = assimilate(
      "--system lorenz --observations y.npy --noise 0.1 --samples 4 --steps 16 --output s.npy --quiet --picture s.png");
  CAPTURE(result.err, result.out);
  REQUIRE(result.code == 0);
  CHECK(io::load_npy(assimilate.folder / "s.npy").shape == std::vector<index_t>{4, 12, 3});
}

TEST_CASE("every published method can be asked for; what makes no sense is refused") {
  const ProgramRuns assimilate;
  write_chains(assimilate);
  const std::string common = "--system lorenz --data x.npy --frames 9 --samples 2 --steps 4 --quiet --output s.npy ";
  for (const std::string method : {"sda", "sda_detached", "dps", "pigdm", "mmps", "jfps", "dual_scaling"})
    CHECK(assimilate(common + "--observations component=0 --noise 0.25 --method " + method + " --stability cap").code ==
          0);
  const auto refused = [&](const std::string& options, const std::string& text) {
    const auto result = assimilate(common + options);
    CAPTURE(options, result.err);
    CHECK(result.code == 2);
    CHECK_THAT(result.err, contains(text));
  };
  refused("--observations component=0 --noise 0", "--noise must be positive");
  refused("--observations component=0 --noise -1", "--noise must be positive");
  refused("--observations component=0 --noise 0.1 --method best", "no method 'best'");
  refused("--observations component=7 --noise 0.1", "7");
  refused("--observations space=2 --noise 0.1", "space=2 is unknown");
  refused("--observations component=0 --noise 0.1 --first-frame 35", "are not in trajectories of 40 frames");
  refused("--observations component=0 --noise 0.1 --trajectory 1", "held-out");
  refused("--observations component=0 --noise 0.1 --trace x.npy", "would replace what is read");
  CHECK(io::load_npy(assimilate.folder / "x.npy").shape == std::vector<index_t>{10, 40, 3});
  CHECK(assimilate("--system kolmogorov --data x.npy --observations space=2 --noise 0.1 --output s.npy --quiet").code ==
        2);
  CHECK(assimilate(common + "--observations component=0 --noise 0.1 --steps 0").code == 2);
}
