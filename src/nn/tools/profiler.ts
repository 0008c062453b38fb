import { readOptions, noMore } from '../../tensor/options.js';
import {
  currentTrail,
  runtime,
  type DeviceProfile,
  type HostSpan,
  type ProfiledDispatch,
  type ProfileRow,
} from '../../device/index.js';
import { watchCalls, type CallObserver } from '../base/call.js';
import { traceEvents, type TraceEvent } from './chrome-trace.js';
import type { Module } from '../base/module.js';

export interface ProfileOptions {
  /**
   * Times that the function runs before it is measured. Default 0. A first run compiles kernels, which takes
   * far longer than they do.
   */
  warmup?: number;
}

/**
 * GPU time of one layer: what was recorded in its forward, not in that of its children, and in the backward
 * of that.
 */
export interface LayerRow {
  /**
   * Class of the outermost module called, then the path in it: `ResNet.layer1.0.conv1`. Layers that ran as
   * one are joined: `ResNet.layer1.0.conv1+bn1+relu`. '' is work outside of modules (loss, optimizer).
   */
  readonly path: string;
  /** Class of the module, such as Conv2d; '' outside of modules. */
  readonly type: string;
  /** Dispatches. */
  readonly calls: number;
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** Both. */
  readonly ms: number;
}

export interface TableOptions {
  /** A row per kernel, or per layer. Default 'op'. */
  by?: 'op' | 'layer';
  /** Rows to show, those that took longest. Default 10; Infinity for all. */
  top?: number;
}

/** What {@link profile} measured (`torch.profiler.profile`). */
export class Profile<T = unknown> {
  /** What the function returned. */
  readonly result: T;
  /** GPU time per kernel, longest first. */
  readonly rows: readonly ProfileRow[];
  /** Every dispatch, in the order of recording. */
  readonly dispatches: readonly ProfiledDispatch[];
  /** What JavaScript did meanwhile: module calls, tape nodes, ranges. */
  readonly spans: readonly HostSpan[];
  /** Milliseconds from the call until all its work was done, the cost of measuring included. */
  readonly wallMs: number;

  /** @internal */
  constructor(
    measured: DeviceProfile<T>,
    private readonly types: ReadonlyMap<string, string>,
  ) {
    noMore(new.target.name, arguments, 2);
    this.result = measured.result;
    this.rows = measured.rows;
    this.dispatches = measured.dispatches;
    this.spans = measured.spans;
    this.wallMs = measured.wallMs;
  }

  /** GPU time of all dispatches, in milliseconds. */
  get gpuMs(): number {
    return this.dispatches.reduce((sum, { ms }) => sum + ms, 0);
  }

  /** GPU time per layer, longest first. */
  layers(): LayerRow[] {
    const rows = new Map<string, { -readonly [K in keyof LayerRow]: LayerRow[K] }>();
    for (const { path, phase, ms } of this.dispatches) {
      let row = rows.get(path);
      if (row === undefined) {
        row = { path, type: this.types.get(path) ?? '', calls: 0, forwardMs: 0, backwardMs: 0, ms: 0 };
        rows.set(path, row);
      }
      row.calls++;
      row.ms += ms;
      if (phase === 'backward') row.backwardMs += ms;
      else row.forwardMs += ms;
    }
    return [...rows.values()].sort((a, b) => b.ms - a.ms);
  }

  /** The rows that took longest, as text; the last line is the sum over all. */
  table(options: TableOptions = {}): string {
    const { by, top } = readOptions<Required<TableOptions>>('returned', { by: 'op', top: 10 }, options);
    const all = this.gpuMs;
    const share = (ms: number): string => `${((100 * ms) / (all || 1)).toFixed(1)} %`;
    const ms = (value: number): string => value.toFixed(3);
    const shown = <R>(rows: readonly R[], what: string, cells: (row: R) => string[]): string[][] => {
      const left = rows.length - top;
      const rest = left > 0 ? [[`(${left} more ${what})`]] : [];
      return [...rows.slice(0, top).map(cells), ...rest];
    };
    const calls = String(this.dispatches.length);
    if (by === 'op') {
      return columns([
        ['Kernel', 'Calls', 'GPU ms', 'Share'],
        ...shown(this.rows, 'kernels', (row) => [row.name, String(row.calls), ms(row.ms), share(row.ms)]),
        ['Total', calls, ms(all), share(all)],
      ]);
    }
    const rows = this.layers();
    const total = (key: 'forwardMs' | 'backwardMs'): string =>
      ms(rows.reduce((sum, row) => sum + row[key], 0));
    return columns([
      ['Layer', 'Calls', 'Forward ms', 'Backward ms', 'GPU ms', 'Share'],
      ...shown(rows, 'layers', (row) => [
        layerLabel(row),
        String(row.calls),
        ms(row.forwardMs),
        ms(row.backwardMs),
        ms(row.ms),
        share(row.ms),
      ]),
      ['Total', calls, total('forwardMs'), total('backwardMs'), ms(all), share(all)],
    ]);
  }

  /** Events in the Trace Event Format: GPU dispatches, layers around them, and what JavaScript recorded. */
  traceEvents(): TraceEvent[] {
    return traceEvents(this.dispatches, this.spans);
  }

  /**
   * `torch.profiler.profile.export_chrome_trace`: a JSON text for chrome://tracing or
   * https://ui.perfetto.dev; write it to a file.
   */
  exportChromeTrace(): string {
    return JSON.stringify({ traceEvents: this.traceEvents(), displayTimeUnit: 'ms' });
  }
}

/** `ResNet.conv1 (Conv2d)` */
export const layerLabel = ({ path, type }: LayerRow): string =>
  path === '' ? '(outside of layers)' : type === '' ? path : `${path} (${type})`;

/** The first column to the left, numbers to the right. */
function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    if (row.length > 1) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Keeps the trail's path at the module being called. */
class PathObserver implements CallObserver {
  readonly passive = true;
  readonly types = new Map<string, string>();
  /** Paths in the tree of each outermost module that was called. */
  private readonly trees = new Map<Module, ReadonlyMap<Module, string>>();
  private readonly names = new Map<string, number>();
  private readonly open: string[] = [];
  private tree: ReadonlyMap<Module, string> = new Map();

  enter(module: Module): void {
    if (this.open.length === 0) this.tree = this.treeOf(module);
    const type = module.constructor.name;
    this.begin(type, this.tree.get(module) ?? `${this.open.at(-1) ?? ''}.(${type})`);
  }

  leave(): void {
    this.open.pop();
    currentTrail()?.leave();
  }

  abandon(): void {
    this.leave();
  }

  enterFused(modules: readonly Module[]): void {
    const [first, ...others] = modules.map((module) => this.tree.get(module) ?? module.constructor.name);
    const last = (path: string): string => path.slice(path.lastIndexOf('.') + 1);
    const path = [first ?? '', ...others.map(last)].join('+');
    this.begin(modules.map((module) => module.constructor.name).join('+'), path);
  }

  leaveFused(): void {
    this.leave();
  }

  private begin(type: string, path: string): void {
    this.open.push(path);
    this.types.set(path, type);
    currentTrail()?.enter(type, 'module', path);
  }

  private treeOf(root: Module): ReadonlyMap<Module, string> {
    let tree = this.trees.get(root);
    if (tree === undefined) {
      const type = root.constructor.name;
      const count = (this.names.get(type) ?? 0) + 1;
      this.names.set(type, count);
      const name = count === 1 ? type : `${type}#${count}`;
      tree = new Map(
        root.namedModules().map(([path, module]) => [module, path === '' ? name : `${name}.${path}`]),
      );
      this.trees.set(root, tree);
    }
    return tree;
  }
}

/**
 * Runs `fn` and measures the GPU time of every dispatch, by kernel and by layer (`torch.profiler.profile`).
 * Slower than running it plainly, as each dispatch is timed by itself. `fn` may be async; do not run other
 * work beside it.
 *
 * ```ts
 * const result = await k.profile(() => k.crossEntropy(model(x), y).backward(), { warmup: 1 });
 * console.log(result.table({ by: 'layer' }));
 * writeFileSync('trace.json', result.exportChromeTrace());
 * ```
 * @throws DeviceError when a profile is being taken already
 */
export async function profile<T>(
  fn: () => T | Promise<T>,
  options: ProfileOptions = {},
): Promise<Profile<T>> {
  noMore('profile', arguments, 2);
  const { warmup } = readOptions<Required<ProfileOptions>>('profile', { warmup: 0 }, options);
  if (!Number.isInteger(warmup) || warmup < 0)
    throw new Error(`profile: warmup must be a whole number of 0 or more, got ${warmup}`);
  for (let i = 0; i < warmup; i++) await fn();
  const observer = new PathObserver();
  const measured = await runtime().profile(async () => {
    const stop = watchCalls(observer);
    try {
      return await fn();
    } finally {
      stop();
    }
  });
  return new Profile(measured, observer.types);
}

/**
 * `torch.profiler.record_function`: what the synchronous `fn` does outside of modules stands under `name` in
 * a profile and as a range in its trace. Costs nothing while none is taken.
 */
export function recordFunction<R>(name: string, fn: () => R): R {
  noMore('recordFunction', arguments, 2);
  const trail = currentTrail();
  if (trail === null) return fn();
  const depth = trail.depth;
  trail.enter(name, 'range', trail.path === '' ? name : trail.path);
  try {
    return fn();
  } finally {
    trail.unwind(depth);
  }
}
