/** The one device of the process. */

import { openDevice, type InitOptions } from './adapter.js';
import { DeviceError } from './errors.js';
import { TuningTable } from '../kernels/tuning/table.js';
import type { Recording } from './recording.js';
import { Runtime } from './runtime.js';
import { loadTuning, wantsTuned } from './tuned.js';

let current: Runtime | undefined;
let starting: Promise<void> | undefined;
let chosen: InitOptions = {};

/**
 * Finds a GPU and makes it ready. Call it once, before any tensor is made; further calls return at once.
 * After {@link close} it starts anew, and after the device was lost too: then with the options of before, and
 * those given.
 *
 * @throws DeviceError without a usable adapter (the message says what to install), or when called again with
 * other options than the running device has.
 */
export function init(options: InitOptions = {}): Promise<void> {
  if (current?.isLost === true) {
    close();
    options = { ...chosen, ...options };
  }
  if (starting) {
    for (const key of Object.keys(options) as (keyof InitOptions)[]) {
      const [asked, had] = [options[key], chosen[key]];
      if (typeof asked === 'object' ? asked !== had : String(asked) !== String(had)) {
        return Promise.reject(
          new DeviceError(
            `init: the device runs already with ${key} = ${String(had)}; call close() before init({ ${key}: ${String(asked)} }).`,
          ),
        );
      }
    }
    return starting;
  }
  chosen = options;
  const attempt: Promise<void> = openDevice(options).then(
    async (opened) => {
      try {
        const fresh = new Runtime(opened, options);
        await fresh.ready();
        if (starting !== attempt)
          throw new DeviceError('init: close() was called before the device was ready.');
        if (wantsTuned(options)) fresh.useTuning(new TuningTable(loadTuning(opened)));
        current = fresh;
      } catch (error) {
        if (starting === attempt) starting = undefined;
        if (options.device === undefined) opened.device.destroy();
        throw error;
      }
    },
    (error: unknown) => {
      if (starting === attempt) starting = undefined;
      throw error;
    },
  );
  starting = attempt;
  return attempt;
}

/**
 * Destroys the device, unless it is the program's own, and everything of kindling's on it. Later operations
 * throw until {@link init} is called again.
 */
export function close(): void {
  current?.destroy();
  current = undefined;
  starting = undefined;
}

/** What is being recorded on the running device, unless host code runs that will run again by itself. */
export function currentRecording(): Recording | null {
  const recording = current?.recording ?? null;
  return recording === null || recording.isSuspended ? null : recording;
}

/** Whether `device` is the one that runs. */
export const isRunning = (device: object): boolean => device === current;

/** The running device. @throws DeviceError before {@link init} has resolved. */
export function runtime(): Runtime {
  if (current === undefined) {
    throw new DeviceError('No device: call `await init()` first (once, at the start of the program).');
  }
  return current;
}
