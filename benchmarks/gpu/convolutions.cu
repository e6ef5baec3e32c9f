// The 3 x 3 convolutions of the score U-Net, periodic, batch 32: forward with bias and SiLU, gradient of the field,
// gradient of the kernel, in the arithmetic that the program is compiled for: bf16, TF32 or float.

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/conv.hpp>

#include "gpu_check.hpp"
#include "gpu_precision.hpp"

using namespace kolmo;
using T = gpu::Scalar;
using V = Tensor<T, Cuda>;

namespace {

/// A layer from `in` to `out` channels on a square of `points`.
struct Layer {
  index_t batch, in, out, points, stride;

  ConvOptions options() const { return {{{stride, stride}}, Padding::circular}; }
  Shape field() const { return {batch, points, points, in}; }
  Shape kernel() const { return {out, in, 3, 3}; }
  Shape result() const { return {batch, points / stride, points / stride, out}; }
  std::string name() const {
    return std::to_string(in) + " to " + std::to_string(out) + " channels, " + std::to_string(points) + " x " +
           std::to_string(points) + (stride > 1 ? ", stride " + std::to_string(stride) : "");
  }
};

V random(Key key, const Shape& shape, double deviation = 1) {
  return cast<T>(nn::normal_values<Tensor<float, Cuda>>(key, shape, 0, deviation));
}

/// The definition, in double, for elements of the result and of both gradients.
class Reference {
 public:
  Reference(const Layer& layer, const V& x, const V& w, const V& bias, const V& gradient)
      : l_(layer), x_(gpu::doubles(x)), w_(gpu::doubles(w)), bias_(gpu::doubles(bias)), g_(gpu::doubles(gradient)) {}

  double forward_error(const V& y) const {
    return error(gpu::doubles(y), [&](index_t at) {
      const index_t o = at % l_.out, side = l_.points / l_.stride, j = at / l_.out % side,
                    i = at / (l_.out * side) % side, b = at / (l_.out * side * side);
      double sum = bias_[index(o)];
      for (index_t c = 0; c < l_.in; ++c)
        for (index_t p = 0; p < 3; ++p)
          for (index_t q = 0; q < 3; ++q) sum += x(b, l_.stride * i + p - 1, l_.stride * j + q - 1, c) * w(o, c, p, q);
      return sum / (1 + std::exp(-sum));
    });
  }
  double field_error(const V& gx) const {
    return error(gpu::doubles(gx), [&](index_t at) {
      const index_t c = at % l_.in, j = at / l_.in % l_.points, i = at / (l_.in * l_.points) % l_.points,
                    b = at / (l_.in * l_.points * l_.points), side = l_.points / l_.stride;
      double sum = 0;
      for (index_t p = 0; p < 3; ++p)
        for (index_t q = 0; q < 3; ++q) {
          const index_t row = wrapped(i + 1 - p, l_.points), column = wrapped(j + 1 - q, l_.points);
          if (row % l_.stride != 0 || column % l_.stride != 0) continue;
          for (index_t o = 0; o < l_.out; ++o)
            sum += g_[index(((b * side + row / l_.stride) * side + column / l_.stride) * l_.out + o)] * w(o, c, p, q);
        }
      return sum;
    });
  }
  double kernel_error(const V& gw) const {
    return error(gpu::doubles(gw), [&](index_t at) {
      const index_t q = at % 3, p = at / 3 % 3, c = at / 9 % l_.in, o = at / (9 * l_.in), side = l_.points / l_.stride;
      double sum = 0;
      for (index_t b = 0; b < l_.batch; ++b)
        for (index_t i = 0; i < side; ++i)
          for (index_t j = 0; j < side; ++j)
            sum += g_[index(((b * side + i) * side + j) * l_.out + o)] *
                   x(b, l_.stride * i + p - 1, l_.stride * j + q - 1, c);
      return sum;
    });
  }

 private:
  static std::size_t index(index_t i) { return static_cast<std::size_t>(i); }
  static index_t wrapped(index_t i, index_t n) { return (i + n) % n; }
  double x(index_t b, index_t i, index_t j, index_t c) const {
    const index_t n = l_.points;
    return x_[index(((b * n + wrapped(i, n)) * n + wrapped(j, n)) * l_.in + c)];
  }
  double w(index_t o, index_t c, index_t p, index_t q) const { return w_[index(((o * l_.in + c) * 3 + p) * 3 + q)]; }

  /// Error of 97 elements spread over the whole, the first and the last among them.
  template <class F>
  static double error(const std::vector<double>& all, const F& expected) {
    std::vector<double> actual, wanted;
    const index_t n = static_cast<index_t>(all.size());
    for (index_t k = 0; k < 97; ++k) {
      const index_t at = k * (n - 1) / 96;
      actual.push_back(all[index(at)]);
      wanted.push_back(expected(at));
    }
    return gpu::relative_error(actual, wanted);
  }

  Layer l_;
  std::vector<double> x_, w_, bias_, g_;
};

void add_layer(gpu::Report& report, const Layer& layer) {
  const std::string name = "convolution/" + std::string(gpu::precision) + "/" + layer.name();
  report.part(name, [&] {
    const gpu::Precision mode;
    const auto g = detail::conv_geometry("benchmark", layer.field(), layer.kernel(), layer.options());
    const double size = sizeof(T), of_field = size * static_cast<double>(layer.field().size()),
                 of_result = size * static_cast<double>(layer.result().size()),
                 of_kernel = size * static_cast<double>(layer.kernel().size());
    const gpu::Work work{
        .bytes = of_field + of_result + of_kernel, .flops = 2.0 * static_cast<double>(g.products()), .unit = gpu::unit};
    std::vector<V> fields, gradients;
    for (index_t i = 0; i < gpu::rotation(work.bytes, report.tiny()); ++i) {
      fields.push_back(random(fold_in(Key{1}, static_cast<std::uint64_t>(i)), layer.field()));
      gradients.push_back(random(fold_in(Key{2}, static_cast<std::uint64_t>(i)), layer.result()));
    }
    const V w = random(Key{3}, layer.kernel(), 1 / std::sqrt(9.0 * static_cast<double>(layer.in)));
    const V bias = random(Key{4}, Shape{layer.out}, 0.1);
    const Reference reference(layer, fields[0], w, bias, gradients[0]);
    const auto turn = [&](index_t i) { return static_cast<std::size_t>(i) % fields.size(); };
    const auto forward = [&](index_t i) { return V(conv2d(fields[turn(i)], w, bias, layer.options(), fn::Silu{})); };
    const auto field = [&](index_t i) { return V(detail::ConvBackwardData{g}(gradients[turn(i)], w)); };
    const auto kernel = [&](index_t i) {
      return V(detail::ConvBackwardFilter{g}(fields[turn(i)], gradients[turn(i)]));
    };
    const auto add = [&](const char* what, double error, const auto& call) {
      report.row(name + ", " + what, work, {error, gpu::product_tolerance, "the definition in double"},
                 [&](index_t i) { call(i); });
    };
    add("forward", reference.forward_error(forward(0)), forward);
    add("gradient of the field", reference.field_error(field(0)), field);
    add("gradient of the kernel", reference.kernel_error(kernel(0)), kernel);
  });
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("Convolutions of the score U-Net, forward and both ways back.", argc, argv, [](gpu::Report& report) {
    if (report.tiny()) {
      add_layer(report, {1, 16, 16, 8, 1});
      add_layer(report, {1, 3, 8, 8, 2});
      return;
    }
    add_layer(report, {32, 96, 96, 64, 1});
    add_layer(report, {32, 192, 192, 32, 1});
    add_layer(report, {32, 384, 384, 16, 1});
    add_layer(report, {32, 11, 96, 64, 1});
    add_layer(report, {32, 96, 192, 64, 2});
    add_layer(report, {32, 192, 384, 32, 2});
    add_layer(report, {32, 192, 96, 64, 1});
    add_layer(report, {32, 96, 10, 64, 1});
  });
}
