"""Bfloat16 products and convolutions of bench_bf16.cpp in PyTorch, on one thread: GFLOP/s of processor time.

    python3 benchmarks/peers/bf16_torch.py
"""

import time

import torch


def fastest(call, repetitions=5):
    best = float("inf")
    for _ in range(repetitions):
        begin = time.thread_time()
        call()
        best = min(best, time.thread_time() - begin)
    return best


def main():
    torch.set_num_threads(1)
    print("torch", torch.__version__)
    for dtype in (torch.bfloat16, torch.float32):
        for channels, points in ((96, 64), (192, 32), (384, 16)):
            a = torch.randn(4096, 9 * channels).to(dtype)
            b = torch.randn(9 * channels, channels).to(dtype)
            work = 2e-9 * 4096 * 9 * channels**2
            print(f"{dtype} product {channels}: {work / fastest(lambda: a @ b):.1f} GFLOP/s")
            x = torch.randn(4, channels, points, points).to(dtype).to(memory_format=torch.channels_last)
            x.requires_grad_()
            conv = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(dtype)
            conv = conv.to(memory_format=torch.channels_last)
            gradient = torch.randn_like(x)
            work = 2e-9 * 4 * points**2 * 9 * channels**2
            with torch.no_grad():
                forward = fastest(lambda: conv(x))
            both = fastest(lambda: torch.autograd.grad(conv(x), (x, conv.weight), gradient))
            print(f"{dtype} convolution {channels}: forward {work / forward:.1f} GFLOP/s, "
                  f"forward and both gradients {3 * work / both:.1f} GFLOP/s")


if __name__ == "__main__":
    main()
