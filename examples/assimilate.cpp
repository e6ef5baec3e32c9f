// Samples what a trajectory may have been from few, noisy observations and a trained score network.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/io/csv_log.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/progress.hpp>

#include "assimilation.hpp"
#include "program.hpp"
#include "score_pictures.hpp"
#include "shipped_model.hpp"

namespace {

using namespace kolmo;
using namespace score_program;

struct Arguments {
  std::string system, model, observations, output, picture, trace, stability = "report";
  std::vector<std::string> data;
  index_t trajectory = 0, first_frame = 0, frames = 0, pieces = 0, windows = 8;
  double noise = 0;
  bool paper = false;
  std::optional<index_t> steps, corrections;
  std::optional<double> tau, start_rho;
  SamplingSettings sampling;
  int threads = 0;
  bool quiet = false;
};

/// Where the trajectory and its observations come from.
struct Problem {
  V truth;  ///< empty for measured observations
  ObservationSpec spec;
  V measured;
  Shape event;
};

Problem problem_of(const Arguments& arguments, const ModelDescription& description) {
  Problem problem;
  const auto axes = static_cast<index_t>(description.space.size());
  const bool file = arguments.observations.ends_with(".npy");
  if (file) {
    if (!arguments.data.empty() || arguments.frames > 0 || arguments.first_frame > 0 || arguments.trajectory > 0)
      throw ArgumentError("--observations " + arguments.observations +
                          " is all there is to know: --data, --frames, --first-frame and --trajectory go with a list "
                          "of what a sensor sees");
    const io::HostArray array = io::load_npy(arguments.observations);
    const std::vector<float> values = array.convert<float>();
    problem.event = Shape(array.shape.begin(), array.shape.end());
    Shape expected{problem.event.rank() > 0 ? problem.event[0] : 0, description.channels};
    for (const index_t extent : description.space) expected.push_back(extent);
    if (!(problem.event == expected))
      throw ArgumentError(arguments.observations + " has shape " + problem.event.to_string() + ", expected [frames, " +
                          expected.without(0).to_string() + "], with NaN where nothing was measured");
    std::tie(problem.spec, problem.measured) = measured_points(V::from(std::span<const float>(values), problem.event));
    return problem;
  }
  problem.spec = ObservationSpec::parse(arguments.observations, axes);
  if (arguments.data.empty())
    throw ArgumentError(
        "--observations " + arguments.observations +
        " describes a sensor, which needs a trajectory to look at: give --data, or a FILE.npy of measured values");
  const Data test = read_data(arguments.data, arguments.pieces).test;
  if (arguments.trajectory >= test.samples())
    throw ArgumentError("--trajectory " + std::to_string(arguments.trajectory) + ": there are " +
                        std::to_string(test.samples()) + " held-out trajectories, numbered from 0");
  const index_t frames = arguments.frames > 0 ? arguments.frames : smaller<index_t>(test.times(), axes == 0 ? 65 : 8);
  if (arguments.first_frame + frames > test.times())
    throw ArgumentError("frames " + std::to_string(arguments.first_frame) + " to " +
                        std::to_string(arguments.first_frame + frames - 1) + " are not in trajectories of " +
                        std::to_string(test.times()) + " frames; lower --frames or --first-frame");
  problem.truth =
      slice(at(test.values(), 0, arguments.trajectory), 0, arguments.first_frame, arguments.first_frame + frames);
  problem.event = problem.truth.shape();
  Shape expected{frames, description.channels};
  for (const index_t extent : description.space) expected.push_back(extent);
  if (!(problem.event == expected))
    throw ArgumentError("the data have frames of shape " + problem.event.without(0).to_string() +
                        ", the model was trained on " + expected.without(0).to_string());
  problem.measured =
      measure(problem.spec, problem.truth, arguments.noise, fold_in(Key{arguments.sampling.seed}, 1u << 20));
  return problem;
}

void write_trace(const std::string& path, const std::vector<TraceRow>& rows) {
  std::string text = "step,t,ratio,prior_norm,likelihood_norm,chi_squared,effective_noise,stability,iterations\n";
  for (const TraceRow& r : rows) {
    text += std::to_string(r.step);
    for (const double x :
         {r.t, r.ratio, r.prior_norm, r.likelihood_norm, r.chi_squared, r.effective_noise, r.stability})
      text += "," + io::to_text(x);
    text += "," + std::to_string(r.iterations) + "\n";
  }
  io::write_atomically(path, text);
}

std::string joined_names() {
  std::string text;
  for (const std::string& name : score::guidance_names()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

io::Figure figure_of(const ModelDescription& description, const Problem& problem, const Assimilation& result) {
  std::vector<HostFrames> rows;
  if (description.space.empty()) {
    rows.push_back(problem.truth.has_value() ? host_frames("truth", problem.truth)
                                             : host_frames("mean of the samples", mean(result.samples, {0})));
    for (index_t k = 0; k < smaller<index_t>(result.samples.shape()[0], 64); ++k)
      rows.push_back(host_frames("samples", at(result.samples, 0, k)));
    // Where the sensor looks: of a field of ones at one place, what it sees is not zero.
    std::vector<Measured> measured;
    if (problem.spec.points) {
      const auto values = problem.measured.to_vector();
      for (std::size_t i = 0; i < values.size(); ++i) {
        const index_t at = problem.spec.points->positions()[i];
        measured.push_back({at / description.channels, at % description.channels, static_cast<double>(values[i])});
      }
    } else if (!problem.spec.saturate) {
      const index_t first = problem.spec.component.value_or(0);
      const index_t count = problem.spec.component ? 1 : description.channels;
      const auto values = problem.measured.to_vector();
      for (std::size_t i = 0; i < values.size(); ++i) {
        const auto k = static_cast<index_t>(i);
        measured.push_back({problem.spec.first_frame + k / count * problem.spec.time, first + k % count,
                            static_cast<double>(values[i])});
      }
    }
    return draw_paths(rows, measured);
  }
  if (problem.truth.has_value()) rows.push_back(host_frames("truth", problem.truth));
  for (index_t k = 0; k < smaller<index_t>(result.samples.shape()[0], 2); ++k)
    rows.push_back(host_frames("sample " + std::to_string(k), at(result.samples, 0, k)));
  if (result.samples.shape()[0] > 2) rows.push_back(host_frames("mean", mean(result.samples, {0})));
  return draw_fields(description.system, rows);
}

int run(const Arguments& arguments, const TrajectoryPrior& prior) {
  const ModelDescription& description = prior.description;
  const Problem problem = problem_of(arguments, description);
  if (!arguments.quiet)
    std::printf(
        "%s, %lld frames; %lld observations (%s), noise %s; method %s, %lld samples, %lld steps, %lld corrections\n",
        name_of(description.system), static_cast<long long>(problem.event[0]),
        static_cast<long long>(problem.measured.size()), problem.spec.to_text().c_str(),
        io::to_text(arguments.noise).c_str(), arguments.sampling.method.c_str(),
        static_cast<long long>(arguments.sampling.samples), static_cast<long long>(arguments.sampling.sampler.steps),
        static_cast<long long>(arguments.sampling.sampler.corrections));
  std::fflush(stdout);
  std::optional<io::Progress> progress;
  const Assimilation result =
      assimilate(prior, problem.spec, problem.measured, arguments.noise, problem.event, problem.truth,
                 arguments.sampling, [&](index_t done, index_t steps, const TraceRow& row) {
                   if (arguments.quiet) return;
                   if (!progress)
                     progress.emplace(stderr, steps, io::ProgressOptions{.label = "sampling", .unit = "steps"});
                   progress->update(done, {{"t", row.t}, {"chi2", row.chi_squared}, {"ratio", row.ratio}});
                   if (done == steps) progress->finish(done);
                 });
  if (!arguments.trace.empty()) write_trace(arguments.trace, result.trace);
  if (!result.stopped.empty()) {
    std::fprintf(stderr,
                 "assimilate: %s\nThe explicit steps are not stable for these observations: use --method mmps or jfps, "
                 "more --steps, or --stability cap\n",
                 result.stopped.c_str());
    return 4;
  }
  const std::vector<float> values = result.samples.to_vector();
  io::HostArray array(values, {result.samples.shape().begin(), result.samples.shape().end()});
  io::save_npy(arguments.output, array);
  std::printf("residual %.4g where the sensor's noise is %.4g (ratio %.3f); spread %.4g\n", result.residual,
              result.noise, result.residual / result.noise, result.spread);
  if (!problem.truth.has_value() && !(result.residual > 0.7 * result.noise && result.residual < 1.4 * result.noise))
    std::printf(
        "note: the residual is not the noise. Is --noise right, and are the values in the units of the data the model "
        "was trained on? (lorenz: normalised)\n");
  if (problem.truth.has_value())
    std::printf("error of the mean %.4g, of a sample %.4g; energy ratio %.3f%s; %s\n", result.error,
                result.sample_error, result.energy_ratio,
                result.crps == result.crps ? ("; CRPS " + io::to_text(result.crps, 4)).c_str() : "",
                result.outcome().c_str());
  if (result.largest_stability > 0)
    std::printf("stability number at most %.3g (explicit steps are stable below 1)\n", result.largest_stability);
  std::printf("%lld evaluations of the posterior, %.3g s each\n%s: samples of shape %s\n",
              static_cast<long long>(result.evaluations), result.seconds_per_evaluation, arguments.output.c_str(),
              result.samples.shape().to_string().c_str());
  if (!arguments.picture.empty()) {
    io::save_picture(arguments.picture, figure_of(description, problem, result), 1.5);
    std::printf("Picture: %s\n", arguments.picture.c_str());
  }
  return 0;
}

int run_any(Arguments& arguments) {
  score::SamplerOptions& sampler = arguments.sampling.sampler;
  if (arguments.paper) sampler = score::SamplerOptions::predictor_corrector();
  if (arguments.steps) sampler.steps = *arguments.steps;
  if (arguments.corrections) sampler.corrections = *arguments.corrections;
  if (arguments.tau) sampler.tau = *arguments.tau;
  arguments.sampling.stability = arguments.stability == "none"  ? score::StabilityPolicy::none
                                 : arguments.stability == "cap" ? score::StabilityPolicy::cap_variance
                                                                : score::StabilityPolicy::report;
  if (arguments.threads > 0) threads::set_count(arguments.threads);
  if (!(arguments.noise > 0))
    throw ArgumentError("--noise must be positive, given " + io::to_text(arguments.noise) +
                        "; it is the standard deviation of the sensor's noise, in the units of the data");
  check_writable(arguments.output);
  check_writable(arguments.picture);
  check_writable(arguments.trace);
  const std::pair<const char*, std::string> written[] = {
      {"--output", arguments.output}, {"--picture", arguments.picture}, {"--trace", arguments.trace}};
  std::vector<std::string> kept{arguments.model, arguments.observations};
  for (const std::string& path : arguments.data) kept.push_back(field_file(path));
  for (std::size_t i = 0; i < 3; ++i) {
    for (const std::string& path : kept)
      if (same_file(written[i].second, path))
        throw ArgumentError(std::string(written[i].first) + " " + path + " would replace what is read; choose another");
    for (std::size_t j = 0; j < i; ++j)
      if (same_file(written[i].second, written[j].second))
        throw ArgumentError(std::string(written[i].first) + " and " + written[j].first + " are the same file, " +
                            written[i].second);
  }
  if (!arguments.output.ends_with(".npy")) throw ArgumentError("--output " + arguments.output + " must end in .npy");
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  if (arguments.model.empty())
    arguments.model = shipped_model(
        "score_" + arguments.system + ".safetensors",
        "give --model: models of lorenz and kolmogorov are shipped, others are made by train_score --system " +
            arguments.system);
  const TrajectoryPrior prior = load_prior(arguments.model, arguments.windows);
  sampler.grid.start_time = arguments.paper && !arguments.start_rho
                                ? 1
                                : start_time(prior.description.schedule(), arguments.start_rho.value_or(50));
  if (arguments.system != name_of(prior.description.system))
    throw ArgumentError(arguments.model + " is a model of " + name_of(prior.description.system) + ", not of " +
                        arguments.system);
  return run(arguments, prior);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  SamplingSettings& s = a.sampling;
  CLI::App app{
      "Samples trajectories that agree with few, noisy observations: data assimilation with a score network as the "
      "prior. Writes the samples [sample, frame, component, space...] and says how well they fit."};
  app.get_formatter()->column_width(34);
  app.add_option("--system", a.system, "what the model is of")
      ->check(CLI::IsMember({"lorenz", "kolmogorov", "wake"}))
      ->required();
  app.add_option("--model", a.model, "of train_score; by default the one shipped with the examples");
  app.add_option("--observations", a.observations,
                 "what a sensor sees of a held-out trajectory: a list of time=N (every N-th frame), first=N, "
                 "component=I, coarsen=N (means of blocks), vorticity, saturate, space=N (every N-th point), crop=A:B. "
                 "Or FILE.npy: measured values [frame, component, space...], NaN where there are none")
      ->required();
  app.add_option("--noise", a.noise, "standard deviation of the sensor's noise, in the units of the data")->required();
  app.add_option("--data", a.data, "the data set; the sensor looks at its last tenth, which train_score leaves out");
  app.add_option("--pieces", a.pieces, "cut trajectories into pieces of so many frames first, as in training")
      ->check(CLI::Range(0, 100000000));
  app.add_option("--trajectory", a.trajectory, "which of the held-out ones; 0 by default")
      ->check(CLI::Range(0, 100000000));
  app.add_option("--first-frame", a.first_frame, "where in it to begin; 0 by default")->check(CLI::Range(0, 100000000));
  app.add_option("--frames", a.frames, "how many; by default 65 for lorenz, 8 for fields")
      ->check(CLI::Range(1, 100000000));
  app.add_option("--method", s.method, "how observations enter: " + joined_names())->capture_default_str();
  score::GuidanceSettings<V>& g = s.guidance;
  app.add_option("--gamma", g.gamma, "sda and the scalings: var = noise^2 + gamma rho^2")->capture_default_str();
  app.add_option("--iterations", g.iterations, "of the linear solver of default, mmps, jfps, proximal, at most");
  app.add_option("--tolerance", g.tolerance, "where it stops, in units of the noise");
  app.add_option("--zeta", g.zeta, "dps")->capture_default_str();
  app.add_option("--xi", g.xi, "adaptive")->capture_default_str();
  app.add_option("--lambda", g.lambda, "proximal")->capture_default_str();
  app.add_option("--prior-variance", g.prior_variance, "pigdm, jfps: of the standardised data")->capture_default_str();
  app.add_option("--reference-count", g.reference_count, "the scalings with the number of observations: N_ref")
      ->capture_default_str();
  app.add_flag("--paper", a.paper, "uniform times, exponential predictor and Langevin corrections, as published");
  app.add_option("--steps", a.steps, "of the sampler; by default its own, 256 with --paper")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--corrections", a.corrections, "after each step; by default none, one with --paper")
      ->check(CLI::Range(0, 100000));
  app.add_option("--start-rho", a.start_rho,
                 "ratio of noise to signal to begin at; 50 by default, where nothing of the data is seen. A network's "
                 "errors at t = 1 would be multiplied by a thousand")
      ->check(CLI::PositiveNumber);
  app.add_option("--tau", a.tau, "size of a correction")->check(CLI::PositiveNumber);
  app.add_option("--stability", a.stability,
                 "none; report (the default): the stability number of each step; cap: the variance is raised where the "
                 "step would be unstable")
      ->check(CLI::IsMember({"none", "report", "cap"}));
  app.add_option("--samples", s.samples, "how many")->check(CLI::Range(1, 1000000))->capture_default_str();
  app.add_option("--together", s.together, "samples drawn at once; 0: all")->check(CLI::Range(0, 1000000));
  app.add_option("--windows", a.windows, "windows in the network at once: fewer need less memory; 0: all")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  app.add_option("--seed", s.seed, "decides the sensor's noise and the samples; 0 by default");
  app.add_option("--output", a.output, "FILE.npy for the samples")->required();
  app.add_option("--picture", a.picture, "SVG or PNG file: truth, samples, mean");
  app.add_option("--trace", a.trace, "CSV file with a row a step: norms, chi^2, stability");
  app.add_option("--threads", a.threads, "all processors by default")->check(CLI::Range(0, 4096));
  app.add_flag("--quiet", a.quiet, "no progress");
  return run_program(app, "assimilate", argc, argv, [&] { return run_any(a); });
}
