/** The site's pages: the repository's own, under the paths that they have there, and one per recipe. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const recipes = 'examples/transfer';

/** @param {string} folder @returns {string[]} paths of its pages and pictures, from the repository's root */
const pagesIn = (folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => /\.(md|svg|png|webp)$/.test(String(name)))
    .map((name) => join(folder, String(name)));

/** @param {string} name of a recipe's file @returns {string} a page that shows it */
function recipePage(name) {
  const [number, ...words] = name.replace('.ts', '').split('-');
  const title = words.length > 0 ? `${number} ${words.join(' ')}` : 'What the recipes share';
  const code = readFileSync(join(root, recipes, name), 'utf8');
  return `# ${title}\n\n[All recipes](README.md)\n\n\`\`\`ts\n${code}\`\`\`\n`;
}

/** @param {string} out is emptied first */
export function writePages(out) {
  rmSync(out, { recursive: true, force: true });
  const browser = ['README.md', 'page.webp'].map((name) => join('examples/browser', name));
  const top = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', ...browser];
  for (const page of [...top, ...['docs', recipes, 'bench/results', 'test/trust'].flatMap(pagesIn)]) {
    mkdirSync(dirname(join(out, page)), { recursive: true });
    if (!page.endsWith('.md')) cpSync(join(root, page), join(out, page));
    else {
      // Code is shown by pages, so links to it lead to these.
      const text = readFileSync(join(root, page), 'utf8').replace(/(\]\([^):#]*)\.ts\)/g, '$1.md)');
      writeFileSync(join(out, page), text.replaceAll('```ts browser', '```ts'));
    }
  }
  for (const name of readdirSync(join(root, recipes)).filter((file) => file.endsWith('.ts')))
    writeFileSync(join(out, recipes, name.replace('.ts', '.md')), recipePage(name));
  cpSync(fileURLToPath(new URL('home.md', import.meta.url)), join(out, 'index.md'));
}
