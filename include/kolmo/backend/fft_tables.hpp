#pragma once
// Tables for transforms of n points, computed on the host in long double and rounded once.

#include <cmath>
#include <vector>

#include <kolmo/backend/fft_field.hpp>

namespace kolmo::detail {

/// cos and sin of 2 pi k / n; exact where they are 0, 1/2 or 1 in size.
inline void fft_root(index_t k, index_t n, long double& cosine, long double& sine) {
  // The angle is brought into [0, pi/4] by symmetry, in integers, so that equal values have equal bits.
  k %= n;
  if (k < 0) k += n;
  const bool lower = 2 * k > n;
  if (lower) k = n - k;
  const bool left = 4 * k > n;
  // Twice the numerator avoids halves: the angle is pi k2 / n.
  index_t k2 = 2 * k;
  if (left) k2 = n - k2;
  const bool steep = 4 * k2 > n;
  constexpr long double pi = 3.14159265358979323846264338327950288L;
  const long double angle =
      pi * static_cast<long double>(steep ? n - 2 * k2 : k2) / static_cast<long double>(steep ? 2 * n : n);
  cosine = steep ? std::sin(angle) : std::cos(angle);
  sine = steep ? std::cos(angle) : std::sin(angle);
  if (left) cosine = -cosine;
  if (lower) sine = -sine;
}

/// Owns what an FftLine points to, in host memory.
template <class T>
class FftTables {
 public:
  /// n >= 1.
  explicit FftTables(index_t n) {
    line_.points = n;
    line_.size = is_smooth(n) ? n : smooth_at_least(2 * n - 1);
    add_stages();
    order();
    if (line_.size != n) add_convolution();
    line_.roots = roots_.data();
    line_.position = position_.data();
    line_.wave = wave_.data();
    line_.chirp = chirp_.empty() ? nullptr : chirp_.data();
    line_.kernel = kernel_.empty() ? nullptr : kernel_.data();
  }
  FftTables(const FftTables&) = delete;
  FftTables& operator=(const FftTables&) = delete;

  const FftLine<T>& line() const { return line_; }
  const std::vector<T>& roots() const { return roots_; }
  const std::vector<T>& chirp() const { return chirp_; }
  const std::vector<T>& kernel() const { return kernel_; }
  const std::vector<index_t>& position() const { return position_; }
  const std::vector<index_t>& wave() const { return wave_; }

 private:
  static bool is_smooth(index_t n) {
    for (const index_t p : {2, 3, 5})
      while (n % p == 0) n /= p;
    return n == 1;
  }
  static index_t smooth_at_least(index_t n) {
    while (!is_smooth(n)) ++n;
    return n;
  }

  void add_stages() {
    index_t rest = line_.size;
    int twos = 0;
    std::vector<int> radices;
    for (; rest % 2 == 0; rest /= 2) ++twos;
    for (; rest % 5 == 0; rest /= 5) radices.push_back(5);
    for (; rest % 3 == 0; rest /= 3) radices.push_back(3);
    // 16 is 4 * 4: a radix of 2 costs as much memory traffic as one of 8.
    if (twos == 1) radices.push_back(2);
    if (twos % 3 == 2 || (twos > 1 && twos % 3 == 1)) radices.push_back(4);
    if (twos > 1 && twos % 3 == 1) radices.push_back(4);
    for (int i = 0; i < (twos > 1 && twos % 3 == 1 ? twos - 4 : twos) / 3; ++i) radices.push_back(8);
    index_t length = line_.size;
    for (const int radix : radices) {
      FftStage& stage = line_.stages[line_.stage_count++];
      stage = {radix, length, static_cast<index_t>(roots_.size())};
      for (index_t i = 1; i < length / radix; ++i)
        for (int q = 1; q < radix; ++q) push_root(roots_, -i * q, length);
      length /= radix;
    }
  }

  static void push_root(std::vector<T>& table, index_t k, index_t n) {
    long double cosine = 0, sine = 0;
    fft_root(k, n, cosine, sine);
    table.push_back(static_cast<T>(cosine));
    table.push_back(static_cast<T>(sine));
  }

  /// Which wave number the stages leave where, and where a wave number is found.
  void order() {
    const index_t size = line_.size;
    wave_.assign(static_cast<std::size_t>(size), 0);
    for (index_t place = 0; place < size; ++place) {
      index_t wave = 0, factor = 1;
      for (int s = 0; s < line_.stage_count; ++s) {
        const FftStage& stage = line_.stages[s];
        wave += factor * (place / (stage.length / stage.radix) % stage.radix);
        factor *= stage.radix;
      }
      wave_[static_cast<std::size_t>(place)] = wave;
    }
    // A convolution comes back in natural order.
    position_.resize(static_cast<std::size_t>(line_.points));
    for (index_t place = 0; place < line_.points; ++place)
      position_[static_cast<std::size_t>(size == line_.points ? wave_[static_cast<std::size_t>(place)] : place)] =
          place;
  }

  void add_convolution() {
    const index_t n = line_.points, size = line_.size;
    const auto square = [n](index_t j) {
      return static_cast<index_t>(static_cast<unsigned __int128>(j) * static_cast<unsigned __int128>(j) %
                                  static_cast<unsigned __int128>(2 * n));
    };
    for (index_t j = 0; j < n; ++j) push_root(chirp_, -square(j), 2 * n);
    std::vector<long double> kernel(static_cast<std::size_t>(2 * size), 0.0L);
    for (index_t j = 0; j < n; ++j) {
      long double cosine = 0, sine = 0;
      fft_root(square(j), 2 * n, cosine, sine);
      for (const index_t at : {j, (size - j) % size}) {
        kernel[static_cast<std::size_t>(2 * at)] = cosine / static_cast<long double>(size);
        kernel[static_cast<std::size_t>(2 * at + 1)] = sine / static_cast<long double>(size);
      }
    }
    const std::vector<long double> spectrum = exact_transform(kernel);
    for (index_t place = 0; place < size; ++place)
      for (int part = 0; part < 2; ++part)
        kernel_.push_back(
            static_cast<T>(spectrum[static_cast<std::size_t>(2 * wave_[static_cast<std::size_t>(place)] + part)]));
  }

  /// The transform of complex x, parts alternating, prime factor by prime factor.
  static std::vector<long double> exact_transform(const std::vector<long double>& x) {
    const index_t n = static_cast<index_t>(x.size() / 2);
    if (n == 1) return x;
    const index_t p = n % 2 == 0 ? 2 : n % 3 == 0 ? 3 : 5, rest = n / p;
    std::vector<long double> y(x.size(), 0.0L);
    for (index_t q = 0; q < p; ++q) {
      std::vector<long double> part;
      for (index_t j = q; j < n; j += p) {
        part.push_back(x[static_cast<std::size_t>(2 * j)]);
        part.push_back(x[static_cast<std::size_t>(2 * j + 1)]);
      }
      part = exact_transform(part);
      for (index_t k = 0; k < n; ++k) {
        long double cosine = 0, sine = 0;
        fft_root(-q * k, n, cosine, sine);
        const auto from = static_cast<std::size_t>(2 * (k % rest)), to = static_cast<std::size_t>(2 * k);
        y[to] += cosine * part[from] - sine * part[from + 1];
        y[to + 1] += cosine * part[from + 1] + sine * part[from];
      }
    }
    return y;
  }

  FftLine<T> line_;
  std::vector<T> roots_, chirp_, kernel_;
  std::vector<index_t> position_, wave_;
};

/// The same for sine sums.
template <class T>
class SineTables {
 public:
  explicit SineTables(index_t n) : transform_(n), sine_(static_cast<std::size_t>(n)) {
    for (index_t j = 0; j < n; ++j) {
      long double cosine = 0, sine = 0;
      fft_root(j, 2 * n, cosine, sine);
      sine_[static_cast<std::size_t>(j)] = static_cast<T>(sine);
    }
  }
  const FftTables<T>& transform() const { return transform_; }
  const std::vector<T>& sine() const { return sine_; }
  SineLine<T> sine_line() const { return {transform_.line(), sine_.data()}; }

 private:
  FftTables<T> transform_;
  std::vector<T> sine_;
};

}  // namespace kolmo::detail
