import { checkCount } from '../../tensor/options.js';
import { currentRecording } from '../../device/index.js';
import { words, type RandomKey } from '../../kernels/random/fill.js';

/** Where the global stream of random numbers stands: the same state gives the same numbers. */
export interface RngState {
  readonly seed: number;
  /** Calls that drew from the stream since it was seeded. */
  readonly offset: number;
}

let state: RngState = { seed: Math.floor(Math.random() * 2 ** 48), offset: 0 };

/** Keys that were derived from the seed, beside the stream, since `manualSeed`. */
let derived = 0;

/** A replay draws further numbers of the stream: it can neither tell nor set where that stands. */
const refuseRecorded = (op: string): void => currentRecording()?.refuse(`it calls ${op}`);

function checkState(state: RngState, op: string): void {
  if (typeof state !== 'object' || (state as RngState | null) === null)
    throw new Error(`${op}: expected { seed, offset }, as getRngState() gives, got ${String(state)}`);
  const { seed, offset } = state;
  for (const [name, value] of Object.entries({ seed, offset })) {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new Error(`${op}: ${name} must be an integer from 0 to 2^53 - 1, got ${String(value)}`);
  }
}

/** `torch.manual_seed`: starts the global stream anew. `seed` is an integer from 0 to 2^53 - 1. */
export function manualSeed(seed: number): void {
  refuseRecorded('manualSeed');
  checkCount('manualSeed', arguments.length, 1);
  const fresh = { seed, offset: 0 };
  checkState(fresh, 'manualSeed');
  state = fresh;
  derived = 0;
}

/** `torch.initial_seed`. */
export function initialSeed(): number {
  refuseRecorded('initialSeed');
  checkCount('initialSeed', arguments.length, 0);
  return state.seed;
}

/** `torch.get_rng_state`; plain data, fit for a checkpoint. */
export function getRngState(): RngState {
  refuseRecorded('getRngState');
  checkCount('getRngState', arguments.length, 0);
  return { ...state };
}

/** `torch.set_rng_state`. */
export function setRngState(saved: RngState): void {
  refuseRecorded('setRngState');
  checkCount('setRngState', arguments.length, 1);
  checkState(saved, 'setRngState');
  state = { seed: saved.seed, offset: saved.offset };
}

/**
 * @internal A key for who has a stream of its own (a loader): it follows from the seed and from how many were
 * derived since `manualSeed`, and takes nothing from the stream.
 */
export const derivedKey = (): RandomKey => ({ seed: state.seed, offset: derived++ });

/** @internal The key of one drawing call; no two calls share one. */
export function nextKey(): RandomKey {
  let key: RandomKey = state;
  const draw = (): readonly number[] => {
    key = state;
    state = { seed: key.seed, offset: key.offset + 1 };
    return [...words(key.seed), ...words(key.offset)];
  };
  const recording = currentRecording();
  if (recording === null) draw();
  else recording.drawn(draw);
  return key;
}
