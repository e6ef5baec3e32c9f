#pragma once
// The gradient of a convolution's kernel: with m = (entry, channel of the field) and n a channel of the result,
//
//   w[m, n] = sum_p x[point that entry m meets for pixel p, channel m] gradient[p, n].
//
// The work, tiles of w times stages of pixels, is cut into equal parts, one for each resident block; where a part ends
// inside a tile, the sums of the parts are added in their order. The cut depends on shapes and on the number of
// multiprocessors alone.

#include <kolmo/cuda/conv_tiles.cuh>

namespace kolmo::detail {

/// Pixels of a stage.
template <class T>
inline constexpr int conv_filter_depth = 128 / static_cast<int>(sizeof(T));

/// Which block does which part.
struct FilterWork {
  int column_tiles = 1, tiles = 1;
  index_t stages = 1;  // of one tile
  int blocks = 1, pieces = 1;

  KOLMO_HD index_t total() const { return tiles * stages; }
  KOLMO_HD index_t begin(int block) const { return block * total() / blocks; }
  /// The block that does a stage, counted over all tiles.
  KOLMO_HD int block_of(index_t stage) const { return static_cast<int>(((stage + 1) * blocks - 1) / total()); }
  KOLMO_HD int first_block(int tile) const { return block_of(tile * stages); }
  KOLMO_HD int last_block(int tile) const { return block_of((tile + 1) * stages - 1); }
};

inline FilterWork filter_work(index_t row_tiles, index_t column_tiles, index_t stages, index_t resident) {
  FilterWork work;
  work.column_tiles = static_cast<int>(column_tiles);
  work.tiles = static_cast<int>(row_tiles * column_tiles);
  work.stages = stages;
  // Four stages at least: shorter parts are mostly sums of partial results.
  work.blocks = static_cast<int>(larger<index_t>(1, smaller(resident, work.total() / 4)));
  for (int tile = 0; tile < work.tiles; ++tile)
    work.pieces = larger(work.pieces, work.last_block(tile) - work.first_block(tile) + 1);
  return work;
}

template <class T>
struct ConvFilterCall {
  ConvSum sum;  // of the convolution
  const T* x;
  const T* gradient;
  float* partial;  // [tiles, pieces, rows, columns]
  FilterWork work;
  FastDivision depth_chunks, taps;
  bool source_aligned, gradient_aligned;
};

/// Numbers of a row of one pixel, and the bytes to the next: transposed loads of 2-byte numbers want eight rows in
/// different banks, loads of single words four rows.
template <class T>
KOLMO_HD constexpr int conv_filter_pitch(int numbers) {
  return numbers * static_cast<int>(sizeof(T)) + (sizeof(T) == 2 ? 16 : 32);
}

template <class T>
KOLMO_HD constexpr int conv_filter_stage(int columns) {
  return conv_filter_depth<T> * (conv_filter_pitch<T>(conv_tile_rows) + conv_filter_pitch<T>(columns));
}
template <class T>
constexpr std::size_t conv_filter_bytes(int columns) {
  return static_cast<std::size_t>(
      larger(conv_stages * conv_filter_stage<T>(columns), conv_tile_rows * conv_tile_pitch(columns) * 4));
}

template <class Tile>
KOLMO_KERNEL __launch_bounds__(conv_threads, 2)
    conv_filter_kernel(const __grid_constant__ ConvFilterCall<typename Tile::Scalar> call) {
  using T = typename Tile::Scalar;
  constexpr int columns = Tile::tile_columns, depth = conv_filter_depth<T>, stage_bytes = conv_filter_stage<T>(columns);
  constexpr int a_pitch = conv_filter_pitch<T>(conv_tile_rows), b_pitch = conv_filter_pitch<T>(columns);
  constexpr int a_chunks = conv_tile_rows / conv_chunk<T>, b_chunks = columns / conv_chunk<T>;
  constexpr int copies = depth * a_chunks / conv_threads, step = conv_threads / a_chunks;
  unsigned char* const memory = dynamic_shared();
  const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
  const int chunk = thread % a_chunks, row = thread / a_chunks;
  const ConvSumAxis &down = call.sum.axis[0], &across = call.sum.axis[1];

  const index_t end = call.work.begin(block + 1);
  for (index_t stage = call.work.begin(block); stage < end;) {
    const int tile = static_cast<int>(stage / call.work.stages);
    const index_t first = stage - tile * call.work.stages;
    const int count = static_cast<int>(smaller(call.work.stages - first, end - stage));
    const int row_tile = tile / call.work.column_tiles, column_tile = tile - row_tile * call.work.column_tiles;
    // This thread's 16 bytes of the field's channels, the same for every pixel.
    const int number = row_tile * a_chunks + chunk, tap = call.depth_chunks.quotient(number);
    const int c = (number - tap * call.depth_chunks.divisor()) * conv_chunk<T>;
    const int e0 = call.taps.quotient(tap), e1 = tap - e0 * call.taps.divisor();
    const int y = down.offset + e0 * down.increment, x = across.offset + e1 * across.increment;

    const auto load = [&](int k) {
      unsigned char* const a = memory + k % conv_stages * stage_bytes;
      unsigned char* const b = a + depth * a_pitch;
      const int first_pixel = (static_cast<int>(first) + k) * depth;
      KOLMO_UNROLLED
      for (int i = 0; i < copies; ++i) {
        const int p = first_pixel + row + i * step;
        const ConvPixel pixel = call.sum.pixel(p);
        copy_conv_chunk(call.sum, call.source_aligned, a + (row + i * step) * a_pitch + chunk * 16, call.x, pixel.image,
                        pixel.i * down.multiple + y, pixel.j * across.multiple + x, c,
                        p < call.sum.pixels && e0 < down.taps);
      }
      KOLMO_UNROLLED
      for (int i = 0; i < depth * b_chunks / conv_threads; ++i) {
        const int item = thread + i * conv_threads, b_row = item / b_chunks, b_chunk = item - b_row * b_chunks;
        const int p = first_pixel + b_row, n = column_tile * columns + b_chunk * conv_chunk<T>;
        const bool valid = p < call.sum.pixels && n < call.sum.width;
        const T* const from = valid ? call.gradient + static_cast<index_t>(p) * call.sum.width + n : call.gradient;
        unsigned char* const target = b + b_row * b_pitch + b_chunk * 16;
        if (call.gradient_aligned) {
          copy_async_16(target, from, valid);
        } else {
          KOLMO_UNROLLED
          for (int e = 0; e < conv_chunk<T>; ++e)
            reinterpret_cast<T*>(target)[e] = valid && n + e < call.sum.width ? from[e] : T(0);
        }
      }
    };

    Tile product;
    KOLMO_UNROLLED
    for (int k = 0; k < conv_stages - 1; ++k) {
      if (k < count) load(k);
      commit_copies();
    }
    for (int k = 0; k < count; ++k) {
      wait_copies<conv_stages - 2>();
      __syncthreads();
      if (k + conv_stages - 1 < count) load(k + conv_stages - 1);
      commit_copies();
      const unsigned char* const a = memory + k % conv_stages * stage_bytes;
      product.template add_transposed<a_pitch, b_pitch, depth>(a, a + depth * a_pitch);
    }
    wait_copies<0>();
    __syncthreads();
    float* const results = reinterpret_cast<float*>(memory);
    product.write(results, conv_tile_pitch(columns));
    __syncthreads();
    const index_t piece = static_cast<index_t>(tile) * call.work.pieces + block - call.work.first_block(tile);
    float* const target = call.partial + piece * (conv_tile_rows * columns);
    for (int item = thread; item < conv_tile_rows * columns / 4; item += conv_threads) {
      const int m = item / (columns / 4), n = (item - m * (columns / 4)) * 4;
      *reinterpret_cast<float4*>(target + item * 4) =
          *reinterpret_cast<const float4*>(results + m * conv_tile_pitch(columns) + n);
    }
    __syncthreads();
    stage += count;
  }
}

/// The sums of a kernel from the pieces. A tile has `rows` rows, (entry, channel) of a slice of `slice` channels; a
/// slice has `slice_tiles` of them.
template <class T>
struct ConvFilterSum {
  ConvSum sum;
  FilterWork work;
  const float* partial;
  T* w;
  int columns, slice, rows, slice_tiles;

  KOLMO_HD float value(int tap, int c, int n) const {
    const int m = tap * slice + c % slice;
    const int tile = (c / slice * slice_tiles + m / rows) * work.column_tiles + n / columns;
    const index_t piece = static_cast<index_t>(rows) * columns;
    const float* const from = partial + tile * work.pieces * piece + m % rows * columns + n % columns;
    const int pieces = work.last_block(tile) - work.first_block(tile) + 1;
    float total = from[0];
    for (int p = 1; p < pieces; ++p) total = total + from[p * piece];
    return total;
  }
};

/// Channels of the result and of the field whose entries a block adds up.
inline constexpr int filter_sum_columns = 32, filter_sum_channels = 8;

/// Reads along the channels of the result, as the pieces lie, and writes along the entries, as the kernel does.
template <class T>
KOLMO_KERNEL __launch_bounds__(conv_threads) conv_filter_sum_kernel(const __grid_constant__ ConvFilterSum<T> call) {
  float* const values = reinterpret_cast<float*>(dynamic_shared());
  const int taps = call.sum.axis[0].taps * call.sum.axis[1].taps, run = filter_sum_channels * taps;
  const int column_blocks = (call.sum.width + filter_sum_columns - 1) / filter_sum_columns;
  const int first_c = static_cast<int>(blockIdx.x) / column_blocks * filter_sum_channels;
  const int first_n = static_cast<int>(blockIdx.x) % column_blocks * filter_sum_columns;
  const int thread = static_cast<int>(threadIdx.x);
  for (int item = thread; item < run * filter_sum_columns; item += conv_threads) {
    const int n = item % filter_sum_columns, row = item / filter_sum_columns, tap = row / filter_sum_channels;
    const int c = row % filter_sum_channels;
    if (first_c + c < call.sum.depth && first_n + n < call.sum.width)
      values[n * (run + 1) + c * taps + tap] = call.value(tap, first_c + c, first_n + n);
  }
  __syncthreads();
  for (int item = thread; item < run * filter_sum_columns; item += conv_threads) {
    const int n = item / run, place = item % run, c = first_c + place / taps;
    if (c < call.sum.depth && first_n + n < call.sum.width)
      call.w[(static_cast<index_t>(first_n + n) * call.sum.depth + first_c) * taps + place] =
          static_cast<T>(values[n * (run + 1) + place]);
  }
}

template <class T>
void launch_filter_sum(const ConvFilterSum<T>& call) {
  const index_t blocks = divide_up(call.sum.depth, filter_sum_channels) * divide_up(call.sum.width, filter_sum_columns);
  launch<ConvFilterSum<T>>(
      "conv_filter_sum_kernel", conv_filter_sum_kernel<T>,
      LaunchShape{blocks, conv_threads,
                  filter_sum_columns * (filter_sum_channels * static_cast<std::size_t>(call.sum.taps()) + 1) * 4},
      call);
}

/// Entries of the kernels whose gradients these kernels take.
inline constexpr int most_filter_taps = 128;

inline int multiprocessors() {
  int count = 0;
  check_cuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, current_cuda_device()),
             "cudaDeviceGetAttribute");
  return count;
}

/// The gradient of the kernel [width, depth, taps].
template <class Tile>
void launch_conv_filter(const ConvSum& sum, const typename Tile::Scalar* x, const typename Tile::Scalar* gradient,
                        typename Tile::Scalar* w) {
  using T = typename Tile::Scalar;
  constexpr int columns = Tile::tile_columns;
  const int chunks = static_cast<int>(divide_up(sum.depth, conv_chunk<T>));
  const index_t row_tiles = divide_up(static_cast<index_t>(sum.taps()) * chunks * conv_chunk<T>, conv_tile_rows);
  ConvFilterCall<T> call;
  call.sum = sum;
  call.x = x;
  call.gradient = gradient;
  call.work = filter_work(row_tiles, divide_up(sum.width, columns), divide_up(sum.pixels, conv_filter_depth<T>),
                          2 * multiprocessors());
  const CudaBuffer<float> partial(static_cast<index_t>(call.work.tiles) * call.work.pieces * conv_tile_rows * columns);
  call.partial = partial.data();
  call.depth_chunks = FastDivision(chunks);
  call.taps = FastDivision(sum.axis[1].taps);
  call.source_aligned = sum.depth % conv_chunk<T> == 0 && reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
  call.gradient_aligned = sum.width % conv_chunk<T> == 0 && reinterpret_cast<std::uintptr_t>(gradient) % 16 == 0;
  launch<Tile>("conv_filter_kernel", conv_filter_kernel<Tile>,
               LaunchShape{call.work.blocks, conv_threads, conv_filter_bytes<T>(columns)}, call);
  launch_filter_sum(ConvFilterSum<T>{sum, call.work, partial.data(), w, columns, chunks * conv_chunk<T>, conv_tile_rows,
                                     static_cast<int>(row_tiles)});
}

}  // namespace kolmo::detail
