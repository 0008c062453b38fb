import type { Tensor } from '../../tensor/tensor.js';
import { rowMajor } from './copies.js';
import { permute, view } from './view.js';

/** @internal Volumes [N, C, D, H, W] as images [N D, C, H, W] with the channels innermost in memory. */
export function slicesOf(volumes: Tensor): Tensor {
  const [n, c, d, h, w] = volumes.shape as [number, number, number, number, number];
  return permute(view(rowMajor(permute(volumes, 0, 2, 3, 4, 1)), n * d, h, w, c), 0, 3, 1, 2);
}

/** @internal Channels-last images [N D, C, H, W] as volumes [N, C, D, H, W], without a copy. */
export function volumesOf(slices: Tensor, d: number): Tensor {
  const [nd, c, h, w] = slices.shape as [number, number, number, number];
  return permute(view(permute(slices, 0, 2, 3, 1), nd / d, d, h, w, c), 0, 4, 1, 2, 3);
}
