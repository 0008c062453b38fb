/**
 * Optimizer steps: one kernel updates several parameters in place, as many as the adapter's storage buffers
 * allow. Parameter `i` of a launch has the buffers `w<i>` (the weight), `g<i>` (its gradient) and one per
 * state tensor, all of one dense layout; a guard and buffers that all share come first. Hyper-parameters are
 * launch parameters: a new learning rate compiles nothing. A step is a commit: it happens for all parameters
 * or for none.
 */
import { foldGrid, linearWorkgroup, memoKernel, type Kernel, type ParamField } from '../base/kernel.js';
import type { BufferRef, Launch, PlanLimits } from '../base/plan.js';
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
   * WGSL on `vec4f` variables: `w`, `g` and the state names. `fresh` is true on the first step, when the
   * state's contents are undefined.
   */
  readonly body: string;
}

const workgroup = 64;
/**
 * One vec4 per thread: on the software adapter a loop over several is no faster and compiles a quarter
 * longer.
 */
const blockElements = workgroup * 4;

const stopAtGuard = 'if (guard.x == 0u) { return; }';

/** Invocations and vec4s of each in {@link wideKernel}. */
const wideWorkgroup = 32;
const wideVectors = 4;
const wideBlock = wideWorkgroup * wideVectors * 4;

/**
 * Whether a parameter of so many elements goes by itself: it is large, and whole blocks in one dimension of
 * the grid cover it, so that nothing needs a guard.
 */
export const isWide = (elements: number): boolean =>
  elements >= 1 << 15 && elements % wideBlock === 0 && elements / wideBlock <= 65535;

/**
 * Applies `rule` to one parameter for which {@link isWide} holds: four vec4s per invocation and no bounds
 * keep the memory busier (9.6 instead of 7.3 GB/s on a software adapter).
 */
function wideKernel(rule: UpdateRule): Kernel {
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

/**
 * The kernel that applies `rule` to `count` parameters. Elements are handled in fours: the last vec4 may be
 * padding.
 */
function optimizerKernel(rule: UpdateRule, count: number): Kernel {
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

/** A rule with the values that it takes. */
export interface RuleValues {
  readonly rule: UpdateRule;
  readonly hyper: readonly number[];
  /** The state's contents are undefined. */
  readonly fresh: boolean;
}

/** Positions of the tensors that all share, then of each parameter's weight, gradient and state. */
function operands({ state, shared = [] }: UpdateRule, count: number): number[] {
  const positions: number[] = [];
  for (let i = 0; i < shared.length + count * (2 + state.length); i++) positions.push(i);
  return positions;
}

/**
 * Applies a rule to parameters of so many elements each, all in one launch. Buffers by position: what all
 * share, then weight, gradient and state of each parameter.
 */
export function optimizerLaunch({ rule, hyper, fresh }: RuleValues, elements: readonly number[]): Launch {
  const params = [...hyper, fresh ? 1 : 0];
  let blocks = 0;
  for (const count of elements) {
    blocks += Math.ceil(count / blockElements);
    params.push(Math.ceil(count / 4), blocks);
  }
  return {
    kernel: optimizerKernel(rule, elements.length),
    buffers: operands(rule, elements.length),
    params,
    grid: foldGrid(blocks),
  };
}

/** The same for one parameter for which {@link isWide} holds. */
export const optimizerWideLaunch = ({ rule, hyper, fresh }: RuleValues, elements: number): Launch => ({
  kernel: wideKernel(rule),
  buffers: operands(rule, 1),
  params: [...hyper, fresh ? 1 : 0],
  grid: [elements / wideBlock, 1, 1],
});

/** The same for one parameter that is larger than a binding, range by range. */
export function optimizerRangeLaunches(values: RuleValues, elements: number, limits: PlanLimits): Launch[] {
  const shared = values.rule.shared?.length ?? 0;
  const unit = Math.max(16, limits.offsetAlignment);
  const step = Math.floor(limits.maxBinding / unit) * unit;
  const launches: Launch[] = [];
  for (let offset = 0; offset < 4 * elements; offset += step) {
    const size = Math.min(step, Math.ceil((4 * elements - offset) / 16) * 16);
    const { buffers, ...rest } = optimizerLaunch(values, [size / 4]);
    const range = (name: number): BufferRef => (name < shared ? name : { name, offset, size });
    launches.push({ ...rest, buffers: (buffers as number[]).map(range) });
  }
  return launches;
}
