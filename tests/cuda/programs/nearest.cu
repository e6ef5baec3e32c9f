// Searches of nearest codewords on the device: the codes and scores of the CPU, to the bit.

#include <limits>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/rvq/encode.hpp>

#include "check.hpp"

using namespace kolmo;

namespace {

/// Numbers in [-scale, scale).
template <class T>
std::vector<T> numbers(std::uint64_t seed, index_t count, double scale = 1) {
  std::vector<T> values;
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (index_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    values.push_back(static_cast<T>(scale * (static_cast<double>(state >> 40) / 8388608.0 - 1)));
  }
  return values;
}

/// Double is not screened.
template <class T>
std::vector<Screen> screens() {
  return sizeof(T) == 4 ? std::vector<Screen>{Screen::bf16, Screen::none} : std::vector<Screen>{Screen::automatic};
}

template <class T>
struct Search {
  index_t n, codes, d;
  std::vector<T> x, table;

  Search(index_t rows, index_t k, index_t dimension, double scale = 1)
      : n(rows), codes(k), d(dimension), x(numbers<T>(3, n * d, scale)), table(numbers<T>(5, codes * d, scale)) {}

  template <class B>
  NearestRows<Tensor<T, B>> on(index_t count, Screen screen) const {
    using V = Tensor<T, B>;
    const V rows = V::from(table, Shape{codes, d});
    return nearest_rows(V::from(x, Shape{n, d}), rows, half_squared_norms(rows), count, screen);
  }

  void compare(const std::string& what, index_t count = 1, Screen screen = Screen::bf16) const {
    const auto device = on<Cuda>(count, screen);
    const auto host = on<Cpu>(count, Screen::none);
    const std::string name = what + (sizeof(T) == 4 ? ", float" : ", double") + ", n " + std::to_string(n) +
                             ", codes " + std::to_string(codes) + ", d " + std::to_string(d) + ", count " +
                             std::to_string(count);
    check::identical(device.index.to_vector(), host.index.to_vector(), "codes: " + name);
    check::identical(device.score.to_vector(), host.score.to_vector(), "scores: " + name);
  }
};

template <class T>
void sizes() {
  const index_t shapes[][3] = {{1, 1, 1},     {3, 2, 3},     {65, 17, 8}, {70, 70, 17},
                               {33, 130, 64}, {20, 70, 100}, {5, 9, 150}};
  for (const auto& [n, codes, d] : shapes)
    for (const Screen screen : screens<T>()) Search<T>(n, codes, d).compare("sizes", 1, screen);
  for (const index_t count : {2, 17}) Search<T>(67, 70, 9).compare("several", count);
  Search<T>(3, 2, 5).compare("all", 2);
}

template <class T>
void ties() {
  Search<T> search(40, 70, 8);
  for (index_t k = 0; k < 70; ++k)
    for (index_t j = 0; j < 8; ++j)
      search.table[static_cast<std::size_t>(k * 8 + j)] = search.table[static_cast<std::size_t>(k % 3 * 8 + j)];
  search.compare("duplicated codewords");
  search.compare("duplicated codewords", 1, Screen::none);
  search.compare("duplicated codewords", 5);
}

template <class T>
void not_finite() {
  const T nan = std::numeric_limits<T>::quiet_NaN(), infinite = std::numeric_limits<T>::infinity();
  Search<T> search(40, 20, 5);
  for (const index_t k : {0, 1, 7, 19})
    search.table[static_cast<std::size_t>(k * 5 + k % 5)] = k == 7 ? -infinite : nan;
  for (const Screen screen : screens<T>()) search.compare("codewords that are not finite", 1, screen);
  search.compare("codewords that are not finite", 18);
  for (T& c : search.table) c = nan;
  for (const Screen screen : screens<T>()) search.compare("no codeword", 1, screen);
  search.compare("no codeword", 3);
  for (const Screen screen : screens<T>()) {
    Search<T> bad(70, 9, 5);
    bad.x[68 * 5] = infinite;
    bad.x[66 * 5 + 4] = nan;
    check::throws<ArgumentError>([&] { bad.template on<Cuda>(1, screen); }, "row 66 of x", "a row that is not finite");
    check::throws<ArgumentError>([&] { bad.template on<Cuda>(2, screen); }, "row 66 of x", "a row that is not finite");
  }
}

void scales() {
  for (const double scale : {1e-36, 1e-20, 1e-12, 1e9, 1e15, 1e18, 1e25})
    Search<float>(33, 70, 16, scale).compare("scale");
  Search<float> mixed(15, 70, 16);
  for (std::size_t i = 0; i < mixed.x.size(); ++i) mixed.x[i] *= i / 16 % 3 == 0 ? 1e-18f : i / 16 % 3 == 1 ? 1e16f : 1;
  mixed.compare("rows of different scales");
  for (std::size_t i = 0; i < 16; ++i) mixed.table[160 + i] *= 3e4f, mixed.table[320 + i] = 0;
  mixed.compare("one huge codeword");
}

void near_ties() {
  // Codewords that differ in their last bits, far more than a list of candidates holds.
  Search<float> search(37, 70, 24);
  const auto small = numbers<float>(9, 70 * 24, 3e-7);
  for (std::size_t i = 0; i < search.table.size(); ++i) search.table[i] = search.table[i % 24] * (1 + small[i]);
  search.compare("near ties");
  for (std::size_t i = 0; i < search.x.size(); ++i) search.x[i] = search.table[i % 24];
  search.compare("near ties at the vectors");
  for (float& c : search.table) c += 100;
  for (float& c : search.x) c += 100;
  search.compare("near ties far from the origin");
}

template <class T, class B>
std::vector<std::int32_t> encoded(index_t n, const std::vector<index_t>& codes, index_t d, index_t beam,
                                  Screen screen) {
  using V = Tensor<T, B>;
  std::vector<V> tables;
  double scale = 1;
  for (std::size_t q = 0; q < codes.size(); ++q, scale *= 0.6)
    tables.push_back(V::from(numbers<T>(20 + q, codes[q] * d, scale), Shape{codes[q], d}));
  return rvq::encode_residual(tables, V::from(numbers<T>(7, n * d), Shape{n, d}), beam, screen).to_vector();
}

template <class T>
void residual_codes() {
  const auto compare = [](index_t n, const std::vector<index_t>& codes, index_t d, index_t beam, Screen screen) {
    const auto device = encoded<T, Cuda>(n, codes, d, beam, screen);
    const std::string what = "residual codes, d " + std::to_string(d) + ", stages " + std::to_string(codes.size()) +
                             ", beam " + std::to_string(beam);
    check::identical(device, encoded<T, Cpu>(n, codes, d, beam, Screen::none), what);
  };
  for (const Screen screen : screens<T>()) {
    compare(261, {70, 5, 130}, 8, 1, screen);
    compare(33, {64, 64, 64}, 64, 1, screen);
    compare(1, {1, 2, 70}, 3, 1, screen);
    compare(35, {20, 65}, 66, 1, screen);
    compare(9, std::vector<index_t>(18, 3), 5, 1, screen);
    compare(0, {20, 65}, 6, 1, screen);
  }
  compare(21, {9, 17, 5}, 6, 4, Screen::automatic);
  using V = Tensor<T, Cuda>;
  const std::vector<V> tables(3, V::from(numbers<T>(1, 40), Shape{8, 5}));
  std::vector<T> x = numbers<T>(2, 500);
  x[7 * 5 + 2] = std::numeric_limits<T>::quiet_NaN();
  x[90 * 5] = std::numeric_limits<T>::infinity();
  for (const index_t beam : {1, 3})
    check::throws<ArgumentError>(
        [&] {
          rvq::encode_residual(tables, V::from(x, Shape{100, 5}), beam);
        },
        "encode_residual: row 7 of x", "a vector that is not finite");
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  sizes<float>();
  sizes<double>();
  ties<float>();
  ties<double>();
  not_finite<float>();
  not_finite<double>();
  scales();
  near_ties();
  residual_codes<float>();
  residual_codes<double>();
  return check::result();
}
