/** Hosts (network namespaces) whose link is cut in the middle of a step: every rank ends, and says which is lost. */
import { describe, expect, it } from 'vitest';
import { Bundle } from '../../bench/process.js';
import { cutLink } from '../../bench/scaling/cut.js';
import { Hosts, whyNoHosts } from '../../bench/scaling/hosts.js';
import { hasOpenMpi } from '../../bench/scaling/launch.js';

const refused = hasOpenMpi ? whyNoHosts() : 'there is no Open MPI';
if (refused !== null) console.log(`test/full/distributed-link: skipped: ${refused}`);

describe.skipIf(refused !== null)('two hosts', () => {
  it('whose link is cut both say that the other cannot be reached', async () => {
    using program = await Bundle.of('scaling/rank.ts');
    using hosts = await Hosts.open(2, { mbit: 1000 }, '');
    const { ranks } = await cutLink(program.file, hosts, { host: 1, wait: 700, limit: 30_000 });
    for (const { rank, ms, said, text } of ranks) {
      expect(ms).toBeLessThan(30_000);
      expect(said, text).toHaveLength(1);
      expect(said[0]).toMatch(
        new RegExp(
          `rank ${1 - rank} \\(host${1 - rank}.*, process \\d+\\) has ended, or its host cannot be reached any more`,
        ),
      );
    }
  });
});
