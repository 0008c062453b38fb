/**
 * The package as its users get it: packed, installed into an empty folder, type-checked, bundled for a
 * browser and run; there is no Dawn but where Node is to compute. Only `dist` takes part, never `src`.
 */
import { spawnSync } from 'node:child_process';
import { builtinModules } from 'node:module';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import vm from 'node:vm';
import * as esbuild from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { every, full } from '../tooling/full.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { exports, peerDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>;
  peerDependencies: { webgpu: string };
};
const entries = Object.keys(exports)
  .filter((path) => !path.endsWith('.json'))
  .map((path) => path.replace(/^\./, 'kindling'));
const quiet = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
let consumer = '';
let packedFiles: string[] = [];
let tarball = '';

/** Runs a command in the consumer's folder and returns its output; throws with that output when it fails. */
function run(command: string, ...args: string[]): string {
  const result = spawnSync(command, args, {
    cwd: consumer,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (result.status !== 0) {
    throw new Error(
      `${command} ${args.join(' ')}: ${result.status}\n${`${result.stdout}${result.stderr}`.slice(-4000)}`,
    );
  }
  return result.stdout;
}

function write(name: string, text: string): string {
  const path = join(consumer, name);
  writeFileSync(path, text);
  return path;
}

/** Bundles `code` as a consumer's own file. */
function bundle(code: string, options: esbuild.BuildOptions): ReturnType<typeof esbuild.build> {
  const entry = write('entry.mjs', code);
  return esbuild.build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    logLevel: 'silent',
    ...options,
  });
}

beforeAll(() => {
  build();
  consumer = mkdtempSync(join(tmpdir(), 'kindling-consumer-'));
  const pack = [
    'pack',
    root,
    '--json',
    '--ignore-scripts',
    '--loglevel=error',
    `--pack-destination=${consumer}`,
  ];
  const [packed] = JSON.parse(run('npm', ...pack)) as { filename: string; files: { path: string }[] }[];
  packedFiles = (packed?.files ?? []).map(({ path }) => path);
  tarball = join(consumer, packed?.filename ?? '');
  write('package.json', '{ "name": "consumer", "private": true, "type": "module" }');
  run('npm', 'install', ...quiet, tarball);
}, 240_000);

afterAll(() => rmSync(consumer, { recursive: true, force: true }));

describe('the packed files', () => {
  it('are the build, the weights and the driver set-up, and nothing of the workshop', () => {
    expect(packedFiles).toEqual(
      expect.arrayContaining(['package.json', 'LICENSE', 'README.md', 'dist/index.js', 'dist/index.d.ts']),
    );
    const expected = /^(dist\/|weights\/|scripts\/driver\/|package\.json$|LICENSE$|README\.md$)/;
    const nobodys = /\.tsbuildinfo$|\.map$|^dist\/cli\/.*\.d\.ts$/;
    expect(packedFiles.filter((path) => !expected.test(path) || nobodys.test(path))).toEqual([]);
  });

  it('name no source maps, which are not there', () => {
    const scripts = packedFiles.filter((path) => path.endsWith('.js'));
    const installed = join(consumer, 'node_modules/kindling');
    const naming = scripts.filter((path) =>
      /^\/\/# sourceMapp/m.test(readFileSync(join(installed, path), 'utf8')),
    );
    expect(naming).toEqual([]);
  });

  it('hold every file that package.json points to', () => {
    const { exports, bin, main, types, sideEffects, unpkg, jsdelivr } = JSON.parse(
      readFileSync(join(root, 'package.json'), 'utf8'),
    ) as Record<string, unknown>;
    const paths = [
      ...JSON.stringify([exports, bin, main, types, sideEffects, unpkg, jsdelivr]).matchAll(
        /"\.\/([^"]+\.(?:js|ts))"/g,
      ),
    ];
    const wanted = paths.map((match) => match[1] ?? '').filter((path) => !path.includes('*'));
    expect(wanted.length).toBeGreaterThan(4);
    expect(wanted.filter((path) => !packedFiles.includes(path))).toEqual([]);
  });

  it('run nothing when they are installed', () => {
    const installed = readFileSync(join(consumer, 'node_modules/kindling/package.json'), 'utf8');
    const { scripts = {} } = JSON.parse(installed) as { scripts?: Record<string, string> };
    // Those that npm runs in a package that it installs; node-gyp is run for a binding.gyp.
    const hooks = [
      'preinstall',
      'install',
      'postinstall',
      'prepare',
      'preprepare',
      'postprepare',
      'dependencies',
    ];
    expect(Object.keys(scripts).filter((name) => hooks.includes(name))).toEqual([]);
    expect(packedFiles.filter((path) => path.endsWith('binding.gyp'))).toEqual([]);
  });

  it('bring nothing along that a browser does not use', () => {
    const { packages } = JSON.parse(
      readFileSync(join(consumer, 'node_modules/.package-lock.json'), 'utf8'),
    ) as { packages: Record<string, unknown> };
    expect(Object.keys(packages).sort()).toEqual(
      ['kindling', 'long', 'protobufjs'].map((name) => `node_modules/${name}`),
    );
  });

  it('have a command that runs', () => {
    const command = join(consumer, 'node_modules/kindling/dist/cli/main.js');
    expect(readFileSync(command, 'utf8').split('\n')[0]).toBe('#!/usr/bin/env node');
    if (process.platform !== 'win32') expect(statSync(command).mode & 0o111).not.toBe(0);
    expect(run('npx', '--no-install', 'kindling', '--help')).toMatch(/demo/);
  });
});

describe('its types', () => {
  const others = 'test/packaging/compilers';
  const compilers = full
    ? [
        'node_modules/typescript',
        `${others}/node_modules/typescript-5`,
        `${others}/node_modules/typescript-7`,
      ]
    : ['node_modules/typescript'];
  const matrix = compilers.flatMap((compiler) =>
    ['NodeNext', 'bundler'].flatMap((resolution) =>
      ['ES2022', 'DOM'].map((library) => [compiler, resolution, library] as const),
    ),
  );

  it.each(every(3, matrix))(
    'pass tsc --strict in a consumer: %s, moduleResolution %s, library %s',
    (compiler, resolution, library) => {
      write(
        'use.mts',
        `import * as kindling from 'kindling';
${entries.map((name, i) => `import * as entry${i} from '${name}';`).join('\n')}
import { init, tensor, type Tensor } from 'kindling';
export async function use(): Promise<number> {
  await init();
  const x: Tensor = tensor([1, 2, 3]);
  return x.add(1).sum().item();
}
// @ts-expect-error: were these any, nothing would be checked
export const wrong: string = tensor([1]);
export const all = [${entries.map((_, i) => `entry${i}`).join(', ')}, kindling];
`,
      );
      const options = {
        strict: true,
        noEmit: true,
        noUncheckedIndexedAccess: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        target: 'ES2022',
        lib: library === 'DOM' ? ['ES2022', 'DOM'] : ['ES2022'],
        module: resolution === 'bundler' ? 'ESNext' : 'NodeNext',
        moduleResolution: resolution,
        types: [],
        typeRoots: [],
      };
      write('tsconfig.json', JSON.stringify({ compilerOptions: options, include: ['use.mts'] }));
      if (!existsSync(join(root, compiler))) run('npm', 'ci', '--prefix', join(root, others), ...quiet);
      const { bin } = JSON.parse(readFileSync(join(root, compiler, 'package.json'), 'utf8')) as {
        bin: { tsc: string };
      };
      run(process.execPath, join(root, compiler, bin.tsc), '-p', 'tsconfig.json');
    },
  );
});

describe.runIf(full)('as others check packages', () => {
  const checkers = join(root, 'test/packaging/checkers');
  const checker = (name: string): string => join(checkers, 'node_modules', name);
  beforeAll(() => {
    if (!existsSync(checker('publint'))) run('npm', 'ci', '--prefix', checkers, ...quiet);
  }, 240_000);

  it('publint has nothing to say', () => {
    expect(run(process.execPath, checker('publint/src/cli.js'), '--strict', tarball)).toMatch(/All good!/);
  });

  // The profile leaves out those who cannot load ES modules, or know no "exports".
  it('every entry has the right types for those who load ES modules (Are The Types Wrong?)', () => {
    const attw = [checker('@arethetypeswrong/cli/dist/index.js'), tarball, '--profile', 'esm-only'];
    const { problems } = JSON.parse(run(process.execPath, ...attw, '--format', 'json')) as {
      problems: Record<string, readonly { resolutionKind?: string }[]>;
    };
    const outside = ['node10', 'node16-cjs'];
    const all = Object.values(problems).flat();
    expect(all.filter(({ resolutionKind = '' }) => !outside.includes(resolutionKind))).toEqual([]);
  });
});

describe('the core entry', () => {
  it('bundles for a browser with nothing left to import', async () => {
    const result = await bundle("export * from 'kindling';", { platform: 'browser', format: 'esm' });
    const outputs = Object.values(result.metafile?.outputs ?? {});
    expect(outputs.flatMap((output) => output.imports)).toEqual([]);
    const inputs = Object.keys(result.metafile?.inputs ?? {});
    expect(inputs.some((path) => path.endsWith('kindling/dist/index.js'))).toBe(true);
    const foreign = inputs.filter((path) => !/kindling\/dist\/|entry\.mjs$/.test(path));
    expect(foreign, 'only its own files').toEqual([]);
    expect(inputs.filter((path) => builtinModules.includes(path))).toEqual([]);
  });

  it('loads where there are no Node globals', async () => {
    const result = await bundle("export * from 'kindling';", {
      platform: 'browser',
      format: 'iife',
      globalName: 'kindling',
    });
    const browser = { TextDecoder, TextEncoder, performance, queueMicrotask, setTimeout, URL, navigator: {} };
    const context = vm.createContext({ ...browser });
    vm.runInContext(result.outputFiles?.[0]?.text ?? '', context);
    expect(vm.runInContext('typeof process + typeof kindling.init', context)).toBe('undefinedfunction');
  });
});

/** What is left to import in a module, by `import` or `import()` of a constant. */
async function importsOf(path: string): Promise<string[]> {
  const { metafile } = await esbuild.build({
    entryPoints: [path],
    ...{ bundle: true, write: false, metafile: true, format: 'esm', external: ['*'] },
  });
  return Object.values(metafile.outputs).flatMap(({ imports }) => imports.map((each) => each.path));
}

describe('without Dawn', () => {
  it('init in Node says what to install, a version that package.json admits', () => {
    write(
      'without.mjs',
      "import { init } from 'kindling'; await init().catch((error) => console.log(error.message));",
    );
    const [, version = ''] = /`npm install webgpu@([\d.]+)`/.exec(run(process.execPath, 'without.mjs')) ?? [];
    expect(peerDependencies.webgpu).toMatch(new RegExp(`^\\^${version}\\.`));
  });

  it('the command says so in one line', () => {
    const command = ['--no-install', 'kindling', 'setup'];
    expect(() => run('npx', ...command)).toThrow(/kindling: [^\n]*`npm install webgpu@[\d.]+`[^\n]*\n$/);
  });
});

describe('the one file for pages without a bundler', () => {
  const file = (): string => join(consumer, 'node_modules/kindling/dist/kindling.min.js');

  it('imports nothing', async () => {
    expect(await importsOf(file())).toEqual([]);
  });

  it('exports what kindling exports', async () => {
    const [one, all] = [file(), join(consumer, 'node_modules/kindling/dist/index.js')];
    const names = async (path: string): Promise<string[]> =>
      Object.keys((await import(pathToFileURL(path).href)) as object).sort();
    expect(await names(one)).toEqual(await names(all));
  });

  it("trains on navigator.gpu, prints its layers' names and finds the weights beside it", () => {
    const code = `import { create, globals } from '${pathToFileURL(join(root, 'node_modules/webgpu/index.js')).href}';
Object.assign(globalThis, globals);
const gpu = create([]);
Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
const k = await import('${pathToFileURL(file()).href}');
await k.init();
k.manualSeed(0);
const model = new k.nn.Linear(1, 1);
const [x, y] = [k.tensor([[1], [2]]), k.tensor([[3], [6]])];
const optimizer = new k.optim.SGD(model.parameters(), { lr: 0.1 });
let loss;
for (let i = 0; i < 50; i++) {
  optimizer.zeroGrad();
  loss = k.nn.functional.mseLoss(model(x), y);
  loss.backward();
  optimizer.step();
}
console.log((await loss.item()) < 0.1, String(model), (await k.models.weights('resnet18')).length);
k.close();
process.exit(gpu === undefined ? 1 : 0);
`;
    write('one-file.mjs', code);
    expect(run(process.execPath, 'one-file.mjs').trim()).toBe(
      'true Linear(in_features=1, out_features=1, bias=True) 1',
    );
  });
});

describe('the installed package', () => {
  beforeAll(() => void run('npm', 'install', ...quiet, `webgpu@${peerDependencies.webgpu}`), 240_000);

  it('imports and computes in Node, and lets the process end', () => {
    write(
      'app.mjs',
      `import { init, tensor } from 'kindling';
import * as node from 'kindling/node';
await init();
if (Object.keys(node).length === 0) throw new Error('kindling/node exports nothing');
console.log(await tensor([1, 2, 3]).add(1).sum().item());
`,
    );
    expect(run(process.execPath, 'app.mjs').trim()).toBe('9');
  });
});
