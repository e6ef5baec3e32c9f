#pragma once
// The program of simulate_kolmogorov.cpp, and of its twin simulate_kolmogorov.cu on a GPU.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include <kolmo/backend/threads.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>

#include "program.hpp"
#include "program_device.hpp"
#include "simulate_kolmogorov.hpp"
#include "trajectory_store.hpp"

namespace simulate_kolmogorov_program {

using kolmo::ArgumentError;
using kolmo::index_t;
namespace io = kolmo::io;

inline io::JsonValue settings_of(const KolmogorovRun& run, const std::string& initial_text) {
  using Object = io::JsonValue::Object;
  return {Object{{"program", {std::string("simulate_kolmogorov")}},
                 {"scheme", {run.scheme}},
                 {"start", {run.start}},
                 {"initial", {initial_text}},
                 {"size", {run.flow.size}},
                 {"coarsen", {run.coarsen}},
                 {"reynolds", {io::to_text(run.flow.reynolds)}},
                 {"drag", {run.flow.drag}},
                 {"forcing_amplitude", {run.flow.forcing_amplitude}},
                 {"forcing_wavenumber", {run.flow.forcing_wavenumber}},
                 {"dt", {run.dt}},
                 {"inner_steps", {run.inner_steps}},
                 {"steps", {run.steps}},
                 {"discard", {run.discard}},
                 {"save_initial", {run.save_initial}},
                 {"seed", {std::to_string(run.seed)}},
                 {"precision", {run.precision}}}};
}

/// Runs of consecutive numbers, first and count, each of at most `most`.
inline std::vector<std::pair<index_t, index_t>> consecutive(const std::vector<index_t>& numbers, index_t most) {
  std::vector<std::pair<index_t, index_t>> runs;
  for (const index_t n : numbers) {
    if (!runs.empty() && runs.back().first + runs.back().second == n && runs.back().second < most)
      ++runs.back().second;
    else
      runs.emplace_back(n, 1);
  }
  return runs;
}

struct Arguments {
  KolmogorovRun run;
  index_t trajectories = 1, first = 0;
  int threads = 0;
  std::string initial, output, picture, animation, save;
  bool restart = false;
};

/// Counts steps of several trajectories at once on one progress line.
class SharedProgress {
 public:
  SharedProgress(index_t total, index_t already_done)
      : done_(already_done),
        line_(stderr, total,
              io::ProgressOptions{.label = "simulating", .unit = "frames", .already_done = already_done}) {}
  void step() {
    const std::lock_guard guard(mutex_);
    line_.update(++done_);
  }
  void finish() { line_.finish(done_); }

 private:
  std::mutex mutex_;
  index_t done_;
  io::Progress line_;
};

inline int run(Arguments& arguments) {
  require_device();
  KolmogorovRun& run = arguments.run;
  run.save_initial = arguments.save == "initial";
  run.check();
  check_target(arguments.output);
  for (const std::string* picture : {&arguments.picture, &arguments.animation}) {
    if (picture->empty()) continue;
    if (same_file(*picture, arguments.output) || (same_file(arguments.picture, arguments.animation)))
      throw ArgumentError("--output, --picture and --animation must be different files");
    check_writable(*picture);
  }
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  if (!arguments.animation.empty() && io::picture_format(arguments.animation) != io::PictureFormat::png)
    throw ArgumentError("--animation " + arguments.animation + " must end in .png");
  if (same_file(arguments.initial, arguments.output))
    throw ArgumentError("--output " + arguments.output + " is the initial field; choose another file");
  if (arguments.trajectories > 1 && (run.start != "noise" || !arguments.initial.empty()))
    std::printf("note: all trajectories begin with the same field, so all are the same\n");
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);
  std::string initial_text;
  if (!arguments.initial.empty()) {
    run.initial = io::load_npy(arguments.initial);
    run.check_initial(arguments.initial);
    initial_text = std::to_string(io::hash64(run.initial->data));
  }

  TrajectoryStore store(arguments.output,
                        {settings_of(run, initial_text),
                         arguments.first,
                         arguments.trajectories,
                         {"trajectory", "time", "component", "x", "y"}},
                        arguments.restart);
  const std::vector<index_t> missing = store.missing();
  const index_t per_trajectory = run.steps;
  const index_t there = store.is_finished() ? 0 : arguments.trajectories - static_cast<index_t>(missing.size());
  if (store.is_finished())
    std::printf("%s is complete already; --begin-again makes it anew\n", arguments.output.c_str());
  else if (there > 0)
    std::printf("%lld of %lld trajectories are there already\n", static_cast<long long>(there),
                static_cast<long long>(arguments.trajectories));
  if (is_folder_target(arguments.output) && arguments.trajectories < 10) {
    const auto parts = splits(arguments.trajectories);
    std::printf(
        "note: so few trajectories are split %lld : %lld : %lld; ten or more leave none of the files empty, and "
        "FILE.npy takes all\n",
        static_cast<long long>(parts[0].end), static_cast<long long>(parts[1].end - parts[1].begin),
        static_cast<long long>(parts[2].end - parts[2].begin));
  }
  std::fflush(stdout);
  if (!missing.empty()) {
    SharedProgress progress(arguments.trajectories * per_trajectory, there * per_trajectory);
    const std::vector<std::pair<index_t, index_t>> groups = consecutive(missing, trajectories_at_once(run));
    kolmo::threads::parallel_for_backend<Device>(static_cast<index_t>(groups.size()), [&](index_t g) {
      const auto [first, count] = groups[static_cast<std::size_t>(g)];
      const auto simulate = [&](index_t index, index_t size) {
        const auto frames = simulate_trajectories(
            run, index, size, [&] { progress.step(); },
            [&](const io::HostArray& state) { return store.keep_last_good(index, state); });
        for (index_t k = 0; k < size; ++k) store.add(index + k, frames[static_cast<std::size_t>(k)]);
      };
      try {
        simulate(first, count);
      } catch (const kolmo::flow::UnstableStep&) {
        if (count == 1) throw;
        for (index_t k = 0; k < count; ++k) simulate(first + k, 1);
      }
    });
    progress.finish();
  }
  store.assemble();
  std::printf("%s: trajectories %lld to %lld of %lld frames, %lld x %lld cells, %s\n", arguments.output.c_str(),
              static_cast<long long>(arguments.first),
              static_cast<long long>(arguments.first + arguments.trajectories - 1),
              static_cast<long long>(run.frames()), static_cast<long long>(run.coarse_size()),
              static_cast<long long>(run.coarse_size()), run.scheme.c_str());
  if (!arguments.picture.empty() || !arguments.animation.empty()) {
    const io::HostArray shown = TrajectoryReader(arguments.output).read(0);
    if (!arguments.picture.empty()) {
      io::save_picture(arguments.picture, draw_trajectory(run, shown));
      std::printf("Picture: %s\n", arguments.picture.c_str());
    }
    if (!arguments.animation.empty()) {
      save_frames(arguments.animation, run, shown);
      std::printf("Animation: %s\n", arguments.animation.c_str());
    }
  }
  return 0;
}

inline int main_program(int argc, char** argv) {
  Arguments arguments;
  KolmogorovRun& r = arguments.run;
  CLI::App app(
      "Simulates trajectories of the Kolmogorov flow, the two-dimensional Navier-Stokes equations on a periodic square "
      "with the force sin(k y) along x and a linear drag, and writes the velocities of every one.");
  app.get_formatter()->column_width(34);
  app.add_option("--output", arguments.output,
                 "FILE.npy: one array [trajectory, time, component, x, y]; FOLDER/: train.h5, valid.h5 and test.h5, "
                 "split 80:10:10 by index, float32")
      ->required()
      ->option_text("FILE.npy|FOLDER/ (required)");
  app.add_option("--scheme", r.scheme,
                 "finite_volume (the default; what the published data set was made with) or spectral (more exact)")
      ->check(CLI::IsMember({"finite_volume", "spectral"}))
      ->option_text("finite_volume|spectral");
  app.add_option("--trajectories", arguments.trajectories, "how many; 1 by default")
      ->check(CLI::Range(1, 10000000))
      ->option_text("N");
  app.add_option(
         "--first", arguments.first,
         "index of the first one, 0 by default: parts made on several machines are joined by merge_trajectories")
      ->check(CLI::Range(0, 1000000000))
      ->option_text("I");
  app.add_option("--seed", r.seed, "trajectory i depends on the seed and i alone; 0 by default")->option_text("S");
  app.add_option("--size", r.flow.size, "cells along each side of the simulation; 256 by default")
      ->check(CLI::Range(8, 8192))
      ->option_text("N");
  app.add_option("--coarsen", r.coarsen, "frames are means over blocks of so many cells; 4 by default")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.add_option("--reynolds", r.flow.reynolds, "1 / viscosity; 1000 by default")->option_text("RE");
  app.add_option("--drag", r.flow.drag, "linear drag; 0.1 by default")->option_text("MU");
  app.add_option("--forcing-wavenumber", r.flow.forcing_wavenumber, "waves of the force in the box; 4 by default")
      ->check(CLI::Range(0, 4096))
      ->option_text("K");
  app.add_option("--forcing-amplitude", r.flow.forcing_amplitude, "1 by default; 0 for decaying turbulence")
      ->option_text("A");
  app.add_option("--dt", r.dt, "time between frames; 0.2 by default")->option_text("T");
  app.add_option("--steps", r.steps, "frames simulated; 128 by default")
      ->check(CLI::Range(1, 100000000))
      ->option_text("N");
  app.add_option("--discard", r.discard, "frames left out at the beginning; 64 by default")
      ->check(CLI::Range(0, 100000000))
      ->option_text("N");
  app.add_option("--inner-steps", r.inner_steps,
                 "solver steps between two frames; by default as many as stability needs (82 at the defaults of "
                 "finite_volume, as the flow goes for spectral); more where viscosity is large")
      ->check(CLI::Range(1, 100000000))
      ->option_text("n");
  app.add_option("--precision", r.precision, "float (the default) or double")
      ->check(CLI::IsMember({"float", "double"}))
      ->option_text("float|double");
  app.add_option("--start", r.start,
                 "what trajectories begin with: noise (filtered, random; the default), taylor_green or shear_layer")
      ->check(CLI::IsMember({"noise", "taylor_green", "shear_layer"}))
      ->option_text("noise|taylor_green|shear_layer");
  app.add_option("--initial", arguments.initial,
                 "begin with this: staggered velocities [2, n, n] for finite_volume, vorticity [n, n] for spectral")
      ->option_text("FILE.npy");
  app.add_option("--save", arguments.save, "initial: keep the initial state as the first frame")
      ->check(CLI::IsMember({"initial"}))
      ->option_text("initial");
  app.add_option("--picture", arguments.picture, "frames, energy spectrum and budget of the first trajectory")
      ->option_text("FILE.png|svg");
  app.add_option("--animation", arguments.animation, "vorticity of the first trajectory as an animated PNG")
      ->option_text("FILE.png");
  app.add_option("--threads", arguments.threads,
                 "trajectories at once, all processors by default; the numbers do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.add_flag("--begin-again", arguments.restart, "begin again, whatever is there");
  app.footer(
      "A run that is killed goes on where it was when it is started again: finished trajectories lie in PATH.parts/ "
      "until "
      "all are there.\n\n"
      "Exit code: 0 done, 1 the flow became unstable or a file could not be read or written, 2 wrong arguments.\n\n"
      "The data set of 1024 trajectories:  simulate_kolmogorov --trajectories 1024 --output data/\n"
      "A quick look:                       simulate_kolmogorov --size 128 --coarsen 1 --steps 64 --discard 32 "
      "--output look.npy --picture look.png");
  return run_program(app, "simulate_kolmogorov", argc, argv, [&] { return run(arguments); });
}

}  // namespace simulate_kolmogorov_program
