#pragma once
// Device functions of CUDA C++ on the CPU, by their definition: barriers, operations of a warp, atomics, loads with a
// cache hint, bits, rounding, vector types. Arguments that a GPU would take silently and answer with anything end the
// program. Included by cuda_runtime.h.

#define __launch_bounds__(...)
#define __forceinline__ inline
#define __noinline__
#define __align__(bytes) __attribute__((aligned(bytes)))

inline constexpr int warpSize = 32;

// Vector types.

#define KOLMO_EMULATE_VECTOR2(name, type)    \
  struct alignas(2 * sizeof(type)) name##2 { \
    type x, y;                               \
  };                                         \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }
#define KOLMO_EMULATE_VECTOR4(name, type)    \
  struct alignas(4 * sizeof(type)) name##4 { \
    type x, y, z, w;                         \
  };                                         \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

KOLMO_EMULATE_VECTOR2(float, float)
KOLMO_EMULATE_VECTOR2(double, double)
KOLMO_EMULATE_VECTOR2(int, int)
KOLMO_EMULATE_VECTOR2(uint, unsigned)
KOLMO_EMULATE_VECTOR2(longlong, long long)
KOLMO_EMULATE_VECTOR2(ulonglong, unsigned long long)
KOLMO_EMULATE_VECTOR2(ushort, unsigned short)
KOLMO_EMULATE_VECTOR4(float, float)
KOLMO_EMULATE_VECTOR4(int, int)
KOLMO_EMULATE_VECTOR4(uint, unsigned)
KOLMO_EMULATE_VECTOR4(ushort, unsigned short)
KOLMO_EMULATE_VECTOR4(uchar, unsigned char)

// Barriers and fences. Memory is one and the blocks run one after the other: a fence has nothing to do.

inline void __syncthreads() { emulation::Block::running()->synchronize(false); }
inline int __syncthreads_count(int predicate) { return emulation::Block::running()->synchronize(predicate != 0); }
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) > 0; }
inline int __syncthreads_and(int predicate) { return __syncthreads_count(predicate == 0) == 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  emulation::Block::running()->meet(emulation::Collective::synchronize, mask, 0);
}
inline void __threadfence_block() {}
inline void __threadfence() {}
inline void __threadfence_system() {}
/// What is waited for in a loop must come from an earlier block: blocks run to their end.
inline void __nanosleep(unsigned) {
  static int calls = 0;
  if (++calls > 10000000) emulation::fail("a thread waits for what no earlier block has done");
}
[[noreturn]] inline void __trap() { emulation::fail("trap"); }

// Operations of a warp.

namespace emulation {

template <class T>
concept Shuffled = std::is_arithmetic_v<T> &&(sizeof(T) == 4 || sizeof(T) == 8);

template <class T>
unsigned long long to_bits(T value) {
  unsigned long long bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T from_bits(unsigned long long bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

inline int lane() { return static_cast<int>(threadIdx.x % 32); }

/// The value of lane `source`, or one's own where `valid` does not hold.
template <Shuffled T>
T shuffle(unsigned mask, T value, int source, bool valid, int width) {
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) fail("the width of a shuffle is no power of two up to 32");
  const unsigned long long* values = Block::running()->meet(Collective::shuffle, mask, to_bits(value));
  if (!valid) return value;
  if ((mask >> source & 1) == 0) fail("a shuffle reads a lane that its mask leaves out");
  return from_bits<T>(values[source]);
}

}  // namespace emulation

template <emulation::Shuffled T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  return emulation::shuffle(mask, value, (emulation::lane() & ~(width - 1)) | (source & (width - 1)), true, width);
}
template <emulation::Shuffled T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int source = emulation::lane() - static_cast<int>(delta);
  return emulation::shuffle(mask, value, source, source >= (emulation::lane() & ~(width - 1)), width);
}
template <emulation::Shuffled T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int source = emulation::lane() + static_cast<int>(delta);
  return emulation::shuffle(mask, value, source, source < (emulation::lane() & ~(width - 1)) + width, width);
}
template <emulation::Shuffled T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const int source = emulation::lane() ^ bits;
  return emulation::shuffle(mask, value, source, source < (emulation::lane() & ~(width - 1)) + width, width);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const unsigned long long* values =
      emulation::Block::running()->meet(emulation::Collective::vote, mask, predicate != 0 ? 1 : 0);
  unsigned result = 0;
  for (int lane = 0; lane < 32; ++lane) result |= static_cast<unsigned>(values[lane]) << lane;
  return result;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }
/// Which lanes run together is up to the hardware; here none do.
inline unsigned __activemask() { return 1u << emulation::lane(); }

template <emulation::Shuffled T>
unsigned __match_any_sync(unsigned mask, T value) {
  const unsigned long long* values =
      emulation::Block::running()->meet(emulation::Collective::match, mask, emulation::to_bits(value));
  unsigned result = 0;
  for (int lane = 0; lane < 32; ++lane)
    if ((mask >> lane & 1) != 0 && values[lane] == emulation::to_bits(value)) result |= 1u << lane;
  return result;
}

namespace emulation {
template <class T, class Combine>
T reduce_warp(unsigned mask, T value, const Combine& combine) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  const unsigned long long* values = Block::running()->meet(Collective::reduction, mask, to_bits(value));
  T result = value;
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const T other = from_bits<T>(values[lane]);
    result = first ? other : combine(result, other);
    first = false;
  }
  return result;
}
}  // namespace emulation

template <class T>
T __reduce_add_sync(unsigned mask, T value) {
  return emulation::reduce_warp(
      mask, value, [](T a, T b) { return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b)); });
}
template <class T>
T __reduce_min_sync(unsigned mask, T value) {
  return emulation::reduce_warp(mask, value, [](T a, T b) { return b < a ? b : a; });
}
template <class T>
T __reduce_max_sync(unsigned mask, T value) {
  return emulation::reduce_warp(mask, value, [](T a, T b) { return a < b ? b : a; });
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value) {
  return emulation::reduce_warp(mask, value, [](unsigned a, unsigned b) { return a | b; });
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value) {
  return emulation::reduce_warp(mask, value, [](unsigned a, unsigned b) { return a & b; });
}

// Atomics on integers. Fibers change only where they wait.

namespace emulation {

template <class T>
concept Atomic = std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;

template <class T>
void check_aligned(const T* address) {
  if (reinterpret_cast<std::uintptr_t>(address) % sizeof(T) != 0) fail("a misaligned access");
}

template <Atomic T, class F>
T update(T* address, const F& f) {
  check_aligned(address);
  const T old = *address;
  *address = f(old);
  return old;
}

}  // namespace emulation

template <emulation::Atomic T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  using U = std::make_unsigned_t<T>;
  return emulation::update(address, [&](T old) { return static_cast<T>(static_cast<U>(old) + static_cast<U>(value)); });
}
template <emulation::Atomic T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return emulation::update(address, [&](T) { return value; });
}
template <emulation::Atomic T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return emulation::update(address, [&](T old) { return old == expected ? value : old; });
}
template <emulation::Atomic T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return emulation::update(address, [&](T old) { return old < value ? value : old; });
}
template <emulation::Atomic T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return emulation::update(address, [&](T old) { return value < old ? value : old; });
}
template <emulation::Atomic T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return emulation::update(address, [&](T old) { return old | value; });
}
template <emulation::Atomic T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return emulation::update(address, [&](T old) { return old & value; });
}
/// The counter goes back to 0 after `limit`.
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return emulation::update(address, [&](unsigned old) { return old >= limit ? 0u : old + 1; });
}

// Loads and stores with a cache hint: of at most 16 bytes, aligned to their size.

namespace emulation {
template <class T>
T load(const T* address) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  check_aligned(address);
  return *address;
}
template <class T>
void store(T* address, T value) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  check_aligned(address);
  *address = value;
}
}  // namespace emulation

template <class T>
T __ldg(const T* address) {
  return emulation::load(address);
}
template <class T>
T __ldcs(const T* address) {
  return emulation::load(address);
}
template <class T>
T __ldcg(const T* address) {
  return emulation::load(address);
}
template <class T>
T __ldlu(const T* address) {
  return emulation::load(address);
}
template <class T>
void __stcs(T* address, std::type_identity_t<T> value) {
  emulation::store(address, value);
}
template <class T>
void __stcg(T* address, std::type_identity_t<T> value) {
  emulation::store(address, value);
}

// Bits.

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline unsigned __brev(unsigned x) {
  unsigned result = 0;
  for (int i = 0; i < 32; ++i) result |= (x >> i & 1) << (31 - i);
  return result;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const unsigned long long bytes = static_cast<unsigned long long>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned choice = selector >> (4 * i) & 0xf;
    if (choice > 7) emulation::fail("__byte_perm replicates a sign");
    result |= static_cast<unsigned>(bytes >> (8 * choice) & 0xff) << (8 * i);
  }
  return result;
}
inline unsigned __float_as_uint(float x) { return emulation::from_bits<unsigned>(emulation::to_bits(x)); }
inline float __uint_as_float(unsigned x) { return emulation::from_bits<float>(x); }
inline int __float_as_int(float x) { return emulation::from_bits<int>(emulation::to_bits(x)); }
inline float __int_as_float(int x) { return emulation::from_bits<float>(emulation::to_bits(x)); }
inline long long __double_as_longlong(double x) { return emulation::from_bits<long long>(emulation::to_bits(x)); }
inline double __longlong_as_double(long long x) { return emulation::from_bits<double>(emulation::to_bits(x)); }

// Arithmetic that is rounded as it says and not contracted.

inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __drcp_rn(double a) { return 1.0 / a; }
inline double __dsqrt_rn(double a) { return __builtin_sqrt(a); }
