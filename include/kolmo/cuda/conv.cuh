#pragma once
// Convolutions on CUDA, an override of ops/conv_kernels.hpp: bfloat16 on tensor cores with sums in float, float exactly
// or, within `Cuda::Math scope{MatrixMath::tf32}`, on tensor cores as well. The kernel is packed for every call, which
// is little beside the sums.

#include <kolmo/core/functors.hpp>
#include <kolmo/cuda/conv_filter.cuh>
#include <kolmo/cuda/conv_filter_patches.cuh>
#include <kolmo/cuda/conv_warpgroups.cuh>
#include <kolmo/cuda/loops.cuh>

namespace kolmo {

namespace detail {

template <class T>
bool conv_rounds() {
  return std::is_same_v<T, float> && Cuda::Math::mode() == MatrixMath::tf32;
}

/// Calls f(std::type_identity<Tile>) with the tile for a number of channels.
template <class T, class F>
void with_conv_tile(int width, const F& f) {
  const int columns = conv_tile_columns(width);
  if constexpr (std::is_same_v<T, float>) {
    if (Cuda::Math::mode() == MatrixMath::exact) {
      if (columns == 32) return f(std::type_identity<ExactTile<32>>());
      if (columns == 64) return f(std::type_identity<ExactTile<64>>());
      return f(std::type_identity<ExactTile<96>>());
    }
  }
  if (columns == 32) return f(std::type_identity<TensorCoreTile<T, 32>>());
  if (columns == 64) return f(std::type_identity<TensorCoreTile<T, 64>>());
  f(std::type_identity<TensorCoreTile<T, 96>>());
}

template <class T, class F>
struct ConvTilesLauncher {
  ConvCall<T, F>& call;
  const T* w;
  int kernel_width;
  index_t out_step, in_step;

  template <class Tile>
  void operator()(std::type_identity<Tile>) const {
    constexpr int columns = Tile::tile_columns;
    const index_t tiles = divide_up(call.sum.width, columns);
    const index_t count = tiles * call.rows * columns * conv_row_numbers<T>;
    const CudaBuffer<T> packed(count);
    Cuda::for_each(
        count, ConvPack<T>{call.sum, w, packed.data(), columns, call.rows, kernel_width,
                           call.depth_chunks.divisor() * conv_chunk<T>, out_step, in_step, conv_rounds<T>(), false});
    call.packed = packed.data();
    launch_conv_tiles<Tile>(call);
  }
};

inline bool aligned_16(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

/// The sum by patches if it suits them and this GPU has the products of warpgroups. Returns whether it did.
template <int columns, class T, class F>
bool conv_sum_by_patches(const ConvCall<T, F>& tiles, const T* w, int kernel_width, index_t out_step, index_t in_step) {
  ConvPatchCall<T, F> call{};
  call.sum = tiles.sum;
  call.x = tiles.x;
  call.end = tiles.end;
  if (!plan_conv_patches(call, columns) || !can_launch(conv_patch_kernel<T, columns, F>, conv_threads)) return false;
  const int rows = static_cast<int>(divide_up(call.slices * call.steps, 4));
  const index_t count = static_cast<index_t>(call.sum.width) * rows * conv_row_numbers<T>;
  const CudaBuffer<T> packed(count);
  Cuda::for_each(
      count, ConvPack<T>{call.sum, w, packed.data(), columns, rows, kernel_width,
                         call.slice_bytes / static_cast<int>(sizeof(T)), out_step, in_step, conv_rounds<T>(), true});
  call.packed = packed.data();
  launch_conv_patches<T, columns>(call);
  return true;
}

/// One sum over all images. `out_step` and `in_step` are the kernel's strides along the channels of result and source.
template <class T, class F>
void conv_sum(ConvSum sum, index_t images, const T* x, const T* w, index_t kernel_width, index_t out_step,
              index_t in_step, const ConvEnd<T, F>& end) {
  const index_t source = static_cast<index_t>(sum.axis[0].source) * sum.axis[1].source * sum.depth;
  const index_t result = static_cast<index_t>(sum.axis[0].extent) * sum.axis[1].extent * sum.width;
  const index_t part = conv_launch_pixels / (static_cast<index_t>(sum.axis[0].points) * sum.axis[1].points);
  for (index_t first = 0; first < images; first += part) {
    set_conv_pixels(sum, smaller(part, images - first));
    ConvCall<T, F> call{sum, x + first * source, nullptr, end, {}, {}, conv_sum_rows<T>(sum), false, false};
    call.end.y += first * result;
    if (call.end.z != nullptr) call.end.z += first * result;
    call.depth_chunks = FastDivision(static_cast<int>(divide_up(sum.depth, conv_chunk<T>)));
    call.taps = FastDivision(larger(1, sum.axis[1].taps));
    call.source_aligned = sum.depth % conv_chunk<T> == 0 && aligned_16(call.x);
    call.result_aligned = sum.width % conv_chunk<T> == 0 && aligned_16(call.end.y) && aligned_16(call.end.z);
    if (call.source_aligned && call.result_aligned && (std::is_same_v<T, BFloat16> || conv_rounds<T>())) {
      const int kernel = static_cast<int>(kernel_width);
      if (sum.width % 96 == 0 ? conv_sum_by_patches<96>(call, w, kernel, out_step, in_step)
                              : conv_sum_by_patches<64>(call, w, kernel, out_step, in_step))
        continue;
    }
    with_conv_tile<T>(sum.width, ConvTilesLauncher<T, F>{call, w, static_cast<int>(kernel_width), out_step, in_step});
  }
}

/// Item: one number of the field, the sum of the continued field's points that stand for it.
template <class T>
struct ConvFold {
  ConvGeometry g;
  const T* continued;
  T* x;

  KOLMO_HD void operator()(index_t item) const {
    const ConvAxis &rows = g.axis[0], &across = g.axis[1];
    index_t rest = item / g.channels_in;
    const index_t c = item - rest * g.channels_in, j = rest % across.in;
    rest /= across.in;
    const index_t i = rest % rows.in, b = rest / rows.in;
    ComputeOf<T> sum = ComputeOf<T>(0);
    for (index_t p = -1; p < rows.pad + rows.behind; ++p) {
      const index_t y = position(rows, p, i);
      if (rows.source(y, g.padding) != i) continue;
      for (index_t q = -1; q < across.pad + across.behind; ++q) {
        const index_t z = position(across, q, j);
        if (across.source(z, g.padding) == j)
          sum =
              sum +
              continued[((b * rows.continued() + y + rows.pad) * across.continued() + z + across.pad) * g.channels_in +
                        c];
      }
    }
    x[item] = static_cast<T>(sum);
  }
  /// The point itself first, then the positions before and behind the field.
  KOLMO_HD static index_t position(const ConvAxis& axis, index_t number, index_t point) {
    if (number < 0) return point;
    return number < axis.pad ? number - axis.pad : axis.in + number - axis.pad;
  }
};

template <class T>
struct ConvFilterLauncher {
  const ConvSum& sum;
  const T* x;
  const T* gradient;
  T* w;

  template <class Tile>
  void operator()(std::type_identity<Tile>) const {
    launch_conv_filter<Tile>(sum, x, gradient, w);
  }
};

}  // namespace detail

template <class T, class F>
requires detail::CudaConvScalar<T> KOLMO_LINKABLE bool Cuda::conv_forward(const detail::ConvGeometry& g, const T* x,
                                                                          const T* w, const T* bias, const F& f, T* z,
                                                                          T* y) {
  if (!detail::suits_conv_sum(g)) return false;
  detail::conv_sum(detail::conv_forward_sum(g), g.batch, x, w, g.axis[1].kernel, g.channels_in * g.taps(), g.taps(),
                   detail::ConvEnd<T, F>{f, bias, z, y});
  return true;
}

template <class T>
requires detail::CudaConvScalar<T> KOLMO_LINKABLE bool Cuda::conv_backward_data(const detail::ConvGeometry& g,
                                                                                const T* gradient, const T* w, T* x) {
  if (!detail::suits_conv_sum(g)) return false;
  const bool fold = detail::needs_fold(g);
  const detail::CudaBuffer<T> continued(fold ? g.batch * g.axis[0].continued() * g.axis[1].continued() * g.channels_in
                                             : 0);
  for (const detail::ConvSum& sum : detail::conv_backward_sums(g))
    detail::conv_sum(sum, g.batch, gradient, w, g.axis[1].kernel, g.taps(), g.channels_in * g.taps(),
                     detail::ConvEnd<T, fn::Identity>{{}, nullptr, nullptr, fold ? continued.data() : x});
  if (fold) for_each(g.batch * g.pixels_in() * g.channels_in, detail::ConvFold<T>{g, continued.data(), x});
  return true;
}

template <class T>
requires detail::CudaConvScalar<T> KOLMO_LINKABLE bool Cuda::conv_backward_filter(const detail::ConvGeometry& g,
                                                                                  const T* x, const T* gradient, T* w) {
  if (!detail::suits_conv_sum(g) || g.batch * g.pixels_out() > detail::conv_launch_pixels ||
      g.taps() > detail::most_filter_taps)
    return false;
  detail::ConvSum sum = detail::conv_forward_sum(g);
  detail::set_conv_pixels(sum, g.batch);
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (detail::aligned_16(x) && detail::aligned_16(gradient) &&
        (sum.width % 96 == 0 ? detail::conv_filter_by_patches<96>(sum, x, gradient, w)
                             : detail::conv_filter_by_patches<64>(sum, x, gradient, w)))
      return true;
  }
  detail::with_conv_tile<T>(sum.width, detail::ConvFilterLauncher<T>{sum, x, gradient, w});
  return true;
}

}  // namespace kolmo
