import { beforeAll, describe } from 'vitest';
import { init } from '../../src/index.js';
import { describeTorchvision } from './training.js';
import { full } from '../tooling/full.js';

beforeAll(() => init());

describeTorchvision('mobilenet_v2');

/** Minutes on a software adapter, for compiling most of all. */
describe.skipIf(!full)('larger ones', () => {
  for (const name of ['vgg11_bn', 'densenet121']) describeTorchvision(name);
});
