#pragma once
// Convolutions of BFloat16 fields on the host: patches of points, gathered into the second-level cache, times packed
// kernels by the product of bf16_kernel.hpp. Sums, bias and activation are float; what is stored is rounded once. The
// gradient of the kernel is a product whose depth is the points: the gradient of the result is transposed once, in
// chunks of points, and every entry of the window packs the field's points behind it.

#include <kolmo/backend/bf16_gemm.hpp>
#include <kolmo/backend/host_patches.hpp>

// As the products it is made of: not in CUDA files, which have no vector types, and once in kolmo::compiled.
#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))

namespace kolmo::detail {

template <>
class HostPatches<BFloat16> {
  using T = BFloat16;
  static constexpr index_t chunk = 1024;  // points of one product in a kernel's gradient
  static constexpr index_t group = 6;     // panels of input channels of a task there

 public:
  /// y = f(conv + bias) at the points of the plan.
  static void forward(const PatchPlan& plan, const T* x, const ConvKernel<T>& kernel, const ConvTarget<T>& target) {
    const HostPatches run(plan);
    const Bf16Kernel form = bf16_kernel();
    const index_t depth = round_up(run.depth_, tile_depth), lead = odd_lead(depth), points = plan.points();
    const index_t panels = divide_up(plan.channels_out, index_t{16}), wide = 16 * panels;
    const HostScratch<T> packed(wide * depth);
    threads::parallel_for(
        panels, [&](index_t panel) { run.pack_kernel(kernel, panel, packed.data() + panel * 16 * depth, depth); });
    const index_t most = larger<index_t>(16, smaller<index_t>(96, index_t{128} * 1024 / depth / 16 * 16));
    threads::parallel_for(divide_up(points, most), [&](index_t task) {
      const index_t begin = task * most, count = smaller(most, points - begin), rows = round_up(count, tile_rows);
      const HostScratch<T> patches(rows * lead);
      const HostScratch<float> sums(rows * wide);
      run.gather(x, begin, count, patches.data(), lead);
      for (index_t i = count * lead; i < rows * lead; ++i) patches.data()[i] = T();
      bf16_product(form, rows, panels, depth, patches.data(), lead, packed.data(), 16 * depth, sums.data(), wide, true);
      run.finish(begin, count, sums.data(), wide, target);
    });
  }

  /// w [out, in, window] = the gradient of the kernel.
  static void filter(const PatchPlan& plan, const T* x, const T* gradient, T* w) {
    const HostPatches run(plan);
    const Bf16Kernel form = bf16_kernel();
    const index_t points = plan.points(), chunks = divide_up(points, chunk),
                  rows = round_up(plan.channels_out, tile_rows);
    const index_t lead = odd_lead(chunk), size = rows * lead;
    const HostScratch<T> across(chunks * size);
    threads::parallel_for(chunks, [&](index_t q) {
      run.transpose(gradient + q * chunk * plan.channels_out, smaller(chunk, points - q * chunk),
                    across.data() + q * size, lead);
    });
    const index_t groups = divide_up(plan.channels_in, 16 * group), tasks = plan.window() * groups;
    // Few tasks leave the points to share out; their sums are added in order.
    const index_t parts = larger<index_t>(1, smaller(divide_up(index_t{16}, tasks), chunks / 8));
    const index_t per_part = divide_up(chunks, parts), columns = plan.window() * groups * 16 * group;
    const HostScratch<float> sums(parts * rows * columns);
    threads::parallel_for(tasks * parts, [&](index_t task) {
      const index_t share = task % parts, entry = task / parts / groups, first = task / parts % groups * 16 * group;
      const index_t used = smaller(16 * group, plan.channels_in - first), panels = divide_up(used, index_t{16});
      const HostScratch<T> packed(16 * group * chunk);
      float* const target = sums.data() + share * rows * columns + entry * groups * 16 * group + first;
      for (index_t q = share * per_part; q < smaller(chunks, (share + 1) * per_part); ++q) {
        const index_t count = smaller(chunk, points - q * chunk), depth = round_up(count, tile_depth);
        run.pack_points(x, entry, first, used, q * chunk, count, depth, packed.data());
        bf16_product(form, rows, panels, depth, across.data() + q * size, lead, packed.data(), 16 * depth, target,
                     columns, q == share * per_part);
      }
    });
    run.finish_filter(sums.data(), parts, rows * columns, columns, groups * 16 * group, w);
  }

 private:
  explicit HostPatches(const PatchPlan& plan) : plan_(plan), depth_(plan.window() * plan.channels_in) {}

  /// An odd number of cache lines spreads the rows over the sets of a cache.
  static index_t odd_lead(index_t depth) { return (depth / 32 | 1) * 32; }

  /// One panel of 16 channels of the result: rows (u, v, c).
  void pack_kernel(const ConvKernel<T>& kernel, index_t panel, T* to, index_t depth) const {
    const index_t channels = plan_.channels_in, window = plan_.window();
    const index_t used = smaller<index_t>(16, plan_.channels_out - 16 * panel);
    const T* const from = kernel.w + 16 * panel * kernel.out_step;
    // Two channels at a time: kernels are contiguous in them and their window.
    for (index_t c = 0; c < channels; c += 2)
      for (index_t e = 0; e < window; ++e)
        for (index_t d = c; d < smaller(channels, c + 2); ++d) {
          const index_t row = e * channels + d;
          const T* const source = from + d * kernel.in_step + plan_.entries[static_cast<std::size_t>(e)];
          T* const target = to + row / 2 * 32 + row % 2;
          for (index_t j = 0; j < used; ++j) target[2 * j] = source[j * kernel.out_step];
          for (index_t j = used; j < 16; ++j) target[2 * j] = T();
        }
    for (index_t row = depth_; row < depth; ++row)
      for (index_t j = 0; j < 16; ++j) to[row / 2 * 32 + row % 2 + 2 * j] = T();
  }

  /// Walks the points of the plan in their order.
  class Cursor {
   public:
    Cursor(const PatchPlan& plan, index_t point)
        : plan_(plan),
          image(point / plan.columns.points / plan.rows.points),
          row(point / plan.columns.points % plan.rows.points),
          column(point % plan.columns.points) {}
    void next() {
      if (++column < plan_.columns.points) return;
      column = 0;
      if (++row < plan_.rows.points) return;
      row = 0;
      ++image;
    }
    /// The field's point that entry (u, v) of the window meets; null for a zero.
    const T* source(const T* x, index_t u, index_t v) const {
      const index_t i = plan_.rows.row(row)[u], j = plan_.columns.row(column)[v];
      if (i < 0 || j < 0) return nullptr;
      return x + ((image * plan_.in[0] + i) * plan_.in[1] + j) * plan_.channels_in;
    }
    /// Where the point lies in the result.
    index_t place() const {
      const index_t i = plan_.first[0] + row * plan_.step[0], j = plan_.first[1] + column * plan_.step[1];
      return ((image * plan_.out[0] + i) * plan_.out[1] + j) * plan_.channels_out;
    }

   private:
    const PatchPlan& plan_;
    index_t image, row, column;
  };

  /// Rows of patches, zeros from the depth to `lead`.
  void gather(const T* x, index_t begin, index_t count, T* to, index_t lead) const {
    const index_t channels = plan_.channels_in;
    const auto bytes = static_cast<std::size_t>(channels) * sizeof(T);
    Cursor cursor(plan_, begin);
    for (index_t p = 0; p < count; ++p, cursor.next()) {
      T* target = to + p * lead;
      for (index_t u = 0; u < plan_.rows.window; ++u)
        for (index_t v = 0; v < plan_.columns.window; ++v, target += channels) {
          if (const T* const from = cursor.source(x, u, v))
            __builtin_memcpy(target, from, bytes);
          else
            for (index_t c = 0; c < channels; ++c) target[c] = T();
        }
      for (index_t k = depth_; k < lead; ++k) *target++ = T();
    }
  }

  void finish(index_t begin, index_t count, float* sums, index_t step, const ConvTarget<T>& target) const {
    const index_t channels = plan_.channels_out;
    Cursor cursor(plan_, begin);
    for (index_t p = 0; p < count; ++p, cursor.next()) {
      float* const row = sums + p * step;
      const index_t place = cursor.place();
      if (target.bias != nullptr) {
        KOLMO_INDEPENDENT
        for (index_t k = 0; k < channels; ++k) row[k] += target.bias[k];
      }
      if (target.z != nullptr) store_bf16_row(row, channels, 1, 0, target.z + place);
      if (target.epilogue.run != nullptr) target.epilogue.run(target.epilogue.f, row, row, channels);
      store_bf16_row(row, channels, 1, 0, target.y + place);
    }
  }

  /// [count, channels] to [channels, chunk], with zeros where there is nothing.
  void transpose(const T* from, index_t count, T* to, index_t lead) const {
    const index_t channels = plan_.channels_out;
    constexpr index_t square = 32;
    for (index_t p = 0; p < count; p += square)
      for (index_t c = 0; c < channels; c += 16) {
        if (p + square <= count && c + 16 <= channels) {
          // As pairs of points: a transposition of 16 x 16 words.
          std::uint32_t words[16][16], turned[16][16];
          for (index_t q = 0; q < 16; ++q) {
            const T* const row = from + (p + 2 * q) * channels + c;
            interleave_bf16(row, row + channels, words[q]);
          }
          for (int k = 0; k < 16; ++k)
            for (int q = 0; q < 16; ++q) turned[k][q] = words[q][k];
          for (index_t k = 0; k < 16; ++k) __builtin_memcpy(to + (c + k) * lead + p, turned[k], sizeof turned[k]);
        } else {
          for (index_t k = c; k < smaller(channels, c + 16); ++k)
            for (index_t q = p; q < smaller(count, p + square); ++q) to[k * lead + q] = from[q * channels + k];
        }
      }
    for (index_t k = 0; k < channels; ++k)
      for (index_t q = count; q < lead; ++q) to[k * lead + q] = T();
    for (index_t k = channels * lead; k < round_up(channels, tile_rows) * lead; ++k) to[k] = T();
  }

  /// Panels of 16 input channels: pairs of points behind one entry of the window.
  void pack_points(const T* x, index_t entry, index_t first, index_t used, index_t begin, index_t count, index_t depth,
                   T* panels) const {
    static constexpr T zeros[16 * group] = {};
    const index_t u = entry / plan_.columns.window, v = entry % plan_.columns.window;
    Cursor cursor(plan_, begin);
    for (index_t p = 0; p < depth; p += 2) {
      const T* pair[2] = {zeros, zeros};
      for (index_t h = 0; h < smaller<index_t>(2, count - p); ++h, cursor.next())
        if (const T* const from = cursor.source(x, u, v)) {
          pair[h] = from + first;
          // Most points lie in a row: the third-level cache is asked in time.
          for (index_t c = 0; c < used; c += 32) __builtin_prefetch(pair[h] + 12 * plan_.channels_in + c);
        }
      for (index_t c = 0; c < used; c += 16) {
        T* const to = panels + c * depth + p / 2 * 32;
        const T *const a = pair[0] + c, *const b = pair[1] + c;
        if (used - c >= 16) {
          interleave_bf16(a, b, to);
        } else {
          for (index_t j = 0; j < 16; ++j) {
            to[2 * j] = j < used - c ? a[j] : T();
            to[2 * j + 1] = j < used - c ? b[j] : T();
          }
        }
      }
    }
  }

  /// w[out, in, (u, v)] = the sums of all parts at [out][(u, v), in].
  void finish_filter(const float* sums, index_t parts, index_t size, index_t columns, index_t entry_step, T* w) const {
    const index_t window = plan_.window(), channels = plan_.channels_in;
    threads::parallel_for(plan_.channels_out, [&](index_t out) {
      const float* const from = sums + out * columns;
      T* const to = w + out * channels * window;
      for (index_t c = 0; c < channels; ++c)
        for (index_t e = 0; e < window; ++e) {
          float sum = from[e * entry_step + c];
          for (index_t part = 1; part < parts; ++part) sum += from[part * size + e * entry_step + c];
          to[c * window + e] = T(sum);
        }
    });
  }

  const PatchPlan& plan_;
  index_t depth_;
};

}  // namespace kolmo::detail

#endif
