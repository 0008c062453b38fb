import { noGrad } from '../../autograd/mode.js';
import {
  add_,
  argsort,
  clamp_,
  copy_,
  empty,
  erfinv,
  eye,
  fill_,
  lt,
  maskedFill_,
  matmul,
  mul,
  mul_,
  narrow,
  normal_ as normalFill,
  rand,
  reshape,
  select,
  sub,
  transpose,
  uniform_ as uniformFill,
} from '../../ops/index.js';
import {
  checkCount,
  type Needed,
  optionReader,
  required,
  requireNumber,
  type Trailing,
  noMore,
} from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';

/** `torch.nn.init`: every function fills its tensor in place, outside the tape, and returns it. */

/** What follows a layer, for {@link calculateGain}. */
export type Nonlinearity =
  | 'linear'
  | `conv${1 | 2 | 3}d`
  | `conv_transpose${1 | 2 | 3}d`
  | 'sigmoid'
  | 'tanh'
  | 'relu'
  | 'leaky_relu'
  | 'selu';

export interface KaimingOptions {
  /** Negative slope of the leaky ReLU that follows. */
  a?: number;
  mode?: 'fan_in' | 'fan_out';
  nonlinearity?: Nonlinearity;
}

const readGain = optionReader(
  'calculateGain',
  { nonlinearity: required<Nonlinearity>(), param: null as number | null },
  'nonlinearity',
  'param',
);

/**
 * The factor by which a nonlinearity shrinks the standard deviation (`torch.nn.init.calculate_gain`). `param`
 * is a leaky ReLU's negative slope, by default 0.01.
 */
export function calculateGain(
  ...args: Needed<
    [nonlinearity: Nonlinearity],
    ['nonlinearity'],
    [param: number | null],
    { param?: number | null }
  >
): number {
  const { nonlinearity, param } = readGain(args);
  const slope = requireNumber('calculateGain: param', param ?? 0.01);
  switch (nonlinearity) {
    case 'tanh':
      return 5 / 3;
    case 'relu':
      return Math.SQRT2;
    case 'leaky_relu':
      return Math.sqrt(2 / (1 + slope * slope));
    case 'selu':
      return 3 / 4;
    case 'linear':
    case 'conv1d':
    case 'conv2d':
    case 'conv3d':
    case 'conv_transpose1d':
    case 'conv_transpose2d':
    case 'conv_transpose3d':
    case 'sigmoid':
      return 1;
    default:
      throw new Error(`calculateGain: '${String(nonlinearity)}' is not a nonlinearity it knows`);
  }
}

/** Inputs that one output sums and outputs that one input reaches, of a weight `[out, in, ...kernel]`. */
export function fans(tensor: Tensor): { fanIn: number; fanOut: number } {
  noMore('fans', arguments, 1);
  const [out, into, ...kernel] = tensor.shape;
  if (out === undefined || into === undefined) {
    throw new Error(
      `init: fan in and fan out need a tensor of at least 2 dims, got shape ${showShape(tensor.shape)}`,
    );
  }
  const field = kernel.reduce((product, size) => product * size, 1);
  return { fanIn: into * field, fanOut: out * field };
}

const fill = (tensor: Tensor, write: () => void): Tensor => {
  if (tensor.numel() > 0) noGrad(write);
  return tensor;
};

/** Checks the tensor of `op` and reads the numbers that follow it, by position or by name. */
function numberReader<K extends string>(
  op: string,
  defaults: Readonly<Record<K, number>>,
): (tensor: Tensor, args: readonly unknown[]) => Readonly<Record<K, number>> {
  const names = Object.keys(defaults) as K[];
  const read = optionReader(op, defaults, ...names);
  return (tensor, args) => {
    checkTensor(op, tensor);
    const got = read(args);
    for (const name of names) requireNumber(`${op}: ${name}`, got[name]);
    return got;
  };
}

function checkTensor(op: string, tensor: unknown): void {
  if (!isTensor(tensor)) throw new Error(`${op}: expected a tensor to fill, got ${String(tensor)}`);
}

const readUniform = numberReader('uniform_', { a: 0, b: 1 });

/** Uniform in [a, b), by default [0, 1). */
export function uniform_(
  tensor: Tensor,
  ...args: Trailing<[a: number, b: number], { a?: number; b?: number }>
): Tensor {
  const { a, b } = readUniform(tensor, args);
  return fill(tensor, () => uniformFill(tensor, a, b));
}

const readNormal = numberReader('normal_', { mean: 0, std: 1 });

/** Normal, by default with mean 0 and standard deviation 1. */
export function normal_(
  tensor: Tensor,
  ...args: Trailing<[mean: number, std: number], { mean?: number; std?: number }>
): Tensor {
  const { mean, std } = readNormal(tensor, args);
  return fill(tensor, () => normalFill(tensor, mean, std));
}

const readConstant = optionReader('constant_', { val: undefined as number | undefined }, 'val');

export function constant_(tensor: Tensor, ...args: [val: number] | [options: { val: number }]): Tensor {
  checkTensor('constant_', tensor);
  const val = requireNumber('constant_: val', readConstant(args).val);
  return fill(tensor, () => fill_(tensor, val));
}

export function ones_(tensor: Tensor): Tensor {
  checkCount('ones_', arguments.length, 1);
  return constant_(tensor, 1);
}

export function zeros_(tensor: Tensor): Tensor {
  checkCount('zeros_', arguments.length, 1);
  return constant_(tensor, 0);
}

function matrixOf(op: string, tensor: Tensor): [rows: number, columns: number] {
  checkTensor(op, tensor);
  if (tensor.ndim !== 2)
    throw new Error(`${op}: expected a tensor of 2 dims, got shape ${showShape(tensor.shape)}`);
  return tensor.shape as [number, number];
}

/** The identity matrix, as far as the shape goes. */
export function eye_(tensor: Tensor): Tensor {
  checkCount('eye_', arguments.length, 1);
  const [rows, columns] = matrixOf('eye_', tensor);
  return fill(tensor, () => scoped('eye_', () => void copy_(tensor, eye(rows, columns))));
}

const readDirac = numberReader('dirac_', { groups: 1 });

/**
 * Convolution weights [out, in, ...kernel] that pass as many channels on as there are, in each of `groups`.
 */
export function dirac_(tensor: Tensor, ...args: Trailing<[groups: number], { groups?: number }>): Tensor {
  const { groups } = readDirac(tensor, args);
  const [out = 0, into = 0, ...kernel] = tensor.shape;
  if (kernel.length < 1 || kernel.length > 3)
    throw new Error(`dirac_: expected a tensor of 3 to 5 dims, got shape ${showShape(tensor.shape)}`);
  if (!(Number.isInteger(groups) && groups > 0) || out % groups !== 0)
    throw new Error(`dirac_: ${out} channels do not divide into ${groups} groups`);
  return fill(tensor, () =>
    scoped('dirac_', () => {
      fill_(tensor, 0);
      const middle = kernel.reduce((x, size) => select(x, 2, Math.floor(size / 2)), tensor);
      const each = out / groups;
      for (let g = 0; g < groups; g++) copy_(narrow(middle, 0, g * each, each), eye(each, into));
    }),
  );
}

type GainArgs = Trailing<[gain: number], { gain?: number }>;

const readOrthogonal = numberReader('orthogonal_', { gain: 1 });

/**
 * Rows (or columns, where there are fewer) of length `gain`, at right angles to each other; dims after the
 * first count as one. `X (X^T X)^(-1/2)` of a normal `X` is uniform among such matrices (Chikuse 2003,
 * theorem 2.2.1), as PyTorch's QR decomposition is; it is the limit of `X <- (3 X - X X^T X) / 2` (Higham
 * 2008, section 8.3).
 */
export function orthogonal_(tensor: Tensor, ...args: GainArgs): Tensor {
  const { gain } = readOrthogonal(tensor, args);
  if (tensor.ndim < 2)
    throw new Error(`orthogonal_: expected at least 2 dims, got shape ${showShape(tensor.shape)}`);
  const rows = tensor.shape[0] as number;
  return fill(tensor, () =>
    scoped('orthogonal_', () => {
      const columns = tensor.numel() / rows;
      const wide = rows <= columns;
      const [low, high] = wide ? [rows, columns] : [columns, rows];
      let x = empty(low, high);
      normalFill(x, 0, 1);
      // The largest singular value is about the sum of these; the smallest may need all the rounds.
      mul_(x, 1 / (Math.sqrt(low) + Math.sqrt(high)));
      for (let round = 0; round < 48; round++) x = polarStep(x);
      copy_(tensor, reshape(mul(wide ? x : transpose(x, 0, 1), gain), tensor.shape));
    }),
  );
}

const polarStep = (x: Tensor): Tensor =>
  scoped('orthogonal_', () => sub(mul(x, 1.5), mul(matmul(matmul(x, transpose(x, 0, 1)), x), 0.5)));

const readSparse = numberReader('sparse_', { sparsity: NaN, std: 0.01 });

/** Normal with standard deviation `std`; of each column the share `sparsity` is zero (Martens 2010). */
export function sparse_(
  tensor: Tensor,
  ...args:
    | [sparsity: number, ...rest: Trailing<[std: number], { std?: number }>]
    | [options: { sparsity: number; std?: number }]
): Tensor {
  const { sparsity, std } = readSparse(tensor, args);
  const [rows, columns] = matrixOf('sparse_', tensor);
  if (!(sparsity >= 0 && sparsity <= 1))
    throw new Error(`sparse_: sparsity must be between 0 and 1, got ${String(sparsity)}`);
  return fill(tensor, () =>
    scoped('sparse_', () => {
      normalFill(tensor, 0, std);
      const ranks = argsort(argsort(rand(rows, columns), 0), 0);
      maskedFill_(tensor, lt(ranks, Math.ceil(sparsity * rows)), 0);
    }),
  );
}

const readTruncNormal = numberReader('truncNormal_', { mean: 0, std: 1, a: -2, b: 2 });

/**
 * Normal with everything outside [a, b] cut off, by the inverse of the distribution function as PyTorch
 * does it.
 */
export function truncNormal_(
  tensor: Tensor,
  ...args: Trailing<
    [mean: number, std: number, a: number, b: number],
    { mean?: number; std?: number; a?: number; b?: number }
  >
): Tensor {
  const { mean, std, a, b } = readTruncNormal(tensor, args);
  const cdf = (x: number): number => (1 + erfNumber(x / Math.SQRT2)) / 2;
  const from = 2 * cdf((a - mean) / std) - 1;
  const to = 2 * cdf((b - mean) / std) - 1;
  return fill(tensor, () =>
    scoped('truncNormal_', () => {
      uniformFill(tensor, from, to);
      const values = add_(mul_(erfinv(tensor), std * Math.SQRT2), mean);
      copy_(tensor, clamp_(values, { min: a, max: b }));
    }),
  );
}

/**
 * Abramowitz and Stegun 7.1.26 is too coarse for the tails; this is the series, which converges fast for |x|
 * < 4.
 */
function erfNumber(x: number): number {
  if (Math.abs(x) > 4) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 && n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

type KaimingArgs = Trailing<
  [a: number, mode: 'fan_in' | 'fan_out', nonlinearity: Nonlinearity],
  KaimingOptions
>;

function kaimingOf(op: string): (tensor: Tensor, args: KaimingArgs) => number {
  const read = optionReader<Required<KaimingOptions>>(
    op,
    { a: 0, mode: 'fan_in', nonlinearity: 'leaky_relu' },
    'a',
    'mode',
    'nonlinearity',
  );
  return (tensor, args) => {
    checkTensor(op, tensor);
    const { a, mode, nonlinearity } = read(args);
    requireNumber(`${op}: a`, a);
    if (mode !== 'fan_in' && mode !== 'fan_out')
      throw new Error(`${op}: mode must be 'fan_in' or 'fan_out', got '${String(mode)}'`);
    const { fanIn, fanOut } = fans(tensor);
    return calculateGain(nonlinearity, a) / Math.sqrt(mode === 'fan_in' ? fanIn : fanOut);
  };
}

const kaimingUniformStd = kaimingOf('kaimingUniform_');
const kaimingNormalStd = kaimingOf('kaimingNormal_');

/** He et al. 2015, https://arxiv.org/abs/1502.01852: uniform in ±gain * sqrt(3 / fan). */
export function kaimingUniform_(tensor: Tensor, ...args: KaimingArgs): Tensor {
  const bound = Math.sqrt(3) * kaimingUniformStd(tensor, args);
  return uniform_(tensor, -bound, bound);
}

/** He et al. 2015, https://arxiv.org/abs/1502.01852: normal with standard deviation gain / sqrt(fan). */
export function kaimingNormal_(tensor: Tensor, ...args: KaimingArgs): Tensor {
  return normal_(tensor, 0, kaimingNormalStd(tensor, args));
}

function xavierStd(tensor: Tensor, gain: number): number {
  const { fanIn, fanOut } = fans(tensor);
  return gain * Math.sqrt(2 / (fanIn + fanOut));
}

const readXavierUniform = numberReader('xavierUniform_', { gain: 1 });
const readXavierNormal = numberReader('xavierNormal_', { gain: 1 });

/** Glorot & Bengio 2010: uniform in ±gain * sqrt(6 / (fanIn + fanOut)). */
export function xavierUniform_(tensor: Tensor, ...args: GainArgs): Tensor {
  const bound = Math.sqrt(3) * xavierStd(tensor, readXavierUniform(tensor, args).gain);
  return uniform_(tensor, -bound, bound);
}

/** Glorot & Bengio 2010: normal with standard deviation gain * sqrt(2 / (fanIn + fanOut)). */
export function xavierNormal_(tensor: Tensor, ...args: GainArgs): Tensor {
  return normal_(tensor, 0, xavierStd(tensor, readXavierNormal(tensor, args).gain));
}
