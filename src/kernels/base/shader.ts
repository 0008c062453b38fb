/** The text that every shader has around its body: declarations of what it binds, and the entry point. */
import type { Access, Kernel } from './kernel.js';

/** One binding of a shader: a storage array, or the guard. */
export interface Binding {
  /** In the WGSL. */
  readonly name: string;
  readonly access: Access;
  /** WGSL type of an element. */
  readonly type: string;
}

export const reads = (name: string, type: string): Binding => ({ name, access: 'read', type });
/** Written, and read where the shader likes. */
export const writes = (name: string, type: string): Binding => ({ name, access: 'write', type });
export const guard: Binding = { name: 'guard', access: 'guard', type: 'vec4u' };

/** Built-in values by their names in the body; `lane` and `index` are other names of `lid`. */
const builtins = {
  wid: '@builtin(workgroup_id) wid: vec3<u32>',
  nwg: '@builtin(num_workgroups) nwg: vec3<u32>',
  gid: '@builtin(global_invocation_id) gid: vec3<u32>',
  lid: '@builtin(local_invocation_index) lid: u32',
  lane: '@builtin(local_invocation_index) lane: u32',
  index: '@builtin(local_invocation_index) index: u32',
  'lid.xyz': '@builtin(local_invocation_id) lid: vec3<u32>',
  subgroup: '@builtin(subgroup_id) subgroup: u32',
} as const;

export interface EntryPoint {
  /** Invocations of a workgroup; in two dimensions `x, y`. */
  readonly workgroup: number | string;
  readonly builtins: readonly (keyof typeof builtins)[];
}

export interface ShaderText extends EntryPoint {
  readonly bindings: readonly Binding[];
  /** Functions and variables of the module; made after `body` where that says which ones it needs. */
  readonly functions?: string;
  readonly body: string;
}

function declaration({ name, access, type }: Binding, index: number): string {
  const place = `@group(0) @binding(${index})`;
  if (access === 'guard') return `${place} var<uniform> ${name}: ${type};`;
  return `${place} var<storage, ${access === 'read' ? 'read' : 'read_write'}> ${name}: array<${type}>;`;
}

/** Lines indented by the braces around them, without blank ones: generators put text together as it comes. */
function laidOut(code: string): string {
  let depth = 0;
  const lines: string[] = [];
  for (const line of code.split('\n').map((l) => l.trim())) {
    if (line === '') continue;
    const closed = /^}*/.exec(line)![0].length;
    lines.push('  '.repeat(Math.max(0, depth - closed)) + line);
    for (const c of line) depth += c === '{' ? 1 : c === '}' ? -1 : 0;
  }
  return `${lines.join('\n')}\n`;
}

/** The parts of a {@link Kernel} that must agree with each other. */
export function shader(text: ShaderText): Pick<Kernel, 'wgsl' | 'bindings' | 'enables'> {
  const { bindings, functions = '', workgroup, body } = text;
  const wgsl = `${bindings.map(declaration).join('\n')}
${functions}
@compute @workgroup_size(${workgroup})
fn main(${text.builtins.map((name) => builtins[name]).join(', ')}) {
${body}
}`;
  return {
    wgsl: laidOut(wgsl),
    bindings: bindings.map(({ access }) => access),
    // Functions may name the type where no binding has it.
    ...(/\bf16\b/.test(wgsl) && { enables: ['f16'] as const }),
  };
}
