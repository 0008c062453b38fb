/**
 * Kernels of fused attention (Dao et al. 2022, https://arxiv.org/abs/2205.14135; Milakov and Gimelshein 2018,
 * https://arxiv.org/abs/1805.02867): blocks of columns stream past a block of rows, with a running maximum
 * and sum, so that scores are never in memory.
 *
 * The forward pass leaves each row's maximum and the reciprocal of its sum rather than the logarithm of the
 * sum: some drivers' `log` is off by 1e-3, and the backward pass then has the very weights of the forward.
 */
import { linearWorkgroup, memoKernel, type Kernel, type ParamField } from '../base/kernel.js';
import type { Elem } from '../base/plan.js';
import { reads, shader, writes, type Binding } from '../base/shader.js';
import {
  accumulate,
  acrossColumns,
  acrossLanes,
  blockCols,
  blockKey,
  blockMemory,
  blockPlace,
  blockRows,
  columnsOf,
  contract,
  eachRow,
  eachSum,
  forRows,
  parts,
  rowOf,
  storeSums,
  vec,
  zeroSums,
  type Block,
  type Rows,
} from './block.js';

/** Of a mask: nothing, whether a query may look at a key, or what is added to the scores. */
export type MaskKind = 'none' | 'bool' | 'float';

export interface AttentionSpec {
  readonly block: Block;
  readonly elem: Elem;
  readonly mask: MaskKind;
}

/** What lies in rows of vec4 over [batch, head, row]: strides and the offset are launch parameters. */
export type OperandName = 'q' | 'k' | 'v' | 'o' | 'g' | 'dq' | 'dk' | 'dv';

/** Launch fields of an operand, in vec4. */
const placeFields = (name: OperandName): ParamField[] =>
  ['Batch', 'Head', 'Row', 'Off'].map((field) => [`${name}${field}`, 'u32']);

/** Launch fields of a mask, in elements. */
const maskFields: readonly ParamField[] = ['Batch', 'Head', 'Row', 'Col', 'Off'].map((field) => [
  `mask${field}`,
  'u32',
]);

/**
 * Launch fields of all kernels: lengths, depth of queries and of values in vec4, heads of the launch's batch,
 * query heads per key head, blocks per head, workgroups, flags; `plane` values of `stats` per quantity.
 */
const commonFields: readonly ParamField[] = [
  ...['L', 'S', 'E', 'V', 'heads', 'group', 'blocks', 'total', 'causal', 'shown'].map((field): ParamField => [
    field,
    'u32',
  ]),
  ['scale', 'f32'],
  ...['statsBatch', 'statsOff', 'plane'].map((field): ParamField => [field, 'u32']),
];

export const attentionFields = (mask: MaskKind, names: readonly OperandName[]): ParamField[] => [
  ...commonFields,
  ...(mask === 'none' ? [] : maskFields),
  ...names.flatMap(placeFields),
];

/** Whether an operand's rows are queries, and whether it is as wide as the values. */
const ofQueries = (name: OperandName): boolean => ['q', 'o', 'g', 'dq'].includes(name);
const ofValues = (name: OperandName): boolean => ['v', 'o', 'g', 'dv'].includes(name);

const rows = (name: OperandName): Rows => ({
  name,
  base: `${name}Base`,
  stride: `p.${name}Row`,
  count: ofQueries(name) ? 'p.L' : 'p.S',
  depth: ofValues(name) ? 'p.V' : 'p.E',
});

/** WGSL that declares where an operand's head begins. */
const base = (name: OperandName, head: string): string =>
  `let ${name}Base = p.${name}Off + n * p.${name}Batch + ${head} * p.${name}Head;`;

const statsBase = (head: string): string => `let statsBase = p.statsOff + n * p.statsBatch + ${head} * p.L;`;
const maskBase = (mask: MaskKind, head: string): string =>
  mask === 'none' ? '' : `let maskBase = p.maskOff + n * p.maskBatch + ${head} * p.maskHead;`;

const minusInfinity = 'fn minusInfinity() -> f32 { var bits = 0xff800000u; return bitcast<f32>(bits); }';

/**
 * WGSL that turns the products `s` of one row into masked scores, and `hidden` into which columns do not
 * count. Rows are queries and columns keys, or the other way round.
 */
function maskRow(
  { block: b, mask }: AttentionSpec,
  keysAre: 'columns' | 'rows',
  row: string,
  s: string,
): string {
  const U = vec(b, 'u32');
  const byKeys = keysAre === 'rows';
  // Query i may look at keys 0 to i where attention is causal: PyTorch's alignment, whatever the lengths.
  const outside = byKeys
    ? `(cols >= ${U}(p.L)) | (cols < ${U}(select(0u, ${row}, p.causal != 0u)))`
    : `cols >= ${U}(select(p.S, min(p.S, ${row} + 1u), p.causal != 0u))`;
  const masked = (score: string): string => `${s} = select(${score}, ${vec(b)}(minusInfinity()), hidden);`;
  if (mask === 'none') return `let hidden = ${outside};\n${masked(`${s} * p.scale`)}`;
  const at = byKeys
    ? `${U}(maskBase + min(${row}, p.S - 1u) * p.maskCol) + min(cols, ${U}(p.L - 1u)) * p.maskRow`
    : `${U}(maskBase + min(${row}, p.L - 1u) * p.maskRow) + min(cols, ${U}(p.S - 1u)) * p.maskCol`;
  const values = parts(b).map((part) => `mask[at.${part}]`);
  const given = `let at = ${at};\nlet given = ${vec(b, mask === 'bool' ? 'u32' : 'f32')}(${values.join(', ')});`;
  if (mask === 'float') return `${given}\nlet hidden = ${outside};\n${masked(`${s} * p.scale + given`)}`;
  return `${given}
  let hidden = (${outside}) | ((given != ${U}(0u)) != ${vec(b, 'bool')}(p.shown != 0u));
  ${masked(`${s} * p.scale`)}`;
}

/** The frame of a kernel; `body` sees `n`, `h` (one of `p.heads`), `row0` and the invocation's place. */
function attentionKernel(
  name: string,
  spec: AttentionSpec,
  names: readonly OperandName[],
  outputs: readonly OperandName[],
  stats: 'read' | 'write',
  body: string,
): Kernel {
  const { block: b, elem, mask } = spec;
  const T = elem === 'f16' ? 'vec4<f16>' : 'vec4<f32>';
  const bindings: Binding[] = [
    ...names.map((operand) => (outputs.includes(operand) ? writes : reads)(operand, T)),
    ...(mask === 'none' ? [] : [reads('mask', mask === 'bool' ? 'u32' : 'f32')]),
    (stats === 'read' ? reads : writes)('stats', 'f32'),
  ];
  const text = shader({
    bindings,
    functions: `${minusInfinity}\n${blockMemory(b)}`,
    workgroup: b.lanes * b.lanesY,
    builtins: ['wid', 'nwg', 'lid'],
    body: `let unit = ${linearWorkgroup};
    if (unit >= p.total) { return; }
    let each = unit / p.blocks;
    let n = each / p.heads;
    let h = each - n * p.heads;
    let row0 = (unit - each * p.blocks) * ${blockRows(b)}u;
    ${blockPlace(b)}
    ${body}`,
  });
  return {
    name,
    params: attentionFields(mask, names),
    ...text,
    enables: [...(text.enables ?? []), ...(b.style === 'subgroup' ? (['subgroups'] as const) : [])],
  };
}

const memo = (name: string, { block, elem, mask }: AttentionSpec, build: () => Kernel): Kernel =>
  memoKernel(`${name}.${blockKey(block)}.${elem}.${mask}`, build);

/** Keys that any query of the block may look at. */
const lastKey = (b: Block): string =>
  `let end = select(p.S, min(p.S, row0 + ${blockRows(b)}u), p.causal != 0u);`;

export const forwardOperands = ['q', 'k', 'v', 'o'] as const;

/** Buffers: q, k, v, o, [mask], stats. */
export const forwardKernel = (spec: AttentionSpec): Kernel =>
  memo('attention', spec, () => {
    const { block: b, elem, mask } = spec;
    return attentionKernel(
      'attention',
      spec,
      forwardOperands,
      ['o'],
      'write',
      `${base('q', 'h')}
      let kvHead = h / p.group;
      ${base('k', 'kvHead')}
      ${base('v', 'kvHead')}
      ${base('o', 'h')}
      ${statsBase('h')}
      ${maskBase(mask, 'h')}
      ${zeroSums(b, 'o')}
      ${eachRow(b, (r) => `var most${r} = -3.402823466e+38;\nvar all${r} = 0.0;`)}
      ${lastKey(b)}
      for (var col0 = 0u; col0 < end; col0 += ${blockCols(b)}u) {
        let cols = ${columnsOf(b)};
        ${contract(b, elem, 's', rows('q'), rows('k'))}
        ${eachRow(b, (r) => `var part${r} = 0.0;`)}
        ${forRows(
          b,
          { s: vec(b), part: 'f32' },
          (row, of) => `{
            ${maskRow(spec, 'columns', row, of('s'))}
            ${of('part')} = ${acrossColumns(b, 'max', of('s'))};
          }`,
        )}
        ${acrossLanes(b, 'top', 'max', (r) => `part${r}`)}
        ${eachRow(
          b,
          // The maximum stays finite, so that a row that is hidden altogether gives 0 / 0.
          (r) => `let new${r} = max(most${r}, top${r});
          let keep${r} = exp(most${r} - new${r});
          most${r} = new${r};
          ${eachSum(b, 'o', r, (sum) => `${sum} *= keep${r};`)}`,
        )}
        {
          ${forRows(
            b,
            { s: vec(b), most: 'f32', part: 'f32' },
            (_, of) => `${of('s')} = exp(${of('s')} - ${vec(b)}(${of('most')}));
            ${of('part')} = ${acrossColumns(b, 'sum', of('s'))};`,
          )}
        }
        ${eachRow(b, (r) => `all${r} = all${r} * keep${r} + part${r};`)}
        ${accumulate(b, elem, 'o', 's', rows('v'))}
      }
      ${acrossLanes(b, 'sum', 'sum', (r) => `all${r}`)}
      ${eachRow(b, (r) => eachSum(b, 'o', r, (sum) => `${sum} /= vec4<f32>(sum${r});`))}
      ${storeSums(b, elem, 'o', rows('o'))}
      if (tx == 0u) {
        ${eachRow(
          b,
          (r) => `if (${rowOf(b, r)} < p.L) {
          stats[statsBase + ${rowOf(b, r)}] = most${r};
          stats[p.plane + statsBase + ${rowOf(b, r)}] = 1.0 / sum${r};
        }`,
        )}
      }`,
    );
  });

export const queryGradOperands = ['q', 'k', 'v', 'o', 'g', 'dq'] as const;

/** WGSL that declares `most0..`, `share0..` and `pull0..` (the sum of g * o) of the rows; stores the last. */
function rowStats(b: Block, elem: Elem): string {
  const wide = (name: string, index: string): string =>
    elem === 'f16' ? `vec4<f32>(${name}[${index}])` : `${name}[${index}]`;
  if (b.style === 'shared')
    return `${eachRow(
      b,
      (r) => `let at${r} = min(${rowOf(b, r)}, p.L - 1u);
      let most${r} = stats[statsBase + at${r}];
      let share${r} = stats[p.plane + statsBase + at${r}];
      var part${r} = 0.0;
      for (var e = tx; e < p.V; e += ${b.lanes}u) {
        part${r} += dot(${wide('o', `oBase + at${r} * p.oRow + e`)}, ${wide('g', `gBase + at${r} * p.gRow + e`)});
      }`,
    )}
    ${acrossLanes(b, 'pull', 'sum', (r) => `part${r}`)}
    if (tx == 0u) {
      ${eachRow(b, (r) => `if (${rowOf(b, r)} < p.L) { stats[2u * p.plane + statsBase + ${rowOf(b, r)}] = pull${r}; }`)}
    }`;
  const groups = Array.from({ length: b.rows / 8 }, (_, i) => i);
  return `${groups
    .map(
      (i) => `let at${i} = min(row0 + ${8 * i}u + tx, p.L - 1u);
    let laneMost${i} = stats[statsBase + at${i}];
    let laneShare${i} = stats[p.plane + statsBase + at${i}];
    var lanePull${i} = 0.0;
    for (var e = 0u; e < p.V; e++) {
      lanePull${i} += dot(${wide('o', `oBase + at${i} * p.oRow + e`)}, ${wide('g', `gBase + at${i} * p.gRow + e`)});
    }
    if (row0 + ${8 * i}u + tx < p.L) { stats[2u * p.plane + statsBase + at${i}] = lanePull${i}; }`,
    )
    .join('\n')}
  ${eachRow(b, (r) =>
    [
      ['most', 'laneMost'],
      ['share', 'laneShare'],
      ['pull', 'lanePull'],
    ]
      .map(([to, from]) => `var ${to}${r} = subgroupBroadcast(${from}${r >> 3}, ${r & 7}u);`)
      .join('\n'),
  )}`;
}

/** Buffers: q, k, v, o, g (gradient of o), dq, [mask], stats; stats gets the rows' sums of g * o. */
export const queryGradKernel = (spec: AttentionSpec): Kernel =>
  memo('attentionQueryGrad', spec, () => {
    const { block: b, elem, mask } = spec;
    return attentionKernel(
      'attentionQueryGrad',
      spec,
      queryGradOperands,
      ['dq'],
      'write',
      `let kvHead = h / p.group;
      ${['q', 'o', 'g', 'dq'].map((name) => base(name as OperandName, 'h')).join('\n')}
      ${base('k', 'kvHead')}
      ${base('v', 'kvHead')}
      ${statsBase('h')}
      ${maskBase(mask, 'h')}
      ${rowStats(b, elem)}
      ${zeroSums(b, 'd')}
      ${lastKey(b)}
      for (var col0 = 0u; col0 < end; col0 += ${blockCols(b)}u) {
        let cols = ${columnsOf(b)};
        ${contract(b, elem, 's', rows('q'), rows('k'))}
        ${contract(b, elem, 'w', rows('g'), rows('v'))}
        ${forRows(
          b,
          { s: vec(b), w: vec(b), most: 'f32', share: 'f32', pull: 'f32' },
          (row, of) => `{
            ${maskRow(spec, 'columns', row, of('s'))}
            let weights = exp(${of('s')} - ${vec(b)}(${of('most')})) * ${of('share')};
            let score = weights * (${of('w')} - ${vec(b)}(${of('pull')})) * p.scale;
            ${of('s')} = select(score, ${vec(b)}(0.0), hidden);
          }`,
        )}
        ${accumulate(b, elem, 'd', 's', rows('k'))}
      }
      ${storeSums(b, elem, 'd', rows('dq'))}`,
    );
  });

export const keyGradOperands = ['q', 'k', 'v', 'g', 'dk', 'dv'] as const;

/** Buffers: q, k, v, g, dk, dv, [mask], stats. Heads are those of the keys; their queries' heads add up. */
export const keyGradKernel = (spec: AttentionSpec): Kernel =>
  memo('attentionKeyGrad', spec, () => {
    const { block: b, elem, mask } = spec;
    const column = (plane: string): string =>
      `${vec(b)}(${parts(b)
        .map((part) => `stats[${plane}statsBase + here.${part}]`)
        .join(', ')})`;
    return attentionKernel(
      'attentionKeyGrad',
      spec,
      keyGradOperands,
      ['dk', 'dv'],
      'read',
      `${['k', 'v', 'dk', 'dv'].map((name) => base(name as OperandName, 'h')).join('\n')}
      ${zeroSums(b, 'dk')}
      ${zeroSums(b, 'dv')}
      let first = select(0u, row0 / ${blockCols(b)}u * ${blockCols(b)}u, p.causal != 0u);
      var col0 = first;
      var turn = select(0u, p.group, first >= p.L);
      while (turn < p.group) {
        let head = h * p.group + turn;
        ${base('q', 'head')}
        ${base('g', 'head')}
        ${statsBase('head')}
        ${maskBase(mask, 'head')}
        let cols = ${columnsOf(b)};
        let here = min(cols, ${vec(b, 'u32')}(p.L - 1u));
        ${contract(b, elem, 's', rows('k'), rows('q'))}
        let most = ${column('')};
        let share = ${column('p.plane + ')};
        let there = cols < ${vec(b, 'u32')}(p.L);
        ${eachRow(b, (r) => `var flat${r} = ${vec(b, 'bool')}(false);`)}
        {
          ${forRows(
            b,
            { s: vec(b), flat: vec(b, 'bool') },
            (row, of) => `{
              ${maskRow(spec, 'rows', row, of('s'))}
              ${of('s')} = select(${vec(b)}(0.0), exp(${of('s')} - most) * share, there);
              ${of('flat')} = hidden;
            }`,
          )}
        }
        ${accumulate(b, elem, 'dv', 's', rows('g'))}
        ${contract(b, elem, 'w', rows('v'), rows('g'))}
        let dots = ${column('2u * p.plane + ')};
        ${eachRow(b, (r) => `s${r} = select(s${r} * (w${r} - dots) * p.scale, ${vec(b)}(0.0), flat${r});`)}
        ${accumulate(b, elem, 'dk', 's', rows('q'))}
        col0 += ${blockCols(b)}u;
        if (col0 >= p.L) { col0 = first; turn++; }
      }
      ${storeSums(b, elem, 'dk', rows('dk'))}
      ${storeSums(b, elem, 'dv', rows('dv'))}`,
    );
  });
