#!/usr/bin/env node
import { close } from '../index.js';
import { exitCodes } from './errors.js';
import { run } from './run.js';

const interrupt = new AbortController();
const onSignal = (): void => {
  if (interrupt.signal.aborted) process.exit(exitCodes.interrupted);
  process.stderr.write('\nkindling: stopping after the work under way; press Ctrl-C again to stop at once\n');
  interrupt.abort();
};
process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);
// A reader such as `head` may have had enough.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok);
    throw error;
  });
}

process.exitCode = await run(process.argv.slice(2), { signal: interrupt.signal });
close();
