#pragma once
// What the programs that train mixture fitters share: the options of the training loop, the log with its diagnostics,
// and the picture of it.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/callbacks.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/optim/train.hpp>

#include "training_run.hpp"

namespace training {

using namespace kolmo;
using V = Tensor<float, Cpu>;

enum class Scheduler { cosine, step, plateau, none };

struct Settings : RunPaths {
  index_t train = 150000;
  index_t valid = 15000;
  index_t epochs = 33;
  std::uint64_t seed = 42;
  gmm::TrainingLaw law = gmm::TrainingLaw::broad;
  bool quiet = false;
  int threads = 0;
  index_t checkpoint_every = 500;
  index_t batch_size = 64;
  index_t shards = 2;
  double lr = 2e-3;
  index_t warmup_epochs = 2;
  Scheduler scheduler = Scheduler::cosine;
  index_t step_every = 20;
  double step_factor = 0.5;
  index_t plateau_patience = 10;
  double plateau_factor = 0.5;
  optim::ScheduleUnit schedule_unit = optim::ScheduleUnit::step;
  double weight_decay = 1e-4;
  double grad_clip = 1.0;
  index_t patience = 20;
  double ema_decay = 0.0;
};

const std::map<std::string, gmm::TrainingLaw> laws{
    {"v5", gmm::TrainingLaw::v5}, {"broad", gmm::TrainingLaw::broad}, {"original", gmm::TrainingLaw::original}};
const std::map<std::string, Scheduler> schedulers{{"cosine", Scheduler::cosine},
                                                  {"step", Scheduler::step},
                                                  {"plateau", Scheduler::plateau},
                                                  {"none", Scheduler::none}};
const std::map<std::string, optim::ScheduleUnit> units{{"epoch", optim::ScheduleUnit::epoch},
                                                       {"step", optim::ScheduleUnit::step}};

inline void add_options(CLI::App& app, Settings& s) {
  app.option_defaults()->always_capture_default();
  app.add_option("--train", s.train, "training densities")->check(CLI::Range(1, 100000000));
  app.add_option("--valid", s.valid, "validation densities")->check(CLI::Range(1, 100000000));
  app.add_option("--epochs", s.epochs, "passes over the training densities")->check(CLI::Range(1, 100000));
  app.add_option("--seed", s.seed, "decides data, starting weights and order");
  add_choice(&app, "--law", s.law, laws,
             "v5: maxima of two normals; broad: also wider ones and random mixtures; original: v5 not centred");
  app.add_option("--output", s.output, "model file (safetensors); the folder OUTPUT.run holds the run")->required();
  app.add_flag("--resume", s.resume, "go on with the run in OUTPUT.run; begins anew when there is none");
  app.add_flag("--restart", s.restart, "forget an earlier run of this output")->excludes("--resume");
  app.add_option("--log", s.log, "CSV file with a row per epoch [OUTPUT.run/log.csv]");
  app.add_option("--picture", s.picture, "SVG or PNG file with the curves of the log, drawn again after every epoch");
  app.add_option("--threads", s.threads, "threads; 0: all processors. The result does not depend on it")
      ->check(CLI::Range(0, 4096));
  app.add_option("--checkpoint_every", s.checkpoint_every, "steps between checkpoints")
      ->check(CLI::Range(1, 100000000));
  app.add_flag("--quiet", s.quiet, "print errors only");
  auto* group = app.add_option_group("Training");
  group->add_option("--batch_size", s.batch_size, "densities per step")->check(CLI::Range(1, 1000000));
  group->add_option("--shards", s.shards, "parts of a batch that run in parallel; changes the rounding")
      ->check(CLI::Range(1, 1024));
  group->add_option("--lr", s.lr, "peak learning rate of AdamW")->check(CLI::PositiveNumber);
  group->add_option("--warmup_epochs", s.warmup_epochs, "epochs of linear warm-up")->check(CLI::NonNegativeNumber);
  add_choice(group, "--scheduler_type", s.scheduler, schedulers,
             "after the warm-up: cosine to 1 % of lr, step, plateau of the validation density error, none");
  group->add_option("--step_every", s.step_every, "step: epochs between changes")->check(CLI::Range(1, 100000));
  group->add_option("--step_factor", s.step_factor, "step: the rate is multiplied by it")->check(CLI::PositiveNumber);
  group->add_option("--plateau_patience", s.plateau_patience, "plateau: epochs without improvement that are borne")
      ->check(CLI::NonNegativeNumber);
  group->add_option("--plateau_factor", s.plateau_factor, "plateau: the rate is multiplied by it")
      ->check(CLI::PositiveNumber);
  add_choice(group, "--schedule_unit", s.schedule_unit, units, "the rate changes after every step or epoch");
  group->add_option("--weight_decay", s.weight_decay, "decoupled")->check(CLI::NonNegativeNumber);
  group->add_option("--grad_clip", s.grad_clip, "largest norm of the gradient; 0: none")->check(CLI::NonNegativeNumber);
  group->add_option("--patience", s.patience, "epochs without improvement before stopping; 0: never")
      ->check(CLI::NonNegativeNumber);
  group
      ->add_option("--ema_decay", s.ema_decay, "average of the weights, updated every step and judged instead; 0: none")
      ->check(CLI::Range(0.0, 0.999999));
}

/// What decides the result beside the options of the training loop. A run resumes only under the same.
inline std::map<std::string, std::string> recipe(const Settings& s) {
  using io::to_text;
  return {{"law", name_of(laws, s.law)},
          {"train", std::to_string(s.train)},
          {"valid", std::to_string(s.valid)},
          {"epochs", std::to_string(s.epochs)},
          {"seed", std::to_string(s.seed)},
          {"warmup_epochs", std::to_string(s.warmup_epochs)},
          {"lr", to_text(s.lr)},
          {"scheduler_type", name_of(schedulers, s.scheduler)},
          {"schedule_unit", name_of(units, s.schedule_unit)},
          {"step_every", std::to_string(s.step_every)},
          {"step_factor", to_text(s.step_factor)},
          {"weight_decay", to_text(s.weight_decay)}};
}

/// The losses by their names in the card, and how the programs combine them.
inline std::map<std::string, std::string> recipe(const gmm::LamfTrainingLoss& loss) {
  using io::to_text;
  return {
      {"lambda_pdf", to_text(loss.terms.l2)},
      {"lambda_l1", to_text(loss.terms.l1)},
      {"lambda_linf", to_text(loss.terms.soft_max)},
      {"alpha", to_text(loss.terms.alpha)},
      {"lambda_topk", to_text(loss.terms.top)},
      {"topk", std::to_string(loss.terms.top_count)},
      {"lambda_mom", to_text(loss.terms.moments)},
      {"convex", loss.terms.convex ? "1" : "0"},
      {"supervision", std::to_string(static_cast<int>(loss.supervision))},
      {"eta_switch", std::to_string(loss.linear_from)},
      {"lambda_pdf_ramp", std::to_string(loss.l2_ramp.first) + " " + std::to_string(loss.l2_ramp.last)},
      {"lambda_linf_ramp", std::to_string(loss.soft_max_ramp.first) + " " + std::to_string(loss.soft_max_ramp.last)}};
}

inline optim::TrainOptions loop_options(const Settings& s, Key key) {
  optim::TrainOptions options;
  options.epochs = s.epochs;
  options.batch = s.batch_size;
  options.shards = s.shards;
  options.clip_norm = s.grad_clip;
  options.ema_decay = s.ema_decay;
  options.early_stopping = optim::EarlyStopping{s.patience, 1e-5};
  options.key = key;
  options.schedule_unit = s.schedule_unit;
  const index_t unit = s.schedule_unit == optim::ScheduleUnit::epoch ? 1 : s.train / s.batch_size;
  const index_t length = unit * s.epochs;
  const index_t warm_up = unit * (s.warmup_epochs < s.epochs ? s.warmup_epochs : 0);
  switch (s.scheduler) {
    case Scheduler::cosine:
      options.schedule = optim::warm_up_cosine({s.lr, 0.01, warm_up, length});
      break;
    case Scheduler::step:
      options.schedule = optim::WarmUp<optim::Step>{s.lr, warm_up, {s.lr, s.step_factor, unit * s.step_every}};
      break;
    case Scheduler::plateau:
      options.plateau = optim::Plateau{s.plateau_factor, s.plateau_patience, 1e-5};
      [[fallthrough]];
    case Scheduler::none:
      options.schedule = optim::WarmUp<optim::Constant>{s.lr, warm_up, {s.lr}};
  }
  return options;
}

/// Judges every epoch by the mean density error over all validation densities, and looks at the health of the mixtures.
/// The columns of the log are those of the model card and of the review of its training; see docs/gmm_training.md.
struct Validation {
  const gmm::LamfSamples<V>& train;
  const gmm::LamfSamples<V>& valid;
  const gmm::LamfTrainingLoss& loss;
  bool quiet = false;
  index_t epoch = 0;
  gmm::LamfScores scores{};
  gmm::LamfScores seen{};  ///< of training densities, as many as there are for validation

  void on_start(const auto& info) { epoch = info.state.epoch; }
  double metric(const auto& model) {
    const gmm::LamfLossOptions terms = loss.at_epoch(epoch + 1).terms;
    scores = evaluate(model, valid, terms);
    seen = evaluate(model, train, terms, valid.size());
    return scores.density_error;
  }
  void on_epoch(const auto& info) {
    epoch = info.epoch;
    if (quiet) return;
    std::printf(
        "epoch %3lld  loss %.5f  validation: KL %.2e  density error %.5f (median %.5f, below 0.01: %.1f %%)  sigma >= "
        "%.3f%s  %.0f s\n",
        static_cast<long long>(info.epoch), info.mean_loss, scores.relative_entropy, scores.density_error,
        scores.median_error, 100 * scores.share_below, scores.deviation.least, info.improved ? "  best" : "",
        info.seconds);
    std::fflush(stdout);
  }

  static std::vector<std::string> names() {
    return {"train_ce",  "val_ce",       "val_pdf_linf",   "val_cdf_linf",   "val_cdf_linf_trapezoid",
            "train_kl",  "val_kl",       "val_pdf_median", "val_pdf_max",    "share_below_0.01",
            "sigma_min", "sigma_median", "sigma_max",      "share_at_floor", "share_of_spikes",
            "peak_min",  "peak_mean",    "peak_max",       "w_min",          "w_sum_min",
            "w_sum_max", "area_min",     "area_mean",      "area_max",       "val_loss",
            "loss_main", "loss_pdf",     "loss_l1",        "loss_linf",      "loss_topk",
            "loss_mom"};
  }
  std::vector<double> values() const {
    const gmm::LamfScores& s = scores;
    return {seen.cross_entropy,   s.cross_entropy,       s.density_error,    s.analytic_distribution_error,
            s.distribution_error, seen.relative_entropy, s.relative_entropy, s.median_error,
            s.largest_error,      s.share_below,         s.deviation.least,  s.deviation.middle,
            s.deviation.largest,  s.share_at_floor,      s.share_of_spikes,  s.peak.least,
            s.peak.middle,        s.peak.largest,        s.least_mass,       s.least_mass_sum,
            s.largest_mass_sum,   s.area.least,          s.area.middle,      s.area.largest,
            s.terms.total(),      s.terms.main,          s.terms.l2,         s.terms.l1,
            s.terms.soft_max,     s.terms.top,           s.terms.moments};
  }
};

/// Draws a log: divergence, errors of density and distribution function, deviations, areas, and the learning rate.
inline void draw_log(const std::filesystem::path& log, const std::filesystem::path& picture, const std::string& title) {
  const auto columns = read_log(log);
  if (columns.empty()) return;
  const std::vector<double>& epoch = columns.at("epoch");
  io::Figure figure(2, 3);
  figure.title = title;
  const auto draw = [&](std::size_t row, std::size_t column, const char* heading, bool log_axis,
                        const std::vector<std::pair<const char*, const char*>>& lines) {
    io::Panel& panel = figure.panel(row, column);
    panel.title = heading;
    panel.x.label = row == 1 ? "epoch" : "";
    panel.y.log = log_axis;
    panel.x.range(epoch.front() - 0.5, epoch.back() + 0.5);
    for (const auto& [name, label] : lines) {
      std::vector<double> y = columns.at(name);
      // A logarithmic axis has no place for a line without positive values.
      if (log_axis && !(*std::max_element(y.begin(), y.end()) > 0)) continue;
      panel.line(epoch, y, {.label = label});
      // What fell below zero, upside down.
      for (double& v : y) v = -v;
      if (log_axis && *std::max_element(y.begin(), y.end()) > 0)
        panel.line(epoch, y, {.label = std::string("-") + label, .dash = io::Dash::dashed});
      for (double& v : y) v = -v;
      if (epoch.size() < 3) panel.scatter(epoch, y);
    }
  };
  draw(0, 0, "KL = CE - entropy", true, {{"train_kl", "training"}, {"val_kl", "validation"}});
  draw(0, 1, "density error (L-infinity)", true,
       {{"val_pdf_linf", "mean"}, {"val_pdf_median", "median"}, {"val_pdf_max", "largest"}});
  draw(0, 2, "distribution error (L-infinity)", true,
       {{"val_cdf_linf", "analytic"}, {"val_cdf_linf_trapezoid", "of sums"}});
  draw(1, 0, "deviations", true, {{"sigma_min", "smallest"}, {"sigma_median", "median"}, {"sigma_max", "largest"}});
  draw(1, 1, "area on the grid; shares", false,
       {{"area_min", "smallest area"},
        {"area_max", "largest area"},
        {"share_at_floor", "at the floor"},
        {"share_of_spikes", "spikes"}});
  draw(1, 2, "steps", true, {{"learning_rate", "learning rate"}, {"gradient_norm", "gradient norm"}});
  io::save_picture(picture, figure, 1.5);
}

/// Draws the log after every epoch; after the log in the list of callbacks.
struct Picture {
  std::filesystem::path log, path;
  std::string title;
  void on_epoch(const auto&) const {
    if (!path.empty()) draw_log(log, path, title);
  }
};

/// Generates densities, trains the model on them and writes the best one. `choices` are the options of the program that
/// decide the result beside the common ones. Returns the exit status.
template <class Model>
int train_model(const char* program, Model model, const gmm::LamfTrainingLoss& loss, const Settings& settings,
                std::map<std::string, std::string> choices) {
  if (settings.train < settings.batch_size)
    throw ArgumentError("--train " + std::to_string(settings.train) + " makes no batch of " +
                        std::to_string(settings.batch_size) + " densities; give more, or a smaller --batch_size");
  const RunFolder folder(settings);
  const auto keys = split<3>(Key{settings.seed});
  const Key data_key = keys[0], init_key = keys[1], train_key = keys[2];
  const gmm::PreprocessOptions preparation = model_preparation(model.options);
  if (!settings.quiet)
    std::printf("generating %lld + %lld densities\n", static_cast<long long>(settings.train),
                static_cast<long long>(settings.valid));
  const auto make = [&](std::uint64_t part, index_t count) {
    return gmm::LamfSamples<V>(
        gmm::training_densities<V>(fold_in(data_key, part), count, settings.law, preparation.grid), preparation);
  };
  const gmm::LamfSamples<V> train = make(0, settings.train), valid = make(1, settings.valid);

  init(init_key, model);
  const optim::Adam optimiser = optim::adamw({.learning_rate = settings.lr, .weight_decay = settings.weight_decay});
  const optim::TrainOptions options = loop_options(settings, train_key);
  choices.merge(recipe(settings));
  choices.merge(recipe(loss));
  auto state = optim::start_training(model, optimiser, options);
  optim::Checkpoint checkpoint(folder.directory, std::string(program) + "-run",
                               {.every_steps = settings.checkpoint_every, .start = folder.start, .settings = choices});
  if (settings.resume && checkpoint.resume(state, options) && !settings.quiet)
    std::printf("resumed after step %lld, epoch %lld\n", static_cast<long long>(state.step),
                static_cast<long long>(state.epoch));
  if (!settings.quiet)
    std::printf("model of %lld parameters; %lld steps in %lld epochs\n", static_cast<long long>(parameter_count(model)),
                static_cast<long long>(settings.train / settings.batch_size * settings.epochs),
                static_cast<long long>(settings.epochs));

  Validation validation{train, valid, loss, settings.quiet};
  OptionalProgress progress;
  if (!settings.quiet) progress.line.emplace(stderr, io::ProgressOptions{.label = "training", .unit = "steps"});
  optim::CsvLog log(folder.log,
                    {.seconds = true, .start = folder.start, .extra_columns = Validation::names(), .extra_values = [&] {
                       return validation.values();
                     }});
  const Picture picture{folder.log, settings.picture, folder.output.filename().string()};
  const optim::TrainResult result =
      optim::train(state, optimiser, train, loss, options, validation, progress, log, picture, checkpoint);
  if (result.status == optim::TrainStatus::not_finite) {
    std::fprintf(stderr, "%s: %lld batches in a row had no finite loss or gradient; lower --lr. The state is in %s\n",
                 program, static_cast<long long>(options.max_skips), folder.directory.c_str());
    return 4;
  }
  if (!state.best.model && state.epoch > 0)
    throw ArgumentError("no epoch had a finite validation error; lower --lr. The state is in " +
                        folder.directory.string());
  if (!state.best.model)
    throw ArgumentError("no epoch was completed; use at least one epoch and one batch of densities");
  std::map<std::string, std::string> notes = optim::run_identity(options);
  for (const auto& [name, text] : choices) notes["train:" + name] = text;
  notes["metric"] = io::to_text(state.best.metric);
  notes["epoch"] = std::to_string(state.best.epoch);
  io::save_model(folder.output, *state.best.model, notes);
  if (!settings.quiet)
    std::printf("%s: best epoch %lld, validation density error %.5f\n", folder.output.c_str(),
                static_cast<long long>(state.best.epoch), state.best.metric);
  return 0;
}

/// Parses, then runs; 2 for wrong arguments, 1 for what goes wrong later.
template <class Run>
int run_program(const char* program, CLI::App& app, int argc, char** argv, const Settings& settings, const Run& run) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    if (settings.threads > 0) threads::set_count(settings.threads);
    return run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program, error.what());
    return 1;
  }
}

}  // namespace training
