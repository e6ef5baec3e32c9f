"""What gpu_torch.py, gpu_jax.py and gpu_cupy.py share: options, the statistics and the JSON lines of benchmarks/gpu.

The rows have the names of those of benchmarks/gpu/*.cu, so that gpu_report sets them side by side. The protocol is the
same: warm-up, samples of about a millisecond or one call, median and quartiles, inputs that are not in the cache.
"""
import argparse
import json
import time


def options(what):
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes, to see that it runs")
    parser.add_argument("--seconds", type=float, default=0.6, help="time each row for about so long")
    parser.add_argument("--rows", default="", help="only rows whose names contain this")
    return parser.parse_args()


class Rows:
    def __init__(self, who, chosen, sample):
        """`sample(call, repetitions)` returns the seconds of a call, the device's work included."""
        self.who, self.options, self.sample = who, chosen, sample

    def wants(self, name):
        return self.options.rows in name

    def left_out(self, name, why):
        self.write({"row": name, "who": self.who, "left_out": str(why)})

    def failed(self, name, why):
        self.write({"row": name, "who": self.who, "failed": str(why)[:300]})

    def write(self, values):
        if self.options.tiny:
            values["tiny"] = True
        print(json.dumps(values), flush=True)

    def time(self, name, call, error, tolerance, against, bytes=0, flops=0, unit="", items=0, note=""):
        """Times call() unless the error is above the tolerance or no number."""
        if not self.wants(name):
            return
        if not error <= tolerance:
            return self.failed(name, f"the result is wrong: error {error} against {against}, at most {tolerance}")
        tiny, most = self.options.tiny, self.options.seconds
        begin = time.perf_counter()
        once = self.sample(call, 1)
        for _ in range(1 if tiny else 5):
            once = self.sample(call, 1)
            if time.perf_counter() - begin > 0.5 * most:
                break
        repetitions = 1 if tiny else int(min(max(1e-3 / max(once, 1e-7), 1), 1000))
        samples, begin = [], time.perf_counter()
        while len(samples) < (2 if tiny else 51) and (len(samples) < 3 or time.perf_counter() - begin < most):
            samples.append(self.sample(call, repetitions))
        samples.sort()
        n = len(samples)
        values = {"row": name, "who": self.who, "seconds": samples[n // 2], "low": samples[n // 4],
                  "high": samples[3 * n // 4], "samples": n, "error": float(error), "tolerance": tolerance,
                  "against": against}
        for key, value in (("bytes", bytes), ("flops", flops), ("items", items)):
            if value:
                values[key] = float(value)
        if flops:
            values["unit"] = unit
        if note:
            values["note"] = note
        self.write(values)

    def part(self, name, body):
        """Runs body(); where the package fails, the row is left out and the rest goes on."""
        if not self.wants(name):
            return
        try:
            body()
        except Exception as error:  # pylint: disable=broad-except
            self.left_out(name, f"{type(error).__name__}: {error}".split("\n")[0][:300])


def absent(name, why):
    """The line that says that a package is missing."""
    print(json.dumps({"step": "peers", "name": name, "left_out": str(why)}), flush=True)
