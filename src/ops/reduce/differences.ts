import { defineComposite } from '../../autograd/define.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import { optionReader, type Trailing } from '../../tensor/options.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { logicalXor } from '../pointwise/compare.js';
import { clone } from '../base/copy.js';
import { zeros } from '../creation/creation.js';
import { cat } from '../shape/join.js';
import { add, div, mul, sub } from '../pointwise/pointwise.js';
import { cumsum } from './scan.js';
import { sumDims } from '../base/sum-to.js';
import { narrow, reshape } from '../base/view.js';

/* Differences of neighbours and sums between them. */

const dropFirst = (x: Tensor, d: number): Tensor => narrow(x, d, 1, (x.shape[d] as number) - 1);
const dropLast = (x: Tensor, d: number): Tensor => narrow(x, d, 0, (x.shape[d] as number) - 1);

export interface DiffOptions {
  /** How many times to take the difference. Default 1. */
  n?: number;
  /** The last by default. */
  dim?: number;
  /** Put before and behind `x` along `dim` first. */
  prepend?: Tensor | null;
  append?: Tensor | null;
}

const readDiff = optionReader(
  'diff',
  { n: 1, dim: -1, prepend: null as Tensor | null, append: null as Tensor | null },
  'n',
  'dim',
  'prepend',
  'append',
);

type DiffArgs = Trailing<
  [n: number, dim: number, prepend: Tensor | null, append: Tensor | null],
  DiffOptions
>;

/** `torch.diff`: the `n`-th differences of neighbours along `dim`; of bool, whether they differ. */
export const diff: (x: Tensor, ...args: DiffArgs) => Tensor = defineComposite(
  'diff',
  (x: Tensor, ...args: DiffArgs): Tensor => {
    const { n, dim, prepend, append } = readDiff(args);
    if (x.ndim === 0) throw new Error('diff: a zero-dim tensor has no neighbours');
    if (!Number.isInteger(n) || n < 0) throw new Error(`diff: n must be an integer of 0 or more, got ${n}`);
    const d = normalizeDim('diff', dim, x.ndim);
    // Nothing is put before or behind it then, in PyTorch too.
    if (n === 0) return clone(x);
    const parts = [prepend, x, append].filter((t) => t !== null);
    let out = parts.length > 1 ? cat(parts, d) : x;
    const times = Math.min(n, out.shape[d] as number);
    const subtract = x.dtype === 'bool' ? logicalXor : sub;
    for (let i = 0; i < times; i++) out = subtract(dropFirst(out, d), dropLast(out, d));
    return times === 0 ? clone(out) : out;
  },
);

export interface TrapezoidOptions {
  /** Positions of the values. */
  x?: Tensor | null;
  /** Distance of the values, where there are no positions. Default 1. */
  dx?: number | null;
  /** The last by default. */
  dim?: number;
}

type TrapezoidArgs = Trailing<[x: Tensor | null], TrapezoidOptions>;

const trapezoidReader = (name: string): ((args: TrapezoidArgs) => Readonly<Required<TrapezoidOptions>>) =>
  optionReader(name, { x: null as Tensor | null, dx: null as number | null, dim: -1 }, 'x');

/** The areas between neighbours, and along which dim. */
function areas(
  name: string,
  y: Tensor,
  { x, dx, dim }: Readonly<Required<TrapezoidOptions>>,
): [areas: Tensor, dim: number] {
  const d = normalizeDim(name, dim, y.ndim);
  if (x !== null && dx !== null) throw new Error(`${name}: give x or dx, not both`);
  if (y.ndim === 0) throw new Error(`${name}: a zero-dim tensor has no neighbours`);
  if ((y.shape[d] as number) === 0) return [zeros(y.shape, { dtype: y.dtype }), d];
  const pairs = add(dropFirst(y, d), dropLast(y, d));
  if (x === null) return [mul(pairs, (dx ?? 1) / 2), d];
  const size = x.shape[x.ndim === 1 ? 0 : x.ndim - y.ndim + d];
  if (x.ndim === 1 && size !== y.shape[d])
    throw new Error(
      `${name}: x must have as many positions as y has values along dim ${dim}, got ${size} for shape ${showShape(y.shape)}`,
    );
  // A list of positions, or a tensor of fewer dims, is laid along the dims of y.
  const positions =
    x.ndim === 1
      ? reshape(
          x,
          y.shape.map((_, i) => (i === d ? -1 : 1)),
        )
      : x.ndim < y.ndim
        ? reshape(x, [...y.shape.slice(x.ndim).map(() => 1), ...x.shape])
        : x;
  const steps = sub(dropFirst(positions, d), dropLast(positions, d));
  return [mul(mul(pairs, steps), 0.5), d];
}

const readTrapezoid = trapezoidReader('trapezoid');

/** `torch.trapezoid`: the integral of `y` along `dim` over positions `x` or steps `dx`. */
export const trapezoid: (y: Tensor, ...args: TrapezoidArgs) => Tensor = defineComposite(
  'trapezoid',
  (y: Tensor, ...args: TrapezoidArgs): Tensor => {
    const [parts, d] = areas('trapezoid', y, readTrapezoid(args));
    return sumDims(parts, [d], false);
  },
);

/** `torch.trapz`, the older name of `trapezoid`. */
export const trapz: (y: Tensor, ...args: TrapezoidArgs) => Tensor = (y, ...args) => trapezoid(y, ...args);

const readCumulative = trapezoidReader('cumulativeTrapezoid');

/** `torch.cumulative_trapezoid`: the integral of `y` up to each of its values behind the first. */
export const cumulativeTrapezoid: (y: Tensor, ...args: TrapezoidArgs) => Tensor = defineComposite(
  'cumulativeTrapezoid',
  (y: Tensor, ...args: TrapezoidArgs): Tensor => {
    const [parts, d] = areas('cumulativeTrapezoid', y, readCumulative(args));
    return cumsum(parts, d);
  },
);

export interface GradientOptions {
  /** Distance of neighbours, one per dim, or their positions along each dim. Default 1. */
  spacing?: number | Tensor | readonly (number | Tensor)[] | null;
  /** All dims by default. */
  dim?: number | readonly number[] | null;
  /** Order of the error at both ends, 1 or 2. */
  edgeOrder?: number;
}

const readGradient = optionReader('gradient', {
  spacing: null as GradientOptions['spacing'],
  dim: null as GradientOptions['dim'],
  edgeOrder: 1,
});

/**
 * `torch.gradient`: the derivative along each of `dim` by central differences of second order, at both ends
 * one-sided; one tensor per dim. For uneven positions with NumPy's weights
 * (https://numpy.org/doc/stable/reference/generated/numpy.gradient.html).
 */
export const gradient: (x: Tensor, options?: GradientOptions) => Tensor[] = defineComposite(
  'gradient',
  (x: Tensor, ...args: [options?: GradientOptions]): Tensor[] => {
    const { spacing = null, dim = null, edgeOrder } = readGradient(args);
    if (edgeOrder !== 1 && edgeOrder !== 2)
      throw new Error(`gradient: edgeOrder must be 1 or 2, got ${edgeOrder}`);
    const dims =
      dim === null
        ? x.shape.map((_, i) => i)
        : (typeof dim === 'number' ? [dim] : dim).map((d) => normalizeDim('gradient', d, x.ndim));
    if (new Set(dims).size < dims.length) throw new Error('gradient: a dim appears twice');
    const spacings =
      typeof spacing === 'number'
        ? dims.map(() => spacing)
        : spacing === null
          ? dims.map(() => 1)
          : [spacing].flat();
    if (spacings.length !== dims.length)
      throw new Error(`gradient: expected a spacing per dim (${dims.length}), got ${spacings.length}`);
    return dims.map((d, i) => {
      const size = x.shape[d] as number;
      if (size < edgeOrder + 1)
        throw new Error(
          `gradient: dim ${d} of shape ${showShape(x.shape)} must have ${edgeOrder + 1} elements or more for edgeOrder ${edgeOrder}`,
        );
      const space = spacings[i] as number | Tensor;
      if (!isTensor(space)) return alongDim(x, d, edgeOrder, space);
      if (space.ndim !== 1 || space.shape[0] !== size)
        throw new Error(
          `gradient: positions along dim ${d} must have shape [${size}], got ${showShape(space.shape)}`,
        );
      const steps = sub(dropFirst(space, 0), dropLast(space, 0));
      return alongDim(
        x,
        d,
        edgeOrder,
        reshape(
          steps,
          x.shape.map((_, i) => (i === d ? -1 : 1)),
        ),
      );
    });
  },
);

/** The derivative along `d`; `steps`: the distance of all neighbours, or a tensor of them. */
function alongDim(x: Tensor, d: number, edgeOrder: 1 | 2, steps: number | Tensor): Tensor {
  const size = x.shape[d] as number;
  const at = (t: Tensor, start: number, length: number): Tensor => narrow(t, d, start, length);
  const step = (start: number, length: number): number | Tensor =>
    isTensor(steps) ? at(steps, start, length) : steps;
  const end = (start: number, side: -1 | 1): Tensor =>
    edgeOrder === 1
      ? div(sub(at(x, start + 1, 1), at(x, start, 1)), step(start, 1))
      : quadratic(
          [0, 1, 2].map((i) => at(x, start + i, 1)),
          step(start, 1),
          step(start + 1, 1),
          side,
        );
  const inner = size - 2;
  const parts = [end(0, -1)];
  if (inner > 0)
    parts.push(
      quadratic(
        [0, 1, 2].map((i) => at(x, i, inner)),
        step(0, inner),
        step(1, inner),
        0,
      ),
    );
  return cat([...parts, end(size - 1 - edgeOrder, 1)], d);
}

/**
 * The derivative of the parabola through three neighbours, `l` and `r` apart, at the left one (`side` -1),
 * the middle one or the right one.
 */
function quadratic(
  values: readonly Tensor[],
  l: number | Tensor,
  r: number | Tensor,
  side: -1 | 0 | 1,
): Tensor {
  const [a, b, c] = values as [Tensor, Tensor, Tensor];
  if (!isTensor(l) || !isTensor(r)) {
    const ends = add(mul(a, side - 0.5), mul(c, side + 0.5));
    return div(side === 0 ? ends : add(ends, mul(b, -2 * side)), l);
  }
  const twice = side === 0 ? mul(l, 0) : mul(side < 0 ? l : r, 2 * side);
  const both = add(l, r);
  return add(
    add(mul(a, div(sub(twice, r), mul(l, both))), mul(b, div(sub(sub(r, l), twice), mul(l, r)))),
    mul(c, div(add(twice, l), mul(r, both))),
  );
}
