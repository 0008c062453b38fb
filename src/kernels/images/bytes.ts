/**
 * Packed images to a batch of floats, channels-last: crop, mirrors and what bytes stand for in one launch.
 * What a byte stands for is looked up, not computed: the host has rounded it as PyTorch does, so that the
 * bits are the same on every adapter (WGSL lets a division be off by 2.5 units in the last place).
 */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel } from '../base/kernel.js';
import {
  bindElements,
  bytesOf,
  ceilDiv,
  type Elem,
  type Launch,
  type Plan,
  type PlanLimits,
} from '../base/plan.js';
import { reads, shader, writes } from '../base/shader.js';
import { placeWords, tableWords, type PackedImages } from './packed.js';

const group = 64;

/** An invocation writes `width` neighbours of a row of one image. */
function bytesKernel(channels: number, elem: Elem, width: 1 | 4): Kernel {
  const values = Array.from({ length: width }, (_, k) => `valueAt(row, first + ${k}u)`);
  const halves = (low: string, high: string): string => `${low} | (${high} << 16u)`;
  const [stored, value] =
    width === 1
      ? elem === 'f32'
        ? ['u32', values[0]!]
        : ['f16', `bitcast<vec2<f16>>(${values[0]!}).x`]
      : elem === 'f32'
        ? ['vec4<u32>', `vec4<u32>(${values.join(', ')})`]
        : ['vec2<u32>', `vec2<u32>(${halves(values[0]!, values[1]!)}, ${halves(values[2]!, values[3]!)})`];
  return memoKernel(`imagesToTensor:${channels}:${elem}:${width}`, () => ({
    name: 'imagesToTensor',
    params: (['items', 'outH', 'outW', 'placesAt', 'bytesFrom', 'yAt'] as const).map((p) => [p, 'u32']),
    ...shader({
      bindings: [reads('head', 'u32'), reads('bytes', 'u32'), writes('y', stored)],
      functions: `
const channels = ${channels}u;
struct Row { start: u32, width: u32, left: u32, fill: u32, inside: bool, mirrored: bool }
// The bits of element i of a row of the result. Columns left of the image are large numbers.
fn valueAt(row: Row, i: u32) -> u32 {
  let across = i / channels;
  let channel = i - across * channels;
  let x = select(across, p.outW - 1u - across, row.mirrored) + row.left;
  var byte = (row.fill >> (8u * channel)) & 255u;
  if (row.inside && x < row.width) {
    let at = row.start + x * channels + channel;
    byte = (bytes[at >> 2u] >> (8u * (at & 3u))) & 255u;
  }
  return head[channel * 256u + byte];
}`,
      workgroup: group,
      builtins: ['wid', 'nwg', 'lid'],
      body: `
  let item = ${linearWorkgroup} * ${group}u + lid;
  if (item >= p.items * p.outH) { return; }
  let down = item / p.items;
  let first = (item - down * p.items) * ${width}u;
  let place = p.placesAt + wid.z * ${placeWords}u;
  let flags = head[place + 5u];
  let sourceY = select(down, p.outH - 1u - down, (flags & 2u) != 0u) + head[place + 3u];
  let sourceWidth = head[place + 2u];
  let row = Row(head[place] - p.bytesFrom + sourceY * sourceWidth * channels, sourceWidth, head[place + 4u],
    head[place + 6u], sourceY < head[place + 1u], (flags & 1u) != 0u);
  y[p.yAt + wid.z * p.items * p.outH + item] = ${value};`,
    }),
  }));
}

/** Buffers `packed` (the block of words) and `y` [n, c, h, w], stored [n][row][column][c]. */
export function planBytes(limits: PlanLimits, { packed, shape, dtype }: PackedImages): Plan {
  const [n, channels, outH, outW] = shape;
  const elem = dtype === 'float16' ? 'f16' : 'f32';
  const width = (outW * channels) % 4 === 0 ? 4 : 1;
  const items = (outW * channels) / width;
  const kernel = bytesKernel(channels, elem, width);
  const places = tableWords(channels);
  const head = places + placeWords * n;
  const firstByte = (image: number): number =>
    image < n ? packed[places + placeWords * image]! : packed.byteLength;
  const perImage = outH * outW * channels;
  const room = limits.maxBinding - limits.offsetAlignment;
  const mostOut = Math.min(65535, Math.floor(room / (perImage * bytesOf(elem))));
  if (mostOut < 1 || 4 * head > limits.maxBinding) {
    throw new RangeError(
      `imagesToTensor: ${mostOut < 1 ? `an image of ${channels} x ${outH} x ${outW}` : `${n} images`} needs more ` +
        `than a binding of this adapter (${limits.maxBinding} bytes); use ${mostOut < 1 ? 'smaller crops' : 'a smaller batch'}`,
    );
  }
  const launches: Launch[] = [];
  for (let first = 0, last: number; first < n; first = last) {
    last = Math.min(first + mostOut, n);
    // Words that the images touch; there are fewer bytes than elements of the result.
    const from = Math.floor(firstByte(first) / 4);
    const until = Math.ceil(firstByte(last) / 4);
    const bytes = bindElements('packed', from, until - from, 'f32', limits);
    const y = bindElements('y', first * perImage, (last - first) * perImage, elem, limits);
    launches.push({
      kernel,
      buffers: [{ name: 'packed', offset: 0, size: 4 * head }, bytes.ref, y.ref],
      params: [items, outH, outW, places + placeWords * first, 4 * (from - bytes.offset), y.offset / width],
      grid: foldGrid(ceilDiv(items * outH, group), last - first),
    });
  }
  return { launches, workspaces: {} };
}
