// The program merge_trajectories, run as a user runs it.
// program: merge_trajectories

#include "catch.hpp"
#include "program.hpp"

#include <string>
#include <vector>

#include <kolmo/io/json.hpp>
#include <kolmo/io/npy.hpp>

using namespace kolmo;
using kolmo_test::contains;
using kolmo_test::ProgramRuns;

namespace {

/// A part as simulate_kolmogorov leaves it: `count` trajectories from `first` on, of two numbers that tell which they
/// are.
void write_part(const ProgramRuns& runs, const std::string& name, index_t first, index_t count,
                const std::string& settings = R"({"size":16})") {
  std::vector<float> values;
  for (index_t i = first; i < first + count; ++i)
    for (int k = 0; k < 2; ++k) values.push_back(static_cast<float>(10 * i + k));
  io::save_npy(runs.folder / name, io::HostArray(values, {count, 1, 2}));
  runs.write(name + ".json", R"({"settings":)" + settings + R"(,"first":)" + std::to_string(first) +
                                 R"(,"trajectories":)" + std::to_string(count) +
                                 R"(,"axes":["trajectory","time","x"]})");
}

}  // namespace

TEST_CASE("parts are joined in the order of their trajectories, whatever the order they are given in") {
  const ProgramRuns merge;
  write_part(merge, "b.npy", 3, 2);
  write_part(merge, "a.npy", 0, 3);
  write_part(merge, "c.npy", 5, 1);
  const auto result = merge("c.npy a.npy b.npy --output all.npy");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  const auto all = io::load_npy(merge.folder / "all.npy");
  CHECK(all.shape == std::vector<index_t>{6, 1, 2});
  const auto values = all.convert<int>();
  for (index_t i = 0; i < 6; ++i) CHECK(values[static_cast<std::size_t>(2 * i + 1)] == 10 * i + 1);
  const auto record = io::parse_json(merge.read("all.npy.json"));
  CHECK(std::get<std::int64_t>(record.find("trajectories")->value) == 6);
  // What is joined can be joined again.
  write_part(merge, "d.npy", 6, 1);
  CHECK(merge("all.npy d.npy --output more.npy").code == 0);
}

TEST_CASE("parts that do not fit together are refused, and nothing is written") {
  const ProgramRuns merge;
  write_part(merge, "a.npy", 0, 2);
  write_part(merge, "late.npy", 3, 1);
  write_part(merge, "again.npy", 1, 2);
  write_part(merge, "other.npy", 2, 1, R"({"size":32})");
  const auto gap = merge("a.npy late.npy --output x.npy");
  CHECK(gap.code == 2);
  CHECK_THAT(gap.err, contains("trajectories 2 to 2 are missing"));
  const auto twice = merge("a.npy again.npy --output x.npy");
  CHECK(twice.code == 2);
  CHECK_THAT(twice.err, contains("trajectory 1 is in"));
  const auto settings = merge("a.npy other.npy --output x.npy");
  CHECK(settings.code == 2);
  CHECK_THAT(settings.err, contains("size is 16"));
  CHECK(merge("a.npy other.npy --any-settings --output y.npy").code == 0);
  CHECK(merge("a.npy --output a.npy").code == 2);
  const auto missing = merge("nothing.npy --output x.npy");
  CHECK(missing.code == 1);
  CHECK_THAT(missing.err, contains("nothing.npy.json"));
  CHECK_FALSE(merge.has("x.npy"));
}
