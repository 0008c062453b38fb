"""Writes test/goldens/models/<model>.json + .bin: logits, losses, gradients and statistics of whole models.

    python3 scripts/goldens/make_model_goldens.py [name ...]

Needs PyTorch and torchvision; cifar_resnet20 also needs the published checkpoint and the CIFAR-10 test
images: KINDLING_DATA (default ../shared/data) with cifar_resnet/resnet20-12fca82f.th and
cifar10/test_subset.bin.

Everything is computed in float64 from float32 weights and inputs, and rounded once. `float32` in the JSON is
how far PyTorch's own float32 run is from that (relative L2 distance): the yardstick for the tolerances of the
tests.

torchvision's models are filled by scripts/goldens/fill.py, which test/models/fill.ts repeats. What is stored
per gradient (and per running statistic after the step): its L2 norm; all of it up to 256 elements; above that
its dot products with four fill.py vectors r_j (key 'projection<j>:' + parameter). For an error e,
E[(e . r_j)^2] = |e|^2 / 3 over the choice of r, so sqrt(3 mean_j (e . r_j)^2) / |g| estimates the relative L2
error, within a factor of two nearly always.
A bias in front of a batch norm has no gradient but for rounding: errors of parameters whose gradient is less
than 1e-6 of the largest in the model are measured against that largest one (`scale`).
With KINDLING_GOLDENS=<folder> (not committed; the tests read the same variable) full gradients too.
"""
import find_torch  # noqa: F401  first: it may go on in another Python

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import fill

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get('KINDLING_DATA', ROOT.parent / 'shared/data'))
FULL = os.environ.get('KINDLING_GOLDENS')
FULL_UP_TO = 256
PROJECTIONS = 4
STEPS = 5
# Options under kindling's names. Whatever draws random numbers is off.
TORCHVISION = {
    'resnet18': {},
    'resnet50': {},
    'vgg11_bn': {'numClasses': 10, 'dropout': 0.0},
    'mobilenet_v2': {'numClasses': 10, 'dropout': 0.0},
    'densenet121': {'numClasses': 10},
    'efficientnet_b0': {'numClasses': 10, 'dropout': 0.0, 'stochasticDepthProb': 0.0},
}


class Blob:
    def __init__(self):
        self.parts, self.words = [], 0

    def add(self, array):
        data = np.ascontiguousarray(array, dtype='<f4')
        place = [list(data.shape), self.words]
        self.parts.append(data.tobytes())
        self.words += data.size
        return place


def relative(got, want, largest=0.0):
    want = np.asarray(want, dtype=np.float64)
    norm = np.linalg.norm(want)
    scale = largest if norm < 1e-6 * largest else max(norm, 1e-30)
    return float(np.linalg.norm(np.asarray(got, dtype=np.float64) - want) / scale)


def summary(key, value, blob, largest=0.0):
    value = value.astype(np.float64)
    entry = {'shape': list(value.shape), 'norm': float(np.linalg.norm(value))}
    if entry['norm'] < 1e-6 * largest:
        entry['scale'] = largest
    if value.size <= FULL_UP_TO:
        entry['full'] = blob.add(value)[1]
    else:
        directions = (fill.uniform(f'projection{j}:{key}', (value.size,)) for j in range(PROJECTIONS))
        entry['projections'] = [float(np.dot(value.reshape(-1), r.astype(np.float64))) for r in directions]
    return entry


def train(build, state, images, targets, dtype):
    """One backward pass from `state`, then STEPS of SGD from there. All results as numpy."""
    model = build().to(dtype)
    model.load_state_dict(state, strict=False)
    model.train()
    x, y = torch.from_numpy(images).to(dtype), torch.from_numpy(targets)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    losses, grads, statistics = [], None, None
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if grads is None:
            grads = {k: p.grad.numpy().copy() for k, p in model.named_parameters()}
            statistics = {k: b.numpy().copy() for k, b in model.named_buffers() if 'running' in k}
        optimizer.step()
        losses.append(loss.item())
    return losses, grads, statistics


def logits(build, state, images, dtype):
    model = build().to(dtype)
    model.load_state_dict(state, strict=False)
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part) for part in torch.from_numpy(images).to(dtype).split(128)]).numpy()


def training_goldens(name, build, state, images, targets, blob):
    losses, grads, statistics = train(build, state, images, targets, torch.float64)
    losses32, grads32, statistics32 = train(build, state, images, targets, torch.float32)
    largest = max(float(np.linalg.norm(g)) for g in grads.values())
    golden = {
        'batch': len(images), 'loss': losses[0], 'sgdLosses': losses,
        'gradients': {k: summary(k, g, blob, largest) for k, g in grads.items()},
        'statistics': {k: summary(k, s, blob) for k, s in statistics.items()},
        'float32': {
            'loss': abs(losses32[0] - losses[0]) / losses[0],
            'sgdLosses': [abs(a - b) / b for a, b in zip(losses32, losses)],
            'gradients': {k: relative(grads32[k], g, largest) for k, g in grads.items()},
            'statistics': {k: relative(statistics32[k], s) for k, s in statistics.items()},
        },
    }
    if FULL:
        folder = Path(FULL)
        folder.mkdir(parents=True, exist_ok=True)
        full = Blob()
        index = {k: full.add(g)[1] for k, g in grads.items()}
        (folder / f'{name}.full.json').write_text(json.dumps(index))
        (folder / f'{name}.full.bin').write_bytes(b''.join(full.parts))
    worst = max(golden['float32']['gradients'].items(), key=lambda kv: kv[1])
    print(f'{name}: loss {losses}, float32 off by {golden["float32"]["sgdLosses"]}; worst gradient {worst}')
    return golden


def save(name, golden, blob):
    folder = ROOT / 'test/goldens/models'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{name}.json').write_text(json.dumps(golden, separators=(',', ':')) + '\n')
    (folder / f'{name}.bin').write_bytes(b''.join(blob.parts))
    print(f'{name}: {((folder / f"{name}.json").stat().st_size + blob.words * 4) / 1024:.0f} KiB')


def without_noise(model):
    """Not by options: torchvision's EfficientNets take no dropout."""
    from torchvision.ops import StochasticDepth
    for module in model.modules():
        if isinstance(module, (nn.Dropout, StochasticDepth)):
            module.p = 0.0
    return model


def torchvision_model(name):
    import torchvision
    options = TORCHVISION[name]
    classes = options.get('numClasses', 1000)

    def build():
        return without_noise(getattr(torchvision.models, name)(num_classes=classes))

    state = {k: torch.from_numpy(fill.parameter(k, tuple(v.shape))) for k, v in build().state_dict().items()
             if not k.endswith('num_batches_tracked')}
    blob = Blob()
    sizes = {'resnet18': [[2, 64], [1, 224]], 'resnet50': [[2, 64]]}.get(name, [])
    evaluations = []
    for batch, size in sizes:
        images = fill.uniform('input', (batch, 3, size, size), 3**0.5)
        exact, single = (logits(build, state, images, d) for d in (torch.float64, torch.float32))
        off = relative(single, exact)
        evaluations.append({'batch': batch, 'size': size, 'logits': blob.add(exact)[1], 'float32': off})
        print(f'{name} eval {batch}x{size}: logits {exact.std():.3f} std, float32 off by {off:.2e}')
    golden = {'torch': torch.__version__, 'classes': classes, 'options': options, 'evaluations': evaluations}
    if name == 'resnet18':
        probes = ['conv1.weight', 'bn1.bias', 'layer4.1.bn1.running_var', 'fc.bias']
        golden['fill'] = {k: [float(v) for v in state[k].reshape(-1)[[0, 1, 2, -1]]] for k in probes}
    # VGG's max pools choose among neighbours that may be as close as rounding: few of them, or some window
    # chooses otherwise.
    batch, size = (2, 32) if name == 'vgg11_bn' else (4, 64)
    images = fill.uniform('input', (batch, 3, size, size), 3**0.5)
    targets = fill.labels('labels', batch, classes)
    golden['training'] = {'size': size, **training_goldens(name, build, state, images, targets, blob)}
    save(name, golden, blob)


class OptionA(nn.Module):
    """He et al. 2015, section 4.2: the shortcut takes every second pixel; the new channels are zeros."""

    def forward(self, x):
        new = x.shape[1] // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, new, new))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if inputs == outputs else OptionA()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class CifarResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean([2, 3]))


def cifar_resnet20():
    checkpoint = torch.load(DATA / 'cifar_resnet/resnet20-12fca82f.th', map_location='cpu')['state_dict']
    state = {k.removeprefix('module.'): v for k, v in checkpoint.items()}
    missing, unexpected = CifarResNet20().load_state_dict(state, strict=False)
    assert not unexpected and all(k.endswith('num_batches_tracked') for k in missing), (missing, unexpected)
    records = np.fromfile(DATA / 'cifar10/test_subset.bin', dtype=np.uint8).reshape(-1, 3073)
    truth = records[:, 0].astype(np.int64)
    mean = np.array([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    std = np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    images = ((records[:, 1:].reshape(-1, 3, 32, 32) / 255.0 - mean) / std).astype(np.float32)
    exact, single = (logits(CifarResNet20, state, images, d) for d in (torch.float64, torch.float32))
    correct = int((exact.argmax(1) == truth).sum())
    ordered = np.sort(exact, axis=1)
    margin = (ordered[:, -1] - ordered[:, -2]).min()
    print(f'cifar_resnet20: {correct} of {len(truth)} correct; smallest margin {margin:.2e}')
    blob = Blob()
    targets = fill.labels('labels', 32, 10)
    golden = {
        'torch': torch.__version__, 'correct': correct, 'logits': blob.add(exact[:64])[1],
        'float32': relative(single, exact),
        'predictions': ''.join(str(c) for c in exact.argmax(1)),
        'training': training_goldens('cifar_resnet20', CifarResNet20, state, images[:32], targets, blob),
    }
    save('cifar_resnet20', golden, blob)


def main(names):
    for name in names or [*TORCHVISION, 'cifar_resnet20']:
        if name == 'cifar_resnet20':
            cifar_resnet20()
        else:
            torchvision_model(name)


if __name__ == '__main__':
    main(sys.argv[1:])
