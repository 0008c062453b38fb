/**
 * Downloads one file: `child.ts OPTIONS-AS-JSON`. Prints the path, or the error's message and exits with 1.
 */
import { type DownloadOptions } from '../../src/formats/hub/index.js';
import { downloadFile } from '../../src/formats/hub/node-download.js';

const options = JSON.parse(process.argv[2] ?? '{}') as DownloadOptions;
try {
  console.log(await downloadFile({ ...options, onMessage: (message) => console.log(`message: ${message}`) }));
} catch (error) {
  console.log(`error: ${(error as Error).message}`);
  process.exitCode = 1;
}
