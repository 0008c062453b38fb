/**
 * WGSL of pointwise kernels. {@link pointwiseKernel} writes the kernel for an access pattern that the planner
 * (`planPointwise`, plan.ts) has chosen; layouts and sizes come in as launch parameters.
 */
import { dtypeInfo, loadCode, storeCode, wgslType, type DType, type Width } from '../base/dtype.js';
import { kNan } from '../expr/math.js';
import { inputsOf, type Expr } from '../expr/expr.js';
import { emit, WgslFunctions } from '../expr/wgsl.js';
import { checkIndexCode, indexFault } from '../base/faults.js';
import { reads, shader, writes } from '../base/shader.js';
import { linearWorkgroup, memoKernel, type Kernel, type ParamField, type Target } from '../base/kernel.js';

/**
 * How a kernel finds an operand's element. `flat`: in iteration order, from the start of the buffer;
 * `shifted`: the same from an offset; `scalar`: one element for all; `strided`: by coordinates. `inner` tells
 * what a vec4 of the innermost dimension is in memory: four neighbours, four copies of one element, or four
 * elements apart.
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
  readonly inputs: readonly {
    readonly dtype: DType;
    readonly access: OperandAccess;
    /** Index of the output whose buffer this input is; it then has no binding of its own. */
    readonly alias?: number;
    /** The value is the element's position itself (i32); there is no buffer. */
    readonly iota?: boolean;
    /** Indices (i32, of other inputs) that each add `index * stride` to the position. */
    readonly indirect?: readonly Expr[];
  }[];
  /** Dimensions of the iteration space; 1 when nothing is strided. */
  readonly rank: number;
  /** 4: every item is a vec4 along the innermost dimension. */
  readonly width: Width;
  readonly params: readonly ParamField[];
  /** Indices outside raise an error. */
  readonly checked: boolean;
  /** All outputs lie in the first one's buffer. */
  readonly oneBuffer?: boolean;
}

export interface ThreadShape {
  readonly group: number;
  readonly perThread: number;
}

/**
 * Threads per workgroup and items per thread: measured on lavapipe for `software` (a loop of 4 neighbours).
 */
export function threadShape(target: Target): ThreadShape {
  return target.kind === 'software' ? { group: 64, perThread: 4 } : { group: 256, perThread: 2 };
}

const accessKey = (a: OperandAccess): string =>
  a.kind === 'strided' ? `${a.inner[0]}${a.moves.map(Number).join('')}` : a.kind === 'scalar' ? 'c' : a.kind;

function specKey(s: PointwiseSpec, target: Target): string {
  const outs = s.exprs.map((x, i) => `${x.id}${s.outputs[i]!.dtype}${accessKey(s.outputs[i]!.access)}`);
  const ins = s.inputs.map((x) => {
    const from = x.iota ? '#' : (x.indirect?.map((i) => `@${i.id}`).join('') ?? '');
    return `${x.dtype}${accessKey(x.access)}${x.alias ?? ''}${from}`;
  });
  const params = s.params.map(([n, t]) => n + t);
  return `pointwise|${s.name}|${target.kind}|${s.rank}|${s.width}|${s.checked}|${s.oneBuffer ?? ''}|${outs}|${ins}|${params}`;
}

/**
 * Names and types of the launch parameters that hold an operand's offset, strides and index dimensions, in
 * order.
 */
function operandFields(tag: string, access: OperandAccess, indirect: readonly Expr[] = []): ParamField[] {
  return [
    ...operandParams(tag, access).map((n): ParamField => [n, 'u32']),
    ...indirect.flatMap((_, m): ParamField[] => [
      [`${tag}g${m}`, 'u32'],
      [`${tag}n${m}`, 'i32'],
    ]),
  ];
}

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

interface Loaded {
  /** Statements that declare `x{k}`. */
  readonly code: string;
  readonly width: Width;
}

/**
 * Element where the first lane of an operand's vec4 lies, and how far its lanes are apart (undefined: not at
 * all).
 */
function lanesOf(k: number, access: OperandAccess): { start: string; step?: string } {
  const at = indexCode(`i${k}`, access);
  if (access.kind !== 'strided' || access.inner !== 'lanes') return { start: at };
  const last = access.moves.length - 1;
  // The coordinate counts vec4s, the stride elements.
  return { start: at.replace(`c${last} *`, `4u * c${last} *`), step: `p.i${k}s${last}` };
}

function loadInput(k: number, spec: PointwiseSpec): Loaded {
  const { dtype, access, alias, iota } = spec.inputs[k]!;
  const { start, step } = lanesOf(k, access);
  const wide = spec.width === 4 && step !== undefined;
  if (iota) {
    const lane = wide
      ? `vec4<u32>(${start}) + vec4<u32>(0u, 1u, 2u, 3u) * ${step}`
      : indexCode(`i${k}`, access);
    return { code: `let x${k} = bitcast<${wgslType('i32', wide ? 4 : 1)}>(${lane});`, width: wide ? 4 : 1 };
  }
  const buffer = alias === undefined ? `i${k}` : `o${alias}`;
  if (wide) {
    const lanes = ['', ` + ${step}`, ` + 2u * ${step}`, ` + 3u * ${step}`].map((l) => `${buffer}[a${k}${l}]`);
    const value = loadCode(dtype, 4, `${wgslType(dtypeInfo[dtype].storage, 4)}(${lanes.join(', ')})`);
    return { code: `let a${k} = ${start};\nlet x${k} = ${value};`, width: 4 };
  }
  const width: Width = isVector(access, spec.width) ? 4 : 1;
  return {
    code: `let x${k} = ${loadCode(dtype, width, `${buffer}[${indexCode(`i${k}`, access)}]`)};`,
    width,
  };
}

/**
 * An input whose position depends on values of other inputs. Indices from the end are negative; others give
 * NaN or 0.
 */
function loadIndirect(
  k: number,
  spec: PointwiseSpec,
  loads: readonly (Loaded | undefined)[],
  fns: WgslFunctions,
): Loaded {
  const { dtype, access, alias, indirect = [] } = spec.inputs[k]!;
  const buffer = alias === undefined ? `i${k}` : `o${alias}`;
  const indexWidth: Width = indirect.some((x) => inputsOf(x).some((i) => loads[i]!.width === 4)) ? 4 : 1;
  const indices = emit(indirect, {
    width: indexWidth,
    functions: fns,
    prefix: `j${k}v`,
    input: (x) => ({ code: `x${x.index}`, width: loads[x.index]!.width }),
  });
  const int = wgslType('i32', indexWidth);
  const lines = [indices.code];
  const offsets: string[] = [];
  const outside: string[] = [];
  indirect.forEach((_, m) => {
    const j = `j${k}_${m}`;
    lines.push(`let ${j}n = ${int}(p.i${k}n${m});`);
    if (spec.checked) lines.push(checkIndexCode(indices.results[m]!, `p.i${k}n${m}`, indexWidth));
    lines.push(
      `let ${j} = ${indices.results[m]} + select(${int}(0), ${j}n, ${indices.results[m]} < ${int}(0));`,
    );
    offsets.push(`bitcast<${wgslType('u32', indexWidth)}>(clamp(${j}, ${int}(0), ${j}n - 1)) * p.i${k}g${m}`);
    outside.push(`(${j} < ${int}(0)) | (${j} >= ${j}n)`);
  });
  lines.push(`let far${k} = ${offsets.join(' + ')};`, `let b${k} = ${outside.join(' | ')};`);
  const { start, step } = lanesOf(k, access);
  const vector = isVector(access, spec.width);
  const apart = spec.width === 4 && !vector && (step !== undefined || indexWidth === 4);
  const width: Width = vector || apart ? 4 : 1;
  let stored = `${buffer}[${indexCode(`i${k}`, access)} + far${k}]`;
  if (apart) {
    lines.push(`let a${k} = ${start};`);
    const lanes = ['x', 'y', 'z', 'w'].map(
      (l, n) =>
        `${buffer}[a${k}${step ? ` + ${n}u * ${step}` : ''} + far${k}${indexWidth === 4 ? `.${l}` : ''}]`,
    );
    stored = `${wgslType(dtypeInfo[dtype].storage, 4)}(${lanes.join(', ')})`;
  }
  const compute = dtypeInfo[dtype].compute;
  const type = wgslType(compute, width);
  const missing =
    compute === 'f32' ? `${fns.use(kNan, width)}()` : `${type}(${compute === 'bool' ? 'false' : '0'})`;
  const bad = width === indexWidth ? `b${k}` : `${wgslType('bool', width)}(b${k})`;
  lines.push(`let x${k} = select(${loadCode(dtype, width, stored)}, ${missing}, ${bad});`);
  return { code: lines.join('\n'), width };
}

/** Loads of all inputs; those that depend on others come last. */
function loadAll(spec: PointwiseSpec, fns: WgslFunctions): { code: string; widths: readonly Width[] } {
  const loads: (Loaded | undefined)[] = spec.inputs.map((x, k) =>
    x.indirect ? undefined : loadInput(k, spec),
  );
  const lines = loads.flatMap((l) => (l ? [l.code] : []));
  spec.inputs.forEach((x, k) => {
    if (!x.indirect) return;
    const loaded = loadIndirect(k, spec, loads, fns);
    lines.push(loaded.code);
    loads[k] = loaded;
  });
  return { code: lines.join('\n'), widths: loads.map((l) => l!.width) };
}

export function pointwiseKernel(target: Target, spec: PointwiseSpec): Kernel {
  return memoKernel(specKey(spec, target), () => {
    const { width, rank } = spec;
    const { group, perThread } = threadShape(target);
    const functions = new WgslFunctions();
    const bound = spec.inputs
      .map((_, k) => k)
      .filter((k) => spec.inputs[k]!.alias === undefined && !spec.inputs[k]!.iota);
    const typeOf = ({ dtype, access }: { dtype: DType; access: OperandAccess }): string =>
      wgslType(dtypeInfo[dtype].storage, isVector(access, width) ? 4 : 1);

    const loads = loadAll(spec, functions);
    const values = emit(spec.exprs, {
      width,
      functions,
      input: (x) => ({ code: `x${x.index}`, width: loads.widths[x.index]! }),
    });
    const stores = spec.outputs.map(
      ({ dtype, access }, j) =>
        `o${spec.oneBuffer ? 0 : j}[${indexCode(`o${j}`, access)}] = ${storeCode(dtype, width, values.results[j]!)};`,
    );
    const body = [loads.code, values.code, ...stores].join('\n');

    const strided = rank > 1 || [...spec.inputs, ...spec.outputs].some((o) => o.access.kind === 'strided');
    const decode = strided ? decodeCode(rank) : '';
    const main =
      target.kind === 'software'
        ? `let begin = thread * ${perThread}u;
  let end = min(p.nAll, begin + ${perThread}u);
  ${strided ? `var i = begin;\n  ${decode}` : ''}
  for (${strided ? '' : 'var i = begin'}; i < end; i++) {
    ${body}
    ${strided ? advanceCode(rank) : ''}
  }`
        : `for (var k = 0u; k < ${perThread}u; k++) {
    let i = (group * ${perThread}u + k) * ${group}u + lid;
    if (i < p.nAll) {
      ${decode}
      ${body}
    }
  }`;
    return {
      name: spec.name,
      ...shader({
        bindings: [
          ...bound.map((k) => reads(`i${k}`, typeOf(spec.inputs[k]!))),
          ...spec.outputs.slice(0, spec.oneBuffer ? 1 : undefined).map((o, j) => writes(`o${j}`, typeOf(o))),
        ],
        functions: functions.code(),
        workgroup: group,
        builtins: ['wid', 'nwg', 'lid'],
        body: `  let group = ${linearWorkgroup};
  ${target.kind === 'software' ? `let thread = group * ${group}u + lid;` : ''}
  ${main}`,
      }),
      params: [
        ...spec.params,
        ['nAll', 'u32'],
        ...(strided ? Array.from({ length: rank - 1 }, (_, d): ParamField => [`n${d + 1}`, 'u32']) : []),
        ...spec.inputs.flatMap((x, k) => operandFields(`i${k}`, x.access, x.indirect)),
        ...spec.outputs.flatMap((x, j) => operandFields(`o${j}`, x.access)),
      ],
      ...(spec.checked && { fault: indexFault(spec.name) }),
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
