/**
 * Worker threads that load batches. Node's modules are fetched at run time rather than imported, so that
 * bundlers for the browser can follow the import of this module without meeting `node:` names.
 */

import type { Worker } from 'node:worker_threads';
import type { Dataset } from '../dataset.js';
import type { BatchRequest, Loaded } from '../load-batch.js';
import type { WorkerReply, WorkerRequest, WorkerSettings } from './worker-messages.js';
import { encodeDataset, type Skipping } from './worker-spec.js';

function node() {
  if (typeof process !== 'object' || typeof process.getBuiltinModule !== 'function') {
    throw new Error('DataLoader: numWorkers needs Node 20.16 or later; leave it out');
  }
  return {
    ...process.getBuiltinModule('node:worker_threads'),
    createRequire: process.getBuiltinModule('node:module').createRequire,
    pathToFileURL: process.getBuiltinModule('node:url').pathToFileURL,
  };
}

/** Starts `worker.js`, or `worker.ts` where the sources run as they are (tests, tsx). */
function startWorker(settings: WorkerSettings): Worker {
  const { Worker, createRequire, pathToFileURL } = node();
  const here = import.meta.url;
  if (!here.endsWith('.ts')) return new Worker(new URL('./worker.js', here), { workerData: settings });
  // The CommonJS build of tsx's interface, which is what `resolve` finds, does not load in worker threads.
  const tsx = pathToFileURL(
    createRequire(here)
      .resolve('tsx/esm/api')
      .replace(/\.cjs$/, '.mjs'),
  ).href;
  const entry = new URL('./worker.ts', here).href;
  return new Worker(`import('${tsx}').then((tsx) => (tsx.register(), import('${entry}')));`, {
    eval: true,
    workerData: settings,
    // What a test runner set up for its own threads does not belong in this one.
    execArgv: [],
  });
}

interface Pending {
  readonly resolve: (loaded: Loaded<unknown>) => void;
  readonly reject: (error: unknown) => void;
}

/** One thread and the batches it is to load. */
class Thread {
  readonly pending = new Map<number, Pending>();
  private readonly worker: Worker;
  private failure: Error | undefined;

  constructor(
    settings: WorkerSettings,
    private readonly note: (skipped: WorkerReply['skipped']) => void,
  ) {
    this.worker = startWorker(settings);
    this.worker.on('message', (reply: WorkerReply) => this.receive(reply));
    this.worker.on('error', (cause) =>
      this.fail(
        new Error(
          `DataLoader: a worker thread failed: ${cause instanceof Error ? cause.message : String(cause)}`,
          {
            cause,
          },
        ),
      ),
    );
    this.worker.on('exit', (code) =>
      this.fail(new Error(`DataLoader: a worker thread ended (exit code ${code})`)),
    );
    this.worker.unref();
  }

  load(id: number, request: BatchRequest): Promise<Loaded<unknown>> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      // Only a batch that is waited for keeps the process alive.
      this.worker.ref();
      this.worker.postMessage({ id, request } satisfies WorkerRequest);
    });
  }

  async close(): Promise<void> {
    this.fail(new Error('DataLoader: the workers were closed'));
    await this.worker.terminate();
  }

  private receive({ id, loaded, error, skipped }: WorkerReply): void {
    this.note(skipped);
    const waiting = this.pending.get(id);
    this.pending.delete(id);
    if (this.pending.size === 0) this.worker.unref();
    if (error !== undefined) waiting?.reject(error);
    else waiting?.resolve(loaded as Loaded<unknown>);
  }

  private fail(error: Error): void {
    this.failure ??= error;
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
    this.worker.unref();
  }
}

/** The worker threads of one DataLoader. They keep the process alive only while a batch is waited for. */
export class WorkerPool {
  private readonly threads: Thread[];
  private readonly skipping: readonly Skipping[];
  private next = 0;

  constructor(dataset: Dataset<unknown>, count: number) {
    const { spec, skipping } = encodeDataset(dataset);
    this.skipping = skipping;
    this.threads = Array.from(
      { length: count },
      () => new Thread({ spec }, (skipped) => this.noteSkipped(skipped)),
    );
  }

  /** Loads a batch in the thread that has the least to do. */
  load(request: BatchRequest): Promise<Loaded<unknown>> {
    const idle = this.threads.reduce((best, thread) =>
      thread.pending.size < best.pending.size ? thread : best,
    );
    return idle.load(this.next++, request);
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.close()));
  }

  private noteSkipped(skipped: WorkerReply['skipped']): void {
    for (const [dataset, path, reason] of skipped) this.skipping[dataset]?.skipped.set(path, reason);
  }
}
