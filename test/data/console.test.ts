/** What the console shows of datasets, samplers and loaders. */
import { inspect } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import {
  BatchSampler,
  DataLoader,
  RandomSampler,
  SequentialSampler,
  SubsetRandomSampler,
  TensorDataset,
  WeightedRandomSampler,
} from '../../src/data/index.js';
import { DistributedSampler } from '../../src/distributed/index.js';
import * as k from '../../src/index.js';

beforeAll(() => k.init());

const ten = { length: 10 };
const host = { data: new Float32Array(20), shape: [10, 2] };
const plain = { length: 10, get: (i: number) => i };

it.each<[string, () => object]>([
  ['SequentialSampler(length=10)', () => new SequentialSampler(ten)],
  ['RandomSampler(length=4, replacement=true)', () => new RandomSampler(ten, true, 4)],
  ['SubsetRandomSampler(length=2)', () => new SubsetRandomSampler([3, 5])],
  ['WeightedRandomSampler(length=3, replacement=true)', () => new WeightedRandomSampler([1, 2], 3)],
  [
    'BatchSampler(sampler=SequentialSampler(length=10), batchSize=4, dropLast=false, length=3)',
    () => new BatchSampler(new SequentialSampler(ten), 4),
  ],
  [
    'DistributedSampler(length=5, numReplicas=2, rank=1, shuffle=true, seed=0, epoch=0)',
    () => new DistributedSampler(ten, { numReplicas: 2, rank: 1 }),
  ],
  [
    'TensorDataset(length=10, columns=[Float32Array [10, 2], float32 [10, 3]])',
    () => new TensorDataset(host, k.zeros(10, 3)),
  ],
  [
    'DataLoader(dataset=TensorDataset(length=10, columns=[Float32Array [10, 2]]), ' +
      'sampler=RandomSampler(length=10, replacement=false), batchSize=4, length=3, epoch=0)',
    () => new DataLoader(new TensorDataset(host), { batchSize: 4, shuffle: true }),
  ],
  [
    'DataLoader(dataset=Object, sampler=[0, 1, 2, 3, 4, 5, 6, 7, ... 9 in all], batchSize=2, dropLast=true, length=4, epoch=0)',
    () => new DataLoader(plain, { sampler: [0, 1, 2, 3, 4, 5, 6, 7, 8], batchSize: 2, dropLast: true }),
  ],
])('%s', (line, make) => expect(inspect(make())).toBe(line));
