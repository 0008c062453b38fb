/** Between the GPU's stream of commands and the ranks: values go out and come back in their place in it. */
import { hostSteps } from '../device/index.js';
import { cat, copy_, detach, flatten as flattenDims, reshape, split, to } from '../ops/index.js';
import { noGrad } from '../autograd/mode.js';
import { decode, type DType } from '../tensor/dtype.js';
import { Tensor } from '../tensor/tensor.js';
import type { WireArray, WireType } from './mpi.js';

/** What a dtype is on the wire; half precision travels as float32, which sums it at least as exactly. */
export const wires: Readonly<Record<DType, 'float32' | 'int32'>> = {
  float32: 'float32',
  float16: 'float32',
  int32: 'int32',
  uint8: 'int32',
  bool: 'int32',
};

/** The values of `list`, of one dtype, one after another in memory of their own. */
export function flatten(list: readonly Tensor[]): Tensor {
  return noGrad(() => {
    const type = wires[(list[0] as Tensor).dtype];
    return cat(list.map((x) => to(flattenDims(detach(x)), type))).keep();
  });
}

/** Puts the values of `flat` back into `list`. */
export function spread(flat: Tensor, list: readonly Tensor[]): void {
  noGrad(() => {
    const parts = split(
      flat,
      list.map((x) => x.numel()),
    );
    parts.forEach((part, i) => {
      const target = list[i] as Tensor;
      copy_(target, to(reshape(part, target.shape), target.dtype));
    });
  });
}

/** The values of `flat` at this point of the stream, on the host. */
export async function readFlat(flat: Tensor): Promise<WireArray> {
  const bytes = 4 * flat.numel();
  const { dtype } = flat;
  return decode(await hostSteps().read(flat.deviceBuffer, 0, bytes), dtype, bytes / 4) as WireArray;
}

/** At this point of the stream each of `flats` takes its `values`. */
export function writeFlats(values: Promise<readonly WireArray[]>, flats: readonly Tensor[]): void {
  for (const flat of flats) flat.storage.beginWrite('distributed');
  hostSteps().step(
    values,
    flats.map((flat) => ({ buffer: flat.deviceBuffer, offset: 0, bytes: 4 * flat.numel() })),
  );
}

/** Memory for `list` that is to be written. */
export const blankFor = (list: readonly Tensor[]): Tensor =>
  Tensor.empty(
    [list.reduce((sum, x) => sum + x.numel(), 0)],
    wires[(list[0] as Tensor).dtype],
    'distributed',
  ).keep();

export const wireOf = (x: Tensor): WireType => wires[x.dtype];

/** Lists of one dtype each. */
export function byType(tensors: Iterable<Tensor>): Tensor[][] {
  const lists = new Map<DType, Tensor[]>();
  for (const x of new Set(tensors)) {
    if (x.numel() === 0) continue;
    const list = lists.get(x.dtype);
    if (list === undefined) lists.set(x.dtype, [x]);
    else list.push(x);
  }
  return [...lists.values()];
}
