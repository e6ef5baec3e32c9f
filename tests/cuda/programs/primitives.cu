// The compute primitives of the CUDA backend against those of the CPU: every way a reduction or scan is cut,
// accumulators of several sizes, every transposition of a product; equal bits when repeated; errors.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/gemm_tiles.hpp>
#include <kolmo/core/dual.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/cuda/cuda.cuh>

#include "check.hpp"

using namespace kolmo;

namespace {

/// Numbers in (-1, 1) that need no generator.
template <class T>
std::vector<T> numbers(index_t count, int seed = 1) {
  std::vector<T> values(static_cast<std::size_t>(count));
  std::uint64_t state = 0x9e3779b97f4a7c15u * static_cast<std::uint64_t>(seed);
  for (T& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<T>(static_cast<double>(static_cast<std::int64_t>(state)) * 0x1p-63);
  }
  return values;
}

std::string text(index_t rows, index_t columns) { return std::to_string(rows) + " x " + std::to_string(columns); }

}  // namespace

// Functors of kernels stand at namespace scope.

struct CountVisits {
  int* visits;
  index_t n;
  KOLMO_HD void operator()(index_t i) const {
    if (i >= 0 && i < n) visits[i] = visits[i] + 1;
  }
};

template <class T>
struct AlongColumns {
  const T* data;
  index_t columns;
  KOLMO_HD T operator()(index_t r, index_t c) const { return data[r * columns + c]; }
};
template <class T>
struct AlongRows {
  static constexpr bool rows_contiguous = true;
  const T* data;
  index_t rows;
  KOLMO_HD T operator()(index_t r, index_t c) const { return data[c * rows + r]; }
};
struct Sum {
  template <class T>
  KOLMO_HD T operator()(T a, T b) const {
    return a + b;
  }
};
template <class T>
struct StoreValue {
  T* target;
  KOLMO_HD void operator()(index_t r, T value) const { target[r] = value; }
};

/// The least value with its lowest column, the sum, and padding up to Size bytes.
template <int Size>
struct Summary {
  double sum;
  double least;
  index_t column;
  char padding[Size - 24];
};
template <int Size>
struct Summarise {
  const double* data;
  index_t columns;
  KOLMO_HD Summary<Size> operator()(index_t r, index_t c) const {
    const double value = data[r * columns + c];
    return {value, value, c, {}};
  }
};
template <int Size>
struct JoinSummaries {
  KOLMO_HD Summary<Size> operator()(const Summary<Size>& a, const Summary<Size>& b) const {
    const bool take_b = b.least < a.least || (b.least == a.least && b.column < a.column);
    return {a.sum + b.sum, take_b ? b.least : a.least, take_b ? b.column : a.column, {}};
  }
};
template <int Size>
struct StoreSummary {
  double* sum;
  index_t* column;
  KOLMO_HD void operator()(index_t r, const Summary<Size>& value) const {
    sum[r] = value.sum;
    column[r] = value.column;
  }
};

/// x -> multiplier x + addend on 64-bit integers: exact, and its composition does not commute.
struct Linear {
  std::uint64_t multiplier, addend;
};
struct LoadLinear {
  index_t columns;
  KOLMO_HD Linear operator()(index_t r, index_t c) const {
    const auto i = static_cast<std::uint64_t>(r * columns + c);
    return {2 * i * 0x9e3779b97f4a7c15u + 3, i ^ 0xd1b54a32d192ed03u};
  }
};
struct Compose {
  KOLMO_HD Linear operator()(const Linear& first, const Linear& second) const {
    return {first.multiplier * second.multiplier, first.addend * second.multiplier + second.addend};
  }
};
struct StoreAddend {
  std::uint64_t* target;
  index_t columns;
  KOLMO_HD void operator()(index_t r, index_t c, const Linear& value) const { target[r * columns + c] = value.addend; }
};
template <class T>
struct StoreElement {
  T* target;
  index_t columns;
  KOLMO_HD void operator()(index_t r, index_t c, T value) const { target[r * columns + c] = value; }
};

/// Writes through a null pointer.
struct Crash {
  int* nowhere;
  KOLMO_HD void operator()(index_t i) const { nowhere[i] = 1; }
};

namespace {

template <class T, class B>
using Vector = Tensor<T, B>;

void test_for_each() {
  for (const index_t n : {index_t{0}, index_t{1}, index_t{31}, index_t{33}, index_t{16384}, index_t{16385}, index_t{20000}}) {
    auto visits = Vector<int, Cuda>::zeros(Shape{n + 1});
    Cuda::for_each(n, CountVisits{visits.mutable_data(), n});
    std::vector<int> expected(static_cast<std::size_t>(n), 1);
    expected.push_back(0);
    check::identical(visits.to_vector(), expected, "for_each visits each of " + std::to_string(n) + " items once");
  }
}

template <class T, class B>
std::vector<T> sums(const std::vector<T>& values, index_t rows, index_t columns, bool along_rows) {
  const auto x = Vector<T, B>::from(values);
  auto y = Vector<T, B>::full(Shape{rows}, T(-7));
  T* target = y.mutable_data();
  if (along_rows)
    B::reduce(rows, columns, AlongRows<T>{x.data(), rows}, Sum{}, T(0), StoreValue<T>{target});
  else
    B::reduce(rows, columns, AlongColumns<T>{x.data(), columns}, Sum{}, T(0), StoreValue<T>{target});
  return y.to_vector();
}

constexpr index_t shapes[][2] = {{1, 0},    {3, 1},    {70, 16},   {5, 17},    {33, 100},  {40, 1024},
                                 {2, 1025}, {3, 5000}, {1, 24001}, {2, 17000}, {40, 1000}, {1, 1}};

template <class T>
void test_reduce() {
  for (const auto& shape : shapes) {
    const index_t rows = shape[0], columns = shape[1];
    const auto values = numbers<T>(rows * columns);
    for (const bool along_rows : {false, true}) {
      const std::string name = "sums of " + text(rows, columns) + (along_rows ? ", rows contiguous" : "");
      const auto result = sums<T, Cuda>(values, rows, columns, along_rows);
      // The scale of a rounding error is that of the terms, not of the sum that they may cancel to.
      const auto expected = sums<T, Cpu>(values, rows, columns, along_rows);
      auto shifted = result, shifted_expected = expected;
      for (T& value : shifted) value += static_cast<T>(std::sqrt(static_cast<double>(columns)));
      for (T& value : shifted_expected) value += static_cast<T>(std::sqrt(static_cast<double>(columns)));
      check::close(shifted, shifted_expected, name);
      check::identical(sums<T, Cuda>(values, rows, columns, along_rows), result, name + ", repeated");
    }
  }
}

template <int Size, class B>
void summaries(const std::vector<double>& values, index_t rows, index_t columns, std::vector<double>& sum,
               std::vector<index_t>& column) {
  const auto x = Vector<double, B>::from(values);
  auto s = Vector<double, B>::zeros(Shape{rows});
  auto c = Vector<index_t, B>::zeros(Shape{rows});
  B::reduce(rows, columns, Summarise<Size>{x.data(), columns}, JoinSummaries<Size>{},
            Summary<Size>{0.0, 1e300, columns, {}}, StoreSummary<Size>{s.mutable_data(), c.mutable_data()});
  sum = s.to_vector();
  column = c.to_vector();
}

/// Accumulators that make blocks of 256, 128, 64 and 32 threads.
template <int Size>
void test_summary() {
  for (const auto& shape : shapes) {
    const index_t rows = shape[0], columns = shape[1];
    auto values = numbers<double>(rows * columns);
    for (double& value : values) value = std::floor(8 * value);  // ties
    std::vector<double> sum, expected_sum;
    std::vector<index_t> column, expected_column;
    summaries<Size, Cuda>(values, rows, columns, sum, column);
    summaries<Size, Cpu>(values, rows, columns, expected_sum, expected_column);
    const std::string name = "summaries of " + std::to_string(Size) + " bytes over " + text(rows, columns);
    check::identical(sum, expected_sum, name + ", sums of integers");
    check::identical(column, expected_column, name + ", lowest column of the minimum");
  }
}

template <class B>
std::vector<std::uint64_t> compositions(index_t rows, index_t columns) {
  auto y = Vector<std::uint64_t, B>::zeros(Shape{rows, columns});
  B::scan(rows, columns, LoadLinear{columns}, Compose{}, StoreAddend{y.mutable_data(), columns});
  return y.to_vector();
}

template <class T, class B>
std::vector<T> running_sums_in_place(const std::vector<T>& values, index_t rows, index_t columns) {
  auto x = Vector<T, B>::from(values);
  T* data = x.mutable_data();
  B::scan(rows, columns, AlongColumns<T>{data, columns}, Sum{}, StoreElement<T>{data, columns});
  return x.to_vector();
}

void test_scan() {
  constexpr index_t scans[][2] = {{1, 0},   {1, 1},    {3, 1},    {70, 16},  {5, 17},
                                  {33, 40}, {2, 1024}, {2, 1025}, {1, 2500}, {1, 16500}};
  for (const auto& shape : scans) {
    const index_t rows = shape[0], columns = shape[1];
    check::identical(compositions<Cuda>(rows, columns), compositions<Cpu>(rows, columns),
                     "scan of " + text(rows, columns) + " with a combination that does not commute");
    const auto values = numbers<double>(rows * columns, 3);
    check::close(running_sums_in_place<double, Cuda>(values, rows, columns),
                 running_sums_in_place<double, Cpu>(values, rows, columns), "running sums in place of " + text(rows, columns));
  }
}

template <class T>
std::vector<double> parts(const std::vector<T>& values) {
  std::vector<double> result;
  for (const T& value : values) {
    if constexpr (std::is_arithmetic_v<T>) {
      result.push_back(static_cast<double>(value));
    } else {
      result.push_back(value.v);
      result.push_back(value.d[0]);
    }
  }
  return result;
}

struct ProductShape {
  index_t m, n, k, batch, pad;
  bool repeat_b;
  double alpha, beta;
};

/// The product by its definition, on the host, one matrix of the batch at a time.
template <class T>
std::vector<T> product_on_host(GemmCall<T> call, std::vector<T> a, std::vector<T> b, std::vector<T> c) {
  for (index_t i = 0; i < call.batch; ++i) {
    call.a = a.data() + i * call.batch_stride_a;
    call.b = b.data() + i * call.batch_stride_b;
    call.c = c.data() + i * call.batch_stride_c;
    detail::plain_gemm(call);
  }
  return c;
}

template <class T>
std::vector<T> scalars(index_t count, int seed) {
  if constexpr (std::is_floating_point_v<T>) {
    return numbers<T>(count, seed);
  } else {
    std::vector<T> result;
    for (const double value : numbers<double>(2 * count, seed)) {
      if constexpr (std::is_integral_v<T>) {
        result.push_back(static_cast<T>(100 * value));
      } else {
        result.push_back(T(value, {{1 - value}}));
      }
    }
    result.resize(static_cast<std::size_t>(count));
    return result;
  }
}

template <class T>
void test_gemm(const char* scalar) {
  const ProductShape products[] = {{1, 1, 1, 1, 0, false, 1, 0},   {3, 5, 7, 1, 0, false, 1, 0},
                                   {33, 17, 40, 1, 3, false, 2, 1}, {20, 20, 20, 3, 0, false, 1, 0},
                                   {16, 48, 8, 4, 2, true, 1, 3},   {4, 6, 0, 2, 0, false, 1, 2},
                                   {1, 64, 30, 2, 0, false, 1, 0},  {64, 1, 30, 1, 0, true, 1, 0}};
  for (const ProductShape& p : products)
    for (int transpositions = 0; transpositions < 4; ++transpositions) {
      GemmCall<T> call;
      call.transpose_a = transpositions % 2 != 0;
      call.transpose_b = transpositions / 2 != 0;
      call.m = p.m;
      call.n = p.n;
      call.k = p.k;
      call.batch = p.batch;
      call.alpha = T(p.alpha);
      call.beta = T(p.beta);
      call.leading_a = larger<index_t>(1, call.transpose_a ? p.m : p.k) + p.pad;
      call.leading_b = larger<index_t>(1, call.transpose_b ? p.k : p.n) + p.pad;
      call.leading_c = p.n + p.pad;
      const index_t size_a = larger<index_t>(1, call.transpose_a ? p.k : p.m) * call.leading_a;
      const index_t size_b = larger<index_t>(1, call.transpose_b ? p.n : p.k) * call.leading_b;
      const index_t size_c = p.m * call.leading_c;
      call.batch_stride_a = size_a;
      call.batch_stride_b = p.repeat_b ? 0 : size_b;
      call.batch_stride_c = size_c;
      const auto a = scalars<T>(size_a * p.batch, 1), b = scalars<T>(size_b * p.batch, 2);
      // With beta zero the target is not read, not even a NaN.
      auto c = scalars<T>(size_c * p.batch, 3);
      const auto expected = product_on_host(call, a, b, c);
      const auto device_a = Tensor<T, Cuda>::from(a), device_b = Tensor<T, Cuda>::from(b);
      auto device_c = Tensor<T, Cuda>::from(c);
      call.a = device_a.data();
      call.b = device_b.data();
      call.c = device_c.mutable_data();
      Cuda::gemm(call);
      const std::string name = std::string("product of ") + scalar + " " + text(p.m, p.n) + " x " + std::to_string(p.k) +
                               ", batch " + std::to_string(p.batch) + ", transposes " + std::to_string(transpositions);
      const auto actual = device_c.to_vector();
      if constexpr (std::is_same_v<T, float>) {
        check::close(actual, expected, name);
      } else {
        check::close(parts(actual), parts(expected), name);
      }
    }
}

void test_gemm_ignores_target() {
  const auto a = Tensor<double, Cuda>::ones(Shape{4, 4});
  auto c = Tensor<double, Cuda>::full(Shape{4, 4}, std::nan(""));
  GemmCall<double> call;
  call.m = call.n = call.k = call.leading_a = call.leading_b = call.leading_c = 4;
  call.a = call.b = a.data();
  call.c = c.mutable_data();
  Cuda::gemm(call);
  check::identical(c.to_vector(), std::vector<double>(16, 4.0), "a product with beta 0 does not read its target");
}

void test_memory() {
  const auto empty = Tensor<float, Cuda>::uninitialized(Shape{0});
  check::that(empty.has_value() && empty.to_vector().empty(), "an empty tensor has a value");
  check::throws<OutOfMemory>([] { Tensor<float, Cuda>::uninitialized(Shape{index_t{1} << 40}); }, "4398046511104 bytes",
                             "more memory than there is");
  check::identical(Tensor<float, Cuda>::ones(Shape{3}).to_vector(), std::vector<float>(3, 1.0f), "usable after running out");

  Cuda::set_debug(true);
  const auto poisoned = Tensor<float, Cuda>::uninitialized(Shape{3}).to_vector();
  Cuda::set_debug(false);
  check::that(poisoned[0] != poisoned[0] && poisoned[2] != poisoned[2], "new memory is NaN in debug mode");

  auto shared = Tensor<int, Cuda>::arange(5);
  const auto other = shared;
  Cuda::for_each(1, CountVisits{shared.mutable_data(), 1});
  check::identical(other.to_vector(), {0, 1, 2, 3, 4}, "writing detaches a shared buffer");
  check::identical(shared.to_vector(), {1, 1, 2, 3, 4}, "and changes the writer");
  Cuda::trim();
  check::identical(shared.to<Cpu>().to_vector(), {1, 1, 2, 3, 4}, "trimming the pool keeps what is in use");
}

void test_streams(cudaStream_t stream) {
  const cudaStream_t outer = Cuda::stream();
  auto x = Tensor<int, Cuda>::arange(1 << 16);
  {
    const Cuda::Scope scope(stream);
    check::that(Cuda::stream() == stream, "a scope sets the current stream");
    x = x.copy();
    Cuda::for_each(1, CountVisits{x.mutable_data(), 1});
  }
  check::that(Cuda::stream() == outer, "and restores it");
  check::that(x.to_vector()[0] == 1 && x.to_vector()[65535] == 65535, "work on another stream is ordered");
}

}  // namespace

int main(int argc, char**) {
  if (!Cuda::available()) {
    check::throws<DeviceError>([] { Tensor<float, Cuda>::ones(Shape{3}); }, "Cuda::available()", "a machine without a GPU");
    return check::result() == 0 ? check::skipped : 1;
  }
  if (argc > 1) {
    // Leaves the device unusable, so it is a run of its own.
    Cuda::set_debug(true);
    check::throws<DeviceError>([] { Cuda::for_each(40, Crash{nullptr}); }, "Crash", "an error names the kernel in debug mode");
    return check::result();
  }
#if defined(KOLMO_TEST_EMULATION)
  for (const bool backwards : {false, true}) {
    emulation::backwards = backwards;
#endif
    test_for_each();
    test_reduce<float>();
    test_reduce<double>();
    test_summary<32>();
    test_summary<200>();
    test_summary<400>();
    test_summary<1024>();
    test_scan();
    test_gemm<float>("float");
    test_gemm<double>("double");
    test_gemm<int>("int");
    test_gemm<Dual<double, 1>>("dual");
    test_gemm_ignores_target();
    test_memory();
#if defined(KOLMO_TEST_EMULATION)
  }
  test_streams(reinterpret_cast<cudaStream_t>(2));
  check::that(emulation::stream_orderings == 2, "a scope orders the streams when it begins and when it ends");
  emulation::next_launch = cudaErrorInvalidConfiguration;
  check::throws<DeviceError>([] { Tensor<float, Cuda>::ones(Shape{3}); }, "1 blocks of 32 threads", "a failed launch");
  Cuda::trim();
  check::that(Cuda::memory().in_use == 0 && Cuda::memory().cached == 0 && emulation::used == 0, "all memory is returned");
#else
  cudaStream_t stream = nullptr;
  check::that(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess, "a stream");
  test_streams(stream);
  check::that(cudaStreamDestroy(stream) == cudaSuccess, "a stream is destroyed");
#endif
  return check::result();
}
