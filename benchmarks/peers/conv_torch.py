#!/usr/bin/env python3
"""The convolutions of bench_conv in PyTorch: GFLOP/s by the definition's multiply-adds, per processor second.

Needs PyTorch on the CPU (Debian, Ubuntu: apt-get install python3-torch). Not part of the build.
"""
import argparse
import statistics
import time

import torch

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--repetitions", type=int, default=9)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
clock = time.process_time if arguments.threads == 1 else time.perf_counter


def median_time(call):
    call()
    times = []
    for _ in range(arguments.repetitions):
        begin = clock()
        call()
        times.append(clock() - begin)
    return statistics.median(times)


def rates(channels_in, channels_out, points, stride):
    x = torch.randn(4, channels_in, points, points)
    layer = torch.nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, padding_mode="circular")
    flops = 2 * 4 * (points // stride) ** 2 * channels_in * channels_out * 9
    gradient = torch.randn(4, channels_out, points // stride, points // stride)

    def backward(inputs):
        def call():
            torch.autograd.grad(layer(variable), inputs, gradient)

        variable = x.clone().requires_grad_()
        inputs = [variable] if inputs == "field" else [layer.weight]
        return call

    with torch.no_grad():
        forward = median_time(lambda: torch.nn.functional.silu(layer(x)))
        plain = median_time(lambda: layer(x))
    field = median_time(backward("field")) - plain
    kernel = median_time(backward("kernel")) - plain
    return [flops / t / 1e9 for t in (forward, field, kernel)]


print(f"PyTorch {torch.__version__}, {arguments.threads} threads, GFLOP/s: forward with SiLU, gradient of field, of kernel")
for case in [(96, 96, 64, 1), (192, 192, 32, 1), (384, 384, 16, 1), (11, 96, 64, 1), (96, 192, 64, 2), (192, 96, 64, 1), (96, 10, 64, 1)]:
    print("{:4d} to {:4d} channels, {:3d} points, stride {}: ".format(*case), "  ".join(f"{r:6.0f}" for r in rates(*case)))
