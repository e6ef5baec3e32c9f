#pragma once
// Convolutions by their definition in plain loops.

#include <algorithm>

#include <kolmo/backend/conv_geometry.hpp>
#include <kolmo/core/functors.hpp>
#include <kolmo/ops/conv.hpp>

#include "expect_op_checks.hpp"

namespace kolmo_test {

using kolmo::index_t;
using kolmo::Padding;

/// The point behind a position beyond the border by the textbook rule of each padding: -1 for a zero.
inline index_t continued(index_t i, index_t n, Padding padding) {
  if (padding == Padding::zeros) return i < 0 || i >= n ? -1 : i;
  if (padding == Padding::circular) return (i % n + n) % n;
  if (padding == Padding::replicate) return std::min(std::max(i, index_t{0}), n - 1);
  while (i < 0 || i >= n) i = i < 0 ? -i : 2 * (n - 1) - i;
  return i;
}

struct Plain {
  index_t rows, columns, in, out, kh, kw, sh, sw, ph, pw;
  Padding padding;
  index_t bh = ph, bw = pw, dh = 1, dw = 1;  // points behind the field, dilations

  index_t out_rows() const { return (ph + rows + bh - (kh - 1) * dh - 1) / sh + 1; }
  index_t out_columns() const { return (pw + columns + bw - (kw - 1) * dw - 1) / sw + 1; }
};

/// y[b, i, j, o] += x w for every term of the definition: visit(index of y, index of x, index of w).
template <class Visit>
void for_each_term(index_t batch, const Plain& p, const Visit& visit) {
  const index_t oh = p.out_rows(), ow = p.out_columns();
  for (index_t b = 0; b < batch; ++b)
    for (index_t i = 0; i < oh; ++i)
      for (index_t j = 0; j < ow; ++j)
        for (index_t o = 0; o < p.out; ++o)
          for (index_t c = 0; c < p.in; ++c)
            for (index_t u = 0; u < p.kh; ++u)
              for (index_t v = 0; v < p.kw; ++v) {
                const index_t y = continued(i * p.sh + u * p.dh - p.ph, p.rows, p.padding);
                const index_t x = continued(j * p.sw + v * p.dw - p.pw, p.columns, p.padding);
                if (y < 0 || x < 0) continue;
                visit(static_cast<std::size_t>(((b * oh + i) * ow + j) * p.out + o),
                      static_cast<std::size_t>(((b * p.rows + y) * p.columns + x) * p.in + c),
                      static_cast<std::size_t>(((o * p.in + c) * p.kh + u) * p.kw + v));
              }
}

/// f(conv(x, w) + bias) by its definition; inputs x [B, H, W, C], w, bias.
template <class F = kolmo::fn::Identity>
Result plain_conv(const Inputs& in, const kolmo::ConvOptions& options, const F& f = {}) {
  const kolmo::Shape &x = in[0].shape, &w = in[1].shape;
  const auto pad = [&](int i) {
    return options.pad[i] == -1 ? ((w[2 + i] - 1) * options.dilation[i] + 1) / 2 : options.pad[i];
  };
  const auto behind = [&](int i) { return options.behind[i] == -1 ? pad(i) : options.behind[i]; };
  const Plain p{x[1],
                x[2],
                x[3],
                w[0],
                w[2],
                w[3],
                options.stride[0],
                options.stride[1],
                pad(0),
                pad(1),
                options.padding,
                behind(0),
                behind(1),
                options.dilation[0],
                options.dilation[1]};
  Result y{kolmo::Shape{x[0], p.out_rows(), p.out_columns(), w[0]}, {}};
  y.values.assign(static_cast<std::size_t>(y.shape.size()), 0.0);
  for_each_term(x[0], p,
                [&](std::size_t a, std::size_t b, std::size_t c) { y.values[a] += in[0].values[b] * in[1].values[c]; });
  for (std::size_t i = 0; i < y.values.size(); ++i) {
    if (in.size() == 3) y.values[i] += in[2].values[i % in[2].values.size()];
    y.values[i] = f(y.values[i]);
  }
  return y;
}

}  // namespace kolmo_test
