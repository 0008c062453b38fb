import { isFloatingPoint, promoteTypes } from '../../tensor/dtype.js';
import { numel, showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { to } from '../base/copy.js';
import { matmul } from './matmul.js';
import { mul } from '../pointwise/pointwise.js';
import { sumDims } from '../base/sum-to.js';
import { permute, reshape, squeeze } from '../base/view.js';

/*
 * Products of tensors whose dims have labels: dims with the same label run together, and those whose label
 * is not kept are summed over. Everything comes down to views, sums and batched matrix products.
 */

export type Label = string | number;

/** A tensor with one label per dim, no label twice. */
export interface Labelled {
  readonly x: Tensor;
  readonly labels: readonly Label[];
}

/**
 * Operands made ready: in a dtype that all of them fit (integers and bool as int32, as in {@link matmul}),
 * and without dims of size 1 that broadcast along a label. The sizes are those of the labels.
 */
export function settle(
  op: string,
  terms: readonly Labelled[],
): [terms: Labelled[], sizes: Map<Label, number>] {
  const sizes = new Map<Label, number>();
  for (const { x, labels } of terms) {
    labels.forEach((label, d) => {
      const [size, seen] = [x.shape[d] as number, sizes.get(label) ?? 1];
      if (size !== seen && size !== 1 && seen !== 1) {
        throw new Error(
          `${op}: shapes ${terms.map((term) => showShape(term.x.shape)).join(' and ')} do not fit: dims that run together ` +
            `have sizes ${seen} and ${size}`,
        );
      }
      if (size !== 1 || seen === 1) sizes.set(label, size);
    });
  }
  const common = terms.map(({ x }) => x.dtype).reduce(promoteTypes);
  const dtype = terms.length === 1 || isFloatingPoint(common) ? common : 'int32';
  const settled = terms.map(({ x, labels }) => {
    const isWhole = (label: Label, d: number): boolean => x.shape[d] === sizes.get(label);
    const keep = labels.filter(isWhole);
    const drop = labels.flatMap((label, d) => (isWhole(label, d) ? [] : [d]));
    return { x: to(drop.length === 0 ? x : squeeze(x, drop), dtype), labels: keep };
  });
  return [settled, sizes];
}

/** `term` summed over the labels that are not in `kept`. */
export function sumOut({ x, labels }: Labelled, kept: ReadonlySet<Label>): Labelled {
  const dims = labels.flatMap((label, d) => (kept.has(label) ? [] : [d]));
  if (dims.length === 0) return { x, labels };
  return { x: sumDims(x, dims, false), labels: labels.filter((label) => kept.has(label)) };
}

/** `x` with its dims in another order of its labels. */
export const ordered = ({ x, labels }: Labelled, order: readonly Label[]): Tensor =>
  permute(
    x,
    order.map((label) => labels.indexOf(label)),
  );

/** The product of two settled operands, summed over the labels that are not in `kept`. */
export function contractPair(a: Labelled, b: Labelled, kept: ReadonlySet<Label>): Labelled {
  const left = sumOut(a, new Set([...kept, ...b.labels]));
  const right = sumOut(b, new Set([...kept, ...a.labels]));
  const shared = left.labels.filter((label) => right.labels.includes(label));
  const batch = shared.filter((label) => kept.has(label));
  const inner = shared.filter((label) => !kept.has(label));
  const rows = left.labels.filter((label) => !shared.includes(label));
  const columns = right.labels.filter((label) => !shared.includes(label));
  const labels = [...batch, ...rows, ...columns];
  const sizesOf = ({ x, labels: own }: Labelled, some: readonly Label[]): number[] =>
    some.map((label) => x.shape[own.indexOf(label)] as number);
  const [batchSizes, rowSizes, columnSizes] = [
    sizesOf(left, batch),
    sizesOf(left, rows),
    sizesOf(right, columns),
  ];
  if (inner.length === 0) {
    // Nothing to sum: broadcasting does it.
    const x = reshape(ordered(left, [...batch, ...rows]), [
      ...batchSizes,
      ...rowSizes,
      ...columns.map(() => 1),
    ]);
    const y = reshape(ordered(right, [...batch, ...columns]), [
      ...batchSizes,
      ...rows.map(() => 1),
      ...columnSizes,
    ]);
    return { x: mul(x, y), labels };
  }
  const [n, m, k, p] = [batchSizes, rowSizes, sizesOf(left, inner), columnSizes].map(numel) as [
    number,
    number,
    number,
    number,
  ];
  const product = matmul(
    reshape(ordered(left, [...batch, ...rows, ...inner]), [n, m, k]),
    reshape(ordered(right, [...batch, ...inner, ...columns]), [n, k, p]),
  );
  return { x: reshape(product, [...batchSizes, ...rowSizes, ...columnSizes]), labels };
}
