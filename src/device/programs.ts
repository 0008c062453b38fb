/**
 * Kernels made ready to run: shader header, pipeline, layouts. Cached by kernel object, then by WGSL text.
 */

import type { Access, Kernel, Target } from '../kernels/base/kernel.js';
import type { BindingLayout } from './bindgroups.js';
import { matrixFeature } from './adapter.js';
import { DeviceError, ShaderError, type ErrorLog } from './errors.js';
import { declareFaults, FaultSites, paramFields } from './faults.js';
import { declareParams, ParamPacker, UniformArena } from './params.js';

interface Pipeline {
  readonly gpu: GPUComputePipeline;
  readonly layout: BindingLayout;
  /** Set once the driver has refused the shader. */
  error: ShaderError | undefined;
  /** The error is the shader's: another try would end the same. */
  wrongShader?: boolean;
}

export interface Program {
  readonly name: string;
  readonly pipeline: Pipeline;
  readonly layout: BindingLayout;
  /** Undefined for a kernel without parameters. */
  readonly params: ParamPacker | undefined;
  /** Parameters go through immediates, else through the uniform arena. */
  readonly immediates: boolean;
  /** Number by which it raises faults; 0 when it cannot. */
  readonly faultSite: number;
  readonly counter: { count: number };
}

const bindingTypes = { read: 'read-only-storage', write: 'storage', guard: 'uniform' } as const;

export class ProgramCache {
  readonly faultSites = new FaultSites();
  private readonly byKernel = new WeakMap<Kernel, Program>();
  private readonly byText = new Map<string, Pipeline>();
  private readonly layouts = new Map<string, BindingLayout>();
  private readonly pipelineLayouts = new Map<string, GPUPipelineLayout>();
  private readonly counters = new Map<string, { count: number }>();

  constructor(
    private readonly device: GPUDevice,
    private readonly target: Target,
    private readonly immediateSize: number,
    private readonly arena: UniformArena,
    private readonly errors: ErrorLog,
    /** Called with a kernel whose pipeline was just made. */
    private readonly onNew?: (kernel: Kernel) => void,
  ) {}

  get(kernel: Kernel): Program {
    return this.byKernel.get(kernel) ?? this.prepare(kernel);
  }

  /**
   * A program for a kernel whose pipeline was refused: another try where the driver had failed.
   *
   * @throws ShaderError when it is the shader that is wrong
   */
  again(kernel: Kernel, { pipeline }: Program): Program {
    if (pipeline.error !== undefined && pipeline.wrongShader === true) {
      // Thrown here, it need not be reported at the next await too.
      this.errors.forget(pipeline.error);
      throw pipeline.error;
    }
    for (const [key, known] of this.byText) if (known === pipeline) this.byText.delete(key);
    return this.prepare(kernel);
  }

  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const [name, { count }] of this.counters) if (count > 0) counts.set(name, count);
    return counts;
  }

  resetCounts(): void {
    for (const counter of this.counters.values()) counter.count = 0;
  }

  /** Distinct pipelines made so far: the same shader text counts once, whatever kernels have it. */
  pipelineCount(): number {
    return this.byText.size;
  }

  private prepare(kernel: Kernel): Program {
    const { name } = kernel;
    const paramBytes = 4 * paramFields(kernel).length;
    const immediates = paramBytes <= this.immediateSize;
    if (!immediates) UniformArena.check(kernel);
    let counter = this.counters.get(name);
    if (!counter) this.counters.set(name, (counter = { count: 0 }));
    const pipeline = this.pipeline(kernel, immediates);
    const faultSite = kernel.fault ? this.faultSites.add(kernel.fault) : 0;
    const program: Program = {
      name,
      pipeline,
      layout: pipeline.layout,
      params:
        paramBytes > 0 ? new ParamPacker(kernel.params, name, faultSite > 0 ? [faultSite] : []) : undefined,
      immediates,
      faultSite,
      counter,
    };
    this.byKernel.set(kernel, program);
    return program;
  }

  private pipeline(kernel: Kernel, immediates: boolean): Pipeline {
    const header = this.header(kernel, immediates);
    const text = header + kernel.wgsl;
    const key = `${bindingsOf(kernel).join()}\n${text}`;
    let pipeline = this.byText.get(key);
    if (!pipeline) {
      pipeline = this.compile(kernel, text, header.split('\n').length - 1, immediates);
      this.byText.set(key, pipeline);
      this.onNew?.(kernel);
    }
    return pipeline;
  }

  private header(kernel: Kernel, immediates: boolean): string {
    let header = '';
    for (const feature of kernel.enables ?? []) {
      const there =
        feature === 'f16'
          ? this.target.f16
          : this.device.features.has(feature === 'subgroups' ? feature : matrixFeature);
      if (!there) {
        throw new DeviceError(
          `${kernel.name}: the kernel needs '${feature}', which this adapter lacks.`,
          kernel.name,
        );
      }
      header += `enable ${feature};\n`;
    }
    if (immediates && paramFields(kernel).length > 0) header += 'requires immediate_address_space;\n';
    return header + declareParams(kernel, immediates) + declareFaults(kernel);
  }

  private compile(kernel: Kernel, text: string, headerLines: number, immediates: boolean): Pipeline {
    const { device } = this;
    const { name } = kernel;
    const layout = this.layout(bindingsOf(kernel));
    // A shader that is wrong is a validation error, a driver that fails an internal one.
    device.pushErrorScope('internal');
    device.pushErrorScope('validation');
    let pipeline: Pipeline | undefined;
    let module: GPUShaderModule | undefined;
    try {
      module = device.createShaderModule({ label: name, code: text });
      const gpu = device.createComputePipeline({
        label: name,
        layout: this.pipelineLayout(layout, 4 * paramFields(kernel).length, immediates),
        compute: { module, entryPoint: 'main' },
      });
      return (pipeline = { gpu, layout, error: undefined });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ShaderError(describe(name, text, headerLines, [], reason), name);
    } finally {
      const checks = Promise.all([device.popErrorScope(), device.popErrorScope()]);
      this.errors.track(
        checks.then(async ([invalid, internal]) => {
          const error = invalid ?? internal;
          // What was thrown reports itself.
          if (error === null || pipeline === undefined || module === undefined) return;
          const messages = (await module.getCompilationInfo()).messages.filter((m) => m.type === 'error');
          const described = describe(name, text, headerLines, messages, error.message);
          pipeline.error = new ShaderError(described, name);
          pipeline.wrongShader = messages.length > 0;
          this.errors.record(pipeline.error);
        }),
      );
    }
  }

  private layout(bindings: readonly Access[]): BindingLayout {
    const key = bindings.join();
    let layout = this.layouts.get(key);
    if (!layout) {
      const entries = bindings.map((access, binding): GPUBindGroupLayoutEntry => ({
        binding,
        visibility: 4 /* GPUShaderStage.COMPUTE */,
        buffer: { type: bindingTypes[access] },
      }));
      const gpu = this.device.createBindGroupLayout({ label: key, entries });
      layout = { id: this.layouts.size + 1, bindings: [...bindings], gpu };
      this.layouts.set(key, layout);
    }
    return layout;
  }

  private pipelineLayout(layout: BindingLayout, paramBytes: number, immediates: boolean): GPUPipelineLayout {
    const immediateSize = immediates ? paramBytes : 0;
    const uniforms = !immediates && paramBytes > 0;
    const key = `${layout.id},${immediateSize},${uniforms}`;
    let gpu = this.pipelineLayouts.get(key);
    if (!gpu) {
      gpu = this.device.createPipelineLayout({
        label: key,
        bindGroupLayouts: uniforms ? [layout.gpu, this.arena.layout] : [layout.gpu],
        ...(immediateSize > 0 ? { immediateSize } : {}),
      });
      this.pipelineLayouts.set(key, gpu);
    }
    return gpu;
  }
}

const bindingsOf = (kernel: Kernel): readonly Access[] =>
  kernel.fault ? [...kernel.bindings, 'write'] : kernel.bindings;

/** Quotes the offending lines; line numbers count from the kernel's own WGSL, without the header. */
function describe(
  name: string,
  text: string,
  headerLines: number,
  messages: readonly GPUCompilationMessage[],
  fallback: string,
): string {
  if (messages.length === 0)
    return `${name}: the driver refused the shader: ${fallback}. It is compiled anew at the next call.`;
  const lines = text.split('\n');
  const quoted = messages.slice(0, 3).map((m) => {
    const line = lines[m.lineNum - 1];
    if (line === undefined) return `  ${m.message}`;
    const where = m.lineNum > headerLines ? `line ${m.lineNum - headerLines}` : `header line ${m.lineNum}`;
    return `  ${where}: ${m.message}\n    ${line}\n    ${' '.repeat(Math.max(0, m.linePos - 1))}^`;
  });
  return `${name}: the shader does not compile:\n${quoted.join('\n')}`;
}
