"""Losses of two waves by PyTorch and NumPy, for tests/test_rvq_losses.cpp: writes rvq_losses.npz. Run by hand."""

import pathlib

import numpy as np
import torch

rng = np.random.default_rng(17)
rate, points = 8000.0, 700
time = np.arange(points) / rate
clean = np.stack([0.3 * np.sin(2 * np.pi * 440 * time * (1 + time)), 0.1 * np.sign(np.sin(2 * np.pi * 150 * time))])
reference = torch.tensor(clean + 0.01 * rng.normal(size=clean.shape))
estimate = torch.tensor(0.8 * clean + 0.03 * rng.normal(size=clean.shape), requires_grad=True)


def spectrum(x, size, normalised=False):
    window = torch.hann_window(size, dtype=torch.float64)
    if normalised:
        window = window / window.square().sum().sqrt()
    return torch.stft(x, size, size // 4, size, window, center=True, pad_mode="reflect", return_complex=True).abs()


def slaney(f):
    f = np.asarray(f, float)
    return np.where(f < 1000, f / (200 / 3), 15 + np.log(np.maximum(f, 1000) / 1000) / (np.log(6.4) / 27))


def htk(f):
    return 1127.0104802 * np.log1p(np.asarray(f, float) / 700)  # 2595 / ln 10 to eight digits


def bank(size, bands, low, high, scale, area):
    """Triangles by interpolation; the corners by inverting the scale on a fine grid and bisection."""
    targets = np.linspace(scale(low), scale(high), bands + 2)
    a, b = np.zeros(bands + 2), np.full(bands + 2, rate)
    for _ in range(200):
        middle = (a + b) / 2
        below = scale(middle) < targets
        a, b = np.where(below, middle, a), np.where(below, b, middle)
    corners, f = (a + b) / 2, np.arange(size // 2 + 1) * rate / size
    rows = [np.interp(f, corners[i:i + 3], [0, 1, 0]) for i in range(bands)]
    if area:
        rows = [2 * r / (corners[i + 2] - corners[i]) for i, r in enumerate(rows)]
    return torch.tensor(np.array(rows))


def mel(x, size, bands, low, scale, area, power=1, normalised=False):
    return bank(size, bands, low, rate / 2, scale, area) @ spectrum(x, size, normalised) ** power


def dac(r, e):
    total = 0
    for size in (32, 64, 128, 256):
        m = [mel(x, size, 5 * size // 32, 0, slaney, True).clamp(1e-5).log10() for x in (r, e)]
        total = total + (m[0] - m[1]).abs().mean()
    return total


def encodec(r, e):
    total = 0
    for size in (64, 256):
        m = [mel(x, size, 64, 64, htk, False, 2, True) for x in (r, e)]
        total = total + (m[0] - m[1]).abs().mean() + ((1e-5 + m[0]).log10() - (1e-5 + m[1]).log10()).square().mean()
    return total / 2


def soundstream(r, e):
    total = 0
    for size in (64, 256):
        m = [mel(x, size, 64, 0, htk, False) for x in (r, e)]
        logs = (m[0].clamp(1e-5).log() - m[1].clamp(1e-5).log()).square().sum(1).sqrt()
        total = total + ((m[0] - m[1]).abs().sum() + np.sqrt(size / 2) * logs.sum()) / len(r)
    return total


def multi_resolution(r, e):
    total = 0
    for size in (256, 128):
        m = [spectrum(x, size) for x in (r, e)]
        total = total + (m[0] - m[1]).norm() / m[0].norm()
        total = total + (m[0].clamp(1e-5).log() - m[1].clamp(1e-5).log()).abs().mean()
    return total / 2


def stft_distance(r, e):
    total = 0
    for size in (512, 256):
        m = [spectrum(x, size) for x in (r, e)]
        total = total + (m[0].clamp(1e-5).square().log10() - m[1].clamp(1e-5).square().log10()).abs().mean()
        total = total + (m[0] - m[1]).abs().mean()
    return total


def si_sdr(r, e):
    r, e = r - r.mean(1, keepdim=True), e - e.mean(1, keepdim=True)
    target = (r * e).sum(1, keepdim=True) / r.square().sum(1, keepdim=True) * r
    return (10 * (target.square().sum(1) / (target - e).square().sum(1)).log10()).mean()


out = {"reference": reference, "estimate": estimate, "slaney_bank": bank(64, 10, 0, 4000.0, slaney, True).T,
       "htk_bank": bank(64, 8, 64, 4000.0, htk, False).T}
for loss in (dac, encodec, soundstream, multi_resolution, stft_distance, si_sdr):
    value = loss(reference, estimate)
    out[loss.__name__] = value
    out[loss.__name__ + "_gradient"] = torch.autograd.grad(value, estimate)[0]
out = {k: v for k, v in out.items() if k not in ("stft_distance_gradient", "si_sdr_gradient")}
np.savez(pathlib.Path(__file__).with_name("rvq_losses.npz"), **{k: v.detach().numpy() for k, v in out.items()})
print({k: float(v) for k, v in out.items() if v.ndim == 0})
