// Screening in reduced precision changes no code: every screen against the search by item on a backend without host
// kernels, for every size and for tables made to mislead it.

#include <kolmo/backend/bf16_kernel.hpp>
#include <kolmo/backend/fake_device.hpp>
#include <kolmo/backend/int8_kernel.hpp>
#include <kolmo/ops/nearest.hpp>

#include <cmath>
#include <limits>

#include "expect_op_checks.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

using V = Tensor<float, Cpu>;
using Values = std::vector<float>;

Values values_of(index_t count, std::uint64_t seed) {
  const auto numbers = Numbers(seed).vector(static_cast<std::size_t>(count));
  return Values(numbers.begin(), numbers.end());
}

V tensor(const Values& values, index_t d) {
  return V::from(std::span<const float>(values), {static_cast<index_t>(values.size()) / d, d});
}

struct Found {
  std::vector<std::int32_t> index;
  Values score;
  friend bool operator==(const Found&, const Found&) = default;
};

template <class B>
Found found(const V& x, const V& table, index_t count, Screen screen) {
  const auto rows = x.to<B>(), codes = table.to<B>();
  const auto nearest = nearest_rows(rows, codes, half_squared_norms(codes), count, screen);
  return {nearest.index.to_vector(), nearest.score.to_vector()};
}

/// FakeDevice has the definition alone.
bool screens_agree(const Values& x, const Values& table, index_t d, index_t count = 1) {
  const V rows = tensor(x, d), codes = tensor(table, d);
  count = smaller(count, codes.shape()[0]);
  const Found expected = found<FakeDevice>(rows, codes, count, Screen::none);
  for (const Screen screen : {Screen::none, Screen::int8, Screen::bf16, Screen::automatic})
    if (!(found<Cpu>(rows, codes, count, screen) == expected)) return false;
  return true;
}

Values scaled(Values values, double factor, double offset = 0) {
  for (float& v : values) v = static_cast<float>(factor * static_cast<double>(v) + offset);
  return values;
}

}  // namespace

TEST_CASE("R23: screens give the codes and scores of the definition for every size") {
  for (index_t d = 1; d <= 130; d = d < 20 ? d + 1 : d + 11) {
    const index_t codes = 1 + 37 * d % 200;
    INFO("d " << d << ", " << codes << " codes");
    CHECK(screens_agree(values_of(29 * d, 1), values_of(codes * d, 2), d));
    CHECK(screens_agree(values_of(19 * d, 3), values_of(codes * d, 4), d, 5));
  }
  for (const index_t codes : {1, 2, 63, 64, 65, 129}) {
    INFO(codes << " codes");
    CHECK(screens_agree(values_of(100 * 12, 5), values_of(codes * 12, 6), 12));
    CHECK(screens_agree(values_of(100 * 12, 5), values_of(codes * 12, 6), 12, 40));
  }
}

TEST_CASE("R23: near ties, duplicates and equal vectors") {
  constexpr index_t d = 24, codes = 150;
  // Codewords that differ in the last bit of one coordinate, and exact copies.
  Values table = values_of(d, 1);
  for (index_t k = 1; k < codes; ++k) {
    Values next(table.begin(), table.begin() + d);
    if (k % 3 != 0) {
      float& v = next[static_cast<std::size_t>(k % d)];
      v = std::nextafter(v, k % 2 == 0 ? 10.0f : -10.0f);
    }
    table.insert(table.end(), next.begin(), next.end());
  }
  CHECK(screens_agree(values_of(40 * d, 2), table, d));
  CHECK(screens_agree(values_of(40 * d, 2), table, d, 7));
  CHECK(screens_agree(Values(table.begin(), table.begin() + 30 * d), table, d));
  // Vectors half way between two codewords.
  const Values far = values_of(codes * d, 3);
  Values middle;
  for (index_t i = 0; i + 1 < 60; ++i)
    for (index_t j = 0; j < d; ++j)
      middle.push_back((far[static_cast<std::size_t>(i * d + j)] + far[static_cast<std::size_t>((i + 1) * d + j)]) / 2);
  CHECK(screens_agree(middle, far, d));
  CHECK(screens_agree(Values(40 * d, 0.0f), far, d));
  CHECK(screens_agree(far, Values(codes * d, 0.25f), d));
  CHECK(screens_agree(far, Values(codes * d, 0.0f), d));
}

TEST_CASE("R23: offsets and scales") {
  constexpr index_t d = 32, codes = 170;
  const Values x = values_of(40 * d, 1), table = values_of(codes * d, 2);
  for (const double offset : {10.0, 1e3, 1e6}) CHECK(screens_agree(scaled(x, 1, offset), scaled(table, 1, offset), d));
  for (const double scale : {1e-44, 1e-38, 1e-30, 1e-22, 1e-3, 1e3, 1e15, 1e19, 1e30, 1e37}) {
    INFO("scale " << scale);
    CHECK(screens_agree(scaled(x, scale), scaled(table, scale), d));
    CHECK(screens_agree(scaled(x, scale), table, d));
    CHECK(screens_agree(x, scaled(table, scale), d));
    CHECK(screens_agree(scaled(x, 1 / larger(scale, 1e-30)), scaled(table, scale), d, 3));
  }
}

TEST_CASE("R23: one coordinate or one codeword far larger than the others") {
  constexpr index_t d = 40, codes = 200;
  for (const float size : {1e2f, 1e5f, 1e12f, 3e38f}) {
    INFO("size " << size);
    Values x = values_of(40 * d, 1), table = values_of(codes * d, 2);
    for (index_t i = 0; i < 40; ++i) x[static_cast<std::size_t>(i * d + i % d)] = size;
    CHECK(screens_agree(x, table, d));
    table[static_cast<std::size_t>(77 * d + 3)] = size;
    CHECK(screens_agree(x, table, d));
    CHECK(screens_agree(values_of(40 * d, 1), table, d, 4));
  }
}

TEST_CASE("a table with codewords that are NaN or infinite has the nearest of the others") {
  constexpr index_t d = 30, codes = 140;
  Values table = values_of(codes * d, 2);
  table[5] = std::numeric_limits<float>::quiet_NaN();
  table[static_cast<std::size_t>(99 * d)] = std::numeric_limits<float>::infinity();
  CHECK(screens_agree(values_of(30 * d, 1), table, d));
  CHECK(screens_agree(values_of(30 * d, 1), table, d, 6));
  // Wherever it stands: among the first, where a running maximum begins, or further on.
  for (const index_t bad : {0, 1, 31, 32 * 255 + 7}) {
    Values spoilt = values_of(256 * 32, 21);
    spoilt[static_cast<std::size_t>(bad)] = std::numeric_limits<float>::quiet_NaN();
    CAPTURE(bad);
    CHECK(screens_agree(values_of(300 * 32, 22), spoilt, 32));
    CHECK(screens_agree(values_of(64 * 32, 23), spoilt, 32, 3));
  }
}

TEST_CASE("every form of the products screens alike") {
  constexpr index_t d = 48, codes = 130;
  const Values x = values_of(50 * d, 1), table = values_of(codes * d, 2);
  for (const Bf16Kernel kernel : {Bf16Kernel::portable, Bf16Kernel::avx512, Bf16Kernel::emulated_tiles}) {
    if (!bf16_kernel_available(kernel)) continue;
    set_bf16_kernel(kernel);
    CHECK(screens_agree(x, table, d));
  }
  reset_bf16_kernel();
}

TEST_CASE("products of bytes are those of their definition in every form") {
  constexpr index_t groups = 9, rows = 5;
  std::vector<std::uint8_t> u;
  std::vector<std::int8_t> q;
  Numbers numbers(1);
  for (index_t i = 0; i < rows * groups * 4; ++i) u.push_back(static_cast<std::uint8_t>(numbers.uniform(0, 256)));
  for (index_t i = 0; i < 64 * groups * 4; ++i) q.push_back(static_cast<std::int8_t>(numbers.uniform(-127, 128)));
  std::vector<std::int32_t> correction(64);
  Values scale(64, 0.5f), start(64, 3.0f), row_scale(rows, 2.0f);
  for (std::size_t k = 0; k < 64; ++k) correction[k] = static_cast<std::int32_t>(k) - 1000;
  for (const bool vnni : {false, kolmo::detail::has_avx512_vnni()}) {
    Values score(rows * 64), largest(rows * 16);
    kolmo::detail::int8_block(vnni, rows, groups, u.data(), {q.data(), correction.data(), scale.data(), start.data()},
                              row_scale.data(), score.data(), 64, largest.data(), 16);
    for (index_t r = 0; r < rows; ++r)
      for (index_t k = 0; k < 64; ++k) {
        std::int32_t sum = correction[static_cast<std::size_t>(k)];
        for (index_t j = 0; j < 4 * groups; ++j)
          sum += u[static_cast<std::size_t>(r * groups * 4 + j)] *
                 q[static_cast<std::size_t>((j / 4 * 64 + k) * 4 + j % 4)];
        CHECK(score[static_cast<std::size_t>(r * 64 + k)] == static_cast<float>(sum + 3));
        CHECK(largest[static_cast<std::size_t>(r * 16 + k % 16)] >= static_cast<float>(sum + 3));
      }
  }
}

TEST_CASE("codes do not depend on the number of threads") {
  constexpr index_t d = 33;
  const V x = tensor(values_of(1000 * d, 1), d), table = tensor(values_of(300 * d, 2), d);
  const int before = threads::count();
  threads::set_count(1);
  const Found one = found<Cpu>(x, table, 1, Screen::automatic);
  threads::set_count(3);
  CHECK(found<Cpu>(x, table, 1, Screen::automatic) == one);
  CHECK(found<Cpu>(x, table, 1, Screen::none) == one);
  threads::set_count(before);
}
