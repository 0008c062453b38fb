import type { StepEvent } from './events.js';
import { NonFiniteLossError } from './errors.js';
import type { EpochSums } from './progress.js';
import type { StepResult } from './step.js';

interface Counted extends StepResult {
  /** Batches of the epoch that are done with this one. */
  readonly batch: number;
  /** Factor of its loss; 0 for a batch that does not count. */
  readonly weight: number;
  /** Learning rates that it is trained with, one per parameter group: a schedule may be further by now. */
  readonly rates: readonly number[];
}

/**
 * One pass of training: what its steps came to. The values of a step are awaited after the next one is under
 * way, so that the GPU need not wait for the host.
 */
export class Pass {
  private open: Counted[] = [];
  private unreported: StepEvent | null = null;
  private reportedAt = -Infinity;
  private reportedBatch = 0;

  /** @param every batches between two events; null for some events in a second */
  constructor(
    private readonly epoch: number,
    readonly batches: number | null,
    private sums: EpochSums,
    private readonly every: number | null,
  ) {}

  /** Adds a step, and waits for those before. */
  async add(step: Counted): Promise<void> {
    const before = this.open;
    this.open = [step];
    for (const each of before) await this.settle(each);
  }

  /** Adds a batch whose step is still to come: it need not be waited for. */
  hold(step: Counted): void {
    this.open.push(step);
  }

  /** Forgets the last batches that are held. */
  drop(count: number): void {
    this.open.splice(this.open.length - count, count);
  }

  /** Waits for all steps. @throws NonFiniteLossError */
  async settled(): Promise<EpochSums> {
    for (let step = this.open.shift(); step !== undefined; step = this.open.shift()) await this.settle(step);
    return this.sums;
  }

  /** The last event that is due and has not been told. */
  *events(last: boolean): Generator<StepEvent, void> {
    const event = this.unreported;
    if (event === null) return;
    const due =
      this.every === null
        ? performance.now() - this.reportedAt >= 100
        : Math.floor(event.batch / this.every) > Math.floor(this.reportedBatch / this.every);
    if (!due && !last) return;
    this.unreported = null;
    this.reportedBatch = event.batch;
    this.reportedAt = performance.now();
    yield event;
  }

  private async settle({ values, batch, rates, weight }: Counted): Promise<void> {
    const { epoch } = this;
    const { loss, correct, count } = await values;
    if (weight === 0) {
      this.sums = { ...this.sums, batches: batch };
      return;
    }
    if (!Number.isFinite(loss)) throw new NonFiniteLossError(epoch, batch, loss, rates[0]);
    const before = this.sums;
    this.sums = {
      count: before.count + count,
      loss: before.loss + loss * count,
      correct: before.correct === null || correct === null ? null : before.correct + correct,
      batches: batch,
    };
    this.unreported = {
      type: 'step',
      epoch,
      batch,
      batches: this.batches,
      loss,
      meanLoss: this.sums.loss / this.sums.count,
      accuracy: this.sums.correct === null ? null : this.sums.correct / this.sums.count,
      lr: rates.at(-1) ?? 0,
    };
  }
}
