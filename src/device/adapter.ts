/** Finds a GPU: `navigator.gpu` in browsers, the `webgpu` package (Dawn) in Node. */

import type { AdapterClass, MatrixConfig, Target } from '../kernels/base/kernel.js';
import { DeviceError } from './errors.js';

export interface InitOptions {
  /** Default `high-performance`. */
  readonly powerPreference?: 'low-power' | 'high-performance';
  /**
   * Bytes of GPU memory the engine may hold. Default: 60% of the machine's memory on a software adapter, 75%
   * (in Node) on a GPU without memory of its own, else no limit.
   */
  readonly memoryBudget?: number;
  /** `software`, `hardware`, or a part of the adapter's name. Default: the system's choice. */
  readonly adapter?: 'software' | 'hardware' | (string & {});
  /**
   * Use the tiles that `kindling bench MODEL --tune` measured on this adapter (Node only). Results then
   * differ in their last bits from those of machines without that file. Default: whether the environment has
   * KINDLING_TUNED=1.
   */
  readonly tuned?: boolean;
  /**
   * Experimental: matrix products and convolutions on the GPU's matrix units (Dawn's subgroup matrices with
   * float32 sums), of float16 tensors, and of float32 ones where the units take those. Without them nothing
   * changes; `runtime().info.matrices` says which are used, or why none. Default: false.
   */
  readonly subgroupMatrices?: boolean;
  /**
   * A device of the program's own, which other code may use as well (`onnxruntime-web`, a renderer): buffers
   * go back and forth without a copy (`fromGPUBuffer`, `gpuBuffer`). The features and limits that it was
   * requested with are all there are, and `close()` does not destroy it. Not beside `adapter` or
   * `powerPreference`.
   */
  readonly device?: GPUDevice;
  /** @internal Pretends that the adapter lacks these, so that tests reach the fallbacks. */
  readonly disable?: readonly Optional[];
  /**
   * @internal Pretends that a binding ends at so many bytes, so that tests reach the code that binds ranges.
   */
  readonly maxBinding?: number;
  /** @internal Stands between the engine and the device, so that tests can make the device fail. */
  readonly wrapDevice?: (device: GPUDevice) => GPUDevice;
}

/** Dawn's name of subgroup matrices, which it offers to programs that allow unsafe APIs. */
export const matrixFeature = 'chromium-experimental-subgroup-matrix';

/** `limits`: all beyond those that WebGPU guarantees. */
export type Optional = 'immediates' | 'timestamps' | 'subgroups' | 'f16' | 'limits';

/** What the adapter says about itself. */
export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  /** What came of `subgroupMatrices`: the configurations that kernels use, or why there are none. */
  readonly matrices?: string;
}

export interface OpenedDevice {
  readonly device: GPUDevice;
  readonly info: AdapterInfo;
  readonly target: Target;
  /** Bytes of launch parameters that fit into immediates; 0 where the adapter has none. */
  readonly immediateSize: number;
  readonly timestamps: boolean;
}

const installHint =
  'Install a Vulkan driver: `npx kindling setup` does where it may (Debian, Ubuntu), or says what to do ' +
  '(in a checkout of kindling: `npm run setup`).';

const usefulFeatures = ['timestamp-query', 'shader-f16', 'subgroups'] as const;

/** Asked for as far as the adapter goes; of the others what WebGPU guarantees is enough. */
const usedLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxUniformBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxImmediateSize',
  'minStorageBufferOffsetAlignment',
  'minUniformBufferOffsetAlignment',
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/** Some adapters let a binding start at every fourth byte: an array of vec4 wants every sixteenth. */
const leastLimits: Partial<Record<keyof GPUSupportedLimits, number>> = {
  minStorageBufferOffsetAlignment: 16,
};

/** The adapter of a device that the program has opened; what is asked of it, it has already. */
function adapterOf(device: GPUDevice): Pick<GPUAdapter, 'info' | 'features' | 'limits' | 'requestDevice'> {
  const { adapterInfo, features, limits } = device as Partial<GPUDevice>;
  if (adapterInfo === undefined || features === undefined || limits === undefined)
    throw new DeviceError(
      'init: device must be a GPUDevice that knows its adapterInfo (Chrome 131 or later, Dawn in Node)',
    );
  return { info: adapterInfo, features, limits, requestDevice: () => Promise.resolve(device) };
}

export async function openDevice(options: InitOptions): Promise<OpenedDevice> {
  const { device: own } = options;
  if (own !== undefined && (options.adapter !== undefined || options.powerPreference !== undefined))
    throw new DeviceError('init: device is an open device already; leave adapter and powerPreference out');
  const { adapter, gpu } =
    own === undefined
      ? await requestAdapter(options)
      : { adapter: adapterOf(own), gpu: await findGpu(undefined, false) };
  const disabled = new Set(options.disable);
  const matrices =
    options.subgroupMatrices === true ? matrixSupport(adapter.info, adapter.features) : undefined;
  const info: AdapterInfo = {
    vendor: adapter.info.vendor,
    architecture: adapter.info.architecture,
    device: adapter.info.device,
    description: adapter.info.description,
    ...(matrices && { matrices: matrices.text }),
  };

  const limits: Record<string, number> = {};
  for (const name of disabled.has('limits') ? [] : usedLimits) {
    const value: unknown = adapter.limits[name];
    if (typeof value === 'number') limits[name] = Math.max(value, leastLimits[name] ?? 0);
  }
  const features: string[] = usefulFeatures.filter((name) => adapter.features.has(name));
  if (matrices?.configs.length) features.push(matrixFeature);
  const opened = await adapter.requestDevice({
    label: 'kindling',
    requiredFeatures: features as GPUFeatureName[],
    requiredLimits: limits,
  });
  const device = options.wrapDevice?.(opened) ?? opened;

  const { subgroupMinSize, subgroupMaxSize } = adapter.info;
  const subgroups = device.features.has('subgroups') && !disabled.has('subgroups');
  return {
    device,
    info,
    target: {
      ...(isSoftware(adapter.info)
        ? { kind: 'software' as const }
        : { kind: 'gpu' as const, class: adapterClass(info) }),
      subgroupSize: subgroups && subgroupMinSize === subgroupMaxSize ? subgroupMinSize : 0,
      f16: device.features.has('shader-f16') && !disabled.has('f16'),
      maxInvocations: Math.min(
        device.limits.maxComputeInvocationsPerWorkgroup,
        device.limits.maxComputeWorkgroupSizeX,
      ),
      maxWorkgroupStorage: device.limits.maxComputeWorkgroupStorageSize,
      maxStorageBuffers: device.limits.maxStorageBuffersPerShaderStage,
      ...(matrices?.configs.length && {
        matrices: { mode: 'native' as const, configs: matrices.configs },
      }),
    },
    immediateSize: disabled.has('immediates') ? 0 : immediateSize(device, gpu),
    timestamps: device.features.has('timestamp-query') && !disabled.has('timestamps'),
  };
}

/** A configuration as Dawn's adapters list it. */
interface ListedConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** What the kernels can use, the best first: NVIDIA's and AMD's, Intel's, Apple's. */
const usableMatrices = [
  { m: 16, n: 16, k: 16, elem: 'f16' },
  { m: 8, n: 16, k: 16, elem: 'f16' },
  { m: 8, n: 8, k: 8, elem: 'f16' },
  { m: 8, n: 8, k: 8, elem: 'f32' },
] as const;

/**
 * The configurations of subgroup matrices that kernels can use, all with float32 sums, and that in words. How
 * many subgroups a workgroup has must be known when its kernel is written: so they have one size only.
 */
export function matrixSupport(
  info: { readonly subgroupMinSize?: number; readonly subgroupMaxSize?: number },
  features: { has(name: string): boolean },
): { readonly configs: readonly MatrixConfig[]; readonly text: string } {
  const none = (why: string): { configs: []; text: string } => ({ configs: [], text: `none: ${why}` });
  const missing = ['shader-f16', 'subgroups', matrixFeature].filter((name) => !features.has(name));
  if (missing.length > 0) return none(`the adapter has no ${missing.join(', ')}`);
  const { subgroupMinSize: least, subgroupMaxSize: most } = info;
  if (least === undefined || least !== most) return none(`subgroups have ${least} to ${most} invocations`);
  const listed = (info as { subgroupMatrixConfigs?: readonly ListedConfig[] }).subgroupMatrixConfigs ?? [];
  const configs = usableMatrices
    .filter(({ m, n, k, elem }) =>
      listed.some(
        (c) =>
          c.componentType === elem && c.resultComponentType === 'f32' && c.M === m && c.N === n && c.K === k,
      ),
    )
    .map((config): MatrixConfig => ({ ...config, subgroup: least }));
  if (configs.length === 0) return none('the adapter has no configuration that the kernels can use');
  const words = configs.map(({ m, n, k, elem }) => `${m}x${n}x${k} ${elem}`);
  return { configs, text: `${words.join(', ')} in subgroups of ${least}` };
}

async function requestAdapter(options: InitOptions): Promise<{ adapter: GPUAdapter; gpu: GPU }> {
  const wanted = options.adapter;
  const byName = wanted !== undefined && wanted !== 'software' && wanted !== 'hardware';
  const powerPreference = options.powerPreference ?? 'high-performance';
  // Browsers know their software adapter as the fallback; Dawn in Node knows Mesa's by name only.
  const requests: Request[] =
    wanted === 'software'
      ? [{ options: { forceFallbackAdapter: true } }, ...(isNode ? [{ name: 'llvmpipe', options: {} }] : [])]
      : [{ name: byName ? wanted : undefined, options: { powerPreference } }];

  const found: string[] = [];
  const reasons: unknown[] = [];
  for (const request of requests) {
    const gpu = await findGpu(request.name, options.subgroupMatrices === true);
    let adapter: GPUAdapter | null = null;
    try {
      adapter = await gpu.requestAdapter(request.options);
    } catch (error) {
      reasons.push(error); // Dawn in Node throws where browsers answer null.
    }
    if (adapter === null) continue;
    const name = adapterName(adapter.info);
    const fits = byName
      ? name.toLowerCase().includes(wanted.toLowerCase())
      : wanted === undefined || isSoftware(adapter.info) === (wanted === 'software');
    if (fits) return { adapter, gpu };
    found.push(name);
  }
  const which = wanted === undefined ? 'WebGPU adapter' : `WebGPU adapter '${wanted}'`;
  if (found.length > 0) {
    throw new DeviceError(
      `init: no ${which} was found; this machine offers '${found.join("', '")}'. ` +
        'Leave out the `adapter` option to use it.',
    );
  }
  const details = reasons.map((r) => (r instanceof Error ? ` (${r.message.trim()})` : '')).join('');
  throw new DeviceError(
    `init: no ${which} was found${details}. ${isNode ? installHint : browserHint}`,
    undefined,
    {
      cause: reasons[0],
    },
  );
}

interface Request {
  /** Part of the adapter's name, for Dawn in Node. */
  readonly name?: string | undefined;
  readonly options: GPURequestAdapterOptions;
}

const browserHint =
  'This browser or its settings offer no WebGPU: use a recent Chrome, Edge, Safari or Firefox, over https or localhost.';

function isSoftware(info: GPUAdapterInfo): boolean {
  return (
    info.isFallbackAdapter ||
    /llvmpipe|lavapipe|swiftshader|software|basic render|\bcpu\b/i.test(adapterName(info))
  );
}

/**
 * The class of a GPU by what it says of itself, in Dawn's names of vendors and architectures
 * (https://dawn.googlesource.com/dawn/+/refs/heads/main/src/dawn/gpu_info.json). AMD's processors have GPUs
 * of the same architectures as its cards and are told by their marketing names, where those are given (not in
 * browsers).
 */
export function adapterClass(info: AdapterInfo): AdapterClass {
  const { vendor, architecture } = info;
  const name = `${info.device} ${info.description}`;
  switch (vendor.toLowerCase()) {
    case 'nvidia':
      return /tegra|orin|xavier/i.test(name) ? 'integrated' : 'discrete';
    case 'amd':
      if (!/^(rdna|cdna)/i.test(architecture)) return 'integrated';
      return /radeon(\(tm\))? (graphics|vega|\d{3}m\b)/i.test(name) ? 'integrated' : 'discrete';
    case 'apple':
      return 'apple';
    case 'intel':
      return 'integrated';
    default:
      return 'unknown';
  }
}

function adapterName(info: GPUAdapterInfo): string {
  return [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(' ');
}

/**
 * Whether further devices of this process should compile for the first: where they share what the driver
 * compiles, and compiling is slow (Mesa's software driver, through its cache on disk), unless
 * `KINDLING_COMPILE_AHEAD=0` says that other processes need the cores.
 */
export function compilesAhead({ info }: OpenedDevice): boolean {
  if (!isNode || !/llvmpipe|lavapipe/i.test(`${info.device} ${info.description}`)) return false;
  return (
    process.env['KINDLING_COMPILE_AHEAD'] !== '0' &&
    !/^(1|true|yes|y)$/i.test(process.env['MESA_SHADER_CACHE_DISABLE'] ?? '')
  );
}

/** Cores that compiling may take besides the one that the driver uses by itself: from 1 to 3. */
export function idleCores(): number {
  const cores = nodeBuiltin?.('node:os').availableParallelism() ?? 2;
  return Math.min(3, Math.max(1, cores - 1));
}

function immediateSize(device: GPUDevice, gpu: GPU): number {
  // The types claim it is always there; browsers without immediates have neither the limit nor the method.
  const size: number | undefined = device.limits.maxImmediateSize;
  const written = gpu.wgslLanguageFeatures.has('immediate_address_space');
  return typeof size === 'number' && written ? size : 0;
}

const isNode = typeof process === 'object' && typeof process.versions?.node === 'string';

/**
 * Node's own modules without an import that a bundler for the browser would trip over.
 * @internal so that the package's types need none of Node's
 */
export const nodeBuiltin: typeof process.getBuiltinModule | undefined = isNode
  ? process.getBuiltinModule?.bind(process)
  : undefined;

const pins = Symbol.for('kindling.gpu');

/**
 * What Dawn's `create` returned, by its flags. The process is aborted when one is collected, and each costs
 * Mesa a driver with threads of its own: so one serves all devices, of every copy of this module.
 */
const pinned: Map<string, GPU> = ((globalThis as { [pins]?: Map<string, GPU> })[pins] ??= new Map<
  string,
  GPU
>());

async function findGpu(adapterName: string | undefined, unsafe: boolean): Promise<GPU> {
  const existing = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (existing) return existing;
  if (!isNode) throw new DeviceError(`init: no WebGPU. ${browserHint}`);
  setDriverDefaults();
  const flags = [
    ...(adapterName === undefined ? [] : [`adapter=${adapterName}`]),
    // The profiler's times would be multiples of 65.5 microseconds.
    'disable-dawn-features=timestamp_quantization',
    ...(unsafe ? ['enable-dawn-features=allow_unsafe_apis'] : []),
  ];
  const key = flags.join(' ');
  const known = pinned.get(key);
  if (known !== undefined) return known;
  let dawn: { create(flags: string[]): GPU };
  try {
    dawn = (await importAtRuntime('webgpu')) as typeof dawn;
  } catch (cause) {
    throw new DeviceError(`init: ${dawnHint(cause)}`, undefined, { cause });
  }
  const gpu = dawn.create(flags);
  pinned.set(key, gpu);
  return gpu;
}

/** The peer that package.json asks for. @internal */
export const dawnPackage = 'webgpu@0.6';

/** What to do when Dawn's package is not there, or its addon does not load. @internal */
export function dawnHint(cause: unknown): string {
  const { code, message } = cause as { code?: unknown; message?: unknown };
  return code === 'ERR_MODULE_NOT_FOUND'
    ? 'Node has WebGPU from the package `webgpu` (Dawn), which is not installed beside kindling. Run ' +
        `\`npm install ${dawnPackage}\` (browsers need none).`
    : `the package \`webgpu\` did not load (${String(message)}). Run \`npm install ${dawnPackage}\` on this machine ` +
        'again: its addon is there for Linux, macOS and Windows.';
}

/** The specifier is an argument so that no bundler resolves it. */
function importAtRuntime(specifier: string): Promise<unknown> {
  return import(/* @vite-ignore */ /* webpackIgnore: true */ specifier);
}

/**
 * Mesa's software driver reads these once, when it is loaded. More threads than cores keep the cores busy
 * over the uneven ends of a dispatch (1.5-2x faster on two cores); its compiler takes seconds, so the cache
 * must persist.
 */
function setDriverDefaults(): void {
  const os = nodeBuiltin?.('node:os');
  const fs = nodeBuiltin?.('node:fs');
  const path = nodeBuiltin?.('node:path');
  if (!os || !fs || !path) return;
  const { env } = process;
  env.LP_NUM_THREADS ??= String(Math.min(32, Math.max(8, os.availableParallelism())));
  env.XDG_RUNTIME_DIR ??= os.tmpdir();
  if (env.MESA_SHADER_CACHE_DIR === undefined) {
    const folder = path.join(env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'kindling', 'mesa');
    try {
      fs.mkdirSync(folder, { recursive: true });
      env.MESA_SHADER_CACHE_DIR = folder;
    } catch {
      // A read-only home: Mesa then falls back to its own default folder, or compiles anew each time.
    }
  }
}

/** GPUs that work in the machine's own memory, which the system needs too. */
const unified: readonly AdapterClass[] = ['apple', 'integrated'];

/**
 * Memory budget when the user gave none. Software adapters never report being out of memory, and GPUs in the
 * machine's own memory late: the system swaps, then kills.
 */
export function defaultMemoryBudget(target: Target): number {
  const os = nodeBuiltin?.('node:os');
  if (target.kind === 'gpu') {
    const shares = os !== undefined && unified.includes(target.class ?? 'unknown');
    return shares ? Math.floor(0.75 * os.totalmem()) : Infinity;
  }
  if (os) {
    const constrained = process.constrainedMemory?.() ?? 0;
    const total = os.totalmem();
    return Math.floor(0.6 * (constrained > 0 ? Math.min(constrained, total) : total));
  }
  const gibibytes = (globalThis as { navigator?: { deviceMemory?: number } }).navigator?.deviceMemory ?? 4;
  return Math.floor(0.5 * gibibytes * 1024 ** 3);
}
