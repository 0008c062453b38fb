import fc from 'fast-check';
import { compare, type Mismatch } from './compare.js';
import type { Engine } from './engine.js';
import { programs } from './generator.js';
import { interpret, type Outcome, type ReferenceOutcome } from './interpret.js';
import { printPython, printTypeScript, type Program } from './statements.js';
import { judgedBy, type Torch } from './torch.js';

/* Many random programs: reference against engine, and where there is one, PyTorch against reference. */

/**
 * float32 against float64: a result of up to ~20 operations on values of at most `largest` carries about 20
 * roundings of 2^-24 * largest, and a few times that through exp, tanh and softmax; a gradient whose elements
 * are added up and cancel, those of their sum. A wrong rule is off by more than 1e-2. The campaign reports
 * which share of the tolerance was used.
 */
const float32Tolerance = ({ largest, largestSum }: ReferenceOutcome): number =>
  5e-6 * (1 + (largest + largestSum) / 10);

/** PyTorch computes in float64 too, but for constants that it rounds to float32 (hardsigmoid's 1/6). */
const float64Tolerance = 1e-6;

/**
 * What an engine may accept that keeps copies where PyTorch keeps the tensor itself, if its results are then
 * right.
 */
const byCopies = new Set(['version', 'freed', 'partial overlap']);

export interface Verdict extends Mismatch {
  /** The engine accepts what PyTorch refuses, and gives what copies of the saved tensors give. */
  readonly permitted: boolean;
}

/** Null where the engine does what PyTorch does. */
export function judge(program: Program, got: Outcome): Verdict | null {
  const expected = sound(program);
  const mismatch = compare(expected, got, float32Tolerance(expected));
  if (mismatch === null) return null;
  const { refused } = expected;
  if (refused === null || !byCopies.has(refused.kind) || mismatch.kind !== `accepted: ${refused.kind}`)
    return { ...mismatch, permitted: false };
  const lenient = interpret(program, { lenient: true });
  const other = lenient === null ? mismatch : compare(lenient, got, float32Tolerance(lenient));
  if (other === null) return { ...mismatch, permitted: true };
  return { kind: `${mismatch.kind}, and wrong: ${other.kind}`, detail: other.detail, permitted: false };
}

function sound(program: Program): ReferenceOutcome {
  const outcome = interpret(program);
  if (outcome === null) throw new Error('a program that PyTorch does not define');
  return outcome;
}

export interface Finding {
  readonly kind: string;
  readonly seed: number;
  readonly program: Program;
  readonly detail: string;
  count: number;
}

export interface Report {
  programs: number;
  statements: number;
  refused: number;
  readonly hazards: Map<string, number>;
  readonly permitted: Map<string, number>;
  readonly mismatches: Map<string, Finding>;
  torchPrograms: number;
  readonly torchMismatches: Map<string, Finding>;
  readonly lastSeeds: number[];
  seconds: number;
}

export interface CampaignOptions {
  readonly programs: number;
  /** Program `i` is made from seed `seed + i`. */
  readonly seed: number;
  readonly torch?: Torch | null;
  /** Ends early after this many seconds. */
  readonly seconds?: number;
  readonly progress?: (report: Report) => void;
}

const arbitrary = programs();
const batchSize = 100;

export function programOf(seed: number): Program {
  return fc.sample(arbitrary, { seed, numRuns: 1 })[0] as Program;
}

/** Runs the campaign; nothing is shrunk yet, see {@link smallest}. */
export async function campaign(engine: Engine, options: CampaignOptions): Promise<Report> {
  const start = performance.now();
  const report: Report = {
    programs: 0,
    statements: 0,
    refused: 0,
    hazards: new Map(),
    permitted: new Map(),
    mismatches: new Map(),
    torchPrograms: 0,
    torchMismatches: new Map(),
    lastSeeds: [],
    seconds: 0,
  };
  const make = (from: number): { seed: number; program: Program }[] =>
    Array.from({ length: Math.max(0, Math.min(batchSize, options.programs - from)) }, (_, i) => {
      const seed = options.seed + from + i;
      return { seed, program: programOf(seed) };
    });
  let batch = make(0);
  while (batch.length > 0) {
    const list = batch.map(({ program }) => program);
    const running = engine.run(list);
    const torch = options.torch ?? null;
    const judged = torch === null ? [] : batch.filter(({ program }) => judgedBy(torch.version, program));
    const answers = torch === null ? null : Promise.all(judged.map(({ program }) => torch.run(program)));
    // While the device works.
    const late = options.seconds !== undefined && performance.now() - start > 1000 * options.seconds;
    const next = late ? [] : make(report.programs + batch.length);
    const outcomes = await running;
    batch.forEach(({ seed, program }, i) =>
      count(report, seed, program, judge(program, outcomes[i] as Outcome)),
    );
    (await answers)?.forEach((outcome, i) => {
      const { seed, program } = judged[i] as (typeof judged)[number];
      report.torchPrograms++;
      note(report.torchMismatches, againstTorch(program, outcome), seed, program);
    });
    report.lastSeeds.push(...batch.map(({ seed }) => seed));
    report.lastSeeds.splice(0, report.lastSeeds.length - 10);
    report.programs += batch.length;
    report.seconds = (performance.now() - start) / 1000;
    options.progress?.(report);
    batch = next;
  }
  return report;
}

function count(report: Report, seed: number, program: Program, verdict: Verdict | null): void {
  report.statements += program.length;
  const refused = interpret(program)?.refused;
  if (refused) {
    report.refused++;
    report.hazards.set(refused.kind, (report.hazards.get(refused.kind) ?? 0) + 1);
  }
  if (verdict?.permitted) report.permitted.set(verdict.kind, (report.permitted.get(verdict.kind) ?? 0) + 1);
  else note(report.mismatches, verdict, seed, program);
}

function note(
  findings: Map<string, Finding>,
  mismatch: Mismatch | null,
  seed: number,
  program: Program,
): void {
  if (mismatch === null) return;
  const known = findings.get(mismatch.kind);
  if (known !== undefined) known.count++;
  else findings.set(mismatch.kind, { ...mismatch, seed, program, count: 1 });
}

/** Null where PyTorch does what the reference says it does. */
export function againstTorch(program: Program, got: Outcome): Mismatch | null {
  const expected = interpret(program, { literal: true });
  return expected === null ? null : compare(expected, got, float64Tolerance);
}

/** What {@link smallest} asks of many candidates at once. */
export type Check = (programs: readonly Program[]) => Promise<readonly (Mismatch | null)[]>;

export const engineCheck =
  (engine: Engine): Check =>
  async (list) => {
    const outcomes = await engine.run(list);
    return list.map((program, i) => judge(program, outcomes[i] as Outcome));
  };

export const torchCheck =
  (torch: Torch): Check =>
  (list) =>
    Promise.all(
      list.map(async (program) =>
        judgedBy(torch.version, program) ? againstTorch(program, await torch.run(program)) : null,
      ),
    );

/** Shrinks a finding to a minimal program that shows the same kind of mismatch. */
export async function smallest(finding: Finding, check: Check, seconds = 10): Promise<Finding> {
  const end = performance.now() + 1000 * seconds;
  let { program, detail } = finding;
  const step = async (): Promise<boolean> => {
    const candidates = [...arbitrary.shrink(program, undefined)].map(({ value }) => value);
    for (let from = 0; from < candidates.length; from += 25) {
      const part = candidates.slice(from, from + 25);
      const found = await check(part);
      const at = found.findIndex((mismatch) => mismatch?.kind === finding.kind);
      if (at < 0) continue;
      program = part[at] as Program;
      detail = (found[at] as Mismatch).detail;
      return true;
    }
    return false;
  };
  while (performance.now() < end && (await step()));
  return { ...finding, program, detail };
}

/** A finding as TypeScript and as Python. */
export function describe({ kind, seed, count: times, program, detail }: Finding): string {
  const lines = (list: readonly string[]): string => list.map((line) => `    ${line}`).join('\n');
  return [
    `## ${kind} (${times} times; seed ${seed})`,
    lines(program.map((statement) => printTypeScript(statement))),
    lines(program.map(printPython)),
    detail,
  ].join('\n\n');
}
