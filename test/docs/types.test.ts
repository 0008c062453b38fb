import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { blocksOf, guide } from './blocks.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const options: ts.CompilerOptions = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ['node', '@webgpu/types'],
};

/** What a page of the browser's has at hand. */
const given = `import * as k from 'kindling';
declare const file: File, model: k.nn.TensorModule, device: GPUDevice, buffer: GPUBuffer;
declare const context: CanvasRenderingContext2D;
`;
const inPage = (code: string): string => (code.includes('import *') ? code : given + code);

const programs = new Map<string, string>(
  ['README.md', ...guide].flatMap((page) => {
    const name = join(root, page.replace('.md', ''));
    const blocks = blocksOf(page);
    const whole = page === 'README.md' ? blocks : [blocks.join('\n')];
    return [...whole, ...blocksOf(page, 'ts browser').map(inPage)].map(
      (code, i) => [`${name}-${i}.mts`, `${code}\nexport {};\n`] as const,
    );
  }),
);

describe('the code of the documentation', () => {
  beforeAll(() => void build());

  it('compiles against the built types, strictly', () => {
    const host = ts.createCompilerHost(options);
    const { fileExists, readFile } = host;
    host.fileExists = (file) => programs.has(file) || fileExists(file);
    host.readFile = (file) => programs.get(file) ?? readFile(file);
    const program = ts.createProgram([...programs.keys()], options, host);
    const wrong = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
      const at =
        file === undefined
          ? ''
          : `${file.fileName}:${file.getLineAndCharacterOfPosition(start ?? 0).line + 1} `;
      return at + ts.flattenDiagnosticMessageText(messageText, ' ');
    });
    expect(wrong).toEqual([]);
  });
});
