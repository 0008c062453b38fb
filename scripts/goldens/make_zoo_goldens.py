"""Writes test/goldens/models/zoo.json: what torchvision's classifiers are made of and what they compute.

    python3 scripts/goldens/make_zoo_goldens.py [name ...]        (PyTorch 1.13 and torchvision 0.14 or later)

Given names, only their entries are made anew. Per model, built with its defaults: the number of parameters,
the SHA-256 of the lines "key [shape]" of its state dict and that of its printed form (for a few models the
text itself). Where `logits` are, they are those of a small variant (`options`, under kindling's names),
filled by fill.py's signal_parameter, for fill.py's 'input' of [1, 3, size, size], in evaluation mode,
computed in float64; `float32` is PyTorch's own float32 error (relative L2), and `sensitivity` how far the
logits move (relative L2) for another input: a check that they say something about the network. `auxiliary`
are the logits of GoogLeNet's and Inception's auxiliary classifiers.
"""
import find_torch  # noqa: F401  first: it may go on in another Python

import hashlib
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision
import fill
from rows import snake

PATH = Path(__file__).resolve().parents[2] / 'test/goldens/models/zoo.json'
FAMILIES = ('resnet', 'resnext', 'wide_resnet', 'vgg', 'mobilenet', 'alexnet', 'squeezenet', 'densenet',
            'googlenet', 'inception', 'efficientnet', 'shufflenet', 'mnasnet', 'regnet', 'convnext', 'vit')
PRINTED_WHOLE = ('resnet18', 'vgg16', 'mobilenet_v2')
# Filled so that PyTorch's own float32 is near its float64 (fill.signal_parameter).
DEEP = ('efficientnet_v2_m', 'efficientnet_v2_l')
# Larger models are compared by structure only: in float64 they would not fit common machines.
LOGITS_UP_TO = 200_000_000


def without_initialisation():
    """No value that PyTorch draws matters here, and drawing them takes most of the time."""
    for name in dir(torch.nn.init):
        if name.endswith('_') and not name.startswith('_'):
            setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)


def build(name, options):
    return getattr(torchvision.models, name)(**{snake(key): value for key, value in options.items()})


def small_variant(name):
    options = {'numClasses': 10}
    if name in ('googlenet', 'inception_v3'):
        options['transformInput'] = True
    if name.startswith('vit'):
        options['imageSize'] = 56 if name == 'vit_h_14' else 64
    return options, 80 if name == 'inception_v3' else options.get('imageSize', 64)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def structure(name):
    model = build(name, {})
    keys = [f'{key} [{", ".join(map(str, value.shape))}]' for key, value in model.state_dict().items()]
    parameters = sum(p.numel() for p in model.parameters())
    entry = {'parameters': parameters, 'keys': digest('\n'.join(keys)), 'print': digest(str(model))}
    if name in PRINTED_WHOLE:
        entry['printed'] = str(model)
    return entry


def filled(name, options):
    model = build(name, options)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if not key.endswith('num_batches_tracked'):
                value.copy_(torch.from_numpy(fill.signal_parameter(key, tuple(value.shape), name in DEEP)))
    return model.eval()


def relative(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def logits(name):
    options, size = small_variant(name)
    shape = (1, 3, size, size)
    both = (fill.uniform(key, shape, 3**0.5) for key in ('input', 'another input'))
    images, others = (torch.from_numpy(x) for x in both)
    model = filled(name, options)
    with torch.no_grad():
        single = model(images).double().numpy()[0]
        model.double()
        exact, other = (model(x.double()).numpy()[0] for x in (images, others))
    entry = {'options': options, 'size': size, 'logits': [float(np.float32(v)) for v in exact],
             'float32': relative(single, exact), 'sensitivity': relative(other, exact)}
    if name in DEEP:
        entry['deep'] = True
    assert entry['sensitivity'] > 1e-3 and entry['float32'] < 1e-5, (name, entry)
    print(f'{name}: logits std {exact.std():.3f}, sensitivity {entry["sensitivity"]:.1e}, '
          f'float32 off by {entry["float32"]:.1e}', flush=True)
    return entry


def auxiliary(name):
    """Logits of the auxiliary classifiers, by running statistics, no dropout: only the model trains."""
    options, _ = small_variant(name)
    size = 299 if name == 'inception_v3' else 64
    model = filled(name, options).double()
    model.training = True
    with torch.no_grad():
        out = model(torch.from_numpy(fill.uniform('input', (1, 3, size, size), 3**0.5)).double())
    # GoogLeNet's forward mixes up its two:
    # https://github.com/pytorch/vision/blob/main/torchvision/models/googlenet.py
    if name == 'inception_v3':
        parts = {'auxLogits': out.aux_logits}
    else:
        parts = {'aux1': out.aux_logits2, 'aux2': out.aux_logits1}
    numbers = {key: [float(np.float32(v)) for v in value.numpy()[0]] for key, value in parts.items()}
    return {'size': size, **numbers}


def main(names):
    warnings.simplefilter('ignore')
    without_initialisation()
    known = [n for n in torchvision.models.list_models(module=torchvision.models) if n.startswith(FAMILIES)]
    golden = json.loads(PATH.read_text()) if names and PATH.exists() else {'models': {}}
    golden['torchvision'] = torchvision.__version__
    for name in names or known:
        entry = structure(name)
        if entry['parameters'] <= LOGITS_UP_TO:
            entry.update(logits(name))
        if name in ('googlenet', 'inception_v3'):
            entry['auxiliary'] = auxiliary(name)
        golden['models'][name] = entry
    write(golden)


def write(golden):
    lines = [f'{json.dumps(name)}:{json.dumps(entry, separators=(",", ":"))}'
             for name, entry in sorted(golden['models'].items())]
    PATH.write_text('{"torchvision":"%s","models":{\n%s\n}}\n' % (golden['torchvision'], ',\n'.join(lines)))
    print(f'{len(lines)} models, {PATH.stat().st_size / 1024:.0f} KiB')


if __name__ == '__main__':
    main(sys.argv[1:])
