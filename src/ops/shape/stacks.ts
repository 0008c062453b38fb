import { defineComposite } from '../../autograd/define.js';
import { promoteTypes } from '../../tensor/dtype.js';
import { broadcastShapes as broadcast, showShape, type Shape } from '../../tensor/shape.js';
import { optionReader } from '../../tensor/options.js';
import { isTensor, Tensor } from '../../tensor/tensor.js';
import { aliasOf } from '../base/copies.js';
import { indexSelect } from '../gather/gather.js';
import { cat, pad, stack } from './join.js';
import { expand, flatten, reshape, unsqueeze } from '../base/view.js';
import { to } from '../base/copy.js';

/* Ops that lay several tensors side by side, and give several tensors one shape. */

/** Tensors as one array or one after the other, as PyTorch takes them. */
export type Tensors = Tensor[] | [tensors: readonly Tensor[]];

function tensorsOf(op: string, args: readonly unknown[]): readonly Tensor[] {
  const list: readonly unknown[] = args.length === 1 && Array.isArray(args[0]) ? args[0] : args;
  for (const x of list) {
    if (!isTensor(x))
      throw new Error(`${op}: expected tensors, got ${x === null ? 'null' : typeof x} among them`);
  }
  return list as readonly Tensor[];
}

const toRank = (x: Tensor, rank: 1 | 2 | 3): Tensor => {
  if (x.ndim >= rank) return x;
  if (x.ndim === 0) return reshape(x, new Array<number>(rank).fill(1));
  if (x.ndim === 1) return rank === 2 ? unsqueeze(x, 0) : unsqueeze(unsqueeze(x, 0), 2);
  return unsqueeze(x, 2);
};

/** One tensor gives a tensor, several (or an array) give an array. */
interface AtLeast {
  (x: Tensor): Tensor;
  (tensors: readonly Tensor[]): Tensor[];
  (...tensors: Tensor[]): Tensor[];
}

const atLeast = (op: string, rank: 1 | 2 | 3): AtLeast =>
  ((...args: unknown[]): Tensor | Tensor[] => {
    const all = tensorsOf(op, args).map((x) => toRank(x, rank));
    return args.length === 1 && isTensor(args[0]) ? (all[0] as Tensor) : all;
  }) as AtLeast;

/** `torch.atleast_1d`: a zero-dim tensor gets a dim; views. */
export const atleast1d: AtLeast = atLeast('atleast1d', 1);
/** `torch.atleast_2d`: dims of size 1 in front until there are two; views. */
export const atleast2d: AtLeast = atLeast('atleast2d', 2);
/** `torch.atleast_3d`: [N] becomes [1, N, 1], [M, N] becomes [M, N, 1]; views. */
export const atleast3d: AtLeast = atLeast('atleast3d', 3);

type Stack = (...tensors: Tensors) => Tensor;

const stackAlong = (op: string, rank: 1 | 2 | 3, dimOf: (rank: number) => number): Stack =>
  defineComposite(op, (...args: Tensors): Tensor => {
    const list = tensorsOf(op, args).map((x) => toRank(x, rank));
    const [first] = list;
    if (first === undefined) throw new Error(`${op}: expected at least one tensor`);
    return cat(list, dimOf(first.ndim));
  });

/** `torch.hstack`: beside each other: along dim 1, vectors along dim 0. */
export const hstack: Stack = stackAlong('hstack', 1, (rank) => (rank === 1 ? 0 : 1));
/** `torch.vstack`: below each other, vectors as rows. */
export const vstack: Stack = stackAlong('vstack', 2, () => 0);
/** `torch.dstack`: behind each other, along dim 2. */
export const dstack: Stack = stackAlong('dstack', 3, () => 2);

/** `torch.column_stack`: beside each other, vectors and zero-dim tensors as columns. */
export const columnStack: Stack = defineComposite('columnStack', (...args: Tensors): Tensor => {
  const list = tensorsOf('columnStack', args).map((x) => (x.ndim < 2 ? reshape(x, [x.numel(), 1]) : x));
  return hstack(list);
});

/** `torch.row_stack`: {@link vstack}. */
export { vstack as rowStack };

/** `torch.concat`, `torch.concatenate`: {@link cat}. */
export { cat as concat, cat as concatenate } from './join.js';

/**
 * `torch.block_diag`: matrices along the diagonal of a larger one, zeros elsewhere; vectors count as rows.
 */
export const blockDiag: (...tensors: Tensors) => Tensor = defineComposite(
  'blockDiag',
  (...args: Tensors): Tensor => {
    const blocks = tensorsOf('blockDiag', args).map((x) => toRank(x, 2));
    if (blocks.length === 0) throw new Error('blockDiag: expected at least one tensor');
    for (const { shape } of blocks) {
      if (shape.length !== 2)
        throw new Error(`blockDiag: expected tensors of at most 2 dims, got shape ${showShape(shape)}`);
    }
    const dtype = blocks.map((x) => x.dtype).reduce(promoteTypes);
    const total = blocks.reduce((n, { shape }) => n + (shape[1] as number), 0);
    let before = 0;
    return cat(
      blocks.map((x) => {
        const columns = x.shape[1] as number;
        const row = pad(to(x, dtype), [before, total - before - columns]);
        before += columns;
        return row;
      }),
    );
  },
);

/** `torch.broadcast_shapes`: the shape that all of `shapes` broadcast to. */
export function broadcastShapes(...shapes: readonly Shape[]): number[] {
  for (const shape of shapes)
    if (!Array.isArray(shape))
      throw new Error(`broadcastShapes: expected shapes (arrays of sizes), got ${String(shape)}`);
  return broadcast('broadcastShapes', ...shapes);
}

/** `torch.broadcast_tensors`: views of one shape. */
export function broadcastTensors(...args: Tensors): Tensor[] {
  const list = tensorsOf('broadcastTensors', args);
  const shape = broadcast('broadcastTensors', ...list.map((x) => x.shape));
  return list.map((x) => expand(x, shape));
}

export interface MeshgridOptions {
  /** `'ij'` (the default): the first tensor runs along dim 0; `'xy'`: along dim 1. */
  indexing?: 'ij' | 'xy';
}

const readMeshgrid = optionReader('meshgrid', { indexing: 'ij' as 'ij' | 'xy' });

/** Like {@link Tensors}, with options behind them. */
type MeshgridArgs = Tensors | [...tensors: Tensor[], MeshgridOptions] | [readonly Tensor[], MeshgridOptions];

/** `torch.meshgrid`: coordinates of a grid from the coordinates along its dims; views of one shape. */
export function meshgrid(...args: MeshgridArgs): Tensor[] {
  const last = args[args.length - 1];
  const hasOptions = !isTensor(last) && !Array.isArray(last);
  const { indexing } = readMeshgrid(hasOptions ? [last] : []);
  const axes = tensorsOf('meshgrid', hasOptions ? args.slice(0, -1) : args);
  if (axes.length === 0) throw new Error('meshgrid: expected at least one tensor');
  for (const { ndim, shape } of axes) {
    if (ndim > 1) throw new Error(`meshgrid: expected vectors, got shape ${showShape(shape)}`);
  }
  if (indexing !== 'ij' && indexing !== 'xy')
    throw new Error(`meshgrid: indexing must be 'ij' or 'xy', got '${String(indexing)}'`);
  const place = axes.map((_, i) => i);
  if (indexing === 'xy' && axes.length > 1) [place[0], place[1]] = [1, 0];
  const shape = new Array<number>(axes.length);
  axes.forEach((x, i) => (shape[place[i] as number] = x.numel()));
  return axes.map((x, i) =>
    expand(
      reshape(
        x,
        shape.map((size, d) => (d === place[i] ? size : 1)),
      ),
      shape,
    ),
  );
}

/** `torch.cartesian_prod`: all combinations of one element of each vector, a row each. */
export const cartesianProd: (...tensors: Tensors) => Tensor = defineComposite(
  'cartesianProd',
  (...args: Tensors): Tensor => {
    const list = tensorsOf('cartesianProd', args);
    for (const { shape } of list) {
      if (shape.length !== 1)
        throw new Error(`cartesianProd: expected vectors, got shape ${showShape(shape)}`);
    }
    if (list.length === 1) return aliasOf(list[0] as Tensor);
    return stack(
      meshgrid(list).map((x) => flatten(x)),
      1,
    );
  },
);

const readCombinations = optionReader(
  'combinations',
  { r: 2, withReplacement: false },
  'r',
  'withReplacement',
);

/** Rising lists of `r` of the numbers below `n`, one after the other. */
function rising(n: number, r: number, repeats: boolean): number[] {
  const out: number[] = [];
  const chosen: number[] = [];
  const go = (from: number): void => {
    if (chosen.length === r) {
      out.push(...chosen);
      return;
    }
    for (let i = from; i < n; i++) {
      chosen.push(i);
      go(repeats ? i : i + 1);
      chosen.pop();
    }
  };
  go(0);
  return out;
}

/** `torch.combinations`: all choices of `r` elements of a vector (default 2), a row each. */
export const combinations: (
  x: Tensor,
  r?: number | { r?: number; withReplacement?: boolean },
  options?: { withReplacement?: boolean },
) => Tensor = defineComposite('combinations', (x: Tensor, ...args: unknown[]): Tensor => {
  const { r, withReplacement } = readCombinations(args);
  if (x.ndim !== 1) throw new Error(`combinations: expected a vector, got shape ${showShape(x.shape)}`);
  if (!Number.isInteger(r) || r < 0)
    throw new Error(`combinations: r must be an integer of 0 or more, got ${r}`);
  if (r === 0) return Tensor.empty([0], x.dtype, 'combinations');
  const list = rising(x.numel(), r, withReplacement);
  return reshape(indexSelect(x, 0, Tensor.fromHost(list, [list.length], 'int32')), [-1, r]);
});
