/**
 * The part that the workers share. A worker times one library on one piece of work: `--work NAME --reps N`
 * prints one line of JSON and ends; with `--rounds` instead of `--reps` it prints a line when it is ready and
 * then one per number of repetitions that arrives on its input, so that several libraries can take turns on a
 * machine whose speed drifts.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { create, globals } from 'webgpu';
import { peerWorkNamed } from '../works.mjs';

/**
 * @typedef {object} Prepared
 * @property {() => Promise<number | void>} run does the work once and waits for it; training steps give their
 * loss
 * @property {() => Promise<number[]>} [check] sums of squares of what the last run gave: result, then
 * gradients
 * @property {() => import('../cases.js').Needs} [needs] arithmetic and memory traffic of the last run at
 * least
 *
 * @typedef {object} Library
 * @property {string} name
 * @property {string} version
 * @property {string} adapter
 * @property {(work: import('../works.mjs').PeerWork) => Promise<Prepared | null>} prepare null for what it
 * cannot do
 *
 * @typedef {object} Ready
 * @property {string} library
 * @property {string} version
 * @property {string} adapter
 * @property {boolean} supported
 * @property {number} [firstMs] the first run, with all compiling; drivers keep compiled shaders between
 * processes
 * @property {number} [steadyMs] a later run, to choose the number of repetitions by
 * @property {number[]} [check] losses of the first steps, or sums of squares
 * @property {import('../cases.js').Needs} [needs]
 *
 * @typedef {{ times: number[], peakRssMiB: number }} Round milliseconds
 */

/** The version in a package's package.json. @param {string} name */
export function versionOf(name) {
  const path = fileURLToPath(new URL(`./node_modules/${name}/package.json`, import.meta.url));
  return /** @type {{ version: string }} */ (JSON.parse(readFileSync(path, 'utf8'))).version;
}

/**
 * Imports a peer by name; they have no types here because the main package does not depend on them.
 * @param {string} name
 * @returns {Promise<any>}
 */
export const peer = (name) => import(name);

/** Gives Node what a browser has; must run before a peer is imported. */
export function installWebGPU() {
  Object.assign(globalThis, globals);
  const navigator = { gpu: create([]), userAgent: 'Node.js', hardwareConcurrency: 2 };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
}

/** Name of the adapter that a peer gets: all of them ask with this preference. */
export async function adapterName() {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) throw new Error('there is no WebGPU adapter: run `npm run setup`');
  return adapter.info.device;
}

/** Steps whose losses are compared between the libraries. */
const checkedSteps = 3;

/** @param {() => Promise<Library>} load */
export async function serve(load) {
  // Standard output is for results alone.
  console.log = console.info = console.warn = console.error;
  const { values } = parseArgs({
    options: {
      work: { type: 'string' },
      reps: { type: 'string', default: '5' },
      rounds: { type: 'boolean' },
    },
  });
  const work = peerWorkNamed(values.work ?? '');
  const library = await load();
  const prepared = await library.prepare(work);
  /** @type {Ready} */
  const ready = {
    library: library.name,
    version: library.version,
    adapter: library.adapter,
    supported: prepared !== null,
  };
  if (prepared !== null) {
    const start = performance.now();
    const losses = [await prepared.run()];
    ready.firstMs = performance.now() - start;
    for (let i = 1; i < checkedSteps; i++) {
      const start = performance.now();
      losses.push(await prepared.run());
      ready.steadyMs = performance.now() - start;
    }
    if (prepared.needs) ready.needs = prepared.needs();
    ready.check = prepared.check ? await prepared.check() : losses.map(Number);
  }
  /** @param {number} reps */
  const round = async (reps) => {
    const times = [];
    for (let i = 0; i < reps; i++) {
      const start = performance.now();
      await prepared?.run();
      times.push(performance.now() - start);
    }
    return { times, peakRssMiB: process.resourceUsage().maxRSS / 1024 };
  };
  /** @param {object} result */
  const print = (result) => void process.stdout.write(JSON.stringify(result) + '\n');
  if (values.rounds) {
    print(ready);
    for await (const line of createInterface({ input: process.stdin })) print(await round(Number(line)));
  } else {
    print({ ...ready, ...(await round(prepared ? Number(values.reps) : 0)) });
  }
  process.exit(0);
}
