/**
 * `npm run sizes`: what programs cost a browser, beside what they may (bench/size-budget.json). Each is
 * bundled and minified by esbuild; counted is what must be there before it starts, gzipped, and not what it
 * imports later on. A row with a `file` is that file of the package as it is.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import * as esbuild from 'esbuild';
import { build } from './build.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** @typedef {{ program: string, bytes: number, code: string } | { program: string, bytes: number, file: string }} Budget */
/** @typedef {Budget & { measured: number }} Size */

/** @returns {Budget[]} */
export const budgets = () => JSON.parse(readFileSync(join(root, 'bench/size-budget.json'), 'utf8'));

/**
 * The chunks that a chunk imports statically, and itself.
 * @param {esbuild.Metafile['outputs']} outputs
 * @param {string} chunk
 */
function startingWith(outputs, chunk, found = new Set([chunk])) {
  for (const { path, kind } of outputs[chunk]?.imports ?? []) {
    if (kind !== 'import-statement' || found.has(path)) continue;
    found.add(path);
    startingWith(outputs, path, found);
  }
  return found;
}

/** @param {Uint8Array} contents */
const gzipped = (contents) => gzipSync(contents, { level: 9 }).length;

/**
 * @param {string} code
 * @param {string} folder in which 'kindling' is found
 * @returns {Promise<number>} bytes
 */
async function bundled(code, folder) {
  const { metafile, outputFiles } = await esbuild.build({
    stdin: { contents: code, resolveDir: folder },
    absWorkingDir: folder,
    outdir: folder,
    bundle: true,
    minify: true,
    splitting: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'browser',
  });
  const chunks = startingWith(metafile.outputs, 'stdin.js');
  const files = outputFiles.filter(({ path }) => [...chunks].some((chunk) => join(folder, chunk) === path));
  return files.reduce((sum, { contents }) => sum + gzipped(contents), 0);
}

/**
 * @param {string} [folder] in which 'kindling' is found; by default this package itself
 * @returns {Promise<Size[]>}
 */
export const sizes = (folder = root) =>
  Promise.all(
    budgets().map(async (row) => ({
      ...row,
      measured:
        'file' in row ? gzipped(readFileSync(join(folder, row.file))) : await bundled(row.code, folder),
    })),
  );

/** @param {readonly Size[]} rows */
export function table(rows) {
  const kilobytes = (/** @type {number} */ bytes) => (bytes / 1000).toFixed(1).padStart(9);
  const lines = rows.map(
    ({ program, bytes, measured }) =>
      `${program.padEnd(56)}${kilobytes(measured)}${kilobytes(bytes)}` +
      (measured > bytes ? `  ${measured - bytes} bytes too many` : ''),
  );
  return [`${'KB, gzipped'.padEnd(56)}${'is'.padStart(9)}${'may be'.padStart(9)}`, ...lines].join('\n');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  build();
  const rows = await sizes();
  console.log(table(rows));
  if (rows.some(({ bytes, measured }) => measured > bytes)) process.exitCode = 1;
}
