"""Traces of the samplers of score/sampler.hpp, computed with NumPy alone: python3 score_samplers.py > score_samplers.hpp

Schedules, grids, steps and the random numbers (Philox4x32-10 with Box-Muller) are written from their definitions; the
weights of the multistep methods come from integrating Lagrange polynomials by Gauss-Legendre quadrature.
"""
import numpy as np

MASK = (1 << 32) - 1


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def block(key, index, purpose):
    return philox([index & MASK, index >> 32, purpose, 0], [key & MASK, key >> 32])


def fold_in(key, index):
    b = block(key, index, 1)
    return (b[1] << 32) | b[0]


def normal(key, shape):
    values = []
    for i in range(int(np.prod(shape))):
        b = block(key, i, 0)
        uniform = [(((b[j + 1] << 32) | b[j]) >> 12) / 2.0**52 + 2.0**-53 for j in (0, 2)]
        values.append(np.sqrt(-2 * np.log(uniform[0])) * np.cos(2 * np.pi * uniform[1]))
    return np.array(values).reshape(shape)


ETA = 1e-3


def mu(t):
    return np.cos(np.arccos(np.sqrt(ETA)) * t) ** 2


def sigma(t):
    return np.sqrt(1 - mu(t) ** 2 + ETA**2)


def rho(t):
    return sigma(t) / mu(t)


def time_of_rho(r):
    # sigma^2 = 1 - mu^2 + eta^2 = r^2 mu^2
    m = np.sqrt((1 + ETA**2) / (1 + r * r))
    return np.arccos(np.sqrt(m)) / np.arccos(np.sqrt(ETA))


def grid(policy, n):
    f = np.arange(n + 1) / n
    if policy == "uniform_time":
        t = 1 - f
    elif policy == "power_time":
        t = (1 - f) ** 2.0
    elif policy == "log_rho":
        t = time_of_rho(np.exp((1 - f) * np.log(rho(1)) + f * np.log(rho(0))))
    else:
        t = time_of_rho(((1 - f) * rho(1) ** (1 / 7) + f * rho(0) ** (1 / 7)) ** 7)
    t[0], t[-1] = 1, 0
    return t


def estimate(x, t):
    """Near that of data of variance one half, but not linear."""
    return sigma(t) * x / (0.5 * mu(t) ** 2 + sigma(t) ** 2) + 0.1 * mu(t) * np.sin(3 * x + t)


def lagrange_weights(kernel, nodes, a, b):
    s, w = np.polynomial.legendre.leggauss(40)
    at, w = (b - a) / 2 * s + (a + b) / 2, w * (b - a) / 2
    result = []
    for j in range(len(nodes)):
        p = np.ones_like(at)
        for i in range(len(nodes)):
            if i != j:
                p *= (at - nodes[i]) / (nodes[j] - nodes[i])
        result.append(np.sum(w * kernel(at) * p))
    return result


def sample(method, policy, n, order=1, eta=0.0, temperature=1.0, corrections=0, corrector="langevin", tau=0.5):
    x = normal(11, (2, 3))
    key = 12
    times, past = grid(policy, n), []
    for i in range(n):
        t, u = times[i], times[i + 1]
        mt, mu_, st, su = mu(t), mu(u), sigma(t), sigma(u)
        step_key = fold_in(key, i)
        z = estimate(x, t)
        xhat = (x - st * z) / mt
        noise = normal(fold_in(step_key, 0), x.shape)
        if method == "ddim":
            level = min(max(eta * (1 - (mt * su / (mu_ * st)) ** 2), 0), 1)
            new = mu_ * xhat + su * np.sqrt(1 - level) * z + su * np.sqrt(level) * noise
        elif method == "heun":
            euler = mu_ * xhat + su * z
            mean = (z + estimate(euler, u)) / 2
            new = mu_ / mt * x + (su - mu_ / mt * st) * mean
        elif method == "ito":
            new = (mu_ / mt * x + (1 + eta**2) / temperature * (su / st - mu_ / mt) * (x - mt * xhat)
                   + eta * mu_ * np.sqrt(abs((st / mt) ** 2 - (su / mu_) ** 2)) * noise)
        else:
            nt, nu = np.hypot(mt, st), np.hypot(mu_, su)
            variable, q = {"adams_bashforth": (rho, z), "multistep_eps": (lambda s: np.log(rho(s)), z),
                           "multistep_xhat": (lambda s: np.log(rho(s)), xhat),
                           "multistep_v": (lambda s: np.arctan(rho(s)), (mt * z - st * xhat) / nt)}[method]
            past = [(variable(t), q)] + past[:order - 1]
            kernel = {"multistep_eps": np.exp, "multistep_xhat": lambda l: np.exp(-l)}.get(method, np.ones_like)
            c = lagrange_weights(kernel, [p[0] for p in past], variable(t), variable(u))
            total = sum(cj * p[1] for cj, p in zip(c, past))
            new = {"multistep_xhat": lambda: su / st * x - su * total,
                   "multistep_v": lambda: nu / nt * x + nu * total}.get(method, lambda: mu_ / mt * x + mu_ * total)()
        x = new
        for c in range(corrections):
            e, noise = estimate(x, u), normal(fold_in(step_key, c + 1), x.shape)
            if corrector != "variance_preserving":
                delta = tau / np.mean(e**2, axis=1, keepdims=True)
                x = x - su * (delta * e + np.sqrt((2 if corrector == "langevin" else 2 - tau) * delta) * noise)
            else:
                clean = (x - su * e) / mu_
                x = mu_ * clean + np.sqrt(1 - tau) * (x - mu_ * clean) + np.sqrt(tau) * su * noise
    return x


RUNS = [
    ("ddim", "uniform_time", 16, dict()),
    ("ddim", "uniform_time", 16, dict(corrections=2, tau=0.25)),
    ("ddim", "log_rho", 16, dict(corrections=1, tau=0.4, corrector="balanced_langevin")),
    ("ddim", "power_time", 12, dict(eta=1.0)),
    ("ddim", "power_rho", 12, dict(eta=0.4)),
    ("heun", "log_rho", 10, dict()),
    ("ito", "log_rho", 20, dict(eta=1.0)),
    ("ito", "power_time", 20, dict(eta=0.5, temperature=1.05)),
    ("adams_bashforth", "power_time", 12, dict(order=4)),
    ("adams_bashforth", "log_rho", 12, dict(order=2)),
    ("multistep_eps", "log_rho", 12, dict(order=3)),
    ("multistep_eps", "power_rho", 12, dict(order=4)),
    ("multistep_xhat", "log_rho", 12, dict(order=2)),
    ("multistep_xhat", "log_rho", 12, dict(order=3, corrections=1, corrector="variance_preserving", tau=0.1)),
    ("multistep_v", "log_rho", 12, dict(order=3)),
]

if __name__ == "__main__":
    print("// Written by score_samplers.py; do not edit.\n#pragma once\n")
    print("struct SamplerReference {\n  const char* method;\n  const char* grid;\n  int steps, order, corrections;")
    print("  const char* corrector;\n  double eta, temperature, tau;\n  double x[6];\n};\n")
    print("inline const SamplerReference sampler_references[] = {")
    for method, policy, n, options in RUNS:
        x = sample(method, policy, n, **options).ravel()
        o = dict(order=1, eta=0.0, temperature=1.0, corrections=0, corrector="langevin", tau=0.5)
        o.update(options)
        print('    {"%s", "%s", %d, %d, %d, "%s", %r, %r, %r,\n     {%s}},' %
              (method, policy, n, o["order"], o["corrections"], o["corrector"],
               o["eta"], o["temperature"], o["tau"], ", ".join(repr(float(v)) for v in x)))
    print("};")
