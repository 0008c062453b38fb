"""PyTorch's own GradScaler over forced sequences of finite and overflowing gradients: test/goldens/amp/grad-scaler.json.

    python3 scripts/goldens/grad_scaler.py

Without CUDA, PyTorch disables the class and asserts that tensors are CUDA's. So assertions are left out
(`python -O`, which the script starts itself with) and the two ops that have no CPU kernel are written out here, as
torch/aten/src/ATen/native/cuda/AmpKernels.cu (1.13) defines them. All else is the class's own code.
"""
import json
import os
import subprocess
import sys

if __debug__:
    sys.exit(subprocess.call([sys.executable, '-O', *sys.argv]))

import torch
from torch.cuda.amp import grad_scaler

grad_scaler.amp_definitely_not_available = lambda: False


def unscale(grads, found_inf, inv_scale):
    for grad in grads:
        if not torch.isfinite(grad).all():
            found_inf.fill_(1.0)
        grad.mul_(inv_scale)


def update_scale(scale, tracker, found_inf, growth, backoff, interval):
    if found_inf.item():
        scale.copy_((scale.double() * backoff).float())
        tracker.fill_(0)
        return
    successful = tracker.item() + 1
    if successful == interval:
        grown = (scale.double() * growth).float()
        if torch.isfinite(grown).all():
            scale.copy_(grown)
        tracker.fill_(0)
    else:
        tracker.fill_(successful)


torch._amp_foreach_non_finite_check_and_unscale_ = unscale
torch._amp_update_scale_ = update_scale

# Per iteration: the gradient of each optimizer's weight before scaling, and what update() is given.
good, inf, nan = 1.0, float('inf'), float('nan')


def steps(*grads):
    return [{'grads': list(g) if isinstance(g, tuple) else [g]} for g in grads]


cases = {
    'defaults, a late overflow': ({}, steps(good, 0.5, inf, good, nan, good)),
    'grows after an interval, which an overflow starts anew': (
        {'init_scale': 8.0, 'growth_interval': 3},
        steps(good, good, good, good, good, inf, good, good, good, good),
    ),
    'factors that are no powers of two': (
        {'init_scale': 1000.0, 'growth_factor': 1.7, 'backoff_factor': 0.3, 'growth_interval': 2},
        steps(good, good, inf, good, good, good, inf, inf, good),
    ),
    'does not grow past float32': (
        {'init_scale': 2.0 ** 127, 'growth_interval': 1}, steps(2.0 ** -10, 2.0 ** -10),
    ),
    'several optimizers': (
        {'init_scale': 16.0, 'growth_interval': 2}, steps((good, good), (good, inf), (nan, good), (good, good)),
    ),
    'a scale of its own': (
        {'init_scale': 4.0, 'growth_interval': 2},
        [*steps(good), {'grads': [good], 'newScale': 100.0}, *steps(good, good)],
    ),
}


def run(options, iterations):
    scaler = grad_scaler.GradScaler(**options)
    count = max(len(i['grads']) for i in iterations)
    weights = [torch.ones(3, requires_grad=True) for _ in range(count)]
    optimizers = [torch.optim.SGD([w], lr=0.25, momentum=0.5) for w in weights]
    log = []
    for iteration in iterations:
        for w, g, optimizer in zip(weights, iteration['grads'], optimizers):
            optimizer.zero_grad()
            scaler.scale((w * torch.tensor([1.0, g, 2.0])).sum()).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update(iteration.get('newScale'))
        log.append({
            'scale': scaler.get_scale(),
            'tracker': scaler._get_growth_tracker(),
            'weights': [w.tolist() for w in weights],
        })
    return {'log': log, 'state': scaler.state_dict()}


def plain(value):
    if isinstance(value, float) and value != value:
        return 'NaN'
    if value == inf:
        return 'Infinity'
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value


result = [
    {'name': name, 'options': options, 'iterations': plain(iterations), **run(options, iterations)}
    for name, (options, iterations) in cases.items()
]
path = os.path.join(os.path.dirname(__file__), '../../test/goldens/amp/grad-scaler.json')
with open(path, 'w') as file:
    file.write('[\n' + ',\n'.join(json.dumps(one) for one in result) + '\n]\n')
print(path, len(result))
