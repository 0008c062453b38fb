import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const full = process.env['KINDLING_FULL'] === '1';

export default defineConfig({
  // Vite's own caches; the project root holds none.
  cacheDir: path('node_modules/.cache/vite'),
  test: {
    include: ['test/**/*.test.ts'],
    exclude: full ? [] : ['test/full/**'],
    environment: 'node',
    globalSetup: ['test/tooling/adapter-setup.ts'],
    // One process and one module graph for all files: they share one device and its compiled pipelines, which
    // cost far more than the tests themselves (the software driver compiles a kernel for 0.1 to 1 s).
    pool: 'forks',
    maxWorkers: 1,
    isolate: false,
    execArgv: ['--expose-gc'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    env: {
      // Measured on two cores: Mesa's software driver runs kernels 1.5-2x faster with 8 threads than by default.
      LP_NUM_THREADS: process.env['LP_NUM_THREADS'] ?? '8',
      MESA_SHADER_CACHE_DIR: process.env['MESA_SHADER_CACHE_DIR'] ?? path('node_modules/.cache/mesa'),
    },
  },
});
