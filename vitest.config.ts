import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** Test files that open devices of their own, with a memory budget or without a feature, or use one up. */
const ownDevice = [
  'test/device/**/*.test.ts',
  // Counts recordings, which what other files have left behind may add to.
  'test/nn/compile.test.ts',
  'test/full/planned-for-gpus.test.ts',
  'test/full/rare-waits.test.ts',
];
const full = process.env['KINDLING_FULL'] === '1';
const slow = full ? [] : ['test/full/**'];

const common = {
  environment: 'node',
  pool: 'forks' as const,
  // Compiling kernels takes most of a first run, on one core per process; a third process would only wait.
  maxWorkers: 2,
  execArgv: ['--expose-gc'],
  // A test that compiles many kernels with a cold cache takes seconds here and minutes on a loaded machine.
  testTimeout: 240_000,
  hookTimeout: 240_000,
  env: {
    // Measured on two cores: Mesa's software driver runs kernels 1.5-2x faster with 8 threads than by default.
    LP_NUM_THREADS: process.env['LP_NUM_THREADS'] ?? '8',
    // A quick run spends most of its time in the software driver's compiler, two fifths of that in LLVM's optimizer.
    // The full run has it on, as users have.
    GALLIVM_PERF: process.env['GALLIVM_PERF'] ?? (full ? '' : 'nopt'),
    // Both cores are busy with tests; a cold run takes a quarter longer when each compiles for the other too.
    KINDLING_COMPILE_AHEAD: '0',
    MESA_SHADER_CACHE_DIR: process.env['MESA_SHADER_CACHE_DIR'] ?? path('node_modules/.cache/mesa'),
  },
};

export default defineConfig({
  // Vite's own caches; the project root holds none.
  cacheDir: path('node_modules/.cache/vite'),
  test: {
    globalSetup: ['test/tooling/adapter-setup.ts'],
    maxWorkers: 2,
    projects: [
      {
        // Two processes, each with one module graph for all its files: they share one device and its compiled pipelines,
        // which cost far more than the tests themselves (the software driver compiles a kernel for 0.1 to 1 s).
        test: {
          ...common,
          name: 'shared device',
          include: ['test/**/*.test.ts'],
          exclude: [...ownDevice, ...slow],
          isolate: false,
        },
      },
      { test: { ...common, name: 'own device', include: ownDevice, exclude: slow } },
    ],
  },
});
