/**
 * What a kernel is: WGSL text plus the facts the device needs to run it. Everything in `src/kernels`
 * is a pure function from a spec to a {@link Kernel}; nothing here touches a GPU object or a Tensor.
 */

/**
 * How a kernel uses a binding. `write` is WGSL's `read_write`; the same buffer may not be bound twice if one
 * binding writes. A `guard` is a uniform `vec4u` that the runtime gives (see `Runtime.commit`):
 * where its first word is zero, work that the kernel builds on was lost, and it must write nothing.
 */
export type Access = 'read' | 'write' | 'guard';

/** Types a launch parameter may have; each takes four bytes. */
export type ParamType = 'u32' | 'i32' | 'f32';

export type ParamField = readonly [name: string, type: ParamType];

/** Number of workgroups in x, y and z; each at most 65,535 (see {@link foldGrid}). */
export type Grid = readonly [x: number, y: number, z: number];

/** What a kernel's WGSL enables. */
export type Enable = 'f16' | 'subgroups' | 'chromium_experimental_subgroup_matrix';

export interface Kernel {
  /** Label for the profiler and for error messages, e.g. `conv2dForward`. */
  readonly name: string;
  /**
   * WGSL with `@group(0) @binding(i)` storage variables in the order of `bindings` and an entry point `main`.
   * It holds no `enable`/`requires` line and does not declare the parameters: the device prepends
   * `struct Params {...}` and a variable `p` (an immediate where the adapter has them, else a uniform).
   */
  readonly wgsl: string;
  readonly bindings: readonly Access[];
  /** Fields of `p`, read in WGSL as `p.name`. */
  readonly params: readonly ParamField[];
  readonly enables?: readonly Enable[];
  /**
   * Present on a kernel that may find its values unusable. The device then also declares `raiseFault(words:
   * vec4<u32>)`, behind one more storage binding and one more parameter; the next await throws what `text`
   * makes of the first words raised.
   */
  readonly fault?: Fault;
}

/** What a kernel may raise. */
export interface Fault {
  readonly op: string;
  /** The message, naming the op. Words are as the kernel gave them, unsigned. */
  readonly text: (words: FaultWords) => string;
}

export type FaultWords = readonly [number, number, number, number];

/**
 * Kinds of GPU whose best tiles differ: NVIDIA's and AMD's cards; Apple's; GPUs that share a processor's
 * memory, and Intel's; those of phones, or nothing known.
 */
export type AdapterClass = 'discrete' | 'apple' | 'integrated' | 'unknown';

/** A product of subgroup matrices, m x k by k x n, summed in float32. */
export interface MatrixConfig {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Of both operands. */
  readonly elem: 'f16' | 'f32';
  /** Invocations of a subgroup. */
  readonly subgroup: number;
}

/** What a kernel generator may know about the adapter. */
export interface Target {
  /** `software` is a CPU rasteriser (lavapipe, SwiftShader): no barriers, registers are cheap. */
  readonly kind: 'software' | 'gpu';
  /** Of a GPU. Default: `unknown`. */
  readonly class?: AdapterClass;
  /** Subgroup size when the adapter has subgroups of one known size; 0 otherwise. */
  readonly subgroupSize: number;
  readonly f16: boolean;
  readonly maxInvocations: number;
  readonly maxWorkgroupStorage: number;
  /** Storage arrays that one shader binds; WebGPU guarantees 8. */
  readonly maxStorageBuffers: number;
  /**
   * Products go through the adapter's matrix units, with sums in float32, where there is a configuration for
   * their tensors (`init`'s `subgroupMatrices`), the best first. `emulated` runs the same kernels with loops
   * in their place, to test them where there are none.
   */
  readonly matrices?: { readonly mode: 'native' | 'emulated'; readonly configs: readonly MatrixConfig[] };
  /**
   * Measured choices that go before the table of tiles. Default: none, so that results are the same on every
   * machine of a class.
   */
  readonly tuning?: Choices;
}

/**
 * Measured choices, opaque here: who plans an op knows what it gets for a problem of its own
 * (matmul/choice.ts).
 */
export interface Choices {
  /** Part of the key of every plan that was made with them. */
  readonly id: number;
  choose(op: string, problem: object): unknown;
}

const cache = new Map<string, Kernel>();

/** Builds a kernel once per key, for good: there are few. The key must determine the kernel completely. */
export function memoKernel(key: string, build: () => Kernel): Kernel {
  let kernel = cache.get(key);
  if (kernel === undefined) {
    kernel = build();
    cache.set(key, kernel);
  }
  return kernel;
}

/** Invocations of a workgroup that shares its memory: a power of two, 256 where the adapter has them. */
export const teamSize = ({ maxInvocations }: Target): number =>
  2 ** Math.floor(Math.log2(Math.min(256, maxInvocations)));

const maxGridX = 32768;

/**
 * Folds a count of workgroups past the per-dimension limit into x and y. The kernel recovers its index with
 * {@link linearWorkgroup} and must return early when it is past the end.
 */
export function foldGrid(workgroups: number, z = 1): Grid {
  if (workgroups <= 65535) return [Math.max(1, workgroups), 1, z];
  return [maxGridX, Math.ceil(workgroups / maxGridX), z];
}

/** WGSL expression: linear workgroup index under {@link foldGrid}; `wid` and `nwg` are the builtins. */
export const linearWorkgroup = '(wid.y * nwg.x + wid.x)';
