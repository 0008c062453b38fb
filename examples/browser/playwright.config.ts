import { existsSync } from 'node:fs';
import { defineConfig } from '@playwright/test';

/** The system's browser: nothing is downloaded. */
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
);

export default defineConfig({
  testDir: 'test',
  outputDir: 'test-results',
  timeout: 120_000,
  expect: { timeout: 60_000 },
  workers: 1,
  reporter: 'line',
  webServer: {
    command: 'npx vite build --logLevel warn && npx vite preview --port 4179 --strictPort --host 127.0.0.1',
    url: 'http://127.0.0.1:4179/',
    timeout: 60_000,
    // Whoever runs these tests from others has set it to `test`, which Vite would build for.
    env: { NODE_ENV: 'production' },
  },
  use: {
    baseURL: 'http://127.0.0.1:4179/',
    viewport: { width: 1280, height: 900 },
    launchOptions: {
      executablePath,
      args: [
        '--no-sandbox',
        '--disable-gpu-sandbox',
        '--enable-unsafe-webgpu',
        '--use-fake-device-for-media-stream',
        '--use-fake-ui-for-media-stream',
      ],
    },
  },
});
