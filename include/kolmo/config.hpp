#pragma once
// Compiler checks, version and the host-device marker.
//
// This is the only header outside cuda/ that reads __CUDACC__. The macro decides how functions are
// marked, never what they contain, so a program that mixes host and CUDA translation units has one
// definition of everything.

#define KOLMO_VERSION_MAJOR 0
#define KOLMO_VERSION_MINOR 1
#define KOLMO_VERSION_PATCH 0

#if defined(_MSVC_LANG)
#define KOLMO_DETAIL_CPLUSPLUS _MSVC_LANG
#else
#define KOLMO_DETAIL_CPLUSPLUS __cplusplus
#endif
#if KOLMO_DETAIL_CPLUSPLUS < 202002L
#error "kolmo needs C++20: compile with -std=c++20"
#endif

#if defined(__FAST_MATH__) && !defined(KOLMO_ALLOW_FAST_MATH)
#error "kolmo detects NaN and infinity and orders its sums; -ffast-math removes both guarantees. \
Use -O3 -march=native -fno-math-errno -fno-trapping-math instead, or define KOLMO_ALLOW_FAST_MATH to accept the consequences."
#endif

#if defined(__CUDACC__)
/// Marks a function that runs on the host and in CUDA kernels.
#define KOLMO_HD __host__ __device__
/// Defined in CUDA files. Functions that need a package which nvcc cannot parse without warnings are declared
/// there, and defined in the files of the host compiler.
#define KOLMO_CUDA_FILE
#else
#define KOLMO_HD
#endif

/// Inlines on every optimisation level; for the few-instruction functions inside vectorised loops.
#define KOLMO_INLINE inline __attribute__((always_inline))

/// Keeps one copy of a large or recursive function; inlining it would only cost compile time and code.
#define KOLMO_NOINLINE __attribute__((noinline))

/// Inlines every call in the body, however large; for loops over a functor of the user's, which clang otherwise leaves
/// as a call per element.
#define KOLMO_FLATTEN __attribute__((flatten))

// The iterations of the next loop are independent. A hint for the vectoriser, without effect on results.
#if defined(__CUDACC__)
#define KOLMO_INDEPENDENT
#elif defined(__clang__)
#define KOLMO_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define KOLMO_INDEPENDENT _Pragma("GCC ivdep")
#endif

// The next loop, of a few constant iterations over registers, is unrolled on every optimisation level.
#if defined(__CUDA_ARCH__)
#define KOLMO_UNROLLED _Pragma("unroll")
#elif defined(__NVCC__)
#define KOLMO_UNROLLED
#elif defined(__clang__)
#define KOLMO_UNROLLED _Pragma("clang loop unroll(full)")
#else
#define KOLMO_UNROLLED _Pragma("GCC unroll 64")
#endif

// The next loop stays one loop: its body already fills the registers.
#if defined(__CUDA_ARCH__)
#define KOLMO_ROLLED _Pragma("unroll 1")
#elif defined(__NVCC__)
#define KOLMO_ROLLED
#elif defined(__clang__)
#define KOLMO_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define KOLMO_ROLLED _Pragma("GCC unroll 1")
#endif
