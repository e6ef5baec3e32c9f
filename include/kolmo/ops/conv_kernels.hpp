#pragma once
// The three sums of a convolution on plain tensors of any backend: patches of the field are gathered into the rows of
// a matrix, in parts of bounded memory, and multiplied by the kernel. On the host the scalars of HostConvScalar go to
// backend/host_conv.hpp instead, and on a backend with statics conv_forward, conv_backward_data and
// conv_backward_filter to these where they take the case.

#include <kolmo/backend/conv_geometry.hpp>
#include <kolmo/backend/eigen.hpp>
#include <kolmo/backend/host_conv.hpp>
#include <kolmo/core/functors.hpp>
#include <kolmo/core/jet.hpp>
#include <kolmo/ops/strided.hpp>

namespace kolmo::detail {

/// Rows of patches: columns[p - first, (u, v, c)] = the point that entry (u, v) meets for pixel p of the result.
template <class T>
struct ConvGather {
  ConvGeometry g;
  const T* x;
  T* columns;
  index_t first;

  KOLMO_HD void operator()(index_t item) const {
    const ConvAxis &rows = g.axis[0], &across = g.axis[1];
    index_t rest = item / g.channels_in;
    const index_t c = item - rest * g.channels_in;
    const index_t v = rest % across.kernel;
    rest /= across.kernel;
    const index_t u = rest % rows.kernel, pixel = first + rest / rows.kernel;
    const index_t j = pixel % across.out, i = pixel / across.out % rows.out, b = pixel / g.pixels_out();
    const index_t y = rows.source(i, u, g.padding), z = across.source(j, v, g.padding);
    columns[item] = y < 0 || z < 0 ? T(0) : x[((b * rows.in + y) * across.in + z) * g.channels_in + c];
  }
};

/// The transpose of ConvGather for whole images: every point of the field adds up what was read from it.
template <class T>
struct ConvScatter {
  ConvGeometry g;
  const T* columns;
  T* x;

  KOLMO_HD void operator()(index_t item) const {
    const ConvAxis &rows = g.axis[0], &across = g.axis[1];
    index_t rest = item / g.channels_in;
    const index_t c = item - rest * g.channels_in;
    const index_t j = rest % across.in;
    rest /= across.in;
    const index_t i = rest % rows.in, b = rest / rows.in;
    ComputeOf<T> sum = ComputeOf<T>(0);
    const index_t ends_i = border(rows), ends_j = border(across);
    for (index_t p = -1; p < ends_i; ++p) {
      const index_t y = position(rows, p, i);
      if (p >= 0 && rows.source(y, g.padding) != i) continue;
      for (index_t q = -1; q < ends_j; ++q) {
        const index_t z = position(across, q, j);
        if (q < 0 || across.source(z, g.padding) == j) sum = sum + taps(b, y, z, c);
      }
    }
    x[item] = static_cast<T>(sum);
  }

  /// Positions beyond the two ends that may stand for a point of the field.
  KOLMO_HD index_t border(const ConvAxis& axis) const { return g.padding == Padding::zeros ? 0 : axis.pad + axis.behind; }
  /// The point itself first, then the positions before and behind the field.
  KOLMO_HD static index_t position(const ConvAxis& axis, index_t number, index_t point) {
    if (number < 0) return point;
    return number < axis.pad ? number - axis.pad : axis.in + number - axis.pad;
  }

  KOLMO_HD ComputeOf<T> taps(index_t b, index_t y, index_t z, index_t c) const {
    const ConvAxis &rows = g.axis[0], &across = g.axis[1];
    ComputeOf<T> sum = ComputeOf<T>(0);
    for (index_t u = 0; u < rows.kernel; ++u) {
      const index_t i = rows.target(y, u);
      if (i < 0) continue;
      for (index_t v = 0; v < across.kernel; ++v) {
        const index_t j = across.target(z, v);
        if (j < 0) continue;
        const index_t pixel = (b * rows.out + i) * across.out + j;
        sum = sum + columns[((pixel * rows.kernel + u) * across.kernel + v) * g.channels_in + c];
      }
    }
    return sum;
  }
};

/// The kernel [out, in, h, w] as the matrix [(h, w, in), out], and back.
struct ConvMatrix {
  ConvGeometry g;
  template <PlainTensor V>
  V operator()(const V& w) const {
    const Strides s = w.strides();
    Strides strides{};
    strides[0] = s[2];
    strides[1] = s[3];
    strides[2] = s[1];
    strides[3] = s[0];
    return w.view(Shape{g.axis[0].kernel, g.axis[1].kernel, g.channels_in, g.channels_out}, strides, 0)
        .contiguous()
        .reshaped(Shape{g.taps() * g.channels_in, g.channels_out});
  }
  template <PlainTensor V>
  V back(const V& matrix) const {
    const index_t out = g.channels_out, in = g.channels_in;
    Strides strides{};
    strides[0] = 1;
    strides[1] = out;
    strides[2] = g.axis[1].kernel * in * out;
    strides[3] = in * out;
    return matrix.view(Shape{out, in, g.axis[0].kernel, g.axis[1].kernel}, strides, 0).contiguous();
  }
};

/// Elements of one part of the patches: 64 MB of floats.
inline constexpr index_t conv_part = index_t{1} << 24;

template <class T>
GemmCall<T> conv_product(index_t m, index_t n, index_t k, const T* a, const T* b, T* c) {
  GemmCall<T> call;
  call.m = m;
  call.n = n;
  call.k = k;
  call.a = a;
  call.leading_a = k;
  call.b = b;
  call.leading_b = n;
  call.c = c;
  call.leading_c = n;
  return call;
}

/// Tensors whose convolutions the host computes by itself.
template <class V>
concept HostConvolved = HostMemory<typename V::Backend> && HostConvScalar<typename V::Scalar>;

/// Tensors whose backend has convolutions of its own.
template <class V>
concept BackendConvolved =
    requires(const ConvGeometry& g, const typename V::Scalar* x, typename V::Scalar* y) { V::Backend::conv_backward_data(g, x, x, y); };

/// y = f(z), z the sum with its bias. z is empty unless it was asked for and f is not the identity.
template <PlainTensor V>
struct ConvValue {
  V y, z;
};

inline Shape conv_in_shape(const ConvGeometry& g) { return Shape{g.batch, g.axis[0].in, g.axis[1].in, g.channels_in}; }
inline Shape conv_out_shape(const ConvGeometry& g) {
  return Shape{g.batch, g.axis[0].out, g.axis[1].out, g.channels_out};
}
inline Shape conv_kernel_shape(const ConvGeometry& g) {
  return Shape{g.channels_out, g.channels_in, g.axis[0].kernel, g.axis[1].kernel};
}

/// The sum without bias.
struct ConvForward {
  ConvGeometry g;
  template <PlainTensor V>
  V operator()(const V& x, const V& w) const {
    using T = typename V::Scalar;
    using B = typename V::Backend;
    V y = V::uninitialized(conv_out_shape(g));
    if (y.size() == 0) return y;
    if constexpr (HostConvolved<V>) {
      const V field = x.contiguous(), kernel = w.contiguous();
      ConvTarget<T> target;
      target.y = y.mutable_data();
      host_conv_forward<T>(g, field.data(), kernel.data(), target);
      return y;
    }
    if constexpr (BackendConvolved<V>) {
      const V field = x.contiguous(), kernel = w.contiguous();
      if (B::conv_forward(g, field.data(), kernel.data(), static_cast<const T*>(nullptr), fn::Identity{},
                          static_cast<T*>(nullptr), y.mutable_data()))
        return y;
    }
    const V field = x.contiguous(), matrix = ConvMatrix{g}(w);
    const index_t width = g.taps() * g.channels_in, pixels = g.batch * g.pixels_out();
    const index_t part = smaller(pixels, larger<index_t>(1, conv_part / width));
    V columns = V::uninitialized(Shape{part, width});
    for (index_t p = 0; p < pixels; p += part) {
      const index_t n = smaller(part, pixels - p);
      B::for_each(n * width, ConvGather<T>{g, field.data(), columns.mutable_data(), p});
      B::gemm(conv_product<T>(n, g.channels_out, width, columns.data(), matrix.data(),
                              y.mutable_data() + p * g.channels_out));
    }
    return y;
  }
};

/// The gradient of the field.
struct ConvBackwardData {
  ConvGeometry g;
  template <PlainTensor V>
  V operator()(const V& gradient, const V& w) const {
    using T = typename V::Scalar;
    using B = typename V::Backend;
    V x = V::uninitialized(conv_in_shape(g));
    if (x.size() == 0) return x;
    if constexpr (HostConvolved<V>) {
      const V source = gradient.contiguous(), kernel = w.contiguous();
      host_conv_backward_data<T>(g, source.data(), kernel.data(), x.mutable_data());
      return x;
    }
    if constexpr (BackendConvolved<V>) {
      const V source = gradient.contiguous(), kernel = w.contiguous();
      if (B::conv_backward_data(g, source.data(), kernel.data(), x.mutable_data())) return x;
    }
    const V source = gradient.contiguous(), matrix = ConvMatrix{g}(w);
    const index_t width = g.taps() * g.channels_in, image = g.pixels_out();
    const index_t part = smaller(g.batch, larger<index_t>(1, conv_part / (width * image)));
    V columns = V::uninitialized(Shape{part * image, width});
    for (index_t b = 0; b < g.batch; b += part) {
      const index_t n = smaller(part, g.batch - b);
      GemmCall<T> call = conv_product<T>(n * image, width, g.channels_out, source.data() + b * image * g.channels_out,
                                         matrix.data(), columns.mutable_data());
      call.transpose_b = true;
      call.leading_b = g.channels_out;
      B::gemm(call);
      const index_t size = g.pixels_in() * g.channels_in;
      B::for_each(n * size, ConvScatter<T>{g, columns.data(), x.mutable_data() + b * size});
    }
    return x;
  }
};

/// The gradient of the kernel.
struct ConvBackwardFilter {
  ConvGeometry g;
  template <PlainTensor V>
  V operator()(const V& x, const V& gradient) const {
    using T = typename V::Scalar;
    using B = typename V::Backend;
    const index_t width = g.taps() * g.channels_in, pixels = g.batch * g.pixels_out();
    if (pixels == 0) return V::zeros(conv_kernel_shape(g));
    const V field = x.contiguous(), source = gradient.contiguous();
    if constexpr (HostConvolved<V>) {
      V w = V::uninitialized(conv_kernel_shape(g));
      host_conv_backward_filter<T>(g, field.data(), source.data(), w.mutable_data());
      return w;
    }
    if constexpr (BackendConvolved<V>) {
      V w = V::uninitialized(conv_kernel_shape(g));
      if (B::conv_backward_filter(g, field.data(), source.data(), w.mutable_data())) return w;
    }
    V matrix = V::uninitialized(Shape{width, g.channels_out});
    const index_t part = smaller(pixels, larger<index_t>(1, conv_part / width));
    V columns = V::uninitialized(Shape{part, width});
    for (index_t p = 0; p < pixels; p += part) {
      const index_t n = smaller(part, pixels - p);
      B::for_each(n * width, ConvGather<T>{g, field.data(), columns.mutable_data(), p});
      GemmCall<T> call = conv_product<T>(width, g.channels_out, n, columns.data(), source.data() + p * g.channels_out,
                                         matrix.mutable_data());
      call.transpose_a = true;
      call.leading_a = width;
      call.beta = ComputeOf<T>(p == 0 ? 0 : 1);
      B::gemm(call);
    }
    return ConvMatrix{g}.back(matrix);
  }
};

}  // namespace kolmo::detail
