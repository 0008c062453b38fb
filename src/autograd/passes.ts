/** Backward passes that are under way: how deep, in which mode, and what happens at the end. */

import { currentTrail } from '../device/index.js';
import { scoped } from '../tensor/tidy.js';
import { interceptedBy, setGradMode } from './mode.js';

/**
 * Passes that run inside one another. Where the stack ends within one of Dawn's calls, the process does too.
 */
const deepest = 100;
let passes = 0;
let afterPass: (() => void)[] = [];

/**
 * @internal Has `fn` called when the backward pass under way, the outermost one, has given all gradients
 * (`torch.autograd.Variable._execution_engine.queue_callback`); never, where the pass ends in an error.
 *
 * @throws Error outside of a pass
 */
export function queueCallback(fn: () => void): void {
  if (passes === 0) throw new Error('queueCallback: no backward pass is under way');
  afterPass.push(fn);
}

function runCallbacks(): void {
  const callbacks = afterPass;
  afterPass = [];
  for (const callback of callbacks) callback();
}

/** Runs `fn`, a backward pass. */
export function inMode<R>(createGraph: boolean, fn: () => R): R {
  if (passes >= deepest) {
    throw new Error(
      `backward: called within itself ${deepest} times over; a hook or Function that runs its own graph never ends`,
    );
  }
  passes++;
  const before = setGradMode(createGraph);
  const trail = currentTrail();
  const depth = trail?.depth ?? 0;
  trail?.enter('backward()', 'range', trail.path, 'backward');
  // The first node's place, which each takes over from the one before.
  trail?.enter('seeds', 'backward', trail.path);
  try {
    // Whatever autocast is in force around it: what an op was computed in is on the tape.
    return interceptedBy(null, () =>
      scoped('backward()', () => {
        const result = fn();
        if (passes === 1) runCallbacks();
        return result;
      }),
    );
  } finally {
    if (--passes === 0) afterPass = [];
    trail?.unwind(depth);
    setGradMode(before);
  }
}
