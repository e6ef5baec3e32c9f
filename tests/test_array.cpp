#include "catch.hpp"

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

TEST_CASE("An array is an aggregate of values that compares element by element") {
  constexpr kolmo::Array<int, 3> a{{1, 2, 3}};
  STATIC_REQUIRE(a.size() == 3);
  STATIC_REQUIRE(a[2] == 3);
  kolmo::Array<int, 3> b = a;
  REQUIRE(a == b);
  b[1] = 7;
  REQUIRE_FALSE(a == b);
  int sum = 0;
  for (int value : b) sum += value;
  REQUIRE(sum == 11);
}

TEST_CASE("divide_up rounds a quotient to the next integer") {
  REQUIRE(kolmo::divide_up(0, 4) == 0);
  REQUIRE(kolmo::divide_up(1, 4) == 1);
  REQUIRE(kolmo::divide_up(8, 4) == 2);
  REQUIRE(kolmo::divide_up(9, 4) == 3);
}

TEST_CASE("Every exception of the library is a kolmo::Error and a std::runtime_error") {
  const auto throw_shape = [] { throw kolmo::ShapeError("shapes [2] and [3] differ"); };
  REQUIRE_THROWS_AS(throw_shape(), kolmo::Error);
  REQUIRE_THROWS_AS(throw_shape(), std::runtime_error);
  REQUIRE_THROWS_WITH(throw_shape(), kolmo_test::contains("[3]"));
}
