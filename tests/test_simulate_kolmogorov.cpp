// The program simulate_kolmogorov, run as a user runs it: what it writes, and that nothing finished is lost.
// program: simulate_kolmogorov

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "catch.hpp"
#include "program.hpp"

#include <kolmo/io/json.hpp>
#include <kolmo/io/npy.hpp>

using namespace kolmo;
using kolmo_test::contains;
using kolmo_test::ProgramRuns;

namespace {

const std::string small = "--size 16 --coarsen 2 --steps 3 --discard 1 ";

std::vector<float> floats(const ProgramRuns& runs, const std::string& name) {
  return io::load_npy(runs.folder / name).convert<float>();
}

}  // namespace

TEST_CASE("an array of trajectories has the shape, the axes and the record that were asked for") {
  const ProgramRuns simulate;
  const auto result = simulate(small + "--trajectories 2 --output x.npy");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  const io::HostArray x = io::load_npy(simulate.folder / "x.npy");
  CHECK(x.dtype == io::DType::f32);
  CHECK(x.shape == std::vector<index_t>{2, 2, 2, 8, 8});
  const io::JsonValue record = io::parse_json(simulate.read("x.npy.json"));
  REQUIRE(record.find("settings") != nullptr);
  CHECK(std::get<std::int64_t>(record.find("settings")->find("size")->value) == 16);
  CHECK_FALSE(simulate.has("x.npy.parts"));
}

TEST_CASE("a trajectory depends on the seed and its index alone, not on the threads or the part it is in") {
  const ProgramRuns simulate;
  REQUIRE(simulate(small + "--trajectories 4 --threads 1 --output one.npy").code == 0);
  REQUIRE(simulate(small + "--trajectories 4 --threads 3 --output three.npy").code == 0);
  REQUIRE(simulate(small + "--trajectories 2 --first 2 --output part.npy").code == 0);
  REQUIRE(simulate(small + "--trajectories 4 --seed 1 --output other.npy").code == 0);
  CHECK(simulate.read("one.npy") == simulate.read("three.npy"));
  const auto all = floats(simulate, "one.npy"), part = floats(simulate, "part.npy"),
             other = floats(simulate, "other.npy");
  REQUIRE(part.size() * 2 == all.size());
  CHECK(std::equal(part.begin(), part.end(), all.begin() + static_cast<std::ptrdiff_t>(part.size())));
  CHECK(all != other);
}

TEST_CASE("a run that is killed goes on with the same bits and computes nothing twice") {
  const ProgramRuns simulate;
  const std::string arguments = "--size 128 --coarsen 8 --steps 5 --discard 2 --trajectories 6 --threads 1 ";
  REQUIRE(simulate(arguments + "--output whole.npy").code == 0);
  const std::string folder = (simulate.folder / "").string();
  int killed_at_work = 0;
  for (int round = 0; round < 100 && !simulate.has("x.npy"); ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      const std::string command =
          "cd '" + folder + "' && exec '" KOLMO_PROGRAM "' " + arguments + "--output x.npy >out.txt 2>err.txt";
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(40 + 10 * round));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && simulate.has("x.npy.parts/settings.json")) ++killed_at_work;
  }
  CHECK(killed_at_work > 0);
  const auto last = simulate(arguments + "--output x.npy");
  CAPTURE(last.err);
  REQUIRE(last.code == 0);
  CHECK(simulate.read("x.npy") == simulate.read("whole.npy"));
  CHECK_FALSE(simulate.has("x.npy.parts"));
  const auto again = simulate(arguments + "--output x.npy");
  CHECK(again.code == 0);
  CHECK_THAT(again.out, contains("complete already"));
}

TEST_CASE("parts and sets of other settings are not mixed, and --begin-again replaces them") {
  const ProgramRuns simulate;
  REQUIRE(simulate(small + "--output x.npy").code == 0);
  const auto other = simulate(small + "--reynolds 500 --output x.npy");
  CHECK(other.code == 2);
  CHECK_THAT(other.err, contains("reynolds is"));
  const auto more = simulate(small + "--trajectories 3 --output x.npy");
  CHECK(more.code == 2);
  CHECK_THAT(more.err, contains("merge_trajectories"));
  CHECK(io::load_npy(simulate.folder / "x.npy").shape[0] == 1);
  REQUIRE(simulate(small + "--trajectories 3 --begin-again --output x.npy").code == 0);
  CHECK(io::load_npy(simulate.folder / "x.npy").shape[0] == 3);
}

TEST_CASE("parts that a larger set has left are not taken for those of other settings") {
  const ProgramRuns simulate;
  REQUIRE(simulate(small + "--trajectories 1 --first 2 --output other.npy").code == 0);
  std::filesystem::create_directories(simulate.folder / "x.npy.parts");
  io::HostArray part = io::load_npy(simulate.folder / "other.npy");
  part.shape.erase(part.shape.begin());
  io::save_npy(simulate.folder / "x.npy.parts/trajectory_000002.npy", part);
  const auto unknown = simulate(small + "--trajectories 4 --reynolds 50 --output x.npy");
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, contains("unknown settings"));
  // A set of fewer keeps the others' settings beside them.
  std::filesystem::remove_all(simulate.folder / "x.npy.parts");
  REQUIRE(simulate(small + "--trajectories 1 --output x.npy").code == 0);
  CHECK_FALSE(simulate.has("x.npy.parts"));
}

TEST_CASE("a file that was not made here is not replaced, nor the initial field") {
  const ProgramRuns simulate;
  simulate.write("mine.npy", "precious");
  const auto result = simulate(small + "--output mine.npy");
  CHECK(result.code == 2);
  CHECK_THAT(result.err, contains("not made here"));
  CHECK(simulate.read("mine.npy") == "precious");
  io::save_npy(simulate.folder / "u.npy", io::HostArray(io::DType::f64, {2, 16, 16}));
  const std::string before = simulate.read("u.npy");
  CHECK(simulate(small + "--initial u.npy --output u.npy").code == 2);
  CHECK(simulate.read("u.npy") == before);
}

TEST_CASE("a run that was refused or broke does not stand in the way of the one that is right") {
  const ProgramRuns simulate;
  CHECK(simulate(small + "--reynolds 0.5 --inner-steps 1 --output x.npy").code == 2);
  CHECK(simulate(small + "--output x.npy").code == 0);
}

TEST_CASE("both schemes begin with a given field, and keep it where that is asked for") {
  const ProgramRuns simulate;
  const index_t n = 16;
  std::vector<double> vorticity, velocity(static_cast<std::size_t>(2 * n * n), 0.0);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) vorticity.push_back(std::cos(6.283185307179586 * static_cast<double>(j) / 16.0));
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j)
      velocity[static_cast<std::size_t>(i * n + j)] =
          std::sin(6.283185307179586 * (static_cast<double>(j) + 0.5) / 16.0);
  io::save_npy(simulate.folder / "w.npy", io::HostArray(vorticity, {n, n}));
  io::save_npy(simulate.folder / "u.npy", io::HostArray(velocity, {2, n, n}));
  const std::string common = "--size 16 --coarsen 1 --steps 1 --discard 0 --save initial --precision double ";
  REQUIRE(simulate(common + "--initial u.npy --output fv.npy").code == 0);
  const auto fv = io::load_npy(simulate.folder / "fv.npy");
  REQUIRE(fv.shape == std::vector<index_t>{1, 2, 2, n, n});
  const auto values = fv.convert<double>();
  CHECK(std::equal(velocity.begin(), velocity.end(), values.begin()));
  REQUIRE(simulate(common + "--scheme spectral --initial w.npy --output spectral.npy").code == 0);
  const auto spectral = io::load_npy(simulate.folder / "spectral.npy").convert<double>();
  // omega = cos y belongs to u = -sin y, at the centres of the faces.
  double worst = 0;
  for (std::size_t i = 0; i < velocity.size(); ++i) worst = std::max(worst, std::abs(spectral[i] + velocity[i]));
  CHECK(worst < 1e-12);
  const auto wrong = simulate(common + "--scheme spectral --initial u.npy --output y.npy");
  CHECK(wrong.code == 1);
  CHECK_THAT(wrong.err, contains("vorticity field [16, 16]"));
}

TEST_CASE("a flow that breaks says where, and finished trajectories stay") {
  const ProgramRuns simulate;
  const auto result = simulate("--size 32 --coarsen 1 --steps 40 --discard 0 --dt 2 --inner-steps 1 --output x.npy");
  CHECK(result.code == 1);
  CHECK_THAT(result.err, contains("trajectory 0"));
  CHECK_THAT(result.err, contains("step"));
  CHECK_THAT(result.err, contains("cell"));
  CHECK_FALSE(simulate.has("x.npy"));
  const auto last = io::load_npy(simulate.folder / "x.npy.parts/last_good_0.npy");
  CHECK(last.shape == std::vector<index_t>{2, 32, 32});
}

TEST_CASE("arguments that make no sense are refused before the work") {
  const ProgramRuns simulate;
  CHECK(simulate(small + "--output x.txt").code == 2);
  CHECK(simulate(small + "--coarsen 3 --output x.npy").code == 2);
  CHECK(simulate("--steps 4 --discard 4 --output x.npy").code == 2);
  CHECK(simulate(small + "--output nowhere/x.npy").code == 1);
  CHECK(simulate(small + "--picture x.jpg --output x.npy").code == 2);
  CHECK(simulate(small + "--reynolds -1 --output x.npy").code == 2);
  CHECK(simulate(small + "--forcing-wavenumber 8 --output x.npy").code == 2);
  CHECK_FALSE(simulate.has("x.npy"));
}

#ifdef KOLMO_HDF5
#include <kolmo/io/hdf5.hpp>

TEST_CASE("a folder gets train, valid and test, split by index as the published set is") {
  const ProgramRuns simulate;
  REQUIRE(simulate(small + "--trajectories 11 --output data/").code == 0);
  REQUIRE(simulate(small + "--trajectories 11 --output x.npy").code == 0);
  const auto all = floats(simulate, "x.npy");
  std::size_t at = 0;
  const index_t counts[] = {8, 1, 2};  // floor(8.8), floor(9.9) - 8, the rest
  int k = 0;
  for (const char* name : {"train.h5", "valid.h5", "test.h5"}) {
    const io::Hdf5Reader reader(io::TrustedFile{simulate.folder / "data" / name});
    CHECK(reader.shape() == std::vector<index_t>{counts[k++], 2, 2, 8, 8});
    CHECK(reader.dtype() == io::DType::f32);
    CHECK(reader.axes() == std::vector<std::string>{"trajectory", "time", "component", "x", "y"});
    const auto values = reader.read().convert<float>();
    CHECK(std::equal(values.begin(), values.end(), all.begin() + static_cast<std::ptrdiff_t>(at)));
    at += values.size();
  }
  CHECK(at == all.size());
}
#endif
