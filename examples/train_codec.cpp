// Trains a neural codec of sound: encoder, residual quantizer and decoder, by spectra and against adversaries.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/io/checkpoint_keeper.hpp>
#include <kolmo/io/csv_log.hpp>
#include <kolmo/io/progress.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/codec_file.hpp>
#include <kolmo/rvq/codec_training.hpp>

#include "codec_config.hpp"
#include "codec_evaluation.hpp"
#include "training_run.hpp"

namespace {

using namespace kolmo;
using namespace codec_program;

struct Arguments : training::RunPaths {
  std::vector<std::string> input;
  std::string config, synthetic = "mixed";
  index_t items = 400;
  std::optional<index_t> steps;
  std::uint64_t seed = 0;
  index_t checkpoint_every = 100, evaluate_every = 0;
  int threads = 0;
  bool quiet = false;
};

rvq::CodecTrainingOptions training_options(const Config& c) {
  rvq::CodecTrainingOptions o;
  o.learning_rate = o.discriminator_rate = c.learning_rate;
  o.beta1 = c.betas[0];
  o.beta2 = c.betas[1];
  o.weight_decay = c.weight_decay;
  o.clip = c.grad_clip;
  o.rate_decay = c.steps > 0 ? std::pow(c.learning_decay, 1 / static_cast<double>(c.steps)) : 1;
  o.mel_weight = c.mel_weight;
  o.shortest_window = c.shortest_window;
  o.longest_window = c.longest_window;
  o.mel_floor = c.mel_floor;
  o.level_weight = c.level_weight;
  o.wave_weight = c.wave_weight;
  o.adversarial_weight = c.adversarial_weight;
  o.feature_weight = c.feature_weight;
  o.adversarial = c.gan_loss == "hinge" ? rvq::AdversarialKind::hinge : rvq::AdversarialKind::least_squares;
  o.gradient = c.gradient == "rotation" ? rvq::QuantizerGradient::rotation : rvq::QuantizerGradient::straight_through;
  o.adversarial_begin = c.adversarial ? c.adversarial_from : -1;
  o.adversarial_ramp = c.adversarial_ramp;
  return o;
}

rvq::DiscriminatorOptions adversaries(const Config& c) {
  rvq::DiscriminatorOptions o;
  o.filters = c.filters;
  o.period_width = c.filters;
  o.windows.clear();
  if (c.adversary != "period")
    // Windows of 64, 128 and 32 ms at 16 kHz, as far as an item reaches.
    for (const index_t window : {1024, 2048, 512})
      if (window <= c.crop()) o.windows.push_back(window);
  if (c.adversary != "stft") o.periods = {2, 3, 5, 7, 11};
  return o;
}

Codec new_codec(const Config& c, Key key) {
  rvq::CodebookOptions book;
  book.decay = c.decay;
  rvq::QuantizerOptions quantizer;
  quantizer.progressive = c.progressive;
  quantizer.dropout = c.dropout;
  quantizer.commitment_weight = c.commitment;
  Codec codec(c.stacks(), static_cast<double>(c.sample_rate),
              std::vector<index_t>(static_cast<std::size_t>(c.stages), c.codes), book, quantizer);
  init(key, codec);
  return codec;
}

/// The log has a row for every window of steps: losses of its last step, and of every stage what matters most.
std::vector<std::string> log_columns(index_t stages) {
  std::vector<std::string> names{"step",         "seconds",         "active",        "loss", "mel",       "level",
                                 "commitment",   "adversarial",     "feature",       "ramp", "adversary", "real_score",
                                 "made_score",   "gradient_norm",   "learning_rate", "rms",  "data_rms",  "wave",
                                 "held_out_mel", "held_out_si_sdr", "skipped"};
  for (index_t q = 0; q < stages; ++q)
    for (const char* name : {"perplexity", "dead", "max_over_mean", "scale_ratio", "drift", "expired", "mse", "alarm"})
      names.push_back("q" + std::to_string(q) + "_" + name);
  return names;
}

/// What held-out sound said last; nothing before, and in rows without a look at it.
struct HeldOut {
  double mel = std::numeric_limits<double>::quiet_NaN(), si_sdr = std::numeric_limits<double>::quiet_NaN();
};

/// The alarms of a stage by name.
std::string alarms_of(const rvq::StageReport& report) {
  std::string names;
  report.each([&](const std::string& name, double value) {
    if (name.starts_with("alarm_") && value > 0) names += (names.empty() ? "" : ", ") + name.substr(6);
  });
  return names;
}

std::vector<double> log_values(const rvq::CodecStepReport& r, double seconds, const HeldOut& held_out, index_t skipped,
                               index_t stages) {
  std::vector<double> values{seconds,         static_cast<double>(r.active),
                             r.loss,          r.mel,
                             r.level,         r.commitment,
                             r.adversarial,   r.feature,
                             r.ramp,          r.discriminator,
                             r.real_score,    r.generated_score,
                             r.gradient_norm, r.learning_rate,
                             r.rms,           r.reference_rms,
                             r.wave,          held_out.mel,
                             held_out.si_sdr, static_cast<double>(skipped)};
  constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
  for (std::size_t q = 0; q < static_cast<std::size_t>(stages); ++q) {
    const bool there = q < r.window.size();
    const rvq::StageReport s = there ? r.window[q] : rvq::StageReport{};
    for (const double x :
         {s.perplexity, s.dead, s.max_over_mean, s.scale_ratio, s.drift, s.expired, s.mse, s.alarm() ? 1.0 : 0.0})
      values.push_back(there ? x : nothing);
  }
  return values;
}

void draw_training(const std::filesystem::path& log, const std::filesystem::path& picture, const std::string& title,
                   index_t stages) {
  const auto columns = training::read_log(log);
  if (columns.empty()) return;
  const std::vector<double>& step = columns.at("step");
  io::Figure figure(2, 2);
  figure.title = title;
  io::Panel& mel = figure.panel(0, 0);
  mel.title = "losses of a batch";
  mel.x.label = "step";
  mel.y.log = true;
  mel.line(step, columns.at("mel"), {.label = "mel spectra"});
  mel.line(step, columns.at("wave"), {.label = "waves"});
  io::Panel& adversary = figure.panel(0, 1);
  adversary.title = "adversary";
  adversary.x.label = "step";
  adversary.line(step, columns.at("real_score"), {.label = "score of sound"});
  adversary.line(step, columns.at("made_score"), {.label = "of the codec's"});
  adversary.line(step, columns.at("feature"), {.label = "difference of features"});
  io::Panel& use = figure.panel(1, 0);
  use.title = "perplexity of the stages";
  use.x.label = "step";
  for (index_t q = 0; q < stages; ++q)
    use.line(step, columns.at("q" + std::to_string(q) + "_perplexity"), {.label = std::to_string(q + 1)});
  io::Panel& level = figure.panel(1, 1);
  level.title = "root mean square";
  level.x.label = "step";
  level.line(step, columns.at("rms"), {.label = "codec"});
  level.line(step, columns.at("data_rms"), {.label = "sound"});
  io::save_picture(picture, figure, 1.5);
}

int run(const Arguments& a) {
  Config config;
  if (!a.config.empty()) config_file::read_config_file(a.config, config);
  if (a.steps) config.steps = *a.steps;
  if (a.threads > 0) threads::set_count(a.threads);

  sound::Corpus corpus;
  if (!a.input.empty()) {
    corpus = sound::read_corpus(a.input);
    if (a.config.empty()) config.sample_rate = corpus.rate;
    if (corpus.rate != config.sample_rate)
      throw ArgumentError("the files have " + std::to_string(corpus.rate) +
                          " samples a second, the configuration asks for " + std::to_string(config.sample_rate) +
                          "; convert the files, or change sample_rate");
  }
  config.check();
  if (a.input.empty())
    corpus = sound::synthetic_corpus({.kind = sound::kind_of(a.synthetic),
                                      .samples = 2 * config.sample_rate,
                                      .rate = config.sample_rate,
                                      .key = fold_in(Key{a.seed}, 7)},
                                     a.items);
  const std::uint64_t hash = corpus.hash();
  const sound::Corpus held_out = corpus.split_off(0.1);
  Codec codec = new_codec(config, fold_in(Key{a.seed}, 1));
  auto state = rvq::start_training(std::move(codec), static_cast<double>(config.sample_rate), training_options(config),
                                   adversaries(config), fold_in(Key{a.seed}, 2));
  const index_t crop = config.crop();

  for (const std::string& input : a.input)
    for (const std::string& written : {a.output, a.output + ".json", a.log, a.picture})
      if (same_file(written, input)) throw ArgumentError(input + " is read; it cannot be written as well");
  // After everything that can be refused: a run that never began leaves no folder.
  const training::RunFolder folder(a);
  const std::map<std::string, std::string> choices{
      {"train:config", io::to_json(config_file::to_json(config))},
      {"train:data", std::to_string(corpus.size() + held_out.size()) + " items, " + std::to_string(hash)},
      {"train:seed", std::to_string(a.seed)}};
  io::CheckpointKeeper<> keeper(folder.directory, "train_codec-run", folder.start);
  if (const auto last = a.resume ? keeper.load_last() : std::nullopt) {
    std::string problems;
    for (const auto& [name, text] : choices) {
      const auto found = last->state.metadata.find(name);
      if (found == last->state.metadata.end() || found->second != text)
        problems += "\n  " + name.substr(6) + ": there " +
                    (found == last->state.metadata.end() ? std::string("none") : found->second) + ", here " + text;
    }
    if (!problems.empty())
      throw ArgumentError("the run in " + folder.directory.string() + " began otherwise:" + problems +
                          "\nGive what it began with, or replace it with --restart");
    io::from_arrays(state, last->state, keeper.last_path().string());
    if (!a.quiet) std::printf("resumed after step %lld\n", static_cast<long long>(state.steps_completed()));
  }
  io::write_atomically(folder.output.string() + ".json", config_file::config_text(config));
  const rvq::CodecSize size = rvq::codec_size(config.stacks());
  if (!a.quiet)
    std::printf("%lld items, %.1f min of sound; encoder %lld and decoder %lld parameters; %.2f kbit/s\n",
                static_cast<long long>(corpus.size()), corpus.seconds() / 60, static_cast<long long>(size.encoder),
                static_cast<long long>(size.decoder), rvq::bit_rate(state.codec) / 1000);
  std::fflush(stdout);

  const auto keep = [&](const std::filesystem::path& path) {
    auto notes = choices;
    notes["seed"] = std::to_string(a.seed);
    rvq::save_codec(path, state.codec, notes);
  };
  const auto save = [&] {
    io::NamedArrays arrays = io::to_arrays(state);
    for (const auto& [name, text] : choices) arrays.metadata[name] = text;
    keeper.save(state.steps_completed(), std::move(arrays));
  };
  const auto title = folder.output.filename().string();
  const rvq::CodecTrainer trainer(state);
  io::CsvLog<> log(folder.log, log_columns(config.stages), state.steps_completed());
  std::optional<io::Progress> line;
  if (!a.quiet)
    line.emplace(stderr, config.steps,
                 io::ProgressOptions{.label = "training", .already_done = state.steps_completed()});
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  const index_t evaluate_every = a.evaluate_every > 0 ? a.evaluate_every : larger<index_t>(1, config.steps / 8);
  const Key crops = fold_in(Key{a.seed}, 3);
  index_t skipped_in_a_row = 0;
  HeldOut held_out_scores;
  double perplexity = std::numeric_limits<double>::quiet_NaN();
  std::string alarmed;
  while (state.steps_completed() < config.steps) {
    const auto step = static_cast<std::uint64_t>(state.steps_completed());
    // Where the adversary begins: what it changes is what differs from this file.
    if (config.adversarial && state.steps_completed() == config.adversarial_from) {
      keep(folder.directory / "before_adversary.safetensors");
      if (rvq::trained_stages(state.codec.quantizer) > 0)
        write_scores(folder.directory / "before_adversary.csv", evaluate_codec(state.codec, held_out, 16, 4));
    }
    const V waves = sound::random_crops(corpus, config.batch, crop, fold_in(crops, 2 * step));
    // k-means wants some 16 batches to start a stage from.
    const V more = rvq::needs_start(state.codec.quantizer)
                       ? sound::random_crops(corpus, 16 * config.batch, crop, fold_in(crops, 2 * step + 1))
                       : V();
    const rvq::CodecStepReport report = trainer.step(state, waves, more);
    skipped_in_a_row = report.skipped ? skipped_in_a_row + 1 : 0;
    if (skipped_in_a_row == 20) {
      save();
      std::fprintf(
          stderr,
          "train_codec: 20 steps in a row had no finite loss or gradient; lower learning_rate. The state is in "
          "%s\n",
          folder.directory.c_str());
      return 4;
    }
    const bool last = report.step == config.steps;
    if (report.step % evaluate_every == 0 && rvq::trained_stages(state.codec.quantizer) > 0 && !last) {
      const CodecScore score = evaluate_codec(state.codec, held_out, 8, 2).back();
      held_out_scores = {score.mel, score.si_sdr};
      if (!a.quiet)
        std::fprintf(stderr, "\nstep %lld, held-out sound: DAC's mel distance %.3f, SI-SDR %.2f dB with %lld stages\n",
                     static_cast<long long>(report.step), score.mel, score.si_sdr,
                     static_cast<long long>(score.stages));
    }
    if (!report.window.empty()) {
      perplexity = report.window.back().perplexity;
      log.append(report.step, log_values(report, seconds(), held_out_scores, state.skipped, config.stages));
      held_out_scores = {};
      std::string alarms;
      for (std::size_t q = 0; q < report.window.size(); ++q)
        if (report.window[q].alarm())
          alarms += " stage " + std::to_string(q + 1) + " (" + alarms_of(report.window[q]) + ")";
      if (alarms != alarmed && !alarms.empty() && !a.quiet)
        std::fprintf(stderr, "\nstep %lld, alarms:%s\n", static_cast<long long>(report.step), alarms.c_str());
      alarmed = alarms;
    }
    if (line)
      line->update(report.step,
                   {{"mel", report.mel}, {"stages", static_cast<double>(report.active)}, {"perplexity", perplexity}});
    if (report.step % a.checkpoint_every == 0 || last) {
      log.sync();
      save();
      if (!a.picture.empty()) draw_training(folder.log, a.picture, title, config.stages);
    }
  }
  if (line) line->finish(state.steps_completed());

  keep(folder.output);
  if (rvq::trained_stages(state.codec.quantizer) == 0) {
    if (!a.quiet)
      std::printf("%s: %lld steps; no stage has the %lld updates after which it may be used\n", folder.output.c_str(),
                  static_cast<long long>(state.steps_completed()),
                  static_cast<long long>(state.codec.quantizer.options.trained_updates));
    return 0;
  }
  const auto scores = evaluate_codec(state.codec, held_out, 16, 4);
  write_scores(folder.directory / "scores.csv", scores);
  draw_decoded(state.codec, std::span<const float>(held_out.items[0]), folder.directory / "spectrograms.png");
  if (!a.quiet) {
    std::printf("%s: %lld steps in %.0f s; on %lld held-out items\n", folder.output.c_str(),
                static_cast<long long>(state.steps_completed()), seconds(),
                static_cast<long long>(smaller<index_t>(16, held_out.size())));
    print_scores(scores);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{
      "Trains a neural codec of sound and writes it as one file, for encode_audio and decode_audio.\n"
      "A run that was interrupted, even killed, goes on with --resume and ends with the same bytes."};
  app.get_formatter()->column_width(34);
  app.add_option("--input", a.input, "WAV files of one rate, or folders of them; their last tenth judges the codec");
  app.add_option("--synthetic", a.synthetic, "without --input: sound of this kind is synthesised; mixed by default")
      ->check(CLI::IsMember({"speech", "music", "mixed"}));
  app.add_option("--items", a.items, "synthetic items, of 2 s each; 400 by default")->check(CLI::Range(2, 1000000));
  app.add_option("--config", a.config, "JSON file: channels, strides, stages, steps, ...; see docs/codec.md");
  app.add_option("--steps", a.steps, "instead of those of the configuration")->check(CLI::Range(0, 100000000));
  app.add_option("--output", a.output,
                 "model file (safetensors); the folder OUTPUT.run holds the run, OUTPUT.json the configuration")
      ->required();
  app.add_option("--seed", a.seed, "decides weights, sound and crops; 0 by default");
  app.add_flag("--resume", a.resume, "go on with the run in OUTPUT.run; begins anew when there is none");
  app.add_flag("--restart", a.restart, "forget an earlier run of this output")->excludes("--resume");
  app.add_option("--log", a.log, "CSV file with a row every 50 steps [OUTPUT.run/log.csv]");
  app.add_option("--picture", a.picture, "SVG or PNG file with the curves of the log, drawn again as it grows");
  app.add_option("--checkpoint-every", a.checkpoint_every, "steps between checkpoints; 100 by default")
      ->check(CLI::Range(1, 100000000));
  app.add_option("--evaluate-every", a.evaluate_every,
                 "steps between looks at held-out sound; by default some 8 in all")
      ->check(CLI::Range(1, 100000000));
  app.add_option("--threads", a.threads, "all processors by default. The result does not depend on it")
      ->check(CLI::Range(0, 4096));
  app.add_flag("--quiet", a.quiet, "print errors only");
  return run_program(app, "train_codec", argc, argv, [&] { return run(a); });
}
