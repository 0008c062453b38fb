import packageFile from '../../package.json' with { type: 'json' };
import * as k from '../../src/index.js';
import { prepare } from '../cases.js';
import { serve } from './worker.mjs';

await serve(async () => {
  await k.init();
  return {
    name: 'kindling',
    version: packageFile.version,
    adapter: k.runtime().info.device,
    prepare,
  };
});
