// Trains the learned mixture fitter on densities of the V5 law and writes the best model.
//
// test: --train 256 --valid 64 --epochs 2 --seed 3 --output tiny.safetensors --log tiny.csv --restart
// test: --train 256 --valid 64 --epochs 2 --seed 3 --output tiny.safetensors --log tiny.csv --resume

#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/io/lock.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/callbacks.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/optim/train.hpp>

namespace {

using namespace kolmo;
using V = Tensor<float, Cpu>;

struct Settings {
  index_t train = 150000;
  index_t valid = 15000;
  index_t epochs = 33;
  std::uint64_t seed = 42;
  gmm::TrainingLaw law = gmm::TrainingLaw::broad;
  std::string output;
  std::string log;
  bool resume = false;
  bool restart = false;
  int threads = 0;
  index_t checkpoint_every = 500;
  index_t batch = 64;
  index_t shards = 2;
  index_t patience = 20;
  index_t warm_up = 2;
  double learning_rate = 2e-3;
  double weight_decay = 1e-4;
  double clip_norm = 1.0;
  gmm::LamfOptions model{.refine_width = 96};
  gmm::LamfLossOptions loss;
  gmm::Supervision supervision = gmm::Supervision::final_only;
  bool quiet = false;
};

const std::map<std::string, gmm::Supervision> supervisions{{"final", gmm::Supervision::final_only},
                                                           {"linear", gmm::Supervision::linear},
                                                           {"uniform", gmm::Supervision::uniform}};

const std::map<std::string, gmm::TrainingLaw> laws{{"v5", gmm::TrainingLaw::v5}, {"broad", gmm::TrainingLaw::broad}};

/// What decides the result beside the options of the training loop. A run resumes only under the same.
std::map<std::string, std::string> recipe(const Settings& s) {
  using io::to_text;
  return {{"law", s.law == gmm::TrainingLaw::v5 ? "v5" : "broad"},
          {"train", std::to_string(s.train)},
          {"valid", std::to_string(s.valid)},
          {"epochs", std::to_string(s.epochs)},
          {"seed", std::to_string(s.seed)},
          {"warm_up", std::to_string(s.warm_up)},
          {"learning_rate", to_text(s.learning_rate)},
          {"weight_decay", to_text(s.weight_decay)},
          {"l2", to_text(s.loss.l2)},
          {"soft_max", to_text(s.loss.soft_max)},
          {"alpha", to_text(s.loss.alpha)},
          {"top", to_text(s.loss.top)},
          {"moments", to_text(s.loss.moments)},
          {"convex", s.loss.convex ? "1" : "0"},
          {"supervision", std::to_string(static_cast<int>(s.supervision))}};
}

/// Judges every epoch by the mean density error over the validation densities, and says so.
struct Validation {
  const gmm::LamfSamples<V>& samples;
  bool quiet;
  gmm::LamfScores scores{};

  double metric(const gmm::Lamf<V>& model) {
    scores = evaluate(model, samples);
    return scores.density_error;
  }
  void on_epoch(const auto& info) const {
    if (quiet) return;
    std::printf("epoch %3lld  loss %.5f  validation: KL %.2e  density error %.5f (median %.5f, below 0.01: %.1f %%)%s  %.0f s\n",
                static_cast<long long>(info.epoch), info.mean_loss, scores.divergence, scores.density_error,
                scores.median_error, 100 * scores.share_below, info.improved ? "  best" : "", info.seconds);
    std::fflush(stdout);
  }
  std::vector<double> columns() const {
    return {scores.divergence, scores.median_error, scores.largest_error, scores.distribution_error, scores.share_below};
  }
};

/// A log that the user did not ask for is none.
struct OptionalLog {
  std::optional<optim::CsvLog> log;
  void on_start(auto& info) {
    if (log) log->on_start(info);
  }
  void on_epoch(auto& info) {
    if (log) log->on_epoch(info);
  }
};

/// Nor is a progress line of a quiet run.
struct OptionalProgress {
  std::optional<optim::ProgressLine> line;
  void on_start(auto& info) {
    if (line) line->on_start(info);
  }
  void on_step(auto& info) {
    if (line) line->on_step(info);
  }
  void on_epoch(auto& info) {
    if (line) line->on_epoch(info);
  }
  void on_end(auto& info) {
    if (line) line->on_end(info);
  }
};

int run(const Settings& settings) {
  namespace fs = std::filesystem;
  const fs::path output = settings.output;
  if (settings.train < settings.batch)
    throw ArgumentError("--train " + std::to_string(settings.train) + " makes no batch of " + std::to_string(settings.batch) +
                        " densities; give more, or a smaller --batch");
  if (!settings.log.empty() && fs::weakly_canonical(settings.log) == fs::weakly_canonical(output))
    throw ArgumentError("--log and --output are the same file, " + settings.log + "; choose two");
  if (output.has_parent_path()) fs::create_directories(output.parent_path());
  fs::path directory = output;
  directory += ".run";
  fs::create_directories(directory);
  const io::RunLock lock(directory / "lock");
  io::remove_stale_temporaries<io::SystemCalls>(output.has_parent_path() ? output.parent_path() : fs::path("."));
  if (settings.restart) {
    fs::remove(directory / "last.safetensors");
    if (!settings.log.empty()) fs::remove(settings.log);
  } else if (!settings.resume && (fs::exists(directory / "last.safetensors") || fs::exists(output))) {
    throw ArgumentError((fs::exists(output) ? output : directory).string() +
                        " exists; continue that run with --resume, or replace it with --restart");
  } else if (settings.resume && !fs::exists(directory / "last.safetensors") && fs::exists(output)) {
    throw ArgumentError(output.string() + " exists, but " + directory.string() +
                        " holds no run to resume; choose another --output, or replace it with --restart");
  }
  const io::RunStart start = settings.resume ? io::RunStart::resume : io::RunStart::fresh;

  const Key key{settings.seed};
  const auto [data_key, init_key, train_key] = split<3>(key).elements;
  const gmm::Grid grid{-15.0, 15.0, settings.model.points};
  if (!settings.quiet) std::printf("generating %lld + %lld densities\n", static_cast<long long>(settings.train),
                                   static_cast<long long>(settings.valid));
  const gmm::LamfSamples<V> train(gmm::training_densities<V>(fold_in(data_key, 0), settings.train, settings.law, grid), grid);
  const gmm::LamfSamples<V> valid(gmm::training_densities<V>(fold_in(data_key, 1), settings.valid, settings.law, grid), grid);

  gmm::Lamf<V> model(settings.model);
  gmm::init(init_key, model);
  const optim::Adam optimiser =
      optim::adamw({.learning_rate = settings.learning_rate, .weight_decay = settings.weight_decay});
  optim::TrainOptions options;
  options.epochs = settings.epochs;
  options.batch = settings.batch;
  options.shards = settings.shards;
  options.clip_norm = settings.clip_norm;
  options.early_stopping = optim::EarlyStopping{settings.patience, 1e-5};
  options.key = train_key;
  const index_t steps_per_epoch = settings.train / settings.batch;
  const index_t warm_up = settings.warm_up * steps_per_epoch;
  options.schedule = optim::warm_up_cosine({settings.learning_rate, 0.01, warm_up < settings.epochs * steps_per_epoch ? warm_up : 0,
                                            settings.epochs * steps_per_epoch});
  options.schedule_unit = optim::ScheduleUnit::step;

  auto state = optim::start_training(model, optimiser, options);
  optim::Checkpoint checkpoint(directory, "lamf-training",
                               {.every_steps = settings.checkpoint_every, .start = start, .settings = recipe(settings)});
  const bool resumed = settings.resume && checkpoint.resume(state, options);
  if (resumed && !settings.quiet)
    std::printf("resumed after step %lld, epoch %lld\n", static_cast<long long>(state.step), static_cast<long long>(state.epoch));
  if (!settings.quiet)
    std::printf("model of %lld parameters; %lld steps in %lld epochs\n", static_cast<long long>(parameter_count(model)),
                static_cast<long long>(steps_per_epoch * settings.epochs), static_cast<long long>(settings.epochs));

  Validation validation{valid, settings.quiet};
  OptionalProgress progress;
  if (!settings.quiet) progress.line.emplace(stderr, io::ProgressOptions{.label = "training", .unit = "steps"});
  OptionalLog log;
  if (!settings.log.empty())
    log.log.emplace(settings.log, optim::CsvLogOptions{.seconds = true,
                                                       .start = start,
                                                       .extra_columns = {"kl", "median_error", "largest_error",
                                                                         "distribution_error", "share_below_0.01"},
                                                       .extra_values = [&] { return validation.columns(); }});
  const gmm::LamfTrainingLoss loss{settings.loss, settings.supervision};
  const optim::TrainResult result = optim::train(state, optimiser, train, loss, options, validation, progress, log, checkpoint);
  if (result.status == optim::TrainStatus::not_finite) {
    std::fprintf(stderr, "train_lamf: %lld batches in a row had no finite loss or gradient; lower --learning-rate. The state is in %s\n",
                 static_cast<long long>(options.max_skips), directory.c_str());
    return 4;
  }
  if (!state.best.model) throw ArgumentError("no epoch was completed; use at least one epoch and one batch of densities");
  std::map<std::string, std::string> notes = optim::run_identity(options);
  for (const auto& [name, text] : recipe(settings)) notes["train:" + name] = text;
  notes["metric"] = io::to_text(state.best.metric);
  notes["epoch"] = std::to_string(state.best.epoch);
  io::save_model(output, *state.best.model, notes);
  if (!settings.quiet)
    std::printf("%s: best epoch %lld, validation density error %.5f\n", output.c_str(),
                static_cast<long long>(state.best.epoch), state.best.metric);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  CLI::App app{"Trains the learned mixture fitter (LAMF) on generated densities and writes the best model.\n"
               "A run that was interrupted, even killed, goes on with --resume and ends with the same bytes."};
  app.option_defaults()->always_capture_default();
  app.add_option("--train", s.train, "training densities")->check(CLI::Range(1, 100000000));
  app.add_option("--valid", s.valid, "validation densities")->check(CLI::Range(1, 100000000));
  app.add_option("--epochs", s.epochs, "passes over the training densities")->check(CLI::Range(1, 100000));
  app.add_option("--seed", s.seed, "decides data, starting weights and order");
  app.add_option("--law", s.law, "v5: maxima of two normals; broad: also wider ones and random mixtures")
      ->transform(CLI::CheckedTransformer(laws))
      ->default_str("broad");
  app.add_option("--output", s.output, "model file (safetensors); the folder OUTPUT.run holds the run")->required();
  app.add_flag("--resume", s.resume, "go on with the run in OUTPUT.run; begins anew when there is none");
  app.add_flag("--restart", s.restart, "forget an earlier run of this output")->excludes("--resume");
  app.add_option("--log", s.log, "CSV file with a row per epoch");
  app.add_option("--threads", s.threads, "threads; 0: all processors. The result does not depend on it")->check(CLI::Range(0, 4096));
  app.add_option("--checkpoint-every", s.checkpoint_every, "steps between checkpoints")->check(CLI::Range(1, 100000000));
  app.add_flag("--quiet", s.quiet, "print errors only");
  auto* training = app.add_option_group("Training");
  training->add_option("--batch", s.batch, "densities per step")->check(CLI::Range(1, 1000000));
  training->add_option("--shards", s.shards, "parts of a batch that run in parallel; changes the rounding")->check(CLI::Range(1, 1024));
  training->add_option("--learning-rate", s.learning_rate, "peak rate of AdamW; cosine decay to 1 %")->check(CLI::PositiveNumber);
  training->add_option("--warm-up", s.warm_up, "epochs of linear warm-up")->check(CLI::NonNegativeNumber);
  training->add_option("--weight-decay", s.weight_decay, "decoupled")->check(CLI::NonNegativeNumber);
  training->add_option("--clip-norm", s.clip_norm, "largest norm of the gradient; 0: none")->check(CLI::NonNegativeNumber);
  training->add_option("--patience", s.patience, "epochs without improvement before stopping; 0: never")->check(CLI::NonNegativeNumber);
  auto* loss = app.add_option_group("Loss", "KL plus the weighted terms");
  s.loss.soft_max = 3.0;
  s.loss.alpha = 40.0;
  loss->add_option("--l2", s.loss.l2, "weight of the mean squared density error")->check(CLI::NonNegativeNumber);
  loss->add_option("--soft-max", s.loss.soft_max, "weight of the smooth largest density error")->check(CLI::NonNegativeNumber);
  loss->add_option("--alpha", s.loss.alpha, "sharpness of the smooth maximum")->check(CLI::PositiveNumber);
  loss->add_option("--top", s.loss.top, "weight of the mean of the 10 largest errors")->check(CLI::NonNegativeNumber);
  loss->add_option("--moments", s.loss.moments, "weight of the squared errors of moments 1 to 4")->check(CLI::NonNegativeNumber);
  loss->add_flag("--convex", s.loss.convex, "(1 - l2) cross entropy + l2 L2 instead of the sum");
  loss->add_option("--supervision", s.supervision, "which iterations count: final, linear, uniform")
      ->transform(CLI::CheckedTransformer(supervisions))
      ->default_str("final");
  auto* model = app.add_option_group("Model");
  model->add_option("--points", s.model.points, "grid points a density is read on")->check(CLI::Range(8, 100000));
  model->add_option("--components", s.model.components, "normals per mixture")->check(CLI::Range(1, gmm::max_components));
  model->add_option("--iterations", s.model.iterations, "refinements")->check(CLI::Range(0, 1000));
  model->add_option("--init-width", s.model.init_width, "width of the initial network")->check(CLI::Range(1, 100000));
  model->add_option("--init-layers", s.model.init_layers, "hidden layers of the initial network")->check(CLI::Range(1, 64));
  model->add_option("--refine-width", s.model.refine_width, "width of the update network")->check(CLI::Range(1, 100000));
  model->add_option("--refine-layers", s.model.refine_layers, "hidden layers of the update network")->check(CLI::Range(1, 64));
  model->add_option("--dropout", s.model.dropout, "in the initial network, while training")->check(CLI::Range(0.0, 0.99));
  model->add_option("--deviation-floor", s.model.deviation_floor, "smallest deviation, in grid spacings")->check(CLI::PositiveNumber);
  model->add_option("--correction-scale", s.model.correction_scale, "bound of the corrections")->check(CLI::NonNegativeNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    if (s.threads > 0) threads::set_count(s.threads);
    return run(s);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_lamf: %s\n", error.what());
    return 1;
  }
}
