"""Writes names.json beside this file: the public names of PyTorch 1.13 and torchvision, by room."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'goldens'))
import find_torch  # noqa: F401, E402  first: it may go on in another Python

import inspect
import json
import types

import torch
import torchvision.transforms


def public(names):
    return sorted(name for name in names if not name.startswith('_'))


def functions(room):
    """Functions, not classes, modules or constants, without what only passes through from elsewhere."""
    names = []
    for name in public(dir(room)):
        value = getattr(room, name)
        if isinstance(value, (type, types.ModuleType)) or not callable(value):
            continue
        home = getattr(value, '__module__', None) or 'torch'
        if home.startswith('torch') and not home.startswith(('torch.jit', 'torch._jit', 'torch.fx')):
            names.append(name)
    return names


def classes(room, base):
    return public(name for name, value in vars(room).items() if inspect.isclass(value) and issubclass(value, base))


tensor = public(dir(torch.Tensor))
rooms = {
    'torch': functions(torch),
    'torch.Tensor': [name for name in tensor if not name.endswith('_')],
    'torch.Tensor, in place': [name for name in tensor if name.endswith('_')],
    'torch.linalg': functions(torch.linalg),
    'torch.special': functions(torch.special),
    'torch.nn': classes(torch.nn, torch.nn.Module) + ['Parameter'],
    'torch.nn.functional': functions(torch.nn.functional),
    'torch.nn.init': [name for name in functions(torch.nn.init) if name.endswith('_')],
    'torch.nn.utils': functions(torch.nn.utils),
    'torch.nn.utils.rnn': ['PackedSequence', 'pack_padded_sequence', 'pack_sequence', 'pad_packed_sequence',
                           'pad_sequence', 'unpack_sequence', 'unpad_sequence'],
    'torch.autograd': ['Function', 'backward', 'detect_anomaly', 'enable_grad', 'grad', 'gradcheck', 'gradgradcheck',
                       'inference_mode', 'no_grad', 'set_detect_anomaly', 'set_grad_enabled'],
    'torch.autograd.functional': ['hessian', 'hvp', 'jacobian', 'jvp', 'vhp', 'vjp'],
    'torch.optim': classes(torch.optim, torch.optim.Optimizer),
    'torch.optim.lr_scheduler': public(
        name for name, value in vars(torch.optim.lr_scheduler).items()
        if inspect.isclass(value) and value.__module__ == 'torch.optim.lr_scheduler'),
    'torch.utils.data': public(torch.utils.data.__all__),
    'torchvision.transforms': public(
        name for name, value in vars(torchvision.transforms).items() if inspect.isclass(value)),
}
(pathlib.Path(__file__).parent / 'names.json').write_text(json.dumps(rooms, indent=1) + '\n')
print({room: len(names) for room, names in rooms.items()})
