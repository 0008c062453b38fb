/**
 * A layer between the engine and the device that makes one call fail: the Nth of a kind, in the way that
 * WebGPU fails it. Give `init` its `wrap` as the internal option `wrapDevice`.
 */

export const faultKinds = [
  'allocation',
  'allocation throws',
  'pipeline',
  'pipeline throws',
  'bind group',
  'submit',
  'submit throws',
  'map',
  'map throws',
  'readback',
  'wait',
  'lost at submit',
  'lost at allocation',
  'lost at map',
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** How a kind fails, for the table. */
export const faultTexts: Readonly<Record<FaultKind, string>> = {
  allocation: 'createBuffer gives an invalid buffer, an out-of-memory error is reported later',
  'allocation throws': 'createBuffer throws (as the memory budget does)',
  pipeline: 'createComputePipeline gives an invalid pipeline, an internal error is reported later',
  'pipeline throws': 'createComputePipeline throws',
  'bind group': 'createBindGroup gives an invalid group, a validation error is reported later',
  submit: 'submit drops its commands, a validation error is reported later',
  'submit throws': 'submit throws and drops its commands',
  map: 'mapAsync rejects',
  'map throws': 'mapAsync throws',
  readback: 'getMappedRange throws',
  wait: 'onSubmittedWorkDone rejects',
  'lost at submit': 'the device is lost at a submit',
  'lost at allocation': 'the device is lost at createBuffer',
  'lost at map': 'the device is lost at mapAsync',
};

/** The call that a kind of fault counts. */
type Call = 'buffer' | 'pipeline' | 'group' | 'submit' | 'map' | 'range' | 'done';

const callOf: Readonly<Record<FaultKind, Call>> = {
  allocation: 'buffer',
  'allocation throws': 'buffer',
  pipeline: 'pipeline',
  'pipeline throws': 'pipeline',
  'bind group': 'group',
  submit: 'submit',
  'submit throws': 'submit',
  map: 'map',
  'map throws': 'map',
  readback: 'range',
  wait: 'done',
  'lost at submit': 'submit',
  'lost at allocation': 'buffer',
  'lost at map': 'map',
};

type Method = (...args: unknown[]) => unknown;
type ErrorFilter = 'validation' | 'out-of-memory' | 'internal';

interface Injected {
  readonly message: string;
}

/** Fails the Nth call of a kind that the wrapped device sees, once. */
export class FaultyDevice {
  /** Calls of the kind so far. */
  calls = 0;
  /**
   * Where no call fails: the numbers of the calls that came from one place in the code, by the functions on
   * the stack.
   */
  readonly places = new Map<string, number[]>();
  fired = false;
  private readonly scopes: { readonly filter: ErrorFilter; error: Injected | null }[] = [];
  private readonly listeners: ((event: unknown) => void)[] = [];
  private device!: GPUDevice;

  /** @param at number of the call that fails, from 1; 0 for none */
  constructor(
    private readonly kind: FaultKind,
    private readonly at: number,
  ) {}

  readonly wrap = (device: GPUDevice): GPUDevice => {
    this.device = device;
    const queue = substitute(device.queue, {
      submit: (buffers) => this.submit(buffers as GPUCommandBuffer[]),
      onSubmittedWorkDone: () => {
        if (this.due('done')) return Promise.reject(new Error('injected: the wait failed'));
        return device.queue.onSubmittedWorkDone();
      },
    });
    return substitute(
      device,
      {
        createBuffer: (descriptor) => this.createBuffer(descriptor as GPUBufferDescriptor),
        createComputePipeline: (descriptor) =>
          this.createPipeline(descriptor as GPUComputePipelineDescriptor),
        createBindGroup: (descriptor) => this.createBindGroup(descriptor as GPUBindGroupDescriptor),
        pushErrorScope: (filter) => {
          this.scopes.push({ filter: filter as ErrorFilter, error: null });
          device.pushErrorScope(filter as GPUErrorFilter);
        },
        popErrorScope: () => {
          const scope = this.scopes.pop();
          return device.popErrorScope().then((error) => error ?? scope?.error ?? null);
        },
        addEventListener: (type, listener) => {
          if (type === 'uncapturederror') this.listeners.push(listener as (event: unknown) => void);
          device.addEventListener(type as 'uncapturederror', listener as () => void);
        },
      },
      { queue },
    );
  };

  private due(call: Call): boolean {
    if (callOf[this.kind] !== call || this.fired) return false;
    if (++this.calls !== this.at) {
      if (this.at === 0) this.notePlace();
      return false;
    }
    this.fired = true;
    return true;
  }

  private notePlace(): void {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 60;
    const place = new Error().stack?.split('\n').slice(3).join('\n') ?? '';
    Error.stackTraceLimit = stackTraceLimit;
    const calls = this.places.get(place);
    if (calls === undefined) this.places.set(place, [this.calls]);
    else calls.push(this.calls);
  }

  /** Reports an error as the device would: to the innermost scope for its kind, else as an event, later. */
  private report(filter: ErrorFilter, message: string): void {
    const scope = this.scopes.findLast((open) => open.filter === filter);
    if (scope !== undefined) {
      scope.error ??= { message };
      return;
    }
    setTimeout(() => {
      for (const listener of this.listeners)
        listener({ error: { message }, preventDefault: () => undefined });
    }, 1);
  }

  /** Makes something invalid on the real device without a word of it. */
  private quietly<T>(make: () => T): T {
    this.device.pushErrorScope('validation');
    try {
      return make();
    } finally {
      void this.device.popErrorScope().catch(() => undefined);
    }
  }

  private createBuffer(descriptor: GPUBufferDescriptor): GPUBuffer {
    const fails = this.due('buffer');
    if (fails && this.kind === 'allocation throws') throw new RangeError('injected: no memory for a buffer');
    if (fails && this.kind === 'allocation') {
      const buffer = this.quietly(() => this.device.createBuffer({ ...descriptor, usage: 0x8000 }));
      this.report('out-of-memory', 'injected: out of memory');
      return buffer;
    }
    if (fails) this.device.destroy();
    const buffer = this.device.createBuffer(descriptor);
    if ((descriptor.usage & 1) !== 0) this.watchStaging(buffer);
    return buffer;
  }

  private watchStaging(buffer: GPUBuffer): void {
    const mapAsync = buffer.mapAsync.bind(buffer);
    const getMappedRange = buffer.getMappedRange.bind(buffer);
    buffer.mapAsync = (...args) => {
      if (!this.due('map')) return mapAsync(...args);
      if (this.kind === 'map throws') throw new Error('injected: mapping threw');
      if (this.kind === 'map') return Promise.reject(new Error('injected: mapping failed'));
      this.device.destroy();
      return mapAsync(...args);
    };
    buffer.getMappedRange = (...args) => {
      if (this.due('range')) throw new Error('injected: the mapped range cannot be read');
      return getMappedRange(...args);
    };
  }

  private createPipeline(descriptor: GPUComputePipelineDescriptor): GPUComputePipeline {
    const fails = this.due('pipeline');
    if (fails && this.kind === 'pipeline throws') throw new Error('injected: no pipeline');
    if (!fails) return this.device.createComputePipeline(descriptor);
    const compute = { ...descriptor.compute, entryPoint: 'nosuchentrypoint' };
    const pipeline = this.quietly(() => this.device.createComputePipeline({ ...descriptor, compute }));
    this.report('internal', 'injected: the driver failed to make a pipeline');
    return pipeline;
  }

  private createBindGroup(descriptor: GPUBindGroupDescriptor): GPUBindGroup {
    if (!this.due('group')) return this.device.createBindGroup(descriptor);
    const group = this.quietly(() => this.device.createBindGroup({ ...descriptor, entries: [] }));
    this.report('validation', 'injected: the bind group is invalid');
    return group;
  }

  private submit(buffers: GPUCommandBuffer[]): void {
    if (this.due('submit')) {
      if (this.kind === 'submit throws') throw new Error('injected: submitting threw');
      if (this.kind === 'submit') return this.report('validation', 'injected: the commands were refused');
      this.device.destroy();
    }
    this.device.queue.submit(buffers);
  }
}

/**
 * `target` with some methods and values replaced; everything else is called on `target` itself, as native
 * objects ask.
 */
function substitute<T extends object>(
  target: T,
  methods: Readonly<Record<string, Method>>,
  values: Readonly<Record<string, unknown>> = {},
): T {
  const bound = new Map<PropertyKey, unknown>();
  return new Proxy(target, {
    get: (object, key) => {
      if (typeof key === 'string' && Object.hasOwn(methods, key)) return methods[key];
      if (typeof key === 'string' && Object.hasOwn(values, key)) return values[key];
      const value: unknown = Reflect.get(object, key, object);
      if (typeof value !== 'function') return value;
      if (!bound.has(key)) bound.set(key, (value as Method).bind(object));
      return bound.get(key);
    },
  });
}
