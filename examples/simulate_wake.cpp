// Simulates the flow past rigid bodies: forces, velocity fields, and the frequency at which vortices are shed.
//
// test: --cylinder 0 0 0.5 --nx 64 --ny 32 --length 4 --corner -1 -1 --reynolds 40 --dt 0.02 --steps 20 --save-every 10 --output wake_one --picture --begin-again
// test: --cylinder 0 0 0.5 --nx 64 --ny 32 --length 4 --corner -1 -1 --levels 2 --reynolds 40 --dt 0.02 --scheme ab2 --incidence 10 --incidence-steps 5 --steps 20 --save-every 10 --output wake_two --begin-again

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/flow/geometry_file.hpp>
#include <kolmo/flow/immersed_files.hpp>
#include <kolmo/io/checkpoint_keeper.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/csv_log.hpp>
#include <kolmo/io/json.hpp>
#include <kolmo/io/lock.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>
#include <kolmo/io/tree.hpp>

#ifdef KOLMO_HDF5
#include <kolmo/io/hdf5.hpp>
#endif

#include "program.hpp"
#include "simulate_wake.hpp"
#include "trajectory_store.hpp"

namespace {

using namespace wake;
using kolmo::ArgumentError;
using kolmo::IoError;
namespace fs = std::filesystem;
constexpr double degree = 3.14159265358979323846 / 180;

struct Arguments {
  flow::ImmersedGrid grid{400, 200, 1, 8, -2, -2, 0, 0};
  std::string geometry, scheme = "rk3", precision = "double", output, restart_file, format = "npy";
  std::vector<double> cylinder, corner{-2, -2}, shift{0, 0};
  double reynolds = 100, dt = 0.02, incidence = 0;
  index_t points = 0, incidence_steps = 0, steps = 1000, save_every = 10, save_from = 0;
  int threads = 0;
  bool picture = false, begin_again = false;
};

std::vector<flow::Body> bodies_of(const Arguments& arguments) {
  if (arguments.geometry.empty() == arguments.cylinder.empty())
    throw ArgumentError(arguments.geometry.empty()
                            ? "no body: give --cylinder X Y RADIUS or --geometry FILE"
                            : "give the bodies by --geometry FILE or by --cylinder X Y RADIUS, not both");
  if (!arguments.geometry.empty()) {
    if (arguments.points > 0) throw ArgumentError("--points is for --cylinder; the geometry file has its own points");
    return flow::read_geometry(arguments.geometry);
  }
  const std::vector<double>& c = arguments.cylinder;
  if (!(c[2] > 0)) throw ArgumentError("--cylinder: the radius must be positive, given " + std::to_string(c[2]));
  return {arguments.points > 0 ? flow::circle(c[0], c[1], c[2], arguments.points)
                               : flow::circle_with_spacing(c[0], c[1], c[2], arguments.grid.spacing())};
}

flow::ImmersedScheme scheme_of(const std::string& name) {
  if (name == "euler") return flow::ImmersedScheme::euler;
  if (name == "ab2") return flow::ImmersedScheme::ab2;
  return flow::ImmersedScheme::rk3;
}

std::string checksum_of(const std::string& text) {
  return std::to_string(io::hash64(std::as_bytes(std::span<const char>(text))));
}

/// Everything the numbers depend on; a run goes on only with the same.
io::JsonValue settings_of(const Arguments& a, const std::vector<flow::Body>& bodies) {
  // Points, and where they are at many times: whatever the motion, and whichever files it came from.
  std::string points;
  for (const flow::Body& body : bodies) {
    for (int k = 0; k < 200; ++k) {
      const flow::Placement at = flow::placement(body.motion, 0.137 * k);
      points += io::to_text(at.x) + " " + io::to_text(at.y) + " " + io::to_text(at.angle) + " ";
    }
    points += io::to_text(body.centre_x) + " " + io::to_text(body.centre_y) + " ";
    for (std::size_t k = 0; k < body.x.size(); ++k)
      points += io::to_text(body.x[k]) + " " + io::to_text(body.y[k]) + " ";
  }
  const std::string checksum = checksum_of(points);
  return {io::JsonValue::Object{
      {"program", {std::string("simulate_wake")}},
      {"bodies", {checksum}},
      {"nx", {a.grid.nx}},
      {"ny", {a.grid.ny}},
      {"levels", {a.grid.levels}},
      {"length", {a.grid.length}},
      {"corner_x", {a.grid.corner_x}},
      {"corner_y", {a.grid.corner_y}},
      {"shift_x", {a.grid.shift_x}},
      {"shift_y", {a.grid.shift_y}},
      {"reynolds", {a.reynolds}},
      {"dt", {a.dt}},
      {"scheme", {a.scheme}},
      {"precision", {a.precision}},
      {"incidence", {a.incidence}},
      {"incidence_steps", {a.incidence_steps}},
      {"save_every", {a.save_every}},
      {"save_from", {a.save_from}},
      {"restart", {a.restart_file.empty() ? std::string() : checksum_of(io::read_text_file(a.restart_file))}}}};
}

/// Frames in files of their own until the run is over.
class Frames {
 public:
  explicit Frames(fs::path folder) : folder_(std::move(folder)) { fs::create_directories(folder_); }
  void keep(index_t number, const std::vector<float>& values, const flow::ImmersedGrid& grid) const {
    io::save_npy(path(number), io::HostArray(values, {2, grid.ny - 1, grid.nx - 1}));
  }
  io::HostArray load(index_t number) const { return io::load_npy(path(number)); }
  /// Removes the frames, and the folder where nothing else is in it.
  void remove_all() const {
    std::error_code ignored;
    std::vector<fs::path> mine;
    for (const auto& entry : fs::directory_iterator(folder_, ignored))
      if (entry.path().filename().string().rfind("frame_", 0) == 0) mine.push_back(entry.path());
    for (const fs::path& path : mine) fs::remove(path, ignored);
    fs::remove(folder_, ignored);
  }

 private:
  fs::path path(index_t number) const {
    char name[40];
    std::snprintf(name, sizeof name, "frame_%08lld.npy", static_cast<long long>(number));
    return folder_ / name;
  }
  fs::path folder_;
};

void write_fields(const Arguments& arguments, const Frames& frames, index_t count) {
  const std::vector<index_t> shape{count, 2, arguments.grid.ny - 1, arguments.grid.nx - 1};
  const std::vector<std::string> axes{"time", "component", "y", "x"};
  const fs::path folder = arguments.output;
  if (arguments.format == "h5") {
#ifdef KOLMO_HDF5
    io::Hdf5Options options;
    options.axes = axes;
    io::Hdf5Writer<float> writer(folder / "fields.h5", shape, options);
    for (index_t k = 0; k < count; ++k) writer.write(k, frames.load(k).as<float>());
    writer.finish();
#endif
    return;
  }
  io::NpyWriter<float> writer(folder / "fields.npy", shape);
  for (index_t k = 0; k < count; ++k) writer.write(frames.load(k).as<float>());
  writer.finish();
}

template <class T>
class Wake {
  using V = kolmo::Tensor<T, kolmo::Cpu>;
  using State = flow::ImmersedState<V>;

 public:
  Wake(const Arguments& arguments, const std::vector<flow::Body>& bodies)
      : arguments_(arguments), bodies_(bodies), folder_(arguments.output), settings_(settings_of(arguments, bodies)) {}

  int run() {
    fs::create_directories(folder_);
    const io::RunLock lock(folder_ / "lock");
    if (arguments_.begin_again) remove_results();
    io::CheckpointKeeper<> keeper(folder_, "simulate_wake", io::RunStart::resume);
    const auto begin = std::chrono::steady_clock::now();
    const flow::Immersed<T> main = solver();
    const flow::Immersed<T> kicked = main.with_incidence(arguments_.incidence * degree);
    State state = begin_state(main, keeper);
    const index_t resumed_from = state.step, last = first_step_ + arguments_.steps;
    describe(main, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    if (resumed_from > first_step_) std::printf("going on after step %lld\n", static_cast<long long>(resumed_from));

    const bool drawn = !arguments_.picture || fs::exists(folder_ / "wake.png");
    if (resumed_from >= last && fs::exists(folder_ / "summary.json") && drawn) {
      std::printf("%s is complete already; more --steps go on, --begin-again makes it anew\n",
                  arguments_.output.c_str());
      return 0;
    }
    Frames frames(folder_ / "frames");
    if (fs::exists(folder_ / "summary.json")) restore(frames);
    io::CsvLog<> log(folder_ / "forces.csv", force_columns(), resumed_from);
    io::Progress progress(
        stderr, arguments_.steps,
        io::ProgressOptions{.label = "simulating", .unit = "steps", .already_done = resumed_from - first_step_});
    while (state.step < last) {
      const flow::Immersed<T>& now = state.step - first_step_ < arguments_.incidence_steps ? kicked : main;
      // A step that fails leaves the state, so the last good one can be kept.
      try {
        now.step(state);
      } catch (const kolmo::Error&) {
        save(keeper, log, state);
        throw;
      }
      const auto forces = now.forces(state);
      log.append(state.step, force_row(state.time, forces));
      const index_t done = state.step - first_step_;
      progress.update(done, {{"cd", total(forces).drag}, {"cl", total(forces).lift}});
      if (saves(done)) frames.keep(frame_of(done), velocities(flow::snapshot(arguments_.grid, state)), arguments_.grid);
      if (saves(done) || done % 1000 == 0) save(keeper, log, state);
    }
    progress.finish(arguments_.steps);
    save(keeper, log, state);
    finish(frames, state);
    return 0;
  }

 private:
  flow::Immersed<T> solver() const {
    flow::ImmersedOptions options;
    options.grid = arguments_.grid;
    options.reynolds = arguments_.reynolds;
    options.time_step = arguments_.dt;
    options.scheme = scheme_of(arguments_.scheme);
    if (arguments_.incidence_steps == 0) options.incidence = arguments_.incidence * degree;
    return flow::Immersed<T>(options, bodies_);
  }

  /// From the checkpoint, the restart file, or rest. Throws ArgumentError when the checkpoint is of other settings.
  State begin_state(const flow::Immersed<T>& main, const io::CheckpointKeeper<>& keeper) {
    State state = main.start();
    if (!arguments_.restart_file.empty())
      state = flow::read_restart<T>(arguments_.restart_file, arguments_.grid, main.points());
    first_step_ = state.step;
    first_time_ = state.time;
    const auto checkpoint = keeper.load_last();
    if (!checkpoint) return state;
    const auto there = checkpoint->state.metadata.find("settings");
    const std::string differs = there == checkpoint->state.metadata.end()
                                    ? "its settings are not known"
                                    : difference(io::parse_json(there->second, arguments_.output), settings_);
    if (!differs.empty())
      throw ArgumentError(arguments_.output + " holds a run of other settings: " + differs +
                          "; choose another --output, or --begin-again to replace it");
    const auto tensor = [&](const char* name, const kolmo::Shape& shape) {
      const io::HostArray* array = checkpoint->state.find(name);
      if (array == nullptr || array->size() != shape.size())
        throw IoError(arguments_.output + ": the checkpoint has no array '" + name + "' of " + shape.to_string());
      return V::from(std::span<const T>(array->template as<T>()), shape);
    };
    state.vorticity = tensor("vorticity", arguments_.grid.node_shape());
    state.flux = tensor("flux", arguments_.grid.flux_shape());
    state.forces = tensor("forces", kolmo::Shape{2, main.points()});
    if (checkpoint->state.find("nonlinear") != nullptr)
      state.nonlinear = tensor("nonlinear", arguments_.grid.node_shape());
    state.step = checkpoint->step;
    state.time = checkpoint->state.at("time").template as<double>()[0];
    return state;
  }

  void save(io::CheckpointKeeper<>& keeper, io::CsvLog<>& log, const State& state) const {
    log.sync();
    io::NamedArrays arrays;
    const auto add = [&arrays](const char* name, const V& x) {
      if (x.has_value()) arrays.arrays.emplace_back(name, io::HostArray(x.to_vector(), {x.size()}));
    };
    add("vorticity", state.vorticity);
    add("flux", state.flux);
    add("forces", state.forces);
    add("nonlinear", state.nonlinear);
    arrays.arrays.emplace_back("time", io::HostArray::scalar(state.time));
    arrays.metadata["settings"] = io::to_json(settings_);
    keeper.save(state.step, std::move(arrays));
  }

  void describe(const flow::Immersed<T>& main, double seconds) const {
    const flow::ImmersedGrid& g = arguments_.grid;
    double low = 1e300, high = -1e300;
    for (const flow::Body& body : bodies_)
      for (const double y : body.y) {
        low = std::min(low, y);
        high = std::max(high, y);
      }
    const double height = g.spacing(g.levels - 1) * static_cast<double>(g.ny);
    std::printf(
        "%lld x %lld cells of %s on %lld level%s, %lld points on %zu bod%s; cells per body height %.1f, blockage %.1f "
        "%%; "
        "start-up %.2f s\n",
        static_cast<long long>(g.nx), static_cast<long long>(g.ny), io::to_text(g.spacing(), 4).c_str(),
        static_cast<long long>(g.levels), g.levels == 1 ? "" : "s", static_cast<long long>(main.points()),
        bodies_.size(), bodies_.size() == 1 ? "y" : "ies", (high - low) / g.spacing(), 100 * (high - low) / height,
        seconds);
    for (const std::string& warning : main.warnings()) std::printf("note: %s\n", warning.c_str());
    std::fflush(stdout);
  }

  /// The time `steps` steps after the run's start.
  double time_after(index_t steps) const { return first_time_ + arguments_.dt * static_cast<double>(steps); }

  bool saves(index_t done) const {
    return done > arguments_.save_from && (done - arguments_.save_from) % arguments_.save_every == 0;
  }
  index_t frame_of(index_t done) const { return (done - arguments_.save_from) / arguments_.save_every - 1; }

  std::vector<std::string> force_columns() const {
    std::vector<std::string> columns{"step", "time", "cd", "cl"};
    if (bodies_.size() > 1)
      for (std::size_t b = 1; b <= bodies_.size(); ++b) {
        columns.push_back("cd_" + std::to_string(b));
        columns.push_back("cl_" + std::to_string(b));
      }
    return columns;
  }
  static flow::ForceCoefficients total(const std::vector<flow::ForceCoefficients>& forces) {
    flow::ForceCoefficients sum;
    for (const auto& f : forces) {
      sum.drag += f.drag;
      sum.lift += f.lift;
    }
    return sum;
  }
  std::vector<double> force_row(double time, const std::vector<flow::ForceCoefficients>& forces) const {
    const auto sum = total(forces);
    std::vector<double> row{time, sum.drag, sum.lift};
    if (bodies_.size() > 1)
      for (const auto& f : forces) {
        row.push_back(f.drag);
        row.push_back(f.lift);
      }
    return row;
  }

  /// The frames of a run that was complete and now goes on.
  void restore(const Frames& frames) const {
    io::HostArray all;
    if (fs::exists(folder_ / "fields.npy")) all = io::load_npy(folder_ / "fields.npy");
#ifdef KOLMO_HDF5
    if (fs::exists(folder_ / "fields.h5")) all = io::Hdf5Reader(io::TrustedFile{folder_ / "fields.h5"}).read();
#endif
    if (all.shape.size() != 4) return;
    const auto values = all.as<float>();
    const auto each = static_cast<std::size_t>(all.size() / all.shape[0]);
    for (index_t k = 0; k < all.shape[0]; ++k) {
      const auto frame = values.subspan(static_cast<std::size_t>(k) * each, each);
      frames.keep(k, std::vector<float>(frame.begin(), frame.end()), arguments_.grid);
    }
    fs::remove(folder_ / "summary.json");
  }

  void finish(const Frames& frames, const State& state) const {
    const index_t count =
        arguments_.steps > arguments_.save_from ? (arguments_.steps - arguments_.save_from) / arguments_.save_every : 0;
    if (count > 0) {
      write_fields(arguments_, frames, count);
      io::write_atomically(folder_ / "fields.json", fields_json());
      fs::remove(folder_ / (arguments_.format == "h5" ? "fields.npy" : "fields.h5"));
    } else {
      std::printf("note: no field was saved in %lld steps; --save-every is %lld\n",
                  static_cast<long long>(arguments_.steps), static_cast<long long>(arguments_.save_every));
    }
    flow::write_restart(folder_ / "restart.bin", arguments_.grid, state);
    const flow::ForceHistory history = read_forces(folder_ / "forces.csv");
    const flow::VelocityField field(arguments_.grid, state);
    const double length = wake_behind(field, state.time);
    print_summary(history, length);
    if (arguments_.picture) draw(frames, count, history, state.time);
    // The summary says that the run is complete, so it comes last.
    io::write_atomically(folder_ / "summary.json",
                         summary_json(history, count, bodies_.size() == 1 ? &length : nullptr));
    frames.remove_all();
    std::printf("Results: %s\n", arguments_.output.c_str());
  }

  /// What fields.npy cannot say of itself.
  std::string fields_json() const {
    using Value = io::JsonValue;
    const flow::ImmersedGrid& g = arguments_.grid;
    const double every = arguments_.dt * static_cast<double>(arguments_.save_every);
    return io::to_json(Value{Value::Object{
        {"axes",
         {Value::Array{{std::string("time")}, {std::string("component")}, {std::string("y")}, {std::string("x")}}}},
        {"components", {Value::Array{{std::string("u")}, {std::string("v")}}}},
        {"first_time", {time_after(arguments_.save_from) + every}},
        {"time_between", {every}},
        {"first_x", {g.x(0, 1)}},
        {"first_y", {g.y(0, 1)}},
        {"spacing", {g.spacing()}},
        {"settings", settings_}}});
  }

  /// Length of the recirculation behind the last body downstream.
  double wake_behind(const flow::VelocityField& field, double time) const {
    double x = -1e300, y = 0;
    for (const flow::Body& body : bodies_) {
      const flow::BodyPoints at = body.at(time);
      for (std::size_t k = 0; k < at.x.size(); ++k)
        if (at.x[k] > x) {
          x = at.x[k];
          y = at.y[k];
        }
    }
    return flow::wake_length(field, x, y);
  }

  void print_summary(const flow::ForceHistory& history, double wake_length) const {
    const double from = statistics_begin(history);
    const auto s = flow::shedding_statistics(history, from);
    const Means means = mean_forces(history, from);
    std::printf("drag %.4f, lift %.4f at the end; means from t = %.4g on %.4f, %.4f", history.drag.back(),
                without_sign(history.lift.back()), from, means.drag, without_sign(means.lift));
    if (bodies_.size() == 1) std::printf("; recirculation of length %.3f", wake_length);
    if (s.cycles > 0)
      std::printf("\n%lld cycles: Strouhal %.4f, drag %.4f +- %.4f, lift %.4f +- %.4f\n",
                  static_cast<long long>(s.cycles), s.strouhal, s.mean_drag, s.drag_amplitude, s.mean_lift,
                  s.lift_amplitude);
    else
      std::printf("\nno whole cycle of the lift in the second half of the run: no Strouhal number\n");
  }

  void draw(const Frames& frames, index_t count, const flow::ForceHistory& history, double time) const {
    std::optional<io::HostArray> last;
    if (count > 0) last = frames.load(count - 1);
    const double shown = time_after(arguments_.save_from + count * arguments_.save_every);
    io::save_picture(folder_ / "wake.png",
                     draw_wake(arguments_.grid, bodies_, count > 0 ? shown : time, history, last ? &*last : nullptr));
    if (count == 0) return;
    // An animation of more frames is too long to be sent.
    const index_t most = 200, stride = (count + most - 1) / most;
    std::vector<io::Image> images;
    io::FieldImageOptions options;
    if (const double limit = colour_limit(vorticity_of(*last, arguments_.grid.spacing())); limit > 0) {
      options.low = -limit;
      options.high = limit;
    }
    options.zoom = static_cast<std::size_t>(std::max<index_t>(1, 800 / arguments_.grid.nx));
    for (index_t k = 0; k < count; k += stride) {
      const auto vorticity = vorticity_of(frames.load(k), arguments_.grid.spacing());
      images.push_back(
          io::field_image(std::span<const double>(vorticity), arguments_.grid.nx - 3, arguments_.grid.ny - 3, options));
      const double at = time_after(arguments_.save_from + (k + 1) * arguments_.save_every);
      draw_bodies(images.back(), arguments_.grid, bodies_, at, options.zoom);
    }
    io::save_animation(folder_ / "wake_frames.png", images);
  }

  void remove_results() const {
    for (const char* name : {"forces.csv", "fields.npy", "fields.h5", "fields.json", "summary.json", "last.safetensors",
                             "restart.bin", "wake.png", "wake_frames.png"})
      fs::remove(folder_ / name);
    if (fs::exists(folder_ / "frames")) Frames(folder_ / "frames").remove_all();
  }

  const Arguments& arguments_;
  const std::vector<flow::Body>& bodies_;
  fs::path folder_;
  const io::JsonValue settings_;
  index_t first_step_ = 0;
  double first_time_ = 0;
};

int run(Arguments& arguments) {
  arguments.grid.corner_x = arguments.corner[0];
  arguments.grid.corner_y = arguments.corner[1];
  arguments.grid.shift_x = arguments.shift[0];
  arguments.grid.shift_y = arguments.shift[1];
  arguments.grid.validate();
#ifndef KOLMO_HDF5
  if (arguments.format == "h5")
    throw ArgumentError(
        "--fields h5: this program was built without HDF5; install it (Debian, Ubuntu: apt-get install "
        "libhdf5-dev) and build again, or take npy");
#endif
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);
  if (arguments.incidence_steps > 0 && arguments.incidence == 0)
    throw ArgumentError("--incidence-steps needs an --incidence in degrees");
  const std::vector<flow::Body> bodies = bodies_of(arguments);
  if (arguments.precision == "float") return Wake<float>(arguments, bodies).run();
  return Wake<double>(arguments, bodies).run();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app(
      "Simulates the two-dimensional flow past rigid bodies by the immersed-boundary projection method and writes the "
      "forces on them, velocity fields and the frequency of the vortex street. The free stream has speed 1 along x.");
  app.get_formatter()->column_width(34);
  app.add_option("--output", a.output, "folder for forces.csv, fields, summary.json, restart.bin and the pictures")
      ->required()
      ->option_text("DIR (required)");
  app.add_option("--geometry", a.geometry, "bodies and their motions, in the format of the reference program ibpm")
      ->option_text("FILE");
  app.add_option("--cylinder", a.cylinder, "one circular cylinder at rest")->expected(3)->option_text("X Y RADIUS");
  app.add_option("--points", a.points, "on the cylinder; by default as many as put them a cell apart")
      ->check(CLI::Range(3, 100000))
      ->option_text("N");
  app.add_option("--nx", a.grid.nx, "cells along x of each grid; 400 by default")->option_text("N");
  app.add_option("--ny", a.grid.ny, "cells along y; 200 by default")->option_text("N");
  app.add_option("--length", a.grid.length, "of the finest grid along x; 8 by default")->option_text("L");
  app.add_option("--corner", a.corner, "lower left corner of the finest grid; -2 -2 by default")
      ->expected(2)
      ->option_text("X Y");
  app.add_option(
         "--levels", a.grid.levels,
         "grids, each twice as large as the one before; 1 by default. A single grid is a narrow channel: 3 or 4 for "
         "an open flow")
      ->option_text("L");
  app.add_option("--shift", a.shift, "where the larger grids have their room, -1 to 1; 0.75 0 is mostly downstream")
      ->expected(2)
      ->option_text("SX SY");
  app.add_option("--reynolds", a.reynolds, "speed times length over viscosity; 100 by default")->option_text("RE");
  app.add_option("--dt", a.dt,
                 "time step; 0.02 by default. The largest speed, about 1.5 near a cylinder, may move 1.5 cells in a "
                 "step of rk3, 0.5 "
                 "in one of ab2")
      ->option_text("DT");
  app.add_option("--scheme", a.scheme, "rk3 (the default), ab2 (cheaper, shorter steps) or euler")
      ->check(CLI::IsMember({"euler", "ab2", "rk3"}))
      ->option_text("euler|ab2|rk3");
  app.add_option("--precision", a.precision, "double (the default) or float")
      ->check(CLI::IsMember({"float", "double"}))
      ->option_text("float|double");
  app.add_option("--incidence", a.incidence, "angle of the free stream; 0 by default")->option_text("DEGREES");
  app.add_option("--incidence-steps", a.incidence_steps,
                 "only in the first n steps: a kick without which a symmetric wake may stay symmetric for very long")
      ->check(CLI::Range(1, 1000000000))
      ->option_text("n");
  app.add_option("--steps", a.steps, "time steps; 1000 by default")->check(CLI::Range(1, 1000000000))->option_text("N");
  app.add_option("--save-every", a.save_every, "steps between saved fields; 10 by default")
      ->check(CLI::Range(1, 1000000000))
      ->option_text("M");
  app.add_option("--save-from", a.save_from, "steps before the first saved field; 0 by default")
      ->check(CLI::Range(0, 1000000000))
      ->option_text("M");
  app.add_option("--fields", a.format,
                 "npy (the default; float32 [time, component, y, x]) or h5, the same with named axes")
      ->check(CLI::IsMember({"npy", "h5"}))
      ->option_text("npy|h5");
  app.add_option("--restart", a.restart_file, "begin with the state in this restart file, of this program or ibpm")
      ->option_text("FILE");
  app.add_option("--threads", a.threads, "all processors by default; the numbers do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.add_flag("--picture", a.picture, "draws wake.png (vorticity and forces) and the animation wake_frames.png");
  app.add_flag("--begin-again", a.begin_again, "removes what is in the folder of an earlier run");
  app.footer(
      "A run that is killed goes on where it was when it is started again with the same options.\n\n"
      "Exit code: 0 done, 1 the flow became unstable or a file could not be read or written, 2 wrong arguments.\n\n"
      "The vortex street at Re = 100, about half a minute on a core:\n"
      "  simulate_wake --cylinder 0 0 0.5 --nx 200 --ny 100 --length 8 --corner -2 -2 --levels 3 --reynolds 100 --dt "
      "0.02\n"
      "                --incidence 10 --incidence-steps 150 --steps 2000 --save-from 1000 --output wake --picture");
  return run_program(app, "simulate_wake", argc, argv, [&] { return run(a); });
}
