import { defineComposite } from '../../autograd/define.js';
import { argumentReader, type Needed } from '../../tensor/options.js';
import { showShape } from '../../tensor/shape.js';
import type { Tensor } from '../../tensor/tensor.js';
import { contiguous } from '../base/copy.js';
import { permute, reshape } from '../base/view.js';

/* Channels that become pixels, pixels that become channels, and channels in another order. */

type Shuffle<Name extends string> = (x: Tensor, ...args: Needed<[factor: number], [Name]>) => Tensor;

function readFactor(op: string, what: string, args: readonly unknown[]): number {
  const [factor] = argumentReader<[factor: number]>(op, what)(args);
  if (!Number.isInteger(factor) || factor < 1)
    throw new Error(`${op}: ${what} must be an integer of at least 1, got ${String(factor)}`);
  return factor;
}

/** The leading dims and the last three of an input of at least three. */
function parts(op: string, x: Tensor): [lead: readonly number[], c: number, h: number, w: number] {
  if (x.ndim < 3)
    throw new Error(`${op}: expected an input of shape [..., C, H, W], got ${showShape(x.shape)}`);
  const [c, h, w] = x.shape.slice(-3) as [number, number, number];
  return [x.shape.slice(0, -3), c, h, w];
}

/** Reorders the last dims of `x`, seen as `split`, and joins them to `joined`. */
function regrouped(
  x: Tensor,
  lead: readonly number[],
  split: readonly number[],
  order: readonly number[],
  joined: readonly number[],
): Tensor {
  const n = lead.length;
  const dims = [...lead.map((_, i) => i), ...order.map((d) => n + d)];
  return contiguous(reshape(permute(reshape(x, [...lead, ...split]), dims), [...lead, ...joined]));
}

/**
 * `torch.nn.functional.pixel_shuffle` (Shi et al. 2016): `x` [..., C r^2, H, W] as [..., C, H r, W r], `r`
 * being `upscaleFactor`.
 */
export const pixelShuffle: Shuffle<'upscaleFactor'> = defineComposite(
  'pixelShuffle',
  (x: Tensor, ...args: Needed<[factor: number], ['upscaleFactor']>): Tensor => {
    const upscaleFactor = readFactor('pixelShuffle', 'upscaleFactor', args);
    const [lead, c, h, w] = parts('pixelShuffle', x);
    const r = upscaleFactor;
    if (c % (r * r) !== 0)
      throw new Error(`pixelShuffle: ${c} channels of ${showShape(x.shape)} do not divide by ${r}^2`);
    return regrouped(x, lead, [c / (r * r), r, r, h, w], [0, 3, 1, 4, 2], [c / (r * r), h * r, w * r]);
  },
);

/** `torch.nn.functional.pixel_unshuffle`: the inverse of {@link pixelShuffle}. */
export const pixelUnshuffle: Shuffle<'downscaleFactor'> = defineComposite(
  'pixelUnshuffle',
  (x: Tensor, ...args: Needed<[factor: number], ['downscaleFactor']>): Tensor => {
    const downscaleFactor = readFactor('pixelUnshuffle', 'downscaleFactor', args);
    const [lead, c, h, w] = parts('pixelUnshuffle', x);
    const r = downscaleFactor;
    if (h % r !== 0 || w % r !== 0)
      throw new Error(`pixelUnshuffle: height and width of ${showShape(x.shape)} do not divide by ${r}`);
    return regrouped(x, lead, [c, h / r, r, w / r, r], [0, 2, 4, 1, 3], [c * r * r, h / r, w / r]);
  },
);

/**
 * `torch.nn.functional.channel_shuffle` (Zhang et al. 2018): channel `j` of each of `groups` groups of `x`
 * [N, C, ...] one after another.
 */
export const channelShuffle: Shuffle<'groups'> = defineComposite(
  'channelShuffle',
  (x: Tensor, ...args: Needed<[factor: number], ['groups']>): Tensor => {
    const groups = readFactor('channelShuffle', 'groups', args);
    const [n, c] = x.shape as [number, number];
    if (x.ndim < 3)
      throw new Error(`channelShuffle: expected an input of shape [N, C, ...], got ${showShape(x.shape)}`);
    if (c % groups !== 0)
      throw new Error(
        `channelShuffle: the ${c} channels of ${showShape(x.shape)} do not divide into ${groups} groups`,
      );
    const rest = x.shape.slice(2);
    const order = [1, 0, ...rest.map((_, i) => i + 2)];
    return regrouped(x, [n], [groups, c / groups, ...rest], order, [c, ...rest]);
  },
);
