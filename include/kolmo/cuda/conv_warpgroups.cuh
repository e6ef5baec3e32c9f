#pragma once
// The sum of conv_plan.cuh on the products of warpgroups (Hopper), where taps are neighbours: a block computes a patch
// of 256 pixels by 96 or 64 channels. The part of the source that the patch meets is copied once for a slice of 96
// bytes of channels; every tap then reads its own shift of it from shared memory into the registers of the first
// factor, so that the field crosses the second level of the cache about 1.3 times instead of once per tap. The packed
// kernel passes in rows of 128 bytes, one ahead of its use. Two blocks share a multiprocessor: one computes while the
// other begins, ends or waits.

#include <kolmo/cuda/conv_tiles.cuh>

namespace kolmo::detail {

inline constexpr int conv_patch_pixels = 256;
inline constexpr int conv_kernel_stages = 3;

template <class T, class F>
struct ConvPatchCall {
  ConvSum sum;
  const T* x;
  const T* packed;
  ConvEnd<T, F> end;
  int column_shift;                                             // the patch has 2^column_shift columns
  int halo_rows, halo_columns;                                  // points that the patch meets
  int first_row, first_column;                                  // of them, from the patch's first pixel
  int slice_bytes, slices;                                      // of a pixel's channels, copied at once
  int steps;                                                    // of 32 bytes, of a slice
  FastDivision patches, row_patches, slice_chunks, halo_width;  // of an image, of its rows; chunks and columns
};

/// Bytes from one point to the next: an odd number of 16, so that neighbours lie in different banks.
KOLMO_HD inline int conv_point_pitch(int slice_bytes) { return slice_bytes + 16; }

template <class T, class F>
int conv_halo_bytes(const ConvPatchCall<T, F>& call) {
  const int bytes = call.halo_rows * call.halo_columns * conv_point_pitch(call.slice_bytes);
  return static_cast<int>(divide_up(bytes, 128)) * 128;
}

/// Shared memory: rows of the kernel, two halos and the places of a slice's steps; then the results.
template <class T, class F>
std::size_t conv_patch_bytes(const ConvPatchCall<T, F>& call, int columns) {
  return static_cast<std::size_t>(
      larger(conv_kernel_stages * columns * conv_row_bytes + 2 * conv_halo_bytes(call) + call.steps * 4,
             conv_patch_pixels * conv_tile_pitch(columns) * 4));
}

/// Copies one slice of the channels of the points from (first_row, first_column) on that a patch meets.
template <class Call, class T>
__device__ void copy_conv_points(const Call& call, const T* source, unsigned char* halo, int image, int first_row,
                                 int first_column, int slice, int threads) {
  const int chunks = call.slice_chunks.divisor(), items = call.halo_rows * call.halo_columns * chunks;
  const ConvSumAxis &down = call.sum.axis[0], &across = call.sum.axis[1];
  for (int item = static_cast<int>(threadIdx.x); item < items; item += threads) {
    const int point = call.slice_chunks.quotient(item), chunk = item - point * chunks;
    const int row = call.halo_width.quotient(point), column = point - row * call.halo_columns;
    const int y = continued_point(first_row + row, down.source, call.sum.padding);
    const int x = continued_point(first_column + column, across.source, call.sum.padding);
    // Patches that reach beyond the result read nothing there.
    const bool valid = y >= 0 && y < down.source && x >= 0 && x < across.source;
    const T* const from =
        valid ? source + ((static_cast<index_t>(image) * down.source + y) * across.source + x) * call.sum.depth
              : source;
    copy_async_16(halo + point * conv_point_pitch(call.slice_bytes) + chunk * 16,
                  reinterpret_cast<const unsigned char*>(from) + (valid ? slice * call.slice_bytes + chunk * 16 : 0),
                  valid);
  }
}

template <class T, int columns, class F>
__device__ void conv_patch_block(const ConvPatchCall<T, F>& call) {
  unsigned char* const memory = dynamic_shared();
  unsigned char* const halos = memory + conv_kernel_stages * columns * conv_row_bytes;
  const int halo_bytes = (call.halo_rows * call.halo_columns * conv_point_pitch(call.slice_bytes) + 127) / 128 * 128;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int column_tiles = (call.sum.width + columns - 1) / columns;
  const int patch = static_cast<int>(blockIdx.x) / column_tiles,
            column_tile = static_cast<int>(blockIdx.x) % column_tiles;
  const int image = call.patches.quotient(patch), in_image = patch - image * call.patches.divisor();
  const int patch_row = call.row_patches.quotient(in_image), width = 1 << call.column_shift;
  const int i = patch_row * (conv_patch_pixels >> call.column_shift);
  const int j = (in_image - patch_row * call.row_patches.divisor()) << call.column_shift;
  const ConvSumAxis &down = call.sum.axis[0], &across = call.sum.axis[1];

  const int all_steps = call.slices * call.steps, stages = (all_steps + 3) / 4;
  const unsigned char* const kernel = reinterpret_cast<const unsigned char*>(call.packed) +
                                      static_cast<index_t>(column_tile) * stages * columns * conv_row_bytes;
  const auto load_kernel = [&](int stage) {
    unsigned char* const target = memory + stage % conv_kernel_stages * columns * conv_row_bytes;
    const unsigned char* const from = kernel + static_cast<index_t>(stage) * columns * conv_row_bytes;
    KOLMO_UNROLLED
    for (int item = 0; item < columns * conv_row_chunks / conv_threads; ++item)
      copy_async_16(target + (thread + item * conv_threads) * 16, from + (thread + item * conv_threads) * 16);
  };

  // The rows of the first factor that this lane loads: pixels of the patch, as points of the halo.
  int rows[2];
  KOLMO_UNROLLED
  for (int half = 0; half < 2; ++half) {
    const int pixel = thread / 128 * 128 + half * 64 + thread % 128 / 32 * 16 + lane % 16;
    rows[half] =
        ((pixel >> call.column_shift) * call.halo_columns + pixel % width) * conv_point_pitch(call.slice_bytes) +
        lane / 16 * 16;
  }

  // Where the points of a step lie, from a pixel's own point of the halo.
  int* const places = reinterpret_cast<int*>(halos + 2 * halo_bytes);
  for (int step = thread; step < call.steps; step += conv_threads) {
    const int tap = step * 32 / call.slice_bytes, e0 = tap / across.taps, e1 = tap - e0 * across.taps;
    const int row = (down.increment < 0 ? e0 - (down.taps - 1) : e0) * down.increment;
    const int column = (across.increment < 0 ? e1 - (across.taps - 1) : e1) * across.increment;
    places[step] =
        (row * call.halo_columns + column) * conv_point_pitch(call.slice_bytes) + step * 32 - tap * call.slice_bytes;
  }

  float sums[2][columns / 2] = {};
  std::uint32_t a[4];
  int left = all_steps, step = 0, copied = 1;
  const unsigned char* halo = halos;
  copy_conv_points(call, call.x, halos, image, i + call.first_row, j + call.first_column, 0, conv_threads);
  load_kernel(0);
  commit_copies();
  for (int stage = 0; stage < stages; ++stage) {
    wait_copies<0>();
    fence_shared_for_products();
    __syncthreads();
    // Everyone has begun the last product of the stage before, so those of the one before that have ended.
    if (stage + 1 < stages) load_kernel(stage + 1);
    // A halo is overwritten when the slice that used it is behind everyone.
    if (copied < call.slices && (copied - 1) * call.steps <= 4 * stage) {
      copy_conv_points(call, call.x, halos + copied % 2 * halo_bytes, image, i + call.first_row, j + call.first_column,
                       copied, conv_threads);
      ++copied;
    }
    commit_copies();
    const std::uint32_t kernel_address = shared_address(memory + stage % conv_kernel_stages * columns * conv_row_bytes);
    KOLMO_UNROLLED
    for (int part = 0; part < 4; ++part) {
      if (left > 0) {
        const unsigned char* const points = halo + places[step];
        // The registers of one factor serve both halves: the other three warpgroups of the multiprocessor compute while
        // this one loads.
        KOLMO_UNROLLED
        for (int half = 0; half < 2; ++half) {
          wait_products<0>();
          load_matrices<4>(a, points + rows[half]);
          if constexpr (sizeof(T) == 4)
            for (std::uint32_t& bits : a) bits = to_tf32(__builtin_bit_cast(float, bits));
          begin_products();
          multiply_add_warpgroup<T, columns>(sums[half], a,
                                             product_rows(kernel_address + static_cast<std::uint32_t>(part * 32)));
          commit_products();
        }
        --left;
        if (++step == call.steps) {
          step = 0;
          halo = halo == halos ? halos + halo_bytes : halos;
        }
      }
    }
  }
  wait_products<0>();
  wait_copies<0>();
  hold_registers(sums[0]);
  hold_registers(sums[1]);
  __syncthreads();

  constexpr int pitch = conv_tile_pitch(columns);
  float* const results = reinterpret_cast<float*>(memory);
  KOLMO_UNROLLED
  for (int half = 0; half < 2; ++half) {
    float* const row =
        results + (thread / 128 * 128 + half * 64 + thread % 128 / 32 * 16 + lane / 4) * pitch + lane % 4 * 2;
    KOLMO_UNROLLED
    for (int band = 0; band < columns / 8; ++band) KOLMO_UNROLLED
    for (int upper = 0; upper < 2; ++upper)
      *reinterpret_cast<float2*>(row + upper * 8 * pitch + band * 8) =
          float2{sums[half][4 * band + 2 * upper], sums[half][4 * band + 2 * upper + 1]};
  }
  __syncthreads();

  constexpr int chunk = conv_chunk<T>, chunks = columns / chunk;
  for (int item = thread; item < conv_patch_pixels * chunks; item += conv_threads) {
    const int row = item / chunks, column = (item - row * chunks) * chunk;
    const ConvPixel pixel{image, i + (row >> call.column_shift), j + row % width};
    if (pixel.i < down.points && pixel.j < across.points)
      store_conv_chunk(call.sum, call.end, true, results + row * pitch + column, pixel, column_tile * columns + column);
  }
}

template <class T, int columns, class F>
KOLMO_KERNEL __launch_bounds__(warpgroup_products ? conv_threads : warp_threads, warpgroup_products ? 2 : 1)
    conv_patch_kernel(const __grid_constant__ ConvPatchCall<T, F> call) {
  if constexpr (warpgroup_products) conv_patch_block<T, columns>(call);
}

/// Whether a kernel can have so many threads. A kernel of products of warpgroups bounds its launch by one warp in
/// images that lack them, so this says which image the driver took.
template <class... Parameters>
bool can_launch(void (*kernel)(Parameters...), int threads) {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel)) == cudaSuccess)
    return attributes.maxThreadsPerBlock >= threads;
  static_cast<void>(cudaGetLastError());
  return false;
}

/// The plan of a sum that suits patches: neighbouring taps, whole steps of channels, and pixels that fill the patches.
template <class T, class F>
bool plan_conv_patches(ConvPatchCall<T, F>& call, int columns) {
  const ConvSum& sum = call.sum;
  const int bytes = sum.depth * static_cast<int>(sizeof(T));
  call.slice_bytes = bytes % 96 == 0 ? 96 : bytes % 64 == 0 ? 64 : 32;
  if (bytes % 32 != 0 || sum.width % columns != 0 || sum.axis[0].multiple != 1 || sum.axis[1].multiple != 1)
    return false;
  call.slices = bytes / call.slice_bytes;
  call.steps = sum.taps() * call.slice_bytes / 32;
  // The halo of the next slice arrives while this one is used, which takes two stages of four steps.
  if (call.steps < 12) return false;
  index_t least = 0;
  for (int shift = 3; shift <= 8; ++shift) {
    const int width = 1 << shift, height = conv_patch_pixels >> shift;
    const index_t patches = divide_up(sum.axis[0].points, height) * divide_up(sum.axis[1].points, width);
    const int spread_rows =
        (sum.axis[0].taps - 1) * (sum.axis[0].increment < 0 ? -sum.axis[0].increment : sum.axis[0].increment);
    const int spread_columns =
        (sum.axis[1].taps - 1) * (sum.axis[1].increment < 0 ? -sum.axis[1].increment : sum.axis[1].increment);
    const index_t points = static_cast<index_t>(height + spread_rows) * (width + spread_columns);
    if (least != 0 && patches * points >= least) continue;
    // Three quarters of the work at least are pixels.
    if (3 * patches * conv_patch_pixels > 4 * static_cast<index_t>(sum.axis[0].points) * sum.axis[1].points) continue;
    if (points > 512) continue;
    least = patches * points;
    call.column_shift = shift;
    call.halo_rows = height + spread_rows;
    call.halo_columns = width + spread_columns;
    call.patches = FastDivision(static_cast<int>(patches));
    call.row_patches = FastDivision(static_cast<int>(divide_up(sum.axis[1].points, width)));
  }
  if (least == 0) return false;
  call.first_row = sum.axis[0].offset + smaller(0, (sum.axis[0].taps - 1) * sum.axis[0].increment);
  call.first_column = sum.axis[1].offset + smaller(0, (sum.axis[1].taps - 1) * sum.axis[1].increment);
  call.slice_chunks = FastDivision(call.slice_bytes / 16);
  call.halo_width = FastDivision(call.halo_columns);
  return conv_patch_bytes(call, columns) <= 232448;
}

template <class T, int columns, class F>
void launch_conv_patches(const ConvPatchCall<T, F>& call) {
  const index_t images = call.sum.pixels / call.sum.image.divisor();
  // Two blocks share a multiprocessor when it gives all it can to shared memory.
  check_cuda(cudaFuncSetAttribute(reinterpret_cast<const void*>(&conv_patch_kernel<T, columns, F>),
                                  cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
             "cudaFuncSetAttribute");
  launch<F>("conv_patch_kernel", conv_patch_kernel<T, columns, F>,
            LaunchShape{images * call.patches.divisor() * (call.sum.width / columns), conv_threads,
                        conv_patch_bytes(call, columns)},
            call);
}

}  // namespace kolmo::detail
