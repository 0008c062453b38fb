/** A training is killed, rank by rank and moment by moment: what the others say, and what can be gone on with. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ends, launch, sleep, type Job } from './launch.js';
import type { ResumableResult } from './resumable.js';

export interface Moment {
  /** It is killed ... */
  readonly rank: number;
  /** ... once it has done this many steps ... */
  readonly steps: number;
  /** ... and so many milliseconds later. */
  readonly wait: number;
}

export interface Survivor {
  readonly rank: number;
  /** Until it has ended. */
  readonly ms: number;
  /** The lines that say why. */
  readonly said: readonly string[];
}

export interface KillResult extends Moment {
  readonly pid: number;
  readonly survivors: readonly Survivor[];
  /** Until the launcher has ended, and how. */
  readonly launcher: { readonly ms: number; readonly code: number | null };
  /** Steps done by then, and those of the last whole checkpoint. */
  readonly reached: number;
  readonly resumedFrom: number;
  /** Losses from there on and weights at the end have the bits of the run that was left alone. */
  readonly same: boolean;
}

export interface CampaignOptions {
  /** The program resumable.ts, bundled. */
  readonly program: string;
  readonly ranks: number;
  readonly steps: number;
  /** Steps between checkpoints. */
  readonly every: number;
  /** Milliseconds within which the others must have ended. */
  readonly limit: number;
}

interface Run {
  readonly bits: readonly number[];
  /** By rank: the lines of losses. */
  readonly losses: readonly string[][];
}

const lossesIn = (text: string): string[] => text.match(/^step .*$/gm) ?? [];

export class KillCampaign {
  private readonly folders: string[] = [];
  private unbroken: Promise<Run> | null = null;

  constructor(private readonly options: CampaignOptions) {}

  private folder(): string {
    const path = mkdtempSync(join(tmpdir(), 'kindling-kill-'));
    this.folders.push(path);
    return path;
  }

  private start(folder: string): Job {
    const { program, ranks, steps, every } = this.options;
    return launch({ ranks, program, args: [folder, String(steps), String(every)] });
  }

  private async whole(folder: string): Promise<{ run: Run; from: number }> {
    const { ranks } = this.options;
    const job = this.start(folder);
    const code = await job.ended;
    const texts = Array.from({ length: ranks }, (_, rank) => job.text(rank));
    const lines = texts.map((text) => text.trimEnd().split('\n').at(-1) ?? '');
    if (code !== 0 || lines.some((line) => !line.startsWith('{')))
      throw new Error(`the training ended with ${code}:\n${texts.join('\n')}`);
    return {
      run: {
        bits: lines.map((line) => (JSON.parse(line) as ResumableResult).bits),
        losses: texts.map(lossesIn),
      },
      from: Number(/^from (\d+)$/m.exec(texts[0] ?? '')?.[1]),
    };
  }

  /** The run that is left alone. */
  private async reference(): Promise<Run> {
    this.unbroken ??= this.whole(this.folder()).then(({ run }) => run);
    return this.unbroken;
  }

  async killAt({ rank, steps, wait }: Moment): Promise<KillResult> {
    const reference = await this.reference();
    const folder = this.folder();
    const { ranks, limit } = this.options;
    const job = this.start(folder);
    const all = Array.from({ length: ranks }, (_, of) => of);
    const pids = await Promise.all(all.map((of) => job.pid(of)));
    const began = { over: false };
    void job.ended.then(() => (began.over = true));
    while (!/^from /m.test(job.text(rank)) || lossesIn(job.text(rank)).length < steps) {
      if (began.over) throw new Error(`the training ended before it was killed:\n${job.text(rank)}`);
      await sleep(2);
    }
    await sleep(wait);
    const pid = pids[rank] as number;
    process.kill(pid, 'SIGKILL');
    const killed = performance.now();
    const others = all.filter((of) => of !== rank);
    const launcher = job.ended.then((code) => ({ ms: performance.now() - killed, code }));
    const times = await ends(
      others.map((of) => pids[of] as number),
      killed,
      limit,
    );
    const survivors = others.map((of, i) => ({
      rank: of,
      ms: times[i] as number,
      said: job
        .text(of)
        .split('\n')
        .filter((line) => line.includes('cannot go on')),
    }));
    if (times.includes(Infinity)) job.kill();
    const ended = await launcher;
    const reached = lossesIn(job.text(rank)).length;
    const { run, from } = await this.whole(folder);
    const same =
      run.bits.every((bits, i) => bits === reference.bits[i]) &&
      run.losses.every((losses, i) => losses.join() === reference.losses[i]?.slice(from).join());
    return { rank, steps, wait, pid, survivors, launcher: ended, reached, resumedFrom: from, same };
  }

  [Symbol.dispose](): void {
    for (const folder of this.folders) rmSync(folder, { recursive: true, force: true });
  }
}
