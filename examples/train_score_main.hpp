#pragma once
// The program of train_score.cpp, and of its twin train_score.cu on a GPU.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/mixed_precision.hpp>
#include <kolmo/optim/tensorboard_log.hpp>
#include <kolmo/optim/train.hpp>
#include <kolmo/score/denoising_loss.hpp>
#include <kolmo/score/markov.hpp>
#include <kolmo/score/sampler.hpp>
#include <kolmo/score/window_samples.hpp>

#include "score_data.hpp"
#include "score_model.hpp"
#include "score_pictures.hpp"
#include "training_run.hpp"

namespace train_score_program {

using namespace kolmo;
using namespace score_program;

struct Arguments : training::RunPaths {
  std::string system = "lorenz", config, precision = "float";
  std::vector<std::string> data;
  std::optional<index_t> epochs, batch;
  index_t pieces = 0, accumulate = 1, shards = 0, checkpoint_every = 0, sample_every = 0;
  std::uint64_t seed = 0;
  int threads = 0;
  bool quiet = false, checkpointing = false;
  std::vector<double> cylinder{0, 0, 0.5};
};

/// {seed} in a path is replaced, so that an ensemble is one command run over seeds.
inline std::string with_seed(std::string path, std::uint64_t seed) {
  for (std::size_t at; (at = path.find("{seed}")) != std::string::npos;) path.replace(at, 6, std::to_string(seed));
  return path;
}

inline Config configuration(const Arguments& arguments, System system) {
  Config config = Config::of(system);
  if (!arguments.config.empty()) read_config_file(arguments.config, config);
  if (arguments.epochs) config.epochs = *arguments.epochs;
  if (arguments.batch) config.batch_size = *arguments.batch;
  config.check(system);
  return config;
}

/// The loss on windows of trajectories that are not learned from, with the same windows, times and noise in every
/// epoch, so that the curve shows the network and not the draw.
template <class Samples>
struct Validation {
  Samples samples;
  score::DenoisingLoss loss;
  index_t batch;
  Key key;
  bool quiet;
  double value = 0;

  double metric(const auto& model) {
    double sum = 0;
    std::vector<index_t> indices;
    for (index_t first = 0; first < samples.size(); first += batch) {
      indices.clear();
      for (index_t i = first; i < smaller(first + batch, samples.size()); ++i) indices.push_back(i);
      const nn::Pass pass{fold_in(key, static_cast<std::uint64_t>(first)), false};
      sum +=
          static_cast<double>(loss(model, samples.batch(indices), pass).item()) * static_cast<double>(indices.size());
    }
    value = sum / static_cast<double>(samples.size());
    return value;
  }
};

/// A line an epoch at first, then ever fewer.
struct EpochLines {
  bool quiet = false;
  index_t every = 1;
  void on_epoch(const auto& info) const {
    if (quiet || (info.epoch % every != 0 && info.epoch != info.options.epochs)) return;
    std::printf("epoch %5lld  loss %.5f  validation %.5f  learning rate %.2e  %.0f s\n",
                static_cast<long long>(info.epoch), info.mean_loss, info.metric, info.learning_rate, info.seconds);
    std::fflush(stdout);
  }
};

/// Losses and learning rate of a log.
inline void draw_training(const std::filesystem::path& log, const std::filesystem::path& picture,
                          const std::string& title) {
  const auto columns = training::read_log(log);
  if (columns.empty()) return;
  const std::vector<double>& epoch = columns.at("epoch");
  io::Figure figure(1, 2);
  figure.title = title;
  io::Panel& losses = figure.panel(0, 0);
  losses.x.label = "epoch";
  losses.title = "denoising loss";
  losses.y.log = true;
  losses.line(epoch, columns.at("loss"), {.label = "training"});
  losses.line(epoch, columns.at("metric"), {.label = "validation"});
  io::Panel& steps = figure.panel(0, 1);
  steps.x.label = "epoch";
  steps.title = "steps";
  steps.y.log = true;
  steps.line(epoch, columns.at("learning_rate"), {.label = "learning rate"});
  steps.line(epoch, columns.at("gradient_norm"), {.label = "gradient norm"});
  io::save_picture(picture, figure, 1.5);
}

struct Picture {
  std::filesystem::path log, path;
  std::string title;
  index_t every = 1;
  void on_epoch(const auto& info) const {
    if (!path.empty() && (info.epoch % every == 0 || info.epoch == info.options.epochs))
      draw_training(log, path, title);
  }
};

/// Draws what the network has learned so far: trajectories from noise alone, beside one of the data.
template <class Net>
struct SamplePicture {
  ModelDescription description;
  score::Normaliser<V> normaliser;
  V example;  ///< a trajectory of the data, [L, C, space...], in physical units
  std::filesystem::path path;
  Key key;

  void operator()(auto& board, auto& info) const {
    const Net network = optim::evaluated_model(info.state, info.options);
    const score::MarkovScore<Net> prior(network, description.order(), 1, score::FoldRule::symmetrical, 4);
    const index_t length = example.shape()[0], count = description.space.empty() ? 6 : 1;
    Shape shape{count, length};
    for (int d = 1; d < example.rank(); ++d) shape.push_back(example.shape()[d]);
    const score::Schedule schedule = description.schedule();
    const auto keys = split(key);
    // At t = 1 a network's errors would be multiplied by a thousand.
    score::SamplerOptions sampler;
    sampler.grid.start_time = start_time(schedule);
    const V start = score::initial_state<V>(shape, keys.first, schedule, sampler.grid.start_time);
    std::vector<HostFrames> rows{host_frames("data", example)};
    try {
      const V x = normaliser.denormalised(score::sample(prior, schedule, start, sampler, keys.second));
      for (index_t k = 0; k < count; ++k) rows.push_back(host_frames("samples", at(x, 0, k)));
    } catch (const score::NonFiniteSample& error) {
      board.text("samples", info.step, error.what());
      return;
    }
    const io::Figure figure = description.space.empty() ? draw_paths(rows, {}) : draw_fields(description.system, rows);
    io::save_picture(path, figure, 1);
    board.picture("samples", info.step, io::render(io::lay_out(figure), 1));
  }
};

template <class Net>
int train(const Arguments& arguments, const ModelDescription& description, Net network,
          const score::Normaliser<V>& normaliser, const score::TrajectoryParts<V>& parts,
          std::map<std::string, std::string> choices) {
  const Config& config = description.config;
  const auto keys = split<4>(Key{arguments.seed});
  const score::WindowChoice choice = config.windows == "all" ? score::WindowChoice::all : score::WindowChoice::random;
  const score::WindowSamples<V> train_windows(parts.train, {.window = config.window, .choice = choice, .key = keys[0]});
  const score::WindowSamples<V> valid_windows(parts.valid, {.window = config.window, .key = keys[1]});
  if (train_windows.size() < 1) throw ArgumentError("the data hold no window to train on");
  // After everything that can be refused: a run that never began leaves no folder.
  const training::RunFolder folder(arguments);

  init(keys[2], network);
  const optim::Adam optimiser =
      optim::adamw({.learning_rate = config.learning_rate, .weight_decay = config.weight_decay});
  optim::TrainOptions options;
  options.epochs = config.epochs;
  options.batch = smaller(config.batch_size, train_windows.size());
  options.drop_last = false;
  options.shards = arguments.shards;
  options.accumulate = arguments.accumulate;
  options.clip_norm = config.grad_clip;
  options.ema_decay = config.ema_decay;
  options.key = keys[3];
  options.schedule = config.learning_rates();

  auto state = optim::start_training(network, optimiser, options);
  const index_t every = arguments.checkpoint_every > 0 ? arguments.checkpoint_every : 1 + config.epochs / 128;
  optim::Checkpoint checkpoint(folder.directory, "train_score-run",
                               {.every_epochs = every, .start = folder.start, .settings = choices});
  if (arguments.resume && checkpoint.resume(state, options) && !arguments.quiet)
    std::printf("resumed after step %lld, epoch %lld\n", static_cast<long long>(state.step),
                static_cast<long long>(state.epoch));
  io::write_atomically(folder.output.string() + ".json", config_text(config));
  if (!arguments.quiet)
    std::printf("%s: network of %lld parameters; %lld windows of %lld frames an epoch, %lld epochs\n",
                name_of(description.system), static_cast<long long>(parameter_count(network)),
                static_cast<long long>(train_windows.size()), static_cast<long long>(config.window),
                static_cast<long long>(config.epochs));

  const score::DenoisingLoss loss{description.schedule()};
  Validation<score::WindowSamples<V>> validation{valid_windows.at_epoch(1), loss, options.batch, fold_in(keys[1], 1),
                                                 arguments.quiet};
  training::OptionalProgress progress;
  if (!arguments.quiet) progress.line.emplace(stderr, io::ProgressOptions{.label = "training", .unit = "steps"});
  optim::CsvLog log(folder.log, {.seconds = true, .start = folder.start});
  const index_t shown = smaller<index_t>(parts.valid.times(), description.space.empty() ? 65 : config.window);
  const SamplePicture<Net> samples{description, normaliser,
                                   normaliser.denormalised(slice(at(parts.valid.values(), 0, 0), 0, 0, shown)),
                                   folder.directory / "samples.png", fold_in(keys[1], 2)};
  optim::TensorBoardLog board(
      folder.directory / "events",
      {.hook_every = arguments.sample_every > 0 ? arguments.sample_every : 1 + config.epochs / 8,
       .start = folder.start},
      samples);
  const EpochLines lines{arguments.quiet, 1 + config.epochs / 64};
  const Picture picture{folder.log, arguments.picture, folder.output.filename().string(), every};
  const auto learn = [&](const auto& training_loss) {
    return optim::train(state, optimiser, train_windows, training_loss, options, validation, progress, lines, log,
                        board, picture, checkpoint);
  };
  optim::TrainResult result;
  if constexpr (std::is_same_v<Net, FieldNetwork>)
    result = arguments.precision == "bf16" ? learn(optim::mixed_precision(loss)) : learn(loss);
  else
    result = learn(loss);
  if (result.status == optim::TrainStatus::not_finite) {
    std::fprintf(stderr,
                 "train_score: %lld batches in a row had no finite loss or gradient; lower learning_rate. The state is "
                 "in %s\n",
                 static_cast<long long>(options.max_skips), folder.directory.c_str());
    return 4;
  }
  std::map<std::string, std::string> notes = optim::run_identity(options);
  for (const auto& [name, text] : choices) notes["train:" + name] = text;
  notes.merge(description.notes());
  notes["epochs"] = std::to_string(state.epoch);
  const Net kept = optim::evaluated_model(state, options);
  validation.metric(kept);  // also when nothing was left to train
  notes["validation_loss"] = io::to_text(validation.value);
  io::save_model(folder.output, ScoreModel<V, Net>{kept, normaliser}, notes);
  if (!arguments.quiet)
    std::printf("%s: %lld epochs in %.0f s, validation loss %.5f\n", folder.output.c_str(),
                static_cast<long long>(state.epoch), result.seconds, validation.value);
  return 0;
}

inline int run(Arguments arguments) {
  require_device();
  const System system = system_by_name(arguments.system);
  arguments.output = with_seed(arguments.output, arguments.seed);
  arguments.log = with_seed(arguments.log, arguments.seed);
  arguments.picture = with_seed(arguments.picture, arguments.seed);
  const Config config = configuration(arguments, system);
  if (system == System::lorenz && arguments.precision == "bf16")
    throw ArgumentError(
        "--precision bf16 is for the networks of fields; a perceptron this small gains nothing from it");
  if (arguments.threads > 0) threads::set_count(arguments.threads);
  score::TrajectoryParts<V> parts = read_data(arguments.data, arguments.pieces);

  ModelDescription description{system, config, parts.train.channels(), {}};
  for (index_t i = 0; i < parts.train.space_rank(); ++i)
    description.space.push_back(parts.train.values().shape()[static_cast<int>(3 + i)]);
  const index_t expected = system == System::lorenz ? 0 : 2;
  if (parts.train.space_rank() != expected)
    throw ArgumentError("--system " + arguments.system + " needs data with " + std::to_string(expected) +
                        " axes of space, given " + score::to_text(parts.train.axes()));
  std::uint64_t hash = 0;
  for (const Data* part : {&parts.train, &parts.valid})
    part->each_sample([&](index_t, const std::vector<float>& x) {
      hash = hash * 31 + io::hash64(std::as_bytes(std::span<const float>(x)));
    });
  std::map<std::string, std::string> choices{
      {"config", io::to_json(to_json(config))},
      {"system", arguments.system},
      {"data", parts.train.values().shape().to_string() + " " + std::to_string(hash)},
      {"precision", arguments.precision},
      {"seed", std::to_string(arguments.seed)}};
  if (arguments.shards == 0) arguments.shards = 2;
  // The published systems but the wake come in units in which they are learned.
  score::Normaliser<V> normaliser = system == System::wake
                                        ? parts.train.fit_normaliser()
                                        : score::identity_normaliser<V>(description.channels, expected);
  for (Data* part : {&parts.train, &parts.valid}) *part = part->normalised(normaliser);
  if (system == System::lorenz)
    return train(arguments, description, vector_network(config, description.channels), normaliser, parts, choices);
  const index_t rows = description.space[0], columns = description.space[1];
  V condition = score::kolmogorov_forcing<V>(rows, columns);
  if (system == System::wake) {
    Geometry geometry{
        .body_x = arguments.cylinder[0], .body_y = arguments.cylinder[1], .body_radius = arguments.cylinder[2]};
    read_geometry(field_file(arguments.data.front()), geometry);
    for (const std::string& path : arguments.data) {
      Geometry other = geometry;
      read_geometry(field_file(path), other);
      if (other.first_x != geometry.first_x || other.first_y != geometry.first_y || other.spacing != geometry.spacing)
        throw ArgumentError(path + " has another grid than " + arguments.data.front() + "; they cannot be one set");
    }
    choices["cylinder"] =
        io::to_text(geometry.body_x) + " " + io::to_text(geometry.body_y) + " " + io::to_text(geometry.body_radius);
    condition = wake_condition(geometry, rows, columns);
  }
  return train(arguments, description, field_network(config, description.channels, condition, arguments.checkpointing),
               normaliser, parts, choices);
}

inline int main_program(int argc, char** argv) {
  Arguments a;
  CLI::App app{
      "Trains the score network of a dynamical system on its trajectories and writes it as one file.\n"
      "A run that was interrupted, even killed, goes on with --resume and ends with the same bytes."};
  app.get_formatter()->column_width(34);
  app.add_option("--system", a.system, "what the trajectories are of")
      ->check(CLI::IsMember({"lorenz", "kolmogorov", "wake"}))
      ->required();
  app.add_option("--data", a.data,
                 "NPY files with a record of their axes, joined and split 80:10:10 in their order; or a folder with "
                 "train.h5, valid.h5, test.h5")
      ->required();
  app.add_option("--pieces", a.pieces, "cut trajectories into pieces of so many frames first")
      ->check(CLI::Range(0, 100000000));
  app.add_option("--cylinder", a.cylinder, "wake: X Y RADIUS of the body; 0 0 0.5 by default")->expected(3);
  app.add_option("--config", a.config, "JSON file: window, embedding, hidden_channels, ...; see docs/score.md");
  app.add_option("--epochs", a.epochs, "instead of those of the configuration")->check(CLI::Range(0, 100000000));
  app.add_option("--batch", a.batch, "instead of batch_size of the configuration")->check(CLI::Range(1, 1000000));
  app.add_option("--output", a.output,
                 "model file (safetensors); the folder OUTPUT.run holds the run, OUTPUT.json the configuration. {seed} "
                 "in the name is replaced")
      ->required();
  app.add_option("--seed", a.seed, "decides weights, windows, noise and order; 0 by default");
  app.add_flag("--resume", a.resume, "go on with the run in OUTPUT.run; begins anew when there is none");
  app.add_flag("--restart", a.restart, "forget an earlier run of this output")->excludes("--resume");
  app.add_option("--precision", a.precision, "of the passes through the network; weights are kept in float")
      ->check(CLI::IsMember({"float", "bf16"}));
  app.add_option("--accumulate", a.accumulate, "compute a batch in so many groups, one after the other: less memory")
      ->check(CLI::Range(1, 100000));
  app.add_option("--shards", a.shards, "parts of a group that run in parallel; changes the rounding")
      ->check(CLI::Range(1, 4096));
  app.add_flag(
      "--activation-checkpoints", a.checkpointing,
      "keep the input of each block of the U-Net only and compute the rest again: less memory, a third slower");
  app.add_option("--threads", a.threads, "all processors by default. The result does not depend on it")
      ->check(CLI::Range(0, 4096));
  app.add_option("--log", a.log, "CSV file with a row an epoch [OUTPUT.run/log.csv]");
  app.add_option("--picture", a.picture, "SVG or PNG file with the curves of the log, drawn again as it grows");
  app.add_option("--sample-every", a.sample_every,
                 "epochs between pictures of samples, OUTPUT.run/samples.png and the events for TensorBoard in "
                 "OUTPUT.run/events; by default some 8 in all")
      ->check(CLI::Range(1, 100000000));
  app.add_option("--checkpoint-every", a.checkpoint_every, "epochs between checkpoints; by default some 128 in all")
      ->check(CLI::Range(1, 100000000));
  app.add_flag("--quiet", a.quiet, "print errors only");
  return run_program(app, "train_score", argc, argv, [&] { return run(a); });
}

}  // namespace train_score_program
