// The program simulate_wake, run as a user runs it: what it writes, and that a run goes on after a kill.
// program: simulate_wake

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "catch.hpp"
#include "program.hpp"

#include <kolmo/io/csv.hpp>
#include <kolmo/io/json.hpp>
#include <kolmo/io/npy.hpp>

using namespace kolmo;
using kolmo_test::contains;
using kolmo_test::ProgramRuns;

namespace {

const std::string small =
    "--cylinder 0 0 0.5 --nx 48 --ny 24 --length 6 --corner -2 -1.5 --levels 2 --reynolds 40 --dt 0.05 ";

std::vector<std::vector<double>> forces(const ProgramRuns& runs, const std::string& folder) {
  const std::string text = runs.read(folder + "/forces.csv");
  std::vector<std::vector<double>> rows;
  io::CsvReader reader(text);
  io::CsvRow row;
  reader.next(row);
  CHECK(std::vector<std::string>(row.fields.begin(), row.fields.begin() + 4) ==
        std::vector<std::string>{"step", "time", "cd", "cl"});
  while (reader.next(row)) {
    rows.emplace_back();
    for (const auto field : row.fields) rows.back().push_back(std::stod(std::string(field)));
  }
  return rows;
}

}  // namespace

TEST_CASE("a run writes forces of every step, fields with named axes, a summary and a restart file") {
  const ProgramRuns wake;
  const auto result = wake(small + "--steps 30 --save-every 10 --output out --picture");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  const auto rows = forces(wake, "out");
  REQUIRE(rows.size() == 30);
  CHECK(rows[29][0] == 30);
  CHECK(rows[29][1] == Approx(1.5));
  CHECK(rows[0][2] > 1.3 * rows[29][2]);          // an impulsive start
  CHECK(std::abs(rows[29][3]) < 1e-8);            // a symmetric wake
  CHECK(rows[29][2] == Approx(2.3).margin(0.4));  // drag at Re 40 soon after the start, on a coarse grid
  const auto fields = io::load_npy(wake.folder / "out/fields.npy");
  CHECK(fields.dtype == io::DType::f32);
  CHECK(fields.shape == std::vector<index_t>{3, 2, 23, 47});
  const auto axes = io::parse_json(wake.read("out/fields.json"));
  CHECK(std::get<std::string>(std::get<io::JsonValue::Array>(axes.find("axes")->value)[2].value) == "y");
  CHECK(std::get<double>(axes.find("first_time")->value) == Approx(0.5));
  const auto summary = io::parse_json(wake.read("out/summary.json"));
  CHECK(std::get<std::int64_t>(summary.find("cycles")->value) == 0);
  CHECK(std::holds_alternative<std::nullptr_t>(summary.find("strouhal")->value));
  CHECK(std::get<double>(summary.find("mean_drag")->value) > 1);
  for (const char* name : {"restart.bin", "wake.png", "wake_frames.png"}) CHECK(wake.has(std::string("out/") + name));
  CHECK_FALSE(wake.has("out/frames"));
}

TEST_CASE("a run in two parts has the bits of one, by more steps, by a kill, and by the restart file but for AB2") {
  const ProgramRuns wake;
  for (const std::string scheme : {"rk3", "ab2"}) {
    const std::string arguments = small + "--save-every 10 --scheme " + scheme + " ";
    REQUIRE(wake(arguments + "--steps 40 --output whole_" + scheme).code == 0);
    REQUIRE(wake(arguments + "--steps 20 --output parts_" + scheme).code == 0);
    REQUIRE(wake(arguments + "--steps 40 --output parts_" + scheme).code == 0);
    CHECK(wake.read("whole_" + scheme + "/forces.csv") == wake.read("parts_" + scheme + "/forces.csv"));
    CHECK(wake.read("whole_" + scheme + "/fields.npy") == wake.read("parts_" + scheme + "/fields.npy"));
  }
  REQUIRE(wake(small + "--steps 20 --save-every 10 --output first").code == 0);
  REQUIRE(wake(small + "--steps 20 --save-every 10 --restart first/restart.bin --output second").code == 0);
  const auto whole = forces(wake, "whole_rk3"), second = forces(wake, "second");
  CHECK(second.back()[0] == 40);
  CHECK(second.back()[2] == Approx(whole.back()[2]).epsilon(1e-12));

  const std::string folder = (wake.folder / "").string();
  for (int round = 0; round < 100 && !wake.has("killed/summary.json"); ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      const std::string command = "cd '" + folder + "' && exec '" KOLMO_PROGRAM "' " + small +
                                  "--steps 40 --save-every 2 --output killed >out.txt 2>err.txt";
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(30 + 10 * round));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
  }
  REQUIRE(wake(small + "--steps 40 --save-every 2 --output killed").code == 0);
  CHECK(wake.read("killed/forces.csv") == wake.read("whole_rk3/forces.csv"));
}

TEST_CASE("fields of either kind are those of the run, and what is not the program's stays") {
  const ProgramRuns wake;
  std::filesystem::create_directories(wake.folder / "out/frames");
  wake.write("out/frames/notes.txt", "mine");
  REQUIRE(wake(small + "--steps 10 --save-every 5 --output out").code == 0);
  CHECK(wake.read("out/frames/notes.txt") == "mine");
  REQUIRE(wake(small + "--steps 10 --save-every 5 --output out --picture").code == 0);
  CHECK(wake.has("out/wake.png"));
  CHECK(io::load_npy(wake.folder / "out/fields.npy").shape[0] == 2);
#ifdef KOLMO_HDF5
  REQUIRE(wake(small + "--steps 15 --save-every 5 --fields h5 --output out").code == 0);
  CHECK_FALSE(wake.has("out/fields.npy"));
  REQUIRE(wake(small + "--steps 20 --save-every 5 --output out").code == 0);
  CHECK(io::load_npy(wake.folder / "out/fields.npy").shape[0] == 4);
#endif
}

TEST_CASE("bodies come from a geometry file, with forces of each") {
  const ProgramRuns wake;
  wake.write("two.geom", "body upper\ncircle_n 0 0.75 0.5 24\nend\nbody lower\ncircle_n 0 -0.75 0.5 24\nend\n");
  REQUIRE(
      wake("--geometry two.geom --nx 48 --ny 32 --length 6 --corner -2 -2 --levels 2 --dt 0.05 --steps 5 --output out")
          .code == 0);
  const auto rows = forces(wake, "out");
  REQUIRE(rows[4].size() == 8);
  CHECK(rows[4][2] == Approx(rows[4][4] + rows[4][6]));
  CHECK(rows[4][5] == Approx(-rows[4][7]));
  const std::string moving =
      "--geometry moving.geom --nx 48 --ny 32 --length 6 --corner -2 -2 --dt 0.05 --output moving ";
  wake.write("moving.geom", "body a\ncircle_n 0 0 0.5 24\nmotion pitchplunge 0 0 0.1 0.2\nend\n");
  REQUIRE(wake(moving + "--steps 5").code == 0);
  REQUIRE(wake(moving + "--steps 8").code == 0);
  wake.write("moving.geom", "body a\ncircle_n 0 0 0.5 24\nmotion pitchplunge 0 0 0.3 0.2\nend\n");
  const auto faster = wake(moving + "--steps 10");
  CHECK(faster.code == 2);
  CHECK_THAT(faster.err, contains("bodies"));
  CHECK(forces(wake, "moving").size() == 8);
  wake.write("bad.geom", "body upper\ncircle_n 0 0.75 0.5\nend\n");
  const auto bad = wake("--geometry bad.geom --output bad");
  CHECK(bad.code == 1);
  CHECK_THAT(bad.err, contains("line 2"));
}

TEST_CASE("an unstable run stops with step, cell and number, and keeps its last good state") {
  const ProgramRuns wake;
  const auto result =
      wake("--cylinder 0 0 0.5 --nx 48 --ny 24 --length 6 --corner -2 -1.5 --dt 0.5 --steps 50 --output out");
  CHECK(result.code == 1);
  CHECK_THAT(result.err, contains("Courant"));
  CHECK_THAT(result.err, contains("step"));
  CHECK_THAT(result.err, contains("cell"));
  CHECK(wake.has("out/last.safetensors"));
}

TEST_CASE("arguments that make no sense are refused, and a folder keeps to its settings") {
  const ProgramRuns wake;
  CHECK(wake("--output out").code == 2);
  CHECK(wake(small + "--incidence-steps 5 --output out").code == 2);
  CHECK(wake("--cylinder 0 0 -1 --output out").code == 2);
  CHECK(wake("--cylinder 0 0 0.5 --nx 50 --ny 25 --levels 2 --output out").code == 2);
  const auto edge = wake("--cylinder -2 0 0.5 --output out");
  CHECK(edge.code == 2);
  CHECK_THAT(edge.err, contains("edge"));
  REQUIRE(wake(small + "--steps 5 --output out").code == 0);
  const auto other = wake(small + "--steps 5 --incidence 3 --output out");
  CHECK(other.code == 2);
  CHECK_THAT(other.err, contains("other settings"));
  CHECK(wake(small + "--steps 5 --incidence 3 --begin-again --output out").code == 0);
}
