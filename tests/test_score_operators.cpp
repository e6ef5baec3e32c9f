// Observation operators: values, adjoints <A x, y> = <x, A' y>, bad input.
#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/score/observation.hpp>
#include <kolmo/score/observations/sampling.hpp>
#include <kolmo/score/observations/sensors.hpp>

#include "catch.hpp"

namespace {

using namespace kolmo;
using V = Tensor<double, Cpu>;

V random(const Shape& shape, std::uint64_t seed) {
  std::vector<double> values(static_cast<std::size_t>(shape.size()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = normal<double>(Key{seed}, i);
  return V::from(std::span<const double>(values), shape);
}

/// <A v, u> by forward mode against <v, A' u> by reverse mode, and for a linear A against A v itself.
template <class A>
void expect_adjoint(const A& a, const Shape& shape) {
  const V x = random(shape, 1), v = random(shape, 2);
  const V image = jvp(a, x, v).tangent;
  const V u = random(image.shape(), 3);
  auto pulled = vjp(a, x);
  const double scale = norm(image).item() * norm(u).item();
  REQUIRE(scale > 0);
  CHECK(dot(flatten(image), flatten(u)).item() ==
        Approx(dot(flatten(v), flatten(pulled.pull_and_keep(u))).item()).margin(1e-12 * scale));
  if constexpr (score::LinearOperator<A>) CHECK(norm(V(a(v) - image)).item() <= 1e-13 * norm(image).item());
  // The same recording serves again, until it is consumed.
  const V again = pulled.pull_and_keep(u);
  CHECK(norm(V(again - pulled.pull(u))).item() == 0);
  CHECK_THROWS_AS(pulled.pull_and_keep(u), ArgumentError);
}

const Shape trajectory{2, 7, 2, 8, 8};

}  // namespace

TEST_CASE("checklist 4: operators and their adjoints satisfy <A x, y> = <x, A' y>") {
  using namespace kolmo::score;
  expect_adjoint(SubsampleSpace{2}, trajectory);
  expect_adjoint(SubsampleSpace{3, 1}, trajectory);
  expect_adjoint(SubsampleSpace{4, 0, 1}, Shape{2, 16});
  expect_adjoint(subsample_time(3), trajectory);
  expect_adjoint(Select{{0, 5, 5, 2}, 1}, trajectory);
  expect_adjoint(Select{{0}, -1}, Shape{3, 6, 3});
  expect_adjoint(Crop{2, -2}, trajectory);
  expect_adjoint(FrameDifference{}, trajectory);
  expect_adjoint(Points({1, 5, 700}), trajectory);
  expect_adjoint(Mask<V>{greater(random(Shape{2, 8, 8}, 9), V::zeros(Shape{}))}, trajectory);
  expect_adjoint(Coarsen{4}, trajectory);
  expect_adjoint(Coarsen{2, 1}, Shape{2, 3, 8});
  expect_adjoint(Upsample{2}, trajectory);
  expect_adjoint(Upsample{3}, Shape{1, 2, 4, 6});
  expect_adjoint(Upsample{3, Interpolation::nearest}, trajectory);
  expect_adjoint(Upsample{4, Interpolation::bilinear, 1}, Shape{2, 5});
  expect_adjoint(Vorticity{}, trajectory);
  expect_adjoint(Saturation{}, trajectory);
  expect_adjoint(compose(subsample_time(3), Coarsen{2}, Vorticity{}, Saturation{}, Crop{1, -1}), trajectory);
  const auto twice = linear_map([](const V& x) { return V(x * 2.0); }, [](const V& y) { return V(y * 2.0); });
  expect_adjoint(twice, trajectory);
  expect_adjoint(compose(Physical{Normaliser<V>{V::from({1, 2}, Shape{2}), V::from({3, 4}, Shape{2}), 2}}, Coarsen{2}),
                 trajectory);
}

TEST_CASE("operators of physics say whether they are linear") {
  using namespace kolmo::score;
  STATIC_REQUIRE(LinearOperator<decltype(compose(Coarsen{2}, Vorticity{}))>);
  STATIC_REQUIRE(!LinearOperator<decltype(compose(Coarsen{2}, Saturation{}))>);
  STATIC_REQUIRE(!LinearOperator<Physical<V>>);
}

TEST_CASE("subsampling takes the points of NumPy's x[::s] and x[:, ::s]") {
  const V x = V::arange(2 * 5 * 6).reshaped(Shape{2, 1, 5, 6});
  const V y = score::SubsampleSpace{2}(x);
  REQUIRE(y.shape() == Shape{2, 1, 3, 3});
  CHECK(y.to_vector() == std::vector<double>{0, 2, 4, 12, 14, 16, 24, 26, 28, 30, 32, 34, 42, 44, 46, 54, 56, 58});
  CHECK(score::Points::where(V::from({0, 1, 0, 1}, Shape{2, 2}))(V::arange(4).reshaped(Shape{1, 2, 2})).to_vector() ==
        std::vector<double>{1, 3});
}

TEST_CASE("coarse pixels are block means, and up-sampling keeps a constant and interpolates between centres") {
  const V x = V::arange(16).reshaped(Shape{1, 4, 4});
  CHECK(score::Coarsen{2}(x).to_vector() == std::vector<double>{2.5, 4.5, 10.5, 12.5});
  const V wave = V::from({0, 4, 8, 4}, Shape{1, 4});
  // Centres of fine pixels lie a quarter of a coarse one from its centre.
  CHECK(score::Upsample{2, score::Interpolation::bilinear, 1}(wave).to_vector() ==
        std::vector<double>{1, 1, 3, 5, 7, 7, 5, 3});
  CHECK(score::Upsample{2, score::Interpolation::nearest, 1}(wave).to_vector() ==
        std::vector<double>{0, 0, 4, 4, 8, 8, 4, 4});
  CHECK(score::Coarsen{3}(score::Upsample{3, score::Interpolation::nearest}(x)).to_vector() == x.to_vector());
}

TEST_CASE("vorticity is the difference of centred differences with the sign of the reference") {
  // u = x1^2 along axis -2, v = 3 x0: du/dx1 = 2 x1 inside, dv/dx0 = 3 inside.
  std::vector<double> values;
  for (int c = 0; c < 2; ++c)
    for (int i = 0; i < 6; ++i)
      for (int j = 0; j < 6; ++j) values.push_back(c == 0 ? j * j : 3 * i);
  const V w = score::Vorticity{}(V::from(values).reshaped(Shape{1, 2, 6, 6}));
  REQUIRE(w.shape() == Shape{1, 6, 6});
  for (index_t i = 1; i < 5; ++i)
    for (index_t j = 1; j < 5; ++j) CHECK(at(at(w, 1, i), 1, j).item() == 2.0 * static_cast<double>(j) - 3);
  CHECK(at(at(w, 1, 2), 1, 0).item() == (1 - 25) / 2.0 - 3);  // periodic
  CHECK_THROWS_WITH(score::Vorticity{}(V::zeros(Shape{1, 3, 4, 4})), kolmo_test::contains("[1, 3, 4, 4]"));
}

TEST_CASE("observations refuse noise levels and values that make no sense") {
  using kolmo::score::observe;
  const score::SubsampleSpace a{2};
  const V y = V::zeros(Shape{2, 2});
  CHECK_THROWS_WITH(observe(a, y, 0.0), kolmo_test::contains("positive"));
  CHECK_THROWS_AS(observe(a, y, -1.0), ArgumentError);
  CHECK_THROWS_AS(observe(a, y, std::numeric_limits<double>::quiet_NaN()), ArgumentError);
  CHECK_THROWS_AS(observe(a, y, std::numeric_limits<double>::infinity()), ArgumentError);
  CHECK_THROWS_WITH(observe(a, y, V::from({1, 0}, Shape{2})), kolmo_test::contains("1 of 2"));
  CHECK_THROWS_AS(observe(a, y, V::ones(Shape{3})), ShapeError);
  const V bad =
      V::from({0, std::numeric_limits<double>::quiet_NaN(), 1, std::numeric_limits<double>::infinity()}, Shape{2, 2});
  CHECK_THROWS_WITH(observe(a, bad, 0.1), kolmo_test::contains("2 of 4"));
  CHECK_THROWS_AS(score::Coarsen{3}(V::zeros(Shape{1, 4, 4})), ShapeError);
  CHECK_THROWS_AS(score::SubsampleSpace{0}(V::zeros(Shape{1, 4, 4})), ArgumentError);
  CHECK_THROWS_AS(score::Points(std::vector<index_t>{}), ArgumentError);
}
