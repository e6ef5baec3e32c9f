// Teams of every size: each item is run once by a whole team, folds have the order of ranks and reach every member,
// scratch memory belongs to one item at a time, and the bits repeat.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/team.hpp>
#include <kolmo/cuda/cuda.cuh>

#include "check.hpp"

using namespace kolmo;

/// Ranks that were folded: their number, sum and least. The left one must have come from lower ranks.
struct Ranks {
  double count;
  int sum, least;
  bool ordered;
};
struct Join {
  KOLMO_HD Ranks operator()(const Ranks& a, const Ranks& b) const {
    return {a.count + b.count, a.sum + b.sum, a.least, a.ordered && b.ordered && a.least < b.least};
  }
};

template <int threads>
struct Everything {
  static constexpr int team_threads = threads;
  static constexpr index_t columns = 150;
  struct Scratch {
    float row[columns];
  };
  const float* x;
  double* y;
  int* visits;

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    Scratch* const s = team.template scratch<Scratch>();
    const float* const in = x + item * columns;
    for (index_t c = team.rank(); c < columns; c += team.size()) s->row[c] = in[c];
    team.synchronize();
    float sum = 0.0f, most = -1e30f;
    for (index_t c = team.rank(); c < columns; c += team.size()) {
      sum += s->row[columns - 1 - c];
      most = larger(most, s->row[columns - 1 - c]);
    }
    const double total = static_cast<double>(team.sum(sum));
    const double largest = static_cast<double>(team.largest(most));
    const Ranks all = team.fold(Ranks{1.0, team.rank(), team.rank(), true}, Join{});
    const bool last = team.any(team.rank() == team.size() - 1), none = team.any(in[0] > 1e10f);
    const int sent = team.broadcast(10 * team.rank(), team.size() / 2);
    const std::int16_t small = team.fold(static_cast<std::int16_t>(team.rank()), Larger{});
    // Members agree on all of it; where one does not, its visit is missing.
    const bool right = all.count == team.size() && all.sum == team.size() * (team.size() - 1) / 2 && all.least == 0 &&
                       all.ordered && last && !none && small == team.size() - 1 && sent == 10 * (team.size() / 2);
    if (right) visits[item * team.size() + team.rank()] += 1;
    if (team.rank() == team.size() - 1) {
      y[item * 2] = total;
      y[item * 2 + 1] = largest;
    }
  }

  struct Larger {
    KOLMO_HD std::int16_t operator()(std::int16_t a, std::int16_t b) const { return a < b ? b : a; }
  };
};

/// Scratch memory whose size is known at run time.
struct Reverse {
  static constexpr int team_threads = 64;
  const float* x;
  float* y;
  index_t columns;
  KOLMO_HD index_t scratch_bytes() const { return columns * static_cast<index_t>(sizeof(float)); }
  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    float* const row = team.template scratch<float>();
    for (index_t c = team.rank(); c < columns; c += team.size()) row[c] = x[item * columns + c];
    team.synchronize();
    for (index_t c = team.rank(); c < columns; c += team.size()) y[item * columns + c] = row[columns - 1 - c];
  }
};

struct RowTerm {
  const float* x;
  KOLMO_HD float operator()(index_t i) const { return x[i]; }
};
struct SumRows {
  const float* x;
  float* y;
  index_t columns;
  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    const float sum = team_sum<float>(team, columns, RowTerm{x + item * columns});
    if (team.rank() == 0) y[item] = sum;
  }
};

namespace {

std::vector<float> numbers(index_t count) {
  std::vector<float> values;
  for (index_t i = 0; i < count; ++i)
    values.push_back(static_cast<float>((i * i * 37 + 11 * i) % 1009) / 500.0f - 1.0f);
  return values;
}

template <class T>
std::vector<T> from_device(const detail::CudaBuffer<T>& buffer, index_t count) {
  std::vector<T> host(static_cast<std::size_t>(count));
  Cuda::download(host.data(), buffer.data(), host.size() * sizeof(T));
  return host;
}

template <int threads>
void every_item(index_t items) {
  using F = Everything<threads>;
  const std::string name = std::to_string(items) + " teams of " + std::to_string(threads);
  const auto x = numbers(items * F::columns);
  std::vector<int> none(static_cast<std::size_t>(items * threads));
  std::vector<double> expected;
  for (index_t item = 0; item < items; ++item) {
    double sum = 0, most = -1e30;
    for (index_t c = 0; c < F::columns; ++c) {
      const double value = static_cast<double>(x[static_cast<std::size_t>(item * F::columns + c)]);
      sum += value;
      most = larger(most, value);
    }
    expected.insert(expected.end(), {sum, most});
  }
  const detail::CudaBuffer<float> input(items * F::columns);
  const detail::CudaBuffer<double> output(items * 2);
  const detail::CudaBuffer<int> visits(items * threads);
  Cuda::upload(input.data(), x.data(), x.size() * sizeof(float));
  std::vector<double> before;
  for (int run = 0; run < 2; ++run) {
    Cuda::upload(visits.data(), none.data(), none.size() * sizeof(int));
    for_each_team<Cuda>(items, F{input.data(), output.data(), visits.data()});
    const auto result = from_device(output, items * 2);
    double error = 0;
    for (std::size_t i = 0; i < result.size(); ++i) error = larger(error, std::fabs(result[i] - expected[i]));
    check::that(error < 1e-4, name + ": sums and largest values");
    check::identical(from_device(visits, items * threads), std::vector<int>(none.size(), 1), name + ": every member");
    if (run > 0) check::identical(result, before, name + ": equal bits");
    before = result;
  }
}

void reverse(index_t columns) {
  const index_t items = 3;
  const auto x = numbers(items * columns);
  std::vector<float> expected;
  for (index_t i = 0; i < items; ++i)
    for (index_t c = 0; c < columns; ++c) expected.push_back(x[static_cast<std::size_t>((i + 1) * columns - 1 - c)]);
  const detail::CudaBuffer<float> input(items * columns), output(items * columns);
  Cuda::upload(input.data(), x.data(), x.size() * sizeof(float));
  for_each_team<Cuda>(items, Reverse{input.data(), output.data(), columns});
  check::identical(from_device(output, items * columns), expected,
                   "scratch memory of " + std::to_string(columns) + " numbers");
}

void host_bits() {
  const index_t items = 5, columns = 205;
  const auto x = numbers(items * columns);
  std::vector<float> expected(static_cast<std::size_t>(items));
  for_each_team<Cpu>(items, SumRows{x.data(), expected.data(), columns});
  const detail::CudaBuffer<float> input(items * columns), output(items);
  Cuda::upload(input.data(), x.data(), x.size() * sizeof(float));
  for_each_team<Cuda>(items, SumRows{input.data(), output.data(), columns});
  check::identical(from_device(output, items), expected, "a warp sums like the host");
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
#if defined(KOLMO_TEST_EMULATION)
  for (const bool backwards : {false, true}) {
    emulation::backwards = backwards;
#else
  {
#endif
    every_item<1>(70);
    every_item<2>(67);
    every_item<8>(21);
    every_item<32>(9);
    every_item<32>(1);
    every_item<64>(4);
    every_item<256>(3);
    every_item<1024>(1);
    for (const index_t columns : {1, 65, 12288, 20000}) reverse(columns);
    host_bits();
  }
  check::throws<DeviceError>([] { reverse(70000); }, "for_each_team", "more scratch memory than a block has");
  return check::result();
}
