import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { page } from '../../scripts/coverage.js';

it('docs/op-coverage.md says what there is; npm run coverage writes it', () => {
  expect(readFileSync(new URL('../../docs/op-coverage.md', import.meta.url), 'utf8')).toBe(page());
});
