/** The API reference: TypeDoc over the built declarations, whose methods of Tensor are written out. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Application, Converter } from 'typedoc';

const root = fileURLToPath(new URL('../', import.meta.url));
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const declarations = fileURLToPath(new URL('declarations/', import.meta.url));

/** TypeDoc takes a constant that can be called for a function when its comment says so. */
const markFunctions = (text) =>
  text.replace(/( *\*\/\n)?^export declare const /gm, (all, end) =>
    end === undefined ? `/** @function */\n${all}` : ` @function\n${all}`,
  );

function copyDeclarations() {
  rmSync(declarations, { recursive: true, force: true });
  for (const name of readdirSync(join(root, 'dist'), { recursive: true }).map(String)) {
    if (!name.endsWith('.d.ts')) continue;
    const copy = join(declarations, name);
    mkdirSync(dirname(copy), { recursive: true });
    writeFileSync(copy, markFunctions(readFileSync(join(root, 'dist', name), 'utf8')));
  }
}

/** The package's entries by the file of their types; what several export is documented at the first. */
const order = [
  './nn',
  './optim',
  './data',
  './formats',
  './metrics',
  './tensorboard',
  './models',
  './train',
  './train/node',
  './amp',
  './autograd',
  './core',
  '.',
];
const rank = (/** @type {string} */ entry) => (order.indexOf(entry) + order.length) % order.length;
const entries = new Map(
  Object.entries(exports)
    .filter(([, files]) => typeof files === 'object' && 'types' in files)
    .sort(([a], [b]) => rank(a) - rank(b))
    .map(([entry, { types }]) => [
      join(declarations, types.replace('./dist/', '')),
      entry.replace(/^\./, 'kindling'),
    ]),
);

/** @param {string} out an empty folder */
export async function writeReference(out) {
  copyDeclarations();
  const app = await Application.bootstrapWithPlugins({
    name: 'kindling',
    entryPoints: [...entries.keys()],
    tsconfig: fileURLToPath(new URL('tsconfig.json', import.meta.url)),
    readme: 'none',
    disableSources: true,
    excludeTags: ['@function'],
    excludeInternal: true,
    excludePrivate: true,
    githubPages: false,
    navigationLinks: { Guide: '../index.html' },
    sort: ['alphabetical'],
    validation: { invalidLink: true, notExported: false, notDocumented: false },
    logLevel: 'Warn',
  });
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    const modules = project.children ?? [];
    [...entries.values()].forEach((name, i) => {
      if (modules[i] !== undefined) modules[i].name = name;
    });
  });
  const project = await app.convert();
  if (project === undefined) throw new Error('TypeDoc could not read the declarations: see above');
  await app.generateDocs(project, out);
}
