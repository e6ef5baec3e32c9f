// Trains a residual vector quantizer on vectors.
//
// test: --input @examples@/data/vectors.npy --stages 2 --codes 16 --batch 256 --steps 120 --progressive 20 --output ema.safetensors --log ema.csv --picture ema.svg --restart
// test: --input @examples@/data/vectors.npy --stages 2 --codes 16 --batch 256 --steps 140 --progressive 20 --output ema.safetensors --log ema.csv --picture ema.svg --resume
// test: --input @examples@/data/vectors.npy --codes 32 16 8 --kmeans --output kmeans.safetensors --restart

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/backend/threads.hpp>
#include <kolmo/io/checkpoint_keeper.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/io/csv_log.hpp>
#include <kolmo/rvq/train_tables.hpp>
#include <kolmo/rvq/training.hpp>

#include "rvq_files.hpp"
#include "training_run.hpp"

namespace {

using namespace kolmo;
using rvq_program::Quantizer;
using rvq_program::Vectors;
using Training = rvq::QuantizerTraining<Vectors>;

struct Arguments : training::RunPaths {
  std::string input;
  index_t stages = 8;
  std::optional<index_t> given_stages;
  std::vector<index_t> codes{1024};
  rvq::CodebookOptions book;
  rvq::QuantizerOptions options;
  rvq::TrainingOptions training;
  bool gradient = false, kmeans = false, rotation = false, quiet = false;
  std::optional<double> learning_rate;
  index_t steps = 0, checkpoint_every = 0;
  rvq::TrainTablesOptions tables;
  double validation = 0.1;
  std::uint64_t seed = 0;
  int threads = 0;
};

/// The vectors to learn from, and others to judge by.
struct Data {
  Vectors train, valid;
  double variance = 0;  ///< per number, about the mean vector, of the training vectors
  std::uint64_t hash = 0;
};

Data read_data(const Arguments& a) {
  const io::NpyReader header(a.input);
  if (header.shape().size() < 2 || header.shape().back() < 1)
    throw ArgumentError(a.input + " has shape " + io::shape_text(header.shape()) +
                        "; expected vectors [n, d], one in each row");
  const rvq_program::VectorFile file(a.input, header.shape().back());
  const Vectors all = file.read(0, file.entries());
  Data data;
  data.hash = io::hash64(std::as_bytes(std::span<const float>(all.data(), static_cast<std::size_t>(all.size()))));
  const index_t n = all.shape()[0];
  const auto held_out = static_cast<index_t>(a.validation * static_cast<double>(n));
  const std::vector<index_t> order = permutation(fold_in(Key{a.seed}, 1), n);
  const auto border = order.begin() + static_cast<std::ptrdiff_t>(held_out);
  data.valid = rvq::detail::rows_at(all, {order.begin(), border});
  data.train = held_out > 0 ? rvq::detail::rows_at(all, {border, order.end()}) : all;
  const index_t most = *std::max_element(a.codes.begin(), a.codes.end());
  if (n - held_out < most)
    throw ArgumentError(a.input + " leaves " + std::to_string(n - held_out) + " vectors to train on" +
                        (held_out > 0 ? ", with " + std::to_string(held_out) + " held out" : std::string()) +
                        ", fewer than the " + std::to_string(most) + " codes of a stage; give more vectors or fewer " +
                        "--codes");
  const Vectors centred = data.train - mean(data.train, {0}, true);
  data.variance = static_cast<double>(mean(centred * centred).item());
  return data;
}

/// What a stage makes of vectors that it was not trained on.
struct Judgement {
  std::vector<double> errors;  ///< after every stage
  std::vector<double> perplexity, used;
};

Judgement judge(const Quantizer& quantizer, const Vectors& x, index_t active) {
  Judgement result{rvq::errors_by_stages(quantizer, x, active), {}, {}};
  std::vector<index_t> counts = quantizer.code_counts();
  counts.resize(static_cast<std::size_t>(active));
  rvq_program::Usage usage(counts);
  usage.add(rvq::quantize(quantizer, x, {.active = active, .mask = {}}).codes);
  for (index_t q = 0; q < active; ++q) {
    result.perplexity.push_back(usage.perplexity(q));
    result.used.push_back(usage.used(q));
  }
  return result;
}

/// A row a window: the batch, vectors held out, and every stage; nan for stages that have not joined.
class Log {
 public:
  Log(const training::RunFolder& folder, index_t stages, index_t step) : stages_(stages) {
    std::vector<std::string> columns{"step", "active", "error", "held_out_error", "loss", "skipped"};
    for (index_t q = 0; q < stages; ++q)
      for (const std::string& name : rvq::StageReport::names("q" + std::to_string(q) + "_")) columns.push_back(name);
    if (folder.start == io::RunStart::fresh)
      log_.emplace(folder.log, columns);
    else
      log_.emplace(folder.log, columns, step);
  }
  void row(const rvq::StepReport& report, double held_out, index_t skipped) {
    std::vector<double> values{static_cast<double>(report.active), report.error, held_out, report.loss,
                               static_cast<double>(skipped)};
    for (const rvq::StageReport& stage : report.window)
      for (const double value : stage.values()) values.push_back(value);
    values.resize(5 + static_cast<std::size_t>(stages_) * rvq::StageReport::names().size(),
                  std::numeric_limits<double>::quiet_NaN());
    log_->append(report.step, values);
  }
  void sync() { log_->sync(); }

 private:
  index_t stages_;
  std::optional<io::CsvLog<>> log_;
};

void draw_training(const std::filesystem::path& log, const std::filesystem::path& picture, const std::string& title) {
  const auto columns = training::read_log(log);
  if (columns.empty()) return;
  const std::vector<double>& step = columns.at("step");
  io::Figure figure(1, 2);
  figure.title = title;
  io::Panel& errors = figure.panel(0, 0);
  errors.title = "mean squared error per number";
  errors.x.label = "steps";
  errors.y.log = true;
  io::Panel& use = figure.panel(0, 1);
  use.title = "perplexity of the codes";
  use.x.label = "steps";
  for (int q = 0; columns.contains("q" + std::to_string(q) + "_mse"); ++q) {
    const std::string stage = "q" + std::to_string(q);
    errors.line(step, columns.at(stage + "_mse"), {.label = "stage " + std::to_string(q)});
    use.line(step, columns.at(stage + "_perplexity"), {.label = "stage " + std::to_string(q)});
  }
  errors.line(step, columns.at("held_out_error"), {.label = "held out"});
  io::save_picture(picture, figure, 1.5);
}

/// Tells of every alarm once when it comes up.
class Alarms {
 public:
  void tell(const rvq::StepReport& report) {
    for (std::size_t q = 0; q < report.window.size(); ++q)
      report.window[q].each([&](const std::string& name, double value) {
        if (!name.starts_with("alarm_")) return;
        bool& raised = raised_[std::to_string(q) + name];
        if (value > 0 && !raised)
          std::fprintf(stderr, "train_rvq: step %lld, stage %zu: alarm %s, see the log\n",
                       static_cast<long long>(report.step), q, name.substr(6).c_str());
        raised = value > 0;
      });
  }

 private:
  std::map<std::string, bool> raised_;
};

Quantizer fresh_quantizer(const Arguments& a, index_t dimension) {
  return Quantizer(dimension, a.codes, a.book, a.options);
}

/// By k-means, one stage after the other.
void train_by_k_means(const Arguments& a, const Data& data, Training& state) {
  rvq::TrainTablesOptions options = a.tables;
  if (!a.quiet)
    options.on_stage = [&](const rvq::StageTraining& stage) {
      std::printf("stage %2lld  error %.6g, %lld codes unused\n", static_cast<long long>(stage.stage), stage.mse,
                  static_cast<long long>(stage.unused));
      std::fflush(stdout);
    };
  const auto trained = rvq::train_tables(data.train, a.codes, options, fold_in(Key{a.seed}, 2));
  for (const std::string& warning : trained.warnings) rvq_program::warn("train_rvq", warning);
  state.quantizer = rvq::quantizer_of_tables(trained.tables, a.book, a.options);
  rvq::set_counts(state.quantizer, data.train, a.training.batch);
}

void report_end(const Arguments& a, const Data& data, const Quantizer& quantizer) {
  const index_t active = rvq::trained_stages(quantizer);
  if (active < quantizer.stage_count())
    std::fprintf(stderr,
                 "train_rvq: %lld of %lld stages had at least %lld updates and will be used; more --steps train the "
                 "others\n",
                 static_cast<long long>(active), static_cast<long long>(quantizer.stage_count()),
                 static_cast<long long>(quantizer.options.trained_updates));
  if (a.quiet || active == 0) return;
  const bool held_out = data.valid.shape()[0] > 0;
  const Judgement own = judge(quantizer, data.train, active);
  const Judgement other = held_out ? judge(quantizer, data.valid, active) : own;
  std::printf("stage   codes     bits   error trained   %s   gain dB   perplexity   used\n",
              held_out ? "error held out" : "              ");
  double before = data.variance;
  for (std::size_t q = 0; q < other.errors.size(); ++q) {
    const auto k = static_cast<double>(quantizer.code_counts()[q]);
    std::printf("%5zu   %5.0f   %6.2f   %13.6g   %14.6g   %7.2f   %10.1f   %3.0f %%\n", q, k, std::log2(k),
                own.errors[q], other.errors[q], 10 * std::log10(before / other.errors[q]), other.perplexity[q],
                100 * other.used[q]);
    before = other.errors[q];
  }
  const double bits = rvq::bits_per_frame(quantizer.code_counts(), active);
  const double d = static_cast<double>(quantizer.dimension());
  std::printf("variance %.6g, %.4g bits a vector, %.4g a number; a Gaussian of this variance has D(R) = %.6g\n",
              data.variance, bits, bits / d, data.variance * std::exp2(-2 * bits / d));
  std::printf("%lld training vectors, %.3g for each codeword\n", static_cast<long long>(data.train.shape()[0]),
              static_cast<double>(data.train.shape()[0]) / static_cast<double>(a.codes[0]));
}

int run(Arguments a) {
  if (a.codes.size() > 1 && a.given_stages && *a.given_stages != static_cast<index_t>(a.codes.size()))
    throw ArgumentError("--stages " + std::to_string(*a.given_stages) + " and " + std::to_string(a.codes.size()) +
                        " numbers of --codes contradict each other; leave one out");
  a.stages = a.given_stages.value_or(a.stages);
  if (a.codes.size() == 1) a.codes.assign(static_cast<std::size_t>(a.stages), a.codes[0]);
  if (a.threads > 0) threads::set_count(a.threads);
  const bool learned = a.gradient || a.options.projected_dimension > 0;
  a.book.training = learned ? rvq::CodebookTraining::gradient : rvq::CodebookTraining::ema;
  if (a.kmeans && learned) throw ArgumentError("--kmeans trains tables; it goes with neither --gradient nor --project");
  if (a.steps == 0) a.steps = 1000 + a.options.progressive * (static_cast<index_t>(a.codes.size()) - 1);
  a.training.gradient = a.rotation ? rvq::QuantizerGradient::rotation : rvq::QuantizerGradient::straight_through;
  for (const auto& [option, path] : {std::pair{"--log", a.log}, {"--picture", a.picture}})
    if (same_file(path, a.input)) throw ArgumentError(std::string(option) + " is the file of the vectors, " + path);
  if (same_file(a.output, a.input)) throw ArgumentError("--output is the file of the vectors, " + a.output);
  const Data data = read_data(a);
  a.training.learning_rate = a.learning_rate.value_or(0.003 * std::sqrt(data.variance));
  if (!(data.variance > 0))
    throw ArgumentError(a.input + " holds one vector again and again; there is nothing to code");
  Training state = rvq::start_training(fresh_quantizer(a, data.train.shape()[1]), a.training, fold_in(Key{a.seed}, 0));

  std::map<std::string, std::string> settings{
      {"train:data", data.train.shape().to_string() + " " + std::to_string(data.hash)},
      {"train:validation", io::to_text(a.validation)},
      {"train:seed", std::to_string(a.seed)},
      {"train:method", a.kmeans  ? "kmeans"
                       : learned ? "gradient"
                                 : "ema"}};
  if (a.kmeans)
    settings["train:kmeans"] = io::to_text(a.tables.iterations) + " " + io::to_text(a.tables.beam) + " " +
                               io::to_text(a.tables.refine_rounds) + " " + io::to_text(a.tables.subspaces);
  const auto choices = io::to_arrays(state).metadata;
  for (const auto& [key, text] : choices)
    if (key.starts_with("option:quantizer.") || key.starts_with("option:options.") || key == "count:quantizer.stages")
      settings["train:" + key.substr(key.find(':') + 1)] = text;

  if (!a.resume && !a.restart)
    for (const std::string& path : {a.log, a.picture})
      if (!path.empty() && std::filesystem::exists(path))
        throw ArgumentError(path + " exists; give another name, or replace the whole run with --restart");
  const training::RunFolder folder(a);
  io::CheckpointKeeper<> keeper(folder.directory, "rvq-run", folder.start);
  bool resumed = false;
  if (a.resume) {
    if (const auto last = keeper.load_last()) {
      optim::check_settings(last->state.metadata, settings, keeper.last_path().string());
      io::from_arrays(state, last->state, keeper.last_path().string());
      resumed = true;
      if (!a.quiet) std::printf("resumed after step %lld\n", static_cast<long long>(state.quantizer.steps_completed));
    }
  }
  const auto save = [&] {
    io::NamedArrays arrays = io::to_arrays(state);
    arrays.metadata.insert(settings.begin(), settings.end());
    keeper.save(state.quantizer.steps_completed, std::move(arrays));
  };

  if (a.kmeans) {
    if (!resumed) {
      train_by_k_means(a, data, state);
      save();
    }
  } else {
    Log log(folder, state.quantizer.stage_count(), state.quantizer.steps_completed);
    Alarms alarms;
    const Vectors judged = slice(data.valid, 0, 0, smaller<index_t>(4096, data.valid.shape()[0])).contiguous();
    const index_t every = a.checkpoint_every > 0 ? a.checkpoint_every : larger<index_t>(1, a.steps / 32);
    const index_t first = state.quantizer.steps_completed;
    std::optional<io::Progress> progress;
    if (!a.quiet) progress.emplace(stderr, a.steps - first, io::ProgressOptions{.label = "training", .unit = "steps"});
    double held_out = std::numeric_limits<double>::quiet_NaN();
    rvq::train(state, data.train, a.steps, [&](const rvq::StepReport& report) {
      for (const rvq::StageStart& start : report.started)
        for (const std::string& warning : start.report.warnings)
          rvq_program::warn("train_rvq", "stage " + std::to_string(start.stage) + ": " + warning);
      if (!report.window.empty()) {
        if (judged.shape()[0] > 0) held_out = rvq::errors_by_stages(state.quantizer, judged).back();
        log.row(report, held_out, state.skipped);
        alarms.tell(report);
      }
      if (progress)
        progress->update(
            report.step - first,
            {{"stages", static_cast<double>(report.active)}, {"error", report.error}, {"held out", held_out}});
      if (report.step % every == 0 || report.step == a.steps) {
        log.sync();
        save();
        if (!a.picture.empty()) draw_training(folder.log, a.picture, folder.output.filename().string());
      }
    });
    if (progress)
      progress->finish(state.quantizer.steps_completed - first,
                       {{"stages", static_cast<double>(state.quantizer.active_trained)}, {"held out", held_out}});
    if (state.skipped > 0)
      std::fprintf(stderr, "train_rvq: the gradient of %lld steps was not finite; lower --learning-rate\n",
                   static_cast<long long>(state.skipped));
  }
  rvq::save_quantizer(folder.output, state.quantizer, settings);
  report_end(a, data, state.quantizer);
  if (!a.quiet) std::printf("%s\n", folder.output.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{
      "Trains a residual vector quantizer on vectors and writes it as one file.\n"
      "A run that was interrupted, even killed, goes on with --resume and ends with the same bytes."};
  app.get_formatter()->column_width(34);
  app.add_option("--input", a.input, "NPY file of vectors [n, d], or [..., d]")->required();
  app.add_option("--stages", a.given_stages, "number of stages [8]")->check(CLI::Range(1, 255));
  app.add_option("--codes", a.codes, "codes of every stage, or one number for each stage [1024]")
      ->check(CLI::Range(1, 1 << 24))
      ->expected(1, 255);
  app.add_option("--decay", a.book.decay, "of the running averages that codebooks are")->capture_default_str();
  app.add_option("--dead", a.book.dead_threshold, "a code below this part of the mean count starts again")
      ->capture_default_str();
  app.add_flag("--gradient", a.gradient, "codebooks learned by Adam instead")->excludes("--decay");
  app.add_option("--project", a.options.projected_dimension,
                 "search by angle after learned projections to so many dimensions; learned by Adam")
      ->check(CLI::Range(1, 65536));
  app.add_option("--learning-rate", a.learning_rate, "of Adam [0.003 of the deviation of the data]");
  app.add_flag("--rotation", a.rotation, "with --project: gradients through the quantizer by rotation");
  app.add_option("--progressive", a.options.progressive, "steps after which one more stage joins; 0: all at once")
      ->check(CLI::Range(0, 1000000000));
  app.add_option("--dropout", a.options.dropout, "probability that a vector sees a random number of stages")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--shared", a.options.shared_codebook, "one codebook for all stages");
  app.add_option("--batch", a.training.batch, "vectors in a step")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  app.add_option("--steps", a.steps, "in all [1000, and --progressive for each stage after the first]")
      ->check(CLI::Range(1, 1000000000));
  app.add_flag("--kmeans", a.kmeans, "stage after stage by k-means on all vectors, instead of steps")
      ->excludes("--decay", "--steps", "--gradient", "--progressive", "--project");
  app.add_option("--iterations", a.tables.iterations, "of k-means per stage")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str()
      ->needs("--kmeans");
  app.add_option("--beam", a.tables.beam, "width of the search that the tables are made for")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->needs("--kmeans");
  app.add_option("--refine", a.tables.refine_rounds, "rounds that fit all tables to the codes at once")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str()
      ->needs("--kmeans");
  app.add_option("--validation", a.validation, "share of the vectors that are held out")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  app.add_option("--seed", a.seed, "decides what is held out, starts, batches and replacements; 0 by default");
  app.add_option("--output", a.output, "model file (safetensors); the folder OUTPUT.run holds the run")->required();
  app.add_flag("--resume", a.resume, "go on with the run in OUTPUT.run; begins anew when there is none");
  app.add_flag("--restart", a.restart, "forget an earlier run of this output")->excludes("--resume");
  app.add_option("--log", a.log, "CSV file with a row a window, of every stage [OUTPUT.run/log.csv]");
  app.add_option("--window", a.training.window, "steps of a row of the log")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--picture", a.picture, "SVG or PNG file: error and perplexity of every stage");
  app.add_option("--checkpoint-every", a.checkpoint_every, "steps between checkpoints; by default some 32 in all")
      ->check(CLI::Range(1, 1000000000));
  app.add_option("--threads", a.threads, "all processors by default. The result does not depend on it")
      ->check(CLI::Range(0, 4096));
  app.add_flag("--quiet", a.quiet, "print errors and warnings only");
  return run_program(app, "train_rvq", argc, argv, [&] { return run(a); });
}
