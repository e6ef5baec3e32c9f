#pragma once
// The gradient of a convolution's kernel on the products of warpgroups (Hopper), for bfloat16: a block copies a patch
// of the gradient and the part of the field that its pixels meet, a slice of 96 bytes of channels, and multiplies the
// two for all entries at once: each entry's factor is a shift of the same field, transposed on its way into registers.
// The patches of all images are the work, cut as in conv_filter.cuh.

#include <kolmo/cuda/conv_filter.cuh>
#include <kolmo/cuda/conv_warpgroups.cuh>

namespace kolmo::detail {

inline constexpr int filter_groups = 2;
inline constexpr int filter_threads = 128 * filter_groups;
/// Products of 64 rows that a warpgroup holds in registers.
inline constexpr int filter_products = 4;

struct FilterPatchCall {
  ConvSum sum;  // of the convolution
  const BFloat16* x;
  const BFloat16* gradient;
  float* partial;  // [tiles, pieces, rows, columns]
  FilterWork work;
  int pixels, column_shift;  // of a patch, which has 2^column_shift columns
  int halo_rows, halo_columns;
  int slice_bytes, rows;  // of w: taps x channels of a slice
  FastDivision patches, row_patches, slice_chunks, halo_width;
};

inline int filter_halo_bytes(const FilterPatchCall& call) {
  return static_cast<int>(divide_up(call.halo_rows * call.halo_columns * conv_point_pitch(call.slice_bytes), 1024)) *
         1024;
}
inline std::size_t filter_patch_bytes(const FilterPatchCall& call, int columns) {
  return static_cast<std::size_t>(2 *
                                  (filter_halo_bytes(call) + divide_up(columns, 64) * call.pixels * conv_row_bytes));
}

/// `products`: of 64 rows, that this warpgroup has.
template <int columns, int products>
__device__ void conv_filter_block(const FilterPatchCall& call) {
  constexpr int groups = (columns + 63) / 64, chunks = columns / conv_chunk<BFloat16>;
  unsigned char* const memory = dynamic_shared();
  const int gradient_bytes = groups * call.pixels * conv_row_bytes, pitch = conv_point_pitch(call.slice_bytes);
  const int buffer_bytes = gradient_bytes + (call.halo_rows * call.halo_columns * pitch + 1023) / 1024 * 1024;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread % 128 / 32, group = thread / 128;
  const int block = static_cast<int>(blockIdx.x), width = 1 << call.column_shift;
  const ConvSumAxis &down = call.sum.axis[0], &across = call.sum.axis[1];

  // Of every product of 64 rows, each warp has 16: channels of one entry, at this distance from a pixel's own point.
  int offsets[products];
  KOLMO_UNROLLED
  for (int m = 0; m < products; ++m) {
    const int row = ((m * filter_groups + group) * 4 + warp) * 16;
    const int channels = call.slice_bytes / 2, tap = row < call.rows ? row / channels : 0,
              c = row < call.rows ? row % channels : 0;
    const int e0 = tap / across.taps, e1 = tap - e0 * across.taps;
    offsets[m] = (e0 * down.increment * call.halo_columns + e1 * across.increment) * pitch + c * 2 + lane / 8 % 2 * 16;
  }

  const index_t end = call.work.begin(block + 1);
  for (index_t stage = call.work.begin(block); stage < end;) {
    const int tile = static_cast<int>(stage / call.work.stages);
    const int first = static_cast<int>(stage - tile * call.work.stages);
    const int count = static_cast<int>(smaller<index_t>(call.work.stages - first, end - stage));
    const int slice = tile / call.work.column_tiles, first_column = (tile - slice * call.work.column_tiles) * columns;

    const auto load = [&](int k) {
      unsigned char* const gradient = memory + k % 2 * buffer_bytes;
      unsigned char* const halo = gradient + gradient_bytes;
      const int image = call.patches.quotient(first + k), in_image = first + k - image * call.patches.divisor();
      const int patch_row = call.row_patches.quotient(in_image);
      const int i = patch_row * (call.pixels >> call.column_shift);
      const int j = (in_image - patch_row * call.row_patches.divisor()) << call.column_shift;
      for (int item = thread; item < call.pixels * chunks; item += filter_threads) {
        const int pixel = item / chunks, chunk = item - pixel * chunks;
        const int y = i + (pixel >> call.column_shift), x = j + pixel % width;
        const bool valid = y < down.points && x < across.points;
        const BFloat16* const from =
            valid ? call.gradient +
                        ((static_cast<index_t>(image) * down.points + y) * across.points + x) * call.sum.width +
                        first_column + chunk * 8
                  : call.gradient;
        copy_async_16(gradient + (chunk / 8 * call.pixels + pixel) * conv_row_bytes + (chunk % 8 ^ pixel % 8) * 16,
                      from, valid);
      }
      copy_conv_points(call, call.x, halo, image, i * down.multiple + down.offset, j * across.multiple + across.offset,
                       slice, filter_threads);
    };

    float sums[products][columns / 2] = {};
    std::uint32_t a[products][4];
    load(0);
    commit_copies();
    for (int k = 0; k < count; ++k) {
      wait_copies<0>();
      fence_shared_for_products();
      __syncthreads();
      if (k + 1 < count) load(k + 1);
      commit_copies();
      const unsigned char* const buffer = memory + k % 2 * buffer_bytes;
      const std::uint32_t address = shared_address(buffer);
      for (int step = 0; step < call.pixels / 16; ++step) {
        const int pixel = step * 16 + lane / 16 * 8 + lane % 8;
        const unsigned char* const point =
            buffer + gradient_bytes +
            ((pixel >> call.column_shift) * down.multiple * call.halo_columns + pixel % width * across.multiple) *
                pitch;
        // Few instructions stand between the products and their end, so the compiler has registers for all of them; the
        // other warpgroup computes meanwhile.
        wait_products<0>();
        KOLMO_UNROLLED
        for (int m = 0; m < products; ++m) load_matrices_transposed<4>(a[m], point + offsets[m]);
        begin_products();
        KOLMO_UNROLLED
        for (int m = 0; m < products; ++m)
          multiply_add_warpgroup<BFloat16, columns, true>(
              sums[m], a[m],
              product_columns(address + static_cast<std::uint32_t>(step * 2048),
                              static_cast<std::uint32_t>(call.pixels * conv_row_bytes)));
        commit_products();
      }
      // The next stage but one overwrites what these read.
      wait_products<0>();
    }
    KOLMO_UNROLLED
    for (int m = 0; m < products; ++m) hold_registers(sums[m]);
    const index_t piece = static_cast<index_t>(tile) * call.work.pieces + block - call.work.first_block(tile);
    float* const target = call.partial + piece * call.rows * columns;
    KOLMO_UNROLLED
    for (int m = 0; m < products; ++m) {
      const int row = ((m * filter_groups + group) * 4 + warp) * 16 + lane / 4;
      KOLMO_UNROLLED
      for (int upper = 0; upper < 2; ++upper)
        if (row + upper * 8 < call.rows) {
          KOLMO_UNROLLED
          for (int band = 0; band < columns / 8; ++band)
            *reinterpret_cast<float2*>(target + (row + upper * 8) * columns + band * 8 + lane % 4 * 2) =
                float2{sums[m][4 * band + 2 * upper], sums[m][4 * band + 2 * upper + 1]};
        }
    }
    wait_copies<0>();
    __syncthreads();
    stage += count;
  }
}

template <int columns>
KOLMO_KERNEL __launch_bounds__(warpgroup_products ? filter_threads : warp_threads, 1)
    conv_filter_patch_kernel(const __grid_constant__ FilterPatchCall call) {
  if constexpr (warpgroup_products) {
    // The compiler wants the registers of every warpgroup in code of its own.
    const int group = static_cast<int>(threadIdx.x) / 128;
    if ((3 * filter_groups + group) * 64 < call.rows)
      conv_filter_block<columns, 4>(call);
    else if ((2 * filter_groups + group) * 64 < call.rows)
      conv_filter_block<columns, 3>(call);
    else
      conv_filter_block<columns, 2>(call);
  }
}

template <int columns>
bool plan_filter_patches(FilterPatchCall& call) {
  const ConvSum& sum = call.sum;
  const int bytes = sum.depth * 2;
  if (bytes % 32 != 0 || sum.width % columns != 0) return false;
  call.slice_bytes = bytes % 96 == 0 ? 96 : bytes % 64 == 0 ? 64 : 32;
  call.rows = sum.taps() * call.slice_bytes / 2;
  // Few rows leave the products waiting for the gradient; more than the registers hold are not taken.
  if (call.rows <= 3 * 64 || call.rows > filter_groups * filter_products * 64) return false;
  index_t least = 0;
  for (const int pixels : {256, 128}) {
    for (int shift = 3; shift <= 6 && least == 0; ++shift) {
      FilterPatchCall trial = call;
      const int width = 1 << shift, height = pixels >> shift;
      const index_t patches = divide_up(sum.axis[0].points, height) * divide_up(sum.axis[1].points, width);
      trial.pixels = pixels;
      trial.column_shift = shift;
      trial.halo_rows = (height - 1) * sum.axis[0].multiple + (sum.axis[0].taps - 1) * sum.axis[0].increment + 1;
      trial.halo_columns = (width - 1) * sum.axis[1].multiple + (sum.axis[1].taps - 1) * sum.axis[1].increment + 1;
      // Three quarters of the work at least are pixels.
      if (3 * patches * pixels > 4 * static_cast<index_t>(sum.axis[0].points) * sum.axis[1].points) continue;
      if (static_cast<index_t>(trial.halo_rows) * trial.halo_columns > 2048 ||
          filter_patch_bytes(trial, columns) > 232448)
        continue;
      if (shift == 3 && height > width) continue;
      least = patches;
      call = trial;
      call.patches = FastDivision(static_cast<int>(patches));
      call.row_patches = FastDivision(static_cast<int>(divide_up(sum.axis[1].points, width)));
    }
  }
  if (least == 0) return false;
  call.slice_chunks = FastDivision(call.slice_bytes / 16);
  call.halo_width = FastDivision(call.halo_columns);
  return true;
}

/// The gradient of the kernel [width, depth, taps] by patches, if it suits them and this GPU has the products of
/// warpgroups. Returns whether it did.
template <int columns>
bool conv_filter_by_patches(const ConvSum& sum, const BFloat16* x, const BFloat16* gradient, BFloat16* w) {
  FilterPatchCall call{};
  call.sum = sum;
  call.x = x;
  call.gradient = gradient;
  if (!plan_filter_patches<columns>(call) || !can_launch(conv_filter_patch_kernel<columns>, filter_threads))
    return false;
  const int channels = call.slice_bytes / 2;
  const index_t patches = static_cast<index_t>(sum.pixels / sum.image.divisor()) * call.patches.divisor();
  call.work = filter_work(sum.depth / channels, sum.width / columns, patches, multiprocessors());
  const CudaBuffer<float> partial(static_cast<index_t>(call.work.tiles) * call.work.pieces * call.rows * columns);
  call.partial = partial.data();
  launch<FilterPatchCall>("conv_filter_patch_kernel", conv_filter_patch_kernel<columns>,
                          LaunchShape{call.work.blocks, filter_threads, filter_patch_bytes(call, columns)}, call);
  launch_filter_sum(ConvFilterSum<BFloat16>{sum, call.work, partial.data(), w, columns, channels, call.rows, 1});
  return true;
}

}  // namespace kolmo::detail
