import { deserialize, serialize } from 'node:v8';
import { runtime } from '../device/index.js';
import { tensor } from '../ops/index.js';
import { checkTensors } from '../ops/base/tensors.js';
import { optionReader } from '../tensor/options.js';
import { showShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { pack, unpack } from './packed.js';
import { groupFor } from './process.js';
import type { ReduceOp, WireArray, WireType } from './mpi.js';
import { blankFor, flatten, readFlat, spread, wireOf, writeFlats } from './wire.js';

export interface ReduceOptions {
  /** How the ranks' values are combined. Default `sum`; `avg` is the sum over the number of ranks. */
  readonly op?: ReduceOp | 'avg';
}

const readReduce = (op: string): ((args: readonly unknown[]) => Required<ReduceOptions>) => {
  const read = optionReader<Required<ReduceOptions>>(op, { op: 'sum' });
  return (args) => {
    const options = read(args);
    if (!['sum', 'avg', 'product', 'min', 'max'].includes(options.op))
      throw new Error(
        `${op}: op must be 'sum', 'avg', 'product', 'min' or 'max', got '${String(options.op)}'`,
      );
    return options;
  };
};

/** Waits for `moved`. What was wrong with the values themselves only the device can tell. */
async function settled<T>(moved: Promise<T>): Promise<T> {
  try {
    return await moved;
  } catch (error) {
    await runtime().synchronize();
    throw error;
  }
}

function checkReducible(op: string, x: Tensor, how: string): void {
  if (x.dtype === 'bool' && (how === 'sum' || how === 'avg'))
    throw new Error(
      `${op}: a ${how} of bool has no meaning; use op 'max' for or, 'min' for and, or convert with .int()`,
    );
  if (how === 'avg' && x.dtype !== 'float32' && x.dtype !== 'float16')
    throw new Error(`${op}: 'avg' needs a floating point tensor, got ${x.dtype}; convert it with .float()`);
}

/** @internal `values` over the number of ranks where `how` says so. */
export function averaged<A extends WireArray>(values: A, how: ReduceOp | 'avg', worldSize: number): A {
  if (how === 'avg') for (let i = 0; i < values.length; i++) (values as Float32Array)[i]! /= worldSize;
  return values;
}

/**
 * @internal `list`, of one dtype, becomes its combination over the ranks, at this point of the stream: what
 * is recorded afterwards sees it. Resolves when it has happened.
 */
export async function reduceInStream(
  op: string,
  list: readonly Tensor[],
  how: ReduceOp | 'avg',
): Promise<void> {
  const group = groupFor(op);
  if (group.worldSize === 1) return;
  const flat = flatten(list);
  const sums = group.allReduce(readFlat(flat), wireOf(flat), how === 'avg' ? 'sum' : how);
  const values = sums.then((all) => [averaged(all, how, group.worldSize)]);
  writeFlats(values, [flat]);
  spread(flat, list);
  flat.dispose();
  await values;
}

/** @internal As {@link reduceInStream}: `list` becomes that of rank `source`. */
export async function broadcastInStream(op: string, list: readonly Tensor[], source: number): Promise<void> {
  const group = groupFor(op);
  group.checkRank(op, source);
  if (group.worldSize === 1) return;
  const sends = group.rank === source;
  const flat = sends ? flatten(list) : blankFor(list);
  const type = wireOf(flat);
  const own = sends ? readFlat(flat) : blankValues(type, flat.numel());
  const values = group.broadcast(own, type, source).then((all) => [all]);
  if (!sends) {
    writeFlats(values, [flat]);
    spread(flat, list);
  }
  flat.dispose();
  await values;
}

const blankValues = (type: WireType, length: number): WireArray =>
  type === 'int32' ? new Int32Array(length) : new Float32Array(length);

const readAllReduce = readReduce('allReduce');

/**
 * `torch.distributed.all_reduce`: every rank's `x`, which are of one shape, becomes their sum (or what `op`
 * says), in place.
 *
 * @throws DistributedError where the ranks call differently, or one is gone
 */
export async function allReduce(x: Tensor, ...args: [options?: ReduceOptions]): Promise<void> {
  checkTensors('allReduce', x);
  const { op } = readAllReduce(args);
  checkReducible('allReduce', x, op);
  await settled(reduceInStream('allReduce', [x], op));
}

const readBroadcast = optionReader('broadcast', { src: 0 }, 'src');

/** `torch.distributed.broadcast`: every rank's `x` becomes that of rank `src` (default 0), in place. */
export async function broadcast(x: Tensor, ...args: [src?: number | { src?: number }]): Promise<void> {
  checkTensors('broadcast', x);
  const { src } = readBroadcast(args);
  groupFor('broadcast').checkRank('broadcast', src);
  await settled(broadcastInStream('broadcast', [x], src));
}

/** The values of `x` now, for a call. */
function given(x: Tensor): { values: Promise<WireArray>; type: WireType } {
  const flat = flatten([x]);
  const values = readFlat(flat);
  const type = wireOf(flat);
  flat.dispose();
  return { values, type };
}

/** `torch.distributed.all_gather`: the ranks' tensors, which are of one shape, by rank. */
export async function allGather(x: Tensor): Promise<Tensor[]> {
  checkTensors('allGather', x);
  const group = groupFor('allGather');
  const { values, type } = given(x);
  const all = await settled(group.allGather(values, type));
  const count = x.numel();
  return Array.from({ length: group.worldSize }, (_, rank) =>
    tensor(all.slice(rank * count, (rank + 1) * count) as Float32Array, { shape: x.shape, dtype: x.dtype }),
  );
}

const readScatter = readReduce('reduceScatter');

/**
 * `torch.distributed.reduce_scatter_tensor`: of the ranks' sum (or what `op` says) of `x` [N, ...] the part
 * of this rank [N / world size, ...].
 */
export async function reduceScatter(x: Tensor, ...args: [options?: ReduceOptions]): Promise<Tensor> {
  checkTensors('reduceScatter', x);
  const { op } = readScatter(args);
  checkReducible('reduceScatter', x, op);
  const group = groupFor('reduceScatter');
  const rows = x.shape[0];
  if (rows === undefined || rows % group.worldSize !== 0)
    throw new Error(
      `reduceScatter: the first dim of ${showShape(x.shape)} must be a multiple of the number of ranks, ${group.worldSize}`,
    );
  const { values, type } = given(x);
  const sums = group.reduceScatter(values, type, op === 'avg' ? 'sum' : op);
  const part = averaged(await settled(sums), op, group.worldSize);
  return tensor(part as Float32Array, {
    shape: [rows / group.worldSize, ...x.shape.slice(1)],
    dtype: x.dtype,
  });
}

/** `torch.distributed.barrier`: waits until all ranks have come here. */
export const barrier = async (): Promise<void> => groupFor('barrier').barrier();

/**
 * `torch.distributed.all_gather_object`: the ranks' values, by rank; anything that `structuredClone` copies
 * (plain data, typed arrays, Maps, NaN among it).
 */
export async function allGatherObject<T>(value: T): Promise<T[]> {
  const all = await groupFor('allGatherObject').allGatherBytes(serialize(value));
  return all.map((bytes) => deserialize(bytes) as T);
}

/** `torch.distributed.broadcast_object_list`, of one: rank `src`'s value, which `structuredClone` copies. */
export async function broadcastObject<T>(value: T, ...args: [src?: number | { src?: number }]): Promise<T> {
  const { src } = readBroadcast(args);
  const group = groupFor('broadcastObject');
  group.checkRank('broadcastObject', src);
  const own = group.rank === src ? serialize(value) : new Uint8Array();
  return deserialize(await group.broadcastBytes(own, src)) as T;
}

/** The processes, as `kindling/train` wants to know them. */
export interface Ranks {
  readonly rank: number;
  readonly worldSize: number;
  allGatherObject<T>(value: T): Promise<T[]>;
  broadcastObject<T>(value: T): Promise<T>;
  /** Rank 0's value, with tensors in it; the others get these on the host. */
  broadcastState(value: unknown): Promise<unknown>;
}

/** @internal */
export function ranksFor(op: string): Ranks {
  const { rank, worldSize } = groupFor(op);
  const broadcastState = async (value: unknown): Promise<unknown> => {
    const packed = await broadcastObject(rank === 0 ? await pack(value) : null);
    return rank === 0 ? value : unpack(packed);
  };
  return {
    ...{ rank, worldSize, allGatherObject, broadcastState },
    broadcastObject: (value) => broadcastObject(value),
  };
}
