import { checkTensors } from '../base/tensors.js';
import { defineComposite } from '../../autograd/define.js';
import { normalizeDim, showShape } from '../../tensor/shape.js';
import {
  checkCount,
  type Needed,
  optionReader,
  required,
  requireNumber,
  type Trailing,
} from '../../tensor/options.js';
import type { Tensor } from '../../tensor/tensor.js';
import { aliasOf } from '../base/copies.js';
import { clone, contiguous } from '../base/copy.js';
import { diagEmbed } from './diagonal.js';
import { flip, pad } from './join.js';
import { permute, reshape, transpose } from '../base/view.js';

/* Elements of one tensor in another order: turned or laid flat. */

/** `torch.ravel`: all elements in one dim; a view of a contiguous tensor, else a copy. */
export function ravel(x: Tensor): Tensor {
  checkTensors('ravel', x);
  checkCount('ravel', arguments.length, 1);
  return reshape(contiguous(x), [-1]);
}

/** `torch.fliplr`: reverses dim 1. */
export function fliplr(x: Tensor): Tensor {
  checkTensors('fliplr', x);
  checkCount('fliplr', arguments.length, 1);
  if (x.ndim < 2) throw new Error(`fliplr: expected at least 2 dims, got shape ${showShape(x.shape)}`);
  return flip(x, 1);
}

/** `torch.flipud`: reverses dim 0. */
export function flipud(x: Tensor): Tensor {
  checkTensors('flipud', x);
  checkCount('flipud', arguments.length, 1);
  if (x.ndim < 1) throw new Error('flipud: expected at least one dim, got a zero-dim tensor');
  return flip(x, 0);
}

const readRot90 = optionReader('rot90', { k: 1, dims: [0, 1] as readonly number[] }, 'k', 'dims');

/** `torch.rot90`: `k` quarter turns in the plane of two dims, from the first to the second; a copy. */
export const rot90: (
  x: Tensor,
  ...args: Trailing<[k: number, dims: readonly number[]], { k?: number; dims?: readonly number[] }>
) => Tensor = defineComposite('rot90', (x: Tensor, ...args: readonly unknown[]): Tensor => {
  const { k, dims } = readRot90(args);
  if (!Number.isInteger(k)) throw new Error(`rot90: k must be an integer, got ${String(k)}`);
  if (!Array.isArray(dims)) throw new Error(`rot90: dims must be a list of two, got ${String(dims)}`);
  const [a, b] = (dims as readonly number[]).map((d) => normalizeDim('rot90', d, x.ndim));
  if (dims.length !== 2 || a === undefined || b === undefined || a === b)
    throw new Error(
      `rot90: expected two different dims of shape ${showShape(x.shape)}, got ${showShape(dims)}`,
    );
  const turns = ((k % 4) + 4) % 4;
  if (turns === 0) return clone(x);
  if (turns === 2) return flip(x, [a, b]);
  return transpose(flip(x, turns === 1 ? b : a), a, b);
});

const readPad = optionReader(
  'constantPadNd',
  { pad: required<readonly number[]>(), value: 0 },
  'pad',
  'value',
);

/** `torch.constant_pad_nd`: {@link pad} with `value` (default 0). */
export const constantPadNd = (
  x: Tensor,
  ...args: Needed<[pad: readonly number[]], ['pad'], [value: number], { value?: number }>
): Tensor => {
  const { pad: amounts, value } = readPad(args);
  return pad(x, amounts, { value: requireNumber('constantPadNd: value', value) });
};

/** `torch.adjoint`: the last two dims swapped (there are no complex numbers to conjugate); a view. */
export function adjoint(x: Tensor): Tensor {
  checkTensors('adjoint', x);
  checkCount('adjoint', arguments.length, 1);
  return matrixTranspose('adjoint', x);
}

/** `Tensor.mT`, `Tensor.mH`: a zero-dim tensor as it is, else the last two dims swapped. */
export function matrixTranspose(op: string, x: Tensor): Tensor {
  if (x.ndim === 0) return aliasOf(x);
  if (x.ndim === 1)
    throw new Error(`${op}: expected a matrix or a batch of them, got shape ${showShape(x.shape)}`);
  return transpose(x, -2, -1);
}

/** `Tensor.T`: the dims in reverse order. `Tensor.H`: of a matrix or a zero-dim tensor only. */
export function reversed(op: string, x: Tensor): Tensor {
  if (op === 'H' && x.ndim !== 2 && x.ndim !== 0)
    throw new Error(`H: expected a matrix, got shape ${showShape(x.shape)}; use mH for a batch of them`);
  return permute(x, x.shape.map((_, d) => d).reverse());
}

const readDiagflat = optionReader('diagflat', { offset: 0 }, 'offset');

/** `torch.diagflat`: a matrix with all elements of `x` as its diagonal. */
export function diagflat(x: Tensor, offsetOrOptions?: number | { offset?: number }): Tensor {
  checkTensors('diagflat', x);
  checkCount('diagflat', arguments.length, 2);
  const { offset } = readDiagflat([offsetOrOptions]);
  return diagEmbed(reshape(x, [-1]), offset);
}
