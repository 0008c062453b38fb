/** The code of the documentation, run as it is printed. */
import { readdirSync, readFileSync } from 'node:fs';
import * as promises from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { format } from 'node:util';
import { transform } from 'esbuild';
import { expect } from 'vitest';
import * as core from '../../src/core.js';
import * as kindling from '../../src/index.js';
import * as metrics from '../../src/metrics/index.js';
import * as nn from '../../src/nn/index.js';
import * as node from '../../src/node.js';
import * as onnx from '../../src/onnx/index.js';
import * as tensorboard from '../../src/tensorboard/index.js';
import * as train from '../../src/train/index.js';
import * as trainNode from '../../src/train/node/index.js';

/** What the code imports. */
const modules: Readonly<Record<string, unknown>> = {
  'node:fs/promises': promises,
  'node:os': os,
  'node:path': path,
  kindling,
  'kindling/core': core,
  'kindling/metrics': metrics,
  'kindling/nn': nn,
  'kindling/node': node,
  'kindling/onnx': onnx,
  'kindling/tensorboard': tensorboard,
  'kindling/train': train,
  'kindling/train/node': trainNode,
};

const root = new URL('../../', import.meta.url);

/** The pages whose code is run from top to bottom. */
export const guide = readdirSync(new URL('docs/guide/', root))
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/guide/${name}`);

/**
 * @param fence `ts browser` is for code that needs a page and cannot be run here
 * @returns the page's blocks of TypeScript
 */
export const blocksOf = (page: string, fence: 'ts' | 'ts browser' = 'ts'): string[] =>
  readFileSync(new URL(page, root), 'utf8')
    .split(/^```/m)
    .filter((block, i) => i % 2 === 1 && block.startsWith(`${fence}\n`))
    .map((block) => block.slice(fence.length + 1));

/**
 * `console.log(x); // 3` says what it prints, or how that begins (`// 3 …`); an array as Node prints it (`[ 4, 6 ]`) or
 * as its text (`4,6`).
 */
const told = /^( *)console\.log\((.*)\); \/\/ (.*)$/gm;

/**
 * Runs code as a module of its own would run, and checks what it prints where the code says so.
 * @returns the lines printed
 */
export async function runBlock(code: string): Promise<string[]> {
  const body = code
    .replace(told, (_, indent: string, args: string, text: string) => {
      return `${indent}console.told(${JSON.stringify(text)}, ${args});`;
    })
    .replace(/^import type .*$/gm, '')
    .replace(/^import \* as (\w+) from ('.*');$/gm, 'const $1 = modules[$2];')
    .replace(/^import (\{.*\}) from ('.*');$/gm, (_, names: string, from: string) => {
      return `const ${names.replace(/ as /g, ': ')} = modules[${from}];`;
    });
  expect(body).not.toMatch(/^import /m);
  const compiled = await transform(`async function main() {\n${body}\n}`, {
    loader: 'ts',
    target: 'node20',
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: true } },
  });
  const main = new Function('modules', 'console', `${compiled.code}; return main();`) as (
    imported: typeof modules,
    console: { log: (...args: unknown[]) => void; told: (text: string, ...args: unknown[]) => void },
  ) => Promise<void>;
  const lines: string[] = [];
  const log = (...args: unknown[]): void => void lines.push(args.join(' '));
  await main(modules, {
    log,
    told: (text, ...args) => {
      log(...args);
      const line = lines.at(-1) as string;
      if (text.endsWith(' …')) expect(`${line.slice(0, text.length - 2)} …`).toBe(text);
      else expect([line, format(...args)]).toContain(text);
    },
  });
  return lines;
}
