#!/usr/bin/env python3
"""The finite-volume Kolmogorov flow of benchmarks/gpu/data_set.cu in JAX, jitted as one loop, and maps and reductions.

The scheme is the library's: Van Leer limited advection of staggered velocities, explicit diffusion, forcing and drag,
forward Euler, projection by FFT. It is written as a reader of the paper would (rolled arrays, no kernels by hand) and
checked against its own steps in double; energies, not fields, are what to compare with other programs. Needs JAX. Not
part of the build.
"""
import math

from gpu_rows import Rows, absent, options


def main():
    chosen = options(__doc__)
    try:
        import jax
        if not any(d.platform == "gpu" for d in jax.devices()):
            return absent("JAX", "it sees no GPU")
    except Exception as error:  # pylint: disable=broad-except
        return absent("JAX", f"not usable: {error}".split("\n")[0])
    run(chosen, jax)


def solver(jnp, n, scalar, reynolds=1000.0):
    """One Euler step of velocities [batch, 2, n, n] on the square of 2 pi; drag 0.1, forcing sin(4 y)."""
    length = 2 * math.pi
    h, nu = length / n, 1 / reynolds
    roll = jnp.roll

    def face_flux(c, u, axis, dt):
        """u c at faces between a cell and the next along the axis: upwind with Van Leer's limiter."""
        ahead, behind, beyond = roll(c, -1, axis), roll(c, 1, axis), roll(c, -2, axis)
        low = jnp.where(u > 0, c, ahead)
        difference = ahead - c
        upwind = jnp.where(u > 0, c - behind, beyond - ahead)
        product = upwind * difference
        limited = jnp.where(product > 0, product / (upwind + difference), 0)
        return u * low + jnp.abs(u) * (1 - dt * jnp.abs(u) / h) * limited

    def advect(c, ux, uy, dt):
        fx, fy = face_flux(c, ux, -2, dt), face_flux(c, uy, -1, dt)
        return -(fx - roll(fx, 1, -2) + fy - roll(fy, 1, -1)) / h

    k = jnp.asarray([min(i, n - i) for i in range(n)], scalar)
    eigen = (2 - 2 * jnp.cos(2 * math.pi * k / n)) / h ** 2
    inverse = eigen[:, None] + eigen[None, :n // 2 + 1]
    inverse = jnp.where(inverse > 0, 1 / jnp.where(inverse > 0, inverse, 1), 0).astype(scalar)
    forcing = jnp.sin(4 * h * (jnp.arange(n, dtype=scalar) + scalar(0.5)))

    def laplacian(c):
        return (roll(c, 1, -1) + roll(c, -1, -1) + roll(c, 1, -2) + roll(c, -1, -2) - 4 * c) / h ** 2

    def step(x, dt):
        u, v = x[:, 0], x[:, 1]
        # Velocities at the faces of the cells around u (right faces) and v (upper faces).
        du = advect(u, (u + roll(u, -1, -2)) / 2, (v + roll(v, -1, -2)) / 2, dt)
        dv = advect(v, (u + roll(u, -1, -1)) / 2, (v + roll(v, -1, -1)) / 2, dt)
        u = u + dt * (du + nu * laplacian(u) + forcing - scalar(0.1) * u)
        v = v + dt * (dv + nu * laplacian(v) - scalar(0.1) * v)
        divergence = (u - roll(u, 1, -2) + v - roll(v, 1, -1)) / h
        pressure = -jnp.fft.irfft2(jnp.fft.rfft2(divergence) * inverse, s=(n, n))
        u = u - (roll(pressure, -1, -2) - pressure) / h
        v = v - (roll(pressure, -1, -1) - pressure) / h
        return jnp.stack([u, v], 1).astype(x.dtype)

    return step


def run(chosen, jax):
    import time

    import jax.numpy as jnp
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    tiny = chosen.tiny

    def sample(call, repetitions):
        begin = time.perf_counter()
        for _ in range(repetitions):
            result = call()
        jax.block_until_ready(result)
        return (time.perf_counter() - begin) / repetitions

    rows = Rows("JAX " + jax.__version__, chosen, sample)

    def flow():
        n, batch, steps = (16, 2, 3) if tiny else (256, 256, 82)
        dt = 0.2 / 82
        generator = np.random.default_rng(1)
        k = np.fft.fftfreq(n, 1 / n)
        low = np.exp(-((np.hypot(k[:, None], np.fft.rfftfreq(n, 1 / n)[None]) - 4) / 2) ** 2)
        start = np.fft.irfft2(np.fft.rfft2(generator.standard_normal((batch, 2, n, n))) * low, s=(n, n))
        start *= 1.5 / np.abs(start).max()

        def transition(scalar):
            step = solver(jnp, n, scalar)
            return jax.jit(lambda x: jax.lax.fori_loop(0, steps, lambda _, y: step(y, scalar(dt)), x))

        x = jnp.asarray(start, jnp.float32)
        single = transition(jnp.float32)
        wide = transition(jnp.float64)(jnp.asarray(start[:2], jnp.float64))
        error = float(jnp.abs(single(x)[:2] - wide).max() / jnp.abs(wide).max())
        cells = batch * n * n * steps
        flops = (4 * 19 + 38 + 3 + 2 + 9 + 5 * math.log2(n * n)) * cells
        rows.time(f"data set/transition of {batch} trajectories", lambda: single(x), error, 1e-3, "the same in double",
                  bytes=16 * 4 * cells, flops=flops, unit="float", items=batch, note="82 inner steps, one jitted loop")

    rows.part("data set", flow)

    def memory():
        n, columns = (8192, 64) if tiny else (1 << 28, 256)
        x = jax.random.uniform(jax.random.key(1), (n,), jnp.float32)
        table = x.reshape(-1, columns)
        total = float(jnp.sum(x, dtype=jnp.float64))
        off = lambda value: abs(float(value) - total) / total
        affine, everything = jax.jit(lambda a: 3 * a - 1), jax.jit(lambda a: a.sum())
        of_rows, of_columns = jax.jit(lambda a: a.sum(1)), jax.jit(lambda a: a.sum(0))
        exact = 3 * x[:1000].astype(jnp.float64) - 1
        rows.time("memory/map of one tensor", lambda: affine(x),
                  float(jnp.abs(affine(x)[:1000] - exact).max() / jnp.abs(exact).max()), 1e-5, "double", bytes=8 * n)
        rows.time("memory/sum of all", lambda: everything(x), off(everything(x)), 1e-5, "double", bytes=4 * n)
        rows.time("memory/sums of rows", lambda: of_rows(table), off(jnp.sum(of_rows(table), dtype=jnp.float64)), 1e-5,
                  "double", bytes=4 * n)
        rows.time("memory/sums of columns", lambda: of_columns(table),
                  off(jnp.sum(of_columns(table), dtype=jnp.float64)), 1e-5, "double", bytes=4 * n)

    rows.part("memory", memory)


if __name__ == "__main__":
    main()
