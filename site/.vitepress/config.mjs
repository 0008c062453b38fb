import { defineConfig } from 'vitepress';

const guide = ['start', 'tensors', 'autograd', 'modules', 'data', 'training', 'saving', 'browser', 'speed'];
const titles = { start: 'Start', saving: 'Saving and loading', browser: 'In the browser' };
const page = (name) => ({
  text: titles[name] ?? name[0].toUpperCase() + name.slice(1),
  link: `/docs/guide/${name}`,
});
const doc = (text, name) => ({ text, link: `/docs/${name}` });

export default defineConfig({
  title: 'kindling',
  description: 'PyTorch in TypeScript on any GPU',
  // What pages.mjs has put there.
  srcDir: 'pages',
  outDir: 'dist',
  cacheDir: 'node_modules/.cache/vitepress',
  // Where the site lies on its server.
  base: process.env.KINDLING_SITE_BASE ?? '/',
  // Written by TypeDoc after this build; links.mjs sees to it.
  ignoreDeadLinks: [/^\/api\//],
  themeConfig: {
    outline: [2, 3],
    search: { provider: 'local' },
    nav: [
      { text: 'Guide', link: '/docs/guide/start' },
      { text: 'Recipes', link: '/examples/transfer/README' },
      { text: 'From PyTorch', link: '/docs/from-pytorch' },
      { text: 'API', link: '/api/index.html', target: '_self' },
      { text: 'Benchmarks', link: '/docs/benchmarks' },
    ],
    sidebar: [
      {
        text: 'Guide',
        items: [
          ...guide.map(page),
          doc('Memory', 'memory'),
          doc('When something fails', 'guide/troubleshooting'),
        ],
      },
      {
        text: 'Reference',
        items: [
          { text: 'Recipes of transfer learning', link: '/examples/transfer/README' },
          doc('From PyTorch', 'from-pytorch'),
          { text: 'API', link: '/api/index.html', target: '_self' },
          doc('Every name of PyTorch', 'op-coverage'),
          doc('Models', 'models'),
          doc('Recorded steps', 'compile'),
          doc('Mixed precision', 'amp'),
          doc('Tuning', 'tuning'),
        ],
      },
      {
        text: 'Inside',
        items: [
          doc('Kernels', 'guide/kernels'),
          doc('Architecture', 'architecture'),
          doc('Numerics', 'numerics'),
          doc('Benchmarks', 'benchmarks'),
          doc('Hardware GPUs', 'hardware'),
          doc('Adapters and drivers', 'platform'),
          doc('Dependencies', 'dependencies'),
        ],
      },
      {
        text: 'Project',
        items: [
          { text: 'Changes', link: '/CHANGELOG' },
          { text: 'Contributing', link: '/CONTRIBUTING' },
          { text: 'Security', link: '/SECURITY' },
        ],
      },
    ],
  },
});
