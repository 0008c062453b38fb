/**
 * What of `dist` is bundled: `kindling.min.js`, all of the package as one module for pages without a bundler,
 * and `cli/libraries.js`, what the command takes from others, so that nobody installs it with the library.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, posix, relative, sep } from 'node:path';
import * as esbuild from 'esbuild';
import ts from 'typescript';

/** The packages of the command. Each name stands for all that it exports; they have none in common. */
const libraries = ['commander', 'cli-progress'];

/**
 * Lets the files of `src/cli` import `cli/libraries.js` in place of the packages that are in it.
 * @param {string} cli the folder
 * @returns {ts.TransformerFactory<ts.SourceFile>}
 */
export const bundledLibraries = (cli) => (context) => (file) => {
  const within = relative(cli, file.fileName).split(sep).join('/');
  if (within.startsWith('../')) return file;
  const path = posix.relative(posix.dirname(within), 'libraries.js');
  const specifier = path.startsWith('.') ? path : `./${path}`;
  /** @param {ts.Node} node */
  const visit = (node) => {
    const named =
      ts.isImportDeclaration(node) &&
      ts.isStringLiteral(node.moduleSpecifier) &&
      libraries.includes(node.moduleSpecifier.text);
    if (!named) return node;
    const { factory } = context;
    return factory.updateImportDeclaration(
      node,
      node.modifiers,
      node.importClause,
      factory.createStringLiteral(specifier),
      node.attributes,
    );
  };
  return ts.visitEachChild(file, visit, context);
};

/**
 * The licences of the packages whose files a bundle holds, as a comment.
 * @param {esbuild.Metafile} metafile
 * @param {string} root
 */
function licences({ inputs }, root) {
  const folders = Object.keys(inputs).flatMap(
    (path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [],
  );
  const texts = [...new Set(folders)].sort().map((folder) => {
    const name = ['LICENSE', 'LICENSE.md', 'LICENSE-MIT.txt', 'license', 'LICENCE']
      .map((each) => join(root, folder, each))
      .find(existsSync);
    if (name === undefined) throw new Error(`${folder}: there is no licence to go along with its code`);
    return `${folder.replace(/^.*node_modules\//, '')}:\n\n${readFileSync(name, 'utf8').trim()}`;
  });
  return `/*!\nThis file holds code of other packages.\n\n${texts.join('\n\n').replaceAll('*/', '* /')}\n*/\n`;
}

/**
 * The command's libraries. Those that are CommonJS ask for Node's own modules by `require`.
 * @param {string} root
 */
async function bundleLibraries(root) {
  const { outputFiles, metafile } = await esbuild.build({
    stdin: {
      contents: "export * from 'commander'; export { default } from 'cli-progress';",
      resolveDir: root,
    },
    absWorkingDir: root,
    bundle: true,
    write: false,
    metafile: true,
    minifySyntax: true,
    minifyWhitespace: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    legalComments: 'none',
    banner: {
      js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);",
    },
  });
  const path = join(root, 'dist/cli/libraries.js');
  writeFileSync(path, licences(metafile, root) + (outputFiles[0]?.text ?? ''));
}

/**
 * `manifest.js` finds the folder `weights` from where it lies itself.
 * @type {esbuild.Plugin}
 */
const nearerWeights = {
  name: 'weights lie one folder up',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]dist[\\/]models[\\/]manifest\.js$/ }, async ({ path }) => {
      const code = await readFile(path, 'utf8');
      const nearer = code.replace('../../weights/', '../weights/');
      if (nearer === code) throw new Error(`${path} does not look for ../../weights/`);
      return { contents: nearer, resolveDir: dirname(path) };
    });
  },
};

/** @param {string} root */
async function bundleAll(root) {
  const { version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  await esbuild.build({
    entryPoints: [join(root, 'dist/index.js')],
    outfile: join(root, 'dist/kindling.min.js'),
    bundle: true,
    minify: true,
    // Models print their layers' classes, and errors have names.
    keepNames: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    legalComments: 'none',
    banner: { js: `/*! kindling ${version}, ${license} licence */` },
    plugins: [nearerWeights],
  });
}

/** @param {string} root */
export const bundle = (root) => Promise.all([bundleLibraries(root), bundleAll(root)]);
