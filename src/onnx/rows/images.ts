/** Convolutions, pools and resampling. */
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { float, int, ints, sizesOf, text, type Attributes, type Value } from '../graph.js';
import {
  cast,
  inside,
  named,
  optional,
  perDim,
  tensorAt,
  typed,
  type Builder,
  type Row,
  type RowTable,
} from '../row.js';
import { alongDim, reduce } from './products.js';

/** Runs `make` on `x` as a batch [N, C, ...], where it may be one sample. */
function asBatch(t: Builder, x: Tensor, dims: number, make: (batch: Value) => Value): Value {
  const value = t.value(x);
  if (x.ndim !== dims + 1) return make(value);
  const batch = typed(t.node('Unsqueeze', [value, t.list([0])]), x.dtype);
  return t.node('Squeeze', [typed(make(batch), x.dtype), t.list([0])]);
}

const convDefaults = {
  bias: null as unknown,
  stride: 1 as unknown,
  padding: 0 as unknown,
  outputPadding: 0 as unknown,
  dilation: 1 as unknown,
  groups: 1,
};

const conv =
  (dims: number): Row =>
  (t, args) => {
    const [x, w] = args as [Tensor, Tensor];
    const rest = args.slice(2);
    const read = named(rest, convDefaults, 'bias', 'stride', 'padding', 'dilation', 'groups');
    const kernel = w.shape.slice(2);
    const dilations = perDim(read.dilation, dims);
    const spans = kernel.map((size, i) => (dilations[i] as number) * (size - 1));
    const low =
      read.padding === 'same'
        ? spans.map((span) => Math.floor(span / 2))
        : perDim(read.padding === 'valid' ? 0 : read.padding, dims);
    const high = read.padding === 'same' ? spans.map((span, i) => span - (low[i] as number)) : low;
    const attributes = {
      dilations: ints(dilations),
      group: int(read.groups),
      kernel_shape: ints(kernel),
      pads: ints([...low, ...high]),
      strides: ints(perDim(read.stride, dims)),
    };
    const operands = [t.value(w), optional(t, read.bias)];
    return asBatch(t, x, dims, (batch) => t.node('Conv', [batch, ...operands], attributes));
  };

const convTranspose =
  (dims: number): Row =>
  (t, args) => {
    const [x, w] = args as [Tensor, Tensor];
    const places = ['bias', 'stride', 'padding', 'outputPadding', 'groups', 'dilation'] as const;
    const read = named(args.slice(2), convDefaults, ...places);
    const pads = perDim(read.padding, dims);
    const attributes = {
      dilations: ints(perDim(read.dilation, dims)),
      group: int(read.groups),
      kernel_shape: ints(w.shape.slice(2)),
      output_padding: ints(perDim(read.outputPadding, dims)),
      pads: ints([...pads, ...pads]),
      strides: ints(perDim(read.stride, dims)),
    };
    const operands = [t.value(w), optional(t, read.bias)];
    return asBatch(t, x, dims, (batch) => t.node('ConvTranspose', [batch, ...operands], attributes));
  };

const poolDefaults = {
  kernelSize: 1 as unknown,
  stride: null as unknown,
  padding: 0 as unknown,
  dilation: 1 as unknown,
  ceilMode: false,
  returnIndices: false,
  countIncludePad: true,
  divisorOverride: null as number | null,
};

interface Windows {
  readonly kernel: readonly number[];
  readonly attributes: Attributes;
  readonly pads: readonly number[];
  /** Padding at the end, with what `ceilMode` adds. */
  readonly ends: readonly number[];
}

/** The result's sizes say how far the last windows reach, so that ONNX need not round up by its own rule. */
function windowsOf(x: Tensor, result: Tensor, dims: number, read: typeof poolDefaults): Windows {
  const kernel = perDim(read.kernelSize, dims);
  const whole = read.stride === null || (Array.isArray(read.stride) && read.stride.length === 0);
  const strides = whole ? kernel : perDim(read.stride, dims);
  const [pads, dilations] = [perDim(read.padding, dims), perDim(read.dilation, dims)];
  const ends = pads.map((pad, i) => {
    if (!read.ceilMode) return pad;
    const at = -dims + i;
    const span = (dilations[i] as number) * ((kernel[i] as number) - 1) + 1;
    const reach = ((result.shape.at(at) as number) - 1) * (strides[i] as number) + span;
    return Math.max(pad, reach - pad - (x.shape.at(at) as number));
  });
  const attributes = {
    ...(dilations.some((d) => d !== 1) && { dilations: ints(dilations) }),
    kernel_shape: ints(kernel),
    strides: ints(strides),
  };
  return { kernel, attributes, pads, ends };
}

/**
 * MaxPool's values and positions, which ONNX counts through the whole batch, PyTorch within each image of a
 * channel.
 */
function maxima(t: Builder, x: Tensor, dims: number, attributes: Attributes): Value[] {
  const isSample = x.ndim === dims + 1;
  const value = t.value(x);
  const batch = isSample ? typed(t.node('Unsqueeze', [value, t.list([0])]), x.dtype) : value;
  const [most, at] = t.several('MaxPool', [batch], attributes, 2) as [Value, Value];
  const image = x.shape.slice(-dims).reduce((a, b) => a * b, 1);
  const within = typed(t.node('Mod', [typed(at, 'int64'), t.scalar(image, 'int64')]), 'int64');
  const found = [typed(most, x.dtype), cast(t, within, 'int32')];
  return isSample ? found.map((each) => t.node('Squeeze', [each, t.list([0])])) : found;
}

const maxPool =
  (dims: number): Row =>
  (t, args, result) => {
    const x = tensorAt(args, 0);
    const places = ['kernelSize', 'stride', 'padding', 'dilation', 'ceilMode', 'returnIndices'] as const;
    const read = named(args.slice(1), poolDefaults, ...places);
    const values = isTensor(result) ? result : (result as readonly Tensor[])[0];
    const { kernel, attributes, pads, ends } = windowsOf(x, values as Tensor, dims, read);
    const fits = [pads, ends].every((list) => list.every((pad, i) => pad < (kernel[i] as number)));
    const padded = { ...attributes, pads: ints([...pads, ...ends]) };
    if (!isTensor(result)) {
      if (!fits) throw t.unsupported('maxPool', 'reaches further past the edges than ONNX has indices for');
      return maxima(t, x, dims, padded);
    }
    return asBatch(t, x, dims, (batch) => {
      if (fits) return t.node('MaxPool', [batch], padded);
      // Dilated windows may reach further than ONNX lets them be padded.
      const around = sizesOf([0, 0, ...pads, 0, 0, ...ends]);
      const wider = t.node('Pad', [batch, around, t.scalar(-Infinity, x.dtype)]);
      return t.node('MaxPool', [typed(wider, x.dtype)], attributes);
    });
  };

const avgPool =
  (dims: number): Row =>
  (t, args, result) => {
    const x = tensorAt(args, 0);
    const places = [
      'kernelSize',
      'stride',
      'padding',
      'ceilMode',
      'countIncludePad',
      'divisorOverride',
    ] as const;
    const read = named(args.slice(1), poolDefaults, ...places);
    const { kernel, attributes, pads, ends } = windowsOf(x, result as Tensor, dims, read);
    const { divisorOverride } = read;
    return asBatch(t, x, dims, (batch) => {
      if (divisorOverride !== null) {
        const sums = { ...attributes, pads: ints([...pads, ...ends]), count_include_pad: int(1) };
        const mean = typed(t.node('AveragePool', [batch], sums), x.dtype);
        const factor = kernel.reduce((a, b) => a * b, 1) / divisorOverride;
        return t.node('Mul', [mean, t.scalar(factor, x.dtype)]);
      }
      const past = ends.map((end, i) => end - (pads[i] as number));
      if (!read.countIncludePad || past.every((n) => n === 0)) {
        const include = { count_include_pad: int(read.countIncludePad) };
        return t.node('AveragePool', [batch], { ...attributes, pads: ints([...pads, ...ends]), ...include });
      }
      // Zeros of the padding count, what lies past them does not.
      const around = sizesOf([0, 0, ...pads, 0, 0, ...pads]);
      const padded = pads.every((n) => n === 0) ? batch : typed(t.node('Pad', [batch, around]), x.dtype);
      return t.node('AveragePool', [padded], { ...attributes, pads: ints([...pads.map(() => 0), ...past]) });
    });
  };

/** Windows of one size each, if the sizes divide. */
function evenWindows(x: Tensor, result: Tensor, dims: number): Attributes | null {
  const [sizes, outs] = [x.shape.slice(-dims), result.shape.slice(-dims)];
  if (!sizes.every((size, i) => size % (outs[i] as number) === 0)) return null;
  const kernel = ints(sizes.map((size, i) => size / (outs[i] as number)));
  return { kernel_shape: kernel, strides: kernel };
}

const adaptiveAvgPool =
  (dims: number): Row =>
  (t, args, result) => {
    const x = tensorAt(args, 0);
    const outs = (result as Tensor).shape.slice(-dims);
    return asBatch(t, x, dims, (batch) => {
      if (outs.every((size) => size === 1)) return t.node('GlobalAveragePool', [batch]);
      const sizes = x.shape.slice(-dims);
      if (sizes.every((size, i) => size === outs[i])) return batch;
      const even = evenWindows(x, result as Tensor, dims);
      if (even !== null) return t.node('AveragePool', [batch], even);
      // Windows of uneven sizes: means along one dim after the other, as matrices.
      return outs.reduce<Value>((value, out, i) => {
        const size = sizes[i] as number;
        const matrix = new Float32Array(out * size);
        for (let o = 0; o < out; o++) {
          const [low, high] = [Math.floor((o * size) / out), Math.ceil(((o + 1) * size) / out)];
          matrix.fill(1 / (high - low), o * size + low, o * size + high);
        }
        return alongDim(t, value, { dtype: x.dtype, ndim: dims + 2 }, i + 2, matrix, out);
      }, batch);
    });
  };

/** Along one dim after the other: of each window as many entries as the largest has, some of them twice. */
const unevenMaxima = (t: Builder, batch: Value, x: Tensor, result: Tensor, dims: number): Value =>
  x.shape.slice(-dims).reduce((value, size, i) => {
    const out = result.shape.at(i - dims) as number;
    const windows = Array.from({ length: out }, (_, o) => [
      Math.floor((o * size) / out),
      Math.ceil(((o + 1) * size) / out),
    ]) as [number, number][];
    const most = Math.max(...windows.map(([low, high]) => high - low));
    const places = windows.flatMap(([low, high]) =>
      Array.from({ length: most }, (_, at) => Math.min(low + at, high - 1)),
    );
    const at = t.constant(places, [out, most], 'int64');
    const entries = typed(t.node('Gather', [value, at], { axis: int(i + 2) }), x.dtype);
    return typed(reduce(t, 'ReduceMax', entries, [i + 3], dims + 3, false), x.dtype);
  }, batch);

const adaptiveMaxPool =
  (dims: number): Row =>
  (t, args, result) => {
    const x = tensorAt(args, 0);
    const values = (isTensor(result) ? result : (result as readonly Tensor[])[0]) as Tensor;
    const even = evenWindows(x, values, dims);
    if (even === null) {
      if (isTensor(result)) return asBatch(t, x, dims, (batch) => unevenMaxima(t, batch, x, result, dims));
      throw t.unsupported(
        'adaptiveMaxPool',
        'returns indices in windows of different sizes; ONNX has them of one size only',
      );
    }
    if (!isTensor(result)) return maxima(t, x, dims, even);
    const global = result.shape.slice(-dims).every((size) => size === 1);
    return asBatch(t, x, dims, (batch) =>
      global ? t.node('GlobalMaxPool', [batch]) : t.node('MaxPool', [batch], even),
    );
  };

const interpolateDefaults = {
  size: null as unknown,
  scaleFactor: null as unknown,
  mode: 'nearest',
  alignCorners: null as boolean | null,
  recomputeScaleFactor: null as boolean | null,
  antialias: false,
};
const resizeModes: Readonly<Record<string, string>> = {
  nearest: 'nearest',
  linear: 'linear',
  bilinear: 'linear',
  trilinear: 'linear',
  bicubic: 'cubic',
};

const interpolate: Row = (t, args, result) => {
  const x = tensorAt(args, 0);
  // The op that it is made of has the same name.
  if (typeof args[1] === 'object' && args[1] !== null && 'elem' in args[1]) return inside;
  const places = [
    'size',
    'scaleFactor',
    'mode',
    'alignCorners',
    'recomputeScaleFactor',
    'antialias',
  ] as const;
  const read = named(args.slice(1), interpolateDefaults, ...places);
  const mode = resizeModes[read.mode];
  // The others are sparse maps along each dim.
  if (mode === undefined || read.antialias || !x.isFloatingPoint()) return inside;
  const place =
    mode === 'nearest' ? 'asymmetric' : read.alignCorners === true ? 'align_corners' : 'half_pixel';
  const attributes = {
    coordinate_transformation_mode: text(place),
    mode: text(mode),
    ...(mode === 'nearest' && { nearest_mode: text('floor') }),
    ...(mode === 'cubic' && { cubic_coeff_a: float(-0.75) }),
  };
  const byFactor = read.scaleFactor !== null && read.recomputeScaleFactor !== true;
  const factors = [1, 1, ...perDim(read.scaleFactor, x.ndim - 2)];
  // Aligned corners go by the sizes.
  return byFactor && place !== 'align_corners'
    ? t.node('Resize', [t.value(x), null, t.constant(factors, [x.ndim], 'float32')], attributes)
    : t.node('Resize', [t.value(x), null, null, sizesOf((result as Tensor).shape)], attributes);
};

export const imageRows: RowTable = {
  conv1d: conv(1),
  conv2d: conv(2),
  conv3d: conv(3),
  convTranspose1d: convTranspose(1),
  convTranspose2d: convTranspose(2),
  convTranspose3d: convTranspose(3),
  maxPool1d: maxPool(1),
  maxPool2d: maxPool(2),
  maxPool3d: maxPool(3),
  avgPool1d: avgPool(1),
  avgPool2d: avgPool(2),
  avgPool3d: avgPool(3),
  adaptiveAvgPool1d: adaptiveAvgPool(1),
  adaptiveAvgPool2d: adaptiveAvgPool(2),
  adaptiveAvgPool3d: adaptiveAvgPool(3),
  adaptiveMaxPool1d: adaptiveMaxPool(1),
  adaptiveMaxPool2d: adaptiveMaxPool(2),
  adaptiveMaxPool3d: adaptiveMaxPool(3),
  interpolate,
};
