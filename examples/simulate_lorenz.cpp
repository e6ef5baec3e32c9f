// Makes data sets of the small systems: Lorenz-63, Lorenz-96, Lotka-Volterra and the damped spring, noisy or not.
//
// test: --chains 20 --steps 50 --burn-in 20 --output chains.npy --picture chains.png
// test: --system lorenz96 --cells 12 --force 16 --mirrored --no-noise --chains 3 --steps 40 --output ring.npy --picture r.svg
// test: --system spring --chains 4 --steps 10 --raw --output spring.npy
// test: --system lotka_volterra --chains 4 --steps 200 --no-noise --output orbits.npy --picture orbits.svg

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/flow/chains.hpp>
#include <kolmo/flow/lorenz.hpp>
#include <kolmo/flow/lotka_volterra.hpp>
#include <kolmo/flow/spring.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>
#ifdef KOLMO_HDF5
#include <kolmo/io/hdf5.hpp>
#endif

#include "trajectory_set.hpp"
#include "trajectory_store.hpp"

namespace {

using kolmo::ArgumentError;
using kolmo::index_t;
namespace flow = kolmo::flow;
namespace fs = std::filesystem;
namespace io = kolmo::io;

/// Chains that are simulated together; their states fit into a cache.
constexpr index_t block = 128;

const std::vector<std::string> chain_axes{"chain", "time", "component"};

struct Arguments {
  std::string system = "lorenz63", output, picture;
  index_t chains = 1024, steps = 1024, burn_in = 1024, first = 0, cells = 40, inner_steps = 1;
  double dt = 0, noise_variance = 1, force = 8;
  bool noise = true, raw = false, mirrored = false;
  std::uint64_t seed = 0;
  int threads = 0;
};

/// Where the chains go, in their order: one array, or the files of a data set.
class Target {
 public:
  virtual ~Target() = default;
  /// Chains [count, steps, d], numbered from `first` within this run.
  virtual void write(index_t first, std::span<const float> values) = 0;
  virtual void finish() = 0;
};

class OneArray : public Target {
 public:
  OneArray(const std::string& path, const std::vector<index_t>& shape) : writer_(path, shape) {}
  void write(index_t, std::span<const float> values) override { writer_.write(values); }
  void finish() override { writer_.finish(); }

 private:
  io::NpyWriter<float> writer_;
};

#ifdef KOLMO_HDF5
class DataSet : public Target {
 public:
  DataSet(const fs::path& folder, const std::vector<index_t>& shape, const io::Hdf5Options& options)
      : row_(shape[1] * shape[2]) {
    for (const Split& part : splits(shape[0])) {
      const index_t count = part.end - part.begin;
      parts_.push_back({part.begin, count,
                        std::make_unique<io::Hdf5Writer<float>>(
                            folder / part.name, std::vector<index_t>{count, shape[1], shape[2]}, options)});
    }
  }
  void write(index_t first, std::span<const float> values) override {
    const index_t end = first + static_cast<index_t>(values.size()) / row_;
    for (const Part& part : parts_) {
      const index_t from = std::max(first, part.begin), to = std::min(end, part.begin + part.count);
      if (from >= to) continue;
      part.writer->write(from - part.begin, values.subspan(static_cast<std::size_t>((from - first) * row_),
                                                           static_cast<std::size_t>((to - from) * row_)));
    }
  }
  void finish() override {
    for (const Part& part : parts_) part.writer->finish();
  }

 private:
  struct Part {
    index_t begin, count;
    std::unique_ptr<io::Hdf5Writer<float>> writer;
  };
  index_t row_;
  std::vector<Part> parts_;
};
#endif

std::unique_ptr<Target> target_of(const Arguments& arguments, index_t dimensions, const std::string& form) {
  const std::vector<index_t> shape{arguments.chains, arguments.steps, dimensions};
  if (!is_folder_target(arguments.output)) return std::make_unique<OneArray>(arguments.output, shape);
#ifdef KOLMO_HDF5
  if (arguments.first != 0)
    throw ArgumentError("--first: the files of a data set are split by index and need all chains; write a .npy file");
  std::error_code error;
  fs::create_directories(arguments.output, error);
  if (error) throw kolmo::IoError("cannot create the folder " + arguments.output + ": " + error.message());
  io::Hdf5Options options;
  options.axes = chain_axes;
  options.attributes = {{"system", arguments.system},
                        {"form", form},
                        {"dt", io::to_text(arguments.dt)},
                        {"noise_variance", io::to_text(arguments.noise ? arguments.noise_variance : 0.0)},
                        {"seed", std::to_string(arguments.seed)}};
  return std::make_unique<DataSet>(arguments.output, shape, options);
#else
  (void)form;
  return nullptr;  // check_target has refused a folder
#endif
}

/// What the array cannot say of itself.
TrajectoryRecord record_of(const Arguments& arguments, const std::string& form) {
  using Value = io::JsonValue;
  TrajectoryRecord record;
  record.settings = {Value::Object{{"system", {arguments.system}},
                                   {"form", {form}},
                                   {"dt", {arguments.dt}},
                                   {"noise_variance", {arguments.noise ? arguments.noise_variance : 0.0}},
                                   {"steps", {arguments.steps}},
                                   {"burn_in", {arguments.burn_in}},
                                   {"inner_steps", {arguments.inner_steps}},
                                   {"seed", {std::to_string(arguments.seed)}}}};
  record.first = arguments.first;
  record.count = arguments.chains;
  record.axes = chain_axes;
  return record;
}

/// The first chains: two components against each other and against time, or a ring of cells against time.
io::Figure figure_of(const Arguments& arguments, const std::vector<float>& values, index_t dimensions) {
  const index_t row = arguments.steps * dimensions, drawn = std::min<index_t>(arguments.chains, 3);
  const auto series = [&](index_t chain, index_t component) {
    std::vector<double> result;
    for (index_t t = 0; t < arguments.steps; ++t)
      result.push_back(static_cast<double>(values[static_cast<std::size_t>(chain * row + t * dimensions + component)]));
    return result;
  };
  std::vector<double> time;
  for (index_t t = 0; t < arguments.steps; ++t) time.push_back(static_cast<double>(t) * arguments.dt);
  if (arguments.system == "lorenz96") {
    io::Figure figure(1, 1);
    std::vector<double> cells;
    for (index_t i = 0; i < dimensions; ++i) {
      const auto one = series(0, i);
      cells.insert(cells.end(), one.begin(), one.end());
    }
    auto& panel = figure.panel(0, 0);
    panel.heat_map(cells, static_cast<std::size_t>(dimensions), static_cast<std::size_t>(arguments.steps), {}, 0,
                   static_cast<double>(arguments.steps) * arguments.dt, 0, static_cast<double>(dimensions));
    panel.x.label = "time";
    panel.y.label = "cell";
    return figure;
  }
  const bool lorenz = arguments.system == "lorenz63";
  const char* const names[] = {"x", "y", "z", "force"};
  const char* const logarithms[] = {"log prey", "log predators"};
  const bool orbits = arguments.system == "lotka_volterra";
  const index_t across = 0, up = lorenz ? 2 : 1;
  const auto name = [&](index_t i) {
    if (orbits) return std::string(logarithms[i]);
    return arguments.system == "spring" ? std::string(i == 0 ? "position" : "velocity") : std::string(names[i]);
  };
  io::Figure figure(1, 2);
  auto& plane = figure.panel(0, 0);
  auto& history = figure.panel(0, 1);
  for (index_t c = 0; c < drawn; ++c) {
    plane.line(series(c, across), series(c, up), {.width = 0.8});
    history.line(time, series(c, across), {.width = 0.8});
  }
  plane.x.label = name(across);
  plane.y.label = name(up);
  history.x.label = "time";
  history.y.label = name(across);
  return figure;
}

template <class Law, class Store>
int simulate(const Arguments& arguments, const Law& law, const std::string& form, const Store& stored) {
  const index_t dimensions = law.dimensions();
  const auto target = target_of(arguments, dimensions, form);
  flow::ChainOptions options;
  options.dt = arguments.dt;
  options.steps = arguments.inner_steps;
  options.noise = arguments.noise ? arguments.noise_variance : 0;
  options.burn_in = arguments.burn_in;
  options.kept = arguments.steps;
  options.key = kolmo::Key{arguments.seed};

  const auto begin = std::chrono::steady_clock::now();
  std::optional<io::Progress> line;
  std::vector<float> shown;
  for (index_t done = 0; done < arguments.chains;) {
    const index_t count = std::min(block, arguments.chains - done);
    options.first = arguments.first + done;
    // In double, so that a stored chain does not depend on rounding more than its precision says.
    const auto chains = flow::simulate_chains<double>(law, count, options);
    const std::vector<double> values = stored(chains).to_vector();
    const std::vector<float> rounded(values.begin(), values.end());
    target->write(done, rounded);
    if (shown.empty() && !arguments.picture.empty()) shown = rounded;
    done += count;
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    if (!line && ::isatty(STDERR_FILENO) == 1 && time.count() > 1)
      line.emplace(stderr, arguments.chains,
                   io::ProgressOptions{.label = "simulating", .unit = "chains", .already_done = done});
    if (line) line->update(done);
  }
  target->finish();
  if (!is_folder_target(arguments.output))
    io::write_atomically(record_path(arguments.output), io::to_json(record_of(arguments, form).to_json()));
  if (line) line->finish(arguments.chains);
  if (!arguments.picture.empty()) io::save_picture(arguments.picture, figure_of(arguments, shown, dimensions));

  std::printf("%lld chains of %lld states [%lld], every %s, %s: %s\n", static_cast<long long>(arguments.chains),
              static_cast<long long>(arguments.steps), static_cast<long long>(dimensions),
              io::to_text(arguments.dt, 6).c_str(), form.c_str(), arguments.output.c_str());
  if (!arguments.picture.empty()) std::printf("Picture: %s\n", arguments.picture.c_str());
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw kolmo::IoError("cannot write to the standard output");
  return 0;
}

int run(Arguments arguments) {
  check_target(arguments.output);
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  check_writable(arguments.picture);
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);
  const auto as_it_is = [](const auto& x) { return x; };
  const auto step = [&](double usual) {
    if (arguments.dt == 0) arguments.dt = usual;
  };
  if (arguments.system == "lorenz63") {
    step(0.025);
    const flow::Lorenz63 law;
    if (arguments.raw) return simulate(arguments, law, "raw", as_it_is);
    return simulate(arguments, law, "normalised (x - (0, 0, 25)) / (8, 9, 8.6)",
                    [&](const auto& x) { return law.normalised(x); });
  }
  if (arguments.system == "lorenz96") {
    step(0.025);
    const flow::Lorenz96 law{
        arguments.cells, arguments.force,
        arguments.mirrored ? flow::Lorenz96Orientation::mirrored : flow::Lorenz96Orientation::usual};
    flow::check(law);
    return simulate(arguments, law, "raw", as_it_is);
  }
  if (arguments.system == "spring") {
    step(0.01);
    return simulate(arguments, flow::DampedSpring{}, "raw", as_it_is);
  }
  step(0.025);
  return simulate(arguments, flow::LotkaVolterra{}, "raw", as_it_is);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Simulates chains of a small system and writes them as one array or as a data set in three parts.");
  app.get_formatter()->column_width(34);
  app.add_option("--system", arguments.system, "what is simulated; lorenz63 by default")
      ->check(CLI::IsMember({"lorenz63", "lorenz96", "lotka_volterra", "spring"}))
      ->option_text("lorenz63|lorenz96|lotka_volterra|spring");
  app.add_option("--output", arguments.output,
                 "FILE.npy: one float32 array [chain, time, component], and FILE.npy.json that says so. FOLDER/: "
                 "train.h5, valid.h5 and test.h5 with "
                 "the first 80 %, the next 10 % and the rest of the chains as data set x")
      ->required()
      ->option_text("FILE.npy|FOLDER/ (required)");
  app.add_option("--chains", arguments.chains, "how many; 1024 by default")
      ->check(CLI::Range(index_t{1}, index_t{1} << 40))
      ->option_text("N");
  app.add_option("--steps", arguments.steps, "states that are kept of each; 1024 by default")
      ->check(CLI::Range(index_t{1}, index_t{1} << 30))
      ->option_text("N");
  app.add_option("--burn-in", arguments.burn_in, "states before them that are not; 1024 by default")
      ->check(CLI::Range(index_t{0}, index_t{1} << 30))
      ->option_text("N");
  app.add_option("--dt", arguments.dt, "time between two states; 0.025 by default, for the spring 0.01")
      ->check(CLI::PositiveNumber)
      ->option_text("T");
  app.add_option("--inner-steps", arguments.inner_steps, "Runge-Kutta steps between two states; 1 by default")
      ->check(CLI::Range(1, 1000000))
      ->option_text("N");
  app.add_flag("--noise,!--no-noise", arguments.noise, "whether every transition is blurred; it is by default");
  app.add_option("--noise-variance", arguments.noise_variance, "variance of the noise per unit time; 1 by default")
      ->check(CLI::NonNegativeNumber)
      ->option_text("V");
  app.add_option("--cells", arguments.cells, "of the ring of lorenz96; 40 by default")
      ->check(CLI::Range(4, 1000000))
      ->option_text("N");
  app.add_option("--force", arguments.force, "on the cells of lorenz96; 8 by default")->option_text("F");
  app.add_flag("--mirrored", arguments.mirrored, "lorenz96 as in score-based data assimilation: i becomes -i");
  app.add_flag("--raw", arguments.raw, "lorenz63 as it is; by default stored as (x - (0, 0, 25)) / (8, 9, 8.6)");
  app.add_option("--seed", arguments.seed, "0 by default")->option_text("S");
  app.add_option("--first", arguments.first,
                 "number of the first chain; chains depend on the seed and their number only")
      ->check(CLI::Range(index_t{0}, index_t{1} << 40))
      ->option_text("I");
  app.add_option("--threads", arguments.threads, "all processors by default; the chains do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.add_option("--picture", arguments.picture, "draws the first chains")->option_text("FILE.svg|png");
  app.footer(
      "A file appears only when it is complete; a run that was killed is simply started again (the whole default data\n"
      "set takes seconds).\n\n"
      "Exit code: 0 done, 1 a file could not be written or a chain left the numbers, 2 wrong arguments.\n\n"
      "Example: simulate_lorenz --output lorenz/ --seed 1 --picture lorenz.png");
  return run_program(app, "simulate_lorenz", argc, argv, [&] { return run(arguments); });
}
