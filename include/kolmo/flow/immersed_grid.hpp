#pragma once
// Grid of the immersed-boundary solver: `levels` grids of nx x ny square cells around each other, each twice as coarse
// as the one before and with the same number of cells (Colonius & Taira 2008). Level 0 is the finest.
//
// Nodes (i, j), 0 <= i <= nx, 0 <= j <= ny, carry vorticity and streamfunction; interior nodes 1..nx-1 x 1..ny-1 are
// stored as [nx-1, ny-1]. Vertical edges carry the flux qx[i, j] (node i in x, cell j in y), [nx+1, ny]; horizontal
// edges qy[i, j], [nx, ny+1]. A flux is a velocity times the cell size of its level.

#include <string>

#include <kolmo/core/array.hpp>
#include <kolmo/core/math.hpp>
#include <kolmo/core/shape.hpp>
#include <kolmo/error.hpp>

namespace kolmo::flow {

struct ImmersedGrid {
  index_t nx = 200, ny = 200;
  index_t levels = 1;
  double length = 4;                    ///< of the finest domain in x
  double corner_x = -2, corner_y = -2;  ///< lower left corner of the finest domain
  double shift_x = 0,
         shift_y = 0;  ///< in (-1, 1): where coarser levels have their extra room; towards 1: to the right, above

  double spacing(index_t level = 0) const {
    return length / static_cast<double>(nx) * static_cast<double>(index_t{1} << level);
  }
  double left(index_t level = 0) const {
    return corner_x + 0.5 * (shift_x - 1) * static_cast<double>((index_t{1} << level) - 1) * length;
  }
  double bottom(index_t level = 0) const {
    return corner_y +
           0.5 * (shift_y - 1) * static_cast<double>((index_t{1} << level) - 1) * spacing() * static_cast<double>(ny);
  }
  double x(index_t level, double node) const { return left(level) + node * spacing(level); }
  double y(index_t level, double node) const { return bottom(level) + node * spacing(level); }

  /// Cells of a coarser level to the left of and below the next finer domain.
  index_t inner_x() const { return inner(nx, shift_x); }
  index_t inner_y() const { return inner(ny, shift_y); }

  index_t nodes() const { return (nx - 1) * (ny - 1); }
  index_t fluxes_x() const { return (nx + 1) * ny; }
  index_t fluxes() const { return fluxes_x() + nx * (ny + 1); }
  /// [levels, nx-1, ny-1]
  Shape node_shape() const { return Shape{levels, nx - 1, ny - 1}; }
  /// [levels, (nx+1) ny + nx (ny+1)]: qx of a level, then its qy
  Shape flux_shape() const { return Shape{levels, fluxes()}; }

  /// Throws ArgumentError, which says what to change, unless the grid can be used.
  void validate() const {
    const std::string given = "immersed grid of " + std::to_string(nx) + " x " + std::to_string(ny) + " cells, " +
                              std::to_string(levels) + " levels: ";
    if (nx < 8 || ny < 8) throw ArgumentError(given + "give at least 8 cells in each direction");
    if (nx > 65536 || ny > 65536) throw ArgumentError(given + "more than 65536 cells in a direction");
    if (levels < 1 || levels > 20) throw ArgumentError(given + "levels must be between 1 and 20");
    if (!(length > 0) || !is_finite(length) || !is_finite(corner_x) || !is_finite(corner_y))
      throw ArgumentError(given + "length " + std::to_string(length) + " and corner (" + std::to_string(corner_x) +
                          ", " + std::to_string(corner_y) + ") must be finite, the length positive");
    if (!(shift_x >= -1 && shift_x <= 1) || !(shift_y >= -1 && shift_y <= 1))
      throw ArgumentError(given + "shifts must lie in [-1, 1], given " + std::to_string(shift_x) + ", " +
                          std::to_string(shift_y));
    if (levels == 1) return;
    if (nx % 4 != 0 || ny % 4 != 0)
      throw ArgumentError(given + "with several levels the numbers of cells must be multiples of 4; the next are " +
                          std::to_string((nx + 3) / 4 * 4) + " x " + std::to_string((ny + 3) / 4 * 4));
    check_shift(given, "shift_x", nx, shift_x);
    check_shift(given, "shift_y", ny, shift_y);
  }

 private:
  static index_t inner(index_t n, double shift) {
    return static_cast<index_t>(0.25 * static_cast<double>(n) * (1 - shift) + 0.5);
  }
  static void check_shift(const std::string& given, const char* name, index_t n, double shift) {
    const double cells = 0.25 * static_cast<double>(n) * (1 - shift), whole = static_cast<double>(inner(n, shift));
    if (cells - whole > 1e-9 || whole - cells > 1e-9)
      throw ArgumentError(given + name + " = " + std::to_string(shift) +
                          " puts the finer domain between two coarse nodes; the nearest that fits is " +
                          std::to_string(1 - 4 * whole / static_cast<double>(n)));
    if (whole < 2 || whole > 0.5 * static_cast<double>(n) - 2)
      throw ArgumentError(given + name + " = " + std::to_string(shift) + " leaves " +
                          std::to_string(whole < 2 ? inner(n, shift) : n / 2 - inner(n, shift)) +
                          " coarse cells between the finer domain and the edge of the coarser; at least 2 are needed");
  }
};

}  // namespace kolmo::flow
