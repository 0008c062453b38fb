"""Writes test/goldens/nn.json and test/goldens/optim.json: what PyTorch prints, names and computes.

    python3 scripts/goldens/make_nn_goldens.py        (PyTorch 1.13 and torchvision 0.14 or later)

nn.json: the printed form of layers and models, and the state-dict keys of torchvision's ResNets (in full for resnet18, as
a SHA-256 of the lines "key shape" for the others).
optim.json: parameters after some steps of each optimizer, the rates of each scheduler by epoch, and a clipped norm.
"""
import hashlib
import json
import math
from pathlib import Path

import torch
import torchvision
from torch import nn, optim
from torch.optim import lr_scheduler as sched

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


SHAPES = [[5], [2, 3], [4, 2, 3, 3], [1], [7], [3, 4], []]
STEPS = 4

# name, options here, options there
OPTIMIZERS = [
    ('SGD', {'lr': 0.1}, {'lr': 0.1}),
    ('SGD', {'lr': 0.1, 'momentum': 0.9}, {'lr': 0.1, 'momentum': 0.9}),
    ('SGD', {'lr': 0.1, 'momentum': 0.9, 'dampening': 0.5, 'weightDecay': 0.01},
     {'lr': 0.1, 'momentum': 0.9, 'dampening': 0.5, 'weight_decay': 0.01}),
    ('SGD', {'lr': 0.1, 'momentum': 0.8, 'nesterov': True, 'weightDecay': 0.1},
     {'lr': 0.1, 'momentum': 0.8, 'nesterov': True, 'weight_decay': 0.1}),
    ('SGD', {'lr': 0.1, 'momentum': 0.9, 'maximize': True}, {'lr': 0.1, 'momentum': 0.9, 'maximize': True}),
    ('Adam', {}, {}),
    ('Adam', {'lr': 0.05, 'betas': [0.8, 0.95], 'eps': 1e-3, 'weightDecay': 0.1},
     {'lr': 0.05, 'betas': (0.8, 0.95), 'eps': 1e-3, 'weight_decay': 0.1}),
    ('Adam', {'lr': 0.05, 'amsgrad': True, 'maximize': True}, {'lr': 0.05, 'amsgrad': True, 'maximize': True}),
    ('AdamW', {'lr': 0.05}, {'lr': 0.05}),
    ('AdamW', {'lr': 0.05, 'weightDecay': 0.3, 'amsgrad': True}, {'lr': 0.05, 'weight_decay': 0.3, 'amsgrad': True}),
    ('RMSprop', {}, {}),
    ('RMSprop', {'lr': 0.05, 'alpha': 0.9, 'weightDecay': 0.1, 'momentum': 0.9},
     {'lr': 0.05, 'alpha': 0.9, 'weight_decay': 0.1, 'momentum': 0.9}),
    ('RMSprop', {'lr': 0.05, 'centered': True, 'momentum': 0.5}, {'lr': 0.05, 'centered': True, 'momentum': 0.5}),
]


def values(shape, seed, scale):
    count = math.prod(shape)
    return torch.tensor([scale * math.sin(0.7 * i + seed) for i in range(count)], dtype=torch.float32).reshape(shape)


def optimizer_goldens():
    out = []
    for name, options, there in OPTIMIZERS:
        params = [values(shape, k, 1).requires_grad_() for k, shape in enumerate(SHAPES)]
        optimizer = getattr(optim, name)(params, **there)
        for step in range(STEPS):
            for k, p in enumerate(params):
                # The third parameter gets its first gradient late, so that step counts differ.
                p.grad = None if k == 2 and step < 2 else values(p.shape, 10 * step + k + 0.5, 0.5)
            optimizer.step()
        out.append({'name': name, 'options': options, 'values': [p.detach().reshape(-1).tolist() for p in params]})
    return {'shapes': SHAPES, 'steps': STEPS, 'runs': out}


SCHEDULERS = [
    ('LambdaLR', '(o) => new s.LambdaLR(o, (epoch) => 0.95 ** epoch)', lambda o: sched.LambdaLR(o, lambda epoch: 0.95 ** epoch)),
    ('StepLR', '(o) => new s.StepLR(o, 3, {gamma: 0.5})', lambda o: sched.StepLR(o, 3, gamma=0.5)),
    ('MultiStepLR', '(o) => new s.MultiStepLR(o, [8, 2, 2])', lambda o: sched.MultiStepLR(o, [8, 2, 2])),
    ('ExponentialLR', '(o) => new s.ExponentialLR(o, 0.9)', lambda o: sched.ExponentialLR(o, 0.9)),
    ('CosineAnnealingLR', '(o) => new s.CosineAnnealingLR(o, 5, {etaMin: 0.01})', lambda o: sched.CosineAnnealingLR(o, 5, eta_min=0.01)),
    ('LinearLR', '(o) => new s.LinearLR(o, {startFactor: 0.1, totalIters: 4})', lambda o: sched.LinearLR(o, start_factor=0.1, total_iters=4)),
    ('ConstantLR', '(o) => new s.ConstantLR(o, {factor: 0.3, totalIters: 4})', lambda o: sched.ConstantLR(o, factor=0.3, total_iters=4)),
    ('PolynomialLR', '(o) => new s.PolynomialLR(o, {totalIters: 8, power: 2})', lambda o: sched.PolynomialLR(o, total_iters=8, power=2)),
    ('SequentialLR', '(o) => new s.SequentialLR(o, [new s.LinearLR(o, {startFactor: 0.1, totalIters: 3}), new s.CosineAnnealingLR(o, 6)], [3])',
     lambda o: sched.SequentialLR(o, [sched.LinearLR(o, start_factor=0.1, total_iters=3), sched.CosineAnnealingLR(o, 6)], [3])),
]
METRICS = [1, 0.9, 0.95, 0.93, 0.92, 0.91, 0.5, 0.6, 0.49999, 0.6, 0.6, 0.6, 0.6]


def scheduler_goldens():
    def rates(make, step):
        params = [torch.zeros(1, requires_grad=True) for _ in range(2)]
        optimizer = optim.SGD([{'params': params[:1], 'lr': 0.3}, {'params': params[1:]}], lr=0.05)
        scheduler = make(optimizer)
        out = [[group['lr'] for group in optimizer.param_groups]]
        for epoch in range(13):
            optimizer.step()
            step(scheduler, epoch)
            out.append([group['lr'] for group in optimizer.param_groups])
        return out

    out = [{'name': name, 'ts': ts, 'rates': rates(make, lambda s, _: s.step())} for name, ts, make in SCHEDULERS]
    plateau = rates(lambda o: sched.ReduceLROnPlateau(o, patience=1, cooldown=1, factor=0.5, min_lr=[0.1, 0.02]),
                    lambda s, epoch: s.step(METRICS[epoch]))
    return {'runs': out, 'plateau': {'metrics': METRICS, 'rates': plateau}}


def clip_goldens():
    out = []
    for norm_type in (2.0, 1.0, math.inf):
        grads = [values([3], 1, 2), values([2, 2], 2, 2)]
        params = [torch.zeros_like(g, requires_grad=True) for g in grads]
        for p, g in zip(params, grads):
            p.grad = g.clone()
        total = nn.utils.clip_grad_norm_(params, 1.0, norm_type)
        out.append({'normType': 'inf' if norm_type == math.inf else norm_type, 'total': total.item(),
                    'grads': [p.grad.reshape(-1).tolist() for p in params]})
    return out


def write(name, data):
    text = json.dumps(data, indent=0, separators=(',', ':'))
    (GOLDENS / name).write_text(text + '\n')
    print(f'{name}: {len(text)} bytes')


if __name__ == '__main__':
    write('nn.json', nn_goldens())
    write('optim.json', {'optimizers': optimizer_goldens(), 'schedulers': scheduler_goldens(), 'clip': clip_goldens()})
