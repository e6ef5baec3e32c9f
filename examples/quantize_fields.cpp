// Rate against distortion of a residual quantizer on patches of flow fields, or on vectors of a law, beside what
// information theory allows.
// test: --set flow gaussian --frames 4 --grid 64 --vectors 1500 --codes 32 --stages 4 --output curve.csv --picture curve.png --fields fields.png
// test: --set gaussian --vectors 1500 --codes 32 --stages 3 --output gaussian.csv --save-vectors gaussian
// test: --set mixture --vectors 2000 --codes 64 --stages 2 --output mixture.csv

#include "quantize_fields.hpp"

#include <algorithm>

#include <kolmo/io/csv.hpp>
#include <kolmo/io/field_image.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/picture.hpp>

#include "program.hpp"

namespace {

namespace io = kolmo::io;
namespace rvq = kolmo::rvq;
using namespace quantize_fields;

struct Arguments {
  std::vector<std::string> sets{"flow"};
  std::string input, output = "rate_distortion.csv", picture, fields, peer, save_vectors;
  index_t vectors = 20000, held_out = 4000, stages = 8, codes = 256, beam = 5, subspaces = 1, patch = 8, grid = 128,
          frames = 40;
  std::uint64_t seed = 0;
};

/// One quantizer's held-out mean square by number of stages, the first without any.
struct Curve {
  std::string name;
  std::vector<double> bits, mse;
};

VectorSet make_set(const Arguments& a, const std::string& name) {
  const auto keys = kolmo::split<4>(Key{a.seed});
  VectorSet set{name, {}, {}, {}};
  if (name == "gaussian") {
    set.train = synthetic::g64(a.vectors, keys[0]);
    set.held_out = synthetic::g64(a.held_out, keys[1]);
    return set;
  }
  if (name == "mixture") {
    set.train = synthetic::cl64(a.vectors, keys[0]);
    set.held_out = synthetic::cl64(a.held_out, keys[1]);
    return set;
  }
  Fields train;
  if (a.input.empty()) {
    std::printf("simulating two trajectories of %lld x %lld, %lld frames each ...\n", static_cast<long long>(a.grid),
                static_cast<long long>(a.grid), static_cast<long long>(a.frames));
    std::fflush(stdout);
    train = simulate(a.grid, a.frames, a.seed, 0);
    set.shown = simulate(a.grid, a.frames, a.seed, 1);
  } else {
    // The last fifth of the frames is held out.
    const Fields all = load_fields(a.input);
    if (all.frames < 5)
      throw kolmo::ArgumentError("--input " + a.input + " has " + std::to_string(all.frames) +
                                 " frames; five are needed, of which the last is held out");
    const index_t first = all.frames / 5 * 4;
    const auto border = all.values.begin() + first * all.n * all.n;
    train = {{all.values.begin(), border}, first, all.n};
    set.shown = {{border, all.values.end()}, all.frames - first, all.n};
  }
  if (train.n % a.patch != 0)
    throw kolmo::ArgumentError("--patch " + std::to_string(a.patch) + " does not divide the side of the fields, " +
                               std::to_string(train.n));
  const double scale = deviation(train);
  if (!(scale > 0)) throw kolmo::ArgumentError("the fields are constant; nothing is left to quantize");
  divide(train, scale);
  divide(set.shown, scale);
  set.train = patches(train, a.patch, a.vectors, keys[2]);
  set.held_out = patches(set.shown, a.patch, a.held_out, keys[3]);
  return set;
}

/// Curves of another program: columns set, method, bits, mse.
std::vector<Curve> load_peers(const std::string& path, const std::string& set) {
  std::vector<Curve> curves;
  if (path.empty()) return curves;
  const std::string text = io::read_text_file(path);
  io::CsvReader reader(text, {}, path);
  io::CsvRow row;
  bool header = true;
  while (reader.next(row)) {
    const std::string at = path + ", line " + std::to_string(row.line);
    if (!row.problem.empty()) throw kolmo::IoError(path + ": " + row.problem);
    if (row.fields.size() != 4) throw kolmo::IoError(at + ": expected the columns set, method, bits, mse");
    if (std::exchange(header, false) || row.fields[0] != set) continue;
    double bits = 0, mse = 0;
    if (io::detail::parse_number(row.fields[2], bits) != io::NumberProblem::none ||
        io::detail::parse_number(row.fields[3], mse) != io::NumberProblem::none)
      throw kolmo::IoError(at + ": the third and fourth field must be numbers");
    const std::string name(row.fields[1]);
    if (curves.empty() || curves.back().name != name) curves.push_back({name, {}, {}});
    curves.back().bits.push_back(bits);
    curves.back().mse.push_back(mse);
  }
  return curves;
}

double decibel(double mse, double power) { return 10 * std::log10(mse / power); }

/// What was measured on a set.
struct Measured {
  VectorSet set;
  std::vector<Curve> curves, peers;
  std::vector<double> eigenvalues;  ///< of the covariance of the held-out vectors
  double power;                     ///< mean square of the held-out vectors
};

void draw(const Measured& measured, io::Panel& panel) {
  const auto& [set, curves, peers, eigenvalues, power] = measured;
  panel.title = set.name == "flow"       ? "Patches of vorticity"
                : set.name == "gaussian" ? "N(0, I) in 64 dimensions"
                                         : "Mixture of 512 normals in 64 dimensions";
  panel.x.label = "bits per dimension";
  panel.y.label = "held-out error, dB of the mean square";
  const double most = curves.front().bits.back();
  std::vector<double> rate, bound, sphere_rate, sphere;
  for (int i = 0; i <= 100; ++i) {
    rate.push_back(most * i / 100);
    const double d = rvq::reverse_water_filling(eigenvalues, rate.back()).distortion;
    bound.push_back(decibel(d, power));
    if (set.name != "gaussian" || rate.back() < 1) continue;
    sphere_rate.push_back(rate.back());
    sphere.push_back(decibel(d * rvq::sphere_bound_factor(static_cast<index_t>(eigenvalues.size())), power));
  }
  panel.line(rate, bound, {"D(R) of a Gaussian with this covariance", io::Colour{60, 60, 60}, 1.4});
  if (!sphere.empty())
    panel.line(sphere_rate, sphere, {"sphere bound, 64 dimensions", io::Colour{60, 60, 60}, 1.4, io::Dash::dashed});
  const auto in_decibel = [whole = power](const Curve& curve) {
    std::vector<double> y;
    for (const double mse : curve.mse) y.push_back(decibel(mse, whole));
    return y;
  };
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const std::vector<double> y = in_decibel(curves[i]);
    panel.line(curves[i].bits, y, {curves[i].name, io::palette_colour(i)});
    panel.scatter(curves[i].bits, y, {"", io::palette_colour(i), 4, 1});
  }
  for (std::size_t i = 0; i < peers.size(); ++i)
    panel.scatter(peers[i].bits, in_decibel(peers[i]), {peers[i].name, io::palette_colour(curves.size() + i), 6, 1});
}

/// A held-out field and what a few numbers of stages make of it, with the differences below.
io::Image reconstructions(const Fields& fields, const std::vector<V>& tables, index_t side, index_t beam) {
  const index_t n = fields.n;
  const float* field = fields.frame(fields.frames - 1);
  const V vectors = tiles(field, n, side);
  const auto zoom = static_cast<std::size_t>(kolmo::larger<index_t>(1, 256 / n));
  const io::FieldImageOptions colours{io::ColourMap::diverging, -3.0, 3.0, zoom};
  const std::vector<float> original(field, field + n * n);
  std::vector<io::Image> first{io::field_image(std::span<const float>(original), n, n, colours)}, second;
  second.push_back(io::field_image(std::span<const float>(std::vector<float>(original.size(), 0.0f)), n, n, colours));
  for (const std::size_t stages : {std::size_t{1}, tables.size() / 4, tables.size() / 2, tables.size()}) {
    const std::size_t used = kolmo::larger<std::size_t>(1, stages);
    const std::vector<V> some(tables.begin(), tables.begin() + static_cast<std::ptrdiff_t>(used));
    const auto decoded = untiled(rvq::decode_residual(some, rvq::encode_residual(some, vectors, beam)), n, side);
    std::vector<float> difference(original.size());
    for (std::size_t i = 0; i < difference.size(); ++i) difference[i] = decoded[i] - original[i];
    first.push_back(io::field_image(std::span<const float>(decoded), n, n, colours));
    second.push_back(io::field_image(std::span<const float>(difference), n, n, colours));
  }
  const std::size_t columns = first.size();
  first.insert(first.end(), second.begin(), second.end());
  return io::montage(first, columns);
}

void save_vectors(const std::string& path, const V& x) {
  io::save_npy(path, io::HostArray(x.to_vector(), {x.extent(0), x.extent(1)}));
}

/// Trains on a set and measures; the tables of the flow are shown as fields.
Measured measure(const Arguments& a, const std::string& name) {
  Measured result{make_set(a, name), {}, load_peers(a.peer, name), {}, 0};
  const VectorSet& set = result.set;
  if (!a.save_vectors.empty()) {
    save_vectors(a.save_vectors + "_" + name + "_train.npy", set.train);
    save_vectors(a.save_vectors + "_" + name + "_held_out.npy", set.held_out);
  }
  result.power = mean_square(set.held_out);
  result.eigenvalues = covariance_eigenvalues(set.held_out);
  const double bits_a_stage = std::log2(static_cast<double>(a.codes)) / static_cast<double>(set.train.extent(1));
  std::printf("%s: %lld vectors of %lld numbers to train on, %lld held out; %lld stages of %lld codes\n", name.c_str(),
              static_cast<long long>(a.vectors), static_cast<long long>(set.train.extent(1)),
              static_cast<long long>(a.held_out), static_cast<long long>(a.stages), static_cast<long long>(a.codes));
  rvq::TrainTablesOptions options;
  options.subspaces = a.subspaces;
  options.on_stage = [&](const rvq::StageTraining& stage) {
    std::printf("\rstage %lld of %lld: training MSE %.5f ", static_cast<long long>(stage.stage + 1),
                static_cast<long long>(a.stages), stage.mse);
    std::fflush(stdout);
  };
  const auto trained = rvq::train_tables(set.train, std::vector<index_t>(static_cast<std::size_t>(a.stages), a.codes),
                                         options, Key{a.seed + 1});
  std::printf("\n");
  for (const std::string& warning : trained.warnings) std::printf("%s\n", warning.c_str());
  std::vector<index_t> widths{1};
  if (a.beam > 1) widths.push_back(a.beam);
  for (const index_t beam : widths) {
    Curve curve{"beam " + std::to_string(beam), {}, distortions(trained.tables, set.held_out, beam)};
    for (std::size_t q = 0; q < curve.mse.size(); ++q) curve.bits.push_back(bits_a_stage * static_cast<double>(q));
    result.curves.push_back(curve);
  }
  if (!a.fields.empty() && name == "flow")
    io::save_image(a.fields, reconstructions(set.shown, trained.tables, a.patch, a.beam));
  return result;
}

/// The table of a set, in dB on the screen and as it is in the file.
void report(const Measured& measured, io::CsvWriter& csv) {
  std::printf("stages   bits");
  for (const Curve& curve : measured.curves) std::printf("   %-9s", curve.name.c_str());
  std::printf("   D(R), dB\n");
  for (std::size_t q = 0; q < measured.curves[0].bits.size(); ++q) {
    const double bits = measured.curves[0].bits[q];
    const double bound = rvq::reverse_water_filling(measured.eigenvalues, bits).distortion;
    csv.text(measured.set.name).number(q).number(bits);
    std::printf("%6zu  %5.3f", q, bits);
    for (const Curve& curve : measured.curves) {
      csv.number(curve.mse[q]);
      std::printf("   %8.3f ", decibel(curve.mse[q], measured.power));
    }
    csv.number(bound).end_row();
    std::printf("   %8.3f\n", decibel(bound, measured.power));
  }
}

int run(const Arguments& a) {
  for (const std::string* path : {&a.output, &a.picture, &a.fields}) check_writable(*path);
  for (const std::string* path : {&a.picture, &a.fields})
    if (!path->empty()) io::picture_format(*path);
  for (const std::string& written : {a.output, a.picture, a.fields})
    for (const std::string& read : {a.input, a.peer})
      if (same_file(written, read)) throw kolmo::ArgumentError(read + " is read; it cannot be written as well");
  if (same_file(a.picture, a.fields) || same_file(a.output, a.picture) || same_file(a.output, a.fields))
    throw kolmo::ArgumentError("--output, --picture and --fields must be different files");
  const bool has_flow = std::find(a.sets.begin(), a.sets.end(), "flow") != a.sets.end();
  if (!has_flow && !(a.input.empty() && a.fields.empty()))
    throw kolmo::ArgumentError("--input and --fields are about the set flow, which --set does not name");
  io::CsvWriter csv;
  std::vector<std::string> names{"set", "stages", "bits", "mse beam 1"};
  if (a.beam > 1) names.push_back("mse beam " + std::to_string(a.beam));
  names.push_back("gaussian D(R)");
  csv.row(names);
  io::Figure figure(1, a.sets.size());
  figure.width = a.sets.size() == 1 ? 720 : 460 * static_cast<double>(a.sets.size());
  figure.height = 480;
  for (std::size_t i = 0; i < a.sets.size(); ++i) {
    const Measured measured = measure(a, a.sets[i]);
    report(measured, csv);
    draw(measured, figure.panel(0, i));
  }
  io::write_atomically(a.output, csv.str());
  if (!a.picture.empty()) io::save_picture(a.picture, figure, 1.5);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{
      "Quantizes vectors in stages and shows the error that each rate leaves, beside the rate-distortion function of a "
      "Gaussian with their covariance. The vectors are patches of the vorticity of a flow, simulated or read from a "
      "file, or drawn from a law. The longer form: --vectors 100000 --held-out 10000 --codes 1024 --stages 16 --frames "
      "200."};
  app.get_formatter()->column_width(34);
  app.option_defaults()->always_capture_default();
  app.add_option("--set", a.sets, "one or more of flow, gaussian: N(0, I) in 64 dimensions, mixture: of 512 normals")
      ->check(CLI::IsMember({"flow", "gaussian", "mixture"}));
  app.add_option("--input", a.input, "fields [frames, n, n], NPY, instead of a simulation");
  app.add_option("--grid", a.grid, "cells along each side of a simulated field")->check(CLI::Range(16, 4096));
  app.add_option("--frames", a.frames, "frames of each of the two simulated trajectories")
      ->check(CLI::Range(1, 100000));
  app.add_option("--patch", a.patch, "side of a patch; its square is the dimension")->check(CLI::Range(1, 256));
  app.add_option("--vectors", a.vectors, "vectors to train on")->check(CLI::Range(1, 100000000));
  app.add_option("--held-out", a.held_out, "vectors to measure on")->check(CLI::Range(1, 100000000));
  app.add_option("--stages", a.stages, "number of stages")->check(CLI::Range(1, 256));
  app.add_option("--codes", a.codes, "codes of a stage")->check(CLI::Range(2, 65536));
  app.add_option("--subspaces", a.subspaces, "parts of the coordinates that stages take in turn; 0: chosen")
      ->check(CLI::Range(0, 64));
  app.add_option("--beam", a.beam, "width of the second curve's beam; 1: one curve")->check(CLI::Range(1, 64));
  app.add_option("--seed", a.seed, "seed of everything random");
  app.add_option("--output", a.output, "the curves, CSV");
  app.add_option("--picture", a.picture, "the curves, .png or .svg");
  app.add_option("--fields", a.fields, "a held-out field, then with 1, 1/4, 1/2 and all of the stages; PNG");
  app.add_option("--peer", a.peer, "points of another program to draw too: CSV of set, method, bits, mse");
  app.add_option("--save-vectors", a.save_vectors, "writes PREFIX_SET_train.npy and PREFIX_SET_held_out.npy");
  return run_program(app, "quantize_fields", argc, argv, [&] { return run(a); });
}
