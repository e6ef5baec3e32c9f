#!/usr/bin/env python3
"""The goals of benchmarks/gpu_report in PyTorch on a GPU: the score U-Net in channels last, eager, as a CUDA graph and
by torch.compile, a guided step of the sampler, residual quantization by addmm and argmin, maps, reductions, scans,
products, convolutions.

Needs PyTorch with CUDA. Not part of the build. Prints the JSON lines of benchmarks/gpu (gpu_rows.py).
"""
import contextlib

from gpu_rows import Rows, absent, options


def main():
    chosen = options(__doc__)
    try:
        import torch
    except ImportError as error:
        return absent("PyTorch", f"not installed: {error}")
    if not torch.cuda.is_available():
        return absent("PyTorch", "it sees no GPU")
    run(chosen, torch)


def run(chosen, torch):
    import torch.nn.functional as F
    from unet_torch import Network

    device, tiny = torch.device("cuda"), chosen.tiny

    def sample(call, repetitions):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(repetitions):
            call()
        end.record()
        end.synchronize()
        return 1e-3 * begin.elapsed_time(end) / repetitions

    rows = Rows("PyTorch " + torch.__version__, chosen, sample)

    def relative(a, b):
        a, b = a.double(), b.double()
        return ((a - b).norm() / b.norm()).item()

    @contextlib.contextmanager
    def precision(name):
        """bf16 by autocast, which keeps float weights, as PyTorch's users train; TF32 and float by its switches."""
        tf32 = name != "float"
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=name == "bf16"):
            yield

    tolerance = {"bf16": 0.05, "TF32": 0.01, "float": 1e-5}
    unit = {"bf16": "bf16", "TF32": "tf32", "float": "float"}

    def network():
        if tiny:
            net = Network(channels=(8, 16), blocks=1, embedding=8, size=16)
        else:
            net = Network()
            assert sum(p.numel() for p in net.parameters()) == 22874922
        return net.to(device).to(memory_format=torch.channels_last)

    points, batch = (16, 2) if tiny else (64, 32)
    multiply_adds, first_layer = (0, 0) if tiny else (14003601408, 38928384)
    forward_flops = 2 * batch * multiply_adds

    def loss_of(net, x, noise, t):
        # The denoising loss with the cosine schedule: x_t = mu x + sigma noise.
        mu = torch.cos(1.53916828 * t).square()[:, None, None, None]
        sigma = (1 - mu.square() + 1e-6).sqrt()
        return (net(mu * x + sigma * noise, t) - noise).square().mean()

    def unet(name, compiled):
        torch.manual_seed(5)
        torch._dynamo.reset()
        net = network()
        x = torch.randn(batch, 10, points, points, device=device).contiguous(memory_format=torch.channels_last)
        noise, t = torch.randn_like(x), torch.rand(batch, device=device)
        optimiser = torch.optim.AdamW(net.parameters(), lr=2e-4, weight_decay=1e-3, fused=True)

        def gradient(function, mode):
            optimiser.zero_grad(set_to_none=True)
            if compiled:
                torch.compiler.cudagraph_mark_step_begin()
            with precision(mode):
                loss = function(net, x, noise, t)
            loss.backward()

        gradient(loss_of, "float")
        exact = torch.cat([p.grad.flatten() for p in net.parameters()])
        function = torch.compile(loss_of, mode="reduce-overhead") if compiled else loss_of
        gradient(function, name)
        error = relative(torch.cat([p.grad.flatten() for p in net.parameters()]), exact)

        def step():
            noise.normal_()
            t.uniform_()
            gradient(function, name)
            optimiser.step()

        row = f"U-Net/{name}/training step, batch {batch}"
        note = "torch.compile with CUDA graphs" if compiled else "channels last, eager"
        flops = 3 * forward_flops - 2 * batch * first_layer
        rows.time(row, step, error, tolerance[name], "the gradient in exact float", flops=flops, unit=unit[name],
                  note=note)
        if name == "bf16" and not compiled and not tiny:
            # The same eager step as one graph, without what the host adds.
            capturable = torch.optim.AdamW(net.parameters(), lr=2e-4, weight_decay=1e-3, fused=True, capturable=True)
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())

            def plain():
                capturable.zero_grad(set_to_none=True)
                with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
                    loss = loss_of(net, x, noise, t)
                loss.backward()
                capturable.step()

            with torch.cuda.stream(stream):
                for _ in range(3):
                    plain()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            capturable.zero_grad(set_to_none=True)
            with torch.cuda.graph(graph):
                plain()
            rows.time(row, graph.replay, error, tolerance[name], "the gradient in exact float", flops=flops,
                      unit=unit[name], note="channels last, CUDA graph")

    def sampler(name, compiled):
        torch.manual_seed(5)
        torch._dynamo.reset()
        net = network().requires_grad_(False)
        count, frames = (1, 6) if tiny else (16, 29)
        windows = frames - 4
        x = torch.randn(count, frames, 2, points, points, device=device)
        measured = torch.randn(count, frames, 2, points // 4, points // 4, device=device)
        middle = 2

        def noise_of(s, t):
            # Windows of five frames; the middle frame of each, and the ends of the first and the last.
            w = s.unfold(1, 5, 1).permute(0, 1, 5, 2, 3, 4).reshape(count * windows, 10, points, points)
            w = w.contiguous(memory_format=torch.channels_last)
            y = net(w, t.expand(count * windows)).reshape(count, windows, 5, 2, points, points)
            return torch.cat([y[:, 0, :middle], y[:, :, middle], y[:, -1, middle + 1:]], 1)

        def guided(s, t):
            # Gaussian score of score-based data assimilation with A = every fourth point, noise 0.1, gamma 0.01.
            mu = torch.cos(1.53916828 * t).square()
            sigma = (1 - mu.square() + 1e-6).sqrt()
            with torch.enable_grad():
                s = s.detach().requires_grad_()
                eps = noise_of(s, t).float()
                clean = (s - sigma * eps) / mu
                residual = measured - clean[..., ::4, ::4]
                variance = 0.01 + 0.01 * (sigma / mu).square()
                log_p = -(residual.square() / variance).sum() / 2
                score, = torch.autograd.grad(log_p, s)
            eps = eps.detach() - sigma * score
            after = torch.cos(1.53916828 * (t - 1 / 256)).square()
            sigma_after = (1 - after.square() + 1e-6).sqrt()
            return after / mu * s.detach() + (sigma_after - after / mu * sigma) * eps

        t = torch.full((), 0.5, device=device)
        with precision("float"):
            exact = guided(x, t)
        if compiled:
            net.compile(mode="reduce-overhead")
        with precision(name):
            error = relative(guided(x, t), exact)

        def step():
            if compiled:
                torch.compiler.cudagraph_mark_step_begin()
            with precision(name):
                guided(x, t)

        rows.time(f"sampler/{name}/guided step, 16 x 29 frames", step, error, tolerance[name], "a step in exact float",
                  flops=4 * count * windows * multiply_adds, unit=unit[name],
                  note="torch.compile with CUDA graphs" if compiled else "channels last, eager")

    def networks(compiled):
        for name in ("bf16", "TF32"):
            rows.part(f"U-Net/{name}/training step, batch {batch}", lambda: unet(name, compiled))
            rows.part(f"sampler/{name}/guided step, 16 x 29 frames", lambda: sampler(name, compiled))

    networks(compiled=False)

    def encode():
        n, codes, d, stages = (40, 16, 8, 2) if tiny else (1000000, 1024, 64, 8)
        x = torch.randn(n, d, device=device)
        tables = [0.8 ** q * torch.randn(codes, d, device=device) for q in range(stages)]
        norms = [0.5 * (table * table).sum(1) for table in tables]

        def search(vectors, chunk):
            result = []
            for begin in range(0, len(vectors), chunk):
                residual, columns = vectors[begin:begin + chunk].clone(), []
                for table, norm in zip(tables, norms):
                    column = torch.addmm(norm, residual, table.T, alpha=-1).argmin(1)
                    residual -= table[column]
                    columns.append(column)
                result.append(torch.stack(columns, 1))
            return torch.cat(result)

        few = x[:1000].double()
        wide = [table.double() for table in tables]
        # The chosen codeword against the nearest one, in double, along the chosen path.
        found, residual, excess = search(x[:1000], 1000), few, 0.0
        for q, table in enumerate(wide):
            distance = torch.cdist(residual, table).square()
            chosen = distance.gather(1, found[:, q:q + 1])[:, 0]
            excess = max(excess, (chosen / distance.min(1).values - 1).max().item())
            residual = residual - table[found[:, q]]
        compiled = None if tiny else torch.compile(search)
        for tf32 in (False, True):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            for chunk in (65536, n):
                for function, how in ((search, "eager"), (compiled, "torch.compile")):
                    if function is None or (function is compiled and chunk == n):
                        continue
                    rows.time("RVQ/encode 8 x 1024 x 64, 10^6 vectors" + (", TF32 (inexact)" if tf32 else ""),
                              lambda: function(x, chunk), excess, 1e-5, "distances in double",
                              bytes=4 * n * (d + stages), flops=2 * n * stages * codes * d,
                              unit="tf32" if tf32 else "float", items=n,
                              note=f"addmm and argmin, chunks of {chunk}, {how}")
        torch.backends.cuda.matmul.allow_tf32 = False

    rows.part("RVQ/encode 8 x 1024 x 64, 10^6 vectors", encode)

    def memory():
        n, columns = (8192, 64) if tiny else (1 << 28, 256)
        x = torch.rand(n, device=device)
        table, bias = x.view(-1, columns), torch.arange(columns, device=device, dtype=torch.float32)
        few = min(n, 1000)
        total = x.double().sum()
        rows.time("memory/map of one tensor", lambda: x * 3, relative((x * 3)[:few], 3 * x[:few].double()), 1e-5,
                  "double", bytes=8 * n, note="x * 3")
        rows.time("memory/exp", lambda: x.exp(), relative(x.exp()[:few], x[:few].double().exp()), 1e-5, "double",
                  bytes=8 * n)
        y, z = x.clone(), x.clone()
        rows.time("memory/x y + z", lambda: torch.addcmul(z, x, y),
                  relative(torch.addcmul(z, x, y)[:few], z[:few].double() + x[:few].double() * y[:few].double()), 1e-5,
                  "double", bytes=16 * n)
        rows.time("memory/rows + bias", lambda: table + bias, relative((table + bias)[0], table[0].double() + bias),
                  1e-5, "double", bytes=8 * n)
        rows.time("memory/sum of all", lambda: x.sum(), relative(x.sum(), total), 1e-5, "double", bytes=4 * n)
        rows.time("memory/maximum of all", lambda: x.max(), relative(x.max(), x.double().max()), 0, "double",
                  bytes=4 * n)
        rows.time("memory/sums of rows", lambda: table.sum(1), relative(table.sum(1).double().sum(), total), 1e-5,
                  "double", bytes=4 * n)
        rows.time("memory/sums of columns", lambda: table.sum(0), relative(table.sum(0).double().sum(), total), 1e-5,
                  "double", bytes=4 * n)
        rows.time("memory/running sum of all", lambda: x.cumsum(0), relative(x.cumsum(0)[-1], total), 1e-4, "double",
                  bytes=8 * n)
        rows.time("memory/running sums of rows", lambda: table.cumsum(1),
                  relative(table.cumsum(1)[:, -1], table.double().sum(1)), 1e-5, "double", bytes=8 * n)

    if not tiny:
        # Behind the goals' other rows: compiling takes minutes, and time may run out.
        networks(compiled=True)
    rows.part("memory", memory)

    def products(name):
        sizes = [(8192, 8192, 8192), (131072, 96, 864), (32768, 192, 1728), (8192, 384, 3456), (327680, 64, 64),
                 (65536, 128, 290), (131072, 1024, 64)]
        sizes = [(40, 24, 17)] if tiny else sizes
        scalar = torch.bfloat16 if name == "bf16" else torch.float32
        for m, n, k in sizes:
            work = scalar.itemsize * (m * k + k * n + m * n)
            rotation = 1 if tiny else min(max(2, int(256e6 / work) + 1), 64)
            left = [torch.randn(m, k, device=device).to(scalar) for _ in range(rotation)]
            right, turn = torch.randn(k, n, device=device).to(scalar), [0]

            def call():
                turn[0] += 1
                return left[turn[0] % len(left)] @ right

            with precision("TF32" if name == "TF32" else "float"):
                error = relative((left[0] @ right)[:8], left[0][:8].double() @ right.double())
                rows.time(f"product/{name}/{m} x {n} x {k}", call, error, 1e-2 if name == "bf16" else 2e-3, "double",
                          bytes=work, flops=2 * m * n * k, unit=unit[name])

    def convolutions(name):
        layers = [(1, 16, 16, 8, 1)] if tiny else [(32, 96, 96, 64, 1), (32, 192, 192, 32, 1), (32, 384, 384, 16, 1),
                                                   (32, 96, 192, 64, 2), (32, 192, 96, 64, 1)]
        scalar = torch.bfloat16 if name == "bf16" else torch.float32
        for b, inside, outside, side, stride in layers:
            title = f"convolution/{name}/{inside} to {outside} channels, {side} x {side}"
            title += f", stride {stride}" if stride > 1 else ""
            make = lambda *shape: torch.randn(*shape, device=device).to(scalar).contiguous(
                memory_format=torch.channels_last)
            x, w = make(b, inside, side, side), make(outside, inside, 3, 3) / (9 * inside) ** 0.5
            bias = torch.zeros(outside, device=device, dtype=scalar)
            padded = F.pad(x, (1, 1, 1, 1), mode="circular").contiguous(memory_format=torch.channels_last)
            g = make(b, outside, side // stride, side // stride)
            work = dict(flops=2 * g.numel() * inside * 9, unit=unit[name],
                        bytes=scalar.itemsize * (x.numel() + w.numel() + g.numel()))
            forward = lambda: F.silu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), w, bias, stride=stride))
            with precision("TF32" if name != "float" else "float"), torch.no_grad():
                wide = F.silu(F.conv2d(padded[:1].double(), w.double(), stride=stride))
                error = relative(forward()[:1], wide)
                rows.time(title + ", forward", forward, error, 1e-2, "double", **work, note="pad, cuDNN, SiLU")
                back = torch.ops.aten.convolution_backward
                arguments = ([outside], [stride] * 2, [0, 0], [1, 1], False, [0, 0], 1)
                rows.time(title + ", gradient of the field",
                          lambda: back(g, padded, w, *arguments, [True, False, False]), error, 1e-2, "the forward pass",
                          **work, note="of the padded field")
                rows.time(title + ", gradient of the kernel",
                          lambda: back(g, padded, w, *arguments, [False, True, False]), error, 1e-2, "the forward pass",
                          **work)

    for name in ("bf16", "TF32", "float"):
        rows.part(f"product/{name}", lambda: products(name))
        rows.part(f"convolution/{name}", lambda: convolutions(name))


if __name__ == "__main__":
    main()
