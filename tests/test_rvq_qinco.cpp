// QINCo: codewords that depend on what is already reconstructed.

#include <kolmo/rvq/qinco_training.hpp>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/encode.hpp>
#include <kolmo/rvq/k_means.hpp>

#include "rvq_data.hpp"

#include "catch.hpp"

using namespace kolmo;
using kolmo_test::contains;

namespace {

using V = Tensor<double, Cpu>;
using Row = std::vector<double>;

/// A quantizer with all weights drawn at random.
rvq::Qinco<V> random_quantizer(index_t d = 3, index_t codes = 5, index_t stages = 3) {
  std::vector<V> tables;
  for (index_t q = 0; q < stages; ++q)
    tables.push_back(nn::normal_values<V>(Key{static_cast<std::uint64_t>(q) + 1}, Shape{codes, d}));
  rvq::Qinco<V> quantizer(Key{4}, tables, 1.7, {.hidden = 4, .blocks = 2});
  std::uint64_t number = 10;
  visit_parameters([&](const std::string&, V& x) { x = nn::normal_values<V>(Key{number++}, x.shape(), 0, 0.5); },
                   quantizer);
  return quantizer;
}

Row row_of(const V& x, std::size_t i) {
  const auto values = x.to_vector();
  const auto d = static_cast<std::ptrdiff_t>(x.shape()[1]), first = static_cast<std::ptrdiff_t>(i) * d;
  return {values.begin() + first, values.begin() + first + d};
}

/// x W, a sum at a time.
Row product(const Row& x, const V& w) {
  const auto rows = static_cast<std::size_t>(w.shape()[0]), columns = static_cast<std::size_t>(w.shape()[1]);
  const auto values = w.to_vector();
  REQUIRE(rows == x.size());
  Row y(columns, 0.0);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) y[j] += x[i] * values[i * columns + j];
  return y;
}

/// f(c, xh) from the formula.
Row codeword_by_hand(const rvq::QincoStage<V>& stage, std::size_t code, const Row& given) {
  const Row c = row_of(stage.codewords, code);
  Row joined = c;
  joined.insert(joined.end(), given.begin(), given.end());
  Row z = product(joined, stage.mix.weight);
  const auto bias = stage.mix.bias.to_vector();
  for (std::size_t j = 0; j < z.size(); ++j) z[j] += c[j] + bias[j];
  for (const auto& block : stage.blocks) {
    Row hidden = product(z, block.up);
    for (double& h : hidden) h = std::max(h, 0.0);
    const Row added = product(hidden, block.down);
    for (std::size_t j = 0; j < z.size(); ++j) z[j] += added[j];
  }
  return z;
}

double squared_distance(const Row& a, const Row& b) {
  double sum = 0;
  for (std::size_t j = 0; j < a.size(); ++j) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return sum;
}

/// The sum over the stages of the mean squared error, in units of the scale.
double reconstruction_loss(const rvq::Qinco<V>& quantizer, const V& x, const std::vector<rvq::Code>& codes) {
  const auto n = static_cast<std::size_t>(x.shape()[0]), stages = quantizer.stages.size() + 1;
  double loss = 0;
  for (std::size_t i = 0; i < n; ++i) {
    Row target = row_of(x, i), given = row_of(quantizer.first, static_cast<std::size_t>(codes[i * stages]));
    for (double& t : target) t /= quantizer.scale;
    loss += squared_distance(target, given);
    for (std::size_t q = 1; q < stages; ++q) {
      const Row f = codeword_by_hand(quantizer.stages[q - 1], static_cast<std::size_t>(codes[i * stages + q]), given);
      for (std::size_t j = 0; j < f.size(); ++j) given[j] += f[j];
      loss += squared_distance(target, given);
    }
  }
  return loss / static_cast<double>(x.size());
}

/// Residual tables by k-means, stage after stage.
std::vector<V> residual_tables(const V& x, index_t codes, index_t stages) {
  std::vector<V> tables;
  V residual = x;
  for (index_t q = 0; q < stages; ++q) {
    const std::vector<V> table{rvq::k_means(residual, codes, {}, Key{static_cast<std::uint64_t>(q)}).codewords};
    tables.push_back(table[0]);
    residual = residual - rvq::decode_residual(table, rvq::encode_residual(table, residual));
  }
  return tables;
}

}  // namespace

TEST_CASE("qinco: the greedy encoder tries every codeword through the network") {
  const auto quantizer = random_quantizer();
  const V x = nn::normal_values<V>(Key{20}, Shape{30, 3}, 0, 2);
  const auto codes = rvq::encode(quantizer, x).to_vector();
  const V decoded = rvq::decode(quantizer, rvq::encode(quantizer, x));
  for (std::size_t i = 0; i < 30; ++i) {
    Row target = row_of(x, i), given(3, 0.0);
    for (double& t : target) t /= quantizer.scale;
    for (std::size_t q = 0; q < 3; ++q) {
      double least = 1e300;
      rvq::Code best = -1;
      Row chosen;
      for (std::size_t k = 0; k < 5; ++k) {
        Row next = q == 0 ? row_of(quantizer.first, k) : codeword_by_hand(quantizer.stages[q - 1], k, given);
        for (std::size_t j = 0; j < 3; ++j) next[j] += given[j];
        const double error = squared_distance(target, next);
        if (error >= least) continue;
        least = error;
        best = static_cast<rvq::Code>(k);
        chosen = next;
      }
      REQUIRE(codes[i * 3 + q] == best);
      given = chosen;
    }
    for (std::size_t j = 0; j < 3; ++j)
      REQUIRE(row_of(decoded, i)[j] == Approx(given[j] * quantizer.scale).margin(1e-12));
  }
}

TEST_CASE("qinco: gradients of all weights with the codes held fixed") {
  const auto quantizer = random_quantizer();
  const V x = nn::normal_values<V>(Key{21}, Shape{6, 3}, 0, 2);
  const auto codes = rvq::encode(quantizer, x);
  const auto chosen = codes.to_vector();
  const auto result = value_and_grad(quantizer, [&](const auto& q) { return rvq::qinco_loss(q, x, codes); });
  std::size_t checked = 0;
  rvq::Qinco<V> moved = quantizer;
  visit_parameters(
      [&](const std::string& path, V& parameter, const V& gradient) {
        if (path.find("preselection") != std::string::npos) return;
        const auto expected = gradient.to_vector();
        const V start = parameter;
        for (std::size_t i = 0; i < expected.size(); ++i) {
          const auto at = [&](double step) {
            parameter = start;
            parameter.mutable_data()[i] += step;
            const double loss = reconstruction_loss(moved, x, chosen);
            parameter = start;
            return loss;
          };
          const double h = 1e-5;
          INFO(path << " " << i);
          REQUIRE(expected[i] == Approx((at(h) - at(-h)) / (2 * h)).margin(1e-8));
          ++checked;
        }
      },
      moved, result.gradient);
  REQUIRE(checked == 15 + 2 * (15 + 18 + 3 + 4 * 12));

  // The preselection is pulled to the mean of the residuals it stands for.
  const auto preselection = quantizer.stages[0].preselection.to_vector();
  Row expected(15, 0.0);
  for (std::size_t i = 0; i < 6; ++i) {
    const Row first = row_of(quantizer.first, static_cast<std::size_t>(chosen[i * 3])), target = row_of(x, i);
    for (std::size_t j = 0; j < 3; ++j) {
      const std::size_t at = static_cast<std::size_t>(chosen[i * 3 + 1]) * 3 + j;
      expected[at] += 2.0 / 18 * (preselection[at] - (target[j] / quantizer.scale - first[j]));
    }
  }
  const auto gradient = result.gradient.stages[0].preselection.to_vector();
  for (std::size_t i = 0; i < 15; ++i) REQUIRE(gradient[i] == Approx(expected[i]).margin(1e-12));
}

TEST_CASE("qinco: it starts as the residual quantizer whose tables it is given") {
  const V x = kolmo_test::mix8<double>(300, Key{1});
  std::vector<V> tables;
  for (std::uint64_t q = 0; q < 3; ++q)
    tables.push_back(nn::normal_values<V>(Key{q + 30}, Shape{12, 8}, 0, std::pow(0.5, static_cast<double>(q))));
  const rvq::Qinco<V> quantizer(Key{5}, tables, 0.9);
  const auto codes = rvq::encode_residual(tables, x);
  REQUIRE(rvq::encode(quantizer, x).to_vector() == codes.to_vector());
  const auto a = rvq::decode(quantizer, codes).to_vector(), b = rvq::decode_residual(tables, codes).to_vector();
  for (std::size_t i = 0; i < a.size(); ++i) REQUIRE(a[i] == Approx(b[i]).margin(1e-12));
}

TEST_CASE("qinco: chunks, beam and preselection") {
  const auto quantizer = random_quantizer(4, 8, 3);
  const V x = nn::normal_values<V>(Key{22}, Shape{100, 4}, 0, 2);
  const auto greedy = rvq::encode_with_errors(quantizer, x);
  REQUIRE(rvq::encode(quantizer, x, {.memory_bytes = 1}).to_vector() == greedy.codes.to_vector());
  REQUIRE(rvq::encode(quantizer, x, {.preselection = 8}).to_vector() == greedy.codes.to_vector());

  const auto errors_of = [&](const rvq::QincoCodes<V>& coded) {
    // What the search saw is what the decoder gives.
    const auto decoded = rvq::decode(quantizer, coded.codes).to_vector(), input = x.to_vector();
    const auto seen = coded.squared_error.to_vector();
    double total = 0;
    for (std::size_t i = 0; i < seen.size(); ++i) {
      double error = 0;
      for (std::size_t j = 0; j < 4; ++j) error += std::pow(input[i * 4 + j] - decoded[i * 4 + j], 2);
      REQUIRE(seen[i] == Approx(error).margin(1e-10));
      total += error;
    }
    return total;
  };
  const double one = errors_of(greedy);
  const double four = errors_of(rvq::encode_with_errors(quantizer, x, {.beam = 4}));
  const double all = errors_of(rvq::encode_with_errors(quantizer, x, {.beam = 64}));
  REQUIRE(four < one);
  REQUIRE(all <= four);
  // A beam that keeps everything finds the best code of all.
  const auto best = rvq::encode_with_errors(quantizer, x, {.beam = 64}).squared_error.to_vector();
  for (const index_t beam : {1, 2, 8}) {
    const auto seen = rvq::encode_with_errors(quantizer, x, {.beam = beam}).squared_error.to_vector();
    for (std::size_t i = 0; i < seen.size(); ++i) REQUIRE(best[i] <= seen[i] * (1 + 1e-12));
  }
  const double few = errors_of(rvq::encode_with_errors(quantizer, x, {.preselection = 4}));
  REQUIRE(few >= one * 0.999);
}

TEST_CASE("qinco: training improves on the tables it started from, and resumes with the same bits") {
  const V pool = kolmo_test::mix8<double>(4096, Key{1}), held_out = kolmo_test::mix8<double>(4096, Key{2});
  const auto tables = residual_tables(pool, 16, 2);
  const auto mse = [&](const V& decoded) { return static_cast<double>(mean(square(decoded - held_out)).item()); };
  const double before = mse(rvq::decode_residual(tables, rvq::encode_residual(tables, held_out)));

  const double deviation = std::sqrt(static_cast<double>(mean(square(pool)).item()));
  const rvq::Qinco<V> start(Key{3}, tables, deviation, {.hidden = 32, .blocks = 1});
  const rvq::QincoTrainOptions options{.steps = 60, .batch = 256, .learning_rate = 4e-3};
  auto training = rvq::start_training(start, Key{4});
  auto half = training;
  rvq::train(training, pool, options);
  const double after = mse(rvq::decode(training.quantizer, rvq::encode(training.quantizer, held_out)));
  CAPTURE(before, after);
  REQUIRE(after < 0.95 * before);
  REQUIRE(training.skipped == 0);

  while (half.steps_completed < 30) {
    std::vector<index_t> rows;
    for (index_t i = 0; i < options.batch; ++i)
      rows.push_back(integer_below(fold_in(Key{4}, static_cast<std::uint64_t>(half.steps_completed)),
                                   static_cast<std::uint64_t>(i), pool.shape()[0]));
    rvq::train_step(half, take(pool, Tensor<index_t, Cpu>::from(rows)), options);
  }
  auto resumed = io::model_from_arrays<rvq::QincoTraining<V>>(io::to_arrays(half));
  rvq::train(resumed, pool, options);
  REQUIRE(resumed.steps_completed == 60);
  REQUIRE(resumed.quantizer.first.to_vector() == training.quantizer.first.to_vector());
  REQUIRE(resumed.quantizer.stages[0].mix.weight.to_vector() == training.quantizer.stages[0].mix.weight.to_vector());
}

TEST_CASE("qinco: bad tables, options, codes and vectors are refused") {
  const V table = V::ones({4, 3});
  REQUIRE_THROWS_AS(rvq::Qinco<V>(Key{1}, {}, 1.0), ArgumentError);
  REQUIRE_THROWS_AS(rvq::Qinco<V>(Key{1}, {table, V::ones({4, 2})}, 1.0), ShapeError);
  REQUIRE_THROWS_AS(rvq::Qinco<V>(Key{1}, {table}, 0.0), ArgumentError);
  const auto quantizer = random_quantizer();
  REQUIRE_THROWS_AS(rvq::encode(quantizer, V::zeros({2, 4})), ShapeError);
  REQUIRE_THROWS_AS(rvq::encode(quantizer, V::zeros({2, 3}), {.beam = 0}), ArgumentError);
  V bad = V::zeros({2, 3});
  bad.mutable_data()[4] = std::nan("");
  REQUIRE_THROWS_WITH(rvq::encode(quantizer, bad), contains("row 1"));
  const auto codes = [](rvq::Code c) { return Tensor<rvq::Code, Cpu>::full({2, 3}, c); };
  REQUIRE_THROWS_AS(rvq::decode(quantizer, codes(5)), ArgumentError);
  REQUIRE_THROWS_AS(rvq::decode(quantizer, codes(-1)), ArgumentError);
  REQUIRE_THROWS_AS(rvq::decode(quantizer, Tensor<rvq::Code, Cpu>::zeros({2, 4})), ShapeError);
}
