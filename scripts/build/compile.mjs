/**
 * `tsc -p tsconfig.build.json` with four things of our own: marks for bundlers, Tensor's methods written out,
 * declarations that need no types of the platform, and bundles of what is wanted as one file.
 */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { bundle, bundledLibraries } from './bundles.mjs';
import { markPure } from './mark-pure.mjs';
import { standAlone } from './stand-alone.mjs';
import { tensorMethods } from './tensor-methods.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** @param {readonly ts.Diagnostic[]} problems */
function fail(problems) {
  const host = {
    getCanonicalFileName: (/** @type {string} */ name) => name,
    getCurrentDirectory: () => root,
    getNewLine: () => '\n',
  };
  console.error(ts.formatDiagnosticsWithColorAndContext(ts.sortAndDeduplicateDiagnostics(problems), host));
  process.exit(1);
}

const parsed = ts.getParsedCommandLineOfConfigFile(join(root, 'tsconfig.build.json'), undefined, {
  ...ts.sys,
  onUnRecoverableConfigFileDiagnostic: (problem) => fail([problem]),
});
const { fileNames: rootNames, options } = /** @type {ts.ParsedCommandLine} */ (parsed);
const program = ts.createIncrementalProgram({ rootNames, options });
const problems = [
  ...program.getConfigFileParsingDiagnostics(),
  ...program.getOptionsDiagnostics(),
  ...program.getSyntacticDiagnostics(),
  ...program.getSemanticDiagnostics(),
];
const after = [markPure, bundledLibraries(join(root, 'src/cli'))];
const { diagnostics } = program.emit(undefined, undefined, undefined, false, { after });
if (problems.length + diagnostics.length > 0) fail([...problems, ...diagnostics]);
const methods = tensorMethods(program.getProgram(), join(root, 'src/ops/methods.ts'));
writeFileSync(join(root, 'dist/ops/methods.d.ts'), methods);
standAlone(join(root, 'dist'));
await bundle(root);
