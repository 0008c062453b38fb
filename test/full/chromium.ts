import { findChromium } from '../../scripts/test-tools.mjs';

/** The system's browser, if it has one. */
export const chromium = findChromium();
