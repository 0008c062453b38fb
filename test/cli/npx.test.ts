/** What `npx kindling` fetches beside the package, and where. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fetchMissing, missingInNpx } from '../../src/cli/npx.js';
import { temporaryFolder } from './support.js';

const folder = temporaryFolder();
const write = (path: string, text: string): string => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
};

/** A folder with kindling and others in its `node_modules`; returns that of kindling. */
function installed(place: string, ...others: string[]): string {
  const modules = join(folder, place, 'node_modules');
  const peerDependencies = { sharp: '^0.35.5', webgpu: '^0.6.2' };
  for (const name of others) write(join(modules, name, 'package.json'), '{}');
  return dirname(write(join(modules, 'kindling/package.json'), JSON.stringify({ peerDependencies })));
}

describe('what npx left out', () => {
  const bare = installed('_npx/1');

  it('is what package.json has as peers', () => {
    expect(missingInNpx(bare, ['demo'])).toEqual({
      folder: join(folder, '_npx/1'),
      packages: ['sharp@^0.35.5', 'webgpu@^0.6.2'],
    });
  });

  it('is not what is there', () => {
    expect(missingInNpx(installed('_npx/2', 'webgpu'), ['demo'])?.packages).toEqual(['sharp@^0.35.5']);
    expect(missingInNpx(installed('_npx/3', 'webgpu', 'sharp'), ['demo'])).toBeNull();
  });

  it("is not a project's concern", () => {
    expect(missingInNpx(installed('project'), ['demo'])).toBeNull();
  });

  it.each([[[]], [['--version']], [['demo', '--help']], [['inspect', 'x.pth']]])(
    'is not missed by %j',
    (args) => {
      expect(missingInNpx(bare, args)).toBeNull();
    },
  );
});

describe('fetching it', () => {
  const bare = installed('_npx/4');
  const fetchWith = (npm: string | undefined): { all: boolean; said: string[] } => {
    const said: string[] = [];
    const env = { ...process.env, npm_execpath: npm };
    return { all: fetchMissing(bare, ['demo'], (line) => said.push(line), env), said };
  };

  it("runs the npm that runs it, in npx's folder", () => {
    const npm = write(
      join(folder, 'ok/npm-cli.cjs'),
      "require('node:fs').writeFileSync('asked.json', JSON.stringify(process.argv.slice(2, 5)));",
    );
    expect(fetchWith(npm)).toEqual({
      all: true,
      said: [expect.stringMatching(/^fetching sharp.* and webgpu/)],
    });
    expect(readFileSync(join(folder, '_npx/4/asked.json'), 'utf8')).toBe(
      '["install","sharp@^0.35.5","webgpu@^0.6.2"]',
    );
  });

  it('says what to type where it fails, or npm is not known', () => {
    const failing = write(join(folder, 'bad/npm-cli.cjs'), 'process.exit(1);');
    const byHand = /npx -p sharp@\^0\.35\.5 -p webgpu@\^0\.6\.2 -p kindling kindling/;
    for (const npm of [failing, undefined]) {
      const { all, said } = fetchWith(npm);
      expect(all).toBe(false);
      expect(said.at(-1)).toMatch(byHand);
    }
  });
});
