// Trains the learned mixture fitter on densities of the V5 law and writes the best model.
//
// test: --train 256 --valid 64 --epochs 2 --seed 3 --output tiny.safetensors --log tiny.csv --restart
// test: --train 256 --valid 64 --epochs 2 --seed 3 --output tiny.safetensors --log tiny.csv --resume

#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/io/checkpoint.hpp>
#include <kolmo/io/csv_log.hpp>
#include <kolmo/io/lock.hpp>
#include <kolmo/io/progress.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/optim/adam.hpp>
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

/// Everything that decides the result. A run resumes only under the settings that it began with.
std::map<std::string, std::string> recipe(const Settings& s) {
  using io::to_text;
  return {{"recipe.train", std::to_string(s.train)},
          {"recipe.valid", std::to_string(s.valid)},
          {"recipe.epochs", std::to_string(s.epochs)},
          {"recipe.seed", std::to_string(s.seed)},
          {"recipe.law", s.law == gmm::TrainingLaw::v5 ? "v5" : "broad"},
          {"recipe.batch", std::to_string(s.batch)},
          {"recipe.shards", std::to_string(s.shards)},
          {"recipe.patience", std::to_string(s.patience)},
          {"recipe.warm_up", std::to_string(s.warm_up)},
          {"recipe.learning_rate", to_text(s.learning_rate)},
          {"recipe.weight_decay", to_text(s.weight_decay)},
          {"recipe.clip_norm", to_text(s.clip_norm)},
          {"recipe.l2", to_text(s.loss.l2)},
          {"recipe.soft_max", to_text(s.loss.soft_max)},
          {"recipe.alpha", to_text(s.loss.alpha)},
          {"recipe.top", to_text(s.loss.top)},
          {"recipe.moments", to_text(s.loss.moments)},
          {"recipe.convex", s.loss.convex ? "1" : "0"},
          {"recipe.supervision", std::to_string(static_cast<int>(s.supervision))}};
}

/// Validation, log, progress and checkpoints of one run.
template <class State>
class Recorder {
 public:
  Recorder(const Settings& settings, const gmm::LamfSamples<V>& valid, const std::filesystem::path& checkpoint,
           index_t total_steps, const State& start)
      : settings_(settings),
        valid_(valid),
        checkpoint_(checkpoint),
        progress_(stderr, total_steps, {.label = "training", .unit = "steps", .already_done = start.step}) {
    const std::vector<std::string> columns{"epoch",         "step",          "learning_rate", "train_loss",
                                           "valid_kl",      "valid_linf",    "valid_median",  "valid_max",
                                           "valid_cdf",     "share_below",   "skipped",       "seconds"};
    if (!settings.log.empty()) log_.emplace(settings.log, columns, start.epoch);
  }

  double metric(const gmm::Lamf<V>& model) {
    scores_ = evaluate(model, valid_);
    return scores_.density_error;
  }

  void on_step(const auto& info) {
    if (!settings_.quiet) progress_.update(info.step, {{"epoch", static_cast<double>(info.epoch)}, {"loss", info.mean_loss}});
    if (info.step % settings_.checkpoint_every == 0 && info.step_in_epoch < info.steps_per_epoch) save(info.state);
  }

  void on_epoch(const auto& info) {
    if (log_) {
      log_->append(info.epoch, {static_cast<double>(info.step), info.learning_rate, info.mean_loss, scores_.divergence,
                                scores_.density_error, scores_.median_error, scores_.largest_error,
                                scores_.distribution_error, scores_.share_below,
                                static_cast<double>(info.state.skipped), info.seconds});
      log_->sync();
    }
    save(info.state);
    if (!settings_.quiet)
      std::printf("epoch %3lld  loss %.5f  validation: KL %.2e  density error %.5f (median %.5f, below 0.01: %.1f %%)%s  %.0f s\n",
                  static_cast<long long>(info.epoch), info.mean_loss, scores_.divergence, scores_.density_error,
                  scores_.median_error, 100 * scores_.share_below, info.improved ? "  best" : "", info.seconds);
    std::fflush(stdout);
  }

 private:
  void save(const State& state) {
    io::Checkpoint checkpoint{"lamf-training", state.step, std::nullopt, io::to_arrays(state)};
    for (const auto& [key, text] : recipe(settings_)) checkpoint.state.metadata[key] = text;
    io::save_checkpoint(checkpoint_, checkpoint);
  }

  const Settings& settings_;
  const gmm::LamfSamples<V>& valid_;
  std::filesystem::path checkpoint_;
  io::Progress progress_;
  std::optional<io::CsvLog<>> log_;
  gmm::LamfScores scores_;
};

template <class State>
void resume(State& state, const std::filesystem::path& path, const Settings& settings) {
  io::Checkpoint checkpoint = io::load_checkpoint(path, "lamf-training");
  std::string differences;
  for (const auto& [key, text] : recipe(settings)) {
    const auto found = checkpoint.state.metadata.find(key);
    const std::string stored = found == checkpoint.state.metadata.end() ? "nothing" : found->second;
    if (stored != text) differences += "\n  " + key.substr(7) + ": the run has " + stored + ", now given " + text;
    checkpoint.state.metadata.erase(key);
  }
  if (!differences.empty())
    throw ArgumentError("cannot resume " + path.string() + " with other settings:" + differences +
                        "\nrepeat the command of that run, or start anew with --restart");
  io::from_arrays(state, checkpoint.state, path.string());
}

int run(const Settings& settings) {
  namespace fs = std::filesystem;
  const fs::path output = settings.output;
  if (output.has_parent_path()) fs::create_directories(output.parent_path());
  fs::path checkpoint = output;
  checkpoint += ".checkpoint";
  fs::path lock_path = output;
  lock_path += ".lock";
  const io::RunLock lock(lock_path);
  const std::size_t stale =
      io::remove_stale_temporaries<io::SystemCalls>(output.has_parent_path() ? output.parent_path() : fs::path(".")).size();
  if (stale > 0 && !settings.quiet) std::printf("removed %zu temporary files of interrupted runs\n", stale);
  if (settings.restart) {
    fs::remove(checkpoint);
    if (!settings.log.empty()) fs::remove(settings.log);
  } else if (!settings.resume && (fs::exists(checkpoint) || fs::exists(output))) {
    throw ArgumentError((fs::exists(checkpoint) ? checkpoint : output).string() +
                        " exists; continue that run with --resume, or replace it with --restart");
  }

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
  if (settings.resume && fs::exists(checkpoint)) {
    resume(state, checkpoint, settings);
    if (!settings.quiet)
      std::printf("resumed after step %lld, epoch %lld\n", static_cast<long long>(state.step), static_cast<long long>(state.epoch));
  }
  if (!settings.quiet)
    std::printf("model of %lld parameters; %lld steps in %lld epochs\n", static_cast<long long>(parameter_count(model)),
                static_cast<long long>(steps_per_epoch * settings.epochs), static_cast<long long>(settings.epochs));

  Recorder<decltype(state)> recorder(settings, valid, checkpoint, steps_per_epoch * settings.epochs, state);
  const gmm::LamfTrainingLoss loss{settings.loss, settings.supervision};
  const optim::TrainResult result = optim::train(state, optimiser, train, loss, options, recorder);
  if (result.status == optim::TrainStatus::not_finite) {
    std::fprintf(stderr, "train_lamf: %lld batches in a row had no finite loss or gradient; lower --learning-rate. The state is in %s\n",
                 static_cast<long long>(options.max_skips), checkpoint.c_str());
    return 4;
  }
  if (!state.best.model) throw ArgumentError("no epoch was completed; use at least one epoch and one batch of densities");
  auto notes = recipe(settings);
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
  app.add_option("--output", s.output, "model file (safetensors); OUTPUT.checkpoint holds the run")->required();
  app.add_flag("--resume", s.resume, "go on with the run in OUTPUT.checkpoint; begins anew when there is none");
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
  CLI11_PARSE(app, argc, argv);
  try {
    if (s.threads > 0) threads::set_count(s.threads);
    return run(s);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_lamf: %s\n", error.what());
    return 1;
  }
}
