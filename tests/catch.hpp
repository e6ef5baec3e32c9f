#pragma once
// Catch2 of either major version behind one include: TEST_CASE, TEMPLATE_TEST_CASE, GENERATE, Approx and the matchers.

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_approx.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

#include <string>

namespace kolmo_test {

/// Matches an exception's message, or a string, that contains `text`: REQUIRE_THROWS_WITH(f(), contains("[2, 3]")).
inline auto contains(const std::string& text) {
#if __has_include(<catch2/catch_test_macros.hpp>)
  return Catch::Matchers::ContainsSubstring(text);
#else
  return Catch::Matchers::Contains(text);
#endif
}

}  // namespace kolmo_test
