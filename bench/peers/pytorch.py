"""PyTorch on the CPU, for scale: the works of works.mjs, timed and reported as worker.mjs does."""
import argparse
import json
import math
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SEEDS = {"input": 1001, "labels": 1002, "other": 1003, "grad": 1004}
SGD = {"lr": 0.01, "momentum": 0.9}


def hashes(seed, count):
    with np.errstate(over="ignore"):
        x = np.uint32((seed * 0x9E3779B9) & 0xFFFFFFFF) + np.arange(count, dtype=np.uint32)
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
        return x ^ (x >> np.uint32(16))


def uniform(seed, shape, bound=math.sqrt(3)):
    unit = (hashes(seed, math.prod(shape)) >> np.uint32(8)).astype(np.float64) / 2**23 - 1
    return torch.from_numpy((unit * bound).astype(np.float32)).reshape(shape)


def labels(count, classes):
    return torch.from_numpy((hashes(SEEDS["labels"], count) % np.uint32(classes)).astype(np.int64))


class PadShortcut(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.side = channels // 4

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.side, self.side))


class CifarBlock(nn.Module):
    def __init__(self, into, channels):
        super().__init__()
        stride = 1 if into == channels else 2
        self.conv1 = nn.Conv2d(into, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential() if stride == 1 else PadShortcut(channels)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class CifarResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        into = 16
        for stage, channels in enumerate((16, 32, 64)):
            blocks = []
            for _ in range(3):
                blocks.append(CifarBlock(into, channels))
                into = channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def fill(model):
    with torch.no_grad():
        for seed, (name, p) in enumerate(model.named_parameters()):
            if p.ndim > 1:
                p.copy_(uniform(seed, p.shape, math.sqrt(6 / math.prod(p.shape[1:]))))
            else:
                p.fill_(1 if name.endswith("weight") else 0)
    return model


HEADS = 4


def sequence(work):
    """(model, loss)"""
    layer, width, shape = work["layer"], work["width"], tuple(work["input"])
    size = shape[2]
    x, memory = uniform(SEEDS["input"], shape), uniform(SEEDS["other"], shape)
    if layer in ("lstm", "gru"):
        model = (nn.LSTM if layer == "lstm" else nn.GRU)(size, width, batch_first=True)
        forward = lambda: model(x)[0]
    else:
        kind = nn.TransformerEncoderLayer if layer == "encoder" else nn.TransformerDecoderLayer
        model = kind(size, HEADS, width, 0.0, batch_first=True)
        forward = lambda: model(x) if layer == "encoder" else model(x, memory)
    fill(model)
    y = uniform(SEEDS["labels"], (*shape[:2], width if layer in ("lstm", "gru") else size))
    return model, lambda: F.mse_loss(forward(), y)


def network(work):
    if work["network"] == "resnet18":
        import torchvision

        model = torchvision.models.resnet18()
    else:
        model = CifarResNet20()
    return fill(model)


def with_grads(forward, leaves):
    state = {}
    for leaf in leaves:
        leaf.requires_grad_()

    def run():
        y = forward()
        if "seed" not in state:
            state["seed"] = uniform(SEEDS["grad"], y.shape) if y.ndim else torch.tensor(1.0)
        state["results"] = (y, *torch.autograd.grad(y, leaves, state["seed"]))

    return run, lambda: state["results"]


def plain(forward):
    state = {}

    def run():
        with torch.no_grad():
            state["results"] = (forward(),)

    return run, lambda: state["results"]


def steps(model, loss_of):
    optimizer = torch.optim.SGD(model.parameters(), **SGD)

    def step():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, None


def prepare(work):
    """(run, results): `results` is None for training steps, whose `run` gives the loss."""
    op = work["op"]
    if op == "matmul":
        shape = (work["n"], work["n"])
        a, b = uniform(SEEDS["input"], shape), uniform(SEEDS["other"], shape)
        return plain(lambda: a @ b)
    shape = tuple(work["input"])
    x = uniform(SEEDS["input"], shape)
    if op == "add":
        b = uniform(SEEDS["other"], shape)
        return plain(lambda: x + b)
    if op == "cross-entropy-grad":
        y = labels(*shape)
        return with_grads(lambda: F.cross_entropy(x, y), [x])
    if op == "forward":
        model = network(work).eval()
        return plain(lambda: model(x))
    if op == "train":
        model = network(work)
        y = labels(shape[0], 1000 if work["network"] == "resnet18" else 10)
        return steps(model, lambda: F.cross_entropy(model(x), y))
    if op == "sequence":
        return steps(*sequence(work))
    if op.startswith("max-pool"):
        x = x.abs()
        forward = lambda: F.max_pool2d(x, 3, 2, 1)
        return plain(forward) if op == "max-pool" else with_grads(forward, [x])
    channels = shape[1]
    if op.startswith("conv"):
        w = uniform(SEEDS["other"], (channels, channels, 3, 3))
        forward = lambda: F.conv2d(x, w, padding=1)
        return plain(forward) if op == "conv" else with_grads(forward, [x, w])
    if op == "batch-norm-grad":
        norm = nn.BatchNorm2d(channels)
        return with_grads(lambda: norm(x), [x, norm.weight, norm.bias])
    raise ValueError(f"no work of kind {op}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, help="a work of works.mjs as JSON")
    parser.add_argument("--rounds", action="store_true")
    args = parser.parse_args()
    run, results = prepare(json.loads(args.work))

    def timed():
        start = time.perf_counter()
        value = run()
        return (time.perf_counter() - start) * 1000, value

    def show(result):
        print(json.dumps(result), flush=True)

    first, *more = [timed() for _ in range(3)]
    check = [float((t.double() ** 2).sum()) for t in results()] if results else [first[1], *(v for _, v in more)]
    show(
        {
            "library": "PyTorch CPU",
            "version": torch.__version__,
            "adapter": "CPU",
            "supported": True,
            "firstMs": first[0],
            "steadyMs": more[-1][0],
            "check": check,
        }
    )
    if args.rounds:
        for line in sys.stdin:
            times = [timed()[0] for _ in range(int(line))]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            show({"times": times, "peakRssMiB": peak})


main()
