#!/usr/bin/env node
import { fileURLToPath } from 'node:url';
import { close } from '../index.js';
import { fetchMissing } from './npx.js';
import { openDevice } from './open-device.js';
import { shownError } from './output.js';
import { run } from './run.js';
import { Interrupts } from './signals.js';

const args = process.argv.slice(2);
fetchMissing(
  fileURLToPath(new URL('../..', import.meta.url)),
  args,
  (line) => void process.stderr.write(shownError(line)),
);
const interrupts = new Interrupts();
const streamStatus = interrupts.watchStreams();
const status = await run(args, {
  signal: interrupts.signal,
  onSignalUse: () => interrupts.answer(),
  openDevice,
});
process.exitCode = status === 0 ? streamStatus() : status;
// Output that fails at the very end is told of after this.
process.on('exit', () => (process.exitCode ||= streamStatus()));
close();
