// The tape and the transforms: what is recorded, what is freed, and the rules a user builds on.

#include <kolmo/ad/transforms.hpp>

#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>

#include "catch.hpp"
#include "device.hpp"

using namespace kolmo;
using kolmo_test::as_on_host;
using kolmo_test::TestDevice;
using kolmo_test::contains;

namespace {

using V = Tensor<double, Cpu>;
using Values = std::vector<double>;

template <class U>
struct Pair {
  U left, right;
  int option = 3;
  static void fields(auto&& f, auto&... s) {
    f(param("left"), s.left...);
    f(kolmo::state("right"), s.right...);
    f(kolmo::option("option"), s.option...);
  }
  template <class W>
  using Rebind = Pair<W>;
};

/// Counts how often it is evaluated.
struct CountingSquare {
  int* calls;
  template <class X>
  auto operator()(const X& x) const {
    ++*calls;
    return x * x * x;
  }
};

struct Cubed {
  template <class X>
  auto operator()(const X& x) const {
    return sum(x * x * x);
  }
};

}  // namespace

TEST_CASE("a shared subexpression receives the sum of its gradients") {
  const V x = V::from({2, 3});
  const auto f = [](const auto& v) {
    const auto shared = v * v;
    return sum(shared * shared + shared);  // x^4 + x^2
  };
  REQUIRE(grad(f, x).to_vector() == Values{36, 114});
}

TEST_CASE("an input used several times, or not at all, has the right gradient") {
  const V x = V::from({2, 3}), y = V::from({5, 7});
  REQUIRE(grad([&](const auto& v) { return sum(v * v * v + y * v); }, x).to_vector() == Values{17, 34});
  REQUIRE(grad([&](const auto& v) { return sum(y * y) + 0 * sum(v); }, x).to_vector() == Values{0, 0});
  Tape<V> tape;
  const auto a = tape.leaf(x), b = tape.leaf(y);
  tape.backward(sum(a * a));
  REQUIRE(tape.gradient(a).to_vector() == Values{4, 6});
  REQUIRE(tape.gradient(b).to_vector() == Values{0, 0});
}

TEST_CASE("gradients that alias do not disturb each other") {
  // x + x passes the same gradient buffer twice; adding in place must not change what others hold.
  const V x = V::from({1, 2});
  Tape<V> tape;
  const auto a = tape.leaf(x), b = tape.leaf(x);
  const auto c = a + b;
  tape.backward(sum((c + a) + c));
  REQUIRE(tape.gradient(a).to_vector() == Values{3, 3});
  REQUIRE(tape.gradient(b).to_vector() == Values{2, 2});

  Tape<V> seeded;
  const V seed = V::from({1, 1});
  const auto leaf = seeded.leaf(x);
  seeded.backward(leaf + leaf, seed);
  REQUIRE(seed.to_vector() == Values{1, 1});
  REQUIRE(seeded.gradient(leaf).to_vector() == Values{2, 2});
}

TEST_CASE("a tape of a million nodes is walked and freed in constant stack") {
  Tape<V> tape;
  const auto x = tape.leaf(V::scalar(1));
  auto y = x;
  for (int i = 0; i < 1'000'000; ++i) y = y + 1e-6;
  REQUIRE(tape.size() == 1'000'000);
  SECTION("walked") {
    tape.backward(y);
    REQUIRE(tape.gradient(x).item() == 1);
    REQUIRE(tape.size() == 0);
  }
  SECTION("dropped without a walk") {}
}

TEST_CASE("nothing is recorded for constants, and detach stops both modes") {
  Tape<V> tape;
  const auto x = tape.leaf(V::from({2, 3}));
  const auto k = tape.constant(V::from({5, 5}));
  const auto before = tape.size();
  const auto product = k * k;
  REQUIRE(tape.size() == before);
  REQUIRE(product.slot == -1);
  STATIC_REQUIRE(std::is_same_v<decltype(detach(x)), V>);

  const auto f = [](const auto& v) { return sum(v * detach(v)); };
  REQUIRE(grad(f, V::from({2, 3})).to_vector() == Values{2, 3});
  REQUIRE(jvp(f, V::from({2, 3}), V::ones({2})).tangent.item() == 5);
  static_cast<void>(x);
}

TEST_CASE("straight_through has the value of the substitute and the derivative of the original") {
  const V x = V::from({0.2, 0.9}), rounded = V::from({0, 1});
  const auto f = [&](const auto& v) { return sum(straight_through(rounded, v) * 3); };
  const auto result = value_and_grad(x, f);
  REQUIRE(result.value.item() == 3);
  REQUIRE(result.gradient.to_vector() == Values{3, 3});
  REQUIRE(jvp(f, x, V::from({1, 2})).tangent.item() == 9);
  REQUIRE_THROWS_AS(straight_through(V::ones({3}), x), ShapeError);
}

TEST_CASE("checkpoint gives the same gradient, forgets intermediates and runs twice") {
  int calls = 0;
  const V x = V::from({2, 3});
  Tape<V> tape;
  const auto leaf = tape.leaf(x);
  const auto y = checkpoint(CountingSquare{&calls}, leaf);
  REQUIRE(tape.size() == 1);
  REQUIRE(calls == 1);
  tape.backward(sum(y));
  REQUIRE(calls == 2);
  REQUIRE(tape.gradient(leaf).to_vector() == Values{12, 27});

  const auto loss = [&](const auto& v) { return sum(checkpoint(CountingSquare{&calls}, v)); };
  REQUIRE(hvp(loss, x, V::ones({2})).to_vector() == Values{12, 18});
}

TEST_CASE("custom rules replace what would have been recorded") {
  const auto clipped_identity = [](const auto& x) {
    return record(
        value(x), [](const auto& g, const Wanted<1>&) { return std::make_tuple(clamp(g, -1, 1)); }, x);
  };
  const auto f = [&](const auto& x) { return sum(clipped_identity(x) * V::from({5, 0.5})); };
  REQUIRE(grad(f, V::ones({2})).to_vector() == Values{1, 0.5});
}

TEST_CASE("jvp is the gradient along the direction, hvp its derivative") {
  const V x = V::from({0.3, -0.7, 1.1}), v = V::from({1, 2, -1}), u = V::from({0.5, 0, 4});
  const auto f = [](const auto& a) { return sum(exp(a) * sin(a)) + square(sum(a * a)); };
  const double slope = jvp(f, x, v).tangent.item();
  REQUIRE(slope == Approx(sum(grad(f, x) * v).item()).epsilon(1e-14));
  const V hv = hvp(f, x, v), hu = hvp(f, x, u);
  REQUIRE(sum(hv * u).item() == Approx(sum(hu * v).item()).epsilon(1e-13));
  // The Hessian of sum(x^3) is diagonal: 6 x.
  REQUIRE(hvp(Cubed{}, V::from({1, -2}), V::from({1, 3})).to_vector() == Values{6, -36});
}

TEST_CASE("vjp pulls one cotangent back, once") {
  const V x = V::from({1, 2});
  auto pulled = vjp([](const auto& v) { return v * v; }, x);
  REQUIRE(pulled.value().to_vector() == Values{1, 4});
  REQUIRE_THROWS_AS(vjp([](const auto& v) { return v * v; }, x).pull(V::ones({3})), ShapeError);
  REQUIRE(pulled.pull(V::from({1, 10})).to_vector() == Values{2, 40});
  REQUIRE_THROWS_AS(pulled.pull(V::ones({2})), ArgumentError);
}

TEST_CASE("models are differentiated in their parameters, not in their state") {
  const Pair<V> model{V::from({2, 3}), V::from({5, 7})};
  const auto result = value_and_grad(model, [](const auto& m) { return sum(m.left * m.left * m.right); });
  REQUIRE(result.value.item() == 83);
  REQUIRE(result.gradient.left.to_vector() == Values{20, 42});
  REQUIRE(result.gradient.right.to_vector() == Values{0, 0});
  REQUIRE(result.gradient.option == 3);
  REQUIRE(parameter_count(model) == 2);
}

TEST_CASE("the shape of a loss and of a direction are checked") {
  const V x = V::from({1, 2});
  REQUIRE_THROWS_WITH(grad([](const auto& v) { return v * v; }, x), contains("[2]") && contains("sum"));
  REQUIRE_THROWS_AS(jvp(Cubed{}, x, V::ones({3})), ShapeError);
  REQUIRE_THROWS_AS(hvp(Cubed{}, x, V::ones({3})), ShapeError);
  Tape<V> tape;
  REQUIRE_THROWS_AS(tape.backward(tape.leaf(x), V::ones({3})), ShapeError);
}

TEST_CASE("an exception in the middle of a recording leaves everything else usable") {
  const V x = V::from({1, 2});
  REQUIRE_THROWS_AS(grad([](const auto& v) { return sum(v * v + V::ones({3})); }, x), ShapeError);
  REQUIRE(grad(Cubed{}, x).to_vector() == Values{3, 12});
  REQUIRE(x.to_vector() == Values{1, 2});
}

TEST_CASE("gradients flow through broadcasting, products and reductions on the guarded device", "[device]") {
  using D = Tensor<double, TestDevice>;
  const auto f = [](const auto& w) {
    using B = typename std::remove_cvref_t<decltype(w)>::Backend;
    const auto x = Tensor<double, B>::arange(6).reshaped({3, 2});
    return mean(square(matmul(x, w) - 1) / logsumexp(w, 0));
  };
  const V w = V::from({0.1, 0.2, 0.3, 0.4}, {2, 2});
  REQUIRE(as_on_host(grad(f, w.to<TestDevice>()).to_vector(), grad(f, w).to_vector()));
  REQUIRE(
      as_on_host(hvp(f, D(w.to<TestDevice>()), D::ones({2, 2})).to_vector(), hvp(f, w, V::ones({2, 2})).to_vector()));
}
