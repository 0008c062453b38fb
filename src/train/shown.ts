import type { Module } from '../nn/index.js';
import { lineOf } from '../tensor/line.js';
import type { Training } from './state.js';

/** What the console shows of a Trainer. `scheduler` is what it was given. */
export function shownTraining<M extends Module>(
  { model, optimizer, average, schedule, earlyStopping, scaler }: Training<M>,
  scheduler: object | null | undefined,
  epochs: number,
  best: number | undefined,
): string {
  const own = (value: object | null | undefined): string | undefined => value?.constructor.name;
  const line = lineOf('Trainer', {
    ...{ epochs, best },
    ...{ ema: average === null ? undefined : true, amp: scaler === null ? undefined : true },
    earlyStopping: earlyStopping ?? undefined,
  });
  const named = [`model=${own(model)}`, `optimizer=${own(optimizer)}`];
  if (schedule !== null)
    named.push(`scheduler=${scheduler === schedule ? `per ${schedule.per}` : own(scheduler)}`);
  return line.replace('(', `(${named.join(', ')}, `);
}
