import { beforeAll, describe, expect, it } from 'vitest';
import { init } from '../../src/index.js';
import { full } from '../tooling/full.js';
import { compiledCampaign } from './programs/compiled.js';

describe('compiled random programs', () => {
  beforeAll(() => init());

  it('give the bits of their first call in every replay', async () => {
    const report = await compiledCampaign(full ? 40 : 16, 1);
    expect(report.wrong).toEqual([]);
    expect(report.replayed).toBeGreaterThan(full ? 60 : 24);
  });
});
