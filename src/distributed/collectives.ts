import { copy_, tensor } from '../ops/index.js';
import { noGrad } from '../autograd/mode.js';
import { checkTensors } from '../ops/base/tensors.js';
import { optionReader } from '../tensor/options.js';
import { showShape } from '../tensor/shape.js';
import type { DType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { groupFor } from './process.js';
import type { ReduceOp, WireArray, WireType } from './mpi.js';

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

/** Half precision travels as float32, which sums it exactly as far as float32 does. */
const wires: Readonly<Record<DType, WireType>> = {
  float32: 'float32',
  float16: 'float32',
  int32: 'int32',
  uint8: 'uint8',
  bool: 'uint8',
};

/** The values on the host, to be changed at will. */
async function read(x: Tensor): Promise<WireArray> {
  const values = (await x.data()) as WireArray;
  return values.byteOffset === 0 && values.byteLength === values.buffer.byteLength ? values : values.slice();
}

function write(x: Tensor, values: WireArray): void {
  noGrad(() => {
    const fresh = tensor(values as Float32Array, { shape: x.shape, dtype: x.dtype });
    copy_(x, fresh);
    fresh.dispose();
  });
}

function checkReducible(op: string, x: Tensor, how: string): void {
  if (x.dtype === 'bool' && (how === 'sum' || how === 'avg'))
    throw new Error(
      `${op}: a ${how} of bool has no meaning; use op 'max' for or, 'min' for and, or convert with .int()`,
    );
  if (how === 'avg' && x.dtype !== 'float32' && x.dtype !== 'float16')
    throw new Error(`${op}: 'avg' needs a floating point tensor, got ${x.dtype}; convert it with .float()`);
}

/** @internal The combination of the ranks' values, in place; averages where `how` says so. */
export async function reduceValues(
  op: string,
  values: WireArray,
  type: WireType,
  how: ReduceOp | 'avg',
): Promise<void> {
  const group = groupFor(op);
  await group.allReduce(values, type, how === 'avg' ? 'sum' : how);
  if (how === 'avg') for (let i = 0; i < values.length; i++) (values as Float32Array)[i]! /= group.worldSize;
}

const readAllReduce = readReduce('allReduce');

/**
 * `torch.distributed.all_reduce`: every rank's `x`, which are of one shape, becomes their sum (or what `op` says), in
 * place.
 *
 * @throws DistributedError where the ranks call differently, or one is gone
 */
export async function allReduce(x: Tensor, ...args: [options?: ReduceOptions]): Promise<void> {
  checkTensors('allReduce', x);
  const { op } = readAllReduce(args);
  checkReducible('allReduce', x, op);
  const group = groupFor('allReduce');
  const values = await read(x);
  if (group.worldSize > 1) await reduceValues('allReduce', values, wires[x.dtype], op);
  if (group.worldSize > 1) write(x, values);
}

const readBroadcast = optionReader('broadcast', { src: 0 }, 'src');

/** `torch.distributed.broadcast`: every rank's `x` becomes that of rank `src` (default 0), in place. */
export async function broadcast(x: Tensor, ...args: [src?: number | { src?: number }]): Promise<void> {
  checkTensors('broadcast', x);
  const { src } = readBroadcast(args);
  const values = await read(x);
  const group = groupFor('broadcast');
  await group.broadcast(values, wires[x.dtype], src);
  if (group.rank !== src) write(x, values);
}

const like = (values: WireArray, length: number): WireArray =>
  new (values.constructor as new (n: number) => WireArray)(length);

/** `torch.distributed.all_gather`: the ranks' tensors, which are of one shape, by rank. */
export async function allGather(x: Tensor): Promise<Tensor[]> {
  checkTensors('allGather', x);
  const group = groupFor('allGather');
  const values = await read(x);
  const all = like(values, values.length * group.worldSize);
  await group.allGather(values, all, wires[x.dtype]);
  return Array.from({ length: group.worldSize }, (_, rank) =>
    tensor(all.subarray(rank * values.length, (rank + 1) * values.length) as Float32Array, {
      shape: x.shape,
      dtype: x.dtype,
    }),
  );
}

const readScatter = readReduce('reduceScatter');

/**
 * `torch.distributed.reduce_scatter_tensor`: of the ranks' sum (or what `op` says) of `x` [N, ...] the part of this
 * rank [N / world size, ...].
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
  const values = await read(x);
  const part = like(values, values.length / group.worldSize);
  await group.reduceScatter(values, part, wires[x.dtype], op === 'avg' ? 'sum' : op);
  if (op === 'avg') for (let i = 0; i < part.length; i++) (part as Float32Array)[i]! /= group.worldSize;
  return tensor(part as Float32Array, {
    shape: [rows / group.worldSize, ...x.shape.slice(1)],
    dtype: x.dtype,
  });
}

/** `torch.distributed.barrier`: waits until all ranks have come here. */
export const barrier = async (): Promise<void> => groupFor('barrier').barrier();

/** `torch.distributed.all_gather_object`: the ranks' values, which JSON can hold, by rank. */
export async function allGatherObject<T>(value: T): Promise<T[]> {
  const group = groupFor('allGatherObject');
  const bytes = new Uint8Array(Buffer.from(JSON.stringify(value) ?? 'null'));
  const lengths = new Int32Array(group.worldSize);
  await group.allGather(Int32Array.of(bytes.length), lengths, 'int32');
  const longest = Math.max(...lengths);
  const padded = new Uint8Array(longest);
  padded.set(bytes);
  const all = new Uint8Array(longest * group.worldSize);
  await group.allGather(padded, all, 'uint8');
  return Array.from(lengths, (length, rank) => {
    const own = all.subarray(rank * longest, rank * longest + length);
    return JSON.parse(Buffer.from(own).toString('utf8')) as T;
  });
}

/** `torch.distributed.broadcast_object_list`, of one: rank `src`'s value, which JSON can hold. */
export async function broadcastObject<T>(value: T, ...args: [src?: number | { src?: number }]): Promise<T> {
  const { src } = readBroadcast(args);
  groupFor('broadcastObject').checkRank('broadcastObject', src);
  return (await allGatherObject(groupFor('broadcastObject').rank === src ? value : null))[src] as T;
}
