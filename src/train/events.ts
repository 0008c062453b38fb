import type { Evaluation } from './evaluate.js';
import type { EpochReport, EpochSums, FitResult, Progress } from './progress.js';

/** A training begins, or is gone on with. */
export interface StartEvent {
  readonly type: 'start';
  readonly progress: Progress;
}

/** An epoch begins, or is gone on with. */
export interface EpochStartEvent {
  readonly type: 'epochStart';
  /** From 1. */
  readonly epoch: number;
  /** Batches that were done of it before. */
  readonly done: number;
  /** Batches of it; null where the loader does not know. */
  readonly batches: number | null;
}

/** Some batches have been learnt from. What is told is measured while the next one is under way. */
export interface StepEvent {
  readonly type: 'step';
  readonly epoch: number;
  /** Batches of the epoch that are done. */
  readonly batch: number;
  readonly batches: number | null;
  /** Mean loss of the last batch, measured before its step. */
  readonly loss: number;
  /** Mean loss of the epoch so far. */
  readonly meanLoss: number;
  /** Share of the epoch's samples so far that were classified right; null where there are no classes. */
  readonly accuracy: number | null;
  /** Learning rate that the last batch was trained with, of the last parameter group. */
  readonly lr: number;
}

/** Validation begins, or a batch has been validated on. */
export interface ValidationStepEvent {
  readonly type: 'validationStep';
  readonly epoch: number;
  /** Samples so far; 0 where it begins. */
  readonly count: number;
  readonly correct: number | null;
}

/** An epoch has ended, and is in the history. */
export interface EpochEvent {
  readonly type: 'epoch';
  readonly report: EpochReport;
  /** What the report's training figures are made of. */
  readonly sums: EpochSums;
  readonly validation: Evaluation | null;
  /** It is better than all before. */
  readonly improved: boolean;
  /** Early stopping ends the training here. */
  readonly stopped: boolean;
  readonly progress: Progress;
}

/** The epoch that has ended is better than all before. Comes after its `epoch`. */
export interface BestEvent {
  readonly type: 'best';
  readonly report: EpochReport;
}

/** The last event. */
export interface EndEvent {
  readonly type: 'end';
  readonly result: FitResult;
}

export type TrainEvent =
  StartEvent | EpochStartEvent | StepEvent | ValidationStepEvent | EpochEvent | BestEvent | EndEvent;

type Called<E> = ((event: E) => void | Promise<void>) | undefined;

/** Functions in the place of a loop over the events; the training waits for them. */
export interface Callbacks {
  readonly onStart?: Called<StartEvent>;
  readonly onStep?: Called<StepEvent>;
  readonly onEpoch?: Called<EpochEvent>;
  readonly onBest?: Called<BestEvent>;
  readonly onEnd?: Called<EndEvent>;
}

const names = {
  start: 'onStart',
  epochStart: null,
  step: 'onStep',
  validationStep: null,
  epoch: 'onEpoch',
  best: 'onBest',
  end: 'onEnd',
} as const;

async function call(callbacks: Callbacks, event: TrainEvent): Promise<void> {
  const name = names[event.type];
  if (name !== null) await (callbacks[name] as Called<TrainEvent>)?.(event);
}

/**
 * A training that has not begun: await it, or go through its events with `for await`. It stands still while
 * an event is looked at; leaving the loop ends it between two steps, and another `fit` goes on from there.
 */
export interface Fit extends AsyncIterable<TrainEvent>, PromiseLike<FitResult> {}

/** A {@link Fit} over a generator of events. */
export class LazyFit implements Fit {
  private begun = false;
  private result: Promise<FitResult> | undefined;

  constructor(
    private readonly events: () => AsyncGenerator<TrainEvent, FitResult>,
    private readonly callbacks: Callbacks,
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<TrainEvent, FitResult> {
    if (this.begun) throw new Error('Trainer.fit: this training has been begun; call fit() again');
    this.begun = true;
    const events = this.events();
    try {
      for (;;) {
        const next = await events.next();
        if (next.done === true) return next.value;
        await call(this.callbacks, next.value);
        yield next.value;
      }
    } finally {
      // A consumer or a callback may have ended it.
      await events.return(undefined as never);
    }
  }

  then<A = FitResult, B = never>(
    fulfilled?: ((result: FitResult) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.result ??= this.run();
    return this.result.then(fulfilled, rejected);
  }

  private async run(): Promise<FitResult> {
    const events = this[Symbol.asyncIterator]();
    for (;;) {
      const next = await events.next();
      if (next.done === true) return next.value;
    }
  }
}
