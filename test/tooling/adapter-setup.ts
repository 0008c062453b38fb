import type { TestProject } from 'vitest/node';
import { describeAdapter, ensureAdapter } from '../../scripts/driver/install.mjs';
import { withoutDawnNotices } from '../../scripts/quiet.mjs';
import { cacheDir } from '../../scripts/setup.mjs';

/** Says once per run which adapter the tests run on, and fails before the first test when there is none. */
export default function setup({ vitest }: TestProject): void {
  const adapter = ensureAdapter({ cacheFile: `${cacheDir}/kindling/adapter.json` });
  console.log(`adapter: ${describeAdapter(adapter)}`);

  // Workers write their error output to this stream.
  const { logger } = vitest;
  const quiet = withoutDawnNotices();
  // A worker that ends would end what its error output is piped to; those that go on would then wait for ever
  // for somebody to read theirs.
  quiet.end = () => quiet;
  quiet.pipe(logger.errorStream);
  logger.errorStream = quiet;
}
