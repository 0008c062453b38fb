import { runtime } from '../device/index.js';
import { Storage } from './storage.js';

/**
 * The backstop for handles that no scope owns (a script's own batches, outputs and losses): the garbage
 * collector finds them and a FinalizationRegistry returns their memory. So that a plain PyTorch-style loop
 * stays flat, the collector is nudged while the script waits for the GPU anyway, and only when there is
 * enough to win.
 */
const registry = new FinalizationRegistry<Storage>((storage) => storage.releaseHandle());

let escapedSinceNudge = 0;
let escapes = 0;
let nudgeCostMs = 1;
let lastNudge = 0;
let collect: (() => void) | null | undefined;

/**
 * Handles that escaped since the last collection may hold this share of the live bytes before the next one is
 * due.
 */
const garbageShare = 0.1;
/** Less than this is never worth a collection. */
const garbageBytes = 128 * 1024;
/** Or so many handles, however small: each holds a buffer. */
const garbageHandles = 256;
/**
 * At most this share of wall time goes into collections, whose threads a software adapter's must share the
 * cores with; more once the garbage is large both by itself and against what is live.
 */
const timeShare = 0.05;
const urgentTimeShare = 0.5;
const urgentBytes = 256 * 1024 ** 2;
const urgentShare = 0.5;
/**
 * Garbage that fills this share of what the memory budget leaves is collected at once, whatever it costs: the
 * next would be out of memory.
 */
const tightShare = 0.5;
/**
 * However long a collection took (on a loaded machine), the next one waits as if it had been this at most.
 */
const highestCostMs = 15;

/**
 * Hands a tensor to the garbage collector's care. `held`: it has an owner, so there is nothing to win yet.
 */
export function watch(tensor: object, storage: Storage, held: boolean): void {
  registry.register(tensor, storage, tensor);
  if (!held) noteEscape(storage);
}

/** Only the collector can return `storage` from now on. */
export function noteEscape(storage: Storage): void {
  escapedSinceNudge += storage.bytes;
  escapes++;
}

export function unwatch(tensor: object): void {
  registry.unregister(tensor);
}

/** Tape entries that a dropped graph never consumed release what they saved. */
const graphs = new FinalizationRegistry<{ release(): void }>((saved) => saved.release());

export function watchSaved(owner: object, saved: { release(): void }): void {
  graphs.register(owner, saved, saved);
}

/** `saved` has been released: a collection need not look at it. */
export function unwatchSaved(saved: object): void {
  graphs.unregister(saved);
}

/** In Node the engine can ask for a collection without a command line flag; elsewhere the browser decides. */
async function findCollector(): Promise<(() => void) | null> {
  const given = (globalThis as { gc?: () => void }).gc;
  if (given !== undefined) return given;
  if (typeof process === 'undefined' || process.versions?.node === undefined) return null;
  try {
    const [v8, vm] = ['node:v8', 'node:vm'];
    const { setFlagsFromString } = (await import(/* @vite-ignore */ v8)) as typeof import('node:v8');
    const { runInNewContext } = (await import(/* @vite-ignore */ vm)) as typeof import('node:vm');
    setFlagsFromString('--expose-gc');
    return runInNewContext('gc') as () => void;
  } catch {
    return null;
  }
}

/**
 * Called while the script waits for the GPU: collects when enough handles have escaped since the last time.
 */
function nudge(): void {
  if (!collect) return;
  const few = escapes < garbageHandles;
  if (few && escapedSinceNudge < Math.max(garbageBytes, garbageShare * Storage.liveBytes)) return;
  const now = performance.now();
  const tight = escapedSinceNudge > tightShare * runtime().memoryLeft;
  const urgent = escapedSinceNudge > Math.max(urgentBytes, urgentShare * Storage.liveBytes);
  if (!tight && now - lastNudge < nudgeCostMs / (urgent ? urgentTimeShare : timeShare)) return;
  collect();
  lastNudge = performance.now();
  nudgeCostMs = Math.min(highestCostMs, Math.max(0.5, lastNudge - now));
  escapedSinceNudge = 0;
  escapes = 0;
}

/** Connects the nudge to the runtime's idle moments; called once by `init`. */
export async function installLifetime(): Promise<void> {
  if (collect === undefined) collect = await findCollector();
  runtime().cpuIdleHook.add(nudge);
  if (runtime().target.kind === 'software') runtime().garbage.collect = collect;
}
