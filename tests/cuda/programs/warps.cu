// Operations of a warp, atomics and bits against what they are defined to be: on a GPU a test of the tests' emulation,
// which the other programs rest on.

#include <kolmo/cuda/cuda.cuh>

#include "check.hpp"

using namespace kolmo;

namespace {

constexpr int threads = 64;
constexpr int results = 24;
constexpr int counters = 8;

}  // namespace

template <class T>
KOLMO_KERNEL shuffle_kernel(T* out) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  T* const own = out + thread * results;
  const T value = T(3 * thread + 1);
  own[0] = __shfl_sync(0xffffffffu, value, 5);
  own[1] = __shfl_sync(0xffffffffu, value, 11, 8);
  own[2] = __shfl_up_sync(0xffffffffu, value, 3);
  own[3] = __shfl_up_sync(0xffffffffu, value, 1, 4);
  own[4] = __shfl_down_sync(0xffffffffu, value, 7);
  own[5] = __shfl_down_sync(0xffffffffu, value, 2, 16);
  own[6] = __shfl_xor_sync(0xffffffffu, value, 13);
  own[7] = __shfl_xor_sync(0xffffffffu, value, 3, 4);
  // The two halves go different ways, and each meets among itself.
  if (lane < 16)
    own[8] = __shfl_xor_sync(0x0000ffffu, value, 1);
  else
    own[8] = __shfl_sync(0xffff0000u, value, 31);
  own[9] = T(__ballot_sync(0xffffffffu, lane % 3 == 0) & 0xffffu);
  own[10] = T(__any_sync(0xffffffffu, lane == 9));
  own[11] = T(__all_sync(0xffffffffu, lane < 31));
  own[12] = T(__syncthreads_count(thread % 5 == 0));
  own[13] = T(__reduce_add_sync(0xffffffffu, lane));
  own[14] = T(__reduce_max_sync(0xffffffffu, lane - 40));
  own[15] = T(__popc(__match_any_sync(0xffffffffu, lane / 5)));
  own[16] = T(__popc(0xf0f0u + static_cast<unsigned>(lane)));
  own[17] = T(__ffs(lane));
  own[18] = T(__clz(lane));
  own[19] = T(__brev(static_cast<unsigned>(lane)) >> 24);
  own[20] = T(__byte_perm(0x03020100u, 0x07060504u, 0x0752u) & 0xffffu);
  own[21] = T(__umulhi(0xffffffffu, static_cast<unsigned>(lane)));
  own[22] = T(__syncthreads_or(thread == 40));
  own[23] = T(__syncthreads_and(thread < 63));
}

KOLMO_KERNEL atomics_kernel(int* a, unsigned* b, unsigned long long* c) {
  const int thread = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(a, thread);
  atomicMax(a + 1, 7 * thread % 101);
  atomicMin(a + 2, -thread);
  atomicCAS(a + 3, 0, 1);
  atomicAdd(b, 1u);
  atomicMax(b + 1, static_cast<unsigned>(thread));
  atomicOr(b + 2, 1u << thread % 32);
  atomicInc(b + 3, 9u);
  if (thread == 3) atomicExch(b + 4, 17u);
  atomicAdd(c, 1ull << 33);
  atomicMax(c + 1, static_cast<unsigned long long>(thread) << 40);
}

KOLMO_KERNEL vectors_kernel(const float* in, float* out) {
  const int thread = static_cast<int>(threadIdx.x);
  const float4 a = __ldg(reinterpret_cast<const float4*>(in) + thread);
  const float4 b = make_float4(__fmaf_rn(a.x, a.y, a.z), __fadd_rn(a.y, a.x), __int_as_float(__float_as_int(a.z)),
                               __fmul_rn(a.w, 0.5f));
  __stcs(reinterpret_cast<float4*>(out) + thread, b);
}

namespace {

template <class T>
std::vector<T> expected_shuffles() {
  std::vector<T> out;
  for (int thread = 0; thread < threads; ++thread) {
    const int lane = thread % 32, base = thread - lane;
    const auto value = [&](int of) { return T(3 * (base + of) + 1); };
    int ballot = 0, equal = 0, zeros = 0, reversed = 0, first = 0;
    for (int i = 0; i < 16; ++i) ballot |= (i % 3 == 0) << i;
    for (int i = 0; i < 32; ++i) equal += i / 5 == lane / 5;
    for (int i = 31; i >= 0 && (lane >> i & 1) == 0; --i) ++zeros;
    for (int i = 0; i < 8; ++i) reversed |= (lane >> i & 1) << (7 - i);
    for (int i = 4; i >= 0; --i)
      if (lane >> i & 1) first = i + 1;
    int bits = 0;
    for (int i = 0; i < 32; ++i) bits += (0xf0f0 + lane) >> i & 1;
    const int values[] = {
        ballot, 1, 0, 13, 496, -9, equal, bits, first, zeros, reversed, 0x0502, lane == 0 ? 0 : lane - 1, 1, 0};
    out.insert(out.end(), {value(5), value(lane / 8 * 8 + 3), value(lane < 3 ? lane : lane - 3),
                           value(lane % 4 == 0 ? lane : lane - 1), value(lane > 24 ? lane : lane + 7),
                           value(lane % 16 > 13 ? lane : lane + 2), value(lane ^ 13), value(lane ^ 3),
                           value(lane < 16 ? lane ^ 1 : 31)});
    for (const int v : values) out.push_back(T(v));
  }
  return out;
}

template <class T>
std::vector<T> from_device(const detail::CudaBuffer<T>& buffer, index_t count) {
  std::vector<T> host(static_cast<std::size_t>(count));
  Cuda::download(host.data(), buffer.data(), host.size() * sizeof(T));
  return host;
}
template <class T>
void zero(const detail::CudaBuffer<T>& buffer, index_t count) {
  const std::vector<T> host(static_cast<std::size_t>(count));
  Cuda::upload(buffer.data(), host.data(), host.size() * sizeof(T));
}

template <class T>
void shuffles(const std::string& name) {
  const detail::CudaBuffer<T> out(threads * results);
  detail::launch<T>("shuffles", shuffle_kernel<T>, detail::LaunchShape{1, threads, 0}, out.data());
  check::identical(from_device(out, threads * results), expected_shuffles<T>(), "operations of a warp on " + name);
}

void atomics() {
  const detail::CudaBuffer<int> a(counters);
  const detail::CudaBuffer<unsigned> b(counters);
  const detail::CudaBuffer<unsigned long long> c(counters);
  zero(a, counters);
  zero(b, counters);
  zero(c, counters);
  detail::launch<int>("atomics", atomics_kernel, detail::LaunchShape{3, 64, 0}, a.data(), b.data(), c.data());
  check::identical(from_device(a, 4), {191 * 192 / 2, 100, -191, 1}, "atomics of int");
  check::identical(from_device(b, 5), {192u, 191u, 0xffffffffu, 2u, 17u}, "atomics of unsigned");
  check::identical(from_device(c, 2), {192ull << 33, 191ull << 40}, "atomics of unsigned long long");
}

void vectors() {
  const int count = 32;
  std::vector<float> in, expected;
  for (int i = 0; i < 4 * count; ++i) in.push_back(static_cast<float>(i % 37) - 11.5f);
  for (int i = 0; i < count; ++i) {
    const float* const v = in.data() + 4 * i;
    expected.insert(expected.end(), {v[0] * v[1] + v[2], v[0] + v[1], v[2], 0.5f * v[3]});
  }
  const detail::CudaBuffer<float> source(4 * count), target(4 * count);
  Cuda::upload(source.data(), in.data(), in.size() * sizeof(float));
  detail::launch<float>("vectors", vectors_kernel, detail::LaunchShape{1, count, 0},
                        static_cast<const float*>(source.data()), target.data());
  check::identical(from_device(target, 4 * count), expected, "vectors of four floats");
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
    shuffles<int>("int");
    shuffles<float>("float");
    shuffles<double>("double");
    shuffles<long long>("long long");
    atomics();
    vectors();
  }
  return check::result();
}
