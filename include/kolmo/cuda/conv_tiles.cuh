#pragma once
// The sum of conv_plan.cuh by tiles: a block computes 128 pixels by up to 96 channels and walks along entries and
// channels in rows of 128 bytes, which asynchronous copies bring to shared memory two rows ahead. Every 16 bytes of a
// pixel have an address of their own, so that borders, strides and dilations cost nothing; positions outside are copied
// as zeros. Bias and activation follow in float before the result is rounded and stored.

#include <kolmo/cuda/conv_engines.cuh>

namespace kolmo::detail {

/// What follows the sum of a pixel: y = f(z), z = sum + bias. `bias` and `z` may be null.
template <class T, class F>
struct ConvEnd {
  F f;
  const T* bias;
  T* z;
  T* y;
};

template <class T, class F>
struct ConvCall {
  ConvSum sum;
  const T* x;
  const T* packed;
  ConvEnd<T, F> end;
  FastDivision depth_chunks, taps;  // by the chunks of a pixel, and by the taps of the second axis
  int rows;                         // conv_sum_rows
  bool source_aligned, result_aligned;
};

/// The kernel as the sums read it: [columns of tiles, rows of 128 bytes, columns, 128 bytes], zeros where there is no
/// channel. Along the rows lie slices of `slice` channels, of each all entries. For warpgroups the 16 bytes of a row
/// are swizzled. Item: a number.
template <class T>
struct ConvPack {
  ConvSum sum;
  const T* w;
  T* packed;
  int columns, rows, kernel_width, slice;
  index_t out_step, in_step;  // of the numbers of one entry: along the result's channels and the source's
  bool round, swizzled;

  KOLMO_HD void operator()(index_t item) const {
    constexpr int numbers = conv_row_bytes / static_cast<int>(sizeof(T));
    index_t rest = item / numbers;
    const int number = static_cast<int>(item - rest * numbers);
    const index_t block = rest / columns;
    const int column = static_cast<int>(rest - block * columns);
    const index_t n = block / rows * columns + column;
    const int place = swizzled ? number ^ column % conv_row_chunks * conv_chunk<T> : number;
    const int k = static_cast<int>(block % rows) * numbers + place, taps = sum.axis[0].taps * sum.axis[1].taps;
    const int part = k / slice, tap = taps == 0 ? 0 : part % taps;
    const int c = (taps == 0 ? sum.depth : part / taps * slice) + k - part * slice;
    const int e0 = tap / larger(1, sum.axis[1].taps), e1 = tap - e0 * sum.axis[1].taps;
    T value = T(0);
    if (n < sum.width && c < sum.depth)
      value = w[n * out_step + c * in_step + (sum.axis[0].entry + e0 * sum.axis[0].entry_step) * kernel_width +
                sum.axis[1].entry + e1 * sum.axis[1].entry_step];
    packed[item] = round ? rounded(value) : value;
  }

  /// To TF32, as to_tf32 on the device.
  KOLMO_HD static T rounded(T value) {
    if constexpr (sizeof(T) == 4) {
      const std::uint32_t bits = to_bits(value);
      if ((bits & 0x7f800000u) != 0x7f800000u) return from_bits<float>((bits + 0x1000u) & 0xffffe000u);
    }
    return value;
  }
};

/// Stores sums of a pixel's channels n and on, as many as fill 16 bytes, through bias and activation.
template <class T, class F>
__device__ void store_conv_chunk(const ConvSum& sum, const ConvEnd<T, F>& end, bool aligned, const float* sums,
                                 const ConvPixel& pixel, int n) {
  constexpr int chunk = conv_chunk<T>;
  const index_t place = sum.place(pixel) * sum.width + n;
  alignas(16) T y[chunk], z[chunk];
  KOLMO_UNROLLED
  for (int i = 0; i < chunk; ++i) {
    float value = sums[i];
    if (end.bias != nullptr && n + i < sum.width) value = value + static_cast<float>(end.bias[n + i]);
    z[i] = static_cast<T>(value);
    y[i] = static_cast<T>(end.f(value));
  }
  if (aligned) {
    *reinterpret_cast<uint4*>(end.y + place) = *reinterpret_cast<const uint4*>(y);
    if (end.z != nullptr) *reinterpret_cast<uint4*>(end.z + place) = *reinterpret_cast<const uint4*>(z);
    return;
  }
  for (int i = 0; i < chunk && n + i < sum.width; ++i) {
    end.y[place + i] = y[i];
    if (end.z != nullptr) end.z[place + i] = z[i];
  }
}

/// Copies the 16 bytes of channels c and on of the source's point (y, x) of an image, zeros where it has none.
template <class T>
__device__ void copy_conv_chunk(const ConvSum& sum, bool aligned, unsigned char* target, const T* source, int image,
                                int y, int x, int c, bool inside) {
  const int i = continued_point(y, sum.axis[0].source, sum.padding),
            j = continued_point(x, sum.axis[1].source, sum.padding);
  const bool valid = inside && i >= 0 && j >= 0;
  const T* const from =
      valid ? source + ((static_cast<index_t>(image) * sum.axis[0].source + i) * sum.axis[1].source + j) * sum.depth + c
            : source;
  if (aligned) {
    copy_async_16_cached(target, from, valid);
    return;
  }
  T* const to = reinterpret_cast<T*>(target);
  KOLMO_UNROLLED
  for (int e = 0; e < conv_chunk<T>; ++e) to[e] = valid && c + e < sum.depth ? from[e] : T(0);
}

inline constexpr int conv_stages = 3;
KOLMO_HD constexpr int conv_tile_pitch(int columns) { return columns + 4; }

/// Shared memory of a block: the stages, and after them the results.
constexpr std::size_t conv_tile_bytes(int columns) {
  const int stages = conv_stages * (conv_tile_rows + columns) * conv_pitch;
  const int results = conv_tile_rows * conv_tile_pitch(columns) * 4;
  return static_cast<std::size_t>(larger(stages, results));
}

template <class Tile, class F>
KOLMO_KERNEL __launch_bounds__(conv_threads, 2)
    conv_tile_kernel(const __grid_constant__ ConvCall<typename Tile::Scalar, F> call) {
  using T = typename Tile::Scalar;
  constexpr int columns = Tile::tile_columns, stage_bytes = (conv_tile_rows + columns) * conv_pitch;
  constexpr int copies = conv_tile_rows * conv_row_chunks / conv_threads, step = conv_threads / conv_row_chunks;
  unsigned char* const memory = dynamic_shared();
  const int thread = static_cast<int>(threadIdx.x), chunk = thread % conv_row_chunks, row = thread / conv_row_chunks;
  const int column_tiles = (call.sum.width + columns - 1) / columns;
  const int tile = static_cast<int>(blockIdx.x) / column_tiles,
            column_tile = static_cast<int>(blockIdx.x) % column_tiles;
  const int rows = call.rows;
  const ConvSumAxis &down = call.sum.axis[0], &across = call.sum.axis[1];

  int image[copies], y[copies], x[copies];
  bool inside[copies];
  KOLMO_UNROLLED
  for (int i = 0; i < copies; ++i) {
    const int number = tile * conv_tile_rows + row + i * step;
    const ConvPixel pixel = call.sum.pixel(number);
    inside[i] = number < call.sum.pixels;
    image[i] = pixel.image;
    y[i] = pixel.i * down.multiple + down.offset;
    x[i] = pixel.j * across.multiple + across.offset;
  }
  const unsigned char* const kernel = reinterpret_cast<const unsigned char*>(call.packed) +
                                      static_cast<index_t>(column_tile) * rows * columns * conv_row_bytes;

  const auto load = [&](int k) {
    unsigned char* const stage = memory + k % conv_stages * stage_bytes;
    const int number = k * conv_row_chunks + chunk;
    const int tap = call.depth_chunks.quotient(number),
              c = (number - tap * call.depth_chunks.divisor()) * conv_chunk<T>;
    const int e0 = call.taps.quotient(tap), e1 = tap - e0 * call.taps.divisor();
    KOLMO_UNROLLED
    for (int i = 0; i < copies; ++i)
      copy_conv_chunk(call.sum, call.source_aligned, stage + (row + i * step) * conv_pitch + chunk * 16, call.x,
                      image[i], y[i] + e0 * down.increment, x[i] + e1 * across.increment, c,
                      inside[i] && e0 < down.taps);
    unsigned char* const b = stage + conv_tile_rows * conv_pitch;
    const unsigned char* const from = kernel + static_cast<index_t>(k) * columns * conv_row_bytes;
    KOLMO_UNROLLED
    for (int i = 0; i < columns / step; ++i)
      copy_async_16(b + (row + i * step) * conv_pitch + chunk * 16, from + (thread + i * conv_threads) * 16);
  };

  Tile product;
  KOLMO_UNROLLED
  for (int k = 0; k < conv_stages - 1; ++k) {
    if (k < rows) load(k);
    commit_copies();
  }
  for (int k = 0; k < rows; ++k) {
    wait_copies<conv_stages - 2>();
    __syncthreads();
    if (k + conv_stages - 1 < rows) load(k + conv_stages - 1);
    commit_copies();
    const unsigned char* const stage = memory + k % conv_stages * stage_bytes;
    product.add(stage, stage + conv_tile_rows * conv_pitch);
  }
  wait_copies<0>();
  __syncthreads();
  float* const results = reinterpret_cast<float*>(memory);
  product.write(results, conv_tile_pitch(columns));
  __syncthreads();
  constexpr int result_chunks = columns / conv_chunk<T>;
  for (int item = thread; item < conv_tile_rows * result_chunks; item += conv_threads) {
    const int pixel_row = item / result_chunks, column = (item - pixel_row * result_chunks) * conv_chunk<T>;
    const int number = tile * conv_tile_rows + pixel_row, n = column_tile * columns + column;
    if (number < call.sum.pixels && n < call.sum.width)
      store_conv_chunk(call.sum, call.end, call.result_aligned, results + pixel_row * conv_tile_pitch(columns) + column,
                       call.sum.pixel(number), n);
  }
}

/// Fewest columns of tiles that hold the channels, of these the widest tiles.
inline int conv_tile_columns(int width) {
  int best = 96;
  for (const int columns : {64, 32})
    if (divide_up(width, columns) * columns < divide_up(width, best) * best) best = columns;
  return best;
}

template <class Tile, class F>
void launch_conv_tiles(const ConvCall<typename Tile::Scalar, F>& call) {
  constexpr int columns = Tile::tile_columns;
  const index_t blocks = divide_up(call.sum.pixels, conv_tile_rows) * divide_up(call.sum.width, columns);
  launch<F>("conv_tile_kernel", conv_tile_kernel<Tile, F>, LaunchShape{blocks, conv_threads, conv_tile_bytes(columns)},
            call);
}

}  // namespace kolmo::detail
