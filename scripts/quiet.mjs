/** Takes Dawn's notices about limits that nobody asked for out of a child's error output. */
import { Transform } from 'node:stream';

/** Dawn writes two of these whenever it looks for adapters, straight to the process's error output. */
const notice = /^Warning: maxDynamic\w+BuffersPerPipelineLayout artificially reduced from .*\n/;

/** @returns a stream that drops those lines and passes everything else on unchanged and at once */
export function withoutDawnNotices() {
  const start = 'Warning: maxDynamic';
  let held = '';
  return new Transform({
    decodeStrings: false,
    encoding: 'utf8',
    transform(chunk, _encoding, done) {
      for (const line of String(held + chunk).match(/[^\n]*\n|[^\n]+$/g) ?? []) {
        held = '';
        // Only what may still become such a line has to wait for its end; a progress bar has no line ends.
        if (!line.endsWith('\n') && (line.startsWith(start) || start.startsWith(line))) held = line;
        else if (!notice.test(line)) this.push(line);
      }
      done();
    },
    flush(done) {
      this.push(held);
      done();
    },
  });
}
