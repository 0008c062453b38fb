import { readFileSync } from 'node:fs';
import { arch, availableParallelism, platform, release } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { init, runtime } from '../../index.js';
import type { Context } from '../context.js';
import { byteSize, table } from '../output.js';

/** Limits worth a line of their own; `--json` has all. */
const shownLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
];

const byteLimits = new Set([
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
]);

/** `kindling info`: the adapter that is used, and what it can do. */
export async function info({ output }: Context): Promise<void> {
  const started = performance.now();
  await init();
  const seconds = (performance.now() - started) / 1000;
  const gpu = runtime();
  const limits: Record<string, number> = {};
  for (const name in gpu.limits) {
    const value: unknown = gpu.limits[name as keyof GPUSupportedLimits];
    if (typeof value === 'number') limits[name] = value;
  }
  const { liveBytes, pooledBytes, peakBytes, reservedBytes, liveBuffers } = gpu.memoryStats();
  const report = {
    adapter: gpu.info,
    kind: gpu.target.kind,
    subgroupSize: gpu.target.subgroupSize,
    features: gpu.features,
    limits,
    memory: { liveBytes, pooledBytes, peakBytes, reservedBytes, liveBuffers },
    startSeconds: Number(seconds.toFixed(3)),
    versions: {
      kindling: packageVersion(),
      webgpu: dependencyVersion('webgpu'),
      node: process.versions.node,
      platform: `${platform()} ${release()} ${arch()}`,
    },
    cores: availableParallelism(),
  };
  output.document(report);

  const { adapter, versions, memory } = report;
  const limit = (name: string): string =>
    byteLimits.has(name) ? byteSize(limits[name] ?? 0) : String(limits[name]);
  const rows = [
    ['adapter', adapter.device || adapter.description || 'unnamed'],
    ['vendor', adapter.vendor],
    ['architecture', adapter.architecture],
    ['driver', adapter.description],
    ['kind', report.kind === 'software' ? `software (${report.cores} cores)` : 'hardware'],
    ['subgroup size', report.subgroupSize === 0 ? 'unknown' : String(report.subgroupSize)],
    ['features', report.features.join(' ')],
    ...shownLimits.filter((name) => name in limits).map((name) => [name, limit(name)]),
    [
      'memory',
      `${byteSize(memory.liveBytes)} live, ${byteSize(memory.pooledBytes)} pooled, ${byteSize(memory.peakBytes)} at peak`,
    ],
    ['start-up', `${seconds.toFixed(2)} s`],
    [
      'versions',
      `kindling ${versions.kindling}, webgpu ${versions.webgpu ?? '(from the system)'}, Node ${versions.node}`,
    ],
    ['system', versions.platform],
  ];
  if (!output.json) for (const line of table(rows.filter(([, value]) => value !== ''))) output.line(line);
}

function versionIn(file: string): string | null {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { version?: string }).version ?? null;
  } catch {
    return null;
  }
}

/** The version in the package's own package.json, three folders up from here in `src` and in `dist`. */
export function packageVersion(): string {
  return versionIn(fileURLToPath(new URL('../../../package.json', import.meta.url))) ?? 'unknown';
}

function dependencyVersion(name: string): string | null {
  let entry: string;
  try {
    entry = fileURLToPath(import.meta.resolve(name));
  } catch {
    return null;
  }
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    const version = versionIn(join(folder, 'package.json'));
    if (version !== null) return version;
  }
  return null;
}
