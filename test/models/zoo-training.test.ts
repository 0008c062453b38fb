import { beforeAll, describe } from 'vitest';
import { init } from '../../src/index.js';
import { describeTorchvision } from './training.js';

beforeAll(() => init());

describeTorchvision('mobilenet_v2');

/** Minutes on a software adapter, for compiling most of all. */
describe.skipIf(process.env['KINDLING_FULL'] !== '1')('larger ones', () => {
  for (const name of ['vgg11_bn', 'densenet121']) describeTorchvision(name);
});
