/**
 * Convolution as an implicit matrix product over channels-last tensors: rows are output positions, columns
 * output channels, and the sum runs over taps and input channels. The forward pass and the input gradient are
 * the same kernel: output position (i, j) reads input position `(i, j) * stride + base + tap * dilation`, for
 * signed bases and dilations.
 *
 * Generators only; plan.ts and input-grad.ts route.
 */
import { memoKernel, type Kernel, type ParamField } from '../base/kernel.js';
import { reads, writes } from '../base/shader.js';
import { epilogueKey, highHalf, lowHalf, type Elem, type Epilogue } from '../base/plan.js';
import {
  component,
  declareAccumulators,
  epilogueBindings,
  epilogueColumns,
  forRows,
  leftK,
  leftLoads,
  leftRow,
  loaded,
  multiplyAdd,
  range,
  rightCol,
  rightK,
  rightLoads,
  stepK,
  storeRow,
  tileHead,
  tileShader,
  tileKey,
  vecType,
  widen,
  type Tile,
} from '../matmul/tile.js';
import { rightLine, rightLineK, sharedLoop } from '../matmul/shared-tile.js';

/**
 * How the input is read: `vec` by four channels of a pixel; `run` by four elements of a row of pixels (one
 * group, neighbouring taps adjacent: the RGB first layer); `scalar` channel by channel.
 */
export type ConvInput = 'vec' | 'run' | 'scalar';

export interface ConvSpec {
  readonly tile: Tile;
  readonly input: ConvInput;
  /** The output is written by vectors of the tile's width. */
  readonly vecOut: boolean;
  /** Output positions are spread over a larger map (input gradient of a strided convolution). */
  readonly scatter: boolean;
  /**
   * Rows run over the images at one position, then the next, and a tile leaves out the taps that none of its
   * rows reads inside the image: for small maps, where padding is much of what is read. Broadcast tiles only;
   * goes with `scatter`.
   */
  readonly gathered: boolean;
  /**
   * What `w` holds: a `packed` copy [tap][k][n], which an HWIO weight is by itself in the forward direction,
   * or the `turned` HWIO weight, [tap][n][k], whose taps go by number.
   */
  readonly weights: 'packed' | 'turned';
  readonly epilogue: Epilogue;
  readonly elem: Elem;
}

/** Launch fields. Pairs hold the vertical value in the high half. Workgroup z is the group. */
function convParams(s: Pick<ConvSpec, 'scatter' | 'gathered' | 'epilogue' | 'weights'>): ParamField[] {
  const fields: ParamField[] = [
    ['rows', 'u32'], // output positions
    ['inH', 'u32'],
    ['inW', 'u32'],
    ['outH', 'u32'],
    ['outW', 'u32'],
    ['stride', 'i32'],
    ['dilation', 'i32'],
    ['base', 'i32'],
    ['taps', 'i32'],
    ['ci', 'u32'], // per group
    ['co', 'u32'], // per group
    ['colBlocks', 'u32'],
    ['xOff', 'u32'],
    ['wOff', 'u32'],
    ['yOff', 'u32'],
  ];
  if (s.epilogue.residual) fields.push(['residualOff', 'u32']);
  if (s.scatter) fields.push(['fullH', 'u32'], ['fullW', 'u32'], ['outStride', 'i32'], ['outBase', 'i32']);
  if (s.gathered) fields.push(['images', 'u32']);
  if (s.weights === 'turned') fields.push(['tapFirst', 'i32'], ['tapStep', 'i32'], ['kernelW', 'i32']);
  return fields;
}

/** Number of tap (th, tw) in the whole kernel, as an offset in elements. */
const turnedTap = `u32((${highHalf('tapFirst')} + th * ${highHalf('tapStep')}) * p.kernelW + ${lowHalf('tapFirst')} + tw * ${lowHalf('tapStep')}) * (p.co * p.ci)`;

/** Declares the position and image base of left load `i`. */
function positionSetup(s: ConvSpec, i: number): string {
  const lines = [
    `  let m${i} = ${leftRow(s.tile, 'k', i)};`,
    `  let mc${i} = min(m${i}, p.rows - 1u);`,
    ...(s.gathered
      ? [
          `  let q${i} = mc${i} / p.images;`,
          `  let n${i} = mc${i} - q${i} * p.images;`,
          `  let i${i} = q${i} / p.outW;`,
          `  let j${i} = q${i} - i${i} * p.outW;`,
        ]
      : [
          `  let q${i} = mc${i} / p.outW;`,
          `  let j${i} = mc${i} - q${i} * p.outW;`,
          `  let n${i} = q${i} / p.outH;`,
          `  let i${i} = q${i} - n${i} * p.outH;`,
        ]),
    `  let y${i} = i32(i${i}) * ${highHalf('stride')} + ${highHalf('base')};`,
    `  let x${i} = i32(j${i}) * ${lowHalf('stride')} + ${lowHalf('base')};`,
  ];
  if (s.scatter) {
    lines.push(
      `  let h${i} = i${i} * u32(${highHalf('outStride')}) + u32(${highHalf('outBase')});`,
      `  let w${i} = j${i} * u32(${lowHalf('outStride')}) + u32(${lowHalf('outBase')});`,
      `  let o${i} = (n${i} * p.fullH + h${i}) * p.fullW + w${i};`,
    );
  }
  return lines.join('\n');
}

/** Declares `place`, where output position `m` lies in the map it is scattered over. */
const outputPosition = (m: string): string => `let q = ${m} / p.outW;
    let image = q / p.outH;
    let h = (q - image * p.outH) * u32(${highHalf('outStride')}) + u32(${highHalf('outBase')});
    let w_ = (${m} - q * p.outW) * u32(${lowHalf('outStride')}) + u32(${lowHalf('outBase')});
    let place = (image * p.fullH + h) * p.fullW + w_;`;

/**
 * WGSL of one step's left loads: tap (`th`, `tw`), and `step` elements into its channels or, for runs, into
 * its run.
 */
function leftStep(s: ConvSpec): string {
  const n = leftLoads(s.tile, 'k');
  const zero = 'vec4<f32>(0.0)';
  const four = (f: (q: number) => string): string => `vec4<f32>(${range(4).map(f).join(', ')})`;
  const offset = leftK(s.tile, 'k');
  if (s.input === 'run') {
    // One row of taps reads one run of tapsW * ci elements; a position left of the image is a negative index.
    const loads = range(n).map((i) => {
      const at = (q: number): string => `from${i} + ${q}`;
      const element = (q: number): string =>
        `select(0.0, f32(x[at${i} + clamp(${at(q)}, 0, i32(p.inW * p.ci) - 1)]), (${at(q)} >= 0) & (${at(q)} < to${i}))`;
      return `    let h_${i} = y${i} + th * ${highHalf('dilation')};
    let ok${i} = u32(h_${i}) < p.inH;
    let at${i} = select(0, i32(p.xOff + (n${i} * p.inH + u32(h_${i})) * p.inW * p.ci), ok${i});
    let to${i} = select(0, min(i32(p.inW * p.ci), x${i} * i32(p.ci) + i32(run)), ok${i});
    let from${i} = x${i} * i32(p.ci) + i32(step + ${offset});
    ${loaded(s.tile, `a${i}`)} = ${four(element)};`;
    });
    return loads.join('\n');
  }
  const vec = s.input === 'vec';
  const loads = range(n).map((i) => {
    const lines = [
      `    let h_${i} = y${i} + th * ${highHalf('dilation')};`,
      `    let w_${i} = x${i} + tw * ${lowHalf('dilation')};`,
      `    let ok${i} = (u32(h_${i}) < p.inH) & (u32(w_${i}) < p.inW);`,
      `    let at${i} = select(0u, ((n${i} * p.inH + u32(h_${i})) * p.inW + u32(w_${i})) * inPitch, ok${i}) + xBase;`,
    ];
    // A step of a shared tile may pass the last channel.
    const inTap = s.tile.style === 'shared' ? ` & (c < p.ci)` : '';
    const channel = s.tile.style === 'shared' ? 'min(c, p.ci - 4u)' : 'c';
    const element = (q: number): string =>
      `select(0.0, f32(x[at${i} + min(c + ${q}u, p.ci - 1u)]), ok${i} & (c + ${q}u < p.ci))`;
    lines.push(
      vec
        ? `    ${loaded(s.tile, `a${i}`)} = select(${zero}, ${widen(4, s.elem, `x[(at${i} + ${channel}) / 4u]`)}, ok${i}${inTap});`
        : `    ${loaded(s.tile, `a${i}`)} = ${four(element)};`,
    );
    return lines.join('\n');
  });
  return `    let c = step + ${offset};\n${loads.join('\n')}`;
}

/**
 * WGSL of `tap / tapsW`, exact for the few taps there are: software adapters divide integers lane by lane.
 */
const tapRow = `i32((f32(tap) + 0.5) * tapShare)`;

/** Most taps whose set fits the mask of {@link reachedTaps}; the highest bit is a stop. */
export const mostGatheredTaps = 31;

/**
 * WGSL of `reached`, the set of taps that some row of the tile reads inside the image, and `tap`, the first
 * of them. It is made of uniform values: eight rows are at their first's and their last's position, if there
 * are eight images or more.
 */
const reachedTaps = (loads: number): string => `  var reached = 0u;
  for (var edge = 0u; edge < ${2 * loads}u; edge++) {
    let at = min(row0 + (edge >> 1u) * 8u + (edge & 1u) * 7u, p.rows - 1u) / p.images;
    let at_h = i32(at / p.outW) * ${highHalf('stride')} + ${highHalf('base')};
    let at_w = i32(at % p.outW) * ${lowHalf('stride')} + ${lowHalf('base')};
    for (var t = 0; t < i32(taps); t++) {
      let h = at_h + (t / ${lowHalf('taps')}) * ${highHalf('dilation')};
      let w = at_w + (t % ${lowHalf('taps')}) * ${lowHalf('dilation')};
      reached |= select(0u, 1u << u32(t), (u32(h) < p.inH) & (u32(w) < p.inW));
    }
  }
  let tapShare = 1.0 / f32(${lowHalf('taps')});
  var tap = i32(firstTrailingBit(reached | 0x80000000u));`;

export function convKernel(s: ConvSpec): Kernel {
  const { tile: t, epilogue: e } = s;
  const key = [
    'conv',
    tileKey(t),
    s.input,
    +s.vecOut,
    +s.scatter,
    +s.gathered,
    s.weights,
    epilogueKey(e),
    s.elem,
  ].join('.');
  return memoKernel(key, () => {
    const V = t.cols;
    const sub = t.style === 'subgroup';
    const n = leftLoads(t, 'k');
    const kCount = 'taps * kPad';
    const run = s.input === 'run';
    const shared = t.style === 'shared';
    const K = stepK(t);
    const taps = run ? `u32(${highHalf('taps')})` : `u32(${highHalf('taps')} * ${lowHalf('taps')})`;
    const turned = s.weights === 'turned';
    const alongK = (j: number): string => {
      const k = shared ? `(step + ${rightLineK(t)})` : 'step';
      const at = `tapAt + ${shared ? `wCol${j}` : `(wCol + ${j}u)`} * p.ci + ${shared ? `min(${k}, p.ci - 4u)` : k}`;
      const load = widen(4, s.elem, `w[(${at}) / 4u]`);
      return `      ${loaded(t, `t${j}`)} = ${shared ? `select(vec4<f32>(0.0), ${load}, ${k} < p.ci)` : load};`;
    };
    const rightTurned = [
      ...range(shared ? rightLoads(t) : V).map(alongK),
      ...(shared ? [] : range(4)).map((q) => {
        const parts = range(V).map((j) => component(`t${j}`, q, 4));
        return `      let b${q} = ${vecType(V)}(${parts.join(', ')});`;
      }),
    ];
    const rightStraight = (q: number): string => {
      if (!shared) return `      let b${q} = ${widen(V, s.elem, `w[wAt + ${q}u * wPitch]`)};`;
      const at = `wAt + min(step + ${rightK(t, q)}, kPad - 1u) * wPitch`;
      return `      ${loaded(t, `b${q}`)} = select(vec4<f32>(0.0), ${widen(V, s.elem, `w[${at}]`)}, step + ${rightK(t, q)} < kPad);`;
    };
    const body = [
      `  let group = wid.z;`,
      `  let inPitch = p.ci * nwg.z;`,
      `  let outPitch = p.co * nwg.z;`,
      `  let taps = ${taps};`,
      // The summed index runs over taps (or rows of taps) of this length.
      run ? `  let run = u32(${lowHalf('taps')}) * p.ci;` : '',
      `  let kPad = (${run ? 'run' : 'p.ci'} + 3u) & ~3u;`,
      run ? '' : `  let xBase = p.xOff + group * p.ci;`,
      turned ? '' : `  let wPitch = ((p.co + 3u) & ~3u) / ${V}u;`,
      // Columns past the end repeat the last ones, and their sums are not stored.
      turned
        ? shared
          ? range(rightLoads(t))
              .map((j) => `  let wCol${j} = min(${rightLine(t, j)}, p.co - 1u);`)
              .join('\n')
          : `  let wCol = min(col * ${V}u, p.co - ${V}u);`
        : `  var wAt = p.wOff / ${V}u + group * ${kCount} * wPitch + min(${rightCol(t)}, wPitch - 1u);`,
      ...range(n).map((i) => positionSetup(s, i)),
      declareAccumulators(t),
      // One loop, not one per tap axis and channels: every level would copy the accumulators on software
      // adapters.
      s.gathered ? reachedTaps(n) : '',
      s.gathered ? `  var th = ${tapRow};` : `  var th = 0;`,
      run ? '' : s.gathered ? `  var tw = tap - th * ${lowHalf('taps')};` : `  var tw = 0;`,
      `  var step = 0u;`,
      s.gathered && !turned ? `  let wFirst = wAt;\n  wAt = wFirst + u32(tap) * kPad * wPitch;` : '',
      turned ? `  var tapAt = ${turnedTap};` : '',
    ];
    const slices = `${s.gathered ? 'countOneBits(reached)' : 'taps'} * ((kPad + ${K - 1}u) / ${K}u)`;
    const right = turned ? 'k' : 'columns';
    const loads = [leftStep(s), ...(turned ? rightTurned : range(rightLoads(t)).map(rightStraight))];
    const advance = [
      `    step += ${K}u;`,
      `    let tapDone = step >= kPad;`,
      `    step = select(step, 0u, tapDone);`,
      turned ? '' : shared ? `    wAt += select(0u, kPad * wPitch, tapDone);` : `    wAt += 4u * wPitch;`,
      s.gathered
        ? `    reached &= select(~0u, reached - 1u, tapDone);
    tap = i32(firstTrailingBit(reached | 0x80000000u));
    th = ${tapRow};
    tw = tap - th * ${lowHalf('taps')};${turned ? '' : `\n    wAt = select(wAt, wFirst + u32(tap) * kPad * wPitch, tapDone);`}`
        : run
          ? `    th += select(0, 1, tapDone);`
          : `    tw += select(0, 1, tapDone);
    let rowDone = tw >= ${lowHalf('taps')};
    tw = select(tw, 0, rowDone);
    th += select(0, 1, rowDone);`,
      turned ? `    tapAt = ${turnedTap};` : '',
    ];
    if (shared) body.push(sharedLoop(t, 'k', right, slices, [...loads, ...advance].join('\n')));
    else
      body.push(
        `  for (var remaining = ${slices}; remaining > 0u; remaining--) {`,
        ...loads,
        multiplyAdd(t, 'k'),
        ...advance,
        '  }',
      );
    // Where row `r` lies in the output: known of its load, eight rows of a broadcast tile in each; a shared
    // tile loads other rows.
    if (s.scatter && !shared)
      body.push(
        `  var places = array<u32, ${n}>(${range(n)
          .map((i) => `o${i}`)
          .join(', ')});`,
      );
    const declarePlace = (r: string): string => {
      if (!s.scatter) return `let place = row0 + ${r};`;
      if (shared) return outputPosition(`(row0 + ${r})`);
      return `let place = ${sub ? `subgroupShuffle(places[${r} >> 3u], ${r} & 7u)` : `places[${r}]`};`;
    };
    const column = s.vecOut ? `(group * p.co / ${V}u + col)` : `(group * p.co + col * ${V}u)`;
    body.push(
      forRows(t, 'p.rows', `col * ${V}u < p.co`, {
        columns: epilogueColumns(e, { cols: V, vectors: s.vecOut, elem: s.elem, column }),
        first: declarePlace,
        store: (_, sum) => {
          const element = (off: string): string => {
            const index = `${off} + place * outPitch + group * p.co + col * ${V}u`;
            return s.vecOut ? `(${index}) / ${V}u` : index;
          };
          return storeRow(e, {
            cols: V,
            vectors: s.vecOut,
            elem: s.elem,
            out: 'y',
            value: sum,
            index: element('p.yOff'),
            residualIndex: e.residual ? element('p.residualOff') : '',
            column,
            columns: '((group + 1u) * p.co)',
          });
        },
      }),
    );
    const bindings = [
      reads('x', vecType(s.input === 'vec' ? 4 : 1, s.elem)),
      reads('w', vecType(turned ? 4 : V, s.elem)),
      writes('y', vecType(s.vecOut ? V : 1, s.elem)),
      ...epilogueBindings(e, V, s.vecOut, s.elem),
    ];
    return {
      name: s.scatter ? 'convScatter' : 'conv',
      params: convParams(s),
      ...tileShader(t, right, [s.elem], bindings, [tileHead(t), ...body].join('\n')),
    };
  });
}
