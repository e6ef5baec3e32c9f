"""Values and gradients of score networks from their equations, in PyTorch and double precision.

Run `python3 score_networks.py` in this folder: it writes score_*.npz, which tests/test_score_parity.cpp reads.
Parameters, inputs and cotangents come from `numbers`, which the test has as well; parameter i of a network, in the order
of its fields, is numbers(i) / 4. Linear weights are [in, out], kernels [out, in, k...], fields channels-last inside the
U-Net. The loss is the sum of cotangent * output; 'g.NAME' is its gradient.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def numbers(stream, shape):
    """Reproducible values in [-1, 1), exact in float."""
    mask = 0xFFFFFFFF
    result = []
    for i in range(int(np.prod(shape))):
        h = ((i + 1) * 2654435761 ^ (stream + 1) * 2246822519) & mask
        h ^= h >> 15
        h = h * 2246822519 & mask
        h ^= h >> 13
        result.append((h >> 8) / 2**23 - 1)
    return torch.tensor(result).reshape(shape)


X, T, U, M, C = 1000, 1001, 1002, 1003, 1004  # streams of input, time, cotangent, modulation or embedding, context


def channel_norm(x, m=None):
    """Over the last axis; m is [batch, channels]."""
    if m is not None:
        x = x + m.reshape((m.shape[0],) + (1,) * (x.ndim - 2) + (m.shape[1],))
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).sum(-1, keepdim=True) / (x.shape[-1] - 1)
    return centred / torch.sqrt(variance + 1e-5)


def silu(x):
    return x / (1 + torch.exp(-x))


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def elu(x):
    return torch.where(x > 0, x, torch.expm1(torch.clamp(x, max=0)))


def selu(x):
    scale, alpha = 1.0507009873554804934, 1.6732632423543772848
    return scale * torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0)))


class Parameters:
    """Named tensors in the order of declaration."""

    def __init__(self):
        self.values = {}

    def add(self, name, *shape):
        self.values[name] = (numbers(len(self.values), shape) / 4).requires_grad_()

    def linear(self, name, a, b):
        self.add(name + ".weight", a, b)
        self.add(name + ".bias", b)

    def conv(self, name, a, b, kernel):
        self.add(name + ".weight", b, a, *kernel)
        self.add(name + ".bias", b)

    def apply(self, name, x):
        return x @ self.values[name + ".weight"] + self.values[name + ".bias"]


def embedding_parameters(p, name, features):
    p.linear(name + "hidden", 32, 256)
    p.linear(name + "output", 256, features)


def embed(p, name, t):
    angle = t[..., None] * (math.pi * torch.arange(1, 17))
    features = torch.cat([torch.cos(angle), torch.sin(angle)], -1)
    return p.apply(name + "output", silu(p.apply(name + "hidden", features)))


def mlp_parameters(p, name, widths):
    for i, (a, b) in enumerate(zip(widths[:-1], widths[1:])):
        if a != b:
            p.linear(f"{name}stages.{i}.change", a, b)
        p.linear(f"{name}stages.{i}.first", b, b)
        p.linear(f"{name}stages.{i}.second", b, b)


def mlp(p, name, widths, act, x):
    for i, (a, b) in enumerate(zip(widths[:-1], widths[1:])):
        if a != b:
            x = p.apply(f"{name}stages.{i}.change", x)
        x = x + p.apply(f"{name}stages.{i}.second", act(p.apply(f"{name}stages.{i}.first", channel_norm(x))))
    return x


def convolve(p, name, x, padding, stride=1):
    """x channels-last; the border by indices, so that every mode is spelled out."""
    w, b = p.values[name + ".weight"], p.values[name + ".bias"]
    for axis in range(1, x.ndim - 1):
        n, pad = x.shape[axis], w.shape[axis + 1] // 2
        index = torch.arange(-pad, n + pad)
        if padding == "circular":
            source = index % n
        elif padding == "reflect":
            source = (n - 1) - (index.abs() - (n - 1)).abs()
        else:
            source = index.clamp(0, n - 1)
        x = x.index_select(axis, source)
        if padding == "zeros":
            inside = ((index >= 0) & (index < n)).to(x.dtype)
            x = x * inside.reshape((1,) * axis + (-1,) + (1,) * (x.ndim - 1 - axis))
    conv = F.conv1d if x.ndim == 3 else F.conv2d
    return conv(x.movedim(-1, 1), w, b, stride=stride).movedim(1, -1)


def unet_parameters(p, o):
    kernel = (3,) * o["spatial"]
    channels = o["channels"]
    for l, c in enumerate(channels):
        name = f"levels.{l}."
        before = channels[l - 1] if l else o["in"]
        p.conv(name + "head", before, c, kernel)
        for side in ("descent", "ascent"):
            for i in range(o["blocks"][l]):
                block = f"{name}{side}.{i}."
                p.linear(block + "projection", o["embedding"], c)
                p.conv(block + "first", c, c, kernel)
                p.conv(block + "second", c, c, kernel)
        p.conv(name + "tail", c, channels[l - 1] if l else o["out"], kernel)


def unet(p, o, x, e):
    act, padding, stride = o["act"], o["padding"], o["stride"]

    def blocks(x, l, side):
        for i in range(o["blocks"][l]):
            name = f"levels.{l}.{side}.{i}."
            h = channel_norm(x, p.apply(name + "projection", e))
            h = act(convolve(p, name + "first", h, padding))
            x = x + convolve(p, name + "second", h, padding)
        return x

    depth, kept = len(o["channels"]), []
    for l in range(depth):
        x = blocks(convolve(p, f"levels.{l}.head", x, padding, stride if l else 1), l, "descent")
        kept.append(x)
    for l in reversed(range(depth)):
        x = blocks(x, l, "ascent")
        if l:
            x = channel_norm(x)
            for axis in range(1, x.ndim - 1):
                x = x.repeat_interleave(stride, axis).narrow(axis, 0, kept[l - 1].shape[axis])
            x = convolve(p, f"levels.{l}.tail", x, padding) + kept[l - 1]
        else:
            x = convolve(p, "levels.0.tail", x, padding)
    return x


def write(name, p, inputs, y, digest=()):
    """Large gradients named in `digest` are stored as their product with numbers(U) from the right."""
    u = numbers(U, y.shape)
    leaves = {**p.values, **inputs}
    gradients = torch.autograd.grad((u * y).sum(), list(leaves.values()), allow_unused=True)
    arrays = {"y": y.detach().numpy()}
    for key, g in zip(leaves, gradients):
        arrays["g." + key] = (g @ numbers(U, (g.shape[-1],)) if key in digest else g).numpy()
    np.savez(f"score_{name}.npz", **arrays)


def norm_case():
    x, m = numbers(X, (2, 3, 4, 5)).requires_grad_(), numbers(M, (2, 5)).requires_grad_()
    write("channel_norm", Parameters(), {"x": x, "m": m}, channel_norm(x, m))


def embedding_case():
    p = Parameters()
    embedding_parameters(p, "", 5)
    t = ((numbers(T, (3,)) + 1) / 2).requires_grad_()
    write("time_embedding", p, {"t": t}, embed(p, "", t), digest=["hidden.weight"])


def mlp_case(name, act):
    p, widths = Parameters(), [3, 6, 6, 4]
    mlp_parameters(p, "", widths)
    x = numbers(X, (4, 3)).requires_grad_()
    write("res_mlp_" + name, p, {"x": x}, mlp(p, "", widths, act, x))


def unet_case(name, grid, padding, act, stride=2, channels=(3, 4, 5), blocks=(1, 1, 1)):
    o = {"in": 3, "out": 2, "embedding": 3, "channels": channels, "blocks": blocks, "spatial": len(grid), "act": act,
         "padding": padding, "stride": stride}
    p = Parameters()
    unet_parameters(p, o)
    x, e = numbers(X, (2, *grid, 3)).requires_grad_(), numbers(M, (2, 3)).requires_grad_()
    write("unet_" + name, p, {"x": x, "e": e}, unet(p, o, x, e))


def score_net(p, features, context, widths, x, t, c):
    e = embed(p, "embedding.", t)
    parts = [x, e.reshape((-1,) + (1,) * (x.ndim - 2) + e.shape[-1:]).expand(*x.shape[:-1], e.shape[-1])]
    if context:
        parts.append(c.expand(*x.shape[:-1], context))
    return mlp(p, "network.", widths, silu, torch.cat(parts, -1))


def score_net_parameters(features, context, widths, embedding):
    p = Parameters()
    embedding_parameters(p, "embedding.", embedding)
    mlp_parameters(p, "network.", widths)
    return p


def score_net_case():
    widths = [3 + 4 + 2, 6, 6, 3]
    p = score_net_parameters(3, 2, widths, 4)
    x, t, c = numbers(X, (2, 5, 3)).requires_grad_(), (numbers(T, (2,)) + 1) / 2, numbers(C, (2,))
    write("net", p, {"x": x}, score_net(p, 3, 2, widths, x, t, c), digest=["embedding.hidden.weight"])


def markov_case(name, order, length, stride, rule):
    """A network of windows over a trajectory [2, length, 3]; times per trajectory."""
    w = 2 * order + 1
    widths = [3 * w + 4, 6, 3 * w]
    p = score_net_parameters(3 * w, 0, widths, 4)
    x, t = numbers(X, (2, length, 3)).requires_grad_(), (numbers(T, (2,)) + 1) / 2
    starts = list(range(0, length - w + 1, stride))
    assert starts[-1] == length - w
    out = [score_net(p, 3 * w, 0, widths, x[:, s:s + w].reshape(2, 3 * w), t, None).reshape(2, w, 3) for s in starts]
    if rule == "average":
        frames = [torch.stack([y[:, f - s] for s, y in zip(starts, out) if s <= f < s + w]).mean(0) for f in range(length)]
        y = torch.stack(frames, 1)
    else:
        i = (w - stride) // 2 if rule == "symmetrical" else w - stride
        pieces = []
        for k, z in enumerate(out):
            begin = 0 if k == 0 else i
            end = w if k == len(out) - 1 else i + stride
            pieces.append(z[:, begin:end])
        y = torch.cat(pieces, 1)
    assert y.shape == x.shape
    write("markov_" + name, p, {"x": x}, y, digest=["embedding.hidden.weight"])


norm_case()
embedding_case()
for kind, function in (("elu", elu), ("gelu", gelu), ("selu", selu), ("relu", F.relu), ("silu", silu)):
    mlp_case(kind, function)
unet_case("1d_zeros", (13,), "zeros", silu)
unet_case("1d_circular", (12,), "circular", gelu)
unet_case("2d_circular", (8, 12), "circular", silu)
unet_case("2d_zeros_odd", (7, 9), "zeros", elu, channels=(3, 4), blocks=(1, 1))
unet_case("2d_reflect_odd", (7, 10), "reflect", silu, stride=3, channels=(3, 4), blocks=(0, 2))
unet_case("2d_replicate", (5, 4), "replicate", silu, channels=(3, 4), blocks=(1, 1))
score_net_case()
markov_case("symmetrical", 2, 7, 1, "symmetrical")
markov_case("stride", 2, 11, 3, "symmetrical")
markov_case("causal", 1, 7, 2, "causal")
markov_case("average", 1, 5, 1, "average")
