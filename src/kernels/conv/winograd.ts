/**
 * Winograd F(4x4, 3x3) for stride-1 convolutions: tiles of 4x4 outputs are computed from 6x6 inputs by 36
 * multiplications per channel pair instead of 144 (Lavin & Gray, "Fast Algorithms for Convolutional Neural
 * Networks", 2015, section 4.3); the weight gradient is the transpose of the same bilinear form.
 *
 * The polynomials are evaluated at 0, sqrt 2, -sqrt 2, 1/sqrt 2, -1/sqrt 2 and infinity, not at the usual 0,
 * 1, -1, 2, -2 and infinity. That halves the rounding error (root mean square 1.1e-6 against 2.2e-6 of the
 * result's, 128 channels), and the set is closed under inversion: turning a filter around, which the input
 * gradient does, only permutes its points ({@link turnedPoint}), so that one transformed copy of the weights
 * serves both directions.
 *
 * A transform is two passes of a one-dimensional one. Each pass is a loop whose values move through a window
 * of named registers: unrolled, its loads and stores take software adapters seconds to compile; an array
 * indexed by the loop counter would leave the registers. The loops' bounds hang on a zero that compilers
 * cannot foresee, or they would unroll them.
 */
import {
  foldGrid,
  linearWorkgroup,
  memoKernel,
  type Grid,
  type Kernel,
  type ParamField,
} from '../base/kernel.js';
import { ceilDiv, epilogueKey, type Elem, type Epilogue, type WeightLayout } from '../base/plan.js';
import { reads, shader, writes } from '../base/shader.js';
import {
  epilogueBindings,
  epilogueColumns,
  narrow,
  range,
  storeRow,
  vecType,
  widen,
} from '../matmul/tile.js';

/** Products per tile and channel pair. */
export const points = 36;
/** Outputs per tile and axis. */
export const tileSize = 4;

const size = 64;
export const elementwiseGrid = (count: number): Grid => foldGrid(ceilDiv(count, size));

/**
 * A one-dimensional transform: names of inputs to expressions of outputs, with shared subterms declared
 * first.
 */
type Transform = (d: readonly string[], v: string) => { lets: string[]; out: string[] };

const d = (names: readonly string[], i: number): string => names[i]!;

const root2 = Math.SQRT2;

/** B^T: 6 inputs of a tile to 6 points. */
const inputTransform: Transform = (x, v) => ({
  lets: [
    `let ${v}a = 0.5 * ${d(x, 4)} - 0.25 * ${d(x, 2)};`,
    `let ${v}b = ${root2 / 4} * (2.0 * ${d(x, 3)} - ${d(x, 1)});`,
    `let ${v}c = 2.0 * ${d(x, 2)} - ${d(x, 4)};`,
    `let ${v}e = ${root2 / 2} * (2.0 * ${d(x, 1)} - ${d(x, 3)});`,
  ],
  out: [
    `${d(x, 0)} - 2.5 * ${d(x, 2)} + ${d(x, 4)}`,
    `${v}a + ${v}b`,
    `${v}a - ${v}b`,
    `${v}c + ${v}e`,
    `${v}c - ${v}e`,
    `${d(x, 1)} - 2.5 * ${d(x, 3)} + ${d(x, 5)}`,
  ],
});

/** A^T: 6 points to 4 outputs. */
const outputTransform: Transform = (m, v) => ({
  lets: [
    `let ${v}a = ${d(m, 1)} + ${d(m, 2)};`,
    `let ${v}b = ${root2} * (${d(m, 1)} - ${d(m, 2)});`,
    `let ${v}c = ${d(m, 3)} + ${d(m, 4)};`,
    `let ${v}e = ${root2 / 2} * (${d(m, 3)} - ${d(m, 4)});`,
  ],
  out: [
    `${d(m, 0)} + ${v}a + ${v}c`,
    `${v}b + ${v}e`,
    `2.0 * ${v}a + 0.5 * ${v}c`,
    `2.0 * ${v}b + 0.5 * ${v}e + ${d(m, 5)}`,
  ],
});

/** A: 4 output gradients to 6 points. */
const outputTransposed: Transform = (y, v) => ({
  lets: [
    `let ${v}a = ${d(y, 0)} + 2.0 * ${d(y, 2)};`,
    `let ${v}b = ${root2} * (${d(y, 1)} + 2.0 * ${d(y, 3)});`,
    `let ${v}c = ${d(y, 0)} + 0.5 * ${d(y, 2)};`,
    `let ${v}e = ${root2 / 2} * (${d(y, 1)} + 0.5 * ${d(y, 3)});`,
  ],
  out: [d(y, 0), `${v}a + ${v}b`, `${v}a - ${v}b`, `${v}c + ${v}e`, `${v}c - ${v}e`, d(y, 3)],
});

/** G: 3 taps to 6 points. */
const weightTransform: Transform = (g, v) => ({
  lets: [
    `let ${v}a = (${d(g, 0)} + 2.0 * ${d(g, 2)}) * ${1 / 3};`,
    `let ${v}b = ${d(g, 1)} * ${root2 / 3};`,
    `let ${v}c = (2.0 * ${d(g, 0)} + ${d(g, 2)}) * ${1 / 3};`,
  ],
  out: [d(g, 0), `${v}a + ${v}b`, `${v}a - ${v}b`, `${v}c + ${v}b`, `${v}c - ${v}b`, d(g, 2)],
});

/** G^T: 6 points to 3 taps. */
const weightTransposed: Transform = (u, v) => ({
  lets: [
    `let ${v}a = (${d(u, 1)} + ${d(u, 2)}) * ${1 / 3};`,
    `let ${v}b = (${d(u, 3)} + ${d(u, 4)}) * ${1 / 3};`,
  ],
  out: [
    `${d(u, 0)} + ${v}a + 2.0 * ${v}b`,
    `(${d(u, 1)} - ${d(u, 2)} + ${d(u, 3)} - ${d(u, 4)}) * ${root2 / 3}`,
    `2.0 * ${v}a + ${v}b + ${d(u, 5)}`,
  ],
});

/** Point k of a filter turned around is this point of the filter: each point's reciprocal. */
const turnedPoint: readonly number[] = [5, 3, 4, 1, 2, 0];
/** The same for an index known at run time only. */
const turnedIndex = (i: string): string =>
  `((${turnedPoint.reduce((packed, point, k) => packed | (point << (4 * k)), 0)}u >> (4u * ${i})) & 7u)`;

/**
 * WGSL of a two-dimensional transform of an `n` x `n` tile to `m` x `m`. `load` declares `d0..` for column
 * `j`; `store` stores the values `f[0..m)` of row `i`.
 */
function twoPasses(o: {
  n: number;
  m: number;
  transform: Transform;
  type: string;
  load: string;
  store: (f: readonly string[]) => string;
}): string {
  const { n, m } = o;
  const window = range(n).flatMap((c) => range(m).map((r) => `  var t${c}_${r} = ${o.type}(0.0);`));
  const first = o.transform(
    range(n).map((r) => `d${r}`),
    'p',
  );
  const second = o.transform(
    range(n).map((c) => `t${c}_0`),
    'q',
  );
  const moveColumns = range(n - 1).flatMap((c) => range(m).map((r) => `    t${c}_${r} = t${c + 1}_${r};`));
  const moveRows = range(n).flatMap((c) => range(m - 1).map((r) => `    t${c}_${r} = t${c}_${r + 1};`));
  return `${window.join('\n')}
  let opaque = nwg.x >> 31u;
  for (var j = opaque; j < ${n}u + opaque; j++) {
${o.load}
    ${first.lets.join('\n    ')}
${moveColumns.join('\n')}
${first.out.map((e, r) => `    t${n - 1}_${r} = ${e};`).join('\n')}
  }
  for (var i = opaque; i < ${m}u + opaque; i++) {
    ${second.lets.join('\n    ')}
${second.out.map((e, c) => `    let f${c} = ${e};`).join('\n')}
${o.store(range(m).map((c) => `f${c}`))}
${moveRows.join('\n')}
  }`;
}

const entryPoint = { workgroup: size, builtins: ['wid', 'nwg', 'lane'] } as const;
const head = `  let index = ${linearWorkgroup} * ${size}u + lane;`;

/** Splits the invocation's index into a channel vector `c` and the tile's image and corner. */
const tilePosition = `
  if (index >= p.tiles * p.channels) { return; }
  let local = index / p.channels;
  let c = index - local * p.channels;
  let tile = p.tile0 + local;
  let row = tile / p.tilesW;
  let tx = tile - row * p.tilesW;
  let img = row / p.tilesH;
  let ty = row - img * p.tilesH;`;

/** Launch fields of the transforms over tiles; `channels` counts vectors of four, `off` elements. */
const tileParams: readonly ParamField[] = [
  ['tiles', 'u32'], // of this launch
  ['tile0', 'u32'],
  ['tilesH', 'u32'],
  ['tilesW', 'u32'],
  ['channels', 'u32'],
  ['h', 'u32'],
  ['w', 'u32'],
  ['padTop', 'i32'],
  ['padLeft', 'i32'],
  ['off', 'u32'],
];

/** WGSL of the number of point (`i`, k), for `i` known at run time only. */
const pointAt = (i: string, k: number, turned: boolean): string =>
  turned ? `(${turnedIndex(i)} * 6u + ${turnedPoint[k]}u)` : `(${i} * 6u + ${k}u)`;

/**
 * Tiles of a channels-last tensor to points [36][tile][channel]: `x` (6x6 overlapping) or `dy` (4x4).
 * `turned` puts point k where a filter that is turned around has it.
 */
export function winogradTilesKernel(which: 'x' | 'dy', turned: boolean, elem: Elem): Kernel {
  return memoKernel(`winogradTiles.${which}.${+turned}.${elem}`, () => {
    const n = which === 'x' ? 6 : tileSize;
    const load = [
      `    let w_ = i32(tx * ${tileSize}u + j) - p.padLeft;`,
      `    let okw = u32(w_) < p.w;`,
      ...range(n).map(
        (r) => `    let h${r} = h_ + ${r};
    let ok${r} = okw & (u32(h${r}) < p.h);
    let d${r} = select(vec4<f32>(0.0), ${widen(4, elem, `x[select(0u, ((img * p.h + u32(h${r})) * p.w + u32(w_)) * p.channels + c, ok${r}) + base]`)}, ok${r});`,
      ),
    ].join('\n');
    const body = twoPasses({
      n,
      m: 6,
      transform: which === 'x' ? inputTransform : outputTransposed,
      type: 'vec4<f32>',
      load,
      store: (f) =>
        f
          .map((v, k) => `    v[(${pointAt('i', k, turned)} * p.tiles + local) * p.channels + c] = ${v};`)
          .join('\n'),
    });
    return {
      name: which === 'x' ? 'winogradInput' : 'winogradOutputGrad',
      params: tileParams,
      ...shader({
        bindings: [reads('x', vecType(4, elem)), writes('v', 'vec4<f32>')],
        ...entryPoint,
        body: `${head}${tilePosition}
  let base = p.off / 4u;
  let h_ = i32(ty * ${tileSize}u) - p.padTop;
${body}`,
      }),
    };
  });
}

/**
 * Points [36][tile][channel] to 4x4 outputs of a channels-last tensor, through the epilogue; `turned` as in
 * {@link winogradTilesKernel}.
 */
export function winogradOutputKernel(epilogue: Epilogue, turned: boolean, elem: Elem): Kernel {
  return memoKernel(`winogradOutput.${epilogueKey(epilogue)}.${+turned}.${elem}`, () => {
    const body = twoPasses({
      n: 6,
      m: tileSize,
      transform: outputTransform,
      type: 'vec4<f32>',
      load: range(6)
        .map(
          (r) =>
            `    let d${r} = points[((${turned ? `${turnedPoint[r]}u * 6u + ${turnedIndex('j')}` : `${r}u * 6u + j`}) * p.tiles + local) * p.channels + c];`,
        )
        .join('\n'),
      store: (f) => {
        const stores = f.map((value, k) => {
          const at = `((img * p.h + y_) * p.w + x_ + ${k}u) * p.channels + c`;
          const store = storeRow(epilogue, {
            cols: 4,
            vectors: true,
            elem,
            out: 'y',
            value,
            index: `p.off / 4u + ${at}`,
            residualIndex: `p.residualOff / 4u + ${at}`,
            column: 'c',
            columns: '',
          });
          return `      if (x_ + ${k}u < p.w) ${store}`;
        });
        return `    let y_ = ty * ${tileSize}u + i;\n    if (y_ < p.h) {\n${stores.join('\n')}\n    }`;
      },
    });
    return {
      name: 'winogradOutput',
      params: [...tileParams, ['residualOff', 'u32']],
      ...shader({
        bindings: [
          reads('points', 'vec4<f32>'),
          writes('y', vecType(4, elem)),
          ...epilogueBindings(epilogue, 4, true, elem),
        ],
        ...entryPoint,
        body: `${head}${tilePosition}
  let x_ = tx * ${tileSize}u;
${epilogueColumns(epilogue, { cols: 4, vectors: true, elem, column: 'c' })}
${body}`,
      }),
    };
  });
}

/**
 * One input channel `k` and four output channels `n` of a weight per invocation, 8 by 8 of them per
 * workgroup.
 */
const weightHead = (k: string, n: string): string => `  let n = wid.x * 8u + (lane & 7u);
  let k = wid.y * 8u + (lane >> 3u);
  if (n >= ${n} / 4u || k >= ${k}) { return; }`;
export const winogradWeightGrid = (k: number, n: number): Grid => [ceilDiv(n, 32), ceilDiv(k, 8), 1];

/** Weights to points [36][ci][co]; `co` is a multiple of four. */
export function winogradWeightsKernel(layout: WeightLayout, elem: Elem): Kernel {
  return memoKernel(`winogradWeights.${layout}.${elem}`, () => {
    const vectors = layout === 'hwio';
    const body = twoPasses({
      n: 3,
      m: 6,
      transform: weightTransform,
      type: 'vec4<f32>',
      load: range(3)
        .map((r) => {
          if (vectors)
            return `    let d${r} = ${widen(4, elem, `weight[((${3 * r}u + j) * p.ci + k) * (p.co / 4u) + n]`)};`;
          const parts = range(4).map(
            (c) => `f32(weight[((4u * n + ${c}u) * p.ci + k) * 9u + ${3 * r}u + j])`,
          );
          return `    let d${r} = vec4<f32>(${parts.join(', ')});`;
        })
        .join('\n'),
      store: (f) =>
        f
          .map(
            (v, c) => `    packed[((i * 6u + ${c}u) * p.ci + k) * (p.co / 4u) + n] = ${narrow(4, elem, v)};`,
          )
          .join('\n'),
    });
    return {
      name: 'winogradWeights',
      params: [
        ['ci', 'u32'],
        ['co', 'u32'],
      ],
      ...shader({
        bindings: [reads('weight', vecType(vectors ? 4 : 1, elem)), writes('packed', vecType(4, elem))],
        ...entryPoint,
        body: `${weightHead('p.ci', 'p.co')}\n${body}`,
      }),
    };
  });
}

/**
 * Points [36][ci][co] of the weight gradient to the weight's layout; `first` 0 adds to what an earlier chunk
 * left.
 */
export function winogradWeightGradKernel(layout: WeightLayout, elem: Elem): Kernel {
  return memoKernel(`winogradWeightGrad.${layout}.${elem}`, () => {
    const vectors = layout === 'hwio';
    const body = twoPasses({
      n: 6,
      m: 3,
      transform: weightTransposed,
      type: 'vec4<f32>',
      load: range(6)
        .map((r) => `    let d${r} = points[((${r}u * 6u + j) * p.ci + k) * (p.co / 4u) + n];`)
        .join('\n'),
      store: (f) =>
        vectors
          ? f
              .map((v, c) => {
                const to = `((i * 3u + ${c}u) * p.ci + k) * (p.co / 4u) + n`;
                const before = `select(${widen(4, elem, `dw[${to}]`)}, vec4<f32>(0.0), p.first == 1u)`;
                return `    dw[${to}] = ${narrow(4, elem, `${v} + ${before}`)};`;
              })
              .join('\n')
          : `    for (var q = 0u; q < 4u; q++) {
      let to = ((4u * n + q) * p.ci + k) * 9u + i * 3u;
${f
  .map(
    (v, c) =>
      `      dw[to + ${c}u] = ${narrow(1, elem, `${v}[q] + select(f32(dw[to + ${c}u]), 0.0, p.first == 1u)`)};`,
  )
  .join('\n')}
    }`,
    });
    return {
      name: 'winogradWeightGrad',
      params: [
        ['ci', 'u32'],
        ['co', 'u32'],
        ['first', 'u32'],
      ],
      ...shader({
        bindings: [reads('points', 'vec4<f32>'), writes('dw', vecType(vectors ? 4 : 1, elem))],
        ...entryPoint,
        body: `${weightHead('p.ci', 'p.co')}\n${body}`,
      }),
    };
  });
}
