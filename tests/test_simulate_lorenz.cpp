// The program simulate_lorenz, run as a user runs it.
// program: simulate_lorenz

#include "catch.hpp"
#include "io_support.hpp"
#include "program.hpp"

#include <kolmo/backend/eigen.hpp>
#include <kolmo/flow/chains.hpp>
#include <kolmo/flow/lorenz.hpp>
#include <kolmo/io/npy.hpp>
#ifdef KOLMO_HDF5
#include <kolmo/io/hdf5.hpp>
#endif

using namespace kolmo;
using kolmo_test::contains;

namespace {

std::vector<float> rounded(const std::vector<double>& values) { return {values.begin(), values.end()}; }

}  // namespace

TEST_CASE("the file holds the chains of simulate_chains, whatever the threads and the parts") {
  const kolmo_test::ProgramRuns simulate;
  const std::string usual = "--chains 150 --steps 5 --burn-in 3 --seed 7 ";
  const auto result = simulate(usual + "--output a.npy --picture a.png");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.err.empty());
  CHECK(simulate.has("a.png"));
  const flow::Lorenz63 law;
  const auto chains = flow::simulate_chains<double>(law, 150, {.burn_in = 3, .kept = 5, .key = Key{7}});
  const io::HostArray stored = io::load_npy(simulate.folder / "a.npy");
  CHECK(stored == io::HostArray(rounded(law.normalised(chains).to_vector()), {150, 5, 3}));

  REQUIRE(simulate(usual + "--threads 1 --output b.npy").code == 0);
  CHECK(simulate.read("b.npy") == simulate.read("a.npy"));
  REQUIRE(simulate("--chains 50 --first 100 --steps 5 --burn-in 3 --seed 7 --output c.npy").code == 0);
  const io::HostArray part = io::load_npy(simulate.folder / "c.npy");
  CHECK(std::equal(part.data.begin(), part.data.end(), stored.data.begin() + 100 * 5 * 3 * 4));
  REQUIRE(simulate(usual + "--raw --output d.npy").code == 0);
  CHECK(io::load_npy(simulate.folder / "d.npy") == io::HostArray(rounded(chains.to_vector()), {150, 5, 3}));
}

TEST_CASE("the ring of cells is that of the library, in its orientation") {
  const kolmo_test::ProgramRuns simulate;
  REQUIRE(simulate("--system lorenz96 --cells 9 --force 16 --mirrored --no-noise --chains 2 --steps 4 --burn-in 2 "
                   "--dt 0.01 --inner-steps 2 --output r.npy")
              .code == 0);
  const flow::Lorenz96 law{9, 16.0, flow::Lorenz96Orientation::mirrored};
  const auto chains =
      flow::simulate_chains<double>(law, 2, {.dt = 0.01, .steps = 2, .noise = 0, .burn_in = 2, .kept = 4});
  CHECK(io::load_npy(simulate.folder / "r.npy") == io::HostArray(rounded(chains.to_vector()), {2, 4, 9}));
}

#ifdef KOLMO_HDF5
TEST_CASE("a data set has three files with named axes") {
  const kolmo_test::ProgramRuns simulate;
  const std::string usual = "--chains 21 --steps 4 --burn-in 2 ";
  REQUIRE(simulate(usual + "--output set/").code == 0);
  REQUIRE(simulate(usual + "--output all.npy").code == 0);
  const io::HostArray all = io::load_npy(simulate.folder / "all.npy");
  std::vector<std::byte> joined;
  const index_t counts[] = {16, 2, 3};
  const char* const names[] = {"train.h5", "valid.h5", "test.h5"};
  for (int f = 0; f < 3; ++f) {
    const io::Hdf5Reader reader(io::trusted(simulate.folder / "set" / names[f]));
    reader.require_axes({"chain", "time", "component"});
    reader.require_shape({counts[f], 4, 3});
    CHECK(reader.attribute("system") == "lorenz63");
    const io::HostArray part = reader.read();
    joined.insert(joined.end(), part.data.begin(), part.data.end());
  }
  CHECK(joined == all.data);
  CHECK_THAT(simulate("--first 3 --output set/").err, contains("split by index"));
}
#endif

TEST_CASE("wrong arguments are refused before the work, and a chain that leaves the numbers leaves no file") {
  const kolmo_test::ProgramRuns simulate;
  CHECK(simulate("").code == 2);
  CHECK(simulate("--system lorenz64 --output a.npy").code == 2);
  CHECK(simulate("--output a.csv").code == 2);
  CHECK(simulate("--output a.npy --picture a.gif").code == 2);
  CHECK(simulate("--output a.npy --chains 0").code == 2);
  CHECK(simulate("--output a.npy --system lorenz96 --cells 3").code == 2);
  CHECK(simulate("--output missing/a.npy").code == 1);
  const auto blown = simulate("--output a.npy --dt 5 --chains 2");
  CHECK(blown.code == 1);
  CHECK_THAT(blown.err, contains("left the numbers"));
  CHECK(!simulate.has("a.npy"));
}
