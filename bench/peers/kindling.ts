import { readFileSync } from 'node:fs';
import * as k from '../../src/index.js';
import { prepare } from '../cases.js';
import { serve } from './worker.mjs';

const packageFile = new URL('../../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };

await serve(async () => {
  await k.init();
  const adapter = k.runtime().info.device;
  return {
    name: 'kindling',
    version,
    adapter,
    prepare,
  };
});
