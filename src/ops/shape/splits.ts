import { checkCount } from '../../tensor/options.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import { isTensor, type Tensor } from '../../tensor/tensor.js';
import { readAlong, type AlongArgs } from '../base/along.js';
import { clone } from '../base/copy.js';
import { narrow, slice, split, unsafeSplit } from '../base/view.js';

/* Several views of one tensor, beside `split`, `chunk` and `unbind`. */

/** How many parts, or where each part but the first begins. */
export type Sections = number | readonly number[];

function parts(op: string, x: Tensor, sections: Sections, d: number): Tensor[] {
  const size = x.shape[d];
  if (size === undefined) throw new Error(`${op}: a zero-dim tensor cannot be split`);
  if (typeof sections !== 'number') {
    if (!Array.isArray(sections) || !sections.every(Number.isInteger))
      throw new Error(`${op}: expected a number of parts or an array of indices, got ${String(sections)}`);
    const bounds = [0, ...(sections as readonly number[]), size];
    return bounds.slice(1).map((end, i) => slice(x, d, bounds[i], end));
  }
  if (!Number.isInteger(sections) || sections < 1)
    throw new Error(`${op}: the number of parts must be a positive integer, got ${sections}`);
  const [least, longer] = [Math.floor(size / sections), size % sections];
  let at = 0;
  return Array.from({ length: sections }, (_, i) => {
    const length = least + (i < longer ? 1 : 0);
    return narrow(x, d, (at += length) - length, length);
  });
}

const readSections = async (sections: Tensor): Promise<Sections> => {
  if (sections.ndim > 1 || sections.dtype !== 'int32')
    throw new Error(
      `tensorSplit: expected indices as a vector or a count as a zero-dim tensor, int32, got shape ${showShape(sections.shape)} (${sections.dtype})`,
    );
  return sections.ndim === 0 ? sections.item() : Array.from(await sections.data());
};

/**
 * `torch.tensor_split`: so many parts along `dim`, of sizes that differ by at most 1, or parts that begin at
 * the given indices; views. A tensor of indices must be read first, so that it gives a promise.
 */
export function tensorSplit(x: Tensor, sections: Sections, ...args: AlongArgs): Tensor[];
export function tensorSplit(x: Tensor, sections: Tensor, ...args: AlongArgs): Promise<Tensor[]>;
export function tensorSplit(
  x: Tensor,
  sections: Sections | Tensor,
  ...args: AlongArgs
): Tensor[] | Promise<Tensor[]> {
  const d = normalizeDim('tensorSplit', readAlong('tensorSplit', args), x.ndim);
  if (!isTensor(sections)) return parts('tensorSplit', x, sections, d);
  return readSections(sections).then((known) => parts('tensorSplit', x, known, d));
}

/** As {@link tensorSplit} along a dim of its own; a count must divide the size. */
const splitAlong =
  (op: string, rank: number, dimOf: (rank: number) => number) =>
  (...args: [x: Tensor, sections: Sections]): Tensor[] => {
    checkCount(op, args.length, 2);
    const [x, sections] = args;
    if (x.ndim < rank)
      throw new Error(`${op}: expected at least ${rank} dims, got shape ${showShape(x.shape)}`);
    const d = dimOf(x.ndim);
    if (typeof sections === 'number' && (x.shape[d] as number) % sections !== 0) {
      throw new Error(
        `${op}: ${sections} parts do not divide dim ${d} of shape ${showShape(x.shape)}; tensorSplit() gives unequal ones`,
      );
    }
    return parts(op, x, sections, d);
  };

/** `torch.hsplit`: {@link tensorSplit} into equal parts along dim 1 (a vector's dim 0). */
export const hsplit: (x: Tensor, sections: Sections) => Tensor[] = splitAlong('hsplit', 1, (rank) =>
  rank === 1 ? 0 : 1,
);
/** `torch.vsplit`: {@link tensorSplit} into equal parts along dim 0. */
export const vsplit: (x: Tensor, sections: Sections) => Tensor[] = splitAlong('vsplit', 2, () => 0);
/** `torch.dsplit`: {@link tensorSplit} into equal parts along dim 2. */
export const dsplit: (x: Tensor, sections: Sections) => Tensor[] = splitAlong('dsplit', 3, () => 2);

/** `torch.split_with_sizes`: {@link split} into parts of these sizes. */
export function splitWithSizes(x: Tensor, sizes: readonly number[], ...args: AlongArgs): Tensor[] {
  if (!Array.isArray(sizes)) throw new Error('splitWithSizes: expected an array of sizes');
  return split(x, sizes, ...args);
}

/** `torch.unsafe_split_with_sizes`: `unsafeSplit` into parts of these sizes. */
export function unsafeSplitWithSizes(x: Tensor, sizes: readonly number[], ...args: AlongArgs): Tensor[] {
  if (!Array.isArray(sizes)) throw new Error('unsafeSplitWithSizes: expected an array of sizes');
  return unsafeSplit(x, sizes, ...args);
}

/** `torch.narrow_copy`: `narrow` as a copy. */
export function narrowCopy(x: Tensor, dim: number, start: number, length: number): Tensor {
  checkCount('narrowCopy', arguments.length, 4);
  return clone(narrow(x, dim, start, length), { memoryFormat: 'contiguous' });
}
