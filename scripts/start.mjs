/** `npm start`: sets up what is missing, then runs the demo. `npm start -- --help` lists its options. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { build } from './build.mjs';
import { prepare, root, runMain } from './setup.mjs';

runMain(import.meta.url, () => {
  prepare();
  build();
  const command = [join(root, 'dist/cli/main.js'), 'demo', ...process.argv.slice(2)];
  return spawnSync(process.execPath, command, { stdio: 'inherit' }).status ?? 1;
});
