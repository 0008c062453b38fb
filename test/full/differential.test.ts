import { beforeAll, expect, it } from 'vitest';
import { init } from '../../src/index.js';
import {
  campaign,
  describe as print,
  engineCheck,
  smallest,
  type Finding,
} from '../trust/programs/campaign.js';
import { Engine } from '../trust/programs/engine.js';
import { findTorch, Torch } from '../trust/programs/torch.js';

let engine: Engine;
beforeAll(async () => {
  await init();
  engine = new Engine();
});

it('half a minute of random programs does on the engine what PyTorch does', async () => {
  const python = findTorch();
  if (python === null)
    console.log('no Python here can import torch: the reference interpreter is the only judge');
  const torch = python === null ? null : await Torch.start(python);
  try {
    const report = await campaign(engine, { programs: 1_000_000, seed: 1_000_000, torch, seconds: 30 });
    const findings: Finding[] = [];
    // One after another: the engine has one place for results.
    for (const finding of [...report.mismatches.values()].slice(0, 3))
      findings.push(await smallest(finding, engineCheck(engine)));
    expect(findings.map(print)).toEqual([]);
    expect([...report.torchMismatches.values()].map(print)).toEqual([]);
    expect(report.programs).toBeGreaterThan(100);
  } finally {
    torch?.stop();
  }
});
