#!/usr/bin/env node
import { close } from '../index.js';
import { run } from './run.js';
import { Interrupts } from './signals.js';

const interrupts = new Interrupts();
const streamStatus = interrupts.watchStreams();
const status = await run(process.argv.slice(2), {
  signal: interrupts.signal,
  onSignalUse: () => interrupts.answer(),
});
process.exitCode = status === 0 ? streamStatus() : status;
// Output that fails at the very end is told of after this.
process.on('exit', () => (process.exitCode ||= streamStatus()));
close();
