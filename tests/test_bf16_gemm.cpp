// Products in bfloat16: every form of the kernel against the product by its definition in double, and the tiles in
// software bit for bit.

#include <algorithm>
#include <cmath>
#include <vector>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/bf16_kernel.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>

#include "catch.hpp"
#include "device.hpp"

using kolmo::Bf16Kernel;
using kolmo::BFloat16;
using kolmo::GemmCall;
using kolmo::index_t;
using kolmo_test::as_on_host;
using kolmo_test::TestDevice;

namespace {

/// Uses one form of the kernel while in scope.
struct Using {
  explicit Using(Bf16Kernel kernel) { kolmo::set_bf16_kernel(kernel); }
  ~Using() { kolmo::reset_bf16_kernel(); }
};

std::vector<Bf16Kernel> kernels_here() {
  std::vector<Bf16Kernel> kernels;
  for (const auto kernel : {Bf16Kernel::portable, Bf16Kernel::avx512, Bf16Kernel::tiles, Bf16Kernel::emulated_tiles})
    if (kolmo::bf16_kernel_available(kernel)) kernels.push_back(kernel);
  return kernels;
}

std::vector<BFloat16> numbers(index_t count, unsigned seed, bool small_integers = false) {
  std::vector<BFloat16> values(static_cast<std::size_t>(count));
  for (BFloat16& x : values) {
    seed = seed * 1664525u + 1013904223u;
    x = small_integers ? BFloat16(static_cast<int>(seed >> 28) - 8)
                       : BFloat16(static_cast<double>(seed >> 8) / 8388608.0 - 1.0);
  }
  return values;
}

/// Operands with room between their rows, so that a stray access shows.
struct Case {
  GemmCall<BFloat16> call;
  std::vector<BFloat16> a, b, c;
  std::vector<double> expected, magnitude;

  Case(index_t m, index_t n, index_t k, bool transpose_a, bool transpose_b, float alpha, float beta,
       bool integers = false) {
    constexpr index_t gap = 3;
    call.transpose_a = transpose_a;
    call.transpose_b = transpose_b;
    call.m = m;
    call.n = n;
    call.k = k;
    call.alpha = alpha;
    call.beta = beta;
    call.leading_a = (transpose_a ? m : k) + gap;
    call.leading_b = (transpose_b ? k : n) + gap;
    call.leading_c = n + gap;
    const BFloat16 nan = std::numeric_limits<BFloat16>::quiet_NaN();
    a = numbers((transpose_a ? k : m) * call.leading_a, 1, integers);
    b = numbers((transpose_b ? n : k) * call.leading_b, 2, integers);
    c = numbers(m * call.leading_c, 3, integers);
    // Between the rows, and in C where beta = 0 overwrites it, may be anything.
    const auto poison = [&](std::vector<BFloat16>& x, index_t leading, index_t used) {
      for (std::size_t i = 0; i < x.size(); ++i)
        if (static_cast<index_t>(i) % leading >= used) x[i] = nan;
    };
    poison(a, call.leading_a, call.leading_a - gap);
    poison(b, call.leading_b, call.leading_b - gap);
    poison(c, call.leading_c, beta == 0 ? 0 : n);
    call.a = a.data();
    call.b = b.data();
    call.c = c.data();
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < n; ++j) {
        double sum = 0, size = 0;
        for (index_t l = 0; l < k; ++l) {
          const double x =
              static_cast<double>(float(transpose_a ? a[at(l, i, call.leading_a)] : a[at(i, l, call.leading_a)]));
          const double y =
              static_cast<double>(float(transpose_b ? b[at(j, l, call.leading_b)] : b[at(l, j, call.leading_b)]));
          sum += x * y;
          size += std::abs(x * y);
        }
        const double before = beta == 0 ? 0 : static_cast<double>(float(c[at(i, j, call.leading_c)]));
        expected.push_back(static_cast<double>(alpha) * sum + static_cast<double>(beta) * before);
        magnitude.push_back(std::abs(static_cast<double>(alpha)) * size + std::abs(static_cast<double>(beta) * before));
      }
  }

  static std::size_t at(index_t i, index_t j, index_t leading) { return static_cast<std::size_t>(i * leading + j); }

  /// Largest error in units of what one rounding to bfloat16 and float sums allow.
  double error() const {
    double worst = 0;
    for (index_t i = 0; i < call.m; ++i)
      for (index_t j = 0; j < call.n; ++j) {
        const std::size_t e = static_cast<std::size_t>(i * call.n + j);
        const double found = static_cast<double>(float(c[at(i, j, call.leading_c)]));
        const double allowed = 0x1p-8 * std::abs(expected[e]) * (1 + 0x1p-8) + 0x1p-21 * magnitude[e];
        const double ratio = std::abs(found - expected[e]) / allowed;
        if (!(ratio <= worst)) worst = ratio;
      }
    return worst;
  }
  bool gaps_untouched() const {
    for (std::size_t i = 0; i < c.size(); ++i)
      if (static_cast<index_t>(i) % call.leading_c >= call.n && !is_nan(c[i])) return false;
    return true;
  }
};

}  // namespace

TEST_CASE("every form gives the product for every remainder of rows, columns and depth") {
  for (const Bf16Kernel kernel : kernels_here()) {
    INFO("kernel " << name_of(kernel));
    const Using scope(kernel);
    CHECK(kolmo::bf16_kernel() == kernel);
    for (const index_t m : {1, 7, 16, 33, 100})
      for (const index_t n : {1, 16, 31, 48, 70})
        for (const index_t k : {1, 2, 31, 64, 97})
          for (int form = 0; form < 4; ++form) {
            Case test(m, n, k, form % 2 == 1, form >= 2, 1, 0);
            kolmo::Cpu::gemm(test.call);
            INFO("m " << m << " n " << n << " k " << k << " form " << form);
            REQUIRE(test.error() <= 1);
            REQUIRE(test.gaps_untouched());
          }
  }
}

TEST_CASE("deep products are summed in float, across chunks of the depth") {
  for (const Bf16Kernel kernel : kernels_here()) {
    INFO("kernel " << name_of(kernel));
    const Using scope(kernel);
    Case test(20, 50, 2100, true, false, 1, 0);
    kolmo::Cpu::gemm(test.call);
    CHECK(test.error() <= 1);
  }
}

TEST_CASE("alpha and beta are applied before the one rounding") {
  for (const Bf16Kernel kernel : kernels_here()) {
    INFO("kernel " << name_of(kernel));
    const Using scope(kernel);
    Case test(19, 21, 40, false, true, 0.7f, -1.3f);
    kolmo::Cpu::gemm(test.call);
    CHECK(test.error() <= 1);
    Case empty(3, 4, 0, false, false, 1, 2);
    const std::vector<BFloat16> before = empty.c;
    kolmo::Cpu::gemm(empty.call);
    CHECK(float(empty.c[0]) == 2 * float(before[0]));
  }
}

TEST_CASE("sums of small integers are exact, so every form gives the same bits") {
  // |sum| <= 97 * 64 < 2^24 in float; the rounding to bfloat16 is the same for all.
  for (const Bf16Kernel kernel : kernels_here()) {
    INFO("kernel " << name_of(kernel));
    const Using scope(kernel);
    for (const index_t m : {5, 16, 40, 130}) {
      Case test(m, 70, 97, m == 40, m == 16, 1, 0, true);
      kolmo::Cpu::gemm(test.call);
      for (index_t i = 0; i < m; ++i)
        for (index_t j = 0; j < 70; ++j)
          REQUIRE(test.c[Case::at(i, j, test.call.leading_c)].bits ==
                  BFloat16(test.expected[static_cast<std::size_t>(i * 70 + j)]).bits);
    }
  }
}

TEST_CASE("a tile in software multiplies as the instruction is defined") {
  // C + ((sum of even products) + (sum of odd products)), each from zero in the order of k.
  using namespace kolmo::detail;
  const auto a = numbers(16 * 32, 5), b = numbers(16 * 32, 6);
  std::vector<float> c(256), expected(256);
  for (std::size_t i = 0; i < 256; ++i) c[i] = static_cast<float>(i) * 0.37f - 40;
  for (std::size_t m = 0; m < 16; ++m)
    for (std::size_t n = 0; n < 16; ++n) {
      float sums[2] = {0, 0};
      for (std::size_t k = 0; k < 32; ++k) {
        const float product = a[32 * m + k] * b[k / 2 * 32 + 2 * n + k % 2];
        sums[k % 2] = sums[k % 2] + product;
      }
      expected[16 * m + n] = c[16 * m + n] + (sums[0] + sums[1]);
    }
  EmulatedTiles tiles;
  tiles.load<0>(c.data(), 64);
  tiles.load<4>(a.data(), 64);
  tiles.load<6>(b.data(), 64);
  tiles.dot<0, 4, 6>();
  tiles.store<0>(c.data(), 64);
  CHECK(c == expected);
  tiles.zero<1>();
  tiles.store<1>(c.data(), 64);
  CHECK(c == std::vector<float>(256, 0.0f));
}

TEST_CASE("tiles add up C in the order of the tiles of k, whatever the blocking") {
  using namespace kolmo::detail;
  const index_t rows = 48, panels = 3, k = 96;
  const auto a = numbers(rows * k, 7), b = numbers(panels * 16 * k, 8);
  std::vector<float> c(static_cast<std::size_t>(rows * panels * 16)), expected = c;
  tile_product<EmulatedTiles>(rows, panels, k, a.data(), k, b.data(), 16 * k, c.data(), panels * 16, true);
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < panels * 16; ++j) {
      float sum = 0;
      for (index_t t = 0; t < k; t += 32) {
        float sums[2] = {0, 0};
        for (index_t p = t; p < t + 32; ++p)
          sums[p % 2] += a[static_cast<std::size_t>(i * k + p)] *
                         b[static_cast<std::size_t>(j / 16 * 16 * k + p / 2 * 32 + 2 * (j % 16) + p % 2)];
        sum += sums[0] + sums[1];
      }
      expected[static_cast<std::size_t>(i * panels * 16 + j)] = sum;
    }
  CHECK(c == expected);
}

TEST_CASE("a form the processor does not have is refused") {
  for (const auto kernel : {Bf16Kernel::avx512, Bf16Kernel::tiles})
    if (!kolmo::bf16_kernel_available(kernel)) {
      CHECK_THROWS_AS(kolmo::set_bf16_kernel(kernel), kolmo::ArgumentError);
      CHECK(kolmo::bf16_kernel() != kernel);
    }
}

TEST_CASE("matrix products and linear layers of BFloat16 tensors, with their gradients", "[device]") {
  using namespace kolmo;
  using Half = Tensor<BFloat16, Cpu>;
  using Single = Tensor<float, Cpu>;
  const Half x = Half::from(numbers(2 * 9 * 20, 11)).reshaped(Shape{2, 9, 20});
  const Half w = Half::from(numbers(20 * 24, 12)).reshaped(Shape{20, 24});
  const Half b = Half::from(numbers(24, 13));
  // Compared with float on the same rounded values; one rounding of the result is 2^-8 relative.
  const auto near = [](const Half& found, const Single& expected, double slack) {
    const auto f = cast<float>(found).to_vector(), e = expected.to_vector();
    double worst = 0, scale = 0;
    for (std::size_t i = 0; i < f.size(); ++i) {
      worst = std::max(worst, static_cast<double>(std::abs(f[i] - e[i])));
      scale = std::max(scale, static_cast<double>(std::abs(e[i])));
    }
    return f.size() == e.size() && worst <= slack * scale;
  };
  const Single xs = cast<float>(x), ws = cast<float>(w), bs = cast<float>(b);
  CHECK(near(affine(x, w, b), affine(xs, ws, bs), 0x1p-8));
  CHECK(near(matmul(x, w), matmul(xs, ws), 0x1p-8));
  const auto loss = [](const auto& weight, const auto& in, const auto& bias) {
    const auto y = affine(in, weight, bias);
    return sum(y * y);
  };
  const Half gw = grad([&](const auto& v) { return loss(v, x, b); }, w);
  CHECK(near(gw, grad([&](const auto& v) { return loss(v, xs, bs); }, ws), 0x1p-7));
  const Half gx = grad([&](const auto& v) { return loss(w, v, b); }, x);
  CHECK(near(gx, grad([&](const auto& v) { return loss(ws, v, bs); }, xs), 0x1p-7));
  const auto tangent = jvp([&](const auto& v) { return affine(v, w, b); }, x, x);
  CHECK(near(tangent.tangent, matmul(xs, ws), 0x1p-8));

  const auto on_device = affine(x.to<TestDevice>(), w.to<TestDevice>(), b.to<TestDevice>());
  // A sum in another order may round to the neighbouring number.
  CHECK(as_on_host(cast<float>(on_device).to_vector(), cast<float>(affine(x, w, b)).to_vector(), 0x1p-8 / 1e-5));
}

TEST_CASE("the bits of a product do not depend on the number of threads") {
  const int before = kolmo::threads::count();
  std::vector<std::uint16_t> first;
  for (const int count : {1, 2, 4}) {
    kolmo::threads::set_count(count);
    Case test(300, 400, 130, false, false, 1, 0);
    kolmo::Cpu::gemm(test.call);
    std::vector<std::uint16_t> bits;
    for (const BFloat16 x : test.c) bits.push_back(x.bits);
    if (first.empty()) first = bits;
    CHECK(bits == first);
  }
  kolmo::threads::set_count(before);
}
