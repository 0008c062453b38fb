"""Writes test/goldens/optim.json: what torch.optim computes.

    python3 scripts/goldens/make_optim_goldens.py        (PyTorch 1.13 or later)

optimizers: parameters after some steps of each optimizer under several options. lbfgs: losses and parameters. schedulers:
rates (and momenta) by epoch. averages: averaged weights and batch-norm statistics. clip: clipped gradients.
"""
import json
import math
import re
import warnings
from pathlib import Path

import torch
from torch import nn, optim
from torch.optim import lr_scheduler as sched
from torch.optim import swa_utils

GOLDEN = Path(__file__).resolve().parents[2] / 'test/goldens/optim.json'

SHAPES = [[5], [2, 3], [2, 3, 2, 2], [1], [7], [3, 4], []]
STEPS = 12

# Options, and those of a second group for the last three parameters (None: one group, so large that the kernel for several
# parameters at once is compiled: one optimizer of each kind is enough for that).
OPTIMIZERS = [
    ('SGD', {'lr': 0.1}, {'lr': 0.02, 'weight_decay': 0.3}),
    ('SGD', {'lr': 0.1, 'momentum': 0.9}, None),
    ('SGD', {'lr': 0.1, 'momentum': 0.9, 'dampening': 0.5, 'weight_decay': 0.01}, {'momentum': 0, 'maximize': True}),
    ('SGD', {'lr': 0.1, 'momentum': 0.8, 'nesterov': True, 'weight_decay': 0.1}, {'nesterov': False, 'dampening': 0.2}),
    ('SGD', {'lr': 0.1, 'momentum': 0.9, 'maximize': True}, None),
    ('Adam', {}, {'lr': 0.02}),
    ('Adam', {'lr': 0.05, 'betas': (0.8, 0.95), 'eps': 1e-3, 'weight_decay': 0.1}, {'weight_decay': 0}),
    ('Adam', {'lr': 0.05, 'amsgrad': True, 'maximize': True}, {'betas': (0.5, 0.9), 'amsgrad': False}),
    ('AdamW', {'lr': 0.05}, {'weight_decay': 0.3}),
    ('AdamW', {'lr': 0.05, 'weight_decay': 0.3, 'amsgrad': True}, None),
    ('AdamW', {'lr': 0.02, 'betas': (0.7, 0.9), 'maximize': True}, {'lr': 0.1, 'eps': 1e-2}),
    ('RMSprop', {}, {'weight_decay': 0.2}),
    ('RMSprop', {'lr': 0.05, 'alpha': 0.9, 'weight_decay': 0.1, 'momentum': 0.9}, None),
    ('RMSprop', {'lr': 0.05, 'centered': True, 'momentum': 0.5, 'maximize': True}, {'alpha': 0.8, 'momentum': 0}),
    ('Adagrad', {}, {'lr': 0.1}),
    ('Adagrad', {'lr': 0.1, 'lr_decay': 0.1, 'weight_decay': 0.1, 'initial_accumulator_value': 0.5}, {'lr_decay': 0}),
    ('Adagrad', {'lr': 0.2, 'eps': 0.1, 'maximize': True}, {}),
    ('Adadelta', {}, {'lr': 3.0}),
    ('Adadelta', {'lr': 2.0, 'rho': 0.6, 'eps': 1e-3, 'weight_decay': 0.2}, {'rho': 0.95}),
    ('Adadelta', {'eps': 1e-2, 'maximize': True}, {}),
    ('Adamax', {}, {'lr': 0.05}),
    ('Adamax', {'lr': 0.05, 'betas': (0.7, 0.9), 'eps': 1e-2, 'weight_decay': 0.2}, {'weight_decay': 0}),
    ('Adamax', {'lr': 0.03, 'maximize': True}, {}),
    ('NAdam', {}, {'lr': 0.05}),
    ('NAdam', {'lr': 0.05, 'betas': (0.7, 0.9), 'eps': 1e-2, 'weight_decay': 0.2}, {'momentum_decay': 0.1}),
    ('NAdam', {'lr': 0.03, 'momentum_decay': 0.02, 'maximize': True}, {}),
    ('RAdam', {}, {'lr': 0.05}),
    ('RAdam', {'lr': 0.05, 'betas': (0.7, 0.9), 'eps': 1e-2, 'weight_decay': 0.2}, {'betas': (0.9, 0.99)}),
    ('RAdam', {'lr': 0.03, 'maximize': True}, {}),
    ('Rprop', {}, {'lr': 0.1}),
    ('Rprop', {'lr': 0.05, 'etas': (0.3, 1.5), 'step_sizes': (1e-3, 0.1)}, {'etas': (0.5, 1.1)}),
    ('Rprop', {'lr': 0.02, 'maximize': True}, {}),
    ('ASGD', {}, {'lr': 0.1}),
    ('ASGD', {'lr': 0.1, 'lambd': 0.1, 'alpha': 0.5, 't0': 4, 'weight_decay': 0.1}, {'t0': 1}),
    ('ASGD', {'lr': 0.05, 't0': 2, 'maximize': True}, {}),
]


def camel(options):
    def name(key):
        return re.sub(r'_(.)', lambda m: m.group(1).upper(), key)
    return {name(key): value for key, value in options.items()}


def short(values):
    """float32 in as few digits as tell it apart."""
    return [float(f'{value:.9g}') for value in values]


def values(shape, seed, scale):
    count = math.prod(shape)
    return torch.tensor([scale * math.sin(0.7 * i + seed) for i in range(count)], dtype=torch.float32).reshape(shape)


def make(name, params, options, second):
    options, second = dict(options), None if second is None else dict(second)
    sign = 1
    if name in ('NAdam', 'RAdam'):
        # 1.13 cannot maximise with these: the gradients are negated instead.
        sign = -1 if options.pop('maximize', False) else 1
    if name == 'NAdam':
        # 1.13's loop over single tensors multiplies one mu too many; its foreach form is the documented algorithm.
        options['foreach'] = True
    groups = params if second is None else [{'params': params[:4]}, {'params': params[4:], **second}]
    return getattr(optim, name)(groups, **options), sign


def optimizer_goldens():
    out = []
    for name, options, second in OPTIMIZERS:
        params = [values(shape, k, 1).requires_grad_() for k, shape in enumerate(SHAPES)]
        optimizer, sign = make(name, params, options, second)
        for step in range(STEPS):
            for k, p in enumerate(params):
                # The third parameter gets its first gradient late, so that step counts differ.
                p.grad = None if k == 2 and step < 2 else sign * values(p.shape, 10 * step + k + 0.5, 0.5)
            optimizer.step()
        out.append({'name': name, 'options': camel(options), 'second': None if second is None else camel(second),
                    'values': [short(p.detach().reshape(-1).tolist()) for p in params]})
    return {'shapes': SHAPES, 'steps': STEPS, 'runs': out}


LBFGS = [
    {'lr': 0.3, 'max_iter': 2, 'history_size': 3},
    {'max_iter': 5, 'line_search_fn': 'strong_wolfe'},
    {'lr': 0.8, 'max_iter': 6, 'max_eval': 5, 'history_size': 2, 'line_search_fn': 'strong_wolfe'},
    {'lr': 1, 'tolerance_grad': 1e-2, 'tolerance_change': 1e-5, 'line_search_fn': 'strong_wolfe'},
]


def lbfgs_goldens():
    """Logistic regression with a ridge: convex, but no line search is exact."""
    x, y = values([12, 3], 0.3, 1.5), (values([12], 2, 1) > 0).float()
    out = []
    for options in LBFGS:
        w, b = values([3], 1, 1).requires_grad_(), torch.zeros(1, requires_grad=True)
        optimizer = optim.LBFGS([w, b], **options)

        def closure():
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits((x * w).sum(1) + b, y) + 0.05 * w.square().sum()
            loss.backward()
            return loss

        losses = [optimizer.step(closure).item() for _ in range(6)]
        state = optimizer.state[w]
        out.append({'options': camel(options), 'losses': short(losses), 'w': short(w.tolist()), 'b': short(b.tolist()),
                    'evals': state['func_evals'], 'iterations': state['n_iter']})
    return out


# TypeScript, Python; `o` is an SGD with two groups, `a` an Adam.
SCHEDULERS = [
    ('LambdaLR', 's.LambdaLR(o, (epoch) => 0.95 ** epoch)', lambda o: sched.LambdaLR(o, lambda epoch: 0.95 ** epoch)),
    ('LambdaLR, one each', 's.LambdaLR(o, [(epoch) => 0.95 ** epoch, (epoch) => 1 / (1 + epoch)])',
     lambda o: sched.LambdaLR(o, [lambda epoch: 0.95 ** epoch, lambda epoch: 1 / (1 + epoch)])),
    ('MultiplicativeLR', 's.MultiplicativeLR(o, (epoch) => epoch % 3 === 0 ? 0.9 : 1.01)',
     lambda o: sched.MultiplicativeLR(o, lambda epoch: 0.9 if epoch % 3 == 0 else 1.01)),
    ('StepLR', 's.StepLR(o, 3, {gamma: 0.5})', lambda o: sched.StepLR(o, 3, gamma=0.5)),
    ('MultiStepLR', 's.MultiStepLR(o, [8, 2, 2, 20])', lambda o: sched.MultiStepLR(o, [8, 2, 2, 20])),
    ('ExponentialLR', 's.ExponentialLR(o, 0.9)', lambda o: sched.ExponentialLR(o, 0.9)),
    ('CosineAnnealingLR', 's.CosineAnnealingLR(o, 5, {etaMin: 0.01})', lambda o: sched.CosineAnnealingLR(o, 5, eta_min=0.01)),
    ('LinearLR', 's.LinearLR(o, {startFactor: 0.1, totalIters: 4})', lambda o: sched.LinearLR(o, start_factor=0.1, total_iters=4)),
    ('ConstantLR', 's.ConstantLR(o, {factor: 0.3, totalIters: 4})', lambda o: sched.ConstantLR(o, factor=0.3, total_iters=4)),
    ('PolynomialLR', 's.PolynomialLR(o, {totalIters: 8, power: 2})', lambda o: sched.PolynomialLR(o, total_iters=8, power=2)),
    ('SequentialLR', 's.SequentialLR(o, [s.LinearLR(o, {startFactor: 0.1, totalIters: 3}), s.CosineAnnealingLR(o, 6)], [3])',
     lambda o: sched.SequentialLR(o, [sched.LinearLR(o, start_factor=0.1, total_iters=3), sched.CosineAnnealingLR(o, 6)], [3])),
    ('SequentialLR of three', 's.SequentialLR(o, [s.ConstantLR(o, {factor: 0.1, totalIters: 2}), s.StepLR(o, 4), '
     's.CosineAnnealingWarmRestarts(o, 5)], [4, 15])',
     lambda o: sched.SequentialLR(o, [sched.ConstantLR(o, factor=0.1, total_iters=2), sched.StepLR(o, 4),
                                      sched.CosineAnnealingWarmRestarts(o, 5)], [4, 15])),
    ('ChainedScheduler', 's.ChainedScheduler([s.ConstantLR(o, {factor: 0.1, totalIters: 2}), s.ExponentialLR(o, 0.9)])',
     lambda o: sched.ChainedScheduler([sched.ConstantLR(o, factor=0.1, total_iters=2), sched.ExponentialLR(o, gamma=0.9)])),
    ('CosineAnnealingWarmRestarts', 's.CosineAnnealingWarmRestarts(o, 3, {tMult: 2, etaMin: 0.001})',
     lambda o: sched.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.001)),
    ('CosineAnnealingWarmRestarts, equal', 's.CosineAnnealingWarmRestarts(o, 7)', lambda o: sched.CosineAnnealingWarmRestarts(o, 7)),
    ('CyclicLR', 's.CyclicLR(o, 0.01, 0.1, {stepSizeUp: 4})', lambda o: sched.CyclicLR(o, 0.01, 0.1, step_size_up=4)),
    ('CyclicLR, triangular2', "s.CyclicLR(o, [0.01, 0.02], [0.1, 0.3], {stepSizeUp: 3, stepSizeDown: 5, mode: 'triangular2', "
     'cycleMomentum: false})',
     lambda o: sched.CyclicLR(o, [0.01, 0.02], [0.1, 0.3], step_size_up=3, step_size_down=5, mode='triangular2', cycle_momentum=False)),
    ('CyclicLR, exp_range', "s.CyclicLR(o, 0.01, 0.1, {stepSizeUp: 4, mode: 'exp_range', gamma: 0.97, baseMomentum: 0.7, maxMomentum: [0.9, 0.95]})",
     lambda o: sched.CyclicLR(o, 0.01, 0.1, step_size_up=4, mode='exp_range', gamma=0.97, base_momentum=0.7, max_momentum=[0.9, 0.95])),
    ('CyclicLR, scaleFn', "s.CyclicLR(o, 0.01, 0.1, {stepSizeUp: 4, scaleFn: (x) => 1 / (5 ** (x * 0.1)), scaleMode: 'iterations'})",
     lambda o: sched.CyclicLR(o, 0.01, 0.1, step_size_up=4, scale_fn=lambda x: 1 / (5 ** (x * 0.1)), scale_mode='iterations')),
    ('OneCycleLR', 's.OneCycleLR(o, 0.4, {totalSteps: 32})', lambda o: sched.OneCycleLR(o, 0.4, total_steps=32)),
    ('OneCycleLR, threePhase', "s.OneCycleLR(o, [0.4, 0.2], {epochs: 4, stepsPerEpoch: 8, threePhase: true, annealStrategy: 'linear', "
     'pctStart: 0.4, divFactor: 10, finalDivFactor: 100, baseMomentum: 0.8})',
     lambda o: sched.OneCycleLR(o, [0.4, 0.2], epochs=4, steps_per_epoch=8, three_phase=True, anneal_strategy='linear', pct_start=0.4,
                                div_factor=10, final_div_factor=100, base_momentum=0.8)),
    ('OneCycleLR, Adam', 's.OneCycleLR(a, 0.4, {totalSteps: 40})', lambda o: sched.OneCycleLR(o, 0.4, total_steps=40)),
    ('SWALR', 'w.SWALR(o, 0.05, {annealEpochs: 6})', lambda o: swa_utils.SWALR(o, 0.05, anneal_epochs=6)),
    ('SWALR, linear', "w.SWALR(o, [0.05, 0.2], {annealEpochs: 4, annealStrategy: 'linear'})",
     lambda o: swa_utils.SWALR(o, [0.05, 0.2], anneal_epochs=4, anneal_strategy='linear')),
]
EPOCHS = 31
METRICS = [1, 0.9, 0.95, 0.93, 0.92, 0.91, 0.5, 0.6, 0.49999, 0.6, 0.6, 0.6, 0.6] + [0.4 - 0.01 * i * (i % 4) for i in range(18)]
PLATEAUS = [
    ({'patience': 1, 'cooldown': 1, 'factor': 0.5, 'min_lr': [0.1, 0.02]}),
    ({'mode': 'max', 'patience': 2, 'threshold': 0.05, 'threshold_mode': 'abs', 'factor': 0.3}),
    ({'patience': 0, 'threshold': 0.2, 'factor': 0.7, 'eps': 1e-3}),
]
FRACTIONS = [0, 0.25, 0.5, 1, 1.75, 2.5, 3, 3.5, 8.25, 8.5, 9, 20.75, 21.5, 5.5]


def two_groups(kind='SGD'):
    params = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{'params': params[:1], 'lr': 0.3}, {'params': params[1:]}]
    return optim.Adam(groups, lr=0.05) if kind == 'Adam' else optim.SGD(groups, lr=0.05, momentum=0.9)


def rates_of(optimizer):
    return [group['lr'] for group in optimizer.param_groups]


def momenta_of(optimizer):
    return [group['betas'][0] if 'betas' in group else group['momentum'] for group in optimizer.param_groups]


def scheduler_goldens():
    def run(name, build, step, epochs):
        optimizer = two_groups('Adam' if name.endswith('Adam') else 'SGD')
        scheduler = build(optimizer)
        rates, momenta = [rates_of(optimizer)], [momenta_of(optimizer)]
        for epoch in range(epochs):
            optimizer.step()
            step(scheduler, epoch)
            rates.append(rates_of(optimizer))
            momenta.append(momenta_of(optimizer))
        moved = any(pair != momenta[0] for pair in momenta)
        return {'rates': rates, 'momenta': momenta if moved else None}

    out = [{'name': name, 'ts': f'new {ts}'.replace('(s.', '(new s.').replace('[s.', '[new s.').replace(' s.', ' new s.').replace('new new', 'new'),
            **run(name, build, lambda s, _: s.step(), EPOCHS)} for name, ts, build in SCHEDULERS]
    plateaus = [{'options': camel(options),
                 'rates': run('', lambda o, options=options: sched.ReduceLROnPlateau(o, **options),
                              lambda s, epoch: s.step(METRICS[epoch]), len(METRICS))['rates']} for options in PLATEAUS]
    fractions = [{'tMult': mult, 'rates': run('', lambda o, mult=mult: sched.CosineAnnealingWarmRestarts(o, 3, T_mult=mult),
                                              lambda s, i: s.step(FRACTIONS[i]), len(FRACTIONS))['rates']} for mult in (1, 2)]
    return {'runs': out, 'plateau': {'metrics': METRICS, 'runs': plateaus}, 'fractional': {'epochs': FRACTIONS, 'runs': fractions}}


def average_goldens():
    """A linear layer and a batch norm whose weights move by a formula between updates."""
    def network():
        model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        return model

    def move(model, k):
        with torch.no_grad():
            for i, (key, value) in enumerate(model.state_dict().items()):
                if value.dtype == torch.float32:
                    value.copy_(values(value.shape, 3 * k + i, 1) + (2 if 'var' in key else 0))

    ema = lambda average, current, _: 0.8 * average + (1 - 0.8) * current
    out = []
    for name, options in (('swa', {}), ('ema', {'avg_fn': ema}), ('swa, buffers', {'use_buffers': True})):
        model = network()
        move(model, 0)
        averaged = swa_utils.AveragedModel(model, **options)
        for k in range(5):
            move(model, k)
            averaged.update_parameters(model)
        keep = [(key, value) for key, value in averaged.module.state_dict().items()
                if value.dtype == torch.float32 and ('running' not in key or 'use_buffers' in options)]
        out.append({'name': name, 'state': {key: short(value.reshape(-1).tolist()) for key, value in keep}})
    model = network()
    move(model, 1)
    swa_utils.update_bn([values([4, 3], k, 1) for k in range(3)], model)
    return {'runs': out, 'updateBn': {key: short(model.state_dict()[key].tolist()) for key in ('1.running_mean', '1.running_var')}}


def clip_goldens():
    out = []
    for norm_type in (2.0, 1.0, 3.0, math.inf):
        for max_norm in (1.0, 100.0):
            grads = [values([3], 1, 2), values([2, 2], 2, 2)]
            params = [torch.zeros_like(g, requires_grad=True) for g in grads]
            for p, g in zip(params, grads):
                p.grad = g.clone()
            total = nn.utils.clip_grad_norm_(params, max_norm, norm_type)
            out.append({'normType': 'inf' if norm_type == math.inf else norm_type, 'maxNorm': max_norm, 'total': total.item(),
                        'grads': [short(p.grad.reshape(-1).tolist()) for p in params]})
    return out


if __name__ == '__main__':
    warnings.filterwarnings('ignore')
    data = {'optimizers': optimizer_goldens(), 'lbfgs': lbfgs_goldens(), 'schedulers': scheduler_goldens(),
            'averages': average_goldens(), 'clip': clip_goldens()}
    text = json.dumps(data, indent=0, separators=(',', ':'))
    GOLDEN.write_text(text + '\n')
    print(f'optim.json: {len(text)} bytes')
