import { readdirSync } from 'node:fs';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import { loadRows, unpack, upload, type HostTensor, type Packed } from '../rows.js';

/** One row of `test/cases/ops/<family>.json`; scripts/goldens/ops.py documents the fields. */
export interface Case {
  readonly op: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, { readonly expand?: readonly number[] }>>;
  readonly py: string;
  readonly ts: string;
  readonly grad?: readonly string[];
  readonly raises?: boolean;
  readonly tolerance?: readonly [rtol: number, atol: number];
  readonly layouts?: readonly LayoutName[];
  readonly kink?: boolean;
}

/** What PyTorch gave for a case. */
export interface Golden {
  readonly inputs: ReadonlyMap<string, HostTensor>;
  readonly outputs: readonly HostTensor[];
  readonly cotangents: readonly (HostTensor | null)[];
  /** Null where the output does not depend on the input. */
  readonly grads: ReadonlyMap<string, HostTensor | null>;
  /** Undefined where PyTorch raises. */
  readonly memory?: Memory;
}

/** What PyTorch allows; scripts/goldens/memory.py documents the fields. */
export interface Memory {
  readonly shares: readonly (string | null)[];
  readonly strides: readonly (readonly number[] | null)[];
  readonly written?: readonly (boolean | null)[];
  readonly inputs?: Readonly<Record<string, boolean>>;
}

export interface Family {
  readonly name: string;
  /** By op, in the order of the file. */
  readonly ops: ReadonlyMap<string, readonly { readonly row: Case; readonly golden: Golden }[]>;
}

interface GoldenEntry {
  readonly inputs: Readonly<Record<string, Packed>>;
  readonly outputs?: readonly Packed[];
  readonly cotangents?: readonly (Packed | null)[];
  readonly grads?: Readonly<Record<string, Packed | null>>;
  readonly memory?: Memory;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export function loadFamilies(): Family[] {
  const files = readdirSync(new URL('../cases/ops/', import.meta.url)).sort();
  return files.map((file) => loadFamily(file.replace('.json', '')));
}

function loadFamily(name: string): Family {
  const unpackOrNull = (packed: Packed | null): HostTensor | null =>
    packed === null ? null : unpack(packed);
  const ops = new Map<string, { row: Case; golden: Golden }[]>();
  for (const { row, golden: entry } of loadRows<Case, GoldenEntry>(`ops/${name}`)) {
    const golden: Golden = {
      inputs: new Map(Object.entries(entry.inputs).map(([key, packed]) => [key, unpack(packed)])),
      outputs: (entry.outputs ?? []).map(unpack),
      cotangents: (entry.cotangents ?? []).map(unpackOrNull),
      grads: new Map(Object.entries(entry.grads ?? {}).map(([key, packed]) => [key, unpackOrNull(packed)])),
      ...(entry.memory && { memory: entry.memory }),
    };
    const cases = ops.get(row.op);
    if (cases) cases.push({ row, golden });
    else ops.set(row.op, [{ row, golden }]);
  }
  return { name, ops };
}

/**
 * How an input lies in memory. The values seen through the view are the same in all of them:
 * - `permuted`: channels-last for four dims, reversed order of dims for others;
 * - `sliced`: the middle of longer rows, so that there is an offset and rows are apart;
 * - `expanded`: one copy along the dims that the row names, read with stride 0.
 */
export type LayoutName = 'contiguous' | 'permuted' | 'sliced' | 'expanded';

interface Layout {
  /** Whether the layout differs from contiguous for this input. */
  applies(shape: readonly number[], expand: readonly number[]): boolean;
  /** Contiguous values from which `view` makes the input; `host` is in logical order. */
  toBase(host: HostTensor, expand: readonly number[]): HostTensor;
  view(base: Tensor, shape: readonly number[]): Tensor;
  /** The gradient at the base, given the gradient at the input. */
  gradToBase(grad: HostTensor, expand: readonly number[]): HostTensor;
}

/** Visits every index of `shape` in row-major order. */
function forEachIndex(shape: readonly number[], visit: (index: readonly number[], i: number) => void): void {
  const index = shape.map(() => 0);
  const count = sizeOf(shape);
  for (let i = 0; i < count; i++) {
    visit(index, i);
    for (let d = shape.length - 1; d >= 0; d--) {
      index[d] = (index[d] as number) + 1;
      if ((index[d] as number) < (shape[d] as number)) break;
      index[d] = 0;
    }
  }
}

/**
 * The tensor of `shape` whose element at an index is `host`'s element number `from(index)`, or 0 for null.
 */
function remap(
  host: HostTensor,
  shape: readonly number[],
  from: (index: readonly number[]) => number | null,
): HostTensor {
  const data = host.dtype === 'float32' ? new Float32Array(sizeOf(shape)) : new Int32Array(sizeOf(shape));
  forEachIndex(shape, (index, i) => {
    const at = from(index);
    if (at !== null) data[i] = host.data[at] as number;
  });
  return { dtype: host.dtype, shape, data };
}

const rowMajor = (shape: readonly number[], index: readonly number[]): number =>
  index.reduce((at, i, d) => at * (shape[d] as number) + i, 0);

const storageOrder = (ndim: number): number[] =>
  ndim === 4 ? [0, 2, 3, 1] : Array.from({ length: ndim }, (_, d) => ndim - 1 - d);

function toPermuted(host: HostTensor): HostTensor {
  const order = storageOrder(host.shape.length);
  const shape = order.map((d) => host.shape[d] as number);
  return remap(host, shape, (index) => {
    const logical: number[] = [];
    order.forEach((d, i) => (logical[d] = index[i] as number));
    return rowMajor(host.shape, logical);
  });
}

const marginBefore = 1;
const marginAfter = 2;

/**
 * `filled`: what lies outside the view must not matter, so inputs get values there; gradients are zero there.
 */
function toSliced(host: HostTensor, filled: boolean): HostTensor {
  const last = host.shape[host.shape.length - 1] as number;
  const shape = [...host.shape.slice(0, -1), last + marginBefore + marginAfter];
  return remap(host, shape, (index) => {
    const column = (index[index.length - 1] as number) - marginBefore;
    if (column < 0 || column >= last) return filled && host.data.length > 0 ? 0 : null;
    return rowMajor(host.shape, [...index.slice(0, -1), column]);
  });
}

const layouts: Readonly<Record<LayoutName, Layout>> = {
  contiguous: {
    applies: () => true,
    toBase: (host) => host,
    view: (base) => base,
    gradToBase: (grad) => grad,
  },
  permuted: {
    applies: (shape) => shape.length >= 2,
    toBase: toPermuted,
    view: (base, shape) => {
      const inverse: number[] = [];
      storageOrder(shape.length).forEach((d, i) => (inverse[d] = i));
      return base.permute(inverse);
    },
    gradToBase: toPermuted,
  },
  sliced: {
    applies: (shape) => shape.length >= 1,
    toBase: (host) => toSliced(host, true),
    view: (base, shape) => base.narrow(-1, marginBefore, shape[shape.length - 1] as number),
    gradToBase: (grad) => toSliced(grad, false),
  },
  expanded: {
    applies: (_, expand) => expand.length > 0,
    toBase: (host, expand) => {
      const shape = host.shape.map((n, d) => (expand.includes(d) ? 1 : n));
      return remap(host, shape, (index) => rowMajor(host.shape, index));
    },
    view: (base, shape) => base.expand(shape),
    gradToBase: (grad, expand) => {
      const shape = grad.shape.map((n, d) => (expand.includes(d) ? 1 : n));
      const data = new Float32Array(sizeOf(shape));
      forEachIndex(grad.shape, (index, i) => {
        const at = rowMajor(
          shape,
          index.map((n, d) => (expand.includes(d) ? 0 : n)),
        );
        data[at] = (data[at] as number) + (grad.data[i] as number);
      });
      return { dtype: grad.dtype, shape, data };
    },
  },
};

/** The layouts that differ from each other for this case. Only cases with a gradient run in more than one. */
export function layoutsOf(row: Case, golden: Golden): LayoutName[] {
  const all = row.layouts ?? (Object.keys(layouts) as LayoutName[]);
  if (row.raises || row.grad === undefined) return ['contiguous'];
  return all.filter((name) =>
    [...golden.inputs].some(([key, host]) =>
      layouts[name].applies(host.shape, row.inputs[key]?.expand ?? []),
    ),
  );
}

export interface LaidInput {
  /** The leaf: contiguous values on the GPU. */
  readonly base: Tensor;
  /** The view of it that the op is given. */
  readonly input: Tensor;
  /** Maps the gradient at the input to that at the leaf. */
  gradToBase(grad: HostTensor): HostTensor;
}

export function layInput(
  name: LayoutName,
  host: HostTensor,
  expand: readonly number[],
  requiresGrad: boolean,
): LaidInput {
  const layout = layouts[layouts[name].applies(host.shape, expand) ? name : 'contiguous'];
  const base = upload(layout.toBase(host, expand));
  if (requiresGrad) base.requiresGrad_();
  return {
    base,
    input: layout.view(base, host.shape),
    gradToBase: (grad) => layout.gradToBase(grad, expand),
  };
}

const reserved = new Set([
  'var',
  'delete',
  'default',
  'function',
  'import',
  'export',
  'new',
  'class',
  'in',
  'do',
  'if',
]);
const scope = Object.entries({ ...k.nn.functional, ...k }).filter(([name]) => !reserved.has(name));
const scopeNames = scope.map(([name]) => name);
const scopeValues = scope.map(([, value]) => value as unknown);

/** Evaluates a row's `ts` with kindling's exports and the inputs in scope. */
export function evaluate(row: Case, inputs: Readonly<Record<string, Tensor>>): Tensor[] {
  // Inputs shadow exports: `b` or `e` may be both.
  const names = Object.keys(inputs);
  const outer = scopeNames.filter((name) => !(name in inputs));
  const outerValues = scopeValues.filter((_, i) => !((scopeNames[i] as string) in inputs));
  const run = new Function(...outer, ...names, `'use strict'; return (${row.ts});`) as (
    ...args: unknown[]
  ) => unknown;
  const result = run(...outerValues, ...names.map((name) => inputs[name]));
  return Array.isArray(result) ? (result as Tensor[]) : [result as Tensor];
}
