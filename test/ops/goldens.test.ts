import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import type { Tensor } from '../../src/index.js';
import { difference, upload } from '../rows.js';
import { full } from '../tooling/full.js';
import {
  evaluate,
  layInput,
  layoutsOf,
  loadFamilies,
  type Case,
  type Golden,
  type LayoutName,
} from './cases.js';

/** `KINDLING_OP=conv2d,sum` runs only these ops, `KINDLING_LAYOUT=contiguous` only this layout. */
const onlyOps = process.env['KINDLING_OP']?.split(',');
const onlyLayout = process.env['KINDLING_LAYOUT'];

/** `npm test` takes the layouts in turn, one for each case: every layout is a kernel of its own to compile. */
function chosenLayouts(row: Case, golden: Golden, index: number): LayoutName[] {
  const all = layoutsOf(row, golden);
  if (onlyLayout !== undefined) return all.filter((layout) => layout === onlyLayout);
  return full || onlyOps ? all : [all[index % all.length]!];
}

beforeAll(() => k.init());

/** A missing function is a failure even where an error is expected. */
const isMissing = (error: unknown): boolean =>
  error instanceof ReferenceError ||
  (error instanceof TypeError && /is not a (function|constructor)/.test(error.message));

async function runRaising(row: Case, golden: Golden): Promise<string[]> {
  try {
    const inputs = [...golden.inputs].map(([name, host]) => [name, upload(host)] as const);
    const outputs = evaluate(row, Object.fromEntries(inputs));
    await Promise.all(outputs.map((output) => output.data()));
  } catch (error) {
    return isMissing(error) ? [`throws the wrong error: ${String(error)}`] : [];
  }
  return ['does not throw; PyTorch does'];
}

async function checkOutputs(outputs: readonly Tensor[], row: Case, golden: Golden): Promise<string[]> {
  if (outputs.length !== golden.outputs.length) {
    return [`${outputs.length} outputs, expected ${golden.outputs.length}`];
  }
  const problems = await Promise.all(
    outputs.map(async (output, i) => {
      const want = golden.outputs[i]!;
      const label = outputs.length > 1 ? `output ${i}: ` : '';
      if (!(output instanceof k.Tensor)) return `${label}not a tensor: ${String(output)}`;
      if (String(output.shape) !== String(want.shape)) {
        return `${label}shape [${output.shape.join(', ')}], expected [${want.shape.join(', ')}]`;
      }
      if (output.dtype !== want.dtype) return `${label}dtype ${output.dtype}, expected ${want.dtype}`;
      const wrong = difference(await output.data(), want, row.tolerance);
      return wrong === null ? null : label + wrong;
    }),
  );
  return problems.filter((problem) => problem !== null);
}

async function run(row: Case, golden: Golden, layout: LayoutName): Promise<string[]> {
  const wanted = row.grad ?? [];
  const laid = new Map(
    [...golden.inputs].map(([name, host]) => [
      name,
      layInput(layout, host, row.inputs[name]?.expand ?? [], wanted.includes(name)),
    ]),
  );
  const outputs = evaluate(row, Object.fromEntries([...laid].map(([name, { input }]) => [name, input])));
  const problems = await checkOutputs(outputs, row, golden);
  if (problems.length > 0 || wanted.length === 0) return problems;

  // PyTorch keeps overwritten values on its graph, with a gradient of zero; not having one is as good.
  const roots = outputs.filter((output, i) => golden.cotangents[i] && output.requiresGrad);
  const cotangents = golden.cotangents.filter((host, i) => host !== null && outputs[i]!.requiresGrad);
  if (roots.length > 0)
    k.autograd.backward(
      roots,
      cotangents.map((host) => upload(host!)),
    );
  for (const name of wanted) {
    const { base, gradToBase } = laid.get(name)!;
    const at = golden.grads.get(name) ?? null;
    if (base.grad === null) {
      if (at !== null && at.data.some((v) => v !== 0)) problems.push(`gradient of ${name}: none`);
      continue;
    }
    if (at === null) {
      problems.push(`gradient of ${name}: present, expected none`);
      continue;
    }
    const want = gradToBase(at);
    if (String(base.grad.shape) !== String(want.shape)) {
      problems.push(
        `gradient of ${name}: shape [${base.grad.shape.join(', ')}], expected [${want.shape.join(', ')}]`,
      );
      continue;
    }
    const wrong = difference(await base.grad.data(), want, row.tolerance);
    if (wrong !== null) problems.push(`gradient of ${name}: ${wrong}`);
  }
  return problems;
}

for (const family of loadFamilies()) {
  if (onlyOps && !onlyOps.some((op) => family.ops.has(op))) continue;
  describe(`${family.name} against PyTorch`, () => {
    for (const [op, cases] of family.ops) {
      if (onlyOps && !onlyOps.includes(op)) continue;
      it(op, async () => {
        const failures = await Promise.all(
          cases.flatMap(({ row, golden }, index) =>
            chosenLayouts(row, golden, index).map(async (layout) => {
              let problems: string[];
              try {
                problems = row.raises ? await runRaising(row, golden) : await run(row, golden, layout);
              } catch (error) {
                problems = [error instanceof Error ? `${error.name}: ${error.message}` : String(error)];
              }
              return problems.map(
                (problem) => `${row.op} | ${row.name} | ${layout}: ${problem}\n    ${row.ts}`,
              );
            }),
          ),
        );
        const all = failures.flat();
        expect(all.length, `${all.length} failures\n${all.join('\n')}\n`).toBe(0);
      });
    }
  });
}
