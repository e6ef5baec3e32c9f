#!/usr/bin/env python3
"""EM from samples in scikit-learn, on the points and from the start of bench_gmm_samples: time of an iteration on one
thread, and the mean log density after ten, which must agree with kolmo's.

    bench_gmm_samples --write FOLDER && gmm_samples_sklearn.py FOLDER

Needs scikit-learn (Debian, Ubuntu: apt-get install python3-sklearn). Not part of the build.
"""
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import pathlib
import time
import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

warnings.filterwarnings("ignore")


def fit(points, means, covariances, kind, iterations):
    if kind in ("full", "tied"):
        precisions = np.linalg.inv(covariances)
    else:
        precisions = 1 / covariances
    k = len(means)
    mixture = GaussianMixture(k, covariance_type=kind, tol=0, reg_covar=0, max_iter=iterations, init_params="random",
                              weights_init=np.full(k, 1 / k), means_init=means, precisions_init=precisions)
    begin = time.process_time()
    mixture.fit(points)
    return time.process_time() - begin, mixture


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="what bench_gmm_samples --write has written")
    parser.add_argument("--kinds", nargs="+", default=["full", "tied", "diag", "spherical"])
    arguments = parser.parse_args()
    points = np.load(arguments.folder / "points.npy")
    means = np.load(arguments.folder / "means.npy")
    for kind in arguments.kinds:
        covariances = np.load(arguments.folder / f"covariances_{kind}.npy")
        short, _ = fit(points, means, covariances, kind, 2)
        long, mixture = fit(points, means, covariances, kind, 10)
        print(f"{kind}: {(long - short) / 8 * 1e3:.0f} ms an iteration, mean log density after 10: "
              f"{mixture.score(points):.10f}", flush=True)
    begin = time.process_time()
    k_means = KMeans(len(means), n_init=1, max_iter=20, tol=0, random_state=0, algorithm="lloyd").fit(points)
    print(f"k-means, {k_means.n_iter_} iterations: {time.process_time() - begin:.2f} s, inertia {k_means.inertia_:.6g}")


if __name__ == "__main__":
    main()
