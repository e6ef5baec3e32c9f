// Which quantizer for which vectors? Residual quantization with averaged, learned and k-means codebooks, beside SimVQ,
// FSQ, LFQ, grouped quantization and QINCo: all at the same rates, judged on vectors that none of them has seen.
//
// test: --train 2048 --held-out 512 --codes 16 --stages 1 --stages 2 --steps 10 --output v.csv --picture v.png
// test: --data gaussian --train 2048 --held-out 512 --codes 16 --stages 2 --steps 10

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <kolmo/io/csv.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/rvq/code_usage.hpp>
#include <kolmo/rvq/rate_distortion.hpp>

#include "program.hpp"
#include "quantizer_variants.hpp"
#include "synthetic_vectors.hpp"

namespace {

namespace io = kolmo::io;
using variants::Coder;
using variants::index_t;
using variants::Key;
using variants::Vectors;

struct Arguments {
  std::string data = "mix8", input, output, picture;
  index_t train = 65536, held_out = 16384, codes = 16, steps = 1000;
  std::vector<index_t> stages{1, 2, 4, 6};
  std::uint64_t seed = 1;
};

struct Row {
  std::string method;
  double bits = 0;         ///< per vector
  double mse = 0, db = 0;  ///< of held-out vectors per component; relative to their variance
  double perplexity = 0;   ///< of the codes of all stages together, as far as the stages are independent
  double used = 0;         ///< share of the codes of the stages that occur
  double efficiency = 0;   ///< entropy of the codes / bits
  double train_seconds = 0, encode_microseconds = 0;
};

struct Method {
  std::string name;
  std::function<Coder(const Vectors&, const variants::Settings&)> train;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// FSQ levels of at most so many bits for vectors of d components: a channel per component, as far as each gets two
/// bits, for with two levels the bounded value is flat at the start.
std::vector<index_t> levels_of(double bits, index_t d) {
  const index_t channels = kolmo::smaller(d, kolmo::larger(index_t{1}, static_cast<index_t>(bits / 2)));
  const auto level = static_cast<index_t>(std::exp2(bits / static_cast<double>(channels)) + 1e-9);
  return std::vector<index_t>(static_cast<std::size_t>(channels), kolmo::larger(level, index_t{2}));
}

double bits_of(const std::vector<index_t>& counts) {
  double bits = 0;
  for (const index_t count : counts) bits += std::log2(static_cast<double>(count));
  return bits;
}

std::vector<Method> methods() {
  using rvq = kolmo::rvq::CodebookTraining;
  using variants::Settings;
  return {
      {"RVQ, averaged (EMA)",
       [](const Vectors& x, const Settings& s) { return variants::residual_trained(x, s, rvq::ema); }},
      {"RVQ, by gradient",
       [](const Vectors& x, const Settings& s) { return variants::residual_trained(x, s, rvq::gradient); }},
      {"RVQ, k-means tables", [](const Vectors& x, const Settings& s) { return variants::residual_tables(x, s); }},
      {"RVQ, k-means, beam 4", [](const Vectors& x, const Settings& s) { return variants::residual_tables(x, s, 4); }},
      {"QINCo", [](const Vectors& x, const Settings& s) { return variants::qinco(x, s); }},
      {"grouped", [](const Vectors& x, const Settings& s) { return variants::grouped(x, s); }},
      {"SimVQ", [](const Vectors& x, const Settings& s) { return variants::simvq(x, s); }},
      {"FSQ", [](const Vectors& x,
                 const Settings& s) { return variants::fsq(x, s, levels_of(bits_of(s.codes), x.shape()[1])); }},
      {"LFQ",
       [](const Vectors& x, const Settings& s) {
         return variants::lfq(x, s, static_cast<index_t>(std::lround(bits_of(s.codes))));
       }},
  };
}

Row judge(const Method& method, const Vectors& data, const Vectors& held_out, const variants::Settings& settings) {
  Row row;
  row.method = method.name;
  auto begin = std::chrono::steady_clock::now();
  const Coder coder = method.train(data, settings);
  row.train_seconds = seconds_since(begin);
  begin = std::chrono::steady_clock::now();
  const variants::Codes codes = coder.encode(held_out);
  row.encode_microseconds = seconds_since(begin) * 1e6 / static_cast<double>(held_out.shape()[0]);
  row.bits = bits_of(coder.counts);
  row.mse = static_cast<double>(mean(square(coder.decode(codes) - held_out)).item());
  const Vectors centred = held_out - mean(held_out, {0});
  row.db = 10 * std::log10(row.mse / static_cast<double>(mean(square(centred)).item()));
  double entropy = 0;
  for (const auto& stage : kolmo::rvq::code_usage(codes, coder.counts)) {
    entropy += stage.entropy;
    row.used += stage.utilisation / static_cast<double>(coder.counts.size());
  }
  row.perplexity = std::exp2(entropy);
  row.efficiency = entropy / row.bits;
  return row;
}

void write_csv(const std::string& path, const std::vector<Row>& rows) {
  io::CsvWriter csv;
  csv.row(
      {"method", "bits", "mse", "mse_db", "perplexity", "used", "efficiency", "train_seconds", "encode_microseconds"});
  for (const Row& row : rows) {
    csv.text(row.method).number(row.bits).number(row.mse).number(row.db).number(row.perplexity).number(row.used);
    csv.number(row.efficiency).number(row.train_seconds).number(row.encode_microseconds).end_row();
  }
  io::write_atomically(path, csv.str());
}

io::Figure figure_of(const std::vector<Row>& rows, double dimension) {
  io::Figure figure(1, 2);
  figure.width = 1100;
  figure.height = 520;
  io::Panel& error = figure.panel(0, 0);
  io::Panel& use = figure.panel(0, 1);
  error.title = "error on vectors not seen in training";
  error.x.label = use.x.label = "bits per component";
  error.y.label = "mean squared error / variance, dB";
  use.title = "how evenly codes are used";
  use.y.label = "entropy of the codes / bits";
  use.legend = io::LegendPlace::none;
  double most = 0;
  std::size_t number = 0;
  for (const Method& method : methods()) {
    std::vector<double> bits, db, efficiency;
    for (const Row& row : rows) {
      if (row.method != method.name) continue;
      bits.push_back(row.bits / dimension);
      db.push_back(row.db);
      efficiency.push_back(row.efficiency);
      most = kolmo::larger(most, bits.back());
    }
    const io::LineStyle style{
        .label = method.name, .width = 2, .dash = number++ < 5 ? io::Dash::solid : io::Dash::dashed};
    error.line(bits, db, style);
    use.line(bits, efficiency, style);
  }
  const std::vector<double> ends{0, most};
  error.line(ends, std::vector<double>{0, 10 * std::log10(kolmo::rvq::gaussian_distortion(1, most))},
             {.label = "bound of Gaussian vectors", .width = 1, .dash = io::Dash::dotted});
  use.y.range(0, 1.05);
  return figure;
}

/// Vectors [n, d]. Throws IoError, ShapeError, ArgumentError.
std::pair<Vectors, Vectors> load(const Arguments& arguments) {
  const auto [first, second] = kolmo::split(Key{arguments.seed});
  if (arguments.input.empty()) {
    if (arguments.train < 1 || arguments.held_out < 1)
      throw kolmo::ArgumentError("--train and --held-out must be at least 1");
    const auto draw = [&](index_t n, Key key) {
      if (arguments.data == "gaussian") return synthetic::gaussian(n, 8, key);
      return arguments.data == "cl64" ? synthetic::cl64(n, key) : synthetic::mix8(n, key);
    };
    return {draw(arguments.train, first), draw(arguments.held_out, second)};
  }
  const io::HostArray array = io::load_npy(arguments.input);
  if (array.shape.size() != 2 || array.shape[0] < 10 || array.shape[1] < 1)
    throw kolmo::ShapeError(arguments.input + ": expected vectors [n, d] with n >= 10, given " +
                            io::shape_text(array.shape));
  const std::vector<float> values = array.convert<float>();
  const Vectors all = Vectors::from(std::span<const float>(values), kolmo::Shape{array.shape[0], array.shape[1]});
  // The last fifth is held out.
  const index_t n = all.shape()[0], cut = n - n / 5;
  return {slice(all, 0, 0, cut).contiguous(), slice(all, 0, cut, n).contiguous()};
}

int run(const Arguments& arguments) {
  if (!arguments.picture.empty()) static_cast<void>(io::picture_format(arguments.picture));
  for (const std::string& written : {arguments.output, arguments.picture})
    if (same_file(written, arguments.input))
      throw kolmo::ArgumentError(arguments.input + " is read; it cannot be written as well");
  check_writable(arguments.output);
  check_writable(arguments.picture);
  const auto [data, held_out] = load(arguments);
  std::vector<Row> rows;
  std::printf("%-22s %6s %9s %8s %6s %6s %8s %8s\n", "", "bits", "MSE", "dB", "used", "even", "train s", "us/vec");
  for (const index_t stages : arguments.stages) {
    if (stages < 1) throw kolmo::ArgumentError("--stages must be at least 1, given " + std::to_string(stages));
    for (const Method& method : methods()) {
      variants::Settings settings{.codes = std::vector<index_t>(static_cast<std::size_t>(stages), arguments.codes),
                                  .steps = arguments.steps,
                                  .key = Key{arguments.seed}};
      // Not every method has every rate: groups must divide the dimension, a code must fit its number.
      try {
        rows.push_back(judge(method, data, held_out, settings));
      } catch (const kolmo::ArgumentError& error) {
        std::printf("%-22s %6.2f left out: %s\n", method.name.c_str(), bits_of(settings.codes), error.what());
        continue;
      }
      if (!arguments.output.empty()) write_csv(arguments.output, rows);
      const Row& row = rows.back();
      std::printf("%-22s %6.2f %9.5f %8.2f %6.3f %6.3f %8.2f %8.2f\n", row.method.c_str(), row.bits, row.mse, row.db,
                  row.used, row.efficiency, row.train_seconds, row.encode_microseconds);
      std::fflush(stdout);
    }
  }
  if (rows.empty()) throw kolmo::ArgumentError("no method can quantize these vectors at this rate");
  if (!arguments.picture.empty())
    io::save_picture(arguments.picture, figure_of(rows, static_cast<double>(data.shape()[1])));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Compares vector quantizers at equal rates on vectors that none of them has seen.");
  app.add_option("--data", arguments.data, "Synthetic vectors: mix8 (8 components), gaussian (8) or cl64 (64)")
      ->check(CLI::IsMember({"mix8", "gaussian", "cl64"}))
      ->capture_default_str();
  app.add_option("--input", arguments.input, "Vectors [n, d] in a .npy file instead; the last fifth is held out");
  app.add_option("--train", arguments.train, "Synthetic vectors to train on")->capture_default_str();
  app.add_option("--held-out", arguments.held_out, "Synthetic vectors to judge by")->capture_default_str();
  app.add_option("--codes", arguments.codes, "Codes of a stage")->capture_default_str()->check(CLI::Range(2, 65536));
  app.add_option("--stages", arguments.stages, "Numbers of stages: one rate each")->capture_default_str();
  app.add_option("--steps", arguments.steps, "Training steps of everything that has steps")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  app.add_option("--seed", arguments.seed, "Key of data, starts and batches")->capture_default_str();
  app.add_option("--output", arguments.output, "Table to write (.csv)");
  app.add_option("--picture", arguments.picture, "Picture to write (.png or .svg)");
  return run_program(app, "quantizer_variants", argc, argv, [&] { return run(arguments); });
}
