// The collapse of a codebook by the rules of a bug report, and its cure: the tables of the two experiments in short,
// and at full size as [long].
#include <map>

#include "../examples/codebook_rules.hpp"
#include "catch.hpp"
#include "rvq_data.hpp"

using namespace kolmo;
using kolmo_test::gaussian;
using kolmo_test::heavy;
using kolmo_test::mix8;
using rules::Matrix;
using rules::Rule;

namespace {

struct Outcome {
  double peak, reference;
  rvq::StageReport whole;
};

std::map<Rule, Outcome> compare(index_t codes, index_t vectors, index_t updates, index_t pool_size) {
  const auto pool = mix8(pool_size, Key{1});
  rvq::Codebook<Matrix> best(8, {.codes = codes, .lloyd_iterations = 50, .start_vectors_per_code = pool_size});
  rvq::start_codebook(best, pool, Key{2});
  const double reference = rules::measure(best, pool).mse;
  std::map<Rule, Outcome> result;
  for (const Rule rule : rules::all_rules) {
    rules::Run run(rule, gaussian(codes, 8, Key{3}));
    for (index_t s = 0; s < updates; ++s) {
      const Key key = fold_in(Key{4}, static_cast<std::uint64_t>(s));
      run.step(rules::random_rows(pool, vectors, key), fold_in(key, 1));
    }
    result[rule] = {run.peak, reference, rules::measure(run.book, pool)};
    UNSCOPED_INFO(rules::name_of(rule) << ": std " << result[rule].whole.codebook_std << ", range "
                                       << result[rule].whole.codebook_min << " to " << result[rule].whole.codebook_max
                                       << ", dead " << result[rule].whole.dead << ", perplexity "
                                       << result[rule].whole.perplexity << ", MSE " << result[rule].whole.mse
                                       << " (reference " << reference << "), peak " << run.peak);
  }
  return result;
}

/// How far the rules go wrong grows with the vectors of an update and their number.
struct Bounds {
  double raw_peak, no_division_peak, no_division_error, algorithm_error;
};

void check_outcomes(const std::map<Rule, Outcome>& of, const Bounds& bounds) {
  const auto mse = [&](Rule rule) { return of.at(rule).whole.mse / of.at(rule).reference; };
  const auto dead = [&](Rule rule) { return of.at(rule).whole.dead; };
  const double most_input = 5;
  // Means of vectors, whatever the division: none leaves the data by more than its start. Without replacement a large
  // part of a random start is never used.
  for (const Rule rule : {Rule::ran, Rule::mean_of_means, Rule::ratio}) {
    CHECK(of.at(rule).whole.codebook_max < most_input);
    CHECK(dead(rule) > 0.25);
    CHECK(mse(rule) > 1.15);
    CHECK(mse(rule) < 3);
  }
  // Nothing forgotten: the errors of the start remain.
  CHECK(mse(Rule::printed) > 1.3 * mse(Rule::ratio));
  // A count of one batch under a sum of many: codes fly out.
  CHECK(of.at(Rule::raw_count).peak > bounds.raw_peak);
  CHECK(mse(Rule::raw_count) > 10);
  CHECK(of.at(Rule::no_division).peak > bounds.no_division_peak);
  CHECK(mse(Rule::no_division) > bounds.no_division_error);
  CHECK(of.at(Rule::tiny_epsilon).peak > 1e5);
  CHECK(mse(Rule::tiny_epsilon) > 5);
  // Codes with few hits shrink towards the origin and lose those.
  CHECK(mse(Rule::clamp_ten) > 5);
  CHECK(of.at(Rule::clamp_ten).whole.codebook_std < 0.6 * of.at(Rule::algorithm).whole.codebook_std);
  // The cure.
  CHECK(dead(Rule::algorithm) < 0.02);
  CHECK(of.at(Rule::algorithm).whole.perplexity > 0.7 * of.at(Rule::algorithm).whole.codes);
  CHECK(mse(Rule::algorithm) < bounds.algorithm_error);
  CHECK(of.at(Rule::algorithm).whole.identity_gap < 0.005);
}

}  // namespace

TEST_CASE("R11: the rules of the report leave codes unused or lose the scale; the algorithm does neither") {
  check_outcomes(compare(128, 256, 500, 8192), {8, 5, 20, 1.25});
}

TEST_CASE("R11: the rules of the report at full size", "[long]") {
  check_outcomes(compare(256, 4096, 1000, 65536), {100, 20, 1000, 1.08});
}

TEST_CASE("R13: a reset by a fixed count wipes the stage that begins; the algorithm keeps it") {
  const auto pool = heavy(20000, Key{1});
  const rules::Replica replica{16, 2560, 60, 120, 240};
  std::vector<rules::Replica::Step> reported, right;
  replica.run(Rule::ran, pool, Key{2}, {0, 119, 120, 239}, [&](const auto& step) { reported.push_back(step); });
  replica.run(Rule::algorithm, pool, Key{2}, {0, 119, 120, 239}, [&](const auto& step) { right.push_back(step); });
  // 0.01 n is below 100 for every code with fewer than 10 000 hits.
  CHECK(reported[0].wiped[0] >= 15);
  CHECK(reported[0].stages[0].codebook_std < 0.1);
  CHECK(reported[2].wiped[1] >= 15);
  // The second stage begins at zero and gains nothing.
  CHECK(reported[2].stages[1].gain_db < 0.5);
  CHECK(right[2].stages[1].gain_db > 1.5);
  CHECK(right[2].stages[1].dead == 0);
  CHECK(right[0].stages[0].mse < 0.7 * reported[0].stages[0].mse);
  CHECK(right[1].stages[0].mse < reported[1].stages[0].mse);
  // On such vectors a good codebook has most counts below the threshold of the report, and extremes far above 4.
  CHECK(right[1].below_threshold[0] > 8);
  CHECK(right[1].stages[0].codebook_max > 5);
  CHECK(right[1].stages[0].dead < 0.1);
  CHECK(right[1].stages[0].identity_gap < 0.1);
}

TEST_CASE("R13: the replica of the reported run at full size", "[long]") {
  const auto pool = heavy(300000, Key{1});
  const rules::Replica replica{256, 40960, 400, 800, 1600};
  std::vector<rules::Replica::Step> reported, right;
  replica.run(Rule::ran, pool, Key{2}, {0, 799, 800, 1599}, [&](const auto& step) { reported.push_back(step); });
  replica.run(Rule::algorithm, pool, Key{2}, {0, 799, 800}, [&](const auto& step) { right.push_back(step); });
  CHECK(reported[0].wiped[0] > 245);
  CHECK(reported[0].stages[0].codebook_std < 0.1);
  CHECK(reported[0].stages[0].mse > 0.9);
  CHECK(reported[1].stages[0].mse > 1.15 * right[1].stages[0].mse);
  CHECK(reported[2].wiped[1] > 245);
  CHECK(reported[2].stages[1].gain_db < 0.5);
  CHECK(right[2].stages[1].mse < 0.6 * right[2].stages[0].mse);
  CHECK(right[1].below_threshold[0] > 153);
  CHECK(right[1].stages[0].codebook_std > 1.5);
  // Measured on one batch, in which the rarest codes may be missing.
  CHECK(right[1].stages[0].dead < 0.05);
}
