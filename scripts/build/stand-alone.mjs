/**
 * Makes the declarations stand on their own. They name what the platform has (GPUDevice, Blob), whose types a
 * project may or may not have, from TypeScript's own library or from `@webgpu/types`. An empty interface of
 * the same name says that there is such a thing, and merges with the whole one where that is.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const web = ['AbortSignal', 'Blob', 'URL'];
const platform = 'platform.d.ts';

/** @param {string} text without comments */
const withoutComments = (text) => text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');

/** @param {string} dist */
export function standAlone(dist) {
  /** @type {Set<string>} */
  const known = new Set(web);
  const named = new RegExp(`\\b(?:GPU[A-Z]\\w*|${web.join('|')})\\b`, 'g');
  for (const name of readdirSync(dist, { recursive: true }).map(String)) {
    if (!name.endsWith('.d.ts') || name === platform) continue;
    const path = join(dist, name);
    const text = readFileSync(path, 'utf8').replace(/^(?:\/\/\/ <reference .*\n)+/, '');
    const code = withoutComments(text);
    const names = code.match(named) ?? [];
    for (const used of names) known.add(used);
    const toPlatform = relative(dirname(path), join(dist, platform)).replaceAll('\\', '/');
    const references = [
      ...(names.length > 0 ? [`path="${toPlatform.startsWith('.') ? toPlatform : `./${toPlatform}`}"`] : []),
      ...(/Symbol\.(?:asyncD|d)ispose|\bDisposable\b/.test(code) ? ['lib="esnext.disposable"'] : []),
    ].map((reference) => `/// <reference ${reference} />\n`);
    const whole = references.join('') + text;
    if (whole !== readFileSync(path, 'utf8')) writeFileSync(path, whole);
  }
  const interfaces = [...known].sort().map((name) => `interface ${name} {}\n`);
  writeFileSync(
    join(dist, platform),
    `/** Filled by the types of the platform, where a project has them. */\n${interfaces.join('')}`,
  );
}
