#pragma once
// Layer normalisation (see layer_norm.hpp) by teams of a device: forward a row a team, backward a few rows.

#include <kolmo/nn/norm_teams.hpp>

namespace kolmo::detail {

template <class Shape, class T, class F>
struct LayerNormTeam {
  static constexpr int team_threads = Shape::team_threads;
  static constexpr int held = Shape::held_packs, width = Shape::pack_width;
  using C = ComputeOf<T>;
  using Numbers = Pack<T, width>;

  F f;
  const T* x;
  const T* gamma;
  const T* beta;
  T* y;
  C* statistics;  // [rows, 2]: mean, 1 / deviation
  index_t columns;
  C epsilon;

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t r) const {
    if constexpr (width > 1)
      in_registers(team, r);
    else
      in_turn(team, r);
  }

  template <class Team>
  KOLMO_HD void in_registers(const Team& team, index_t r) const {
    const int packs = static_cast<int>(columns) / width, rank = team.rank();
    const HeldRow<Shape, T> in(x + r * columns, rank, packs);
    C u[held][width];
    C sum = C(0), squares = C(0);
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k)
      for (int j = 0; j < width; ++j) {
        u[k][j] = C(in.pack[k].v[j]);
        sum += u[k][j];
      }
    const C mean = team.sum(sum) / static_cast<C>(columns);
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k) {
      const bool inside = rank + k * team_threads < packs;
      for (int j = 0; j < width; ++j) {
        u[k][j] = inside ? u[k][j] - mean : C(0);
        squares += u[k][j] * u[k][j];
      }
    }
    const C inverse = finish(team, r, mean, squares);
    const HeldRow<Shape, T> scale(gamma, rank, packs), shift(beta, rank, packs);
    Numbers* const out = reinterpret_cast<Numbers*>(y + r * columns);
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k) {
      Numbers result;
      for (int j = 0; j < width; ++j)
        result.v[j] = T(f(C(scale.pack[k].v[j]) * (u[k][j] * inverse) + C(shift.pack[k].v[j])));
      if (rank + k * team_threads < packs) out[rank + k * team_threads] = result;
    }
  }

  template <class Team>
  KOLMO_HD void in_turn(const Team& team, index_t r) const {
    const T* const in = x + r * columns;
    T* const out = y + r * columns;
    C sum = C(0), squares = C(0);
    for (index_t c = team.rank(); c < columns; c += team.size()) sum += C(in[c]);
    const C mean = team.sum(sum) / static_cast<C>(columns);
    for (index_t c = team.rank(); c < columns; c += team.size()) squares += (C(in[c]) - mean) * (C(in[c]) - mean);
    const C inverse = finish(team, r, mean, squares);
    for (index_t c = team.rank(); c < columns; c += team.size())
      out[c] = T(f(C(gamma[c]) * ((C(in[c]) - mean) * inverse) + C(beta[c])));
  }

  template <class Team>
  KOLMO_HD C finish(const Team& team, index_t r, C mean, C squares) const {
    const C inverse = C(1) / sqrt(team.sum(squares) / static_cast<C>(columns) + epsilon);
    if (team.rank() == 0) {
      statistics[2 * r] = mean;
      statistics[2 * r + 1] = inverse;
    }
    return inverse;
  }
};

template <class Shape, class T, class F>
struct LayerNormPullTeam {
  static constexpr int team_threads = Shape::team_threads;
  static constexpr int held = Shape::held_packs, width = Shape::pack_width;
  using C = ComputeOf<T>;
  using Numbers = Pack<T, width>;

  F f;
  const T* x;
  const T* gamma;
  const T* beta;
  const C* statistics;
  const T* gradient;
  T* gradient_x;
  C* partial;  // [items, 2, columns]: gradients of gamma and beta from the rows of each item; null: not wanted
  index_t rows, columns, rows_per_item;

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    const index_t begin = item * rows_per_item, end = smaller(rows, begin + rows_per_item);
    if constexpr (width > 1)
      in_registers(team, item, begin, end);
    else
      in_turn(team, item, begin, end);
  }

  template <class Team>
  KOLMO_HD void in_registers(const Team& team, index_t item, index_t begin, index_t end) const {
    const int packs = static_cast<int>(columns) / width, rank = team.rank();
    const HeldRow<Shape, T> scale(gamma, rank, packs), shift(beta, rank, packs);
    C sum_gamma[held][width] = {}, sum_beta[held][width] = {};
    for (index_t r = begin; r < end; ++r) {
      const HeldRow<Shape, T> in(x + r * columns, rank, packs), from(gradient + r * columns, rank, packs);
      const C mean = statistics[2 * r], inverse = statistics[2 * r + 1];
      C normal[held][width], inner[held][width];
      C total = C(0), product = C(0);
      KOLMO_UNROLLED
      for (int k = 0; k < held; ++k)
        for (int j = 0; j < width; ++j) {
          const C weight = C(scale.pack[k].v[j]);
          normal[k][j] = (C(in.pack[k].v[j]) - mean) * inverse;
          // Beyond the end of the row the gradient is zero.
          const C slope = pulled(from.pack[k].v[j], weight * normal[k][j] + C(shift.pack[k].v[j]));
          sum_beta[k][j] += slope;
          sum_gamma[k][j] += slope * normal[k][j];
          inner[k][j] = slope * weight;
          total += inner[k][j];
          product += inner[k][j] * normal[k][j];
        }
      const C n = static_cast<C>(columns), mean_h = team.sum(total) / n, mean_product = team.sum(product) / n;
      Numbers* const out = reinterpret_cast<Numbers*>(gradient_x + r * columns);
      KOLMO_UNROLLED
      for (int k = 0; k < held; ++k) {
        Numbers result;
        for (int j = 0; j < width; ++j) result.v[j] = T(inverse * (inner[k][j] - mean_h - normal[k][j] * mean_product));
        if (rank + k * team_threads < packs) out[rank + k * team_threads] = result;
      }
    }
    if (!partial) return;
    using Sums = Pack<C, width>;
    Sums* const of_gamma = reinterpret_cast<Sums*>(partial + item * 2 * columns);
    Sums* const of_beta = reinterpret_cast<Sums*>(partial + (item * 2 + 1) * columns);
    KOLMO_UNROLLED
    for (int k = 0; k < held; ++k) {
      const int p = rank + k * team_threads;
      Sums own, other;
      for (int j = 0; j < width; ++j) {
        own.v[j] = sum_gamma[k][j];
        other.v[j] = sum_beta[k][j];
      }
      if (p < packs) {
        of_gamma[p] = own;
        of_beta[p] = other;
      }
    }
  }

  template <class Team>
  KOLMO_HD void in_turn(const Team& team, index_t item, index_t begin, index_t end) const {
    C* const of_gamma = partial ? partial + item * 2 * columns : nullptr;
    C* const of_beta = partial ? of_gamma + columns : nullptr;
    for (index_t r = begin; r < end; ++r) {
      const T* const in = x + r * columns;
      const T* const from = gradient + r * columns;
      const C mean = statistics[2 * r], inverse = statistics[2 * r + 1];
      C total = C(0), product = C(0);
      for (index_t c = team.rank(); c < columns; c += team.size()) {
        const C normal = (C(in[c]) - mean) * inverse, slope = pulled(from[c], C(gamma[c]) * normal + C(beta[c]));
        if (partial) {
          // A column belongs to one member.
          of_gamma[c] = r == begin ? slope * normal : of_gamma[c] + slope * normal;
          of_beta[c] = r == begin ? slope : of_beta[c] + slope;
        }
        total += slope * C(gamma[c]);
        product += slope * C(gamma[c]) * normal;
      }
      const C n = static_cast<C>(columns), mean_h = team.sum(total) / n, mean_product = team.sum(product) / n;
      for (index_t c = team.rank(); c < columns; c += team.size()) {
        const C normal = (C(in[c]) - mean) * inverse, slope = pulled(from[c], C(gamma[c]) * normal + C(beta[c]));
        gradient_x[r * columns + c] = T(inverse * (slope * C(gamma[c]) - mean_h - normal * mean_product));
      }
    }
  }

  /// g f'(z)
  KOLMO_HD C pulled(T g, C z) const { return C(g) * f(Dual<C, 1>(z, {{C(1)}})).d[0]; }
};

}  // namespace kolmo::detail
