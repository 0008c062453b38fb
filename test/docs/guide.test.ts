import { describe, expect, it } from 'vitest';
import { blocksOf, guide, runBlock } from './blocks.js';

const pages = guide.map((page) => [page, blocksOf(page)] as const).filter(([, blocks]) => blocks.length > 0);

describe('the guide', () => {
  it('has pages with code', () => expect(pages.length).toBeGreaterThan(5));

  it.each(pages)('%s runs from top to bottom, and prints what it says', async (_, blocks) => {
    expect((await runBlock(blocks.join('\n'))).length).toBeGreaterThan(0);
  });
});
