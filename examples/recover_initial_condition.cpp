// Recovers the initial condition of a Kolmogorov flow from sparse, noisy observations of its velocity (4D-Var): a
// spectral run is the truth, block means of its velocity at several times are observed, and L-BFGS minimises
//
//   J(z) = |z|^2 / 2 + sum over times of |observed - H(flow at that time from S z)|^2 / (2 noise^2),
//
// where S z is a vorticity whose modes have the amplitudes of a typical flow, so that z is of order one. The gradient
// is that of the solver's adjoint; every transition keeps its first state alone.
//
// test: --size 24 --cells 8 --time 0.6 --observations 3 --iterations 8 --output r.npy --log r.csv --picture r.png
// test: --size 32 --time 0.4 --observations 2 --cells 8 --noise 0.2 --reynolds 1000 --iterations 5 --picture r.svg

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/spectral.hpp>
#include <kolmo/io/csv_log.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/lbfgs.hpp>

#include "program.hpp"

namespace {

using kolmo::ArgumentError;
using kolmo::index_t;
using kolmo::Shape;
namespace flow = kolmo::flow;
namespace io = kolmo::io;

using V = kolmo::Tensor<double, kolmo::Cpu>;
using Solver = flow::Spectral<double>;

struct Arguments {
  index_t size = 64, observations = 10, cells = 16, iterations = 100;
  double time = 2, noise = 0.1, reynolds = 200, drag = 0.1, spin_up = 4;
  std::uint64_t seed = 0;
  std::string output, log, picture;
};

/// What is known of the flow: velocities of blocks of cells at equal distances in time.
struct Observations {
  double interval = 0, noise = 0;
  index_t block = 1;
  index_t steps = 1;  // of an interval
  std::vector<V> values;
};

/// Standard deviations of the parts of the modes of a vorticity with the energy spectrum E(k) = 1/4 up to k = 4 and
/// (k/4)^-5 / 4 beyond, about that of the flow of the data set.
V mode_amplitudes(const Solver& solver) {
  const index_t n = solver.modes().size, cut = solver.modes().cut, m = cut + 1;
  std::vector<double> gain(static_cast<std::size_t>(n * 2 * m), 0.0);
  for (index_t row = 0; row < n; ++row) {
    const index_t kx = row <= n / 2 ? row : row - n;
    if (kx > cut || kx < -cut) continue;
    for (index_t ky = 0; ky < m; ++ky) {
      const double k = std::sqrt(static_cast<double>(kx * kx + ky * ky));
      const double energy = k <= 4 ? 0.25 : 0.25 * std::pow(k / 4, -5);
      const double amplitude = static_cast<double>(n * n) * std::sqrt(k * energy / flow::two_pi);
      for (index_t part = 0; part < 2; ++part) gain[static_cast<std::size_t>((2 * row + part) * m + ky)] = amplitude;
    }
  }
  return V::from(std::span<const double>(gain), solver.state_shape(1));
}

double norm(const V& x) { return std::sqrt(sum(square(x)).item()); }

/// |a - b| / |b| of the vorticities of two states.
double relative_error(const Solver& solver, const V& a, const V& b) {
  const V truth = solver.to_vorticity(b);
  return norm(solver.to_vorticity(a) - truth) / norm(truth);
}

/// J, generic in the tensor kind.
struct Loss {
  const Solver& solver;
  const Observations& observed;
  const V& amplitudes;

  template <kolmo::TensorLike X>
  auto operator()(const X& z) const {
    auto state = z * amplitudes;
    auto total = sum(square(z)) * 0.5;
    try {
      for (const V& y : observed.values) {
        state = solver.transition(state, observed.interval, {.steps = observed.steps});
        const auto misfit = flow::coarsen(solver.to_staggered(state), observed.block) - y;
        total = total + sum(square(misfit)) * (0.5 / (observed.noise * observed.noise));
      }
    } catch (const flow::UnstableStep&) {
      // A point of the line search that is too far away to be simulated.
      return total * std::numeric_limits<double>::infinity();
    }
    return total;
  }
};

/// Calls `report` with z and J after every evaluation.
template <class Report>
struct Watched {
  const Loss& loss;
  const Report& report;
  template <kolmo::TensorLike X>
  auto operator()(const X& z) const {
    auto result = loss(z);
    report(kolmo::value(z), kolmo::value(result).item());
    return result;
  }
};

/// The velocity that the first observation shows: what is coarser than its cells.
V first_guess(const Solver& solver, const Observations& observed, index_t cells) {
  const V state = solver.from_staggered(flow::upsample(observed.values.front(), observed.block));
  std::vector<double> values = state.to_vector();
  const index_t n = solver.modes().size, m = solver.modes().columns();
  for (index_t row = 0; row < n; ++row)
    for (index_t ky = 0; ky < m; ++ky) {
      const index_t kx = row <= n / 2 ? row : n - row;
      if (2 * kx < cells && 2 * ky < cells) continue;
      for (index_t part = 0; part < 2; ++part) values[static_cast<std::size_t>((2 * row + part) * m + ky)] = 0;
    }
  return V::from(std::span<const double>(values), state.shape());
}

struct History {
  std::vector<double> evaluation, loss, error;
};

io::Figure figure_of(const Solver& solver, const Observations& observed, const V& truth, const V& guess,
                     const V& recovered, const History& history) {
  const auto n = static_cast<std::size_t>(solver.modes().size);
  const std::vector<double> exact = solver.to_vorticity(truth).to_vector();
  double top = 0;
  for (const double w : exact) top = std::max(top, std::abs(w));
  io::Figure figure(2, 3);
  const auto map = [&](io::Panel& panel, const std::vector<double>& values, std::size_t size, const std::string& title,
                       const std::string& label, double limit) {
    // The first axis is x; in the picture it goes to the right.
    std::vector<double> turned(size * size);
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t j = 0; j < size; ++j) turned[j * size + i] = values[i * size + j];
    panel.title = title;
    panel.equal_aspect = true;
    panel.heat_map(turned, size, size,
                   {.map = io::ColourMap::diverging, .low = -limit, .high = limit, .bar_label = label}, 0, flow::two_pi,
                   0, flow::two_pi);
  };
  map(figure.panel(0, 0), exact, n, "truth at t = 0", "vorticity", top);
  const std::vector<double> seen = observed.values.front().to_vector();
  const std::size_t cells = n / static_cast<std::size_t>(observed.block);
  double fastest = 0;
  for (const double u : seen) fastest = std::max(fastest, std::abs(u));
  map(figure.panel(0, 1), {seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(cells * cells)}, cells,
      "observed at t = " + io::to_text(observed.interval, 3), "u", fastest);
  map(figure.panel(1, 0), solver.to_vorticity(guess).to_vector(), n, "first guess", "vorticity", top);
  map(figure.panel(1, 1), solver.to_vorticity(recovered).to_vector(), n, "recovered", "vorticity", top);

  io::Panel& descent = figure.panel(0, 2);
  descent.title = "error of the initial vorticity";
  descent.x.label = "evaluations";
  descent.y.log = true;
  descent.line(history.evaluation, history.error, {.label = "relative error"});

  // Half as long again as what was observed: a forecast.
  std::vector<double> times{0.0}, before{relative_error(solver, guess, truth)},
      after{relative_error(solver, recovered, truth)};
  V a = guess, b = recovered, c = truth;
  const std::size_t window = observed.values.size();
  for (std::size_t i = 0; i < window + (window + 1) / 2; ++i) {
    a = solver.transition(a, observed.interval);
    b = solver.transition(b, observed.interval);
    c = solver.transition(c, observed.interval);
    times.push_back(static_cast<double>(i + 1) * observed.interval);
    before.push_back(relative_error(solver, a, c));
    after.push_back(relative_error(solver, b, c));
  }
  io::Panel& forecast = figure.panel(1, 2);
  forecast.title = "error of the flow";
  forecast.x.label = "time";
  forecast.y.log = true;
  forecast.line(times, before, {.label = "first guess"});
  forecast.line(times, after, {.label = "recovered"});
  forecast.vertical_line(static_cast<double>(window) * observed.interval);
  return figure;
}

int run(const Arguments& arguments) {
  if (arguments.size % arguments.cells != 0)
    throw ArgumentError("--cells " + std::to_string(arguments.cells) + " must divide --size " +
                        std::to_string(arguments.size));
  if (!arguments.output.empty() && std::filesystem::path(arguments.output).extension() != ".npy")
    throw ArgumentError("--output " + arguments.output + " must end in .npy");
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  const std::string* const targets[] = {&arguments.output, &arguments.log, &arguments.picture};
  for (int i = 0; i < 3; ++i) {
    check_writable(*targets[i]);
    for (int j = 0; j < i; ++j)
      if (same_file(*targets[i], *targets[j]))
        throw kolmo::ArgumentError("--output, --log and --picture must be different files, " + *targets[i] +
                                   " is given twice");
  }
  if (!(arguments.noise > 0) || !kolmo::is_finite(arguments.noise))
    throw kolmo::ArgumentError("--noise must be a positive number");

  flow::KolmogorovOptions options;
  options.size = arguments.size;
  options.reynolds = arguments.reynolds;
  options.drag = arguments.drag;
  const Solver solver(options);
  const kolmo::Key key{arguments.seed};

  // The truth, past the transient of its random start.
  V truth = solver.from_staggered(flow::filtered_velocities<V>(options, key, 0, 1));
  if (arguments.spin_up > 0) truth = solver.transition(truth, arguments.spin_up);

  Observations observed;
  observed.interval = arguments.time / static_cast<double>(arguments.observations);
  observed.noise = arguments.noise;
  observed.block = arguments.size / arguments.cells;
  V state = truth;
  double shortest = std::numeric_limits<double>::infinity();
  std::uint64_t draw = 0;
  for (index_t i = 0; i < arguments.observations; ++i) {
    shortest = std::min(shortest, solver.longest_step(state)[0]);
    state = solver.transition(state, observed.interval);
    V seen = flow::coarsen(solver.to_staggered(state), observed.block);
    double* values = seen.mutable_data();
    for (index_t j = 0; j < seen.size(); ++j)
      values[j] += arguments.noise * kolmo::normal<double>(kolmo::Key{arguments.seed + 0x6f627365}, draw++);
    observed.values.push_back(seen);
  }
  // The same steps for every candidate, with room for faster ones, so that J is smooth.
  observed.steps = std::max<index_t>(1, static_cast<index_t>(std::ceil(observed.interval / (0.6 * shortest))));

  const V amplitudes = mode_amplitudes(solver);
  const V guess = first_guess(solver, observed, arguments.cells);
  V z = V::zeros(guess.shape());
  {
    double* to = z.mutable_data();
    for (index_t i = 0; i < z.size(); ++i)
      to[i] = amplitudes.data()[i] > 0 ? guess.data()[i] / amplitudes.data()[i] : 0.0;
  }

  std::optional<io::CsvLog<>> log;
  if (!arguments.log.empty()) {
    std::error_code ignored;
    std::filesystem::remove(arguments.log, ignored);
    log.emplace(arguments.log, std::vector<std::string>{"evaluation", "loss", "error"});
  }
  std::optional<io::Progress> progress;
  if (::isatty(STDERR_FILENO) == 1)
    progress.emplace(stderr, 0, io::ProgressOptions{.label = "descending", .unit = "evaluations"});
  History history;
  const auto report = [&](const V& at, double loss) {
    const double error = relative_error(solver, at * amplitudes, truth);
    history.evaluation.push_back(static_cast<double>(history.evaluation.size()));
    history.loss.push_back(loss);
    history.error.push_back(error);
    const auto number = static_cast<std::int64_t>(history.evaluation.size());
    if (log) log->append(number, {loss, error});
    if (progress) progress->update(number, {{"loss", loss}, {"error", error}});
  };
  const Loss loss{solver, observed, amplitudes};
  kolmo::optim::LbfgsOptions descent;
  descent.max_iterations = arguments.iterations;
  descent.value_tolerance = 1e-5;
  descent.memory = 20;
  const auto result = kolmo::optim::lbfgs(z, Watched<decltype(report)>{loss, report}, descent);
  if (progress) progress->finish(static_cast<std::int64_t>(history.evaluation.size()));
  if (result.status == kolmo::optim::LbfgsStatus::not_finite)
    throw kolmo::Error("the first guess cannot be simulated: " +
                       std::string("its steps would have to be shorter; raise --observations or lower --noise"));
  const V recovered = result.model * amplitudes;

  if (!arguments.output.empty()) {
    std::vector<double> fields;
    for (const V& one : {V(truth), guess, recovered}) {
      const auto values = solver.to_vorticity(one).to_vector();
      fields.insert(fields.end(), values.begin(), values.end());
    }
    io::save_npy(arguments.output, io::HostArray(std::span<const double>(fields), {3, arguments.size, arguments.size}));
  }
  if (!arguments.picture.empty())
    io::save_picture(arguments.picture, figure_of(solver, observed, truth, guess, recovered, history));

  const index_t values = 2 * arguments.cells * arguments.cells * arguments.observations;
  std::printf("%lld velocities with noise %s over %s time units; %lld iterations, %lld evaluations\n",
              static_cast<long long>(values), io::to_text(arguments.noise, 3).c_str(),
              io::to_text(arguments.time, 3).c_str(), static_cast<long long>(result.iterations),
              static_cast<long long>(result.evaluations));
  std::printf("loss               %s -> %s (%s expected of noise alone)\n",
              io::to_text(history.loss.front(), 4).c_str(), io::to_text(result.value, 4).c_str(),
              io::to_text(0.5 * static_cast<double>(values), 4).c_str());
  const V end = solver.transition(recovered, arguments.time), guess_end = solver.transition(guess, arguments.time);
  std::printf("vorticity error    %s -> %s at the start, %s -> %s at the end\n",
              io::to_text(relative_error(solver, guess, truth), 3).c_str(),
              io::to_text(relative_error(solver, recovered, truth), 3).c_str(),
              io::to_text(relative_error(solver, guess_end, state), 3).c_str(),
              io::to_text(relative_error(solver, end, state), 3).c_str());
  if (!arguments.output.empty()) std::printf("Vorticities: %s\n", arguments.output.c_str());
  if (!arguments.picture.empty()) std::printf("Picture: %s\n", arguments.picture.c_str());
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw kolmo::IoError("cannot write to the standard output");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Recovers the initial condition of a Kolmogorov flow from sparse, noisy observations of its velocity at several "
      "times, by the adjoint of the spectral solver (4D-Var).");
  app.get_formatter()->column_width(30);
  app.add_option("--size", arguments.size, "points along each side; 64 by default")
      ->check(CLI::Range(16, 4096))
      ->option_text("N");
  app.add_option("--time", arguments.time,
                 "length of the window that is observed; 2 by default. Beyond 5 the flow forgets its start")
      ->check(CLI::Range(1e-3, 20.0))
      ->option_text("T");
  app.add_option("--observations", arguments.observations, "times at which the flow is observed; 10 by default")
      ->check(CLI::Range(1, 10000))
      ->option_text("N");
  app.add_option("--cells", arguments.cells,
                 "blocks along each side whose mean velocity is observed; 16 by default, must divide --size")
      ->check(CLI::Range(2, 4096))
      ->option_text("N");
  app.add_option("--noise", arguments.noise, "standard deviation of the observations' noise; 0.1 by default")
      ->check(CLI::Range(1e-8, 100.0))
      ->option_text("S");
  app.add_option("--reynolds", arguments.reynolds, "1/viscosity; 200 by default")
      ->check(CLI::PositiveNumber)
      ->option_text("RE");
  app.add_option("--drag", arguments.drag, "rate of the linear drag; 0.1 by default")
      ->check(CLI::NonNegativeNumber)
      ->option_text("MU");
  app.add_option("--spin-up", arguments.spin_up, "time that the true flow runs before the window; 4 by default")
      ->check(CLI::Range(0.0, 1000.0))
      ->option_text("T");
  app.add_option("--iterations", arguments.iterations, "of L-BFGS at most; 100 by default")
      ->check(CLI::Range(1, 100000))
      ->option_text("N");
  app.add_option("--seed", arguments.seed, "of the flow and the noise; 0 by default")->option_text("S");
  app.add_option("--output", arguments.output,
                 "writes the vorticities of the truth, the first guess and the recovered start, [3, N, N]")
      ->option_text("FILE.npy");
  app.add_option("--log", arguments.log, "writes loss and error after every evaluation; an existing file is replaced")
      ->option_text("FILE.csv");
  app.add_option("--picture", arguments.picture,
                 "draws truth, observation, first guess, what was recovered, and errors")
      ->option_text("FILE.svg|png");
  app.footer(
      "Exit code: 0 done, 1 a file could not be written or the flow blew up, 2 wrong arguments.\n\n"
      "Example: recover_initial_condition --time 2 --noise 0.1 --picture recovered.png");
  return run_program(app, "recover_initial_condition", argc, argv, [&] { return run(arguments); });
}
