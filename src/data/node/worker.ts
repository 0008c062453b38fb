/**
 * What a worker thread of the DataLoader runs: makes the dataset again, then loads the batches that it is
 * asked for.
 */

import { parentPort, workerData, type TransferListItem } from 'node:worker_threads';
import type { Dataset } from '../dataset.js';
import { isHostArray } from '../host.js';
import { isPackedImages } from '../../kernels/images/packed.js';
import { loadBatch } from '../load-batch.js';
import { stackOnHost } from '../stack.js';
import type { WorkerReply, WorkerRequest, WorkerSettings } from './worker-messages.js';
import { decode, type Skipping } from './worker-spec.js';

const skipping: Skipping[] = [];
const dataset = decode((workerData as WorkerSettings).spec, skipping) as Promise<Dataset<unknown>>;
// Every request reports it; unheard it must not end the thread first.
dataset.catch(() => undefined);

/** Left-out files that have been reported. */
const reported = new Set<string>();

function newlySkipped(): WorkerReply['skipped'] {
  return skipping.flatMap(({ skipped }, number) =>
    [...skipped]
      .filter(([path]) => {
        const key = `${number} ${path}`;
        const isNew = !reported.has(key);
        reported.add(key);
        return isNew;
      })
      .map(([path, reason]) => [number, path, reason] as const),
  );
}

/** Array buffers in a reply, which move to the other thread instead of being copied. */
function buffersIn(value: unknown, found = new Set<ArrayBuffer>()): Set<ArrayBuffer> {
  if (isHostArray(value) || isPackedImages(value)) {
    const { buffer, byteLength } = isHostArray(value) ? value.data : value.packed;
    // A view of part of a buffer may share it with others.
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) found.add(buffer);
  } else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
    for (const item of Object.values(value)) buffersIn(item, found);
  }
  return found;
}

async function answer({ id, request }: WorkerRequest): Promise<void> {
  try {
    let loaded: { samples: unknown[] } | { batch: unknown } = await loadBatch(
      await dataset,
      request,
      () => false,
    );
    if ('samples' in loaded && !request.samplesOnly && loaded.samples.length > 0) {
      loaded = {
        batch: stackOnHost(loaded.samples, () => {
          throw new Error(
            'DataLoader: samples are Tensors, which worker threads cannot make; leave out numWorkers',
          );
        }),
      };
    }
    const reply: WorkerReply = { id, loaded, skipped: newlySkipped() };
    // Samples of one dataset may share memory; a stacked batch is this thread's own.
    const moved = 'batch' in loaded ? [...buffersIn(loaded.batch)] : [];
    parentPort!.postMessage(reply, moved as TransferListItem[]);
  } catch (error) {
    const reply: WorkerReply = { id, error, skipped: newlySkipped() };
    try {
      parentPort!.postMessage(reply);
    } catch {
      // What a thrown error carries with it may not be cloneable.
      const message = error instanceof Error ? error.message : String(error);
      parentPort!.postMessage({ ...reply, error: new Error(message) });
    }
  }
}

let last: Promise<void> = Promise.resolve();
parentPort!.on('message', (request: WorkerRequest) => {
  last = last.then(() => answer(request));
});
