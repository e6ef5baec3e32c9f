// Codebooks: what they are, the choice of the nearest codeword, and files and optimisers that follow how they are
// trained.
#include <kolmo/ad/transforms.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/rvq/codebook_update.hpp>

#include "catch.hpp"
#include "rvq_data.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using Catch::Matchers::Contains;
using Matrix = Tensor<float, Cpu>;

namespace {

Codebook<Matrix> small_book(CodebookTraining training, Distance distance = Distance::euclidean) {
  CodebookOptions options;
  options.codes = 4;
  options.training = training;
  options.distance = distance;
  Codebook<Matrix> book(2, options);
  set_codewords(book, Matrix::from({1, 0, 0, 1, -1, 0, 1, 0}, Shape{4, 2}), 1);
  return book;
}

/// A stage of which the codebook is a part.
template <class U>
struct Holder {
  Codebook<U> book;
  U bias;
  static void fields(auto&& f, auto&... s) {
    f(submodule("book"), s.book...);
    f(param("bias"), s.bias...);
  }
  template <class W>
  using Rebind = Holder<W>;
};

std::vector<std::string> parameters(const auto& model) {
  std::vector<std::string> names;
  visit_parameters([&](const std::string& path, const auto&) { names.push_back(path); }, model);
  return names;
}

struct SquareLoss {
  template <class M>
  auto operator()(const M& model) const {
    return sum(square(model.book.codewords)) + sum(square(model.bias));
  }
};

}  // namespace

TEST_CASE("The nearest codeword wins, the lowest on ties") {
  const auto book = small_book(CodebookTraining::ema);
  const auto x = Matrix::from({2, 0, 0.1f, 0.9f, -3, 1, 0, 0}, Shape{4, 2});
  const auto found = assign(book, x);
  // Codes 0 and 3 are equal, and at the origin all are.
  CHECK(found.codes.to_vector() == std::vector<Code>{0, 1, 2, 0});
  CHECK(found.reconstruction.to_vector() == std::vector<float>{1, 0, 0, 1, -1, 0, 1, 0});
  const auto error = found.squared_error.to_vector();
  CHECK(error[0] == 1);
  CHECK(error[1] == Approx(0.02));
  CHECK(error[2] == 5);
  CHECK(error[3] == 1);
}

TEST_CASE("By angle the length of vectors does not matter, and none at all is code 0") {
  auto book = small_book(CodebookTraining::gradient, Distance::cosine);
  set_codewords(book, Matrix::from({100, 100, 0.01f, 0, -1, 0, 0, -1}, Shape{4, 2}), 1);
  const auto found = assign(book, Matrix::from({5, 4.9f, 1e-3f, 1e-4f, 0, 0, -7, 1}, Shape{4, 2}));
  CHECK(found.codes.to_vector() == std::vector<Code>{0, 1, 0, 2});
  // The value is the codeword, not its direction.
  CHECK(found.reconstruction.to_vector()[0] == 100);
}

TEST_CASE("R18: codewords are a parameter when an optimiser moves them, and a state when averages do") {
  const auto holder = [](CodebookTraining training) {
    return Holder<Matrix>{small_book(training), Matrix::from({1, 2})};
  };
  const auto averaged = holder(CodebookTraining::ema), learned = holder(CodebookTraining::gradient);
  CHECK(parameters(averaged) == std::vector<std::string>{"bias"});
  CHECK(parameters(learned) == std::vector<std::string>{"book.codewords", "bias"});

  for (const auto& model : {averaged, learned}) {
    const bool moves = model.book.options.training == CodebookTraining::gradient;
    const auto result = value_and_grad(model, SquareLoss{});
    const auto slope = result.gradient.book.codewords.to_vector(), words = model.book.codewords.to_vector();
    for (std::size_t i = 0; i < words.size(); ++i) CHECK(slope[i] == (moves ? 2 * words[i] : 0));
    auto trained = model;
    const auto optimiser = optim::adamw({.learning_rate = 0.1, .weight_decay = 0.1});
    auto state = optimiser.init(trained);
    optimiser.step(trained, result.gradient, state);
    CHECK((trained.book.codewords.to_vector() != words) == moves);
    CHECK(trained.book.counts.to_vector() == model.book.counts.to_vector());
    CHECK(trained.bias.to_vector() != model.bias.to_vector());
  }
}

TEST_CASE("R2: a codebook comes back from a file with all its options, whatever the defaults of the object") {
  auto book = small_book(CodebookTraining::gradient);
  book.options.decay = 0.9;
  book.options.grace = 7;
  book.updates = 12345;
  book.ages = Matrix::from({1, 2, 3, 4});
  book.frozen = true;
  const auto arrays = io::to_arrays(book);
  auto read = io::model_from_arrays<Codebook<Matrix>>(arrays);
  CHECK(read.options == book.options);
  // Frozen codewords are no parameter.
  CHECK(parameters(read).empty());
  CHECK(read.codewords.to_vector() == book.codewords.to_vector());
  CHECK(read.counts.to_vector() == book.counts.to_vector());
  CHECK(read.ages.to_vector() == book.ages.to_vector());
  CHECK(read.last_hits.to_vector() == book.last_hits.to_vector());
  CHECK(read.initialised);
  CHECK(read.frozen);
  CHECK(read.updates == 12345);
  read.frozen = false;
  CHECK(parameters(read) == std::vector<std::string>{"codewords"});

  auto other = small_book(CodebookTraining::ema);
  CHECK_THROWS_WITH(io::from_arrays(other, arrays), Contains("option 'options.training'"));
  for (const char* lost : {"counts", "initialised", "updates"}) {
    io::NamedArrays incomplete;
    incomplete.metadata = arrays.metadata;
    for (const auto& [name, array] : arrays.arrays)
      if (name != lost) incomplete.add(name, array);
    CHECK_THROWS_WITH(io::model_from_arrays<Codebook<Matrix>>(incomplete), Contains(std::string("missing: ") + lost));
  }
}

TEST_CASE("Codebooks refuse what is no codebook") {
  CHECK_THROWS_WITH(Codebook<Matrix>(0), Contains("at least 1"));
  CHECK_THROWS_WITH(Codebook<Matrix>(2, {.codes = 0}), Contains("codes must be"));
  CHECK_THROWS_WITH(Codebook<Matrix>(2, {.decay = 1}), Contains("decay must be"));
  CHECK_THROWS_WITH(Codebook<Matrix>(2, {.grace = 0}), Contains("grace must be"));
  const Codebook<Matrix> fresh(2, {.codes = 4});
  CHECK_THROWS_WITH(assign(fresh, Matrix::zeros(Shape{3, 2})), Contains("has not been started"));
  const auto book = small_book(CodebookTraining::ema);
  CHECK_THROWS_AS(assign(book, Matrix::zeros(Shape{3, 3})), ShapeError);
  CHECK_THROWS_AS(assign(book, Matrix::zeros(Shape{2})), ShapeError);
  CHECK_THROWS_AS(assign(book, Matrix::full(Shape{1, 2}, std::numeric_limits<float>::quiet_NaN())), ArgumentError);
  auto wrong = book;
  CHECK_THROWS_AS(set_codewords(wrong, Matrix::zeros(Shape{3, 2}), 1), ShapeError);
  CHECK_THROWS_AS(set_codewords(wrong, Matrix::full(Shape{4, 2}, std::numeric_limits<float>::quiet_NaN()), 1),
                  ArgumentError);
}
