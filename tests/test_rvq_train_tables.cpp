// Training all tables of a residual quantizer at once: what it promises about vectors it has seen and about others.

#include <kolmo/kolmo.hpp>
#include <kolmo/rvq/train_tables.hpp>

#include "catch.hpp"
#include "rvq_data.hpp"

using namespace kolmo;
using V = Tensor<float, Cpu>;
using kolmo_test::contains;

namespace {

double mse(const std::vector<V>& tables, const V& x, index_t beam = 1) {
  return rvq::detail::mean_error(tables, x, beam);
}

}  // namespace

TEST_CASE("R3b: every trained stage lowers the MSE of the training vectors, and the reports tell it") {
  const V x = kolmo_test::mix8(6000, Key{1});
  rvq::TrainTablesOptions options;
  index_t called = 0;
  options.on_stage = [&](const rvq::StageTraining& stage) { CHECK(stage.stage == called++); };
  const auto trained = rvq::train_tables(x, {32, 64, 16}, options, Key{2});
  REQUIRE(trained.tables.size() == 3);
  CHECK(called == 3);
  CHECK(trained.tables[1].shape() == Shape{64, 8});
  double before = 1e9;
  for (std::size_t q = 0; q < 3; ++q) {
    const std::vector<V> prefix(trained.tables.begin(), trained.tables.begin() + static_cast<std::ptrdiff_t>(q) + 1);
    CHECK(mse(prefix, x) == Approx(trained.stages[q].mse).epsilon(1e-4));
    CHECK(trained.stages[q].mse < before);
    before = trained.stages[q].mse;
  }
  CHECK(trained.mse == trained.stages[2].mse);
}

TEST_CASE("leaving a vector out of its own codeword serves other vectors better than Lloyd's iteration") {
  const V x = kolmo_test::g64(3000, Key{3}), others = kolmo_test::g64(2000, Key{4});
  rvq::TrainTablesOptions lloyd;
  lloyd.leave_one_out = false;
  lloyd.start = rvq::KMeansStart::plus_plus;
  lloyd.iterations = 25;
  const auto with = rvq::train_tables(x, {64, 64, 64}, {}, Key{5}),
             without = rvq::train_tables(x, {64, 64, 64}, lloyd, Key{5});
  CHECK(with.mse < without.mse);
  CHECK(mse(with.tables, others) < mse(without.tables, others));
}

TEST_CASE("vectors that few codewords describe exactly are described so") {
  const V base = kolmo_test::gaussian(16, 5, Key{6});
  std::vector<index_t> repeated;
  for (index_t i = 0; i < 800; ++i) repeated.push_back(i % 16);
  const V x = take(base, Tensor<index_t, Cpu>::from(repeated));
  CHECK(rvq::train_tables(x, {16}, {}, Key{7}).mse < 1e-12);
}

TEST_CASE("subspaces: stages of a part of the coordinates leave the others alone") {
  const V x = kolmo_test::gaussian(3000, 6, Key{8});
  rvq::TrainTablesOptions options;
  options.subspaces = 2;
  const auto trained = rvq::train_tables(x, {32, 32, 32}, options, Key{9});
  for (std::size_t q = 0; q < 3; ++q) {
    const auto values = trained.tables[q].to_vector();
    bool own = false;
    // Two stages share the coordinates; the third begins a round that cannot be full, and takes them all.
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (q < 2 && i % 6 % 2 != q) CHECK(values[i] == 0.0f);
      own = own || values[i] != 0.0f;
    }
    CHECK(own);
    CHECK(trained.stages[q].subspaces == (q < 2 ? 2 : 1));
  }
}

TEST_CASE("subspaces are chosen where they leave less") {
  // One codeword of ten bits for 16 numbers: parts of them in turn are known to serve a Gaussian better.
  rvq::TrainTablesOptions options;
  options.subspaces = 0;
  options.iterations = 3;
  const V noise = kolmo_test::gaussian(4000, 16, Key{10}), others = kolmo_test::gaussian(4000, 16, Key{11});
  const auto chosen = rvq::train_tables(noise, std::vector<index_t>(4, 64), options, Key{12});
  CHECK(chosen.stages[0].subspaces > 1);
  options.subspaces = 1;
  const auto whole = rvq::train_tables(noise, std::vector<index_t>(4, 64), options, Key{12});
  CHECK(mse(chosen.tables, others) < mse(whole.tables, others));
  // Clusters that lie apart need whole vectors.
  options.subspaces = 0;
  const V clusters = kolmo_test::mix8(4000, Key{13});
  CHECK(rvq::train_tables(clusters, {64, 64}, options, Key{14}).stages[0].subspaces == 1);
}

TEST_CASE("refinement solves the least-squares problem of its codes") {
  const V x = kolmo_test::mix8(2000, Key{15});
  auto tables = rvq::train_tables(x, {16, 16}, {}, Key{16}).tables;
  const auto codes = rvq::encode_residual(tables, x);
  const double before = mean(square(x - rvq::decode_residual(tables, codes))).item();
  rvq::refine_tables(tables, x, codes, 0.0, 100);
  const V r = x - rvq::decode_residual(tables, codes);
  CHECK(mean(square(r)).item() < before);
  // At the minimum the rest of every codeword's vectors has the mean zero: the normal equations.
  for (index_t q = 0; q < 2; ++q) {
    const auto column = codes.view(Shape{2000}, Strides{2}, q).contiguous();
    const auto sums = group_sums(r, group_rows(column, 16), V::zeros(Shape{16, 8})).sums.to_vector();
    for (const double sum : sums) CHECK(std::abs(sum) < 1e-2);
  }
}

TEST_CASE("a ridge holds codewords back, and the estimated one where they only follow noise") {
  const V x = kolmo_test::gaussian(1000, 4, Key{17});
  const std::vector<V> start{V::zeros(Shape{200, 4})};
  // Codes that say nothing about the vectors.
  std::vector<rvq::Code> random;
  for (std::uint64_t i = 0; i < 1000; ++i) random.push_back(static_cast<rvq::Code>(integer_below(Key{18}, i, 200)));
  const auto codes = Tensor<rvq::Code, Cpu>::from(random).reshaped(Shape{1000, 1});
  const auto size = [&](double ridge) {
    auto tables = start;
    rvq::refine_tables(tables, x, codes, ridge, 1);
    return mean(square(tables[0])).item();
  };
  CHECK(size(0.0) > 0.1f);
  CHECK(size(5.0) < 0.5f * size(0.0));
  CHECK(size(-1.0) < 0.01f);
}

TEST_CASE("R25: a beam's tables leave less with that beam") {
  const V x = kolmo_test::gaussian(4000, 16, Key{19}), others = kolmo_test::gaussian(2000, 16, Key{20});
  rvq::TrainTablesOptions options;
  const auto greedy = rvq::train_tables(x, std::vector<index_t>(4, 64), options, Key{21});
  options.beam = 4;
  const auto beam = rvq::train_tables(x, std::vector<index_t>(4, 64), options, Key{21});
  CHECK(mse(beam.tables, others, 4) < mse(greedy.tables, others, 1));
  CHECK(mse(beam.tables, others, 4) < 1.01 * mse(greedy.tables, others, 4));
}

TEST_CASE("tables have the same bits for any number of threads") {
  const V x = kolmo_test::mix8(3000, Key{22});
  rvq::TrainTablesOptions options;
  options.beam = 2;
  options.refine_rounds = 1;
  const int before = threads::count();
  threads::set_count(1);
  const auto one = rvq::train_tables(x, {32, 32}, options, Key{23});
  threads::set_count(3);
  const auto three = rvq::train_tables(x, {32, 32}, options, Key{23});
  threads::set_count(before);
  for (std::size_t q = 0; q < 2; ++q) CHECK(one.tables[q].to_vector() == three.tables[q].to_vector());
  CHECK(one.mse == three.mse);
}

TEST_CASE("train_tables refuses what it cannot train on") {
  const V x = kolmo_test::gaussian(100, 4, Key{24});
  CHECK_THROWS_WITH(rvq::train_tables(x, {}, {}, Key{}), contains("no stages"));
  CHECK_THROWS_WITH(rvq::train_tables(x, {4, 0}, {}, Key{}), contains("at least one code, given 0"));
  rvq::TrainTablesOptions options;
  options.beam = 0;
  CHECK_THROWS_AS(rvq::train_tables(x, {4}, options, Key{}), ArgumentError);
  options = {};
  options.validation_share = 1.0;
  CHECK_THROWS_WITH(rvq::train_tables(x, {4}, options, Key{}), contains("between 0 and 1"));
  const auto few = rvq::train_tables(x, {128}, {}, Key{25});
  REQUIRE(few.warnings.size() == 1);
  CHECK_THAT(few.warnings[0], contains("128 codewords, but only 100 different"));
}
