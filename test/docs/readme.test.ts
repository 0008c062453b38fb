import { describe, expect, it } from 'vitest';
import { blocksOf, runBlock } from './blocks.js';

const blocks = blocksOf('README.md');

describe('the README', () => {
  it('shows code', () => expect(blocks.length).toBeGreaterThan(1));

  it.each(blocks.map((block, i) => [i + 1, block] as const))(
    'runs as printed: block %i',
    async (_, block) => {
      const lines = await runBlock(block);
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.join('\n')).not.toMatch(/NaN|undefined/);
    },
  );
});
