import { runtime } from '../../device/index.js';
import { defineComposite, defineOp } from '../../autograd/define.js';
import { dtypeInfo } from '../../kernels/base/dtype.js';
import { e, input, type Expr } from '../../kernels/expr/expr.js';
import { planPointwise } from '../../kernels/pointwise/plan.js';
import { isFloatingPoint } from '../../tensor/dtype.js';
import { optionReader } from '../../tensor/options.js';
import { expandsTo, showShape } from '../../tensor/shape.js';
import { Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { checkTensors } from '../base/tensors.js';
import { launch } from '../base/launch.js';
import { planLimits } from '../base/run-plan.js';
import { sumTo } from '../base/sum-to.js';
import { narrow, slice } from '../base/view.js';
import { add, mul, sub } from '../pointwise/pointwise.js';
import { cat } from '../shape/join.js';

interface Turn {
  readonly interleaved: boolean;
  /** Backwards: by minus the angle. */
  readonly inverse: boolean;
}

interface TurnState extends Turn {
  readonly cosLike: Pick<Tensor, 'shape' | 'dtype'>;
  readonly sinLike: Pick<Tensor, 'shape' | 'dtype'>;
}

const likenessOf = ({ shape, dtype }: Tensor): Pick<Tensor, 'shape' | 'dtype'> => ({ shape, dtype });

/** The first and the second of each pair: halves of the last dim, or its even and odd places. */
function pairsOf(x: Tensor, interleaved: boolean): [Tensor, Tensor] {
  const size = (x.shape.at(-1) as number) / 2;
  const shape = [...x.shape.slice(0, -1), size];
  const last = x.strides.at(-1) as number;
  const strides = [...x.strides.slice(0, -1), interleaved ? 2 * last : last];
  return [0, interleaved ? last : last * size].map((step) => x.alias(shape, strides, x.offset + step)) as [
    Tensor,
    Tensor,
  ];
}

const [first, second, cosine, sine] = [0, 1, 2, 3].map((i) => input(i)) as [Expr, Expr, Expr, Expr];
const turned = [
  e.sub(e.mul(first, cosine), e.mul(second, sine)),
  e.add(e.mul(second, cosine), e.mul(first, sine)),
];
const turnedBack = [
  e.add(e.mul(first, cosine), e.mul(second, sine)),
  e.sub(e.mul(second, cosine), e.mul(first, sine)),
];

const rotate: (x: Tensor, cos: Tensor, sin: Tensor, turn: Turn) => Tensor = defineOp<
  [Tensor, Tensor, Tensor, Turn],
  Tensor,
  TurnState
>({
  name: 'rotaryEmbedding',
  forward(ctx, x, cos, sin, turn) {
    const { interleaved, inverse } = turn;
    ctx.state = { ...turn, cosLike: likenessOf(cos), sinLike: likenessOf(sin) };
    const [toX, toCos, toSin] = ctx.needs;
    const toAngle = toCos === true || toSin === true;
    ctx.save(toAngle ? x : null, toX === true ? cos : null, toX === true ? sin : null);
    const out = Tensor.empty(x.shape, x.dtype, 'rotaryEmbedding', x.isDense() ? x.strides : undefined, x);
    if (out.numel() === 0) return out;
    const { compute } = dtypeInfo[x.dtype];
    const inputs = [...pairsOf(x, interleaved), cos, sin];
    const outputs = pairsOf(out, interleaved);
    const launches = planPointwise(runtime().target, {
      name: 'rotaryEmbedding',
      exprs: (inverse ? turnedBack : turned).map((expr) => e.cast(expr, compute)),
      inputs,
      outputs,
      oneBuffer: true,
      exact: true,
      ...planLimits(),
    });
    launch(launches, [...inputs, ...outputs]);
    return out;
  },
  backward(ctx, grad) {
    const [x, cos, sin] = ctx.saved;
    const { interleaved, inverse, cosLike, sinLike } = ctx.state;
    const parts = (): Tensor[] => [grad, x as Tensor].flatMap((of) => [...partsByOps(of, interleaved)]);
    return [
      () => rotate(grad, cos as Tensor, sin as Tensor, { interleaved, inverse: !inverse }),
      () => {
        const [g1, g2, x1, x2] = parts() as [Tensor, Tensor, Tensor, Tensor];
        return likeAngle(add(mul(g1, x1), mul(g2, x2)), cosLike);
      },
      () => {
        const [g1, g2, x1, x2] = parts() as [Tensor, Tensor, Tensor, Tensor];
        const [plus, minus] = [mul(g2, x1), mul(g1, x2)];
        return likeAngle(inverse ? sub(minus, plus) : sub(plus, minus), sinLike);
      },
    ];
  },
});

/** {@link pairsOf} as ops of the tape. */
const partsByOps = (x: Tensor, interleaved: boolean): readonly [Tensor, Tensor] => {
  const size = x.shape.at(-1) as number;
  return interleaved
    ? [slice(x, -1, 0, size, 2), slice(x, -1, 1, size, 2)]
    : [narrow(x, -1, 0, size / 2), narrow(x, -1, size / 2, size / 2)];
};

/** The gradient of angles from that of every place they were used at. */
const likeAngle = (grad: Tensor, { shape, dtype }: Pick<Tensor, 'shape' | 'dtype'>): Tensor =>
  to(sumTo(grad, shape), dtype);

export interface RotaryOptions {
  /** Pairs are places 2i and 2i + 1, as in the paper, rather than i and i + n / 2. Default false. */
  interleaved?: boolean;
}

const readRotary = optionReader('rotaryEmbedding', { interleaved: false });

/**
 * Rotary position embedding (Su et al. 2021, https://arxiv.org/abs/2104.09864): pairs of features are turned
 * by the angles of their position, `(a, b)` to `(a cos - b sin, b cos + a sin)`. One launch forward, one
 * backward.
 *
 * @param x queries or keys [..., S, D]
 * @param cos of the angles: [S, n / 2], or what broadcasts to [..., S, n / 2]; with n below D the features
 * from n on stay as they are
 * @param sin likewise
 * @throws Error for angles that do not fit
 */
export const rotaryEmbedding: (
  x: Tensor,
  cos: Tensor,
  sin: Tensor,
  ...args: [options?: RotaryOptions]
) => Tensor = defineComposite(
  'rotaryEmbedding',
  (x: Tensor, cos: Tensor, sin: Tensor, ...args: [options?: RotaryOptions]): Tensor => {
    const { interleaved } = readRotary(args);
    checkTensors('rotaryEmbedding', x, cos, sin);
    for (const [name, { dtype }] of Object.entries({ x, cos, sin }))
      if (!isFloatingPoint(dtype))
        throw new Error(`rotaryEmbedding: ${name} must hold floats, got ${dtype}; use .float()`);
    const features = x.shape.at(-1);
    const pairs = cos.shape.at(-1);
    const turned = [...x.shape.slice(0, -1), pairs ?? 1];
    const fits = [cos, sin].every(({ shape }) => shape.at(-1) === pairs && expandsTo(shape, turned));
    if (features === undefined || pairs === undefined || 2 * pairs > features || !fits)
      throw new Error(
        `rotaryEmbedding: cos ${showShape(cos.shape)} and sin ${showShape(sin.shape)} must broadcast to ` +
          `[..., S, n / 2] with n at most D, where x ${showShape(x.shape)} is [..., S, D]`,
      );
    if (2 * pairs === features) return rotate(x, cos, sin, { interleaved, inverse: false });
    const head = rotate(narrow(x, -1, 0, 2 * pairs), cos, sin, { interleaved, inverse: false });
    return cat([head, narrow(x, -1, 2 * pairs, features - 2 * pairs)], -1);
  },
);
