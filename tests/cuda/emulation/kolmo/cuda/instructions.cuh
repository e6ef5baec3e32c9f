#pragma once
// The instructions of kolmo/cuda/instructions.cuh by their definition, on fibers. See ../../cuda_runtime.h.

#include <cstdint>
#include <cstring>
#include <vector>

#include <kolmo/core/bfloat16.hpp>

#include "../../cuda_runtime.h"

namespace emulation {

inline bool in_shared(const void* pointer, std::size_t bytes) {
  const auto* const first = static_cast<const unsigned char*>(pointer);
  return first >= shared_memory && first + bytes <= shared_memory + most_shared_bytes;
}
inline bool in_global(const void* pointer, std::size_t bytes) {
  const auto* const first = static_cast<const unsigned char*>(pointer);
  auto found = blocks().upper_bound(const_cast<unsigned char*>(first));
  if (found == blocks().begin()) return false;
  --found;
  return first + bytes <= static_cast<const unsigned char*>(found->first) + found->second;
}
inline bool aligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

/// The copies of one thread. They happen when they are waited for if threads run forwards, and at once if they run
/// backwards: a missing wait shows in the one, memory taken too early in the other.
struct Copies {
  struct Copy {
    void* target;
    const void* source;
    std::size_t bytes;
    bool valid;
    void run() const {
      if (valid)
        std::memcpy(target, source, bytes);
      else
        std::memset(target, 0, bytes);
    }
  };
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
  int launch = 0;
  unsigned block = 0;
  bool unfenced = false;

  static Copies* threads() {
    static Copies all[1024];
    return all;
  }
  static Copies& current() {
    Copies& own = threads()[threadIdx.x];
    if (own.launch != launches || own.block != blockIdx.x) {
      for (const auto& group : own.groups)
        if (!group.empty()) fail("a block ended while its copies were under way");
      if (!own.open.empty()) fail("a block ended with copies that were not committed");
      own = Copies{};
      own.launch = launches;
      own.block = blockIdx.x;
    }
    return own;
  }
  void begin(void* target, const void* source, std::size_t bytes, bool valid) {
    if (!in_shared(target, bytes)) fail("the target of a copy is not dynamic shared memory");
    if (!in_global(source, valid ? bytes : 0)) fail("the source of a copy is not device memory");
    if (!aligned(target, bytes) || !aligned(source, bytes)) fail("a copy is not aligned");
    const Copy copy{target, source, bytes, valid};
    if (backwards) copy.run();
    open.push_back(copy);
  }
  void commit() {
    groups.push_back(open);
    open.clear();
  }
  void wait(std::size_t pending) {
    while (groups.size() > pending) {
      for (const Copy& copy : groups.front())
        if (!backwards) copy.run();
      unfenced = unfenced || !groups.front().empty();
      groups.erase(groups.begin());
    }
  }
};

/// What the lanes of a warp show each other in one instruction, once all have come. Two buffers in turn, since a lane
/// may reach its next instruction, but not the one after it, before all have read.
template <class Value>
const Value* exchange(Collective kind, const Value& value) {
  struct Warp {
    Value values[2][32];
    unsigned round[32] = {};
  };
  static Warp warps[32];
  Warp& warp = warps[threadIdx.x / 32];
  const unsigned lane = threadIdx.x % 32, round = ++warp.round[lane];
  warp.values[round % 2][lane] = value;
  const unsigned long long* const rounds = Block::running()->meet(kind, 0xffffffffu, round);
  for (unsigned other = 0; other < 32; ++other)
    if (rounds[other] != round) fail("the lanes of a warp execute different instructions");
  return warp.values[round % 2];
}

inline float lower_half(std::uint32_t pair) {
  const std::uint32_t bits = pair << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline float upper_half(std::uint32_t pair) { return lower_half(pair >> 16); }
/// The 13 bits that a tensor core does not read count as zero.
inline float tf32(std::uint32_t bits) {
  bits &= 0xffffe000u;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// The products of one thread of a warpgroup: they happen when they are waited for if threads run forwards, and at once
/// if they run backwards.
struct Products {
  struct Product {
    float* d;
    const std::uint32_t* a;
    std::uint32_t a_then[4];
    float rows[2][16];
    std::uint64_t b;
    int columns, depth;
    bool transposed;

    float number(int n, int k) const {
      const int bytes = 32 / depth;
      const auto field = [&](int first) { return static_cast<std::size_t>(b >> first & 0x3fff) * 16; };
      const std::size_t leading = field(16), stride = field(32);
      if (b >> 62 != 1 || (b >> 49 & 7) != 0) fail("a matrix of a product is not swizzled by 128 bytes");
      std::size_t place = field(0);
      if (transposed)
        place += static_cast<std::size_t>(n / 64) * leading + static_cast<std::size_t>(n % 64 * 2 + k % 8 * 128) +
                 static_cast<std::size_t>(k / 8) * stride;
      else
        place += static_cast<std::size_t>(n / 8) * stride + static_cast<std::size_t>(n % 8 * 128 + k * bytes);
      place ^= (place >> 7 & 7) << 4;
      if (place + static_cast<std::size_t>(bytes) > most_shared_bytes)
        fail("a matrix of a product is not shared memory");
      std::uint32_t bits = 0;
      std::memcpy(&bits, shared_memory + place, static_cast<std::size_t>(bytes));
      return bytes == 2 ? lower_half(bits) : tf32(bits);
    }
    void run() const {
      if (std::memcmp(a, a_then, sizeof(a_then)) != 0) fail("an operand of a product has changed under way");
      const int t = static_cast<int>(threadIdx.x % 4);
      for (int j = 0; j < columns / 8; ++j)
        for (int i = 0; i < 2; ++i)
          for (int k = 0; k < depth; ++k) {
            const float factor = number(8 * j + 2 * t + i, k);
            d[4 * j + i] += rows[0][k] * factor;
            d[4 * j + 2 + i] += rows[1][k] * factor;
          }
    }
  };
  std::vector<Product> open;
  std::vector<std::vector<Product>> groups;

  static Products& current() {
    static Products threads[1024];
    return threads[threadIdx.x];
  }
  void begin(const Product& product) {
    for (unsigned thread = 0; thread < blockDim.x; ++thread) {
      const Copies& copies = Copies::threads()[thread];
      if (copies.unfenced && copies.launch == launches && copies.block == blockIdx.x)
        fail("copies to shared memory were not fenced for a product");
    }
    if (backwards)
      product.run();
    else
      open.push_back(product);
  }
  void commit() {
    groups.push_back(open);
    open.clear();
  }
  void wait(std::size_t pending) {
    while (groups.size() > pending) {
      for (const Product& product : groups.front()) product.run();
      groups.erase(groups.begin());
    }
  }
};

}  // namespace emulation

namespace kolmo::detail {

inline unsigned char* dynamic_shared() { return emulation::dynamic_shared(); }

inline void copy_async_16(void* shared, const void* global, bool valid = true) {
  emulation::Copies::current().begin(shared, global, 16, valid);
}
inline void copy_async_16_cached(void* shared, const void* global, bool valid = true) {
  copy_async_16(shared, global, valid);
}
inline void copy_async_4(void* shared, const void* global, bool valid = true) {
  emulation::Copies::current().begin(shared, global, 4, valid);
}
inline void commit_copies() { emulation::Copies::current().commit(); }
template <int pending>
void wait_copies() {
  emulation::Copies::current().wait(pending);
}

template <int count>
void load_matrices(std::uint32_t (&result)[count], const void* row) {
  const unsigned lane = threadIdx.x % 32;
  if (lane < 8 * count && (!emulation::in_shared(row, 16) || !emulation::aligned(row, 16)))
    emulation::fail("a row of a matrix is not 16 aligned bytes of shared memory");
  const void* const* const rows = emulation::exchange(emulation::Collective::matrices, row);
  for (int m = 0; m < count; ++m)
    std::memcpy(&result[m],
                static_cast<const unsigned char*>(rows[8 * m + static_cast<int>(lane / 4)]) + 4 * (lane % 4), 4);
}
template <int count>
void load_matrices_transposed(std::uint32_t (&result)[count], const void* row) {
  const unsigned lane = threadIdx.x % 32;
  if (lane < 8 * count && (!emulation::in_shared(row, 16) || !emulation::aligned(row, 16)))
    emulation::fail("a row of a matrix is not 16 aligned bytes of shared memory");
  const void* const* const rows = emulation::exchange(emulation::Collective::matrices, row);
  for (int m = 0; m < count; ++m) {
    std::uint16_t halves[2];
    for (unsigned i = 0; i < 2; ++i)
      std::memcpy(
          &halves[i],
          static_cast<const unsigned char*>(rows[static_cast<unsigned>(8 * m) + 2 * (lane % 4) + i]) + 2 * (lane / 4),
          2);
    result[m] = halves[0] | static_cast<std::uint32_t>(halves[1]) << 16;
  }
}

struct EmulatedFragments {
  std::uint32_t a[4], b[2];
};
inline const EmulatedFragments* exchange_fragments(const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  return emulation::exchange(emulation::Collective::product, EmulatedFragments{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
}

inline void multiply_add_bfloat16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  const EmulatedFragments* const lanes = exchange_fragments(a, b);
  const unsigned g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned upper = i / 2, column = 2 * t + i % 2;
    float sum = d[i];
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned pair = k % 8 / 2;
      const std::uint32_t x = lanes[4 * g + pair].a[upper + 2 * (k / 8)], y = lanes[4 * column + pair].b[k / 8];
      sum += k % 2 == 0 ? emulation::lower_half(x) * emulation::lower_half(y)
                        : emulation::upper_half(x) * emulation::upper_half(y);
    }
    d[i] = sum;
  }
}
inline void multiply_add_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  const EmulatedFragments* const lanes = exchange_fragments(a, b);
  const unsigned g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned upper = i / 2, column = 2 * t + i % 2;
    float sum = d[i];
    for (unsigned k = 0; k < 8; ++k)
      sum += emulation::tf32(lanes[4 * g + k % 4].a[upper + 2 * (k / 4)]) *
             emulation::tf32(lanes[4 * column + k % 4].b[k / 4]);
    d[i] = sum;
  }
}

inline std::uint32_t to_bfloat16_pair(float low, float high) {
  return static_cast<std::uint32_t>(bfloat16_bits(high)) << 16 | bfloat16_bits(low);
}

inline std::uint32_t to_tf32(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
  // Adding half of the last place that stays to the magnitude rounds ties away from zero.
  return (bits + 0x1000u) & 0xffffe000u;
}

inline constexpr bool warpgroup_products = true;

inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(static_cast<const unsigned char*>(pointer) - emulation::shared_memory);
}
inline void fence_shared_for_products() { emulation::Copies::current().unfenced = false; }
inline std::uint64_t product_rows(std::uint32_t address) {
  return std::uint64_t{1} << 62 | std::uint64_t{64} << 32 | std::uint64_t{1} << 16 | address >> 4;
}
inline std::uint64_t product_columns(std::uint32_t address, std::uint32_t next) {
  return std::uint64_t{1} << 62 | std::uint64_t{64} << 32 | std::uint64_t{next >> 4} << 16 | address >> 4;
}
inline void begin_products() {}
inline void commit_products() { emulation::Products::current().commit(); }
template <int pending>
void wait_products() {
  emulation::Products::current().wait(pending);
}
template <int count>
void hold_registers(float (&)[count]) {}

template <class T, int columns, bool transposed = false>
void multiply_add_warpgroup(float (&d)[columns / 2], const std::uint32_t (&a)[4], std::uint64_t b) {
  constexpr int depth = 32 / static_cast<int>(sizeof(T));
  const EmulatedFragments* const lanes = exchange_fragments(a, {0, 0});
  const unsigned g = threadIdx.x % 32 / 4;
  emulation::Products::Product product{d, a, {a[0], a[1], a[2], a[3]}, {}, b, columns, depth, transposed};
  for (unsigned upper = 0; upper < 2; ++upper)
    for (unsigned k = 0; k < depth; ++k) {
      float& number = product.rows[upper][k];
      if constexpr (sizeof(T) == 2) {
        const std::uint32_t pair = lanes[4 * g + k % 8 / 2].a[upper + 2 * (k / 8)];
        number = k % 2 == 0 ? emulation::lower_half(pair) : emulation::upper_half(pair);
      } else {
        number = emulation::tf32(lanes[4 * g + k % 4].a[upper + 2 * (k / 4)]);
      }
    }
  emulation::Products::current().begin(product);
}

}  // namespace kolmo::detail
