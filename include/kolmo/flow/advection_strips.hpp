#pragma once
// The explicit part of a finite-volume step for a device: an item is a strip of some rows of four columns, kept in a
// sliding window of registers, so that memory is read in whole groups of four cells, and fluxes along x and between the
// columns of a strip are computed once. The sums are those of AdvectFields (flow/advection.hpp), in their order.

#include <kolmo/flow/padded.hpp>

namespace kolmo::flow::detail {

using CellWord __attribute__((may_alias)) = unsigned __int128;

/// Four neighbouring cells of a row as memory is read, from a column that is a multiple of four.
template <class S>
struct alignas(4 * sizeof(S) < 16 ? 4 * sizeof(S) : 16) FourCells {
  S cell[4];

  /// Memory is written in words of 16 bytes: nvcc takes a struct apart.
  KOLMO_HD KOLMO_INLINE void write(S* row) const {
    if constexpr (sizeof(FourCells) % sizeof(CellWord) == 0) {
      constexpr int count = sizeof(FourCells) / sizeof(CellWord);
      struct Words {
        CellWord word[count];
      };
      const Words words = __builtin_bit_cast(Words, *this);
      for (int w = 0; w < count; ++w) reinterpret_cast<CellWord*>(row)[w] = words.word[w];
    } else {
      for (int q = 0; q < 4; ++q) row[q] = cell[q];
    }
  }
};

/// A row's columns j - 2 ... j + 5, of which `load` reads j ... j + 3 and `widen` the others.
template <class S>
struct StripRow {
  S cells[8];

  KOLMO_HD KOLMO_INLINE const S* at() const { return cells + 2; }
  KOLMO_HD KOLMO_INLINE void load(const S* row) {
    const FourCells<S> middle = *reinterpret_cast<const FourCells<S>*>(row);
    for (int q = 0; q < 4; ++q) cells[2 + q] = middle.cell[q];
  }
  KOLMO_HD KOLMO_INLINE void widen(const S* row) {
    cells[0] = row[-2];
    cells[1] = row[-1];
    cells[6] = row[4];
    cells[7] = row[5];
  }
  /// Column j - 1 alone, for the velocity that carries u along y.
  KOLMO_HD KOLMO_INLINE void widen_left(const S* row) { cells[1] = row[-1]; }
};

/// y = x times `keep` + changes, closed. With `whole_groups` n is a multiple of four.
template <class T, class S, class Fluxes, bool whole_groups>
struct AdvectStrips {
  static constexpr index_t columns = 4;

  PaddedGrid grid;
  T diffusion, drag, keep;
  const T* forcing;
  Fluxes fluxes;
  const S* x;
  S* y;
  index_t rows;            // of a strip
  index_t groups, strips;  // of a field

  /// Items of a batch.
  static AdvectStrips of(const PaddedGrid& grid, index_t rows, T diffusion, T drag, T keep, const T* forcing,
                         const Fluxes& fluxes, const S* x, S* y) {
    return {
        grid, diffusion, drag, keep, forcing, fluxes, x, y, rows, divide_up(grid.n, columns), divide_up(grid.n, rows)};
  }

  /// The rows around a face along x.
  struct Window {
    StripRow<S> u_before, u_here, u_next, u_after, v_before, v_here, v_next, v_after;
    KOLMO_HD KOLMO_INLINE void shift() {
      u_before = u_here;
      u_here = u_next;
      u_next = u_after;
      v_before = v_here;
      v_here = v_next;
      v_next = v_after;
    }
  };

  KOLMO_HD void operator()(index_t item) const {
    const index_t group = item % groups, rest = item / groups, field = rest / strips;
    const index_t j = group * columns, first = (rest - field * strips) * rows, end = smaller(grid.n, first + rows);
    const S *u = x + field * 2 * grid.field() + j, *v = u + grid.field();
    S* const to = y + field * 2 * grid.field();
    Window w;
    load(w.u_before, w.v_before, u, v, first - 2);
    load(w.u_here, w.v_here, u, v, first - 1);
    load(w.u_next, w.v_next, u, v, first);
    load(w.u_after, w.v_after, u, v, first + 1);
    w.u_here.cells[6] = u[grid.wrapped(first - 1) + columns];
    S u_x_before[4], v_x_before[4];
    faces_along_x(w, u_x_before, v_x_before);
    for (index_t i = first; i < end; ++i) {
      w.shift();
      load(w.u_after, w.v_after, u, v, i + 2);
      const index_t here = grid.at(i);
      w.u_here.widen(u + here);
      w.v_here.widen(v + here);
      w.v_next.widen_left(v + grid.wrapped(i + 1));
      S u_x[4], v_x[4], u_y[5], v_y[5], u_new[4], v_new[4];
      faces_along_x(w, u_x, v_x);
      for (int q = 0; q < 5; ++q) {
        u_y[q] = fluxes.u_along_y(w.v_here.at(), w.v_next.at(), w.u_here.at(), q - 1);
        v_y[q] = fluxes.v_along_y(w.v_here.at(), q - 1);
      }
      const T centre = keep - T(4) * diffusion - drag;
      const S *u_here = w.u_here.at(), *v_here = w.v_here.at();
      for (int q = 0; q < 4; ++q) {
        const S u_around = (w.u_before.at()[q] + w.u_next.at()[q]) + (u_here[q - 1] + u_here[q + 1]);
        const S v_around = (w.v_before.at()[q] + w.v_next.at()[q]) + (v_here[q - 1] + v_here[q + 1]);
        const S u_flux = (u_x[q] - u_x_before[q]) + (u_y[q + 1] - u_y[q]);
        const S v_flux = (v_x[q] - v_x_before[q]) + (v_y[q + 1] - v_y[q]);
        const T force = whole_groups || j + q < grid.n ? forcing[j + q] : T(0);
        u_new[q] = (u_here[q] * centre + u_around * diffusion) + (force - u_flux);
        v_new[q] = (v_here[q] * centre + v_around * diffusion) - v_flux;
        u_x_before[q] = u_x[q];
        v_x_before[q] = v_x[q];
      }
      store(to + here, j, u_new);
      store(to + grid.field() + here, j, v_new);
    }
  }

 private:
  KOLMO_HD KOLMO_INLINE void load(StripRow<S>& u_row, StripRow<S>& v_row, const S* u, const S* v, index_t i) const {
    const index_t at = grid.wrapped(i);
    u_row.load(u + at);
    v_row.load(v + at);
  }

  KOLMO_HD KOLMO_INLINE void faces_along_x(const Window& w, S (&u_x)[4], S (&v_x)[4]) const {
    for (int q = 0; q < 4; ++q) {
      u_x[q] = fluxes.u_along_x(w.u_before.at(), w.u_here.at(), w.u_next.at(), w.u_after.at(), q);
      v_x[q] = fluxes.v_along_x(w.u_here.at(), w.v_before.at(), w.v_here.at(), w.v_next.at(), w.v_after.at(), q);
    }
  }

  /// Cells at the ends of a row have copies beyond the other end.
  KOLMO_HD KOLMO_INLINE void store(S* row, index_t j, const S (&values)[4]) const {
    if constexpr (whole_groups) {
      FourCells<S> cells;
      for (int q = 0; q < 4; ++q) cells.cell[q] = values[q];
      cells.write(row + j);
      if (j == 0) row[grid.n] = values[0], row[grid.n + 1] = values[1];
      if (j + columns == grid.n) row[-2] = values[2], row[-1] = values[3];
    } else {
      for (int q = 0; q < 4; ++q)
        if (j + q < grid.n) grid.store(row, j + q, values[q]);
    }
  }
};

}  // namespace kolmo::flow::detail
