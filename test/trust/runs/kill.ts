/**
 * `npx tsx test/trust/runs/kill.ts [--kills 200] [--seed 1] [--lanes 2]`: trainings are killed with SIGKILL,
 * resumed, and compared with undisturbed ones: weights, optimizer state, history, bit for bit.
 *
 * Half of the kills come at random moments of the process's life. The other half are aimed at a file: an
 * undisturbed training is watched, which tells the temporary files that it makes and how long each takes; one
 * of them is chosen, and the kill comes at a random moment of its life, so that it falls into the writing,
 * the flushing or the renaming. Every fourth time the resumed process is killed as well.
 */
import { mkdtempSync, readdirSync, rmSync, watch, existsSync, type FSWatcher } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Random } from '../../../src/data/index.js';
import { undisturbed, workshop, type Recipe, type Undisturbed } from './recipes.js';
import { contentOf, differences, inParallel, kindling, statusOf, strays, type Running } from './support.js';

/** A file that a run writes: appears under a temporary name and takes its own after a while. */
interface Write {
  readonly name: string;
  readonly milliseconds: number;
}

/** Calls back when the n-th temporary file appears, and when it has taken its name. */
class Watcher {
  private readonly seen = new Map<string, number>();
  private readonly watchers: FSWatcher[] = [];
  readonly writes: Write[] = [];

  constructor(
    parent: string,
    private readonly run: string,
    private readonly onWrite: (number: number) => void,
  ) {
    this.watchers.push(
      watch(parent, (_, name) => {
        if (name === basename(run)) this.enter();
      }),
    );
    if (existsSync(run)) this.enter();
  }

  private enter(): void {
    if (this.watchers.length > 1 || !existsSync(this.run)) return;
    this.watchers.push(
      watch(this.run, (_, name) => {
        const own = /^\.(.+)\.[0-9a-f-]{36}\.tmp$/.exec(name ?? '')?.[1];
        if (name === null || own === undefined) return;
        const since = this.seen.get(name);
        if (since === undefined) {
          this.seen.set(name, performance.now());
          this.onWrite(this.seen.size - 1);
        } else if (!existsSync(join(this.run, name)))
          this.writes.push({ name: own, milliseconds: performance.now() - since });
      }),
    );
  }

  close(): void {
    for (const each of this.watchers) each.close();
  }
}

export interface KillFigures {
  kills: number;
  equal: number;
  /** Kills by where they fell, as the folder says afterwards. */
  readonly fell: Map<string, number>;
  readonly failures: string[];
}

interface Reference extends Undisturbed {
  readonly recipe: Recipe;
  readonly writes: readonly Write[];
}

async function reference(recipe: Recipe, folder: string): Promise<Reference> {
  const out = join(folder, `whole ${recipe.name}`);
  const watcher = new Watcher(folder, out, () => undefined);
  const result = await undisturbed(recipe, out);
  watcher.close();
  return { ...result, recipe, writes: watcher.writes };
}

/**
 * Kills a process at a random moment, in its time or in the life of one of its files. @returns whether it was
 * alive
 */
async function killed(
  { child, ended }: Running,
  random: Random,
  { milliseconds, writes }: Reference,
  folder: string,
  run: string,
): Promise<boolean> {
  const kill = (): void => void child.kill('SIGKILL');
  let watcher: Watcher | null = null;
  if (writes.length > 0 && random.chance(0.5)) {
    const chosen = random.integer(writes.length);
    const after = random.uniform(0, 1.2 * (writes[chosen]?.milliseconds ?? 0));
    watcher = new Watcher(folder, run, (number) => {
      if (number === chosen) setTimeout(kill, after);
    });
  } else setTimeout(kill, random.uniform(0, milliseconds)).unref();
  const { signal } = await ended;
  watcher?.close();
  return signal === 'SIGKILL';
}

/** Where a kill fell, by what it left. */
function place(run: string): string {
  if (!existsSync(join(run, 'config.json'))) return 'before the run';
  const writing = readdirSync(run).map((name) => /^\.(.+)\.[0-9a-f-]{36}\.tmp$/.exec(name)?.[1]);
  const file = writing.find((name) => name !== undefined);
  if (file !== undefined) return `into ${file}`;
  if (!existsSync(join(run, 'lock'))) return 'after the end';
  if (!existsSync(join(run, 'state.pth'))) return 'before the first state';
  return existsSync(join(run, 'report.html')) ? 'at the end' : 'between saves';
}

/** Kills trainings until there are `kills`; every one must come to the bits of its undisturbed twin. */
export async function killRuns(options: {
  readonly folder: string;
  readonly kills: number;
  readonly seed: number;
  readonly lanes: number;
  readonly log?: (line: string) => void;
}): Promise<KillFigures> {
  const { folder, kills, seed, lanes, log = () => undefined } = options;
  const { recipes } = await workshop(folder);
  const references = await Promise.all(recipes.map((recipe) => reference(recipe, folder)));
  for (const made of references)
    log(
      `${made.recipe.name}: ${(made.milliseconds / 1000).toFixed(1)} s undisturbed, ${made.writes.length} files written`,
    );
  const figures: KillFigures = { kills: 0, equal: 0, fell: new Map(), failures: [] };

  const trial = async (index: number): Promise<void> => {
    const random = new Random(seed, index);
    const twin = references[index % references.length] as Reference;
    const { recipe } = twin;
    const run = join(folder, `run ${index}`);
    const workers = random.chance(0.25) ? ['--workers', '1'] : [];
    const begin = [...recipe.args, '--out', run, ...workers];
    const resume = ['finetune', '--resume', run];
    const next = (): readonly string[] => (existsSync(join(run, 'config.json')) ? resume : begin);

    let count = 0;
    for (let wanted = random.chance(0.25) ? 2 : 1; wanted > 0; wanted--) {
      if (!(await killed(kindling(next()), random, twin, folder, run))) continue;
      count++;
      const fell = place(run);
      figures.fell.set(fell, (figures.fell.get(fell) ?? 0) + 1);
    }
    const ended = await kindling(next()).ended;
    figures.kills += count;
    const problems: string[] = [];
    if (ended.code !== 0) problems.push(`status ${statusOf(ended)}: ${ended.stderr.trim()}`);
    else problems.push(...differences(twin.content, await contentOf(run)).map((name) => `${name} differs`));
    problems.push(...strays(run).map((name) => `${name} is left`));
    if (problems.length === 0) figures.equal += count;
    else figures.failures.push(`run ${index} (${recipe.name}): ${problems.join('; ')}`);
    if (problems.length === 0) rmSync(run, { recursive: true });
    if (index % 5 === 4) log(`${figures.kills} kills, ${figures.equal} equal`);
  };

  let index = 0;
  while (figures.kills < kills) {
    const from = index;
    // Some trials end before their kill comes, so that there are more trials than kills, or fewer.
    const round = Math.max(lanes, Math.min(kills - figures.kills, 20));
    index += round;
    await inParallel(round, lanes, (i) => trial(from + i));
  }
  return figures;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '200' },
      seed: { type: 'string', default: '1' },
      lanes: { type: 'string', default: '2' },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), 'kindling-kill-'));
  const started = performance.now();
  const { kills, equal, fell, failures } = await killRuns({
    folder,
    kills: Number(values.kills),
    seed: Number(values.seed),
    lanes: Number(values.lanes),
    log: console.log,
  });
  for (const [name, count] of [...fell].sort((a, b) => b[1] - a[1])) console.log(`  ${count} ${name}`);
  for (const failure of failures) console.log(`FAILED ${failure}`);
  const minutes = (performance.now() - started) / 60_000;
  console.log(
    `${equal} of ${kills} kills came to the same bits, in ${minutes.toFixed(1)} min (seed ${values.seed})`,
  );
  if (failures.length === 0) rmSync(folder, { recursive: true });
  else console.log(`what is left is in ${folder}`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}
