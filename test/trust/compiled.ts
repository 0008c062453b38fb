/** Random programs through `k.compile`; the long run. */
import { parseArgs } from 'node:util';
import { init } from '../../src/index.js';
import { compiledCampaign } from './programs/compiled.js';

const { values } = parseArgs({
  options: { functions: { type: 'string', default: '2000' }, seed: { type: 'string', default: '1' } },
});
await init();
const start = performance.now();
const report = await compiledCampaign(
  Number(values.functions),
  Number(values.seed),
  ({ functions, wrong }) => {
    if (functions % 200 === 0) console.log(`${functions} functions, ${wrong.length} wrong`);
  },
);
console.log(`functions     ${report.functions}, of three random programs each`);
console.log(`replays       ${report.replayed}`);
for (const [reason, count] of report.reasons) console.log(`not replayed  ${count}: ${reason}`);
console.log(`wrong         ${report.wrong.length} ${report.wrong.slice(0, 10).join(' ')}`);
console.log(`seconds       ${((performance.now() - start) / 1000).toFixed(0)}`);
process.exit(report.wrong.length > 0 ? 1 : 0);
