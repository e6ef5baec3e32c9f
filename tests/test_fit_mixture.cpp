// The program fit_mixture, run as a user runs it.
// program: fit_mixture

#include "catch.hpp"
#include "io_support.hpp"
#include "program.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/io/csv.hpp>

using namespace kolmo;
using kolmo::io::test::TemporaryDirectory;
using kolmo_test::contains;

namespace {

/// A normal density about `mean` on [0, 10].
std::vector<double> bump(std::size_t points, double mean, double deviation = 1.0) {
  std::vector<double> values;
  for (std::size_t i = 0; i < points; ++i)
    values.push_back(
        gmm::normal_density(10.0 * static_cast<double>(i) / static_cast<double>(points - 1), mean, deviation));
  return values;
}

std::string header(std::size_t points) {
  std::string text = "id,origin";
  for (std::size_t i = 0; i < points; ++i) text += ",f" + std::to_string(i);
  return text + "\n";
}

std::string row(const std::string& id, const std::vector<double>& values) {
  std::string text = id + ",here";
  for (const double v : values) text += "," + io::to_text(v);
  return text + "\n";
}

/// A folder with a model (three components, 96 points, half an EM step at a time) and runs of the program in it.
struct Workshop : kolmo_test::ProgramRuns {
  Workshop() {
    gmm::LamfOptions options;
    options.components = 3;
    options.iterations = 12;
    options.init_width = options.refine_width = 16;
    options.init_layers = options.refine_layers = 1;
    gmm::Lamf<Tensor<float, Cpu>> model(options);
    init(Key{3}, model);
    io::save_model(folder / "model.safetensors", model);
  }
};

/// The rows of a fits file as texts.
std::vector<std::vector<std::string>> cells(const std::string& csv) {
  std::vector<std::vector<std::string>> rows;
  io::CsvReader reader(csv);
  io::CsvRow source;
  while (reader.next(source)) {
    REQUIRE(source.problem.empty());
    rows.emplace_back(source.fields.begin(), source.fields.end());
  }
  return rows;
}

double number(const std::string& text) { return std::stod(text); }

/// Without the last column, the time.
std::string without_time(const std::string& csv) {
  std::string text;
  for (auto& fields : cells(csv)) {
    fields.pop_back();
    for (const std::string& field : fields) text += field + ",";
    text += "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("the output has one row per density with weights, means, deviations and the time of a fit") {
  const Workshop fit_mixture;
  fit_mixture.write("in.csv", header(60) + row("left", bump(60, 3.0)) + row("right", bump(60, 7.0, 0.8)));
  const auto check = [&](const std::string& arguments, const std::string& columns, std::size_t k) {
    const auto result = fit_mixture("--input in.csv --range 0 10 --output fits.csv " + arguments);
    CAPTURE(arguments, result.err);
    REQUIRE(result.code == 0);
    CHECK(result.err.empty());
    const std::string csv = fit_mixture.read("fits.csv");
    CHECK(csv.substr(0, csv.find('\n')) == columns);
    const auto rows = cells(csv);
    REQUIRE(rows.size() == 3);
    for (std::size_t r = 1; r < 3; ++r) {
      REQUIRE(rows[r].size() == 3 * k + 2);
      CHECK(rows[r][0] == (r == 1 ? "left" : "right"));
      double weight = 0, mean = 0;
      for (std::size_t i = 1; i <= k; ++i) {
        CHECK(number(rows[r][i]) >= 0.0);
        CHECK(number(rows[r][2 * k + i]) > 0.0);
        weight += number(rows[r][i]);
        mean += number(rows[r][i]) * number(rows[r][k + i]);
      }
      CHECK(weight == Approx(1.0).epsilon(1e-5));
      CHECK(mean == Approx(r == 1 ? 3.0 : 7.0).margin(0.05));
      CHECK(number(rows[r].back()) > 0.0);
    }
    CHECK_THAT(result.out, contains("left"));
    CHECK_THAT(result.out, contains("components: weight (mean, deviation)"));
    CHECK_THAT(result.out, contains("2 densities"));
  };
  check("--method em", "id,pi1,pi2,pi3,pi4,pi5,mu1,mu2,mu3,mu4,mu5,sigma1,sigma2,sigma3,sigma4,sigma5,time_us", 5);
  check("--method em --components 2", "id,pi1,pi2,mu1,mu2,sigma1,sigma2,time_us", 2);
  check("--method em --components 1", "id,pi1,mu1,sigma1,time_us", 1);
  check("--model model.safetensors", "id,pi1,pi2,pi3,mu1,mu2,mu3,sigma1,sigma2,sigma3,time_us", 3);
  check("--method lamf --model model.safetensors --components 3 --threads 1",
        "id,pi1,pi2,pi3,mu1,mu2,mu3,sigma1,sigma2,sigma3,time_us", 3);
}

TEST_CASE("any number of points from 8 up, in any unit") {
  const Workshop fit_mixture;
  for (const std::string method : {"--method em --components 3", "--model model.safetensors"}) {
    for (const std::size_t points : {8u, 41u, 96u, 700u}) {
      fit_mixture.write("in.csv", header(points) + row("a", bump(points, 4.0)));
      const auto result = fit_mixture("--input in.csv --range 0 10 --output fits.csv " + method);
      CAPTURE(method, points, result.err);
      REQUIRE(result.code == 0);
      const auto fit = cells(fit_mixture.read("fits.csv"))[1];
      const double mean =
          number(fit[1]) * number(fit[4]) + number(fit[2]) * number(fit[5]) + number(fit[3]) * number(fit[6]);
      CHECK(mean == Approx(4.0).margin(points == 8 ? 0.2 : 0.02));

      REQUIRE(fit_mixture("--input in.csv --range 5e-9 6e-9 --output small.csv " + method).code == 0);
      const auto small = cells(fit_mixture.read("small.csv"))[1];
      REQUIRE(small.size() == fit.size());
      for (std::size_t i = 1; i <= 3; ++i) {
        CHECK(small[i] == fit[i]);
        CHECK(number(small[3 + i]) == Approx(5e-9 + 1e-10 * number(fit[3 + i])));
        CHECK(number(small[6 + i]) == Approx(1e-10 * number(fit[6 + i])));
      }
    }
  }
}

TEST_CASE("bad rows are reported by line and id, stay empty, and do not change the others") {
  const Workshop fit_mixture;
  const std::vector<double> good = bump(20, 5.0);
  std::vector<double> negative = good, zero(20, 0.0);
  negative[9] = -0.5;
  std::string letters = row("letters", good), nan = row("nan", good), empty_field = row("empty", good);
  letters.replace(letters.rfind(','), 1, ",x");
  nan.replace(nan.rfind(',') + 1, std::string::npos, "nan\n");
  empty_field.replace(empty_field.rfind(',') + 1, std::string::npos, "\n");
  fit_mixture.write("in.csv", header(20) + row("first", good) + row("negative", negative) + letters + nan +
                                  row("short", bump(19, 5.0)) + row("long", bump(21, 5.0)) + row("zero", zero) +
                                  empty_field + row("\"quoted, id\"", negative) + "\n" + row("last", bump(20, 6.0)));
  fit_mixture.write("good.csv", header(20) + row("first", good) + row("last", bump(20, 6.0)));
  for (const std::string method : {"--method em --components 3", "--model model.safetensors"}) {
    const auto result = fit_mixture("--input in.csv --range 0 10 --output fits.csv " + method);
    CAPTURE(result.err);
    CHECK(result.code == 3);
    for (const char* report :
         {"id 'negative', line 3: negative values", "id 'letters', line 4, field 22 (f19): 'x1.48", "is not a number",
          "id 'nan', line 5, field 22 (f19): 'nan'", "id 'short', line 6: 22 fields expected, found 21",
          "id 'long', line 7: 22 fields expected, found 23", "id 'zero', line 8: the density integrates to zero",
          "id 'empty', line 9, field 22 (f19): a number expected, the field is empty",
          "id 'quoted, id', line 10: negative values", "id '', line 11", "9 of 11 rows could not be fitted"})
      CHECK_THAT(result.err, contains(report));
    const auto rows = cells(fit_mixture.read("fits.csv"));
    REQUIRE(rows.size() == 12);
    for (std::size_t r = 2; r < 11; ++r) {
      REQUIRE(rows[r].size() == 11);
      CHECK(std::all_of(rows[r].begin() + 1, rows[r].end(), [](const std::string& field) { return field.empty(); }));
    }
    CHECK(rows[9][0] == "quoted, id");
    REQUIRE(fit_mixture("--input good.csv --range 0 10 --output good_fits.csv " + method).code == 0);
    const auto reference = cells(fit_mixture.read("good_fits.csv"));
    // Matrix products of another number of rows round differently; nothing else may change.
    for (std::size_t i = 1; i < 10; ++i) {
      CHECK(number(rows[1][i]) == Approx(number(reference[1][i])).epsilon(1e-5));
      CHECK(number(rows[11][i]) == Approx(number(reference[2][i])).epsilon(1e-5));
    }
  }
}

TEST_CASE("when no row can be fitted the output is empty rows and there is no picture") {
  const Workshop fit_mixture;
  fit_mixture.write("in.csv", header(10) + row("a", std::vector<double>(10, 0.0)));
  const auto result =
      fit_mixture("--input in.csv --range 0 10 --method em --components 1 --output fits.csv --picture fit.svg");
  CHECK(result.code == 3);
  CHECK(fit_mixture.read("fits.csv") == "id,pi1,mu1,sigma1,time_us\na,,,,\n");
  CHECK_FALSE(fit_mixture.has("fit.svg"));
  CHECK_THAT(result.err, contains("fit.svg is not written"));
}

TEST_CASE("the fits do not depend on the number of threads") {
  const Workshop fit_mixture;
  std::string text = header(50);
  for (int i = 0; i < 600; ++i) text += row("d" + std::to_string(i), bump(50, 2.0 + 0.01 * i, 0.5 + 0.001 * i));
  fit_mixture.write("in.csv", text);
  for (const std::string method : {"--method em --components 3", "--model model.safetensors"}) {
    std::string reference;
    for (const int threads : {1, 2, 4}) {
      REQUIRE(fit_mixture("--input in.csv --range 0 10 --output fits.csv --threads " + std::to_string(threads) + " " +
                          method)
                  .code == 0);
      const std::string fits = without_time(fit_mixture.read("fits.csv"));
      CHECK(std::count(fits.begin(), fits.end(), '\n') == 601);
      if (reference.empty()) reference = fits;
      CHECK(fits == reference);
    }
  }
  const auto result = fit_mixture("--input in.csv --range 0 10 --model model.safetensors --picture fit.svg");
  CHECK_THAT(result.out, contains("... and 560 more; --output FITS.csv writes all"));
  CHECK_THAT(result.out, contains("The first 16 of 600 fitted densities"));
  CHECK_THAT(fit_mixture.read("fit.svg"), contains("The first 16 of 600 fitted densities"));
}

TEST_CASE("pictures are SVG or PNG by their names") {
  const Workshop fit_mixture;
  fit_mixture.write("in.csv",
                    header(30) + row("one", bump(30, 3.0)) + row("two", bump(30, 7.0)) + row("three", bump(30, 5.0)));
  REQUIRE(fit_mixture("--input in.csv --range 0 10 --method em --picture fit.svg").code == 0);
  const std::string svg = fit_mixture.read("fit.svg");
  CHECK(svg.find("<svg") != std::string::npos);
  for (const char* title : {">one<", ">two<", ">three<", ">here<", "density", "components", "mixture"})
    CHECK_THAT(svg, contains(title));
  REQUIRE(fit_mixture("--input in.csv --range 0 10 --method em --picture fit.png").code == 0);
  CHECK(fit_mixture.read("fit.png").substr(1, 3) == "PNG");
}

TEST_CASE("wrong arguments end with 2, say what was given, and write nothing") {
  const Workshop fit_mixture;
  fit_mixture.write("in.csv", header(30) + row("one", bump(30, 3.0)));
  std::string unsorted = "z\n";
  for (int i = 0; i < 30; ++i) unsorted += std::to_string(i == 7 ? 3 : i) + "\n";
  fit_mixture.write("unsorted.csv", unsorted);
  fit_mixture.write("points.csv", "z\n");
  const std::string before = fit_mixture.read("in.csv");
  const std::vector<std::pair<std::string, std::string>> runs = {
      {"", "--input is required"},
      {"--input in.csv", "either --range MIN MAX or --points FILE"},
      {"--input in.csv --range 0 10 --points points.csv", "either --range MIN MAX or --points FILE"},
      {"--input in.csv --range 0", "--range"},
      {"--input in.csv --range 0 ten", "--range"},
      {"--input in.csv --range 10 0 --method em", "expected finite MIN < MAX, given 10 and 0"},
      {"--input in.csv --range 0 inf --method em", "expected finite MIN < MAX, given 0 and inf"},
      {"--input in.csv --range 0 10 --method magic", "--method"},
      {"--input in.csv --range 0 10 --method em --components 0", "--components"},
      {"--input in.csv --range 0 10 --method em --components 33", "--components"},
      {"--input in.csv --range 0 10 --method em --threads 0", "--threads"},
      {"--input in.csv --range 0 10 --method em --model model.safetensors",
       "--model belongs to the methods lamf and mdn"},
      {"--input in.csv --range 0 10 --method hybrid --init qmi", "--init and --starts belong to --method em"},
      {"--input in.csv --range 0 10 --method em --init wqmi", "--init wqmi needs more than a density"},
      {"--input in.csv --range 0 10 --method em --init best", "--init"},
      {"--input in.csv --range 0 10 --method lp --polish 5", "--polish and --minimax do not belong to --method lp"},
      {"--input in.csv --range 0 10 --method lp --components 5", "--components does not belong to --method lp"},
      {"--input in.csv --range 0 10 --method em --polish 0 --minimax 4", "--minimax follows a polish"},
      {"--input in.csv --points unsorted.csv --method em", "strictly increasing"},
      {"--input in.csv --range 0 10 --model model.safetensors --components 5",
       "--components 5, but the model model.safetensors fits 3"},
      {"--input in.csv --range 0 10 --method em --picture fit.jpg", "fit.jpg' must end in .svg or .png"},
      {"--input in.csv --range 0 10 --method em --output in.csv", "--output in.csv is the input"},
      {"--input in.csv --points points.csv --method em --output ./points.csv", "--output ./points.csv is the file of points"},
      {"--input in.csv --range 0 10 --method em --output fits.svg --picture ./fits.svg", "are the same file, fits.svg"},
      {"--input in.csv --range 0 10 --method em --colour red", "--colour"}};
  for (const auto& [arguments, message] : runs) {
    const auto result =
        fit_mixture(arguments + (arguments.find("--output") == std::string::npos ? " --output fits.csv" : ""));
    CAPTURE(arguments, result.err);
    CHECK(result.code == 2);
    CHECK_THAT(result.err, contains(message));
    CHECK(result.out.empty());
    CHECK_FALSE(fit_mixture.has("fits.csv"));
    CHECK_FALSE(fit_mixture.has("fits.svg"));
  }
  CHECK(fit_mixture.read("points.csv") == "z\n");
  CHECK(fit_mixture.read("in.csv") == before);
}

TEST_CASE("densities at points of any spacing are fitted by every method") {
  const Workshop fit_mixture;
  std::string points = "z\n", text = header(60) + "one,here";
  for (int i = 0; i < 60; ++i) {
    const double z = 0.2 * std::pow(10.0 / 0.2, i / 59.0);
    points += io::to_text(z) + "\n";
    text += "," + io::to_text(0.3 * gmm::normal_density(z, 2.0, 0.4) + 0.7 * gmm::normal_density(z, 5.0, 1.0));
  }
  fit_mixture.write("in.csv", text + "\n");
  fit_mixture.write("points.csv", points);
  for (const std::string method :
       {"--method em --components 2", "--method hybrid --components 2 --polish 20",
        "--method em --components 2 --init kmeans", "--model model.safetensors --polish 60"}) {
    const auto result = fit_mixture("--input in.csv --points points.csv --output fits.csv --picture fit.svg " + method);
    CAPTURE(method, result.err);
    REQUIRE(result.code == 0);
    const auto rows = cells(fit_mixture.read("fits.csv"));
    const std::size_t k = (rows[1].size() - 2) / 3;
    double mean = 0;
    for (std::size_t i = 1; i <= k; ++i) mean += number(rows[1][i]) * number(rows[1][k + i]);
    CHECK(mean == Approx(0.3 * 2.0 + 0.7 * 5.0).margin(0.02));
    CHECK(fit_mixture.has("fit.svg"));
  }
}

TEST_CASE("a polish makes a fit by EM exact where K normals can be") {
  const Workshop fit_mixture;
  std::string text = header(80) + "one,here";
  for (int i = 0; i < 80; ++i) {
    const double z = 10.0 * i / 79;
    text += "," + io::to_text(0.4 * gmm::normal_density(z, 3.5, 0.7) + 0.6 * gmm::normal_density(z, 5.5, 1.0));
  }
  fit_mixture.write("in.csv", text + "\n");
  const auto error = [&](const std::string& arguments) {
    REQUIRE(fit_mixture("--input in.csv --range 0 10 --method em --components 2 --output fits.csv " + arguments).code ==
            0);
    const auto row = cells(fit_mixture.read("fits.csv"))[1];
    return std::abs(number(row[1]) - 0.4) + std::abs(number(row[3]) - 3.5) + std::abs(number(row[5]) - 0.7);
  };
  const double alone = error(""), polished = error("--polish 60");
  CAPTURE(alone, polished);
  CHECK(polished < 1e-3);
  CHECK(polished < alone);
}

TEST_CASE("a linear programme chooses its own number of components") {
  const Workshop fit_mixture;
  fit_mixture.write("in.csv", header(60) + row("narrow", bump(60, 3.0, 0.5)) + row("wide", bump(60, 5.0, 1.5)));
  REQUIRE(fit_mixture("--input in.csv --range 0 10 --method lp --output fits.csv").code == 0);
  const auto rows = cells(fit_mixture.read("fits.csv"));
  REQUIRE(rows.size() == 3);
  for (std::size_t r = 1; r < 3; ++r) {
    const std::size_t k = (rows[r].size() - 2) / 3;
    double weight = 0;
    for (std::size_t i = 1; i <= k; ++i) {
      // Missing components are empty in all three columns.
      CHECK(rows[r][i].empty() == rows[r][k + i].empty());
      CHECK(rows[r][i].empty() == rows[r][2 * k + i].empty());
      if (!rows[r][i].empty()) weight += number(rows[r][i]);
    }
    CHECK(weight == Approx(1.0).epsilon(1e-9));
  }
}

TEST_CASE("files that cannot be used end with 1 and name the file") {
  const Workshop fit_mixture;
  fit_mixture.write("in.csv", header(30) + row("one", bump(30, 3.0)));
  fit_mixture.write("empty.csv", "");
  fit_mixture.write("header.csv", header(30));
  fit_mixture.write("other.csv", "a,b\n1,2\n");
  fit_mixture.write("few.csv", header(7) + row("one", bump(7, 3.0)));
  fit_mixture.write("short.csv", "z\n1\n2\n3\n");
  fit_mixture.write("text.safetensors", "no model");
  const std::string model = fit_mixture.read("model.safetensors");
  fit_mixture.write("cut.safetensors", model.substr(0, model.size() - 1));
  const std::string em = " --range 0 10 --method em";
  const std::vector<std::pair<std::string, std::string>> runs = {
      {"--input absent.csv" + em, "cannot read absent.csv"},
      {"--input ." + em, "directory"},
      {"--input empty.csv" + em, "empty.csv: empty, a header id"},
      {"--input header.csv" + em, "header.csv: a header, but no densities"},
      {"--input other.csv" + em, "column 'f0' is missing"},
      {"--input few.csv" + em, "few.csv: the densities have 7 points, at least 8 are needed"},
      {"--input in.csv --output absent/fits.csv" + em, "absent/fits.csv: the folder absent does not exist"},
      {"--input in.csv --output /dev/full" + em, "cannot write /dev/full"},
      {"--input in.csv --picture absent/fit.svg" + em, "absent/fit.svg: the folder absent does not exist"},
      {"--input in.csv --range 0 10 --model absent.safetensors", "cannot read absent.safetensors"},
      {"--input in.csv --range 0 10 --model text.safetensors", "text.safetensors"},
      {"--input in.csv --range 0 10 --model cut.safetensors", "cut.safetensors"},
      {"--input in.csv --points absent.csv --method em", "cannot read absent.csv"},
      {"--input in.csv --points other.csv --method em", "expected one column of positions, found 2"},
      {"--input in.csv --points short.csv --method em", "3 positions for densities of 30 values"}};
  for (const auto& [arguments, message] : runs) {
    const auto result = fit_mixture(arguments);
    CAPTURE(arguments, result.err);
    CHECK(result.code == 1);
    CHECK_THAT(result.err, contains(message));
  }
}

TEST_CASE("--help explains every option and the exit codes") {
  const auto result = Workshop()("--help");
  CHECK(result.code == 0);
  for (const char* text : {"--input", "--range MIN MAX", "--points FILE.csv", "--method lamf|mdn|em|lp|hybrid",
                           "--init NAME", "--starts N", "--polish N", "--minimax N", "--components K", "--model FILE",
                           "--output FITS.csv", "--picture FILE.svg|png", "--threads N", "Exit code: 0"})
    CHECK_THAT(result.out, contains(text));
}
