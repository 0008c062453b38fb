"""Writes samples of PyTorch's own op database, with what PyTorch makes of them, for test/opinfo.

    python3 scripts/goldens/opinfo.py [--seed 1] [--samples 4] [--elements 600] [FILE]

FILE (test/opinfo/samples.ndjson) gets a line of JSON per entry of the database: its name and variant, the names of
its arguments, and samples: input, args and kwargs; outputs; a random cotangent with the gradients it gives; another
one with the gradients of those. Ops that draw random numbers or need complex or sparse tensors are left out, and
samples that have more than --elements elements in all. A tensor is {T: dtype, shape, data: base64, g: requires grad}, a list {L: [...]}, a dtype {D: name},
a slice {S: [start, stop, step]}, an infinite number or NaN {F: text}, an ellipsis {E: 1}.
"""
import find_torch  # noqa: F401  first: it may go on in another Python

import argparse
import base64
import inspect
import json
import pathlib
import random
import re
import sys
import types
import unittest
import warnings

import numpy as np
import torch

# The database imports a test library of which it needs two names.
sys.modules.setdefault('expecttest', types.SimpleNamespace(ACCEPT=False, TestCase=unittest.TestCase))
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

RANDOM = re.compile(
    r'dropout|bernoulli|multinomial|^normal|rand|uniform|exponential|cauchy|geometric|log_normal|rrelu|'
    r'fractional|lowrank')
# What needs dtypes, layouts or calls that kindling has not, and names inside PyTorch.
FOREIGN = re.compile(
    r'^(masked\.|fft\.|sparse\.|stft|istft|complex|polar|view_as_(real|complex)|real$|imag$|conj|resolve_|'
    r'jiterator|chalf|cdouble|cfloat|resize_|bfloat16|__r\w+__|_refs|ops\.|native_|empty|new_empty|to_sparse|'
    r'segment_reduce|symeig|geqrf|ormqr|linalg\.(eig$|eigvals$)|special\.(modified|scaled|spherical))')


class Unwritable(Exception):
    """A value that no tensor of kindling can hold."""


def write(value):
    if isinstance(value, torch.Tensor):
        if value.is_complex() or value.is_sparse or value.is_quantized or value.dtype == torch.bfloat16:
            raise Unwritable
        dense = torch.zeros(value.shape, dtype=value.dtype) if value._is_zerotensor() else value.detach()
        dense = dense.float() if dense.dtype == torch.float16 else dense.contiguous()
        data = base64.b64encode(dense.numpy().tobytes()).decode()
        return {'T': str(dense.dtype)[6:], 'shape': list(value.shape), 'data': data, 'g': value.requires_grad}
    if isinstance(value, (list, tuple)):
        return {'L': [write(item) for item in value]}
    if isinstance(value, float) and not np.isfinite(value):
        return {'F': str(value)}
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    if isinstance(value, slice):
        return {'S': [value.start, value.stop, value.step]}
    if isinstance(value, torch.dtype):
        return {'D': str(value)[6:]}
    if isinstance(value, np.generic):
        return value.item()
    if value is Ellipsis:
        return {'E': 1}
    raise Unwritable


def tensors_of(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_of(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_of(item)


def argument_names(name):
    """Of each overload, in order."""
    base = name.split('.')[-1]
    found = []
    if name.startswith('nn.functional.'):
        try:
            found.append(list(inspect.signature(getattr(torch.nn.functional, base)).parameters))
        except (TypeError, ValueError):
            pass  # written in C++: its schema says it
    for schema in (name.replace('.', '_'), base, '_' + base):
        try:
            overloads = torch._C._jit_get_schemas_for_operator('aten::' + schema)
        except RuntimeError:
            continue
        for overload in overloads:
            names = [argument.name for argument in overload.arguments]
            if names not in found:
                found.append(names)
    return found


def run(op, sample, grad):
    """The sample with what PyTorch makes of it."""
    made = {
        'input': write(sample.input),
        'args': [write(value) for value in sample.args],
        'kwargs': {key: write(value) for key, value in sample.kwargs.items()},
    }
    leaves = [x for x in tensors_of([sample.input, list(sample.args), sample.kwargs]) if x.requires_grad]
    result = op(sample.input, *sample.args, **sample.kwargs)
    outputs = list(tensors_of(result))
    if not outputs:
        if not isinstance(result, (bool, int, float)):
            raise Unwritable
        return {**made, 'scalar': result, 'outputs': []}
    made['outputs'] = [write(x) for x in outputs]
    roots = [x for x in outputs if x.requires_grad]
    if not (grad and leaves and roots):
        return made
    cotangents = [torch.randn_like(x) for x in roots]
    grads = torch.autograd.grad(roots, leaves, cotangents, allow_unused=True, create_graph=op.supports_gradgrad)
    made['cot'] = [write(x) for x in cotangents]
    made['which'] = [x.requires_grad for x in outputs]
    made['grads'] = [write(x) for x in grads]
    recorded = [x for x in grads if x is not None and x.requires_grad]
    if op.supports_gradgrad and recorded:
        cotangents = [torch.randn_like(x) for x in recorded]
        again = torch.autograd.grad(recorded, leaves, cotangents, allow_unused=True)
        made['gwhich'] = [x is not None and x.requires_grad for x in grads]
        made['cot2'] = [write(x) for x in cotangents]
        made['gg'] = [write(x) for x in again]
    return made


def entry(op, options):
    dtypes = op.supported_dtypes('cpu')
    dtype = next((d for d in (torch.float32, torch.int32, torch.bool) if d in dtypes), None)
    if dtype is None or RANDOM.search(op.name) or FOREIGN.search(op.name):
        return None
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    np.random.seed(options.seed)
    grad = dtype.is_floating_point and op.supports_autograd
    samples = list(op.sample_inputs('cpu', dtype, requires_grad=grad))
    random.Random(options.seed).shuffle(samples)
    made = []
    for sample in samples:
        inputs = tensors_of([sample.input, list(sample.args), sample.kwargs])
        if len(made) == options.samples or sum(x.numel() for x in inputs) > options.elements:
            continue
        try:
            done = run(op, sample, grad)
        except (Unwritable, RuntimeError, NotImplementedError, IndexError, ValueError):
            continue  # what PyTorch itself cannot do on the CPU is no sample
        if len(json.dumps(done)) < 40 * options.elements:
            made.append(done)
    return {'name': op.name, 'variant': op.variant_test_name, 'arguments': argument_names(op.name),
            'samples': made} if made else None


if __name__ == '__main__':
    warnings.filterwarnings('ignore')
    default = pathlib.Path(__file__).parents[2] / 'test/opinfo/samples.ndjson'
    parser = argparse.ArgumentParser()
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--samples', type=int, default=4)
    parser.add_argument('--elements', type=int, default=600)
    parser.add_argument('file', nargs='?', type=pathlib.Path, default=default)
    given = parser.parse_args()
    lines = [line for op in op_db if (line := entry(op, given))]
    given.file.write_text(''.join(json.dumps(line, separators=(',', ':')) + '\n' for line in lines))
    print(f'{given.file}: {len(lines)} entries, {sum(len(line["samples"]) for line in lines)} samples')
