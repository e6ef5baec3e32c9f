"""Residual quantization of bench_rvq.cpp in FAISS and PyTorch: 8 stages of 1024 codewords, N(0, I_64), 1e5 vectors.

    OPENBLAS_NUM_THREADS=1 python3 benchmarks/peers/rvq_faiss.py [--threads 1] [--repetitions 3] [--train]

Prints the time for one vector, medians: processor time of the process with one thread, else the wall clock. The tables
are FAISS's, trained on 20,000 vectors, or with --train on all 1e5, whose time and errors are then printed as well.
"""

import argparse
import statistics
import time

import faiss
import numpy as np
import torch

STAGES, BITS, DIMENSION = 8, 10, 64


def median_of(call, clock, repetitions):
    call()
    times = []
    for _ in range(repetitions):
        begin = clock()
        call()
        times.append(clock() - begin)
    return statistics.median(times)


def torch_encode(tables, x, chunk):
    """Codes by addmm and argmin, `chunk` vectors at a time."""
    half_norms = [0.5 * (t * t).sum(1) for t in tables]
    codes = []
    for begin in range(0, len(x), chunk):
        residual = x[begin:begin + chunk].clone()
        columns = []
        for table, half_norm in zip(tables, half_norms):
            column = torch.addmm(half_norm, residual, table.T, alpha=-1).argmin(1)
            residual -= table[column]
            columns.append(column)
        codes.append(torch.stack(columns, 1))
    return torch.cat(codes)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--vectors", type=int, default=100000)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    faiss.omp_set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    generator = np.random.default_rng(3)
    train = generator.standard_normal((100000 if options.train else 20000, DIMENSION), dtype=np.float32)
    held_out = generator.standard_normal((20000, DIMENSION), dtype=np.float32)
    x = np.random.default_rng(1).standard_normal((options.vectors, DIMENSION), dtype=np.float32)
    print("faiss", faiss.__version__, "torch", torch.__version__, "threads", options.threads)

    quantizer = faiss.ResidualQuantizer(DIMENSION, STAGES, BITS)
    quantizer.train_type = faiss.ResidualQuantizer.Train_default
    quantizer.cp.niter = 25
    quantizer.max_beam_size = 1
    begin = clock()
    quantizer.train(train)
    if options.train:
        print(f"faiss training, beam 1: {clock() - begin:.2f} s")
    for beam in (1, 5):
        quantizer.max_beam_size = beam
        seconds = median_of(lambda: quantizer.compute_codes(x), clock, options.repetitions)
        print(f"faiss encoding, beam {beam}: {1e6 * seconds / len(x):.2f} us per vector")
        if options.train:
            decoded = quantizer.decode(quantizer.compute_codes(held_out))
            print(f"  held-out error per dimension {np.mean((held_out - decoded) ** 2):.4f}")

    tables = torch.from_numpy(faiss.vector_to_array(quantizer.codebooks).reshape(STAGES, 1 << BITS, DIMENSION).copy())
    vectors = torch.from_numpy(x)
    for chunk in (2048, len(x)):
        seconds = median_of(lambda: torch_encode(tables, vectors, chunk), clock, options.repetitions)
        print(f"torch addmm and argmin, chunks of {chunk}: {1e6 * seconds / len(x):.2f} us per vector")


if __name__ == "__main__":
    main()
