/** The documentation's site: pages by VitePress, the API reference by TypeDoc, all links checked. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('./', import.meta.url));
const out = `${here}dist`;

function run(command, ...args) {
  const { status } = spawnSync(command, args, { cwd: here, stdio: 'inherit' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: see above`);
}

try {
  if (!existsSync(`${here}node_modules/vitepress`)) run('npm', 'ci');
  run(process.execPath, '../scripts/build.mjs');
  const { writePages } = await import('./pages.mjs');
  writePages(`${here}pages`);
  run('npx', 'vitepress', 'build', '.');
  const { writeReference } = await import('./reference.mjs');
  await writeReference(`${out}/api`);
  const { checkLinks } = await import('./links.mjs');
  await checkLinks(out);
  console.log(`The site is in ${out}; npx vite preview --outDir ${out} shows it.`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
