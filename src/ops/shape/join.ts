import { checkTensors } from '../base/tensors.js';
import { runtime } from '../../device/index.js';
import { defineComposite, defineOp, named, entered } from '../../autograd/define.js';
import { planTriangle } from '../../kernels/index/positions.js';
import { elementOf, promoteTypes } from '../../tensor/dtype.js';
import { optionReader, required, type Needed, type Trailing } from '../../tensor/options.js';
import { channelsLastStrides, suggestsChannelsLast, normalizeDim, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { readAlong, type AlongArgs } from '../base/along.js';
import { clone, to } from '../base/copy.js';
import { fillInto, copyInto } from '../base/copies.js';
import { indexSelect } from '../gather/gather.js';
import { sourceIndices, type EdgeMode } from './pad-edges.js';
import { planLimits, runPlan } from '../base/run-plan.js';
import { overwrite } from '../base/overwrite.js';
import { listOf, type Sizes } from '../base/sizes.js';
import { expand, narrow, reshape, unsqueeze } from '../base/view.js';

/* Ops that lay tensors beside each other, around themselves, or repeat them. */

/** @internal The part of `out` from `start` on along `dim`, for writing. */
const part = (out: Tensor, dim: number, start: number, length: number): Tensor =>
  out.alias(
    out.shape.map((size, i) => (i === dim ? length : size)),
    out.strides,
    out.offset + start * (out.strides[dim] as number),
  );

const catOp: (tensors: readonly Tensor[], dim: number) => Tensor = defineOp<
  [readonly Tensor[], number],
  Tensor,
  { dim: number; sizes: readonly number[] }
>({
  name: 'cat',
  forward(ctx, tensors, dim) {
    const first = tensors[0] as Tensor;
    const sizes = tensors.map((x) => x.shape[dim] as number);
    ctx.state = { dim, sizes };
    const shape = first.shape.map((size, i) => (i === dim ? sizes.reduce((a, b) => a + b, 0) : size));
    const images = tensors.every((x) => suggestsChannelsLast(x.shape, x.strides));
    const out = Tensor.empty(
      shape,
      first.dtype,
      'cat',
      images ? channelsLastStrides(shape) : undefined,
      first,
    );
    let at = 0;
    tensors.forEach((x, i) => {
      if (x.numel() > 0) copyInto(part(out, dim, at, sizes[i] as number), x);
      at += sizes[i] as number;
    });
    return out;
  },
  backward(ctx, grad) {
    const { dim, sizes } = ctx.state;
    let at = 0;
    return sizes.map((size) => {
      const start = at;
      at += size;
      return () => narrow(grad, dim, start, size);
    });
  },
});

/**
 * `torch.cat`: tensors one after the other along `dim`; their other sizes must agree. dtypes are promoted.
 */
export const cat: (tensors: readonly Tensor[], ...args: AlongArgs) => Tensor = entered(
  'cat',
  (tensors: readonly Tensor[], ...args: AlongArgs): Tensor => {
    const dim = readAlong('cat', args);
    const list: unknown = tensors;
    if (!Array.isArray(list)) throw new Error(`cat: expected a list of tensors, got ${String(list)}`);
    checkTensors('cat', ...list);
    const given = tensors.filter(
      (x) => !(x.ndim === 1 && x.shape[0] === 0 && tensors.some((y) => y.ndim !== 1)),
    );
    const first = given[0];
    if (first === undefined) throw new Error('cat: expected at least one tensor');
    if (first.ndim === 0) throw new Error('cat: zero-dim tensors cannot be joined; use stack');
    const d = normalizeDim('cat', dim, first.ndim);
    for (const x of given) {
      if (x.ndim !== first.ndim || x.shape.some((size, i) => i !== d && size !== first.shape[i])) {
        throw new Error(
          `cat: shapes ${given.map((t) => showShape(t.shape)).join(', ')} differ outside dim ${dim}`,
        );
      }
    }
    const dtype = given.map((x) => x.dtype).reduce(promoteTypes);
    return catOp(
      given.map((x) => to(x, dtype)),
      d,
    );
  },
);

/** `torch.stack`: tensors of one shape along a new dim. */
export const stack: (tensors: readonly Tensor[], ...args: AlongArgs) => Tensor = defineComposite(
  'stack',
  (tensors: readonly Tensor[], ...args: AlongArgs): Tensor => {
    const dim = readAlong('stack', args);
    const first = tensors[0];
    if (first === undefined) throw new Error('stack: expected at least one tensor');
    for (const x of tensors) {
      if (showShape(x.shape) !== showShape(first.shape))
        throw new Error(
          `stack: shapes ${tensors.map((t) => showShape(t.shape)).join(', ')} must all be equal`,
        );
    }
    const d = normalizeDim('stack', dim, first.ndim + 1);
    return cat(
      tensors.map((x) => unsqueeze(x, d)),
      d,
    );
  },
);

export type PadMode = 'constant' | EdgeMode;

export interface PadOptions {
  mode?: PadMode;
  /** What `constant` fills with. Default 0. */
  value?: number;
}

/** What follows the tensor. */
export type PadArgs = Needed<[pad: readonly number[]], ['pad'], [mode: PadMode, value: number], PadOptions>;

const readPad = optionReader<{ pad: readonly number[]; mode: PadMode; value: number }>(
  'pad',
  { pad: required(), mode: 'constant', value: 0 },
  'pad',
  'mode',
  'value',
);

interface PadState {
  readonly low: readonly number[];
  readonly shape: readonly number[];
}

const padOp: (x: Tensor, low: readonly number[], high: readonly number[], value: number) => Tensor = defineOp<
  [Tensor, readonly number[], readonly number[], number],
  Tensor,
  PadState
>({
  name: 'pad',
  forward(ctx, x, low, high, value) {
    ctx.state = { low, shape: x.shape };
    const shape = x.shape.map((size, i) => size + (low[i] as number) + (high[i] as number));
    const out = Tensor.empty(
      shape,
      x.dtype,
      'pad',
      suggestsChannelsLast(x.shape, x.strides) ? channelsLastStrides(shape) : undefined,
      x,
    );
    if (out.numel() > 0) fillInto(out, value, false);
    let inside = out;
    shape.forEach((_, i) => (inside = part(inside, i, low[i] as number, x.shape[i] as number)));
    if (x.numel() > 0) copyInto(inside, x);
    return out;
  },
  backward(ctx, grad) {
    const { low, shape } = ctx.state;
    return [() => low.reduce((g, start, i) => narrow(g, i, start, shape[i] as number), grad)];
  },
});

/**
 * `torch.nn.functional.pad`: `pad` has pairs (before, after) for the last dim, then the one before it,
 * and so on; negative amounts crop.
 */
export const pad: (x: Tensor, ...args: PadArgs) => Tensor = defineComposite(
  'pad',
  (x: Tensor, ...args: PadArgs): Tensor => {
    const { pad: amounts, mode, value } = readPad(args);
    if (amounts.length % 2 !== 0 || amounts.length / 2 > x.ndim || !amounts.every(Number.isInteger)) {
      throw new Error(
        `pad: expected pairs of integers for at most ${x.ndim} dims of shape ${showShape(x.shape)}, got [${amounts.join(', ')}]`,
      );
    }
    const fill = elementOf('pad', value, x.dtype);
    const low = x.shape.map(() => 0);
    const high = x.shape.map(() => 0);
    for (let i = 0; i < amounts.length / 2; i++) {
      low[x.ndim - 1 - i] = amounts[2 * i] as number;
      high[x.ndim - 1 - i] = amounts[2 * i + 1] as number;
    }
    x.shape.forEach((size, i) => {
      const [a, b] = [low[i] as number, high[i] as number];
      if (size + a + b < 0)
        throw new Error(`pad: [${amounts.join(', ')}] crops more than shape ${showShape(x.shape)} has`);
      const most = mode === 'reflect' ? size - 1 : mode === 'circular' ? size : Infinity;
      if (mode !== 'constant' && Math.max(a, b) > 0 && (Math.max(a, b) > most || size === 0))
        throw new Error(
          `pad: mode '${mode}' cannot pad dim ${i} of shape ${showShape(x.shape)} by ${a} and ${b}`,
        );
    });
    // Negative amounts crop first.
    let out = x;
    x.shape.forEach((size, i) => {
      const [a, b] = [Math.min(0, low[i] as number), Math.min(0, high[i] as number)];
      if (a < 0 || b < 0) out = narrow(out, i, -a, size + a + b);
    });
    const before = low.map((a) => Math.max(0, a));
    const after = high.map((b) => Math.max(0, b));
    if (mode === 'constant') return padOp(out, before, after, fill);
    if (!['reflect', 'replicate', 'circular'].includes(mode))
      throw new Error(
        `pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got '${String(mode)}'`,
      );
    before.forEach((a, i) => {
      const b = after[i] as number;
      if (a > 0 || b > 0)
        out = indexSelect(out, i, indices(sourceIndices(mode, out.shape[i] as number, a, b)));
    });
    return out === x ? clone(x) : out;
  },
);

const indices = (list: readonly number[]): Tensor => Tensor.fromHost(list, [list.length], 'int32');

/** `torch.flip`: reverses the order along `dims` (a copy). */
export const flip: (x: Tensor, ...dims: Sizes<'dims'>) => Tensor = defineComposite(
  'flip',
  (x: Tensor, ...dims: Sizes<'dims'>): Tensor => {
    const list = listOf('flip', dims, 'dims').map((d) => normalizeDim('flip', d, x.ndim));
    if (new Set(list).size !== list.length)
      throw new Error(`flip: a dim appears twice in ${showShape(list)}`);
    let out = x;
    for (const d of list) {
      const size = out.shape[d];
      if (size !== undefined && size > 0)
        out = indexSelect(out, d, indices(Array.from({ length: size }, (_, i) => size - 1 - i)));
    }
    return out === x ? clone(x) : out;
  },
);

type DimList = number | readonly number[];

type RollArgs = Needed<[shifts: DimList], ['shifts'], [dims: DimList], { dims?: DimList }>;

const readRoll = optionReader(
  'roll',
  { shifts: required<DimList>(), dims: null as DimList | null },
  'shifts',
  'dims',
);

/**
 * `torch.roll`: shifts along `dims`, what falls off one end coming in at the other; without dims over the
 * flattened tensor.
 */
export const roll: (x: Tensor, ...args: RollArgs) => Tensor = defineComposite(
  'roll',
  (x: Tensor, ...args: RollArgs): Tensor => {
    const { shifts, dims } = readRoll(args);
    const by = typeof shifts === 'number' ? [shifts] : shifts;
    if (dims === null) {
      if (by.length !== 1) throw new Error('roll: several shifts need as many dims');
      return reshape(roll(reshape(x, [-1]), by, [0]), x.shape);
    }
    const list = typeof dims === 'number' ? [dims] : dims;
    if (list.length !== by.length) throw new Error(`roll: ${by.length} shifts for ${list.length} dims`);
    let out = x;
    list.forEach((dim, i) => {
      const d = normalizeDim('roll', dim, x.ndim);
      const size = out.shape[d] as number;
      if (size === 0) return;
      const shift = (((by[i] as number) % size) + size) % size;
      if (shift !== 0) out = cat([narrow(out, d, size - shift, shift), narrow(out, d, 0, size - shift)], d);
    });
    return out === x ? clone(x) : out;
  },
);

/** `torch.Tensor.repeat`: tiles the tensor; counts for new leading dims come first. */
export const repeat: (x: Tensor, ...counts: Sizes<'repeats'>) => Tensor = defineComposite(
  'repeat',
  (x: Tensor, ...args: Sizes<'repeats'>): Tensor => {
    const counts = listOf('repeat', args, 'repeats');
    const lead = counts.length - x.ndim;
    if (lead < 0 || !counts.every((n) => Number.isInteger(n) && n >= 0)) {
      throw new Error(
        `repeat: expected at least ${x.ndim} counts of 0 or more for shape ${showShape(x.shape)}, got [${counts.join(', ')}]`,
      );
    }
    const shape = [...new Array<number>(lead).fill(1), ...x.shape];
    const apart = shape.flatMap((size) => [1, size]);
    const wide = shape.flatMap((size, i) => [counts[i] as number, size]);
    const out = reshape(
      expand(reshape(x, apart), wide),
      shape.map((size, i) => size * (counts[i] as number)),
    );
    return out.storage === x.storage ? clone(out) : out;
  },
);

/** `torch.tile`: {@link repeat} with missing counts taken as 1. */
export function tile(x: Tensor, ...args: Sizes<'dims'>): Tensor {
  checkTensors('tile', x);
  const counts = listOf('tile', args, 'dims');
  return repeat(x, [...new Array<number>(Math.max(0, x.ndim - counts.length)).fill(1), ...counts]);
}

const triangleOp: (x: Tensor, upper: boolean, diagonal: number) => Tensor = defineOp<
  [Tensor, boolean, number],
  Tensor,
  { upper: boolean; diagonal: number }
>({
  name: 'triangle',
  forward(ctx, x, upper, diagonal) {
    ctx.state = { upper, diagonal };
    const name = upper ? 'triu' : 'tril';
    const out = Tensor.empty(x.shape, x.dtype, name, x.isDense() ? x.strides : undefined, x);
    if (out.numel() > 0) {
      runPlan(name, planTriangle(runtime().target, { x, out, upper, diagonal, ...planLimits() }), { x, out });
    }
    return out;
  },
  backward: (ctx, grad) => [() => triangleOp(grad, ctx.state.upper, ctx.state.diagonal)],
});

export type TriangleArgs = Trailing<[diagonal: number], { diagonal?: number }>;

const triangle = (op: string, upper: boolean): ((x: Tensor, ...args: TriangleArgs) => Tensor) => {
  const read = optionReader(op, { diagonal: 0 }, 'diagonal');
  return (x, ...args) => {
    checkTensors(op, x);
    const { diagonal } = read(args);
    if (x.ndim < 2) {
      throw new Error(`${op}: expected a matrix or a batch of them, got shape ${showShape(x.shape)}`);
    }
    return triangleOp(x, upper, diagonal);
  };
};

/** `torch.tril`: the lower triangle, zeros above `diagonal`. */
export const tril: (x: Tensor, ...args: TriangleArgs) => Tensor = triangle('tril', false);
/** `torch.triu`: the upper triangle, zeros below `diagonal`. */
export const triu: (x: Tensor, ...args: TriangleArgs) => Tensor = triangle('triu', true);

/** `torch.Tensor.tril_`. */
export const tril_: (x: Tensor, ...args: TriangleArgs) => Tensor = named('tril_', (x, ...args) =>
  overwrite('tril_', x, () => tril(x, ...args)),
);
/** `torch.Tensor.triu_`. */
export const triu_: (x: Tensor, ...args: TriangleArgs) => Tensor = named('triu_', (x, ...args) =>
  overwrite('triu_', x, () => triu(x, ...args)),
);
