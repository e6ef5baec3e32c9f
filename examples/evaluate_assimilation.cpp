// Judges the posterior samples of score models: Lorenz's system against a particle filter, fields seen at every s-th
// point against the noise of the sensor and the truth.
//
// test: --system lorenz --model gaussian --methods default sda jfps --corrections 0 1 --observations 1 --samples 24 --steps 24 --particles 500 --output lorenz.csv --picture lorenz.png --restart

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>

#include "evaluation_rows.hpp"
#include "lorenz_evaluation.hpp"
#include "sparse_evaluation.hpp"

namespace {

using namespace kolmo;
using namespace score_program;

struct Arguments {
  std::string system = "lorenz", model, output, picture;
  std::vector<std::string> sensors{"low", "high"}, methods{"default", "sda"};
  std::vector<index_t> corrections{0, 1, 2}, given_corrections;
  index_t observations = 8, samples = 256, steps = 256, particles = 16384, group = 32;
  std::optional<index_t> given_samples, given_steps;
  SparseEvaluation sparse;
  double start_rho = 50;
  double gamma = 3e-2, zeta = 1, tau = 0.25, eta = 1e-3;
  std::optional<double> given_gamma, given_tau;
  std::vector<std::string> given_methods;
  std::optional<int> iterations;
  std::optional<std::string> given_sampler;
  std::string sampler = "pc";
  std::uint64_t seed = 0;
  int threads = 0;
  bool restart = false, quiet = false;
};

const std::vector<std::string> key_columns{"sensor", "method", "corrections", "observation"};
const std::vector<std::string> value_columns{"log_prior", "log_likelihood", "wasserstein1", "seconds"};
enum Column : std::size_t { log_prior, log_likelihood, wasserstein1, seconds };

std::string method_names() {
  std::string names;
  for (const std::string& name : score::guidance_names()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

/// The medians over observations of one method; nan where a run exploded for more than half of them.
struct Medians {
  std::string sensor, method, corrections;
  std::size_t count = 0, exploded = 0;
  std::vector<double> values;
};
std::vector<Medians> medians(const std::vector<EvaluationRow>& rows, index_t observations) {
  std::vector<Medians> table;
  for (const EvaluationRow& first : rows) {
    const auto same = [&](const auto& m) {
      return m.sensor == first.keys[0] && m.method == first.keys[1] && m.corrections == first.keys[2];
    };
    if (std::any_of(table.begin(), table.end(), same)) continue;
    Medians m{first.keys[0], first.keys[1], first.keys[2], 0, 0, {}};
    std::vector<std::vector<double>> columns(value_columns.size());
    for (const EvaluationRow& row : rows) {
      if (row.keys[0] != m.sensor || row.keys[1] != m.method || row.keys[2] != m.corrections ||
          std::stoll(row.keys[3]) > observations)
        continue;
      ++m.count;
      if (row.values[wasserstein1] != row.values[wasserstein1]) {
        ++m.exploded;
        continue;
      }
      for (std::size_t c = 0; c < columns.size(); ++c) columns[c].push_back(row.values[c]);
    }
    for (const auto& column : columns)
      m.values.push_back(2 * m.exploded > m.count ? std::numeric_limits<double>::quiet_NaN() : median(column));
    if (m.count > 0) table.push_back(std::move(m));
  }
  return table;
}

void write_table(const std::vector<Medians>& table, const std::filesystem::path& path) {
  io::CsvWriter csv;
  csv.text("sensor").text("method").text("corrections").text("observations").text("exploded");
  for (const std::string& name : value_columns) csv.text(name);
  csv.end_row();
  for (const Medians& m : table) {
    csv.text(m.sensor).text(m.method).text(m.corrections).number(m.count).number(m.exploded);
    for (const double value : m.values) csv.number(value);
    csv.end_row();
  }
  io::write_atomically(path, csv.str());
}

void print_table(const std::vector<Medians>& table) {
  std::printf("%-6s %-16s %3s %5s %11s %15s %13s %9s\n", "sensor", "method", "C", "draws", "log prior",
              "log likelihood", "Wasserstein-1", "seconds");
  for (const Medians& m : table) {
    std::printf("%-6s %-16s %3s %5zu %11.2f %15.2f %13.2f %9.1f", m.sensor.c_str(), m.method.c_str(),
                m.corrections.c_str(), m.count, m.values[log_prior], m.values[log_likelihood], m.values[wasserstein1],
                m.values[seconds]);
    if (m.exploded > 0) std::printf("  exploded for %zu", m.exploded);
    std::printf("\n");
  }
}

/// Each statistic over the corrections, a line a method; dashed is the truth.
void draw_table(const std::vector<Medians>& table, const std::vector<std::string>& sensors, const std::string& path) {
  constexpr const char* titles[] = {"mean log prior", "mean log likelihood", "Wasserstein-1"};
  // Where the interesting values are; what is far off would flatten the rest.
  constexpr double limits[][2] = {{-300, 150}, {-30, 30}, {0, 60}};
  io::Figure figure(sensors.size(), 3);
  for (std::size_t s = 0; s < sensors.size(); ++s)
    for (std::size_t c = 0; c < 3; ++c) {
      io::Panel& panel = figure.panel(s, c);
      panel.title = sensors[s] + " frequency: " + titles[c];
      panel.x.label = "corrections";
      std::vector<std::string> drawn{"particles"};
      bool any = false;
      for (const Medians& m : table) {
        if (m.sensor != sensors[s]) continue;
        if (m.method == "particles") panel.horizontal_line(m.values[c]);
        if (std::find(drawn.begin(), drawn.end(), m.method) != drawn.end()) continue;
        drawn.push_back(m.method);
        std::vector<std::pair<double, double>> points;
        for (const Medians& other : table)
          if (other.sensor == m.sensor && other.method == m.method && other.values[c] == other.values[c])
            points.emplace_back(std::stod(other.corrections), other.values[c]);
        std::sort(points.begin(), points.end());
        std::vector<double> x, y;
        for (const auto& [corrections, value] : points) {
          x.push_back(corrections);
          y.push_back(value);
        }
        if (x.empty()) continue;
        const io::Colour colour = io::palette_colour(drawn.size() - 2);
        panel.line(x, y, {.label = m.method, .colour = colour});
        panel.scatter(x, y, {.colour = colour});
        for (const double value : y) any = any || (value > limits[c][0] && value < limits[c][1]);
      }
      if (any) panel.y.range(limits[c][0], limits[c][1]);
    }
  io::save_picture(path, figure);
}

struct LorenzModel {
  NoiseEstimator prior;
  score::Schedule schedule;
  score::Normaliser<V> normaliser;
};

LorenzModel lorenz_model(const Arguments& a, const V& covariance) {
  if (a.model == "gaussian") {
    score::Schedule schedule;
    schedule.eta = a.eta;
    return {NoiseEstimator::of(GaussianEstimator{covariance, schedule}), schedule,
            score::identity_normaliser<V>(3, 0)};
  }
  // Trajectories of 65 states need no chunks.
  const TrajectoryPrior model = load_prior(a.model, 0);
  const ModelDescription& description = model.description;
  if (description.system != System::lorenz || description.channels != 3)
    throw ArgumentError(a.model + " is a model of " + name_of(description.system) + " with " +
                        std::to_string(description.channels) + " channels, not of lorenz; give another --model");
  return {model.noise, description.schedule(), model.normaliser};
}

int evaluate_lorenz(const Arguments& a) {
  LorenzEvaluation options;
  options.samples = a.samples;
  options.particles = a.particles;
  options.group = a.group;
  options.sampler = a.sampler;
  options.steps = a.steps;
  options.tau = a.tau;
  options.guidance.gamma = a.gamma;
  options.guidance.zeta = a.zeta;
  options.guidance.iterations = a.iterations;
  options.key = Key{a.seed};
  sampler_by_name(a.sampler, a.steps, 0, a.tau).check();
  std::vector<LorenzSensor> sensors;
  for (const std::string& name : a.sensors) sensors.push_back(LorenzSensor::by_name(name));
  for (const std::string& name : a.methods) score::guidance_by_name<V>(name, options.guidance);
  const V covariance = lorenz_covariance(fold_in(options.key, 0));
  const LorenzModel model = lorenz_model(a, covariance);
  using Value = io::JsonValue;
  const std::string model_text = a.model == "gaussian" ? "gaussian, eta " + io::to_text(a.eta)
                                                       : std::to_string(io::hash64(io::read_file(a.model)));
  const Value settings{Value::Object{{"system", {a.system}},
                                     {"model", {model_text}},
                                     {"sampler", {a.sampler}},
                                     {"steps", {a.steps}},
                                     {"tau", {a.tau}},
                                     {"gamma", {a.gamma}},
                                     {"zeta", {a.zeta}},
                                     {"iterations", {a.iterations ? std::to_string(*a.iterations) : "own"}},
                                     {"samples", {a.samples}},
                                     {"particles", {a.particles}},
                                     {"group", {a.group}},
                                     {"seed", {std::to_string(a.seed)}}}};
  EvaluationRows rows(a.output, settings, key_columns, value_columns, a.restart);
  const auto per_case = static_cast<index_t>(a.methods.size() * a.corrections.size());
  std::optional<io::Progress> line;
  const index_t total = a.observations * static_cast<index_t>(sensors.size()) * (per_case + 1);
  if (!a.quiet) line.emplace(stderr, total, io::ProgressOptions{.label = "evaluating", .unit = "rows"});
  index_t done = 0;

  for (index_t number = 1; number <= a.observations; ++number)
    for (const LorenzSensor& sensor : sensors) {
      const auto keys_of = [&](const std::string& method, index_t corrections) {
        return std::vector<std::string>{sensor.name, method, std::to_string(corrections), std::to_string(number)};
      };
      std::optional<LorenzCase> one;
      const auto begin = [&] {
        if (!one) one.emplace(sensor, number, options);
      };
      const auto row_of = [&](const std::vector<std::string>& keys, const auto& compute) {
        if (rows.find(keys) == nullptr) {
          begin();
          const auto from = std::chrono::steady_clock::now();
          std::vector<double> values = compute();
          values.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count());
          rows.add({keys, values});
        }
        ++done;
        if (line) line->update(done);
      };
      row_of(keys_of("particles", 0), [&] {
        return std::vector<double>{one->log_prior(one->reference()), one->log_likelihood(one->reference()),
                                   one->floor(options)};
      });
      for (const std::string& method : a.methods)
        for (const index_t corrections : a.corrections)
          row_of(keys_of(method, corrections), [&] {
            LorenzEvaluation own = options;
            own.method = method;
            try {
              const V samples = model.normaliser.denormalised(
                  lorenz_samples(model.prior, model.schedule, sensor, *one, own, corrections, covariance));
              const auto paths = flow::Lorenz63{}.denormalised(cast<double>(samples));
              const double distance = score::wasserstein1(paths, one->reference());
              // The attractor is some fifty wide: what is a thousand away has exploded, though it is finite.
              if (!(distance < 1000)) return std::vector<double>(3, std::numeric_limits<double>::quiet_NaN());
              return std::vector<double>{one->log_prior(paths), one->log_likelihood(paths), distance};
            } catch (const score::NonFiniteSample&) {
              return std::vector<double>(3, std::numeric_limits<double>::quiet_NaN());
            }
          });
    }
  if (line) line->finish(done);

  const std::vector<Medians> table = medians(rows.rows(), a.observations);
  write_table(table, a.output + ".table.csv");
  if (!a.picture.empty()) draw_table(table, a.sensors, a.picture);
  std::printf("Medians over observations. Expected by theory: log prior 81.70; log likelihood");
  for (const LorenzSensor& sensor : sensors)
    std::printf(" %s %.2f", sensor.name.c_str(), sensor.expected_log_likelihood());
  std::printf(". Particles: two runs of the filter against each other.\n");
  print_table(table);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw IoError("cannot write to the standard output");
  return 0;
}

/// The default sampler begins where nothing of the data is seen yet; `pc` is that of the paper.
int evaluate_fields(Arguments& a) {
  SparseEvaluation& sparse = a.sparse;
  SamplingSettings& sampling = sparse.sampling;
  if (sparse.data.empty()) throw ArgumentError("--system " + a.system + " needs --data, whose last tenth is observed");
  if (!(sparse.noise > 0)) throw ArgumentError("--noise must be positive, given " + io::to_text(sparse.noise));
  if (!a.given_corrections.empty() && a.given_corrections.size() != 1)
    throw ArgumentError("--system " + a.system + " takes one number of --corrections for the whole table");
  const TrajectoryPrior prior = load_prior(a.model, sparse.windows);
  const score::Schedule schedule = prior.description.schedule();
  if (a.sampler == "pc") sampling.sampler = score::SamplerOptions::predictor_corrector();
  sampling.sampler.grid.start_time =
      a.sampler == "pc" ? 1 : start_time(schedule, a.start_rho);
  if (a.given_steps) sampling.sampler.steps = *a.given_steps;
  if (!a.given_corrections.empty()) sampling.sampler.corrections = a.given_corrections.front();
  sampling.samples = a.given_samples.value_or(2);
  sampling.together = 1;
  sampling.seed = a.seed;
  sampling.guidance.gamma = a.given_gamma.value_or(1e-2);
  if (a.given_tau) sampling.sampler.tau = *a.given_tau;
  sampling.guidance.zeta = a.zeta;
  sampling.guidance.iterations = a.iterations;
  sparse.methods =
      a.given_methods.empty() ? std::vector<std::string>{"default", "sda", "dual_scaling"} : a.given_methods;
  return evaluate_sparse(a.system, a.model, prior, a.output, a.picture, sparse, a.restart, a.quiet);
}

int run(Arguments& a) {
  check_writable(a.output);
  check_writable(a.picture);
  if (!a.picture.empty()) io::picture_format(a.picture);
  if (same_file(a.output, a.picture)) throw ArgumentError("--output and --picture are the same file");
  if (a.threads > 0) threads::set_count(a.threads);
  a.sampler = a.given_sampler.value_or(a.system == "lorenz" ? "pc" : "multistep");
  if (a.system != "lorenz") return evaluate_fields(a);
  if (!a.given_corrections.empty()) a.corrections = a.given_corrections;
  if (!a.given_methods.empty()) a.methods = a.given_methods;
  a.gamma = a.given_gamma.value_or(a.gamma);
  a.tau = a.given_tau.value_or(a.tau);
  a.samples = a.given_samples.value_or(a.samples);
  a.steps = a.given_steps.value_or(a.steps);
  return evaluate_lorenz(a);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{
      "Draws samples from the posterior of a score model and compares them with the truth, as a table in CSV.\n"
      "A row is kept as soon as it is there; started again, the program computes what is missing."};
  app.get_formatter()->column_width(34);
  app.add_option("--system", a.system, "what the model is of")->check(CLI::IsMember({"lorenz", "kolmogorov", "wake"}));
  app.add_option("--model", a.model,
                 "a file of train_score; or gaussian, the best linear estimate, as what is to be beaten")
      ->required();
  app.add_option(
         "--output", a.output,
         "FILE.csv: a row for each sensor, method, number of corrections and observation, FILE.csv.table.csv has "
         "the medians; fields: a row for each subsample and method, FILE.csv.sN.METHOD.png a sample. FILE.csv.json has "
         "the settings")
      ->required();
  app.add_option("--sensors", a.sensors, "low: every 8th state, noise 0.05; high: every state, noise 0.25")
      ->check(CLI::IsMember({"low", "high"}));
  app.add_option("--methods", a.given_methods,
                 "any of " + method_names() + "; by default: default, sda, and for fields dual_scaling");
  app.add_option("--corrections", a.given_corrections,
                 "Langevin corrections a step, any number of them; 0 1 2 by default")
      ->check(CLI::Range(0, 1000));
  app.add_option("--observations", a.observations, "draws of truth and observation; 8 by default, the paper's 64")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--samples", a.given_samples, "of each posterior; 256 by default, the paper's 1024; fields: 2")
      ->check(CLI::Range(2, 1000000));
  app.add_option("--data", a.sparse.data, "fields: the data set, as of train_score");
  app.add_option("--pieces", a.sparse.pieces, "fields: cut trajectories into pieces of so many frames, as in training")
      ->check(CLI::Range(0, 100000000));
  app.add_option("--subsamples", a.sparse.subsamples, "fields: every s-th point is seen; 2 4 8 16 by default")
      ->check(CLI::Range(1, 100000));
  app.add_option("--noise", a.sparse.noise, "fields: of the sensor, in the units of the data; 0.1 by default");
  app.add_option("--frames", a.sparse.frames, "fields: of the trajectory; 8 by default")->check(CLI::Range(1, 1000000));
  app.add_option("--trajectory", a.sparse.trajectory, "fields: which of the held-out ones; 0 by default")
      ->check(CLI::Range(0, 100000000));
  app.add_option("--windows", a.sparse.windows, "fields: windows in the network at once; 4 by default")
      ->check(CLI::Range(0, 1000000));
  app.add_option(
      "--reference-count", a.sparse.reference_count,
      "fields: N_ref of the scalings with the number of observations; by default that of every fourth point");
  app.add_option("--start-rho", a.start_rho, "fields: ratio of noise to signal to begin at; 50 by default")
      ->check(CLI::PositiveNumber);
  app.add_option("--sampler", a.given_sampler,
                 "pc: predictor-corrector as in the paper, the default for lorenz; multistep: third order, for fields")
      ->check(CLI::IsMember({"pc", "multistep"}));
  app.add_option("--steps", a.given_steps, "of the sampler; 256 by default; fields: 32 of the default sampler")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--tau", a.given_tau, "size of the corrections; 0.25 by default, for fields 0.5")
      ->check(CLI::PositiveNumber);
  app.add_option("--gamma", a.given_gamma, "of sda and its relatives; 0.03 by default, for fields 0.01")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--zeta", a.zeta, "of dps; 1 by default")->check(CLI::NonNegativeNumber);
  app.add_option("--iterations", a.iterations, "of the linear solvers; by default the method's own number")
      ->check(CLI::Range(1, 100000));
  app.add_option("--eta", a.eta, "noise left at the end of the schedule of --model gaussian; 0.001 by default")
      ->check(CLI::PositiveNumber);
  app.add_option("--particles", a.particles, "of the filter; 16384 by default")->check(CLI::Range(2, 100000000));
  app.add_option("--group", a.group, "samples that go through the network together; 32 by default")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--picture", a.picture, "SVG or PNG file: the table over the corrections");
  app.add_option("--seed", a.seed, "decides truths, observations and samples; 0 by default");
  app.add_option("--threads", a.threads, "all processors by default. The results do not depend on it")
      ->check(CLI::Range(0, 4096));
  app.add_flag("--restart", a.restart, "forget an earlier table of this output");
  app.add_flag("--quiet", a.quiet, "no progress line");
  return run_program(app, "evaluate_assimilation", argc, argv, [&] { return run(a); });
}
