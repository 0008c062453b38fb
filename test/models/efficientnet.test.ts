import { beforeAll } from 'vitest';
import { init } from '../../src/index.js';
import { describeTorchvision } from './training.js';

beforeAll(() => init());

describeTorchvision('efficientnet_b0');
