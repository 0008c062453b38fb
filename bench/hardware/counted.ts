/**
 * Kernels that count what their invocations do: a copy of a kernel with counters put into its text. Numbers
 * of steps and accesses depend on no machine's speed, so they can be had without the GPU that they are for.
 */
import type { Grid, Kernel } from '../../src/kernels/base/kernel.js';

/** An array in storage or workgroup memory whose accesses are counted. */
export interface CountedArray {
  readonly name: string;
  readonly space: 'storage' | 'workgroup';
  readonly written: boolean;
  readonly bytesPerElement: number;
}

export interface CountedKernel {
  /** Binds one more buffer, of {@link words} words, behind the kernel's own. */
  readonly kernel: Kernel;
  readonly arrays: readonly CountedArray[];
  /** The most loop passes of one invocation, the most barriers, then the accesses of each array in all. */
  readonly words: number;
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** Bytes of workgroup memory that it declares. */
  readonly workgroupBytes: number;
}

/** Which workgroups run: `runs` of them per dimension, `stride` apart. */
export interface Sample {
  readonly grid: Grid;
  readonly runs: Grid;
}

const scalarBytes: Readonly<Record<string, number>> = {
  f32: 4,
  u32: 4,
  i32: 4,
  f16: 2,
  f: 4,
  u: 4,
  i: 4,
  h: 2,
};

/** Bytes of a WGSL type, of arrays of a literal length too. */
export function bytesOfType(type: string): number {
  const t = type.replace(/\s/g, '');
  const array = /^array<(.+),(\d+)u?>$/.exec(t);
  if (array) return bytesOfType(array[1]!) * Number(array[2]);
  const atomic = /^atomic<(\w+)>$/.exec(t);
  if (atomic) return bytesOfType(atomic[1]!);
  const vector = /^vec(\d)(?:<(\w+)>|(\w))$/.exec(t);
  const bytes = vector ? Number(vector[1]) * scalarBytes[vector[2] ?? vector[3]!]! : scalarBytes[t];
  if (bytes === undefined || Number.isNaN(bytes)) throw new Error(`counted: unknown size of '${type}'`);
  return bytes;
}

/** The place behind the bracket that closes the one at `open`. */
function closing(text: string, open: number): number {
  const pairs: Readonly<Record<string, string>> = { '[': ']', '(': ')', '{': '}' };
  const [opener, closer] = [text[open]!, pairs[text[open]!]!];
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === opener) depth++;
    else if (text[i] === closer && --depth === 0) return i;
  }
  throw new Error(`counted: nothing closes '${text.slice(open, open + 40)}'`);
}

/** Every access `name[index]` also calls `touchN_`. */
function touching(code: string, names: readonly string[]): string {
  if (names.length === 0) return code;
  const access = new RegExp(`(?<![\\w.])(${names.join('|')})\\[`, 'g');
  let out = '';
  let from = 0;
  for (let match = access.exec(code); match !== null; match = access.exec(code)) {
    const open = match.index + match[0].length - 1;
    const end = closing(code, open);
    const index = touching(code.slice(open + 1, end), names);
    out += `${code.slice(from, open)}[u32(${index}) + touch${names.indexOf(match[1]!)}_()]`;
    from = end + 1;
    access.lastIndex = from;
  }
  return out + code.slice(from);
}

function countingLoops(code: string): string {
  const loop = /\b(?:(for|while)\s*\(|loop\s*\{)/g;
  let out = '';
  let from = 0;
  for (let match = loop.exec(code); match !== null; match = loop.exec(code)) {
    let brace = match.index + match[0].length - 1;
    if (match[1] !== undefined) brace = code.indexOf('{', closing(code, brace));
    out += `${code.slice(from, brace + 1)} steps_ += 1u;`;
    from = brace + 1;
  }
  return out + code.slice(from);
}

/** Built-in values that say where in the grid an invocation stands. */
const placeNames = ['wid', 'nwg', 'gid'] as const;

export function countedKernel(kernel: Kernel, sample: Sample): CountedKernel {
  const { wgsl } = kernel;
  const arrays: CountedArray[] = [];
  for (const [, access, name, type] of wgsl.matchAll(/var<storage, (read|read_write)> (\w+): array<(.+)>;/g))
    arrays.push({
      name: name!,
      space: 'storage',
      written: access === 'read_write',
      bytesPerElement: bytesOfType(type!),
    });
  let workgroupBytes = 0;
  for (const [, name, type] of wgsl.matchAll(/var<workgroup> (\w+): (.+);/g)) {
    const bytes = bytesOfType(type!);
    workgroupBytes += bytes;
    const element = /^array<(.+),\s*\d+u?>$/.exec(type!.trim());
    if (element)
      arrays.push({
        name: name!,
        space: 'workgroup',
        written: true,
        bytesPerElement: bytesOfType(element[1]!),
      });
  }
  const names = arrays.map(({ name }) => name);

  const entry = wgsl.indexOf('@compute');
  const size = /@workgroup_size\(([^)]*)\)/.exec(wgsl)![1]!.split(',').map(Number);
  const threads = size.reduce((a, b) => a * b, 1);
  const bodyAt = wgsl.indexOf('{', closing(wgsl, wgsl.indexOf('(', wgsl.indexOf('fn main'))));
  const module = wgsl.slice(0, entry);
  let head = wgsl.slice(entry, bodyAt + 1);
  const body = wgsl.slice(bodyAt + 1, wgsl.lastIndexOf('}'));

  const count = (code: string): string =>
    touching(countingLoops(code), names).replace(
      /workgroupBarrier\(\);/g,
      '{ barriers_ += 1u; workgroupBarrier(); }',
    );
  // The workgroups of the sample stand where they would in the whole grid.
  const { grid, runs } = sample;
  const stride = grid.map((g, d) => Math.max(1, Math.floor(g / runs[d]!)));
  const places: string[] = [];
  for (const name of placeNames) head = head.replace(new RegExp(`\\b${name}: vec3`), `${name}_: vec3`);
  const given = placeNames.filter((name) => head.includes(`${name}_: vec3`));
  const needs = new Set(given);
  const extra = [
    needs.has('gid') && !needs.has('wid') && '@builtin(workgroup_id) wid_: vec3<u32>',
    needs.has('gid') && '@builtin(local_invocation_id) place_: vec3<u32>',
  ].filter((text) => text !== false);
  head = head.replace(/\) \{$/, `${extra.map((text) => `, ${text}`).join('')}) {`);
  if (needs.has('wid') || needs.has('gid'))
    places.push(`let wid = wid_ * vec3<u32>(${stride.map((s) => `${s}u`).join(', ')});`);
  if (needs.has('nwg')) places.push(`let nwg = vec3<u32>(${grid.map((g) => `${g}u`).join(', ')});`);
  if (needs.has('gid'))
    places.push(
      `let gid = wid * vec3<u32>(${[0, 1, 2].map((d) => `${size[d] ?? 1}u`).join(', ')}) + place_;`,
    );

  const counters = `
@group(0) @binding(${kernel.bindings.length}) var<storage, read_write> counted_: array<atomic<u32>>;
var<private> steps_: u32;
var<private> barriers_: u32;
${names
  .map(
    (_, i) => `var<private> touched${i}_: u32;
fn touch${i}_() -> u32 { touched${i}_ += 1u; return 0u; }`,
  )
  .join('\n')}
fn report_() {
  atomicMax(&counted_[0], steps_);
  atomicMax(&counted_[1], barriers_);
${names.map((_, i) => `  atomicAdd(&counted_[${i + 2}], touched${i}_);`).join('\n')}
}
`;
  const text = `${count(module)}
${counters}
${head}
${places.join('\n')}
${count(body).replace(/\breturn;/g, '{ report_(); return; }')}
  report_();
}
`;
  return {
    kernel: {
      ...kernel,
      name: `${kernel.name} (counted)`,
      wgsl: text,
      bindings: [...kernel.bindings, 'write'],
    },
    arrays,
    words: names.length + 2,
    threads,
    workgroupBytes,
  };
}
