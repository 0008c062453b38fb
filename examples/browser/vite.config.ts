import { defineConfig, type Plugin } from 'vite';

/**
 * A service worker that keeps every file of the build, so that the page works offline from the second visit
 * on.
 */
function offline(): Plugin {
  return {
    name: 'offline',
    apply: 'build',
    enforce: 'post',
    generateBundle(_, bundle) {
      const files = ['./', ...Object.keys(bundle)].sort();
      const source = `
const name = ${JSON.stringify(`files-${Date.now()}`)};
const files = ${JSON.stringify(files)};
addEventListener('install', (event) => {
  skipWaiting();
  event.waitUntil(caches.open(name).then((cache) => cache.addAll(files)));
});
addEventListener('activate', (event) =>
  event.waitUntil(
    caches.keys().then(async (all) => {
      await Promise.all(all.filter((other) => other.startsWith('files-') && other !== name).map((other) => caches.delete(other)));
      await clients.claim();
    }),
  ),
);
addEventListener('fetch', (event) => {
  if (event.request.method !== 'GET') return;
  event.respondWith(caches.match(event.request, { ignoreSearch: true, ignoreVary: true }).then((kept) => kept ?? fetch(event.request)));
});
`;
      this.emitFile({ type: 'asset', fileName: 'offline.js', source });
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [offline()],
  worker: { format: 'es' },
  build: { target: 'es2022', chunkSizeWarningLimit: 1500 },
  // kindling is linked from the folder above.
  server: { fs: { allow: ['../..'] } },
});
