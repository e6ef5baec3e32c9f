#!/usr/bin/env python3
"""The network of bench_unet in PyTorch, with random weights: evaluation, training step with AdamW, input gradient.

Needs PyTorch on the CPU (Debian, Ubuntu: apt-get install python3-torch). Not part of the build. On one thread the times
are processor time, so that other programs on the machine disturb less; with more, wall time.
"""
import argparse
import math
import resource
import statistics
import time

import torch
from torch import nn
import torch.nn.functional as F


def channel_norm(x):
    variance, mean = torch.var_mean(x, dim=1, keepdim=True, unbiased=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def conv(a, b, stride=1):
    return nn.Conv2d(a, b, 3, stride=stride, padding=1, padding_mode="circular")


class Block(nn.Module):
    def __init__(self, channels, embedding):
        super().__init__()
        self.projection = nn.Linear(embedding, channels)
        self.first, self.second = conv(channels, channels), conv(channels, channels)

    def forward(self, x, e):
        h = channel_norm(x + self.projection(e)[:, :, None, None])
        return x + self.second(F.silu(self.first(h)))


class Network(nn.Module):
    def __init__(self, window=5, channels=(96, 192, 384), blocks=3, embedding=64, size=64):
        super().__init__()
        self.embedding = nn.Sequential(nn.Linear(32, 256), nn.SiLU(), nn.Linear(256, embedding))
        before = (2 * window + 1,) + channels[:-1]
        self.heads = nn.ModuleList(conv(a, b, 2 if l else 1) for l, (a, b) in enumerate(zip(before, channels)))
        after = (2 * window,) + channels[:-1]
        self.tails = nn.ModuleList(conv(b, a) for a, b in zip(after, channels))
        sides = lambda c: nn.ModuleList(Block(c, embedding) for _ in range(blocks))
        self.descent, self.ascent = (nn.ModuleList(sides(c) for c in channels) for _ in range(2))
        self.register_buffer("frequencies", math.pi * torch.arange(1, 17))
        y = 2 * math.pi / size * (torch.arange(size) + 0.5)
        self.register_buffer("forcing", torch.sin(4 * y).expand(1, 1, size, size))

    def forward(self, x, t):
        angle = t[:, None] * self.frequencies
        e = self.embedding(torch.cat([angle.cos(), angle.sin()], -1))
        x = torch.cat([x, self.forcing.expand(x.shape[0], -1, -1, -1)], 1)
        kept = []
        for head, blocks in zip(self.heads, self.descent):
            x = head(x)
            for block in blocks:
                x = block(x, e)
            kept.append(x)
        kept.pop()
        for l in reversed(range(len(self.tails))):
            for block in self.ascent[l]:
                x = block(x, e)
            if l:
                x = self.tails[l](F.interpolate(channel_norm(x), scale_factor=2)) + kept.pop()
            else:
                x = self.tails[0](x)
        return x


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    net = Network()
    assert sum(p.numel() for p in net.parameters()) == 22874922
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-4, weight_decay=1e-3)
    x, noise, t = torch.randn(4, 10, 64, 64), torch.randn(4, 10, 64, 64), torch.rand(4)

    def forward():
        with torch.no_grad():
            net(x, t)

    def gradient():
        optimiser.zero_grad(set_to_none=True)
        (net(x, t) - noise).square().mean().backward()

    def step():
        gradient()
        optimiser.step()

    def guide():
        state = x.clone().requires_grad_()
        torch.autograd.grad((net(state, t) * noise).sum(), state)

    forward_flops = 2 * 4 * 14003601408
    training_flops = 3 * forward_flops - 2 * 4 * 38928384
    for name, call, flops in (
        ("gradient", gradient, training_flops),
        ("training step", step, training_flops),
        ("input gradient", guide, 2 * forward_flops),
        ("forward", forward, forward_flops),
    ):
        if name == "input gradient":
            net.requires_grad_(False)
        call()
        times = []
        for _ in range(options.repetitions):
            begin = clock()
            call()
            times.append(clock() - begin)
        seconds = statistics.median(times)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6
        print(f"{name:16} {seconds:7.3f} s {flops / seconds * 1e-9:7.1f} GFLOP/s, peak so far {peak:6.0f} MB")


if __name__ == "__main__":
    main()
