import { describeAdapter, ensureAdapter } from '../../scripts/driver/install.mjs';
import { cacheDir } from '../../scripts/setup.mjs';

/** Says once per run which adapter the tests run on, and fails before the first test when there is none. */
export default function setup(): void {
  const adapter = ensureAdapter({ cacheFile: `${cacheDir}/kindling/adapter.json` });
  console.log(`adapter: ${describeAdapter(adapter)}`);
}
