#pragma once
// Elementwise application of a functor to strided arrays with broadcasting: the one kernel behind
// `map` and its derivatives. The functor is generic in its scalar; evaluated on plain scalars it gives
// values, on Dual<T, 1> values and tangents. Stored scalars widen to ComputeOf<T> first and round once on the way back.

#include <type_traits>
#include <utility>

#include <kolmo/core/bfloat16.hpp>
#include <kolmo/core/dual.hpp>
#include <kolmo/core/shape.hpp>

// A functor that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::detail {

template <class R>
struct IsArray : std::false_type {};
template <class S, int M>
struct IsArray<Array<S, M>> : std::true_type {};

/// Output number I of a functor that returns one scalar or an Array of them.
template <int I, class R>
KOLMO_HD constexpr const auto& output(const R& result) {
  if constexpr (IsArray<R>::value)
    return result.elements[I];
  else
    return result;
}

/// Applies `f` to N inputs and writes M outputs, with `tangent` also their derivatives along dx. An
/// input without dx is a constant, an output with a null pointer is not wanted. Outputs are contiguous
/// in the row-major order of `shape`, which is merged as far as all strides allow.
template <class F, class T, int N, int M, bool tangent>
struct ElementwiseKernel {
  using C = ComputeOf<T>;

  F f;
  Shape shape;
  Array<Strides, N> strides{};
  Array<const T*, N> x{};
  Array<const T*, N> dx{};
  Array<T*, M> y{};
  Array<T*, M> dy{};

  static constexpr index_t block = 256;  // elements processed at once when inputs go through buffers

  using Inputs = std::make_integer_sequence<int, N>;
  using Outputs = std::make_integer_sequence<int, M>;

  /// Offsets of the inputs and of the output at the start of a row; advances like an odometer.
  struct Cursor {
    Array<index_t, max_rank> position{};
    Array<index_t, N> in{};
    index_t out = 0;

    Cursor(const ElementwiseKernel& kernel, index_t row, index_t column) {
      const int last = kernel.shape.rank() - 1;
      out = row * kernel.shape[last] + column;
      for (int d = last - 1; d >= 0; --d) {
        position[d] = row % kernel.shape[d];
        row /= kernel.shape[d];
      }
      for (int i = 0; i < N; ++i) {
        in[i] = column * kernel.strides[i][last];
        for (int d = 0; d < last; ++d) in[i] += position[d] * kernel.strides[i][d];
      }
    }

    void next_row(const ElementwiseKernel& kernel) {
      const int last = kernel.shape.rank() - 1;
      out += kernel.shape[last];
      for (int d = last - 1; d >= 0; --d) {
        for (int i = 0; i < N; ++i) in[i] += kernel.strides[i][d];
        if (++position[d] < kernel.shape[d]) return;
        for (int i = 0; i < N; ++i) in[i] -= kernel.strides[i][d] * kernel.shape[d];
        position[d] = 0;
      }
    }
  };

  /// Device form: one element by its index in the merged shape.
  KOLMO_HD void operator()(index_t index) const {
    Array<index_t, N> offset{};
    index_t rest = index;
    for (int d = shape.rank() - 1; d >= 0; --d) {
      const index_t position = d == 0 ? rest : rest % shape[d];
      rest /= shape[d];
      for (int i = 0; i < N; ++i) offset[i] += position * strides[i][d];
    }
    element(index, offset, Inputs{}, Outputs{});
  }

  /// Host form: one row of `count` elements from the cursor on.
  void run_row(const Cursor& cursor, index_t count) const {
    const int last = shape.rank() - 1;
    bool direct = true;
    for (int i = 0; i < N; ++i) direct = direct && (strides[i][last] == 1) && (!tangent || dx[i] != nullptr);
    for (int m = 0; m < M; ++m) direct = direct && y[m] != nullptr && (!tangent || dy[m] != nullptr);
    Array<const T*, N> in{};
    Array<const T*, N> din{};
    Array<T*, M> out{};
    Array<T*, M> dout{};
    if (direct) {
      for (int i = 0; i < N; ++i) {
        in[i] = x[i] + cursor.in[i];
        if constexpr (tangent) din[i] = dx[i] + cursor.in[i];
      }
      for (int m = 0; m < M; ++m) {
        out[m] = y[m] + cursor.out;
        if constexpr (tangent) dout[m] = dy[m] + cursor.out;
      }
      contiguous(count, in, din, out, dout, Inputs{}, Outputs{});
      return;
    }
    alignas(64) T input_buffer[N][block];
    alignas(64) T tangent_buffer[tangent ? N : 1][block];
    alignas(64) T unwanted[block];
    const index_t filled = smaller(count, block);
    for (int i = 0; i < N; ++i) {
      if (strides[i][last] == 0) fill(input_buffer[i], x[i][cursor.in[i]], filled);
      if constexpr (tangent) {
        if (dx[i] == nullptr)
          fill(tangent_buffer[i], T(0), filled);
        else if (strides[i][last] == 0)
          fill(tangent_buffer[i], dx[i][cursor.in[i]], filled);
      }
    }
    for (index_t begin = 0; begin < count; begin += block) {
      const index_t n = smaller(block, count - begin);
      for (int i = 0; i < N; ++i) {
        in[i] = gather(x[i], cursor.in[i], strides[i][last], begin, n, input_buffer[i]);
        if constexpr (tangent)
          din[i] = dx[i] == nullptr ? tangent_buffer[i]
                                    : gather(dx[i], cursor.in[i], strides[i][last], begin, n, tangent_buffer[i]);
      }
      for (int m = 0; m < M; ++m) {
        out[m] = y[m] ? y[m] + cursor.out + begin : unwanted;
        if constexpr (tangent) dout[m] = dy[m] ? dy[m] + cursor.out + begin : unwanted;
      }
      contiguous(n, in, din, out, dout, Inputs{}, Outputs{});
    }
  }

  /// Host form for short rows of a shape of two axes: rows [begin, end), as many at once as fit a block.
  void run_short_rows(index_t begin, index_t end) const {
    const index_t inner = shape[1], group = block / inner;
    alignas(64) T input_buffer[N][block];
    alignas(64) T tangent_buffer[tangent ? N : 1][block];
    alignas(64) T unwanted[block];
    for (index_t r = begin; r < end; r += group) {
      const index_t rows = smaller(group, end - r);
      Array<const T*, N> in{};
      Array<const T*, N> din{};
      Array<T*, M> out{};
      Array<T*, M> dout{};
      for (int i = 0; i < N; ++i) {
        in[i] = gather_rows(x[i], strides[i], r, rows, r == begin, input_buffer[i]);
        if constexpr (tangent) din[i] = gather_rows(dx[i], strides[i], r, rows, r == begin, tangent_buffer[i]);
      }
      for (int m = 0; m < M; ++m) {
        out[m] = y[m] ? y[m] + r * inner : unwanted;
        if constexpr (tangent) dout[m] = dy[m] ? dy[m] + r * inner : unwanted;
      }
      contiguous(rows * inner, in, din, out, dout, Inputs{}, Outputs{});
    }
  }

 private:
  /// Rows as one contiguous run: in place, or in the buffer, which keeps what does not change from row to row.
  const T* gather_rows(const T* source, const Strides& step, index_t first, index_t rows, bool empty, T* buffer) const {
    const index_t inner = shape[1];
    if (source == nullptr) {
      if (empty) fill(buffer, T(0), rows * inner);
      return buffer;
    }
    if (step[1] == 1 && step[0] == inner) return source + first * inner;
    if (step[0] == 0 && !empty) return buffer;
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < inner; ++c) buffer[r * inner + c] = source[(first + r) * step[0] + c * step[1]];
    return buffer;
  }

  static void fill(T* target, T value, index_t n) {
    for (index_t c = 0; c < n; ++c) target[c] = value;
  }

  static const T* gather(const T* source, index_t offset, index_t stride, index_t begin, index_t n, T* buffer) {
    if (stride == 0) return buffer;
    if (stride == 1) return source + offset + begin;
    const T* first = source + offset + begin * stride;
    for (index_t c = 0; c < n; ++c) buffer[c] = first[c * stride];
    return buffer;
  }

  template <int... I, int... J>
  KOLMO_HD void element(index_t index, const Array<index_t, N>& offset, std::integer_sequence<int, I...>,
                        std::integer_sequence<int, J...>) const {
    if constexpr (tangent) {
      using D = Dual<C, 1>;
      const auto result = f(D(x[I][offset[I]], {{dx[I] ? C(dx[I][offset[I]]) : C(0)}})...);
      ((y[J] ? void(y[J][index] = T(output<J>(result).v)) : void()), ...);
      ((dy[J] ? void(dy[J][index] = T(output<J>(result).d[0])) : void()), ...);
    } else {
      const auto result = f(C(x[I][offset[I]])...);
      ((y[J] ? void(y[J][index] = T(output<J>(result))) : void()), ...);
    }
  }

  template <int... I, int... J>
  KOLMO_NOINLINE KOLMO_FLATTEN void contiguous(index_t n, Array<const T*, N> in,
                                               [[maybe_unused]] Array<const T*, N> din, Array<T*, M> out,
                                               [[maybe_unused]] Array<T*, M> dout, std::integer_sequence<int, I...>,
                                               std::integer_sequence<int, J...>) const {
    const F function = f;
    if constexpr (tangent) {
      using D = Dual<C, 1>;
      KOLMO_INDEPENDENT
      for (index_t c = 0; c < n; ++c) {
        const auto result = function(D(in[I][c], {{C(din[I][c])}})...);
        ((out[J][c] = T(output<J>(result).v)), ...);
        ((dout[J][c] = T(output<J>(result).d[0])), ...);
      }
    } else {
      KOLMO_INDEPENDENT
      for (index_t c = 0; c < n; ++c) {
        const auto result = function(C(in[I][c])...);
        ((out[J][c] = T(output<J>(result))), ...);
      }
    }
  }
};

}  // namespace kolmo::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
