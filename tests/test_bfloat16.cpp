// BFloat16: rounding, widening, tensors that store it and compute in float, casts and their gradients.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/scan.hpp>

#include <cmath>

#include "catch.hpp"
#include "device.hpp"

using namespace kolmo;
using namespace kolmo::literals;
using kolmo_test::TestDevice;
using Half = Tensor<BFloat16, Cpu>;
using Single = Tensor<float, Cpu>;

namespace {

/// The nearest bfloat16 by its definition: both neighbours of x are tried.
float nearest_by_search(float x) {
  const auto bits = static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, x) >> 16);
  const double low = static_cast<double>(float(BFloat16::from_bits(bits)));
  // One step beyond the largest number counts as 2^128, as in IEEE 754.
  const auto next_bits = static_cast<std::uint16_t>(bits + 1);
  const double next = std::isinf(float(BFloat16::from_bits(next_bits)))
                          ? std::copysign(0x1p128, low)
                          : static_cast<double>(float(BFloat16::from_bits(next_bits)));
  const double to_low = std::abs(x - low), to_next = std::abs(x - next);
  const bool take_low = to_low < to_next || (to_low == to_next && (bits & 1u) == 0);
  return float(BFloat16::from_bits(take_low ? bits : next_bits));
}

std::uint32_t bits_of(float x) { return __builtin_bit_cast(std::uint32_t, x); }

struct Cubed {
  KOLMO_HD auto operator()(auto x) const { return x * x * x; }
};

/// 1 + x - 1 loses x in bfloat16 and keeps it in float.
struct AddAndTake {
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return (S(1) + x) - S(1);
  }
};

template <class V>
struct Weights {
  V scale;
  double exponent = 2;
  static void fields(auto&& f, auto&... s) {
    f(param("scale"), s.scale...);
    f(option("exponent"), s.exponent...);
  }
  template <class U>
  using Rebind = Weights<U>;
};

}  // namespace

TEST_CASE("every bfloat16 survives widening and rounding") {
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    const BFloat16 x = BFloat16::from_bits(static_cast<std::uint16_t>(bits));
    const unsigned back = BFloat16(float(x)).bits;
    if (is_nan(x))
      REQUIRE(back == (bits | 0x40u));  // quiet
    else
      REQUIRE(back == bits);
    REQUIRE(is_nan(x) == std::isnan(float(x)));
    REQUIRE(is_finite(x) == std::isfinite(float(x)));
  }
}

TEST_CASE("conversion rounds to nearest, ties to even") {
  std::uint32_t state = 1;
  for (int i = 0; i < 200000; ++i) {
    state = state * 1664525u + 1013904223u;
    std::uint32_t bits = state;
    if (i % 3 == 0) bits = (bits & 0xffff0000u) | 0x8000u;  // a tie
    if (i % 3 == 1) bits = (bits & 0xffff0000u) | (0x7fffu + (bits & 3u));
    const float x = __builtin_bit_cast(float, bits);
    if (!std::isfinite(x)) continue;
    REQUIRE(bits_of(float(BFloat16(x))) == bits_of(nearest_by_search(x)));
  }
  CHECK(std::isinf(float(BFloat16(0x1.ffp127f))));
  CHECK(float(BFloat16(0x1.fefffep127f)) == 0x1.fep127f);
  CHECK(is_nan(BFloat16(std::numeric_limits<float>::quiet_NaN())));
  CHECK(is_nan(BFloat16(std::numeric_limits<double>::quiet_NaN())));
  CHECK(std::signbit(float(BFloat16(-0.0f))));
}

TEST_CASE("doubles are rounded once") {
  // Nearest float of 1 + 2^-8 + 2^-40 is the tie 1 + 2^-8, which would go down to 1.
  CHECK(float(BFloat16(1 + 0x1p-8 + 0x1p-40)) == 1 + 0x1p-7f);
  CHECK(float(BFloat16(1 + 3 * 0x1p-8 - 0x1p-40)) == 1 + 0x1p-7f);
  CHECK(float(BFloat16(1 + 0x1p-8)) == 1.0f);
  CHECK(float(BFloat16(-1 - 0x1p-8 - 0x1p-40)) == -1 - 0x1p-7f);
  CHECK(std::isinf(float(BFloat16(1e300))));
  CHECK(float(BFloat16(257)) == 256.0f);
  CHECK(float(BFloat16(259)) == 260.0f);
}

TEST_CASE("arithmetic is in float; numbers are made by rounding only") {
  const BFloat16 a = 1.5_bf16, b = 3_bf16;
  static_assert(std::is_same_v<decltype(a + b), float>);
  static_assert(std::is_same_v<decltype(-a), float>);
  static_assert(!std::is_convertible_v<float, BFloat16>);
  static_assert(float(1_bf16 / 3_bf16) == 1.0f / 3.0f);
  CHECK(a < b);
  CHECK(a * 2 == b);
  BFloat16 c = 1_bf16;
  c += 0x1p-9f;
  CHECK(float(c) == 1.0f);
  c += 0x1p-7f;
  CHECK(float(c) == 1 + 0x1p-7f);
  CHECK(float(std::numeric_limits<BFloat16>::epsilon()) == 0x1p-7f);
  CHECK(float(std::numeric_limits<BFloat16>::max()) == 0x1.fep127f);
  CHECK(float(std::numeric_limits<BFloat16>::lowest()) == -0x1.fep127f);
  CHECK(float(std::numeric_limits<BFloat16>::min()) == std::numeric_limits<float>::min());
}

TEST_CASE("elementwise functors run in float and round once, values and derivatives") {
  const Half x = cast<BFloat16>(Single::from({0x1p-8f, 0x1p-10f, -0x1p-12f}));
  const Half y = apply(AddAndTake{}, x);
  CHECK(cast<float>(y).to_vector() == cast<float>(x).to_vector());
  // Strided and broadcast inputs take the buffered path.
  const Half column = x.reshaped(Shape{3, 1});
  const Half row = cast<BFloat16>(Single::from({1.0f, 2.0f}));
  CHECK(cast<float>(column * row).to_vector() ==
        std::vector<float>{0x1p-8f, 0x1p-7f, 0x1p-10f, 0x1p-9f, -0x1p-12f, -0x1p-11f});
  // A constant is not rounded to bfloat16 before it is used.
  CHECK(float((Half::ones(Shape{1}) * 1.0039 * 1.0f).item()) == float(BFloat16(1.0039f)));
  CHECK(float((Half::full(Shape{1}, 255_bf16) * 1.0039).item()) == float(BFloat16(255 * 1.0039f)));

  const Half at = cast<BFloat16>(Single::from({1.1f, -2.7f}));
  const Half gradient = grad([](const auto& v) { return sum(map(Cubed{}, v)); }, at);
  const Jet<Half> tangent = jvp([](const auto& v) { return map(Cubed{}, v); }, at, Half::ones(Shape{2}));
  for (index_t i = 0; i < 2; ++i) {
    const float v = at.data()[i];
    CHECK(float(gradient.data()[i]) == float(BFloat16(3 * v * v)));
    CHECK(float(tangent.tangent.data()[i]) == float(BFloat16(3 * v * v)));
  }
}

TEST_CASE("sums are formed in float") {
  // In bfloat16 a running sum of ones would stop at 256.
  CHECK(float(sum(Half::ones(Shape{1000, 40})).item()) == float(BFloat16(40000.0f)));
  CHECK(float(mean(Half::ones(Shape{3001})).item()) == 1.0f);
  const Half columns = sum(Half::ones(Shape{700, 3}), {0});
  CHECK(cast<float>(columns).to_vector() == std::vector<float>(3, float(BFloat16(700))));
  const Half running = cumsum(Half::ones(Shape{600}), 0);
  CHECK(float(running.data()[599]) == 600.0f);
  const Half x = cast<BFloat16>(Single::from({-1.0f, 4.0f, 4.0f, 2.0f}));
  CHECK(float(max(x).item()) == 4.0f);
  CHECK(argmax(x, 0).item() == 1);
  CHECK(float(logsumexp(x, 0).item()) == Approx(4.758).epsilon(0.004));
  const Single p = cast<float>(softmax(x, 0));
  CHECK(sum(p).item() == Approx(1).epsilon(0.01));
}

TEST_CASE("a cast rounds values and carries gradients back") {
  const Single x = Single::from({1.0f, 2.5f, -3.25f, 1.00390625f});
  const Tensor<double, Cpu> wide = cast<double>(x);
  CHECK(wide.to_vector() == std::vector<double>{1.0, 2.5, -3.25, 1.00390625});
  CHECK(cast<float>(x).data() == x.data());
  CHECK(cast<float>(cast<BFloat16>(x)).to_vector() == std::vector<float>{1.0f, 2.5f, -3.25f, 1.0f});

  // d/dx sum(w cast(x)^2) = cast back(2 w cast(x)), and what runs before and after in float stays exact.
  const auto loss = [](const auto& v) {
    const auto y = cast<BFloat16>(v * 2.0);
    return sum(cast<float>(y * y) * 1.001) + sum(v);
  };
  const auto [value, gradient] = value_and_grad(x, loss);
  for (index_t i = 0; i < x.size(); ++i) {
    const float v = float(BFloat16(2 * x.data()[i]));
    // The gradient of y is 1.001 rounded, times y for each of the two factors, rounded and added.
    const float seed = float(BFloat16(1.001f));
    const float dy = float(BFloat16(seed * v + seed * v));
    CHECK(gradient.data()[i] == Approx(2 * dy + 1).epsilon(0.008));
  }
  CHECK(gradient.data()[0] == 2 * 4 + 1.0f);
}

TEST_CASE("casts record on both sides in the order of the computation") {
  const Single x = Single::from({0.5f, 2.0f});
  const auto there_and_back = [](const auto& v) {
    auto y = v;
    for (int i = 0; i < 3; ++i) y = cast<float>(cast<BFloat16>(y) * 2.0) + v;
    return sum(y);
  };
  CHECK(grad(there_and_back, x).to_vector() == std::vector<float>{15.0f, 15.0f});
  // A constant of the tape stays one.
  Tape<Single> tape;
  const auto constant = tape.constant(x);
  CHECK(cast<BFloat16>(constant).slot == -1);
  // Forward mode, and forward over reverse.
  const auto cube = [](const auto& v) { return sum(map(Cubed{}, cast<double>(v))); };
  const auto jet = jvp(cube, x, Single::ones(Shape{2}));
  CHECK(jet.tangent.item() == 3 * (0.25 + 4.0));
  const auto cube_in_float = [](const auto& v) { return cast<float>(sum(map(Cubed{}, cast<double>(v)))); };
  CHECK(hvp(cube_in_float, x, Single::ones(Shape{2})).to_vector() == std::vector<float>{3.0f, 12.0f});
  // A checkpoint runs the casts again on tapes of its own.
  const auto kept = [&](const auto& v) { return checkpoint(cube_in_float, v); };
  CHECK(grad(kept, x).to_vector() == std::vector<float>{0.75f, 12.0f});
}

TEST_CASE("a model is cast with its options, and its gradient arrives in the original scalar") {
  const Weights<Single> model{Single::from({1.5f, -0.75f}), 3};
  const Weights<Half> half = cast<BFloat16>(model);
  CHECK(half.exponent == 3);
  CHECK(cast<float>(half).scale.to_vector() == model.scale.to_vector());
  const auto loss = [](const auto& m) {
    const auto inner = cast<BFloat16>(m);
    return cast<float>(sum(inner.scale * inner.scale));
  };
  const Weights<Single> gradient = value_and_grad(model, loss).gradient;
  CHECK(gradient.scale.to_vector() == std::vector<float>{3.0f, -1.5f});
}

TEST_CASE("large casts keep every element for any number of threads", "[device]") {
  const index_t n = 100003;
  const Single x = nn::normal_values<Single>(Key{4}, Shape{n});
  const std::vector<BFloat16> rounded = cast<BFloat16>(x).to_vector();
  const std::vector<float> values = x.to_vector();
  bool same = true;
  for (std::size_t i = 0; i < values.size(); ++i) same = same && rounded[i].bits == BFloat16(values[i]).bits;
  CHECK(same);
  const auto moved = Tensor<float, TestDevice>::from(values);
  bool same_there = true;
  const std::vector<BFloat16> there = cast<BFloat16>(moved).to_vector();
  for (std::size_t i = 0; i < values.size(); ++i) same_there = same_there && there[i].bits == rounded[i].bits;
  CHECK(same_there);
}

TEST_CASE("random starts and files know the scalar") {
  const Half w = nn::normal_values<Half>(Key{1}, Shape{64}, 0, 0.5);
  const Single v = nn::normal_values<Single>(Key{1}, Shape{64}, 0, 0.5);
  CHECK(cast<float>(w).to_vector() == cast<float>(cast<BFloat16>(v)).to_vector());
  const Weights<Half> model{w, 2};
  const io::NamedArrays arrays = io::to_arrays(model);
  CHECK(arrays.at("scale").dtype == io::DType::bf16);
  const auto back = io::model_from_arrays<Weights<Half>>(arrays);
  CHECK(cast<float>(back.scale).to_vector() == cast<float>(w).to_vector());
  CHECK_THROWS_AS((io::model_from_arrays<Weights<Single>>(arrays)), IoError);
  CHECK(arrays.at("scale").convert<float>() == cast<float>(w).to_vector());
  CHECK(io::HostArray(std::vector<double>{1.00390625, -2}).convert<BFloat16>()[0].bits == 0x3f80);
  CHECK_THROWS_AS(io::HostArray(std::vector<double>{1e39}).convert<BFloat16>(), ArgumentError);
}
