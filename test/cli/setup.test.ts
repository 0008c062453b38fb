import { expect, it } from 'vitest';
import { runtime } from '../../src/index.js';
import { kindling } from './support.js';

it('kindling setup names the adapter that answers', async () => {
  const { code, stdout } = await kindling(['setup', '--json']);
  await kindling(['info']);
  expect(code).toBe(0);
  const { adapter } = JSON.parse(stdout) as { adapter: { vendor: string; description: string } };
  expect([adapter.vendor, adapter.description]).toEqual([runtime().info.vendor, runtime().info.description]);
});

it('kindling setup takes no operands', async () => {
  expect(await kindling(['setup', 'now'])).toMatchObject({ code: 2 });
});
