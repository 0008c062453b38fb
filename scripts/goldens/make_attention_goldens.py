"""Writes test/goldens/attention.json: what PyTorch's attention prints, names and computes.

    python3 scripts/goldens/make_attention_goldens.py        (PyTorch 1.13 or later)

Weights, inputs and the output's gradient are made by fill.py under the names given here, masks by `mask` below;
test/nn/attention.test.ts repeats both. Everything is computed in float64 and rounded to 7 digits.
"""
import json
import math
from pathlib import Path

import torch
from torch import nn
import fill

OUT = Path(__file__).resolve().parents[2] / 'test/goldens/attention.json'

# Name, layer options, shapes of query, key and value (one shape for self-attention), call options; masks as [kind, shape].
CASES = [
    ('self', {'embedDim': 8, 'numHeads': 2, 'batchFirst': True}, [[3, 5, 8]], {}),
    ('cross', {'embedDim': 8, 'numHeads': 4}, [[5, 3, 8], [6, 3, 8], [6, 3, 8]], {'averageAttnWeights': False}),
    ('shared key and value', {'embedDim': 8, 'numHeads': 2}, [[5, 3, 8], [6, 3, 8]], {}),
    ('kdim, vdim', {'embedDim': 8, 'numHeads': 2, 'kdim': 6, 'vdim': 4, 'batchFirst': True}, [[3, 5, 8], [3, 6, 6], [3, 6, 4]], {}),
    ('no bias, no weights', {'embedDim': 8, 'numHeads': 2, 'bias': False, 'batchFirst': True}, [[3, 5, 8]], {'needWeights': False}),
    ('bool mask', {'embedDim': 8, 'numHeads': 2, 'batchFirst': True}, [[3, 5, 8]], {'attnMask': ['bool', [5, 5]]}),
    ('masks of both kinds', {'embedDim': 8, 'numHeads': 2, 'batchFirst': True}, [[3, 5, 8]],
     {'attnMask': ['float', [6, 5, 5]], 'keyPaddingMask': ['bool', [3, 5]]}),
    ('float padding', {'embedDim': 8, 'numHeads': 2}, [[5, 3, 8]], {'keyPaddingMask': ['float', [3, 5]]}),
    ('without a batch', {'embedDim': 8, 'numHeads': 2}, [[5, 8]], {'keyPaddingMask': ['bool', [5]]}),
]
SNAKE = {'embedDim': 'embed_dim', 'numHeads': 'num_heads', 'batchFirst': 'batch_first', 'attnMask': 'attn_mask', 'keyPaddingMask': 'key_padding_mask',
         'averageAttnWeights': 'average_attn_weights', 'needWeights': 'need_weights'}
FUNCTIONS = [
    ('plain', [[2, 3, 5, 4], [2, 3, 6, 4], [2, 3, 6, 7]], {}),
    ('causal', [[2, 5, 4], [2, 6, 4], [2, 6, 4]], {'isCausal': True}),
    ('bool mask', [[2, 3, 5, 4], [2, 3, 6, 4], [2, 3, 6, 4]], {'attnMask': ['bool', [5, 6]]}),
    ('float mask', [[2, 3, 5, 4], [2, 3, 6, 4], [2, 3, 6, 4]], {'attnMask': ['float', [2, 1, 5, 6]]}),
    ('scale', [[5, 4], [6, 4], [6, 4]], {'scale': 0.3}),
]


def tensor(key, shape):
    return torch.from_numpy(fill.uniform(key, shape)).double()


def mask(spec):
    """Floats as they come; bools are true where the number is positive, but never in the first column."""
    kind, shape = spec
    values = tensor('mask', shape)
    if kind == 'float':
        return values
    values[..., 0] = -1
    return values > 0


def numbers(x):
    return None if x is None else {'shape': list(x.shape), 'values': [float(f'{v:.7g}') for v in x.detach().reshape(-1).tolist()]}


def layer_case(name, options, shapes, call):
    layer = nn.MultiheadAttention(**{SNAKE.get(k, k): v for k, v in options.items()}).double()
    for key, parameter in layer.named_parameters():
        parameter.data = tensor(key, parameter.shape)
    made = [tensor(key, shape).requires_grad_() for key, shape in zip(('query', 'key', 'value'), shapes)]
    arguments = [made[min(i, len(made) - 1)] for i in range(3)]
    options_there = {SNAKE[k]: mask(v) if k.endswith('Mask') else v for k, v in call.items()}
    output, weights = layer(*arguments, **options_there)
    (output * tensor('grad', output.shape)).sum().backward()
    grads = {key: numbers(p.grad) for key, p in [*zip(('query', 'key', 'value'), made), *layer.named_parameters()]}
    return {'name': name, 'options': options, 'shapes': shapes, 'call': call, 'printed': repr(layer),
            'keys': [f'{key} {list(value.shape)}' for key, value in layer.state_dict().items()],
            'output': numbers(output), 'weights': numbers(weights), 'grads': grads}


def function_case(name, shapes, options):
    """The formula: PyTorch 1.13 has the function under a private name only."""
    q, k, v = made = [tensor(key, shape).requires_grad_() for key, shape in zip(('query', 'key', 'value'), shapes)]
    scores = q @ k.transpose(-2, -1) * options.get('scale', 1 / math.sqrt(q.shape[-1]))
    if options.get('isCausal'):
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
    if 'attnMask' in options:
        looks = mask(options['attnMask'])
        scores = scores.masked_fill(~looks, -math.inf) if looks.dtype == torch.bool else scores + looks
    output = scores.softmax(-1) @ v
    (output * tensor('grad', output.shape)).sum().backward()
    return {'name': name, 'shapes': shapes, 'options': options, 'output': numbers(output),
            'grads': {key: numbers(x.grad) for key, x in zip(('query', 'key', 'value'), made)}}


if __name__ == '__main__':
    data = {'layers': [layer_case(*case) for case in CASES], 'functions': [function_case(*case) for case in FUNCTIONS]}
    text = json.dumps(data, separators=(',', ':'))
    OUT.write_text(text + '\n')
    print(f'attention.json: {len(text)} bytes', 'NaN' in text)
