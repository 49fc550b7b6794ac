"""Measure one workload with one library and print the result as JSON.

    python -m benchmarks.worker --engine NAME --workload NAME [--seconds S] [--save PATH]
        [--device cpu|cuda]
    python -m benchmarks.worker --engine NAME --load PATH

It runs in the library's own environment, so it imports nothing but NumPy and that library.
"""

import argparse
import dataclasses
import importlib
import json
import statistics
import time

MODULES = {"gpunet": "gpunet", "tf_keras": "tf_keras", "keras-jax": "keras",
           "keras-torch": "keras", "torch": "torch", "torch-last": "torch",
           "torch-compile": "torch", "torch-graphs": "torch"}  # fmt: skip

__all__ = ["MODULES"]


def memory(field):
    """Return this process's memory in bytes: VmHWM is the most so far, VmRSS what it has now."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))
    except (OSError, StopIteration):
        return None


def timed(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def repeated(work, seconds, least=3):
    """Return the median time of calls that together take some seconds, after one that is not
    counted; of fewer than ``least`` calls where these alone take ten times as long."""
    work()
    times = []
    while sum(times) < seconds or len(times) < least and sum(times) < 10 * seconds:
        times.append(timed(work))
    return statistics.median(times)


class TorchModel:
    """A PyTorch model with the few methods that are measured, as its users write such loops."""

    def __init__(self, module, losses, device="cpu", way="torch"):
        import torch

        torch.set_float32_matmul_precision("high")  # TF32 where there is any
        torch.backends.cudnn.allow_tf32 = True
        self.torch, self.device = torch, device
        self.last = way == "torch-last"
        module = module.to(device)
        if self.last:
            module = module.to(memory_format=torch.channels_last)
        if way == "torch-compile":
            module = torch.compile(module, mode="reduce-overhead")  # with CUDA graphs
        self.module = module
        f = torch.nn.functional
        known = {"binary_crossentropy": f.binary_cross_entropy_with_logits,
                 "categorical_crossentropy": f.cross_entropy, "mse": f.mse_loss}  # fmt: skip
        self.losses = [known[name] for name in losses]
        self.graph = None
        self.captures = way == "torch-graphs" and device == "cuda"
        options = {"capturable": True} if self.captures else {}
        self.optimizer = torch.optim.RMSprop(
            module.parameters(), lr=1e-3, alpha=0.9, eps=1e-7, **options
        )

    def tensors(self, arrays):
        found = [self.torch.from_numpy(a).to(self.device) for a in as_list(arrays)]
        if self.last:
            last = self.torch.channels_last
            found = [a.to(memory_format=last) if a.ndim == 4 else a for a in found]
        return found

    def step(self, x, y):
        self.optimizer.zero_grad()
        outputs = as_list(self.module(*x))
        total = sum(loss(a, b) for loss, a, b in zip(self.losses, outputs, y))
        total.backward()
        self.optimizer.step()
        return total.detach()

    def captured(self, x, y):
        """Do a step as one CUDA graph, which is captured at the first call."""
        torch = self.torch
        if self.graph is None:
            self.rooms = [a.clone() for a in x], [a.clone() for a in y]
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    self.step(*self.rooms)
            torch.cuda.current_stream().wait_stream(aside)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.total = self.step(*self.rooms)
        for room, a in zip(self.rooms[0] + self.rooms[1], [*x, *y]):
            room.copy_(a)
        self.graph.replay()
        return self.total

    def train_on_batch(self, x, y):
        self.module.train()
        return self.step(self.tensors(x), self.tensors(y)).item()

    def fit(self, x, y, batch_size, **_):
        self.module.train()
        x, y = self.tensors(x), self.tensors(y)
        total = 0.0
        step = self.captured if self.captures else self.step
        for rows in self.torch.randperm(len(x[0]), device=self.device).split(batch_size):
            total += step([a[rows] for a in x], [a[rows] for a in y])
        return float(total)

    def predict(self, x, batch_size=32, **_):
        self.module.eval()
        with self.torch.no_grad():
            parts = [
                as_list(self.module(*p))
                for p in zip(*[a.split(batch_size) for a in self.tensors(x)])
            ]
            return [self.torch.cat(p).cpu().numpy() for p in zip(*parts)]

    def predict_on_batch(self, x):
        return self.predict(x, len(as_list(x)[0]))

    def __call__(self, x):
        self.module.eval()
        with self.torch.no_grad():
            return self.module(*self.tensors(x))


def as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def make(engine, library, workload, name, device):
    """Return (model, inputs, targets), the model compiled."""
    import numpy as np

    x, y = workload.data()
    if MODULES[engine] == "torch":
        from benchmarks.torch_models import MODELS

        def first(a, back):  # channels first; ids and flat data as they are
            return np.ascontiguousarray(np.moveaxis(a, -1, 1)) if a.ndim - back > 1 else a

        sequence = name in ("siamese", "char_lstm")  # recurrent layers take features last
        x = [a if sequence else first(a, 1) for a in x]
        y = [first(a, 1) for a in y]
        return TorchModel(MODELS[name](), workload.losses(), device, engine), x, y
    model = workload.build(library)
    if workload.trains:
        losses = workload.losses()
        model.compile(optimizer="rmsprop", loss=losses if len(losses) > 1 else losses[0])
    return model, x, y


def simple(arrays):
    return arrays[0] if len(arrays) == 1 else arrays


def measure(engine, name, seconds, save, device):
    before = time.perf_counter()
    library = importlib.import_module(MODULES[engine])
    if MODULES[engine] == "torch":
        importlib.import_module("torch.nn")
    found = {
        "engine": engine,
        "import_s": time.perf_counter() - before,
        "version": library.__version__,
    }
    from benchmarks.workloads import WORKLOADS

    workload = WORKLOADS[name]
    if device == "cuda":
        workload = dataclasses.replace(workload, steps=workload.steps * workload.longer)
    batch = workload.batch
    model, x, y = make(engine, library, workload, name, device)
    head, target = simple([a[:batch] for a in x]), simple([a[:batch] for a in y])
    one = simple([a[:1] for a in x])
    whole, targets = simple(x), simple(y)
    options = {"batch_size": batch, "verbose": 0}
    if workload.trains:
        found["first_step_s"] = timed(lambda: model.train_on_batch(head, target))
        epoch = repeated(lambda: model.fit(whole, targets, **options), seconds)
        found["fit_ms"] = epoch / workload.steps * 1e3
        found["memory"] = memory("VmHWM")
        step = repeated(lambda: model.train_on_batch(head, target), seconds / 2)
        found["train_on_batch_ms"] = step * 1e3
        whole_again = repeated(lambda: model.predict(whole, **options), seconds / 2)
        found["predict_ms"] = whole_again / workload.steps * 1e3
    found["predict_one_ms"] = repeated(lambda: model.predict(one, verbose=0), seconds / 4) * 1e3
    found["on_batch_one_ms"] = repeated(lambda: model.predict_on_batch(one), seconds / 4) * 1e3
    found["call_one_ms"] = repeated(lambda: model(one), seconds / 4) * 1e3
    found.setdefault("memory", memory("VmHWM"))
    if save:
        model.save(save)
    return found


def load(engine, path):
    """Return how long a fresh process takes from nothing to a prediction of a stored model."""
    import numpy as np

    started = time.perf_counter()
    library = importlib.import_module(MODULES[engine])
    model = library.models.load_model(path)
    shape = model.inputs[0].shape
    model.predict(np.zeros((1, *[int(n) for n in shape[1:]]), "float32"), verbose=0)
    return {"seconds": time.perf_counter() - started}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=MODULES, required=True)
    parser.add_argument("--workload")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--save")
    parser.add_argument("--load")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="for PyTorch")
    args = parser.parse_args()
    if args.load:
        found = load(args.engine, args.load)
    else:
        found = measure(args.engine, args.workload, args.seconds, args.save, args.device)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
