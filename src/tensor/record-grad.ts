import { currentRecording } from '../device/index.js';

/** @internal A gradient that is dropped while a function is recorded is dropped in each replay. */
export function recordGradSet<T>(leaf: { grad: T | null }, value: T | null): void {
  const recording = currentRecording();
  if (recording === null) return;
  if (value !== null) recording.refuse('it sets a gradient');
  recording.clears(leaf);
  recording.later(() => (leaf.grad = null));
}
