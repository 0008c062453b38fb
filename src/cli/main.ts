#!/usr/bin/env node
import { fileURLToPath } from 'node:url';
import { close } from '../index.js';
import { fetchMissing } from './npx.js';
import { openDevice } from './open-device.js';
import { shownError } from './output.js';
import { findRanks, reportLaunch, statusFor, streamsOf } from './launched.js';
import { run } from './run.js';
import { Interrupts } from './signals.js';

const args = process.argv.slice(2);
fetchMissing(
  fileURLToPath(new URL('../..', import.meta.url)),
  args,
  (line) => void process.stderr.write(shownError(line)),
);
const found = await findRanks(args);
const ranks = found instanceof Error ? null : found;
const interrupts = new Interrupts(ranks);
const streamStatus = interrupts.watchStreams();
const status =
  found instanceof Error
    ? reportLaunch(found)
    : await run(args, {
        signal: interrupts.signal,
        onSignalUse: () => interrupts.answer(),
        openDevice,
        ranks,
        ...(ranks !== null && { streams: streamsOf(ranks) }),
      });
process.exitCode = statusFor(ranks, status === 0 ? streamStatus() : status);
// Output that fails at the very end is told of after this.
process.on('exit', () => (process.exitCode ||= streamStatus()));
close();
