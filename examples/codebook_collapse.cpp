// How a codebook collapses, and how it does not: the update rules of a bug report and the library's, trained on the
// same batches from the same random start, then a two-stage run with the report's resets beside one with the library's
// replacement. Prints a table; writes curves as CSV and as a picture.
// test: --updates 30 --codes 16 --pool 1024 --steps 24 --output collapse.csv --picture collapse.png
// test: --updates 5 --codes 8 --pool 256 --steps 0 --vectors-per-code 0.5

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include <kolmo/io/csv.hpp>
#include <kolmo/io/picture.hpp>

#include "codebook_rules.hpp"
#include "program.hpp"
#include "synthetic_vectors.hpp"

namespace io = kolmo::io;
using kolmo::index_t;
using kolmo::Key;
using rules::Matrix;
using rules::Rule;

namespace {

struct Arguments {
  index_t codes = 256;
  double vectors_per_code = 16;
  index_t updates = 1000;
  index_t pool = 65536;
  index_t steps = 800;
  std::uint64_t seed = 1;
  std::string output, picture;
};

struct Point {
  index_t update;
  kolmo::rvq::StageReport report;
};

struct Curve {
  Rule rule;
  std::vector<Point> points;
  index_t replaced = 0;
  double peak = 0;
};

/// 1, 2, 3, 5, 10, 20, ... and the last.
std::vector<index_t> moments(index_t last) {
  std::vector<index_t> result;
  for (index_t decade = 1; decade < last; decade *= 10)
    for (const index_t factor : {1, 2, 3, 5, 7})
      if (factor * decade < last) result.push_back(factor * decade);
  result.push_back(last);
  return result;
}

Curve train(Rule rule, const Matrix& pool, const Matrix& start, const Arguments& arguments) {
  Curve curve{rule, {}, 0, 0};
  rules::Run run(rule, start);
  const auto vectors =
      std::max<index_t>(1, static_cast<index_t>(arguments.vectors_per_code * static_cast<double>(arguments.codes)));
  const std::vector<index_t> at = moments(arguments.updates);
  std::size_t next = 0;
  for (index_t s = 1; s <= arguments.updates; ++s) {
    const Key key = kolmo::fold_in(Key{arguments.seed + 2}, static_cast<std::uint64_t>(s));
    const auto report = run.step(rules::random_rows(pool, vectors, key), kolmo::fold_in(key, 1));
    curve.replaced += static_cast<index_t>(report.replaced.size());
    if (s != at[next]) continue;
    curve.points.push_back({s, rules::measure(run.book, pool)});
    ++next;
  }
  curve.peak = run.peak;
  return curve;
}

void print(const char* name, const kolmo::rvq::StageReport& r, double peak) {
  std::printf("%-14s %8.3f %9.2f %9.2f %7.0f %10.1f %11.5f %10.3g\n", name, r.codebook_std, r.codebook_min,
              r.codebook_max, r.dead * r.codes, r.perplexity, r.mse, peak);
}

/// The steps of the second experiment at which it is measured.
std::vector<index_t> replica_moments(index_t steps) {
  std::vector<index_t> result;
  for (index_t s = 0; s < steps; ++s)
    if (s < 4 || s % std::max<index_t>(1, steps / 80) == 0 || s == steps - 1 || s == steps / 2 || s == steps / 2 - 1)
      result.push_back(s);
  return result;
}

io::Figure draw(const std::vector<Curve>& curves, double reference,
                const std::vector<std::vector<rules::Replica::Step>>& replicas) {
  io::Figure figure(1, replicas.empty() ? 2 : 3);
  figure.width = replicas.empty() ? 1100 : 1560;
  figure.height = 500;
  io::Panel& error = figure.panel(0, 0);
  io::Panel& use = figure.panel(0, 1);
  error.title = "Error on the whole set";
  use.title = "Perplexity of the codes";
  error.y.label = "mean square error per number";
  error.x.label = use.x.label = "updates from a random start";
  error.x.log = error.y.log = use.x.log = true;
  error.legend = io::LegendPlace::none;
  use.legend = io::LegendPlace::top_left;
  for (std::size_t c = 0; c < curves.size(); ++c) {
    std::vector<double> x, mse, perplexity;
    for (const Point& point : curves[c].points) {
      x.push_back(static_cast<double>(point.update));
      mse.push_back(point.report.mse);
      perplexity.push_back(point.report.perplexity);
    }
    const bool cure = curves[c].rule == Rule::algorithm;
    const io::LineStyle style{rules::describe(curves[c].rule), io::palette_colour(c), cure ? 3.2 : 1.4,
                              cure ? io::Dash::solid : io::Dash::dashed, 1};
    error.line(x, mse, style);
    use.line(x, perplexity, style);
  }
  error.horizontal_line(reference);
  error.note(1.2, reference * 0.78, "k-means on the whole set");
  error.y.range(0.6 * reference, 10);
  if (replicas.empty()) return figure;
  io::Panel& reset = figure.panel(0, 2);
  reset.title = "Two stages, heavy-tailed vectors";
  reset.x.label = "step; the second stage begins in the middle";
  reset.y.label = "mean square error per number";
  reset.y.log = true;
  const char* names[] = {"reported: reset below 100 hits", "algorithm"};
  for (std::size_t c = 0; c < replicas.size(); ++c) {
    std::vector<double> x, mse;
    for (const auto& step : replicas[c]) {
      x.push_back(static_cast<double>(step.step));
      mse.push_back(step.stages[step.active - 1].mse);
    }
    reset.line(x, mse, {names[c], io::palette_colour(c == 0 ? 1 : 8), c == 0 ? 1.4 : 3.2, io::Dash::solid, 1});
  }
  return figure;
}

int run(const Arguments& arguments) {
  if (!arguments.picture.empty()) io::picture_format(arguments.picture);
  check_writable(arguments.output);
  check_writable(arguments.picture);
  if (same_file(arguments.output, arguments.picture))
    throw kolmo::ArgumentError("--output and --picture are the same file, " + arguments.output + "; choose two");
  const Matrix pool = synthetic::mix8(arguments.pool, Key{arguments.seed});
  const Matrix start = synthetic::gaussian(arguments.codes, 8, Key{arguments.seed + 1});
  kolmo::rvq::Codebook<Matrix> best(
      8, {.codes = arguments.codes, .lloyd_iterations = 50, .start_vectors_per_code = arguments.pool});
  kolmo::rvq::start_codebook(best, pool, Key{arguments.seed + 3});
  const auto reference = rules::measure(best, pool);

  io::CsvWriter csv;
  for (const char* name : {"rule", "update"}) csv.text(name);
  for (const std::string& name : kolmo::rvq::StageReport::names()) csv.text(name);
  csv.end_row();
  const auto add = [&](const std::string& rule, index_t update, const kolmo::rvq::StageReport& report) {
    csv.text(rule).number(update);
    for (const double value : report.values()) csv.number(value);
    csv.end_row();
  };

  std::printf("Eight-dimensional mixture, %lld vectors; %lld codes, %.4g vectors a code in each of %lld updates.\n",
              static_cast<long long>(arguments.pool), static_cast<long long>(arguments.codes),
              arguments.vectors_per_code, static_cast<long long>(arguments.updates));
  std::printf("%-14s %8s %9s %9s %7s %10s %11s %10s\n", "rule", "std", "min", "max", "unused", "perplexity", "MSE",
              "peak");
  std::vector<Curve> curves;
  for (const Rule rule : rules::all_rules) {
    curves.push_back(train(rule, pool, start, arguments));
    const Curve& curve = curves.back();
    print(rules::name_of(rule), curve.points.back().report, curve.peak);
    for (const Point& point : curve.points) add(rules::name_of(rule), point.update, point.report);
  }
  print("k-means", reference, std::max(-reference.codebook_min, reference.codebook_max));
  std::printf("The algorithm replaced %lld codes.\n", static_cast<long long>(curves.back().replaced));

  std::vector<std::vector<rules::Replica::Step>> replicas;
  if (arguments.steps > 0) {
    const Matrix heavy =
        synthetic::heavy(std::max<index_t>(arguments.pool, 1000 * arguments.codes), Key{arguments.seed});
    const rules::Replica replica{arguments.codes, 160 * arguments.codes, std::max<index_t>(1, arguments.steps / 4),
                                 arguments.steps / 2, arguments.steps};
    std::printf(
        "\nTwo stages, heavy-tailed vectors, 160 a code in each of %lld steps; the second stage begins in the middle.\n"
        "%-10s %6s %6s %8s %9s %9s %7s %7s %9s\n",
        static_cast<long long>(arguments.steps), "procedure", "step", "stage", "std", "min", "max", "unused", "N<100",
        "MSE");
    for (const Rule rule : {Rule::ran, Rule::algorithm}) {
      std::vector<rules::Replica::Step> steps;
      replica.run(rule, heavy, Key{arguments.seed + 4}, replica_moments(arguments.steps), [&](const auto& step) {
        steps.push_back(step);
        for (index_t q = 0; q < step.active; ++q) {
          const auto& r = step.stages[q];
          const std::string name = rule == Rule::ran ? "reported" : "right";
          add(name + "_stage" + std::to_string(q), step.step, r);
          if (step.step != 0 && step.step != arguments.steps / 2 - 1 && step.step != arguments.steps / 2 &&
              step.step != arguments.steps - 1)
            continue;
          std::printf("%-10s %6lld %6lld %8.3f %9.2f %9.2f %7.0f %7lld %9.4f\n", name.c_str(),
                      static_cast<long long>(step.step), static_cast<long long>(q), r.codebook_std, r.codebook_min,
                      r.codebook_max, r.dead * r.codes, static_cast<long long>(step.below_threshold[q]), r.mse);
        }
      });
      replicas.push_back(std::move(steps));
    }
  }
  if (!arguments.output.empty()) {
    io::write_atomically(arguments.output, csv.str());
    std::printf("Table: %s\n", arguments.output.c_str());
  }
  if (!arguments.picture.empty()) {
    io::save_picture(arguments.picture, draw(curves, reference.mse, replicas));
    std::printf("Picture: %s\n", arguments.picture.c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Compares update rules of codebooks: those of a bug report, which collapse, and the library's.");
  app.option_defaults()->always_capture_default();
  app.add_option("--codes", arguments.codes, "codewords")->check(CLI::Range(index_t{2}, index_t{1} << 16));
  app.add_option("--vectors-per-code", arguments.vectors_per_code, "vectors of an update, for each code")
      ->check(CLI::Range(1e-3, 1e4));
  app.add_option("--updates", arguments.updates, "updates by every rule")
      ->check(CLI::Range(index_t{1}, index_t{1} << 24));
  app.add_option("--pool", arguments.pool, "vectors that batches are drawn from")
      ->check(CLI::Range(index_t{16}, index_t{1} << 26));
  app.add_option("--steps", arguments.steps, "steps of the run with two stages; 0: none")
      ->check(CLI::Range(index_t{0}, index_t{1} << 24));
  app.add_option("--seed", arguments.seed, "seed of all random numbers");
  app.add_option("--output", arguments.output, "CSV file for the curves");
  app.add_option("--picture", arguments.picture, "SVG or PNG file for the curves");
  return run_program(app, "codebook_collapse", argc, argv, [&] { return run(arguments); });
}
