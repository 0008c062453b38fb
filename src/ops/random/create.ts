import { type Needed, required, requireNumber } from '../../tensor/options.js';
import { hostWords, type Distribution } from '../../kernels/random/fill.js';
import { defineOp } from '../../autograd/define.js';
import { isFloatingPoint, promoteTypes } from '../../tensor/dtype.js';
import { broadcastShapes, type Shape } from '../../tensor/shape.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { checkOnDevice } from '../base/check.js';
import { add, mul } from '../pointwise/pointwise.js';
import {
  parseShape,
  readCreation,
  type CreationOptions,
  type ReadOptions,
  type ShapeArgs,
} from '../creation/creation.js';
import { nextKey } from './state.js';
import { drawInto, integerRange, uniformRange } from './draw.js';

export { getRngState, initialSeed, manualSeed, setRngState, type RngState } from './state.js';

function draw(op: string, shape: Shape, options: ReadOptions, distribution: Distribution): Tensor {
  const dtype = options.dtype ?? 'float32';
  if (!isFloatingPoint(dtype))
    throw new Error(`${op}: dtype must be float32 or float16, got ${dtype}; use randint() for integers`);
  const out = drawInto(Tensor.empty(shape, dtype, op), distribution);
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}

/** `torch.rand`: uniform in [0, 1). */
export function rand(...args: ShapeArgs): Tensor {
  const { shape, options } = parseShape('rand', args);
  return draw('rand', shape, options, uniformRange('rand', 0, 1));
}

/** `torch.randn`: normal with mean 0 and standard deviation 1. */
export function randn(...args: ShapeArgs): Tensor {
  const { shape, options } = parseShape('randn', args);
  return draw('randn', shape, options, { kind: 'normal', mean: 0, std: 1 });
}

type NormalFields = CreationOptions & { mean?: number | Tensor; std?: number | Tensor; size?: Shape };

/**
 * `torch.normal(mean, std, size)`, and `normal(mean, std)`, `normal(mean)` of float tensors, or a tensor and
 * a number, which broadcast: a draw for each element, in their dtype. The draws have no gradient.
 *
 * @throws (at the next await) DataError for a tensor `std` with an element below 0
 */
export function normal(mean: Tensor, std?: Tensor | number): Tensor;
export function normal(mean: number, std: Tensor): Tensor;
export function normal(mean: number, std: number, size: Shape, options?: CreationOptions): Tensor;
export function normal(
  ...args:
    | [options: NormalFields]
    | [mean: number | Tensor, options: NormalFields]
    | [mean: number | Tensor, std: number | Tensor, options: NormalFields]
): Tensor;
export function normal(...args: readonly unknown[]): Tensor {
  const fields = { mean: 0 as number | Tensor, std: 1 as number | Tensor, size: null as Shape | null };
  const { mean, std, size, options } = readCreation('normal', args, fields, 'mean', 'std', 'size');
  if (!isTensor(std) && !(requireNumber('normal: std', std) >= 0))
    throw new Error(`normal: std must not be negative, got ${String(std)}`);
  if (!isTensor(mean) && !isTensor(std)) {
    requireNumber('normal: mean', mean);
    if (size === null) throw new Error("normal: 'size' is missing; without it mean or std must be a tensor");
    return draw('normal', parseShape('normal', [size]).shape, options, { kind: 'normal', mean, std });
  }
  if (size !== null || options.dtype !== null)
    throw new Error('normal: size and dtype follow from mean and std where one of them is a tensor');
  return normalLike(mean, std);
}

/** Standard draws scaled; outside the tape. */
const normalLike: (mean: number | Tensor, std: number | Tensor) => Tensor = defineOp<
  [number | Tensor, number | Tensor],
  Tensor
>({
  name: 'normal',
  forward(_, mean, std) {
    const tensors = [mean, std].filter(isTensor);
    for (const x of tensors)
      if (!isFloatingPoint(x.dtype))
        throw new Error(`normal: expected float tensors, got ${x.dtype}; convert it with .to('float32')`);
    if (isTensor(std)) checkOnDevice('normal', 'deviation', std);
    const shape = broadcastShapes('normal', ...tensors.map((x) => x.shape));
    const dtype = tensors.map((x) => x.dtype).reduce(promoteTypes);
    const noise = drawInto(Tensor.empty(shape, dtype, 'normal'), { kind: 'normal', mean: 0, std: 1 });
    return add(mul(noise, std), mean);
  },
});

/**
 * `torch.randint(low, high, size)`: integers from [low, high), int32 unless a dtype is given. `randint(high,
 * size)` starts at 0.
 */
export function randint(
  ...args:
    | [high: number, size: Shape, options?: CreationOptions]
    | [high: number, options: CreationOptions & { size: Shape }]
    | [low: number, high: number, size: Shape, options?: CreationOptions]
    | [low: number, high: number, options: CreationOptions & { size: Shape }]
    | [options: CreationOptions & { low?: number; high: number; size: Shape }]
): Tensor {
  const fields = { low: 0, high: required<number>(), size: required<Shape>() };
  const { low, high, size, options } =
    typeof args[0] === 'number' && typeof args[1] !== 'number'
      ? readCreation('randint', args, fields, 'high', 'size')
      : readCreation('randint', args, fields, 'low', 'high', 'size');
  const { shape } = parseShape('randint', [size]);
  if (options.dtype === 'bool') throw new Error('randint: integers do not fit bool; use bernoulli_()');
  const dtype = options.dtype ?? 'int32';
  const range = integerRange('randint', low, high, dtype);
  const out = drawInto(Tensor.empty(shape, dtype, 'randint'), range);
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}

/** `torch.randperm`: 0 .. n - 1 in random order (Fisher & Yates), int32; shuffled on the host. */
export function randperm(...args: Needed<[n: number], ['n'], [], CreationOptions>): Tensor {
  const { n, options } = readCreation('randperm', args, { n: required<number>() }, 'n');
  if (!Number.isInteger(n) || n < 0 || n > 2 ** 31)
    throw new Error(`randperm: n must be an integer from 0 to 2^31, got ${n}`);
  const order = Int32Array.from({ length: n }, (_, i) => i);
  const draws = hostWords(nextKey(), Math.max(0, n - 1));
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(((draws[i - 1] as number) / 2 ** 32) * (i + 1));
    const held = order[i] as number;
    order[i] = order[j] as number;
    order[j] = held;
  }
  const out = Tensor.fromHost(order, [n], options.dtype ?? 'int32');
  if (options.requiresGrad) out.requiresGrad = true;
  return out;
}
