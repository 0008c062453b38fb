import { add, float, mul, oneHot, reshape, roll, tensor, where } from '../ops/index.js';
import { tidy } from '../tensor/tidy.js';
import type { Tensor } from '../tensor/tensor.js';
import { derivedSeed } from './derived-seed.js';
import { Random } from './random.js';
import { checkOptions, noMore } from '../tensor/options.js';

export interface MixOptions {
  /**
   * Both parameters of the Beta distribution that the share is drawn from: 0.2 mixes a little, 1 evenly.
   * Default 1.
   */
  readonly alpha?: number;
  readonly numClasses: number;
  /** Where the random numbers come from. Default: a stream whose seed follows from that of `manualSeed`. */
  readonly random?: Random;
}

/** Standard normal (Box and Muller). */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());
}

/**
 * Gamma of shape `a` and scale 1 (Marsaglia & Tsang, "A simple method for generating gamma variables", 2000).
 */
function gamma(a: number, random: Random): number {
  if (a < 1) return gamma(a + 1, random) * (1 - random.float()) ** (1 / a);
  const d = a - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v <= 0) continue;
    if (Math.log(1 - random.float()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** Beta(alpha, alpha); for a very small alpha both gammas may be 0, which is a coin. */
function share(alpha: number, random: Random): number {
  const [one, other] = [gamma(alpha, random), gamma(alpha, random)];
  return one + other === 0 ? Number(random.chance(0.5)) : one / (one + other);
}

function check(what: string, x: Tensor, y: Tensor, alpha: number, dims: number): void {
  if (!(alpha > 0)) throw new RangeError(`${what}: alpha must be above 0, got ${alpha}`);
  if (x.ndim < dims || y.ndim !== 1 || x.shape[0] !== y.shape[0]) {
    throw new Error(
      `${what}: expected inputs [N, ${dims === 4 ? 'C, H, W' : '...'}] and labels [N], got [${x.shape.join(', ')}] and [${y.shape.join(', ')}]`,
    );
  }
}

/**
 * Labels [N] as distributions: `keep` of each sample's own class, the rest of the class of the sample before.
 */
function softLabels(y: Tensor, keep: number, numClasses: number): Tensor {
  const hot = float(oneHot(y, numClasses));
  return add(mul(hot, keep), mul(roll(hot, 1, 0), 1 - keep));
}

/**
 * Mixup (Zhang et al. 2018, https://arxiv.org/abs/1710.09412; torchvision's `v2.MixUp`): blends each sample
 * of a batch with the one before it, and their labels in the same proportion, which is drawn once for the
 * batch.
 *
 * @param x inputs [N, ...], float32
 * @param y labels [N], int32
 * @returns inputs [N, ...] and probabilities [N, numClasses], which `crossEntropy` takes as its target
 */
export function mixup(x: Tensor, y: Tensor, options: MixOptions): [inputs: Tensor, targets: Tensor] {
  noMore('mixup', arguments, 3);
  checkOptions('mixup', options, 'alpha', 'numClasses', 'random');
  const { alpha = 1, numClasses, random = new Random(derivedSeed()) } = options;
  check('mixup', x, y, alpha, 1);
  const keep = share(alpha, random);
  return tidy(() => [add(mul(x, keep), mul(roll(x, 1, 0), 1 - keep)), softLabels(y, keep, numClasses)]);
}

/**
 * CutMix (Yun et al. 2019, https://arxiv.org/abs/1905.04899; torchvision's `v2.CutMix`): pastes a box of the
 * image before into each image of a batch, and mixes the labels by area. Box and share are drawn once for the
 * batch.
 *
 * @param x images [N, C, H, W], float32
 * @param y labels [N], int32
 * @returns images [N, C, H, W] and probabilities [N, numClasses]
 */
export function cutmix(x: Tensor, y: Tensor, options: MixOptions): [inputs: Tensor, targets: Tensor] {
  noMore('cutmix', arguments, 3);
  checkOptions('cutmix', options, 'alpha', 'numClasses', 'random');
  const { alpha = 1, numClasses, random = new Random(derivedSeed()) } = options;
  check('cutmix', x, y, alpha, 4);
  const [height, width] = x.shape.slice(-2) as [number, number];
  const keep = share(alpha, random);
  const [centreX, centreY] = [random.integer(width), random.integer(height)];
  const half = 0.5 * Math.sqrt(1 - keep);
  const [halfWidth, halfHeight] = [Math.trunc(half * width), Math.trunc(half * height)];
  const [left, right] = [Math.max(centreX - halfWidth, 0), Math.min(centreX + halfWidth, width)];
  const [top, bottom] = [Math.max(centreY - halfHeight, 0), Math.min(centreY + halfHeight, height)];
  const inside = new Uint8Array(height * width);
  for (let row = top; row < bottom; row++) inside.fill(1, row * width + left, row * width + right);
  const area = ((right - left) * (bottom - top)) / (width * height);
  return tidy(() => {
    const box = reshape(tensor(inside, { dtype: 'bool' }), [height, width]);
    return [where(box, roll(x, 1, 0), x), softLabels(y, 1 - area, numClasses)];
  });
}
