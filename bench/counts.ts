/**
 * What a few small works cost in numbers that no machine's speed touches: dispatches, pipelines and peak GPU
 * bytes. They are compared exactly with a committed file, so that a change that costs more of them shows in
 * its commit.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as k from '../src/index.js';
import { prepare } from './cases.js';
import type { Work } from './work-list.mjs';

/** Of one run after the first two. */
export interface Counts {
  readonly dispatches: number;
  /** Distinct pipelines that the runs compiled, without those that made the operands. */
  readonly pipelines: number;
  /** GPU memory live at once, parameters included. */
  readonly peakGpuBytes: number;
  /** Dispatches by kernel name. */
  readonly kernels: Readonly<Record<string, number>>;
}

export interface CountedWorks {
  /** What plans depend on; the counts of another kind of adapter are others. */
  readonly adapter: string;
  readonly works: Readonly<Record<string, Counts>>;
}

const countedWorks: Readonly<Record<string, Work>> = {
  'CIFAR ResNet-20 training step, batch 4': {
    op: 'train',
    network: 'cifar-resnet20',
    input: [4, 3, 32, 32],
  },
  'ResNet-18 forward, 1x3x64x64': { op: 'forward', network: 'resnet18', input: [1, 3, 64, 64] },
  'MobileNetV2 forward, 1x3x64x64': {
    op: 'model',
    model: 'mobilenet_v2',
    pass: 'forward',
    input: [1, 3, 64, 64],
  },
};

function adapterKind(): string {
  const { target, limits, maxBinding } = k.runtime();
  return [
    target.kind,
    `subgroups of ${target.subgroupSize}`,
    target.f16 ? 'f16' : 'no f16',
    `bindings of ${maxBinding} bytes`,
    `${limits.maxStorageBuffersPerShaderStage} storage buffers`,
    `${target.maxInvocations} invocations`,
  ].join(', ');
}

async function countsOf(work: Work): Promise<Counts> {
  const runtime = k.runtime();
  const { run } = await prepare(work);
  await k.synchronize();
  const before = runtime.pipelineCount();
  await run();
  await run();
  runtime.resetPeakMemory();
  runtime.resetOpCounts();
  await run();
  const kernels = [...runtime.opCounts()].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    dispatches: kernels.reduce((sum, [, count]) => sum + count, 0),
    pipelines: runtime.pipelineCount() - before,
    peakGpuBytes: runtime.memoryStats().peakBytes,
    kernels: Object.fromEntries(kernels),
  };
}

/**
 * Every work on a device of its own, so that none finds the pipelines of another. The device must not run
 * yet.
 */
export async function countAll(): Promise<CountedWorks> {
  const works: Record<string, Counts> = {};
  let adapter = '';
  for (const [name, work] of Object.entries(countedWorks)) {
    await k.init();
    adapter = adapterKind();
    works[name] = await countsOf(work);
    k.close();
  }
  return { adapter, works };
}

const fields = ['dispatches', 'pipelines', 'peakGpuBytes'] as const;

/** One line per number that differs, kernel by kernel where dispatches do. */
export function differences(expected: CountedWorks['works'], actual: CountedWorks['works']): string[] {
  const lines: string[] = [];
  const compare = (what: string, was: number | undefined, is: number | undefined): void => {
    if (was !== is) lines.push(`${what}: ${was ?? 'not listed'} expected, ${is ?? 'gone'} now`);
  };
  for (const name of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    const [was, is] = [expected[name], actual[name]];
    for (const field of fields) compare(`${name}: ${field}`, was?.[field], is?.[field]);
    if (!was || !is) continue;
    for (const kernel of new Set([...Object.keys(was.kernels), ...Object.keys(is.kernels)]))
      compare(`${name}: dispatches of ${kernel}`, was.kernels[kernel] ?? 0, is.kernels[kernel] ?? 0);
  }
  return lines;
}

const expectedFile = fileURLToPath(new URL('expected-counts.json', import.meta.url));

export const readExpected = (): CountedWorks =>
  JSON.parse(readFileSync(expectedFile, 'utf8')) as CountedWorks;

export function writeExpected(counts: CountedWorks): void {
  writeFileSync(expectedFile, JSON.stringify(counts, null, 2) + '\n');
}

export const howToAccept =
  'If this is meant, run `npm run bench -- --update-counts`, look at the difference of bench/expected-counts.json and commit it.';
