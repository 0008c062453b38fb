/**
 * WGSL of pointwise kernels. {@link pointwiseKernel} writes the kernel for an access pattern that the planner
 * (`planPointwise`, pointwise.ts) has chosen; layouts and sizes come in as launch parameters.
 */
import { dtypeInfo, loadCode, storeCode, wgslType, type DType } from './dtype.js';
import type { Expr } from './expr.js';
import { emit, WgslFunctions, type Width } from './expr-wgsl.js';
import { linearWorkgroup, memoKernel, type Kernel, type ParamField, type Target } from './kernel.js';

/**
 * How a kernel finds an operand's element. `flat`: in iteration order, from the start of the buffer; `shifted`: the same
 * from an offset; `scalar`: one element for all; `strided`: by coordinates. `inner` tells what a vec4 of the innermost
 * dimension is in memory: four neighbours, four copies of one element, or four elements apart.
 */
export type OperandAccess =
  | { readonly kind: 'flat' | 'shifted' | 'scalar' }
  | {
      readonly kind: 'strided';
      readonly moves: readonly boolean[];
      readonly inner: 'vec' | 'splat' | 'lanes';
    };

export interface PointwiseSpec {
  readonly name: string;
  /** Values of the outputs; types are those the output dtypes compute in. */
  readonly exprs: readonly Expr[];
  readonly outputs: readonly { readonly dtype: DType; readonly access: OperandAccess }[];
  /** `alias`: index of the output whose buffer this input is; it then has no binding of its own. */
  readonly inputs: readonly {
    readonly dtype: DType;
    readonly access: OperandAccess;
    readonly alias?: number;
  }[];
  /** Dimensions of the iteration space; 1 when nothing is strided. */
  readonly rank: number;
  /** 4: every item is a vec4 along the innermost dimension. */
  readonly width: Width;
  readonly params: readonly ParamField[];
}

export interface ThreadShape {
  readonly group: number;
  readonly perThread: number;
}

/** Threads per workgroup and items per thread: measured on lavapipe for `software` (a loop of 4 neighbours). */
export function threadShape(target: Target): ThreadShape {
  return target.kind === 'software' ? { group: 64, perThread: 4 } : { group: 256, perThread: 2 };
}

const accessKey = (a: OperandAccess): string =>
  a.kind === 'strided' ? `${a.inner[0]}${a.moves.map(Number).join('')}` : a.kind === 'scalar' ? 'c' : a.kind;

function specKey(s: PointwiseSpec, target: Target): string {
  const outs = s.exprs.map((x, i) => `${x.id}${s.outputs[i]!.dtype}${accessKey(s.outputs[i]!.access)}`);
  const ins = s.inputs.map((x) => `${x.dtype}${accessKey(x.access)}${x.alias ?? ''}`);
  const params = s.params.map(([n, t]) => n + t);
  return `pointwise|${s.name}|${target.kind}|${s.rank}|${s.width}|${outs}|${ins}|${params}`;
}

/** Names of the launch parameters that hold an operand's offset and strides, in order. */
function operandParams(tag: string, access: OperandAccess): string[] {
  if (access.kind === 'flat') return [];
  if (access.kind !== 'strided') return [`${tag}o`];
  const names = [`${tag}o`];
  access.moves.forEach((moves, d) => {
    // Four neighbours of the inner dimension advance by one vec4.
    if (moves && !(d === access.moves.length - 1 && access.inner === 'vec')) names.push(`${tag}s${d}`);
  });
  return names;
}

/** Index of an operand's element (or vec4) at the current item. */
function indexCode(tag: string, access: OperandAccess): string {
  if (access.kind !== 'strided')
    return { flat: 'i', shifted: `i + p.${tag}o`, scalar: `p.${tag}o` }[access.kind];
  const rank = access.moves.length;
  const terms = [`p.${tag}o`];
  access.moves.forEach((moves, d) => {
    if (!moves) return;
    if (d < rank - 1 || access.inner !== 'vec') terms.push(`c${d} * p.${tag}s${d}`);
    else terms.push(`c${d}`);
  });
  return terms.join(' + ');
}

/** Whether the operand's array is declared as vec4s. */
export const isVector = (access: OperandAccess, width: Width): boolean =>
  width === 4 &&
  (access.kind === 'flat' ||
    access.kind === 'shifted' ||
    (access.kind === 'strided' && access.inner === 'vec'));

/** Statements that load input `k` into `x{k}`, and the width of that variable. */
function loadInput(
  k: number,
  buffer: string,
  dtype: DType,
  access: OperandAccess,
  width: Width,
): { code: string; width: Width } {
  const name = `x${k}`;
  const at = indexCode(`i${k}`, access);
  if (access.kind === 'strided' && access.inner === 'lanes' && width === 4) {
    const s = `p.i${k}s${access.moves.length - 1}`;
    const type = wgslType(dtypeInfo[dtype].storage, 4);
    const lanes = ['a', `a + ${s}`, `a + 2u * ${s}`, `a + 3u * ${s}`].map((lane) => `${buffer}[${lane}]`);
    // The coordinate counts vec4s, the stride elements.
    const start = at.replace(`c${access.moves.length - 1} *`, `4u * c${access.moves.length - 1} *`);
    const value = loadCode(dtype, 4, `${type}(${lanes.join(', ')})`);
    return {
      code: `var ${name}: ${wgslType(dtypeInfo[dtype].compute, 4)};\n{ let a = ${start}; ${name} = ${value}; }`,
      width: 4,
    };
  }
  const w: Width = isVector(access, width) ? 4 : 1;
  return { code: `let ${name} = ${loadCode(dtype, w, `${buffer}[${at}]`)};`, width: w };
}

export function pointwiseKernel(target: Target, spec: PointwiseSpec): Kernel {
  return memoKernel(specKey(spec, target), () => {
    const { width, rank } = spec;
    const { group, perThread } = threadShape(target);
    const functions = new WgslFunctions();
    const bound = spec.inputs.map((_, k) => k).filter((k) => spec.inputs[k]!.alias === undefined);
    const operands = [
      ...bound.map((k) => ({
        ...spec.inputs[k]!,
        tag: `i${k}`,
        access: spec.inputs[k]!.access,
        mode: 'read' as const,
      })),
      ...spec.outputs.map((o, j) => ({ ...o, tag: `o${j}`, mode: 'write' as const })),
    ];
    const declarations = operands.map(({ dtype, access, tag, mode }, binding) => {
      const type = wgslType(dtypeInfo[dtype].storage, isVector(access, width) ? 4 : 1);
      const kind = mode === 'read' ? 'storage, read' : 'storage, read_write';
      return `@group(0) @binding(${binding}) var<${kind}> ${tag}: array<${type}>;`;
    });

    const loads = spec.inputs.map(({ dtype, access, alias }, k) =>
      loadInput(k, alias === undefined ? `i${k}` : `o${alias}`, dtype, access, width),
    );
    const values = emit(spec.exprs, {
      width,
      functions,
      input: (x) => ({ code: `x${x.index}`, width: loads[x.index]!.width }),
    });
    const stores = spec.outputs.map(
      ({ dtype, access }, j) =>
        `o${j}[${indexCode(`o${j}`, access)}] = ${storeCode(dtype, width, values.results[j]!)};`,
    );
    const body = [...loads.map((l) => l.code), values.code, ...stores].join('\n');

    const strided =
      rank > 1 ||
      operands.some((o) => o.access.kind === 'strided') ||
      spec.inputs.some((x) => x.access.kind === 'strided');
    const decode = strided ? decodeCode(rank) : '';
    const main =
      target.kind === 'software'
        ? `let begin = thread * ${perThread}u;
  let end = min(p.n, begin + ${perThread}u);
  ${strided ? `var i = begin;\n  ${decode}` : ''}
  for (${strided ? '' : 'var i = begin'}; i < end; i++) {
    ${body}
    ${strided ? advanceCode(rank) : ''}
  }`
        : `for (var k = 0u; k < ${perThread}u; k++) {
    let i = (group * ${perThread}u + k) * ${group}u + lid;
    if (i < p.n) {
      ${decode}
      ${body}
    }
  }`;
    const wgsl = `${declarations.join('\n')}
${functions.code()}
@compute @workgroup_size(${group})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let group = ${linearWorkgroup};
  ${target.kind === 'software' ? `let thread = group * ${group}u + lid;` : ''}
  ${main}
}`;
    const f16 = [...spec.inputs, ...spec.outputs].some((o) => o.dtype === 'float16');
    return {
      name: spec.name,
      wgsl,
      bindings: operands.map((o) => o.mode),
      params: [
        ...spec.params,
        ['n', 'u32'],
        ...(strided ? Array.from({ length: rank - 1 }, (_, d): ParamField => [`n${d + 1}`, 'u32']) : []),
        ...spec.inputs.flatMap((x, k) => operandParams(`i${k}`, x.access).map((n): ParamField => [n, 'u32'])),
        ...spec.outputs.flatMap((x, j) =>
          operandParams(`o${j}`, x.access).map((n): ParamField => [n, 'u32']),
        ),
      ],
      ...(f16 ? { enables: ['f16'] as const } : {}),
    };
  });
}

/** Coordinates c0 .. c{rank-1} of item `i`. */
function decodeCode(rank: number): string {
  if (rank === 1) return 'var c0 = i;';
  const lines = ['var t = i;'];
  for (let d = rank - 1; d > 0; d--) lines.push(`var c${d} = t % p.n${d}; t = t / p.n${d};`);
  lines.push('var c0 = t;');
  return lines.join('\n');
}

/** Steps the coordinates to the next item without a division. */
function advanceCode(rank: number): string {
  let code = 'c0++;';
  for (let d = 1; d < rank; d++) code = `c${d}++; if (c${d} == p.n${d}) { c${d} = 0u; ${code} }`;
  return code;
}
