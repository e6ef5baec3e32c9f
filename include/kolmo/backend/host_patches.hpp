#pragma once
// Convolutions of any geometry on the host as products of patches with packed kernels: the patches of some 48 points
// are gathered into the caches and multiplied at once. The whole matrix of patches is never made.

#include <kolmo/backend/conv_tables.hpp>
#include <kolmo/backend/panel_product.hpp>

namespace kolmo::detail {

/// A convolution, or one residue class of a strided one's transpose. Point p of a table's axis is the point
/// first + p step of the result; window entry (u, v) takes entry `entries[u columns.window + v]` of the kernel.
struct PatchPlan {
  index_t batch, channels_in, channels_out;
  Array<index_t, 2> in, out;
  ConvTable rows, columns;
  Array<index_t, 2> first{{0, 0}}, step{{1, 1}};
  std::vector<index_t> entries{};

  index_t points() const { return batch * rows.points * columns.points; }
  index_t window() const { return rows.window * columns.window; }
};

/// The size of a vector keeps code for different machines apart in one program.
template <class T, int bytes = gemm_vector_bytes>
class HostPatches {
  using Product = PanelProduct<T, bytes>;
  static constexpr index_t width = Product::width;
  static constexpr index_t rows_per_block = 96;  // of the kernel's gradient, times the vectors of a slice in a task
  static constexpr index_t points_per_block = 64;

 public:
  /// y = f(conv + bias) at the points of the plan.
  static void forward(const PatchPlan& plan, const T* x, const ConvKernel<T>& kernel, const ConvTarget<T>& target) {
    const HostPatches run(plan);
    const ChannelSlices slices(plan.channels_out, width);
    const index_t depth = run.depth_, points = plan.points(), most = depth > 2048 ? 24 : 48;
    const index_t panel_size = depth * 3 * width;
    const HostScratch<T> panels(slices.size() * panel_size);
    run.pack_kernel(kernel, slices, panels.data(), panel_size);
    threads::parallel_for(divide_up(points, most), [&](index_t task) {
      const index_t begin = task * most, count = smaller(most, points - begin);
      const HostScratch<T> patches(count * run.lead(depth)), sums(count * 3 * width);
      run.gather(x, begin, count, 0, depth, patches.data(), run.lead(depth));
      PanelCall<T> call;
      call.rows = count;
      call.depth = depth;
      call.a = patches.data();
      call.row_step = run.lead(depth);
      call.depth_step = 1;
      call.c = sums.data();
      for (index_t s = 0; s < slices.size(); ++s) {
        call.b = panels.data() + s * panel_size;
        call.step = slices[s].vectors * width;
        Product::run(call, slices[s].vectors);
        run.finish(slices[s], begin, count, sums.data(), target);
      }
    });
  }

  /// w [out, in, window] = the gradient of the kernel.
  static void filter(const PatchPlan& plan, const T* x, const T* gradient, T* w) {
    const HostPatches run(plan);
    const ChannelSlices slices(plan.channels_out, width);
    const index_t rows = run.depth_, points = plan.points(), row_blocks = divide_up(rows, rows_per_block);
    const index_t columns = slices.size() * 3 * width, size = rows * columns;
    // Few rows leave the points to share out; their sums are added in order.
    const index_t blocks = divide_up(points, points_per_block);
    const index_t parts = larger<index_t>(1, smaller(divide_up(index_t{16}, row_blocks), blocks / 16));
    const index_t per_part = divide_up(blocks, parts);
    const HostScratch<T> sums(parts * size);
    threads::parallel_for(row_blocks * parts, [&](index_t task) {
      const index_t first = task / parts * rows_per_block, count = smaller(rows_per_block, rows - first);
      const index_t lead = run.lead(count), share = task % parts;
      const HostScratch<T> patches(points_per_block * lead), panel(points_per_block * 3 * width);
      PanelCall<T> call;
      call.rows = count;
      call.a = patches.data();
      call.row_step = 1;
      call.depth_step = lead;
      call.b = panel.data();
      for (index_t block = share * per_part; block < smaller(blocks, (share + 1) * per_part); ++block) {
        const index_t begin = block * points_per_block;
        call.depth = smaller(points_per_block, points - begin);
        run.gather(x, begin, call.depth, first, count, patches.data(), lead);
        call.add = block > share * per_part;
        for (index_t s = 0; s < slices.size(); ++s) {
          run.pack_gradient(slices[s], gradient + begin * plan.channels_out, call.depth, panel.data());
          call.c = sums.data() + share * size + s * 3 * width * rows + first * slices[s].vectors * width;
          call.step = slices[s].vectors * width;
          Product::run(call, slices[s].vectors);
        }
      }
    });
    run.finish_filter(slices, sums.data(), parts, size, w);
  }

 private:
  explicit HostPatches(const PatchPlan& plan) : plan_(plan), depth_(plan.window() * plan.channels_in) {}

  /// An odd number of vectors spreads the rows over the sets of a cache.
  static index_t lead(index_t count) { return (divide_up(count, width) | 1) * width; }

  /// panels[slice][(u, v, c)][channel of the slice]
  void pack_kernel(const ConvKernel<T>& kernel, const ChannelSlices& slices, T* panels, index_t panel_size) const {
    const index_t window = plan_.window();
    threads::parallel_for(slices.size() * window, [&](index_t task) {
      const auto& slice = slices[task / window];
      const index_t entry = task % window, panel = slice.vectors * width, channels = plan_.channels_in;
      const index_t used = smaller(panel, plan_.channels_out - slice.first);
      T* const to = panels + task / window * panel_size + entry * channels * panel;
      const T* const from = kernel.w + slice.first * kernel.out_step + plan_.entries[static_cast<std::size_t>(entry)];
      for (index_t c = 0; c < channels; ++c) {
        for (index_t k = 0; k < used; ++k) to[c * panel + k] = from[k * kernel.out_step + c * kernel.in_step];
        for (index_t k = used; k < panel; ++k) to[c * panel + k] = T(0);
      }
    });
  }

  /// Rows of patches: `count` points from `begin` on, their elements [first, first + length) of (u, v, c).
  void gather(const T* x, index_t begin, index_t count, index_t first, index_t length, T* to, index_t step) const {
    const index_t channels = plan_.channels_in, across = plan_.columns.window, wide = plan_.columns.points;
    for (index_t p = 0; p < count; ++p) {
      const index_t point = begin + p, rest = point / wide;
      const index_t *row = plan_.rows.row(rest % plan_.rows.points), *column = plan_.columns.row(point % wide);
      const T* const image = x + rest / plan_.rows.points * plan_.in[0] * plan_.in[1] * channels;
      T* target = to + p * step;
      index_t entry = first / channels, c = first % channels;
      for (index_t left = length; left > 0; ++entry, c = 0) {
        const index_t n = smaller(left, channels - c), i = row[entry / across], j = column[entry % across];
        if (i < 0 || j < 0) {
          for (index_t k = 0; k < n; ++k) target[k] = T(0);
        } else {
          const T* const source = image + (i * plan_.in[1] + j) * channels + c;
          for (index_t k = 0; k < n; ++k) target[k] = source[k];
        }
        target += n;
        left -= n;
      }
    }
  }

  void finish(const ChannelSlices::Slice& slice, index_t begin, index_t count, T* sums,
              const ConvTarget<T>& target) const {
    const index_t panel = slice.vectors * width, used = smaller(panel, plan_.channels_out - slice.first);
    if (target.bias != nullptr)
      for (index_t p = 0; p < count; ++p)
        for (index_t k = 0; k < used; ++k) sums[p * panel + k] += target.bias[slice.first + k];
    if (target.z != nullptr) place(slice, begin, count, sums, target.z);
    if (target.epilogue.run != nullptr) target.epilogue.run(target.epilogue.f, sums, sums, count * panel);
    place(slice, begin, count, sums, target.y);
  }

  void place(const ChannelSlices::Slice& slice, index_t begin, index_t count, const T* sums, T* to) const {
    const index_t panel = slice.vectors * width, used = smaller(panel, plan_.channels_out - slice.first);
    const index_t wide = plan_.columns.points;
    for (index_t p = 0; p < count; ++p) {
      const index_t point = begin + p, rest = point / wide;
      const index_t i = plan_.first[0] + rest % plan_.rows.points * plan_.step[0];
      const index_t j = plan_.first[1] + point % wide * plan_.step[1], b = rest / plan_.rows.points;
      T* const target = to + ((b * plan_.out[0] + i) * plan_.out[1] + j) * plan_.channels_out + slice.first;
      for (index_t k = 0; k < used; ++k) target[k] = sums[p * panel + k];
    }
  }

  void pack_gradient(const ChannelSlices::Slice& slice, const T* gradient, index_t count, T* panel) const {
    const index_t all = slice.vectors * width, used = smaller(all, plan_.channels_out - slice.first);
    for (index_t p = 0; p < count; ++p) {
      const T* const from = gradient + p * plan_.channels_out + slice.first;
      for (index_t k = 0; k < used; ++k) panel[p * all + k] = from[k];
      for (index_t k = used; k < all; ++k) panel[p * all + k] = T(0);
    }
  }

  /// w[out, in, (u, v)] = the sums of all parts at [slice][(u, v, in)][channel of the slice].
  void finish_filter(const ChannelSlices& slices, const T* sums, index_t parts, index_t size, T* w) const {
    const index_t window = plan_.window(), channels = plan_.channels_in;
    threads::parallel_for(plan_.channels_out, [&](index_t out) {
      const index_t s = slices.of(out), panel = slices[s].vectors * width;
      const T* const from = sums + s * 3 * width * depth_ + (out - slices[s].first);
      T* const to = w + out * channels * window;
      for (index_t e = 0; e < window; ++e)
        for (index_t c = 0; c < channels; ++c) {
          T sum = from[(e * channels + c) * panel];
          for (index_t part = 1; part < parts; ++part) sum += from[part * size + (e * channels + c) * panel];
          to[c * window + e] = sum;
        }
    });
  }

  const PatchPlan& plan_;
  index_t depth_;
};

}  // namespace kolmo::detail
