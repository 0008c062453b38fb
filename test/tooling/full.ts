/** Whether this is `npm run test:full`. `npm test` takes a part of what is long, the same part each time. */
export const full = process.env['KINDLING_FULL'] === '1';
