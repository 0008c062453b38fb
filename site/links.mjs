import { LinkChecker } from 'linkinator';

/**
 * Follows every link within the site; others are not asked.
 * @param {string} folder
 * @throws an Error that lists the broken ones
 */
export async function checkLinks(folder) {
  const checker = new LinkChecker();
  const { links } = await checker.check({
    path: '/',
    serverRoot: folder,
    recurse: true,
    concurrency: 20,
    linksToSkip: (link) => Promise.resolve(!link.startsWith('http://localhost')),
  });
  const broken = links.filter(({ state }) => state === 'BROKEN');
  console.log(`${links.length} links, ${broken.length} broken`);
  if (broken.length > 0) throw new Error(broken.map(({ parent, url }) => `${parent}: ${url}`).join('\n'));
}
