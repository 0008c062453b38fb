"""What torch.optim computes for the rows of test/cases/optim, whose options have kindling's names.

  optimizers  parameters after some steps under `options`; `second` are the options of a second group for the
              last three parameters. Without it there is one group, so large that the kernel for several
              parameters at once is compiled: one row of each optimizer is enough for that
  lbfgs       losses and parameters
  schedulers  rates (and momenta, if they move) by step: ts and py make the scheduler of the optimizer `o`, an
              SGD or the `optimizer` named; `steps` are the arguments of its steps, where they have one
  averages    averaged weights: ts and py are the options of AveragedModel
  update-bn   batch-norm statistics after some batches
  clip        clipped gradients
"""
import math

import torch
from torch import nn, optim
from torch.optim import lr_scheduler, swa_utils

from rows import snake

# The test repeats these, and `values`.
SHAPES = [[5], [2, 3], [2, 3, 2, 2], [1], [7], [3, 4], []]
STEPS = 12
EPOCHS = 31


def in_snake(options):
    return {snake(key): value for key, value in options.items()}


def short(values, digits=9):
    """By default float32 in as few digits as tell it apart."""
    return [float(f'{value:.{digits}g}') for value in values]


def values(shape, seed, scale):
    count = math.prod(shape)
    numbers = [scale * math.sin(0.7 * i + seed) for i in range(count)]
    return torch.tensor(numbers, dtype=torch.float32).reshape(shape)


def make_optimizer(name, params, options, second):
    sign = 1
    if name in ('NAdam', 'RAdam'):
        # 1.13 cannot maximise with these: the gradients are negated instead.
        sign = -1 if options.pop('maximize', False) else 1
    if name == 'NAdam':
        # 1.13's loop over single tensors multiplies one mu too many; its foreach form is the documented
        # algorithm.
        options['foreach'] = True
    groups = params
    if second is not None:
        groups = [{'params': params[:4]}, {'params': params[4:], **in_snake(second)}]
    return getattr(optim, name)(groups, **options), sign


def run_optimizer(row):
    params = [values(shape, k, 1).requires_grad_() for k, shape in enumerate(SHAPES)]
    optimizer, sign = make_optimizer(row['op'], params, in_snake(row['options']), row.get('second'))
    for step in range(STEPS):
        for k, p in enumerate(params):
            # The third parameter gets its first gradient late, so that step counts differ.
            p.grad = None if k == 2 and step < 2 else sign * values(p.shape, 10 * step + k + 0.5, 0.5)
        optimizer.step()
    return {'values': [short(p.detach().reshape(-1).tolist()) for p in params]}


def run_lbfgs(row):
    """Logistic regression with a ridge: convex, but no line search is exact. In float64: one path."""
    x, y = values([12, 3], 0.3, 1.5).double(), (values([12], 2, 1) > 0).double()
    w, b = (start.double().requires_grad_() for start in (values([3], 1, 1), torch.zeros(1)))
    optimizer = optim.LBFGS([w, b], **in_snake(row['options']))

    def closure():
        optimizer.zero_grad()
        logits = (x * w).sum(1) + b
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y) + 0.05 * w.square().sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(6)]
    return {'losses': short(losses, 7), 'w': short(w.tolist(), 7), 'b': short(b.tolist(), 7)}


def rates_of(optimizer):
    return [group['lr'] for group in optimizer.param_groups]


def momenta_of(optimizer):
    return [group['betas'][0] if 'betas' in group else group['momentum'] for group in optimizer.param_groups]


def run_scheduler(row):
    params = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{'params': params[:1], 'lr': 0.3}, {'params': params[1:]}]
    momentum = {} if 'optimizer' in row else {'momentum': 0.9}
    o = getattr(optim, row.get('optimizer', 'SGD'))(groups, lr=0.05, **momentum)
    scheduler = eval(row['py'], {**vars(lr_scheduler), **vars(swa_utils), 'o': o})
    rates, momenta = [rates_of(o)], [momenta_of(o)]
    for arguments in [[step] for step in row['steps']] if 'steps' in row else [[]] * EPOCHS:
        o.step()
        scheduler.step(*arguments)
        rates.append(rates_of(o))
        momenta.append(momenta_of(o))
    moved = any(pair != momenta[0] for pair in momenta)
    return {'rates': rates, 'momenta': momenta if moved else None}


def network():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def move(model, k):
    """The weights move by a formula between updates."""
    with torch.no_grad():
        for i, (key, value) in enumerate(model.state_dict().items()):
            if value.dtype == torch.float32:
                value.copy_(values(value.shape, 3 * k + i, 1) + (2 if 'var' in key else 0))


def run_average(row):
    options = eval(row['py'])
    model = network()
    move(model, 0)
    averaged = swa_utils.AveragedModel(model, **options)
    for k in range(5):
        move(model, k)
        averaged.update_parameters(model)
    keep = [(key, value) for key, value in averaged.module.state_dict().items()
            if value.dtype == torch.float32 and ('running' not in key or 'use_buffers' in options)]
    return {'state': {key: short(value.reshape(-1).tolist()) for key, value in keep}}


def run_update_bn(row):
    """In float64: the order of float32 sums differs from CPU to CPU."""
    model = network()
    move(model, 1)
    swa_utils.update_bn([values([4, 3], k, 1).double() for k in range(row['batches'])], model.double())
    state = model.state_dict()
    return {'state': {key: short(state[key].tolist(), 7) for key in ('1.running_mean', '1.running_var')}}


def run_clip(row):
    grads = [values([3], 1, 2), values([2, 2], 2, 2)]
    params = [torch.zeros_like(g, requires_grad=True) for g in grads]
    for p, g in zip(params, grads):
        p.grad = g.clone()
    total = nn.utils.clip_grad_norm_(params, row['maxNorm'], float(row['normType']))
    return {'total': total.item(), 'grads': [short(p.grad.reshape(-1).tolist()) for p in params]}
