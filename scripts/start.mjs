/** `npm start`: sets up what is missing, then runs the demo. `npm start -- --help` lists its options. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { build } from './build.mjs';
import { withoutDawnNotices } from './quiet.mjs';
import { prepare, root, runMain } from './setup.mjs';

void runMain(import.meta.url, () => {
  prepare();
  build();
  const command = [join(root, 'dist/cli/main.js'), 'demo', ...process.argv.slice(2)];
  const demo = spawn(process.execPath, command, { stdio: ['inherit', 'inherit', 'pipe'] });
  demo.stderr.setEncoding('utf8').pipe(withoutDawnNotices()).pipe(process.stderr);
  // Ctrl-C reaches the demo too: it ends when the demo has.
  process.on('SIGINT', () => {});
  return new Promise((resolve, reject) => {
    demo.on('error', reject);
    demo.on('close', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
});
