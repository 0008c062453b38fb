"""What PyTorch's attention prints, names and computes: test/cases/nn/attention.json, attention-function.json.

A row of the layer: its options, the shapes of query, key and value (one shape for self-attention) and the
options of the call; of the function: shapes and options. A mask is [kind, shape].

Weights, inputs and the output's gradient are made by fill.py under the names given here, masks by `mask`
below; test/nn/attention.test.ts repeats both. Everything is computed in float64 and rounded to 7 digits.
"""
import math

import torch
from torch import nn

from layers import filled
from rows import snake

INPUTS = ('query', 'key', 'value')


def mask(spec):
    """Floats as they come; bools are true where the number is positive, but never in the first column."""
    kind, shape = spec
    values = filled('mask', shape)
    if kind == 'float':
        return values
    values[..., 0] = -1
    return values > 0


def numbers(x):
    if x is None:
        return None
    return {'shape': list(x.shape), 'values': [float(f'{v:.7g}') for v in x.detach().reshape(-1).tolist()]}


def run_layer(row):
    layer = nn.MultiheadAttention(**{snake(k): v for k, v in row['options'].items()}).double()
    for key, parameter in layer.named_parameters():
        parameter.data = filled(key, parameter.shape)
    made = [filled(key, shape).requires_grad_() for key, shape in zip(INPUTS, row['shapes'])]
    arguments = [made[min(i, len(made) - 1)] for i in range(3)]
    options = {snake(k): mask(v) if k.endswith('Mask') else v for k, v in row['call'].items()}
    output, weights = layer(*arguments, **options)
    (output * filled('grad', output.shape)).sum().backward()
    grads = {key: numbers(p.grad) for key, p in [*zip(INPUTS, made), *layer.named_parameters()]}
    keys = [f'{key} {list(value.shape)}' for key, value in layer.state_dict().items()]
    return {'printed': repr(layer), 'keys': keys,
            'output': numbers(output), 'weights': numbers(weights), 'grads': grads}


def run_function(row):
    """The formula: PyTorch 1.13 has the function under a private name only."""
    options = row['options']
    q, k, v = made = [filled(key, shape).requires_grad_() for key, shape in zip(INPUTS, row['shapes'])]
    scores = q @ k.transpose(-2, -1) * options.get('scale', 1 / math.sqrt(q.shape[-1]))
    if options.get('isCausal'):
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
    if 'attnMask' in options:
        looks = mask(options['attnMask'])
        scores = scores.masked_fill(~looks, -math.inf) if looks.dtype == torch.bool else scores + looks
    output = scores.softmax(-1) @ v
    (output * filled('grad', output.shape)).sum().backward()
    return {'output': numbers(output), 'grads': {key: numbers(x.grad) for key, x in zip(INPUTS, made)}}
