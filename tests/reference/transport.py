"""Distances between sets of points by SciPy and plain NumPy, for tests/test_score_metrics.cpp: writes transport.npz."""

import pathlib

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

rng = np.random.default_rng(20240112)
out = {}

a = rng.normal(size=(60, 7))
b = rng.normal(size=(60, 7)) * 1.3 + 0.4
cost = cdist(a, b)
rows, columns = linear_sum_assignment(cost)
out["points_a"], out["points_b"] = a, b
out["points_w1"] = cost[rows, columns].mean()

# Small integers: many optimal assignments, one optimal cost.
ties = rng.integers(0, 4, size=(6, 25, 25)).astype(float)
out["ties"] = ties
out["ties_cost"] = np.array([c[linear_sum_assignment(c)].sum() for c in ties])
# Costs over ten decades, some negative.
wide = rng.normal(size=(4, 30, 30)) * 10.0 ** rng.uniform(-5, 5, size=(4, 30, 30))
out["wide"] = wide
out["wide_cost"] = np.array([c[linear_sum_assignment(c)].sum() for c in wide])

x, y = rng.normal(size=13), np.round(rng.normal(size=29) * 2, 1)
out["line_x"], out["line_y"] = x, y
out["line_w1"] = wasserstein_distance(x, y)


def kernels(p, q):
    squares = cdist(p, q, "sqeuclidean")
    return sum(np.exp(-squares / s) for s in (1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3)).mean()


out["points_mmd"] = kernels(a, a) + kernels(b[:40], b[:40]) - 2 * kernels(a, b[:40])

members, truth = rng.normal(size=(9, 4, 5)), rng.normal(size=(4, 5))
pairs = np.abs(members[:, None] - members[None]).mean((0, 1))
error = np.abs(members - truth).mean(0)
out["members"], out["truth"] = members, truth
out["crps"] = (error - 0.5 * pairs).mean()
out["crps_fair"] = (error - 0.5 * pairs * 9 / 8).mean()
out["spread"] = np.sqrt(members.var(0, ddof=1).mean())
out["skill"] = np.sqrt(((members.mean(0) - truth) ** 2).mean())

np.savez(pathlib.Path(__file__).with_name("transport.npz"), **{k: np.asarray(v, dtype=np.float64) for k, v in out.items()})
