// What is in a residual quantizer: its stages, the use of their codes, their scale - and, on vectors, the error that
// each of them leaves.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <kolmo/io/csv.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/io/npz.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>
#include <kolmo/rvq/monitoring.hpp>

#include "rvq_files.hpp"

namespace {

using namespace rvq_program;

struct Arguments {
  std::string model, input, codebooks, table, picture;
  index_t stages = 0;
  int threads = 0;
};

/// What is shown of a stage. Numbers that are not known are NaN.
struct StageRow {
  index_t codes = 0, updates = 0;
  bool trained = false;
  double used = NAN, perplexity = NAN, dead = NAN;  ///< on the vectors, else from the running counts
  double codebook_std = 0, norm = 0, largest = 0, duplicates = 0;
  double input_std = NAN, mse = NAN, gain_db = NAN, identity_gap = NAN, drift = NAN;
  std::vector<double> use;  ///< of every code, over the mean, falling
};

/// The stage by itself, with the use that the running counts tell.
StageRow row_of(const rvq::Stage<Vectors>& stage, bool trained) {
  StageRow row;
  row.codes = stage.book.codes();
  row.updates = stage.book.updates;
  row.trained = trained;
  std::vector<double> words, counts;
  for (const float v : stage.book.codewords.to_vector()) words.push_back(static_cast<double>(v));
  for (const float v : stage.book.counts.to_vector()) counts.push_back(static_cast<double>(v));
  rvq::StageReport report;
  rvq::detail::report_codewords(words, static_cast<std::size_t>(stage.book.dimension()), report);
  row.codebook_std = report.codebook_std;
  row.norm = report.codebook_norm;
  row.largest = std::max(std::abs(report.codebook_min), std::abs(report.codebook_max));
  row.duplicates = report.duplicates;
  double sum = 0, dead = 0;
  for (const double n : counts) sum += n;
  // A quantizer that was not trained by averages counts nothing.
  if (sum > 0) {
    const double mean = sum / static_cast<double>(counts.size());
    for (const double n : counts) dead += n < stage.book.options.dead_threshold * mean ? 1 : 0;
    row.dead = dead / static_cast<double>(counts.size());
    row.used = 1 - row.dead;
    row.perplexity = rvq::detail::perplexity(counts);
    for (double& n : counts) n /= mean;
    std::sort(counts.begin(), counts.end(), std::greater<>());
    row.use = counts;
  }
  return row;
}

/// Goes through the vectors stage by stage and fills in what they tell. Returns the mean square of the vectors.
double measure(const Quantizer& quantizer, const VectorFile& input, const std::vector<Vectors>& tables,
               std::vector<StageRow>& rows) {
  const std::size_t used = tables.size();
  std::vector<rvq::StageMonitor> monitors(used);
  std::vector<double> squares(used + 1, 0.0);
  const auto add_squares = [](double& sum, const Vectors& x) {
    for (const float v : x.to_vector()) sum += static_cast<double>(v) * static_cast<double>(v);
  };
  io::Progress line(stderr, input.vectors(), {.label = "measuring", .unit = "vectors"});
  for (index_t first = 0; first < input.entries(); first += input.step()) {
    const index_t count = std::min(input.step(), input.entries() - first);
    Vectors residual = input.read(first, count);
    add_squares(squares[0], residual);
    for (std::size_t q = 0; q < used; ++q) {
      const auto& stage = quantizer.stages[q];
      const Vectors z = stage.projection ? Vectors(stage.projection->in(residual)) : residual;
      const auto codes = rvq::assign(stage.book, z).codes;
      monitors[q].add(rvq::collect(stage.book, z, codes));
      residual = residual - kolmo::take(tables[q], codes);
      add_squares(squares[q + 1], residual);
    }
    line.update((first + count) * (input.vectors() / input.entries()));
  }
  const double numbers = static_cast<double>(input.vectors() * quantizer.dimension());
  for (std::size_t q = 0; q < used; ++q) {
    const rvq::StageReport report = rvq::report(monitors[q], quantizer.stages[q].book);
    rows[q].used = report.utilisation;
    rows[q].dead = report.dead;
    rows[q].perplexity = report.perplexity;
    rows[q].input_std = report.input_std;
    rows[q].identity_gap = report.identity_gap;
    rows[q].drift = report.drift;
    rows[q].mse = squares[q + 1] / numbers;
    rows[q].gain_db = 10 * std::log10(squares[q] / squares[q + 1]);
    rows[q].use.clear();
    for (const std::int64_t n : monitors[q].hits)
      rows[q].use.push_back(static_cast<double>(n) * report.codes / report.vectors);
    std::sort(rows[q].use.begin(), rows[q].use.end(), std::greater<>());
  }
  return squares[0] / numbers;
}

/// Names and numbers of the table.
std::vector<std::pair<const char*, double>> columns_of(const StageRow& row) {
  return {{"codes", static_cast<double>(row.codes)},
          {"updates", static_cast<double>(row.updates)},
          {"trained", row.trained ? 1.0 : 0.0},
          {"used", row.used},
          {"perplexity", row.perplexity},
          {"dead", row.dead},
          {"duplicates", row.duplicates},
          {"codebook_std", row.codebook_std},
          {"codebook_norm", row.norm},
          {"codebook_largest", row.largest},
          {"input_std", row.input_std},
          {"mse", row.mse},
          {"gain_db", row.gain_db},
          {"identity_gap", row.identity_gap},
          {"drift", row.drift}};
}

void write_table(const std::string& path, const std::vector<StageRow>& rows) {
  io::CsvWriter writer;
  std::vector<std::string> names{"stage"};
  for (const auto& [name, value] : columns_of(rows[0])) names.emplace_back(name);
  writer.row(names);
  for (std::size_t q = 0; q < rows.size(); ++q) {
    std::vector<std::string> fields{std::to_string(q)};
    for (const auto& [name, value] : columns_of(rows[q])) fields.push_back(std::isnan(value) ? "" : io::to_text(value));
    writer.row(fields);
  }
  io::write_atomically(path, writer.str());
}

void print_table(const std::vector<StageRow>& rows, bool measured) {
  const auto text = [](double value, int digits) {
    return std::isnan(value) ? std::string("-") : io::to_text(value, digits);
  };
  std::printf("stage  codes  updates  trained  used %%  perplexity    std   norm   max%s\n",
              measured ? "  input std        MSE  gain dB" : "");
  for (std::size_t q = 0; q < rows.size(); ++q) {
    const StageRow& row = rows[q];
    std::printf("%5zu  %5lld  %7lld  %7s  %6s  %10s  %5s  %5s  %4s", q, static_cast<long long>(row.codes),
                static_cast<long long>(row.updates), row.trained ? "yes" : "no", text(100 * row.used, 4).c_str(),
                text(row.perplexity, 5).c_str(), text(row.codebook_std, 3).c_str(), text(row.norm, 3).c_str(),
                text(row.largest, 3).c_str());
    if (measured)
      std::printf("  %9s  %9s  %7s", text(row.input_std, 3).c_str(), text(row.mse, 5).c_str(),
                  text(row.gain_db, 3).c_str());
    std::printf("\n");
  }
}

/// The codewords as decoding adds them up. One array [stages, codes, d], or one for every stage.
void write_codebooks(const std::string& path, const std::vector<Vectors>& tables) {
  if (has_ending(path, ".npz")) {
    io::NamedArrays arrays;
    for (std::size_t q = 0; q < tables.size(); ++q)
      arrays.add("stage_" + std::to_string(q),
                 io::HostArray(tables[q].to_vector(), {tables[q].shape()[0], tables[q].shape()[1]}));
    io::save_npz(path, arrays);
    return;
  }
  const kolmo::Shape first = tables[0].shape();
  std::vector<float> values;
  for (std::size_t q = 0; q < tables.size(); ++q) {
    if (!(tables[q].shape() == first))
      throw ArgumentError("--codebooks " + path + ": stage " + std::to_string(q) + " has " +
                          std::to_string(tables[q].shape()[0]) + " codes and stage 0 " + std::to_string(first[0]) +
                          ", which are no one array; give FILE.npz");
    const auto table = tables[q].to_vector();
    values.insert(values.end(), table.begin(), table.end());
  }
  io::save_npy(path, io::HostArray(values, {static_cast<index_t>(tables.size()), first[0], first[1]}));
}

io::Figure figure_of(const std::vector<StageRow>& rows, bool measured) {
  io::Figure figure(1, 2);
  std::vector<double> stage, stds, inputs, errors;
  for (std::size_t q = 0; q < rows.size(); ++q) {
    stage.push_back(static_cast<double>(q));
    stds.push_back(rows[q].codebook_std);
    inputs.push_back(rows[q].input_std);
    errors.push_back(std::sqrt(rows[q].mse));
    std::vector<double> rank;
    for (std::size_t k = 0; k < rows[q].use.size(); ++k)
      rank.push_back((static_cast<double>(k) + 0.5) / static_cast<double>(rows[q].use.size()));
    if (!rank.empty())
      figure.panel(0, 0).line(rank, rows[q].use,
                              {.label = rows.size() <= 8 ? "stage " + std::to_string(q) : "", .width = 1.2});
  }
  auto& use = figure.panel(0, 0);
  use.title = measured ? "use of the codes" : "running counts of the codes";
  use.x.label = "codes, most used first";
  use.y.label = "over the mean";
  use.y.log = true;
  use.visible = std::any_of(rows.begin(), rows.end(), [](const StageRow& row) { return !row.use.empty(); });
  auto& scale = figure.panel(0, 1);
  scale.title = "scale";
  scale.x.label = "stage";
  scale.y.label = "standard deviation";
  scale.y.log = true;
  scale.line(stage, stds, {.label = "codewords", .width = 1.5});
  scale.scatter(stage, stds, {.colour = io::palette_colour(0)});
  if (measured) {
    scale.line(stage, inputs, {.label = "input of the stage", .width = 1.5});
    scale.line(stage, errors, {.label = "what it leaves", .width = 1.5});
  }
  return figure;
}

int run(const Arguments& arguments) {
  if (!arguments.codebooks.empty()) check_ending("--codebooks", arguments.codebooks, {".npy", ".npz"});
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  for (const std::string& path : {arguments.codebooks, arguments.table, arguments.picture}) {
    check_writable(path);
    if (same_file(path, arguments.model) || same_file(path, arguments.input))
      throw ArgumentError(path + " is read and cannot be written; choose another name");
  }
  if (arguments.threads > 0) kolmo::threads::set_count(arguments.threads);
  const Quantizer quantizer = rvq::load_quantizer<Vectors>(arguments.model);
  const index_t trained = rvq::trained_stages(quantizer);
  std::vector<StageRow> rows;
  for (index_t q = 0; q < quantizer.stage_count(); ++q)
    rows.push_back(row_of(quantizer.stages[static_cast<std::size_t>(q)], q < trained));
  std::printf("%s: vectors [%lld], %lld stages, %lld trained, %lld steps, searched by %s%s\n", arguments.model.c_str(),
              static_cast<long long>(quantizer.dimension()), static_cast<long long>(quantizer.stage_count()),
              static_cast<long long>(trained), static_cast<long long>(quantizer.steps_completed),
              quantizer.stages[0].book.options.distance == rvq::Distance::cosine ? "angle" : "distance",
              quantizer.options.projected_dimension > 0 ? " after a projection" : "");
  const bool measured = !arguments.input.empty();
  double power = 0;
  index_t used = 0;
  if (measured || !arguments.codebooks.empty()) {
    const rvq::StageUse use = rvq::stage_use(quantizer, arguments.stages);
    warn("inspect_rvq", use.warning);
    used = use.used;
    const std::vector<Vectors> tables = rvq::decode_tables(quantizer, used);
    if (measured) {
      const VectorFile input(arguments.input, quantizer.dimension());
      if (input.vectors() == 0) throw ArgumentError(arguments.input + " holds no vectors");
      power = measure(quantizer, input, tables, rows);
    }
    if (!arguments.codebooks.empty()) write_codebooks(arguments.codebooks, tables);
  }
  print_table(rows, measured);
  if (measured)
    std::printf("mean square %s, MSE with %lld stages %s\n", io::to_text(power, 9).c_str(),
                static_cast<long long>(used), io::to_text(rows[static_cast<std::size_t>(used - 1)].mse, 9).c_str());
  if (!arguments.table.empty()) write_table(arguments.table, rows);
  if (!arguments.picture.empty()) io::save_picture(arguments.picture, figure_of(rows, measured));
  for (const std::string& path : {arguments.codebooks, arguments.table, arguments.picture})
    if (!path.empty()) std::printf("%s\n", path.c_str());
  finish_output();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Shows a residual quantizer: stages, use and scale of their codebooks, and their error on vectors.");
  app.get_formatter()->column_width(30);
  app.add_option("--model", arguments.model, "the quantizer, as train_rvq has written it")
      ->required()
      ->option_text("MODEL (required)");
  app.add_option("--input", arguments.input, "vectors [..., d] on which use and error are measured, by a greedy search")
      ->option_text("VECTORS.npy");
  app.add_option("--stages", arguments.stages, "of the trained stages, use the first ones alone")
      ->check(CLI::Range(index_t{1}, index_t{255}))
      ->option_text("A");
  app.add_option("--codebooks", arguments.codebooks,
                 "writes the codewords of the trained stages, as decoding adds them: FILE.npy [stages, codes, d], or "
                 "FILE.npz with stage_0, stage_1, ... when stages differ in size")
      ->option_text("FILE.npy|npz");
  app.add_option("--table", arguments.table, "writes one row for every stage, all digits")->option_text("FILE.csv");
  app.add_option("--picture", arguments.picture, "draws use and scale of the stages")->option_text("FILE.svg|png");
  app.add_option("--threads", arguments.threads, "all processors by default; the numbers do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  app.footer(
      "used: share of the codes that were chosen on the vectors, or, without them, whose running count is above the\n"
      "threshold below which codes are replaced. perplexity: 2^entropy of the choices; as many codes as are in even "
      "use.\n"
      "std, norm, max: of the codewords. MSE: per number, after the stage.\n\n"
      "Exit code: 0 done, 1 a file could not be read or written, 2 wrong arguments.\n\n"
      "Example: inspect_rvq --model model.safetensors --input test.npy --codebooks codebooks.npy --picture use.png");
  return run_program(app, "inspect_rvq", argc, argv, [&] { return run(arguments); });
}
