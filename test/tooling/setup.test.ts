import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  backportsEntry,
  driverPlan,
  parseDeb822Sources,
  parseOneLineSources,
  parseSources,
} from '../../scripts/driver/apt.mjs';
import { probeAdapter } from '../../scripts/driver/install.mjs';
import { withoutDawnNotices } from '../../scripts/quiet.mjs';
import { dependenciesInstalled, nodeProblem } from '../../scripts/setup.mjs';
import { ensureTools } from '../../scripts/test-tools.mjs';
import { closingLine, testCounts } from '../../scripts/test.mjs';

const deb822 = `Types: deb
# a comment inside a stanza
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
`;

describe("apt's source lists", () => {
  it('adds the suite from the archive that serves the release (deb822)', () => {
    expect(backportsEntry(parseDeb822Sources(deb822), 'bookworm')).toEqual({
      kind: 'add',
      text: `Types: deb
URIs: http://mirror.test/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/archive.gpg
`,
    });
  });

  it('adds the suite from the archive that serves the release (one-line style)', () => {
    const list = `# deb http://old.test/debian bookworm main
deb-src http://src.test/debian bookworm main
deb http://mirror.test/security bookworm-security main
deb [ arch=amd64,arm64 signed-by=/k/a.gpg lang=en ] http://mirror.test/debian/ bookworm main contrib # note
`;
    expect(parseOneLineSources(list)).toHaveLength(3);
    expect(backportsEntry(parseOneLineSources(list), 'bookworm')).toEqual({
      kind: 'add',
      text: `Types: deb
URIs: http://mirror.test/debian/
Suites: bookworm-backports
Components: main
Architectures: amd64 arm64
Signed-By: /k/a.gpg
`,
    });
  });

  it('keeps a key that stands inside the stanza', () => {
    const key = `Types: deb
URIs: http://mirror.test/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
 -----END PGP PUBLIC KEY BLOCK-----
`;
    const entry = backportsEntry(parseDeb822Sources(key), 'bookworm');
    expect(entry).toMatchObject({
      kind: 'add',
      text: expect.stringContaining(key.slice(key.indexOf('Signed-By'))),
    });
    if (entry.kind === 'add') expect(parseDeb822Sources(entry.text)).toHaveLength(1);
  });

  it('adds nothing when the suite is there already, and sees through disabled stanzas', () => {
    const backports = deb822.replace('bookworm bookworm-updates', 'bookworm-backports');
    const both = `${deb822}\n${backports}`;
    expect(backportsEntry(parseDeb822Sources(both), 'bookworm')).toEqual({ kind: 'present' });
    const disabled = `${deb822}\n${backports.replace('Types', 'Enabled: no\nTypes')}`;
    expect(backportsEntry(parseDeb822Sources(disabled), 'bookworm').kind).toBe('add');
  });

  it('says when no source serves the release', () => {
    expect(backportsEntry([], 'bookworm')).toEqual({ kind: 'no-archive' });
    const securityOnly = deb822.split('\n\n')[1] ?? '';
    expect(backportsEntry(parseDeb822Sources(securityOnly), 'bookworm')).toEqual({ kind: 'no-archive' });
  });

  it('reads only the files that apt reads', () => {
    const line = 'deb http://mirror.test/debian bookworm main\n';
    const files = ['a.list', 'b.list.save', 'c.sources.disabled'].map((name) => ({ name, text: line }));
    expect(parseSources(files)).toHaveLength(1);
    expect(parseSources([{ name: 'd.sources', text: deb822 }])).toHaveLength(2);
  });

  it('asks for backports on Debian 12 only', () => {
    const release = (id: string, version: string, codename: string): string =>
      `PRETTY_NAME="X (y)"\nID=${id}\nVERSION_ID="${version}"\nVERSION_CODENAME=${codename}\n`;
    expect(driverPlan(release('debian', '12', 'bookworm'))).toEqual({ backports: 'bookworm' });
    expect(driverPlan(release('debian', '13', 'trixie'))).toEqual({ backports: null });
    expect(driverPlan(release('ubuntu', '24.04', 'noble'))).toEqual({ backports: null });
    expect(driverPlan('')).toEqual({ backports: null });
  });
});

describe('the programs that slow tests use', () => {
  const tool = (name: string, there: () => boolean) => ({
    name,
    packages: [`${name}-bin`],
    there,
    without: `tests of ${name} are skipped`,
  });

  it('are installed where they are missing and apt may be used, after one update', () => {
    const [calls, lines, installed] = [[] as string[], [] as string[], new Set(['a'])];
    const apt = (_: readonly string[], args: readonly string[]) => {
      calls.push(args.join(' '));
      if (args[0] === 'install') installed.add(args.at(-1)!.replace('-bin', ''));
    };
    const tools = ['a', 'b', 'c'].map((name) => tool(name, () => installed.has(name)));
    ensureTools(tools, { prefix: [], apt, log: (line) => void lines.push(line) });
    const install = 'install -y --no-install-recommends';
    expect(calls).toEqual(['update', `${install} b-bin`, `${install} c-bin`]);
    expect(lines).toEqual([
      'Installing b (apt-get install b-bin) ...',
      'Installing c (apt-get install c-bin) ...',
    ]);
  });

  it('are named in a line each where they cannot be had, and nothing fails', () => {
    const lines: string[] = [];
    const log = (line: string) => void lines.push(line);
    const tools = [tool('a', () => false)];
    ensureTools(tools, { prefix: null, log });
    const apt = () => {
      throw new Error('apt-get update failed:\nErr: a mirror\nE: no such package\n');
    };
    ensureTools(tools, { prefix: [], apt, log });
    expect(lines).toEqual([
      'No a: tests of a are skipped (apt-get install a-bin). apt may not be used here',
      'Installing a (apt-get install a-bin) ...',
      'No a: tests of a are skipped (apt-get install a-bin). E: no such package',
    ]);
  });
});

describe('the adapter probe', () => {
  it('answers null, and lives, when the loader finds no driver', () => {
    const env = {
      ...process.env,
      VK_DRIVER_FILES: '/nonexistent.json',
      VK_ICD_FILENAMES: '/nonexistent.json',
    };
    expect(probeAdapter(env)).toBeNull();
  });
});

describe("Dawn's notices", () => {
  const notice =
    'Warning: maxDynamicStorageBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit.\n';

  it.each([
    ['go, other lines stay', [`a\n${notice}b\n`], 'a\nb\n'],
    ['go when they come in pieces', ['a\nWarn', notice.slice(4, 40), notice.slice(40), 'b'], 'a\nb'],
    [
      'are the only warnings that go',
      ['Warning: maxDynamic ropes\nWarning: x\n'],
      'Warning: maxDynamic ropes\nWarning: x\n',
    ],
    ['leave the end of a cut line alone', ['W'], 'W'],
  ])('%s', async (_name, chunks, expected) => {
    const filter = withoutDawnNotices();
    for (const chunk of chunks) filter.write(chunk);
    filter.end();
    expect((await filter.toArray()).join('')).toBe(expected);
  });

  it('are looked for without holding a progress bar back', () => {
    const filter = withoutDawnNotices();
    filter.write('\r 50%');
    expect(filter.read()).toBe('\r 50%');
    filter.destroy();
  });
});

describe('the version of Node', () => {
  it.each(['20.19.0', '20.19.1', '22.0.0', '24.1.0'])('takes %s', (version) => {
    expect(nodeProblem(version, '20.19')).toBeNull();
  });
  it.each(['20.18.3', '18.20.0', '9.99.9'])('refuses %s and says what is needed', (version) => {
    expect(nodeProblem(version, '20.19')).toMatch(`needs Node 20.19 or newer and this is Node ${version}`);
  });
});

describe('installed dependencies', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kindling-setup-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  function write(file: string, packages: Record<string, object>): void {
    const path = join(directory, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify({ packages }));
  }
  const lock = {
    '': { name: 'x' },
    'node_modules/a': { version: '1.0.0' },
    'node_modules/other-platform': { version: '2.0.0', optional: true },
  };

  it('are missing without node_modules', () => {
    write('package-lock.json', lock);
    expect(dependenciesInstalled(directory)).toBe(false);
  });

  it('are there when versions agree; optional packages may be absent', () => {
    write('package-lock.json', lock);
    write('node_modules/.package-lock.json', { 'node_modules/a': { version: '1.0.0' } });
    write('node_modules/a/package.json', {});
    expect(dependenciesInstalled(directory)).toBe(true);
  });

  it('are stale when the lock file asks for another version, or a folder is gone', () => {
    write('package-lock.json', lock);
    write('node_modules/.package-lock.json', { 'node_modules/a': { version: '0.9.0' } });
    write('node_modules/a/package.json', {});
    expect(dependenciesInstalled(directory)).toBe(false);
    write('node_modules/.package-lock.json', { 'node_modules/a': { version: '1.0.0' } });
    rmSync(join(directory, 'node_modules/a'), { recursive: true });
    expect(dependenciesInstalled(directory)).toBe(false);
  });
});

describe('the closing line', () => {
  const file = (...statuses: string[]): { status: string; assertionResults: { status: string }[] } => ({
    status: statuses.includes('failed') || statuses.length === 0 ? 'failed' : 'passed',
    assertionResults: statuses.map((status) => ({ status })),
  });
  const report = (
    numPassedTests: number,
    numFailedTests: number,
    ...testResults: ReturnType<typeof file>[]
  ) => ({
    numPassedTests,
    numFailedTests,
    numPendingTests: 0,
    numTodoTests: 0,
    testResults,
  });

  it('has the form that scripts look for', () => {
    expect(closingLine({ passed: 3, failed: 0, skipped: 0 })).toBe('3 passed, 0 failed');
    expect(closingLine({ passed: 3, failed: 1, skipped: 2 })).toBe('3 passed, 1 failed, 2 skipped');
  });

  it("gives vitest's counts", () => {
    const counts = testCounts(report(2, 1, file('passed', 'passed'), file('failed')), false);
    expect(counts).toEqual({ passed: 2, failed: 1, skipped: 0 });
  });

  it('counts what failed without naming a test', () => {
    expect(testCounts(null, false).failed).toBe(1);
    expect(testCounts(report(1, 0, file('passed'), file()), false).failed).toBe(1);
    expect(testCounts(report(1, 0, file('passed')), false).failed).toBe(1);
    expect(testCounts(report(1, 0, file('passed')), true).failed).toBe(0);
  });
});
