"""Writes test/goldens/nn.json: what PyTorch prints and names.

    python3 scripts/goldens/make_nn_goldens.py        (PyTorch 1.13 and torchvision 0.14 or later)

nn.json: the printed form of layers and models, and the state-dict keys of torchvision's ResNets (in full for resnet18, as
a SHA-256 of the lines "key shape" for the others).
"""
import hashlib
import json
from pathlib import Path

import torch
import torchvision
from torch import nn

GOLDENS = Path(__file__).resolve().parents[2] / 'test/goldens'

# (TypeScript, Python) for the same layer.
LAYERS = [
    ('new Identity()', nn.Identity()),
    ('new Linear(4, 3)', nn.Linear(4, 3)),
    ('new Linear(4, 3, {bias: false})', nn.Linear(4, 3, bias=False)),
    ('new Conv2d(3, 64, 7, {stride: 2, padding: 3, bias: false})', nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)),
    ('new Conv2d(4, 8, [3, 1], {dilation: 2, groups: 2})', nn.Conv2d(4, 8, (3, 1), dilation=2, groups=2)),
    ("new Conv2d(4, 8, 3, {padding: 'same'})", nn.Conv2d(4, 8, 3, padding='same')),
    ('new ConvTranspose2d(4, 8, 3, {stride: 2, padding: 1, outputPadding: 1})',
     nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1)),
    ('new BatchNorm2d(8)', nn.BatchNorm2d(8)),
    ('new BatchNorm1d(8, {eps: 1e-3, momentum: null, affine: false, trackRunningStats: false})',
     nn.BatchNorm1d(8, eps=1e-3, momentum=None, affine=False, track_running_stats=False)),
    ('new LayerNorm(8)', nn.LayerNorm(8)),
    ('new LayerNorm([4, 8], {elementwiseAffine: false})', nn.LayerNorm([4, 8], elementwise_affine=False)),
    ('new GroupNorm(2, 8)', nn.GroupNorm(2, 8)),
    ('new MaxPool2d(3, {stride: 2, padding: 1})', nn.MaxPool2d(3, stride=2, padding=1)),
    ('new MaxPool2d([2, 3])', nn.MaxPool2d((2, 3))),
    ('new AvgPool2d(2)', nn.AvgPool2d(2)),
    ('new AdaptiveAvgPool2d([1, 1])', nn.AdaptiveAvgPool2d((1, 1))),
    ('new AdaptiveMaxPool2d(2)', nn.AdaptiveMaxPool2d(2)),
    ('new ReLU()', nn.ReLU()),
    ('new ReLU({inplace: true})', nn.ReLU(inplace=True)),
    ('new ReLU6({inplace: true})', nn.ReLU6(inplace=True)),
    ('new LeakyReLU()', nn.LeakyReLU()),
    ('new LeakyReLU(0.2, {inplace: true})', nn.LeakyReLU(0.2, inplace=True)),
    ('new GELU()', nn.GELU()),
    ('new SiLU({inplace: true})', nn.SiLU(inplace=True)),
    ('new Sigmoid()', nn.Sigmoid()),
    ('new Tanh()', nn.Tanh()),
    ('new Hardswish({inplace: true})', nn.Hardswish(inplace=True)),
    ('new Hardsigmoid()', nn.Hardsigmoid()),
    ('new Softplus()', nn.Softplus()),
    ('new ELU()', nn.ELU()),
    ('new SELU()', nn.SELU()),
    ('new Mish()', nn.Mish()),
    ('new Softmax(1)', nn.Softmax(dim=1)),
    ('new LogSoftmax(-1)', nn.LogSoftmax(dim=-1)),
    ('new Dropout()', nn.Dropout()),
    ('new Dropout2d(0.1)', nn.Dropout2d(0.1)),
    ('new Flatten()', nn.Flatten()),
    ('new Unflatten(1, [2, 4])', nn.Unflatten(1, (2, 4))),
    ('new Embedding(10, 4)', nn.Embedding(10, 4)),
    ('new Embedding(10, 4, {paddingIdx: -1})', nn.Embedding(10, 4, padding_idx=-1)),
    ('new Upsample({scaleFactor: 2})', nn.Upsample(scale_factor=2)),
    ("new Upsample({size: [4, 4], mode: 'bilinear'})", nn.Upsample(size=(4, 4), mode='bilinear')),
    ('new CrossEntropyLoss()', nn.CrossEntropyLoss()),
    ('new Sequential()', nn.Sequential()),
    ('new Sequential(new Linear(2, 2), new Sequential(new ReLU()))',
     nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))),
    ('new ModuleList([new Linear(2, 2)])', nn.ModuleList([nn.Linear(2, 2)])),
    ('new ModuleDict({a: new ReLU()})', nn.ModuleDict({'a': nn.ReLU()})),
]

RESNETS = ['resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152', 'resnext50_32x4d', 'resnext101_32x8d',
           'resnext101_64x4d', 'wide_resnet50_2', 'wide_resnet101_2']


def keys(model):
    return [f'{key} [{", ".join(map(str, value.shape))}]' for key, value in model.state_dict().items()]


def nn_goldens():
    models = {name: getattr(torchvision.models, name)() for name in RESNETS}
    return {
        'layers': [[ts, repr(module)] for ts, module in LAYERS],
        'printed': {name: repr(models[name]) for name in ('resnet18', 'resnet50')},
        'resnet18': keys(models['resnet18']),
        'digests': {name: hashlib.sha256('\n'.join(keys(model)).encode()).hexdigest() for name, model in models.items()},
    }


def write(name, data):
    text = json.dumps(data, indent=0, separators=(',', ':'))
    (GOLDENS / name).write_text(text + '\n')
    print(f'{name}: {len(text)} bytes')


if __name__ == '__main__':
    write('nn.json', nn_goldens())
