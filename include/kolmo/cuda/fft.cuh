#pragma once
// Sets of lines (ops/fft_sets.hpp) transformed by a block each tile: a tile of some lines lies in shared memory, where
// all stages of the transform run in place, and device memory is read once and written once. The butterflies, tables
// and places are those of the host (backend/fft_line.hpp), and so are the sums, in their order.
//
// Parts of a point lie in two planes [points][lines of the tile], lines fastest: threads of a warp work on the same
// butterfly of neighbouring lines and read the same roots. Where lines are rows of memory, which are read along the
// points, an odd distance keeps points of one line in different banks.

#include <kolmo/backend/fft_line.hpp>
#include <kolmo/cuda/launch.cuh>

namespace kolmo {

namespace detail {

/// Chunks of a line that are summed on their own; the same for every tile, so that the bits are.
inline constexpr int fft_chunks = 16;

/// Most threads of a block, and the shared memory that leaves three blocks on a multiprocessor.
inline constexpr int fft_threads = 256;
inline constexpr std::size_t fft_shared_bytes = 75776;
/// What a block may have at most on Hopper.
inline constexpr std::size_t fft_most_shared_bytes = 232448;

/// How a set is cut into tiles.
struct FftTiling {
  int log_width = 0;      // of the lines of a tile
  index_t tiles = 1;      // of a field
  unsigned distance = 1;  // of points in shared memory
};

template <class T, class Set>
struct FftLinesArguments {
  FftLine<T> fft;
  Set set;
  FftTiling tiling;
};

/// One line of the tile in shared memory.
template <class T>
struct FftTileLine {
  T* data;
  unsigned distance, plane;
  KOLMO_HD KOLMO_INLINE void load(index_t i, T& re, T& im) const {
    const unsigned at = static_cast<unsigned>(i) * distance;
    re = data[at];
    im = data[at + plane];
  }
  KOLMO_HD KOLMO_INLINE void store(index_t i, T re, T im) const {
    const unsigned at = static_cast<unsigned>(i) * distance;
    data[at] = re;
    data[at + plane] = im;
  }
};

/// Result k of a line of the tile.
template <class T>
struct FftTileWaves {
  FftTileLine<T> buffer;
  const index_t* position;  // null where points are in order
  KOLMO_HD KOLMO_INLINE void load(index_t k, T& re, T& im) const {
    buffer.load(position == nullptr ? k : position[k], re, im);
  }
};

/// What the threads of a block that work on one line do to it: thread `rank` of `size`.
template <class T>
struct FftTeam {
  const FftLine<T>& fft;
  FftTileLine<T> line;
  unsigned rank, size;
  bool works;  // lines behind the last of a field do not

  template <int radix, bool mirrored>
  __device__ void stage(const FftStage& s) const {
    const auto length = static_cast<unsigned>(s.length), count = static_cast<unsigned>(fft.size) / radix;
    const unsigned step = length / radix;
    const T* const roots = fft.roots + s.roots;
    if (works)
      for (unsigned b = rank; b < count; b += size) {
        const unsigned block = b / step, i = b - block * step, at = block * length + i;
        if (i == 0)
          butterfly<radix, mirrored, false>(at, step, roots);
        else
          butterfly<radix, mirrored, true>(at, step, roots + (i - 1) * (2 * (radix - 1)));
      }
    __syncthreads();
  }
  template <int radix, bool mirrored, bool turned>
  __device__ void butterfly(unsigned at, unsigned step, const T* roots) const {
    if constexpr (mirrored)
      FftMirrored<radix, T, T, turned, FftTileLine<T>>{line}.run(at, step, roots,
                                                                 std::make_integer_sequence<int, radix>{});
    else
      FftButterfly<radix, T, T, turned, FftTileLine<T>, FftTileLine<T>>{line, line}(at, step, at, step, roots);
  }

  template <bool mirrored>
  __device__ void stages() const {
    for (int s = 0; s < fft.stage_count; ++s) {
      const FftStage& stage_of = fft.stages[mirrored ? fft.stage_count - 1 - s : s];
      switch (stage_of.radix) {
        case 2:
          stage<2, mirrored>(stage_of);
          break;
        case 3:
          stage<3, mirrored>(stage_of);
          break;
        case 4:
          stage<4, mirrored>(stage_of);
          break;
        case 5:
          stage<5, mirrored>(stage_of);
          break;
        default:
          stage<8, mirrored>(stage_of);
      }
    }
  }

  /// Multiplies points [0, count) by complex factors, and sets those up to fft.size to zero.
  __device__ void multiply(index_t count, const T* factors) const {
    if (works)
      for (auto j = static_cast<index_t>(rank); j < fft.size; j += size) {
        T re = T(0), im = T(0);
        if (j < count) line.load(j, re, im);
        const T c = j < count ? factors[2 * j] : T(0), s = j < count ? factors[2 * j + 1] : T(0);
        line.store(j, c * re - s * im, c * im + s * re);
      }
    __syncthreads();
  }

  __device__ void transform() const {
    if (!fft.convolves()) return stages<false>();
    multiply(fft.points, fft.chirp);
    stages<false>();
    multiply(fft.size, fft.kernel);
    stages<true>();
    multiply(fft.points, fft.chirp);
  }

  template <class Line>
  __device__ void filter(const Line& by) const {
    stages<false>();
    if (works)
      for (auto j = static_cast<index_t>(rank); j < fft.size; j += size) {
        T re, im;
        line.load(j, re, im);
        const T factor = by.factor(fft.wave[j]);
        line.store(j, factor * re, factor * im);
      }
    __syncthreads();
    stages<true>();
  }

  /// sums[k] = the sum of line.term over 0 ... k, for k < stored; `parts` holds fft_chunks points.
  template <class Line, class Waves>
  __device__ void accumulate(const Line& from, const Waves& z, index_t stored, const FftTileLine<T>& parts,
                             const FftTileLine<T>& sums) const {
    const index_t chunk = divide_up(stored, index_t{fft_chunks});
    for (unsigned p = rank; works && p < fft_chunks; p += size) {
      T sum_re = T(0), sum_im = T(0);
      for (index_t k = p * chunk; k < smaller(stored, (p + 1) * chunk); ++k) {
        T re, im;
        from.term(z, k, re, im);
        sum_re = sum_re + re;
        sum_im = sum_im + im;
        sums.store(k, sum_re, sum_im);
      }
      parts.store(p, sum_re, sum_im);
    }
    __syncthreads();
    for (unsigned p = rank; works && p < fft_chunks; p += size) {
      T before_re = T(0), before_im = T(0);
      for (unsigned q = 0; q < p; ++q) {
        T re, im;
        parts.load(q, re, im);
        before_re = before_re + re;
        before_im = before_im + im;
      }
      for (index_t k = p * chunk; k < smaller(stored, (p + 1) * chunk); ++k) {
        T re, im;
        sums.load(k, re, im);
        sums.store(k, before_re + re, before_im + im);
      }
    }
    __syncthreads();
  }
};

/// Result k of a line goes to where it belongs.
template <class Set, class T, class Line>
__device__ void store_fft_result(const Line& line, const FftTileWaves<T>& z, const FftTileLine<T>& sums, index_t k) {
  if constexpr (Set::accumulates) {
    T re, im;
    sums.load(k, re, im);
    line.store(z, k, re, im);
  } else {
    line.store(z, k);
  }
}

/// Shared memory of a tile: the points, and where sums are wanted, these and those of the chunks.
template <class T, class Set>
std::size_t fft_tile_bytes(const FftLine<T>& fft, const Set& set, unsigned distance) {
  const index_t points = fft.size + (Set::accumulates ? set.stored + fft_chunks : 0);
  return 2 * static_cast<std::size_t>(points) * distance * sizeof(T);
}

template <class T, class Set>
KOLMO_KERNEL __launch_bounds__(fft_threads, sizeof(T) == 4 ? 4 : 2)
    fft_lines_kernel(const __grid_constant__ FftLinesArguments<T, Set> a) {
  T* const memory = reinterpret_cast<T*>(dynamic_shared());
  const FftLine<T>& fft = a.fft;
  const Set& set = a.set;
  const int log_width = a.tiling.log_width;
  const unsigned width = 1u << log_width, distance = a.tiling.distance;
  const unsigned plane = static_cast<unsigned>(fft.size) * distance;
  const unsigned thread = threadIdx.x, threads = blockDim.x;
  const index_t block = blockIdx.x, field = block / a.tiling.tiles;
  const index_t first = (block - field * a.tiling.tiles) << log_width;
  const auto left = static_cast<unsigned>(smaller<index_t>(width, set.lines - first));
  const unsigned own = thread & (width - 1), rank = thread >> log_width, size = threads >> log_width;

  if constexpr (Set::side_by_side_in) {
    if (own < left) {
      const auto line = set.line(field, first + own);
      const FftTileLine<T> to{memory + own, distance, plane};
      for (index_t i = rank; i < fft.points; i += size) {
        T re, im;
        line.load(i, re, im);
        to.store(i, re, im);
      }
    }
  } else {
    for (unsigned l = 0; l < left; ++l) {
      const auto line = set.line(field, first + l);
      const FftTileLine<T> to{memory + l, distance, plane};
      for (index_t i = thread; i < fft.points; i += threads) {
        T re, im;
        line.load(i, re, im);
        to.store(i, re, im);
      }
    }
  }
  __syncthreads();

  const FftTeam<T> team{fft, {memory + own, distance, plane}, rank, size, own < left};
  const index_t* const position = Set::filters ? nullptr : fft.position;
  if constexpr (Set::filters)
    team.filter(set.line(field, first + smaller(own, left - 1)));
  else
    team.transform();
  // Behind the two planes of points: two planes of the chunks' sums, then two of the sums.
  const unsigned parts_plane = fft_chunks * distance, sums_plane = static_cast<unsigned>(set.stored) * distance;
  T* const parts = memory + 2 * plane;
  T* const sums = parts + 2 * parts_plane;
  if constexpr (Set::accumulates)
    team.accumulate(set.line(field, first + smaller(own, left - 1)), FftTileWaves<T>{team.line, position}, set.stored,
                    FftTileLine<T>{parts + own, distance, parts_plane},
                    FftTileLine<T>{sums + own, distance, sums_plane});

  if constexpr (Set::side_by_side_out) {
    if (own < left) {
      const auto line = set.line(field, first + own);
      for (index_t k = rank; k < set.stored; k += size)
        store_fft_result<Set>(line, FftTileWaves<T>{team.line, position},
                              FftTileLine<T>{sums + own, distance, sums_plane}, k);
    }
  } else {
    for (unsigned l = 0; l < left; ++l) {
      const auto line = set.line(field, first + l);
      const FftTileWaves<T> z{{memory + l, distance, plane}, position};
      for (index_t k = thread; k < set.stored; k += threads)
        store_fft_result<Set>(line, z, FftTileLine<T>{sums + l, distance, sums_plane}, k);
    }
  }
}

}  // namespace detail

/// Whether the lines of the set fit into shared memory; then they are transformed. Throws DeviceError.
template <class T, class Set>
KOLMO_LINKABLE bool Cuda::fft_lines(const detail::FftLine<T>& fft, const Set& set) {
  if (set.fields <= 0 || set.lines <= 0) return true;
  constexpr bool columns = Set::side_by_side_in && Set::side_by_side_out;
  const auto distance = [](int log_width) { return (1u << log_width) + (columns || log_width == 0 ? 0u : 1u); };
  const auto bytes = [&](int log_width) { return detail::fft_tile_bytes(fft, set, distance(log_width)); };
  const auto blocks = [&](int log_width) { return set.fields * divide_up(set.lines, index_t{1} << log_width); };
  // Tiles of columns are 32 bytes wide at least, as memory is read.
  constexpr int narrow = columns ? (sizeof(T) == 4 ? 3 : 2) : 0;
  constexpr index_t enough_blocks = 264;
  int log_width = 4;
  while (log_width > 0 && bytes(log_width) > detail::fft_shared_bytes) --log_width;
  while (log_width > narrow && blocks(log_width) < enough_blocks) --log_width;
  if (bytes(log_width) > detail::fft_most_shared_bytes || blocks(log_width) > INT32_MAX) return false;
  const detail::FftTiling tiling{log_width, divide_up(set.lines, index_t{1} << log_width), distance(log_width)};
  const index_t wanted = divide_up(smaller(fft.size, index_t{1} << 16) << log_width, index_t{8});
  const auto threads = static_cast<int>(smaller<index_t>(
      detail::fft_threads, larger<index_t>(detail::warp_threads, divide_up(wanted, index_t{32}) * 32)));
  detail::launch<Set>("fft_lines", detail::fft_lines_kernel<T, Set>,
                      detail::LaunchShape{blocks(log_width), threads, bytes(log_width)},
                      detail::FftLinesArguments<T, Set>{fft, set, tiling});
  return true;
}

}  // namespace kolmo
