// The program evaluate_assimilation, run as a user runs it, on the Gaussian estimate that needs no trained model.
// program: evaluate_assimilation

#include "catch.hpp"
#include "io_support.hpp"
#include "program.hpp"

#include <kolmo/io/csv_reader.hpp>
#include <kolmo/io/number_text.hpp>

using namespace kolmo;
using kolmo_test::contains;

namespace {

std::vector<std::vector<std::string>> table(const std::string& text) {
  std::vector<std::vector<std::string>> rows;
  io::CsvReader reader(text, {}, "table");
  io::CsvRow row;
  while (reader.next(row)) rows.emplace_back(row.fields.begin(), row.fields.end());
  return rows;
}
/// The rows without their last column, the seconds.
std::vector<std::vector<std::string>> timeless(const std::string& text) {
  auto rows = table(text);
  for (auto& row : rows) row.pop_back();
  return rows;
}

const std::string small =
    "--system lorenz --model gaussian --sensors low --samples 12 --steps 16 --particles 300 --seed 3 --quiet ";

}  // namespace

TEST_CASE("rows for every method, corrections and observation, and a table of medians; threads change nothing") {
  const kolmo_test::ProgramRuns evaluate;
  const auto result = evaluate(small + "--methods sda jfps --corrections 0 1 --observations 2 --output a.csv");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK_THAT(result.out, contains("log prior 81.70; log likelihood low 14.19"));
  const auto rows = table(evaluate.read("a.csv"));
  REQUIRE(rows.size() == 1 + 2 * (1 + 4));
  CHECK(rows[0] == std::vector<std::string>{"sensor", "method", "corrections", "observation", "log_prior",
                                            "log_likelihood", "wasserstein1", "seconds"});
  CHECK(rows[1][1] == "particles");
  double likelihood = 0, distance = 0, of_gaussian = 0;
  REQUIRE(io::detail::parse_number(rows[1][5], likelihood) == io::NumberProblem::none);
  REQUIRE(io::detail::parse_number(rows[1][6], distance) == io::NumberProblem::none);
  REQUIRE(io::detail::parse_number(rows[2][6], of_gaussian) == io::NumberProblem::none);
  CHECK((likelihood > 0 && likelihood < 25));
  // The system is far from Gaussian; two runs of the filter are near each other.
  CHECK(of_gaussian > 4 * distance);
  CHECK(table(evaluate.read("a.csv.table.csv")).size() == 1 + 5);
  REQUIRE(evaluate(small + "--methods sda jfps --corrections 0 1 --observations 2 --threads 1 --output b.csv").code ==
          0);
  CHECK(timeless(evaluate.read("b.csv")) == timeless(evaluate.read("a.csv")));
}

TEST_CASE("a table goes on where it was stopped, with more methods too, and never with other settings") {
  const kolmo_test::ProgramRuns evaluate;
  REQUIRE(evaluate(small + "--methods sda pigdm --corrections 1 --observations 1 --output whole.csv").code == 0);
  REQUIRE(evaluate(small + "--methods sda --corrections 1 --observations 1 --output part.csv").code == 0);
  // Killed within a row.
  std::string text = evaluate.read("part.csv");
  io::write_atomically(evaluate.folder / "part.csv", text.substr(0, text.size() - 9));
  REQUIRE(evaluate(small + "--methods sda pigdm --corrections 1 --observations 1 --output part.csv").code == 0);
  CHECK(timeless(evaluate.read("part.csv")) == timeless(evaluate.read("whole.csv")));

  const auto other = evaluate(small + "--tau 0.5 --methods sda --output part.csv");
  CHECK(other.code == 2);
  CHECK_THAT(other.err, contains("tau is 0.25 there and 0.5 here"));
  CHECK(evaluate(small + "--methods nothing --output c.csv").code == 2);
  CHECK(evaluate("--model nothere.safetensors --output c.csv").code == 1);
  CHECK_FALSE(evaluate.has("c.csv"));
}
