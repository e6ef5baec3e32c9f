// The program fit_samples, run as a user runs it.
// program: fit_samples

#include "catch.hpp"
#include "io_support.hpp"
#include "program.hpp"

#include <sys/wait.h>

#include <cmath>
#include <cstdlib>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/gmm/em_samples.hpp>
#include <kolmo/io/csv.hpp>
#include <kolmo/io/npy.hpp>

using namespace kolmo;
using kolmo::io::test::TemporaryDirectory;
using kolmo_test::contains;

namespace {

using Points = Tensor<double, Cpu>;

/// Points of two well separated normals in three coordinates.
std::vector<double> two_clusters(std::size_t count) {
  std::vector<double> values;
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      values.push_back(normal<double>(Key{4}, 3 * i + j) * (j == 1 ? 2.0 : 1.0) + (i % 4 == 0 ? 20.0 : 0.0));
  return values;
}

std::string csv_of(const std::vector<double>& values, const std::string& header = "a,b,c") {
  std::string text = header + "\n";
  for (std::size_t i = 0; i < values.size(); i += 3)
    text += io::to_text(values[i]) + "," + io::to_text(values[i + 1]) + "," + io::to_text(values[i + 2]) + "\n";
  return text;
}

/// Runs of the program in a folder.
struct Workshop : kolmo_test::ProgramRuns {
};

}  // namespace

TEST_CASE("the mixture and the labels are those of fit_samples") {
  const Workshop fit_samples;
  const auto values = two_clusters(400);
  fit_samples.write("in.csv", csv_of(values));
  const auto result = fit_samples("--input in.csv --components 2 --output mixture.csv --labels labels.csv");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.err.empty());
  gmm::SampleFitOptions options;
  options.starts = 3;
  const Points points = Points::from(std::span<const double>(values), Shape{400, 3});
  const auto fit = gmm::fit_samples(points, 2, options);

  const auto mixture = io::parse_numeric_csv(fit_samples.read("mixture.csv"));
  CHECK(mixture.names == std::vector<std::string>{"component", "weight", "mean_a", "mean_b", "mean_c", "cov_a_a",
                                                  "cov_a_b", "cov_a_c", "cov_b_b", "cov_b_c", "cov_c_c"});
  REQUIRE(mixture.rows == 2);
  CHECK(mixture.column("weight") == fit.mixture.weights.to_vector());
  CHECK(mixture(1, 3) == fit.mixture.means.to_vector()[4]);
  CHECK(mixture(1, 8) == fit.mixture.covariances.to_vector()[13]);
  CHECK(mixture(0, 1) == Approx(0.75));
  CHECK(mixture(1, 2) == Approx(20.0).margin(0.4));
  CHECK(mixture(0, 8) == Approx(4.0).margin(0.8));

  const auto labels = io::parse_numeric_csv(fit_samples.read("labels.csv"));
  CHECK(labels.names == std::vector<std::string>{"row", "component", "probability", "log_density"});
  REQUIRE(labels.rows == 400);
  const auto density = gmm::log_density(fit.mixture, points).to_vector();
  for (std::size_t i = 0; i < 400; ++i) {
    REQUIRE(labels(i, 0) == static_cast<double>(i + 1));
    REQUIRE(labels(i, 1) == (i % 4 == 0 ? 2 : 1));
    REQUIRE(labels(i, 2) > 0.99);
    REQUIRE(labels(i, 3) == density[i]);
  }
  CHECK_THAT(result.out, contains("400 points of 3 coordinates (a, b, c), full covariance"));
}

TEST_CASE("a range is searched by the criterion asked for") {
  const Workshop fit_samples;
  fit_samples.write("in.csv", csv_of(two_clusters(300)));
  for (const std::string covariance : {"full", "diagonal", "tied", "spherical"}) {
    const auto result =
        fit_samples("--input in.csv --components 1..4 --covariance " + covariance + " --output mixture.csv --starts 5");
    CAPTURE(covariance, result.out, result.err);
    REQUIRE(result.code == 0);
    CHECK_THAT(result.out, contains("smallest bic"));
    CHECK(io::parse_numeric_csv(fit_samples.read("mixture.csv")).rows >= 2);
  }
  CHECK(io::parse_numeric_csv(fit_samples.read("mixture.csv")).names.size() == 11);
  CHECK_THAT(fit_samples("--input in.csv --components 1..3 --select aic").out, contains("smallest aic"));
}

TEST_CASE("NPY arrays, chosen columns and weights") {
  const Workshop fit_samples;
  const auto values = two_clusters(200);
  io::save_npy(fit_samples.folder / "in.npy", io::HostArray(values, {200, 3}));
  fit_samples.write("in.csv", csv_of(values, "x0,x1,x2"));
  for (const std::string input : {"in.npy", "in.csv"}) {
    REQUIRE(fit_samples("--input " + input + " --components 2 --output " + input + ".out").code == 0);
    REQUIRE(fit_samples("--input " + input + " --components 2 --columns x2,x0 --output " + input + ".columns").code ==
            0);
  }
  CHECK(fit_samples.read("in.npy.out") == fit_samples.read("in.csv.out"));
  CHECK(fit_samples.read("in.npy.columns") == fit_samples.read("in.csv.columns"));
  CHECK_THAT(fit_samples.read("in.csv.columns"), contains("component,weight,mean_x2,mean_x0,cov_x2_x2,cov_x2_x0"));

  // Weights, beside texts that are not asked for.
  fit_samples.write("weights.csv", "name,x,w\nfirst,1,3\n\"second, too\",5,1\nthird,9,0\n");
  REQUIRE(fit_samples("--input weights.csv --columns x --weights-column w --components 1 --output m.csv").code == 0);
  const auto mixture = io::parse_numeric_csv(fit_samples.read("m.csv"));
  CHECK(mixture(0, 2) == Approx(2.0));
  CHECK(mixture(0, 3) == Approx(3.0));
  // A vector is points of one coordinate; single precision is read too.
  io::save_npy(fit_samples.folder / "vector.npy", io::HostArray(std::vector<float>{1, 2, 3, 10, 11, 12}, {6}));
  REQUIRE(fit_samples("--input vector.npy --components 2 --output m.csv --picture p.svg").code == 0);
  CHECK(io::parse_numeric_csv(fit_samples.read("m.csv"))(1, 2) == Approx(11.0).margin(1e-6));
  CHECK_THAT(fit_samples.read("p.svg"), contains("density"));
}

TEST_CASE("rows that are no points are reported by line, left out, and empty in the labels") {
  const Workshop fit_samples;
  const auto values = two_clusters(60);
  std::string good = csv_of(values, "x,y,w");
  std::size_t at = 0;
  std::string text;
  for (std::size_t line = 0; at < good.size(); ++line) {
    const std::size_t end = good.find('\n', at) + 1;
    text += line == 0 ? good.substr(at, end - at) : good.substr(at, good.rfind(',', end - 2) + 1 - at) + "1\n";
    if (line == 3) text += "nan,1,1\n1,two,1\n1,2\n1,2,-1\n";
    at = end;
  }
  fit_samples.write("in.csv", text);
  const auto result = fit_samples("--input in.csv --weights-column w --components 2 --labels labels.csv");
  CAPTURE(result.err);
  CHECK(result.code == 3);
  for (const char* report :
       {"in.csv: line 5, field 1 (x): 'nan' is not finite", "line 6, field 2 (y): 'two' is not a number",
        "line 7: 3 fields expected, found 2", "line 8, field 3 (w): the weight is negative",
        "4 of 64 rows are no points and were left out"})
    CHECK_THAT(result.err, contains(report));
  const std::string labels = fit_samples.read("labels.csv");
  for (const char* row : {"\n4,,,\n", "\n5,,,\n", "\n6,,,\n", "\n7,,,\n"}) CHECK_THAT(labels, contains(row));
  CHECK_THAT(labels, contains("\n64,"));
  io::save_npy(fit_samples.folder / "in.npy", io::HostArray(std::vector<double>{1, 2, NAN, 4, 5, 6}, {3, 2}));
  const auto npy = fit_samples("--input in.npy --components 1");
  CHECK(npy.code == 3);
  CHECK_THAT(npy.err, contains("row 2, x0: not finite"));
}

TEST_CASE("pictures are SVG or PNG by their names and show the coordinates asked for") {
  const Workshop fit_samples;
  fit_samples.write("in.csv", csv_of(two_clusters(100)));
  REQUIRE(fit_samples("--input in.csv --components 1..3 --picture fit.svg --axes c a").code == 0);
  const std::string svg = fit_samples.read("fit.svg");
  for (const char* text : {"<svg", ">c<", ">a<", "2 components", "smallest BIC: 2", ">BIC<"})
    CHECK_THAT(svg, contains(text));
  CHECK(svg.find(">b<") == std::string::npos);
  REQUIRE(fit_samples("--input in.csv --components 2 --picture fit.png").code == 0);
  CHECK(fit_samples.read("fit.png").substr(1, 3) == "PNG");
}

TEST_CASE("the fit depends on the seed, not on the number of threads") {
  const Workshop fit_samples;
  std::vector<double> values;
  for (std::size_t i = 0; i < 9000; ++i) values.push_back(uniform<double>(Key{9}, i));
  fit_samples.write("in.csv", csv_of(values));
  std::string first;
  for (const std::string threads : {"1", "2", "3"}) {
    REQUIRE(fit_samples("--input in.csv --components 5 --starts 1 --iterations 20 --output m.csv --threads " + threads)
                .code == 0);
    if (first.empty()) first = fit_samples.read("m.csv");
    CHECK(fit_samples.read("m.csv") == first);
  }
  const auto other = fit_samples("--input in.csv --components 5 --starts 1 --iterations 20 --output m.csv --seed 1");
  CHECK_THAT(other.out, contains("not converged"));
  CHECK(fit_samples.read("m.csv") != first);
}

TEST_CASE("wrong arguments end with 2, say what was given, and write nothing") {
  const Workshop fit_samples;
  fit_samples.write("in.csv", csv_of({1, 2, 3, 1, 2, 3, 4, 5, 6}));
  const std::string before = fit_samples.read("in.csv");
  const std::vector<std::pair<std::string, std::string>> runs = {
      {"", "--input is required"},
      {"--input in.csv", "--components is required"},
      {"--input in.csv --components 0", "given '0'"},
      {"--input in.csv --components two", "given 'two'"},
      {"--input in.csv --components 3..2", "given '3..2'"},
      {"--input in.csv --components 1..", "given '1..'"},
      {"--input in.csv --components 1 --covariance round", "--covariance"},
      {"--input in.csv --components 1 --select mdl", "--select"},
      {"--input in.csv --components 1 --starts 0", "--starts"},
      {"--input in.csv --components 1 --threads 0", "--threads"},
      {"--input in.csv --components 1 --tolerance -1", "the tolerance must not be negative"},
      {"--input in.csv --components 1 --covariance-floor 0", "the covariance floor"},
      {"--input in.csv --components 1 --columns a,d", "--columns: in.csv has no column 'd'; it has a, b, c"},
      {"--input in.csv --components 1 --columns a,a", "column 'a' is used twice"},
      {"--input in.csv --components 1 --columns a --weights-column a", "column 'a' is used twice"},
      {"--input in.csv --components 1 --weights-column w", "--weights-column: in.csv has no column 'w'"},
      {"--input in.csv --components 1 --axes a w --picture p.svg", "--axes: there is no coordinate 'w'"},
      {"--input in.txt --components 1", "must end in .csv or .npy"},
      {"--input in.csv --components 1 --picture p.jpg", "p.jpg' must end in .svg or .png"},
      {"--input in.csv --components 3", "3 components, but only 2 different points"},
      {"--input in.csv --components 4", "only 3 points"},
      {"--input in.csv --components 1 --labels in.csv", "--labels in.csv is the input"},
      {"--input in.csv --components 1 --labels fits.csv", "--output and --labels are the same file"},
      {"--input in.csv --components 1 --colour red", "--colour"}};
  for (const auto& [arguments, message] : runs) {
    const auto result = fit_samples(arguments + " --output fits.csv");
    CAPTURE(arguments, result.err);
    CHECK(result.code == 2);
    CHECK_THAT(result.err, contains(message));
    CHECK(result.out.empty());
    CHECK_FALSE(fit_samples.has("fits.csv"));
  }
  CHECK(fit_samples.read("in.csv") == before);
}

TEST_CASE("files that cannot be used end with 1 and name the file") {
  const Workshop fit_samples;
  fit_samples.write("in.csv", csv_of({1, 2, 3}));
  fit_samples.write("empty.csv", "");
  fit_samples.write("header.csv", "a,b\n");
  fit_samples.write("numbers.csv", "1,2\n3,4\n");
  fit_samples.write("text.npy", "no array");
  io::save_npy(fit_samples.folder / "cube.npy", io::HostArray(std::vector<double>(8, 1.0), {2, 2, 2}));
  const std::vector<std::pair<std::string, std::string>> runs = {
      {"--input absent.csv", "cannot read absent.csv"},
      {"--input empty.csv", "empty.csv: empty, a header"},
      {"--input header.csv", "header.csv: there is no row that is a point; --columns"},
      {"--input numbers.csv", "numbers.csv: the first line must name the columns, found the number 1"},
      {"--input text.npy", "text.npy"},
      {"--input cube.npy", "cube.npy: expected an array of shape [N, D], found [2, 2, 2]"},
      {"--input in.csv --output absent/m.csv", "absent/m.csv: the folder absent does not exist"},
      {"--input in.csv --output /dev/full", "cannot write /dev/full"}};
  for (const auto& [arguments, message] : runs) {
    const auto result = fit_samples(arguments + " --components 1");
    CAPTURE(arguments, result.err);
    CHECK(result.code == 1);
    CHECK_THAT(result.err, contains(message));
  }
}

TEST_CASE("--help explains every option and the exit codes") {
  const auto result = Workshop()("--help");
  CHECK(result.code == 0);
  for (const char* text : {"--input FILE.csv|npy", "--components K|FIRST..LAST", "--select bic|aic",
                           "--covariance full|diagonal|tied|spherical", "--columns NAME,...", "--weights-column NAME",
                           "--starts N", "--seed S", "--output MIXTURE.csv", "--labels LABELS.csv",
                           "--picture FILE.svg|png", "--axes NAME NAME", "--threads N", "Exit code: 0"})
    CHECK_THAT(result.out, contains(text));
}
