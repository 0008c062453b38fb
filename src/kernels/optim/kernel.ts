/**
 * Optimizer steps: one kernel updates several parameters in place, as many as the adapter's storage buffers
 * allow. Parameter `i` of a launch has the buffers `w<i>` (the weight), `g<i>` (its gradient) and one per
 * state tensor, all of one dense layout; a guard and buffers that all share come first. Hyper-parameters are
 * launch parameters: a new learning rate compiles nothing. A step is a commit: it happens for all parameters
 * or for none.
 */
import {
  foldGrid,
  linearWorkgroup,
  memoKernel,
  type Access,
  type Grid,
  type Kernel,
  type ParamField,
} from '../base/kernel.js';

/** How one kind of step changes a weight and its state. */
export interface UpdateRule {
  /** Determines the rule completely; the profiler shows it. */
  readonly name: string;
  /** WGSL names of the state tensors, in binding order. */
  readonly state: readonly string[];
  /** WGSL names of int32 tensors that all parameters share and the rule reads, as `name[i]`. */
  readonly shared?: readonly string[];
  /** Names of the f32 hyper-parameters, read as `p.name`. */
  readonly hyper: readonly string[];
  /**
   * WGSL on `vec4f` variables: `w`, `g` and the state names. `fresh` is true on the first step, when the state's contents
   * are undefined.
   */
  readonly body: string;
}

const workgroup = 64;
/** One vec4 per thread: on the software adapter a loop over several is no faster and compiles a quarter longer. */
const blockElements = workgroup * 4;

const guard = '@group(0) @binding(0) var<uniform> guard: vec4u;';
const stopAtGuard = 'if (guard.x == 0u) { return; }';

/** Invocations and vec4s of each in {@link optimizerWideKernel}. */
const wideWorkgroup = 32;
const wideVectors = 4;
const wideBlock = wideWorkgroup * wideVectors * 4;

/**
 * Whether a parameter of so many elements goes by itself: it is large, and whole blocks in one dimension of the grid cover it, so that
 * nothing needs a guard.
 */
export const isWide = (elements: number): boolean =>
  elements >= 1 << 15 && elements % wideBlock === 0 && elements / wideBlock <= 65535;

/** The launch of {@link optimizerWideKernel} for one parameter of `elements` elements. */
export const optimizerWideLaunch = (
  hyper: readonly number[],
  fresh: boolean,
  elements: number,
): { params: number[]; grid: Grid } => ({
  params: [...hyper, fresh ? 1 : 0],
  grid: [elements / wideBlock, 1, 1],
});

/**
 * Applies `rule` to one parameter for which {@link isWide} holds: four vec4s per invocation and no bounds keep the memory busier (9.6 instead of
 * 7.3 GB/s on a software adapter).
 */
export function optimizerWideKernel(rule: UpdateRule): Kernel {
  return memoKernel(`optimizerWide:${rule.name}`, () => {
    const names = ['w', 'g', ...rule.state];
    const shared = rule.shared ?? [];
    const declarations = [
      guard,
      ...shared.map((name, i) => `@group(0) @binding(${1 + i}) var<storage, read> ${name}: array<i32>;`),
      ...names.map(
        (name, i) =>
          `@group(0) @binding(${1 + shared.length + i}) var<storage, ${name === 'g' ? 'read' : 'read_write'}> ${name}0: array<vec4f>;`,
      ),
    ];
    const steps = Array.from({ length: wideVectors }, (_, i) => {
      const load = names.map((name) => `var ${name} = ${name}0[at];`).join(' ');
      const store = ['w', ...rule.state].map((name) => `${name}0[at] = ${name};`).join(' ');
      return `  { let at = first + ${i * wideWorkgroup}u; ${load} ${rule.body} ${store} }`;
    });
    return {
      name: rule.name,
      bindings: [
        'guard',
        ...shared.map((): Access => 'read'),
        ...names.map((name): Access => (name === 'g' ? 'read' : 'write')),
      ],
      params: [...rule.hyper.map((name): ParamField => [name, 'f32']), ['fresh', 'u32']],
      wgsl: `${declarations.join('\n')}
@compute @workgroup_size(${wideWorkgroup})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${stopAtGuard}
  let fresh = p.fresh != 0u;
  let first = wid.x * ${wideWorkgroup * wideVectors}u + lane;
${steps.join('\n')}
}
`,
    };
  });
}

/** Parameters of one launch, of `elements` elements each, in the order of the kernel's launch parameters. */
export function optimizerLaunch(
  hyper: readonly number[],
  fresh: boolean,
  elements: readonly number[],
): { params: number[]; grid: Grid } {
  const params = [...hyper, fresh ? 1 : 0];
  let blocks = 0;
  for (const count of elements) {
    blocks += Math.ceil(count / blockElements);
    params.push(Math.ceil(count / 4), blocks);
  }
  return { params, grid: foldGrid(blocks) };
}

/** The kernel that applies `rule` to `count` parameters. Elements are handled in fours: the last vec4 may be padding. */
export function optimizerKernel(rule: UpdateRule, count: number): Kernel {
  return memoKernel(`optimizer:${rule.name}:${count}`, () => {
    const bindings: Access[] = ['guard'];
    const declarations: string[] = [guard];
    const params: ParamField[] = rule.hyper.map((name) => [name, 'f32']);
    params.push(['fresh', 'u32']);
    const declare = (name: string, access: Access): void => {
      const mode = access === 'write' ? 'read_write' : 'read';
      declarations.push(
        `@group(0) @binding(${bindings.length}) var<storage, ${mode}> ${name}: array<vec4f>;`,
      );
      bindings.push(access);
    };
    for (const name of rule.shared ?? []) {
      declarations.push(`@group(0) @binding(${bindings.length}) var<storage, read> ${name}: array<i32>;`);
      bindings.push('read');
    }
    const branches: string[] = [];
    for (let i = 0; i < count; i++) {
      declare(`w${i}`, 'write');
      declare(`g${i}`, 'read');
      for (const name of rule.state) declare(`${name}${i}`, 'write');
      params.push([`size${i}`, 'u32'], [`end${i}`, 'u32']);
      const load = rule.state.map((name) => `var ${name} = ${name}${i}[at];`).join(' ');
      const store = ['w', ...rule.state].map((name) => `${name}${i}[at] = ${name};`).join(' ');
      branches.push(`if (block < p.end${i}) {
    let at = (block - ${i === 0 ? '0u' : `p.end${i - 1}`}) * ${workgroup}u + lane;
    if (at < p.size${i}) {
      var w = w${i}[at]; var g = g${i}[at]; ${load}
      ${rule.body}
      ${store}
    }
  }`);
    }
    return {
      name: rule.name,
      bindings,
      params,
      wgsl: `${declarations.join('\n')}
@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${stopAtGuard}
  let block = ${linearWorkgroup};
  let fresh = p.fresh != 0u;
  ${branches.join(' else ')}
}
`,
    };
  });
}
