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
  type Grid,
  type Kernel,
  type ParamField,
} from '../base/kernel.js';
import { guard, reads, shader, writes, type Binding } from '../base/shader.js';

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
    const steps = Array.from({ length: wideVectors }, (_, i) => {
      const load = names.map((name) => `var ${name} = ${name}0[at];`).join(' ');
      const store = ['w', ...rule.state].map((name) => `${name}0[at] = ${name};`).join(' ');
      return `  { let at = first + ${i * wideWorkgroup}u; ${load} ${rule.body} ${store} }`;
    });
    return {
      name: rule.name,
      params: [...rule.hyper.map((name): ParamField => [name, 'f32']), ['fresh', 'u32']],
      ...shader({
        bindings: bindingsOf(rule, 1),
        workgroup: wideWorkgroup,
        builtins: ['wid', 'lane'],
        body: `  ${stopAtGuard}
  let fresh = p.fresh != 0u;
  let first = wid.x * ${wideWorkgroup * wideVectors}u + lane;
${steps.join('\n')}`,
      }),
    };
  });
}

function bindingsOf({ state, shared = [] }: UpdateRule, count: number): Binding[] {
  const operands = Array.from({ length: count }, (_, i) => [
    writes(`w${i}`, 'vec4f'),
    reads(`g${i}`, 'vec4f'),
    ...state.map((name) => writes(`${name}${i}`, 'vec4f')),
  ]);
  return [guard, ...shared.map((name) => reads(name, 'i32')), ...operands.flat()];
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
    const params: ParamField[] = rule.hyper.map((name) => [name, 'f32']);
    params.push(['fresh', 'u32']);
    const branches: string[] = [];
    for (let i = 0; i < count; i++) {
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
      params,
      ...shader({
        bindings: bindingsOf(rule, count),
        workgroup,
        builtins: ['wid', 'nwg', 'lane'],
        body: `  ${stopAtGuard}
  let block = ${linearWorkgroup};
  let fresh = p.fresh != 0u;
  ${branches.join(' else ')}`,
      }),
    };
  });
}
