#!/usr/bin/env python3
"""The learned fitter's network in PyTorch, with random weights, at the sizes of bench_gmm: time per fit on one thread.

Needs PyTorch on the CPU (Debian, Ubuntu: apt-get install python3-torch). Not part of the build.
"""
import argparse
import statistics
import time

import torch
from torch import nn


def block(inputs, width):
    return [nn.Linear(inputs, width), nn.LayerNorm(width), nn.ReLU()]


class Lamf(nn.Module):
    """Initial network, then six refinements of one damped EM step with bounded corrections."""

    def __init__(self, points=96, components=5, iterations=6):
        super().__init__()
        self.components, self.iterations = components, iterations
        self.initial = nn.Sequential(
            *block(3 * points + 2, 256), *block(256, 256), *block(256, 256), nn.Linear(256, 3 * components)
        )
        self.refine = nn.Sequential(*block(12, 128), *block(128, 128), nn.Linear(128, 3))
        self.temperature = nn.Parameter(torch.zeros(iterations))
        self.blend = nn.Parameter(torch.zeros(iterations))

    def forward(self, w, z, features):
        k = self.components
        raw = self.initial(features)
        weight = torch.log_softmax(raw[:, :k], -1)
        gaps = nn.functional.softplus(raw[:, k + 1 : 2 * k]) + 1e-4
        mean = raw[:, k : k + 1] + torch.cat([torch.zeros_like(raw[:, :1]), torch.cumsum(gaps, -1)], -1)
        deviation = torch.log(nn.functional.softplus(raw[:, 2 * k :]) + 0.1)
        for t in range(self.iterations):
            inverse_temperature = 1 / (nn.functional.softplus(self.temperature[t]) + 0.1)
            q = (z[:, :, None] - mean[:, None]) * torch.exp(-deviation)[:, None]
            score = (weight - deviation)[:, None] - 0.5 * q * q
            p = w[:, :, None] * torch.softmax(score * inverse_temperature, -1)
            n = p.sum(1).clamp_min(1e-8)
            e1, e2 = (p * q).sum(1) / n, (p * q**2).sum(1) / n
            e3, e4 = (p * q**3).sum(1) / n, (p * q**4).sum(1) / n - 3
            half_log = 0.5 * torch.log((e2 - e1 * e1).clamp_min(1e-8))
            step = torch.exp(deviation) * e1
            x = torch.stack(
                [weight, mean, deviation, n, mean + step, deviation + half_log, torch.log(n) - weight, step, half_log]
                + [torch.sign(e) * torch.log1p(torch.abs(e)) for e in (e3, e4)]
                + [torch.full_like(n, -2.0)],
                -1,
            )
            correction = 0.5 * torch.tanh(self.refine(x))
            b = torch.sigmoid(self.blend[t])
            weight = torch.log_softmax((1 - b) * weight + b * torch.log(n) + correction[..., 0], -1)
            mean = (1 - b) * mean + b * x[..., 4] + correction[..., 1]
            deviation = ((1 - b) * deviation + b * x[..., 5] + correction[..., 2]).clamp(-3, 1.1)
            mean, order = torch.sort(mean, -1)
            weight, deviation = torch.gather(weight, -1, order), torch.gather(deviation, -1, order)
        return weight, mean, deviation


def data(batch, points=96):
    z = torch.linspace(-4, 4, points).repeat(batch, 1)
    w = torch.softmax(-0.5 * z * z + 0.1 * torch.randn(batch, 1) * z, -1)
    features = torch.cat([w, 0.1 * torch.log(w + 1e-12), torch.cumsum(w, -1), torch.zeros(batch, 2)], -1)
    return w, z, features


def median_time(call, repetitions):
    for _ in range(3):
        call()
    times = []
    for _ in range(repetitions):
        begin = time.thread_time()
        call()
        times.append(time.thread_time() - begin)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=30, help="runs of which the median is taken")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Lamf()
    print(f"PyTorch {torch.__version__}, {sum(p.numel() for p in model.parameters())} parameters, one thread")
    with torch.no_grad():
        for batch in (1, 256):
            w, z, features = data(batch)
            seconds = median_time(lambda: model(w, z, features), arguments.repetitions)
            print(f"forward, batch {batch:3}: {seconds / batch * 1e6:8.1f} us per fit")
    w, z, features = data(64)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-9)

    def step():
        weight, mean, deviation = model(w, z, features)
        q = (z[:, :, None] - mean[:, None]) * torch.exp(-deviation)[:, None]
        log_density = torch.logsumexp((weight - deviation)[:, None] - 0.5 * q * q - 0.9189385, -1)
        error = torch.exp(log_density) - w / (z[:, 1:2] - z[:, :1])
        loss = -(w * log_density).sum(1).mean() + 0.2 * error.square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    seconds = median_time(step, arguments.repetitions)
    print(f"training step, batch 64: {seconds / 64 * 1e6:8.1f} us per density")


if __name__ == "__main__":
    main()
