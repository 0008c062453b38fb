"""What PyTorch prints, names and computes for the rows of test/cases/nn/layers*.json.

A row: ts and py make the layer; then optionally
  inputs     what it is called with, in order, in training mode (ops.py says what one may be); parameters and
             the output's gradient are made by fill.py under their names ('grad' for the latter)
  tolerance  [rtol, atol], default [1e-4, 1e-5]
Of a result of several tensors (nested tuples flattened), all but the first stand under `more`, and their
gradients are made under 'grad1', 'grad2', ...

Computed in float64 and rounded once: the output, the gradients of floating-point inputs and parameters, and
the buffers as the call leaves them.
"""
import torch
from torch import nn

import fill
import rows


def filled(key, shape):
    return torch.from_numpy(fill.uniform(key, tuple(shape))).double()


def flat(output):
    return [output] if torch.is_tensor(output) else [x for part in output if part is not None for x in flat(part)]


def trained(row, layer):
    with torch.no_grad():
        for key, parameter in layer.named_parameters():
            parameter.copy_(filled(key, parameter.shape))
    arrays = rows.make_inputs(row, rows.random_of(row))
    inputs = {name: rows.to_torch(*array, torch.float64) for name, array in arrays.items()}
    leaves = {name: x.requires_grad_() for name, x in inputs.items() if x.is_floating_point()}
    # Layers may overwrite the result of an op, but no leaf.
    output, *more = flat(layer(*(x * 1 if x.is_floating_point() else x for x in inputs.values())))
    terms = [(x * filled(f'grad{i or ""}', x.shape)).sum() for i, x in enumerate((output, *more)) if x.requires_grad]
    if terms:
        sum(terms).backward()
    leaves.update(layer.named_parameters())
    return {
        'inputs': {name: rows.packed(*array) for name, array in arrays.items()},
        'output': rows.packed(output.detach().numpy()),
        **({'more': [rows.packed(x.detach().numpy()) for x in more]} if more else {}),
        'grads': {name: rows.packed(x.grad.numpy()) for name, x in leaves.items()},
        'buffers': {key: rows.packed(b.numpy(), 'float32' if b.is_floating_point() else 'int32')
                    for key, b in layer.named_buffers()},
    }


def run(row):
    layer = eval(row['py'], {'nn': nn})
    keys = [f'{key} {list(value.shape)}' for key, value in layer.state_dict().items()]
    golden = {'printed': repr(layer), 'keys': keys}
    return {**golden, **trained(row, layer.double())} if 'inputs' in row else golden
