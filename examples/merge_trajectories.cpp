// Joins parts of a data set that were simulated by several jobs.
//
// test: --help

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "program.hpp"
#include "trajectory_store.hpp"

namespace {

using kolmo::ArgumentError;
using kolmo::index_t;
namespace io = kolmo::io;

struct Part {
  std::string path;
  TrajectoryRecord record;
};

struct Arguments {
  std::vector<std::string> inputs;
  std::string output;
  bool any_settings = false;
};

/// The parts in the order of their trajectories. Throws unless they fit together without a gap.
std::vector<Part> sorted_parts(const Arguments& arguments) {
  std::vector<Part> parts;
  for (const std::string& path : arguments.inputs) {
    if (same_file(path, arguments.output))
      throw ArgumentError("--output " + path + " is one of the parts; choose another");
    const auto record = load_record(path);
    if (!record)
      throw kolmo::IoError(path + " has no record " + record_path(path) +
                           "; it is written beside every finished set of trajectories and must be kept with it");
    parts.push_back({path, *record});
  }
  std::stable_sort(parts.begin(), parts.end(),
                   [](const Part& a, const Part& b) { return a.record.first < b.record.first; });
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const TrajectoryRecord &before = parts[i - 1].record, &here = parts[i].record;
    const std::string differs = difference(before.settings, here.settings);
    if (!differs.empty() && !arguments.any_settings)
      throw ArgumentError(parts[i - 1].path + " and " + parts[i].path + " were made with other settings: " + differs +
                          " (--any-settings joins them all the same)");
    const index_t expected = before.first + before.count;
    if (here.first < expected)
      throw ArgumentError("trajectory " + std::to_string(here.first) + " is in " + parts[i - 1].path + " and in " +
                          parts[i].path);
    if (here.first > expected)
      throw ArgumentError("the trajectories " + std::to_string(expected) + " to " + std::to_string(here.first - 1) +
                          " are missing between " + parts[i - 1].path + " and " + parts[i].path);
  }
  return parts;
}

int run(const Arguments& arguments) {
  check_target(arguments.output);
  if (trajectories_exist(arguments.output) && !load_record(arguments.output))
    throw ArgumentError("--output " + arguments.output + " exists and is no set of trajectories; choose another");
  const std::filesystem::path whole = std::filesystem::absolute(arguments.output);
  io::remove_stale_temporaries(is_folder_target(arguments.output) ? whole : whole.parent_path());
  const std::vector<Part> parts = sorted_parts(arguments);
  TrajectoryRecord record = parts.front().record;
  record.count = 0;
  for (const Part& part : parts) record.count += part.record.count;

  // One part is open at a time; trajectories are asked for in order.
  std::size_t at = 0;
  TrajectoryReader reader(parts.front().path);
  for (const Part& part : parts) TrajectoryReader(part.path).require(part.record.count);
  write_trajectories(arguments.output, record.count, record.axes, [&](index_t i) {
    const index_t index = record.first + i;
    while (index >= parts[at].record.first + parts[at].record.count) reader = TrajectoryReader(parts[++at].path);
    return reader.read(index - parts[at].record.first);
  });
  io::write_atomically(record_path(arguments.output), io::to_json(record.to_json()));
  std::printf("%s: trajectories %lld to %lld from %zu parts\n", arguments.output.c_str(),
              static_cast<long long>(record.first), static_cast<long long>(record.first + record.count - 1),
              parts.size());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Joins parts of a data set, each made by simulate_kolmogorov with its own --first, into one "
      "file "
      "or into train.h5, valid.h5 and test.h5.");
  app.get_formatter()->column_width(34);
  app.add_option("parts", arguments.inputs, "the parts, FILE.npy with FILE.npy.json beside each, in any order")
      ->required()
      ->option_text("FILE.npy ... (required)");
  app.add_option("--output", arguments.output,
                 "FILE.npy, or FOLDER/ for train.h5, valid.h5 and test.h5 (80:10:10 by index)")
      ->required()
      ->option_text("FILE.npy|FOLDER/ (required)");
  app.add_flag("--any-settings", arguments.any_settings, "join parts whose settings differ, too");
  app.footer(
      "The parts are left as they are. Exit code: 0 done, 1 a file could not be read or written, 2 the parts do not "
      "fit "
      "together.\n\n"
      "Example, a job array of eight:\n"
      "  simulate_kolmogorov --first $((128 * TASK)) --trajectories 128 --output part_$TASK.npy\n"
      "  merge_trajectories part_*.npy --output data/");
  return run_program(app, "merge_trajectories", argc, argv, [&] { return run(arguments); });
}
