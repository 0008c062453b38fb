import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ESLint, Linter } from 'eslint';
import tseslint from 'typescript-eslint';
import { describe, expect, it } from 'vitest';
import { importProblem, rooms, roomsRule, subRooms } from '../../scripts/eslint-rooms.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Messages of the import rule for `code` as the text of `filename`. */
function lint(filename: string, code: string): string[] {
  const config: Linter.Config = {
    files: ['**/*.ts'],
    languageOptions: { parser: tseslint.parser as Linter.Parser },
    plugins: { kindling: { rules: { rooms: roomsRule } } },
    rules: { 'kindling/rooms': 'error' },
  };
  return new Linter({ cwd: root }).verify(code, [config], { filename }).map(({ message }) => message);
}

describe('the import rule', () => {
  it.each([
    ['src/kernels/matmul/kernel.ts', "import { runtime } from '../device/index.js';"],
    ['src/device/pool.ts', "import type { Tensor } from '../tensor/tensor.js';"],
    ['src/tensor/tensor.ts', "export { add } from '../ops/index.js';"],
    ['src/autograd/tape.ts', "export * from '../nn/index.js';"],
    ['src/ops/conv/conv2d.ts', "const nn = await import('../../nn/index.js');"],
    ['src/data/loader.ts', "let m: import('../nn/base/module.js').Module;"],
    ['src/formats/pth.ts', "import { Dataset } from '../data/index.js';"],
    ['src/data/images.ts', "import { readZip } from '../formats/zip.js';"],
    ['src/nn/base/module.ts', "import { SGD } from '../../optim/index.js';"],
    ['src/models/resnet.ts', "import '../cli/main.js';"],
    ['src/nn/layers/linear.ts', "import { init } from '../../index.js';"],
    ['src/index.ts', "import './cli/main.js';"],
    ['src/nn/layers/linear.ts', "import { helper } from '../../../scripts/setup.mjs';"],
    ['src/ops/base/view.ts', "export { diag } from '../shape/diagonal.js';"],
    ['src/nn/base/module.ts', "import { Linear } from '../layers/linear.js';"],
    ['src/extras/thing.ts', "import { add } from '../ops/index.js';"],
    ['src/kernels/base/kernel.ts', "import type { Tuning } from '../tuning/table.js';"],
    ['src/kernels/matmul/plan.ts', "import { planConv2d } from '../conv/plan.js';"],
    ['src/kernels/reduce/scan.ts', "import type { Limits } from '../index/positions.js';"],
    ['src/kernels/extras/thing.ts', "import { memoKernel } from '../base/kernel.js';"],
  ])('refuses, in %s: %s', (filename, code) => {
    expect(lint(filename, code)).toHaveLength(1);
  });

  it.each([
    ['src/kernels/matmul/kernel.ts', "import { chooseTile } from './tile.js';"],
    ['src/kernels/conv/plan.ts', "import { planGemm } from '../matmul/plan.js';"],
    ['src/device/pool.ts', "import type { Kernel } from '../kernels/base/kernel.js';"],
    ['src/tensor/tensor.ts', "import { backward } from '../autograd/backward.js';"],
    ['src/autograd/tape.ts', "import type { Tensor } from '../tensor/tensor.js';"],
    ['src/ops/conv/conv2d.ts', "import { gemm } from '../../kernels/matmul/kernel.js';"],
    ['src/optim/sgd.ts', "import type { Parameter } from '../nn/base/parameter.js';"],
    ['src/models/resnet.ts', "import { loadPth } from '../formats/pth.js';"],
    ['src/cli/main.ts', "import { init } from '../index.js';"],
    ['src/index.ts', "export * from './nn/index.js';"],
    ['src/data/node/folder.ts', "import { readFile } from 'node:fs/promises';"],
    ['test/ops/add.test.ts', "import { add } from '../../src/ops/index.js';"],
  ])('allows, in %s: %s', (filename, code) => {
    expect(lint(filename, code)).toEqual([]);
  });

  it('says which room may not import which, and what it may import', () => {
    expect(importProblem('src/device/pool.ts', '../ops/index.js')).toBe(
      'src/device must not import src/ops: it may import only kernels',
    );
  });

  it('knows every folder of src', () => {
    const folders = readdirSync(`${root}src`, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const unknown = folders.map(({ name }) => name).filter((name) => name !== 'cli' && !(name in rooms));
    expect(unknown).toEqual([]);
  });

  /** What only says what there is. */
  const lists: Readonly<Record<string, readonly string[]>> = {
    ops: ['index.ts', 'methods.ts', 'special.ts', 'tensor-ops.ts'],
    nn: ['functional.ts', 'index.ts'],
  };

  it.each(Object.keys(subRooms))('knows every folder of %s, outside which only its lists lie', (room) => {
    const names = readdirSync(`${root}src/${room}`);
    expect(names.sort()).toEqual([...Object.keys(subRooms[room] ?? {}), ...(lists[room] ?? [])].sort());
  });
});

describe('the lint configuration', () => {
  const eslint = new ESLint({ cwd: root });
  /** Severity of each rule for a file; the configuration is read, no file is linted. */
  async function severities(file: string): Promise<Record<string, number | undefined>> {
    const config = (await eslint.calculateConfigForFile(`${root}${file}`)) as {
      rules: Record<string, [number]>;
    };
    return Object.fromEntries(Object.entries(config.rules).map(([name, [severity]]) => [name, severity]));
  }

  it('applies the rule to all of src', async () => {
    for (const file of ['src/kernels/base/kernel.ts', 'src/cli/main.ts', 'src/index.ts']) {
      expect(await severities(file)).toMatchObject({ 'kindling/rooms': 2, 'max-lines': 2 });
    }
  });

  it('bans Node modules except in files that only Node loads', async () => {
    for (const file of [
      'src/index.ts',
      'src/device/runtime.ts',
      'src/data/loader.ts',
      'src/formats/pth.ts',
    ]) {
      expect((await severities(file))['no-restricted-imports'], file).toBe(2);
    }
    for (const file of [
      'src/cli/main.ts',
      'src/node.ts',
      'src/device/node-gpu.ts',
      'src/data/node/folder.ts',
    ]) {
      expect((await severities(file))['no-restricted-imports'], file).toBeUndefined();
    }
  });

  it('has something to check', () => {
    expect(existsSync(`${root}src/kernels/base/kernel.ts`)).toBe(true);
  });
});
