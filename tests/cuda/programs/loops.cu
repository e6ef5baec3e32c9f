// Elementwise functors on operands of every layout: whole packs, rests, broadcast rows and columns, transposed,
// reversed and misaligned operands, outputs that are not wanted, tangents; against the CPU, bit by bit where nothing is
// rounded.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/jet.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/shape.hpp>
#include <kolmo/ops/views.hpp>

#include "check.hpp"

using namespace kolmo;

/// Exact for small integers, and different in every argument.
struct Mix {
  KOLMO_HD auto operator()(auto a, auto b) const { return a - (b + b); }
};
struct MixFour {
  KOLMO_HD auto operator()(auto a, auto b, auto c, auto d) const { return a - b * c + d; }
};
struct SumAndProduct {
  template <class S>
  KOLMO_HD Array<S, 2> operator()(S a, S b) const {
    return {{a + b, a * b}};
  }
};

namespace {

template <class V>
V integers(const Shape& shape, int seed) {
  using T = typename V::Scalar;
  std::vector<T> values;
  for (index_t i = 0; i < shape.size(); ++i)
    values.push_back(static_cast<T>(static_cast<float>((i * 7 + seed) % 23 - 11)));
  return V::from(values).reshaped(shape);
}

template <class T>
std::vector<double> numbers(const std::vector<T>& values) {
  std::vector<double> result;
  for (const T& value : values) result.push_back(static_cast<double>(value));
  return result;
}

template <class T, class B>
std::vector<std::vector<double>> results() {
  using V = Tensor<T, B>;
  std::vector<std::vector<double>> all;
  const auto keep = [&](const V& x) { all.push_back(numbers(x.to_vector())); };
  const Shape pairs[][2] = {{{1}, {1}},
                            {{3}, {3}},
                            {{64}, {64}},
                            {{1001}, {1001}},
                            {{1000}, {1}},
                            {{5, 16}, {16}},
                            {{5, 16}, {5, 1}},
                            {{5, 3}, {3}},
                            {{5, 3}, {5, 1}},
                            {{4, 1, 8}, {3, 1}},
                            {{2, 3, 4, 8}, {3, 1, 8}},
                            {{2, 3, 4, 5}, {2, 1, 4, 1}},
                            {{7, 1}, {1, 24}},
                            {{0, 4}, {4}},
                            {{1, 9}, {9, 1}},
                            {{3, 2, 2, 2, 2, 8}, {2, 1, 2, 1, 1}}};
  for (const auto& pair : pairs) keep(apply(Mix{}, integers<V>(pair[0], 1), integers<V>(pair[1], 2)));
  const V a = integers<V>(Shape{8, 24}, 3), b = integers<V>(Shape{24, 8}, 4);
  keep(apply(Mix{}, a, transpose(b)));
  keep(apply(Mix{}, transpose(a), b));
  keep(apply(Mix{}, a.view(Shape{8, 16}, Strides{{24, 1}}, 5), a.view(Shape{8, 16}, Strides{{24, 1}}, 8)));
  keep(apply(Mix{}, a.view(Shape{100}, Strides{{1}}, 3), b.view(Shape{100}, Strides{{1}}, 0)));
  keep(apply(Mix{}, a.view(Shape{8, 4}, Strides{{24, 2}}, 0), a.view(Shape{8, 4}, Strides{{24, -1}}, 20)));
  keep(apply(MixFour{}, a, integers<V>(Shape{24}, 1), integers<V>(Shape{8, 1}, 2), integers<V>(Shape{}, 5)));
  const auto both = apply_multiple<2>(SumAndProduct{}, Array<bool, 2>{{true, true}}, a, integers<V>(Shape{24}, 1));
  keep(both[0]);
  keep(both[1]);
  keep(apply_multiple<2>(SumAndProduct{}, Array<bool, 2>{{false, true}}, a, integers<V>(Shape{24}, 1))[1]);
  V target = integers<V>(Shape{8, 24}, 9);
  apply_in_place(Mix{}, target, integers<V>(Shape{8, 1}, 2));
  keep(target);
  apply_into(Mix{}, target, a, integers<V>(Shape{24}, 3));
  keep(target);
  if constexpr (!std::is_same_v<T, BFloat16>) {
    const Jet<V> jet{a, integers<V>(Shape{8, 24}, 6)};
    const auto moved = apply(MixFour{}, jet, integers<V>(Shape{24}, 1), integers<V>(Shape{8, 1}, 2), a);
    keep(moved.value);
    keep(moved.tangent);
  }
  return all;
}

template <class T>
void elementwise(const std::string& name) {
  const auto device = results<T, Cuda>(), host = results<T, Cpu>();
  for (std::size_t i = 0; i < host.size(); ++i)
    check::identical(device[i], host[i], "elementwise of " + name + ", case " + std::to_string(i));
}

void dividers() {
  for (const index_t d : {index_t{1}, index_t{2}, index_t{3}, index_t{7}, index_t{24}, index_t{641}, index_t{65536},
                          index_t{1000003}, index_t{0x7fffffff}}) {
    const detail::FastDivider divide(d);
    bool right = true;
    for (const index_t base :
         {index_t{0}, d, 2 * d, index_t{1} << 20, index_t{0x7fffffff} / d * d, index_t{0x7fffffff}})
      for (index_t n = base - 3; n <= base + 3; ++n) {
        if (n < 0 || n > 0x7fffffff) continue;
        const auto low = static_cast<std::uint64_t>(n) * divide.multiplier >> 32;
        right = right && static_cast<index_t>((low + static_cast<std::uint64_t>(n)) >> divide.shift) == n / d;
      }
    check::that(right, "division by " + std::to_string(d));
  }
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  dividers();
#if defined(KOLMO_TEST_EMULATION)
  for (const bool backwards : {false, true}) {
    emulation::backwards = backwards;
#else
  {
#endif
    elementwise<float>("float");
    elementwise<double>("double");
    elementwise<BFloat16>("bfloat16");
    elementwise<std::int64_t>("64-bit integers");
  }
  return check::result();
}
