import { readFileSync } from 'node:fs';
import { transform } from 'esbuild';
import { describe, expect, it } from 'vitest';
import * as kindling from '../../src/index.js';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] as string);

describe('the README', () => {
  it('shows code', () => expect(blocks.length).toBeGreaterThan(1));

  it.each(blocks.map((block, i) => [i + 1, block] as const))(
    'runs as printed: block %i',
    async (_, block) => {
      const lines: string[] = [];
      const body = block.replace("import * as k from 'kindling';\n", '');
      expect(body).not.toMatch(/^import /m);
      const { code } = await transform(`async function main() {\n${body}\n}`, {
        loader: 'ts',
        target: 'node20',
      });
      const main = new Function('k', 'console', `${code}; return main();`) as (
        k: typeof kindling,
        console: { log: (...args: unknown[]) => void },
      ) => Promise<void>;
      await main(kindling, { log: (...args) => lines.push(args.join(' ')) });
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.join('\n')).not.toMatch(/NaN|undefined/);
    },
  );
});
