// Teams on the backends of a host: each is one thread, runs every item once, owns its scratch memory, and sums in fixed
// lanes.

#include "catch.hpp"

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/fake_device.hpp>
#include <kolmo/backend/team.hpp>
#include <kolmo/core/tensor.hpp>

using namespace kolmo;

namespace {

/// Rows centred and divided by their largest magnitude, through scratch memory.
template <class T>
struct CentreRows {
  static constexpr int team_threads = 32;
  static constexpr int most_columns = 64;
  struct Scratch {
    T row[most_columns];
  };
  const T* x;
  T* y;
  index_t columns;

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t r) const {
    T* const row = team.template scratch<Scratch>()->row;
    T sum = T(0);
    for (index_t c = team.rank(); c < columns; c += team.size()) sum += x[r * columns + c];
    const T mean = team.sum(sum) / static_cast<T>(columns);
    T most = T(0);
    for (index_t c = team.rank(); c < columns; c += team.size()) {
      row[c] = x[r * columns + c] - mean;
      most = larger(most, row[c] < T(0) ? -row[c] : row[c]);
    }
    most = team.largest(most);
    team.synchronize();
    for (index_t c = team.rank(); c < columns; c += team.size())
      y[r * columns + c] = most > T(0) ? row[columns - 1 - c] / most : T(0);
  }
};

/// Counts what is beyond a bound, with scratch memory whose size is known at run time.
template <class T>
struct CountBeyond {
  const T* x;
  T* y;
  index_t columns;
  T bound;

  KOLMO_HD index_t scratch_bytes() const { return columns * static_cast<index_t>(sizeof(index_t)); }
  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t r) const {
    index_t* const beyond = team.template scratch<index_t>();
    for (index_t c = team.rank(); c < columns; c += team.size()) beyond[c] = x[r * columns + c] > bound;
    team.synchronize();
    index_t count = 0;
    for (index_t c = team.rank(); c < columns; c += team.size()) count += beyond[c];
    const index_t total = team.fold(count, detail::ProbeCombine{});
    if (team.any(count > 0) != (total > 0)) return;
    if (team.rank() == 0) y[r] = static_cast<T>(team.broadcast(total, 0));
  }
};

template <class T>
struct Squares {
  const T* x;
  KOLMO_HD T operator()(index_t i) const { return x[i] * x[i]; }
};

template <class T>
struct SumSquares {
  const T* x;
  T* y;
  index_t columns;
  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t r) const {
    y[r] = team_sum<T>(team, columns, Squares<T>{x + r * columns});
  }
};

template <class T>
std::vector<T> numbers(index_t count) {
  std::vector<T> values;
  for (index_t i = 0; i < count; ++i) values.push_back(static_cast<T>((i * i * 7 + 3 * i) % 101) / T(16) - T(3));
  return values;
}

}  // namespace

TEMPLATE_TEST_CASE("a team shares the work of an item", "", (Tensor<float, Cpu>), (Tensor<double, Cpu>),
                   (Tensor<float, FakeDevice>)) {
  using V = TestType;
  using T = typename V::Scalar;
  using B = typename V::Backend;
  for (const index_t rows : {0, 1, 37}) {
    for (const index_t columns : {1, 31, 32, 33, 64}) {
      const auto values = numbers<T>(rows * columns);
      const V x = V::from(values);
      for (const index_t items_per_task : {1, 5}) {
        V y = V::uninitialized({rows * columns});
        for_each_team<B>(rows, CentreRows<T>{x.data(), y.mutable_data(), columns}, items_per_task);
        const auto result = y.to_vector();
        for (index_t r = 0; r < rows; ++r) {
          const T* row = values.data() + r * columns;
          T mean = T(0), most = T(0);
          for (index_t c = 0; c < columns; ++c) mean += row[c] / static_cast<T>(columns);
          for (index_t c = 0; c < columns; ++c) most = larger(most, larger(row[c] - mean, mean - row[c]));
          for (index_t c = 0; c < columns && columns > 1; ++c)
            REQUIRE(result[static_cast<std::size_t>(r * columns + c)] ==
                    Approx((row[columns - 1 - c] - mean) / most).margin(1e-4));
        }
      }
      V counts = V::uninitialized({rows});
      for_each_team<B>(rows, CountBeyond<T>{x.data(), counts.mutable_data(), columns, T(0)});
      for (index_t r = 0; r < rows; ++r) {
        int expected = 0;
        for (index_t c = 0; c < columns; ++c) expected += values[static_cast<std::size_t>(r * columns + c)] > T(0);
        REQUIRE(counts.to_vector()[static_cast<std::size_t>(r)] == static_cast<T>(expected));
      }
    }
  }
}

TEMPLATE_TEST_CASE("a team's sum is a tree of 32 lanes", "", (Tensor<float, Cpu>), (Tensor<double, Cpu>),
                   (Tensor<float, FakeDevice>)) {
  using V = TestType;
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const index_t columns = 77;
  std::vector<T> values = numbers<T>(columns);
  for (T& value : values) value /= T(3);
  T lane[32] = {};
  for (index_t c = 0; c < columns; ++c) {
    const T value = values[static_cast<std::size_t>(c)];
    lane[c % 32] += value * value;
  }
  for (int width = 16; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lane[j] += lane[j + width];
  const V x = V::from(values);
  V y = V::uninitialized({1});
  for_each_team<B>(1, SumSquares<T>{x.data(), y.mutable_data(), columns});
  REQUIRE(y.to_vector()[0] == Approx(lane[0]).epsilon(sizeof(T) == 4 ? 1e-6 : 1e-14));
}
