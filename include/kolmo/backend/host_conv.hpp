#pragma once
// Convolutions on the host: which algorithm a scalar and a geometry get, and their plans. Float has Winograd's
// algorithm where it is faster, sequences have products of lines, every other case products of patches. A further
// scalar needs a PanelProduct (backend/panel_product.hpp) and an entry in HostConvScalar, or overloads of the three
// host_conv functions.

#include <type_traits>

#include <kolmo/backend/conv_tables.hpp>
#include <kolmo/backend/host_loops.hpp>
#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))
#include <kolmo/backend/host_lines.hpp>
#include <kolmo/backend/host_patches.hpp>
#include <kolmo/backend/host_patches_bf16.hpp>
#include <kolmo/backend/host_winograd.hpp>
#endif

namespace kolmo::detail {

/// Scalars for which the host has kernels of its own; others take the patches of ops/conv_kernels.hpp.
template <class T>
concept HostConvScalar = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, BFloat16>;

// With KOLMO_COMPILED, and in CUDA files, these come from the library kolmo::compiled. Fields are contiguous, kernels
// [out, in, height, width].
template <class T>
void host_conv_forward(const ConvGeometry& g, const T* x, const T* w, const ConvTarget<T>& target);
/// y is the gradient of the field.
template <class T>
void host_conv_backward_data(const ConvGeometry& g, const T* gradient, const T* w, T* x);
template <class T>
void host_conv_backward_filter(const ConvGeometry& g, const T* x, const T* gradient, T* w);

#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))

/// The plans of one geometry.
template <class T>
class HostConv {
 public:
  explicit HostConv(const ConvGeometry& g) : g_(g) {}

  void forward(const T* x, const T* w, const ConvTarget<T>& target) const {
    const ConvKernel<T> kernel{w, g_.channels_in * g_.taps(), g_.taps(), false};
    if constexpr (std::is_same_v<T, float>) {
      if (winograd()) return HostWinograd<T>::forward(winograd_plan(), x, kernel, target);
    }
    if constexpr (!std::is_same_v<T, BFloat16>) {
      if (HostLines<T>::suits(g_))
        return HostLines<T>::forward(LinePlan::forward(g_, HostLines<T>::width), x, kernel, target);
    }
    HostPatches<T>::forward(patch_plan(), x, kernel, target);
  }

  void backward_filter(const T* x, const T* gradient, T* w) const {
    if constexpr (std::is_same_v<T, float>) {
      if (winograd()) return HostWinograd<T>::filter(winograd_plan(), x, gradient, w);
    }
    if constexpr (!std::is_same_v<T, BFloat16>) {
      if (HostLines<T>::suits_filter(g_))
        return HostLines<T>::filter(LinePlan::forward(g_, HostLines<T>::width), g_.axis[1], x, gradient, w);
    }
    HostPatches<T>::filter(patch_plan(), x, gradient, w);
  }

  void backward_data(const T* gradient, const T* w, T* x) const {
    const bool fast = std::is_same_v<T, float> && winograd();
    const ConvAxis &rows = g_.axis[0], &across = g_.axis[1];
    const bool wrapped =
        fast ? g_.padding == Padding::circular && at_most_one(rows) && at_most_one(across) : periodic();
    const bool fold =
        g_.padding != Padding::zeros && !wrapped && (rows.continued() > rows.in || across.continued() > across.in);
    if (!fold) {
      backward(gradient, w, x, fast, false);
      return;
    }
    const HostScratch<T> continued(g_.batch * rows.continued() * across.continued() * g_.channels_in);
    backward(gradient, w, continued.data(), fast, true);
    fold_border(g_, continued.data(), x);
  }

 private:
  /// The same pad, none or one point, on both sides.
  static bool at_most_one(const ConvAxis& axis) { return axis.pad == axis.behind && axis.pad <= 1; }

  /// Whether the gradient of the field is a periodic convolution as well: every entry of the kernel meets every point
  /// once.
  bool periodic() const {
    for (const ConvAxis& axis : g_.axis)
      if (axis.stride != 1 || axis.out != axis.in) return false;
    return g_.padding == Padding::circular;
  }

  /// 3 x 3 of stride one with enough channels and points that the transforms are repaid: half a vector of either side
  /// still gains a factor of two.
  bool winograd() const {
    for (const ConvAxis& axis : g_.axis)
      if (axis.kernel != 3 || axis.stride != 1 || axis.dilation != 1 || axis.out < 4) return false;
    return smaller(g_.channels_in, g_.channels_out) >= 8;
  }

  WinogradPlan winograd_plan() const {
    return {g_.batch,
            g_.channels_in,
            g_.channels_out,
            {{g_.axis[0].in, g_.axis[1].in}},
            {{g_.axis[0].out, g_.axis[1].out}},
            tiles(g_.axis[0]),
            tiles(g_.axis[1])};
  }
  ConvTable tiles(const ConvAxis& axis) const {
    ConvTable table(divide_up(axis.out, 4), 6);
    for (index_t t = 0; t < table.points; ++t)
      for (index_t i = 0; i < 6; ++i) table.at(t, i) = continued_source(axis, 4 * t + i - axis.pad, g_.padding);
    return table;
  }
  /// Of the gradient, for `points` of the field of which the first is at position -border.
  ConvTable tiles_of_gradient(const ConvAxis& axis, index_t points, index_t border) const {
    ConvTable table(divide_up(points, 4), 6);
    const ConvAxis gradient{axis.out, points, 3, 1, axis.pad, axis.behind};
    for (index_t t = 0; t < table.points; ++t)
      for (index_t i = 0; i < 6; ++i) {
        const index_t position = 4 * t + i - border + axis.pad - 2;
        const bool inside = position >= 0 && position < axis.out;
        if (inside)
          table.at(t, i) = position;
        else if (border == 0 && g_.padding == Padding::circular && axis.pad == 1 && axis.behind == 1)
          table.at(t, i) = continued_source(gradient, position, Padding::circular);
      }
    return table;
  }

  PatchPlan patch_plan() const {
    PatchPlan plan{g_.batch,
                   g_.channels_in,
                   g_.channels_out,
                   {{g_.axis[0].in, g_.axis[1].in}},
                   {{g_.axis[0].out, g_.axis[1].out}},
                   points(g_.axis[0]),
                   points(g_.axis[1])};
    for (index_t e = 0; e < g_.taps(); ++e) plan.entries.push_back(e);
    return plan;
  }
  ConvTable points(const ConvAxis& axis) const {
    ConvTable table(axis.out, axis.kernel);
    for (index_t p = 0; p < axis.out; ++p)
      for (index_t u = 0; u < axis.kernel; ++u) table.at(p, u) = axis.source(p, u, g_.padding);
    return table;
  }

  /// The gradient of the field, with its border when it is to be folded.
  void backward(const T* gradient, const T* w, T* x, [[maybe_unused]] bool fast, bool bordered) const {
    const ConvAxis &rows = g_.axis[0], &across = g_.axis[1];
    const Array<index_t, 2> border{{bordered ? rows.pad : 0, bordered ? across.pad : 0}};
    const Array<index_t, 2> field{{bordered ? rows.continued() : rows.in, bordered ? across.continued() : across.in}},
        from{{rows.out, across.out}};
    const index_t in = g_.channels_out, out = g_.channels_in;
    ConvKernel<T> kernel{w, g_.taps(), g_.channels_in * g_.taps(), false};
    ConvTarget<T> target;
    target.y = x;
    if constexpr (std::is_same_v<T, float>) {
      if (fast) {
        kernel.reversed = true;
        HostWinograd<T>::forward({g_.batch, in, out, from, field, tiles_of_gradient(rows, field[0], border[0]),
                                  tiles_of_gradient(across, field[1], border[1])},
                                 gradient, kernel, target);
        return;
      }
    }
    if constexpr (!std::is_same_v<T, BFloat16>) {
      if (HostLines<T>::suits(g_) && (bordered || !periodic() || across.pad + across.behind == 0))
        return HostLines<T>::forward(LinePlan::transposed(g_, HostLines<T>::width, bordered), gradient, kernel, target);
    }
    // Points of the field whose distance from the first is the same modulo the stride meet the same kernel entries.
    for (index_t i = 0; i < rows.stride; ++i)
      for (index_t j = 0; j < across.stride; ++j) {
        const bool wrap = !bordered && periodic();
        const Residue r = residue(rows, i, field[0], border[0], wrap),
                      c = residue(across, j, field[1], border[1], wrap);
        if (r.table.points == 0 || c.table.points == 0) continue;
        PatchPlan plan{g_.batch, in, out, from, field, r.table, c.table};
        plan.first = {{r.first, c.first}};
        plan.step = {{rows.stride, across.stride}};
        for (const index_t u : r.entries)
          for (const index_t v : c.entries) plan.entries.push_back(u * across.kernel + v);
        HostPatches<T>::forward(plan, gradient, kernel, target);
      }
  }

  struct Residue {
    index_t first;
    std::vector<index_t> entries;
    ConvTable table;
  };
  /// The points whose distance to the kernel's first entry is r modulo the stride, and the entries that they meet.
  static Residue residue(const ConvAxis& axis, index_t r, index_t points, index_t border, bool wrap) {
    const index_t s = axis.stride, first = ((r + border - axis.pad) % s + s) % s;
    std::vector<index_t> entries;
    for (index_t u = 0; u < axis.kernel; ++u)
      if (u * axis.dilation % s == r) entries.push_back(u);
    const auto window = static_cast<index_t>(entries.size());
    ConvTable table(first < points ? divide_up(points - first, s) : 0, window);
    for (index_t p = 0; p < table.points; ++p)
      for (index_t e = 0; e < window; ++e) {
        const index_t u = entries[static_cast<std::size_t>(e)], position = first + p * s - border;
        table.at(p, e) =
            wrap ? (position + axis.pad - u * axis.dilation + axis.out) % axis.out : axis.target(position, u);
      }
    return {first, std::move(entries), std::move(table)};
  }

  const ConvGeometry& g_;
};

template <class T>
void host_conv_forward(const ConvGeometry& g, const T* x, const T* w, const ConvTarget<T>& target) {
  HostConv<T>(g).forward(x, w, target);
}
template <class T>
void host_conv_backward_data(const ConvGeometry& g, const T* gradient, const T* w, T* x) {
  HostConv<T>(g).backward_data(gradient, w, x);
}
template <class T>
void host_conv_backward_filter(const ConvGeometry& g, const T* x, const T* gradient, T* w) {
  HostConv<T>(g).backward_filter(x, gradient, w);
}

#else
extern template void host_conv_forward<float>(const ConvGeometry&, const float*, const float*,
                                              const ConvTarget<float>&);
extern template void host_conv_forward<double>(const ConvGeometry&, const double*, const double*,
                                               const ConvTarget<double>&);
extern template void host_conv_forward<BFloat16>(const ConvGeometry&, const BFloat16*, const BFloat16*,
                                                 const ConvTarget<BFloat16>&);
extern template void host_conv_backward_data<float>(const ConvGeometry&, const float*, const float*, float*);
extern template void host_conv_backward_data<double>(const ConvGeometry&, const double*, const double*, double*);
extern template void host_conv_backward_data<BFloat16>(const ConvGeometry&, const BFloat16*, const BFloat16*,
                                                       BFloat16*);
extern template void host_conv_backward_filter<float>(const ConvGeometry&, const float*, const float*, float*);
extern template void host_conv_backward_filter<double>(const ConvGeometry&, const double*, const double*, double*);
extern template void host_conv_backward_filter<BFloat16>(const ConvGeometry&, const BFloat16*, const BFloat16*,
                                                         BFloat16*);
#endif

}  // namespace kolmo::detail
