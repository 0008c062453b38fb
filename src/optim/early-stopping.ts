import { lineOf } from '../tensor/line.js';
import { noMore, readOptions } from '../tensor/options.js';
import { oneOf } from './lr-args.js';
import { fieldsOf, loadFields, saveFields, type SavedState, type SchedulerState } from './scheduler-state.js';
import { show } from './show.js';

export interface EarlyStoppingOptions {
  /** Epochs without an improvement that are let pass. Default 5. */
  patience?: number;
  /** Smaller changes are no improvement. Default 0. */
  minDelta?: number;
  /** Is a lower (`min`, default) or a higher (`max`) metric better? */
  mode?: 'min' | 'max';
}

/**
 * Says when to end a training whose metric has stopped improving (Keras' `EarlyStopping`):
 *
 * ```ts
 * const stopping = new optim.EarlyStopping({ patience: 3 });
 * for (...) { ...; if (stopping.step(validationLoss)) break; }
 * ```
 */
export class EarlyStopping {
  readonly patience: number;
  readonly minDelta: number;
  readonly mode: 'min' | 'max';
  /** The best metric so far. */
  best: number;
  numBadEpochs = 0;

  /**
   * @throws Error for a patience that is no whole number of 1 or more, a negative `minDelta`, or an unknown
   *   `mode`
   */
  constructor(options: EarlyStoppingOptions = {}) {
    noMore(new.target.name, arguments, 1);
    const { patience, minDelta, mode } = readOptions<Required<EarlyStoppingOptions>>(
      'EarlyStopping',
      { patience: 5, minDelta: 0, mode: 'min' },
      options,
    );
    oneOf('min', 'max')('EarlyStopping: mode', mode);
    if (!Number.isInteger(patience) || patience < 1)
      throw new Error(`EarlyStopping: patience must be a whole number of 1 or more, got ${patience}`);
    if (!(minDelta >= 0)) throw new Error(`EarlyStopping: minDelta must be 0 or more, got ${minDelta}`);
    this.patience = patience;
    this.minDelta = minDelta;
    this.mode = mode;
    this.best = mode === 'min' ? Infinity : -Infinity;
  }

  /**
   * @returns whether the metric has now failed to improve for `patience` epochs in a row; NaN is no
   * improvement
   */
  step(metric: number): boolean {
    if (typeof metric !== 'number')
      throw new Error(
        `EarlyStopping.step: expected the metric, a number, got ${show(metric)}; as in step(await loss.item())`,
      );
    const gain = this.mode === 'min' ? this.best - metric : metric - this.best;
    if (gain > this.minDelta) {
      this.best = metric;
      this.numBadEpochs = 0;
    } else this.numBadEpochs++;
    return this.numBadEpochs >= this.patience;
  }

  stateDict(): SchedulerState {
    return saveFields(this);
  }

  /** @throws Error, and changes nothing, where a field is missing, unknown, or of another kind */
  loadStateDict(state: SavedState): void {
    loadFields(this, state);
  }

  /** The class with its options and where it stands. */
  toString(): string {
    return lineOf(this.constructor.name, fieldsOf(this));
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}
