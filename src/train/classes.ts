import { noMore } from '../tensor/options.js';
import { cutmix, mixup } from '../data/mixup.js';
import { Random } from '../data/random.js';
import { tensor } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Mix } from './step.js';

/**
 * Factors that make every class weigh the same in sum, 1 on average: samples / (classes * samples of the
 * class), scikit-learn's `balanced`.
 *
 * @param labels the class of every sample
 * @returns float32 [numClasses], for `classWeights`
 * @throws Error for a label that is no class
 */
export function balancedClassWeights(labels: ArrayLike<number>, numClasses: number): Tensor {
  noMore('balancedClassWeights', arguments, 2);
  const counts = new Float64Array(numClasses);
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] ?? NaN;
    if (!(label in counts))
      throw new Error(`balancedClassWeights: label ${i} is ${label}; classes are 0 to ${numClasses - 1}`);
    counts[label]!++;
  }
  const weights = Float32Array.from(counts, (count) => labels.length / (numClasses * Math.max(count, 1)));
  return tensor(weights).keep();
}

/** Number of the random stream, which is neither that of a loader's orders (0) nor of its samples (1). */
const mixStream = 2;

export interface MixingOptions {
  /** Parameter of the Beta distribution of mixup; null for none. */
  readonly mixup?: number | null | undefined;
  /** The same of cutmix, which takes images [N, C, H, W]. */
  readonly cutmix?: number | null | undefined;
  readonly numClasses: number;
  /** The same seed gives the same mixtures for the same batch of the same epoch. */
  readonly seed: number;
}

/** Mixup, cutmix, or for each batch one of the two by chance: what `mix` of a Trainer takes. */
export function mixing(options: MixingOptions): Mix {
  const { mixup: blend = null, cutmix: paste = null, numClasses, seed } = options;
  if (blend === null && paste === null)
    throw new Error('mixing: give `mixup`, `cutmix` or both, each with its alpha');
  return ({ inputs, targets }, { epoch, batch }) => {
    const random = new Random(seed, mixStream, epoch, batch);
    const pasted = paste !== null && (blend === null || random.chance(0.5));
    const make = pasted ? cutmix : mixup;
    const alpha = (pasted ? paste : blend) ?? 1;
    const [mixedInputs, mixedTargets] = make(inputs, targets, { alpha, numClasses, random });
    return { inputs: mixedInputs, targets: mixedTargets };
  };
}
