/** When recorded work is submitted: on a device that does nothing, while no event loop turns. */
import { describe, expect, it } from 'vitest';
import { CommandStream } from '../../src/device/stream.js';
import type { Chain } from '../../src/device/chain.js';
import type { Commits } from '../../src/device/commits.js';
import { Gate } from '../../src/device/gate.js';
import type { ErrorLog } from '../../src/device/errors.js';

/** After how many dispatches of a step a stream has submitted, `bytes` bound by each. */
function submits(kind: 'software' | 'gpu', dispatches: number, bytes: number): number[] {
  const at: number[] = [];
  let recorded = 0;
  const device = {
    createCommandEncoder: () => ({ finish: () => ({}) }),
    pushErrorScope: () => undefined,
    popErrorScope: () => Promise.resolve(null),
    queue: { submit: () => at.push(recorded), onSubmittedWorkDone: () => Promise.resolve() },
  };
  const nothing = (): void => undefined;
  const stream = new CommandStream(
    kind,
    device as unknown as GPUDevice,
    { track: nothing, record: nothing } as unknown as ErrorLog,
    { handOn: nothing } as unknown as Chain,
    { passed: nothing } as unknown as Commits,
    { beforeSubmit: nothing, afterSubmit: nothing, madeSince: () => nothing },
    new Gate(device.queue as unknown as GPUQueue),
  );
  for (; recorded < dispatches;) {
    stream.commands();
    recorded++;
    if (stream.count('op', bytes)) stream.flush();
  }
  return at;
}

describe('a step of 400 dispatches is submitted', () => {
  it('on a GPU early, then every 64, however long the loop keeps the event loop', () => {
    expect(submits('gpu', 400, 1e6)).toEqual([16, 80, 144, 208, 272, 336, 400]);
  });

  it('on a GPU sooner where dispatches are large, so that no submit runs for long', () => {
    const at = submits('gpu', 400, 80 * 2 ** 20);
    const gaps = at.map((n, i) => n - (at[i - 1] ?? 0));
    expect(Math.max(...gaps)).toBe(13);
    expect(400 - at.at(-1)!).toBeLessThan(13);
  });

  it('on a software adapter in batches that grow once four are under way', () => {
    expect(submits('software', 800, 1e6)).toEqual([16, 80, 144, 208, 720]);
  });
});
