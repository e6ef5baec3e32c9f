// The harness itself: every kind of mistake that it promises to find is found, and named.

#include "expect_op.hpp"

#include <kolmo/ops/elementwise.hpp>

using namespace kolmo;
using namespace kolmo_test;

namespace {

/// x^3 with mistakes to choose from.
struct Mistakes {
  double value = 1;          // factor on the value
  double gradient = 1;       // ... on the reverse rule
  double tangent = 1;        // ... on the tangent
  double curvature = 1;      // ... on the tangent of the gradient
  bool device_only = false;  // ... only on FakeDevice
  bool single_only = false;  // ... only in float
  bool threads = false;      // the last bit depends on the number of threads
  bool shape_error_of_jets = false;
};

template <class V>
struct CubePullBack {
  V x;
  double gradient, curvature;
  template <Value G>
  auto operator()(const G& g, const Wanted<1>&) const {
    G result = apply(fn::Multiply{}, g, apply(fn::Square{}, x));
    result = apply(fn::MultiplyConstant<typename G::Scalar>{static_cast<typename G::Scalar>(3 * gradient)}, result);
    if constexpr (JetLike<G>)
      result.tangent =
          apply(fn::MultiplyConstant<typename G::Scalar>{static_cast<typename G::Scalar>(curvature)}, result.tangent);
    return std::make_tuple(result);
  }
};

struct Cube {
  Mistakes mistakes;

  template <class X>
  auto operator()(const X& x) const {
    using V = ValueOf<X>;
    using T = ScalarOf<X>;
    Mistakes m = mistakes;
    if (m.device_only && !std::is_same_v<typename V::Backend, FakeDevice>) m = Mistakes{};
    if (m.single_only && !std::is_same_v<T, float>) m = Mistakes{};
    if (x.rank() != 1) throw_error<V>(m);
    const auto v = value(x);
    V y = apply(fn::Multiply{}, v, apply(fn::Square{}, v));
    y = scaled(y, T(m.value));
    if constexpr (JetLike<V>) y.tangent = scaled(y.tangent, T(m.tangent));
    if constexpr (std::is_floating_point_v<T>)
      if (m.threads && threads::count() == 2) y = scaled(y, T(1) + std::numeric_limits<T>::epsilon());
    return record(y, CubePullBack<V>{v, m.gradient, m.curvature}, x);
  }

  template <class V, class T>
  static V scaled(const V& x, T factor) {
    return apply(fn::MultiplyConstant<T>{factor}, x);
  }
  template <class V>
  static void throw_error(const Mistakes& m) {
    if (m.shape_error_of_jets && JetLike<V>) throw ArgumentError("cube: not a vector");
    throw ShapeError("cube: not a vector");
  }
};

/// The titles of the checks that fail.
std::string failures(const Mistakes& mistakes) {
  std::vector<std::string> failed;
  kolmo_test::detail::failed_checks = &failed;
  expect_op("cube", Cube{mistakes}, {random_input({5}, 1, 0.5, 1.5)},
            [](const Inputs& in) {
              Result y{in[0].shape, in[0].values};
              for (double& v : y.values) v = v * v * v;
              return y;
            },
            {.bad = {{{Shape{2, 2}}}}});
  kolmo_test::detail::failed_checks = nullptr;
  std::string all;
  for (const auto& title : failed) all += title + "\n";
  return all;
}

}  // namespace

TEST_CASE("an operation without mistakes passes") { REQUIRE(failures({}).empty()); }

TEST_CASE("a wrong value is found on any backend and scalar") {
  for (const Mistakes& m : {Mistakes{.value = 1 + 1e-11}, Mistakes{.value = 1 + 1e-11, .device_only = true},
                            Mistakes{.value = 1 + 1e-4, .single_only = true}})
    REQUIRE_THAT(failures(m), contains("cube: value against the oracle"));
}

TEST_CASE("a wrong reverse rule is found by references and by the identity") {
  const std::string found = failures({.gradient = 1 + 1e-10});
  REQUIRE_THAT(found, contains("against duals and the complex step"));
  REQUIRE_THAT(found, contains("<J v, u>"));
  REQUIRE_THAT(failures({.gradient = 1 + 1e-6}), contains("against Richardson differences"));
  REQUIRE_THAT(failures({.gradient = 1 + 1e-10, .device_only = true}), contains("against duals"));
  REQUIRE_THAT(failures({.gradient = 1 + 1e-3, .single_only = true}), contains("against duals"));
}

TEST_CASE("a wrong tangent is found") {
  REQUIRE_THAT(failures({.tangent = 1 + 1e-10}), contains("against duals and the complex step"));
}

TEST_CASE("a wrong second derivative is found") {
  REQUIRE_THAT(failures({.curvature = 1 + 1e-6}), contains("Hessian-vector products"));
}

TEST_CASE("bits that depend on the number of threads are found") {
  REQUIRE_THAT(failures({.threads = true}), contains("bits for 1, 2 and 4 threads"));
}

TEST_CASE("bits that differ between backends are found") {
  const std::string found = failures({.value = 1 + 1e-15, .device_only = true});
  REQUIRE_THAT(found, contains("bits on FakeDevice and Cpu"));
}

TEST_CASE("an error of another type for one kind of tensor is found") {
  REQUIRE_THAT(failures({.shape_error_of_jets = true}), contains("errors on bad shapes"));
}
