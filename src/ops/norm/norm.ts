import { defineComposite, defineOp } from '../../autograd/define.js';
import { isGradEnabled } from '../../autograd/mode.js';
import { e, input, param, type Expr } from '../../kernels/expr/expr.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { type Needed, optionReader, required, type Trailing } from '../../tensor/options.js';
import { sameShape, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { type Pointwise } from '../base/apply.js';
import { launchPointwise } from '../base/launch-pointwise.js';
import { to } from '../base/copy.js';
import { add, clamp, trueDivide as div, mul, rsqrt, sub } from '../pointwise/pointwise.js';
import { runReduce } from '../base/reduction.js';
import { mean } from '../reduce/reduce.js';
import { norm } from '../reduce/statistics.js';
import { sumTo } from '../base/sum-to.js';
import { isRowNorm, rowNorm } from './row-norm.js';
import { reshape } from '../base/view.js';

/*
 * Normalisation by statistics over some dims of each sample: one reduction for mean and 1 / std (Welford),
 * one pointwise pass. Inputs are read in whatever memory order they have, so channels-last images need no
 * conversion.
 */

export interface NormOptions {
  /** Scale. */
  weight?: Tensor | null;
  /** Shift. */
  bias?: Tensor | null;
  /** Added to the variance. Default 1e-5. */
  eps?: number;
}

interface State {
  readonly name: string;
  /** Dims that share a mean and a variance. */
  readonly dims: readonly number[];
  readonly eps: number;
  readonly biasShape: readonly number[] | null;
}

const floats = (count: number): 'float32'[] => new Array<'float32'>(count).fill('float32');

/** An expression over float32 tensors, run outside the tape. */
function evaluate(name: string, expr: Expr, inputs: readonly Tensor[], like: Tensor): Tensor {
  const op: Pointwise = { name, expr, inputs: floats(inputs.length), dtype: 'float32', params: [] };
  const out = Tensor.empty(like.shape, 'float32', name, like.isDense() ? like.strides : undefined, like);
  launchPointwise(op, inputs, [], out, false);
  return out;
}

const reduced = (
  name: string,
  map: Expr,
  inputs: readonly Tensor[],
  dims: readonly number[],
  finish?: readonly Expr[],
): Tensor =>
  runReduce({
    name,
    recipe: { op: 'sum', map, ...(finish && { finish }) },
    inputs,
    dims,
    keepdim: true,
    dtypes: ['float32'],
  })[0] as Tensor;

const statistics = {
  op: 'moments',
  finish: [input(0), e.rsqrt(e.add(e.div(input(1), param('count')), param('eps')))],
} as const;

/** `(x - mean) invstd` over inputs x, mean, invstd. */
const standard = e.mul(e.sub(input(0), input(1)), input(2));

/** `x`, `weight` and `bias` are float32 and broadcast to the shape of `x`. */
const normaliseOp: (x: Tensor, weight: Tensor | null, bias: Tensor | null, state: State) => Tensor = defineOp<
  [Tensor, Tensor | null, Tensor | null, State],
  Tensor,
  State
>({
  name: 'normalise',
  forward(ctx, x, weight, bias, state) {
    ctx.state = state;
    const { name, dims, eps } = state;
    const [average, invstd] = runReduce({
      name,
      recipe: statistics,
      inputs: [x],
      dims,
      keepdim: true,
      dtypes: floats(2),
      params: { eps },
    }) as [Tensor, Tensor];
    const inputs = [x, average, invstd];
    let y = standard;
    if (weight !== null) y = e.mul(y, input(inputs.push(weight) - 1));
    if (bias !== null) y = e.add(y, input(inputs.push(bias) - 1));
    ctx.save(x, average, invstd, weight);
    return evaluate(name, y, inputs, x);
  },
  backward(ctx, dy) {
    const { state } = ctx;
    const [x, average, invstd, weight] = ctx.saved as [Tensor, Tensor, Tensor, Tensor | null];
    const thunks = isGradEnabled()
      ? differentiable(x, weight, dy, state)
      : fused(x, average, invstd, weight, dy, state);
    const { biasShape } = state;
    return [
      thunks.dx,
      ...(weight === null ? [] : [thunks.dweight]),
      ...(biasShape === null ? [] : [() => sumTo(dy, biasShape)]),
    ];
  },
});

interface Gradients {
  readonly dx: () => Tensor;
  readonly dweight: () => Tensor;
}

/**
 * With g = weight dy and h the normalised input: `dx = invstd (g - mean(g) - h mean(g h))` (Ba et al. 2016).
 */
function fused(
  x: Tensor,
  average: Tensor,
  invstd: Tensor,
  weight: Tensor | null,
  dy: Tensor,
  state: State,
): Gradients {
  const name = `${state.name}Backward`;
  const inputs = [x, average, invstd, dy, ...(weight === null ? [] : [weight])];
  const n = inputs.length;
  const g = weight === null ? input(3) : e.mul(input(3), input(4));
  return {
    dx() {
      const over = (map: Expr): Tensor =>
        reduced(name, map, inputs, state.dims, [e.div(input(0), param('count'))]);
      const expr = e.mul(e.sub(e.sub(g, input(n)), e.mul(standard, input(n + 1))), input(2));
      return evaluate(name, expr, [...inputs, over(g), over(e.mul(g, standard))], x);
    },
    dweight() {
      const { shape } = weight as Tensor;
      const lead = x.ndim - shape.length;
      const repeated = x.shape
        .map((_, i) => i)
        .filter((i) => i < lead || (shape[i - lead] === 1 && x.shape[i] !== 1));
      return reshape(reduced(name, e.mul(input(3), standard), inputs.slice(0, 4), repeated), shape);
    },
  };
}

/** The same gradients made of ordinary ops, for `createGraph`. */
function differentiable(x: Tensor, weight: Tensor | null, dy: Tensor, { dims, eps }: State): Gradients {
  const average = (t: Tensor): Tensor => mean(t, dims, { keepdim: true });
  const centred = sub(x, average(x));
  const invstd = rsqrt(add(average(mul(centred, centred)), eps));
  const h = mul(centred, invstd);
  return {
    dx() {
      const g = weight === null ? dy : mul(dy, weight);
      return mul(invstd, sub(sub(g, average(g)), mul(h, average(mul(g, h)))));
    },
    dweight: () => sumTo(mul(dy, h), (weight as Tensor).shape),
  };
}

function checkAffine(
  op: string,
  x: Tensor,
  shape: readonly number[],
  { weight = null, bias = null }: NormOptions,
): void {
  if (!isFloatingPoint(x.dtype))
    throw new Error(`${op}: expected a float tensor, got ${x.dtype}; convert it with .to('float32')`);
  for (const [name, t] of Object.entries({ weight, bias })) {
    if (t !== null && !sameShape(t.shape, shape)) {
      throw new Error(
        `${op}: for input ${showShape(x.shape)} the ${name} must have shape ${showShape(shape)}, got ${showShape(t.shape)}`,
      );
    }
  }
}

/**
 * `seen`: the input as its statistics see it, over the last `dims`; `affineShape`: how weight and bias
 * broadcast over that.
 */
function normalised(
  name: string,
  x: Tensor,
  seen: readonly number[],
  affineShape: readonly number[],
  dims: readonly number[],
  options: NormOptions,
): Tensor {
  const { weight = null, bias = null, eps = 1e-5 } = options;
  const affine = (t: Tensor | null): Tensor | null => t && reshape(to(t, 'float32'), affineShape);
  const operands = [reshape(to(x, 'float32'), seen), affine(weight), affine(bias)] as const;
  const byRows = { name, dims: dims.length, rms: false, eps };
  const y = isRowNorm(operands[0], operands.slice(1), byRows)
    ? rowNorm(...operands, byRows)
    : normaliseOp(...operands, { name, dims, eps, biasShape: bias && affineShape });
  return to(reshape(y, x.shape), x.dtype);
}

/** What follows the required arguments of a norm. */
export type NormArgs = Trailing<[weight: Tensor | null, bias: Tensor | null, eps: number], NormOptions>;

type NeedingNormArgs<V, K extends string> = Needed<
  [value: V],
  [K],
  [weight: Tensor | null, bias: Tensor | null, eps: number],
  NormOptions
>;

const normReader = <V, K extends string>(op: string, name: K) =>
  optionReader<Required<NormOptions> & Record<K, V>>(
    op,
    { [name as string]: required(), weight: null, bias: null, eps: 1e-5 } as Required<NormOptions> &
      Record<K, V>,
    name,
    'weight',
    'bias',
    'eps',
  );
const readLayer = normReader<number | readonly number[], 'normalizedShape'>('layerNorm', 'normalizedShape');
const readGroup = normReader<number, 'numGroups'>('groupNorm', 'numGroups');

/**
 * `torch.nn.functional.layer_norm` (Ba et al. 2016): `(x - mean) / sqrt(var + eps) * weight + bias` with the
 * biased variance over the last dims, whose sizes are `normalizedShape`; weight and bias have that shape.
 */
export const layerNorm: (
  x: Tensor,
  ...args: NeedingNormArgs<number | readonly number[], 'normalizedShape'>
) => Tensor = defineComposite('layerNorm', (x: Tensor, ...args: readonly unknown[]): Tensor => {
  const options = readLayer(args);
  const { normalizedShape } = options;
  const sizes = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
  const lead = x.ndim - sizes.length;
  if (sizes.length === 0 || lead < 0 || !sameShape(x.shape.slice(lead), sizes)) {
    throw new Error(
      `layerNorm: an input of shape ${showShape(x.shape)} does not end in normalizedShape ${showShape(sizes)}`,
    );
  }
  checkAffine('layerNorm', x, sizes, options);
  return normalised(
    'layerNorm',
    x,
    x.shape,
    sizes,
    sizes.map((_, i) => lead + i),
    options,
  );
});

/** @internal */
export function grouped(op: string, x: Tensor, groups: number, options: NormOptions): Tensor {
  const [n, channels] = x.shape as [number, number];
  checkAffine(op, x, [channels], options);
  const rest = x.shape.slice(2);
  const seen = [n, groups, channels / groups, ...rest];
  return normalised(
    op,
    x,
    seen,
    [groups, channels / groups, ...rest.map(() => 1)],
    seen.slice(2).map((_, i) => i + 2),
    options,
  );
}

/**
 * `torch.nn.functional.group_norm` (Wu & He 2018): `x` [N, C, ...], normalised per sample over each of
 * `numGroups` groups of neighbouring channels and all positions; weight and bias are [C].
 */
export const groupNorm: (x: Tensor, ...args: NeedingNormArgs<number, 'numGroups'>) => Tensor =
  defineComposite('groupNorm', (x: Tensor, ...args: readonly unknown[]): Tensor => {
    const options = readGroup(args);
    const { numGroups } = options;
    const channels = x.shape[1];
    if (channels === undefined)
      throw new Error(`groupNorm: expected an input of shape [N, C, ...], got ${showShape(x.shape)}`);
    if (!Number.isInteger(numGroups) || numGroups < 1 || channels % numGroups !== 0) {
      throw new Error(
        `groupNorm: the ${channels} channels of ${showShape(x.shape)} do not divide into ${numGroups} groups`,
      );
    }
    return grouped('groupNorm', x, numGroups, options);
  });

export interface NormalizeOptions {
  /** Order of the norm. Default 2. */
  p?: number;
  /** Default 1. */
  dim?: number;
  /** Least norm that is divided by. Default 1e-12. */
  eps?: number;
}

type NormalizeArgs = Trailing<[p: number, dim: number, eps: number], NormalizeOptions>;

const readNormalize = optionReader('normalize', { p: 2, dim: 1, eps: 1e-12 }, 'p', 'dim', 'eps');

/** `torch.nn.functional.normalize`: `x / max(|x|_p, eps)` along `dim`. */
export const normalize: (x: Tensor, ...args: NormalizeArgs) => Tensor = defineComposite(
  'normalize',
  (x: Tensor, ...args: NormalizeArgs): Tensor => {
    const { p, dim, eps } = readNormalize(args);
    return div(x, clamp(norm(x, { p, dim, keepdim: true }), { min: eps }));
  },
);
