import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import { rowMajorTwin } from '../../src/ops/base/layout.js';
import { difference, upload } from '../rows.js';
import { evaluate, loadFamilies, type Case, type Golden, type Memory } from './cases.js';

/**
 * Where PyTorch 1.13 allows a write only because it happens to have copied the operand, or leaves the order
 * of writes open.
 */
const byAccident: Readonly<Record<string, string>> = {
  'matmul | matrix, batch': 'folds the batch into a copy',
  'matmul | vector, batch': 'folds the batch into a copy',
  'instanceNorm | affine': 'repeats the weight per sample',
  'unfold | overlapping': 'adds to the same element several times, in no defined order',
};

beforeAll(() => k.init());

interface Run {
  readonly leaves: ReadonlyMap<string, Tensor>;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputs: readonly Tensor[];
}

/** As the goldens' script does: what is differentiated is the result of an op. */
function start(row: Case, golden: Golden): Run {
  const leaves = new Map<string, Tensor>();
  const inputs: Record<string, Tensor> = {};
  for (const [name, host] of golden.inputs) {
    const leaf = upload(host);
    if (row.grad?.includes(name)) leaves.set(name, leaf.requiresGrad_());
    inputs[name] = leaves.has(name) ? leaf.mul(1) : leaf;
  }
  return { leaves, inputs, outputs: evaluate(row, inputs) };
}

function checkLayout({ inputs, outputs }: Run, memory: Memory): string[] {
  return outputs.flatMap((output, i) => {
    if (output.numel() === 0) return [];
    const shared = Object.keys(inputs).find((name) => inputs[name]!.storage === output.storage) ?? null;
    const problems: string[] = [];
    if (shared !== memory.shares[i])
      problems.push(`output ${i} shows the memory of ${shared}, PyTorch's that of ${memory.shares[i]}`);
    // Images are channels-last from the first convolution on, and what is taken from them is tied to them.
    if (memory.strides[i] === null && !output.isContiguous() && rowMajorTwin(output) === null)
      problems.push(`output ${i} has strides [${output.strides.join(', ')}], PyTorch's is row-major`);
    return problems;
  });
}

/**
 * Backward after `pick` was doubled in place: the gradients that come are right, whether or not PyTorch would
 * refuse.
 */
async function checkWrite(
  what: string,
  row: Case,
  golden: Golden,
  allowed: boolean,
  pick: (run: Run) => Tensor,
  factor: number | null,
): Promise<string[]> {
  const run = start(row, golden);
  try {
    pick(run).mul_(2);
    const roots = run.outputs.filter((output, i) => golden.cotangents[i] && output.requiresGrad);
    const cotangents = golden.cotangents.filter((host, i) => host && run.outputs[i]!.requiresGrad);
    k.autograd.backward(
      roots,
      cotangents.map((host) => upload(host!)),
    );
  } catch (error) {
    return allowed ? [`${what} was written in place: ${(error as Error).message.slice(0, 160)}`] : [];
  }
  if (factor === null) return [];
  const problems: string[] = [];
  for (const [name, leaf] of run.leaves) {
    const want = golden.grads.get(name);
    if (!want) continue;
    const data = Float32Array.from(want.data, (value) => value * factor);
    const got = leaf.grad === null ? new Float32Array(data.length) : await leaf.grad.data();
    const wrong = difference(got, { ...want, data }, row.tolerance);
    if (wrong !== null) problems.push(`${what} was written in place, gradient of ${name}: ${wrong}`);
  }
  return problems;
}

async function check(row: Case, golden: Golden, memory: Memory): Promise<string[]> {
  const problems = checkLayout(start(row, golden), memory);
  if (`${row.op} | ${row.name}` in byAccident) return problems;
  for (const [i, allowed] of (memory.written ?? []).entries()) {
    if (allowed === null) continue;
    const factor = memory.written!.length === 1 ? 2 : null;
    problems.push(
      ...(await checkWrite(`output ${i}`, row, golden, allowed, ({ outputs }) => outputs[i]!, factor)),
    );
  }
  for (const [name, allowed] of Object.entries(memory.inputs ?? {})) {
    // Where the output is a view, its values and so its gradient change with the input.
    const factor = memory.shares.every((shared) => shared === null) ? 1 : null;
    problems.push(
      ...(await checkWrite(`input ${name}`, row, golden, allowed, ({ inputs }) => inputs[name]!, factor)),
    );
  }
  return problems;
}

describe.each(loadFamilies())("$name: memory is shared, laid out and writable as PyTorch's", ({ ops }) => {
  it.each([...ops].map(([op, rows]) => ({ op, rows })))('$op', async ({ rows }) => {
    const problems: string[] = [];
    for (const { row, golden } of rows) {
      const found = golden.memory ? await check(row, golden, golden.memory) : [];
      problems.push(...found.map((problem) => `${row.name}: ${problem}`));
    }
    expect(problems).toEqual([]);
  });
});
