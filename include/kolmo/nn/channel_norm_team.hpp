#pragma once
// Standardisation over channels (see channel_norm.hpp) by teams of a device: forward a pixel a team, backward a few
// pixels of one image.
//
// Bytes per number of the field: forward x and y, backward x, g, the residual, and the result, plus 8 bytes a pixel of
// statistics and, where the modulation is wanted, one float for every pixel of a block; nothing is read twice.

#include <kolmo/nn/norm_teams.hpp>

namespace kolmo::detail {

/// A norm's rows: pixels of images, and the shift of an image.
template <class T>
struct ChannelNormRows {
  index_t pixels, channels;
  const T* x;
  const T* modulation;  // null: none
  index_t modulation_stride;

  KOLMO_HD const T* shift(index_t image) const { return modulation ? modulation + image * modulation_stride : nullptr; }
};

template <class Shape, class T, class F>
struct ChannelNormTeam {
  static constexpr int team_threads = Shape::team_threads;
  static constexpr int held = Shape::held_packs, width = Shape::pack_width;
  using C = ComputeOf<T>;
  using Numbers = Pack<T, width>;

  F f;
  ChannelNormRows<T> rows;
  T* y;
  C* statistics;  // [rows, 2]: m, q; null: not kept
  C epsilon;

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t r) const {
    const T* const shift = rows.modulation ? rows.shift(short_quotient(r, rows.pixels)) : nullptr;
    if constexpr (width > 1)
      in_registers(team, r, shift);
    else
      in_turn(team, r, shift);
  }

  template <class Team>
  KOLMO_HD void in_registers(const Team& team, index_t r, const T* shift) const {
    const int packs = static_cast<int>(rows.channels) / width, rank = team.rank();
    const HeldRow<Shape, T> in(rows.x + r * rows.channels, rank, packs);
    C u[held][width];
    C sum = C(0), squares = C(0);
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k)
      for (int j = 0; j < width; ++j) u[k][j] = C(in.pack[k].v[j]);
    if (shift) {
      const HeldRow<Shape, T> add(shift, rank, packs);
      KOLMO_UNROLLED
      for (int k = 0; k < held; ++k)
        for (int j = 0; j < width; ++j) u[k][j] += C(add.pack[k].v[j]);
    }
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k)
      for (int j = 0; j < width; ++j) sum += u[k][j];
    const C mean = team.sum(sum) / static_cast<C>(rows.channels);
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k) {
      const bool inside = rank + k * team_threads < packs;
      for (int j = 0; j < width; ++j) {
        u[k][j] = inside ? u[k][j] - mean : C(0);
        squares += u[k][j] * u[k][j];
      }
    }
    const C inverse = finish(team, r, mean, squares);
    Numbers* const out = reinterpret_cast<Numbers*>(y + r * rows.channels);
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k) {
      Numbers result;
      for (int j = 0; j < width; ++j) result.v[j] = T(f(u[k][j] * inverse));
      if (rank + k * team_threads < packs) out[rank + k * team_threads] = result;
    }
  }

  template <class Team>
  KOLMO_HD void in_turn(const Team& team, index_t r, const T* shift) const {
    const T* const in = rows.x + r * rows.channels;
    T* const out = y + r * rows.channels;
    C sum = C(0), squares = C(0);
    for (index_t c = team.rank(); c < rows.channels; c += team.size()) sum += value(in, shift, c);
    const C mean = team.sum(sum) / static_cast<C>(rows.channels);
    for (index_t c = team.rank(); c < rows.channels; c += team.size()) {
      const C centred = value(in, shift, c) - mean;
      squares += centred * centred;
    }
    const C inverse = finish(team, r, mean, squares);
    for (index_t c = team.rank(); c < rows.channels; c += team.size())
      out[c] = T(f((value(in, shift, c) - mean) * inverse));
  }

  KOLMO_HD static C value(const T* in, const T* shift, index_t c) { return shift ? C(in[c]) + C(shift[c]) : C(in[c]); }

  /// 1 / deviation, from a member's sum of squares; keeps the statistics.
  template <class Team>
  KOLMO_HD C finish(const Team& team, index_t r, C mean, C squares) const {
    const C inverse = C(1) / sqrt(team.sum(squares) / static_cast<C>(rows.channels - 1) + epsilon);
    if (statistics && team.rank() == 0) {
      statistics[2 * r] = mean;
      statistics[2 * r + 1] = inverse;
    }
    return inverse;
  }
};

/// The gradient with respect to u, plus `residual` where one is given.
template <class Shape, class T, class F>
struct ChannelNormPullTeam {
  static constexpr int team_threads = Shape::team_threads;
  static constexpr int held = Shape::held_packs, width = Shape::pack_width;
  using C = ComputeOf<T>;
  using Numbers = Pack<T, width>;

  F f;
  ChannelNormRows<T> rows;
  index_t rows_per_item, items_per_image;
  const C* statistics;
  const T* gradient;
  const T* residual;  // null: none
  T* gradient_x;
  C* partial;  // [items, channels]: gradient of the modulation from the pixels of each item; null: not wanted

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    const index_t image = short_quotient(item, items_per_image);
    const index_t first = (item - image * items_per_image) * rows_per_item;
    const index_t end = image * rows.pixels + smaller(rows.pixels, first + rows_per_item);
    if constexpr (width > 1)
      in_registers(team, item, image * rows.pixels + first, end, rows.shift(image));
    else
      in_turn(team, item, image * rows.pixels + first, end, rows.shift(image));
  }

  template <class Team>
  KOLMO_HD void in_registers(const Team& team, index_t item, index_t begin, index_t end, const T* shift) const {
    const int packs = static_cast<int>(rows.channels) / width, rank = team.rank();
    C sums[held][width] = {};
    for (index_t r = begin; r < end; ++r) {
      const index_t at = r * rows.channels;
      const HeldRow<Shape, T> in(rows.x + at, rank, packs), from(gradient + at, rank, packs);
      const C mean = statistics[2 * r], inverse = statistics[2 * r + 1];
      C centred[held][width], inner[held][width];
      C total = C(0), product = C(0);
      KOLMO_UNROLLED
      for (int k = 0; k < held; ++k)
        for (int j = 0; j < width; ++j) centred[k][j] = C(in.pack[k].v[j]) - mean;
      if (shift) {
        const HeldRow<Shape, T> add(shift, rank, packs);
        KOLMO_UNROLLED
        for (int k = 0; k < held; ++k)
          for (int j = 0; j < width; ++j) centred[k][j] += C(add.pack[k].v[j]);
      }
      KOLMO_UNROLLED
      for (int k = 0; k < held; ++k)
        for (int j = 0; j < width; ++j) {
          // Beyond the end of the row the gradient is zero.
          inner[k][j] = pulled(from.pack[k].v[j], centred[k][j] * inverse);
          total += inner[k][j];
          product += inner[k][j] * centred[k][j];
        }
      const C n = static_cast<C>(rows.channels), mean_h = team.sum(total) / n;
      const C steep = team.sum(product) * inverse * inverse / (n - C(1));
      KOLMO_UNROLLED
      for (int k = 0; k < held; ++k)
        for (int j = 0; j < width; ++j) {
          centred[k][j] = inverse * (inner[k][j] - mean_h - centred[k][j] * steep);
          sums[k][j] += centred[k][j];
        }
      if (residual) {
        const HeldRow<Shape, T> past(residual + at, rank, packs);
        KOLMO_UNROLLED
        for (int k = 0; k < held; ++k)
          for (int j = 0; j < width; ++j) centred[k][j] += C(past.pack[k].v[j]);
      }
      Numbers* const out = reinterpret_cast<Numbers*>(gradient_x + at);
      KOLMO_UNROLLED
      for (int k = 0; k < held; ++k) {
        Numbers result;
        for (int j = 0; j < width; ++j) result.v[j] = T(centred[k][j]);
        if (rank + k * team_threads < packs) out[rank + k * team_threads] = result;
      }
    }
    if (!partial) return;
    using Sums = Pack<C, width>;
    Sums* const target = reinterpret_cast<Sums*>(partial + item * rows.channels);
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k) {
      Sums own;
      for (int j = 0; j < width; ++j) own.v[j] = sums[k][j];
      if (rank + k * team_threads < packs) target[rank + k * team_threads] = own;
    }
  }

  template <class Team>
  KOLMO_HD void in_turn(const Team& team, index_t item, index_t begin, index_t end, const T* shift) const {
    C* const sums = partial ? partial + item * rows.channels : nullptr;
    for (index_t r = begin; r < end; ++r) {
      const T* const in = rows.x + r * rows.channels;
      const T* const from = gradient + r * rows.channels;
      const C mean = statistics[2 * r], inverse = statistics[2 * r + 1];
      C total = C(0), product = C(0);
      for (index_t c = team.rank(); c < rows.channels; c += team.size()) {
        const C centred = C(in[c]) + (shift ? C(shift[c]) : C(0)) - mean, inner = pulled(from[c], centred * inverse);
        total += inner;
        product += inner * centred;
      }
      const C n = static_cast<C>(rows.channels), mean_h = team.sum(total) / n;
      const C steep = team.sum(product) * inverse * inverse / (n - C(1));
      for (index_t c = team.rank(); c < rows.channels; c += team.size()) {
        const C centred = C(in[c]) + (shift ? C(shift[c]) : C(0)) - mean, inner = pulled(from[c], centred * inverse);
        const C step = inverse * (inner - mean_h - centred * steep);
        // A column belongs to one member.
        if (sums) sums[c] = r == begin ? step : sums[c] + step;
        gradient_x[r * rows.channels + c] = T(residual ? C(residual[r * rows.channels + c]) + step : step);
      }
    }
  }

  /// g f'(z)
  KOLMO_HD C pulled(T g, C z) const { return C(g) * f(Dual<C, 1>(z, {{C(1)}})).d[0]; }
};

}  // namespace kolmo::detail
