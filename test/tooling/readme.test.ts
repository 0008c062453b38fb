import { readFileSync } from 'node:fs';
import { transform } from 'esbuild';
import { describe, expect, it } from 'vitest';
import * as core from '../../src/core.js';
import * as kindling from '../../src/index.js';
import * as nn from '../../src/nn/index.js';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] as string);

/** What the code imports, by entry. */
const modules = { kindling, 'kindling/core': core, 'kindling/nn': nn };

describe('the README', () => {
  it('shows code', () => expect(blocks.length).toBeGreaterThan(1));

  it.each(blocks.map((block, i) => [i + 1, block] as const))(
    'runs as printed: block %i',
    async (_, block) => {
      const lines: string[] = [];
      const body = block
        .replace(/^import \* as (\w+) from ('.*');$/gm, 'const $1 = modules[$2];')
        .replace(/^import (\{.*\}) from ('.*');$/gm, 'const $1 = modules[$2];');
      expect(body).not.toMatch(/^import /m);
      const { code } = await transform(`async function main() {\n${body}\n}`, {
        loader: 'ts',
        target: 'node20',
      });
      const main = new Function('modules', 'console', `${code}; return main();`) as (
        imported: typeof modules,
        console: { log: (...args: unknown[]) => void },
      ) => Promise<void>;
      await main(modules, { log: (...args) => lines.push(args.join(' ')) });
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.join('\n')).not.toMatch(/NaN|undefined/);
    },
  );
});
