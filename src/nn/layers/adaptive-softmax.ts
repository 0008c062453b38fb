import { readOptions, noMore } from '../../tensor/options.js';
import {
  add,
  argmax,
  cat,
  clamp,
  gather,
  ge,
  logicalAnd,
  logSoftmax,
  lt,
  mean,
  narrow,
  neg,
  squeeze,
  sub,
  to,
  unsqueeze,
  where,
} from '../../ops/index.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { scoped } from '../../tensor/tidy.js';
import { ModuleList, Sequential } from './containers.js';
import { Linear } from './linear.js';
import { Layer } from '../base/module.js';
import { requireCount } from '../base/parameter.js';

/**
 * `torch.nn.AdaptiveLogSoftmaxWithLoss` (Grave et al. 2017): a softmax over many classes, frequent ones
 * first, in clusters: the head has the classes below the first cutoff and a score per further cluster, whose
 * classes have smaller layers of their own. Which rows belong to which cluster is known on the GPU only, so
 * every cluster sees all rows.
 */
export class AdaptiveLogSoftmaxWithLoss extends Layer {
  readonly cutoffs: readonly number[];
  readonly divValue: number;
  readonly headBias: boolean;
  head: Linear;
  tail: ModuleList;

  constructor(
    readonly inFeatures: number,
    readonly nClasses: number,
    cutoffs: readonly number[],
    options: { divValue?: number; headBias?: boolean } = {},
  ) {
    noMore(new.target.name, arguments, 4);
    const { divValue, headBias } = readOptions(
      'AdaptiveLogSoftmaxWithLoss',
      { divValue: 4, headBias: false },
      options,
    );
    super();
    const layer = 'AdaptiveLogSoftmaxWithLoss';
    requireCount(layer, 'inFeatures', inFeatures);
    requireCount(layer, 'nClasses', nClasses);
    const rising = cutoffs.every(
      (c, i) => Number.isInteger(c) && c > (i === 0 ? 0 : (cutoffs[i - 1] as number)) && c < nClasses,
    );
    if (cutoffs.length === 0 || !rising) {
      throw new Error(
        `${layer}: cutoffs must be rising integers between 0 and ${nClasses}, got [${cutoffs.join(', ')}]`,
      );
    }
    this.cutoffs = [...cutoffs, nClasses];
    this.divValue = divValue;
    this.headBias = headBias;
    this.head = new Linear(inFeatures, (cutoffs[0] as number) + cutoffs.length, { bias: headBias });
    this.tail = new ModuleList(
      cutoffs.map((low, i) => {
        const width = Math.floor(inFeatures / divValue ** (i + 1));
        const classes = (this.cutoffs[i + 1] as number) - low;
        return new Sequential(
          new Linear(inFeatures, width, { bias: false }),
          new Linear(width, classes, { bias: false }),
        );
      }),
    );
  }

  /** Log-probabilities of the head's classes and clusters, and within each cluster. */
  private parts(x: Tensor): { head: Tensor; tails: Tensor[] } {
    const tails = [...this.tail].map((cluster) => logSoftmax((cluster as Sequential)(x) as Tensor, 1));
    return { head: logSoftmax(this.head(x), 1), tails };
  }

  /** The log-probability of each row's class `[N]` (or `[]`), and the loss: minus their mean. */
  forward(input: Tensor, target: Tensor): [output: Tensor, loss: Tensor] {
    return scoped('AdaptiveLogSoftmaxWithLoss', () => {
      const single = target.ndim === 0;
      if (
        target.ndim > 1 ||
        input.ndim !== target.ndim + 1 ||
        (!single && input.shape[0] !== target.shape[0])
      ) {
        throw new Error(
          `AdaptiveLogSoftmaxWithLoss: expected an input [N, inFeatures] with targets [N], got ${showShape(input.shape)} and ${showShape(target.shape)}`,
        );
      }
      const labels = unsqueeze(single ? unsqueeze(target, 0) : target, 1);
      const { head, tails } = this.parts(single ? unsqueeze(input, 0) : input);
      const first = this.cutoffs[0] as number;
      /** Column `labels - low` where that is one. */
      const pick = (scores: Tensor, low: number, count: number): Tensor =>
        gather(scores, 1, to(clamp(sub(labels, low), { min: 0, max: count - 1 }), 'int32'));
      let output = pick(head, 0, first);
      tails.forEach((scores, i) => {
        const [low, high] = [this.cutoffs[i] as number, this.cutoffs[i + 1] as number];
        const inside = logicalAnd(ge(labels, low), lt(labels, high));
        const logProb = add(narrow(head, 1, first + i, 1), pick(scores, low, high - low));
        output = where(inside, logProb, output);
      });
      const flat = squeeze(output, 1);
      return [single ? squeeze(flat, 0) : flat, neg(mean(flat))];
    });
  }

  /** Log-probabilities of all classes, `[N, nClasses]`. */
  logProb(input: Tensor): Tensor {
    return scoped('AdaptiveLogSoftmaxWithLoss', () => {
      const { head, tails } = this.parts(input);
      const first = this.cutoffs[0] as number;
      const further = tails.map((scores, i) => add(scores, narrow(head, 1, first + i, 1)));
      return cat([narrow(head, 1, 0, first), ...further], 1);
    });
  }

  /** The most probable class of each row, int32 `[N]`. */
  predict(input: Tensor): Tensor {
    return scoped('AdaptiveLogSoftmaxWithLoss', () => argmax(this.logProb(input), 1));
  }
}
