import { NonFiniteLossError } from '../train/errors.js';
import type { EpochEvent, EpochReport, FitOptions, FitResult, Progress, Trainer } from '../train/index.js';
import type { SampleLoader } from './batches.js';
import type { Context } from './context.js';
import { CliError, Interrupted } from './errors.js';
import { percent, type Progress as Bar } from './output.js';
import { accuracyNote, inWordsOf } from './training.js';

export type { EpochReport, FitResult, Progress };

export interface LoopOptions extends Pick<FitOptions, 'epochs' | 'folder' | 'onStart'> {
  readonly train: SampleLoader;
  readonly validation: SampleLoader | null;
  /** Epochs without an improvement that early stopping lets pass. */
  readonly patience?: number | undefined;
  /** Prints a line after every so many epochs and after the last. Default 1. */
  readonly lineEvery?: number;
  /** What stands before such a line. */
  readonly indent?: string;
}

/** Trains for some epochs, with a bar and a line for each. Ctrl-C ends it after the batch under way. */
export async function fit(context: Context, trainer: Trainer, options: LoopOptions): Promise<FitResult> {
  const { output, signal } = context;
  const { train, validation, epochs, folder, onStart, lineEvery = 1, indent = '' } = options;
  const labelOf = (epoch: number): string =>
    `${indent}epoch ${String(epoch).padStart(String(epochs).length)}/${epochs}`;
  let bar: Bar | null = null;
  let at = 0;
  const draw = (label: string, total: number): void => {
    bar?.stop();
    bar = output.progress(label, total);
    at = 0;
  };
  const advance = (to: number, note?: string): void => {
    bar?.advance(to - at, note);
    at = to;
  };
  const training = trainer.fit(train, { epochs, validation, signal, folder, onStart, stepEvery: 1 });
  try {
    for await (const event of training) {
      if (event.type === 'epochStart') {
        draw(labelOf(event.epoch), event.batches ?? 0);
        advance(event.done);
      } else if (event.type === 'step') {
        advance(event.batch, `loss ${event.meanLoss.toFixed(4)}`);
      } else if (event.type === 'validationStep') {
        const total = validation?.samples.dataset.length ?? 0;
        if (event.count === 0) draw(`${labelOf(event.epoch)}, validation`, total);
        else advance(event.count, accuracyNote(event.correct, event.count));
      } else if (event.type === 'epoch') {
        bar = stopped(bar);
        const { report, progress } = event;
        if (report.epoch % lineEvery === 0 || progress.finished)
          output.line(`${labelOf(report.epoch)}  ${lineOf(event)}`);
        if (event.stopped && report.epoch < epochs)
          output.line(`stopped early: no improvement for ${options.patience} epochs`);
      } else if (event.type === 'end') {
        bar = stopped(bar);
        return event.result;
      }
    }
  } catch (error) {
    stopped(bar);
    if (error instanceof NonFiniteLossError) throw inOptions(error);
    throw inWordsOf(error, signal, validation);
  }
  throw new Interrupted();
}

function stopped(bar: Bar | null): null {
  bar?.stop();
  return null;
}

function lineOf({ report, sums, validation }: EpochEvent): string {
  const { loss, lr, seconds } = report;
  const val = validation === null ? '' : `val ${percent(validation.correct ?? 0, validation.count)}  `;
  return (
    `loss ${loss.toFixed(4)}  train ${percent(sums.correct ?? 0, sums.count)}  ${val}` +
    `lr ${Number(lr.toPrecision(3))}  ${seconds.toFixed(1)} s`
  );
}

const inOptions = (error: NonFiniteLossError): CliError =>
  new CliError(
    `epoch ${error.epoch}, batch ${error.batch}: the loss is ${error.loss}; try a lower --lr (now ${error.lr}), and look for bad values in the data`,
    { cause: error },
  );
