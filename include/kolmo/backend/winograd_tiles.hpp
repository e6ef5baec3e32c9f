#pragma once
// Winograd's steps along both axes of a tile, for a vector of channels at a time.

#include <kolmo/backend/panel_product.hpp>
#include <kolmo/backend/winograd_steps.hpp>

namespace kolmo::detail {

template <class T, int bytes>
struct WinogradTiles {
  using Product = PanelProduct<T, bytes>;
  using Vector = typename Product::Vector;
  using Steps = WinogradSteps<Vector>;
  static constexpr index_t width = Product::width;

  /// v [36] = B^T x B of a tile's 6 x 6 points for the channels from c on, of which `count` exist; results lie `step`
  /// apart.
  template <bool whole>
  static KOLMO_NOINLINE void input(const T* const (&from)[6][6], index_t c, index_t count, T* to, index_t step) {
    input_part<whole, 0>(from, c, count, to, step);
    input_part<whole, 1>(from, c, count, to, step);
  }

  /// u [36] = G w G^T for a vector of channels.
  static KOLMO_NOINLINE void kernel(const T (&w)[9][width], T* to, index_t step) {
    Vector t[3][6];
    KOLMO_UNROLLED
    for (int j = 0; j < 3; ++j)
      Steps::kernel(Product::load(w[j]), Product::load(w[3 + j]), Product::load(w[6 + j]), t[j]);
    KOLMO_UNROLLED
    for (int i = 0; i < 6; ++i) {
      Vector u[6];
      Steps::kernel(t[0][i], t[1][i], t[2][i], u);
      KOLMO_UNROLLED
      for (int j = 0; j < 6; ++j, to += step) Product::store(to, u[j]);
    }
  }

  /// y [16] = A^T m A + bias for the channels from k on.
  static KOLMO_NOINLINE void output(const T* m, index_t step, const T* bias, index_t k, T* const (&to)[16]) {
    Vector t[6][4];
    m += k;
    KOLMO_UNROLLED
    for (int j = 0; j < 6; ++j)
      Steps::output(Product::load(m + j * step), Product::load(m + (6 + j) * step), Product::load(m + (12 + j) * step),
                    Product::load(m + (18 + j) * step), Product::load(m + (24 + j) * step),
                    Product::load(m + (30 + j) * step), t[j]);
    const Vector shift = Product::load(bias + k);
    KOLMO_UNROLLED
    for (int i = 0; i < 4; ++i) {
      Vector y[4];
      Steps::output(t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i], y);
      KOLMO_UNROLLED
      for (int j = 0; j < 4; ++j) Product::store(to[4 * i + j] + k, y[j] + shift);
    }
  }

  /// z [36] = A g A^T of a tile's 4 x 4 results for the channels from k on.
  template <bool whole>
  static KOLMO_NOINLINE void gradient(const T* const (&from)[4][4], index_t k, index_t count, T* to, index_t step) {
    Vector t[4][6];
    KOLMO_UNROLLED
    for (int j = 0; j < 4; ++j)
      Steps::output_transposed(take<whole>(from[0][j] + k, count), take<whole>(from[1][j] + k, count),
                               take<whole>(from[2][j] + k, count), take<whole>(from[3][j] + k, count), t[j]);
    KOLMO_UNROLLED
    for (int i = 0; i < 6; ++i) {
      Vector z[6];
      Steps::output_transposed(t[0][i], t[1][i], t[2][i], t[3][i], z);
      KOLMO_UNROLLED
      for (int j = 0; j < 6; ++j, to += step) Product::store(to, z[j]);
    }
  }

  /// w [9] = G^T s G for a vector of channels.
  static KOLMO_NOINLINE void filter(const T* sum, index_t step, T (&w)[9][width]) {
    Vector t[6][3];
    KOLMO_UNROLLED
    for (int j = 0; j < 6; ++j)
      Steps::kernel_transposed(Product::load(sum + j * step), Product::load(sum + (6 + j) * step),
                               Product::load(sum + (12 + j) * step), Product::load(sum + (18 + j) * step),
                               Product::load(sum + (24 + j) * step), Product::load(sum + (30 + j) * step), t[j]);
    KOLMO_UNROLLED
    for (int i = 0; i < 3; ++i) {
      Vector row[3];
      Steps::kernel_transposed(t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i], row);
      KOLMO_UNROLLED
      for (int j = 0; j < 3; ++j) Product::store(w[3 * i + j], row[j]);
    }
  }

 private:
  template <bool whole>
  static KOLMO_INLINE Vector take(const T* from, index_t count) {
    if constexpr (whole)
      return Product::load(from);
    else
      return Product::load(from, count);
  }

  template <bool whole, int half>
  static KOLMO_INLINE void input_part(const T* const (&from)[6][6], index_t c, index_t count, T* to, index_t step) {
    Vector t[6][3];
    KOLMO_UNROLLED
    for (int j = 0; j < 6; ++j)
      Steps::template input_half<half>(take<whole>(from[0][j] + c, count), take<whole>(from[1][j] + c, count),
                                       take<whole>(from[2][j] + c, count), take<whole>(from[3][j] + c, count),
                                       take<whole>(from[4][j] + c, count), take<whole>(from[5][j] + c, count), t[j]);
    T* target = to + half * 18 * step + c;
    KOLMO_UNROLLED
    for (int r = 0; r < 3; ++r) {
      Vector v[6];
      Steps::input(t[0][r], t[1][r], t[2][r], t[3][r], t[4][r], t[5][r], v);
      KOLMO_UNROLLED
      for (int j = 0; j < 6; ++j, target += step) Product::store(target, v[j]);
    }
  }
};

}  // namespace kolmo::detail
