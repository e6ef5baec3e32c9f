#pragma once
// Convolutions along one axis with few channels on the host. Several neighbouring points of the result become the
// channels of one, so that vectors are full: with F points at once and stride s the kernel [out, in, k] is the kernel
//
//   W[(i, o), c, t] = w[o, c, t - i s],   i < F,  t < k + (F - 1) s,
//
// of stride F s, and its result [N / F, F out] lies in memory as [N, out] does. A transposed convolution of stride s is
// one of stride one and s out channels in the same way. The patch of a point is a run of the sequence itself: a part of
// the sequence with its border is copied once and multiplied from where it lies. A dilation takes the sequence apart
// into as many interleaved ones.

#include <kolmo/backend/conv_tables.hpp>
#include <kolmo/backend/panel_product.hpp>

namespace kolmo::detail {

/// Tap t of block q meets point start + phases (q advance + t) of the field (plus the phase). Entry i of the block is
/// point first + phases (q fold + i) of the result (plus the phase).
struct LinePlan {
  index_t batch = 0, channels_in = 1, channels_out = 1, points_out = 0;
  ConvAxis field{};  ///< in, pad and behind say how the field is continued
  Padding padding = Padding::zeros;
  index_t phases = 1, start = 0, first = 0, fold = 1, advance = 1, window = 1;
  std::vector<index_t> entries{};  ///< [window, fold]: of the kernel, -1 for none

  index_t depth() const { return window * channels_in; }
  index_t columns() const { return fold * channels_out; }
  /// Blocks of one phase; the last may reach beyond the result.
  index_t blocks() const { return divide_up(divide_up(points_out, phases) - first, fold); }
  index_t entry(index_t tap, index_t i) const { return entries[static_cast<std::size_t>(tap * fold + i)]; }

  /// Products of one point of the result by whole vectors, and what its row costs besides.
  static double cost(index_t points, index_t taps, index_t in, index_t out, index_t width) {
    const index_t vectors = divide_up(points * out, width);
    return static_cast<double>(vectors * (taps * in + 8)) / static_cast<double>(points);
  }

  /// The convolution of an axis with stride one or dilation one.
  static LinePlan forward(const ConvGeometry& g, index_t width) {
    const ConvAxis& axis = g.axis[1];
    LinePlan plan;
    plan.batch = g.batch;
    plan.channels_in = g.channels_in;
    plan.channels_out = g.channels_out;
    plan.points_out = axis.out;
    plan.field = axis;
    plan.padding = g.padding;
    plan.phases = axis.dilation;
    plan.start = -axis.pad;
    const auto window_of = [&](index_t points) { return axis.kernel + (points - 1) * axis.stride; };
    for (index_t points = 2; points * plan.channels_out <= 3 * width; ++points)
      if (cost(points, window_of(points), plan.channels_in, plan.channels_out, width) <
          cost(plan.fold, window_of(plan.fold), plan.channels_in, plan.channels_out, width))
        plan.fold = points;
    plan.advance = plan.fold * axis.stride;
    plan.window = window_of(plan.fold);
    for (index_t t = 0; t < plan.window; ++t)
      for (index_t i = 0; i < plan.fold; ++i) {
        const index_t u = t - i * axis.stride;
        plan.entries.push_back(u >= 0 && u < axis.kernel ? u : -1);
      }
    return plan;
  }

  /// Its transpose: from the gradient of the result to that of the field, with its border when that is to be folded.
  static LinePlan transposed(const ConvGeometry& g, index_t width, bool bordered) {
    const ConvAxis& axis = g.axis[1];
    const index_t s = axis.stride, k = axis.kernel, pad = bordered ? 0 : axis.pad;
    LinePlan plan;
    plan.batch = g.batch;
    plan.channels_in = g.channels_out;
    plan.channels_out = g.channels_in;
    plan.points_out = bordered ? axis.continued() : axis.in;
    plan.field.in = axis.out;
    plan.phases = axis.dilation;
    // Blocks begin where the first entry of the kernel meets a point.
    plan.first = -(pad % s);
    if (axis.dilation > 1) plan.first = 0;
    const index_t before = (k - 1) / s;
    const auto window_of = [&](index_t points) { return points / s + before; };
    plan.fold = s;
    for (index_t points = 2 * s; points * plan.channels_out <= 3 * width; points += s)
      if (cost(points, window_of(points), plan.channels_in, plan.channels_out, width) <
          cost(plan.fold, window_of(plan.fold), plan.channels_in, plan.channels_out, width))
        plan.fold = points;
    plan.advance = plan.fold / s;
    plan.window = window_of(plan.fold);
    plan.start = axis.dilation > 1 ? pad - (k - 1) * axis.dilation : (plan.first + pad) / s - before;
    for (index_t t = 0; t < plan.window; ++t)
      for (index_t i = 0; i < plan.fold; ++i) {
        const index_t u = i - (t - before) * s;
        plan.entries.push_back(u >= 0 && u < k ? u : -1);
      }
    return plan;
  }
};

/// The size of a vector keeps code for different machines apart in one program.
template <class T, int bytes = gemm_vector_bytes>
class HostLines {
  using Product = PanelProduct<T, bytes>;
  static constexpr index_t parts = 16;  // of the sums of a kernel's gradient

 public:
  static constexpr index_t width = Product::width;

  /// Whether the blocks are worth their planning: one axis and enough points.
  static bool suits(const ConvGeometry& g) {
    const ConvAxis &rows = g.axis[0], &axis = g.axis[1];
    return rows.in == 1 && rows.out == 1 && rows.kernel == 1 && (axis.stride == 1 || axis.dilation == 1) &&
           axis.out / axis.dilation >= 24;
  }

  /// For the gradient of the kernel, whose sums are loaded and stored for every part, parts must be long, too.
  static bool suits_filter(const ConvGeometry& g) {
    const ConvAxis& axis = g.axis[1];
    return suits(g) && (g.channels_out <= 2 * width || (axis.stride == 1 && axis.dilation == 1));
  }

  static void forward(const LinePlan& plan, const T* x, const ConvKernel<T>& kernel, const ConvTarget<T>& target) {
    const HostLines run(plan);
    const ChannelSlices slices(plan.columns(), width);
    const index_t depth = plan.depth(), panel_size = depth * 3 * width;
    const HostScratch<T> panels(slices.size() * panel_size), shifts(slices.size() * 3 * width);
    run.pack_kernel(kernel, slices, panels.data(), panel_size);
    if (target.bias != nullptr)
      for (index_t j = 0; j < plan.columns(); ++j) shifts.data()[j] = target.bias[j % plan.channels_out];
    threads::parallel_for(run.tasks(), [&](index_t task) {
      const Part part = run.part(task);
      const HostScratch<T> line(run.line_size()), sums(run.rows_ * 3 * width);
      run.copy_line(part, x, line.data());
      PanelCall<T> call;
      call.rows = part.count;
      call.depth = depth;
      call.a = line.data();
      call.row_step = plan.advance * plan.channels_in;
      call.depth_step = 1;
      call.c = sums.data();
      for (index_t s = 0; s < slices.size(); ++s) {
        call.b = panels.data() + s * panel_size;
        call.step = slices[s].vectors * width;
        Product::run(call, slices[s].vectors);
        run.finish(slices[s], part, sums.data(), target.bias ? shifts.data() : nullptr, target);
      }
    });
  }

  /// w [out, in, k] = the gradient of the kernel, for a plan of the convolution itself.
  static void filter(const LinePlan& plan, const ConvAxis& axis, const T* x, const T* gradient, T* w) {
    const HostLines run(plan);
    const ChannelSlices slices(plan.columns(), width);
    const index_t depth = plan.depth(), slice_size = depth * 3 * width, size = slices.size() * slice_size;
    const index_t tasks = run.tasks(), shares = smaller(parts, tasks), per_share = divide_up(tasks, shares);
    const HostScratch<T> sums(shares * size);
    threads::parallel_for(shares, [&](index_t share) {
      const HostScratch<T> line(run.line_size()), panel(run.rows_ * 3 * width);
      T* const own = sums.data() + share * size;
      if (share * per_share >= tasks)
        for (index_t i = 0; i < size; ++i) own[i] = T(0);
      PanelCall<T> call;
      call.rows = depth;
      call.a = line.data();
      call.row_step = 1;
      call.depth_step = plan.advance * plan.channels_in;
      call.b = panel.data();
      for (index_t task = share * per_share; task < smaller(tasks, (share + 1) * per_share); ++task) {
        const Part part = run.part(task);
        run.copy_line(part, x, line.data());
        call.depth = part.count;
        call.add = task > share * per_share;
        for (index_t s = 0; s < slices.size(); ++s) {
          run.pack_gradient(slices[s], part, gradient, panel.data());
          call.c = own + s * slice_size;
          call.step = slices[s].vectors * width;
          Product::run(call, slices[s].vectors);
        }
      }
    });
    run.finish_filter(slices, sums.data(), shares, size, axis.kernel, w);
  }

 private:
  explicit HostLines(const LinePlan& plan) : plan_(plan) {
    // The part of the sequence stays in the first-level cache where that allows some rows.
    const index_t fits = 6144 / larger<index_t>(1, plan.advance * plan.channels_in);
    rows_ = smaller(plan.blocks(), larger<index_t>(48, smaller<index_t>(192, fits / 24 * 24)));
    chunks_ = divide_up(plan.blocks(), rows_);
  }

  /// `count` blocks from `block` on of one phase of one sequence.
  struct Part {
    index_t item, phase, block, count;
  };
  index_t tasks() const { return plan_.batch * plan_.phases * chunks_; }
  Part part(index_t task) const {
    const index_t block = task % chunks_ * rows_, line = task / chunks_;
    return {line / plan_.phases, line % plan_.phases, block, smaller(rows_, plan_.blocks() - block)};
  }

  index_t line_size() const { return ((rows_ - 1) * plan_.advance + plan_.window) * plan_.channels_in; }

  /// What the blocks of a part meet, one point after the other.
  void copy_line(const Part& part, const T* x, T* line) const {
    const index_t channels = plan_.channels_in, n = (part.count - 1) * plan_.advance + plan_.window;
    const index_t step = plan_.phases, origin = plan_.start + part.phase + step * part.block * plan_.advance;
    const T* const from = x + part.item * plan_.field.in * channels;
    for (index_t t = 0; t < n;) {
      const index_t position = origin + t * step;
      if (position >= 0 && position < plan_.field.in) {
        const index_t inside = smaller(n - t, (plan_.field.in - 1 - position) / step + 1);
        if (step == 1)
          __builtin_memcpy(line + t * channels, from + position * channels,
                           static_cast<std::size_t>(inside * channels) * sizeof(T));
        else
          copy_points(from + position * channels, step * channels, inside, channels, line + t * channels);
        t += inside;
        continue;
      }
      const index_t source = continued_source(plan_.field, position, plan_.padding);
      for (index_t c = 0; c < channels; ++c) line[t * channels + c] = source < 0 ? T(0) : from[source * channels + c];
      ++t;
    }
  }

  static void copy_points(const T* from, index_t step, index_t count, index_t channels, T* to) {
    for (index_t p = 0; p < count; ++p) copy_run(from + p * step, channels, to + p * channels);
  }
  /// Mostly eight channels or a few times that.
  static KOLMO_INLINE void copy_run(const T* from, index_t count, T* to) {
    for (; count >= 8; count -= 8, from += 8, to += 8) __builtin_memcpy(to, from, 8 * sizeof(T));
    for (; count > 0; --count) *to++ = *from++;
  }

  /// panels[slice][(tap, c)][column of the slice]
  void pack_kernel(const ConvKernel<T>& kernel, const ChannelSlices& slices, T* panels, index_t panel_size) const {
    const index_t channels = plan_.channels_in, out = plan_.channels_out;
    threads::parallel_for(slices.size() * plan_.window, [&](index_t task) {
      const auto& slice = slices[task / plan_.window];
      const index_t tap = task % plan_.window, panel = slice.vectors * width;
      T* const to = panels + task / plan_.window * panel_size + tap * channels * panel;
      for (index_t k = 0; k < panel; ++k) {
        const index_t column = slice.first + k, u = column < plan_.columns() ? plan_.entry(tap, column / out) : -1;
        const T* const from = u < 0 ? nullptr : kernel.w + column % out * kernel.out_step + u;
        for (index_t c = 0; c < channels; ++c) to[c * panel + k] = from ? from[c * kernel.in_step] : T(0);
      }
    });
  }

  /// Calls visit(row of the part, first column, columns, where these lie in the result) for the runs of a slice that
  /// are inside the result.
  template <class Visit>
  void each_run(const ChannelSlices::Slice& slice, const Part& part, const Visit& visit) const {
    const index_t out = plan_.channels_out, all = plan_.points_out * out, item = part.item * all;
    const index_t used = smaller(slice.vectors * width, plan_.columns() - slice.first);
    for (index_t row = 0; row < part.count; ++row) {
      const index_t block = part.block + row;
      if (plan_.phases == 1) {
        // A block is one run.
        const index_t place = (plan_.first + block * plan_.fold) * out + slice.first;
        const index_t skip = larger<index_t>(0, -place), count = smaller(used, all - place) - skip;
        if (count > 0) visit(row, skip, count, item + place + skip);
        continue;
      }
      for (index_t k = 0; k < used;) {
        const index_t column = slice.first + k, c = column % out, count = smaller(out - c, used - k);
        const index_t point = part.phase + plan_.phases * (block * plan_.fold + column / out);
        if (point < plan_.points_out) visit(row, k, count, item + point * out + c);
        k += count;
      }
    }
  }

  void finish(const ChannelSlices::Slice& slice, const Part& part, T* sums, const T* shifts,
              const ConvTarget<T>& target) const {
    const index_t panel = slice.vectors * width;
    if (shifts != nullptr)
      for (index_t p = 0; p < part.count; ++p)
        for (index_t k = 0; k < panel; ++k) sums[p * panel + k] += shifts[slice.first + k];
    if (target.z != nullptr) place(slice, part, sums, target.z);
    if (target.epilogue.run != nullptr) target.epilogue.run(target.epilogue.f, sums, sums, part.count * panel);
    place(slice, part, sums, target.y);
  }

  void place(const ChannelSlices::Slice& slice, const Part& part, const T* sums, T* to) const {
    const index_t panel = slice.vectors * width;
    each_run(slice, part, [&](index_t row, index_t column, index_t count, index_t at) {
      copy_run(sums + row * panel + column, count, to + at);
    });
  }

  void pack_gradient(const ChannelSlices::Slice& slice, const Part& part, const T* gradient, T* panel) const {
    const index_t all = slice.vectors * width;
    for (index_t i = 0; i < part.count * all; ++i) panel[i] = T(0);
    each_run(slice, part, [&](index_t row, index_t column, index_t count, index_t at) {
      copy_run(gradient + at, count, panel + row * all + column);
    });
  }

  /// w[o, c, u]: the sums of all shares at every (tap, i) that holds entry u.
  void finish_filter(const ChannelSlices& slices, const T* sums, index_t shares, index_t size, index_t kernel,
                     T* w) const {
    const index_t channels = plan_.channels_in, out = plan_.channels_out, slice_size = plan_.depth() * 3 * width;
    threads::parallel_for(out, [&](index_t o) {
      T* const to = w + o * channels * kernel;
      for (index_t i = 0; i < channels * kernel; ++i) to[i] = T(0);
      for (index_t i = 0; i < plan_.fold; ++i) {
        const index_t column = i * out + o, s = slices.of(column), panel = slices[s].vectors * width;
        const T* const from = sums + s * slice_size + (column - slices[s].first);
        for (index_t t = 0; t < plan_.window; ++t) {
          const index_t u = plan_.entry(t, i);
          if (u < 0) continue;
          for (index_t c = 0; c < channels; ++c)
            for (index_t share = 0; share < shares; ++share)
              to[c * kernel + u] += from[share * size + (t * channels + c) * panel];
        }
      }
    });
  }

  const LinePlan& plan_;
  index_t rows_, chunks_;
};

}  // namespace kolmo::detail
