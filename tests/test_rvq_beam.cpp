// Beam search of residual codes.

#include <kolmo/backend/xtensor.hpp>
#include <kolmo/rvq/cross_tables.hpp>

#include <limits>

#include "device.hpp"
#include "rvq_table_support.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using namespace kolmo_test;

namespace {

template <class V>
double mean_error(const std::vector<V>& tables, const V& x, index_t beam) {
  const auto errors = squared_errors(tables, x, encode_residual(tables, x, beam)).to_vector();
  double sum = 0;
  for (const auto e : errors) sum += static_cast<double>(e);
  return sum / static_cast<double>(x.size());
}

struct Path {
  std::vector<Code> codes;
  std::vector<double> residual;
  double error;
};

/// All children of all kept paths, sorted.
std::vector<Code> by_definition(const std::vector<Tensor<double, Cpu>>& tables, std::vector<double> x, index_t beam) {
  std::vector<Path> paths{{{}, std::move(x), 0}};
  for (const auto& table : tables) {
    const auto rows = table.to_vector();
    const std::size_t d = paths[0].residual.size();
    std::vector<Path> children;
    for (const Path& path : paths)
      for (std::size_t k = 0; k < rows.size() / d; ++k) {
        Path child = path;
        child.codes.push_back(static_cast<Code>(k));
        child.error = 0;
        for (std::size_t j = 0; j < d; ++j) {
          child.residual[j] -= rows[k * d + j];
          child.error += child.residual[j] * child.residual[j];
        }
        children.push_back(child);
      }
    std::stable_sort(children.begin(), children.end(), [](const Path& a, const Path& b) { return a.error < b.error; });
    children.resize(std::min(children.size(), static_cast<std::size_t>(beam)));
    paths = children;
  }
  return paths[0].codes;
}

}  // namespace

TEST_CASE("a beam keeps the best paths of every stage") {
  using V = Tensor<double, Cpu>;
  const auto tables = tables_of<V>({7, 12, 3, 9}, 4);
  const V x = numbers<V>({60, 4}, 1, 1.5);
  const auto rows = x.to_vector();
  for (const index_t beam : {1, 2, 5, 40}) {
    const auto codes = encode_residual(tables, x, beam).to_vector();
    for (std::size_t i = 0; i < 60; ++i) {
      const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(4 * i);
      const auto code = codes.begin() + static_cast<std::ptrdiff_t>(4 * i);
      CHECK(std::vector<Code>(code, code + 4) == by_definition(tables, {begin, begin + 4}, beam));
    }
  }
}

TEST_CASE("a beam wider than the number of codes finds the best codes there are") {
  using V = Tensor<double, Cpu>;
  const auto tables = tables_of<V>({5, 6, 4}, 3);
  const V x = numbers<V>({50, 3}, 2);
  const auto found = squared_errors(tables, x, encode_residual(tables, x, 120)).to_vector();
  std::vector<Code> all;
  for (Code a = 0; a < 5; ++a)
    for (Code b = 0; b < 6; ++b)
      for (Code c = 0; c < 4; ++c) all.insert(all.end(), {a, b, c});
  const auto decoded = decode_residual(tables, CodesOf<V>::from(std::span<const Code>(all), {120, 3})).to_vector();
  const auto rows = x.to_vector();
  for (std::size_t i = 0; i < 50; ++i) {
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < 120; ++k) {
      double error = 0;
      for (std::size_t j = 0; j < 3; ++j) error += std::pow(rows[3 * i + j] - decoded[3 * k + j], 2);
      least = std::min(least, error);
    }
    CHECK(found[i] == Approx(least).epsilon(1e-12));
  }
}

TEMPLATE_TEST_CASE("R25: a beam of one is the greedy encoder, wider beams leave less", "[device]", (Tensor<float, Cpu>),
                   (Tensor<float, CpuBlas>), (Tensor<float, TestDevice>)) {
  using V = TestType;
  const auto tables = tables_of<V>({32, 32, 32, 32, 32}, 8);
  const V x = numbers<V>({300, 8}, 3, 1.5);
  V residual = x;
  std::vector<Code> greedy(300 * 5);
  for (std::size_t q = 0; q < 5; ++q) {
    const auto code = nearest_rows(residual, tables[q], half_squared_norms(tables[q])).index;
    residual = residual - take(tables[q], code);
    const auto column = code.to_vector();
    for (std::size_t i = 0; i < 300; ++i) greedy[i * 5 + q] = column[i];
  }
  CHECK(encode_residual(tables, x, 1).to_vector() == greedy);
  double before = mean_error(tables, x, 1);
  for (const index_t beam : {2, 4, 8}) {
    const double error = mean_error(tables, x, beam);
    CHECK(error < before);
    before = error;
  }
}

TEST_CASE("R23: host and device give equal codes for every beam, size and screen", "[device]") {
  using Device = Tensor<float, TestDevice>;
  using V = Tensor<float, Cpu>;
  struct Case {
    std::vector<index_t> codes;
    index_t d, n;
    double scale;
  };
  for (const Case& c : {Case{{130, 70, 200}, 25, 60, 1.5}, Case{{3, 2, 150, 5}, 40, 50, 1.0},
                        Case{{1, 64, 65}, 24, 40, 1e-20}, Case{{140, 140}, 33, 30, 1e18}}) {
    const auto tables = tables_of<V>(c.codes, c.d);
    std::vector<Device> there;
    for (const V& table : tables) there.push_back(table.to<TestDevice>());
    const V x = numbers<V>({c.n, c.d}, 7, c.scale);
    for (const index_t beam : {1, 2, 5, 13}) {
      const auto expected = encode_residual(there, x.to<TestDevice>(), beam).to_vector();
      for (const Screen screen : {Screen::none, Screen::int8, Screen::bf16}) {
        INFO("d " << c.d << ", beam " << beam << ", screen " << static_cast<int>(screen));
        CHECK(encode_residual(tables, x, beam, screen).to_vector() == expected);
      }
    }
  }
}

TEST_CASE("copies of codewords and codewords that are NaN do not confuse a beam", "[device]") {
  using Device = Tensor<float, TestDevice>;
  using V = Tensor<float, Cpu>;
  auto first = numbers<V>({40, 24}, 1).to_vector();
  for (std::size_t j = 0; j < 24 * 15; ++j) first[24 * 20 + j] = first[j];
  std::vector<float> gaps(24 * 6, std::numeric_limits<float>::quiet_NaN());
  for (std::size_t j = 0; j < 24 * 2; ++j) gaps[24 * 3 + j] = first[j] / 2;
  const std::vector<V> tables{V::from(std::span<const float>(first), {40, 24}),
                              V::from(std::span<const float>(gaps), {6, 24}),
                              V::from(std::span<const float>(first), {40, 24})};
  std::vector<Device> there;
  for (const V& table : tables) there.push_back(table.to<TestDevice>());
  const V x = numbers<V>({30, 24}, 3);
  for (const index_t beam : {1, 2, 4}) {
    const auto expected = encode_residual(there, x.to<TestDevice>(), beam).to_vector();
    for (const Screen screen : {Screen::none, Screen::int8, Screen::bf16})
      CHECK(encode_residual(tables, x, beam, screen).to_vector() == expected);
  }
}

TEMPLATE_TEST_CASE("the form with one product of matrices gives the same codes", "[device]", (Tensor<float, Cpu>),
                   (Tensor<double, Cpu>), (Tensor<float, TestDevice>)) {
  using V = TestType;
  for (const double scale : {1.5, 1e-15, 1e12}) {
    auto tables = tables_of<V>({50, 1, 33, 64}, 21);
    for (V& table : tables) table = table * static_cast<typename V::Scalar>(scale);
    const V x = numbers<V>({300, 21}, 5, scale);
    for (const index_t beam : {1, 3}) {
      const auto codes = CrossTableEncoder<V>(tables, beam)(x);
      CHECK(codes.shape() == Shape{300, 4});
      CHECK(codes.to_vector() == encode_residual(tables, x, beam).to_vector());
    }
  }
  // Codewords all alike: the sums tell nothing, the scores decide.
  const std::vector<V> same{V::full({9, 5}, 0.3f), V::full({7, 5}, 0.1f)};
  const V x = numbers<V>({20, 5}, 6);
  CHECK(CrossTableEncoder<V>(same, 2)(x).to_vector() == encode_residual(same, x, 2).to_vector());
  CHECK_THROWS_AS(CrossTableEncoder<V>(same)(V::zeros({2, 4})), ShapeError);
  CHECK_THROWS_AS(CrossTableEncoder<V>(same, 0), ArgumentError);
}

TEST_CASE("codes of a beam do not depend on the number of threads") {
  using V = Tensor<float, Cpu>;
  const auto tables = tables_of<V>({60, 60, 60}, 12);
  const V x = numbers<V>({500, 12}, 3);
  const int before = threads::count();
  threads::set_count(1);
  const auto one = encode_residual(tables, x, 3).to_vector();
  threads::set_count(3);
  CHECK(encode_residual(tables, x, 3).to_vector() == one);
  threads::set_count(before);
}

TEST_CASE("a beam of no width is refused") {
  using V = Tensor<float, Cpu>;
  CHECK_THROWS_WITH(encode_residual(tables_of<V>({4}, 2), V::zeros({1, 2}), 0), contains("at least 1, given 0"));
  CHECK_THROWS_AS(encode_residual(tables_of<V>({4}, 2), V::zeros({1, 2}), -3), ArgumentError);
}
