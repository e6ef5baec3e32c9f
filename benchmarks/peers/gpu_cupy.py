#!/usr/bin/env python3
"""Transforms of fields, reductions and maps of benchmarks/gpu in CuPy. Needs CuPy. Not part of the build."""
import math

from gpu_rows import Rows, absent, options


def main():
    chosen = options(__doc__)
    try:
        import cupy
        from cupyx.scipy import fft
        if cupy.cuda.runtime.getDeviceCount() < 1:
            return absent("CuPy", "it sees no GPU")
    except Exception as error:  # pylint: disable=broad-except
        return absent("CuPy", f"not usable: {error}".split("\n")[0])
    run(chosen, cupy, fft)


def run(chosen, cupy, fft):
    tiny = chosen.tiny

    def sample(call, repetitions):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        for _ in range(repetitions):
            call()
        end.record()
        end.synchronize()
        return 1e-3 * cupy.cuda.get_elapsed_time(begin, end) / repetitions

    rows = Rows("CuPy " + cupy.__version__, chosen, sample)
    relative = lambda a, b: float(cupy.abs(a - b).max() / cupy.abs(b).max())

    def fields(scalar, batch, n):
        name = f"transform/{scalar}/{batch} real fields of {n} x {n}"

        def body():
            kind = cupy.float32 if scalar == "float" else cupy.float64
            x = cupy.random.standard_normal((batch, n, n), dtype=kind)
            y = fft.rfft2(x)
            error = relative(fft.irfft2(y, s=(n, n))[-1], x[-1])
            work = dict(bytes=x.nbytes + y.nbytes, flops=2.5 * x.size * math.log2(n * n), unit=scalar,
                        note="cuFFT")
            limit = 1e-5 if scalar == "float" else 1e-12
            rows.time(name + ", forward", lambda: fft.rfft2(x), error, limit, "what was transformed", **work)
            rows.time(name + ", inverse", lambda: fft.irfft2(y, s=(n, n)), error, limit, "what was transformed", **work)

        rows.part(name, body)

    for scalar, batch, n in [("float", 2, 16)] if tiny else [("float", 1024, 256), ("float", 4096, 64),
                                                             ("double", 256, 256)]:
        fields(scalar, batch, n)

    def memory():
        n, columns = (8192, 64) if tiny else (1 << 28, 256)
        x = cupy.random.random(n, dtype=cupy.float32)
        table = x.reshape(-1, columns)
        total = float(x.sum(dtype=cupy.float64))
        off = lambda value: abs(float(value) - total) / total
        affine = cupy.ElementwiseKernel("float32 x", "float32 y", "y = 3 * x - 1", "kolmo_affine")
        rows.time("memory/map of one tensor", lambda: affine(x), relative(affine(x)[:1000], 3 * x[:1000] - 1), 1e-5,
                  "CuPy's own operations", bytes=8 * n)
        rows.time("memory/sum of all", lambda: x.sum(), off(x.sum()), 1e-5, "double", bytes=4 * n)
        rows.time("memory/sums of rows", lambda: table.sum(1), off(table.sum(1).sum(dtype=cupy.float64)), 1e-5,
                  "double", bytes=4 * n)
        rows.time("memory/sums of columns", lambda: table.sum(0), off(table.sum(0).sum(dtype=cupy.float64)), 1e-5,
                  "double", bytes=4 * n)
        rows.time("memory/running sum of all", lambda: x.cumsum(), off(x.cumsum()[-1]), 1e-4, "double", bytes=8 * n)

    rows.part("memory", memory)


if __name__ == "__main__":
    main()
