/**
 * What fused attention is made of: a block of rows by columns whose products stay on the chip. Two forms:
 *
 * - `shared`, for GPUs: 128 invocations of 4 rows by 4 (or 2) columns each. Operands are staged in workgroup
 * memory, which the phases of a step use in turn, so that 16 KiB do for all head sizes.
 * - `subgroup`, for the software driver: the eight lanes of one subgroup lie along the columns and hold all
 * rows in registers; lanes hand each other values by broadcast and shuffle, without barriers.
 *
 * Rows lie along one operand (queries, or keys in the gradient of the keys), columns along the other. In
 * WGSL, `s0..` are an invocation's rows of scores, a vector of its columns each; `o0_0..` its rows of a sum,
 * some vec4 each.
 */
import type { Target } from '../base/kernel.js';
import { hasBroadcast, range } from '../matmul/tile.js';
import type { Elem } from '../base/plan.js';

export interface Block {
  readonly style: 'shared' | 'subgroup';
  /** Rows and columns of one invocation. */
  readonly rows: number;
  readonly cols: 2 | 4;
  /** Invocations along the columns and along the rows of a workgroup. */
  readonly lanes: number;
  readonly lanesY: number;
  /** How many vec4 an invocation holds of each row of a sum. */
  readonly vectors: number;
}

export const blockRows = (b: Block): number => b.rows * b.lanesY;
export const blockCols = (b: Block): number => b.cols * b.lanes;
export const blockKey = (b: Block): string =>
  `${b.style[0]}${b.rows}x${b.cols}x${b.lanes}x${b.lanesY}v${b.vectors}`;

/** Least power of two that is at least `n`. */
const powerOf2 = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));

const invocations = 128;

/** The block for `sums` sums of `width` numbers per row: few classes, so that there are few kernels. */
export function chooseBlock(target: Target, width: number, sums: 1 | 2): Block {
  if (hasBroadcast(target)) {
    const vectors = powerOf2(width / 32);
    return { style: 'subgroup', rows: vectors <= 2 ? 16 : 8, cols: 4, lanes: 8, lanesY: 1, vectors };
  }
  // More lanes along a wide row, so that its sums fit an invocation's registers.
  const wide = sums * width > 128;
  const lanes = wide ? 16 : 8;
  return {
    style: 'shared',
    rows: 4,
    cols: wide ? 2 : 4,
    lanes,
    lanesY: invocations / lanes,
    vectors: powerOf2(width / (4 * lanes)),
  };
}

/** A matrix of vec4 in storage: rows begin at `base + index * stride`, and `size` of them are there. */
export interface Rows {
  readonly name: string;
  readonly base: string;
  readonly stride: string;
  /** WGSL: how many rows there are, and how many vec4 each has. */
  readonly count: string;
  readonly depth: string;
}

const xyzw = ['x', 'y', 'z', 'w'] as const;
export const vec = (b: Block, type = 'f32'): string => `vec${b.cols}<${type}>`;
/** The components of a vector of columns. */
export const parts = (b: Block): readonly string[] => xyzw.slice(0, b.cols);

const load = (elem: Elem, { name }: Rows, index: string): string =>
  elem === 'f16' ? `vec4<f32>(${name}[${index}])` : `${name}[${index}]`;

/** vec4 of a row in workgroup memory at a step of the sum over the head's numbers, and a gap behind them. */
const chunk = 8;
const pitch = chunk + 1;
/** vec4 of workgroup memory: 16 KiB, what every adapter has. */
const room = 1024;

/** Declarations outside of the entry point. */
export const blockMemory = (b: Block): string =>
  b.style === 'shared' ? `var<workgroup> tile: array<vec4<f32>, ${room}>;` : '';

/** Declares the invocation's place; `lid` is its index in the workgroup, `row0` the block's first row. */
export const blockPlace = (b: Block): string =>
  b.style === 'shared'
    ? `let tx = lid % ${b.lanes}u;\nlet ty = lid / ${b.lanes}u;`
    : 'let tx = lid;\nlet ty = 0u;';

/** WGSL: number of row `r` of this invocation. */
export const rowOf = (b: Block, r: number): string =>
  b.style === 'shared' ? `(row0 + ty + ${r * b.lanesY}u)` : `(row0 + ${r}u)`;

/** WGSL: numbers of this invocation's columns, a vector; the block's first is `col0`. */
export function columnsOf(b: Block): string {
  const steps = range(b.cols).map((c) => `${b.style === 'shared' ? c * b.lanes : c}u`);
  const first = b.style === 'shared' ? 'col0 + tx' : 'col0 + tx * 4u';
  return `${vec(b, 'u32')}(${first}) + ${vec(b, 'u32')}(${steps.join(', ')})`;
}

export const eachRow = (b: Block, line: (r: number) => string): string => range(b.rows).map(line).join('\n');

/** WGSL: zero, which the software driver cannot know; it unrolls loops of constant length at any price. */
const hiddenZero = '(nwg.x >> 31u)';

/**
 * WGSL that runs `line` for each row, with its number and with the names of its variables `vars`, whose types
 * are given: written out, or on the software driver round a loop, for that driver's code grows with the text.
 */
export function forRows(
  b: Block,
  vars: Readonly<Record<string, string>>,
  line: (row: string, of: (name: string) => string) => string,
): string {
  if (b.style === 'shared') return eachRow(b, (r) => line(rowOf(b, r), (name) => `${name}${r}`));
  const names = Object.entries(vars);
  const all = (name: string): string =>
    range(b.rows)
      .map((r) => `${name}${r}`)
      .join(', ');
  return `${names.map(([name, type]) => `var ${name}All = array<${type}, ${b.rows}>(${all(name)});`).join('\n')}
  for (var r = 0u; r < ${b.rows}u + ${hiddenZero}; r++) {
    ${line('(row0 + r)', (name) => `${name}All[r]`)}
  }
  ${names.map(([name]) => eachRow(b, (r) => `${name}${r} = ${name}All[${r}];`)).join('\n')}`;
}

/** WGSL that declares `s0..`: the products of rows with columns, summed over `depth` vec4. */
export function contract(b: Block, elem: Elem, s: string, rows: Rows, cols: Rows): string {
  const declared = eachRow(b, (r) => `var ${s}${r} = ${vec(b)}(0.0);`);
  return `${declared}\n{\n${b.style === 'shared' ? sharedContract(b, elem, s, rows, cols) : laneContract(b, elem, s, rows, cols)}\n}`;
}

function sharedContract(b: Block, elem: Elem, s: string, rows: Rows, cols: Rows): string {
  const second = blockRows(b) * pitch;
  const stage = (at: number, count: number, first: string, of: Rows): string =>
    `for (var i = lid; i < ${count * chunk}u; i += ${invocations}u) {
      let r = i / ${chunk}u; let e = e0 + i % ${chunk}u;
      let source = ${of.base} + min(${first} + r, ${of.count} - 1u) * ${of.stride} + min(e, ${of.depth} - 1u);
      tile[${at}u + r * ${pitch}u + i % ${chunk}u] = select(vec4<f32>(0.0), ${load(elem, of, 'source')}, e < ${of.depth});
    }`;
  const products = (r: number): string =>
    range(b.cols)
      .map((c) => `dot(x${r}, y${c})`)
      .join(', ');
  return `for (var e0 = 0u; e0 < ${rows.depth}; e0 += ${chunk}u) {
    workgroupBarrier();
    ${stage(0, blockRows(b), 'row0', rows)}
    ${stage(second, blockCols(b), 'col0', cols)}
    workgroupBarrier();
    for (var i = 0u; i < ${chunk}u; i++) {
      ${eachRow(b, (r) => `let x${r} = tile[(ty + ${r * b.lanesY}u) * ${pitch}u + i];`)}
      ${range(b.cols)
        .map((c) => `let y${c} = tile[${second}u + (tx + ${c * b.lanes}u) * ${pitch}u + i];`)
        .join('\n')}
      ${eachRow(b, (r) => `${s}${r} += ${vec(b)}(${products(r)});`)}
    }
  }`;
}

/** WGSL: scalars times vec4s, added up in order. */
const sumOfProducts = (products: readonly (readonly [scalar: string, vector: string])[]): string =>
  products.reduce(
    (sum, [scalar, vector]) =>
      sum === '' ? `${scalar} * ${vector}` : `fma(vec4<f32>(${scalar}), ${vector}, ${sum})`,
    '',
  );

function laneContract(b: Block, elem: Elem, s: string, rows: Rows, cols: Rows): string {
  const four = range(4);
  const groups = range(b.rows / 8);
  const place = ({ base, count, stride }: Rows, index: string): string =>
    `${base} + min(${index}, ${count} - 1u) * ${stride}`;
  return `${groups.map((i) => `let x${i} = ${place(rows, `row0 + ${8 * i}u + tx`)};`).join('\n')}
  ${four.map((c) => `let y${c} = ${place(cols, `col0 + tx * 4u + ${c}u`)};`).join('\n')}
  for (var e = 0u; e < ${rows.depth}; e++) {
    ${groups.map((i) => `let a${i} = ${load(elem, rows, `x${i} + e`)};`).join('\n')}
    ${four.map((c) => `let t${c} = ${load(elem, cols, `y${c} + e`)};`).join('\n')}
    ${four.map((q) => `let b${q} = vec4<f32>(${four.map((c) => `t${c}.${xyzw[q]}`).join(', ')});`).join('\n')}
    ${eachRow(b, (r) => {
      const left = four.map((q) => `subgroupBroadcast(a${r >> 3}.${xyzw[q]}, ${r & 7}u)`);
      // Products first: the sum is blended by the execution mask, once.
      return `${s}${r} += ${sumOfProducts(left.map((value, q) => [value, `b${q}`]))};`;
    })}
  }`;
}

/** WGSL that declares sums of zeros. */
export const zeroSums = (b: Block, o: string): string =>
  eachRow(b, (r) =>
    range(b.vectors)
      .map((j) => `var ${o}${r}_${j} = vec4<f32>(0.0);`)
      .join('\n'),
  );

/** WGSL: each vec4 of a row's sum. */
export const eachSum = (b: Block, o: string, r: number, line: (sum: string) => string): string =>
  range(b.vectors)
    .map((j) => line(`${o}${r}_${j}`))
    .join('\n');

/**
 * WGSL that adds the scores `s` times the columns' rows of `cols` to the sums `o`. On a GPU each block's
 * products are summed by themselves first: sums over thousands of columns lose less so.
 */
export const accumulate = (b: Block, elem: Elem, o: string, s: string, cols: Rows): string =>
  `{\n${b.style === 'shared' ? sharedAccumulate(b, elem, o, s, cols) : laneAccumulate(b, elem, o, s, cols)}\n}`;

function sharedAccumulate(b: Block, elem: Elem, o: string, s: string, cols: Rows): string {
  const width = b.lanes * b.vectors;
  const second = blockCols(b) * b.lanesY;
  const all = blockCols(b);
  const piece = Math.min(all, powerOf2((room - second) / width + 1) / 2);
  return `workgroupBarrier();
  ${parts(b)
    .map((part, c) => {
      const four = range(4).map((r) => `${s}${r}.${part}`);
      return `tile[(tx + ${c * b.lanes}u) * ${b.lanesY}u + ty] = vec4<f32>(${four.join(', ')});`;
    })
    .join('\n')}
  ${zeroSums(b, 'block')}
  for (var c0 = 0u; c0 < ${all}u; c0 += ${piece}u) {
    ${piece < all ? 'workgroupBarrier();' : ''}
    for (var i = lid; i < ${piece * width}u; i += ${invocations}u) {
      let c = col0 + c0 + i / ${width}u; let e = i % ${width}u;
      let source = ${cols.base} + min(c, ${cols.count} - 1u) * ${cols.stride} + min(e, ${cols.depth} - 1u);
      tile[${second}u + i] = select(vec4<f32>(0.0), ${load(elem, cols, 'source')}, c < ${cols.count} && e < ${cols.depth});
    }
    workgroupBarrier();
    for (var c = 0u; c < ${piece}u; c++) {
      let x = tile[(c0 + c) * ${b.lanesY}u + ty];
      ${range(b.vectors)
        .map((j) => `let y${j} = tile[${second}u + c * ${width}u + tx + ${j * b.lanes}u];`)
        .join('\n')}
      ${eachRow(b, (r) =>
        range(b.vectors)
          .map((j) => `block${r}_${j} += x.${xyzw[r]} * y${j};`)
          .join('\n'),
      )}
    }
  }
  ${eachRow(b, (r) =>
    range(b.vectors)
      .map((j) => `${o}${r}_${j} += block${r}_${j};`)
      .join('\n'),
  )}`;
}

function laneAccumulate(b: Block, elem: Elem, o: string, s: string, cols: Rows): string {
  const four = range(4);
  const vectors = range(b.vectors);
  return `for (var turn8 = 0u; turn8 < 8u + ${hiddenZero}; turn8++) {
    ${four
      .map(
        (c) => `let c${c} = col0 + 4u * turn8 + ${c}u;
    let y${c} = ${cols.base} + min(c${c}, ${cols.count} - 1u) * ${cols.stride};
    ${vectors
      .map((j) => {
        const from = `y${c} + min(tx + ${8 * j}u, ${cols.depth} - 1u)`;
        return `let v${c}_${j} = select(vec4<f32>(0.0), ${load(elem, cols, from)}, c${c} < ${cols.count});`;
      })
      .join('\n')}`,
      )
      .join('\n')}
    ${eachRow(b, (r) => {
      const sums = vectors.map(
        (j) => `${o}${r}_${j} += ${sumOfProducts(four.map((c) => [`x${r}.${xyzw[c]}`, `v${c}_${j}`]))};`,
      );
      return [`let x${r} = subgroupShuffle(${s}${r}, turn8);`, ...sums].join('\n');
    })}
  }`;
}

/** WGSL that declares `to0..`: for each row, `values(r)` of all lanes joined by `op`. */
export function acrossLanes(b: Block, to: string, op: 'max' | 'sum', values: (r: number) => string): string {
  const join = (x: string, y: string): string => (op === 'max' ? `max(${x}, ${y})` : `${x} + ${y}`);
  if (b.style === 'subgroup')
    return eachRow(
      b,
      (r) => `let ${to}${r}a = ${values(r)};
  let ${to}${r}b = ${join(`${to}${r}a`, `subgroupShuffleXor(${to}${r}a, 1u)`)};
  let ${to}${r}c = ${join(`${to}${r}b`, `subgroupShuffleXor(${to}${r}b, 2u)`)};
  let ${to}${r} = ${join(`${to}${r}c`, `subgroupShuffleXor(${to}${r}c, 4u)`)};`,
    );
  return `workgroupBarrier();
  tile[ty * ${b.lanes}u + tx] = vec4<f32>(${range(4).map(values).join(', ')});
  workgroupBarrier();
  var ${to} = tile[ty * ${b.lanes}u];
  for (var i = 1u; i < ${b.lanes}u; i++) { ${to} = ${join(to, `tile[ty * ${b.lanes}u + i]`)}; }
  ${eachRow(b, (r) => `let ${to}${r} = ${to}.${xyzw[r]};`)}`;
}

/** The largest column of a row's scores, or their sum. */
export function acrossColumns(b: Block, op: 'max' | 'sum', v: string): string {
  const [x, y, z, w] = parts(b).map((part) => `${v}.${part}`);
  const two = (p: string, q: string): string => (op === 'max' ? `max(${p}, ${q})` : `(${p} + ${q})`);
  return b.cols === 2 ? two(x!, y!) : two(two(x!, y!), two(z!, w!));
}

/** WGSL that stores the sums `o` as rows of `out`, those that are there. */
export function storeSums(b: Block, elem: Elem, o: string, out: Rows): string {
  const stored = (sum: string): string => (elem === 'f16' ? `vec4<f16>(${sum})` : sum);
  if (b.style === 'shared')
    return eachRow(
      b,
      (r) => `if (${rowOf(b, r)} < ${out.count}) {
    let to = ${out.base} + ${rowOf(b, r)} * ${out.stride};
    ${range(b.vectors)
      .map((j) => {
        const e = `tx + ${j * b.lanes}u`;
        return `if (${e} < ${out.depth}) { ${out.name}[to + ${e}] = ${stored(`${o}${r}_${j}`)}; }`;
      })
      .join('\n')}
  }`,
    );
  // Round a loop: written out, the checks of every store take this driver longer to compile than the rest.
  const all = range(b.rows).flatMap((r) => range(b.vectors).map((j) => `${o}${r}_${j}`));
  return `{
    var sums = array<vec4<f32>, ${all.length}>(${all.join(', ')});
    let rowsHere = min(${b.rows}u, ${out.count} - row0);
    for (var i = 0u; i < rowsHere * ${b.vectors}u; i++) {
      let e = tx + 8u * (i % ${b.vectors}u);
      if (e < ${out.depth}) {
        ${out.name}[${out.base} + (row0 + i / ${b.vectors}u) * ${out.stride} + e] = ${stored('sums[i]')};
      }
    }
  }`;
}
