// The primitives of the CPU backends: accuracy and order of reductions, scans, products against
// xtensor-blas, the thread pool, and the memory guard of FakeDevice.

#include <csignal>
#include <cstdlib>
#include <numeric>

#include <sys/wait.h>
#include <unistd.h>

#include <xtensor-blas/xlinalg.hpp>

#include <kolmo/backend/fake_device.hpp>
#include <kolmo/backend/xtensor.hpp>
#include <kolmo/core/reduce.hpp>
#include <kolmo/ops/linalg.hpp>

#include "catch.hpp"
#include "xtensor_oracle.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

/// Restores the number of threads.
struct ThreadCount {
  explicit ThreadCount(int count) { threads::set_count(count); }
  ~ThreadCount() { threads::set_count(before); }
  int before = threads::count();
};

template <class T, class B>
double sum_of(const std::vector<T>& values, const Shape& shape, std::initializer_list<int> axes, std::size_t row) {
  const auto x = Tensor<T, B>::from(std::span<const T>(values), shape);
  return static_cast<double>(kolmo::detail::SumOver{AxisSet(axes, shape.rank(), "sum"), false}(x).to_vector()[row]);
}

template <class T>
std::vector<T> random_values(std::size_t n, std::uint64_t seed, double low = -1, double high = 1) {
  Numbers numbers(seed);
  std::vector<T> values(n);
  for (T& v : values) v = static_cast<T>(numbers.uniform(low, high));
  return values;
}

/// Concatenation as 2x2 integer matrices: associative, not commutative, so the order of a fold shows.
struct Matrix2 {
  std::uint64_t a, b, c, d;
};
struct MatrixLoad {
  index_t n;
  KOLMO_HD Matrix2 operator()(index_t r, index_t column) const {
    const auto k = static_cast<std::uint64_t>(r * n + column + 1);
    return {k, 1, k * k, 7};
  }
};
struct MatrixMultiply {
  KOLMO_HD Matrix2 operator()(Matrix2 x, Matrix2 y) const {
    return {x.a * y.a + x.b * y.c, x.a * y.b + x.b * y.d, x.c * y.a + x.d * y.c, x.c * y.b + x.d * y.d};
  }
};
struct MatrixStore {
  std::uint64_t* target;
  index_t n;
  KOLMO_HD void operator()(index_t r, index_t c, Matrix2 m) const { target[r * n + c] = m.a ^ m.d; }
};

/// Whether a child process that runs f dies by a memory fault.
template <class F>
bool faults(const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGBUS, SIG_DFL);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}

}  // namespace

TEST_CASE("sums are accurate to a few roundings of the sum of magnitudes") {
  for (const std::size_t n : {1u, 17u, 1000u, 65536u, 1000003u}) {
    const auto values = random_values<float>(n, n, 0, 1);
    double exact = 0, magnitude = 0;
    for (const float v : values) exact += v, magnitude += std::abs(v);
    const double allowed = 2 * 0x1p-24 * magnitude;
    CHECK(std::abs(sum_of<float, Cpu>(values, {static_cast<index_t>(n)}, {0}, 0) - exact) <= allowed);
    // The same numbers down a column, where rows are neighbours in memory.
    std::vector<float> columns(3 * n);
    for (std::size_t i = 0; i < n; ++i) columns[3 * i + 1] = values[i];
    CHECK(std::abs(sum_of<float, Cpu>(columns, {static_cast<index_t>(n), 3}, {0}, 1) - exact) <= allowed);
  }
  // Kahan's example: large terms that cancel, among many small ones.
  std::vector<double> cancelling(100001, 1.0);
  cancelling[0] = 1e16;
  cancelling[50000] = -1e16;
  const double sum = sum_of<double, Cpu>(cancelling, {100001}, {0}, 0);
  // At most 64 additions in a lane, and a tree above: 80 roundings of the sum of magnitudes.
  CHECK(std::abs(sum - 99999) <= 80 * 0x1p-53 * 2e16);
}

TEST_CASE("a fold sees every element once for any shape and any axes") {
  for (const index_t n : {0, 1, 2, 15, 16, 17, 63, 64, 65, 1023, 1024, 1025, 65537})
    for (const index_t rows : {1, 3, 70}) {
      const index_t size = n * rows;
      std::vector<std::int64_t> values(static_cast<std::size_t>(size));
      std::iota(values.begin(), values.end(), std::int64_t{1});
      const auto x = Tensor<std::int64_t, Cpu>::from(std::span<const std::int64_t>(values), {rows, n});
      const auto along = kolmo::detail::SumOver{AxisSet({1}, 2, "sum"), false}(x).to_vector();
      for (index_t r = 0; r < rows; ++r) {
        const index_t first = r * n + 1, last = r * n + n;
        REQUIRE(along[static_cast<std::size_t>(r)] == (first + last) * n / 2);
      }
      const auto down = kolmo::detail::SumOver{AxisSet({0}, 2, "sum"), false}(x).to_vector();
      for (index_t c = 0; c < n; ++c)
        REQUIRE(down[static_cast<std::size_t>(c)] == rows * (c + 1) + n * rows * (rows - 1) / 2);
    }
}

TEST_CASE("a scan folds in order, also when the operation does not commute") {
  for (const index_t n : {1, 2, 100, 20000}) {
    const index_t rows = 3;
    const auto run = [&]<class B>(B) {
      auto y = Tensor<std::uint64_t, B>::uninitialized({rows, n});
      B::scan(rows, n, MatrixLoad{n}, MatrixMultiply{}, MatrixStore{y.mutable_data(), n});
      return y.to_vector();
    };
    std::vector<std::uint64_t> expected(static_cast<std::size_t>(rows * n));
    for (index_t r = 0; r < rows; ++r) {
      Matrix2 total = MatrixLoad{n}(r, 0);
      for (index_t c = 0; c < n; ++c) {
        if (c > 0) total = MatrixMultiply{}(total, MatrixLoad{n}(r, c));
        MatrixStore{expected.data(), n}(r, c, total);
      }
    }
    REQUIRE(run(Cpu{}) == expected);
    REQUIRE(run(FakeDevice{}) == expected);
  }
}

TEMPLATE_TEST_CASE("gemm computes alpha op(A) op(B) + beta C for padded and batched operands", "", float, double) {
  using T = TestType;
  const auto check = []<class B>(B, index_t m, index_t n, index_t k, bool ta, bool tb, T alpha, T beta) {
    const index_t batch = 3;
    GemmCall<T> call;
    call.transpose_a = ta;
    call.transpose_b = tb;
    call.m = m, call.n = n, call.k = k, call.batch = batch;
    call.alpha = alpha, call.beta = beta;
    call.leading_a = (ta ? m : k) + 2, call.leading_b = (tb ? k : n) + 1, call.leading_c = n + 3;
    call.batch_stride_a = (ta ? k : m) * call.leading_a + 5;
    call.batch_stride_b = 0;  // shared by the batch
    call.batch_stride_c = m * call.leading_c;
    const auto a = random_values<T>(static_cast<std::size_t>(batch * call.batch_stride_a), 1);
    const auto b = random_values<T>(static_cast<std::size_t>((tb ? n : k) * call.leading_b + 1), 2);
    const auto before = random_values<T>(static_cast<std::size_t>(batch * call.batch_stride_c + 1), 3);
    const auto da = Tensor<T, B>::from(a), db = Tensor<T, B>::from(b);
    auto dc = Tensor<T, B>::from(before);
    call.a = da.data(), call.b = db.data(), call.c = dc.mutable_data();
    B::gemm(call);
    const auto c = dc.to_vector();
    double worst = 0;
    for (index_t s = 0; s < batch; ++s)
      for (index_t i = 0; i < m; ++i)
        for (index_t j = 0; j < call.leading_c; ++j) {
          const auto at = static_cast<std::size_t>(s * call.batch_stride_c + i * call.leading_c + j);
          if (j >= n) {
            if (c[at] != before[at]) worst = 1e30;  // outside the result
            continue;
          }
          double sum = 0;
          for (index_t l = 0; l < k; ++l) {
            const auto ia = s * call.batch_stride_a + (ta ? l * call.leading_a + i : i * call.leading_a + l);
            const auto ib = tb ? j * call.leading_b + l : l * call.leading_b + j;
            sum += static_cast<double>(a[static_cast<std::size_t>(ia)]) *
                   static_cast<double>(b[static_cast<std::size_t>(ib)]);
          }
          const double expected =
              static_cast<double>(alpha) * sum + static_cast<double>(beta) * static_cast<double>(before[at]);
          worst = std::max(worst, std::abs(static_cast<double>(c[at]) - expected));
        }
    const double epsilon = std::is_same_v<T, float> ? 0x1p-23 : 0x1p-52;
    CHECK(worst <= epsilon * static_cast<double>(k + 8));
  };
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const auto& [m, n, k] :
           {std::array<index_t, 3>{1, 1, 1}, {3, 5, 4}, {1, 9, 16}, {33, 1, 7}, {40, 70, 65}, {5, 3, 0}}) {
        check(Cpu{}, m, n, k, ta, tb, T(1), T(0));
        check(Cpu{}, m, n, k, ta, tb, T(-0.5), T(2));
        check(CpuBlas{}, m, n, k, ta, tb, T(1), T(0));
        check(CpuBlas{}, m, n, k, ta, tb, T(-0.5), T(2));
        check(FakeDevice{}, m, n, k, ta, tb, T(1), T(1));
      }
}

TEST_CASE("a large product is split into tiles that do not depend on the threads") {
  const auto run = [](auto backend, int count) {
    using V = Tensor<float, decltype(backend)>;
    const ThreadCount guard(count);
    const auto a = random_values<float>(300 * 500, 1), b = random_values<float>(500 * 700, 2);
    return matmul(V::from(std::span<const float>(a), {300, 500}), V::from(std::span<const float>(b), {500, 700}))
        .to_vector();
  };
  const auto once = run(Cpu{}, 1);
  for (const int count : {2, 3, 4, 7}) REQUIRE(run(Cpu{}, count) == once);
  const auto blas = run(CpuBlas{}, 1);
  for (const int count : {2, 4}) REQUIRE(run(CpuBlas{}, count) == blas);
  const XArray x = xarray_of({{300, 500}, [] {
                                const auto v = random_values<float>(300 * 500, 1);
                                return std::vector<double>(v.begin(), v.end());
                              }()});
  const XArray y = xarray_of({{500, 700}, [] {
                                const auto v = random_values<float>(500 * 700, 2);
                                return std::vector<double>(v.begin(), v.end());
                              }()});
  const XArray product = xt::linalg::dot(x, y);
  double worst = 0;
  for (std::size_t i = 0; i < once.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(once[i]) - product(i / 700, i % 700)));
  REQUIRE(worst < 500 * 0x1p-24 * 125);  // 500 roundings of a sum of magnitudes near 125
}

TEST_CASE("parallel loops run every tile once, and nested ones too") {
  const ThreadCount guard(4);
  std::vector<std::atomic<int>> visits(1000);
  threads::parallel_for(1000, [&](index_t t) { ++visits[static_cast<std::size_t>(t)]; });
  for (const auto& v : visits) REQUIRE(v == 1);
  std::atomic<int> inner{0};
  threads::parallel_for(8, [&](index_t) { threads::parallel_for(5, [&](index_t) { ++inner; }); });
  REQUIRE(inner == 40);
  threads::parallel_for(0, [](index_t) { FAIL("no tile was asked for"); });
}

TEST_CASE("an exception in a tile reaches the caller, the lowest tile's first, and the pool stays usable") {
  for (const int count : {1, 4}) {
    const ThreadCount guard(count);
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::string message;
      try {
        threads::parallel_for(100, [](index_t t) {
          if (t % 10 == 3) throw ArgumentError("tile " + std::to_string(t));
        });
      } catch (const ArgumentError& error) {
        message = error.what();
      }
      REQUIRE(message == "tile 3");
    }
    std::atomic<int> visits{0};
    threads::parallel_for(100, [&](index_t) { ++visits; });
    REQUIRE(visits == 100);
  }
}

TEST_CASE("the number of threads is checked") {
  REQUIRE_THROWS_AS(threads::set_count(0), ArgumentError);
  REQUIRE_THROWS_AS(threads::set_count(-2), ArgumentError);
  const ThreadCount guard(2);
  REQUIRE_THROWS_AS(threads::parallel_for(4, [](index_t) { threads::set_count(1); }), ArgumentError);
  REQUIRE(threads::count() == 2);
}

TEST_CASE("several threads of a program may compute at the same time") {
  const auto work = [] {
    const auto x = Tensor<float, Cpu>::arange(200000);
    return sum_of<float, Cpu>(x.to_vector(), {200000}, {0}, 0);
  };
  const double expected = work();
  std::vector<std::thread> programs;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 4; ++i)
    programs.emplace_back([&] {
      for (int repeat = 0; repeat < 20; ++repeat)
        if (work() != expected) ++wrong;
    });
  for (auto& program : programs) program.join();
  REQUIRE(wrong == 0);
}

TEST_CASE("host code that touches device memory faults, and kernels do not") {
  const ThreadCount guard(1);  // a forked child has no worker threads
  auto x = Tensor<float, FakeDevice>::arange(100);
  volatile float sink = 0;
  REQUIRE(faults([&] { sink = x.data()[3]; }));
  REQUIRE(faults([&] { x.mutable_data()[3] = 1; }));
  REQUIRE_FALSE(faults([&] { x = x.copy(); }));
  REQUIRE(x.to_vector()[99] == 99);
  // Memory that was freed and given out again is guarded as well.
  x = Tensor<float, FakeDevice>();
  const auto y = Tensor<float, FakeDevice>::ones({100});
  REQUIRE(faults([&] { sink = y.data()[0]; }));
}

TEST_CASE("the guarded device reuses freed memory") {
  const auto x = Tensor<float, FakeDevice>::zeros({1 << 20});
  for (int i = 0; i < 1000; ++i) REQUIRE(Tensor<float, FakeDevice>::uninitialized({1 << 20}).has_value());
}

TEST_CASE("host memory is reused, aligned, and may be returned by another thread") {
  for (const std::size_t bytes : {0u, 1u, 256u, 257u, 1000u, 1u << 20, (1u << 20) + 1}) {
    void* block = Cpu::allocate(bytes);
    REQUIRE(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    std::memset(block, 1, bytes);
    std::thread([&] { Cpu::deallocate(block, bytes); }).join();
  }
  void* first = Cpu::allocate(5000);
  Cpu::deallocate(first, 5000);
  void* second = Cpu::allocate(5000);
  REQUIRE(first == second);
  Cpu::deallocate(second, 5000);
}
