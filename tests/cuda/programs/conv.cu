// Convolutions of the CUDA backend against their definition: forward with bias and activation, and both gradients, over
// paddings, strides, dilations and channels of every alignment, in bfloat16, TF32, float and double; equal bits when
// repeated.
#include <cmath>
#include <map>
#include <utility>

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/conv.hpp>

#include "check.hpp"

using namespace kolmo;

namespace {

struct Case {
  std::string name;
  Shape x, weight;
  ConvOptions options;
};

/// Numbers of few bits, whose products every arithmetic here has exactly.
template <class V>
V numbers(const Shape& shape, int seed) {
  using T = typename V::Scalar;
  std::vector<T> values;
  std::uint64_t state = 0x9e3779b97f4a7c15u * static_cast<std::uint64_t>(seed);
  for (index_t i = 0; i < shape.size(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    values.push_back(T(static_cast<float>(static_cast<int>(state >> 60) - 8) / 16));
  }
  return V::from(values, shape);
}

using Numbers = std::vector<double>;

/// The definition, in double.
struct Reference {
  detail::ConvGeometry g;

  /// f(index in x, index in w, index in y) for every product.
  template <class F>
  void products(const F& f) const {
    const detail::ConvAxis &rows = g.axis[0], &across = g.axis[1];
    for (index_t p = 0; p < g.batch * g.pixels_out(); ++p)
      for (index_t u = 0; u < rows.kernel; ++u)
        for (index_t v = 0; v < across.kernel; ++v) {
          const index_t y = rows.source(p / across.out % rows.out, u, g.padding),
                        x = across.source(p % across.out, v, g.padding);
          if (y < 0 || x < 0) continue;
          const index_t source = ((p / g.pixels_out() * rows.in + y) * across.in + x) * g.channels_in;
          for (index_t o = 0; o < g.channels_out; ++o)
            for (index_t c = 0; c < g.channels_in; ++c)
              f(static_cast<std::size_t>(source + c),
                static_cast<std::size_t>(((o * g.channels_in + c) * rows.kernel + u) * across.kernel + v),
                static_cast<std::size_t>(p * g.channels_out + o));
        }
  }
};

template <class V>
Numbers wide(const V& v) {
  Numbers values;
  for (const auto x : v.to_vector()) values.push_back(static_cast<double>(x));
  return values;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

template <class T>
std::vector<std::pair<std::string, Numbers>> on_host(const Case& c) {
  using V = Tensor<T, Cuda>;
  const auto g = detail::conv_geometry("test", c.x, c.weight, c.options);
  const Numbers x = wide(numbers<V>(c.x, 1)), w = wide(numbers<V>(c.weight, 2)),
                b = wide(numbers<V>(Shape{c.weight[0]}, 3));
  Numbers sum(static_cast<std::size_t>(detail::conv_out_shape(g).size())), field(x.size()), kernel(w.size());
  const Numbers cotangent = wide(numbers<V>(detail::conv_out_shape(g), 4));
  Reference{g}.products([&](std::size_t i, std::size_t j, std::size_t k) {
    sum[k] += x[i] * w[j];
    field[i] += cotangent[k] * w[j];
    kernel[j] += cotangent[k] * x[i];
  });
  Numbers shifted = sum, active;
  for (std::size_t i = 0; i < sum.size(); ++i) shifted[i] += b[i % b.size()];
  for (const double z : shifted) active.push_back(silu(z));
  return {{"value", sum},
          {"value with bias and activation", active},
          {"sum before the activation", shifted},
          {"gradient of the field", field},
          {"gradient of the kernel", kernel}};
}

template <class T>
std::vector<Numbers> on_device(const Case& c) {
  using V = Tensor<T, Cuda>;
  const V x = numbers<V>(c.x, 1), w = numbers<V>(c.weight, 2), b = numbers<V>(Shape{c.weight[0]}, 3);
  const auto g = detail::conv_geometry("test", c.x, c.weight, c.options);
  const V cotangent = numbers<V>(detail::conv_out_shape(g), 4);
  const auto kept = detail::conv_value(g, fn::Silu{}, x, w, b, true);
  return {wide(conv2d(x, w, c.options)), wide(kept.y), wide(kept.z), wide(detail::ConvBackwardData{g}(cotangent, w)),
          wide(detail::ConvBackwardFilter{g}(x, cotangent))};
}

/// The results of the first round.
std::map<std::string, Numbers>& seen() {
  static std::map<std::string, Numbers> results;
  return results;
}

/// `rounding`: of a result to its scalar, relative to the largest.
template <class T>
void compare(const Case& c, double rounding, const std::string& scalar) {
  const auto expected = on_host<T>(c);
  const auto device = on_device<T>(c);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::string name = c.name + ": " + expected[i].first + " in " + scalar;
    check::close(device[i], expected[i].second, name, rounding / 1e-12);
    const auto before = seen().emplace(name, device[i]);
    if (!before.second) check::identical(device[i], before.first->second, name + ", repeated");
  }
}

void compare_all(const Case& c) {
  compare<float>(c, 1e-6, "float");
  {
    const Cuda::Math scope{MatrixMath::tf32};
    compare<float>(c, 1e-6, "TF32");
  }
  compare<BFloat16>(c, 0x1p-8, "bfloat16");
}

ConvOptions options(Padding padding, index_t stride = 1, index_t dilation = 1, index_t pad = -1, index_t behind = -1) {
  return ConvOptions{{{stride, stride}}, padding, {{pad, pad}}, {{behind, behind}}, {{dilation, dilation}}};
}

void run_all() {
  // Every padding, whole 16-byte channels and others; strides that divide the field and others.
  compare_all({"zeros", Shape{2, 6, 5, 8}, Shape{8, 8, 3, 3}, options(Padding::zeros)});
  compare_all({"odd channels", Shape{1, 4, 5, 11}, Shape{10, 11, 3, 3}, options(Padding::circular)});
  // Patches of warpgroups: circular with both slices of channels, cut patches, the gradient by its own patches.
  {
    const Cuda::Math scope{MatrixMath::tf32};
    compare<float>({"patches", Shape{1, 14, 14, 16}, Shape{64, 16, 3, 3}, options(Padding::circular)}, 1e-6, "TF32");
  }
  const auto bfloat16 = [](const Case& c) { compare<BFloat16>(c, 0x1p-8, "bfloat16"); };
  bfloat16({"several tiles", Shape{1, 12, 11, 40}, Shape{72, 40, 1, 1}, options(Padding::zeros)});
  bfloat16({"patches", Shape{1, 14, 14, 32}, Shape{64, 32, 3, 3}, options(Padding::circular)});
  for (const Padding padding : {Padding::reflect, Padding::replicate})
    bfloat16({detail::padding_name(padding), Shape{1, 6, 5, 8}, Shape{8, 8, 3, 3}, options(padding)});
  bfloat16({"patches of 96 channels", Shape{1, 14, 14, 96}, Shape{96, 96, 3, 2}, options(Padding::zeros)});
  bfloat16({"stride 2, periodic", Shape{1, 6, 8, 8}, Shape{24, 8, 3, 3}, options(Padding::circular, 2)});
  bfloat16({"stride 2, not periodic", Shape{1, 7, 6, 8}, Shape{8, 8, 3, 3}, options(Padding::circular, 2)});
  bfloat16({"stride 3, dilation 2", Shape{1, 9, 10, 8}, Shape{8, 8, 3, 2}, options(Padding::zeros, 3, 2)});
  bfloat16({"dilation 2, reflected", Shape{1, 7, 8, 8}, Shape{8, 8, 3, 3}, options(Padding::reflect, 1, 2)});
  bfloat16({"separate pads", Shape{1, 5, 6, 8}, Shape{8, 8, 2, 3}, options(Padding::replicate, 2, 1, 1, 2)});
  bfloat16({"no batch", Shape{0, 5, 6, 8}, Shape{8, 8, 3, 3}, options(Padding::zeros)});
  compare<double>({"double", Shape{1, 5, 6, 3}, Shape{4, 3, 3, 3}, options(Padding::circular)}, 1e-12, "double");
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  for (const bool backwards : {false, true}) {
#if defined(KOLMO_TEST_EMULATION)
    emulation::backwards = backwards;
#else
    static_cast<void>(backwards);
#endif
    run_all();
  }
  return check::result();
}
