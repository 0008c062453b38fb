import { availableParallelism } from 'node:os';
import { runtime } from '../../index.js';
import { defineCommand } from '../command.js';
import type { Context } from '../context.js';
import { byteSize, table } from '../output.js';
import { json } from '../shared-options.js';
import { versions } from '../versions.js';

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
async function info(context: Context): Promise<void> {
  const { output } = context;
  const started = performance.now();
  await context.openDevice();
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
    versions: versions(),
    cores: availableParallelism(),
  };
  output.document(report);

  const { adapter, versions: version, memory } = report;
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
      `kindling ${version.kindling}, webgpu ${version.webgpu ?? '(from the system)'}, Node ${version.node}`,
    ],
    ['system', version.platform],
  ];
  if (!output.json) for (const line of table(rows.filter(([, value]) => value !== ''))) output.line(line);
}

export const infoCommand = defineCommand({
  name: 'info',
  help: 'show the adapter, its features and limits',
  options: { json },
  examples: [['kindling info'], ['kindling info --json', 'all limits']],
  run: ({ context }) => info(context),
});
