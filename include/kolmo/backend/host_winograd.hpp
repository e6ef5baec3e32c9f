#pragma once
// 3 x 3 convolutions of stride one by Winograd's F(4 x 4, 3 x 3) on the host: 36 products of [tiles, in] by [in, out]
// instead of 144, in three sweeps that each stay in the caches:
//
//   V = B^T x B of a block of tiles; U = G w G^T of a slice of the result's channels; for a slice and some 64 tiles
//   the 36 products M = V U and y = A^T M A with bias and activation, before M leaves the second-level cache.
//
// Borders and paddings are entries of a table. The gradient of the field is the same with the reversed kernel; that of
// the kernel is G^T (sum over tiles of V^T (A g A^T)) G. Every sum has an order given by the shape, so the bits do not
// depend on the number of threads. In float the error is at most 1e-5 of the largest result, 2e-5 from some 256
// channels on, and its root mean square 1e-6 to 7e-6 of the results': some ten times that of the definition.

#include <kolmo/backend/conv_tables.hpp>
#include <kolmo/backend/winograd_tiles.hpp>

namespace kolmo::detail {

/// A 3 x 3 convolution of stride one; every point of the tables is a tile of 4 results, its window 6 points.
struct WinogradPlan {
  index_t batch, channels_in, channels_out;
  Array<index_t, 2> in, out;
  ConvTable rows, columns;

  index_t tiles() const { return batch * rows.points * columns.points; }
};

/// The size of a vector keeps code for different machines apart in one program.
template <class T, int bytes = gemm_vector_bytes>
class HostWinograd {
  using Product = PanelProduct<T, bytes>;
  using Tiles = WinogradTiles<T, bytes>;
  static constexpr index_t width = Product::width;
  static constexpr index_t group = 32;           // tiles of a product: they stay in the second-level cache
  static constexpr index_t part = 8;             // tiles or channels of one task of a transform
  static constexpr index_t rows_per_block = 48;  // channels of one task of the kernel's gradient
  // Elements of the transformed tiles of a block: a second-level cache, or what may lie in the third.
  static constexpr index_t near = index_t{1} << 18, far = index_t{1} << 20;

 public:
  /// y = f(conv + bias)
  static void forward(const WinogradPlan& plan, const T* x, const ConvKernel<T>& kernel, const ConvTarget<T>& target) {
    const HostWinograd run(plan);
    const ChannelSlices slices(plan.channels_out, width);
    const index_t tiles = plan.tiles();
    // Few tiles of many channels: every slice of the kernel meets them all at once, is transformed where it is used and
    // never leaves the caches.
    if (slices.size() >= 8 && 36 * run.lead_ * tiles <= far) {
      const HostScratch<T> v(36 * run.plane(tiles));
      run.transform_input(x, 0, tiles, v.data());
      threads::parallel_for(slices.size(), [&](index_t s) {
        const HostScratch<T> u(run.kernel_size(slices[s].vectors));
        run.transform_kernel(kernel, slices[s], 0, plan.channels_in, u.data());
        run.multiply(slices[s], v.data(), u.data(), 0, tiles, 0, tiles, target);
      });
      return;
    }
    const HostScratch<T> u(slices.size() * run.kernel_size(3));
    run.transform_kernel(kernel, slices, u.data());
    const index_t block = run.block_tiles(run.lead_), blocks = divide_up(tiles, block);
    const auto compute = [&](index_t number) {
      const index_t first = number * block, count = smaller(block, tiles - first), groups = divide_up(count, group);
      const HostScratch<T> v(36 * run.plane(count));
      run.transform_input(x, first, count, v.data());
      threads::parallel_for(slices.size() * groups, [&](index_t task) {
        const index_t s = task / groups, begin = task % groups * group;
        run.multiply(slices[s], v.data(), u.data() + s * run.kernel_size(3), first, count, begin,
                     smaller(count, begin + group), target);
      });
    };
    // Loops inside a block are parallel only where there are few blocks.
    if (blocks >= 16)
      threads::parallel_for(blocks, compute);
    else
      for (index_t number = 0; number < blocks; ++number) compute(number);
  }

  /// w [out, in, 3, 3] = the gradient of the kernel.
  static void filter(const WinogradPlan& plan, const T* x, const T* gradient, T* w) {
    const HostWinograd run(plan);
    const ChannelSlices slices(plan.channels_out, width);
    const index_t tiles = plan.tiles(), channels = plan.channels_in, row_blocks = divide_up(channels, rows_per_block);
    const index_t mean = (run.lead_ + plan.channels_out) / 2;
    // As above: a block of the 36 sums is finished before it leaves the caches.
    const bool once = slices.size() * row_blocks >= 16 && 36 * mean * tiles <= far;
    const index_t block = once ? tiles : run.block_tiles(mean);
    const index_t most = smaller(tiles, block);
    const HostScratch<T> v(36 * run.plane(most)), z(slices.size() * 36 * panel_plane(most, 3));
    PanelCall<T> call;
    call.row_step = 1;
    call.depth_step = run.lead_;
    if (once) {
      run.transform_input(x, 0, tiles, v.data());
      run.transform_gradient(gradient, slices, 0, tiles, z.data());
      threads::parallel_for(slices.size() * row_blocks, [&](index_t task) {
        const index_t s = task / row_blocks, first = task % row_blocks * rows_per_block;
        const index_t size = panel_plane(rows_per_block, slices[s].vectors);
        const HostScratch<T> sum(36 * size);
        PanelCall<T> own = call;
        own.rows = smaller(rows_per_block, channels - first);
        own.depth = tiles;
        own.step = slices[s].vectors * width;
        for (index_t f = 0; f < 36; ++f) {
          own.a = v.data() + f * run.plane(tiles) + first;
          own.b = z.data() + s * 36 * panel_plane(tiles, 3) + f * panel_plane(tiles, slices[s].vectors);
          own.c = sum.data() + f * size;
          Product::run(own, slices[s].vectors);
        }
        run.finish_filter(slices[s], first, sum.data(), size, w);
      });
      return;
    }
    const index_t size = panel_plane(channels, 3), all = slices.size() * size;
    const HostScratch<T> sums(36 * all);
    for (index_t first = 0; first < tiles; first += block) {
      const index_t count = smaller(block, tiles - first);
      run.transform_input(x, first, count, v.data());
      run.transform_gradient(gradient, slices, first, count, z.data());
      threads::parallel_for(36, [&](index_t f) {
        PanelCall<T> own = call;
        own.rows = channels;
        own.depth = count;
        own.a = v.data() + f * run.plane(count);
        own.add = first > 0;
        for (index_t s = 0; s < slices.size(); ++s) {
          own.b = z.data() + s * 36 * panel_plane(count, 3) + f * panel_plane(count, slices[s].vectors);
          own.c = sums.data() + f * all + s * size;
          own.step = slices[s].vectors * width;
          Product::run(own, slices[s].vectors);
        }
      });
    }
    threads::parallel_for(slices.size() * row_blocks, [&](index_t task) {
      const index_t s = task / row_blocks, first = task % row_blocks * rows_per_block;
      run.finish_filter(slices[s], first, sums.data() + s * size + first * slices[s].vectors * width, all, w);
    });
  }

 private:
  explicit HostWinograd(const WinogradPlan& plan)
      : plan_(plan),
        // An odd number of vectors spreads the rows over the sets of a cache.
        lead_((divide_up(plan.channels_in, width) | 1) * width),
        zeros_(larger(plan.channels_in, plan.channels_out)) {
    for (index_t c = 0; c < larger(plan.channels_in, plan.channels_out); ++c) zeros_.data()[c] = T(0);
  }

  static index_t block_tiles(index_t row) { return larger<index_t>(1, near / (36 * row * group)) * group; }
  index_t plane(index_t tiles) const { return tiles * lead_ + width; }
  static index_t panel_plane(index_t tiles, int vectors) { return tiles * vectors * width + width; }
  index_t kernel_plane(int vectors) const { return plan_.channels_in * vectors * width + width; }
  index_t kernel_size(int vectors) const { return 36 * kernel_plane(vectors); }

  struct Tile {
    index_t b, i, j;
  };
  Tile tile(index_t number) const {
    const index_t j = number % plan_.columns.points, rest = number / plan_.columns.points;
    return {rest / plan_.rows.points, rest % plan_.rows.points, j};
  }

  /// v [36, count, lead] = B^T x B of tiles from `first` on.
  void transform_input(const T* x, index_t first, index_t count, T* v) const {
    const index_t step = plane(count), channels = plan_.channels_in;
    threads::parallel_for(divide_up(count, part), [&](index_t task) {
      const T* from[6][6];
      for (index_t t = task * part; t < smaller(count, (task + 1) * part); ++t) {
        const Tile at = tile(first + t);
        const index_t *row = plan_.rows.row(at.i), *column = plan_.columns.row(at.j);
        for (int i = 0; i < 6; ++i)
          for (int j = 0; j < 6; ++j)
            from[i][j] = row[i] < 0 || column[j] < 0
                             ? zeros_.data()
                             : x + ((at.b * plan_.in[0] + row[i]) * plan_.in[1] + column[j]) * channels;
        T* const to = v + t * lead_;
        index_t c = 0;
        for (; c + width <= channels; c += width) Tiles::template input<true>(from, c, width, to, step);
        if (c < channels) Tiles::template input<false>(from, c, channels - c, to, step);
      }
    });
  }

  /// u [slices][36, in, vectors of the slice] = G w G^T
  void transform_kernel(const ConvKernel<T>& kernel, const ChannelSlices& slices, T* u) const {
    const index_t blocks = divide_up(plan_.channels_in, 2 * part);
    threads::parallel_for(slices.size() * blocks, [&](index_t task) {
      const index_t s = task / blocks, begin = task % blocks * 2 * part;
      transform_kernel(kernel, slices[s], begin, smaller(plan_.channels_in, begin + 2 * part), u + s * kernel_size(3));
    });
  }

  void transform_kernel(const ConvKernel<T>& kernel, const ChannelSlices::Slice& slice, index_t begin, index_t end,
                        T* u) const {
    const index_t panel = slice.vectors * width, step = kernel_plane(slice.vectors);
    alignas(64) T lanes[part][9][width];
    for (int v = 0; v < slice.vectors; ++v) {
      const index_t out = slice.first + v * width, lanes_used = smaller(width, plan_.channels_out - out);
      for (index_t c = begin; c < end; c += part) {
        const index_t count = smaller(part, end - c);
        for (index_t i = 0; i < count; ++i)
          for (index_t k = 0; k < width; ++k) {
            const T* const from =
                kernel.w + (out + smaller(k, lanes_used - 1)) * kernel.out_step + (c + i) * kernel.in_step;
            const T factor = k < lanes_used ? T(1) : T(0);
            for (int e = 0; e < 9; ++e) lanes[i][e][k] = factor * from[kernel.reversed ? 8 - e : e];
          }
        for (index_t i = 0; i < count; ++i) Tiles::kernel(lanes[i], u + (c + i) * panel + v * width, step);
      }
    }
  }

  /// The products of one slice with tiles [begin, end) of the `all` transformed ones, of which the first is number
  /// `first`, and their results.
  void multiply(const ChannelSlices::Slice& slice, const T* v, const T* u, index_t first, index_t all, index_t begin,
                index_t end, const ConvTarget<T>& target) const {
    const index_t panel = slice.vectors * width, step = panel_plane(group, slice.vectors);
    const HostScratch<T> m(36 * step);
    PanelCall<T> call;
    call.depth = plan_.channels_in;
    call.row_step = lead_;
    call.depth_step = 1;
    call.step = panel;
    for (index_t t = begin; t < end; t += group) {
      call.rows = smaller(group, end - t);
      for (index_t f = 0; f < 36; ++f) {
        call.a = v + f * plane(all) + t * lead_;
        call.b = u + f * kernel_plane(slice.vectors);
        call.c = m.data() + f * step;
        Product::run(call, slice.vectors);
      }
      finish(slice, m.data(), step, first + t, call.rows, target);
    }
  }

  /// y = f(A^T M A + bias) of `count` tiles from number `first` on.
  void finish(const ChannelSlices::Slice& slice, const T* m, index_t step, index_t first, index_t count,
              const ConvTarget<T>& target) const {
    const index_t panel = slice.vectors * width;
    const index_t used = smaller(panel, plan_.channels_out - slice.first);
    alignas(64) T bias[Product::most * width] = {};
    if (target.bias != nullptr)
      for (index_t k = 0; k < used; ++k) bias[k] = target.bias[slice.first + k];
    alignas(64) T results[16 * Product::most * width];
    T* to[16];
    for (index_t t = 0; t < count; ++t) {
      const Tile at = tile(first + t);
      const index_t tall = smaller<index_t>(4, plan_.out[0] - 4 * at.i);
      const index_t wide = smaller<index_t>(4, plan_.out[1] - 4 * at.j);
      const index_t offset =
          ((at.b * plan_.out[0] + 4 * at.i) * plan_.out[1] + 4 * at.j) * plan_.channels_out + slice.first;
      const bool direct = tall == 4 && wide == 4 && used == panel && target.epilogue.run == nullptr;
      const index_t row = plan_.out[1] * plan_.channels_out;
      for (index_t i = 0; i < 4; ++i)
        for (index_t j = 0; j < 4; ++j)
          to[4 * i + j] = direct ? target.y + offset + i * row + j * plan_.channels_out : results + (4 * i + j) * panel;
      for (int k = 0; k < slice.vectors; ++k) Tiles::output(m + t * panel, step, bias, k * width, to);
      if (direct) continue;
      if (target.z != nullptr) copy_tile(results, panel, tall, wide, used, target.z + offset, row);
      if (target.epilogue.run != nullptr) target.epilogue.run(target.epilogue.f, results, results, 16 * panel);
      copy_tile(results, panel, tall, wide, used, target.y + offset, row);
    }
  }

  void copy_tile(const T* results, index_t panel, index_t tall, index_t wide, index_t used, T* to, index_t row) const {
    for (index_t i = 0; i < tall; ++i)
      for (index_t j = 0; j < wide; ++j) {
        T* const target = to + i * row + j * plan_.channels_out;
        const T* const source = results + (4 * i + j) * panel;
        for (index_t k = 0; k < used; ++k) target[k] = source[k];
      }
  }

  /// z [slices][36, count, vectors of the slice] = A g A^T
  void transform_gradient(const T* gradient, const ChannelSlices& slices, index_t first, index_t count, T* z) const {
    const index_t channels = plan_.channels_out;
    threads::parallel_for(divide_up(count, part), [&](index_t task) {
      const T* from[4][4];
      for (index_t t = task * part; t < smaller(count, (task + 1) * part); ++t) {
        const Tile at = tile(first + t);
        for (index_t i = 0; i < 4; ++i)
          for (index_t j = 0; j < 4; ++j) {
            const index_t row = 4 * at.i + i, column = 4 * at.j + j;
            from[i][j] = row >= plan_.out[0] || column >= plan_.out[1]
                             ? zeros_.data()
                             : gradient + ((at.b * plan_.out[0] + row) * plan_.out[1] + column) * channels;
          }
        for (index_t s = 0; s < slices.size(); ++s) {
          const auto& slice = slices[s];
          T* const to = z + s * 36 * panel_plane(count, 3) + t * slice.vectors * width;
          for (int v = 0; v < slice.vectors; ++v) {
            const index_t k = slice.first + v * width;
            if (k + width <= channels)
              Tiles::template gradient<true>(from, k, width, to + v * width, panel_plane(count, slice.vectors));
            else
              Tiles::template gradient<false>(from, k, channels - k, to + v * width, panel_plane(count, slice.vectors));
          }
        }
      }
    });
  }

  /// w = G^T sum G for the channels of one slice and rows_per_block channels from `begin` on.
  void finish_filter(const ChannelSlices::Slice& slice, index_t begin, const T* sum, index_t size, T* w) const {
    const index_t panel = slice.vectors * width;
    const index_t end = smaller(plan_.channels_in, begin + rows_per_block);
    alignas(64) T lanes[part][9][width];
    for (int v = 0; v < slice.vectors; ++v) {
      const index_t out = slice.first + v * width, used = smaller(width, plan_.channels_out - out);
      for (index_t c = begin; c < end; c += part) {
        const index_t count = smaller(part, end - c);
        for (index_t i = 0; i < count; ++i) Tiles::filter(sum + (c - begin + i) * panel + v * width, size, lanes[i]);
        for (index_t k = 0; k < used; ++k)
          for (index_t i = 0; i < count; ++i) {
            T* const to = w + ((out + k) * plan_.channels_in + c + i) * 9;
            for (int e = 0; e < 9; ++e) to[e] = lanes[i][e][k];
          }
      }
    }
  }

  const WinogradPlan& plan_;
  index_t lead_;
  HostScratch<T> zeros_;
};

}  // namespace kolmo::detail
