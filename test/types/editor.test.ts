/**
 * What an editor shows of the built types: comments and names of parameters. And what the compiler sees of
 * the sources.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { full } from '../tooling/full.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const options: ts.CompilerOptions = {
  strict: true,
  noEmit: true,
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: [],
};

describe('an editor, at a method of Tensor', () => {
  const file = join(root, 'user.mts');
  let text = '';
  const service = ts.createLanguageService({
    getCompilationSettings: () => options,
    getScriptFileNames: () => [file],
    getScriptVersion: () => text,
    getScriptSnapshot: (path) =>
      path === file
        ? ts.ScriptSnapshot.fromString(text)
        : ts.sys.fileExists(path)
          ? ts.ScriptSnapshot.fromString(readFileSync(path, 'utf8'))
          : undefined,
    getCurrentDirectory: () => root,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: (path) => path === file || ts.sys.fileExists(path),
    readFile: ts.sys.readFile,
    directoryExists: ts.sys.directoryExists,
  });

  beforeAll(() => void build());

  it.each([
    ['add', 'add(other: Operand, ', /torch\.add/],
    ['matmul', 'matmul(b: Tensor): Tensor', /matrix-vector/],
    [
      'max',
      'max(dim: number | ChooseOptions, keepdim?: boolean | KeepdimOptions): [values: Tensor, indices: Tensor]',
      /\(first\) indices/,
    ],
    [
      'sum',
      'sum(dim: Dims, keepdim: boolean, options?: (DtypeOptions & { dim?: Dims; }) | undefined): Tensor',
      /torch\.sum/,
    ],
    ['index', 'index(...parts: readonly AnyIndex[]): Tensor', /broadcast together/],
    ['backward', 'backward(gradient?:', /Adds the gradients/],
  ])('shows what %s takes and does', (method, signature, comment) => {
    text = `import { tensor } from './dist/index.js';\ntensor([1]).${method}(`;
    const help = service.getSignatureHelpItems(file, text.length, undefined);
    const shown = (help?.items ?? []).map((item) => {
      const parts = item.parameters.flatMap(({ displayParts }, i) => [
        ...(i > 0 ? item.separatorDisplayParts : []),
        ...displayParts,
      ]);
      const all = [...item.prefixDisplayParts, ...parts, ...item.suffixDisplayParts];
      return { text: ts.displayPartsToString(all), comment: ts.displayPartsToString(item.documentation) };
    });
    const found = shown.find((item) => item.text.startsWith(signature));
    expect(found?.comment ?? '', JSON.stringify(shown)).toMatch(comment);
    const hover = service.getQuickInfoAtPosition(file, text.length - 2);
    expect(ts.displayPartsToString(hover?.documentation)).not.toBe('');
    expect(ts.displayPartsToString(hover?.displayParts)).not.toMatch(/args_\d/);
  });
});

// A compiler's run over all of `src`, beside the one that `npm test` has as a step.
it.runIf(full)(
  'the package itself calls ops as functions, so that it works where their methods are not installed',
  () => {
    const entries = [
      'core',
      'profiler',
      'node',
      'nn/index',
      'optim/index',
      'data/index',
      'formats/index',
      'models/index',
      'distributed/index',
    ];
    const program = ts.createProgram(
      entries.map((entry) => join(root, `src/${entry}.ts`)),
      { ...options, skipLibCheck: true, types: ['@webgpu/types', 'node'] },
    );
    expect(program.getSourceFile(join(root, 'src/ops/methods.ts'))).toBeUndefined();
    const problems = program.getSemanticDiagnostics().map(({ messageText, file }) => {
      return `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
    expect(problems).toEqual([]);
  },
);
