/**
 * What the kernels over channels-last images share (pooling, interpolation): lanes along the channels, a
 * thread per pixel and lane, and launches that cover a batch in as many ranges as the binding limit asks for.
 */
import { memoKernel, type Kernel, type ParamField } from '../base/kernel.js';
import { reads, shader, writes } from '../base/shader.js';
import {
  bindElements,
  bytesOf,
  ceilDiv,
  type BufferRef,
  type Elem,
  type Launch,
  type Plan,
  type PlanLimits,
} from '../base/plan.js';

/** x [n, c, h, w] -> y [n, c, outH, outW], both stored [n][row][column][c]. */
export interface ImageProblem {
  readonly elem: Elem;
  readonly n: number;
  readonly c: number;
  readonly h: number;
  readonly w: number;
  readonly outH: number;
  readonly outW: number;
}

/** Types and helpers of a kernel over lanes of one width. */
function laneText(width: 1 | 4, elem: Elem): string {
  const wide = (t: string): string => (width === 4 ? `vec4<${t}>` : t);
  return `
alias T = ${wide('f32')};
alias U = ${wide('u32')};
alias B = ${wide('bool')};
alias S = ${wide(elem)};
fn isNan(x: T) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u); }
${
  width === 4
    ? `fn pack(t: U) -> u32 { return t.x | (t.y << 8u) | (t.z << 16u) | (t.w << 24u); }
fn unpack(t: u32) -> U { return (U(t) >> U(0u, 8u, 16u, 24u)) & U(255u); }`
    : `fn pack(t: U) -> u32 { return t; }
fn unpack(t: u32) -> U { return t; }`
}`;
}

const group = 64;

/** Thread = (lane and column, row, image); `columns` and `rows` are of what it writes. */
export const threadText = (
  columns: string,
  name: 'o' | 'i' | 'b',
): string => `  if (gid.x >= ${columns} * p.lanes) { return; }
  let ${name}x = gid.x / p.lanes;
  let lane = gid.x - ${name}x * p.lanes;
  let ${name}y = gid.y;`;

/** Item of output pixel (oy, ox), and of input pixel (iy, ix), of the thread's image and lane. */
export const outputItem = '((gid.z * p.outH + oy) * p.outW + ox) * p.lanes + lane';
export const inputItem = '((gid.z * p.h + iy) * p.w + ix) * p.lanes + lane';

/** A buffer of so many items per image, each of `width` elements. */
export interface Operand {
  readonly name: string;
  readonly items: number;
  readonly width: 1 | 4;
  readonly stored: Elem | 'u32' | 'i32';
  readonly write: boolean;
}

/** The input-sized or output-sized buffer of a problem. */
export function operand(
  problem: ImageProblem,
  name: string,
  side: 'in' | 'out',
  width: 1 | 4,
  write = false,
): Operand {
  const pixels = side === 'in' ? problem.h * problem.w : problem.outH * problem.outW;
  return { name, items: (pixels * problem.c) / width, width, stored: problem.elem, write };
}

export interface ImageKernel {
  readonly key: string;
  readonly name: string;
  readonly operands: readonly Operand[];
  readonly functions?: () => string;
  /** Begins with {@link threadText}; sees the operands and their first items as `p.<name>At`. */
  readonly body: () => string;
  /** Further launch parameters. */
  readonly params?: readonly (readonly [...ParamField, number])[];
  /** Threads per image: along the lanes and columns, and along rows. */
  readonly across: number;
  readonly down: number;
}

/** Dispatches over all images, in as many launches as the binding limit asks for. */
export function planImages(problem: ImageProblem, limits: PlanLimits, width: 1 | 4, spec: ImageKernel): Plan {
  const { n, c, h, w, outH, outW, elem } = problem;
  const { operands, params = [] } = spec;
  const kernel: Kernel = memoKernel(`${spec.name}:${elem}:${width}:${spec.key}`, () => ({
    name: spec.name,
    params: [
      ...(['lanes', 'h', 'w', 'outH', 'outW'] as const).map((field) => [field, 'u32'] as const),
      ...params.map(([name, type]) => [name, type] as const),
      ...operands.map(({ name }) => [`${name}At`, 'u32'] as const),
    ],
    ...shader({
      bindings: operands.map(({ name, width: wide, stored, write }) =>
        (write ? writes : reads)(name, wide === 4 ? `vec4<${stored}>` : stored),
      ),
      functions: `${laneText(width, elem)}\n${spec.functions?.() ?? ''}`,
      workgroup: group,
      builtins: ['gid'],
      body: spec.body(),
    }),
  }));
  const unit = (o: Operand): Elem => (o.stored === 'f16' ? 'f16' : 'f32');
  const bytes = (o: Operand): number => o.items * o.width * bytesOf(unit(o));
  const fit = operands.map((o) => Math.floor((limits.maxBinding - limits.offsetAlignment) / bytes(o)));
  const most = Math.min(65535, ...fit);
  if (most < 1) {
    throw new RangeError(
      `${spec.name}: one image of ${c}x${h}x${w} is larger than a binding of this adapter (${limits.maxBinding} bytes)`,
    );
  }
  const launches: Launch[] = [];
  for (let first = 0; first < n; first += most) {
    const images = Math.min(most, n - first);
    const bound = operands.map((o) => {
      const perImage = o.items * o.width;
      const { ref, offset } = bindElements(o.name, first * perImage, images * perImage, unit(o), limits);
      return { ref, at: offset / o.width };
    });
    launches.push({
      kernel,
      buffers: bound.map(({ ref }): BufferRef => ref),
      params: [
        c / width,
        h,
        w,
        outH,
        outW,
        ...params.map(([, , value]) => value),
        ...bound.map(({ at }) => at),
      ],
      grid: [ceilDiv(spec.across, group), spec.down, images],
    });
  }
  return { launches, workspaces: {} };
}
