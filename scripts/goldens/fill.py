"""Deterministic values that numpy and TypeScript (test/models/fill.ts) make bit for bit alike, so that a
model's weights need not be shipped with its goldens.

u(key, i) in [-1, 1): a 32-bit mix of (FNV-1a of the key, i), of which the upper 24 bits are kept, so that u
is exact in float32. A value is float32(u * scale + shift), computed in float64. The mix is "lowbias32" (Chris
Wellons, hash-prospector).
"""
import re

import numpy as np


def seed_of(key):
    h = 0x811C9DC5
    for byte in key.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def bits(key, count):
    """24-bit integers."""
    with np.errstate(over='ignore'):
        h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(seed_of(key))
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x21F0AAAD)
        h ^= h >> np.uint32(15)
        h *= np.uint32(0x735A2D97)
        h ^= h >> np.uint32(15)
    return h >> np.uint32(8)


def uniform(key, shape, scale=1.0, shift=0.0):
    u = bits(key, int(np.prod(shape))).astype(np.float64) * 2.0**-23 - 1.0
    return (u * scale + shift).astype(np.float32).reshape(shape)


def labels(key, count, classes):
    return (bits(key, count).astype(np.int64) * classes) >> 24


def transformer_parameter(key, shape):
    """Of a vision transformer: small enough for its softmaxes to stay soft."""
    if key.endswith('bias'):
        return uniform(key, shape, 0.1)
    if len(shape) == 1:
        return uniform(key, shape, 0.3, 0.7)
    if len(shape) == 3:
        return uniform(key, shape, 0.5)
    return uniform(key, shape, (3.0 / shape[1]) ** 0.5)


def parameter(key, shape):
    """Kaiming-sized weights and batch norms with biases of +-1.5 to 2.5: most activations are far from zero.

    With biases near zero, rounding (1e-6, or 1e-5 in a Winograd convolution) flips the ReLU of a few of a
    deep network's millions of activations, and one flip in the last stage, where a batch norm sees 16 values,
    moves every gradient by 1 % in any float32 implementation. With these biases PyTorch's float32 gradients
    are within 1e-5 of the float64 ones. In MobileNetV2's blocks (`conv`) they are positive: a channel that
    ReLU6 makes all zeros stays one in a depthwise convolution, and the batch norm behind that divides
    rounding by a variance of nothing.
    """
    if key.endswith('running_var'):
        return uniform(key, shape, 2.0, 6.0)
    if key.endswith('running_mean') or key == 'fc.bias':
        return uniform(key, shape, 0.1)
    if key.endswith('bias') and '.conv.' in key:
        return uniform(key, shape, 0.5, 1.2)
    if key.endswith('bias'):
        u = uniform(key, shape)
        return (u + np.copysign(1.5, u)).astype(np.float32)
    if len(shape) == 1:
        return uniform(key, shape, 0.3, 0.7)
    fan_in = int(np.prod(shape[1:]))
    return uniform(key, shape, (6.0 / fan_in) ** 0.5)


EFFICIENTNET_NORM = re.compile(r'\.block\.\d\.1\.weight$')
# Of the blocks beside a shortcut: all of a stage but the first.
EFFICIENTNET_SHORTCUT_NORM = re.compile(r'\.[1-9]\d*\.block\.[13]\.1\.weight$')


def signal_parameter(key, shape, deep=False):
    """The same for evaluation mode in deep networks, where batch norm does not restore the scale: factors near
    one and small biases, or else the last layers would see hardly anything of the input. What is added to a
    shortcut fifty times is smaller, and squeeze-excitations are rather open. With `deep` the blocks of an
    EfficientNet V2 add less still: sixty of them in a row would make noise of any rounding.
    """
    if key.endswith('running_var'):
        return uniform(key, shape, 0.2, 1.0)
    if 'layer_scale' in key:
        return uniform(key, shape, 0.3, 0.5)
    if key.startswith('encoder.') or key == 'class_token':
        return transformer_parameter(key, shape)
    if key.endswith('fc2.bias'):
        return uniform(key, shape, 0.1, 1.5)
    if key.endswith('bn3.weight'):
        return uniform(key, shape, 0.1, 0.3)
    if deep and EFFICIENTNET_SHORTCUT_NORM.search(key):
        return uniform(key, shape, 0.1, 0.3)
    if EFFICIENTNET_NORM.search(key):
        return uniform(key, shape, 0.2, 0.8)
    if key.endswith('running_mean') or key.endswith('bias'):
        return uniform(key, shape, 0.1)
    if len(shape) == 1:
        return uniform(key, shape, 0.2, 1.0)
    return uniform(key, shape, (6.0 / int(np.prod(shape[1:]))) ** 0.5)
